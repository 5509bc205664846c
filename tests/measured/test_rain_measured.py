"""Criteria of rain, water and strength on measured records: published thresholds, and drawdown before a movement."""

from bisect import bisect_right
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs, Memory, NewestEpoch
from monitor.decision.series.assessment import DecisionContext
from monitor.readings.records import Reading
from monitor.sites.parsing import parse_site
from monitor.text.instants import epoch_s, from_epoch_s
from tests.data.criteria import CRITERIA
from tests.data.measured import measured_site, read_baijiabao
from tests.data.site_text import head, series, station

pytestmark = pytest.mark.data

PACIFIC = timezone(timedelta(hours=-8))
INCH = 25.4
H, DAY = 3600.0, 86400.0


def read_rain(path):
    """Return (epoch seconds, mm) of each 15 min."""
    amounts_mm = {}
    for line in path.read_text().splitlines():
        year, month, day, hour, minute, value = line.split()
        at = datetime(int(year), int(month), int(day), int(hour), int(minute), tzinfo=PACIFIC)
        amounts_mm[epoch_s(at.astimezone(UTC))] = float(value) * INCH
    return sorted(amounts_mm.items())


def as_readings(rows):
    return tuple(Reading(from_epoch_s(t), from_epoch_s(t), 0, v, 0.0, v, None, ()) for t, v in rows)


def look(site, criterion, series, readings, times, at_s, back_s):
    part = readings[bisect_right(times, at_s - back_s) : bisect_right(times, at_s)]
    newest = NewestEpoch(epoch_s(part[-1].observed_at), epoch_s(part[-1].received_at))
    inputs = DecisionInputs({series: part}, {series: newest})
    (word,) = CRITERIA[criterion.kind.id].rule(criterion, DecisionContext(PreparedSite(site), inputs, Memory(), at_s))
    return word


def list_first_days(levels):
    """Return the days on which a level above the lowest starts."""
    starts = [b for a, b in zip([(None, 0), *levels], levels, strict=False) if b[1] > 0 and a[1] == 0]
    return list(dict.fromkeys(from_epoch_s(at).date().isoformat() for at, _ in starts))


@pytest.mark.soak
@pytest.mark.parametrize(
    ("station", "name", "wet_days", "storm_days"),
    [
        ("MVD", "waMVD116", ["2015-11-15", "2015-11-24", "2015-12-09", "2015-12-12"], ["2015-11-15"]),
        pytest.param("MLP", "waMLP", ["2015-12-07"], [], marks=pytest.mark.soak),
    ],
)
def test_the_published_thresholds_of_mukilteo(measured, station, name, wet_days, storm_days):
    site = measured_site("mukilteo")
    rows = read_rain(measured(f"usgs-mukilteo-rain-piezo/{name}_rain.txt"))
    times = [t for t, _ in rows]
    readings = as_readings(rows)
    series = f"{station}.rain"
    line = replace(next(c for c in site.criteria if c.id == "p3-p15"), stations=(station,))
    curve = next(c for c in site.criteria if c.id == f"id-{station}")
    wet, stormy = [], []
    for i in range(96 * 18, len(times), 16):
        at = times[i]
        word = look(site, line, series, readings, times, at, 18 * DAY)
        # The same sums, computed directly from the values.
        p3 = sum(v for _, v in rows[bisect_right(times, at - 3 * DAY + 450) : i + 1])
        p15 = sum(v for _, v in rows[bisect_right(times, at - 18 * DAY + 450) : i + 1]) - p3
        assert word.facts["worst"]["sum_mm"] == pytest.approx(p3 + 0.67 * p15, abs=1e-6)
        assert (word.raise_level == 1) == (p3 / INCH > 3.5 - 0.67 * p15 / INCH)
        wet.append((at, word.raise_level))
        stormy.append((at, look(site, curve, series, readings, times, at, 61 * H).raise_level))
    print(
        f"{station} {sum(v for _, v in rows):.0f} mm; p3-p15 {list_first_days(wet)}, {sum(v for _, v in wet) * 4} h; "
        f"curve {list_first_days(stormy)}, {sum(v for _, v in stormy) * 4} h"
    )
    assert (list_first_days(wet), list_first_days(stormy)) == (wet_days, storm_days)


def test_strength_follows_the_measured_pressure_at_mukilteo(measured):
    """The calibration of the piezometer gives the pressure, uncorrected for air pressure and temperature.

    The strength of the soil is an assumption of this test.
    """
    rows = []
    for line in measured("usgs-mukilteo-rain-piezo/waMVD116_14d.txt").read_text().splitlines():
        cells = line.split("\t")
        at = datetime.fromisoformat(cells[0]).replace(tzinfo=PACIFIC).astimezone(UTC)
        f = float(cells[17])
        rows.append((epoch_s(at), -9.5792e-5 * f * f - 0.0023260 * f + 828.53))
    text = SLOPE + "yellow = {under = 1.2}\n"
    site = parse_site(text, "slope.toml")
    readings = as_readings(rows)
    times = [t for t, _ in rows]
    criterion = site.criteria[0]
    words = [look(site, criterion, "P1.pore_pressure", readings, times, times[i], DAY) for i in range(8, len(rows), 48)]
    pressures = [w.facts["pressure_kpa"] for w in words]
    factors = [w.facts["factor_of_safety"] for w in words]
    print(f"pressure {min(pressures):.1f} to {max(pressures):.1f} kPa, factor {min(factors):.2f} to {max(factors):.2f}")
    ranked = [f for _, f in sorted(zip(pressures, factors, strict=True))]
    assert ranked == sorted(ranked, reverse=True)
    assert all(w.facts["low"] < w.facts["factor_of_safety"] < w.facts["high"] for w in words)
    assert max(pressures) - min(pressures) > 1.0, "the pressure changed during the fortnight"


def test_drawdown_at_baijiabao_precedes_the_movement_of_june_2018(measured):
    observations = read_baijiabao(measured("bazimen-baijiabao/source_sample.xlsx"))
    rows = [(epoch_s(o.observed_at), o.value) for o in observations if o.station == "RES"]
    site = parse_site(RESERVOIR, "reservoir.toml")
    readings, times = as_readings(rows), [t for t, _ in rows]
    assessments = [
        (t, look(site, site.criteria[0], "RES.reservoir_level", readings, times, t, 30 * DAY)) for t in times[10:]
    ]
    days = list_first_days([(t, w.raise_level) for t, w in assessments])
    fastest = max(w.facts.get("drawdown_per_day", 0.0) for _, w in assessments)
    print("drawdown over 0.4 m/day begins", days, f"fastest {fastest:.2f} m/day")
    assert any("2018-05-01" <= d <= "2018-06-08" for d in days), "the drawdown precedes the movement of 2 June"
    rising = [
        w for (t, w), (_, last) in zip(assessments[1:], rows[10:], strict=False) if rows[times.index(t)][1] > last + 1
    ]
    assert rising
    assert all(w.raise_level == 0 for w in rising)


SLOPE = (
    head("bluff", latitude=47.9, longitude=-122.3)
    + station("P1", series("pore_pressure", "kPa", "15m"))
    + """
[[criterion]]
kind = "factor_of_safety"
series = "P1.pore_pressure"
slope_deg = 45.0
depth_m = 3.0
cohesion_kpa = 10.0
cohesion_sd_kpa = 2.0
friction_deg = 33.0
friction_sd_deg = 2.0
unit_weight_kn_m3 = 19.0
suction = true
"""
)
RESERVOIR = (
    head("reservoir", latitude=30.9, longitude=110.7)
    + station("RES", series("reservoir_level", "m", "1d"), on_slope=False)
    + """
[[criterion]]
kind = "drawdown"
series = "RES.reservoir_level"
yellow = {over = 0.4, window = "7d"}
"""
)

"""What becomes of fills, stops, dead sensors and coarse digits from the message to the level."""

import json
import random
from datetime import UTC, datetime, timedelta
from functools import reduce

import pytest

from monitor.ingest.message import BrokerMessage
from monitor.readings.no_value import AT_STOP, FILL
from monitor.sites.parsing import parse_site
from tests.data import site_text
from tests.data.payloads.evaluated import evaluate_messages
from tests.data.site_text import bounds


def of(quantity, unit, interval="10m", max_silence="2h"):
    return site_text.series(quantity, unit, interval, max_silence=max_silence)


T0 = datetime(2026, 3, 1, tzinfo=UTC)
ORIGIN = {"latitude": 46.2, "longitude": 8.9, "height_m": 1000.0, "since": datetime(2026, 1, 1, tzinfo=UTC)}
OPENING = bounds(yellow="2 1d", orange="20 12h", red="100 6h")
SITE = (
    site_text.head("slope", latitude=46.2, longitude=8.9, levels={"names": ["green", "yellow", "orange", "red"]})
    + site_text.station("P1", of("pore_pressure", "kPa"), of("temperature", "degC"))
    + site_text.station("E1", of("crack_opening", "mm"))
    + site_text.station("W1", of("reservoir_level", "m"))
    + site_text.station("N1", of("displacement", "mm", "1m", "1h"), azimuth_deg=200.0, origin=ORIGIN)
    + '[[decoder]]\ntopic = "gnss/{station}/nmea"\nname = "nmea"\n'
    + '[[decoder]]\ntopic = "logger/{station}/{quantity}"\nname = "plain"\nseries = {crack = "crack_opening_mm"}\n'
    + site_text.criterion("level", id="pore", series="P1.pore_pressure", yellow={"over": 45.0}, orange={"over": 70.0})
    + site_text.criterion("level", id="reservoir", series="W1.reservoir_level", yellow={"under": 300.0})
    + site_text.criterion("rate", id="crack", series="E1.crack_opening", **OPENING)
    + site_text.criterion("velocity", id="gnss", stations=["N1"], **bounds(yellow="2 7d", orange="20 2d", red="100 6h"))
    + site_text.table("[fusion]", top_needs=1)
)
BENCH = parse_site(SITE, "slope.toml")


def noise(middle, count, spread=0.05, seed=1):
    draw = random.Random(seed)
    return [middle + draw.gauss(0.0, spread) for _ in range(count)]


def tell(station, name, values):
    """The decisions over values every ten minutes, and the flags that were stored."""
    messages = []
    for k, value in enumerate(values):
        at = T0 + timedelta(minutes=10 * k)
        body = {"time": at.isoformat(), name: value}
        messages.append(BrokerMessage(f"slopeward/v1/slope/{station}/obs", json.dumps(body).encode(), at, "live"))
    place = (station, name.rpartition("_")[0])
    decisions, stored = evaluate_messages(BENCH, messages, series=[place])
    return decisions, [tuple(r.flags) for r in stored[place]]


def said(decisions, part):
    return {k: c for d in decisions for k, c in d.memory.conditions.items() if part in k}


@pytest.mark.parametrize("fill", [7999.0, -6999.0, 999.9, 1e37, 6553.5])
def test_fill_values_raise_no_level_and_the_instrument_is_reported(fill):
    decisions, flags = tell("P1", "pore_pressure_kpa", [*noise(20.0, 40), *[fill] * 12, *noise(20.0, 6)])
    assert max(d.level for d in decisions) == 0
    assert [FILL in f for f in flags] == [False] * 40 + [True] * 12 + [False] * 6
    (condition,) = said(decisions, "P1.pore_pressure:flagged").values()
    assert "its code for a missing measurement" in str(condition.reason)
    assert said(decisions[-1:], ":flagged") == {}  # it speaks again
    assert not said(decisions, "P1:verify")


def test_jump_of_pressure_to_another_number_is_a_question_first():
    decisions, flags = tell("P1", "pore_pressure_kpa", [*noise(20.0, 40), *noise(3000.0, 30)])
    assert not any(flags)
    levels = [d.level for d in decisions]
    assert levels[42] == 0
    assert any("P1:verify" in k for k in said(decisions, "P1"))
    assert levels[-1] == 2  # nobody answered: it counts
    rising = [*noise(20.0, 40), *[20.0 + 5.0 * k for k in range(1, 12)], *noise(75.0, 6)]
    decisions, _ = tell("P1", "pore_pressure_kpa", rising)
    assert decisions[-1].level == 2
    assert not said(decisions, "P1:verify")  # what rises from reading to reading is no step


def test_water_level_that_jumps_to_zero_is_a_question():
    decisions, _ = tell("W1", "reservoir_level_m", [*noise(425.0, 40, 0.01), *[0.0] * 4, *noise(425.0, 6, 0.01)])
    assert max(d.level for d in decisions) == 0
    assert said(decisions, "W1:verify")


def test_instrument_at_its_stop_is_an_urgent_question_and_does_not_lower():
    run = [600.0 + 1.2 * k for k in range(46)]
    decisions, flags = tell("E1", "crack_opening_mm", [*noise(600.0, 40, 0.02), *run, *[655.35] * 20])
    assert [AT_STOP in f for f in flags] == [False] * 87 + [True] * 19
    level = decisions[85].level
    assert level > 0
    assert decisions[-1].level == level  # the last motion counts
    (condition,) = said(decisions[-1:], "E1.crack_opening:at_stop").values()
    assert condition.level == 2
    assert "the end of its scale" in str(condition.reason)


# ---- last digits ---------------------------------------------------------------------------------------------------
def sentence(body):
    return f"${body}*{reduce(lambda a, b: a ^ ord(b), body, 0):02X}"


def degrees(value, decimals, width):
    whole = int(value)
    return f"{whole:0{width}d}{(value - whole) * 60.0:0{3 + decimals}.{decimals}f}"


def positions(decimals, moved_mm, *, gst=True, hours=8, start_m=0.0):
    draw, count, found = random.Random(4), hours * 60, []
    for k in range(count):
        at = T0 + timedelta(minutes=k)
        south_m = start_m + moved_mm * 1e-3 * k / count + draw.gauss(0.0, 0.003)
        clock = f"{at:%H%M%S}.00"
        latitude, longitude = degrees(46.2 - south_m / 111_180.0, decimals, 2), degrees(8.9, decimals, 3)
        lines = [
            sentence(f"GPGGA,{clock},{latitude},N,{longitude},E,4,14,0.6,950.000,M,50.000,M,1.0,0001"),
            sentence(f"GPRMC,{clock},A,{latitude},N,{longitude},E,0.0,0.0,{at:%d%m%y},,"),
        ]
        if gst:
            lines.append(sentence(f"GPGST,{clock},0.01,0.01,0.01,0,0.01,0.01,0.02"))
        found.append(BrokerMessage("gnss/N1/nmea", "\r\n".join(lines).encode(), at, "live"))
    return found


def word(decision, station="N1"):
    return next(w for w in decision.evidence["words"] if (w["criterion"], w["station"]) == ("gnss", station))


@pytest.mark.parametrize(("gst", "start_m"), [(True, -0.05), (False, 0.0)])  # over the edge of a digit, and within
def test_coordinates_with_four_decimals_of_a_minute_do_not_lower_a_level(gst, start_m):
    messages = positions(4, 80.0, gst=gst, start_m=start_m, hours=4)
    decisions, stored = evaluate_messages(BENCH, messages, every_s=3600.0, series=[("N1", "displacement_north")])
    last = decisions[-1]
    assert max(d.level for d in decisions) == 0  # nor does a step of the grid raise anything
    assert not word(last)["heard"]
    assert not word(last)["fresh"]
    (health,) = (h for h in last.health if h.station == "N1")
    assert not health.votes
    (condition,) = said([last], "N1.displacement:coarse").values()
    assert condition.level == 1
    assert "more decimals" in str(condition.reason)
    sigmas = {r.sigma for r in stored["N1", "displacement_north"]}
    assert sigmas == {None} if not gst else min(sigmas) > 50.0  # 185 mm / sqrt(12)


@pytest.mark.soak
def test_coordinates_with_seven_decimals_can_lower_a_level():
    decisions, stored = evaluate_messages(
        BENCH, positions(7, 80.0), every_s=3600.0, series=[("N1", "displacement_north")]
    )
    assert decisions[-1].level == 3
    assert word(decisions[-1])["heard"]
    assert not said(decisions, ":coarse")
    assert {r.sigma for r in stored["N1", "displacement_north"]} == {10.0}


def test_value_sent_as_text_is_no_more_certain_than_its_last_digit():
    row = {"time": "2026-03-01T00:00:00Z", "station": "E1", "quantity": "crack_opening_mm", "value": "3.0"}
    rows = [row | {"sigma": sigma} for sigma in ("0.001", "0.5", None)]
    for row, expected in zip(rows, (pytest.approx(0.1 / 12**0.5), 0.5, None), strict=True):
        message = BrokerMessage("file/slope", json.dumps({"rows": [row]}).encode(), T0, "live")
        _, stored = evaluate_messages(BENCH, [message], series=[("E1", "crack_opening")])
        assert [r.sigma for r in stored["E1", "crack_opening"]] == [expected]


def test_gauge_with_whole_centimetres_does_not_lower_a_level():
    messages = [
        BrokerMessage("logger/E1/crack", text, T0 + timedelta(minutes=10 * k), "live")
        for k, text in enumerate([b"3e1", b"3e1", b"30"] * 30)
    ]
    decisions, _ = evaluate_messages(BENCH, messages[:89], every_s=3600.0)
    assert said(decisions, "E1.crack_opening:coarse")
    fine = [BrokerMessage(m.topic, b"30.0", m.received_at, "live") for m in messages]
    decisions, _ = evaluate_messages(BENCH, fine, every_s=3600.0)
    assert not said(decisions, ":coarse")

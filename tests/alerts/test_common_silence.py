"""Common silence of the slope is one urgent alert, and the site does not see "full".

`tests/property/test_common_silence.py` contains the rule for generated receptions, and its exceptions.
"""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.decision.common_silence import SILENT_SLOPE
from monitor.decision.conditions import REACHABLE
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.text.instants import parse_time
from tests.data.measured import replay
from tests.data.site_text import criterion, head, series, station
from tests.fixtures.examples import expensive_examples

BEGIN = parse_time("2026-03-01T00:00:00Z")
STEP = timedelta(minutes=30)
CRACKS = ("E1", "E2", "E3")
OUTSIDE = ("C1", "R1")


def declare(max_silence="1d", interval="30m", valid_for="12h"):
    """Return a site with three crack gauges on the slope, and a control station and a rain gauge outside it."""
    stations = "".join(
        station(name, series(quantity, "mm", interval, max_silence=max_silence), on_slope=name != "C1")
        for name, quantity in (*((n, "crack_opening") for n in (*CRACKS, "C1")), ("R1", "rain"))
    )
    bounds = {name: {"over": over, "window": "3h"} for name, over in (("yellow", 20.0), ("red", 200.0))}
    facts = {"quantity": "crack_opening", "dwell": {"hits": 2, "of": 3}, "valid_for": valid_for}
    cracks = criterion("rate", stations=["E*"], **bounds, **facts)
    levels = {"names": ["green", "yellow", "orange", "red"]}
    return parse_site(head("s", latitude=46.2, longitude=8.9, levels=levels) + stations + cracks, "s.toml")


def readings(mm_per_day=400.0, moves=10, ends=20, until=40, *, mute=CRACKS, late=timedelta(), by=1):
    """Yield half-hourly readings that start to move at index `moves`.

    Those of the stations `mute` end at index `ends`. They are sent in batches of `by`.
    """
    for k in range(until):
        at = BEGIN + k * STEP
        received = BEGIN + (k // by + 1) * by * STEP - STEP + late
        for name in (*CRACKS, *OUTSIDE):
            if name in mute and k >= ends:
                continue
            moved = max(0, k - moves) * mm_per_day / 48.0 if name in CRACKS else 0.0
            quantity = "rain" if name == "R1" else "crack_opening"
            yield Observation("s", name, quantity, "mm", at, received, moved + 0.01 * (k % 3), None)


def find_report(site, observations, extra_s=600.0):
    """Return instant and decision of the first evaluation with common silence; None if there is none."""
    for now, decision in replay(site, list(observations), extra_s=extra_s):
        if SILENT_SLOPE in decision.memory.conditions:
            return now, decision
    return None


@pytest.mark.parametrize("max_silence", ["1d", "90m"])
def test_silence_of_the_slope_at_red_is_one_urgent_alert(max_silence):
    now, decision = find_report(declare(max_silence), readings())
    last = BEGIN + 19 * STEP
    assert STEP < now - last <= STEP + timedelta(minutes=10), "one interval and ten minutes, not a day"
    change = next(c for c in decision.changes if c.key == SILENT_SLOPE)
    assert (change.level, change.notify, decision.level, decision.observability) == (2, True, 3, "blind")
    assert change.reason == (
        "all 3 instruments on the slope have been silent since 2026-03-01 09:30 UTC; keep everybody out; those outside "
        "it report (C1, R1). The slope may have failed and taken them along. Inspect it from a safe place, then set "
        "the level: it does not fall by itself"
    )
    assert decision.newest_at == last, "the control station and the rain gauge are not the slope"
    assert decision.evidence["common_silence"]["stations"] == list(CRACKS)
    assert [c.key for c in decision.changes if c.notify and c.open] == [SILENT_SLOPE]


def test_instruments_that_still_send_other_quantities_are_not_called_silent():
    site = declare_tiltmeters(other="battery_voltage", unit="V")
    observations = tiltmeter_readings(dict.fromkeys(CRACKS, 120), crack_ends=12, other="battery_voltage", unit="V")
    _, decision = find_report(site, observations, extra_s=0.0)
    reason = decision.memory.conditions[SILENT_SLOPE].reason
    assert reason.startswith(
        "all 3 instruments on the slope have sent no motion since 2026-03-01 05:30 UTC; keep everybody out; E1, E2, E3 "
        "still send other quantities; those outside it report (C1)"
    )


def test_silence_of_the_slope_at_the_lowest_level_names_the_other_explanation():
    now, decision = find_report(declare(), readings(mm_per_day=0.0))
    assert now - (BEGIN + 19 * STEP) <= STEP + timedelta(minutes=10)
    assert (decision.level, decision.observability) == (0, "blind")
    reason = decision.memory.conditions[SILENT_SLOPE].reason
    assert "The slope may have failed before its motion was measured, or they share a power supply" in reason
    assert reason.endswith("Inspect the slope from a safe place first, then power and radio")


def test_without_instruments_outside_only_a_raised_level_is_reported_after_three_intervals():
    def keep_slope(observations):
        return [observation for observation in observations if observation.station not in OUTSIDE]

    back = Observation("s", "E1", "crack_opening", "mm", BEGIN + 39 * STEP, BEGIN + 39 * STEP, 300.0, None)
    ticks = [
        Observation("s", "E1", "battery_voltage", "V", BEGIN + k * STEP, BEGIN + k * STEP, 12.0, None)
        for k in range(20, 38)
    ]
    assert find_report(declare("90m"), keep_slope([*readings(mm_per_day=0.0), *ticks, back])) is None
    now, decision = find_report(declare("90m"), keep_slope([*readings(), *ticks, back]))
    assert timedelta(minutes=90) < now - (BEGIN + 19 * STEP) <= timedelta(minutes=130)
    assert str(decision.memory.conditions[SILENT_SLOPE].reason).startswith(
        "all 3 instruments on the slope have been silent since 2026-03-01 09:30 UTC; keep everybody out. "
    )


def test_notices_on_silent_instruments_wait_until_the_common_silence_ends():
    back_at = BEGIN + 39 * STEP
    back = Observation("s", "E1", "crack_opening", "mm", back_at, back_at, 300.0, None)
    told = {}
    for now, decision in replay(declare("90m"), [*readings(), back]):
        for change in decision.changes:
            if change.ledger == "health" and not change.key.endswith(":verify"):
                told.setdefault(now, []).append((change.key, change.open, change.notify))
    ended, *others = told.pop(back_at)
    assert ended == (SILENT_SLOPE, False, True)
    opened = {key for key, is_open, _ in others if is_open}
    assert opened >= {"health:E2.crack_opening:stale", "health:E3.crack_opening:stale", REACHABLE}
    assert list(told.values()) == [[(SILENT_SLOPE, True, True)]]


def test_notice_that_was_open_before_the_common_silence_stays_open():
    mute = [
        observation
        for observation in readings(until=44)
        if observation.station != "E3" or observation.observed_at < BEGIN + 12 * STEP
    ]
    *_, (_, decision) = replay(declare("90m"), mute)
    assert {"health:E3.crack_opening:stale", SILENT_SLOPE} <= set(decision.memory.conditions)
    assert "health:E1.crack_opening:stale" not in decision.memory.conditions


def test_silence_of_stations_behind_level_is_urgent_but_not_of_one_station():
    assert find_report(declare(), readings(mute=("E1", "E2"))) is None, "E3 still requests red"
    observations = [o for o in readings(mute=("E1", "E2")) if o.station != "E3"]
    observations += [
        Observation("s", "E3", "crack_opening", "mm", BEGIN + k * STEP, BEGIN + k * STEP, 0.01 * (k % 3), None)
        for k in range(40)
    ]
    _, decision = find_report(declare(), observations)
    reason = str(decision.memory.conditions[SILENT_SLOPE].reason)
    assert reason.startswith("all 2 stations that support red have been silent since")


def test_readings_that_are_sent_twice_a_day_are_no_silence():
    assert find_report(declare(), readings(ends=240, until=240, by=24)) is None


@expensive_examples(12)
@given(ends=st.integers(16, 24), spread=st.lists(st.integers(0, 1), min_size=3, max_size=3), late=st.integers(0, 25))
def test_silence_of_the_slope_is_reported_within_one_interval_and_ten_minutes(ends, spread, late):
    observations = [
        o
        for o in readings(until=44, late=timedelta(minutes=late))
        if o.station not in CRACKS or o.observed_at < BEGIN + (ends + spread[CRACKS.index(o.station)]) * STEP
    ]
    last = max(o.received_at for o in observations if o.station in CRACKS)
    now, _ = find_report(declare(), observations)
    assert STEP < now - last <= STEP + timedelta(minutes=10)


def declare_tiltmeters(other="tilt", unit="mrad"):
    """Return a site whose crack gauges also have a tiltmeter, or another sensor, that is read every five minutes."""
    sensors = series("crack_opening", "mm", "30m", max_silence="90m") + series(other, unit, "5m", max_silence="15m")
    stations = "".join(station(name, sensors) for name in CRACKS)
    stations += station("C1", series("crack_opening", "mm", "5m", max_silence="15m"), on_slope=False)
    bounds = {"yellow": {"over": 20.0, "window": "3h"}}
    cracks = criterion("rate", stations=["E*"], quantity="crack_opening", valid_for="12h", **bounds)
    levels = {"names": ["green", "yellow"]}
    return parse_site(head("s", latitude=46.2, longitude=8.9, levels=levels) + stations + cracks, "s.toml")


def tiltmeter_readings(tilt_ends, crack_ends=20, other="tilt", unit="mrad"):
    """Yield readings of `declare_tiltmeters` over ten hours. A tiltmeter sends its last reading before `tilt_ends`."""
    for k in range(120):
        at = BEGIN + k * timedelta(minutes=5)
        yield Observation("s", "C1", "crack_opening", "mm", at, at, 0.01 * (k % 3), None)
        for name in CRACKS:
            if k < tilt_ends[name]:
                yield Observation("s", name, other, unit, at, at, 0.01 * (k % 3), None)
            if k % 6 == 0 and k < 6 * crack_ends:
                yield Observation("s", name, "crack_opening", "mm", at, at, 0.01 * (k % 3), None)


@pytest.mark.parametrize("tilt_ends", [(0, 0, 0), (36, 24, 12)])
def test_failed_sensors_do_not_make_stations_silent_between_readings_of_their_other_sensors(tilt_ends):
    site, tilt_ends = declare_tiltmeters(), dict(zip(CRACKS, tilt_ends, strict=True))
    assert find_report(site, tiltmeter_readings(tilt_ends), extra_s=0.0) is None
    now, _ = find_report(site, tiltmeter_readings(tilt_ends, crack_ends=12), extra_s=0.0)
    assert STEP < now - (BEGIN + 11 * STEP) <= STEP + timedelta(minutes=10)


def test_reading_from_before_the_failure_that_is_received_late_ends_no_common_silence_for_long():
    measured_at, received_at = BEGIN + 19 * STEP + timedelta(minutes=5), BEGIN + 24 * STEP
    late = Observation("s", "E1", "crack_opening", "mm", measured_at, received_at, 0.0, None)
    silent_at = [
        now
        for now, decision in replay(declare(), [*readings(mm_per_day=0.0), late], extra_s=600.0)
        if SILENT_SLOPE in decision.memory.conditions
    ]
    assert received_at not in silent_at, "a newer reading was received"
    assert received_at + STEP + timedelta(minutes=10) in silent_at, "and the next ones are missing again"

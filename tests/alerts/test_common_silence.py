"""Common silence while a level stands is one urgent message, and the site does not see "full"."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.text.instants import parse_time
from tests.data.measured import replay
from tests.data.site_text import criterion, head, series, station

BEGIN = parse_time("2026-03-01T00:00:00Z")
KEY = "health:site:silent_slope"
STEP = timedelta(minutes=30)
CRACKS = ("E1", "E2", "E3")


def declare(max_silence="1d", interval="30m", valid_for="12h"):
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
        for name in (*CRACKS, "C1", "R1"):
            if name in mute and k >= ends:
                continue
            moved = max(0, k - moves) * mm_per_day / 48.0 if name in CRACKS else 0.0
            quantity = "rain" if name == "R1" else "crack_opening"
            yield Observation("s", name, quantity, "mm", at, received, moved + 0.01 * (k % 3), None)


def told(site, rows, extra_s=600.0):
    """Return instant and decision of the first evaluation with common silence; None if there is none."""
    for now, decision in replay(site, list(rows), extra_s=extra_s):
        if KEY in decision.memory.conditions:
            return now, decision
    return None


@pytest.mark.parametrize("max_silence", ["1d", "90m"])
def test_silence_of_all_stations_at_red_is_urgent_and_blind(max_silence):
    now, decision = told(declare(max_silence), readings())
    last = BEGIN + 19 * STEP
    assert timedelta(minutes=90) < now - last <= timedelta(minutes=130), "three intervals, not a day"
    change = next(c for c in decision.changes if c.key == KEY)
    assert (change.level, change.notify, decision.level, decision.observability) == (2, True, 3, "blind")
    assert str(change.reason).startswith("all 3 stations on the slope have been silent since 2026-03-01 09:30")
    assert "The level stays red" in change.reason
    assert decision.newest_at == last, "the control station and the rain gauge are not the slope"
    assert not [c for c in decision.changes if c.notify and c.open and c.key != KEY], "one cause, one message"


def test_silence_of_stations_behind_level_is_urgent_but_not_of_one_station():
    behind = told(declare(), readings(mute=("E1", "E2")))
    assert behind is None, "E3 still requests red"
    still = [o for o in readings(mute=("E1", "E2")) if o.station != "E3"]
    still += [
        Observation("s", "E3", "crack_opening", "mm", BEGIN + k * STEP, BEGIN + k * STEP, 0.01 * (k % 3), None)
        for k in range(40)
    ]
    _, decision = told(declare(), still)
    reason = str(decision.memory.conditions[KEY].reason)
    assert reason.startswith("all 2 stations that support red have been silent since")


def test_common_silence_needs_raised_level_and_ends_with_first_reading():
    assert told(declare(), readings(ends=99, until=96, by=24)) is None
    assert told(declare(), readings(mm_per_day=0.0)) is None
    back = Observation("s", "E1", "crack_opening", "mm", BEGIN + 39 * STEP, BEGIN + 39 * STEP, 300.0, None)
    *_, (_, decision) = replay(declare(), [*readings(), back])
    assert KEY not in decision.memory.conditions
    assert any(c.key == KEY and not c.open for c in decision.changes)


@settings(max_examples=12)
@given(ends=st.integers(16, 24), spread=st.lists(st.integers(0, 1), min_size=3, max_size=3), late=st.integers(0, 25))
def test_common_silence_is_reported_within_three_intervals_and_one_evaluation(ends, spread, late):
    rows = [
        o
        for o in readings(until=44, late=timedelta(minutes=late))
        if o.station not in CRACKS or o.observed_at < BEGIN + (ends + spread[CRACKS.index(o.station)]) * STEP
    ]
    last = max(o.received_at for o in rows if o.station in CRACKS)
    now, _ = told(declare(), rows)
    assert timedelta() < now - last <= timedelta(minutes=130)

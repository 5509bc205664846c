"""A series whose newest values are mostly out of range opens one urgent condition and keeps its sound votes."""

import pytest

from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs, Memory, NewestEpoch
from monitor.readings.records import Reading
from monitor.sites.records import Criterion, Level, SeriesSpec, Site, Station, Threshold
from monitor.text.instants import epoch_s, from_epoch_s, parse_time
from tests.data.criteria import KINDS

T0 = epoch_s(parse_time("2026-01-01T00:00:00Z"))
HOUR_S = 3600.0
KEY = "health:E1.crack_opening:out_of_range"
LEVELS = tuple(Level(i, name, i < 2) for i, name in enumerate(("green", "yellow", "orange", "red")))
SECOND = SeriesSpec("E1", "temperature", "degC", HOUR_S, 6 * HOUR_S)
SPEC = SeriesSpec("E1", "crack_opening", "mm", HOUR_S, 6 * HOUR_S, noise_floor=0.2, low=-500.0, high=500.0)


def decide_hourly(values, *, seen=72):
    """Return the decision at each of the last readings. Values beyond 500 mm carry the flag that ingest sets."""
    criterion = Criterion("r", KINDS["rate"], ("E1",), "crack_opening", (Threshold(1, over=6.0, window_s=12 * HOUR_S),))
    site = Site("s", "S", 46.0, 8.0, "UTC", LEVELS, (Station("E1", series=(SPEC,)),), (criterion,), version="v")
    rows = []
    for hour, value in enumerate(values):
        at = from_epoch_s(T0 + hour * HOUR_S)
        flags = ("out_of_range",) if abs(value) > 500.0 else ()
        rows.append(Reading(at, at, 0, value, 0.0, value, None, flags))
    memory = Memory()
    decisions = []
    for count in range(24, len(rows) + 1):
        newest = rows[count - 1]
        newest_s = epoch_s(newest.observed_at)
        inputs = DecisionInputs(
            {"E1.crack_opening": tuple(rows[max(0, count - seen) : count])},
            {"E1.crack_opening": NewestEpoch(newest_s, newest_s, newest.flags)},
        )
        decision = decide(PreparedSite(site), memory, inputs, newest.observed_at)
        memory = decision.memory
        decisions.append(decision)
    return decisions


def wobble(count):
    return [0.1 * ((hour * 7) % 5) for hour in range(count)]


def test_most_newest_values_out_of_range_open_an_urgent_condition():
    decisions = decide_hourly([*wobble(30), *[1200.0 + hour for hour in range(12)]])
    opened = [KEY in decision.memory.conditions for decision in decisions]
    assert opened.index(True) == 30 + 7 - 24, "no usable value for more than 6 h"
    condition = decisions[-1].memory.conditions[KEY]
    assert condition.level == 2
    assert "12 of its newest 20 values are out of range (-500 to 500 mm), the last 1211 mm" in str(condition.reason)


def test_more_than_half_of_the_newest_values_is_enough():
    values = wobble(40)
    for hour in range(40):
        values.append(0.1 if hour % 3 == 0 else 2000.0)
    decisions = decide_hourly(values)
    opened = [KEY in decision.memory.conditions for decision in decisions]
    first = opened.index(True)
    assert sum(abs(value) > 500.0 for value in values[first + 24 - 20 : first + 24]) == 11


def test_condition_ends_when_values_are_in_range_again():
    decisions = decide_hourly([*wobble(30), *[1200.0] * 12, *wobble(20)])
    assert KEY in decisions[42 - 24].memory.conditions
    assert KEY not in decisions[-1].memory.conditions


@pytest.mark.parametrize("pattern", [[1200.0], [1200.0, 0.1] * 10, [1200.0] * 5])
def test_half_of_the_newest_values_out_of_range_opens_nothing(pattern):
    *_, last = decide_hourly([*wobble(40), *pattern])
    assert KEY not in last.memory.conditions


def test_no_second_alert_says_that_no_value_can_be_used():
    decisions = decide_hourly([*wobble(30), *[1200.0 + hour for hour in range(20)]])
    keys = {key for one in decisions for key in one.memory.conditions if key.startswith("health:E1.crack_opening")}
    assert keys == {KEY}
    assert decisions[-1].health[0].state == "flagged"


def test_sound_values_between_values_out_of_range_still_raise_the_level():
    values = wobble(40)
    for hour in range(40):
        values.append(1.0 * hour if hour % 3 == 0 else 2000.0)
    *_, last = decide_hourly(values)
    assert KEY in last.memory.conditions
    assert last.level == 1


def test_value_that_no_criterion_uses_is_no_urgent_matter():
    criterion = Criterion("r", KINDS["rate"], ("E1",), "crack_opening", (Threshold(1, over=6.0, window_s=12 * HOUR_S),))
    station = Station("E1", series=(SPEC, SECOND))
    site = Site("s", "S", 46.0, 8.0, "UTC", LEVELS, (station,), (criterion,), version="v")
    instants = [from_epoch_s(T0 + hour * HOUR_S) for hour in range(30)]
    rows = tuple(
        Reading(at, at, 0, 999.0 + hour, 0.0, 999.0 + hour, None, ("out_of_range",)) for hour, at in enumerate(instants)
    )
    newest_s = epoch_s(instants[-1])
    inputs = DecisionInputs(
        {"E1.temperature": rows}, {"E1.temperature": NewestEpoch(newest_s, newest_s, rows[-1].flags)}
    )
    decision = decide(PreparedSite(site), Memory(), inputs, instants[-1])
    assert decision.memory.conditions["health:E1.temperature:out_of_range"].level == 1

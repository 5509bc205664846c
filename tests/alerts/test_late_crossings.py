"""A failure in a backlog is reported with its instant and rate, although its readings are too old to vote."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.alerts.test_common_silence import BEGIN, CRACKS, STEP, declare, readings
from tests.data.measured import replay
from tests.fixtures.examples import expensive_examples

RED = "health:site:late_red"


def asleep(rows, begins, hours):
    away, back = BEGIN + begins * STEP, BEGIN + begins * STEP + timedelta(hours=hours)
    for o in rows:
        yield replace(o, received_at=back) if away <= o.received_at < back else o


def opened(rows):
    """Return notified changes by key, and the last decision."""
    found, last = {}, None
    for _, last in replay(declare("90m", valid_for="3h"), list(rows)):
        found |= {c.key: c for c in last.changes if c.open and c.notify}
    return found, last


@expensive_examples(16)
@given(hours=st.integers(15, 20), ends=st.integers(20, 22))
def test_crossing_too_old_to_vote_is_reported_with_its_instant_and_rate(hours, ends):
    found, last = opened(asleep(readings(ends=ends), 12, hours))
    assert last.level < 3, "expired readings do not vote"
    assert (found[RED].level, last.observability) == (2, "blind")
    assert "red would have been raised at 2026-03-01 07:30" in found[RED].reason
    assert "moves" in found[RED].reason or "mm/day" in found[RED].reason


def test_crossing_that_ended_before_the_backlog_was_received_is_reported():

    def stop(o):
        over = o.station in CRACKS and o.observed_at >= BEGIN + 20 * STEP
        return replace(o, value=80.0 + 0.01 * o.observed_at.minute) if over else o

    rows = map(stop, readings(ends=99))
    found, last = opened(asleep(rows, 12, 10))
    assert last.level < 3
    assert RED in found


def test_live_readings_and_a_quiet_backlog_are_no_late_crossing_and_reaching_the_level_ends_it():
    assert RED not in opened(readings(ends=99))[0]
    assert RED not in opened(asleep(readings(0.0), 12, 14))[0]
    _, last = opened(asleep(readings(ends=99), 12, 6))
    assert last.level == 3
    assert RED not in last.memory.conditions

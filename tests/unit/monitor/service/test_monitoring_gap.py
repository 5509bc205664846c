"""Gaps in the watch: what ends one, when it can be told, and what it may have been."""

from datetime import timedelta
from typing import Any

import pytest

from monitor.domain.instants import format_iso
from monitor.service.clock import PROBATION_S
from monitor.service.monitoring_gap import MonitoringGap, UnwatchedPeriod
from tests.unit.monitor.service.test_clock import START, Machine

HOUR_S = 3600.0


class Watch(Machine):
    """A supervisor's look, once a second, at a core that beats or does not."""

    def __init__(self) -> None:
        super().__init__()
        self.gap, self.beat_s = MonitoringGap(self.clock), self.monotonic_s

    def run(self, seconds: float, *, beats: bool = True) -> None:
        for _ in range(round(seconds)):
            self.pass_time(1)
            self.beat_s = self.monotonic_s if beats else self.beat_s
            late = self.monotonic_s - self.beat_s > 10
            self.gap.update(self.monotonic_s, self.beat_s, beats=not late)

    def take(self, *, catching_up: bool = False) -> UnwatchedPeriod | None:
        """What can be told after an evaluation at this moment."""
        return self.gap.take([self.row(catching_up=catching_up)])

    def row(self, *, catching_up: bool = False) -> dict[str, Any]:
        return {
            "site": "s",
            "level_name": "red",
            "evaluated_at": format_iso(self.clock()),
            "catching_up": catching_up,
            "observability": "full",
        }


def test_a_suspended_machine_is_told_like_a_core_that_hangs() -> None:
    watch = Watch()
    watch.run(30)
    before = watch.row()
    watch.suspend(HOUR_S)
    watch.run(2)
    assert watch.gap.take([before]) is None, "nothing was decided since"
    assert watch.gap.take([watch.row(), before]) is None, "one site was not"
    assert watch.take(catching_up=True) is None, "what waits may change the level"
    gap = watch.take()
    assert gap is not None
    line = "nobody watched from 2026-03-01 06:00:31 UTC to 2026-03-01 07:00:31 UTC: s now red"
    assert gap.describe([watch.row()]) == line
    assert "suspended" in gap.why
    watch.run(200)
    assert watch.take() is None, "once"


def test_a_jump_over_hours_is_told_with_both_things_that_it_may_be() -> None:
    watch = Watch()
    watch.run(30)
    watch.wall += timedelta(seconds=HOUR_S)
    watch.run(PROBATION_S - 5)
    assert watch.take() is None, "a clock may come back"
    watch.run(10)
    gap = watch.take()
    assert gap is not None
    assert abs((gap.begin - START).total_seconds() - 30) <= 2
    assert abs((gap.end - gap.begin).total_seconds() - HOUR_S) <= 1
    assert "Either the machine stood still (a paused virtual machine) and nobody watched" in gap.why
    assert "or somebody set its clock." in gap.why


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S, 20.0])
def test_a_clock_that_comes_back_or_goes_back_is_no_gap(step_s: float) -> None:
    watch = Watch()
    watch.wall += timedelta(seconds=step_s)
    watch.run(10)
    if step_s > 0:
        watch.wall -= timedelta(seconds=step_s)
    watch.run(200)
    assert watch.take() is None


def test_a_nap_is_no_gap() -> None:
    watch = Watch()
    watch.suspend(20.0)
    watch.run(5)
    assert watch.take() is None


@pytest.mark.parametrize(("silent_s", "told"), [(20, False), (50, True)])
def test_a_core_that_was_silent_for_long_is_a_gap(silent_s: int, told: bool) -> None:
    watch = Watch()
    watch.run(30)
    watch.run(silent_s, beats=False)
    watch.run(5)
    gap = watch.take()
    assert (gap is not None) == told
    if gap is not None:
        assert gap.begin == START + timedelta(seconds=30)
        assert gap.why == ""


def test_gaps_that_follow_each_other_before_anything_is_decided_are_one() -> None:
    watch = Watch()
    watch.suspend(HOUR_S)
    watch.run(5)
    watch.suspend(HOUR_S)
    watch.run(5)
    gap = watch.take()
    assert gap is not None
    assert (gap.end - gap.begin).total_seconds() == pytest.approx(2 * HOUR_S, abs=10)


def test_a_service_that_did_not_run_says_from_when_to_when() -> None:
    watch = Watch()
    watch.gap.note_start(None)
    watch.gap.note_start(watch.clock() - timedelta(seconds=90))
    assert watch.take() is None, "a first start, or a restart by hand"
    watch.gap.note_start(watch.clock() - timedelta(hours=5))
    begun = watch.row()
    watch.run(1)
    gap = watch.take()
    assert gap is not None
    assert gap.describe([begun]) == "nobody watched from 2026-03-01 01:00:00 UTC to 2026-03-01 06:00:00 UTC: s now red"
    assert "not running" in gap.why

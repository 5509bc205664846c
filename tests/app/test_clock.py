"""The clock of the service ignores a reversed step of the wall clock, and follows and reports a lasting step."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitor.app.self_monitoring.clock import PROBATION_S, ServiceClock, Uptime, estimate_offset
from monitor.app.self_monitoring.unwatched import UnwatchedPeriod, UnwatchedPeriods
from monitor.text.instants import format_iso
from tests.tables import tabulated

START = datetime(2026, 3, 1, 6, tzinfo=UTC)
STEPS = (3600.0, -3600.0, 86400.0, -86400.0)


class Machine:
    """Wall and monotonic time of a machine whose clock can be set."""

    def __init__(self) -> None:
        self.wall, self.monotonic_s, self.suspended_s = START, 1000.0, 0.0
        self.clock = self.start_clock()

    def start_clock(self) -> ServiceClock:
        return ServiceClock(lambda: self.wall, lambda: Uptime(self.monotonic_s, self.monotonic_s + self.suspended_s))

    def suspend(self, seconds: float) -> None:
        """Suspend the machine: only the clock that includes suspensions advances."""
        self.wall += timedelta(seconds=seconds)
        self.suspended_s += seconds

    def pass_time(self, seconds: float, every_s: float = 1.0, drift: float = 0.0) -> None:
        """Let time pass and read the service clock every `every_s` seconds."""
        for _ in range(round(seconds / every_s)):
            self.monotonic_s += every_s
            self.wall += timedelta(seconds=every_s * (1 + drift))
            self.clock()

    def true_time(self) -> datetime:
        return START + timedelta(seconds=self.monotonic_s + self.suspended_s - 1000.0)


@pytest.mark.parametrize("step_s", STEPS)
def test_reversed_step_of_the_clock_has_no_effect(step_s: float) -> None:
    machine = Machine()
    machine.pass_time(30)
    machine.wall += timedelta(seconds=step_s)
    machine.pass_time(10)
    assert abs((machine.clock() - machine.true_time()).total_seconds()) < 0.01
    machine.wall -= timedelta(seconds=step_s)
    machine.pass_time(120)
    assert machine.clock() == machine.true_time()
    assert machine.clock.take_steps() == []


@pytest.mark.parametrize("step_s", STEPS)
def test_lasting_step_of_the_clock_is_followed_once(step_s: float) -> None:
    machine = Machine()
    machine.wall += timedelta(seconds=step_s)
    machine.pass_time(PROBATION_S - 2)
    assert abs((machine.clock() - machine.true_time()).total_seconds()) < 0.01
    machine.pass_time(5)
    assert machine.clock() == machine.wall
    (step,) = machine.clock.take_steps()
    assert step.seconds == pytest.approx(step_s)
    machine.pass_time(100)
    assert machine.clock.take_steps() == []


def test_correction_by_stations_ends_when_the_machine_clock_is_set() -> None:
    machine = Machine()
    machine.wall -= timedelta(hours=1)
    machine.clock = machine.start_clock()
    machine.clock.correct(3600.0)
    machine.pass_time(30)
    assert machine.clock() == machine.true_time()
    machine.wall += timedelta(
        seconds=3603.0
    )  # a person sets the clock, slightly more exactly than the correction by the stations
    machine.pass_time(5)
    assert abs((machine.clock() - machine.wall).total_seconds()) < 0.01
    assert machine.clock.correction_s == 0.0
    assert [round(step.seconds) for step in machine.clock.take_steps()] == [3]


def test_suspension_and_step_at_the_same_time_are_both_reported() -> None:
    machine = Machine()
    machine.suspend(600.0)
    machine.wall += timedelta(seconds=3600.0)
    machine.pass_time(PROBATION_S - 2)
    assert abs((machine.clock() - machine.true_time()).total_seconds()) < 0.01
    machine.pass_time(5)
    assert machine.clock() == machine.wall
    (step,) = machine.clock.take_steps()
    assert step.seconds == pytest.approx(3600.0)
    assert len(machine.clock.take_suspensions()) == 1


def test_jump_of_a_paused_machine_contains_the_skipped_period() -> None:
    machine = Machine()
    machine.pass_time(30)
    machine.wall += timedelta(seconds=7200.0)
    machine.pass_time(PROBATION_S + 5)
    (step,) = machine.clock.take_steps()
    begin, end = step.jumped_over
    assert abs((begin - START).total_seconds() - 30) <= 1
    assert (end - begin).total_seconds() == pytest.approx(7200.0)
    assert machine.clock.take_suspensions() == []


@tabulated(
    ("ahead", "synchronised", "ours"),
    [
        ([3600.0, 3605.0, 3590.0], False, True),
        ([3600.0, 3605.0, 3590.0], None, True),
        ([3600.0, 3605.0, 3590.0], True, False),  # the clocks or time zones of the stations are wrong
        ([3600.0, 3600.0, -5.0], False, True),
        ([3600.0], False, None),  # a single station cannot prove that our clock is wrong
        ([3600.0, -5.0, -5.0], False, None),
        ([3600.0, 90000.0], False, None),  # the stations disagree
        ([200.0, 250.0, 299.0], False, None),
        ([], False, None),
    ],
)
def test_our_clock_is_behind_if_many_stations_agree_on_a_time_ahead(
    ahead: list[float], synchronised: bool | None, ours: bool | None
) -> None:
    offset = estimate_offset({"a": ahead} if ahead else {}, synchronised)
    assert (None if offset is None else offset.is_ours) == ours


@tabulated("stations", [2, 10, 60])
@tabulated("synchronised", [False, None])
def test_gateway_does_not_move_our_clock_while_another_site_agrees_with_it(
    stations: int, synchronised: bool | None
) -> None:
    gateway_offsets_s, other_offsets_s = [3600.0 + index % 5 for index in range(stations)], [-3.0, -5.0]
    for offsets_by_site, before in (
        ({"a": gateway_offsets_s, "b": other_offsets_s}, None),
        ({"a": gateway_offsets_s}, {"a": gateway_offsets_s, "b": other_offsets_s}),
    ):
        offset = estimate_offset(offsets_by_site, synchronised, before)  # type: ignore[arg-type]
        assert offset is not None
        assert not offset.is_ours
        gateway_position, machine_position = offset.text.index("gateway"), offset.text.index("clock of this machine")
        assert gateway_position < machine_position
        assert "at a, while those of b fit our clock" in offset.text


def test_sites_with_one_station_must_agree() -> None:
    offset = estimate_offset({"a": [3600.0], "b": [3602.0], "c": [3590.0]}, False)
    assert offset is not None
    assert offset.is_ours
    assert offset.text.index("gateway") < offset.text.index("clock of this machine")
    assert estimate_offset({"a": [3600.0, 3600.0], "b": [9000.0, 9000.0]}, False) is None


HOUR_S = 3600.0


class WatchedMachine(Machine):
    """Supervisor that checks once a second whether the core sends heartbeats."""

    def __init__(self) -> None:
        super().__init__()
        self.gap, self.beat_s = UnwatchedPeriods(self.clock), self.monotonic_s

    def run(self, seconds: float, *, beats: bool = True, has_evaluated: bool = True) -> None:
        for _ in range(round(seconds)):
            self.pass_time(1)
            self.beat_s = self.monotonic_s if beats else self.beat_s
            late = self.monotonic_s - self.beat_s > 10
            self.gap.update(self.monotonic_s, self.beat_s, is_deciding=has_evaluated and not late)

    def take(self, *, catching_up: bool = False) -> UnwatchedPeriod | None:
        return self.gap.take([self.row(catching_up=catching_up)])

    def row(self, *, catching_up: bool = False) -> dict[str, Any]:
        facts = {"site": "s", "level_name": "red", "observability": "full", "catching_up": catching_up, "shadow": False}
        return facts | {"evaluated_at": format_iso(self.clock())}


def test_suspension_and_stop_of_the_service_are_reported_with_their_period() -> None:
    watch = WatchedMachine()
    watch.run(30)
    row_before = watch.row()
    watch.suspend(HOUR_S)
    watch.run(2)
    assert watch.gap.take([row_before]) is None, "nothing was decided since"
    assert watch.gap.take([watch.row(), row_before]) is None, "one site was not"
    assert watch.take(catching_up=True) is None, "what waits may change the level"
    gap = watch.take()
    assert gap is not None
    line = "no site was evaluated from 2026-03-01 06:00:31 UTC to 2026-03-01 07:00:31 UTC: s now red"
    assert gap.describe([watch.row()]) == line
    in_shadow = watch.row() | {"site": "t", "shadow": True}
    assert gap.describe([watch.row(), in_shadow]) == line, "others get no level of a site in shadow mode"
    assert gap.describe([in_shadow]) == line.partition(": ")[0]
    assert "suspended" in gap.cause
    watch.run(200)
    assert watch.take() is None, "once"
    watch = WatchedMachine()
    watch.gap.note_start(None)
    watch.gap.note_start(watch.clock() - timedelta(seconds=90))
    assert watch.take() is None, "a first start, or a restart by hand"
    watch.gap.note_start(watch.clock() - timedelta(hours=5))
    row_after_start = watch.row()
    watch.run(1)
    gap = watch.take()
    assert gap is not None
    assert (
        gap.describe([row_after_start])
        == "no site was evaluated from 2026-03-01 01:00:00 UTC to 2026-03-01 06:00:00 UTC: s now red"
    )
    assert "not running" in gap.cause


def test_jump_of_hours_is_reported_with_both_possible_causes() -> None:
    watch = WatchedMachine()
    watch.run(30)
    watch.wall += timedelta(seconds=HOUR_S)
    watch.run(PROBATION_S - 5)
    assert watch.take() is None, "a clock may come back"
    watch.run(10)
    gap = watch.take()
    assert gap is not None
    assert abs((gap.begin - START).total_seconds() - 30) <= 2
    assert abs((gap.end - gap.begin).total_seconds() - HOUR_S) <= 1
    assert "Either the machine stood still (a paused virtual machine) and the slope was not watched" in gap.cause
    assert "or somebody set its clock." in gap.cause


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S, 20.0])
def test_reversed_or_backward_step_of_the_clock_is_no_gap(step_s: float) -> None:
    watch = WatchedMachine()
    watch.wall += timedelta(seconds=step_s)
    watch.run(10)
    if step_s > 0:
        watch.wall -= timedelta(seconds=step_s)
    watch.run(200)
    assert watch.take() is None


def test_short_suspension_is_no_gap_and_gaps_without_a_decision_between_them_are_merged() -> None:
    watch = WatchedMachine()
    watch.suspend(20.0)
    watch.run(5)
    assert watch.take() is None
    watch = WatchedMachine()
    watch.suspend(HOUR_S)
    watch.run(5)
    watch.suspend(HOUR_S)
    watch.run(5)
    gap = watch.take()
    assert gap is not None
    assert (gap.end - gap.begin).total_seconds() == pytest.approx(2 * HOUR_S, abs=10)


def test_period_that_includes_an_earlier_step_of_the_clock_ends_last() -> None:
    watch = WatchedMachine()
    watch.run(30)
    watch.wall += timedelta(seconds=HOUR_S)
    watch.run(PROBATION_S - 20)
    watch.suspend(100.0)
    watch.run(1)
    suspension_ended_at = watch.clock()
    watch.run(30)
    gap = watch.take()
    assert gap is not None
    assert gap.end >= suspension_ended_at


@pytest.mark.parametrize(("silent_s", "told"), [(20, False), (50, True)])
def test_long_silence_of_the_core_is_a_gap(silent_s: int, told: bool) -> None:
    watch = WatchedMachine()
    watch.run(30)
    watch.run(silent_s, beats=False)
    watch.run(5)
    gap = watch.take()
    assert (gap is not None) == told
    if gap is not None:
        assert (gap.begin, gap.cause) == (START + timedelta(seconds=30), "")


def test_crash_loop_without_an_evaluation_is_one_gap() -> None:
    watch = WatchedMachine()
    watch.run(30)
    for _ in range(5):
        watch.run(5, beats=False, has_evaluated=False)
        watch.run(5, has_evaluated=False)
    watch.run(1)
    gap = watch.take()
    assert gap is not None
    assert (gap.begin, gap.end) == (START + timedelta(seconds=30), START + timedelta(seconds=81))


@pytest.mark.parametrize(("start_s", "told"), [(60, False), (130, True)])
def test_core_that_is_replaced_because_of_new_files_may_start_slowly(start_s: int, told: bool) -> None:
    watch = WatchedMachine()
    watch.run(30)
    watch.gap.note_replacement()
    watch.run(start_s, has_evaluated=False)
    watch.run(5)
    assert (watch.take() is not None) == told
    watch.run(50, beats=False)
    watch.run(5)
    assert watch.take() is not None, "the longer time is allowed once"


def test_time_in_which_another_service_watched_is_no_gap() -> None:
    watch = WatchedMachine()
    watch.run(30)
    watch.run(5, has_evaluated=False)
    watch.gap.forget()
    watch.run(HOUR_S, has_evaluated=False)
    watch.run(5)
    assert watch.take() is None


def test_site_that_cannot_be_evaluated_delays_the_report_for_ten_minutes_only() -> None:
    watch = WatchedMachine()
    watch.run(30)
    failing_row = watch.row() | {"site": "t"}
    watch.suspend(HOUR_S)
    watch.run(590)
    assert watch.gap.take([watch.row(), failing_row]) is None
    watch.run(20)
    gap = watch.gap.take([watch.row(), failing_row])
    assert gap is not None
    assert not gap.is_complete([watch.row(), failing_row])
    assert gap.describe([watch.row(), failing_row]) == (
        "no site was evaluated from 2026-03-01 06:00:31 UTC to 2026-03-01 07:00:31 UTC: s now red; "
        "t has not been evaluated since 2026-03-01 06:00:30 UTC (its last level was red)"
    )


def test_gaps_between_which_a_site_was_evaluated_are_reported_separately() -> None:
    watch = WatchedMachine()
    watch.run(30)
    failing_row = watch.row() | {"site": "t"}
    watch.suspend(HOUR_S)
    watch.run(60)
    assert watch.gap.take([watch.row(), failing_row]) is None
    watch.suspend(HOUR_S)
    watch.run(5)
    first, second = watch.take(), watch.take()
    assert first is not None
    assert second is not None
    assert (second.begin - first.end).total_seconds() == pytest.approx(60, abs=2)
    assert watch.take() is None

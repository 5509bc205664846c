"""The service's clock: a step that is taken back has never happened, one that lasts is followed and told."""

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
        """The lid is closed for so long: only what counts the time of a machine at rest goes on."""
        self.wall += timedelta(seconds=seconds)
        self.suspended_s += seconds

    def pass_time(self, seconds: float, every_s: float = 1.0, drift: float = 0.0) -> None:
        """Time goes by, and somebody looks at the clock now and then."""
        for _ in range(round(seconds / every_s)):
            self.monotonic_s += every_s
            self.wall += timedelta(seconds=every_s * (1 + drift))
            self.clock()

    def true(self) -> datetime:
        return START + timedelta(seconds=self.monotonic_s + self.suspended_s - 1000.0)


@pytest.mark.parametrize("step_s", STEPS)
def test_a_step_that_is_taken_back_has_never_happened(step_s: float) -> None:
    m = Machine()
    m.pass_time(30)
    m.wall += timedelta(seconds=step_s)
    m.pass_time(10)
    assert abs((m.clock() - m.true()).total_seconds()) < 0.01
    m.wall -= timedelta(seconds=step_s)
    m.pass_time(120)
    assert m.clock() == m.true()
    assert m.clock.take_steps() == []


@pytest.mark.parametrize("step_s", STEPS)
def test_a_step_that_lasts_is_followed_once(step_s: float) -> None:
    m = Machine()
    m.wall += timedelta(seconds=step_s)
    m.pass_time(PROBATION_S - 2)
    assert abs((m.clock() - m.true()).total_seconds()) < 0.01
    m.pass_time(5)
    assert m.clock() == m.wall
    (step,) = m.clock.take_steps()
    assert step.seconds == pytest.approx(step_s)
    m.pass_time(100)
    assert m.clock.take_steps() == []


def test_a_clock_that_stations_set_right_stays_so_when_somebody_sets_the_machine() -> None:
    m = Machine()
    m.wall -= timedelta(hours=1)
    m.clock = m.start_clock()
    m.clock.correct(3600.0)
    m.clock.take_steps()
    m.pass_time(30)
    assert m.clock() == m.true()
    m.wall += timedelta(seconds=3603.0)  # a person sets the clock, a little better than the stations did
    m.pass_time(5)
    assert abs((m.clock() - m.wall).total_seconds()) < 0.01
    assert m.clock.correction_s == 0.0
    assert [round(s.seconds) for s in m.clock.take_steps()] == [3]


def test_a_machine_that_is_suspended_and_set_has_both() -> None:
    m = Machine()
    m.suspend(600.0)
    m.wall += timedelta(seconds=3600.0)
    m.pass_time(PROBATION_S - 2)
    assert abs((m.clock() - m.true()).total_seconds()) < 0.01
    m.pass_time(5)
    assert m.clock() == m.wall
    (step,) = m.clock.take_steps()
    assert step.seconds == pytest.approx(3600.0)
    assert len(m.clock.take_suspensions()) == 1


def test_a_paused_machine_whose_uptime_stood_still_says_what_its_clock_jumped_over() -> None:
    m = Machine()
    m.pass_time(30)
    m.wall += timedelta(seconds=7200.0)
    m.pass_time(PROBATION_S + 5)
    (step,) = m.clock.take_steps()
    begin, end = step.jumped_over
    assert abs((begin - START).total_seconds() - 30) <= 1
    assert (end - begin).total_seconds() == pytest.approx(7200.0)
    assert m.clock.take_suspensions() == []


@tabulated(
    ("ahead", "synchronised", "ours"),
    [
        ([3600.0, 3605.0, 3590.0], False, True),
        ([3600.0, 3605.0, 3590.0], None, True),
        ([3600.0, 3605.0, 3590.0], True, False),  # they, or their time zones
        ([3600.0, 3600.0, -5.0], False, True),
        ([3600.0], False, None),  # one station is that station's clock
        ([3600.0, -5.0, -5.0], False, None),
        ([3600.0, 90000.0], False, None),  # they agree on nothing
        ([200.0, 250.0, 299.0], False, None),
        ([], False, None),
    ],
)
def test_many_stations_in_the_future_are_our_clock(
    ahead: list[float], synchronised: bool | None, ours: bool | None
) -> None:
    word = estimate_offset({"a": ahead} if ahead else {}, synchronised)
    assert (None if word is None else word.is_ours) == ours


@tabulated("stations", [2, 10, 60])
@tabulated("synchronised", [False, None])
def test_one_gateway_moves_no_clock_while_another_site_fits_it(stations: int, synchronised: bool | None) -> None:
    wrong, sound = [3600.0 + k % 5 for k in range(stations)], [-3.0, -5.0]
    for heard, before in (({"a": wrong, "b": sound}, None), ({"a": wrong}, {"a": wrong, "b": sound})):
        word = estimate_offset(heard, synchronised, before)  # type: ignore[arg-type]
        assert word is not None
        assert not word.is_ours
        first, then = word.text.index("gateway"), word.text.index("clock of this machine")
        assert first < then
        assert "at a, while those of b fit our clock" in word.text


def test_sites_of_one_station_have_a_voice_each_and_must_agree() -> None:
    word = estimate_offset({"a": [3600.0], "b": [3602.0], "c": [3590.0]}, False)
    assert word is not None
    assert word.is_ours
    assert word.text.index("gateway") < word.text.index("clock of this machine")
    assert estimate_offset({"a": [3600.0, 3600.0], "b": [9000.0, 9000.0]}, False) is None


HOUR_S = 3600.0


class Watch(Machine):
    """A supervisor's look, once a second, at a core that beats or does not."""

    def __init__(self) -> None:
        super().__init__()
        self.gap, self.beat_s = UnwatchedPeriods(self.clock), self.monotonic_s

    def run(self, seconds: float, *, beats: bool = True) -> None:
        for _ in range(round(seconds)):
            self.pass_time(1)
            self.beat_s = self.monotonic_s if beats else self.beat_s
            late = self.monotonic_s - self.beat_s > 10
            self.gap.update(self.monotonic_s, self.beat_s, is_beating=not late)

    def take(self, *, catching_up: bool = False) -> UnwatchedPeriod | None:
        return self.gap.take([self.row(catching_up=catching_up)])

    def row(self, *, catching_up: bool = False) -> dict[str, Any]:
        facts = {"site": "s", "level_name": "red", "observability": "full", "catching_up": catching_up}
        return facts | {"evaluated_at": format_iso(self.clock())}


def test_a_suspended_machine_and_a_service_that_did_not_run_say_from_when_to_when() -> None:
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
    assert "suspended" in gap.cause
    watch.run(200)
    assert watch.take() is None, "once"
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
    assert "not running" in gap.cause


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
    assert "Either the machine stood still (a paused virtual machine) and nobody watched" in gap.cause
    assert "or somebody set its clock." in gap.cause


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S, 20.0])
def test_a_clock_that_comes_back_or_goes_back_is_no_gap(step_s: float) -> None:
    watch = Watch()
    watch.wall += timedelta(seconds=step_s)
    watch.run(10)
    if step_s > 0:
        watch.wall -= timedelta(seconds=step_s)
    watch.run(200)
    assert watch.take() is None


def test_a_nap_is_no_gap_and_gaps_before_anything_is_decided_are_one() -> None:
    watch = Watch()
    watch.suspend(20.0)
    watch.run(5)
    assert watch.take() is None
    watch = Watch()
    watch.suspend(HOUR_S)
    watch.run(5)
    watch.suspend(HOUR_S)
    watch.run(5)
    gap = watch.take()
    assert gap is not None
    assert (gap.end - gap.begin).total_seconds() == pytest.approx(2 * HOUR_S, abs=10)


@pytest.mark.parametrize(("silent_s", "told"), [(20, False), (50, True)])
def test_a_core_that_was_silent_for_long_is_a_gap(silent_s: int, told: bool) -> None:
    watch = Watch()
    watch.run(30)
    watch.run(silent_s, beats=False)
    watch.run(5)
    gap = watch.take()
    assert (gap is not None) == told
    if gap is not None:
        assert (gap.begin, gap.cause) == (START + timedelta(seconds=30), "")

"""Motion that only its own error keeps from counting: a person is asked, nothing is hidden, and noise asks nobody."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Decision, DecisionInputs, Memory, NewestEpoch
from monitor.readings.records import Reading
from monitor.sites.records import Criterion, Dwell, Level, SeriesSpec, Site, Station, Threshold
from monitor.text.instants import epoch_s, from_epoch_s, parse_time
from tests.data.criteria import KINDS

T0 = epoch_s(parse_time("2026-01-01T00:00:00Z"))
H, DAY = 3600.0, 86400.0
YELLOW, ORANGE = "health:v|P1:undecided_yellow", "health:v|P1:undecided_orange"
Row = tuple[float, float, float]  # instant, value, stated error


def make_site(interval_s: float, window_s: float) -> Site:
    series = SeriesSpec("P1", "displacement", "mm", interval_s, 6 * interval_s, 0.5, 20.0)
    point = Station("P1", series=(series,))
    bounds = (Threshold(1, over=5.0, window_s=window_s), Threshold(2, over=10.0, window_s=window_s))
    criterion = Criterion("v", KINDS["velocity"], ("P1",), "displacement", bounds, dwell=Dwell(2, 3))
    criterion = replace(criterion, direction="norm", min_sigma=5.0, recover=0.6)
    levels = tuple(Level(i, n, i < 2) for i, n in enumerate(("green", "yellow", "orange", "red")))
    return Site("s", "S", 46.0, 8.0, "UTC", levels, (point,), (criterion,), version="v")


def look(site: Site, memory: Memory, rows: Sequence[Row], now_s: float) -> Decision:
    readings = tuple(
        Reading(from_epoch_s(at_s), from_epoch_s(at_s), 0, value, 0.0, value, sigma or None, ())
        for at_s, value, sigma in rows
    )
    newest = {"P1.displacement": NewestEpoch(rows[-1][0], rows[-1][0])}
    return decide(
        PreparedSite(site), memory, DecisionInputs({"P1.displacement": readings}, newest), from_epoch_s(now_s)
    )


def play(site: Site, rows: Sequence[Row], since: int = 10) -> list[Decision]:
    found, memory = [], Memory()
    for count in range(since, len(rows) + 1):
        found.append(look(site, memory, rows[max(0, count - 60) : count], rows[count - 1][0]))
        memory = found[-1].memory
    return found


def daily(value: Callable[[int], float], sigma: float, days: int, seed: int = 1) -> list[Row]:
    noise = random.Random(seed)
    return [(T0 + i * DAY, value(i) + noise.gauss(0.0, 1.0), sigma) for i in range(days)]


DAILY = make_site(DAY, 14 * DAY)


def test_large_stated_error_does_not_hide_steady_motion() -> None:
    looks = play(DAILY, daily(lambda i: 15.0 * i, 60.0, 40))
    assert {d.level for d in looks} == {0}, "it is not shown to be real"
    assert {YELLOW, ORANGE} <= set(looks[-1].memory.conditions)
    (opened,) = [c for d in looks for c in d.changes if c.key == ORANGE]
    assert opened.open
    assert "15." in opened.reason
    assert "is over 10" in opened.reason


@pytest.mark.parametrize("sigma", [1.0, 60.0])
def test_station_at_rest_opens_no_question_whatever_error_it_states(sigma: float) -> None:
    noise = [d for seed in range(2) for d in play(DAILY, daily(lambda _: 0.0, sigma, 90, seed))]
    assert not any(k.startswith("health:v|") for d in noise for k in d.memory.conditions)


def test_large_noise_opens_no_question_and_certain_motion_counts() -> None:
    """Scatter as large as what is stated: its rate lies over the bound for some days, though nothing moves."""
    noise = random.Random(3)
    rows = [(T0 + i * DAY, noise.gauss(0.0, 60.0), 60.0) for i in range(150)]
    assert not any("undecided" in k for d in play(DAILY, rows) for k in d.memory.conditions)
    looks = play(DAILY, daily(lambda i: 15.0 * i, 1.0, 40))
    assert looks[-1].level == 2
    assert not any(k.startswith("health:v|") for d in looks for k in d.memory.conditions)


def test_two_contradicting_instruments_under_one_name_are_a_question() -> None:
    """One says that it stands, one that it moves at 30 mm/day: together a scatter, within which the motion hides."""
    site = make_site(300.0, 4 * H)
    still = [(T0 + i * 300.0, random.Random(i).gauss(0.0, 0.1), 0.0) for i in range(96)]
    moving = [(at + 7.0, 720.0 * max(0.0, at - T0 - 3 * H) / DAY + value, 0.0) for at, value, _ in still]
    rows = sorted([*still, *moving])
    memory, asked, levels = Memory(), set(), set()
    for count in range(20, len(rows) + 1, 4):
        decision = look(site, memory, rows[:count], rows[count - 1][0])
        memory = decision.memory
        asked |= {k for k in memory.conditions if k.startswith("health:") and "stale" not in k}
        levels.add(decision.level)
    assert asked or max(levels) > 0, "a motion was swallowed in silence"

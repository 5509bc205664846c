"""Texts of conditions and of the level: what happened, what it means, what to do."""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from monitor.decision.conditions import CANNOT_SEE, LONE_TOP, REACHABLE
from monitor.decision.records import Decision
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.records import Site
from monitor.text.instants import parse_time
from tests.data.measured import replay
from tests.data.site_text import FOUR, bounds, criterion, head, series, station, table

START = parse_time("2026-03-01T00:00:00Z")
HOUR = timedelta(hours=1)
STATIONS = ("G1", "G2", "G3", "G4")
MOVING = ("G1", "G2")


def make_site(logger: str | None = None) -> Site:
    """Return four crack gauges that are read every hour; all but G4 depend on the logger, if there is one."""
    crack = series("crack_opening", "mm", max_silence="3h", noise_floor=0.3)
    text = head("slope", levels=FOUR)
    for name in STATIONS:
        facts = {"logger": logger} if logger is not None and name != "G4" else {}
        text += station(name, crack, **facts)
    text += criterion(
        "rate",
        stations=["G*"],
        quantity="crack_opening",
        dwell={"hits": 2, "of": 3},
        valid_for="6h",
        **bounds(yellow="20 6h", orange="60 6h", red="200 4h"),
    )
    return parse_site(text + table("[fusion]", hold_when_missing="12h"), "slope.toml")


def list_readings(
    opening_mm: Callable[[str, int], float], hours: int, is_silent: Callable[[str, int], bool] = lambda *_: False
) -> Iterator[Observation]:
    """Yield hourly readings with noise, from the opening by station and hour."""
    noise = random.Random(1)
    for hour in range(hours):
        for name in STATIONS:
            value = opening_mm(name, hour) + noise.gauss(0.0, 0.2)
            if not is_silent(name, hour):
                at = START + hour * HOUR
                yield Observation("slope", name, "crack_opening", "mm", at, at, value)


def decide_last(site: Site, readings: Iterator[Observation]) -> Decision:
    """Return the decision after the last reading."""
    *_, (_, decision) = replay(site, list(readings), extra_s=1500.0)
    return decision


def open_fast(name: str, hour: int) -> float:
    """Return an opening of 288 mm/day at G1 and G2, from hour 30 on."""
    return 12.0 * max(0, hour - 30) if name in MOVING else 0.0


def open_and_stop(name: str, hour: int) -> float:
    """Return an opening of 288 mm/day at G1 and G2, from hour 30 to hour 38."""
    return 12.0 * min(max(0, hour - 30), 8) if name in MOVING else 0.0


def test_several_silent_series_are_one_sentence():
    decision = decide_last(
        make_site(), list_readings(open_fast, 48, lambda name, hour: hour >= 40 and name in {"G1", "G2", "G3"})
    )
    assert decision.memory.conditions[REACHABLE].reason == (
        "red cannot be raised now: it needs 2 independent witnesses, and 1 can request it. The highest level that can "
        "be raised is orange; 3 of 4 series are silent: G1 crack opening, G2 crack opening, G3 crack opening. Check "
        "the power supply and the radio of what is silent"
    )


def test_level_names_its_silent_witnesses():
    decision = decide_last(make_site(), list_readings(open_fast, 60, lambda name, hour: hour >= 40 and name in MOVING))
    assert decision.evidence["sentence"] == (
        "red stays: no new readings from G1 (rate-1), G2 (rate-1); a person must lower it"
    )
    assert decision.memory.conditions[CANNOT_SEE].reason == (
        "no valid readings behind red since 2026-03-02 18:00 UTC, for more than 12 h. The level stays red; 2 of 4 "
        "series are silent: G1 crack opening, G2 crack opening. Check the slope by other means, then set the level. "
        "Check the power supply and the radio of what is silent"
    )


def test_silent_logger_is_the_reason_why_a_level_cannot_be_raised():
    decision = decide_last(
        make_site(logger="L1"), list_readings(lambda *_: 0.0, 36, lambda name, hour: hour >= 30 and name != "G4")
    )
    assert "; logger L1 is silent, and so is everything that depends on it: G1, G2, G3." in (
        decision.memory.conditions[REACHABLE].reason
    )
    assert decision.memory.conditions["health:logger:L1:stale"].reason == (
        "logger L1 is silent, and so is everything that depends on it: G1, G2, G3; the newest reading is from "
        "2026-03-02 05:00 UTC. Check its power supply and its radio"
    )


def open_slowly_and_jump(name: str, hour: int) -> float:
    """Return an opening of 24 mm/day at G1 from hour 30 to hour 44, and a jump of 60 mm in the hour after."""
    return min(max(0.0, hour - 30.0), 14.0) + (60.0 if hour >= 45 else 0.0) if name == "G1" else 0.0


def test_vote_states_that_nobody_has_answered_what_the_jump_of_its_station_was():
    decision = decide_last(make_site(), list_readings(open_slowly_and_jump, 50))
    assert decision.evidence["sentence"].startswith(
        "yellow stays: G1 still counts for yellow because nobody has answered what its jump was: rate of crack "
    )


def test_vote_states_that_the_jump_of_its_station_counts_as_movement():
    decision = decide_last(make_site(), list_readings(open_and_stop, 60))
    assert decision.evidence["sentence"].startswith(
        "red stays: G1 still counts for red because its jump counts as movement: rate of crack opening: "
    )


def test_only_witness_of_the_highest_level_is_named_and_what_is_missing():
    decision = decide_last(make_site(), list_readings(lambda name, hour: open_fast(name, hour) * (name == "G1"), 36))
    assert decision.evidence["sentence"].startswith("orange stays: G1: rate of crack opening: ")
    assert decision.memory.conditions[LONE_TOP].reason == (
        "verify now: red is requested only by G1. red needs 2 independent witnesses, so the present level stays below "
        'red. Check whether the slope moves, and check the instrument. If the slope moves, answer "movement": red is '
        "then set at once"
    )


@pytest.mark.parametrize(
    ("hours", "consequence"),
    [
        (31, "Answer what it was. Without an answer it counts for yellow from 2026-03-02 08:30 UTC on"),
        (36, "It counts for yellow. Check the slope, and answer what it was"),
    ],
)
def test_jump_states_when_it_counts(hours: int, consequence: str):
    decision = decide_last(
        make_site(), list_readings(lambda name, hour: 60.0 if name == "G1" and hour >= 30 else 0.0, hours)
    )
    reason = decision.memory.conditions["health:G1:verify"].reason
    assert reason.startswith("verify now: G1 jumped by 59.8 mm at 2026-03-02 06:00 UTC")
    assert reason.endswith(f". {consequence}")


def test_jump_counts_as_movement_if_its_station_is_silent():
    readings = list_readings(
        lambda name, hour: 60.0 if name == "G1" and hour >= 30 else 0.0,
        40,
        lambda name, hour: name == "G1" and hour > 30,
    )
    reason = decide_last(make_site(), readings).memory.conditions["health:G1:verify"].reason
    assert reason.endswith(". It counts as movement, for red. Check the slope, and answer if it was something else")


def test_level_of_a_jump_falls_by_itself_after_the_jump_returned():
    readings = list_readings(lambda name, hour: 60.0 if name == "G1" and 30 <= hour < 36 else 0.0, 37)
    decisions = [decision for _, decision in replay(make_site(), list(readings), extra_s=1500.0)]
    assert max(decision.level for decision in decisions) == 1
    last = decisions[-1]
    assert last.level == 0
    assert last.memory.conditions["health:G1@2026-03-02T06:00:00.000000Z:verify"].reason.endswith(
        "the station is back at its position before the jump. The jump does not count any more. A level that it raised "
        "falls by itself, unless the site file requires a person to lower it. Answer what it was, if you know"
    )


def test_end_of_a_condition_repeats_what_happened_only():
    readings = list_readings(lambda *_: 0.0, 40, lambda name, hour: 30 <= hour < 36 and name in {"G1", "G2", "G3"})
    changes = [change for _, decision in replay(make_site(), list(readings)) for change in decision.changes]
    ends = [change.reason for change in changes if change.key == REACHABLE and not change.open]
    (end,) = ends
    assert end == (
        "resolved: red cannot be raised now: it needs 2 independent witnesses, and 1 can request it. The highest level "
        "that can be raised is orange"
    )

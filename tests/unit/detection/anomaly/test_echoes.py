"""What an alarm or a stuck stretch leaves in the parts of `rules` is no new alarm; what is stronger or later is one."""

import numpy as np
import pytest

from detection.anomaly.detector import start_without_history
from detection.anomaly.parts import LONG_AGO, StrongestPart
from detection.anomaly.windows import Series

DAY = 86400.0
CELLS = 200
LIMITS = {"level": 5.0, "creep": 20.0}


def alarms(level=(), creep=(), stuck=(), rows=1, step_s=DAY, cells=CELLS, shown_above=1.0, dismissed=None):
    """Cells of the first row that alarm, given cells and scores in thresholds of two parts."""
    table = {part: np.full((rows, cells), 0.1) for part in LIMITS}
    for part, given in (("level", level), ("creep", creep)):
        for cell, score in given:
            table[part][0, cell] = score * LIMITS[part]
    held = np.zeros((rows, cells), dtype=bool)
    held[0, list(stuck)] = True
    strongest = StrongestPart(rows, step_s, LIMITS, shown_above)
    if dismissed is not None:
        strongest.forgive(*(np.full(rows, cell) for cell in dismissed))
    score, _ = strongest.feed(table, held, 0, cells)
    assert rows == 1 or not (score[1:] > 1.0).any()
    return np.flatnonzero(score[0] > 1.0).tolist()


def test_what_an_alarm_leaves_in_the_long_lines_is_no_new_alarm():
    assert alarms(level=[(50, 1.5)], creep=[(90, 1.4)]) == [50]
    assert alarms(level=[(50, 1.5)], creep=[(111, 1.4)]) == [50, 111]  # the lines of 60 days have passed it


def test_what_a_person_dismissed_has_no_echo():
    assert alarms(level=[(50, 1.5)], creep=[(90, 1.4)], dismissed=(50, LONG_AGO)) == [50, 90]
    assert alarms(level=[(50, 1.5), (60, 1.5)], creep=[(90, 1.4)], dismissed=(50, LONG_AGO)) == [50, 60]
    false = {"level": [(50, 1.5), (70, 1.5)], "creep": [(90, 1.4)]}
    assert alarms(**false, dismissed=(70, LONG_AGO, 50)) == [50, 70], "the first one stands"
    assert alarms(**false, dismissed=(70, LONG_AGO)) == [50, 70, 90]
    stuck = range(45, 58)
    assert alarms(creep=[(80, 1.5)], stuck=stuck, dismissed=(57, LONG_AGO)) == [], "another alarm was dismissed"
    assert alarms(creep=[(80, 1.5)], stuck=stuck, dismissed=(48, 50)) == [80], "it goes on after the word"
    assert alarms(creep=[(80, 1.5)], stuck=stuck, dismissed=(48, 57)) == [80]
    twice = [*range(30, 40), *range(45, 58)]
    assert alarms(creep=[(80, 1.5)], stuck=twice, dismissed=(57, 57, LONG_AGO, 39)) == [], "the first stretch stands"
    assert alarms(creep=[(80, 1.5)], stuck=twice, dismissed=(57, 57)) == [80]


def test_a_stronger_one_one_of_a_part_that_looks_back_less_and_one_that_goes_on_are_no_echo():
    assert (alarms(level=[(50, 1.5)], creep=[(90, 2.1)]), alarms(level=[(50, 1.5), (90, 1.4)])) == ([50, 90], [50, 90])
    assert alarms(creep=[(90, 1.4)]) == [90]
    going_on = [(cell, 1.2) for cell in range(57, 99, 7)]
    assert alarms(level=[(50, 1.5)], creep=going_on) == [50, *(cell for cell, _ in going_on)]
    assert alarms(level=[(50, 1.5)], creep=[(100, 1.4), (115, 1.4)]) == [50, 115]


def test_the_jump_after_a_stuck_stretch_is_its_end_and_no_sensor_is_silent_for_ever():
    assert alarms(level=[(60, 1.5)], stuck=range(45, 58)) == []
    assert alarms(level=[(66, 1.5)], stuck=range(45, 58)) == [66]
    assert alarms(creep=[(80, 1.5)], stuck=range(45, 58)) == []
    again = [cell for first in (20, 65, 110, 155) for cell in range(first, first + 12)]
    assert alarms(creep=[(85, 1.5), (100, 1.5), (190, 1.5)], stuck=again) == [100, 190]
    assert alarms(creep=[(150, 1.5)], stuck=[*range(20, 32), *range(95, 107)]) == []  # well for 62 days: as the first
    assert alarms(level=[(130, 1.5)], stuck=range(20, 125)) == []


def test_other_series_alarm_as_before_and_what_is_held_back_keeps_its_score():
    table = {part: np.full((2, CELLS), 0.1) for part in LIMITS}
    table["level"][0, 50], table["creep"][1, 90] = 9.0, 30.0
    score, which = StrongestPart(2, DAY, LIMITS).feed(table, np.zeros((2, CELLS), dtype=bool), 0, CELLS)
    assert (np.argwhere(score > 1.0).tolist(), which[0, 50], which[1, 90]) == ([[0, 50], [1, 90]], 0, 1)
    table = {part: np.full((1, CELLS), 0.1) for part in LIMITS}
    table["level"][0, 50], table["creep"][0, 90] = 9.0, 30.0
    strongest = StrongestPart(1, DAY, LIMITS)
    strongest.feed(table, np.zeros((1, CELLS), dtype=bool), 0, CELLS)
    assert np.flatnonzero(np.isfinite(strongest.held[0])).tolist() == [90]
    assert (strongest.held[0, 90], strongest.held_by[0, 90]) == (1.5, 1)


def test_what_fast_and_slow_series_and_what_was_shown_to_nobody_hold_back():
    """Of readings each minute the long lines are a day: alarms of a week are one, so nothing is left to be hidden."""
    assert alarms(level=[(50, 1.5)], creep=[(1600, 1.4)], step_s=60.0, cells=2000) == [50, 1600]
    # Labels raised the threshold: a score below it is shown to nobody.
    said = {"level": [(50, 1.2)], "creep": [(90, 1.4)]}
    assert (alarms(**said, shown_above=1.3), alarms(**said, shown_above=1.1)) == ([50, 90], [50])
    assert alarms(level=[(50, 1.5)], creep=[(90, 1.4)], stuck=range(80, 85), shown_above=None) == [50, 90]
    # Every 15 days: the next reading of one that alarms is no echo, though a week has passed.
    assert alarms(creep=[(k, 1.5) for k in range(50, 56)], step_s=15 * DAY) == [*range(50, 56)]
    assert alarms(creep=[(50, 1.5), (52, 1.5)], step_s=15 * DAY) == [50]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_block_by_block_with_open_cells_is_the_whole(size):
    rng = np.random.default_rng(size)
    table = {part: limit * rng.exponential(0.35, (4, CELLS)) for part, limit in LIMITS.items()}
    table["creep"][1, 20:40] = np.nan
    held = rng.random((4, CELLS)) > 0.98
    whole, which = StrongestPart(4, DAY, LIMITS).feed(table, held, 0, CELLS)
    running = StrongestPart(4, DAY, LIMITS)
    for first in range(0, CELLS - size - 2, size):
        cells = slice(first, first + size + 2)  # two of them stay open
        score, part = running.feed({p: t[:, cells] for p, t in table.items()}, held[:, cells], first, size)
        np.testing.assert_array_equal(score, whole[:, cells])
        np.testing.assert_array_equal(part, which[:, cells])


def test_a_step_alarms_once_and_not_again_when_it_leaves_the_lines():
    detector = start_without_history("rules", DAY)
    limits = {part: one.value for part, one in detector.thresholds.items()}
    once, echoes = 0, 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        samples = {f"S{k}": Series(np.arange(500) * DAY, rng.normal(0, 1, 500), DAY) for k in range(6)}
        samples["S0"].values[380:] += 12.0
        scores, scored = detector.score_by_part(samples)
        found = np.flatnonzero(scores["S0"][0][380:470] > 1.0)
        assert found[0] < 2
        once += not (np.diff(found) > 7).any()
        every = np.any([scored.by[part]["S0"][380:470] > limit for part, limit in limits.items()], axis=0)
        echoes += bool((np.diff(np.flatnonzero(every)) > 7).any())
    assert once == 12
    assert echoes > 0  # what the parts say without the rule


@pytest.mark.filterwarnings("error")
def test_a_part_whose_record_never_scored_alarms_beyond_one_and_divides_by_nothing():
    strongest = StrongestPart(1, DAY, {"level": 0.0, "creep": 20.0}, None)
    table = {"level": np.array([[0.0, 0.4, 3.0]]), "creep": np.array([[0.0, 2.0, 10.0]])}
    score, which = strongest.feed(table, np.zeros((1, 3), dtype=bool), 0, 3)
    assert (score.tolist(), which[0, 2]) == ([[0.0, 0.4, 3.0]], 0)

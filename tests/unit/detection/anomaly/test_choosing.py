"""Ways to alarm that the bench of choosing compares: what lasts, what counts together, where an alarm begins."""

import numpy as np

from detection.anomaly.faults import Event
from detection.anomaly.windows import Series
from tests.bench.anomaly.bench_choosing import Laid, Tried, count_thresholds

DAY = 86400.0


def lay_scores(level, trend):
    """A station with two faults, at cells 300 to 306 and 340 to 346, and the scores of two parts."""
    series = Series(np.arange(400) * DAY, np.zeros(400), DAY)
    events = [Event("S", "burst", 300, 306, 306), Event("S", "burst", 340, 346, 346)]
    nowhere = np.zeros(400, dtype=bool)
    return Laid({"S": series}, events, {"level": level[None], "trend": trend[None]}, nowhere[None], {"S": nowhere})


def test_an_alarm_that_lasts_covers_a_later_fault_that_it_did_not_find():
    level = np.full(400, 0.1)
    level[300:360] = 0.6
    level[302] = 1.1
    laid = lay_scores(level, np.zeros(400))
    limits = {"level": 1.0, "trend": 1.0}
    assert laid.judge(limits, Tried()).found == 1
    lasting = laid.judge(limits, Tried(echoes=True, until=0.5))
    assert (lasting.found, lasting.runs, lasting.right) == (2, 1, 1)
    assert laid.judge(limits, Tried(echoes=True, until=0.5), begins=True).found == 1
    assert laid.judge(limits, Tried(echoes=True, until=0.7)).found == 1


def test_parts_that_just_miss_count_together_and_thresholds_are_counted_on_that():
    near = np.full(400, 0.1)
    near[[303, 343]] = 0.95
    near[280] = 0.8
    laid = lay_scores(near, near)
    limits = {"level": 1.0, "trend": 1.0}
    assert laid.judge(limits, Tried()).found == 0
    assert laid.judge(limits, Tried(echoes=True, power=6)).found == 2
    unused = {part: np.zeros((1, 400)) for part in ("drift", "creep", "bend", "noise")}
    scaled = dict.fromkeys(laid.by, 5.2 * near[None]) | unused
    strong = Laid(laid.faulty, laid.events, scaled, laid.stuck, laid.certain)
    found = count_thresholds([[strong]], Tried(counts=True))
    outcome = strong.judge(found, Tried())
    assert (outcome.found, outcome.runs) == (2, 2)
    assert strong.judge({**found, "level": 5.0, "trend": 5.0}, Tried()).found == 0

"""How far a threshold is raised above the counted one, from what people said of its alarms: slowly, by counting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

DAY_S: Final = 86400.0
# Below so many labelled alarms nothing is measured, and no threshold moves.
FEWEST_LABELS: Final = 10
# What is older is forgotten.
LABEL_MEMORY_S: Final = 180.0 * DAY_S
# A threshold moves by 5 % a week at most. It is never below the one counted on the site's past, nor 1.5 times above it.
EVERY_S: Final = 7.0 * DAY_S
STEP: Final = 0.05
LOWEST: Final = 1.0
HIGHEST: Final = 1.5
COVERAGE: Final = 0.8  # of the interval of a rate


@dataclass(frozen=True, slots=True)
class Alarm:
    """A happening that a detector scored above its counted threshold."""

    score: float  # the highest in it, in units of the counted threshold
    is_false: bool | None = None  # what people said; None = nobody said anything
    shown: bool = True  # it was above the corrected threshold of its time; else nobody could say anything


@dataclass(frozen=True, slots=True)
class FalseAlarmRate:
    """False alarms per sensor-month, with its 80 % interval."""

    value: float
    low: float
    high: float


def count_labels(alarms: Sequence[Alarm]) -> int:
    """How many of the alarms that were shown somebody has labelled."""
    return sum(a.shown and a.is_false is not None for a in alarms)


def measure_rate(alarms: Sequence[Alarm], months: float) -> FalseAlarmRate | None:
    """The rate of what was shown; None with fewer than ten labels.

    Where people labelled half of the alarms, half of the sensor-months were looked at. The interval is that of a
    Poisson count (Garwood 1936).

    `months`: sensor-months of the time in which the instruments were well.
    """
    labels = count_labels(alarms)
    if labels < FEWEST_LABELS or not months > 0:
        return None
    looked = months * labels / sum(a.shown for a in alarms)
    false = sum(a.shown and a.is_false is True for a in alarms)
    return FalseAlarmRate(false / looked, _lower(false) / looked, _upper(false) / looked)


def choose_factor(alarms: Sequence[Alarm], months: float, budget: float, before: float) -> float:
    """The factor on the counted threshold for the week to come.

    1. Up, towards the lowest factor whose false alarms of the time are within the budget.
    2. Down, towards the lowest factor whose interval is within the budget as a whole.
    3. By 5 % at most, between 1 and 1.5. With fewer than ten labels it stays.

    An alarm that nobody labelled counts by the share of false ones among the labelled. One that was not shown counts as
    false.
    """
    labels = count_labels(alarms)
    if labels < FEWEST_LABELS or not months > 0:
        return before
    share = sum(a.shown and a.is_false is True for a in alarms) / labels
    expected = sure = LOWEST
    count = 0.0
    for alarm in sorted(alarms, key=lambda a: -a.score):
        count += 1.0 if not alarm.shown else share if alarm.is_false is None else float(alarm.is_false)
        if sure == LOWEST and _upper(count) > budget * months:
            sure = max(LOWEST, alarm.score)
        if count > budget * months:
            expected = max(LOWEST, alarm.score)
            break
    wanted = max(expected, min(sure, before))
    return min(max(wanted, before * (1.0 - STEP), LOWEST), before * (1.0 + STEP), HIGHEST)


def share_budget(budget: float, alarms: Mapping[str, Sequence[Alarm]]) -> dict[str, float]:
    """The budget of a site split over its detectors by what people confirmed.

    In equal parts, until each of them has ten labels. Then by the share of their alarms that are real: (confirmed + 1)
    of (labelled + 2), between half and one and a half of an equal part before they are brought to the whole.

    >>> share_budget(1.0, {"rules": [Alarm(2.0, False)] * 10, "ae": [Alarm(2.0, True)] * 10})
    {'rules': 0.75, 'ae': 0.25}
    """
    label_counts = {name: count_labels(row) for name, row in alarms.items()}
    if len(alarms) < 2 or min(label_counts.values()) < FEWEST_LABELS:
        return dict.fromkeys(alarms, budget / max(1, len(alarms)))
    worth = {
        name: (sum(a.shown and a.is_false is False for a in row) + 1.0) / (label_counts[name] + 2.0)
        for name, row in alarms.items()
    }
    mean = sum(worth.values()) / len(worth)
    bounded = {name: min(max(one / mean, 0.5), 1.5) for name, one in worth.items()}
    return {name: budget * one / sum(bounded.values()) for name, one in bounded.items()}


def _lower(count: float) -> float:
    from scipy.special import gammaincinv  # half of a quantile of chi-square; scipy.stats takes half a second to load

    return float(gammaincinv(count, (1.0 - COVERAGE) / 2.0)) if count else 0.0


def _upper(count: float) -> float:
    from scipy.special import gammaincinv

    return float(gammaincinv(count + 1.0, (1.0 + COVERAGE) / 2.0))

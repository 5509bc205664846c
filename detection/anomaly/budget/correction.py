"""Correct the threshold of a detector slowly, from the labels that people give to its alarms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

DAY_S: Final = 86400.0
# With fewer labelled alarms no rate is measured, and no threshold changes.
MIN_LABELS: Final = 10
# Older labels are not used.
LABEL_MEMORY_S: Final = 180.0 * DAY_S
# The factor on a threshold changes by 5 % a week at most, between 1 and 1.5.
EVERY_S: Final = 7.0 * DAY_S
STEP: Final = 0.05
LOWEST: Final = 1.0
HIGHEST: Final = 1.5
# Coverage of the interval of a rate.
COVERAGE: Final = 0.8


@dataclass(frozen=True, slots=True)
class Alarm:
    """Consecutive scores above the counted threshold of a detector.

    Attributes:
        score: The highest score, in multiples of the counted threshold.
        is_false: Label that people gave; None without a label.
        shown: Whether a score was above the corrected threshold at its time. Other alarms cannot be labelled.
    """

    score: float
    is_false: bool | None = None
    shown: bool = True


@dataclass(frozen=True, slots=True)
class FalseAlarmRate:
    """False alarms per sensor-month, with an 80 % interval."""

    value: float
    low: float
    high: float


def count_labels(alarms: Sequence[Alarm]) -> int:
    """Return how many of the alarms that were shown have a label."""
    return sum(alarm.shown and alarm.is_false is not None for alarm in alarms)


def measure_rate(alarms: Sequence[Alarm], months: float) -> FalseAlarmRate | None:
    """Return the rate of false alarms among the alarms that were shown; None with fewer than ten labels.

    If people labelled half of the alarms, half of the sensor-months count. The interval is that of a Poisson count
    (Garwood 1936).

    Args:
        months: Sensor-months in which the instruments worked.
    """
    labels = count_labels(alarms)
    if labels < MIN_LABELS or not months > 0:
        return None
    labelled_months = months * labels / sum(alarm.shown for alarm in alarms)
    false = sum(alarm.shown and alarm.is_false is True for alarm in alarms)
    return FalseAlarmRate(false / labelled_months, _lower(false) / labelled_months, _upper(false) / labelled_months)


def choose_factor(alarms: Sequence[Alarm], months: float, budget: float, before: float) -> float:
    """Return the factor on the counted threshold for the next week.

    1. It rises towards the lowest factor with which the false alarms are within the budget.
    2. It falls towards the lowest factor with which the whole interval of the rate is within the budget.
    3. It changes by 5 % at most, and stays between 1 and 1.5. With fewer than ten labels it does not change.

    An alarm without a label counts as the share of false alarms among those with a label. An alarm that was not shown
    counts as false.

    Args:
        months: Sensor-months in which the instruments worked.
        budget: False alarms per sensor-month.
        before: The factor of the last week.
    """
    labels = count_labels(alarms)
    if labels < MIN_LABELS or not months > 0:
        return before
    share = sum(alarm.shown and alarm.is_false is True for alarm in alarms) / labels
    expected = sure = LOWEST
    count = 0.0
    for alarm in sorted(alarms, key=lambda alarm: -alarm.score):
        count += 1.0 if not alarm.shown else share if alarm.is_false is None else float(alarm.is_false)
        if sure == LOWEST and _upper(count) > budget * months:
            sure = max(LOWEST, alarm.score)
        if count > budget * months:
            expected = max(LOWEST, alarm.score)
            break
    wanted = max(expected, min(sure, before))
    return min(max(wanted, before * (1.0 - STEP), LOWEST), before * (1.0 + STEP), HIGHEST)


def share_budget(budget: float, alarms: Mapping[str, Sequence[Alarm]]) -> dict[str, float]:
    """Split the budget of a site over its detectors by the alarms that people confirmed.

    The shares are equal until each detector has ten labels. Then they follow the share of confirmed alarms, (confirmed
    + 1) / (labelled + 2), limited to between 0.5 and 1.5 of its mean over the detectors, and sum to the budget.

    >>> share_budget(1.0, {"rules": [Alarm(2.0, False)] * 10, "ae": [Alarm(2.0, True)] * 10})
    {'rules': 0.75, 'ae': 0.25}
    """
    label_counts = {name: count_labels(row) for name, row in alarms.items()}
    if len(alarms) < 2 or min(label_counts.values()) < MIN_LABELS:
        return dict.fromkeys(alarms, budget / max(1, len(alarms)))
    worth = {
        name: (sum(alarm.shown and alarm.is_false is False for alarm in row) + 1.0) / (label_counts[name] + 2.0)
        for name, row in alarms.items()
    }
    mean = sum(worth.values()) / len(worth)
    bounded = {name: min(max(value / mean, 0.5), 1.5) for name, value in worth.items()}
    return {name: budget * value / sum(bounded.values()) for name, value in bounded.items()}


def _lower(count: float) -> float:
    """Return the lower end of the interval of a Poisson count, half of a quantile of chi-square."""
    from scipy.special import gammaincinv  # scipy.stats takes half a second to import

    return float(gammaincinv(count, (1.0 - COVERAGE) / 2.0)) if count else 0.0


def _upper(count: float) -> float:
    from scipy.special import gammaincinv

    return float(gammaincinv(count + 1.0, (1.0 + COVERAGE) / 2.0))

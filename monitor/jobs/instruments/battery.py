"""When a battery will be empty, from its own voltages or levels, and whether its panel still charges it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

DAY_S: Final = 86400.0
DAYS: Final = 14  # looked back
LEAST_DAYS: Final = 5
FALLING_SHARE: Final = 0.8  # of all pairs of days, the later one must be the lower
FAR_DAYS: Final = 60.0  # farther ahead a straight line says nothing
USUAL_SWING_V: Final = 0.1  # a battery that rises less by day has no panel
LOST_SWING: Final = 0.25  # of the usual swing


@dataclass(frozen=True, slots=True)
class Day:
    """Lowest and highest voltage, or level, of a day; `at_s` is the hour of the lowest."""

    at_s: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Expectation:
    """When a battery is expected to be empty; None = not known, and `method` says why."""

    empty_s: float | None
    method: str


def expect_empty(days: Sequence[Day], empty: float | None, now_s: float, unit: str = "V") -> Expectation:
    """Extend the line through the lowest voltages of the last days to the voltage at which the instrument stops.

    In the same way the levels that devices work out themselves, where `unit` is `%`.

    The line is that of Theil and Sen: the median of the slopes of all pairs of days (Sen, 1968, J. Am. Stat. Assoc.
    63), which one cold night does not bend. It is extended only where four pairs in five fall.

    >>> days = [Day(n * 86400.0, 12.4 - 0.1 * n, 12.9 - 0.1 * n) for n in range(7)]
    >>> found = expect_empty(days, 11.4, 6 * 86400.0)
    >>> round((found.empty_s - 6 * 86400.0) / 86400.0, 6), found.method
    (4.0, 'line through the daily lows of 7 days, -0.1 V per day, down to 11.4 V')
    >>> expect_empty(days, None, 6 * 86400.0).method
    'no voltage is declared at which it is empty'
    """
    if empty is None:
        return Expectation(None, "no voltage is declared at which it is empty")
    if not days:
        return Expectation(None, "no voltage came")
    if days[-1].low <= empty and empty > 0.0:  # what still says 0 % of itself may say so for years
        return Expectation(now_s, f"{days[-1].low:g} {unit} is at or below {empty:g} {unit}")
    if len(days) < LEAST_DAYS:
        what = "voltages" if unit == "V" else "levels"
        return Expectation(None, f"{what} of {len(days)} days, {LEAST_DAYS} are needed")
    pairs = [(a, b) for i, a in enumerate(days) for b in days[i + 1 :]]
    slopes = [(b.low - a.low) * DAY_S / (b.at_s - a.at_s) for a, b in pairs]
    slope = median(slopes)
    if slope >= 0.0 or sum(s < 0.0 for s in slopes) < FALLING_SHARE * len(slopes):
        return Expectation(None, "the daily lows do not fall")
    level = median(d.low - slope * (d.at_s - days[-1].at_s) / DAY_S for d in days)
    left = (level - empty) / -slope
    if left > FAR_DAYS:
        return Expectation(None, f"not within {FAR_DAYS:g} days")
    said = f"line through the daily lows of {len(days)} days, {slope:.2g} {unit} per day, down to {empty:g} {unit}"
    return Expectation(max(now_s, days[-1].at_s + left * DAY_S), said)


def find_lost_charge(days: Sequence[Day]) -> tuple[float, float] | None:
    """The swing of the last two days and the usual one, V, where the panel charges no more; None where it does.

    >>> sunny = [Day(n * 86400.0, 12.2, 13.2) for n in range(8)]
    >>> find_lost_charge([*sunny, Day(8 * 86400.0, 12.1, 12.2), Day(9 * 86400.0, 12.0, 12.1)]) is not None
    True
    >>> find_lost_charge(sunny) is None
    True
    """
    if len(days) < LEAST_DAYS + 2:
        return None
    swings = [d.high - d.low for d in days]
    now_v, usual_v = max(swings[-2:]), median(swings[:-2])
    return (now_v, usual_v) if usual_v >= USUAL_SWING_V and now_v < LOST_SWING * usual_v else None

"""When the present acceleration began, and whether it is one: judged on the past alone."""

from collections.abc import Iterable, Sequence
from typing import Final

from forecasting.kinematics.cells import Speed
from forecasting.kinematics.noise import median, quantile
from forecasting.message import Figure, Message, Template

UNUSUAL = 0.9  # quantile of the past that the present must exceed
TIMES_USUAL = 2.0  # times the median of the past
FEWEST_PAST = 4
_TOO_SHORT: Final = Template("failure.short_past", "the past is too short to compare with")()
_USUAL: Final = Template(
    "failure.usual", "velocity {velocity} mm/day <= {times} times the median {median} mm/day of the past"
)
_NOT_RARE: Final = Template(
    "failure.not_rare", "velocity {velocity} mm/day is not over the {percent} % quantile {quantile} mm/day of the past"
)


def find_onset(speeds: Iterable[Speed]) -> Speed | None:
    """The last onset: the lowest velocity after which it only grew.

    Going back from the newest, the velocity falls; where it stands two standard errors (of the difference) and a tenth
    above the lowest met so far, an earlier motion begins, and that lowest is the onset. A velocity that cannot be told
    from nothing ends the motion too: the onset is the one after it.

    Args:
        speeds: Velocities, the newest first; read only as far back as the answer needs.

    >>> from forecasting.kinematics.cells import Speed
    >>> find_onset(Speed(v, 0.1, float(i)) for i, v in enumerate([4.0, 2.0, 1.0, 3.0, 5.0])).rate
    1.0
    """
    lowest = newer = None
    for here in speeds:
        if here.rate <= here.error:
            return newer or here
        if lowest is None or here.rate < lowest.rate:
            lowest = here
        elif here.rate > 1.1 * lowest.rate + 2.0 * (here.error**2 + lowest.error**2) ** 0.5:
            return lowest
        newer = here
    return lowest


def is_unusual(rate: float, past: Sequence[float]) -> Message | None:
    """Why a velocity is not beyond what the past has shown; None where it is.

    The past ends at the onset: a quantile that knows the acceleration, or what came after, would leak.

    Args:
        past: Velocities before the onset, any order.

    >>> is_unusual(9.0, [1.0, 2.0, 1.5, 1.2]) is None, is_unusual(2.5, [1.0, 2.0, 1.5, 1.2])
    (True, 'velocity 2.5 mm/day <= 2 times the median 1.35 mm/day of the past')
    """
    if len(past) < FEWEST_PAST:
        return _TOO_SHORT
    middle = median(past)
    if rate <= TIMES_USUAL * middle:
        return _USUAL(velocity=Figure(rate, ".3g"), times=TIMES_USUAL, median=Figure(middle, ".3g"))
    edge = quantile(sorted(past), UNUSUAL)
    if rate <= edge:
        return _NOT_RARE(velocity=Figure(rate, ".3g"), percent=100 * UNUSUAL, quantile=Figure(edge, ".3g"))
    return None

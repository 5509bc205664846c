"""Whether an instrument repeats one value for longer than chance would make it."""

from collections.abc import Sequence
from itertools import groupby, pairwise
from math import log, sqrt
from statistics import median
from typing import Final

from monitor.domain.site import SeriesSpec
from monitor.series.vectors import Vector

STUCK_EPOCHS: Final = 6  # no shorter run of equal values is stuck
CHANCE: Final = 1e-6  # a run that chance makes less often is none
FEWEST_KNOWN: Final = 20  # epochs before the run that say how often the instrument repeats itself
LEAST_SHARE: Final = 0.01
COARSE: Final = 0.5  # what repeats itself so often is not judged
MAD_TO_SIGMA: Final = 1.4826
BEND_TO_SIGMA: Final = sqrt(6.0)  # the noise of x[i] - 2 x[i+1] + x[i+2], in that of one value
DENSITY: Final = 0.4  # of a normal law at its middle: the share of values in a cell that is small beside the noise
ROUNDING: Final = 1e-9  # of a value


def is_stuck(values: Sequence[Vector], spec: SeriesSpec, *, weighs_chance: bool = True) -> bool:
    """True where the newest values are equal for so long that the instrument must be broken.

    How often it repeated itself before says how long a run chance would make; before that is known, six epochs are
    enough where the site file states a noise. Where it states none, the noise is measured beside the smallest step of
    the values: a crack gauge that reads tenths may have moved at each epoch and then come to rest. What a person reads
    and types is never stuck.

    Args:
        values: epoch by epoch.
        spec: what is declared of the series.
        weighs_chance: False as before format 11: a stated noise and six equal values were enough, and needed.

    >>> from random import Random
    >>> plain = SeriesSpec("A", "crack_opening", "mm", 3600.0, 10800.0)
    >>> draw = Random(1)
    >>> noisy = [(draw.gauss(),) for _ in range(30)]
    >>> is_stuck([*noisy, *[(0.5,)] * 6], plain), is_stuck([*noisy, *[(0.5,)] * 5], plain)
    (True, False)
    >>> came_to_rest = [(round(0.37 * n, 1),) for n in range(30)]
    >>> is_stuck([*came_to_rest, *came_to_rest[-1:] * 40], plain)
    False
    """
    if len(values) < STUCK_EPOCHS or len(set(values[-STUCK_EPOCHS:])) > 1:
        return False
    is_stated = spec.noise_floor > 0.0
    if not weighs_chance:
        return is_stated
    if spec.by_hand:
        return False
    runs = [len(list(run)) for _, run in groupby(values)]
    # a stretch in which it was stuck before must not make it a coarse instrument
    repeats = sum(min(run, STUCK_EPOCHS) - 1 for run in runs[:-1])
    known = repeats + len(runs) - 1
    if known < FEWEST_KNOWN:
        return is_stated
    share = max(LEAST_SHARE, repeats / known)
    if not is_stated:
        share = max(share, min(map(_expect_share, zip(*values[: -runs[-1]], strict=True))))
    return share < COARSE and runs[-1] - 1 >= log(CHANCE) / log(share)


def _expect_share(values: Sequence[float]) -> float:
    """How many values of an instrument at rest would equal the one before, by its noise and its smallest step."""
    steps = [abs(b - a) for a, b in pairwise(values) if abs(b - a) > ROUNDING * max(abs(a), abs(b))]
    bends = [abs(a - 2.0 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    noise = MAD_TO_SIGMA * median(bends) / BEND_TO_SIGMA
    return 1.0 if not steps or noise <= 0.0 else DENSITY * min(steps) / noise

"""How fast each station moves beside its usual pace: intervals stretch while it moves faster, before any miss is known.

Errors of a month ahead are known a month late; the pace is known now. Past errors are divided by the pace at which they
were made, and the margin they ask for is stretched by that of now, as normalised conformal intervals are by a local
scale (Papadopoulos et al. 2008; Lei et al. 2018). The level of `conformal` follows what the stretched intervals hold,
so that over time they hold as often as they say.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from forecasting.data.series import Floats, Ints
from forecasting.serving.experience import LEVEL_ROWS, find_rates

SPAN: Final = 8  # rows over which the present velocity is taken
SEEN: Final = 400  # rows before that say what is usual
FEWEST: Final = 40  # rows without which every pace is the usual one
USUAL: Final = 0.9  # share of the rows before that moved no faster than the usual pace: up to it nothing is stretched
LARGEST: Final = 4.0  # times by which a margin is stretched at most; far beyond lies what calibration never saw
EVERY: Final = 30  # rows after which what is usual is looked up again


@dataclass(frozen=True, slots=True)
class Pace:
    """Motion at some origins beside what was usual before them, mm per row, each (N, S)."""

    velocity: Floats  # over the newest rows, without its sign, at least the usual one; NaN where not known
    usual: Floats  # velocity that 90 % of the rows before kept below; NaN where too few are known
    step: Floats  # median change from one row to the next: motion and noise of a reading

    def stretch_over(self, steps: int) -> Floats:
        """Times by which errors over so many rows are larger than usual, 1 to 4, shape (N, S)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            square = (self.step**2 + (steps * self.velocity) ** 2) / (self.step**2 + (steps * self.usual) ** 2)
        return np.clip(np.where(np.isfinite(square), np.sqrt(square), 1.0), 1.0, LARGEST)


def see_pace(values: Floats, origins: Ints) -> Pace:
    """The pace at consecutive origins; nothing after an origin is read.

    >>> rows = np.concatenate([np.zeros(60), np.arange(1.0, 9.0) * 5.0]) + np.arange(68) % 2
    >>> see_pace(rows[:, None], np.array([59, 67])).stretch_over(7)[:, 0].round(1).tolist()
    [1.0, 4.0]

    Args:
        values: Panel values, shape (T, S).
        origins: Rising rows, shape (N,).
    """
    if not origins.size:
        return Pace(*(np.empty((0, values.shape[1])) for _ in range(3)))
    begin = max(0, int(origins[0]) - SEEN - SPAN - LEVEL_ROWS)
    seen = values[begin : int(origins[-1]) + 1]
    speed = np.abs(find_rates(seen, SPAN)[:, :, 0])
    change = np.abs(np.diff(seen, axis=0, prepend=np.nan))
    velocity = speed[origins - begin]
    usual, step = np.empty(velocity.shape), np.empty(velocity.shape)
    # counted from the last origin, so that it has the same answer alone
    for end in range(origins.size - 1 + EVERY, 0, -EVERY):
        block = slice(max(0, end - EVERY), end)
        at = int(origins[block][0]) - begin
        usual[block] = _find_share(speed[max(0, at - SEEN) : at], USUAL)
        step[block] = _find_share(change[max(0, at - SEEN) : at], 0.5)
    return Pace(np.maximum(velocity, usual), usual, step)


def _find_share(rows: Floats, share: float) -> Floats:
    """What so many of the known rows keep below, shape (S,); NaN where fewer than 40 are known."""
    if rows.shape[0] < FEWEST:
        return np.full(rows.shape[1], np.nan)
    count = np.isfinite(rows).sum(axis=0)
    ranked = np.sort(rows, axis=0)  # NaN comes last
    found = ranked[np.minimum((share * count).astype(np.int64), ranked.shape[0] - 1), np.arange(rows.shape[1])]
    return np.where(count >= FEWEST, found, np.nan)

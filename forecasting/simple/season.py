"""The season of the year in a record, as far as each year was foretold by the others; `auto` forecasts what it leaves.

Two harmonics, as in dynamic harmonic regression (Young, Pedregal and Tych 1999). They are learnt from increments over a
quarter of a year and robustly (Huber 1964): an earthquake or a slow bend is in few of them, the season in all. A whole
curve takes nothing from the scatter of single days a year ago, as `seasonal` and `climatology` do.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecasting.data.series import DAY_S, Floats, Panel

YEAR_S: Final = 365.25 * DAY_S
HARMONICS: Final = 2
SHARE_OF_YEAR: Final = 0.25  # between the rows of an increment
SHORTEST_S: Final = 7 * DAY_S  # of the longest horizon: within less a season moves less than the noise
LEAST_YEARS: Final = 1.9
LEAST_A_YEAR: Final = 24  # rows: four sizes from twelve monthly readings follow the one event of a year
LEAST_INCREMENTS: Final = 12  # of a station, for five numbers
MOST_ROWS: Final = 3000  # of increments that are learnt from, evenly taken
SHARES: Final = (0.0, 0.5, 1.0)
ROUNDS: Final = 10


@dataclass(frozen=True, slots=True)
class HarmonicSeason:
    """`s(t) = sum_k a_k cos(2 pi k t / year) + b_k sin(2 pi k t / year)` of each station, t in rows of its panel.

    Attributes:
        year: Rows of a year.
        sizes: (a_1, b_1, a_2, b_2) in mm of each station, 0 where no season is believed, shape (S, 4).
    """

    year: float
    sizes: tuple[tuple[float, ...], ...]

    def compute(self, rows: int) -> Floats:
        """The season at the first rows in mm, shape (rows, S)."""
        out = np.zeros((rows, len(self.sizes)))
        # one after the other: a matrix product may round by its shape
        for wave, size in zip(make_waves(rows, self.year), np.array(self.sizes).T, strict=True):
            out = out + wave[:, None] * size
        return out

    def is_at(self, column: int | None) -> bool:
        """Whether a station has one; of None, any."""
        sizes = self.sizes if column is None else self.sizes[column : column + 1]
        return any(any(one) for one in sizes)


def make_waves(rows: int, year: float) -> Floats:
    """Cosine and sine of each harmonic at rows 0, 1, ..., shape (2 HARMONICS, rows)."""
    turn = 2.0 * np.pi / year * np.arange(rows)
    return np.stack([wave(k * turn) for k in range(1, HARMONICS + 1) for wave in (np.cos, np.sin)])


def fit_season(panel: Panel, end: int, steps: Sequence[int]) -> HarmonicSeason | None:
    """The season of the rows before `end`; None where none is believed, or where too little is known.

    A station's season counts whole, by half or not at all: by what would have erred least over the longest horizon in
    each year, had it been learnt from the other years.

    Args:
        panel: The record; rows from `end` on are not read.
        end: The first row that is not known.
        steps: Horizons in rows.
    """
    year, reach = YEAR_S / panel.step_s, max(steps)
    known = panel.values[:end]
    if reach * panel.step_s < SHORTEST_S or year < LEAST_A_YEAR or end < LEAST_YEARS * year:
        return None
    waves = make_waves(end, year)
    lag = max(1, round(SHARE_OF_YEAR * year))
    begins = np.arange(0, end - lag, 1 + (end - lag) // MOST_ROWS)
    moved = known[begins + lag] - known[begins]
    turned = np.vstack([np.ones(begins.size), waves[:, begins + lag] - waves[:, begins]]).T
    edges = np.linspace(0, end, max(2, round(end / year)) + 1).astype(int)
    cost = np.zeros((len(SHARES), known.shape[1]))
    for first, after in itertools.pairwise(edges.tolist()):
        inside = (begins + lag > first) & (begins < after)
        sizes = _fit_sizes(turned[~inside], moved[~inside])
        at = np.arange(first, max(first, after - reach))
        moves, season = known[at + reach] - known[at], (waves[:, at + reach] - waves[:, at]).T @ sizes
        cost += [_sum_errors(moves - share * season) for share in SHARES]
    share = np.array(SHARES)[cost.argmin(axis=0)]  # the first, none, where nothing was foretold
    sizes = (_fit_sizes(turned, moved) * share).T
    return HarmonicSeason(year, tuple(map(tuple, sizes.tolist()))) if sizes.any() else None


def _fit_sizes(turned: Floats, moved: Floats) -> Floats:
    """Sizes of the waves by reweighted least squares, shape (4, S); 0 where a station has too few increments.

    Args:
        turned: A constant and what the waves moved, shape (N, 5).
        moved: What the stations moved, shape (N, S), NaN where it is unknown.
    """
    seen: NDArray[np.bool_] = np.isfinite(moved)
    enough = seen.sum(axis=0) >= LEAST_INCREMENTS
    out = np.zeros((turned.shape[1] - 1, moved.shape[1]))
    seen, moved = seen[:, enough], np.where(seen, moved, 0.0)[:, enough]
    if not enough.any():
        return out
    weight = seen.astype(np.float64)
    for _ in range(ROUNDS):
        square = np.einsum("np,ns,nq->spq", turned, weight, turned, optimize=True)
        found = np.linalg.solve(
            square + 1e-9 * np.eye(turned.shape[1]), np.einsum("np,ns->sp", turned, weight * moved)[..., None]
        )
        off = np.where(seen, np.abs(moved - turned @ found[..., 0].T), np.nan)
        spread = np.maximum(1.4826 * np.nanmedian(off, axis=0), 1e-9)
        weight = np.where(seen, 1.0 / np.maximum(off / spread, 1.0), 0.0)
    out[:, enough] = found[:, 1:, 0].T
    return out


def _sum_errors(moves: Floats) -> Floats:
    """Absolute deviations from the median move of each station, summed, shape (S,); 0 where none is known."""
    known = np.isfinite(moves)
    middle = np.zeros(moves.shape[1])
    some = known.any(axis=0)
    if some.any():
        middle[some] = np.nanmedian(moves[:, some], axis=0)
    out: Floats = np.where(known, np.abs(moves - middle), 0.0).sum(axis=0)
    return out

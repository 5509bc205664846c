"""Follows the motion that is there: constant, line, bend or acceleration, each at many paces, believed by its errors.

A local linear trend in state space (Harvey 1989), with and without a damped slope and with an acceleration. The
variances are not searched for: each of a grid of them is a filter of its own ("lane"), and all run side by side
through gaps. What a lane is believed follows its mean error 1, 2, 4, ... rows ahead up to the horizon: an error one
row ahead is known at once, so that a motion that is clear over hours is followed over days before an error days ahead
could be scored. Beliefs forget, as in dynamic model averaging (Raftery et al. 2010): the better lane leads within
some rows of a change of pace. Some lanes begin anew where their misses add up to a change (cumulative sums, Page 1954;
Gustafsson 2000), so that a line after a bend, a stop or a step has all of its rows and none of those before. East and
north of one station are one vector: their lanes are believed together.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Final

import numpy as np

from forecasting.data.series import Floats, Ints
from forecasting.data.windows import last_value
from forecasting.simple.baselines import LevelDrift
from forecasting.simple.rows import remember, sum_in_order

NO_NOISE: Final = 1e3  # variance of a level that makes that of a reading nothing beside it: the newest value stands
LANES: Final = np.array(
    [(level, 0.0, 0.0, 0.0, 0.0) for level in (0.0, 1e-4, 1e-3, 1e-2, 0.1, 1.0, NO_NOISE)]
    + [
        (level, slope * (100.0 if level == NO_NOISE else 1.0), damping, 0.0, 0.0)
        for damping, level, slope in product(
            (0.8, 0.95, 1.0), (0.0, 0.1, 1.0, NO_NOISE), (0.0, 1e-9, 1e-7, 1e-5, 1e-3, 0.1, 10.0)
        )
    ]
    + [
        (level, 0.0, 1.0, turn * (100.0 if level else 1.0), 1.0)
        for level, turn in product((0.0, NO_NOISE), (0.0, 1e-8, 1e-6, 1e-4, 1e-2, 1.0))
    ]
    + 2 * [(0.0, 0.0, 0.0, 0.0, 0.0), *3 * [(0.0, 0.0, 1.0, 0.0, 0.0)], (0.0, 1e-5, 1.0, 0.0, 0.0)]
).T
"""Per lane the variances of level and slope per row beside that of a reading, the damping of the slope, the variance of
the acceleration and whether there is one. The last ten begin anew where the motion changes."""
TURNS: Final = np.array((False, False, True, True, True) * 2)[:, None]
"""Of each lane that begins anew: whether its slope does; where only its level does, a jump is no new pace."""
STOPS: Final = np.array((False, False, True, False, False) * 2)[:, None]
"""Of each of them: whether its level changes by its slope alone where it slows, so that one reading shows a stop."""
ALLOWANCE: Final = np.repeat((0.5, 0.25), 5)[:, None]
"""Of each of them: in standard deviations, what a miss adds to a cumulative sum only beyond."""
LIMIT: Final = np.repeat((6.0, 8.0), 5)[:, None]  # cumulative sum that is a change
USUAL_MISSES: Final = 40.0  # rows over which the usual miss of a lane is taken; six are needed before one is a change
FURTHEST: Final = 1e3  # standard deviations that a change is taken for at most: enough to forget what was before
ACCELERATES: Final = LANES[4] > 0
_TURN: Final = LANES[3, ACCELERATES]
LASTING: Final = np.where(
    _TURN > 0, ((1.0 + LANES[0, ACCELERATES]) / np.where(_TURN > 0, _TURN, 1.0)) ** (1.0 / 6.0), np.inf
)
"""Rows that the filter of an acceleration remembers (Kalata 1984): it has been seen for so long, and is not believed to
go on for longer."""
UNKNOWN: Final = 1e7  # variance of a slope before two readings are known
DISCOUNT: Final = 0.95  # what an error one row ahead counts for at the next answer; k rows ahead its k-th root
DOUBT_DISCOUNT: Final = 0.97
MOST: Final = 25.0
"""In the exponent, what errors at shorter horizons count against a lane at most: those at the horizon come on top."""
FEWEST: Final = 4  # readings before which a lane is not judged
STARTLED: Final = 6.0
"""Usual errors from which a newest one is a surprise: what was scored before counts that much less."""
LEAST_KEPT: Final = 0.8
"""Of what was scored before, at one surprise: a single jump is forgiven, a change of pace surprises row after row."""
SPANS: Final = 2.0
"""Spans of a horizon that must have been scored for its own mean error to be the doubt; a longer one grows from it."""
WITHIN: Final = 1.5  # times its doubt from the path a robust forecast lies that is taken by three fifths
LEAST_ERROR: Final = 1e-9
AT_ONCE: Final = 24  # columns that are followed at a time: more do not stay in the nearest memory
ROOM_BYTES: Final = 2**28  # answers that are kept, the newest ones


@dataclass(frozen=True, slots=True)
class Followed:
    """What the lanes together say at each row."""

    path: Floats  # forecasts in mm, shape (T, S, H); NaN where no value was seen for more than 3 rows
    doubt: Floats  # mean error to expect of them, mm, same shape; NaN before any is known
    surprise: Floats  # largest newest error at any reach, in usual ones, shape (T, S); 0 where too few are known
    scale: Floats  # the doubt and the motion that is forecast, mm, on average over the columns of a motion, as `path`


@dataclass(frozen=True, slots=True)
class Trend:
    """The path of the motion; a robust forecast within its doubt takes its place."""

    name: str  # model id
    steps: tuple[int, ...]  # horizons in rows
    groups: tuple[tuple[int, ...], ...] | None  # columns of each station; None believes each column by itself
    rest: LevelDrift | None = None  # what is taken where the motion is in doubt, None where nothing could be fitted

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Forecasts in mm, shape (N, S, H)."""
        if not origins.size:
            return np.empty((0, values.shape[1], len(self.steps)))
        found = recall(values, self.steps, self.groups)
        rest = None if self.rest is None else self.rest.predict(values, origins)
        return self.lean(found.path[origins], found.doubt[origins], rest)

    def lean(self, path: Floats, doubt: Floats, rest: Floats | None) -> Floats:
        """The path, drawn to the other forecast as far as that lies within its doubt; all (N, S, H).

        >>> at = np.zeros((1, 2, 1))
        >>> one = Trend("trend", (1,), ((0,), (1,)))
        >>> one.lean(at, at + 1.0, np.array([[[0.5], [9.0]]]))[0, :, 0].round(2).tolist()
        [0.47, 0.0]
        """
        if rest is None:
            return path
        away = np.square((rest - path) / np.maximum(WITHIN * doubt, LEAST_ERROR))
        known = np.isfinite(away)
        away = np.where(known, away, 0.0)
        for own in (list(columns) for columns in self.groups or () if len(columns) > 1):
            away[:, own] = np.mean(away[:, own], axis=1, keepdims=True)
        share = np.where(known, np.exp(-0.5 * away), 0.0)
        leaned = path + share * np.where(known, rest - path, 0.0)
        return np.where(np.isfinite(path), leaned, rest)


_KEPT: Final[dict[tuple[object, ...], Followed]] = {}


def recall(values: Floats, steps: Sequence[int], groups: Sequence[Sequence[int]] | None) -> Followed:
    """What `follow` answers; the newest are kept, because a training reads one record many times.

    `groups`: columns that are believed together; None believes each by itself.
    """
    each = tuple((column,) for column in range(values.shape[1])) if groups is None else tuple(map(tuple, groups))
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).digest()
    key = (digest, values.shape, tuple(steps), each)
    found = _KEPT.pop(key, None) or follow(values, steps, each)
    _KEPT[key] = found  # the newest last
    while sum(count_bytes(one.path.shape) for one in _KEPT.values()) > ROOM_BYTES:
        _KEPT.pop(next(iter(_KEPT)))
    return found


def count_bytes(shape: Sequence[int]) -> int:
    """Bytes of the answer for a record, shape (T, S, H): three figures each, and the surprise at each row.

    >>> count_bytes((1000, 10, 3))
    800000
    """
    rows, columns, horizons = shape
    return 8 * rows * columns * (3 * horizons + 1)


def follow(values: Floats, steps: Sequence[int], groups: Sequence[Sequence[int]]) -> Followed:
    """Run all lanes over the rows; what stands at a row rests on it and on those before."""
    path, doubt = (np.full((*values.shape, len(steps)), np.nan) for _ in range(2))
    surprise = np.zeros(values.shape)
    rungs = _climb(steps)
    batch: list[list[int]] = []
    for i, group in enumerate(groups):
        batch.append(list(group))
        if i + 1 == len(groups) or sum(map(len, batch)) + len(groups[i + 1]) > AT_ONCE:
            columns = [column for one in batch for column in one]
            ends = np.cumsum([0, *map(len, batch)])
            found = _believe(values[:, columns], rungs, list(pairwise(ends.tolist())))
            for h, k in enumerate(steps):
                path[:, columns, h], doubt[:, columns, h] = found[0][k], found[1][k]
            surprise[:, columns] = found[2]
            batch = []
    level = last_value(values, np.arange(values.shape[0], dtype=np.int64))[0]
    path[np.isnan(level)] = np.nan
    scale = doubt + np.abs(path - level[..., None])
    for columns in (list(group) for group in groups if len(group) > 1):
        shared = sum_in_order(scale[:, columns].swapaxes(0, 1))[:, None] / len(columns)
        scale[:, columns] = np.where(np.isfinite(shared), shared, scale[:, columns])
    return Followed(path, doubt, surprise, scale)


def _climb(steps: Sequence[int]) -> list[int]:
    """Reaches at which lanes are judged: doubled from one row to each horizon.

    >>> _climb((6, 30))
    [1, 2, 4, 6, 8, 16, 30]
    """
    return sorted({*steps, *(2**i for i in range(max(steps).bit_length()) if 2**i < max(steps))})


def _believe(
    values: Floats, rungs: Sequence[int], groups: Sequence[tuple[int, int]]
) -> tuple[dict[int, Floats], dict[int, Floats], Floats]:
    """Path and doubt by reach and the surprise, each (T, S); groups are ranges of columns."""
    states = _filter(values)
    judged = np.cumsum(np.isfinite(values), axis=0) >= FEWEST
    path, doubt = dict[int, Floats](), dict[int, Floats]()
    surprise, score = np.zeros(values.shape), np.zeros((0, 0, 0))
    usual, growth, before = np.full(values.shape, np.nan), np.full(values.shape, 2.0), 0
    for k in rungs:
        made = _reach(states, k)
        errors, known = _come_true(values, made, judged, k)
        # what was scored at long reaches before a surprise at short ones is of another motion
        keep = np.maximum(STARTLED / np.maximum(surprise, STARTLED), LEAST_KEPT)
        count = remember(known.astype(np.float64), DISCOUNT ** (1.0 / k) * keep)
        size = remember(errors, (DISCOUNT ** (1.0 / k) * keep)[:, None])
        size /= np.maximum(count, LEAST_ERROR)[:, None]
        evidence = np.log(np.maximum(size, LEAST_ERROR, out=size))
        evidence *= (count / k)[:, None]
        for first, end in groups:
            if end - first > 1:
                evidence[:, :, first:end] = sum_in_order(evidence[:, :, first:end].transpose(2, 0, 1))[..., None]
        if before:
            evidence += np.minimum(score, MOST, out=score)
        evidence -= evidence.min(axis=1, keepdims=True)
        score = evidence
        weights = np.exp(np.negative(score))
        total = sum_in_order(weights.transpose(1, 0, 2))
        made *= weights
        path[k] = sum_in_order(made.transpose(1, 0, 2)) / total
        weights *= size
        believed = sum_in_order(weights.transpose(1, 0, 2)) / total
        off, known = _come_true(values, path[k][:, None], judged, k)
        slow = np.full(values.shape, DOUBT_DISCOUNT ** (1.0 / k))
        off, seen = off[:, 0], remember(known.astype(np.float64), slow)
        enough = np.maximum(seen, LEAST_ERROR)
        mean = remember(off.copy(), slow) / enough
        # an early or a single large error hardly counts in the doubt, nor what came before the lanes now believed were
        typical = np.minimum(np.square(remember(np.sqrt(off), slow) / enough), believed)
        is_known_before = (seen[:-1] >= max(3.0 * k, 8.0)) & known[1:] & (mean[:-1] > 0)
        times = np.where(is_known_before, off[1:] / np.where(mean[:-1] > 0, mean[:-1], 1.0), 0.0)
        surprise[1:] = np.maximum(surprise[1:], times)
        for first, end in groups:
            surprise[:, first:end] = surprise[:, first:end].max(axis=1, keepdims=True)
        sure, octaves = seen >= max(SPANS * k, 3.0), np.log2(k / max(before, 1))
        if before:
            rise = np.clip(typical / np.maximum(usual, LEAST_ERROR), 1.0, 2.0**octaves) ** (1.0 / octaves)
            growth = np.where(sure & np.isfinite(usual), rise, growth)
        usual = np.where(sure, typical, usual * growth**octaves)
        doubt[k], before = usual, k
    return path, doubt, surprise


def _filter(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Level, slope and acceleration of each lane after each row, each (T, lanes, S); NaN before the first value."""
    rows, stations = values.shape
    q_level, q_slope, damping, q_turn, turns = (np.repeat(one[:, None], stations, axis=1) for one in LANES)
    blank = np.zeros(q_level.shape)
    level, slope, turn = blank + np.nan, blank, blank
    pll, pls, plt, pss, pst, ptt = (blank for _ in range(6))
    unknown_slope, unknown_turn = np.where(damping > 0, UNKNOWN, 0.0), UNKNOWN * turns
    changes = _Changes(stations)
    anew = slice(-ALLOWANCE.size, None)
    seen = np.isfinite(values)
    plain, begins = np.where(seen, values, 0.0), np.where(seen.any(axis=0), seen.argmax(axis=0), -1)
    begun = np.zeros(stations, dtype=bool)
    out = np.empty((3, rows, *q_level.shape))
    for t in range(rows):
        turn = turns * turn
        slope = damping * slope + turn
        level = level + slope
        pull, bend = damping * pss + turns * pst, turns * (damping * pst + turns * ptt)
        own = damping * pull + turns * (damping * pst + turns * ptt)
        both = damping * pls + turns * plt
        pll, pls, plt = pll + 2.0 * both + own + q_level, both + own, turns * plt + bend
        pss, pst, ptt = own + q_slope, bend, turns * ptt + q_turn
        use = seen[t] & begun
        miss = np.where(use, plain[t] - level, 0.0)
        of_level, of_both, of_slope = changes.find(miss[anew], slope[anew], np.sqrt(pll[anew] + 1.0), use)
        pll[anew] += of_level
        pls[anew] += of_both
        pss[anew] += of_slope
        gain = use / (pll + 1.0)
        gain_l, gain_s, gain_t = pll * gain, pls * gain, plt * gain
        level, slope, turn = level + gain_l * miss, slope + gain_s * miss, turn + gain_t * miss
        pss, pst, ptt = pss - gain_s * pls, pst - gain_s * plt, ptt - gain_t * plt
        pls, plt, pll = pls - gain_l * pls, plt - gain_l * plt, pll - gain_l * pll
        fresh = begins == t
        if fresh.any():
            begun = begun | fresh
            level, slope, turn = (
                np.where(fresh, plain[t], level),
                np.where(fresh, 0.0, slope),
                np.where(fresh, 0.0, turn),
            )
            pll, pls, plt = np.where(fresh, 1.0, pll), np.where(fresh, 0.0, pls), np.where(fresh, 0.0, plt)
            pss, ptt = np.where(fresh, unknown_slope, pss), np.where(fresh, unknown_turn, ptt)
            pst = np.where(fresh, 0.0, pst)
        out[0, t], out[1, t], out[2, t] = level, slope, turn
    return out[0], out[1], out[2]


class _Changes:
    """When lanes begin anew, by cumulative sums of their misses either way; all arrays (lanes, S)."""

    def __init__(self, stations: int) -> None:
        self.sums, self.since = (np.zeros((2, ALLOWANCE.size, stations)) for _ in range(2))
        self.usual, self.count = np.ones((ALLOWANCE.size, stations)), np.zeros(stations)

    def find(self, miss: Floats, slope: Floats, spread: Floats, use: np.ndarray) -> tuple[Floats, Floats, Floats]:
        """Variance of level, of both and of slope to add, beside that of a reading: 0 but where the motion has changed.

        Args:
            miss: Reading less what the lane said, mm.
            slope: Of the lane, mm per row.
            spread: Its standard deviation in those of a reading.
        """
        away = miss / (spread * self.usual)
        known = use & (self.count >= 6.0)
        self.sums = np.where(known, np.maximum(self.sums + np.stack([away, -away]) - ALLOWANCE, 0.0), self.sums)
        self.since = np.where(self.sums > 0.0, self.since + known, 0.0)
        changed = (self.sums > LIMIT).any(axis=0)
        rows = np.maximum(np.where(self.sums[0] > self.sums[1], *self.since), 1.0)
        rows = np.where(STOPS & (np.abs(away) > LIMIT), 1.0, rows)  # one reading alone shows it
        jump = np.where(changed, np.minimum(np.abs(miss) / self.usual, FURTHEST), 0.0)
        self.sums[:, changed], self.since[:, changed] = 0.0, 0.0
        share = use / np.minimum(self.count + 1.0, USUAL_MISSES)
        # of noise that is normal the mean |miss| is this share of the deviation; a change says nothing of noise
        newest = np.minimum(np.abs(away), np.where(known, 3.0, np.inf)) * self.usual * np.sqrt(np.pi / 2.0)
        self.usual = np.maximum((1.0 - share) * self.usual + share * newest, LEAST_ERROR)
        self.count = self.count + use
        # a step that looks like a new pace would be carried far ahead: only what slows is believed at its first reading
        slows = STOPS & (rows == 1.0) & (miss * slope < 0.0) & (np.abs(miss) <= np.abs(slope) + 3.0 * self.usual)
        return np.square(jump), np.where(slows, np.square(jump), 0.0), TURNS * np.square(jump / rows)


def _reach(states: tuple[Floats, Floats, Floats], steps: int) -> Floats:
    """What each lane says so many rows ahead, shape (T, lanes, S).

    An acceleration is not believed to go on for longer than it was seen, nor than the motion it made has lasted, nor
    beyond rest where it slows a motion: a slide that slows is not told to run back.
    """
    level, slope, turn = states
    damping = LANES[2]
    far = np.where(damping < 1.0, damping * (1.0 - damping**steps) / np.where(damping < 1.0, 1.0 - damping, 1.0), steps)
    made: Floats = level + far[:, None] * slope
    slope, turn = slope[:, ACCELERATES], turn[:, ACCELERATES]
    # for one row at least: where a fast season turns, its acceleration is all that is known of the next row
    lasting = np.clip(_find_age(slope, turn), 1.0, np.minimum(LASTING, steps)[:, None])
    made[:, ACCELERATES] += lasting * (steps - (lasting - 1.0) / 2.0) * turn
    return made


def _find_age(slope: Floats, turn: Floats) -> Floats:
    """Rows in which an acceleration makes the motion from rest, or brings it to rest.

    >>> _find_age(np.array([0.5, -0.5, 0.0]), np.array([0.1, 0.1, 0.1])).tolist()
    [5.0, 5.0, 0.0]
    """
    return np.asarray(np.abs(slope) / np.maximum(np.abs(turn), np.finfo(float).tiny))


def _come_true(values: Floats, made: Floats, judged: np.ndarray, steps: int) -> tuple[Floats, np.ndarray]:
    """|Error| of forecasts (T, lanes, S) at the row of their target, 0 where there is none, and where there is one."""
    errors, known = np.zeros(made.shape), np.zeros(values.shape, dtype=bool)
    rows = values.shape[0] - steps
    if rows > 0:
        known[steps:] = np.isfinite(values[steps:]) & judged[:rows]
        np.subtract(values[steps:, None], made[:rows], out=errors[steps:])
        np.abs(errors, out=errors)
        errors[np.repeat(~known[:, None], made.shape[1], axis=1)] = 0.0
    return errors, known

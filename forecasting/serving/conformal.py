"""Adaptive conformal intervals with delayed feedback: the only ones that held their coverage on measured series.

Gibbs and Candès 2021 (adaptive conformal inference) on conformalised quantile scores (Romano et al. 2019). The score of
a forecast is how far the value fell outside its base interval (negative inside); the margin is added to both ends. The
interval is widened additively by the spread of the scores when the level runs below zero, never by multiplying a score:
a too wide model has only negative scores, and a factor would then shrink it. At most one such spread is added: a month
ahead feedback is a month late, and without that bound a level still falls long after an event has passed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from forecasting.data.series import Floats, horizon_key

WINDOW = 400  # scores a month ahead overlap: 250 of them are eight independent months, and 80 % of those is a guess
MINIMUM_SCORES = 20
LONGEST_SPAN = 7
"""Errors of so many rows ahead overlap: among few a larger one is taken, as if each span gave one, up to 7 rows."""


def step_size(steps: int) -> float:
    """Learning rate of the level: .03 up to two rows ahead, .01 beyond, where one event is missed many times over."""
    return 0.03 if steps <= 2 else 0.01


@dataclass(frozen=True, slots=True)
class ConformalState:
    """All that one station x horizon x level must remember; plain floats, so that a database can hold it."""

    nominal: float  # wanted coverage, for instance 0.8
    gamma: float  # learning rate
    alpha: float  # present miss rate aimed at; runs below 0 by at most the wanted miss rate
    scores: tuple[float, ...] = ()  # the newest scores at the usual pace, oldest first, at most 400
    n: int = 0  # scores ever seen

    @classmethod
    def fresh(cls, nominal: float, steps: int) -> Self:
        """A state that has seen nothing, for forecasts so many rows ahead."""
        return cls(nominal, step_size(steps), 1.0 - nominal)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"scores": list(self.scores)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        return cls(
            float(data["nominal"]),
            float(data["gamma"]),
            float(data["alpha"]),
            tuple(float(score) for score in data["scores"]),
            int(data["n"]),
        )


def conformal_key(station: str, horizon_s: float, level: float) -> str:
    """The key under which a state is kept.

    >>> conformal_key("G1", 86400.0, 0.8)
    'G1|86400|0.8'
    """
    return f"{station}|{horizon_key(horizon_s)}|{level}"


def score(low: float, high: float, observed: float) -> float:
    """How far a value lies outside a base interval (negative inside); a point forecast has low = high.

    >>> score(1.0, 3.0, 3.5), score(2.0, 2.0, 1.5), score(1.0, 3.0, 2.5)
    (0.5, 0.5, -0.5)
    """
    return max(low - observed, observed - high)


def stretch_margin(margin_mm: Floats | float, stretch: Floats | float) -> Floats:
    """What is added at the present pace for a margin of the usual one; what is taken away stays as it is.

    >>> stretch_margin(3.0, 2.0).tolist(), stretch_margin(-3.0, 2.0).tolist()
    (6.0, -3.0)
    """
    return np.where(np.asarray(margin_mm) > 0.0, np.asarray(margin_mm) * stretch, margin_mm)


def relax_score(value: Floats | float, stretch: Floats | float) -> Floats:
    """What a score would have been at the usual pace: the inverse of `stretch_margin`.

    Else the errors of a slide would widen the quiet months behind it.
    """
    return stretch_margin(value, 1.0 / np.asarray(stretch))


def update(state: ConformalState, value: float, *, covered: bool | None = None) -> ConformalState:
    """Take the score of a forecast whose target has now been observed; `covered`: whether the issued interval held."""
    if not np.isfinite(value):
        return state
    alpha = state.alpha
    if covered is None and state.n >= MINIMUM_SCORES:
        covered = value <= margin(state)
    if covered is not None:
        target = 1.0 - state.nominal
        alpha = max(alpha + state.gamma * (target - (0.0 if covered else 1.0)), -target)
    return ConformalState(state.nominal, state.gamma, alpha, (*state.scores, float(value))[-WINDOW:], state.n + 1)


def feedback(
    issued: Mapping[float, tuple[float, float, float]],
    observed_mm: float,
    states: Mapping[float, ConformalState],
    stretch: float = 1.0,
) -> dict[float, ConformalState]:
    """The states of one station and horizon, by nominal coverage, after the target of a forecast has been observed.

    `issued`: nominal coverage to the interval as it was issued, low and high, and the margin that was in it.
    """
    out = {}
    for level, (bottom, top, widened) in issued.items():
        value = float(relax_score(score(bottom + widened, top - widened, observed_mm), stretch))
        out[level] = update(states[level], value, covered=bottom <= observed_mm <= top)
    return out


def margin(state: ConformalState, steps: int = 1) -> float:
    """What to add to both ends of the base interval at the usual pace, mm; NaN before 20 scores are known.

    >>> few = ConformalState(0.8, 0.01, 0.2, tuple(float(i) for i in range(1, 31)), 30)
    >>> margin(few), margin(few, 7)
    (25.0, 30.0)
    """
    return float(margins_of([state], steps)[0])


def margins_of(states: Sequence[ConformalState], steps: int = 1) -> Floats:
    """The `margin` of several stations of one level, shape (S,): those with as many scores are ranked together."""
    out = np.full(len(states), np.nan)
    sizes = np.array([len(state.scores) for state in states])
    for size in {*sizes.tolist()}:
        if size < MINIMUM_SCORES:
            continue
        where = sizes == size
        some = [state for state in states if len(state.scores) == size]
        ranked = np.sort(np.array([state.scores for state in some]), axis=1).T
        alpha = np.array([state.alpha for state in some])
        out[where] = _margins(ranked, np.full(len(some), size), alpha, states[0].nominal, steps)
    return out


def rank_margins(errors: Floats, nominal: float, steps: int) -> Floats:
    """The `margin` of each column at the usual level, from errors without sign (N, S), NaN unknown; NaN of too few.

    >>> rank_margins(np.arange(1.0, 31.0)[:, None], 0.8, 1).tolist()
    [25.0]
    """
    count = np.isfinite(errors).sum(axis=0)
    out = np.full(errors.shape[1], np.nan)
    ready = count >= MINIMUM_SCORES
    if ready.any():
        ranked = np.sort(errors[:, ready], axis=0)  # NaN comes last
        out[ready] = _margins(ranked, count[ready], np.full(int(ready.sum()), 1.0 - nominal), nominal, steps)
    return out


def replay(
    scores: Floats, *, steps: int, nominals: Sequence[float], stretch: Floats | float = 1.0
) -> list[tuple[Floats, list[ConformalState]]]:
    """Run the adaptation through past forecasts as it would have run live: feedback comes `steps` rows later.

    Args:
        scores: How far each value lay outside its base interval, per consecutive origin and station, NaN where it is
            unknown, shape (N, S).
        nominals: Wanted coverages of one base interval: its scores are ranked once for all of them.
        stretch: By which margins are stretched at each origin, and scores relaxed before they are ranked, shape (N, S).

    Returns:
        For each coverage the margin at each origin (N, S), NaN in the warm-up, and each station's state after the last
        origin.
    """
    rows, stations = scores.shape
    gamma = step_size(steps)
    known = np.isfinite(scores)
    scores = relax_score(scores, stretch)
    levels = [_Level(n, np.full((rows, stations), np.nan), np.full(stations, 1.0 - n)) for n in nominals]
    seen = np.zeros(stations, dtype=np.int64)
    newest = np.full((stations, WINDOW), np.inf)
    ranked = np.full((min(rows, WINDOW), stations), np.inf)
    for t in range(rows):
        past = t - steps
        if past >= 0:
            fresh = known[past]
            for one in levels:
                judged = fresh & np.isfinite(one.margins[past])
                missed = scores[past] > one.margins[past]
                target = 1.0 - one.nominal
                one.alpha[judged] = np.maximum(one.alpha[judged] + gamma * (target - missed[judged]), -target)
            where = np.flatnonzero(fresh)
            if where.size:
                gone = np.full(stations, np.inf)
                gone[where] = newest[where, seen[where] % WINDOW]
                newest[where, seen[where] % WINDOW] = scores[past, where]
                seen[where] += 1
                _rank(ranked[: int(seen.max())], gone, np.where(fresh, scores[past], np.inf))
        ready = np.flatnonzero(seen >= MINIMUM_SCORES)
        if ready.size:
            some = ranked if ready.size == stations else ranked[:, ready]
            for one in levels:
                ranks = np.minimum(seen[ready], WINDOW)
                one.margins[t, ready] = _margins(some, ranks, one.alpha[ready], one.nominal, steps)
    kept = []
    for s in range(stations):
        count = int(seen[s])
        ring = newest[s] if count <= WINDOW else np.roll(newest[s], -(count % WINDOW))
        kept.append((tuple(ring[: min(count, WINDOW)].tolist()), count))
    return [
        (
            stretch_margin(one.margins, stretch),
            [ConformalState(one.nominal, gamma, float(a), *k) for a, k in zip(one.alpha, kept, strict=True)],
        )
        for one in levels
    ]


@dataclass(frozen=True, slots=True)
class _Level:
    """One nominal coverage as it goes through the past: margins (N, S) and levels (S,), both written in place."""

    nominal: float
    margins: Floats
    alpha: Floats


def _rank(ranked: Floats, gone: Floats, come: Floats) -> None:
    if np.isfinite(gone).any():
        above = ranked >= gone
        np.copyto(ranked[:-1], ranked[1:], where=above[:-1])
        ranked[-1, above[-1]] = np.inf
    before = np.maximum(ranked[:-1], come)
    np.minimum(ranked[0], come, out=ranked[0])
    np.minimum(ranked[1:], before, out=ranked[1:])


def _margins(ranked: Floats, count: np.ndarray, alpha: Floats, nominal: float, steps: int) -> Floats:
    """Margins of several stations from scores (W, S) ranked upwards (padded with infinity), each (S,)."""
    shares = np.empty((3, count.size))  # all three at once: a backtest asks some ten thousand times
    shares[0], shares[1], shares[2] = 1.0 - alpha, 0.9, 0.1
    more = np.array([[min(steps, LONGEST_SPAN)], [1], [1]])
    ranks = np.minimum(np.maximum(np.ceil(shares * (count + more)).astype(np.int64), 1), count)
    base, high, low = ranked[ranks - 1, np.arange(count.size)]
    margins: Floats = base + (high - low) * np.maximum(-alpha, 0.0) / (1.0 - nominal)
    return margins

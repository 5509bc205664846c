"""The average of simple forecasts that a station and horizon ask for, by their errors on past data only."""

import hashlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecasting.data.series import DAY_S, Floats, Ints, Panel
from forecasting.data.splits import Block
from forecasting.data.windows import targets
from forecasting.metrics import mae
from forecasting.reasons import Reason
from forecasting.simple.arima import fit_arima
from forecasting.simple.averaging import WARM_UP_ROWS, Ewa, Median, fit_damped, take_ewa, take_median
from forecasting.simple.baselines import Baseline, fit_climatology, fit_drift, fit_lld, fit_persistence, fit_seasonal
from forecasting.simple.ets import fit_ets
from forecasting.simple.lad import fit_lad
from forecasting.simple.regret import Rule, Shorter, compute_weights, mix
from forecasting.simple.ridge import fit_ridge
from forecasting.simple.trend import Followed, Trend, fit_local_trend, recall

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
    """`s(t) = sum_k a_k cos(2 pi k t / year) + b_k sin(2 pi k t / year)` of each station, t in rows of its panel."""

    year: float  # rows of a year
    # (a_1, b_1, a_2, b_2) in mm of each station, 0 where no season is believed, shape (S, 4)
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
    each year, had it been learnt from the other years. `panel`: the record; rows from `end` on are not read.
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


STANDARD = "trend"  # what the others are weighed against; with very many stations, where it is not made, `lld`
FURTHEST = 8.0  # times the error to expect of the standard that another may lie away from its path
LEAST_NAMED = 5  # share in % from which a candidate is named in the reason
LEAST_OF_YEARS = 24  # of a year of months one summer with an event is the twelfth part
MANY_STATIONS = 500
"""Above this many stations (satellite points) only the forecasts without a fit per station are candidates."""
FITTED = ("lad", "arima", "ets", "ridge", "median5", "ewa", STANDARD)
"""Learnt from every row they are given, so that their error on those rows would flatter them."""
MINIMUM_BEFORE = 20
_KEPT = 4
Fit = Callable[[Panel, Block, Sequence[int]], Baseline]
_recent: dict[str, "Auto"] = {}


@dataclass(frozen=True, slots=True)
class Auto:
    """The average of simple forecasts whose weights follow what each has cost so far, per station and horizon."""

    name: str
    steps: tuple[int, ...]  # horizons in rows
    members: tuple[Baseline, ...]  # the fitted candidates
    chosen: tuple[str, ...]  # name of the candidate with the largest weight, per horizon
    errors_mm: dict[str, tuple[float, ...]]  # calibration MAE per member and horizon
    # the candidates that have a weight, the standard first, answering for the past as they could have then
    judged: tuple[Baseline, ...] = ()
    first: int = 0  # row from which errors count
    # weights after calibration, shape (H, S, candidates with a weight)
    weights: Floats = field(default_factory=lambda: np.empty((0, 0, 0)), compare=False)
    rule: Rule = field(default_factory=Rule)  # how errors move weights
    # the values it was fitted to, up to the last row of calibration
    known: Floats = field(default_factory=lambda: np.empty((0, 0)), compare=False, repr=False)
    # what is taken off before the candidates are fitted, and laid on what they forecast
    season: HarmonicSeason | None = None
    # the average at each row of them from `first` on, shape (N, S, H): an issue asks for it once per model
    mixed: Floats = field(default_factory=lambda: np.empty((0, 0, 0)), compare=False, repr=False)
    seconds: float = field(default=0.0, compare=False, repr=False)  # what fitting all members and weighing them took

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Forecasts in mm, shape (N, S, H); before row `first` those of the standard."""
        out = np.full((origins.size, values.shape[1], len(self.steps)), np.nan)
        after = origins >= self.first
        last = int(origins.max(initial=-1))
        if after.any() and np.array_equal(values[: last + 1], self.known, equal_nan=True):
            out[after] = self.mixed[origins[after] - self.first]
        elif after.any():
            for i, (made, weights) in enumerate(self.compute_weighted_candidates(values, last)):
                out[after, :, i] = mix(made, weights)[origins[after] - self.first]
        if not after.all():
            rest, wave = self.take_season(values)
            out[~after] = self.judged[0].predict(rest, origins[~after])
            for i, h in enumerate(self.steps):
                out[~after, :, i] += wave[origins[~after] + h]
        return out

    def take_season(self, values: Floats) -> tuple[Floats, Floats]:
        """What the season leaves, and the season up to the longest horizon after the last row."""
        rows = values.shape[0] + max(self.steps, default=0)
        if self.season is None:
            return values, np.zeros((rows, values.shape[1]))
        wave = self.season.compute(rows)
        return values - wave[: values.shape[0]], wave

    def member(self, name: str) -> Baseline | None:
        """The candidate of that name; None where it forecasts what a season leaves, not what its name promises."""
        return None if self.season is not None else next((m for m in self.members if m.name == name), None)

    def explain(self, index: int, column: int | None = None) -> Reason:
        """Return which simple forecasts a forecast of a horizon consists of, at a station or on average."""
        named = dict(zip((m.name for m in self.judged), self._shares(index, column), strict=True))
        first = max(named, key=lambda name: named[name])
        if self.season is not None and self.season.is_at(column):
            return Reason("forecast.season", {"weights": name_shares(named)})
        if round(100 * named[first]) == 100:
            return Reason("forecast.simple", {"model": first})
        return Reason("forecast.average", {"weights": name_shares(named)})

    def _shares(self, index: int, column: int | None) -> Floats:
        weights = self.weights[index]
        return weights.mean(axis=0) if column is None else np.asarray(weights[column])

    def compute_weighted_candidates(self, values: Floats, last: int) -> Iterator[tuple[Floats, Floats]]:
        """Per horizon the forecasts of every candidate from row `first` to `last` and their weights, (E, N, S)."""
        seen, wave = self.take_season(values[: last + 1])
        rows = np.arange(self.first, last + 1, dtype=np.int64)
        standard, motion = self.judged[0], None
        groups: tuple[tuple[int, ...], ...] = ()
        if isinstance(standard, Trend):
            groups = standard.groups or ()
            motion = recall(seen, self.steps, groups).since(self.first)
        every = _answer(self.judged, seen, rows, motion)
        named = {m.name: m for m in self.members}
        least = np.array([least_scored(named.get(m.name)) for m in self.judged], dtype=np.int64)
        shorter: Shorter | None = None
        for i, h in enumerate(self.steps):
            made = np.stack([one[:, :, i] for one in every])
            if motion is not None:
                made = _hold(made, motion.path[:, :, i], FURTHEST * motion.doubt[:, :, i])
            errors = made - targets(seen, rows, h)
            surprise, scale = (None, None) if motion is None else (motion.surprise, motion.scale[:, :, i])
            weights, shorter = compute_weights(made, errors, h, self.rule, least, surprise, scale, groups, shorter)
            yield made + wave[rows + h], weights


def name_shares(weights: Mapping[str, float]) -> tuple[tuple[str, int], ...]:
    """Return names with their shares in percent: those of 5 % or more, the largest first.

    >>> name_shares({"lld": 0.04, "ets": 0.36, "trend": 0.6})
    (('trend', 60), ('ets', 36))
    """
    listed = sorted(((round(100 * w), name) for name, w in weights.items()), key=lambda one: (-one[0], one[1]))
    return tuple((name, share) for share, name in listed if share >= LEAST_NAMED)


@dataclass(frozen=True, slots=True)
class Halves:
    """Two fits of one kind: the first answers before row `cut`, the second from there on."""

    first: Baseline
    second: Baseline
    cut: int

    @property
    def name(self) -> str:
        """Model id."""
        return self.first.name

    @property
    def steps(self) -> tuple[int, ...]:
        """Horizons in rows."""
        return self.first.steps

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Forecasts in mm, shape (N, S, H)."""
        before = origins < self.cut
        out = np.empty((origins.size, values.shape[1], len(self.steps)))
        out[before], out[~before] = (
            self.first.predict(values, origins[before]),
            self.second.predict(values, origins[~before]),
        )
        return out


def fit_auto(panel: Panel, calibration: Block, steps: Sequence[int]) -> Auto:
    """Fit every other baseline and weigh them per station and horizon by their errors so far.

    No candidate is judged on rows it has seen (`_unflattered`); from the last row of calibration on each answers as
    fitted on all rows. `trend` is the standard: it has most of the weight before errors speak, and all of it until
    two spans of the horizon have been scored. A yearly candidate has no weight before a whole year and 24 forecasts
    were scored: one summer with an event makes any memory of the year before look good, or bad.
    """
    key = _digest(panel, calibration, steps)
    if key not in _recent:
        while len(_recent) >= _KEPT:
            _recent.pop(next(iter(_recent)))
        begun = time.perf_counter()
        fitted = _fit(panel, calibration, steps, Rule())
        _recent[key] = replace(fitted, seconds=time.perf_counter() - begun)
    return _recent[key]


def fit_candidates(panel: Panel, calibration: Block, steps: Sequence[int]) -> dict[str, Baseline]:
    """Every simple forecast that may have a weight; above 500 stations only those without a fit per station."""
    fits: tuple[Fit, ...] = (fit_persistence, fit_drift, fit_lld, fit_seasonal, fit_climatology)
    out = {one.name: one for one in (fit(panel, calibration, steps) for fit in fits)}
    rows = Block(0, calibration.end)
    out["lad"] = fit_lad(panel, rows, steps)
    if len(panel.stations) > MANY_STATIONS:
        return out
    out |= {one.name: one for one in (fit(panel, rows, steps) for fit in (fit_arima, fit_ets, fit_ridge))}
    middle, averaged = take_median(out), take_ewa(out, fit_damped(panel, calibration, steps), calibration)
    path = fit_local_trend(panel, calibration, steps)
    trend = replace(path, name=STANDARD, rest=middle)
    return out | {"median5": middle, "ewa": averaged, STANDARD: trend, path.name: path}


def _fit(panel: Panel, calibration: Block, steps: Sequence[int], rule: Rule) -> Auto:
    season = fit_season(panel, calibration.end, steps) if len(panel.stations) <= MANY_STATIONS else None
    rest = panel if season is None else replace(panel, values=panel.values - season.compute(panel.values.shape[0]))
    members = fit_candidates(rest, calibration, steps)
    judged = _unflattered(members, rest, calibration, steps)
    standard = STANDARD if STANDARD in judged else "lld"
    order = [standard, *(name for name in judged if name != standard)]
    first = max(0, calibration.first - WARM_UP_ROWS)
    auto = Auto(
        "auto",
        tuple(steps),
        tuple(members.values()),
        (),
        {},
        judged=tuple(judged[name] for name in order),
        first=first,
        rule=rule,
        season=season,
    )
    known = panel.values[: calibration.end]
    chosen: list[str] = []
    errors: dict[str, list[float]] = {name: [] for name in order}
    weights, mixed = [], []
    for h, (made, shares) in zip(steps, auto.compute_weighted_candidates(known, calibration.end - 1), strict=True):
        observed = calibration.targets(known, calibration.origins, h)
        for name, one in zip(order, made, strict=True):
            errors[name].append(mae(observed - one[calibration.first - first :]))
        weights.append(shares[:, -1].T)
        mixed.append(mix(made, shares))
        chosen.append(order[int(weights[-1].mean(axis=0).argmax())])
    return replace(
        auto,
        chosen=tuple(chosen),
        errors_mm={name: tuple(e) for name, e in errors.items()},
        weights=np.stack(weights),
        known=known,
        mixed=np.stack(mixed, axis=2),
    )


def least_scored(one: Baseline | None) -> int:
    """Forecasts to be scored before a candidate has any weight: of a yearly one those of a year, 24 at least."""
    period: int = getattr(one, "period", 0)
    return max(period, LEAST_OF_YEARS) if period else 0


def _answer(candidates: Sequence[Baseline], values: Floats, rows: Ints, motion: Followed | None) -> list[Floats]:
    """What each answers at consecutive rows; what several are made of is asked once."""
    kept: dict[int, Floats] = {}

    def answer(one: Baseline) -> Floats:
        if id(one) not in kept:
            if isinstance(one, Median):
                kept[id(one)] = one.join([answer(m) for m in one.members])
            elif isinstance(one, Ewa):
                kept[id(one)] = one.join(values, rows, [answer(m) for m in one.members])
            elif isinstance(one, Trend) and motion is not None:
                kept[id(one)] = one.lean(motion.path, motion.doubt, None if one.rest is None else answer(one.rest))
            else:
                kept[id(one)] = one.predict(values, rows)
        return kept[id(one)]

    return [answer(one) for one in candidates]


def _hold(made: Floats, path: Floats, furthest: Floats) -> Floats:
    """The candidates (E, N, S), none further from the path than its doubt allows; the standard as it is."""
    low, high = path - furthest, path + furthest
    held = np.where(np.isfinite(low), np.clip(made, low, high), made)
    held[0] = made[0]
    return held


def _unflattered(
    members: Mapping[str, Baseline], panel: Panel, calibration: Block, steps: Sequence[int]
) -> dict[str, Baseline]:
    """The candidates, answering up to the last row of calibration by fits that have not seen what they are judged on.

    What learns from every row learns from those before calibration; what is chosen on calibration answers in each half
    as chosen on the other.
    """
    last = calibration.end - 1
    out = {name: member for name, member in members.items() if name not in FITTED}
    out |= {
        name: answer_in_halves(fit, members[name], panel, calibration, steps)
        for name, fit in (("lld", fit_lld), ("drift", fit_drift))
    }
    before = Block(0, calibration.first)
    if len(panel.stations) > MANY_STATIONS:
        return out | {"lad": Halves(fit_lad(panel, before, steps), members["lad"], last)}
    trend = members[STANDARD]
    assert isinstance(trend, Trend)
    if calibration.first < MINIMUM_BEFORE:
        return out | {STANDARD: replace(trend, rest=None)}  # of a short record nothing fitted can be judged
    out |= {
        name: Halves(fit(panel, before, steps), members[name], last)
        for name, fit in (("lad", fit_lad), ("arima", fit_arima), ("ets", fit_ets), ("ridge", fit_ridge))
    }
    averaged = members["ewa"]
    assert isinstance(averaged, Ewa)
    damped = answer_in_halves(fit_damped, averaged.members[-1], panel, calibration, steps)
    between = take_median(out)
    return out | {"median5": between, "ewa": take_ewa(out, damped, calibration), STANDARD: replace(trend, rest=between)}


def answer_in_halves(fit: Fit, now: Baseline, panel: Panel, calibration: Block, steps: Sequence[int]) -> Baseline:
    """What is chosen on calibration, answering in each half of it as chosen on the other, and as `now` after it."""
    middle = (calibration.first + calibration.end) // 2
    early, late = Block(calibration.first, middle), Block(middle, calibration.end)
    return Halves(Halves(fit(panel, late, steps), fit(panel, early, steps), middle), now, calibration.end - 1)


def _digest(panel: Panel, calibration: Block, steps: Sequence[int]) -> str:
    """What the choice depends on: the same rows, block and horizons give the same answer."""
    known = np.ascontiguousarray(panel.values[: calibration.end])
    facts = (panel.step_s, panel.stations, known.shape, calibration, tuple(steps))
    return hashlib.sha256(repr(facts).encode() + known.tobytes()).hexdigest()

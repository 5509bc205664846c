"""Forecasts of satellite points by the ten thousand: one rule for all points of a set, intervals by the past of each.

The rule is chosen on some points of the set, and tried on dates that it did not see. A point that its own past shows on
a line follows that line instead. A table of points is then forecast at once, with no loop over points; a point knows
nothing of the others, so any division into tables gives the same.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecasting.combination.intervals import FEWEST_ERRORS, LONGEST_SPAN
from forecasting.data.series import Floats, Panel, nominal_step
from forecasting.data.splits import Block
from forecasting.data.windows import last_value, targets
from forecasting.metrics import or_none
from forecasting.reasons import Reason
from forecasting.serving.readiness import few_errors, find_gaps
from forecasting.simple.baselines import LevelDrift, fit_level_drift

STEPS: Final = (1, 5, 15)  # acquisitions ahead
NOMINAL: Final = 0.8
HISTORY: Final = 400  # rows of the grid, the newest
RECENT: Final = 60  # acquisitions whose median interval is that of the grid
TREND_ROWS: Final = 150
WARM_UP: Final = 20  # rows before an origin, so that an error is one of a forecast and not of a beginning
HELD_OUT_SHARE: Final = 3  # the newest third of the rows is tried, 60 of them at most
HELD_OUT_MOST: Final = 60
LEAST_INSIDE: Final = 0.7  # of what was held out; below it a horizon is withheld
FEWEST: Final = 42  # acquisitions; fewer leave every point silent
PERSISTENCE: Final = (1, 1, 0.0)
TREND: Final = (TREND_ROWS, TREND_ROWS - 1, 1.0)
CLEARLY: Final = 0.9  # times the error of the rule: so much less has a line, for a point to follow it
NAMES: Final = {PERSISTENCE: "persistence", TREND: "trend"}


@dataclass(frozen=True, slots=True)
class PointRecord:
    """Points on common acquisitions."""

    times_s: Floats  # of the acquisitions, epoch seconds, rising; shape (T,)
    values: Floats  # mm, NaN where there is none; shape (points, T)


@dataclass(frozen=True, slots=True)
class Tried:
    """What a rule did on dates that it had not seen, at one horizon."""

    steps: int  # acquisitions ahead
    level_rows: int  # mean of so many rows,
    slope_rows: int  # and a slope over so many intervals,
    damping: float  # of which this share is carried on
    forecasts: int = 0  # that could be compared
    inside: float | None = None  # share of them in the interval of 80 %; None where none could be compared
    error_mm: float | None = None  # mean of their errors without sign
    persistence_mm: float | None = None  # that of "stays as it is"
    trend_mm: float | None = None  # that of the line through the newest 150 rows
    reason: Reason | None = None  # why the horizon is withheld; None if it is not

    @property
    def rule(self) -> tuple[int, int, float]:
        """As `LevelDrift` takes it."""
        return (self.level_rows, self.slope_rows, self.damping)

    @property
    def model(self) -> str:
        """Its name among the simple forecasts."""
        return NAMES.get(self.rule, "level-drift")


@dataclass(frozen=True, slots=True)
class Choosing:
    """Choose a rule on some points of a set."""

    record: PointRecord


@dataclass(frozen=True, slots=True)
class Chosen:
    """Interval and rows of the grid, and the rule at each horizon; without rules the `reason`."""

    step_s: float = 0.0
    rows: int = 0
    horizons: tuple[Tried, ...] = ()
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Forecasting:
    """Forecast a table of points."""

    record: PointRecord  # the points
    end_s: float  # newest acquisition of the set, from which all horizons count
    step_s: float  # interval of the grid
    rows: int  # of the grid; one for all tables, so that errors of all points begin at the same date
    horizons: tuple[Tried, ...]  # the rules
    # half an interval of 80 % that is too noisy one acquisition ahead; None where nobody knows it
    widest_mm: float | None = None


@dataclass(frozen=True, slots=True)
class PointForecast:
    """One point: its newest value, middle and half the width of 80 % at each horizon; None is withheld, with why.

    `on_line` says at which horizons it follows the trend in place of the rule of the set.
    """

    value_mm: float | None
    middle_mm: tuple[float | None, ...]
    half_mm: tuple[float | None, ...]
    on_line: tuple[bool, ...] = ()
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class PointForecasts:
    """Every point of a table, in its order."""

    points: tuple[PointForecast, ...]


def lay_on_grid(record: PointRecord, end_s: float, step_s: float, rows: int) -> Floats:
    """Rows that end at `end_s`, shape (rows, points): of each row the nearest acquisition within half an interval.

    No mean is taken: a denser past would look quieter than the present is.

    >>> record = PointRecord(np.array([0.0, 6.0, 12.0, 24.0]), np.array([[1.0, 2.0, 3.0, 4.0]]))
    >>> lay_on_grid(record, 36.0, 12.0, 4)[:, 0].tolist()
    [1.0, 3.0, 4.0, nan]
    """
    back = (end_s - record.times_s) / step_s
    row = rows - 1 - np.rint(back).astype(np.int64)
    out = np.full((rows, record.values.shape[0]), np.nan)
    for k in np.argsort(-np.abs(back - np.rint(back)), kind="stable"):  # the nearest comes last
        if 0 <= row[k] < rows:
            known = np.isfinite(record.values[:, k])
            out[row[k], known] = record.values[known, k]
    return out


def choose_rule(request: Choosing) -> Chosen:
    """The simple forecast with the smallest error at each horizon, and what it did on dates that were held out."""
    times_s = request.record.times_s
    if times_s.size < FEWEST:
        return Chosen(reason=Reason("points.few", {"n": times_s.size, "needed": FEWEST}))
    step_s = nominal_step(np.diff(times_s[-RECENT:]))
    rows = min(round(float(times_s[-1] - times_s[0]) / step_s) + 1, HISTORY)
    values = lay_on_grid(request.record, float(times_s[-1]), step_s, rows)
    cut = rows - min(rows // HELD_OUT_SHARE, HELD_OUT_MOST)
    found = []
    for steps, before, now in zip(STEPS, _choose(values[:cut], step_s), _choose(values, step_s), strict=True):
        tried, rule = _try(values, cut, steps, before), now
        if tried.error_mm is not None and tried.persistence_mm is not None and tried.error_mm > tried.persistence_mm:
            tried, rule = _try(values, cut, steps, PERSISTENCE), PERSISTENCE
        found.append(replace(tried, level_rows=rule[0], slope_rows=rule[1], damping=rule[2]))
    return Chosen(step_s, rows, tuple(found))


def forecast_points(request: Forecasting) -> PointForecasts:
    """Forecast every point of a table, or say why not."""
    values = lay_on_grid(request.record, request.end_s, request.step_s, request.rows)
    names = tuple(f"{k:09}" for k in range(values.shape[1]))
    panel = Panel(request.end_s - (values.shape[0] - 1) * request.step_s, request.step_s, names, values)
    silent = {name: unready.reason for name, unready in find_gaps(panel).items()}
    last = np.array([values.shape[0] - 1])
    newest = last_value(values, last)[0][0]
    middles, halves, lines = [], [], []
    for tried in request.horizons:
        if tried.reason:
            middles.append(np.full(newest.size, np.nan))
            halves.append(np.full(newest.size, np.nan))
            lines.append(np.zeros(newest.size, dtype=bool))
            continue
        errors, ahead = _forecast_past(values, tried.steps, tried.rule, values.shape[0])
        line_errors, line_ahead = _forecast_past(values, tried.steps, TREND, values.shape[0])
        on_line = _find_lines(errors, line_errors)
        errors, ahead = np.where(on_line, line_errors, errors), np.where(on_line, line_ahead, ahead)
        lines.append(on_line)
        half = _rank_margins(errors, NOMINAL, tried.steps)
        middles.append(np.where(np.isfinite(half), ahead, np.nan))
        halves.append(np.where(np.isfinite(ahead), half, np.nan))
    middle, half = np.stack(middles, axis=1), np.stack(halves, axis=1)
    follows = np.stack(lines, axis=1)
    found = []
    for k, name in enumerate(names):
        error, bound = half[k][0], request.widest_mm
        noisy = silent.get(name)
        if noisy is None and bound is not None and np.isfinite(error) and error > bound:
            noisy = Reason("points.noise", {"error": float(error), "bound": bound})
        gone = noisy is not None
        reason = noisy or _find_lack(request, half[k])
        found.append(
            PointForecast(
                or_none(newest[k]),
                tuple(None if gone else or_none(x) for x in middle[k]),
                tuple(None if gone else or_none(x) for x in half[k]),
                tuple(follows[k].tolist()),
                reason,
            )
        )
    return PointForecasts(tuple(found))


def _find_lack(request: Forecasting, half: Floats) -> Reason | None:
    short = [
        one.steps
        for one, width in zip(request.horizons, half, strict=True)
        if not one.reason and not np.isfinite(width)
    ]
    if not short:
        return None
    return few_errors(short[0] * request.step_s)


def _choose(values: Floats, step_s: float) -> list[tuple[int, int, float]]:
    known = Block(0, values.shape[0])
    panel = Panel(0.0, step_s, tuple(f"{k:09}" for k in range(values.shape[1])), values)
    best = []
    for steps, params in zip(STEPS, fit_level_drift(panel, known, STEPS).params, strict=True):
        errors = {}
        for rule in (PERSISTENCE, params, TREND):
            errors[rule] = _mean(_forecast_past(values, steps, rule, values.shape[0])[0])
        best.append(min(errors, key=lambda rule: (errors[rule], rule != PERSISTENCE)))
    return best


def _forecast_past(values: Floats, steps: int, rule: tuple[int, int, float], rows: int) -> tuple[Floats, Floats]:
    """Errors without sign at past origins (N, S), and the forecast from the last of `rows` rows (S,)."""
    origins = np.arange(min(WARM_UP, rows - 1), rows, dtype=np.int64)
    made = LevelDrift("level-drift", (steps,), (rule,)).predict(values[:rows], origins)[:, :, 0]
    return np.abs(targets(values[:rows], origins, steps) - made), made[-1]


def _rank_margins(errors: Floats, level: float, steps: int) -> Floats:
    """Return the half width of an interval that holds this share of the past errors, shape (S,).

    NaN for a point with fewer than 20 errors. Errors of forecasts that overlap are not independent, so that a slightly
    larger one is taken for longer horizons.

    Args:
        errors: Absolute errors, shape (N, S), NaN where unknown.
    """
    count = np.isfinite(errors).sum(axis=0)
    ranked = np.sort(errors, axis=0)  # NaN is last
    rank = np.ceil(level * (count + min(steps, LONGEST_SPAN))).astype(np.int64)
    position = np.clip(np.minimum(rank, count) - 1, 0, max(0, errors.shape[0] - 1))
    if not errors.shape[0]:
        return np.full(errors.shape[1], np.nan)
    return np.where(count >= FEWEST_ERRORS, ranked[position, np.arange(errors.shape[1])], np.nan)


def _try(values: Floats, cut: int, steps: int, rule: tuple[int, int, float]) -> Tried:
    tried = Tried(steps, *rule)
    first = min(WARM_UP, values.shape[0] - 1)
    errors, line_errors, stays = (
        _forecast_past(values, steps, one, values.shape[0])[0] for one in (rule, TREND, PERSISTENCE)
    )
    before = slice(0, max(0, cut - steps - first))  # whose targets lie before what is held out
    errors = np.where(_find_lines(errors[before], line_errors[before]), line_errors, errors)
    count = inside = 0
    for origin in range(cut, values.shape[0] - steps):
        half = _rank_margins(errors[: max(0, origin - steps - first + 1)], NOMINAL, steps)
        missed = errors[origin - first]
        judged = np.isfinite(half) & np.isfinite(missed)
        count += int(judged.sum())
        inside += int((missed[judged] <= half[judged]).sum())
    if not count:
        return replace(tried, reason=Reason("points.too_short"))
    share = inside / count
    held = [one[cut - first :] for one in (errors, stays, line_errors)]
    known = np.isfinite(np.stack(held)).all(axis=0)
    if not known.any():
        return replace(tried, forecasts=count, inside=share, reason=Reason("points.too_short"))
    few_inside = Reason("points.few_inside", {"n": count, "share": 100.0 * share})
    return replace(
        tried,
        forecasts=count,
        inside=share,
        error_mm=float(held[0][known].mean()),
        persistence_mm=float(held[1][known].mean()),
        trend_mm=float(held[2][known].mean()),
        reason=None if share >= LEAST_INSIDE else few_inside,
    )


def _find_lines(errors: Floats, line_errors: Floats) -> NDArray[np.bool_]:
    """Points whose past errors are clearly smaller on a line, by origins (N, S) at which both are known."""
    known = np.isfinite(errors) & np.isfinite(line_errors)
    by_rule, by_line = (np.where(known, one, 0.0).sum(axis=0) for one in (errors, line_errors))
    found: NDArray[np.bool_] = (known.sum(axis=0) >= FEWEST_ERRORS) & (by_line < CLEARLY * by_rule)
    return found


def _mean(errors: Floats) -> float:
    known = np.isfinite(errors)
    return float(errors[known].mean()) if known.any() else float("inf")

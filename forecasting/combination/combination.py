"""One combination of experts for the stations of a panel, updated row by row.

The order of work at each row is:

1. Forecasts whose target is this row are scored, and intervals learn from their errors.
2. The experts take the readings of the row and forecast every lead time.
3. The weights follow from the scores. The forecast is the weighted mean of the experts.
4. The interval is the forecast plus and minus a margin that follows from the past errors of the combination. Where a
   failure window exists, the interval contains that of the window, because past errors are those of slower motion.

Forecasts of a row use this row and those before it only. A combination that is stored after any row and restored gives
the same forecasts, bit for bit, as one that was never stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from forecasting.combination import restarts
from forecasting.combination.drivers import DRIVER_EXPERTS, FEWEST_FORECASTS, DriverRegressions
from forecasting.combination.intervals import COVERAGES, Intervals, Pace, make_fans, widen_to
from forecasting.combination.polynomials import (
    MEMORIES,
    Curves,
    Polynomials,
    extend_fading_lines,
    extend_lines,
    extend_mean,
    extend_means,
    extend_newest,
    extend_parabolas,
)
from forecasting.combination.regressions import Regressions
from forecasting.combination.restarts import RestartingLines
from forecasting.combination.seasons import Seasons
from forecasting.combination.state import Arrays, add_prefix, take_prefix
from forecasting.combination.weights import ComponentGroups, Expert, ExpertWeights, list_lead_times
from forecasting.data.series import Floats
from forecasting.data.windows import STALE_ROWS

# Memories of the polynomials that are experts. The others are computed for the regressions only.
MEAN_MEMORIES: Final = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
LINE_MEMORIES: Final = MEMORIES
LEVEL_SLOPE_MEMORIES: Final = (8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
MEAN_SLOPE_MEMORIES: Final = (16.0, 32.0, 64.0, 128.0)  # slopes that continue a mean
MEAN_SLOPE_MEAN: Final = 4.0  # memory of that mean
MEAN_SLOPE_DAMPINGS: Final = (1.0, 0.5)  # share of the slope that lasts
PARABOLA_MEMORIES: Final = (4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
SEASONAL_MEMORIES: Final = (4.0, 16.0, 64.0)  # of the readings without harmonics

# Weight before any error of the last value and of the restarting lines. Every other expert has 1.
ROBUST_PRIOR: Final = 10.0

# Above this many stations the regressions and seasons are left out, so that a row of satellite points fits in memory.
MANY_STATIONS: Final = 500

MEDIAN: Final = 2  # position in a fan
LAST_VALUE: Final = "last-value"
FAILURE_WINDOW: Final = "failure-window"  # expert whose forecasts the caller computes from a failure window
PERSISTENCE: Final = "persistence"
LINE: Final = "line"
BUILT_IN_FANS: Final = 3  # fans besides those of the networks: combination, last value, straight line
DEFAULT_LINE_MEMORY: Final = 64.0  # of the simple forecast `line` before any error is known


@dataclass(frozen=True, slots=True)
class CombinedForecast:
    """Forecasts of stations S at horizons H made at one row; fans are quantiles .025, .1, .5, .9, .975 in mm."""

    # combination, shape (S, H, 5); NaN where there is no forecast; before 20 errors all but the median are NaN
    fans: Floats
    stretch: Floats  # factor by which intervals are wider because the station moves faster than usual, shape (S, H)
    experts: tuple[str, ...]
    weights: Floats  # shape (E, S, H), sum 1 over the experts where there is a forecast
    medians: Floats  # forecasts of the experts, shape (E, S, H), NaN where an expert makes none
    network_fans: Mapping[str, Floats]  # networks with intervals of their own errors, shape (S, H, 5)
    simple: Mapping[str, Floats]  # the simple forecasts `persistence` and `line`, likewise
    errors_mm: Floats  # discounted mean absolute errors of the experts so far, shape (E, S, H), NaN before any
    counts: Floats  # forecasts of the combination scored so far, shape (S, H)


class Combination:
    """State of the combination for one panel."""

    def __init__(
        self,
        stations: Sequence[str],
        step_s: float,
        steps: Sequence[int],
        groups: Sequence[Sequence[int]] | None,
        driver_names: Sequence[str],
    ) -> None:
        if list(steps) != sorted(set(steps)) or not steps or min(steps) < 1:
            raise ValueError(f"steps must rise and be at least 1, not {tuple(steps)}")
        self.stations = tuple(stations)
        self.step_s = float(step_s)
        self.steps = tuple(int(h) for h in steps)
        columns = [[column] for column in range(len(stations))] if groups is None else groups
        self.groups = tuple(tuple(sorted(group)) for group in columns)
        self.driver_names = tuple(driver_names)
        self.networks: tuple[str, ...] = ()
        self.rows = 0  # advanced so far
        count = len(self.stations)
        lead_times = list_lead_times(self.steps)
        self._lead_times = np.array(lead_times, dtype=np.float64)
        self._restarts = RestartingLines(count)
        is_small = count <= MANY_STATIONS
        self._seasons = Seasons(count, self.step_s, self.steps, lead_times) if is_small else None
        self._regressions = Regressions(count, lead_times) if is_small else None
        # Columns of the polynomials: the readings, then the readings without each of the harmonics.
        harmonics = 0 if self._seasons is None else len(self._seasons.harmonics)
        self._polynomials = Polynomials(count * (1 + harmonics))
        channels = len(self.driver_names)
        self._drivers = DriverRegressions(count, self.steps, channels) if channels and is_small else None
        experts = self._list_built_in()
        self._built_in = tuple(expert.name for expert in experts)
        self._weights = ExpertWeights(experts, self.steps, ComponentGroups(self.groups, count), count)
        self._pace = Pace(count)
        self._intervals = Intervals(BUILT_IN_FANS, count, self.steps)
        shape = (count, len(self.steps))
        self._last_weights = np.zeros((len(self._built_in), *shape))
        self._last_medians = np.full((len(self._built_in), *shape), np.nan)
        self._last_stretch = np.ones(shape)
        self._last_models = np.full((BUILT_IN_FANS, *shape), np.nan)
        self._last_margins = np.full((len(COVERAGES), BUILT_IN_FANS, *shape), np.nan)

    @classmethod
    def start(
        cls,
        stations: Sequence[str],
        step_s: float,
        steps: Sequence[int],
        *,
        groups: Sequence[Sequence[int]] | None = None,
        driver_names: Sequence[str] = (),
    ) -> Self:
        """Create a combination without readings.

        Args:
            stations: Names, one per column.
            step_s: Seconds between rows.
            steps: Horizons in rows, rising.
            groups: Columns that are components of one motion; they share their weights. Default: none are.
            driver_names: Names of the driver channels; without any, no expert reads drivers.
        """
        return cls(stations, step_s, steps, groups, driver_names)

    @property
    def experts(self) -> tuple[str, ...]:
        """Return the names of all experts, networks last."""
        return (*self._built_in, *self.networks)

    def advance(
        self,
        values_mm: Floats,
        *,
        networks: Mapping[str, Floats] | None = None,
        failure_fans: Floats | None = None,
        drivers: Floats | None = None,
    ) -> None:
        """Add one row of readings.

        Args:
            values_mm: Readings, shape (S,), NaN where nothing was observed.
            networks: Fans (S, H, 5) that networks forecast at this row, by name; NaN where they make none. Only their
                medians are read: the interval of a network follows from its past errors. A network with a new name is
                added as an expert. A network that is not named makes no forecast at this row.
            failure_fans: Quantiles of the displacement that a failure window predicts, shape (S, H, 5), NaN where there
                is no window. Their median is an expert.
            drivers: Driver channels at this row, shape (C,), NaN where unknown.
        """
        values_mm = np.asarray(values_mm, dtype=np.float64)
        if values_mm.shape != (len(self.stations),) or np.isinf(values_mm).any():
            raise ValueError(f"a row needs {len(self.stations)} finite values or NaN")
        networks = networks or {}
        for name in networks:
            self._add_network(name)
        row = self.rows
        self._weights.score(row, values_mm)
        self._intervals.score(row, values_mm)
        curves = self._advance_experts(row, values_mm)
        self._pace.advance(row, values_mm)
        forecasts_mm = self._forecast_experts(row, curves)
        horizons = self._weights.horizons
        if self._drivers is not None:
            channels = np.full(len(self.driver_names), np.nan) if drivers is None else np.asarray(drivers, dtype=float)
            first = self._built_in.index(DRIVER_EXPERTS[0])
            forecasts_mm[horizons, first : first + len(DRIVER_EXPERTS)] = self._drivers.advance(values_mm, channels)
        if failure_fans is not None:
            forecasts_mm[horizons, self._built_in.index(FAILURE_WINDOW)] = failure_fans[..., MEDIAN].T
        for position, name in enumerate(self.networks, start=len(self._built_in)):
            if name in networks:
                network_fan = np.asarray(networks[name], dtype=np.float64)
                forecasts_mm[horizons, position] = network_fan[..., MEDIAN].T
        weights, combined_mm = self._weights.combine(row, forecasts_mm, len(self._built_in))
        self._last_weights = weights[horizons].transpose(1, 2, 0)
        self._last_medians = forecasts_mm[horizons].transpose(1, 2, 0)
        self._last_stretch = self._pace.compute_stretch(np.array(self.steps, dtype=np.float64))
        models = [combined_mm[horizons].T, *self._select_simple(), *self._last_medians[len(self._built_in) :]]
        self._last_models = np.stack(models)
        newest_mm = self._polynomials.newest_mm[: len(self.stations)]
        self._last_margins = self._intervals.issue(row, self._last_models, newest_mm, self._last_stretch)
        # Intervals learn from the margins without the failure window. Its width would make later intervals too narrow.
        if failure_fans is not None:
            self._last_margins[:, 0] = widen_to(failure_fans, self._last_models[0], self._last_margins[:, 0])
        self.rows = row + 1

    def forecast(self) -> CombinedForecast:
        """Return the forecasts made at the last row that was added."""
        fans = make_fans(self._last_models, self._last_margins)
        return CombinedForecast(
            fans=fans[0],
            stretch=self._last_stretch,
            experts=self.experts,
            weights=self._last_weights,
            medians=self._last_medians,
            network_fans=dict(zip(self.networks, fans[BUILT_IN_FANS:], strict=True)),
            simple={PERSISTENCE: fans[1], LINE: fans[2]},
            errors_mm=self._weights.compute_errors(),
            counts=self._intervals.margins.count[:, 0].T.astype(np.float64),
        )

    def to_arrays(self) -> Arrays:
        """Return everything as plain arrays, which `from_arrays` restores exactly."""
        arrays: Arrays = {
            "stations": np.array(self.stations, dtype=np.str_),
            "step_s": np.array(self.step_s),
            "steps": np.array(self.steps, dtype=np.int64),
            "groups": _number_groups(self.groups, len(self.stations)),
            "driver_names": np.array(self.driver_names, dtype=np.str_),
            "networks": np.array(self.networks, dtype=np.str_),
            "rows": np.array(self.rows),
            "last_weights": self._last_weights.copy(),
            "last_medians": self._last_medians.copy(),
            "last_stretch": self._last_stretch.copy(),
            "last_models": self._last_models.copy(),
            "last_margins": self._last_margins.copy(),
        }
        for name, part in self._list_parts().items():
            arrays |= add_prefix(name, part.to_arrays())
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Restore a combination from the arrays of `to_arrays`."""
        numbers = arrays["groups"]
        groups = [np.flatnonzero(numbers == number).tolist() for number in range(int(numbers.max()) + 1)]
        out = cls(
            [str(name) for name in arrays["stations"]],
            float(arrays["step_s"]),
            [int(h) for h in arrays["steps"]],
            groups,
            [str(name) for name in arrays["driver_names"]],
        )
        for name in arrays["networks"]:
            out._add_network(str(name))
        out.rows = int(arrays["rows"])
        for name, part in out._list_parts().items():
            part.restore(take_prefix(name, arrays))
        out._last_weights = np.array(arrays["last_weights"])
        out._last_medians = np.array(arrays["last_medians"])
        out._last_stretch = np.array(arrays["last_stretch"])
        out._last_models = np.array(arrays["last_models"])
        out._last_margins = np.array(arrays["last_margins"])
        return out

    def _list_built_in(self) -> list[Expert]:
        experts = [
            Expert(LAST_VALUE, ROBUST_PRIOR),
            *(Expert(f"mean-{memory:g}") for memory in MEAN_MEMORIES),
            *(Expert(f"line-{memory:g}") for memory in LINE_MEMORIES),
            *(Expert(f"fading-line-{memory:g}") for memory in LINE_MEMORIES),
            *(Expert(f"level-slope-{memory:g}") for memory in LEVEL_SLOPE_MEMORIES),
            *(
                Expert(f"mean-slope-{memory:g}" if damping == 1.0 else f"damped-mean-slope-{memory:g}")
                for damping in MEAN_SLOPE_DAMPINGS
                for memory in MEAN_SLOPE_MEMORIES
            ),
            *(Expert(f"parabola-{memory:g}") for memory in PARABOLA_MEMORIES),
            *(Expert(name, ROBUST_PRIOR) for name in restarts.NAMES),
        ]
        if self._seasons is not None:
            experts += self._seasons.list_experts()
            for harmonics in self._seasons.harmonics:
                names = [LAST_VALUE]
                for curve in ("mean", "line", "fading-line", "level-slope"):
                    names += [f"{curve}-{memory:g}" for memory in SEASONAL_MEMORIES]
                experts += [
                    Expert(f"{harmonics.name}-{name}", trial_forecasts=harmonics.trial_forecasts) for name in names
                ]
        if self._regressions is not None:
            experts += [Expert(name) for name in self._regressions.names]
        if self._drivers is not None:
            experts += [Expert(name, trial_forecasts=FEWEST_FORECASTS) for name in DRIVER_EXPERTS]
        return [*experts, Expert(FAILURE_WINDOW)]

    def _list_parts(self) -> dict[str, Any]:
        parts = {
            "polynomials": self._polynomials,
            "restarts": self._restarts,
            "seasons": self._seasons,
            "regressions": self._regressions,
            "drivers": self._drivers,
            "weights": self._weights,
            "pace": self._pace,
            "intervals": self._intervals,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def _add_network(self, name: str) -> None:
        if name in self.networks:
            return
        if name in self._built_in:
            raise ValueError(f"a network must not have the name of a built-in expert: {name}")
        self.networks = (*self.networks, name)
        self._weights.add_expert(Expert(name))
        self._intervals.add_model()

    def _advance_experts(self, row: int, values_mm: Floats) -> Curves:
        """Let all experts except the driver regressions read a row, and return the fits of the polynomials.

        The columns of the fits are the readings, followed by the readings without each of the harmonics.
        """
        stations = len(self.stations)
        columns = [values_mm]
        if self._seasons is not None:
            is_current = self._polynomials.age[:stations] + 1.0 <= STALE_ROWS
            newest_mm = self._polynomials.newest_mm[:stations]
            carried_mm = np.where(np.isnan(values_mm) & is_current, newest_mm, values_mm)
            columns += self._seasons.advance(row, values_mm, carried_mm)
        self._polynomials.advance(np.concatenate(columns))
        self._restarts.advance(values_mm)
        curves = self._polynomials.fit()
        if self._regressions is not None:
            self._regressions.advance(row, values_mm, curves.take(0, stations))
        return curves

    def _forecast_experts(self, row: int, curves: Curves) -> Floats:
        """Return forecasts of the experts at all lead times in mm (R, E, S).

        NaN for the experts whose forecasts `advance` adds: driver regressions, failure windows and networks.
        """
        stations = len(self.stations)
        reading_curves = curves.take(0, stations)
        is_current = reading_curves.age <= STALE_ROWS
        carried_mm = np.where(is_current, reading_curves.newest_mm, np.nan)
        ahead = self._lead_times[:, None, None] + curves.age
        newest = np.broadcast_to(curves.newest_mm, (ahead.shape[0], 1, curves.newest_mm.size))
        means = extend_means(curves, ahead)
        lines = extend_lines(curves, ahead)
        fading = extend_fading_lines(curves, ahead)
        slopes = extend_newest(curves, ahead)
        readings = slice(0, stations)
        readings_ahead = ahead[..., readings]
        parts = [
            newest[..., readings],
            means[:, _MEANS, readings],
            lines[..., readings],
            fading[..., readings],
            slopes[:, _LEVEL_SLOPES, readings],
            *(
                extend_mean(reading_curves, readings_ahead, MEMORIES.index(MEAN_SLOPE_MEAN), damping)[:, _MEAN_SLOPES]
                for damping in MEAN_SLOPE_DAMPINGS
            ),
            extend_parabolas(reading_curves, readings_ahead)[:, _PARABOLAS],
            self._restarts.forecast(self._lead_times[:, None, None]),
        ]
        if self._seasons is not None:
            parts += [forecasts_mm[:, None] for forecasts_mm in self._seasons.forecast(row, carried_mm)]
            for number, waves in enumerate(self._seasons.forecast_harmonics(row), start=1):
                block = slice(number * stations, (number + 1) * stations)
                continued = [newest[..., block]]
                continued += [extended[:, _SEASONAL, block] for extended in (means, lines, fading, slopes)]
                parts += [extended + waves[:, None] for extended in continued]
        if self._regressions is not None:
            parts.append(self._regressions.forecast(row))
        computed_mm = np.concatenate(parts, axis=1)
        out = np.full((computed_mm.shape[0], len(self.experts), stations), np.nan)
        out[:, : computed_mm.shape[1]] = np.where(is_current, computed_mm, np.nan)
        return out

    def _select_simple(self) -> tuple[Floats, Floats]:
        """Return the medians of the simple forecasts, last value and straight line, in mm, each (S, H).

        The straight line starts at the newest reading. Its slope is the one with the smallest error so far.
        """
        first = self._built_in.index(f"level-slope-{LEVEL_SLOPE_MEMORIES[0]:g}")
        end = first + len(LEVEL_SLOPE_MEMORIES)
        errors_mm = self._weights.compute_errors(first, end)
        errors_mm = np.where(np.isfinite(errors_mm), errors_mm, np.inf)
        best = np.where(
            np.isfinite(errors_mm).any(axis=0),
            errors_mm.argmin(axis=0),
            LEVEL_SLOPE_MEMORIES.index(DEFAULT_LINE_MEMORY),
        )
        line = np.take_along_axis(self._last_medians[first:end], best[None], axis=0)[0]
        return self._last_medians[self._built_in.index(LAST_VALUE)], line


_MEANS: Final = [MEMORIES.index(memory) for memory in MEAN_MEMORIES]
_LEVEL_SLOPES: Final = [MEMORIES.index(memory) for memory in LEVEL_SLOPE_MEMORIES]
_SEASONAL: Final = [MEMORIES.index(memory) for memory in SEASONAL_MEMORIES]
_MEAN_SLOPES: Final = [MEMORIES.index(memory) for memory in MEAN_SLOPE_MEMORIES]
_PARABOLAS: Final = [MEMORIES.index(memory) for memory in PARABOLA_MEMORIES]


def _number_groups(groups: Sequence[Sequence[int]], stations: int) -> NDArray[np.int64]:
    """Return the number of the group of every column."""
    numbers = np.zeros(stations, dtype=np.int64)
    for number, columns in enumerate(groups):
        numbers[list(columns)] = number
    return numbers

"""Fits SARIMAX and unobserved components by night, and makes forecasts by day of the parameters that were found."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Final

import numpy as np

from forecasting.data.series import Floats, Ints, Panel
from forecasting.data.splits import Block
from forecasting.message import Message, Template
from forecasting.simple.baselines import fit_baseline
from forecasting.simple.exogenous import read_exogenous
from forecasting.simple.night_fit import NightFit
from forecasting.simple.state_space import FIT_ROWS, MINIMUM_ROWS, StateSpace

_FEW: Final = Template("fit.few", "record too short: {n} of {needed} readings that a fit takes")
_STILL: Final = Template("fit.still", "nothing moved in the rows that a fit takes")()
_NONE: Final = Template("fit.none", "no parameters could be found")()


@dataclass(frozen=True, slots=True)
class Recalled:
    """A forecast by parameters of a night; each station by its own.

    Attributes:
        name: Model id.
        steps: Horizons in rows.
        parts: First row of the panel that each reads, and the model with the parameters of its stations.
    """

    name: str
    steps: tuple[int, ...]
    parts: tuple[tuple[int, StateSpace], ...]

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Forecasts in mm, shape (N, S, H)."""
        return self.spread(values, origins)[0]

    def spread(self, values: Floats, origins: Ints) -> tuple[Floats, Floats]:
        """Forecasts and the standard deviations that the model gives them, in mm, both (N, S, H)."""
        points = np.full((origins.size, values.shape[1], len(self.steps)), np.nan)
        sizes = points.copy()
        for first, model in self.parts:
            asked = origins >= first
            stations = [s for s, params in enumerate(model.params) if params]
            made, width = model.spread(values[first:], origins[asked] - first)
            for s in stations:
                points[asked, s], sizes[asked, s] = made[:, s], width[:, s]
        return points, sizes


def refit(panel: Panel, model: str, calibration: Block, steps: Sequence[int]) -> tuple[NightFit, ...]:
    """Fit a model to the newest 730 rows of every station; drivers are read where they prove their worth there.

    Raises:
        ForecastingError: The grid is too fine, or there are too many stations.
    """
    first = max(0, panel.values.shape[0] - FIT_ROWS)
    recent = crop(panel, first)
    block = Block(max(0, calibration.first - first), calibration.end - first)
    fitted = fit_baseline(model, recent, block, steps)
    assert isinstance(fitted, StateSpace)
    known = np.isfinite(recent.values).sum(axis=0)
    return tuple(
        NightFit(
            name, model, recent.start_s, recent.step_s, block.end, fitted.season, fitted.columns, fitted.params[s],
            fitted.settled[s],
            "" if fitted.params[s] else _why_none(int(known[s]), still=fitted.settled[s]), version("statsmodels"),
        )
        for s, name in enumerate(panel.stations)
    )  # fmt: skip


def recall(panel: Panel, model: str, fits: Sequence[NightFit], steps: Sequence[int]) -> Recalled:
    """The forecast that these parameters make on a panel that may have grown since; NaN for stations without any."""
    groups: dict[tuple[int, int, int, tuple[str, ...]], dict[str, NightFit]] = {}
    for one in fits:
        first = round((one.start_s - panel.start_s) / panel.step_s)
        if one.model == model and one.why_withheld() is None and 0 <= first < panel.values.shape[0]:
            groups.setdefault((first, one.rows, one.season, one.columns), {})[one.station] = one
    parts = []
    for (first, rows, season, columns), mine in groups.items():
        recent = crop(panel, first)
        # rows that came since say nothing of what a driver usually is
        drivers = read_exogenous(recent, min(rows, recent.values.shape[0]), max(steps)) if columns else None
        if columns and (drivers is None or drivers.names != columns):
            continue
        params = tuple(mine[name].params if name in mine else () for name in panel.stations)
        parts.append((first, StateSpace(model, tuple(steps), season, columns, params, drivers)))
    return Recalled(model, tuple(steps), tuple(parts))


def crop(panel: Panel, first: int) -> Panel:
    """The rows from `first` on."""
    drivers = panel.drivers
    if drivers is not None:
        drivers = replace(drivers, values=drivers.values[first:])
    return replace(panel, start_s=panel.start_s + panel.step_s * first, values=panel.values[first:], drivers=drivers)


def _why_none(known: int, *, still: bool) -> Message:
    if known < MINIMUM_ROWS:
        return _FEW(n=known, needed=MINIMUM_ROWS)
    return _STILL if still else _NONE

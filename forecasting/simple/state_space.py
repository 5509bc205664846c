"""SARIMAX and unobserved components, fitted station by station with rain, reservoir and expected rain beside them.

Box and Jenkins 1970 and Harvey 1989, by maximum likelihood as statsmodels does it (extra `slopeward[models]`): a
missing row is a row without an update. Daily and slower series alone; the fit is bounded by rows and rounds.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from statsmodels.tsa.statespace.sarimax import SARIMAX
from statsmodels.tsa.statespace.structural import UnobservedComponents

from forecasting.data.series import DAY_S, MONTH_S, Floats, Ints, Panel
from forecasting.data.splits import Block
from forecasting.data.units import spell_span
from forecasting.data.windows import last_value
from forecasting.errors import HorizonError, PanelError
from forecasting.metrics import cautious_gap
from forecasting.simple.baselines import MINIMUM_PAIRS
from forecasting.simple.exogenous import Exogenous, read_exogenous
from forecasting.simple.least_squares import ROUNDS

FIT_ROWS = 730
MINIMUM_ROWS = 36
MOST_STATIONS = 100
SEASON_YEARS = 3
"""Years of slow series before a yearly season is fitted."""
_YEAR_MONTHS = 12


@dataclass(frozen=True, slots=True)
class StateSpace:
    """A state-space model per station: `y = Z a + x b + e`, `a' = T a + c + R n`.

    Attributes:
        name: `sarimax` or `uc`.
        steps: Horizons in rows.
        season: Rows of a yearly season, 0 without one.
        columns: Names of the drivers that proved their worth.
        params: Zero in mm, unit in mm and the model's parameters per station; empty where none could be fitted.
        exogenous: The drivers, on the rows of the panel that it was fitted to.
        settled: Whether the fit of each station came to its best within its rounds; known after a fit alone.
    """

    name: str
    steps: tuple[int, ...]
    season: int
    columns: tuple[str, ...]
    params: tuple[tuple[float, ...], ...]
    exogenous: Exogenous | None = field(default=None, compare=False, repr=False)
    settled: tuple[bool, ...] = field(default=(), compare=False)

    @property
    def unsettled(self) -> int:
        """Stations whose fit was ended before it came to its best."""
        return sum(not one for one in self.settled)

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Forecasts in mm, shape (N, S, H); NaN where no value was seen for more than 3 rows."""
        return self.spread(values, origins)[0]

    def spread(self, values: Floats, origins: Ints) -> tuple[Floats, Floats]:
        """Forecasts and the standard deviations that the model gives them, in mm, both (N, S, H)."""
        points = np.full((origins.size, values.shape[1], len(self.steps)), np.nan)
        sizes = points.copy()
        if not origins.size:
            return points, sizes
        end = int(origins.max()) + 1
        known = np.isfinite(last_value(values, origins)[0])
        for s, params in enumerate(self.params):
            if params:
                made = self._forecast(values[:end, s], origins, params)
                points[:, s], sizes[:, s] = (np.where(known[:, [s]], one, np.nan) for one in made)
        return points, sizes

    def _forecast(self, series: Floats, origins: Ints, params: tuple[float, ...]) -> tuple[Floats, Floats]:
        """Forecasts and deviations of one station, both (N, H)."""
        zero, unit, own = params[0], params[1], np.array(params[2:])
        past = None if self.exogenous is None else self.exogenous.past[: series.size]
        model = _build(self.name, (series - zero) / unit, past, self.season)
        # every row is filtered alike, whatever came before it: no gain is frozen
        model.ssm.tolerance = 0.0
        model.update(own)
        seen = model.ssm.filter()
        move, turn = model.ssm["transition"], model.ssm["selection"]
        look = model.ssm["design"].reshape(-1)
        # the constant of SARIMAX is written down row by row
        offset = model.ssm["state_intercept"].reshape(look.size, -1)[:, 0]
        stir = turn @ model.ssm["state_cov"] @ turn.T
        noise = float(model.ssm["obs_cov"].reshape(-1)[0])
        state = seen.predicted_state[:, origins + 1].T
        doubt = seen.predicted_state_cov[:, :, origins + 1].transpose(2, 0, 1)
        driven = np.zeros((origins.size, max(self.steps)))
        if self.exogenous is not None:
            names = {f"{way}x{i + 1}" for way in ("", "beta.") for i in range(len(self.columns))}
            weights = [w for w, name in zip(own, model.param_names, strict=True) if name in names]
            ahead = self.exogenous.ahead(origins, max(self.steps))
            for i, weight in enumerate(weights):
                driven = driven + weight * ahead[:, :, i]
        points, sizes = np.empty((origins.size, len(self.steps))), np.empty((origins.size, len(self.steps)))
        for h in range(1, max(self.steps) + 1):
            for i in (i for i, wanted in enumerate(self.steps) if wanted == h):
                points[:, i] = zero + unit * ((state * look).sum(axis=1) + driven[:, h - 1])
                variance = np.einsum("i,nij,j->n", look, doubt, look) + noise
                sizes[:, i] = unit * np.sqrt(np.maximum(variance, 0.0))
            state = np.einsum("ij,nj->ni", move, state) + offset
            doubt = np.einsum("ij,njk,lk->nil", move, doubt, move) + stir
        return points, sizes


def fit_sarimax(panel: Panel, calibration: Block, steps: Sequence[int]) -> StateSpace:
    """ARIMA(2,1,1) with a constant and drivers; with three years of slow readings the same month of the year before."""
    return _fit("sarimax", panel, calibration, steps)


def fit_uc(panel: Panel, calibration: Block, steps: Sequence[int]) -> StateSpace:
    """A level and a slope that both wander, noise and drivers; with three years of slow readings a yearly wave."""
    return _fit("uc", panel, calibration, steps)


def _fit(name: str, panel: Panel, calibration: Block, steps: Sequence[int]) -> StateSpace:
    """Maximum likelihood per station on the newest 730 rows before the end of `calibration`, at most 40 rounds.

    Drivers are read where the same model, fitted before calibration, was better with them there (`_drivers_help`).

    Raises:
        HorizonError: The rows are closer than a day.
        PanelError: There are more than 100 stations.
    """
    if panel.step_s < 0.99 * DAY_S:
        raise HorizonError(f"{name} reads daily and slower series, not one of every {spell_span(panel.step_s)}")
    if len(panel.stations) > MOST_STATIONS:
        raise PanelError(f"{name} is fitted station by station: at most {MOST_STATIONS}, not {len(panel.stations)}")
    end = calibration.end
    helps = _drivers_help(name, panel, calibration, steps)
    return _fit_rows(name, panel, read_exogenous(panel, end, max(steps)) if helps else None, end, steps)


def _fit_rows(name: str, panel: Panel, drivers: Exogenous | None, end: int, steps: Sequence[int]) -> StateSpace:
    """Every station on the newest 730 rows before `end`."""
    first = max(0, end - FIT_ROWS)
    past = None if drivers is None else drivers.past[first:end]
    season = round(_YEAR_MONTHS * MONTH_S / panel.step_s)
    if season > _YEAR_MONTHS or season < 2 or end - first < SEASON_YEARS * season:
        season = 0
    found = [_fit_one(name, series, past, season) for series in panel.values[first:end].T]
    columns = () if drivers is None else drivers.names
    return StateSpace(
        name, tuple(steps), season, columns, tuple(params for params, _ in found), drivers, tuple(ok for _, ok in found)
    )


def _drivers_help(name: str, panel: Panel, calibration: Block, steps: Sequence[int]) -> bool:
    """Whether the model with drivers, fitted before calibration, beat the one without there by more than chance."""
    before = calibration.first
    drivers = read_exogenous(panel, before, max(steps)) if before >= MINIMUM_ROWS else None
    if drivers is None:
        return False
    origins = calibration.origins
    pair = [_fit_rows(name, panel, one, before, steps).predict(panel.values, origins) for one in (drivers, None)]
    gaps = []
    for i, h in enumerate(steps):
        came = calibration.targets(panel.values, origins, h)
        error, other = (np.abs(came - made[:, :, i]) for made in pair)
        if np.isfinite(error).sum() >= MINIMUM_PAIRS:
            gaps.append(cautious_gap(error, other, h))
    return bool(gaps) and float(np.mean(gaps)) < 0.0


def _fit_one(name: str, series: Floats, past: Floats | None, season: int) -> tuple[tuple[float, ...], bool]:
    """Zero, unit and parameters of one station, and whether its fit came to its best; empty where it is too short."""
    seen = series[np.isfinite(series)]
    if seen.size < MINIMUM_ROWS:
        return (), True
    moved = np.diff(series)
    moved = moved[np.isfinite(moved)]
    zero, unit = float(seen[0]), float(np.sqrt(np.mean(moved**2))) if moved.size else 0.0
    if unit == 0.0:
        return (), True
    model = _build(name, (series - zero) / unit, past, season)
    with warnings.catch_warnings():
        # an end before the best is counted and told
        warnings.simplefilter("ignore")
        try:
            found = model.fit(method="lbfgs", maxiter=ROUNDS, disp=0, cov_type="none", warn_convergence=False)
        except (np.linalg.LinAlgError, ValueError):
            return (), False
    params = tuple(float(v) for v in found.params)
    if not np.isfinite(params).all():
        return (), False
    return (zero, unit, *params), bool(found.mle_retvals["converged"])


def _build(name: str, series: Floats, past: Floats | None, season: int) -> Any:
    """The model of statsmodels for one station."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "uc":
            wave = [{"period": season, "harmonics": min(2, season // 2)}] if season else None
            return UnobservedComponents(series, level="lltrend", exog=past, freq_seasonal=wave)
        yearly = (1, 0, 0, season) if season else (0, 0, 0, 0)
        return SARIMAX(series, exog=past, order=(2, 1, 1), seasonal_order=yearly, trend="c")

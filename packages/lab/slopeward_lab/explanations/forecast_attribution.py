"""Attribute a forecast to the past values that a network reads, by methods of captum.

The explained number is the correction of the simple forecast by the network (median), in mm. The past values are
grouped: each input of the network (motion of the station, motion of other stations, each driver) is divided into blocks
of consecutive rows.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import FeaturePermutation, IntegratedGradients, Lime, ShapleyValueSampling
from numpy.typing import NDArray
from torch import Tensor

from forecasting.data.kinds import find_covariate
from forecasting.data.series import Floats, Ints, Panel
from forecasting.data.splits import split
from forecasting.errors import NotEnoughDataError
from forecasting.explanation.record import Batch, make_batch
from forecasting.neural.forecaster import NeuralForecaster

Method = Literal["integrated-gradients", "shap", "lime", "permutation"]
# Blocks of rows of each input.
BLOCKS: Final = 8
# Windows whose mean is the baseline, and windows of the permutation.
USUAL_WINDOWS: Final = 48
PERMUTED_WINDOWS: Final = 64
LEAST_PERMUTED_WINDOWS: Final = 8
PERMUTATIONS: Final = 3
# Nodes of the integral. The second number is used if the parts do not add up with the first.
NODES: Final = (64, 512)
# Sampled orders of the Shapley values, and perturbed windows of LIME for each group of values.
SHAPLEY_SAMPLES: Final = 32
LIME_SAMPLES_PER_GROUP: Final = 20
# Width of the kernel that weighs perturbed windows in LIME, see `_weigh_sample`.
LIME_WIDTH: Final = 0.25
LIME_RIDGE: Final = 1e-3
# Windows that the network reads at once.
BATCH: Final = 64
# Largest error of the sum of the parts, as a share of the difference that they explain.
COMPLETENESS: Final = 0.02
# Features of the motion that are masks of observed values. The baseline has the masks of the explained window.
MASKS: Final = slice(2, 4)


@dataclass(frozen=True, slots=True)
class Part:
    """What a block of past values of one input contributes."""

    input: str  # `motion of STATION`, `motion of other stations`, or the name of a driver
    newest_s: float  # age of the newest row of the block, seconds before the issue
    oldest_s: float  # age of its oldest row
    # Contribution to the correction; for `permutation`, by how much the error rises if the block is exchanged.
    mm: float


@dataclass(frozen=True, slots=True)
class HorizonAttribution:
    """The parts of the forecast for one horizon."""

    horizon_s: float
    windows: int  # past issue times: of the baseline, or of the permutation
    simple_mm: float  # change by the simple forecast, from the newest reading
    correction_mm: float  # what the network adds to it
    # The number that the parts explain: correction minus that of the baseline. For `permutation`, the mean absolute
    # error of the forecasts.
    explained_mm: float
    # |sum of the parts - explained_mm|; None for `permutation` and `lime`, whose parts do not add up
    sum_error_mm: float | None
    is_complete: bool  # whether the parts add up, where they must
    parts: tuple[Part, ...]  # all blocks, the largest absolute value first


@dataclass(frozen=True, slots=True)
class ForecastAttribution:
    """The attribution of the forecast of a station."""

    station: str
    method: Method
    issued_s: float  # instant of the newest reading that is used, epoch seconds
    horizons: tuple[HorizonAttribution, ...]


@dataclass(frozen=True, slots=True)
class _Block:
    """A block of rows of an input."""

    input: str
    newest_s: float
    oldest_s: float


@dataclass(frozen=True, slots=True)
class _Groups:
    """The groups of input values that are attributed together, one for each block."""

    masks: tuple[Tensor, ...]  # number of the group of each value; one tensor for each input of the network, without N
    blocks: tuple[_Block, ...]  # by number


CorrectionFunction = Callable[..., Tensor]
"""Correction in mm, shape (N,), of batches of all inputs that are attributed."""


def attribute_forecast(
    forecaster: NeuralForecaster,
    panel: Panel,
    station: str,
    method: Method,
    *,
    horizons_s: Sequence[float] | None = None,
    seed: int = 7,
) -> ForecastAttribution:
    """Attribute the newest forecast of a station to past values.

    The baseline of all methods but `permutation` is a usual window: the mean of past windows for the motion, and the
    mean of the training for drivers, with the same missing values.

    - `integrated-gradients` (Sundararajan et al. 2017) follows the straight line from the baseline to the window.
    - `shap`: Shapley values of the groups (Lundberg and Lee 2017) by sampled permutations (Castro et al. 2009).
    - `lime` (Ribeiro et al. 2016) fits a ridge regression to windows in which groups have their usual values.
    - `permutation` (Breiman 2001) exchanges a group between past issue times and measures by how much the mean
      absolute error rises. It explains past forecasts, not the newest one.

    Args:
        forecaster: a trained network.
        panel: the record.
        station: name of a station of the panel.
        method: see above.
        horizons_s: horizons; all of the network if None.
        seed: of the samples and permutations.

    Raises:
        NotEnoughDataError: the record has no forecast of the station, or too few past ones for `permutation`.
        OtherIntervalError: the network was trained on another interval.
    """
    panel = _select_columns(forecaster, panel, station)
    column = panel.stations.index(station)
    recipe = forecaster.recipe
    observed = np.flatnonzero(np.isfinite(panel.values[:, column]))
    past = observed[observed >= recipe.window - 1]
    if past.size < 2:
        raise NotEnoughDataError(f"{station}: fewer than two readings after the first {recipe.window} rows")
    origin = past[-1:]
    usual_origins = _select_evenly(past[:-1], USUAL_WINDOWS)
    usual = make_batch(forecaster, panel, usual_origins).usual
    batch = make_batch(forecaster, panel, origin, usual)
    groups = _make_groups(forecaster, batch, panel.stations, column)
    network = copy.deepcopy(forecaster.network).double().eval()
    simple_mm = recipe.base.predict(panel.values, origin)[0, column] - panel.values[origin[0], column]
    horizons = []
    for number, horizon_s in enumerate(recipe.horizons_s):
        if horizons_s is not None and horizon_s not in horizons_s:
            continue
        # Each horizon has the same samples, whatever other horizons are explained.
        torch.manual_seed(seed)
        compute_correction = _make_correction(network, batch, column, number)
        inputs = _list_inputs(batch)
        with torch.no_grad():
            correction_mm = float(compute_correction(*inputs)[0])
        if not (np.isfinite(correction_mm) and np.isfinite(simple_mm[number])):
            raise NotEnoughDataError(f"{station}: no forecast from its newest reading; it has too few readings before")
        windows = len(usual_origins)
        if method == "permutation":
            past_forecasts = _choose_past_forecasts(forecaster, panel, column, past, number)
            windows = len(past_forecasts.residual_mm)
            explained_mm, values = _permute(network, past_forecasts, groups, column, number)
        else:
            explained_mm, values = _attribute_window(compute_correction, inputs, _make_baseline(batch), groups, method)
        adds_up = method in {"integrated-gradients", "shap"}
        sum_error_mm = abs(float(values.sum()) - explained_mm) if adds_up else None
        parts = [
            Part(block.input, block.newest_s, block.oldest_s, float(value))
            for block, value in zip(groups.blocks, values, strict=True)
        ]
        horizons.append(
            HorizonAttribution(
                horizon_s=horizon_s,
                windows=windows,
                simple_mm=float(simple_mm[number]),
                correction_mm=correction_mm,
                explained_mm=explained_mm,
                sum_error_mm=sum_error_mm,
                is_complete=sum_error_mm is None or sum_error_mm <= max(COMPLETENESS * abs(explained_mm), 1e-6),
                parts=tuple(sorted(parts, key=lambda part: -abs(part.mm))),
            )
        )
    issued_s = panel.start_s + panel.step_s * float(origin[0])
    return ForecastAttribution(station, method, issued_s, tuple(horizons))


def _select_columns(forecaster: NeuralForecaster, panel: Panel, station: str) -> Panel:
    """Return the panel with the columns that the network reads for the station."""
    if forecaster.recipe.supports is not None:
        return forecaster.on_panel(panel)[0]
    column = panel.stations.index(station)
    drivers = panel.drivers and panel.drivers.of_stations([column])
    alone = Panel(panel.start_s, panel.step_s, (station,), panel.values[:, [column]], drivers=drivers)
    return forecaster.on_panel(alone)[0]


def _make_groups(forecaster: NeuralForecaster, batch: Batch, stations: tuple[str, ...], column: int) -> _Groups:
    """Divide the inputs into groups: inputs by blocks of rows."""
    window = batch.inputs.shape[2]
    block_of_row = np.minimum(np.arange(window) * BLOCKS // window, BLOCKS - 1)
    input_of_station = np.ones(len(stations), int)
    input_of_station[column] = 0
    inputs = [f"motion of {stations[column]}"]
    if len(stations) > 1:
        inputs.append("motion of other stations")
    numbers = [np.broadcast_to(input_of_station[:, None, None], batch.inputs.shape[1:])]
    rows = [np.broadcast_to(block_of_row[None, :, None], batch.inputs.shape[1:])]
    if batch.drivers is not None:
        sources = forecaster.recipe.sources
        assert sources is not None
        covariates = [find_covariate(name) for name in sources.names]
        drivers = list(dict.fromkeys(covariates))
        input_of_channel = np.array([len(inputs) + drivers.index(name) for name in covariates])
        inputs += drivers
        numbers.append(np.broadcast_to(input_of_channel[None, :, None], batch.drivers.shape[1:]))
        rows.append(np.broadcast_to(block_of_row[:, None, None], batch.drivers.shape[1:]))
    # Short windows have fewer rows than blocks, so the numbers are made consecutive.
    codes = [number * BLOCKS + block for number, block in zip(numbers, rows, strict=True)]
    used = np.unique(np.concatenate([code.ravel() for code in codes]))
    masks = tuple(torch.from_numpy(np.searchsorted(used, code))[None] for code in codes)
    blocks = []
    for code in used:
        ages_s = forecaster.recipe.step_s * (window - 1 - np.flatnonzero(block_of_row == code % BLOCKS))
        blocks.append(_Block(inputs[code // BLOCKS], float(ages_s.min()), float(ages_s.max())))
    return _Groups(masks, tuple(blocks))


def _list_inputs(batch: Batch) -> tuple[Tensor, ...]:
    """Return the inputs that are attributed, in double precision. Properties of stations are not among them."""
    parts = (batch.inputs, batch.drivers)
    return tuple(torch.from_numpy(part.astype(np.float64)) for part in parts if part is not None)


def _make_baseline(batch: Batch) -> tuple[Tensor, ...]:
    """Return the usual window with the missing values of the newest window."""
    window, *drivers = _list_inputs(batch)
    usual = torch.from_numpy(batch.usual.astype(np.float64))[None] * (window[..., 2:3] > 0).double()
    usual[..., MASKS] = window[..., MASKS]
    baselines = [usual]
    for part in drivers:
        mean = part.clone()
        mean[..., 0] = 0.0  # drivers are standardised
        baselines.append(mean)
    return tuple(baselines)


def _make_correction(network: Any, batch: Batch, column: int, horizon: int) -> CorrectionFunction:
    """Return the function that captum explains."""
    static = None if batch.static is None else torch.from_numpy(batch.static.astype(np.float64))
    units = torch.from_numpy(np.asarray(batch.unit_mm[:, column, horizon], np.float64))

    def compute_correction(*inputs: Tensor) -> Tensor:
        count = len(inputs[0])
        constant = () if static is None else (_repeat(static, count),)
        median: Tensor = network(*inputs, *constant)[:, column, horizon, 2]
        return median * _repeat(units, count)

    return compute_correction


def _repeat(values: Tensor, count: int) -> Tensor:
    """Return values of one window for a batch of perturbed windows; values of a batch are returned unchanged."""
    return values if len(values) == count else values.expand(count, *values.shape[1:])


def _attribute_window(
    compute_correction: CorrectionFunction,
    inputs: tuple[Tensor, ...],
    baselines: tuple[Tensor, ...],
    groups: _Groups,
    method: Method,
) -> tuple[float, Floats]:
    """Return the difference to the baseline, and the contribution of each group to it."""
    with torch.no_grad():
        explained = float(compute_correction(*inputs)[0] - compute_correction(*baselines)[0])
    if method == "integrated-gradients":
        values = np.zeros(len(groups.blocks))
        for nodes in NODES:
            attributions = IntegratedGradients(compute_correction).attribute(
                inputs, baselines, n_steps=nodes, method="gausslegendre", internal_batch_size=BATCH
            )
            values = _sum_groups(attributions, groups)
            if abs(values.sum() - explained) <= COMPLETENESS * abs(explained):
                break
        return explained, values
    with torch.no_grad():
        if method == "shap":
            attributions = ShapleyValueSampling(compute_correction).attribute(
                inputs, baselines, feature_mask=groups.masks, n_samples=SHAPLEY_SAMPLES, perturbations_per_eval=BATCH
            )
            return explained, _read_groups(attributions, groups)
        lime = Lime(
            compute_correction, interpretable_model=SkLearnRidge(alpha=LIME_RIDGE), similarity_func=_weigh_sample
        )
        coefficients = lime.attribute(
            inputs,
            baselines,
            feature_mask=groups.masks,
            n_samples=LIME_SAMPLES_PER_GROUP * len(groups.blocks),
            perturbations_per_eval=BATCH,
            return_input_shape=False,
        )
        return explained, np.asarray(coefficients.numpy().ravel(), np.float64)


def _weigh_sample(_original: object, _perturbed: object, kept: Tensor, **_options: object) -> Tensor:
    """Return the weight of a perturbed window in LIME.

    It is exp(-d^2 / width^2), where d is the cosine distance between the groups that are kept and all groups.
    """
    distance = 1.0 - kept.double().mean().sqrt()
    return torch.exp(-(distance**2) / LIME_WIDTH**2)


def _sum_groups(attributions: tuple[Tensor, ...], groups: _Groups) -> Floats:
    values = torch.zeros(len(groups.blocks), dtype=torch.float64)
    for attribution, mask in zip(attributions, groups.masks, strict=True):
        values.index_add_(0, mask.flatten(), attribution.detach().flatten())
    return np.asarray(values.numpy())


def _read_groups(attributions: tuple[Tensor, ...], groups: _Groups) -> Floats:
    """Return the values of groups whose members all have the value of the group."""
    values = torch.zeros(len(groups.blocks), dtype=torch.float64)
    for attribution, mask in zip(attributions, groups.masks, strict=True):
        values[mask.flatten()] = attribution.detach().double().flatten()
    return np.asarray(values.numpy())


@dataclass(frozen=True, slots=True)
class _PastForecasts:
    """Past windows whose targets are known, for one horizon."""

    batch: Batch
    residual_mm: Floats  # observed motion minus the simple forecast


def _choose_past_forecasts(
    forecaster: NeuralForecaster, panel: Panel, column: int, past: Ints, horizon: int
) -> _PastForecasts:
    """Return windows of the newest fifth of the record, from which the weights were not learned in the last training.

    Raises:
        NotEnoughDataError: fewer than `LEAST_PERMUTED_WINDOWS`.
    """
    recipe = forecaster.recipe
    block = split(panel.values.shape[0]).calibration
    origins = past[past >= block.first]
    targets = block.targets(panel.values, origins, recipe.steps[horizon])[:, column]
    residual = targets - recipe.base.predict(panel.values, origins)[:, column, horizon]
    usable = np.flatnonzero(np.isfinite(residual))
    if usable.size < LEAST_PERMUTED_WINDOWS:
        raise NotEnoughDataError(
            f"{panel.stations[column]}: {usable.size} past forecasts with a known result, {LEAST_PERMUTED_WINDOWS} are "
            "needed for permutation; use another method or a shorter horizon"
        )
    chosen = _select_evenly(usable, PERMUTED_WINDOWS)
    return _PastForecasts(make_batch(forecaster, panel, origins[chosen]), np.asarray(residual[chosen]))


def _permute(
    network: Any, past_forecasts: _PastForecasts, groups: _Groups, column: int, horizon: int
) -> tuple[float, Floats]:
    """Return the mean absolute error, and by how much it rises if each group is exchanged between windows."""
    compute_correction = _make_correction(network, past_forecasts.batch, column, horizon)
    residual = torch.from_numpy(past_forecasts.residual_mm)

    def measure_error(*inputs: Tensor) -> Tensor:
        return (residual - compute_correction(*inputs)).abs().mean()

    inputs = _list_inputs(past_forecasts.batch)
    with torch.no_grad():
        error = float(measure_error(*inputs))
        rises = []
        for _ in range(PERMUTATIONS):
            attributions = FeaturePermutation(measure_error).attribute(inputs, feature_mask=groups.masks)
            # captum returns the error without exchange minus the error with it.
            rises.append(-_read_groups(attributions, groups))
    return error, np.asarray(np.mean(rises, axis=0))


def _select_evenly(values: NDArray[Any], most: int) -> NDArray[Any]:
    """Return at most `most` values, evenly spaced."""
    if values.size <= most:
        return values
    return np.asarray(values[np.unique(np.linspace(0, values.size - 1, most).round().astype(np.int64))])

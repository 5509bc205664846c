"""The autoencoder `ae`: reconstruct the channels of a station from each other, from its neighbours and from rain.

A sample is the last 30 cells of all channels of one station (east, north and up; tilt x and y), with the median of the
other stations and with sums of rain. The network squeezes a sample through a few numbers and reconstructs the channels
(Hinton and Salakhutdinov 2006). Linear effects of the other stations and of rain are added to the reconstruction. Some
channels are hidden from the network, so it learns what the others explain about them (Vincent et al. 2008). What it
cannot reconstruct about a channel has three scores: the newest error, the mean error and the size of the errors, each
in the usual size of this series.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from detection.anomaly.networks import LEARN_UNTIL, MIN_WINDOWS, TRAIN_UNTIL, NetworkRecord, TrainedNetwork
from detection.anomaly.neural.channels import (
    LEVEL,
    LINE,
    RAIN_DAYS,
    RESIDUALS,
    StationChannels,
    list_quantities,
    make_channels,
    split_label,
)
from detection.anomaly.records import InputError
from detection.anomaly.stages import MAD_TO_SIGMA, Array

WIDTH: Final = 30  # cells of a window
HIDDEN: Final = 64
CODE: Final = 16
# Larger residuals are clipped, so that a few of them do not dominate the loss.
CLIP: Final = 20.0
MAX_WINDOWS: Final = 8000
MAX_EPOCHS: Final = 30
# Training stops after so many epochs without gain.
PATIENCE: Final = 4
BATCH: Final = 128
SCORED_AT_ONCE: Final = 4096
# A window is used if at least this share of the residuals of the channels that its station measures is known.
MIN_COVERAGE: Final = 0.5
# Share of the channels that stay visible in training, and how much less their errors count.
VISIBLE: Final = 0.5
VISIBLE_WEIGHT: Final = 0.2
# Windows without an effect that are assumed in least squares, so that a short record shows no effect by chance.
PRIOR: Final = 10.0
PARTS: Final = ("level", "drift", "noise")
LEVEL_CELLS: Final = 3
DRIFT_CELLS: Final = 15
MIN_DRIFT_CELLS: Final = 8
DRIFT_CLIP: Final = 5.0
NOISE_CELLS: Final = 8
MIN_NOISE_CELLS: Final = 5
NOISE_CLIP: Final = 4.0
# Names of the arrays in a checkpoint that are not weights of the network.
_SCALES: Final = "error_scales"
_RAIN_SCALE: Final = "rain_scale"


class StationAutoencoder(nn.Module):
    """A dense network from the channels of a station, its neighbours and rain to the channels."""

    def __init__(self, channels: int, *, has_rain: bool) -> None:
        super().__init__()
        size = channels * RESIDUALS * WIDTH
        # The residuals, which of them are known, and the residuals of the other stations.
        inputs = 3 * size + (len(RAIN_DAYS) if has_rain else 0)
        # Linear effects of the other stations and of rain, which are added to what the code reconstructs. Training
        # starts at their least-squares values.
        self.share = nn.Parameter(torch.zeros(channels, RESIDUALS, 1))
        self.rain_effect = nn.Parameter(torch.zeros(len(RAIN_DAYS), channels, RESIDUALS, WIDTH)) if has_rain else None
        self.encode = nn.Sequential(nn.Linear(inputs, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, CODE), nn.Tanh())
        output = nn.Linear(HIDDEN, size)
        nn.init.zeros_(output.weight)
        nn.init.zeros_(output.bias)
        self.decode = nn.Sequential(nn.Linear(CODE, HIDDEN), nn.Tanh(), output)

    def forward(self, windows: "Windows", visible: torch.Tensor) -> torch.Tensor:
        """Return the reconstructed residuals, the shape of `windows.values`.

        Args:
            visible: 1 where the network reads a channel, 0 where the channel is hidden; shape (k, channels).
        """
        shown = visible[:, :, None, None]
        inputs = [(windows.values * shown).flatten(1), (windows.known * shown).flatten(1), windows.others.flatten(1)]
        if windows.rain is not None:
            inputs.append(windows.rain)
        reconstructed: torch.Tensor = self.decode(self.encode(torch.cat(inputs, dim=1)))
        return reconstructed.view_as(windows.values) + self._add_linear(windows)

    def _add_linear(self, windows: "Windows") -> torch.Tensor:
        effect: torch.Tensor = self.share * windows.others
        if self.rain_effect is not None and windows.rain is not None:
            effect = effect + torch.einsum("kr,rcdw->kcdw", windows.rain, self.rain_effect)
        return effect

    def fit_linear(self, training: "Windows", watch: "Windows") -> None:
        """Set the linear effects by least squares; that of rain only if it lowers the loss on `watch`."""
        known = training.known * (training.others != 0)
        others, own = training.others * known, training.values * known
        with torch.no_grad():
            squares = (others * others).sum(dim=(0, 3)) + PRIOR
            self.share.copy_(((others * own).sum(dim=(0, 3)) / squares)[:, :, None])
        if self.rain_effect is None or training.rain is None:
            return
        loss = _measure_loss(self, watch)
        rain = training.rain
        with torch.no_grad():
            unexplained = (training.values - self.share * training.others) * training.known
            squares = torch.einsum("ki,kj,kcdw->cdwij", rain, rain, training.known) + PRIOR * torch.eye(len(RAIN_DAYS))
            products = torch.einsum("ki,kcdw->cdwi", rain, unexplained)
            self.rain_effect.copy_(torch.linalg.solve(squares, products[..., None])[..., 0].permute(3, 0, 1, 2))
            if _measure_loss(self, watch) >= loss:
                self.rain_effect.zero_()


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of one station or of several.

    Attributes:
        values: Residuals, zero where unknown; shape (k, channels, `RESIDUALS`, `WIDTH`).
        known: 1 where a residual is known; the shape of `values`.
        others: Residuals of the other stations, zero where unknown; the shape of `values`.
        rain: Sums of rain at the newest cell, shape (k, `len(RAIN_DAYS)`); None without rain.
    """

    values: torch.Tensor
    known: torch.Tensor
    others: torch.Tensor
    rain: torch.Tensor | None

    def select(self, rows: torch.Tensor) -> "Windows":
        """Return some of the windows."""
        rain = None if self.rain is None else self.rain[rows]
        return Windows(self.values[rows], self.known[rows], self.others[rows], rain)


class StationNetwork:
    """Train and apply the autoencoder of stations. See `DetectorNetwork`."""

    def train(self, name: str, record: NetworkRecord, seed: int) -> TrainedNetwork:
        """Train on the first `TRAIN_UNTIL` of a record; equal seeds give equal weights.

        Raises:
            InputError: There are too few windows to train on.
        """
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(mode=True)
        quantities = list_quantities(record.samples)
        channels = make_channels(record, quantities)
        cells = channels.own.shape[-1]
        learn_until, train_until = int(cells * LEARN_UNTIL), int(cells * TRAIN_UNTIL)
        rain_scale = np.ones(len(RAIN_DAYS), dtype=np.float32)
        if channels.rain is not None:
            rain_scale = np.maximum(channels.rain[:, :train_until].std(axis=1), 1e-6).astype(np.float32)
        training = _collect(channels, rain_scale, 0, learn_until, MAX_WINDOWS)
        watch = _collect(channels, rain_scale, max(0, learn_until - WIDTH + 1), train_until, MAX_WINDOWS // 4)
        count = 0 if training is None else len(training.values)
        if training is None or watch is None or count < MIN_WINDOWS:
            raise InputError(
                f"{count} complete windows of {WIDTH} readings: at least {MIN_WINDOWS} are needed to train {name}"
            )
        has_rain = channels.rain is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = StationAutoencoder(len(quantities), has_rain=has_rain)
            network.fit_linear(training, watch)
            best, notes = _fit(network, training, watch, seed)
        network.load_state_dict({key: torch.from_numpy(value) for key, value in best.items()})
        errors = _score_channels(network, channels, rain_scale)
        scales = MAD_TO_SIGMA * _median_of_known(errors[..., :train_until])
        # A series without errors in the training part gets the usual scale of its channel.
        scales = np.where(scales > 0, scales, _median_of_known(np.moveaxis(scales, 0, -1)))
        notes |= {"quantities": quantities, "stations": list(channels.stations), "has_rain": has_rain}
        weights = {**best, _SCALES: scales.astype(np.float32), _RAIN_SCALE: rain_scale}
        return TrainedNetwork(weights, notes)

    def score(self, trained: TrainedNetwork, record: NetworkRecord) -> dict[str, dict[str, Array]]:
        """Return the scores by part and series, one for each cell, NaN where readings are missing; shape (n,)."""
        torch.set_num_threads(1)
        notes, weights = trained.notes, dict(trained.weights)
        quantities: list[str] = notes["quantities"]
        scores = {
            part: {label: np.full(len(one.values), np.nan) for label, one in record.samples.items()} for part in PARTS
        }
        if not set(quantities) & set(list_quantities(record.samples)):
            return scores
        channels = make_channels(record, quantities)
        scales, rain_scale = weights.pop(_SCALES), weights.pop(_RAIN_SCALE)
        if notes["has_rain"] and channels.rain is None:
            channels = _add_dry_weather(channels)
        network = StationAutoencoder(len(quantities), has_rain=notes["has_rain"])
        network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in weights.items()})
        network.eval()
        errors = _score_channels(network, channels, rain_scale, has_rain=notes["has_rain"])
        usual = np.nanmedian(scales, axis=0)
        for label, place in channels.places.items():
            station, quantity = split_label(label)
            channel, length = quantities.index(quantity), len(record.samples[label].values)
            is_trained = station in notes["stations"]
            scale = scales[notes["stations"].index(station), channel] if is_trained else usual[channel]
            own = errors[channels.stations.index(station), channel, :, place : place + length]
            for part, row, size in zip(PARTS, own, scale, strict=True):
                scores[part][label] = row / size if size > 0 else row * np.nan
        return scores


STATION_NETWORK: Final = StationNetwork()


def _add_dry_weather(channels: StationChannels) -> StationChannels:
    """Return the same channels with rain of zero, for a network that reads rain at a site whose gauge is silent."""
    rain = np.zeros((len(RAIN_DAYS), channels.own.shape[-1]))
    return StationChannels(channels.stations, channels.quantities, channels.own, channels.others, rain, channels.places)


def _fit(
    network: StationAutoencoder, training: Windows, watch: Windows, seed: int
) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Train a network. Return the weights with the smallest loss on `watch`, and facts about the training.

    The weights before training count too. They reconstruct a channel by the linear effects alone.
    """
    draws = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-3)
    channels = training.values.shape[1]
    first_loss = _measure_loss(network, watch)
    best, best_loss, epochs_without_gain, epochs = _copy_weights(network), first_loss, 0, 0
    while epochs < MAX_EPOCHS and epochs_without_gain < PATIENCE:
        epochs += 1
        network.train()
        for rows in torch.split(torch.randperm(len(training.values), generator=draws), BATCH):
            visible = (torch.rand(len(rows), channels, generator=draws) < VISIBLE).float()
            optimiser.zero_grad()
            torch.autograd.backward(_find_loss(network, training.select(rows), visible))
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
        loss = _measure_loss(network, watch)
        if loss < best_loss * 0.999:
            best, best_loss, epochs_without_gain = _copy_weights(network), loss, 0
        else:
            epochs_without_gain += 1
    parameters = sum(weight.numel() for weight in network.parameters())
    notes = {
        "epochs": epochs,
        "watch_loss_of_linear_effects": first_loss,
        "watch_loss": best_loss,
        "parameters": parameters,
        "torch": str(torch.__version__),
    }
    return best, notes


def _measure_loss(network: StationAutoencoder, watch: Windows) -> float:
    """Return the loss while all channels are hidden."""
    network.eval()
    with torch.no_grad():
        return float(_find_loss(network, watch, torch.zeros(watch.values.shape[:2])))


def _find_loss(network: StationAutoencoder, windows: Windows, visible: torch.Tensor) -> torch.Tensor:
    """Return the mean Huber loss of known residuals. Errors of hidden channels count most."""
    errors = nn.functional.smooth_l1_loss(network(windows, visible), windows.values, reduction="none")
    weights = windows.known * (1.0 - (1.0 - VISIBLE_WEIGHT) * visible)[:, :, None, None]
    return (errors * weights).sum() / weights.sum().clamp(min=1.0)


def _copy_weights(network: nn.Module) -> dict[str, NDArray[np.float32]]:
    return {key: value.detach().numpy().copy() for key, value in network.state_dict().items()}


def _collect(
    channels: StationChannels, rain_scale: NDArray[np.float32], begin: int, end: int, most: int
) -> Windows | None:
    """Return evenly chosen windows of all stations within cells [begin, end); None if there are none."""
    count = max(1, most // len(channels.stations))
    chosen = []
    for station in range(len(channels.stations)):
        windows = _cut(channels, rain_scale, station, begin, end)
        if windows is None:
            continue
        measured = torch.from_numpy(np.isfinite(channels.own[station]).any(axis=(1, 2)))
        if not measured.any():
            continue
        is_complete = windows.known[:, measured].flatten(1).mean(dim=1) >= MIN_COVERAGE
        rows = torch.nonzero(is_complete & windows.known[:, :, LEVEL, -1].any(dim=1)).squeeze(1)
        if len(rows) > count:
            rows = rows[torch.from_numpy(np.linspace(0, len(rows) - 1, count).astype(np.int64))]
        chosen.append(windows.select(rows))
    if not any(len(windows.values) for windows in chosen):
        return None
    rain = None if channels.rain is None else torch.cat([one.rain for one in chosen if one.rain is not None])
    return Windows(
        torch.cat([one.values for one in chosen]),
        torch.cat([one.known for one in chosen]),
        torch.cat([one.others for one in chosen]),
        rain,
    )


def _cut(
    channels: StationChannels, rain_scale: NDArray[np.float32], station: int, begin: int, end: int
) -> Windows | None:
    """Return all windows of a station within cells [begin, end), oldest first; None if there is not one."""
    if end - begin < WIDTH:
        return None
    own, known = _slide(channels.own[station, :, :, begin:end])
    others, _ = _slide(channels.others[station, :, :, begin:end])
    rain = None
    if channels.rain is not None:
        newest = channels.rain[:, begin + WIDTH - 1 : end].T / rain_scale
        rain = torch.from_numpy(newest.astype(np.float32))
    return Windows(own, known, others, rain)


def _slide(residuals: Array) -> tuple[torch.Tensor, torch.Tensor]:
    """Return windows of clipped residuals, and where they are known; shape (k, channels, RESIDUALS, WIDTH)."""
    view = np.moveaxis(np.lib.stride_tricks.sliding_window_view(residuals, WIDTH, axis=-1), 2, 0)
    known = np.isfinite(view)
    values = np.clip(np.where(known, view, 0.0), -CLIP, CLIP).astype(np.float32)
    return torch.from_numpy(values), torch.from_numpy(known.astype(np.float32))


def _score_channels(
    network: StationAutoencoder,
    channels: StationChannels,
    rain_scale: NDArray[np.float32],
    *,
    has_rain: bool = True,
) -> Array:
    """Return the three error statistics of each channel, shape (stations, channels, parts, cells); NaN where unknown.

    Each channel is reconstructed while it is hidden from the network.
    """
    stations, count, _, cells = channels.own.shape
    scores = np.full((stations, count, len(PARTS), cells), np.nan)
    for station in range(stations):
        for begin in range(0, max(cells - WIDTH + 1, 0), SCORED_AT_ONCE):
            end = min(begin + SCORED_AT_ONCE + WIDTH - 1, cells)
            windows = _cut(channels, rain_scale, station, begin, end)
            if windows is None:
                continue
            if not has_rain:
                windows = Windows(windows.values, windows.known, windows.others, None)
            for channel, errors, known in _reconstruct(network, windows):
                scores[station, channel, :, begin + WIDTH - 1 : end] = _summarise(errors, known)
    return scores


def _reconstruct(network: StationAutoencoder, windows: Windows) -> Iterator[tuple[int, Array, Array]]:
    """Yield each channel with its errors and where they are known, shape (k, RESIDUALS, WIDTH)."""
    count = windows.values.shape[1]
    for channel in range(count):
        visible = torch.ones(len(windows.values), count)
        visible[:, channel] = 0.0
        with torch.no_grad():
            reconstructed = network(windows, visible)[:, channel]
        known = windows.known[:, channel]
        errors = (windows.values[:, channel] - reconstructed) * known
        yield channel, errors.double().numpy(), known.double().numpy()


def _summarise(errors: Array, known: Array) -> Array:
    """Return the newest error, the mean error and the size of the errors of windows, shape (parts, k)."""
    level = np.abs(errors[:, LEVEL, -LEVEL_CELLS:]).max(axis=1)
    drift = np.clip(errors[:, LINE, -DRIFT_CELLS:], -DRIFT_CLIP, DRIFT_CLIP).sum(axis=1)
    drift = np.abs(drift) / np.maximum(known[:, LINE, -DRIFT_CELLS:].sum(axis=1), MIN_DRIFT_CELLS)
    squares = np.square(np.clip(errors[:, LEVEL, -NOISE_CELLS:], -NOISE_CLIP, NOISE_CLIP)).sum(axis=1)
    noise = np.sqrt(squares / np.maximum(known[:, LEVEL, -NOISE_CELLS:].sum(axis=1), MIN_NOISE_CELLS))
    scores = np.stack([level, drift, noise])
    is_withheld = (known[:, LEVEL, -1] == 0.0) | (known[:, LEVEL].mean(axis=1) < MIN_COVERAGE)
    scores[:, is_withheld] = np.nan
    return scores


def _median_of_known(values: Array) -> Array:
    """Return the median of the known values along the last axis, NaN where there are none."""
    ordered = np.sort(values, axis=-1)  # NaN sorts last
    known = np.isfinite(values).sum(axis=-1, keepdims=True)
    middle = np.take_along_axis(ordered, np.maximum((known - 1) // 2, 0), axis=-1)
    return np.where(known > 0, middle, np.nan)[..., 0]

"""Train and apply an autoencoder to windows of single series, one series at a time."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from detection.anomaly.networks import LEARN_UNTIL, MIN_WINDOWS, TRAIN_UNTIL, NetworkRecord, TrainedNetwork
from detection.anomaly.records import InputError
from detection.anomaly.stages import Array
from detection.anomaly.windows import compute_scaled_residuals

WIDTH: Final = 30
NEWEST: Final = 3
# Larger residuals are clipped, so that a few of them do not dominate the loss.
CLIP: Final = 20.0
MAX_WINDOWS: Final = 8000
MAX_EPOCHS: Final = 30
PATIENCE: Final = 4
SCORED_AT_ONCE: Final = 4096
MIN_COVERAGE: Final = 0.7
Windows = tuple[Array, Array]
"""Residuals with zero where unknown, and a mask of the known ones; each of shape (k, `WIDTH`)."""


class WindowNetwork:
    """A `DetectorNetwork` that reconstructs windows of the scaled residuals of one series.

    Its score is the largest error of the newest three cells of a window, in robust scales. Rain is not used.
    """

    def __init__(self, network: Callable[[], nn.Module]) -> None:
        """Take the class of the network: values and mask of shape (batch, `WIDTH`) to values of the same shape."""
        self.make_network = network

    def train(self, name: str, record: NetworkRecord, seed: int) -> TrainedNetwork:
        """Train on the first `TRAIN_UNTIL` of a record; equal seeds give equal weights.

        Raises:
            InputError: There are too few windows to train on.
        """
        training: list[Windows] = []
        watch: list[Windows] = []
        for label in sorted(record.samples):
            series = record.samples[label]
            index, values, mask = stack_windows(compute_scaled_residuals(series))
            share = index / max(len(series.values), 1)
            is_early, is_late = share < LEARN_UNTIL, (share >= LEARN_UNTIL) & (share < TRAIN_UNTIL)
            training.append((values[is_early], mask[is_early]))
            watch.append((values[is_late], mask[is_late]))
        count = sum(len(values) for values, _ in training)
        if count < MIN_WINDOWS or not any(len(values) for values, _ in watch):
            raise InputError(
                f"{count} complete windows of {WIDTH} readings: at least {MIN_WINDOWS} are needed to train {name}"
            )
        return self.fit(_join(training), _join(watch), seed)

    def fit(
        self, training: Windows, watch: Windows, seed: int, epochs: int = MAX_EPOCHS, patience: int = PATIENCE
    ) -> TrainedNetwork:
        """Train on windows, and stop early by the loss on `watch`.

        Args:
            patience: Epochs without gain before training stops.
        """
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(mode=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.make_network()
            order = torch.Generator().manual_seed(seed)
            optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-3)
            values, mask = _make_tensors(training, most=MAX_WINDOWS)
            watched = _make_tensors(watch, most=MAX_WINDOWS // 4)
            best, best_loss, epochs_without_gain, epoch = _copy_weights(network), float("inf"), 0, 0
            while epoch < epochs and epochs_without_gain < patience:
                epoch += 1
                network.train()
                for batch in torch.split(torch.randperm(len(values), generator=order), 128):
                    optimiser.zero_grad()
                    torch.autograd.backward(_find_loss(network, values[batch], mask[batch]))
                    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                    optimiser.step()
                network.eval()
                with torch.no_grad():
                    loss = float(_find_loss(network, *watched))
                if loss < best_loss * 0.999:
                    best, best_loss, epochs_without_gain = _copy_weights(network), loss, 0
                else:
                    epochs_without_gain += 1
        parameters = sum(weight.numel() for weight in network.parameters())
        notes = {"epochs": epoch, "watch_loss": best_loss, "parameters": parameters, "torch": str(torch.__version__)}
        return TrainedNetwork(best, notes)

    def score(self, trained: TrainedNetwork, record: NetworkRecord) -> dict[str, dict[str, Array]]:
        """Return the scores by part and series; there is one part without a name."""
        scores: dict[str, Array] = {}
        for label, series in record.samples.items():
            index, values, mask = stack_windows(compute_scaled_residuals(series))
            scores[label] = np.full(len(series.values), np.nan)
            if len(index):
                scores[label][index] = self.score_windows(trained.weights, (values, mask))
        return {"": scores}

    def score_windows(self, weights: Mapping[str, NDArray[np.float32]], windows: Windows) -> Array:
        """Return the largest error of the newest cells of each window, shape (k,)."""
        torch.set_num_threads(1)
        network = self.make_network()
        network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in weights.items()})
        network.eval()
        values, mask = _make_tensors(windows)
        scores = np.zeros(len(values))
        with torch.no_grad():
            for first in range(0, len(values), SCORED_AT_ONCE):
                part = slice(first, first + SCORED_AT_ONCE)
                errors = (network(values[part], mask[part]) - values[part]).abs() * mask[part]
                scores[part] = errors[:, -NEWEST:].amax(dim=1).double().numpy()
        return scores


def stack_windows(values: Array) -> tuple[NDArray[np.int64], Array, Array]:
    """Return the windows that end at each observed cell and are sufficiently complete.

    Returns:
        Index of the last cell of each window, shape (k,); values with zero where unknown, shape (k, `WIDTH`); and a
        mask of the known values.
    """
    if len(values) < WIDTH:
        return np.zeros(0, dtype=np.int64), np.zeros((0, WIDTH)), np.zeros((0, WIDTH))
    view = np.lib.stride_tricks.sliding_window_view(values, WIDTH)
    known = np.isfinite(view)
    chosen = np.flatnonzero(known[:, -1] & (known.mean(axis=1) >= MIN_COVERAGE))
    mask = known[chosen].astype(np.float64)
    return chosen + WIDTH - 1, np.where(known[chosen], view[chosen], 0.0), mask


def _join(parts: list[Windows]) -> Windows:
    return np.concatenate([values for values, _ in parts]), np.concatenate([mask for _, mask in parts])


def _find_loss(network: Any, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    errors = torch.nn.functional.smooth_l1_loss(network(values, mask), values, reduction="none")
    loss = (errors * mask).sum() / mask.sum().clamp(min=1.0)
    return loss + getattr(network, "penalty", 0.0)


def _make_tensors(windows: Windows, most: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    values, mask = windows
    if most is not None and len(values) > most:
        chosen = np.linspace(0, len(values) - 1, most).astype(np.int64)
        values, mask = values[chosen], mask[chosen]
    clipped = np.clip(values, -CLIP, CLIP).astype(np.float32)
    return torch.from_numpy(clipped), torch.from_numpy(mask.astype(np.float32))


def _copy_weights(network: nn.Module) -> dict[str, NDArray[np.float32]]:
    return {key: value.detach().numpy().copy() for key, value in network.state_dict().items()}

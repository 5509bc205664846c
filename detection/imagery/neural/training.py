"""Training of a segmentation network: seeded to the last bit, threshold and epoch chosen on a held part of train."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from detection.imagery.metrics import best_threshold, count, score
from detection.imagery.registry import build

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train; the defaults are those measured on Landslide4Sense patches.

    Attributes:
        epochs: passes over the fit part.
        time_limit_cpu_s: stop after the epoch in which this much CPU time is spent; 0 = none. A run that is cut
            short is not reproducible on another machine.
        held_share: part of train that chooses epoch and threshold.
        brightness: range of the factor on a whole patch.
        shift: greatest shift of one band, in units of the image values.
        blank_share: share of patches of which a half plane is blanked as nodata.
    """

    seed: int = 0
    network: str = "unet"
    width: float = 0.125
    epochs: int = 13
    time_limit_cpu_s: float = 0.0
    batch: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 100
    held_share: float = 0.15
    brightness: tuple[float, float] = (0.85, 1.15)
    shift: float = 0.04
    blank_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training run leaves: the network of the best epoch, its card facts and the history."""

    network: torch.nn.Module
    mean: list[float]
    std: list[float]
    value_range: list[list[float]]
    threshold: float
    history: list[dict[str, float]]
    best_epoch: int
    held_f1: float
    cpu_s: float


def segmentation_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus soft Dice of the landslide class over the batch (Milletari et al. 2016), smooth 1."""
    cross_entropy = functional.cross_entropy(logits, truth)
    probability = logits.softmax(dim=1)[:, 1]
    target = truth.to(probability.dtype)
    dice = (2 * (probability * target).sum() + 1) / (probability.sum() + target.sum() + 1)
    return cross_entropy + 1 - dice


def split_held(total: int, held_share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split 0..total-1 into (fit, held) by a seeded permutation.

    >>> fit, held = split_held(1100, 0.15, 0)
    >>> len(fit), len(held)
    (935, 165)
    """
    order = np.random.default_rng(seed).permutation(total)
    held = round(total * held_share)
    return np.sort(order[held:]), np.sort(order[:held])


def train_network(images: NDArray[Any], masks: NDArray[np.uint8], settings: Settings) -> Trained:
    """Train on N x C x H x W images (float, or uint8 meaning value / 255) and N x H x W masks of 0 and 1.

    Statistics for the normalisation come from the fit part; epoch and threshold from the held part. Nothing else
    is looked at. The same input and settings give the same weights to the last bit on one machine.
    """
    torch.manual_seed(settings.seed)
    torch.use_deterministic_algorithms(mode=True)
    fit, held = split_held(len(images), settings.held_share, settings.seed)
    mean, std, value_range = _statistics(images, fit)
    network = build(settings.network, images.shape[1], 2, settings.width)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    total_steps = settings.epochs * -(-len(fit) // settings.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: _rate(step, settings.warmup_steps, total_steps)
    )
    rng = np.random.default_rng(settings.seed)
    history: list[dict[str, float]] = []
    best: tuple[float, int, float, dict[str, torch.Tensor]] | None = None
    start = time.process_time()
    for epoch in range(1, settings.epochs + 1):
        network.train()
        losses = []
        for batch, truth in _batches(images, masks, fit, (mean, std), settings, rng=rng):
            optimiser.zero_grad(set_to_none=True)
            loss = segmentation_loss(network(batch), truth)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        threshold, f1 = best_threshold(predict_patches(network, images, held, (mean, std)), masks[held] > 0)
        cpu_s = time.process_time() - start
        history.append({"epoch": epoch, "loss": round(float(np.mean(losses)), 5), "held_f1": round(f1, 5)})
        log.info("epoch %d loss %.4f held F1 %.4f at %.2f, %.0f CPU s", epoch, np.mean(losses), f1, threshold, cpu_s)
        if best is None or f1 > best[0]:
            best = (f1, epoch, threshold, {key: value.clone() for key, value in network.state_dict().items()})
        if settings.time_limit_cpu_s and cpu_s > settings.time_limit_cpu_s:
            log.warning("stopped after epoch %d of %d: CPU time limit", epoch, settings.epochs)
            break
    if best is None:
        raise ValueError("epochs must be at least 1")
    network.load_state_dict(best[3])
    network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return Trained(
        network=network,
        mean=mean.tolist(),
        std=std.tolist(),
        value_range=value_range,
        threshold=best[2],
        history=history,
        best_epoch=best[1],
        held_f1=best[0],
        cpu_s=time.process_time() - start,
    )


def predict_patches(
    network: torch.nn.Module,
    images: NDArray[Any],
    indices: NDArray[np.int64],
    statistics: tuple[NDArray[np.float32], NDArray[np.float32]],
    batch: int = 16,
) -> NDArray[np.float32]:
    """Landslide probabilities n x H x W of the images at `indices`; `statistics` are mean and std per band."""
    mean, std = statistics
    network.eval()
    out = np.empty((len(indices), *images.shape[2:]), np.float32)
    with torch.inference_mode():
        for start in range(0, len(indices), batch):
            chosen = indices[start : start + batch]
            normal = (_values(images[chosen]) - mean[:, None, None]) / std[:, None, None]
            tensor = torch.from_numpy(normal).contiguous(memory_format=torch.channels_last)
            out[start : start + batch] = network(tensor).softmax(dim=1)[:, 1].numpy()
    return out


def evaluate(trained: Trained, images: NDArray[Any], masks: NDArray[np.uint8]) -> dict[str, float | int | None]:
    """Pooled pixel scores of a trained network at its own threshold, on data it has not seen."""
    mean, std = np.array(trained.mean, np.float32), np.array(trained.std, np.float32)
    probabilities = predict_patches(trained.network, images, np.arange(len(images)), (mean, std))
    return score(count(probabilities >= trained.threshold, masks > 0))


def _values(images: NDArray[Any]) -> NDArray[np.float32]:
    values = images.astype(np.float32)
    return values / np.float32(255) if images.dtype == np.uint8 else values


def _statistics(
    images: NDArray[Any], fit: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[list[float]]]:
    means, stds, ranges = [], [], []
    for band in range(images.shape[1]):
        values = _values(images[fit, band])
        means.append(values.mean(dtype=np.float64))
        stds.append(values.std(dtype=np.float64))
        ranges.append([round(float(q), 5) for q in np.quantile(values[:, ::3, ::3], [0.001, 0.999])])
    return np.array(means, np.float32), np.maximum(np.array(stds, np.float32), 1e-6), ranges


def _rate(step: int, warmup: int, total: int) -> float:
    """Linear warm-up, then a cosine down to 2 %."""
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(1, total - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + float(np.cos(np.pi * min(1.0, share))))


def _batches(
    images: NDArray[Any],
    masks: NDArray[np.uint8],
    fit: NDArray[np.int64],
    statistics: tuple[NDArray[np.float32], NDArray[np.float32]],
    settings: Settings,
    *,
    rng: np.random.Generator,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Shuffled, augmented batches: quarter turns, flips, brightness, band shifts, blanked half planes."""
    mean, std = statistics
    order = rng.permutation(fit)
    for start in range(0, len(order), settings.batch):
        chosen = order[start : start + settings.batch]
        values, truth = _values(images[chosen]), masks[chosen].astype(np.int64)
        for number in range(len(chosen)):
            value = values[number] * np.float32(rng.uniform(*settings.brightness))
            value += rng.uniform(-settings.shift, settings.shift, (value.shape[0], 1, 1)).astype(np.float32)
            value = (value - mean[:, None, None]) / std[:, None, None]
            if rng.random() < settings.blank_share:
                blank = _half_plane(rng, value.shape[1:])
                value[:, blank] = 0
                truth[number][blank] = 0
            turns, flip = int(rng.integers(4)), rng.random() < 0.5
            value, turned = np.rot90(value, turns, (1, 2)), np.rot90(truth[number], turns)
            values[number] = value[:, :, ::-1] if flip else value
            truth[number] = turned[:, ::-1] if flip else turned
        yield torch.from_numpy(values).contiguous(memory_format=torch.channels_last), torch.from_numpy(truth)


def _half_plane(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    angle, rows, columns = rng.uniform(0, 2 * np.pi), *np.indices(shape)
    distance = (columns / shape[1] - 0.5) * np.cos(angle) + (rows / shape[0] - 0.5) * np.sin(angle)
    return np.asarray(distance > rng.uniform(-0.1, 0.4))

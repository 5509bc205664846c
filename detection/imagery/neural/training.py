"""Training and prediction of segmentation networks.

Epoch, temperature and threshold are chosen on a held part of the training set, never on the test part.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detection.imagery.data.metrics import Confusion, compute_scores, count_confusion
from detection.imagery.data.patches import IGNORED, Patches, as_values, resize_bands
from detection.imagery.data.splits import Parts, split
from detection.imagery.neural.calibration import TemperatureCalibration, choose_threshold, fit_temperature, sample_odds
from detection.imagery.neural.device import PROCESSOR, pick_device
from detection.imagery.neural.learner import (
    Hooks,
    ImageryLearner,
    ImageryTrainingSettings,
    NativePatches,
    Normalisation,
    read_degraded,
)
from detection.imagery.neural.losses import log_odds

LEAST_STD = 1e-6
# Patches that go through the network together when it predicts.
BATCH = 16


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """Result of a training run: the network of the best epoch, the facts for its card and the history."""

    network: torch.nn.Module
    mean: list[float]
    std: list[float]
    value_range: list[list[float]]  # 0.1 and 99.9 percentile by band
    threshold: float  # on calibrated probabilities
    calibration: TemperatureCalibration  # temperature and its effect on the held part
    history: list[dict[str, float]]
    best_epoch: int
    held_names: tuple[str, ...]  # names of the patches on which epoch, temperature and threshold were chosen
    held_f1: float | None  # pooled F1 of the held part at that threshold; None without a held part
    cpu_s: float
    clipped: bool = False  # whether values are clipped to `value_range`

    @classmethod
    def from_learner(
        cls,
        learner: ImageryLearner,
        held: NDArray[np.int64],
        value_range: list[list[float]],
        threshold: float,
        score: float | None,
        epoch: int,
        calibration: TemperatureCalibration | None = None,
        *,
        clipped: bool = False,
    ) -> "TrainedNetwork":
        """Return the result of a run with the present weights of its network.

        Args:
            held: positions of the held part.
            score: of the held part; None without one.
            epoch: whose weights the network has.
            calibration: None: a temperature of 1.
        """
        network = learner.scored_network.to(PROCESSOR, memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        mean, std = (values.tolist() for values in learner.normalisation)
        return cls(
            network=network.eval(),
            mean=mean,
            std=std,
            value_range=value_range,
            threshold=threshold,
            calibration=calibration or TemperatureCalibration(),
            history=learner.history,
            best_epoch=epoch,
            held_names=tuple(learner.patches.names[int(position)] for position in held),
            held_f1=score,
            cpu_s=learner.cpu_s,
            clipped=clipped,
        )

    @property
    def normalisation(self) -> Normalisation:
        """Mean and standard deviation by band."""
        return np.array(self.mean, np.float32), np.array(self.std, np.float32)


def train_patches(
    patches: Patches,
    settings: ImageryTrainingSettings,
    hooks: Hooks | None = None,
    parts: Parts | None = None,
    network: torch.nn.Module | None = None,
    normalisation: Normalisation | None = None,
    native: NativePatches | None = None,
) -> TrainedNetwork:
    """Train on patches of one size, on the device that SLOPEWARD_DEVICE names.

    The normalisation is measured on the fit part; epoch, temperature and threshold are chosen on the held part. With
    the split `all` there is no held part: the result is the network of the last epoch, with the threshold and
    temperature of the settings. On a processor, the same input and settings give the same weights bit for bit.

    Args:
        parts: positions of the fit part and the held part. None: by `settings.split`.
        network: with the weights to start from. None: random weights.
        normalisation: mean and standard deviation by band. None: measured on the fit part.
        native: the patches in the unit of their files, for `degraded_share`. None: `patches`.

    Raises:
        TrainingRecipeError: too few patches, or no such device.
    """
    device = pick_device()
    fit, held = parts or split(patches, settings.split, settings.held_share, settings.seed)
    mean, std, value_range, share = measure_statistics(patches, fit)
    if settings.clip:
        patches = patches.clip(value_range)
        if native:
            raw, convert = native
            native = raw, lambda raw_patches: convert(raw_patches).clip(value_range)
        mean, std, _, _ = measure_statistics(patches, fit)
    mean, std = normalisation or (mean, std)

    scored_patches, positions = _prepare_scored_patches(patches, held, settings, native)

    def score_held(network: torch.nn.Module) -> tuple[float, float]:
        threshold, f1 = choose_threshold(predict_known_odds(network, scored_patches, positions, (mean, std)))
        return f1, threshold

    scorer = score_held if len(held) else None
    learner = ImageryLearner(patches, fit, settings, (mean, std), share, scorer, network, device=device, native=native)
    learner.run(hooks or Hooks())
    if learner.best is None:
        # There is no held part on which they could be chosen.
        calibration = TemperatureCalibration(settings.temperature or 1.0)
        threshold = settings.threshold or 0.5
        epoch = len(learner.history)
        return TrainedNetwork.from_learner(
            learner, held, value_range, threshold, None, epoch, calibration, clipped=settings.clip
        )
    learner.scored_network.load_state_dict(learner.best.state)
    trained = learner.scored_network.to(PROCESSOR, memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    calibration, threshold, held_f1 = calibrate(trained, scored_patches, positions, (mean, std))
    threshold = settings.threshold or threshold
    return TrainedNetwork.from_learner(
        learner, held, value_range, threshold, held_f1, learner.best.epoch, calibration, clipped=settings.clip
    )


def calibrate(
    network: torch.nn.Module, patches: Patches, positions: NDArray[np.int64], normalisation: Normalisation
) -> tuple[TemperatureCalibration, float, float]:
    """Return the temperature, the threshold with the best pooled F1 on calibrated probabilities, and that F1."""
    pixels = sum(patches.read(int(position)).mask.size for position in positions)
    calibration = fit_temperature(*sample_odds(predict_known_odds(network, patches, positions, normalisation), pixels))
    odds = predict_known_odds(network, patches, positions, normalisation)
    return calibration, *choose_threshold(odds, calibration.temperature)


def _prepare_scored_patches(
    patches: Patches, held: NDArray[np.int64], settings: ImageryTrainingSettings, native: NativePatches | None
) -> tuple[Patches, NDArray[np.int64]]:
    """Return the patches on which epoch, temperature and threshold are chosen, and their positions.

    They are the held patches. With `degraded_share`, the held patches after a loss of quality are added. With optional
    bands, all of these are added again with the bands masked, so that one threshold suits scenes with and without a
    DEM.
    """
    scored = _add_degraded(patches, held, settings, native) if settings.degraded_share else patches.take(held)
    if not patches.optional_bands:
        return (scored, np.arange(len(scored))) if settings.degraded_share else (patches, held)
    masked = scored.mask_optional()
    count = len(scored)
    names = tuple(f"{part}/{name}" for part in ("known", "masked") for name in scored.names)

    def load_optional(index: int) -> NDArray[np.float32]:
        source = scored if index < count else masked
        assert source.load_optional is not None
        return source.load_optional(index % count)

    both = replace(scored, names=names, load=lambda index: scored.load(index % count), load_optional=load_optional)
    return both, np.arange(len(both))


def _add_degraded(
    patches: Patches, held: NDArray[np.int64], settings: ImageryTrainingSettings, native: NativePatches | None
) -> Patches:
    """Return the held patches, followed by the held patches after a loss of quality."""
    degradable = native or (patches, lambda converted: converted)
    load_known = patches.load_optional

    def load(index: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        position = int(held[index % len(held)])
        if index < len(held):
            return patches.load(position)
        return read_degraded(degradable, position, settings, np.random.default_rng([settings.seed, 0, position]))

    names = tuple(f"{part}/{patches.names[int(position)]}" for part in range(2) for position in held)
    load_optional = None if load_known is None else lambda index: load_known(int(held[index % len(held)]))
    return replace(patches, names=names, load=load, load_optional=load_optional).cache()


def predict_known_odds(
    network: torch.nn.Module, patches: Patches, positions: NDArray[np.int64], normalisation: Normalisation
) -> Iterator[tuple[NDArray[np.floating], NDArray[np.bool_]]]:
    """Yield log odds of landslide and the truth, patch by patch, of the pixels whose truth is known."""
    for position, odds in zip(positions, predict_odds(network, patches, positions, normalisation), strict=True):
        mask = patches.read(int(position)).mask
        is_known = mask != IGNORED
        yield odds[is_known], mask[is_known] == 1


def predict_odds(
    network: torch.nn.Module, patches: Patches, positions: NDArray[np.int64], normalisation: Normalisation
) -> Iterator[NDArray[np.float32]]:
    """Yield log odds of landslide H x W, patch by patch.

    Up to `BATCH` consecutive patches of one size go through the network together.
    """
    mean, std = normalisation
    parameter = next(network.parameters(), None)
    device = PROCESSOR if parameter is None else parameter.device
    network.eval()
    batch: list[NDArray[np.float32]] = []

    def predict_batch() -> Iterator[NDArray[np.float32]]:
        if batch:
            with torch.inference_mode():
                tensor = torch.from_numpy(np.stack(batch)).contiguous(memory_format=torch.channels_last)
                yield from log_odds(network(tensor.to(device))).cpu().numpy()
            batch.clear()

    for position in positions:
        image = as_values(patches.read(int(position)).image)
        if batch and (len(batch) == BATCH or batch[0].shape[1:] != image.shape[1:]):
            yield from predict_batch()
        normalised = (image - mean[:, None, None]) / std[:, None, None]
        channels = patches.read_channels(int(position))
        batch.append(normalised if channels is None else np.concatenate([normalised, channels]))
    yield from predict_batch()


def predict_maps(
    network: torch.nn.Module,
    patches: Patches,
    normalisation: Normalisation,
    temperature: float = 1.0,
    resize_px: int | None = None,
    convert: Callable[[Patches], Patches] = lambda patches: patches,
) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.uint8]]]:
    """Yield name, calibrated probabilities H x W and mask of every patch, at its native size.

    Args:
        patches: with the optional bands of the network, if it has some.
        temperature: divides the log odds.
        resize_px: side to which images are resized for the network; its map is resized back to the size of the patch.
        convert: converts the resized patches to the input of the network.
    """
    positions = np.arange(len(patches))
    network_input = convert(patches.resize(resize_px) if resize_px else patches)
    for position, odds in zip(positions, predict_odds(network, network_input, positions, normalisation), strict=True):
        patch = patches.read(int(position))
        probabilities = (1 / (1 + np.exp(-np.clip(odds / np.float32(temperature), -60, 60)))).astype(np.float32)
        yield patch.name, resize_bands(probabilities[None], patch.mask.shape)[0], patch.mask


def predict_trained_maps(
    trained: TrainedNetwork,
    patches: Patches,
    resize_px: int | None = None,
    convert: Callable[[Patches], Patches] = lambda patches: patches,
) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.uint8]]]:
    """Yield the maps of a network that was just trained; see `predict_maps`."""

    def prepare(patches: Patches) -> Patches:
        converted = convert(patches)
        return converted.clip(trained.value_range) if trained.clipped else converted

    temperature = trained.calibration.temperature
    return predict_maps(trained.network, patches, trained.normalisation, temperature, resize_px, prepare)


def evaluate(
    trained: TrainedNetwork,
    patches: Patches,
    resize_px: int | None = None,
    convert: Callable[[Patches], Patches] = lambda patches: patches,
) -> dict[str, float | int | None]:
    """Return pooled pixel scores of a trained network at its threshold, at native sizes of the patches."""
    total = Confusion()
    for _, probabilities, mask in predict_trained_maps(trained, patches, resize_px, convert):
        total += count_confusion(probabilities >= trained.threshold, mask == 1, mask != IGNORED)
    return compute_scores(total)


def measure_statistics(
    patches: Patches, positions: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[list[float]], float]:
    """Return mean, standard deviation and 0.1 and 99.9 percentiles by band, and the share of landslide pixels.

    The percentiles are measured on a sample of the pixels.
    """
    sums = squares = 0.0
    pixels = landslide_pixels = known_pixels = 0
    samples = []
    step = max(3, int(np.sqrt(len(positions) / 300) * 3))
    for position in positions:
        patch = patches.read(int(position))
        values = as_values(patch.image).astype(np.float64)
        sums = sums + values.sum(axis=(1, 2))
        squares = squares + (values**2).sum(axis=(1, 2))
        pixels += patch.mask.size
        landslide_pixels += int(np.count_nonzero(patch.mask == 1))
        known_pixels += int(np.count_nonzero(patch.mask != IGNORED))
        samples.append(values[:, ::step, ::step].reshape(len(values), -1))
    mean = np.asarray(sums) / pixels
    std = np.sqrt(np.maximum(np.asarray(squares) / pixels - mean**2, LEAST_STD**2))
    ranges = np.quantile(np.concatenate(samples, axis=1), [0.001, 0.999], axis=1).T
    rounded = [[round(float(low), 5), round(float(high), 5)] for low, high in ranges]
    return mean.astype(np.float32), std.astype(np.float32), rounded, landslide_pixels / max(known_pixels, 1)

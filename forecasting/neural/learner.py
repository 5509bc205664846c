"""Train a network on the windows of one or several records, with early stopping. The best weights are kept."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn, Self

import numpy as np
import torch
from torch import Tensor, nn

from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import Floats, Ints
from forecasting.data.splits import Block, Split
from forecasting.data.windows import last_value
from forecasting.errors import ForecastingError, NotEnoughDataError
from forecasting.neural.adamw import AdamW
from forecasting.neural.device import pick_device, run_network
from forecasting.neural.forecaster import Recipe, cut_drivers, cut_motion
from forecasting.neural.network import QUANTILES, Network


@dataclass(frozen=True, slots=True)
class Examples:
    """Training examples of one record, one for each issue time.

    Attributes:
        inputs: Inputs of the network, each of shape (N, ...): windows of motion, and drivers if it reads them.
        wanted: Targets: observed minus simple forecast in the unit of the correction, shape (N, S, H), NaN if unknown.
        motion: Simple forecast minus newest value in units of the scale of the window, shape (N, S, H), NaN if unknown.
        unit: Unit of the correction in units of the scale of the window, shape (N, S, H).
    """

    inputs: tuple[Tensor, ...]
    wanted: Tensor
    motion: Tensor
    unit: Tensor

    @property
    def nbytes(self) -> int:
        """Size of all tensors in bytes."""
        return sum(tensor.nbytes for tensor in (*self.inputs, self.wanted, self.motion, self.unit))

    def take(self, rows: Ints) -> Self:
        """Return the examples with these numbers."""
        selection = torch.from_numpy(rows)
        inputs = tuple(tensor[selection] for tensor in self.inputs)
        return type(self)(inputs, self.wanted[selection], self.motion[selection], self.unit[selection])


def make_examples(recipe: Recipe, values: Floats, drivers: DriverRows | None, block: Block, origins: Ints) -> Examples:
    """Return the examples at issue times of a block. Targets outside the block are NaN."""
    motion = cut_motion(recipe, values, origins, np.asarray(recipe.noise_mm))
    observed = np.stack([block.targets(values, origins, step) for step in recipe.steps], axis=2)
    wanted = (observed - motion.base) / motion.unit_mm
    newest, _ = last_value(values, origins)
    ahead = (motion.base - newest[..., None]) / motion.scale_mm[..., None]
    unit = motion.unit_mm / motion.scale_mm[..., None]
    driver_inputs = cut_drivers(recipe, drivers, origins, range(values.shape[1]), motion.scale_mm)
    return Examples(
        (torch.from_numpy(motion.inputs), *driver_inputs),
        torch.from_numpy(wanted.astype(np.float32)),
        torch.from_numpy(ahead.astype(np.float32)),
        torch.from_numpy(unit.astype(np.float32)),
    )


# Called after each epoch with the epoch, the number of epochs and the validation loss.
Progress = Callable[[int, int, float], None]

# Issue times that a training needs.
MINIMUM_ORIGINS = 30
# Windows (issue times x stations) of one step, which limits its memory.
MOST_WINDOWS = 8192
# Issue times from which the time of a validation is estimated.
SAMPLE = 16
# Memory for examples that are kept between epochs. Examples that do not fit are computed again in each epoch.
ROOM_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a training. The defaults are the best of those that were tried."""

    seed: int = 7  # seed of weights, order and dropout
    epochs: int = 30  # largest number of epochs
    patience: int = 5  # epochs without a lower early-stop loss after which the training ends
    time_limit_s: float = 300.0  # elapsed time after which the training ends; a repeated training may then differ
    window: int = 60  # rows of a window
    hidden: int = 32  # width of the state
    dropout: float = 0.1  # share of the state that is dropped
    learning_rate: float = 2e-3  # of AdamW
    weight_decay: float = 1e-3  # of AdamW
    batch: int = 64  # issue times per step; fewer if a step would read more than `MOST_WINDOWS` windows
    stride: int = 1  # rows between issue times
    covariates: tuple[str, ...] | None = None  # drivers that the network reads; None for all drivers of the record


@dataclass(frozen=True, slots=True)
class Member:
    """A record from which a network learns."""

    recipe: Recipe  # noise, spread and simple forecast of this record
    values: Floats  # displacement in mm, shape (T, S)
    parts: Split  # blocks of the record
    stride: int = 1  # rows between issue times
    drivers: DriverRows | None = None  # drivers of the record
    least: int | None = None  # rows that an issue time needs before it; None for a full window

    def origins(self, block: Block) -> Ints:
        """Return the issue times of a block that have enough rows before them."""
        rows = block.origins
        return rows[rows >= (self.least or self.recipe.window) - 1][:: self.stride]

    def require(self) -> None:
        """Raise NotEnoughDataError if the record is too short or has no target at a horizon."""
        recipe = self.recipe
        parts = self.parts
        usable = parts.fit.end - max(parts.fit.first, recipe.window - 1)
        if usable < MINIMUM_ORIGINS or not self.origins(parts.early_stop).size:
            raise NotEnoughDataError(
                f"{max(usable, 0)} issue times have a window of {recipe.window}, {MINIMUM_ORIGINS} are needed"
            )
        for block in (parts.fit, parts.early_stop):
            origins = self.origins(block)
            for step, horizon_s in zip(recipe.steps, recipe.horizons_s, strict=True):
                if not np.isfinite(block.targets(self.values, origins, step)).any():
                    raise NotEnoughDataError(
                        f"rows {block.first} to {block.end} contain no target {horizon_s:g} s ahead"
                    )


class Learner:
    """Runs one training.

    Args:
        network: Network to train.
        member: Record to learn from. Its early-stop block decides when the training ends.
        settings: Settings of the training.
        replayed: Other records to learn from. Each step takes a batch of one record.
    """

    def __init__(self, network: Network, member: Member, settings: Settings, replayed: Sequence[Member] = ()) -> None:
        self.network = network
        self.member = member
        self.settings = settings
        self.replayed = tuple(replayed)
        self.levels = torch.tensor(QUANTILES, dtype=torch.float32)
        # Issue times and examples by id of the member and block; None if they do not fit into the memory.
        self._kept_examples: dict[tuple[int, Block], tuple[Ints, Examples] | None] = {}
        self._free_bytes = ROOM_BYTES
        # Time of a validation, and of reading early-stop and calibration block after the training.
        self._validation_s = 0.0
        self._final_s = 0.0

    def run(self, begun: float, progress: Progress | None) -> tuple[list[float], str]:
        """Train the network and leave the best weights in it, on the processor.

        Args:
            begun: When the training began, seconds of the monotonic clock.
            progress: Called after each epoch.

        Returns:
            The early-stop loss before the training and after each epoch, and why the training ended.

        Raises:
            ForecastingError: Reading the early-stop block once, or reading it and the calibration block after the
                training, takes more than half of the time limit.
        """
        settings = self.settings
        network = self.network
        if network.is_fitted_directly:
            return self._fit_directly()
        network.to(pick_device())
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimiser = AdamW(parameters, settings.learning_rate, settings.weight_decay)
        random = np.random.default_rng(settings.seed)
        losses = [self.validate(begun + settings.time_limit_s / 2)]
        best_weights = self._copy_weights()
        epochs_without_gain = 0
        self._final_s = self._estimate_final_time()
        is_late = False
        while len(losses) <= settings.epochs and epochs_without_gain < settings.patience and not is_late:
            is_late = self._run_epoch(optimiser, parameters, random, begun)
            losses.append(self.validate())
            if losses[-1] < min(losses[:-1]):
                best_weights = self._copy_weights()
                epochs_without_gain = 0
            else:
                epochs_without_gain += 1
            if progress is not None:
                progress(len(losses) - 1, settings.epochs, losses[-1])
        network.load_state_dict(best_weights)
        network.to("cpu").eval()
        if is_late:
            return losses, "time limit"
        return losses, "patience" if epochs_without_gain >= settings.patience else "epochs"

    def _fit_directly(self) -> tuple[list[float], str]:
        """Fit a network that does not learn by gradient descent; results are those of `run`."""
        losses = [self.validate()]
        fit = [self._pick_examples(member, member.parts.fit) for member in (self.member, *self.replayed)]
        early_stop = self._pick_examples(self.member, self.member.parts.early_stop)
        self.network.fit_examples(fit, early_stop, seed=self.settings.seed)
        losses.append(self.validate())
        return losses, "fitted"

    def _pick_examples(self, member: Member, block: Block) -> Examples:
        """Return evenly spaced examples of a block, of at most `MOST_WINDOWS` windows."""
        origins = member.origins(block)
        most = _count_issues_at_once(origins.size, member)
        return make_examples(member.recipe, member.values, member.drivers, block, origins[:: -(-origins.size // most)])

    def _run_epoch(
        self, optimiser: AdamW, parameters: list[nn.Parameter], random: np.random.Generator, begun: float
    ) -> bool:
        """Run one epoch. Return True if it ended early, because validation needs the remaining time."""
        self.network.train()
        for member, origins in self._iter_batches(random):
            if time.monotonic() - begun > self.settings.time_limit_s - self._validation_s - self._final_s:
                return True
            loss = self.loss(member, member.parts.fit, origins)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
        return False

    def _estimate_final_time(self) -> float:
        """Return the estimated time for reading the early-stop and the calibration block, seconds."""
        self.network.eval()
        member = self.member
        early_stop = member.parts.early_stop
        origins = member.origins(early_stop)[: _count_issues_at_once(SAMPLE, member)]
        self._run_network(early_stop, origins[:1])  # the first call of a process is slower
        begun = time.monotonic()
        self._run_network(early_stop, origins)
        rows = early_stop.origins.size + member.parts.calibration.origins.size
        total_s = (time.monotonic() - begun) * rows / origins.size
        if total_s > max(self.settings.time_limit_s / 2, 1.0):
            self._refuse()
        return total_s

    def _run_network(self, block: Block, origins: Ints) -> None:
        member = self.member
        examples = make_examples(member.recipe, member.values, member.drivers, block, origins)
        with torch.inference_mode():
            run_network(self.network, *examples.inputs)

    def _refuse(self) -> NoReturn:
        member = self.member
        raise ForecastingError(
            f"{member.recipe.model} needs more than half of the {self.settings.time_limit_s:.0f} s to "
            f"read {member.values.shape[1]} stations once: give it more time or fewer stations"
        )

    def loss(self, member: Member, block: Block, origins: Ints) -> Tensor:
        """Return the mean pinball loss over the targets within a block, in the unit of the correction."""
        examples = self._examples(member, block, origins)
        is_known = torch.isfinite(examples.wanted)
        quantiles = run_network(self.network, *examples.inputs)
        error = torch.where(is_known, examples.wanted, torch.zeros(()))[..., None] - quantiles
        pinball = torch.maximum(self.levels * error, (self.levels - 1.0) * error).mean(dim=-1)
        loss: Tensor = (pinball * is_known).sum() / is_known.sum().clamp(min=1)
        penalty = self.network.penalty(examples, quantiles) if self.network.training else None
        return loss if penalty is None else loss + penalty.cpu()

    def _examples(self, member: Member, block: Block, origins: Ints) -> Examples:
        """Return the examples at issue times of a block. They are computed once for all epochs if the memory allows."""
        key = (id(member), block)
        if key not in self._kept_examples:
            self._kept_examples[key] = self._keep_examples(member, block)
        kept = self._kept_examples[key]
        if kept is None:
            return make_examples(member.recipe, member.values, member.drivers, block, origins)
        kept_origins, examples = kept
        return examples.take(np.searchsorted(kept_origins, origins))

    def _keep_examples(self, member: Member, block: Block) -> tuple[Ints, Examples] | None:
        """Return all issue times of a block with their examples; None if they do not fit into the memory."""
        origins = member.origins(block)
        sample = make_examples(member.recipe, member.values, member.drivers, block, origins[:1])
        size = sample.nbytes * origins.size
        if size > self._free_bytes:
            return None
        self._free_bytes -= size
        return origins, make_examples(member.recipe, member.values, member.drivers, block, origins)

    def validate(self, until_s: float = math.inf) -> float:
        """Return the mean loss on the early-stop block.

        Args:
            until_s: Time of the monotonic clock after which the training is refused.

        Raises:
            ForecastingError: The block was not read before `until_s`.
        """
        self.network.eval()
        begun = time.monotonic()
        member = self.member
        early_stop = member.parts.early_stop
        origins = member.origins(early_stop)
        size = _count_issues_at_once(64, member)
        parts = np.array_split(origins, max(1, origins.size // size))
        losses: list[float] = []
        with torch.inference_mode():
            for part in parts:
                if losses and time.monotonic() > until_s:
                    self._refuse()
                losses.append(float(self.loss(member, early_stop, part)))
        self._validation_s = time.monotonic() - begun
        return float(np.mean(losses))

    def _iter_batches(self, random: np.random.Generator) -> Iterator[tuple[Member, Ints]]:
        batches = []
        for member in (self.member, *self.replayed):
            size = _count_issues_at_once(self.settings.batch, member)
            shuffled = random.permutation(member.origins(member.parts.fit))
            batches += [(member, np.sort(shuffled[i : i + size])) for i in range(0, shuffled.size, size)]
        order = random.permutation(len(batches)) if self.replayed else range(len(batches))
        for number in order:
            yield batches[number]

    def _copy_weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}


def _count_issues_at_once(most: int, member: Member) -> int:
    """Return how many issue times one step reads: at most `most`, and at most `MOST_WINDOWS` windows."""
    return max(1, min(most, MOST_WINDOWS // int(member.values.shape[1])))

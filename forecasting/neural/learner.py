"""Passes over the windows of one or many records, stopped early, with the best weights kept."""

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
from forecasting.errors import ForecastingError, NotEnoughDataError
from forecasting.neural.adamw import AdamW
from forecasting.neural.device import pick_device, run_network
from forecasting.neural.forecaster import Recipe, cut_drivers, cut_motion
from forecasting.neural.network import QUANTILES, Network


@dataclass(frozen=True, slots=True)
class Examples:
    """Examples of one record, one for each issue time."""

    # what the network reads, each (N, ...), float32: the windows, and the drivers where it reads them
    inputs: tuple[Tensor, ...]
    wanted: Tensor  # observed minus simple forecast in the unit of a correction, shape (N, S, H), NaN where unknown

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(one.nbytes for one in (*self.inputs, self.wanted))

    def take(self, rows: Ints) -> Self:
        """Some of them."""
        which = torch.from_numpy(rows)
        inputs = tuple(one[which] for one in self.inputs)
        return type(self)(inputs, self.wanted[which])


def make_examples(recipe: Recipe, values: Floats, drivers: DriverRows | None, block: Block, origins: Ints) -> Examples:
    """The examples at some issue times of a block."""
    cut = cut_motion(recipe, values, origins, np.asarray(recipe.noise_mm))
    observed = np.stack([block.targets(values, origins, h) for h in recipe.steps], axis=2)
    wanted = torch.from_numpy(((observed - cut.base) / cut.unit_mm).astype(np.float32))
    more = cut_drivers(recipe, drivers, origins, range(values.shape[1]), cut.scale_mm)
    return Examples((torch.from_numpy(cut.inputs), *more), wanted)


Progress = Callable[[int, int, float], None]  # called after each epoch with (epoch, epochs, validation loss)

MINIMUM_ORIGINS = 30
MOST_WINDOWS = 8192
"""Issue times x stations of one step: the memory of a step grows with them, and not with the stations alone."""
SAMPLE = 16  # issue times from which the time of judging is estimated
ROOM_BYTES = 2**28  # examples of a training that are kept between its passes; what does not fit is made anew in each


@dataclass(frozen=True, slots=True)
class Settings:
    """How a network is trained; the defaults are those measured."""

    seed: int = 7  # seed of weights, order and dropout
    epochs: int = 30  # at most so many passes
    patience: int = 5  # passes without a better early-stop loss before the end
    time_limit_s: float = 300.0  # wall time after which the best weights so far are taken (then a repeat may differ)
    window: int = 60  # rows a network sees
    hidden: int = 32  # width of its state
    dropout: float = 0.1  # share dropped before the head
    learning_rate: float = 2e-3  # of AdamW
    weight_decay: float = 1e-3  # of AdamW
    batch: int = 64  # issue times per step; fewer where a step would read more than `MOST_WINDOWS` windows
    stride: int = 1  # every how many rows an issue time is taken for training
    covariates: tuple[str, ...] | None = None  # drivers that it reads; None means every one there is


@dataclass(frozen=True, slots=True)
class Member:
    """One record that a network learns from."""

    recipe: Recipe  # floors, spread and simple forecast of this record
    values: Floats  # the record in mm, shape (T, S)
    parts: Split  # its blocks
    stride: int = 1  # every how many rows an issue time is taken
    drivers: DriverRows | None = None  # what may drive it, or None
    least: int | None = None  # rows that an issue time must see; a whole window where None

    def origins(self, block: Block) -> Ints:
        """Issue times of a block that see enough: a whole window, or the least rows."""
        every = block.origins
        return every[every >= (self.least or self.recipe.window) - 1][:: self.stride]

    def require(self) -> None:
        """Refuse a record that is too short, or without any target at some horizon."""
        recipe, parts = self.recipe, self.parts
        usable = parts.fit.end - max(parts.fit.first, recipe.window - 1)
        if usable < MINIMUM_ORIGINS or not self.origins(parts.early_stop).size:
            raise NotEnoughDataError(
                f"{max(usable, 0)} issue times see a window of {recipe.window}, {MINIMUM_ORIGINS} are needed"
            )
        for block in (parts.fit, parts.early_stop):
            origins = self.origins(block)
            for h, seconds in zip(recipe.steps, recipe.horizons_s, strict=True):
                if not np.isfinite(block.targets(self.values, origins, h)).any():
                    raise NotEnoughDataError(f"no target {seconds:g} s ahead lies in rows {block.first} to {block.end}")


class Learner:
    """The moving parts of one training.

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
        self._made: dict[tuple[int, Block], tuple[Ints, Examples] | None] = {}
        self._room = ROOM_BYTES
        self._judging_s = self._after_s = 0.0

    def run(self, begun: float, progress: Progress | None) -> tuple[list[float], str]:
        """Passes over the fit blocks; leaves the best weights in the network, on the processor.

        Returns the early-stop loss before training and after each pass, and why it ended.

        Raises:
            ForecastingError: Half of the time is over before the early-stop block is read once, or it will go into
                judging what was learnt.
        """
        settings, network = self.settings, self.network
        network.to(pick_device())
        learns = [p for p in network.parameters() if p.requires_grad]
        optimiser = AdamW(learns, settings.learning_rate, settings.weight_decay)
        order = np.random.default_rng(settings.seed)
        losses, best, bad = [self.validate(begun + settings.time_limit_s / 2)], self._copy(), 0
        self._after_s, late = self._time_judging(), False
        while len(losses) <= settings.epochs and bad < settings.patience and not late:
            late = self._pass(optimiser, learns, order, begun)
            losses.append(self.validate())
            if losses[-1] < min(losses[:-1]):
                best, bad = self._copy(), 0
            else:
                bad += 1
            if progress is not None:
                progress(len(losses) - 1, settings.epochs, losses[-1])
        network.load_state_dict(best)
        network.to("cpu").eval()
        return losses, "time limit" if late else "patience" if bad >= settings.patience else "epochs"

    def _pass(self, optimiser: AdamW, learns: list[nn.Parameter], order: np.random.Generator, begun: float) -> bool:
        """One pass; True where the time is up before its end, less what judging it and the whole training takes."""
        self.network.train()
        for member, origins in self._batches(order):
            if time.monotonic() - begun > self.settings.time_limit_s - self._judging_s - self._after_s:
                return True
            loss = self.loss(member, member.parts.fit, origins)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(learns, 1.0)
            optimiser.step()
        return False

    def _time_judging(self) -> float:
        self.network.eval()
        member = self.member
        early = member.parts.early_stop
        at = member.origins(early)[: _issues_at_once(SAMPLE, member)]
        self._read(early, at[:1])  # the first call of a process finds its kernels and memory
        begun = time.monotonic()
        self._read(early, at)
        rows = early.origins.size + member.parts.calibration.origins.size
        total_s = (time.monotonic() - begun) * rows / at.size
        if total_s > max(self.settings.time_limit_s / 2, 1.0):
            self._refuse()
        return total_s

    def _read(self, block: Block, origins: Ints) -> None:
        member = self.member
        with torch.inference_mode():
            run_network(
                self.network, *make_examples(member.recipe, member.values, member.drivers, block, origins).inputs
            )

    def _refuse(self) -> NoReturn:
        member = self.member
        raise ForecastingError(
            f"{member.recipe.model} needs more than half of the {self.settings.time_limit_s:.0f} s to "
            f"read {member.values.shape[1]} stations once: give it more time or fewer stations"
        )

    def loss(self, member: Member, block: Block, origins: Ints) -> Tensor:
        """Pinball loss in units of window scale x spread, over the targets inside the block."""
        examples = self._examples(member, block, origins)
        known = torch.isfinite(examples.wanted)
        made = run_network(self.network, *examples.inputs)
        error = torch.where(known, examples.wanted, torch.zeros(()))[..., None] - made
        each = torch.maximum(self.levels * error, (self.levels - 1.0) * error).mean(dim=-1)
        loss: Tensor = (each * known).sum() / known.sum().clamp(min=1)
        extra = self.network.penalty() if self.network.training else None
        return loss if extra is None else loss + extra.cpu()

    def _examples(self, member: Member, block: Block, origins: Ints) -> Examples:
        """The examples at some of the issue times of a block: made once for all passes while there is room."""

        def make(at: Ints) -> Examples:
            return make_examples(member.recipe, member.values, member.drivers, block, at)

        if (key := (id(member), block)) not in self._made:
            every = member.origins(block)
            sample = make(every[:1])
            fits = sample.nbytes * every.size <= self._room
            self._made[key] = (every, make(every)) if fits else None
            self._room -= sample.nbytes * every.size if fits else 0
        if (made := self._made[key]) is None:
            return make(origins)
        return made[1].take(np.searchsorted(made[0], origins))

    def validate(self, until_s: float = math.inf) -> float:
        """Mean loss on the early-stop block without learning; refused where it lasts beyond `until_s`, monotonic."""
        self.network.eval()
        begun = time.monotonic()
        member = self.member
        early = member.parts.early_stop
        size = _issues_at_once(64, member)
        parts = np.array_split(member.origins(early), max(1, member.origins(early).size // size))
        losses: list[float] = []
        with torch.inference_mode():
            for part in parts:
                if losses and time.monotonic() > until_s:
                    self._refuse()
                losses.append(float(self.loss(member, early, part)))
        self._judging_s = time.monotonic() - begun
        return float(np.mean(losses))

    def _batches(self, order: np.random.Generator) -> Iterator[tuple[Member, Ints]]:
        found = []
        for member in (self.member, *self.replayed):
            size = _issues_at_once(self.settings.batch, member)
            shuffled = order.permutation(member.origins(member.parts.fit))
            found += [(member, np.sort(shuffled[i : i + size])) for i in range(0, shuffled.size, size)]
        turns = order.permutation(len(found)) if self.replayed else range(len(found))
        for turn in turns:
            yield found[turn]

    def _copy(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}


def _issues_at_once(most: int, member: Member) -> int:
    """Issue times of one step, so that its windows stay within `MOST_WINDOWS`."""
    return max(1, min(most, MOST_WINDOWS // int(member.values.shape[1])))

"""A training that was cut off goes on after its last pass, with the same bytes at its end as one that was not."""

import io
import pickle
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from forecasting.whole_file import write_whole


@dataclass(frozen=True, slots=True)
class Place:
    """Where a training stands between two passes.

    Attributes:
        weights: Of the network.
        best: Weights with the lowest early-stop loss so far.
        optimiser: State of the optimiser, empty before the first pass.
        order: State of the generator that shuffles, as JSON.
        random: States of torch's generators (dropout).
        losses: Early-stop loss before training and after each pass.
        bad: Passes since the best.
        spent_s: Wall time so far.
    """

    weights: dict[str, Tensor]
    best: dict[str, Tensor]
    optimiser: dict[str, Any]
    order: str
    random: tuple[Tensor, ...]
    losses: tuple[float, ...]
    bad: int
    spent_s: float


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The file that holds one training between its passes.

    Its name says what is trained on what: another record, network, seed or setting never goes on from it.

    Attributes:
        path: The file.
    """

    path: Path

    @classmethod
    def of(cls, folder: str | Path, name: str) -> Self:
        """The file of the training of this name in a folder, which is made where it does not exist."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        return cls(place / f"{name}.training")

    def load(self) -> Place | None:
        """Where the training stood; None where nothing is kept, or what is kept cannot be read."""
        try:
            return Place(**torch.load(self.path, weights_only=True))
        except (OSError, RuntimeError, ValueError, TypeError, EOFError, pickle.UnpicklingError):
            return None

    def save(self, place: Place) -> None:
        """Keep it whole or not at all: written beside, flushed to disk, renamed."""
        content = io.BytesIO()
        torch.save({one.name: getattr(place, one.name) for one in fields(place)}, content)
        write_whole(self.path, content.getvalue())


def random_states() -> tuple[Tensor, ...]:
    """Torch's generators: the processor's, then one per accelerator."""
    return (torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else ()))


def restore_random(states: tuple[Tensor, ...]) -> None:
    """Inverse of `random_states`."""
    torch.set_rng_state(states[0])
    if len(states) > 1 and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(list(states[1:]))

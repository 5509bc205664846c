"""From factors to columns of numbers: directions as cosine and sine, classes one by one, the unseen as unknown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from slopeward_earth.susceptibility.study import Factor, FactorError

RAREST: Final = 20  # a class with fewer sampled cells teaches nothing of its own
MOST_CLASSES: Final = 60


@dataclass(frozen=True, slots=True)
class EncodedFactor:
    """How one factor becomes columns."""

    name: str  # of the factor
    kind: str  # `number`, `direction` or `classes`
    low: float = 0.0  # lowest value of the training
    high: float = 0.0  # highest value of the training
    classes: tuple[int, ...] = ()  # those that have a column; every other one is unknown, with 0 in all of them

    @property
    def width(self) -> int:
        """How many columns it has."""
        return {"number": 1, "direction": 2}.get(self.kind, len(self.classes))

    def encode(self, values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return its columns."""
        if self.kind == "number":
            return [values]
        if self.kind == "direction":
            flat, angle = values < 0, np.radians(values)
            return [np.where(flat, np.float32(0), part(angle)).astype(np.float32) for part in (np.cos, np.sin)]
        return [(values == one).astype(np.float32) for one in self.classes]

    def is_outside(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Where the training saw nothing like it."""
        if self.kind == "number":
            return np.asarray((values < self.low) | (values > self.high))
        if self.kind == "direction":
            return np.zeros(values.shape, bool)
        return np.asarray(~np.isin(values, self.classes))


@dataclass(frozen=True, slots=True)
class Encoder:
    """All factors of a model, in the order of its study."""

    factors: tuple[EncodedFactor, ...]

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        named = {"number": ("",), "direction": (".cos", ".sin")}
        return [
            f"{one.name}{end}"
            for one in self.factors
            for end in named.get(one.kind, [f"={kind}" for kind in one.classes])
        ]

    def places(self) -> dict[str, list[int]]:
        """Which columns belong to each factor."""
        found: dict[str, list[int]] = {}
        place = 0
        for one in self.factors:
            found[one.name] = list(range(place, place + one.width))
            place += one.width
        return found

    def encode(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """From factors x anything to columns x anything."""
        return np.stack([c for one, own in zip(self.factors, values, strict=True) for c in one.encode(own)])

    def count_outside(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """How many factors of each pixel lie outside of what the training saw."""
        parts = [one.is_outside(own) for one, own in zip(self.factors, values, strict=True)]
        return np.asarray(np.sum(parts, axis=0, dtype=np.uint8))


def read_factor(name: str, kind: str, low: float, high: float, classes: Sequence[int]) -> EncodedFactor:
    """Read back its fields as a file has them; ValueError where no training would have written it."""
    if len(classes) > MOST_CLASSES:
        raise ValueError("more columns than a model has")
    return EncodedFactor(str(name), str(kind), float(low), float(high), tuple(map(int, classes)))


def fit_encoder(factors: Sequence[Factor], values: NDArray[np.float32]) -> Encoder:
    """Learn ranges and classes of sampled cells.

    `values`: factors x cells.

    Raises FactorError: a factor is the same everywhere, or has too many classes.
    """
    return Encoder(tuple(_fit(factor, own) for factor, own in zip(factors, values, strict=True)))


def _fit(factor: Factor, values: NDArray[np.float32]) -> EncodedFactor:
    if values.min() == values.max():
        raise FactorError(
            f"{factor.path}: {factor.name} is {values.min():g} in the whole sample and teaches nothing; leave it out"
        )
    if factor.is_direction:
        return EncodedFactor(factor.name, "direction")
    if factor.kind != "classes":
        return EncodedFactor(factor.name, "number", float(values.min()), float(values.max()))
    kinds, counts = np.unique(values, return_counts=True)
    kept = kinds[counts >= RAREST]
    if len(kept) > MOST_CLASSES:
        raise FactorError(
            f"{factor.path}: {len(kept)} classes ({factor.name}), at most {MOST_CLASSES} are taken: join some"
        )
    if len(kept) < 2:
        raise FactorError(
            f"{factor.path}: fewer than two classes with {RAREST} sampled cells ({factor.name}); leave it out"
        )
    if (kept != np.rint(kept)).any():
        raise FactorError(f"{factor.path}: classes are whole numbers ({factor.name}); a factor of values is `file`")
    return EncodedFactor(factor.name, "classes", classes=tuple(int(one) for one in kept))

"""What a network learns from at a row of issue times: inputs, targets, and the simple forecast it corrects."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import Floats, Ints
from forecasting.data.splits import Block
from forecasting.neural.forecaster import Recipe, cut_drivers, cut_motion


@dataclass(frozen=True, slots=True)
class Examples:
    """Examples of one record, one for each issue time.

    Attributes:
        inputs: What the network reads, each (N, ...), float32: the windows, and the drivers where it reads them.
        wanted: Observed minus simple forecast in the unit of a correction, shape (N, S, H), NaN where unknown.
    """

    inputs: tuple[Tensor, ...]
    wanted: Tensor

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
    """The examples at some issue times of a block.

    Args:
        values: The record in mm, shape (T, S).
        drivers: What may drive it, or None.
        origins: Issue times, shape (N,).
    """
    cut = cut_motion(recipe, values, origins, np.asarray(recipe.noise_mm))
    observed = np.stack([block.targets(values, origins, h) for h in recipe.steps], axis=2)
    wanted = torch.from_numpy(((observed - cut.base) / cut.unit_mm).astype(np.float32))
    more = cut_drivers(recipe, drivers, origins, range(values.shape[1]), cut.scale_mm)
    return Examples((torch.from_numpy(cut.inputs), *more), wanted)

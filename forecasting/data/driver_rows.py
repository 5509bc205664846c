"""Drivers as networks read them: rows beside the panel's, each with the source it belongs to, gaps left as gaps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.errors import PanelError

KINDS = ("rain", "water", "image", "outlook")
"""Sources besides the movement itself: rain and snow melt, water levels, series read from images, expected rain."""


@dataclass(frozen=True, slots=True)
class DriverRows:
    """Channels on the grid of a panel.

    Attributes:
        names: One per channel, such as `R1.rain_mm.sum_3d`.
        kinds: `rain`, `water`, `image` or `outlook`, one per channel.
        values: Shape (T, C), NaN where nothing is known; row t rests on no reading, and on no word, after t.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse what no network could read."""
        if self.values.ndim != 2 or not len(self.names) == len(self.kinds) == self.values.shape[1]:
            raise PanelError(f"drivers: values of shape {self.values.shape} do not fit {len(self.names)} names")
        unknown = sorted(set(self.kinds) - set(KINDS))
        if unknown:
            raise PanelError(f"drivers: no source is called {unknown[0]}; there are {', '.join(KINDS)}")
        if len(set(self.names)) != len(self.names) or np.isinf(self.values).any():
            raise PanelError("drivers: a name occurs twice or a value is infinite")

    @property
    def rows(self) -> int:
        """Rows of the grid."""
        return int(self.values.shape[0])

    def head(self, rows: int) -> "DriverRows":
        """The first rows only."""
        return DriverRows(self.names, self.kinds, self.values[:rows])

    def without(self, kinds: Sequence[str]) -> "DriverRows":
        """The channels of the other sources."""
        kept = [i for i, kind in enumerate(self.kinds) if kind not in kinds]
        return DriverRows(
            tuple(self.names[i] for i in kept), tuple(self.kinds[i] for i in kept), self.values[:, kept]
        )  # fmt: skip

    def in_order(self, names: Sequence[str]) -> NDArray[np.float64]:
        """The channels of these names, shape (T, len(names)); NaN for one that is absent."""
        place = {name: i for i, name in enumerate(self.names)}
        out = np.full((self.values.shape[0], len(names)), np.nan)
        for i, name in enumerate(names):
            if name in place:
                out[:, i] = self.values[:, place[name]]
        return out

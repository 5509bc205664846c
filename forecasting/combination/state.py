"""The state of a part of the combination between two rows, as arrays, and how it is stored."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


class ArrayState:
    """Base of the parts of a combination that are updated row by row and whose state is a fixed list of arrays.

    A subclass lists in `state_names` the attributes that change from row to row. All of them are arrays; everything
    else follows from the arguments of the constructor. Storing and restoring these arrays is exact.

    `Seasons` and `Combination` are no subclasses: they consist of such parts and join their arrays under prefixes.
    """

    state_names: ClassVar[tuple[str, ...]] = ()

    def to_arrays(self) -> Arrays:
        """Return copies of the arrays by attribute name."""
        return {name: np.array(getattr(self, name)) for name in self.state_names}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace the state by arrays that `to_arrays` returned."""
        for name in self.state_names:
            setattr(self, name, np.array(arrays[name]))


def add_prefix(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Return the arrays under `prefix.name`.

    >>> list(add_prefix("season", {"level": np.zeros(1)}))
    ['season.level']
    """
    return {f"{prefix}.{name}": value for name, value in arrays.items()}


def take_prefix(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Return the arrays whose names start with `prefix.`, without the prefix."""
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}

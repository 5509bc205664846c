"""Drivers as channels on the rows of a panel, each with its kind. Gaps stay gaps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forecasting.data.kinds import KINDS, STATION
from forecasting.errors import PanelError


@dataclass(frozen=True, slots=True)
class DriverRows:
    """Channels on the grid of a panel, and constant properties of its stations."""

    names: tuple[str, ...]  # one per channel, such as `R1.rain_mm.sum_3d`
    kinds: tuple[str, ...]  # one of `KINDS` per channel
    # Shape (T, C), NaN if unknown. Row t depends on no reading of a later row and on no weather forecast that became
    # known after row t. A single reading belongs to the nearest row, so that it can be half a row newer than row t.
    values: NDArray[np.float64]
    property_names: tuple[str, ...] = ()  # one per property, such as `height_m`
    # shape (S, A) in the order of the stations of the panel, NaN if unknown; None if no property is used
    properties: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Raise PanelError if shapes do not fit, a name occurs twice, a kind is unknown or a value is infinite."""
        if self.values.ndim != 2 or not len(self.names) == len(self.kinds) == self.values.shape[1]:
            raise PanelError(f"drivers: values of shape {self.values.shape} do not fit {len(self.names)} names")
        unknown = sorted(set(self.kinds) - set(KINDS))
        if unknown:
            raise PanelError(f"drivers: no source is called {unknown[0]}; there are {', '.join(KINDS)}")
        if len(set(self.names)) != len(self.names) or np.isinf(self.values).any():
            raise PanelError("drivers: a name occurs twice or a value is infinite")
        properties = self.properties
        property_count = 0 if properties is None else properties.shape[1]
        if property_count != len(self.property_names) or (properties is not None and np.isinf(properties).any()):
            raise PanelError("drivers: properties of stations do not fit their names, or one is infinite")

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.values.shape[0])

    @property
    def content(self) -> bytes:
        """All values as bytes, for a hash."""
        if self.properties is None:
            return self.values.tobytes()
        return self.values.tobytes() + repr(self.property_names).encode() + self.properties.tobytes()

    def head(self, rows: int) -> "DriverRows":
        """Return the first rows."""
        return replace(self, values=self.values[:rows])

    def of_stations(self, columns: Sequence[int] | NDArray[np.int64]) -> "DriverRows":
        """Return the drivers for a selection of stations.

        Args:
            columns: Columns of the panel; -1 for a station without properties.
        """
        if self.properties is None:
            return self
        selected = self.properties[np.asarray(columns, dtype=np.int64)]
        selected[np.asarray(columns) < 0] = np.nan
        return replace(self, properties=selected)

    def without(self, kinds: Sequence[str]) -> "DriverRows":
        """Return the channels of all other kinds."""
        return self._select([i for i, kind in enumerate(self.kinds) if kind not in kinds])

    def only(self, names: Sequence[str]) -> "DriverRows":
        """Return the channels with these names, in the present order."""
        return self._select([i for i, name in enumerate(self.names) if name in names])

    def named(self, covariates: Sequence[str]) -> "DriverRows":
        """Return the channels that are computed from these covariates.

        Args:
            covariates: Series `station.quantity`, and the words `season` and `station` for the season and the
                properties of stations.
        """
        columns = [
            i
            for i, name in enumerate(self.names)
            if any(name == covariate or name.startswith(f"{covariate}.") for covariate in covariates)
        ]
        selected = self._select(columns)
        return selected if STATION in covariates else replace(selected, property_names=(), properties=None)

    def _select(self, columns: list[int]) -> "DriverRows":
        return replace(
            self,
            names=tuple(self.names[i] for i in columns),
            kinds=tuple(self.kinds[i] for i in columns),
            values=self.values[:, columns],
        )

    def in_order(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Return the channels with these names, shape (T, len(names)); NaN for a missing channel."""
        return in_order(self.values, self.names, names)


def in_order(values: NDArray[np.float64], names: Sequence[str], wanted: Sequence[str]) -> NDArray[np.float64]:
    """Return columns in another order.

    Args:
        values: Shape (T, len(names)).
        names: Name of each column.
        wanted: Names of the columns of the result. A name without a column gives NaN.
    """
    column_by_name = {name: i for i, name in enumerate(names)}
    ordered = np.full((values.shape[0], len(wanted)), np.nan)
    for i, name in enumerate(wanted):
        if name in column_by_name:
            ordered[:, i] = values[:, column_by_name[name]]
    return ordered

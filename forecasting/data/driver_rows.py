"""Drivers as networks read them: rows beside the panel's, each with the source it belongs to, gaps left as gaps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forecasting.data.kinds import KINDS, STATION
from forecasting.errors import PanelError


@dataclass(frozen=True, slots=True)
class DriverRows:
    """Channels on the grid of a panel, and what of its stations does not change."""

    names: tuple[str, ...]  # one per channel, such as `R1.rain_mm.sum_3d`
    kinds: tuple[str, ...]  # one of `KINDS` per channel
    # shape (T, C), NaN where nothing is known; row t rests on no reading, and on no word, after t
    values: NDArray[np.float64]
    static_names: tuple[str, ...] = ()  # one per fixed fact, such as `height_m`
    # shape (S, A) in the order of the panel's stations, NaN where not known; None where nobody asks for it
    static: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Refuse what no network could read."""
        if self.values.ndim != 2 or not len(self.names) == len(self.kinds) == self.values.shape[1]:
            raise PanelError(f"drivers: values of shape {self.values.shape} do not fit {len(self.names)} names")
        unknown = sorted(set(self.kinds) - set(KINDS))
        if unknown:
            raise PanelError(f"drivers: no source is called {unknown[0]}; there are {', '.join(KINDS)}")
        if len(set(self.names)) != len(self.names) or np.isinf(self.values).any():
            raise PanelError("drivers: a name occurs twice or a value is infinite")
        facts = self.static
        if (0 if facts is None else facts.shape[1]) != len(self.static_names) or (
            facts is not None and np.isinf(facts).any()
        ):
            raise PanelError("drivers: fixed facts do not fit their names, or one is infinite")

    @property
    def rows(self) -> int:
        """Rows of the grid."""
        return int(self.values.shape[0])

    @property
    def content(self) -> bytes:
        """All values, for a hash."""
        facts = b"" if self.static is None else repr(self.static_names).encode() + self.static.tobytes()
        return self.values.tobytes() + facts

    def head(self, rows: int) -> "DriverRows":
        """The first rows only."""
        return replace(self, values=self.values[:rows])

    def of_stations(self, columns: Sequence[int] | NDArray[np.int64]) -> "DriverRows":
        """The same beside these columns of the panel; -1 stands for a station of which nothing is known."""
        if self.static is None:
            return self
        taken = self.static[np.asarray(columns, dtype=np.int64)]
        taken[np.asarray(columns) < 0] = np.nan
        return replace(self, static=taken)

    def without(self, kinds: Sequence[str]) -> "DriverRows":
        """The channels of the other sources."""
        kept = [i for i, kind in enumerate(self.kinds) if kind not in kinds]
        return self._take(kept)

    def only(self, names: Sequence[str]) -> "DriverRows":
        """The channels of these names, in their own order."""
        return self._take([i for i, name in enumerate(self.names) if name in names])

    def named(self, covariates: Sequence[str]) -> "DriverRows":
        """Only what is made of these covariates: series, and the words for the season and the facts of a station."""
        kept = [
            i for i, name in enumerate(self.names) if any(name == c or name.startswith(f"{c}.") for c in covariates)
        ]
        out = self._take(kept)
        return out if STATION in covariates else replace(out, static_names=(), static=None)

    def _take(self, kept: list[int]) -> "DriverRows":
        names, kinds = tuple(self.names[i] for i in kept), tuple(self.kinds[i] for i in kept)
        return replace(self, names=names, kinds=kinds, values=self.values[:, kept])

    def in_order(self, names: Sequence[str]) -> NDArray[np.float64]:
        """The channels of these names, shape (T, len(names)); NaN for one that is absent."""
        return in_order(self.values, self.names, names)


def in_order(values: NDArray[np.float64], own: Sequence[str], wanted: Sequence[str]) -> NDArray[np.float64]:
    """The columns of the wanted names, NaN for one that is absent."""
    place = {name: i for i, name in enumerate(own)}
    out = np.full((values.shape[0], len(wanted)), np.nan)
    for i, name in enumerate(wanted):
        if name in place:
            out[:, i] = values[:, place[name]]
    return out

"""Settings of a training that a recipe or a search may change, and their bounds. The module imports no library."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from forecasting.errors import ForecastingError


@dataclass(frozen=True, slots=True)
class Bounds:
    """Values that a setting may have."""

    least: float
    largest: float
    is_whole: bool = False  # whether the value is a whole number


BOUNDS: Final[Mapping[str, Bounds]] = {
    "hidden": Bounds(1, 512, is_whole=True),
    "learning_rate": Bounds(1e-6, 1.0),
    "dropout": Bounds(0.0, 0.9),
    "weight_decay": Bounds(0.0, 10.0),
    "batch": Bounds(1, 4096, is_whole=True),
    "epochs": Bounds(1, 1000, is_whole=True),
    "patience": Bounds(1, 1000, is_whole=True),
}
"""Bounds of the fields of `forecasting.neural.learner.Settings` that may be changed, by name."""


def check_setting(name: str, value: object) -> float:
    """Return the value of a setting, an int if it is a whole number.

    Raises:
        ForecastingError: There is no such setting, or the value is outside its bounds.

    >>> check_setting("hidden", 64), check_setting("dropout", 0.2)
    (64, 0.2)
    """
    bounds = BOUNDS.get(name)
    if bounds is None:
        raise ForecastingError(f"no setting is called {name!r}; there are {', '.join(BOUNDS)}")
    kinds = (int,) if bounds.is_whole else (int, float)
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    if not is_number or not bounds.least <= value <= bounds.largest:  # type: ignore[operator]
        kind = "a whole number" if bounds.is_whole else "a number"
        raise ForecastingError(f"{name}: expected {kind} from {bounds.least:g} to {bounds.largest:g}, got {value!r}")
    return value  # type: ignore[return-value]

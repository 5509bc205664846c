"""Settings of a training that a recipe, a search or a file may change, and their bounds. The module imports no library.

A file of settings is TOML with the name of a network and a table of settings:

    model = "gru"

    [settings]
    hidden = 64
    learning_rate = 0.002
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
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


# A file of settings has a few lines. A larger file is refused without reading it completely.
MAX_FILE_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """The content of a file of settings."""

    model: str  # name of the network
    settings: Mapping[str, float]  # by the names of `BOUNDS`


def read_settings_file(path: Path) -> SettingsFile:
    """Read and check a file of settings.

    Raises:
        ForecastingError: The file cannot be read, is not TOML, or has an unknown key or a value out of bounds.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ForecastingError(f"{path}: cannot be read ({error.strerror})") from None
    if len(content) > MAX_FILE_BYTES:
        raise ForecastingError(f"{path}: no file of settings: it is larger than {MAX_FILE_BYTES >> 10} KiB")
    try:
        values = tomllib.loads(content.decode("utf-8"))
    except ValueError as error:
        raise ForecastingError(f"{path}: not TOML ({error})") from None
    if unknown := sorted(values.keys() - {"model", "settings"}):
        raise ForecastingError(f"{path}: unknown key {unknown[0]!r}; expected: model and the table [settings]")
    model, settings = values.get("model"), values.get("settings")
    if not isinstance(model, str) or not model:
        raise ForecastingError(f'{path}: model: expected the name of a network, such as model = "gru"')
    if not isinstance(settings, dict):
        raise ForecastingError(f"{path}: settings: expected a table [settings], such as hidden = 64")
    try:
        return SettingsFile(model, {name: check_setting(name, value) for name, value in settings.items()})
    except ForecastingError as error:
        raise ForecastingError(f"{path}: settings: {error}") from None


def format_settings_file(content: SettingsFile, comment: str) -> str:
    """Return a file of settings as text.

    Args:
        content: the network and its settings.
        comment: describes where the settings come from.

    >>> print(format_settings_file(SettingsFile("gru", {"hidden": 64}), "Found by a search."), end="")
    # Found by a search.
    model = "gru"
    <BLANKLINE>
    [settings]
    hidden = 64
    """
    # TOML allows no control characters in comments.
    printable = "".join(character for character in " ".join(comment.split()) if character.isprintable())
    lines = [f"# {printable}", f'model = "{content.model}"', "", "[settings]"]
    lines += [f"{name} = {value!r}" for name, value in content.settings.items()]
    return "\n".join([*lines, ""])

"""Kinds of drivers by the name of their quantity, and units of length and time. The module imports no library."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

# Millimetres in each unit of length. A test compares them with `monitor.sites`, which must not be imported here.
LENGTHS: Final = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3, "mil": 0.0254, "in": 25.4, "ft": 304.8}


def read_scale(quantity: str) -> float:
    """Return how many millimetres one unit of a quantity is, by the suffix of its name; 1 without a unit of length."""
    name, _, unit = quantity.strip().lower().rpartition("_")
    return LENGTHS.get(unit, 1.0) if name else 1.0


def format_span(horizon_s: float) -> str:
    """Return a span of time as text, in the largest unit that fits.

    >>> format_span(604800.0), format_span(10800.0), format_span(900.0)
    ('7 d', '3 h', '15 min')
    """
    for unit, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if horizon_s >= unit:
            return f"{horizon_s / unit:g} {name}"
    return f"{horizon_s:g} s"


KINDS: Final = ("rain", "water", "image", "outlook", "temperature", "stations", "season")
"""Kinds of drivers: rain and snow melt, water levels and pressures, series read from images, expected rain,
temperature, movement of other stations, season of the year."""
SEASON: Final = "season"
STATION: Final = "station"
WORDS: Final = (SEASON, STATION)
"""Covariates that are no series: the season of the year, and the constant properties of each station."""
# Words in the name of a quantity by which the kind of a driver is recognised. Every other series is `water`.
_WORDS_BY_KIND: Final = (
    ("rain", ("rain", "rainfall", "precip", "precipitation")),
    ("image", ("ndvi", "coherence", "probability", "image")),
    ("temperature", ("temperature",)),
    ("stations", ("displacement", "crack_opening", "tilt", "strain")),
)

# Suffix of a channel that is computed from a covariate.
_CHANNEL_SUFFIX: Final = re.compile(r"\.(sum_\d+d|antecedent|change_\d+d|sin|cos)$")


def find_covariate(channel: str) -> str:
    """Return the covariate that a channel was computed from.

    >>> find_covariate("R1.rain.sum_7d"), find_covariate("season.sin"), find_covariate("W1.reservoir_level")
    ('R1.rain', 'season', 'W1.reservoir_level')
    """
    return _CHANNEL_SUFFIX.sub("", channel)


def find_kind(name: str) -> str:
    """Return the kind of a measured series `station.quantity`, by whole words of the quantity.

    >>> find_kind("R1.rain"), find_kind("W1.reservoir_level"), find_kind("T1.air_temperature"), find_kind("G2.tilt_x")
    ('rain', 'water', 'temperature', 'stations')
    """
    quantity = f"_{name.partition('.')[2]}_"
    for kind, words in _WORDS_BY_KIND:
        if any(f"_{word}_" in quantity for word in words):
            return kind
    return "water"


def describe_drivers(drivers: Iterable[Mapping[str, Any]]) -> str:
    """Return the drivers that a network reads as text, with the share of missing values from 1 % on.

    Args:
        drivers: Name and share of missing values (`missing`, 0 to 1) of each, as stored with its training.

    >>> describe_drivers([{"name": "R1.rain", "missing": 0.021}, {"name": "season", "missing": 0.0}])
    'R1.rain (2 % missing), season'
    """
    missing_percent = {driver["name"]: 100.0 * driver["missing"] for driver in drivers}
    names = [
        f"{name} ({percent:.0f} % missing)" if percent >= 1.0 else name for name, percent in missing_percent.items()
    ]
    return ", ".join(names) or "nothing"

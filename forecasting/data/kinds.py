"""Kinds of drivers by the name of a quantity, units of displacement and time; nothing is loaded for it."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

# length -> millimetres; a test holds it equal to `monitor.sites.quantities`, which this library may not import
LENGTHS: Final = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3, "mil": 0.0254, "in": 25.4, "ft": 304.8}


def read_scale(quantity: str) -> float:
    """How many millimetres one unit of a quantity is, by the suffix of its name; 1 where the name states no length."""
    name, _, unit = quantity.strip().lower().rpartition("_")
    return LENGTHS.get(unit, 1.0) if name else 1.0


def format_span(horizon_s: float) -> str:
    """A horizon as people write it.

    >>> format_span(604800.0), format_span(10800.0), format_span(900.0)
    ('7 d', '3 h', '15 min')
    """
    for unit, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if horizon_s >= unit:
            return f"{horizon_s / unit:g} {name}"
    return f"{horizon_s:g} s"


KINDS: Final = ("rain", "water", "image", "outlook", "temperature", "stations", "season")
"""Sources besides the movement itself: rain and snow melt, water levels, series read from images, expected rain,
temperature, movement of other stations, time of the year."""
SEASON: Final = "season"
STATION: Final = "station"
WORDS: Final = (SEASON, STATION)
"""Covariates that are no series: the time of the year, and what of each station does not change."""
_WORDS_OF: Final = (
    ("rain", ("rain", "rainfall", "precip", "precipitation")),
    ("image", ("ndvi", "coherence", "probability", "image")),
    ("temperature", ("temperature",)),
    ("stations", ("displacement", "crack_opening", "tilt", "strain")),
)


_MADE: Final = re.compile(r"\.(sum_\d+d|antecedent|change_\d+d|sin|cos)$")


def find_covariate(channel: str) -> str:
    """The covariate that a channel was made of.

    >>> find_covariate("R1.rain.sum_7d"), find_covariate("season.sin"), find_covariate("W1.reservoir_level")
    ('R1.rain', 'season', 'W1.reservoir_level')
    """
    return _MADE.sub("", channel)


def find_kind(name: str) -> str:
    """The kind of a measured series `station.quantity`, by whole words of the quantity.

    >>> find_kind("R1.rain"), find_kind("W1.reservoir_level"), find_kind("T1.air_temperature"), find_kind("G2.tilt_x")
    ('rain', 'water', 'temperature', 'stations')
    """
    quantity = f"_{name.partition('.')[2]}_"
    return next((kind for kind, words in _WORDS_OF if any(f"_{term}_" in quantity for term in words)), "water")


def describe_drivers(read: Iterable[Mapping[str, Any]]) -> str:
    """What a network reads beside the movement, from the record of its training.

    >>> describe_drivers([{"name": "R1.rain", "missing": 0.021}, {"name": "season", "missing": 0.0}])
    'R1.rain (2 % missing), season'
    """
    gaps = {one["name"]: 100.0 * one["missing"] for one in read}
    each = [f"{name} ({gap:.0f} % missing)" if gap >= 1.0 else name for name, gap in gaps.items()]
    return ", ".join(each) or "nothing"

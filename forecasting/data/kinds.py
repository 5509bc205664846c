"""What kinds of drivers there are, and which kind a series is by the name of its quantity; nothing is loaded for it."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

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

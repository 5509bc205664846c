"""What kinds of drivers there are, and which kind a series is by the name of its quantity; nothing is loaded for it."""

from typing import Final

KINDS: Final = ("rain", "water", "image", "outlook", "temperature", "stations", "season")
"""Sources besides the movement itself: rain and snow melt, water levels, series read from images, expected rain,
temperature, movement of other stations, time of the year."""
SEASON: Final = "season"
STATION: Final = "station"
WORDS: Final = (SEASON, STATION)
"""Covariates that are no series: the time of the year, and what of each station does not change."""
NETWORKS_ONLY: Final = frozenset({"image", "stations", *WORDS})
"""Kinds, and words, that only networks read."""
_WORDS_OF: Final = (
    ("image", ("ndvi", "coherence", "probability", "image")),
    ("temperature", ("temperature",)),
    ("stations", ("displacement", "crack_opening", "tilt")),
)


def find_kind(name: str) -> str:
    """The kind of a measured series `station.quantity`.

    >>> find_kind("R1.rain"), find_kind("W1.reservoir_level"), find_kind("T1.air_temperature"), find_kind("G2.tilt_x")
    ('rain', 'water', 'temperature', 'stations')
    """
    quantity = name.partition(".")[2]
    if "rain" in quantity or "precip" in name:
        return "rain"
    return next((kind for kind, words in _WORDS_OF if any(word in quantity for word in words)), "water")

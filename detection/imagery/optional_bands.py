"""Bands that a network reads where they are known and does without where they are not: the slope of a DEM.

A card names them as `optional_bands`, beside the `bands` that every scene must have. Each of them is two channels of
the network, after those of the bands: the value over a fixed constant, and whether it is known (1 or 0). Where it is
not known, both are 0. A scene without a DEM, and pixels where the DEM has no data, are therefore the same to a network.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# Value that becomes 1 in a network, in the unit of the band. A constant of physics and not of the scene or the training
# set: 20 degrees are as steep in one scene as in another.
UNITS: Final[Mapping[str, float]] = {"slope": 30.0}
CHANNELS_PER_BAND: Final = 2


def encode_optional_bands(values: NDArray[np.floating], names: Sequence[str]) -> NDArray[np.float32]:
    """Return the channels of optional bands, 2K x H x W, from their values K x H x W.

    Args:
        values: in the units of `UNITS`, NaN where they are not known.
        names: of the K bands.

    >>> encode_optional_bands(np.array([[[45.0, np.nan]]]), ["slope"]).tolist()
    [[[1.5, 0.0]], [[1.0, 0.0]]]
    """
    channels = np.zeros((CHANNELS_PER_BAND * len(names), *values.shape[1:]), np.float32)
    for position, name in enumerate(names):
        is_known = np.isfinite(values[position])
        scaled = values[position] / np.float32(UNITS[name])
        channels[CHANNELS_PER_BAND * position] = np.where(is_known, scaled, 0)
        channels[CHANNELS_PER_BAND * position + 1] = is_known
    return channels


def list_optional_bands(card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the optional bands of a card."""
    return tuple(card.get("optional_bands") or ())


def count_channels(card: Mapping[str, Any]) -> int:
    """Return how many channels the network of a card reads.

    >>> count_channels({"bands": ["B4", "B3", "B2"], "optional_bands": ["slope"]})
    5
    """
    return len(card["bands"]) + CHANNELS_PER_BAND * len(list_optional_bands(card))

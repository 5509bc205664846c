"""Optional bands: a network reads them where they are known, and maps the scene without them elsewhere.

The only optional band is the slope of a DEM. A card names optional bands as `optional_bands`, beside the `bands` that
every scene must have. Each optional band is two channels of the network, after those of the bands: the value divided by
a fixed constant, and whether the value is known (1 or 0). Where the value is not known, both channels are 0. A network
therefore treats a scene without a DEM like pixels on which the DEM has no data.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# Divisor of each optional band, in the unit of the band. It does not depend on the scene or the training set, because
# 20 degrees are equally steep everywhere.
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

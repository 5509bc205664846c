"""Index of red and green, which is used if no network fits. It compares dates and finds nothing on a single date."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.footprints.records import INDEX
from detection.imagery.weights_file import ModelCard

BANDS: Final = ("B4", "B3", "B2")  # red and green for the index, blue to find clouds
SMALL: Final = 1e-6

CARD: Final[ModelCard] = {
    "name": INDEX,
    "network": {"name": INDEX, "classes": 2},
    "classes": ["landslide"],
    "bands": list(BANDS),
    "radiometry": {"stretch": "local-max", "block_px": 128},
    "threshold": 0.5,
    "tile_px": 128,
    "index": "(red - green) / (red + green), its change between two dates beyond that of the whole scene",
    "limits": ["No network: bare soil of any kind. One date says nothing; change between dates is advice."],
}


@dataclass(frozen=True, slots=True)
class IndexModel:
    """Model without a network, with the attributes of `neural.model_file.SegmentationModel`. It needs no PyTorch."""

    card: ModelCard
    model_hash: str
    bands: tuple[str, ...] = BANDS


MODEL: Final = IndexModel(CARD, hashlib.sha256(json.dumps(CARD, sort_keys=True).encode()).hexdigest())


class NoNetwork:
    """Classifier without a network: the probability is 0 everywhere, because an index needs two dates."""

    def class_probabilities(
        self,
        tile: NDArray[np.float32],  # noqa: ARG002
        valid: NDArray[np.bool_],
        *,
        again: bool = False,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """Return zeros, 1 x H x W."""
        return np.zeros((1, *valid.shape), np.float32)

    def stream(
        self,
        parts: Iterable[tuple[NDArray[np.float32], NDArray[np.bool_]]],
        *,
        again: bool = False,  # noqa: ARG002
    ) -> Iterator[NDArray[np.float32]]:
        """Return zeros for each part."""
        return (self.class_probabilities(*part) for part in parts)


def measure_index(bands: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (red - green) / (red + green). The index does not depend on the brightness of a scene.

    Args:
        bands: values whose first two bands are red and green.

    >>> measure_index(np.array([[300.0], [100.0], [90.0]])).tolist()
    [0.5]
    """
    red, green = bands[0].astype(np.float64), bands[1].astype(np.float64)
    return np.asarray((red - green) / np.maximum(red + green, SMALL))

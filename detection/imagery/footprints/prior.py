"""Which susceptibility map lies below footprints: its hash, and what a map of ours says of itself."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from detection.imagery.errors import SceneError
from detection.imagery.raster.raster import inspect
from detection.imagery.raster.untrusted import open_raster
from detection.imagery.scene.scene import hash_file

FACTS: Final = {
    "MADE_ON": "made_on", "MODEL_HASH": "model_hash", "LEARNER": "learner", "INVENTORY": "inventory",
    "INVENTORY_FROM": "from", "INVENTORY_TO": "to", "AUC": "auc", "LANDSLIDES": "landslides",
}  # fmt: skip
MOST_TEXT: Final = 200
LOOKED_AT_PX: Final = 1024  # a side of what is looked at: enough to tell percent from shares
ROUNDED: Final = 1e-6


def describe_prior(path: Path) -> dict[str, Any]:
    """Return file, sha256 and the tags of a map of ours (`detection.susceptibility.mapping`).

    Raises:
        SceneError: no raster that can be read, or its values are no probabilities.
    """
    _check_values(path)
    tags = inspect(path).tags
    said = {name: str(tags[tag])[:MOST_TEXT] for tag, name in FACTS.items() if tags.get(tag)}
    return {"file": path.name, "sha256": hash_file(path), **said}


def _check_values(path: Path) -> None:
    with open_raster(path) as source:
        shape = min(LOOKED_AT_PX, source.height), min(LOOKED_AT_PX, source.width)
        values = source.read(1, out_shape=shape, masked=True).compressed()
    values = values[np.isfinite(values)]
    if len(values) and not -ROUNDED <= values.min() <= values.max() <= 1 + ROUNDED:
        raise SceneError(
            f"{path}: values from {values.min():g} to {values.max():g}; a susceptibility is a probability of 0 to 1, "
            "and what has none is declared as nodata"
        )

"""Facts of a susceptibility map: its hash, and the tags of maps that Slopeward made."""

from pathlib import Path
from typing import Any, Final

from detection.imagery.raster.raster import inspect
from detection.imagery.raster.reading.values import SHARE, open_values
from detection.imagery.scene.scene import hash_file

FACTS: Final = {
    "MADE_ON": "made_on",
    "MODEL_HASH": "model_hash",
    "LEARNER": "learner",
    "INVENTORY": "inventory",
    "INVENTORY_FROM": "from",
    "INVENTORY_TO": "to",
    "AUC": "auc",
    "LANDSLIDES": "landslides",
}
MOST_TEXT: Final = 200  # longest text of a tag


def describe_prior(path: Path) -> dict[str, Any]:
    """Return file, sha256 and the tags of a susceptibility map.

    Raises SceneError: no raster that can be read, or its values are no probabilities.
    """
    with open_values(path, SHARE):  # raises if the values are no probabilities
        pass
    tags = inspect(path).tags
    tagged = {name: str(tags[tag])[:MOST_TEXT] for tag, name in FACTS.items() if tags.get(tag)}
    return {"file": path.name, "sha256": hash_file(path), **tagged}

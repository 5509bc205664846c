"""What a network is shown of labelled patches, by the stretch that its recipe or card names."""

from collections.abc import Callable, Mapping
from typing import Any

from detection.imagery.data.patches import Patches
from detection.imagery.scene.moments import LOCAL_STANDARD
from detection.imagery.scene.radiometry import UNITS


def show_by(radiometry: Mapping[str, Any]) -> Callable[[Patches], Patches]:
    """Return what turns patches, in the unit of their files, into those that the network is shown.

    Only `local-standard` changes them: the others are the unit of the files, or what a scene is brought to.
    """
    if radiometry.get("stretch") != LOCAL_STANDARD:
        return lambda patches: patches
    return lambda patches: patches.standardise(UNITS)

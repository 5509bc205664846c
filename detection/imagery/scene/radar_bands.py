"""Recognise scenes of radar backscatter by their manifest and the names of their bands."""

from typing import Final

from detection.imagery.scene.scene import Scene

POLARISATIONS: Final = ("VV", "HH", "VH", "HV")  # by preference, where a scene has several
OTHER_BANDS: Final = ("COHERENCE", "CC", "COH", "ANGLE", "INCIDENCE")  # bands that accompany backscatter


def is_radar(scene: Scene) -> bool:
    """Return whether the manifest declares a radar scene, or all bands are radar bands."""
    names = {name.upper() for name in scene.bands}
    has_backscatter = bool(names & set(POLARISATIONS))
    return bool(scene.sar) or (has_backscatter and names <= {*POLARISATIONS, *OTHER_BANDS})

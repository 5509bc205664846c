"""Research models, and cracks in pictures.

Models are registered with the libraries by entry points of their own; see `pyproject.toml` of this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.api.hooks import SceneCracks, hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from detection.imagery.change.records import StoredDate
    from detection.imagery.footprints.records import SceneDetection


@hookimpl
def write_scene_cracks(
    detection: SceneDetection, folder: Path, dates: tuple[StoredDate, StoredDate] | None
) -> SceneCracks:
    """Find cracks on the probabilities of the scene."""
    from slopeward_lab.cracks.cli import write_scene_cracks as write

    return write(detection, folder, dates)

"""`slopeward scenes detect --cracks`: cracks of a scene, and what became of them since the scene before."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from detection.imagery.errors import ImageryError, ModelError
from detection.imagery.footprints.records import INDEX, SceneDetection
from monitor.api.cli import print_note
from monitor.api.hooks import SceneCracks
from monitor.api.text import describe_error

if TYPE_CHECKING:
    from detection.imagery.change.records import StoredDate


def write_scene_cracks(
    detection: SceneDetection, folder: Path, dates: "tuple[StoredDate, StoredDate] | None"
) -> SceneCracks:
    """Write the cracks of a scene.

    Args:
        detection: What a network found on the scene.
        folder: Folder for the files.
        dates: The scene and an earlier one, read by the same network. None if there is no earlier scene.

    Raises:
        ModelError: No network read the scene.
    """
    from slopeward_lab.cracks.change import compare_cracks
    from slopeward_lab.cracks.lines import CRACK, outline_cracks, write_cracks

    if detection["model"] == INDEX:
        raise ModelError("--cracks needs weights that find cracks: no network read this scene")
    if CRACK not in detection["classes"]:
        print_note(f"warning: {detection['model']} was not trained on cracks: lines are the middles of its outlines")
    cracks = outline_cracks(detection)
    comparison = None
    if dates is not None:
        try:
            comparison = compare_cracks(cracks, *dates)
        except ImageryError as error:
            print_note(f"warning: cracks: {describe_error(error)}")
    rows = [
        crack.to_json() | ({} if comparison is None else asdict(comparison.changes[crack.crack_id])) for crack in cracks
    ]
    facts: dict[str, object] = {"cracks": rows, "crack_files": write_cracks(rows, detection, folder)}
    line = f"{len(cracks)} cracks"
    if detection["pixel_area_m2"] is not None:
        length_m = sum(crack.length_m or 0.0 for crack in cracks)
        line += f", {length_m:,.1f} m"
    if comparison is not None:
        facts["crack_change"] = {
            "since_at": comparison.since_at.isoformat(),
            "shift_px": comparison.shift_px,
            "residual_px": comparison.residual_px,
        }
        counts = Counter(change.change for change in comparison.changes.values())
        line += f"; since {comparison.since_at:%Y-%m-%d}: " + ", ".join(f"{n} {name}" for name, n in counts.items())
    return SceneCracks(facts, line)

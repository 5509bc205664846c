"""`slopeward scenes boxes`: single landslides of a scene as bounding boxes with a score."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from monitor.api.cli import print_note, print_result_in_order

if TYPE_CHECKING:
    from slopeward_lab.instances.boxes import MatchScore, ReferenceScore

EXAMPLE: Final = "Example: slopeward scenes boxes ./found --reference landslides.geojson"


def boxes(
    found: Annotated[Path, typer.Argument(help="Folder of a result of `scenes detect --out`.", file_okay=False)],
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Outlines of known landslides to score against: GeoJSON, GeoPackage, shapefile, FlatGeobuf or KML."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="GeoJSON file for the boxes. Default: boxes.geojson in the folder.")
    ] = None,
) -> None:
    """Write each footprint of a scene as a bounding box with a score.

    With --reference, boxes and outlines are also compared with known landslides: precision and recall at an
    intersection over union of 0.5, and average precision.
    """
    from detection.imagery.errors import OutputError
    from slopeward_lab.instances.boxes import BOXES_FILE, read_instances, score_instances, write_boxes

    scene = read_instances(found)
    score, notes = (None, ()) if reference is None else score_instances(scene, reference)
    for note in notes:
        print_note(f"warning: {note}")
    target = found / BOXES_FILE if out is None else out
    try:
        write_boxes(scene, target)
    except OSError as error:
        raise OutputError(
            f"{target}: cannot write the boxes ({error.strerror or error}); name a file by --out"
        ) from None
    lines = [f"{target}: {len(scene.instances)} boxes"]
    if score is not None:
        lines += _format_score(score)
    facts = {
        "found": str(found),
        "boxes": str(target),
        "instances": [asdict(instance) for instance in scene.instances],
        "score": score,
    }
    print_result_in_order(facts, "\n".join(lines))


def _format_score(score: "ReferenceScore") -> list[str]:
    landslides = f"{score['references']} landslides of the reference"
    if score["left_out"]:
        landslides += f" ({score['left_out']} more are left out: the scene does not show them)"
    return [
        f"{landslides}; a match has an intersection over union of at least {score['least_iou']}",
        f"boxes: {_format_match(score['boxes'])}",
        f"outlines: {_format_match(score['outlines'])}",
    ]


def _format_match(match: "MatchScore") -> str:
    values = {
        "precision": match["precision"],
        "recall": match["recall"],
        "average precision": match["average_precision"],
    }
    described = [f"{name} {'undefined' if value is None else f'{value:.3f}'}" for name, value in values.items()]
    return f"{match['matched']} matched, {', '.join(described)}"

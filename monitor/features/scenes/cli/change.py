"""`slopeward scenes compare`: compare two or more scenes, without database and site."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from detection.imagery.footprints.records import INDEX, SceneDetection
from monitor.api.cli import LocalGridOption, exit_on, print_result_in_order, use_local_grid_file, warn
from monitor.api.errors import SlopewardError
from monitor.features.scenes.cli.arguments import FootprintArea, Weights
from monitor.features.scenes.cli.earlier import (
    ComparedDate,
    EarlierDate,
    check_past,
    compare_detection,
    describe_change,
    describe_index_comparison,
    not_alone,
)
from monitor.features.scenes.remarks import result_to_json

EXAMPLE = "Example: slopeward scenes compare ./scene-2026-05-12 ./scene-2026-05-22 --out ./change --json"


def compare(
    scene: Annotated[list[Path], typer.Argument(help="Two or more scenes of the same ground, in any order.")],
    model: Weights = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for rasters, outlines and pictures of each date.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Lowest probability of a landslide pixel. Default: that of the model."),
    ] = None,
    minimum_area_m2: FootprintArea = None,
    site_file: LocalGridOption = None,
) -> None:
    """Compare scenes of several dates: which landslides are new, grown, known or vanished. Exit 4: no valid pixel."""
    from detection.imagery.errors import NoValidPixelsError

    if len(scene) < 2:
        raise SlopewardError("compare needs two scenes at least")
    check_past(scene, datetime.now(UTC))
    with (
        exit_on(NoValidPixelsError),
        use_local_grid_file(site_file),
        tempfile.TemporaryDirectory(prefix="slopeward-compare-") as folder,
    ):
        answers = _compare_scenes(scene, out or Path(folder), model, threshold, minimum_area_m2)
    for answer, text in answers:
        day = answer["acquired_at"][:10]
        warn(f"{day}: {warning['text']}" for warning in answer["warnings"])
        print_result_in_order(answer, f"{day}: {text}")


def _compare_scenes(
    paths: list[Path], out: Path, model: str, threshold: float | None, minimum_area_m2: float | None
) -> list[tuple[dict[str, Any], str]]:
    """Read each scene and compare it with the earlier ones; return an object for JSON and a text for each scene.

    The scenes are returned in the order in which they were taken.
    """
    from detection.imagery.change.compare import as_date
    from detection.imagery.change.records import apply_changes
    from detection.imagery.footprints.detect import detect
    from detection.imagery.footprints.options import DetectionOptions
    from detection.imagery.scene.scene import read_scene

    scenes = sorted((read_scene(path) for path in paths), key=lambda scene: (scene.acquired_at, str(scene.path)))
    earlier: list[EarlierDate] = []
    answers = []
    for number, scene in enumerate(scenes):
        out_dir = out / f"{number}-{scene.acquired_at:%Y%m%dT%H%M%S}"
        detection = detect(
            DetectionOptions(scene.path, model, out_dir=out_dir, threshold=threshold, minimum_area_m2=minimum_area_m2)
        )
        compared = compare_detection(detection, as_date(detection, scene.path), earlier, out_dir)
        date = apply_changes(compared.date, compared.result.changes)
        earlier.append(EarlierDate(date, detection["model_hash"]))
        answers.append((_format_answer(scene.path, detection, compared), _format_text(detection, compared)))
    return answers


def _format_text(detection: SceneDetection, compared: ComparedDate) -> str:
    """Return a line for what read the scene, and one for the index beside a network."""
    if detection["model"] == INDEX:
        return describe_change(compared.date, compared.result, by_index=True)
    text = f"{detection['model']}: {describe_change(compared.date, compared.result)}"
    if compared.beside is not None:
        text += f"\n{compared.date.day}: {describe_index_comparison(compared.beside)}"
    return text


def _format_answer(path: Path, detection: SceneDetection, compared: ComparedDate) -> dict[str, Any]:
    from detection.imagery.change.records import outline_to_json, record_to_json, vanished_to_json

    result, beside = compared.result, compared.beside
    polygons = detection["polygons"]
    if detection["model"] == INDEX:
        polygons = [outline_to_json(outline) for outline in compared.date.outlines]
    measurements = result.to_json()
    warnings = [*detection["warnings"], *result.warnings]
    outputs = {**detection["outputs"], **result.outputs}
    if beside is not None:
        warnings += beside.result.warnings
        outputs |= {f"index_{name}": file for name, file in beside.result.outputs.items()}
    answer: dict[str, Any] = result_to_json(
        {
            "scene": str(path),
            "acquired_at": detection["acquired_at"],
            "model": detection["model"],
            "footprints": [
                {**polygon, **record_to_json(result.changes[polygon["polygon_id"]])} for polygon in polygons
            ],
            "vanished": [vanished_to_json(footprint) for footprint in result.vanished],
            "pixels": measurements["pixels"],
            "compared": measurements["compared"],
            "limit": result.limit,
            "by_index": None if beside is None else beside.to_json(),
            "warnings": not_alone(dict.fromkeys(warnings)),
            "outputs": outputs,
        }
    )
    return answer

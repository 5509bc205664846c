"""`slopeward scenes compare`: what changed between two or more dates, offline, without database and site."""

import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detection.imagery.footprints.records import INDEX, SceneDetection
from monitor.cli.scenes.earlier import check_past, describe_change, describe_index_comparison, not_alone
from monitor.cli.scenes.local import FootprintArea, SiteFile, Weights, placing_by_file
from monitor.cli.session import ending_at, show_in_order, warn
from monitor.domain.errors import SlopewardError

if TYPE_CHECKING:
    from detection.imagery.change.by_index import IndexComparison
    from detection.imagery.change.records import Comparison, StoredDate
    from detection.imagery.scene.scene import Scene

EXAMPLE = "Example: slopeward scenes compare ./scene-2026-05-12 ./scene-2026-05-22 --out ./change --json"


def compare(
    scene: Annotated[list[Path], typer.Argument(help="Two or more scenes of one ground, in any order.")],
    model: Weights = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for rasters, outlines and pictures of each date.")] = None,
    threshold: Annotated[float | None, typer.Option(min=0.0, max=1.0)] = None,
    minimum_area_m2: FootprintArea = None,
    match: Annotated[
        bool, typer.Option("--match", help="Stretch the older images to the newest, band by band.")
    ] = False,
    site: SiteFile = None,
) -> None:
    """Say what is new, grown, known or vanished on each date; exit 4 when no pixel is valid."""
    from detection.imagery.errors import NoValidPixelsError

    if len(scene) < 2:
        raise SlopewardError("compare needs two scenes at least")
    check_past(scene, datetime.now(UTC))
    with (
        ending_at(NoValidPixelsError),
        placing_by_file(site),
        tempfile.TemporaryDirectory(prefix="slopeward-compare-") as folder,
    ):
        answers = _compare_dates(scene, out or Path(folder), model, (threshold, minimum_area_m2), match=match)
    for answer, line in answers:
        day = answer["acquired_at"][:10]
        warn(f"{day}: {warning}" for warning in answer["warnings"])
        show_in_order(answer, f"{day}: {line}")


@dataclass(frozen=True, slots=True)
class DetectedDate:
    """Footprints of one date before it is compared."""

    result: SceneDetection  # as `detect` answers
    date: "StoredDate"
    factors: dict[str, dict[str, float]] | None  # by which its image was matched to the newest
    doubts: tuple[str, ...]  # of the image as it came, where it was matched


@dataclass(frozen=True, slots=True)
class ComparedDate:
    """One date beside the earlier ones."""

    date: "StoredDate"
    found: "Comparison"
    index_found: "IndexComparison | None"  # what the index says beside a network
    line: str  # in words, a line for each that read it


def _compare_dates(
    scenes: list[Path], out: Path, model: str, limits: tuple[float | None, float | None], *, match: bool
) -> list[tuple[dict[str, Any], str]]:
    """One answer per date, oldest first: as JSON has it, and in one line for each that read it, network and index."""
    from detection.imagery.change.records import StoredDate, remember
    from detection.imagery.scene.scene import read_scene

    read = sorted((read_scene(path) for path in scenes), key=lambda s: (s.acquired_at, str(s.path)))
    dates: list[tuple[str, StoredDate]] = []  # by what read each: one that fits no network takes it from none
    answers = []
    for number, one in enumerate(read):
        target = out / f"{number}-{one.acquired_at:%Y%m%dT%H%M%S}"
        newest = read[-1] if match and number < len(read) - 1 else None
        detected = _detect_date(one, newest, target, model, limits)
        compared = _compare_date(detected, dates, target)
        dates.append((detected.result["model_hash"], remember(compared.date, compared.found.changes)))
        answers.append((_format_answer(one.path, detected, compared), compared.line))
    return answers


def _detect_date(
    scene: "Scene", newest: "Scene | None", target: Path, model: str, limits: tuple[float | None, float | None]
) -> DetectedDate:
    from detection.imagery.change.compare import as_date
    from detection.imagery.change.histogram_match import match_scene, write_match
    from detection.imagery.footprints.detect import detect, inspect_image
    from detection.imagery.footprints.options import DetectionOptions

    path, factors = scene.path, None
    if newest is not None:
        path, factors = match_scene(scene, newest, target.with_name(f"{target.name}-matched"))
    options = DetectionOptions(path, model, out_dir=target, threshold=limits[0], minimum_area_m2=limits[1])
    result = detect(options)
    if factors is None:
        return DetectedDate(result, as_date(result, path), None, ())
    write_match(target, factors)
    # what was matched looks like the newest: whether it is like the training, the image says as it came
    doubts, cloudy = inspect_image(replace(options, scene_path=scene.path, weights=result["weights"]))
    result["doubts"] = list(dict.fromkeys((*result["doubts"], *doubts)))
    result["cloudy"] = [*map(list, dict.fromkeys((*map(tuple, result["cloudy"]), *cloudy)))]
    date = replace(as_date(result, path), came_path=str(scene.path))
    return DetectedDate(result, date, factors, tuple(f"before it was matched: {doubt}" for doubt in doubts))


def _compare_date(detected: DetectedDate, dates: "list[tuple[str, StoredDate]]", target: Path) -> ComparedDate:
    from detection.imagery.change.by_index import add_index_comparison, compare_by_index
    from detection.imagery.change.compare import compare as compare_outlines

    result, earlier = detected.result, [known for _, known in dates]
    if result["model"] == INDEX:
        date, found = compare_by_index(detected.date, earlier, target)
        return ComparedDate(date, found, None, describe_change(date, found, by_index=True))
    date = detected.date
    found = compare_outlines(date, [known for by, known in dates if by == result["model_hash"]], target)
    line = f"{result['model']}: {describe_change(date, found)}"
    if not earlier:
        return ComparedDate(date, found, None, line)
    index_found = add_index_comparison(date, found, earlier, target)
    line += f"\n{date.acquired_at:%Y-%m-%d}: {describe_index_comparison(index_found)}"
    return ComparedDate(date, found, index_found, line)


def _format_answer(scene: Path, detected: DetectedDate, compared: ComparedDate) -> dict[str, Any]:
    from detection.imagery.change.records import outline_to_json, record_to_json, vanished_to_json

    result, found, index_found = detected.result, compared.found, compared.index_found
    is_index = result["model"] == INDEX
    polygons = [outline_to_json(p) for p in compared.date.outlines] if is_index else result["polygons"]
    measured = found.to_json()
    warnings = [*result["warnings"], *detected.doubts, *found.warnings]
    outputs = {**result["outputs"], **found.outputs}
    if index_found is not None:
        warnings += index_found.found.warnings
        outputs |= {f"index_{name}": file for name, file in index_found.found.outputs.items()}
    return {
        "scene": str(scene),
        "acquired_at": result["acquired_at"],
        "model": result["model"],
        "footprints": [{**p, **record_to_json(found.changes[p["polygon_id"]])} for p in polygons],
        "vanished": [vanished_to_json(v) for v in found.vanished],
        "pixels": measured["pixels"],
        "compared": measured["compared"],
        "limit": found.limit,
        "matched": detected.factors,
        "by_index": None if index_found is None else index_found.to_json(),
        "warnings": not_alone(dict.fromkeys(warnings)),
        "outputs": outputs,
    }

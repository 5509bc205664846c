"""`slopeward scenes compare`: what changed between two or more dates, offline, without database and site."""

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detection.imagery.footprints.records import INDEX, SceneDetection
from monitor.api.cli import LocalGridOption, exit_on, show_in_order, use_local_grid_file, warn
from monitor.api.errors import SlopewardError
from monitor.api.text import convert_reason
from monitor.features.scenes.cli.arguments import FootprintArea, Weights
from monitor.features.scenes.cli.earlier import check_past, describe_change, describe_index_comparison, not_alone
from monitor.features.scenes.remarks import result_to_json

if TYPE_CHECKING:
    from detection.imagery.change.by_index import IndexComparison
    from detection.imagery.change.records import ComparisonResult, StoredDate

EXAMPLE = "Example: slopeward scenes compare ./scene-2026-05-12 ./scene-2026-05-22 --out ./change --json"


def compare(
    scene: Annotated[list[Path], typer.Argument(help="Two or more scenes of one ground, in any order.")],
    model: Weights = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for rasters, outlines and pictures of each date.")] = None,
    threshold: Annotated[float | None, typer.Option(min=0.0, max=1.0)] = None,
    minimum_area_m2: FootprintArea = None,
    site: LocalGridOption = None,
) -> None:
    """Say what is new, grown, known or vanished on each date; exit 4 when no pixel is valid."""
    from detection.imagery.errors import NoValidPixelsError

    if len(scene) < 2:
        raise SlopewardError("compare needs two scenes at least")
    check_past(scene, datetime.now(UTC))
    with (
        exit_on(NoValidPixelsError),
        use_local_grid_file(site),
        tempfile.TemporaryDirectory(prefix="slopeward-compare-") as folder,
    ):
        answers = _compare_dates(scene, out or Path(folder), model, (threshold, minimum_area_m2))
    for answer, line in answers:
        day = answer["acquired_at"][:10]
        warn(f"{day}: {warning['text']}" for warning in answer["warnings"])
        show_in_order(answer, f"{day}: {line}")


@dataclass(frozen=True, slots=True)
class ComparedDate:
    """One date beside the earlier ones."""

    date: "StoredDate"
    found: "ComparisonResult"
    index_found: "IndexComparison | None"  # what the index says beside a network
    line: str  # in words, a line for each that read it


def _compare_dates(
    scenes: list[Path], out: Path, model: str, limits: tuple[float | None, float | None]
) -> list[tuple[dict[str, Any], str]]:
    """One answer per date, oldest first: as JSON has it, and in one line for each that read it, network and index."""
    from detection.imagery.change.compare import as_date
    from detection.imagery.change.records import StoredDate, apply_changes
    from detection.imagery.footprints.detect import detect
    from detection.imagery.footprints.options import DetectionOptions
    from detection.imagery.scene.scene import read_scene

    read = sorted((read_scene(path) for path in scenes), key=lambda s: (s.acquired_at, str(s.path)))
    dates: list[tuple[str, StoredDate]] = []  # by what read each: one that fits no network takes it from none
    answers = []
    for number, one in enumerate(read):
        target = out / f"{number}-{one.acquired_at:%Y%m%dT%H%M%S}"
        options = DetectionOptions(one.path, model, out_dir=target, threshold=limits[0], minimum_area_m2=limits[1])
        result = detect(options)
        compared = _compare_date(result, as_date(result, one.path), dates, target)
        dates.append((result["model_hash"], apply_changes(compared.date, compared.found.changes)))
        answers.append((_format_answer(one.path, result, compared), compared.line))
    return answers


def _compare_date(
    result: SceneDetection, date: "StoredDate", dates: "list[tuple[str, StoredDate]]", target: Path
) -> ComparedDate:
    from detection.imagery.change.by_index import add_index_comparison, compare_by_index
    from detection.imagery.change.compare import compare as compare_outlines

    earlier = [known for _, known in dates]
    if result["model"] == INDEX:
        date, found = compare_by_index(date, earlier, target, describe=convert_reason)
        return ComparedDate(date, found, None, describe_change(date, found, by_index=True))
    same = [known for by, known in dates if by == result["model_hash"]]
    found = compare_outlines(date, same, target, describe=convert_reason)
    line = f"{result['model']}: {describe_change(date, found)}"
    if not earlier:
        return ComparedDate(date, found, None, line)
    index_found = add_index_comparison(date, found, earlier, target, describe=convert_reason)
    line += f"\n{date.acquired_at:%Y-%m-%d}: {describe_index_comparison(index_found)}"
    return ComparedDate(date, found, index_found, line)


def _format_answer(scene: Path, result: SceneDetection, compared: ComparedDate) -> dict[str, Any]:
    from detection.imagery.change.records import outline_to_json, record_to_json, vanished_to_json

    found, index_found = compared.found, compared.index_found
    is_index = result["model"] == INDEX
    polygons = [outline_to_json(p) for p in compared.date.outlines] if is_index else result["polygons"]
    measured = found.to_json()
    warnings = [*result["warnings"], *found.warnings]
    outputs = {**result["outputs"], **found.outputs}
    if index_found is not None:
        warnings += index_found.found.warnings
        outputs |= {f"index_{name}": file for name, file in index_found.found.outputs.items()}
    answer = {
        "scene": str(scene),
        "acquired_at": result["acquired_at"],
        "model": result["model"],
        "footprints": [{**p, **record_to_json(found.changes[p["polygon_id"]])} for p in polygons],
        "vanished": [vanished_to_json(v) for v in found.vanished],
        "pixels": measured["pixels"],
        "compared": measured["compared"],
        "limit": found.limit,
        "by_index": None if index_found is None else index_found.to_json(),
        "warnings": not_alone(dict.fromkeys(warnings)),
        "outputs": outputs,
    }
    described: dict[str, Any] = result_to_json(answer)
    return described

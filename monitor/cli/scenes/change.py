"""`slopeward scenes compare`: what changed between two or more dates, offline, without database and site."""

import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from detection.imagery.footprints.records import INDEX
from monitor.cli.scenes.earlier import check_past, describe_change, describe_index_comparison, not_alone
from monitor.cli.scenes.local import SiteFile, placing_by_file
from monitor.cli.session import ending_at, show_in_order, warn
from monitor.errors import SlopewardError

EXAMPLE = "Example: slopeward scenes compare ./scene-2026-05-12 ./scene-2026-05-22 --out ./change --json"


def compare(
    scene: Annotated[list[Path], typer.Argument(help="Two or more scenes of one ground, in any order.")],
    model: Annotated[
        str, typer.Option(help="Shipped weights, a .safetensors file; auto: those that fit; index: none.")
    ] = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for rasters, outlines and pictures of each date.")] = None,
    threshold: Annotated[float | None, typer.Option(min=0.0, max=1.0)] = None,
    minimum_area_m2: Annotated[
        float | None,
        typer.Option("--mmu", min=0.0, max=1e12, help="Smallest footprint, true m²; else the model's, else 900."),
    ] = None,
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


def _compare_dates(
    scenes: list[Path], out: Path, model: str, limits: tuple[float | None, float | None], *, match: bool
) -> list[tuple[dict[str, Any], str]]:
    """One answer per date, oldest first: as JSON has it, and in one line for each that read it, network and index."""
    from detection.imagery.change.by_index import add_index_comparison, compare_by_index
    from detection.imagery.change.compare import as_date
    from detection.imagery.change.compare import compare as lay
    from detection.imagery.change.histogram_match import match_scene, write_match
    from detection.imagery.change.records import StoredDate, outline_to_json, record_to_json, remember, vanished_to_json
    from detection.imagery.footprints.detect import detect, inspect_image
    from detection.imagery.scene.scene import read_scene

    read = sorted((read_scene(path) for path in scenes), key=lambda s: (s.acquired_at, str(s.path)))
    dates: list[
        tuple[str, StoredDate]
    ] = []  # by what read each: of several, one that fits no network takes it from none
    answers = []
    for number, one in enumerate(read):
        path, factors = one.path, None
        target = out / f"{number}-{one.acquired_at:%Y%m%dT%H%M%S}"
        if match and number < len(read) - 1:
            path, factors = match_scene(one, read[-1], out / f"{target.name}-matched")
        payload = {
            "scene_path": str(path),
            "weights": model,
            "out_dir": str(target),
            "threshold": limits[0],
            "minimum_area_m2": limits[1],
        }
        result, image_doubts = detect(payload), list[str]()
        if factors is not None:
            write_match(target, factors)
            # what was matched looks like the newest: whether it is like the training, the image says as it came
            doubts, cloudy = inspect_image({**payload, "scene_path": str(one.path), "weights": result["weights"]})
            image_doubts = [f"before it was matched: {doubt}" for doubt in doubts]
            result["doubts"] = list(dict.fromkeys((*result["doubts"], *doubts)))
            result["cloudy"] = [*map(list, dict.fromkeys((*map(tuple, result["cloudy"]), *cloudy)))]
        date = replace(as_date(result, path), came_path=None if factors is None else str(one.path))
        earlier, index_found = [known for _, known in dates], None
        if by_index := result["model"] == INDEX:
            date, found = compare_by_index(date, earlier, target)
            line = describe_change(date, found, by_index=True)
        else:
            found = lay(date, [known for by, known in dates if by == result["model_hash"]], target)
            line = f"{result['model']}: {describe_change(date, found)}"
            if earlier:
                index_found = add_index_comparison(date, found, earlier, target)
                line += f"\n{date.acquired_at:%Y-%m-%d}: {describe_index_comparison(index_found)}"
        polygons = [outline_to_json(p) for p in date.outlines] if by_index else result["polygons"]
        dates.append((result["model_hash"], remember(date, found.changes)))
        measured = found.to_json()
        answer = {
            "scene": str(one.path),
            "acquired_at": result["acquired_at"],
            "model": result["model"],
            "footprints": [{**p, **record_to_json(found.changes[p["polygon_id"]])} for p in polygons],
            "vanished": [vanished_to_json(v) for v in found.vanished],
            "pixels": measured["pixels"],
            "compared": measured["compared"],
            "limit": found.limit,
            "matched": factors,
            "by_index": None if index_found is None else index_found.to_json(),
            "warnings": not_alone(
                dict.fromkeys(
                    (
                        *result["warnings"],
                        *image_doubts,
                        *found.warnings,
                        *(index_found.found.warnings if index_found else ()),
                    )
                )
            ),
            "outputs": {
                **result["outputs"],
                **found.outputs,
                **(
                    {}
                    if index_found is None
                    else {f"index_{name}": file for name, file in index_found.found.outputs.items()}
                ),
            },
        }
        answers.append((answer, line))
    return answers

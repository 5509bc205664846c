"""`slopeward scenes compare`: what changed between two or more dates, offline, without database and site."""

import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from detection.imagery.footprints.records import INDEX
from monitor.cli.scenes.earlier import check_past, not_alone, spell_change
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
        ending_at(NoValidPixelsError), placing_by_file(site),
        tempfile.TemporaryDirectory(prefix="slopeward-compare-") as folder,
    ):  # fmt: skip
        answers = _judge(scene, out or Path(folder), model, (threshold, minimum_area_m2), match=match)
    for answer, line in answers:
        day = answer["acquired_at"][:10]
        warn(f"{day}: {warning}" for warning in answer["warnings"])
        show_in_order(answer, f"{day}: {line}")


def _judge(
    scenes: list[Path], out: Path, model: str, limits: tuple[float | None, float | None], *, match: bool
) -> list[tuple[dict[str, Any], str]]:
    """One answer per date, oldest first: as JSON has it, and in one line."""
    from detection.imagery.change.by_index import compare_by_index
    from detection.imagery.change.compare import as_date
    from detection.imagery.change.compare import compare as lay
    from detection.imagery.change.histogram_match import match_scene, write_match
    from detection.imagery.change.records import KeptDate, remember, spell, spell_outline, spell_vanished
    from detection.imagery.footprints.detect import detect
    from detection.imagery.scene.scene import read_scene

    read = sorted((read_scene(path) for path in scenes), key=lambda s: (s.acquired_at, str(s.path)))
    looked: list[tuple[Path, Path, Any]] = []  # image, folder of its files, factors it was stretched by
    for number, one in enumerate(read):
        path, factors = one.path, None
        target = out / f"{number}-{one.acquired_at:%Y%m%dT%H%M%S}"
        if match and number < len(read) - 1:
            path, factors = match_scene(one, read[-1], out / f"{target.name}-matched")
        looked.append((path, target, factors))

    def detect_all(weights: str) -> list[dict[str, Any]]:
        return [
            detect({
                "scene_path": str(path), "weights": weights, "out_dir": str(target), "threshold": limits[0],
                "minimum_area_m2": limits[1],
            })
            for path, target, _ in looked
        ]  # fmt: skip

    results = detect_all(model)
    if len({one["model_hash"] for one in results}) > 1:
        results = detect_all(INDEX)  # no network fits all dates
    dates: list[KeptDate] = []
    answers = []
    for one, (path, target, factors), result in zip(read, looked, results, strict=True):
        if factors is not None:
            write_match(target, factors)
        date = replace(as_date(result, path), came_path=None if factors is None else str(one.path))
        by_index = result["model"] == INDEX
        date, found = compare_by_index(date, dates, target) if by_index else (date, lay(date, dates, target))
        polygons = [spell_outline(p) for p in date.outlines] if by_index else result["polygons"]
        dates.append(remember(date, found.changes))
        told = found.tell()
        answer = {
            "scene": str(one.path), "acquired_at": result["acquired_at"], "model": result["model"],
            "footprints": [{**p, **spell(found.changes[p["polygon_id"]])} for p in polygons],
            "vanished": [spell_vanished(v) for v in found.vanished], "pixels": told["pixels"],
            "compared": told["compared"], "matched": factors,
            "warnings": not_alone((*result["warnings"], *found.warnings)),
            "outputs": {**result["outputs"], **found.outputs},
        }  # fmt: skip
        answers.append((answer, spell_change(date, found, by_index=by_index)))
    return answers

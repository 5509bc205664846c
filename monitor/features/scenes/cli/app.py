"""`slopeward scenes`: add a scene to the inbox, detect footprints offline, score weights, export."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from detection.geojson import Geometry
from monitor.api.cli import (
    Commands,
    SiteArgument,
    add_acts,
    check_site,
    open_database,
    open_site,
    options,
    print_json,
    print_note,
    print_result,
    require_any,
    use_local_grid,
)
from monitor.api.database import Database
from monitor.api.errors import RefusedError, SlopewardError
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site, scan_sites
from monitor.api.text import Message
from monitor.features.scenes.cli import change, detect, models, review, score
from monitor.features.scenes.cli.arguments import unpacked
from monitor.features.scenes.elsewhere import describe_not_added, find_area, find_elsewhere, find_sites_below

app = Commands(help="Add images and find landslides in them.", no_args_is_help=True)
add_acts(app, "scenes")


@app.command(epilog="Example: slopeward scenes export north-bench > footprints.geojson")
def export(site: SiteArgument) -> None:
    """Print all footprints of a site as GeoJSON.

    With --json, each footprint is a GeoJSON Feature on its own line. Exit 4 if there are none.
    """
    from monitor.api.database import stream_view

    with open_database() as db, db.read() as c:
        rows = list(stream_view(c, "scene_polygons", site=site))
        check_site(c, site, rows)
    require_any(rows, f"no footprint of {site} is kept")
    found = [({k: v for k, v in row.items() if k != "geometry"}, _read_outline(row)) for row in rows]
    features = [{"type": "Feature", "properties": facts, "geometry": geometry} for facts, geometry in found]
    for item in features if options().as_json else [{"type": "FeatureCollection", "features": features}]:
        print_json(item)


def _read_outline(row: Mapping[Any, Any]) -> Geometry:
    if not isinstance(row["geometry"], str):
        raise SlopewardError("scene_polygons.geometry is not text; run slopeward db verify")
    geometry: Geometry = json.loads(row["geometry"])
    return geometry


@app.command(epilog="Example: slopeward scenes add north-bench ./scene-2026-05-12")
def add(
    site: SiteArgument,
    scene: Annotated[
        Path, typer.Argument(exists=True, help="Raster, folder with scene.toml, satellite product, or archive.")
    ],
    files: Annotated[
        bool,
        typer.Option(
            "--files", help="Write picture, masks and vector files now. Default: the service writes them later."
        ),
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Add the scene even if it is outside the area of the site.")
    ] = False,
) -> None:
    """Copy a scene into the inbox of a site and detect landslides on it now.

    A scene is a raster, a folder with scene.toml, a product of a satellite, or an archive of these, which is unpacked.
    An entry of the same name is replaced; if both were taken at the same time, the new one is another version of the
    scene. A scene outside the area of the site is refused (exit 1) unless --anyway is given.
    """
    from monitor.features.scenes.inbox import detect_scene
    from monitor.features.scenes.waiting import FAILED

    service, db, one = open_site(site)
    inbox = Path(service.paths.inbox) / one.id
    with _open(scene, inbox) as content:
        if not anyway:
            _check_area(content, scene.name, service, one)
        target = inbox / content.name
        if not (target.exists() and content.samefile(target)):
            _put(content, target, move=content != scene)
    outcome = detect_scene(db, service, one, target, datetime.now(UTC), wait=True, is_confirmed=anyway)
    print_result({"site": one.id, "scene": scene.name, "said": outcome}, f"{scene.name}: {outcome}")
    is_failed = isinstance(outcome, Message) and outcome.id == FAILED.id
    if files and not _make_files(db, service, one, target):
        print_note(f"{scene.name}: not all of its files could be made: see above")
        raise typer.Exit(1)
    if is_failed:
        raise typer.Exit(1)


def _check_area(content: Path, name: str, service: ServiceConfig, site: Site) -> None:
    """Raise RefusedError if a scene lies outside the area of a site."""
    from detection.imagery.errors import ImageryError
    from detection.imagery.scene.scene import read_scene

    with use_local_grid(site):
        try:
            elsewhere = find_elsewhere(read_scene(content), find_area(site))
        except ImageryError:
            return  # the worker reports the fault
    if elsewhere is not None:
        others = [other for other in scan_sites(service.paths.sites)[0] if other.id != site.id]
        below = find_sites_below(elsewhere.corners, others)
        raise RefusedError(f"{name}: {describe_not_added(site.id, elsewhere.distance_m, below)}")


def _make_files(db: Database, service: ServiceConfig, site: Site, target: Path) -> bool:
    """Make the missing files of the scenes of an entry. Return whether none is missing now."""
    from monitor.features.scenes.files import has_missing_files, make_missing_files
    from monitor.features.scenes.queries.arrivals import load_scenes
    from monitor.features.scenes.rows import make_stored_name

    rows = [row for row in db.run_read(load_scenes, site.id) if row.name == make_stored_name(target)]
    make_missing_files(service, site, rows, datetime.now(UTC), requested=True)
    return not any(map(has_missing_files, rows))


@contextmanager
def _open(scene: Path, inbox: Path) -> Iterator[Path]:
    """Yield the scene, or the unpacked content of an archive. Raise RefusedError for a point cloud."""
    from monitor.features.scenes.inbox import POINT_CLOUD_HINT, POINT_CLOUD_SUFFIXES

    if scene.suffix.lower() in POINT_CLOUD_SUFFIXES:
        raise RefusedError(f"{scene.name}: {POINT_CLOUD_HINT}")
    with unpacked(scene, inbox / f".{scene.name}.unpacked") as content:
        yield content


def _put(scene: Path, target: Path, *, move: bool = False) -> None:
    """Copy or move a scene to a hidden name, then rename it, so that an incomplete scene is never read."""
    hidden = target.with_name(f".{target.name}.part")
    old = target.with_name(f".{target.name}.old")
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in (hidden, old):
        _remove(leftover)
    if move:
        scene.rename(hidden)
    else:
        (shutil.copytree if scene.is_dir() else shutil.copy2)(scene, hidden)
    if target.exists():
        target.rename(old)
    hidden.rename(target)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


app.command(epilog=detect.EPILOG, takes_config=False)(detect.detect)
app.command(epilog=change.EXAMPLE, takes_config=False)(change.compare)
app.command(epilog=models.EXAMPLE, takes_config=False)(models.models)
app.command(epilog=score.EXAMPLE)(score.score)
app.add_typer(review.app, name="review")

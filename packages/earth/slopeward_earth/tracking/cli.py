"""`slopeward scenes track`: how far the ground moved between two images, and into the series of stations."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.api.cli import name_os_actor, session, use_local_grid
from monitor.api.database import Database
from monitor.api.decoders import Pipeline
from monitor.api.errors import SlopewardError
from monitor.api.queries.ingest import FileResult, record_file
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from slopeward_earth.tracking.stations import StationDisplacement, list_image_places, store_vectors

if TYPE_CHECKING:
    from slopeward_earth.tracking.tracking import TrackingResult

EXAMPLE = "Example: slopeward scenes track 20260501.tif 20260601.tif --most 2 --site north-bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackArguments:
    """What `slopeward scenes track` takes."""

    older: Annotated[Path, typer.Argument(help="Older georeferenced raster, such as an orthophoto or a shaded relief.")]
    newer: Annotated[Path, typer.Argument(help="Newer raster of the same kind. Its grid is used.")]
    most: Annotated[
        float, typer.Option(min=0.001, max=10_000.0, help="Largest displacement that is searched, in metres.")
    ] = 2.0
    window: Annotated[int, typer.Option(min=16, max=256, help="Side of the windows that are matched, in pixels.")] = 48
    step: Annotated[int, typer.Option(min=1, max=10_000, help="Distance between windows, in pixels.")] = 24
    band: Annotated[int, typer.Option(min=1, max=65_535, help="Number of the band.")] = 1
    stable: Annotated[Path | None, typer.Option(help="Raster that is not 0 on stable ground.")] = None
    older_at: Annotated[
        str | None, typer.Option(help="Time of OLDER (ISO 8601). Default: from its tags or its name.")
    ] = None
    newer_at: Annotated[
        str | None, typer.Option(help="Time of NEWER (ISO 8601). Default: from its tags or its name.")
    ] = None
    out: Annotated[Path | None, typer.Option(help="Folder for the displacement vectors and the record of the run.")] = (
        None
    )
    site: Annotated[str | None, typer.Option("--site", help="Store the displacement at the stations of this site.")] = (
        None
    )


def track(given: TrackArguments) -> None:
    """Measure the displacement between two images by image correlation, with its error.

    Exit 3 if it was not measured at all stations of the site, 4 if it was measured nowhere.
    """
    from detection.imagery.errors import NoValidPixelsError
    from slopeward_earth.tracking.tracking import TrackingRequest
    from slopeward_earth.tracking.tracking import track as find_vectors

    opened = None if given.site is None else session.open_site(given.site)
    target = None if opened is None else opened[2]
    request = TrackingRequest(
        window_px=given.window,
        step_px=given.step,
        most_m=given.most,
        stable=given.stable,
        band=given.band,
        out_dir=given.out,
        places={} if target is None else list_image_places(target),
        older_at=None if given.older_at is None else session.read_instant("--older-at", given.older_at),
        newer_at=None if given.newer_at is None else session.read_instant("--newer-at", given.newer_at),
    )
    with session.exit_on(NoValidPixelsError), use_local_grid(target):
        found = find_vectors(given.older, given.newer, request, session.make_progress_printer())
    stored = None if opened is None else _store(*opened, found, f"{given.older.name} to {given.newer.name}")
    _show(found, stored)
    if found.lost_places:
        raise typer.Exit(session.EXIT_NOTHING if len(found.lost_places) == len(request.places) else 3)


def _store(service: ServiceConfig, db: Database, site: Site, found: "TrackingResult", name: str) -> FileResult:
    if found.older_at is None or found.newer_at is None:
        raise SlopewardError("when were the images taken? give --older-at and --newer-at")
    now = datetime.now(UTC)
    pipeline = Pipeline(db, {site.id: site}, lambda: datetime.now(UTC), service.limits)
    moved = [
        StationDisplacement(v.name, (v.east_m * 1e3, v.north_m * 1e3), (v.east_error_m * 1e3, v.north_error_m * 1e3))
        for v in found.vectors
        if v.name
    ]
    stored = store_vectors(pipeline, site, moved, found.older_at, found.newer_at, name, now)
    record_file(db, name_os_actor(), stored, now)
    return stored


def _show(found: "TrackingResult", stored: FileResult | None) -> None:
    session.warn(found.warnings)
    for place, why in found.lost_places.items():
        session.print_note(f"{place}: no vector ({why})")
    if session.print_if_json({**asdict(found), "stored": None if stored is None else stored.stored}):
        return
    moving = [v for v in found.vectors if v.significant]
    longest = max((1e3 * (v.east_m**2 + v.north_m**2) ** 0.5 for v in moving), default=0.0)
    print(
        f"{len(found.vectors)} vectors of {found.asked} windows, error {found.error_m * 1e3:.1f} mm along one axis "
        f"(raised {found.raised:.1f} times to what {found.stable} windows of stable ground show)"
    )
    east, north = (1e3 * one for one in found.shift_m)
    print(f"the newer image lay {east:+.1f} mm east and {north:+.1f} mm north of the older one, which is taken away")
    print(f"{len(moving)} moved significantly (95 %), at most {longest:.0f} mm")
    for v in found.vectors:
        if v.name:
            print(
                f"{v.name}: {v.east_m * 1e3:+.1f} ± {v.east_error_m * 1e3:.1f} mm east, {v.north_m * 1e3:+.1f} ± "
                f"{v.north_error_m * 1e3:.1f} mm north"
            )
    if stored is not None:
        print(f"{stored.stored} readings stored, {stored.duplicates} known before")

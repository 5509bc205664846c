"""`slopeward scenes velocity`: a map of velocities becomes moving zones, readings of stations, a layer of the map."""

import json
import tempfile
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from detection.whole_file import write_json
from monitor.api.cli import (
    SmallestAreaOption,
    exit_on,
    name_os_actor,
    open_site,
    print_if_json,
    print_note,
    use_local_grid,
    warn,
)
from monitor.api.database import Database
from monitor.api.decoders import Pipeline
from monitor.api.errors import SlopewardError
from monitor.api.queries.ingest import record_file
from monitor.api.settings import ServiceConfig
from monitor.api.sites import UNITS, Site, Station
from monitor.api.text import format_iso
from slopeward_earth.insar.stations import DAYS_PER_YEAR, list_mapped_ground, store_velocities

if TYPE_CHECKING:
    from detection.imagery.footprints.records import MeasuredPlace
    from slopeward_earth.insar.velocity import VelocityMap

EXAMPLE = (
    "Example: slopeward scenes velocity los.tif --unit mm/year --component los-towards --until 2026-06-30 "
    "--site north-bench"
)
SHOWN: Final = 12
ZONES_MOST: Final = 500  # on the map of the page, the fastest


@dataclass(frozen=True, slots=True, kw_only=True)
class VelocityArguments:
    """What `slopeward scenes velocity` takes."""

    file: Annotated[
        list[Path], typer.Argument(help="One GeoTIFF, three (east, north, up), or points as CSV or GeoPackage.")
    ]
    unit: Annotated[str | None, typer.Option(help="mm/year, mm/day, cm/year or m/year. Default: from the file.")] = None
    component: Annotated[
        Literal["los-towards", "los-away", "east", "north", "up", "enu"] | None,
        typer.Option(help="Meaning of a positive value. Default: from the names or tags of the bands."),
    ] = None
    sigma_file: Annotated[
        list[Path] | None, typer.Option(help="File of standard errors; one per component, if there are three.")
    ] = None
    sigma: Annotated[
        float | None, typer.Option(min=1e-9, max=1e9, help="Standard error of all values, in the unit of the map.")
    ] = None
    k_sigma: Annotated[
        float,
        typer.Option(min=0.1, max=100.0, help="A zone moves if its velocity exceeds this many standard deviations."),
    ] = 3.0
    minimum_area_m2: SmallestAreaOption = 10_000.0
    cell: Annotated[
        float, typer.Option(min=0.1, max=100_000.0, help="Side of the cells into which points are averaged, in metres.")
    ] = 50.0
    fill: Annotated[
        str | None, typer.Option(help="Velocity that marks points without a value, or none. Default: detected.")
    ] = None
    until: Annotated[str | None, typer.Option(help="End of the period of the map; needed with --site.")] = None
    out: Annotated[Path | None, typer.Option(help="Folder for zones, picture and record of the run.")] = None
    site: Annotated[
        str | None,
        typer.Option("--site", help="Store the velocities at the stations of this site, and show the map on its page."),
    ] = None


def velocity(given: VelocityArguments) -> None:
    """Find the moving zones of a velocity map, with mean, 95th percentile and error.

    Exit 3 if the map has no value at some stations of the site, 4 if it has no value at all.
    """
    from detection.imagery.errors import NoValidPixelsError
    from slopeward_earth.insar.velocity import VelocityRequest, measure_velocity

    ends_at = _read_end(given.until, given.site)
    opened = None if given.site is None else open_site(given.site)
    target = None if opened is None else opened[2]
    grounds = [] if target is None else list_mapped_ground(target)
    with (
        exit_on(NoValidPixelsError),
        use_local_grid(target),
        tempfile.TemporaryDirectory(prefix="slopeward-points-") as folder,
    ):
        files, errors, warnings = _open(given.file, tuple(given.sigma_file or ()), given.cell, given.fill, Path(folder))
        factor = _find_factor(given.file[0].name, files[0], given.unit)
        others = {path: _find_factor(path.name, path, given.unit, factor) for path in (*files[1:], *errors)}
        request = VelocityRequest(
            files=files,
            component=given.component,
            factor=factor,
            factors=others,
            sigma_files=errors,
            sigma=given.sigma,
            k_sigma=given.k_sigma,
            minimum_area_m2=given.minimum_area_m2,
            out_dir=given.out,
            places=() if target is None else tuple(_find_place(target, ground.station) for ground in grounds),
            bounds={ground.station.id: ground.over_mm_per_day * DAYS_PER_YEAR for ground in grounds},
        )
        found = measure_velocity(request)
    found = replace(found, warnings=(*warnings, *found.warnings))
    stored = None
    if opened is not None and ends_at is not None:
        stored = _store(*opened, found, ends_at, given.file[0].name)
    _show(found, stored)
    if found.lost_places:
        raise typer.Exit(3)


def _read_end(until: str | None, site: str | None) -> datetime | None:
    if site is None:
        return None
    try:
        at = datetime.fromisoformat(until or "")
    except ValueError:
        raise typer.BadParameter("--site needs --until, the last day or instant that the map shows") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _open(
    files: list[Path], errors: tuple[Path, ...], cell_m: float, fill: str | None, folder: Path
) -> tuple[tuple[Path, ...], tuple[Path, ...], list[str]]:
    """The rasters to be read: points are brought onto one first."""
    from slopeward_earth.insar.velocity_points import grid_points

    if files[0].suffix.lower() != ".csv":
        if fill is not None:
            raise SlopewardError(f"{files[0].name}: --fill belongs to points; a raster has nodata")
        return tuple(files), errors, []
    if len(files) > 1:
        raise SlopewardError(f"{files[0].name}: points come in one file")
    gridded = grid_points(files[0], cell_m, folder, fill)
    return (gridded.velocity,), errors or ((gridded.sigma,) if gridded.sigma else ()), list(gridded.warnings)


def _find_place(site: Site, station: Station) -> "MeasuredPlace":
    from detection.imagery.footprints.records import Circle, MeasuredPlace

    if station.outline:
        ring = [[lon, lat] for lat, lon in (*station.outline, station.outline[0])]
        return MeasuredPlace(station.id, {"type": "Polygon", "coordinates": [ring]})
    return MeasuredPlace(station.id, Circle(*site.places[station.id], site.scenes.near_m))


def _find_factor(name: str, raster: Path, stated: str | None, silent: float | None = None) -> float:
    """By how much a value is multiplied to be mm/year; the unit is said by the file or a person, never guessed.

    A file that goes with another and says no unit has that one's factor, `silent`.
    """
    from detection.imagery.raster.raster import inspect
    from monitor.api.queries.ingest import choose_unit, read_unit

    facts = inspect(raster)
    tags = {key.upper(): value for key, value in facts.tags.items()}
    units = {text for text in facts.units if text} or {tags[key] for key in ("UNITS", "UNIT") if key in tags}
    if len(units) > 1:
        raise SlopewardError(f"{name}: bands in different units: {', '.join(sorted(units))}")
    if not units and silent is not None:
        return silent
    unit = choose_unit(units.pop() if units else "", None if stated is None else read_unit(stated), name)
    canonical, factor, _ = UNITS.get(unit, ("", 0.0, 0.0))
    if canonical != "mm/day":
        raise SlopewardError(f"{name}: {unit!r} is no unit of velocity; expected mm/year, mm/day or m/year")
    return factor * DAYS_PER_YEAR


def _store(
    service: ServiceConfig, db: Database, site: Site, found: "VelocityMap", until: datetime, name: str
) -> dict[str, int]:
    from detection.imagery.raster.geojson import list_features

    now = datetime.now(UTC)
    pipeline = Pipeline(db, {site.id: site}, lambda: datetime.now(UTC), service.limits)
    path = service.paths.velocity_zones_path(site.id)
    before = _find_component(path) if list_mapped_ground(site) else None
    if before not in {None, found.component}:
        raise SlopewardError(f"the readings of the stations are of {before}, this map is of {found.component}")
    result = store_velocities(pipeline, site, found.places, until, found.component, name, now)
    record_file(db, name_os_actor(), result, now)
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = list_features(found.zones)[:ZONES_MOST]
    component = found.component if found.places else before
    write_json(path, {"name": name, "component": component, "until": format_iso(until), "features": shown})
    return {"readings": result.stored, "known": result.duplicates, "zones": len(shown)}


def _find_component(path: Path) -> str | None:
    """Of what the stations have readings from maps: another component would give them another sign; None: no reading.

    Raises SlopewardError: nobody can say it.
    """
    try:
        found: str | None = json.loads(path.read_text(encoding="utf-8"))["component"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise SlopewardError(f"{path} cannot be read, so the component of the map before is not known") from None
    return found


def _show(found: "VelocityMap", stored: dict[str, int] | None) -> None:
    warn(found.warnings)
    for name, why in found.lost_places.items():
        print_note(f"{name}: no velocity ({why})")
    if print_if_json({**asdict(found), "stored": stored}):
        return
    noise = ", ".join(f"{one:.1f} mm/year" for one in found.noise_mm_per_year)
    print(
        f"{len(found.zones)} moving zones; the whole map scatters by {noise}; {found.valid_share:.0%} of it has values"
    )
    for zone in found.zones[:SHOWN]:
        way = "" if zone.azimuth_deg is None else f", toward {zone.azimuth_deg:.0f}°, down {zone.down_deg:.0f}°"
        print(
            f"{zone.kind}: mean {zone.mean_mm_per_year:.1f} mm/year, 95 % {zone.p95_mm_per_year:.1f} mm/year, error "
            f"{zone.sigma_mm_per_year:.1f} mm/year, {zone.area_m2:,.0f} m²{way}"
        )
    for one in found.places:
        print(
            f"{one.name}: {one.speed:+.1f} mm/year ± {one.speed_sigma:.1f} mm/year; of {one.pixels:,} pixels 95 % "
            f"up to {one.p95:.1f} mm/year, {one.moving_share:.1%} moving"
        )
    if stored is not None:
        print(f"{stored['readings']} readings stored, {stored['known']} known before; {stored['zones']} zones mapped")

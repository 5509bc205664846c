"""`slopeward scenes clouds`: point clouds become rasters of heights, or are compared as they are."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from monitor.api.cli import Commands, exit_on, make_progress_printer, print_if_json, warn
from monitor.api.errors import SlopewardError
from slopeward_earth.clouds.header import NoPointsError

app = Commands(help="Grid and compare point clouds (LAS, LAZ).", no_args_is_help=True)
SUFFIXES: Final = (".las", ".laz")
Crs = Annotated[
    str | None, typer.Option("--crs", help="Coordinate system of files that do not contain it, such as EPSG:32632.")
]
HeightUnit = Annotated[
    str | None, typer.Option(help="Unit of heights of files that do not contain it: m, ft or us-ft.")
]
Ground = Annotated[
    str, typer.Option(help="Ground points: class 2, cloth or all points; auto: class 2 if there is any, else cloth.")
]


@app.command(
    epilog="Example: slopeward scenes clouds grid 2026-05-12.laz --cell 0.5 --out 2026-05-12.tif", takes_config=False
)
def grid(
    clouds: Annotated[list[Path], typer.Argument(help="LAS or LAZ files of one date, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="GeoTIFF with height, its error, density and spread.")],
    cell: Annotated[float, typer.Option("--cell", min=0.01, max=1000.0, help="Side of a cell in metres.")] = 0.5,
    like: Annotated[Path | None, typer.Option(help="Raster whose grid is used, such as that of another date.")] = None,
    ground: Ground = "auto",
    crs: Crs = None,
    height_unit: HeightUnit = None,
) -> None:
    """Compute a raster of ground heights from point clouds, with the error of each cell.

    `slopeward scenes dod` subtracts two such rasters.
    """
    from slopeward_earth.clouds.grid import CloudGridRequest, grid_clouds
    from slopeward_earth.clouds.header import read_header

    request = CloudGridRequest(cell_m=cell, ground=ground, crs=crs, height_unit=height_unit, like=like)
    with exit_on(NoPointsError):
        found = grid_clouds(files := _list_clouds(clouds), out, request, make_progress_printer())
    warn(found.warnings)
    if print_if_json(asdict(found)):
        return
    held = sum(read_header(file).points for file in files)
    left_out = f", {held - found.points:,} outside or noise" if held > found.points else ""
    print(
        f"{out}: {found.width} x {found.height} cells of {found.cell_m:g} m, {found.covered_share:.0%} with a height; "
        f"{found.ground_points:,} ground points of {held:,}{left_out} ({found.ground_rule})"
    )
    print(
        f"median of the cells: {round(found.points_per_m2, 1)} points/m², spread {found.spread_m:.3f} m, error of "
        f"heights {found.sigma_m:.3f} m"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudsArguments:
    """What `slopeward scenes clouds compare` takes."""

    older: Annotated[Path, typer.Argument(help="LAS or LAZ of the earlier date, or a folder of them.")]
    newer: Annotated[Path, typer.Argument(help="LAS or LAZ of the later date, or a folder of them.")]
    spacing: Annotated[
        float, typer.Option(min=0.02, max=1000.0, help="Distance between measured places in metres.")
    ] = 1.0
    normal: Annotated[
        float,
        typer.Option(min=0.02, max=1000.0, help="Radius of the points from which a normal is computed, in metres."),
    ] = 1.5
    radius: Annotated[
        float, typer.Option(min=0.01, max=1000.0, help="Radius of the cylinder along the normal, in metres.")
    ] = 0.75
    depth: Annotated[
        float, typer.Option(min=0.02, max=1000.0, help="Length of the cylinder in each direction, in metres.")
    ] = 5.0
    stable: Annotated[Path | None, typer.Option(help="Raster that is not 0 on stable ground.")] = None
    registration_m: Annotated[
        float | None,
        typer.Option(min=0.0, max=100.0, help="Registration error in metres. Default: computed on stable ground."),
    ] = None
    outward: Annotated[
        float | None, typer.Option(min=0.0, max=360.0, help="Azimuth of the outward direction of a wall, in degrees.")
    ] = None
    zones: Annotated[Path | None, typer.Option(help="GeoJSON of areas with names; the result has totals for each.")] = (
        None
    )
    minimum_area_m2: Annotated[float, typer.Option("--mmu", min=0.0, max=1e9, help="Smallest zone in m².")] = 10.0
    out: Annotated[Path | None, typer.Option(help="Folder for raster, points, zones and record of the run.")] = None
    ground: Ground = "auto"
    crs: Crs = None
    height_unit: HeightUnit = None


@app.command(
    epilog="Example: slopeward scenes clouds compare 2025.laz 2026.laz --spacing 0.5 --radius 0.5 --out moved",
    takes_config=False,
)
def compare(given: CloudsArguments) -> None:
    """Measure distances between two point clouds (M3C2) and where they are significant at 95 %.

    Exit 4 if the clouds have no ground in common.
    """
    from slopeward_earth.clouds.distance import CloudDistanceRequest, compare_clouds

    request = CloudDistanceRequest(
        spacing_m=given.spacing,
        normal_m=given.normal,
        radius_m=given.radius,
        depth_m=given.depth,
        ground=given.ground,
        stable=given.stable,
        registration_m=given.registration_m,
        minimum_area_m2=given.minimum_area_m2,
        places=given.zones,
        outward_deg=given.outward,
        crs=given.crs,
        height_unit=given.height_unit,
        out_dir=given.out,
    )
    with exit_on(NoPointsError):
        clouds = _list_clouds([given.older]), _list_clouds([given.newer])
        found = compare_clouds(*clouds, request, make_progress_printer())
    warn(found.warnings)
    if print_if_json(asdict(found)):
        return
    east, north, up = found.shift_m
    print(
        f"{found.places:,} places of {found.asked:,}; the newer cloud lay {east:+.3f} m east, {north:+.3f} m north and "
        f"{up:+.3f} m up of the older one, which is taken away"
    )
    print(
        f"level of detection {found.level_of_detection_m:.3f} m (95 %, median; registration "
        f"{found.registration_m:.3f} m, {found.registration_from}); {found.significant_share:.1%} significant"
    )
    for zone in found.zones:
        print(
            f"{zone.kind}{' ' + zone.name if zone.name else ''}: {zone.area_m2:,.0f} m², mean {zone.mean_m:+.3f} ± "
            f"{zone.mean_error_m:.3f} m, at most {zone.most_m:+.3f} m, {zone.significant_share:.0%} significant"
        )


def _list_clouds(paths: list[Path]) -> list[Path]:
    found = []
    for path in paths:
        inside = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise SlopewardError(f"{path}: no file that ends in {' or '.join(SUFFIXES)}")
        found += inside
    return found

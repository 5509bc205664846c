"""A raster of heights with their error from point clouds of any size, square by square."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from detection.imagery.raster.grid import Grid
from detection.imagery.raster.raster import VERTICAL_TAG, read_grid, write_cog, writing_geotiff
from detection.whole_file import replacing, write_json
from slopeward_earth.clouds.gridding import (
    BANDS,
    MARGIN,
    RIM_M,
    UNITS,
    Rule,
    choose_rule,
    find_ground,
    make_heights,
    usual_spread,
)
from slopeward_earth.clouds.header import CloudError, NoPointsError
from slopeward_earth.clouds.spool import (
    CELLS_MOST,
    Points,
    Progress,
    Spool,
    cell_of,
    check_metres,
    find_place,
    plan_grid,
    spooling,
)

NODATA = -9999.0
# Squares that say how far points usually scatter.
SAMPLED_SQUARES = 9
# Cells of a square that the medians of the record are taken from.
SAMPLED_CELLS = 10_000


@dataclass(frozen=True, slots=True)
class CloudGridRequest:
    """How clouds become a raster."""

    cell_m: float = 0.5  # side of a cell, metres on the ground
    ground: str = "auto"  # `auto`, `class`, `cloth` or `all`
    crs: str | None = None  # of files that do not say theirs
    height_unit: str | None = None  # `m`, `ft` or `us-ft`, of files that do not say theirs
    like: Path | None = None  # raster whose grid is taken in place of `cell_m`


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudGrid:
    """What became of clouds."""

    points: int  # on the grid, without noise
    ground_points: int  # of them that lie on the ground
    ground_rule: Rule  # how that is known
    cell_m: float  # side of a cell
    width: int  # columns
    height: int  # rows
    crs: str  # of the grid
    vertical: str  # the system of heights; empty where nobody says it
    covered_share: float  # cells with a height
    points_per_m2: float  # ground points, median of the cells with a height
    sigma_m: float  # median error of a height
    spread_m: float  # median scatter of points about the ground
    warnings: tuple[str, ...]  # one sentence each
    outputs: dict[str, str] = field(default_factory=dict)  # name to path


def grid_clouds(
    files: Sequence[Path], out: Path, request: CloudGridRequest, progress: Progress = lambda *_: None
) -> CloudGrid:
    """Write a GeoTIFF of height, error, density and spread of one date; `scenes dod` reads its errors.

    Raises CloudError: a file cannot be used.
    """
    place = find_place(files, request.crs, request.height_unit)
    grid = plan_grid(files, place, request.cell_m) if request.like is None else _take_grid(request.like)
    cell_m = cell_of(grid)
    with spooling(files, grid, out.parent, request.crs, request.height_unit, progress) as spool:
        rule = choose_rule(request.ground, is_classified=spool.is_classified)
        squares = spool.squares()
        # how far points usually scatter about the ground
        spreads = [
            usual_spread(read_ground(spool, square, rule, cell_m, 1))
            for square in squares[:: -(-len(squares) // SAMPLED_SQUARES)]
        ]
        known = [one for one in spreads if np.isfinite(one)]
        usual_m = float(np.median(known)) if known else cell_m
        loose = spool.folder / "heights.tif"
        samples, used, covered = [], 0, 0
        with writing_geotiff(loose, grid, "float32", nodata=NODATA, count=len(BANDS)) as write:
            for number, square in enumerate(squares, start=1):
                corner = square[0] * spool.side, square[1] * spool.side
                shape = min(spool.side, grid.height - corner[1]), min(spool.side, grid.width - corner[0])
                ground = read_ground(spool, square, rule, cell_m, MARGIN + 1)
                bands = make_heights(ground, corner, shape, usual_m, spool.step_m)
                used += int(bands[2].sum())
                bands[2] /= cell_m**2
                held = np.isfinite(bands[0])
                covered += (count := int(held.sum()))
                samples.append(bands[1:, held][:, :: max(1, count // SAMPLED_CELLS)])
                write(np.where(held, bands, np.float32(NODATA)), *corner)
                progress("heights", number / len(squares))
        if not covered:
            raise NoPointsError(f"{files[0]}: no ground was found; look at it with --ground all")
        tags = {VERTICAL_TAG: place.vertical} if place.vertical else {}
        with replacing(out) as partial:
            write_cog(
                loose,
                partial,
                overviews="average",
                tags=tags,
                descriptions=BANDS,
                units=UNITS,
                vertical_wkt=place.vertical_wkt,
            )
        sigma_m, per_m2, spread_m = np.median(np.concatenate(samples, axis=1), axis=1)
        found = CloudGrid(
            points=spool.points,
            ground_points=used,
            ground_rule=rule,
            cell_m=round(cell_m, 6),
            width=grid.width,
            height=grid.height,
            crs=grid.crs_name,
            vertical=place.vertical,
            covered_share=round(covered / (grid.width * grid.height), 6),
            points_per_m2=round(float(per_m2), 3),
            sigma_m=round(float(sigma_m), 5),
            spread_m=round(float(spread_m), 5),
            warnings=tuple(list_warnings(spool, rule)),
            outputs={"heights": str(out), "run": str(out.with_suffix(".json"))},
        )
    write_json(out.with_suffix(".json"), asdict(found))
    return found


def _take_grid(like: Path) -> Grid:
    grid = read_grid(like)
    if not grid.crs.is_projected or grid.transform.b or grid.transform.d:
        raise CloudError(f"{like}: in degrees, or turned; a grid for heights is projected, with north up")
    if grid.width * grid.height > CELLS_MOST:
        raise CloudError(f"{like}: {grid.width:,} x {grid.height:,} cells are too many")
    check_metres(like, grid)
    return grid


def list_warnings(spool: Spool, rule: Rule) -> list[str]:
    """What one must know of how a cloud was read, one sentence each."""
    found = []
    if spool.thinned:
        found.append(f"{len(spool.thinned)} squares hold too many points: of those every n-th was used")
    if rule == "cloth":
        found.append("the cloud is not classified: ground was found by a cloth; what grows below 0.5 m is in it")
    return found


def read_ground(spool: Spool, square: tuple[int, int], rule: Rule, cell_m: float, halo: float) -> Points:
    """Return the ground of a square and around it; the cloth is laid over a wider part."""
    rim = RIM_M / cell_m if rule == "cloth" else 0.0
    points, kind = spool.read(square, halo + rim)
    return points[find_ground(points, kind, rule, cell_m)]

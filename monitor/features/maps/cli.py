"""`slopeward sites map`: add shaded relief or map tiles to the maps of the page."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from detection.imagery.tiles.records import ReliefRequest, Tiles, TilesRequest
from monitor.api.cli import Commands, SiteArgument, pick_site, print_result, read_service
from monitor.api.errors import NotFoundError, RefusedError
from monitor.api.text import convert_reason
from monitor.api.worker import WorkerTask, run_in_worker

app = Commands(no_args_is_help=True, help=__doc__)
COPY_TILES: WorkerTask[TilesRequest, Tiles] = WorkerTask(
    "detection.imagery.tiles.copying:run_copy_request", TilesRequest, Tiles
)
DRAW_RELIEF: WorkerTask[ReliefRequest, Tiles] = WorkerTask(
    "detection.imagery.tiles.relief:make_relief", ReliefRequest, Tiles
)


@app.command("relief")
def relief(
    site: SiteArgument,
    dem: Annotated[Path, typer.Argument(metavar="DEM", help="Heights in metres: GeoTIFF or JPEG 2000, any grid")],
) -> None:
    """Draw the shaded relief of a site from an elevation model. It replaces the earlier relief of the site.

    Example: slopeward sites map relief north-bench dem.tif
    """
    service = read_service()
    declared = pick_site(service, site)
    _require_file(dem)
    out = _prepare_folder(service.paths.relief_path(declared.id))
    request = ReliefRequest(dem.absolute(), out, *declared.scenes.placed)
    # The worker may read the whole folder, because JPEG 2000 has nodata and scale in a second file.
    tiles_of_relief = run_in_worker(
        service.compute, DRAW_RELIEF, request, reads=[dem.absolute().parent], writes=[out.parent]
    )
    _print_tiles(out, tiles_of_relief)


@app.command("tiles")
def tiles(file: Annotated[Path, typer.Argument(metavar="FILE", help="PMTiles 3")]) -> None:
    """Copy a file of map tiles into the folder that `[map] tiles` in the service file names.

    Example: slopeward sites map tiles canton.pmtiles
    """
    service = read_service()
    if not service.map.tiles:
        raise RefusedError('[map] tiles is not set; add [map] tiles = "tiles" to the service file')
    _require_file(file)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-._")[:70] or "tiles"
    out = _prepare_folder(Path(service.map.tiles) / f"{name}.pmtiles")
    if out.exists() and out.samefile(file):
        raise RefusedError(f"{file} is already in that folder")
    request = TilesRequest(file.absolute(), out)
    _print_tiles(out, run_in_worker(service.compute, COPY_TILES, request, reads=[request.source], writes=[out.parent]))


def _require_file(file: Path) -> None:
    if not file.is_file():
        raise NotFoundError(f"{file}: no such file")


def _prepare_folder(file: Path) -> Path:
    """Create the folder of a file. Return the absolute path of the file."""
    file.absolute().parent.mkdir(parents=True, exist_ok=True)
    return file.absolute()


def _print_tiles(out: Path, result: Tiles) -> None:
    if result.error:
        raise RefusedError(convert_reason(result.error))
    facts = {"file": str(out), **asdict(result), "bytes": out.stat().st_size}
    del facts["error"]
    print_result(facts, f"{out}: {result.tiles} tiles ({result.kind}), zooms {result.zooms[0]} to {result.zooms[1]}")

"""Tiles of heights become one raster below a scene: no seam, no mask among them, and every hole stays one."""

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine

from detection.imagery.errors import CoverageError, NotARasterError, TooLargeError, TruncatedRasterError
from detection.imagery.raster import height_tiles
from detection.imagery.raster.grid import LONLAT, Grid, apply_affine, grid_around
from detection.imagery.raster.height_tiles import join_tiles
from detection.imagery.raster.raster import VERTICAL_TAG, write_geotiff
from detection.imagery.raster.terrain import open_terrain

LON, LAT = 141.95, 42.0  # on the corner of four squares of a degree, nearly: the seam goes through the scene
SCENE = grid_around(LON, LAT, 90, 10.0)


def height_at(lon, lat):
    """A slope of one in two to the east and some waves, metres."""
    x = (lon - LON) * 111_320 * np.cos(np.radians(lat))
    y = (lat - LAT) * 111_320
    return 500 + 0.5 * x + 20 * np.sin(y / 300)


def write_tile(path, grid, change=None, **more):
    columns, rows = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
    x, y = grid.to_crs(columns, rows)
    lon, lat = pyproj.Transformer.from_crs(grid.crs, 4326, always_xy=True).transform(x, y)
    height = height_at(lon, lat).astype(np.float32)
    if change:
        change(height)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_geotiff(path, height[None], grid, **more)
    return path


def degrees(west, north, step_x=1 / 3600, step_y=1 / 3600, size=(200, 200)):
    return Grid(Affine(step_x, 0, west, 0, -step_y, north), LONLAT.to_wkt(), *size)


def write_copernicus(folder, *, coarse_north=False):
    """Two tiles that meet at the latitude of the scene, with what comes beside them, and one far away."""
    north = "Copernicus_DSM_COG_10_N42_00_E141_00_DEM"
    size, step = ((134, 200), 1.5 / 3600) if coarse_north else ((200, 200), 1 / 3600)
    write_tile(folder / north / f"{north}.tif", degrees(LON - 0.03, LAT + 200 / 3600, step, size=size))
    south = "Copernicus_DSM_COG_10_N41_00_E141_00_DEM"
    write_tile(folder / south / f"{south}.tif", degrees(LON - 0.03, LAT))
    beside = folder / north / "AUXFILES"
    beside.mkdir()
    write_geotiff(beside / f"{north[:-3]}HEM.tif", np.full((1, 200, 200), 1, np.float32), degrees(LON - 0.03, LAT))
    write_geotiff(beside / "water.tif", np.full((1, 200, 200), 1, np.uint8), degrees(LON - 0.03, LAT))
    far = "Copernicus_DSM_COG_10_S10_00_W060_00_DEM"
    write_tile(folder / far / f"{far}.tif", degrees(-60, -9))
    return folder


def read(path):
    with rasterio.open(path) as source:
        return source.read(1, masked=True), source.transform, source.crs


def check_heights(path, most_m):
    """Every known height is that of the ground; returns how many are known."""
    heights, transform, crs = read(path)
    rows, columns = np.nonzero(~np.ma.getmaskarray(heights))
    x, y = apply_affine(transform, columns + 0.5, rows + 0.5)
    lon, lat = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    assert np.abs(heights[rows, columns] - height_at(lon, lat)).max() < most_m
    return len(rows)


def test_tiles_of_one_grid_are_joined_bit_for_bit(tmp_path):
    folder = write_copernicus(tmp_path / "dem")
    joined = join_tiles(folder, SCENE, tmp_path / "out.tif")
    assert [path.name[22:29] for path in joined.tiles] == ["N41_00_", "N42_00_"]
    assert joined.notes == ()
    check_heights(tmp_path / "out.tif", 1e-3)
    heights, transform, _ = read(tmp_path / "out.tif")
    assert not heights.mask.any()
    with rasterio.open(joined.tiles[0]) as south:
        column, row = (round(one) for one in apply_affine(~transform, south.transform.c, south.transform.f))
        own = south.read(1)[: heights.shape[0] - row, -column : heights.shape[1] - column]
        assert np.array_equal(heights.data[row:], own)
    with open_terrain(tmp_path / "out.tif", SCENE, tmp_path) as terrain:
        fields, known = terrain.read(0, 0, 90, 90)
    assert known.all()
    # 26.6 degrees to the east, nearly; a seam would be a wall
    assert 26 < fields["slope"].min() < fields["slope"].max() < 29


@pytest.mark.parametrize("kind", ["coarser to the north", "another system", "a model of one metre in a part"])
def test_tiles_of_several_grids_are_joined_without_a_wall(tmp_path, kind):
    folder = write_copernicus(tmp_path / "dem", coarse_north=kind == "coarser to the north")
    if kind == "another system":
        north = next(folder.glob("*N42*/*.tif"))
        north.unlink()
        x, y = pyproj.Transformer.from_crs(4326, 32654, always_xy=True).transform(LON, LAT)
        grid = Grid(Affine(25, 0, x - 2000, 0, -25, y + 3000), pyproj.CRS.from_epsg(32654).to_wkt(), 200, 121)
        write_tile(north, grid)
    if kind.startswith("a model"):
        x, y = pyproj.Transformer.from_crs(4326, 32654, always_xy=True).transform(LON, LAT)
        grid = Grid(Affine(5, 0, x - 200, 0, -5, y + 200), pyproj.CRS.from_epsg(32654).to_wkt(), 80, 80)
        write_tile(folder / "z-lidar.tif", grid)
    joined = join_tiles(folder, SCENE, tmp_path / "out.tif")
    assert len(joined.tiles) == (3 if kind.startswith("a model") else 2)
    if kind.startswith("a model"):
        assert joined.tiles[0].name == "z-lidar.tif"  # the finest comes first
    check_heights(tmp_path / "out.tif", 8.0)  # half a coarse pixel at the outer border is 7 m of this slope
    with open_terrain(tmp_path / "out.tif", SCENE, tmp_path) as terrain:
        fields, known = terrain.read(0, 0, 90, 90)
    assert known.all()
    assert 25 < fields["slope"].min() < fields["slope"].max() < 30


def test_holes_stay_holes_and_what_overlaps_fills_them(tmp_path):
    def hollow(height):
        height[50:150, 50:150] = -32767

    folder = tmp_path / "dem"
    write_tile(folder / "a.tif", degrees(LON - 0.03, LAT + 100 / 3600), hollow, nodata=-32767)
    join_tiles(folder, SCENE, tmp_path / "out.tif")
    heights, *_ = read(tmp_path / "out.tif")
    assert heights.mask.any()
    check_heights(tmp_path / "out.tif", 1e-3)
    write_tile(folder / "b.tif", degrees(LON - 0.03, LAT + 100 / 3600))
    assert len(join_tiles(folder, SCENE, tmp_path / "out.tif").tiles) == 2
    assert not read(tmp_path / "out.tif")[0].mask.any()


def test_what_cannot_be_used_is_said_in_one_line(tmp_path, monkeypatch):
    folder = tmp_path / "dem"
    folder.mkdir()
    with pytest.raises(CoverageError, match=r"no tile of heights lies on its ground$"):
        join_tiles(folder, SCENE, tmp_path / "out.tif")
    with pytest.raises(CoverageError, match="no such file"):
        join_tiles(tmp_path / "gone", SCENE, tmp_path / "out.tif")
    (folder / "page.tif").write_text("<html>")
    tile = write_tile(folder / "a.tif", degrees(LON - 0.03, LAT + 100 / 3600))
    assert "page.tif: an HTML page" in join_tiles(folder, SCENE, tmp_path / "out.tif").notes[0]
    with rasterio.open(tile, "r+") as source:
        source.update_tags(**{VERTICAL_TAG: "EGM2008 height"})
    write_tile(folder / "b.tif", degrees(LON - 0.03, LAT + 100 / 3600))
    assert len(join_tiles(folder, SCENE, tmp_path / "out.tif").tiles) == 2
    with rasterio.open(folder / "b.tif", "r+") as source:
        source.update_tags(**{VERTICAL_TAG: "ellipsoid"})
    with pytest.raises(NotARasterError, match="several systems"):
        join_tiles(folder, SCENE, tmp_path / "out.tif")
    (folder / "b.tif").unlink()
    monkeypatch.setattr(height_tiles, "MOST_FILES", 1)
    with pytest.raises(TooLargeError, match="name the folder of your region"):
        join_tiles(folder, SCENE, tmp_path / "out.tif")
    content = tile.read_bytes()
    tile.write_bytes(content[:20_000] + bytes(500) + content[20_500:])
    (folder / "page.tif").unlink()
    with pytest.raises(TruncatedRasterError):
        join_tiles(folder, SCENE, tmp_path / "out.tif")
    assert not list(tmp_path.glob("*.part*"))

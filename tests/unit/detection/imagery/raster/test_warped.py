"""A raster that is warped or packed is what the plain way gives, or an error; fills are told from values."""

import resource
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio._env
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import ColorInterp

from detection.imagery.errors import OutputError
from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.raster.raster import is_cog, pack_cog, write_geotiff
from detection.imagery.raster.reading import warped as module
from detection.imagery.raster.reading.fills import NUMBERS, ValueStatistics, is_fill
from detection.imagery.raster.untrusted import open_raster
from detection.imagery.scene.reader import BandReader, ReaderOptions
from tests.data.surveys.rasters import write_raster

UTM, SIDE = "EPSG:32632", 96


def write(path, dtype, nodata, *, alpha, turn, side=SIDE):
    """Three bands with a hole, and where that is by nodata, an alpha band or nothing."""
    rng = np.random.default_rng(3)
    bands = rng.uniform(1, 200, (3, side, side))
    bands[:, 20:44, 10:60] = 0
    east, north = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    transform = Affine(east, north, 5e5, north, -east, 5.1e6)
    shape = {"width": side, "height": side, "count": 3 + alpha, "dtype": dtype, "nodata": nodata}
    with rasterio.open(path, "w", "GTiff", crs=UTM, transform=transform, **shape) as target:
        target.write(bands.astype(dtype), [1, 2, 3])
        if alpha:
            target.write(((bands[0] > 0) * np.iinfo(dtype).max).astype(dtype), 4)
            target.colorinterp = [*[ColorInterp.gray] * 3, ColorInterp.alpha]
    return transform


def scale(transform, step):
    a, b, c, d, e, f = transform[:6]
    return Affine(a * step, b * step, c, d * step, e * step, f)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("hidden", ["", "nodata", "alpha"])
@pytest.mark.parametrize(("step", "turn"), [(0.4, 0), (4.0, 0), (12.3, 25)])
@pytest.mark.parametrize("room", [True, False])
def test_what_is_read_is_what_the_warper_gives(tmp_path, monkeypatch, dtype, hidden, step, turn, room):
    if not room:
        monkeypatch.setattr(module, "KEPT_BYTES", 1)
    alpha = hidden == "alpha" and dtype in {"uint8", "uint16"}
    transform = write(tmp_path / "a.tif", dtype, 0 if hidden == "nodata" else None, alpha=alpha, turn=turn)
    side = round(SIDE / step)
    grid = Grid(scale(transform, step), rasterio.crs.CRS.from_string(UTM).to_wkt(), side, side)
    bands = {f"B{number}": (tmp_path / "a.tif", number) for number in (1, 3)}
    (work := tmp_path / "work").mkdir()
    with (
        BandReader(bands, grid=grid) as plain,
        BandReader(bands, grid=grid, options=ReaderOptions(keeping=work)) as kept,
    ):
        for box in ((0, 0, side, side), (3, 2, side - 3, 4)):
            (values, valid), (wanted, there) = kept.read(*box), plain.read(*box)
            assert np.array_equal(valid, there)
            assert np.array_equal(values, wanted)
    assert len(list(work.iterdir())) == room, "one file for all bands"


FILLS = [*sorted(NUMBERS), 1e20, float(np.finfo("float32").min), 9.96921e36]


def look(values, *, zero=False, apart=None):
    record = ValueStatistics(zero=zero)
    for part in np.array_split(values, 3):
        record.feed(part, np.isfinite(part))
    return record.find_fills(apart), record


@given(st.sampled_from(FILLS), st.floats(-200, 200), st.floats(0.1, 30), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_what_stands_alone_is_left_out_and_nothing_else(fill, middle, spread, many, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(middle, spread, (30, 40))
    places = rng.choice(values.size, many, replace=False)
    holed = values.copy()
    holed.flat[places] = fill
    others = np.delete(values.ravel(), places)
    away = max(others.min() - fill, fill - others.max())
    found, record = look(holed)
    steps = 5 * float(np.median(np.abs(np.diff(holed, axis=1)))) + 0.25 * float(np.ptp(others))
    if away > 1.5 * steps:
        assert (found, record.low, record.high) == ({fill: many}, others.min(), others.max())
    elif away <= 0:
        assert found == {}


@given(st.sampled_from(FILLS), st.integers(0, 2**32 - 1))
def test_a_number_within_the_record_stays(fill, seed):
    rng = np.random.default_rng(seed)
    values = fill * (1 + rng.normal(0, 0.2, (30, 40)))
    values[3, 3] = fill
    assert is_fill(fill)  # it is the company that makes it a value
    if abs(fill) < 1e19:
        assert look(values)[0] == {}


@pytest.mark.parametrize(
    ("ground", "is_hole"),
    [
        (np.add.outer(np.arange(30), np.arange(40)) * 0.5 + 480, True),
        (np.maximum(0, np.add.outer(np.arange(30), np.arange(40)) * 1.0 - 10), False),  # sea, and land that rises
        (np.add.outer(np.arange(30), np.arange(40)) * 1.0 - 20, False),  # below and above the sea
    ],
)
def test_zero_is_a_hole_in_the_mountains_and_water_at_the_coast(ground, is_hole):
    ground = ground.astype(float)
    ground[4:7, 4:7] = 0.0
    assert bool(look(ground, zero=True, apart=3.0)[0]) == is_hole
    assert look(ground, zero=False, apart=3.0)[0] == {}


def test_several_fills_are_found_together_and_nothing_but_fills_is_none():
    values = np.random.default_rng(1).normal(500, 5, (30, 40))
    values[0, :4], values[1, :3], values[2, :2] = -9999, 0, np.float32(-3.4028235e38)
    found, _ = look(values, zero=True, apart=3.0)
    assert sorted(found.values()) == [2, 3, 4]
    assert look(np.full((30, 40), -9999.0))[0] == {}


PACKED_SIDE = 700


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_a_disk_that_is_full_at_the_end_of_a_file_is_an_error(tmp_path: Path, share: float) -> None:
    plain, packed = tmp_path / "plain.tif", tmp_path / "packed.tif"
    rng = np.random.default_rng(0)
    values = np.where(rng.random((1, PACKED_SIDE, PACKED_SIDE)) < share, 200, 0).astype(np.uint8)
    write_raster(plain, values, crs="EPSG:32633", transform=Affine(10, 0, 4e5, 0, -10, 5e6), tiled=True)
    pack_cog(plain, packed, overviews="average", level=1)
    size = packed.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for lacking in (1, 500, size // 2):
        packed.unlink(missing_ok=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - lacking, hard))
        try:
            with pytest.raises(OutputError, match="is the disk full"):
                pack_cog(plain, packed, overviews="average", level=1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    packed.unlink(missing_ok=True)
    pack_cog(plain, packed, overviews="average", level=1)
    assert is_cog(packed)
    with rasterio.open(packed) as file:
        assert (file.read() == values).all()


def test_the_cache_of_blocks_holds_rows_of_tiles_of_a_wide_scene(tmp_path):
    """Rasterio takes bytes where GDAL's own setting takes MiB: 64 of them hold no block."""
    path = tmp_path / "scene.tif"
    write_geotiff(path, np.ones((1, 8, 8), np.uint8), grid_around(141.0, 42.7, 8, 10.0))
    with open_raster(path):
        kept = int(rasterio._env.get_gdal_config("GDAL_CACHEMAX"))
    assert kept >= 512 * 2048 * 13 * 2, "of thirteen bands of Sentinel-2"
    assert kept <= 64 << 20, "bounded, whatever the machine has"

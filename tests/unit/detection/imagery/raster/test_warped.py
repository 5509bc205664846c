"""A raster that is warped once gives what the warper gives, window for window; its file has no name and a bound."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp, Resampling

from detection.imagery.raster.grid import Grid
from detection.imagery.raster.raster import has_alpha, warp, window_of
from detection.imagery.raster.reading import warped as module
from detection.imagery.raster.reading.warped import WarpedOnce, WarpStorage, read_warped_valid
from detection.imagery.scene.reader import BandReader, ReaderOptions

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


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32"]),
    hidden=st.sampled_from(["", "nodata", "alpha"]),
    step=st.sampled_from([0.4, 1.0, 1.7, 3.4, 12.3, 60.0]),
    turn=st.sampled_from([0, 25]),
    nearest=st.booleans(),
    piece=st.sampled_from([16, 64]),
    window=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_what_is_read_is_what_the_warper_gives(tmp_path, dtype, hidden, step, turn, nearest, piece, window):
    alpha = hidden == "alpha" and dtype in {"uint8", "uint16"}
    nodata = 0 if hidden == "nodata" else None
    transform = write(tmp_path / "a.tif", dtype, nodata, alpha=alpha, turn=turn)
    side = max(1, round(SIDE / step))
    grid = Grid(scale(transform, step), rasterio.crs.CRS.from_string(UTM).to_wkt(), side, side)
    left, right = sorted(int(share * side) for share in window[:2])
    top, bottom = sorted(int(share * side) for share in window[2:])
    part = window_of(left, top, min(right + 1, side) - left, min(bottom + 1, side) - top)
    how = Resampling.nearest if nearest else Resampling.bilinear
    with (
        pytest.MonkeyPatch.context() as patch,
        rasterio.open(tmp_path / "a.tif") as source,
        warp(source, grid, how, nodata) as warper,
        WarpedOnce(warper, source, [1, 3], WarpStorage(tmp_path)) as kept,
    ):
        patch.setattr(module, "PIECE_PX", piece)
        assert has_alpha(source) == alpha
        for index in (3, 1):
            values, valid = kept.read(index, part), kept.read_valid(index, part)
            wanted, there = warper.read(index, window=part), read_warped_valid(warper, index, part)
            assert values.dtype == wanted.dtype
            assert np.array_equal(valid, there)
            away = np.abs(values[valid].astype(float) - wanted[valid].astype(float))
            # the warper rounds the centres of a piece and of a block apart where a pixel is no whole number of others
            assert away.max(initial=0) <= (0.01 if dtype == "float32" else 1)
            assert (away > 0).mean() < 0.05 if away.size and dtype != "float32" else True
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif"]  # the file has no name


def test_a_raster_is_warped_once_however_often_it_is_read_and_for_all_of_its_bands(tmp_path, monkeypatch):
    transform = write(tmp_path / "a.tif", "uint8", None, alpha=False, turn=0)
    grid = Grid(scale(transform, 4), rasterio.crs.CRS.from_string(UTM).to_wkt(), SIDE // 4, SIDE // 4)
    bands = {f"B{number}": (tmp_path / "a.tif", number) for number in (1, 2, 3)}
    told, asked = [], []
    inner = WarpedOnce._warp_piece
    monkeypatch.setattr(WarpedOnce, "_warp_piece", lambda self, *box: asked.append(box) or inner(self, *box))
    with (
        BandReader(bands, grid=grid) as plain,
        BandReader(bands, grid=grid, options=ReaderOptions(keeping=WarpStorage(tmp_path, told.append))) as kept,
    ):
        for box in ((0, 0, 24, 24), (3, 5, 9, 7), (0, 0, 24, 24)):
            for one, other in zip(kept.read(*box), plain.read(*box), strict=True):
                assert np.array_equal(one, other)
    assert (len(asked), told) == (1, [1.0])


@pytest.mark.parametrize("lack", ["room", "disk", "bytes"])
def test_without_room_each_window_is_warped_for_itself(tmp_path, monkeypatch, lack):
    transform = write(tmp_path / "a.tif", "uint16", 0, alpha=False, turn=0)
    grid = Grid(scale(transform, 4), rasterio.crs.CRS.from_string(UTM).to_wkt(), SIDE // 4, SIDE // 4)
    if lack == "room":
        monkeypatch.setattr(module, "KEPT_BYTES", 1)
    if lack == "disk":
        monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 9})())
    if lack == "bytes":

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(module.os, "pwrite", full)
    with (
        rasterio.open(tmp_path / "a.tif") as source,
        warp(source, grid, Resampling.bilinear, 0) as warper,
        WarpedOnce(warper, source, [2], WarpStorage(tmp_path)) as kept,
    ):
        part = window_of(2, 3, 9, 11)
        assert np.array_equal(kept.read(2, part), warper.read(2, window=part))
        assert np.array_equal(kept.read_valid(2, part), read_warped_valid(warper, 2, part))
        assert kept._file is None

"""A raster that is warped once gives what the warper gives, window for window."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from detection.imagery.raster.grid import Grid
from detection.imagery.raster.reading import warped as module
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

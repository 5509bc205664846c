"""Every reader of the numbers of a raster gives the same values, however a file stores them and hides its holes."""

import re
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from detection.imagery.errors import ImageryError
from detection.imagery.footprints.prior import describe_prior
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.height_tiles import join_tiles
from detection.imagery.raster.masks import Mask, apply_mask
from detection.imagery.raster.overlay import Layer
from detection.imagery.raster.reading import values as reading
from detection.imagery.raster.reading.values import BACKSCATTER, COHERENCES, FACTOR, HEIGHT, PHASE, RATE, SHARE
from detection.imagery.raster.terrain import open_terrain
from detection.imagery.scene.reader import BandReader
from detection.imagery.tiles.relief import draw_relief
from monitor.ingest.files.reader import ImportOptions, StationPlace
from monitor.ingest.grids.read import open_grid, open_pixels
from slopeward_earth.insar.interferogram import invert
from slopeward_earth.insar.stack import read_stack
from slopeward_earth.insar.velocity import VelocityRequest, measure_velocity
from slopeward_earth.surface.difference import subtract
from tests.data.surveys.rasters import write_raster

ROOT = Path(__file__).parents[3]
SIDE = 40
AT = Affine(10, 0, 500_000, 0, -10, 5_100_000)
WKT = pyproj.CRS("EPSG:32632").to_wkt()
GRID = Grid(AT, WKT, SIDE, SIDE)
SHIFTED = Grid(Affine(10, 0, 500_034, 0, -10, 5_099_974), WKT, SIDE - 8, SIDE - 8)
Y, X = np.mgrid[:SIDE, :SIDE]
HOLE = np.zeros((SIDE, SIDE), bool)
HOLE[25:29, 12:20] = True
# Steps of 0.01 or 0.0001 that every way of storing can hold.
RECORDS = MappingProxyType(
    {
        HEIGHT: np.round(400 + 2.0 * X + 0.5 * Y + 3 * np.sin(X / 4), 1),
        COHERENCES: np.round(0.2 + 0.6 * X / SIDE, 2),
        SHARE: np.round(0.1 + 0.7 * Y / SIDE, 2),
        PHASE: np.round(2 * np.sin(X / 7) + 0.05 * Y + 0.01, 2),
        RATE: np.round(2 * np.sin(X * 3.1 + Y * 1.7) - 25.0 * ((X > 10) & (X < 20) & (Y > 5) & (Y < 15)) + 0.01, 2),
        BACKSCATTER: np.round(-9 - 3 * np.sin(X / 3) - 0.05 * Y, 2),
        FACTOR: np.round(100 + 5.0 * X - Y, 2),
    }
)


def write(path, layers, *, hide=None, nodata=None, dtype="float32", scale=1.0, offset=0.0, unit="", extra=None):
    layers = layers[None] if layers.ndim == 2 else layers
    stored = (layers if hide is None else np.where(HOLE, hide, layers)).astype(dtype)
    if extra == "alpha":
        stored = np.concatenate([stored, np.where(HOLE, 0, 255).astype(dtype)[None]])
    write_raster(path, stored, crs="EPSG:32632", transform=AT, nodata=nodata)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as out:
        if extra == "alpha":
            out.colorinterp = (*[ColorInterp.gray] * len(layers), ColorInterp.alpha)
        if extra == "mask":
            out.write_mask(~HOLE)
        out.scales, out.offsets, out.units = (scale,) * out.count, (offset,) * out.count, (unit,) * out.count
    return path


def in_steps(v, how):
    middle = float(np.round(v.mean()))
    stored = np.round((v - (middle if "offset" in how else 0)) * 100)
    return stored, {"scale": 0.01, "offset": middle if "offset" in how else 0.0}


def scaled(path, v, hide, *how, nodata=None):
    stored, said = in_steps(v, how)
    return write(path, stored, hide=hide, nodata=nodata, dtype="int32", **said)


def beside(path, text, *args, **how):
    path.with_name(f"{path.name}.aux.xml").write_text(
        f'<PAMDataset><PAMRasterBand band="1">{text}<Metadata/></PAMRasterBand></PAMDataset>'
    )
    return write(path, *args, **how)


# name -> writes a record with a hole under a file of one band
TRAPS = MappingProxyType(
    {
        "declared": lambda p, v: write(p, v, hide=-9999, nodata=-9999),
        "not a number": lambda p, v: write(p, v, hide=np.nan),
        "nines": lambda p, v: write(p, v, hide=-9999),
        "16 bits": lambda p, v: write(p, v, hide=-32767),
        "least float": lambda p, v: write(p, v, hide=np.finfo("float32").min),
        "scaled": lambda p, v: scaled(p, v, -2147483648, nodata=-2147483648),
        "scaled and shifted": lambda p, v: scaled(p, v, -2147483648, "offset", nodata=-2147483648),
        "scaled, nothing declared": lambda p, v: scaled(p, v, 2147483647),
        "two fills": lambda p, v: write(p, v, hide=np.where(X < 16, -9999, -32767)),
        "declared and another": lambda p, v: write(p, v, hide=np.where(X < 16, -9999, -32767), nodata=-9999),
        "no number declared, nines": lambda p, v: write(p, v, hide=-9999, nodata=np.nan),
        "scaled, declared and another": lambda p, v: scaled(
            p, v, np.where(Y < 27, -2147483648, 2147483647), nodata=-2147483648
        ),
        "declared beside": lambda p, v: beside(p, "<NoDataValue>7.25</NoDataValue>", v, hide=7.25),
        "scaled beside": lambda p, v: beside(
            p, "<NoDataValue>-77777</NoDataValue><Scale>0.01</Scale>", in_steps(v, ())[0], hide=-77777, dtype="int32"
        ),
        "masked": lambda p, v: write(p, v, hide=7, extra="mask"),
        "alpha": lambda p, v: write(p, v, hide=7, extra="alpha"),
        "alpha, scaled": lambda p, v: write(p, np.round(v * 100), hide=7, dtype="int32", scale=0.01, extra="alpha"),
    }
)
OF_HEIGHTS = MappingProxyType(
    {
        "zero": lambda p, v: write(p, v, hide=0),
        "a whole number below 0": lambda p, v: write(p, v, hide=-99),
        "whole numbers below 0": lambda p, v: write(p, v, hide=np.where(Y < 27, -1, -500)),
        "metres in words": lambda p, v: write(p, v, hide=-9999, unit="m a.s.l."),
        "feet": lambda p, v: write(p, v / 0.3048, hide=-9999, nodata=-9999, dtype="float64", unit="ft"),
        "feet, nothing declared": lambda p, v: write(p, v / 0.3048, hide=-9999, dtype="float64", unit="US survey foot"),
        "km": lambda p, v: write(p, v / 1000, hide=-9999, nodata=-9999, dtype="float64", unit="km"),
        "dm": lambda p, v: write(p, np.round(v * 10), hide=-9999, dtype="int16", unit="dm"),
        "cm": lambda p, v: write(p, np.round(v * 100), hide=-9999, nodata=-9999, dtype="int32", unit="cm"),
    }
)
OF_PHASES = MappingProxyType(
    {
        "cycles": lambda p, v: write(p, v / (2 * np.pi), hide=-9999, nodata=-9999, dtype="float64", unit="cycles"),
        "degrees": lambda p, v: write(p, np.degrees(v), hide=-9999, nodata=-9999, dtype="float64", unit="degree"),
    }
)
STANDARD = "declared"


# ---- readers: a raster and a folder -> figures that must not depend on how it is stored -----------------------------


def by_layer(quantity, grid):
    def read(path, _):
        with Layer(path, grid, quantity=quantity) as layer:
            values, valid = layer.read(0, 0, grid.width, grid.height)
        return np.where(valid, values, np.nan)

    return read


def by_dod(path, folder):
    older = write(folder / "older.tif", RECORDS[HEIGHT] + 3.0 * ((X > 5) & (X < 11) & (Y > 5) & (Y < 11)))
    found = subtract(older, path)
    return np.array([found.loss.volume_m3, found.compared_share])


def by_terrain(path, folder):
    with open_terrain(path, GRID, folder) as terrain:
        fields, known = terrain.read(0, 0, SIDE, SIDE)
    return np.where(known, np.stack([fields["dem"], fields["slope"]]), np.nan)


def by_tiles(path, folder):
    join_tiles(path, GRID, folder / "joined.tif")
    with rasterio.open(folder / "joined.tif") as joined:
        return np.ma.filled(joined.read(1, masked=True).astype(float), np.nan)


def by_relief(path, folder):
    tiles = draw_relief(path, folder / "relief.pmtiles")
    return np.array([tiles.tiles, (folder / "relief.pmtiles").stat().st_size > 0])


def by_bands(name):
    def read(path, _):
        with BandReader({name: (path, 1)}) as reader:
            values, valid = reader.read(0, 0, SIDE, SIDE)
        return np.where(valid, values[0], np.nan)

    return read


def by_velocity(path, _):
    found = measure_velocity(VelocityRequest(files=(path,), component="up", factor=1.0, minimum_area_m2=1000.0))
    return np.array([found.valid_share, *(zone.mean_mm_per_year for zone in found.zones)])


def by_rates(role):
    def read(path, folder):
        lines = ["wavelength_m = 0.0555", ""]
        for number, days in enumerate(("2024-01-01 2024-01-13", "2024-01-13 2024-01-25", "2024-01-01 2024-01-25")):
            first, second = days.split()
            phase, coherence = folder / f"p{number}.tif", folder / f"c{number}.tif"
            write(phase, RECORDS[PHASE] * (1 + (number == 2)))
            write(coherence, RECORDS[COHERENCES] * 0 + 0.8)
            both = {"unwrapped": phase.name, "coherence": coherence.name}
            both[role] = path.name
            lines += ["[[pair]]", f"from = {first}", f"to = {second}"]
            lines += [f'{key} = "{name}"' for key, name in both.items() if role == "coherence" or key == "unwrapped"]
        (folder / "stack.toml").write_text("\n".join(lines))
        return invert(read_stack(folder), coherence_least=0.0).rate_mm_per_year

    return read


def by_prior(path, _):
    describe_prior(path)
    return np.zeros(1)


def by_pixels(path, _):
    said = ImportOptions(point_set="a", direction="up", unit="mm")
    with open_pixels(path, said, datetime(2030, 1, 1, tzinfo=UTC)) as (_, pieces):
        found = {piece.point.pid: piece.values[0].value for piece in pieces}
    return np.array([v for _, v in sorted(found.items())])


def by_station(path, _):
    said = ImportOptions(quantity="rain", unit="mm", places=(StationPlace("S", 46.0507, 9.0020),), window_m=300.0)
    with open_grid(path, said) as lines:
        return np.array([row["value"] for line in lines for row, _ in line.rows])


READERS = MappingProxyType(
    {
        "layer of heights": (HEIGHT, by_layer(HEIGHT, GRID)),
        "layer of heights, warped": (HEIGHT, by_layer(HEIGHT, SHIFTED)),
        "dod": (HEIGHT, by_dod),
        "terrain": (HEIGHT, by_terrain),
        "tiles of heights": (HEIGHT, by_tiles),
        "relief": (HEIGHT, by_relief),
        "band dem": (HEIGHT, by_bands("dem")),
        "band prior": (SHARE, by_bands("prior")),
        "prior": (SHARE, by_prior),
        "velocity": (RATE, by_velocity),
        "rates, phase": (PHASE, by_rates("unwrapped")),
        "rates, coherence": (COHERENCES, by_rates("coherence")),
        "layer of coherence, warped": (COHERENCES, by_layer(COHERENCES, SHIFTED)),
        "radar": (BACKSCATTER, by_layer(BACKSCATTER, GRID)),
        "factor": (FACTOR, by_layer(FACTOR, GRID)),
        "factor, warped": (FACTOR, by_layer(FACTOR, SHIFTED)),
        "pixels": (FACTOR, by_pixels),
        "cells at a station": (FACTOR, by_station),
    }
)
DATED = "a_20240105.tif"  # a grid needs a date in its name
WITHOUT_ALPHA = {"pixels", "cells at a station"}  # a band per instant, each with its date
OF_RELIEF = {"nines", "scaled and shifted", "alpha", "feet", "cm"}  # its figure only says that it was drawn


def cases():
    for name, (quantity, _) in READERS.items():
        traps = {**TRAPS, **{HEIGHT: OF_HEIGHTS, PHASE: OF_PHASES}.get(quantity, {})}
        for trap, how in traps.items():
            is_new = trap in OF_RELIEF if name == "relief" else name not in WITHOUT_ALPHA or "alpha" not in trap
            if is_new and trap != STANDARD:
                yield pytest.param(name, how, id=f"{name}-{trap}")


def read_stored(name, how, folder):
    quantity, read = READERS[name]
    how(folder / DATED, RECORDS[quantity])
    return read(folder / DATED, folder)


@pytest.fixture(scope="module")
def standard(tmp_path_factory):
    return cache(lambda name: read_stored(name, TRAPS[STANDARD], tmp_path_factory.mktemp("standard")))


@pytest.mark.one_case_in(6)
@pytest.mark.parametrize(("name", "trap"), list(cases()))
def test_a_value_does_not_depend_on_how_it_is_stored(tmp_path, standard, name, trap):
    found = read_stored(name, trap, tmp_path)
    assert np.allclose(standard(name), found, rtol=0.02, atol=0.06, equal_nan=True), found


@pytest.mark.parametrize("name", READERS)
def test_the_walk_can_fail(tmp_path, name):
    quantity, read = READERS[name]
    if name in {"prior", "relief", "cells at a station", "rates, phase", "rates, coherence"}:
        return  # which say nothing of where values lie, or lay several dates over each other
    found = []
    for folder, hide in ((tmp_path / "a", -9999), (tmp_path / "b", None)):
        folder.mkdir()
        found.append(read(write(folder / DATED, RECORDS[quantity], hide=hide, nodata=-9999), folder))
    assert found[0].shape != found[1].shape or not np.allclose(*found, equal_nan=True)


BEYOND = {"layer of heights": (1, 9000), "dod": (1, -1500), "terrain": (100, 0), "tiles of heights": (1, 1e5)}
BEYOND |= {"relief": (-10, 0), "band dem": (40, 0), "band prior": (100, 0), "prior": (255, 0), "velocity": (1e8, 0)}
BEYOND |= {"rates, coherence": (255, 0), "layer of coherence, warped": (100, 0)}


@pytest.mark.parametrize("name", BEYOND)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, name):
    (quantity, read), (factor, shift) = READERS[name], BEYOND[name]
    path = write(tmp_path / DATED, RECORDS[quantity] * factor + shift)
    with pytest.raises(ImageryError) as refused:
        read(path, tmp_path)
    assert "\n" not in str(refused.value)
    assert re.search(r"from .* to |cannot be|is the unit right", str(refused.value))


@pytest.mark.parametrize("name", [name for name, (quantity, _) in READERS.items() if quantity is not FACTOR])
def test_a_colour_of_a_picture_is_no_quantity(tmp_path, name):
    """Terrain in three bytes, a hillshade in colours or an orthophoto: none of their bands is what was asked for."""
    quantity, read = READERS[name]
    record = RECORDS[quantity]
    grey = 255 * (record - record.min()) / np.ptp(record)
    with pytest.raises(ImageryError, match=f"red of a picture: no {quantity.name}"):
        read(write(tmp_path / DATED, np.stack([grey] * 3), dtype="uint8"), tmp_path)
    (tmp_path / DATED).unlink()
    path = write(tmp_path / DATED, grey[None], dtype="uint8")
    with rasterio.open(path, "r+") as drawn:
        drawn.write_colormap(1, {value: (value, 255 - value, 0) for value in range(256)})
    with pytest.raises(ImageryError, match=f"palette of a picture: no {quantity.name}"):
        read(path, tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_units_of_a_quantity_that_nobody_knows_are_refused(tmp_path, name):
    quantity, read = READERS[name]
    if not quantity.units:
        return
    with pytest.raises(ImageryError, match=f"{quantity.name} in 'parsec'; expected {next(iter(quantity.units))}, "):
        read(write(tmp_path / DATED, RECORDS[quantity], unit="parsec"), tmp_path)


def test_what_a_file_beside_says_never_beats_the_raster_and_cannot_break_it(tmp_path):
    path = write(tmp_path / "a.tif", RECORDS[HEIGHT], hide=-9999, nodata=-9999, unit="m")
    for band in ("<NoDataValue>430</NoDataValue><UnitType>ft</UnitType>", "<NoDataValue>no</NoDataValue>", "<<"):
        (tmp_path / "a.tif.aux.xml").write_text(
            f'<PAMDataset><PAMRasterBand band="1">{band}</PAMRasterBand></PAMDataset>'
        )
        with Layer(path, GRID, quantity=HEIGHT) as layer:
            values, valid = layer.read(0, 0, SIDE, SIDE)
        assert (valid == ~HOLE).all()
        assert np.allclose(values[valid], RECORDS[HEIGHT][valid], atol=0.01)


@pytest.mark.parametrize("empty", [0, np.nan, -9999, -1])
def test_flags_count_above_nothing_alone(tmp_path, empty):
    held = np.where(X < 20, 1, empty).astype("float32")
    mask = write(tmp_path / "mask.tif", held)
    assert (apply_mask("mask", held) == (X < 20)).all()
    older, newer = (write(tmp_path / f"{n}.tif", RECORDS[HEIGHT] + 0.3 * n * (X >= 20)) for n in (0, 1))
    assert subtract(older, newer, stable=mask).offset_m == pytest.approx(0, abs=1e-4)
    with BandReader({"B4": (older, 1)}, masks=[Mask(mask, "mask")]) as reader:
        assert (reader.read(0, 0, SIDE, SIDE)[1] == (X < 20)).all()


def test_heights_below_the_sea_sea_itself_and_a_cliff_stay(tmp_path):
    polder = np.round(RECORDS[HEIGHT] - 470)
    assert polder.min() < -9 > -polder.max()
    for number, (heights, dtype) in enumerate(((polder, "int16"), (np.maximum(0.0, RECORDS[HEIGHT] - 430), "float32"))):
        with Layer(write(tmp_path / f"{number}.tif", heights, dtype=dtype), GRID, quantity=HEIGHT) as layer:
            assert layer.read(0, 0, SIDE, SIDE)[1].all()
            assert layer.notes == []


def test_slopes_of_another_unit_are_refused_and_so_are_units_that_nobody_knows(tmp_path):
    steep = write(tmp_path / "steep.tif", RECORDS[HEIGHT] * 13)
    with pytest.raises(ImageryError, match="steeper than"):
        by_terrain(steep, tmp_path)
    with pytest.raises(ImageryError, match="'degree'; expected m, km"):
        by_tiles(write(tmp_path / "unit.tif", RECORDS[HEIGHT], unit="degree"), tmp_path)
    with pytest.raises(ImageryError, match=r"both the scale 0\.01 and the unit 'cm'"):
        by_tiles(write(tmp_path / "twice.tif", RECORDS[HEIGHT], unit="cm", scale=0.01), tmp_path)


@pytest.mark.parametrize(
    ("names", "refused"),
    [
        (("hillshade", "elevation"), "gdal_translate -b 2"),
        (("slope_deg", "DEM"), "gdal_translate -b 2"),
        (("Slope",), "these are no heights"),
        (("aspect", "slope"), "these are no heights"),
        (("HillShade of the site",), "these are no heights"),
        (("dtm", "slope"), ""),
        (("DEM of the slope",), ""),
        (("upslope side",), ""),
        (("height_m", "sigma_m"), ""),
        (("Band 1", "Band 2"), ""),
        ((), ""),
    ],
)
def test_a_band_is_of_heights_where_its_file_calls_no_other_one_so(tmp_path, names, refused):
    path = write_raster(
        tmp_path / "a.tif", np.stack([RECORDS[HEIGHT]] * 2).astype("float32"), names, crs="EPSG:32632", transform=AT
    )
    with (
        pytest.raises(ImageryError, match=refused) if refused else nullcontext(),
        Layer(path, GRID, quantity=HEIGHT) as layer,
    ):
        assert layer.read(0, 0, SIDE, SIDE)[1].all()


def test_what_is_left_out_is_counted_and_said(tmp_path):
    write(tmp_path / "a.tif", RECORDS[HEIGHT], hide=-9999)
    with Layer(tmp_path / "a.tif", GRID, quantity=HEIGHT) as layer:
        (line,) = layer.notes
    assert line.startswith("a.tif: 32 pixels of band 1 have -9999, which stands alone among its heights")
    assert "nodata" in line
    found = subtract(write(tmp_path / "b.tif", RECORDS[HEIGHT]), tmp_path / "a.tif")
    assert any("32 pixels of band 1 have -9999" in line for line in found.warnings)


def test_every_quantity_has_its_reader_in_the_walk():
    made = {one for one in vars(reading).values() if isinstance(one, reading.BandQuantity)}
    beside = {reading.HEIGHT_ERROR, reading.ANGLE}  # go with heights and backscatter, by the same `Layer`
    assert made - beside == {quantity for quantity, _ in READERS.values()}


# Files that open rasters by themselves, each with the reason why it needs no quantity.
PLAIN = MappingProxyType(
    {
        "detection/imagery/raster": "the readers themselves",
        "detection/imagery/scene/reader.py": "a picture, whose units `radiometry` finds out; others by quantity",
        "detection/imagery/scene/scene.py": "headers",
        "detection/imagery/footprints/coco.py": "headers",
        "detection/imagery/footprints/preview.py": "a picture for people",
        "detection/imagery/footprints/scene_tiles.py": "a picture for people",
        "detection/imagery/footprints/doubt.py": "kept probabilities of our own",
        "detection/imagery/footprints/places.py": "kept probabilities of our own, and ratios of a picture",
        "detection/imagery/change/by_index.py": "kept probabilities of our own",
        "detection/imagery/change/dates.py": "kept probabilities of our own",
        "detection/imagery/change/images.py": "numbers of a picture",
        "detection/imagery/change/outputs.py": "a map of our own",
        "packages/earth/slopeward_earth/radar/outputs.py": "a map of our own",
        "packages/earth/slopeward_earth/radar/change.py": "marks and masks; images by quantity",
        "packages/earth/slopeward_earth/tracking/tracking.py": "numbers of a picture, and a mask",
        "packages/earth/slopeward_earth/surface/measure.py": "a mask of stable ground; heights by quantity",
        "packages/earth/slopeward_earth/surface/grids.py": "only where a grid lies; heights by quantity",
        "packages/earth/slopeward_earth/insar/interferogram.py": "which phases are exactly 0; values by quantity",
        "detection/imagery/data/folder.py": "labelled patches",
        "detection/imagery/data/empty_ground.py": "images without landslides",
        "packages/earth/slopeward_earth/susceptibility/picture.py": "a map of our own",
        "packages/earth/slopeward_earth/susceptibility/sampling.py": "the mask of an area",
        "packages/earth/slopeward_earth/clouds/distance.py": "a mask of stable ground",
        "monitor/ingest/grids/beside.py": "masks and quality layers, not values of a quantity",
        "monitor/ingest/grids/geotiff.py": "all bands of a stack at once, each by its scale; fills as of all grids",
    }
)


def test_whoever_opens_a_raster_says_what_its_numbers_are():
    opens = re.compile(r"open_raster\(|rasterio\.open\(|\bLayer\((?!ExitStack)")
    found = set()
    for root in ("detection", "monitor", "packages/earth/slopeward_earth"):
        for path in (ROOT / root).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            plain = [call for call in opens.finditer(text) if "quantity" not in text[call.start() : call.start() + 110]]
            name = path.relative_to(ROOT).as_posix()
            if plain and not any(name.startswith(known) for known in PLAIN):
                found.add(name)
    assert not found, f"read numbers without a quantity: {sorted(found)}"

"""Read grids at stations and pixels as points, from measured rain and from small files of each format."""

import random
import zipfile
from datetime import UTC, datetime, timedelta

import h5netcdf
import h5py
import numpy as np
import pytest
import rasterio
from pyproj import CRS, Transformer
from rasterio import Affine
from scipy.io import netcdf_file

from monitor.errors import ConfigError
from monitor.ingest.files.reader import ImportOptions, StationPlace
from monitor.ingest.grids import stack as stacks
from monitor.ingest.grids.cf import read_times
from monitor.ingest.grids.dates import find_date
from monitor.ingest.grids.netcdf import open_netcdf
from monitor.ingest.grids.read import open_grid, open_mintpy_points, open_pixels
from tests.data.surveys.rasters import change_raster, write_raster

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def read_rows_at_stations(path, **options):
    with open_grid(path, ImportOptions(**options)) as lines:
        return [(row["time"], row["station"], row["value"], row["unit"]) for line in lines for row, _ in line.rows]


def read_points_and_meaning(opens, path, **options):
    with opens(path, ImportOptions(**options), NOW) as (declared, pieces):
        return declared, list(pieces)


# ---- radar rain of the Bureau of Meteorology: Albers projection in km, packed values, scalar time ------------------
@pytest.fixture
def rain(tmp_path, measured):
    name = "66_20201031_050000.prcp-c10.nc"
    with zipfile.ZipFile(measured("rain-bom-10min/mt_stapl_20201031.zip")) as archive:
        archive.extract(name, tmp_path)
    return tmp_path / name


def test_measured_rain_at_a_station_is_that_of_its_cell(rain):
    with h5py.File(rain) as file:
        raw = file["precipitation"][...].astype(float)
        x, y = file["x"][...] * 1000, file["y"][...] * 1000
        a = {k: v for k, v in file["proj"].attrs.items() if k != "grid_mapping_name"}
    row, column = np.unravel_index(np.argmax(raw), raw.shape)
    albers = (
        f"+proj=aea +lat_1={a['standard_parallel'][0]} +lat_2={a['standard_parallel'][1]} "
        f"+lat_0={float(np.ravel(a['latitude_of_projection_origin'])[0])} +ellps=GRS80 "
        f"+lon_0={float(np.ravel(a['longitude_of_central_meridian'])[0])}"
    )
    lon, lat = Transformer.from_crs(albers, "EPSG:4326", always_xy=True).transform(x[column] + 150, y[row] - 150)
    here = StationPlace("R1", lat, lon)
    elsewhere = StationPlace("FAR", 46.0, 9.0)
    (reading,) = read_rows_at_stations(rain, quantity="rain", places=(here, elsewhere))
    assert reading == (datetime(2020, 10, 31, 5, tzinfo=UTC), "R1", pytest.approx(raw[row, column] * 0.05), "mm")
    near = np.hypot(*np.meshgrid(x - x[column] - 150, y - y[row] + 150)) <= 1500
    (mean,) = read_rows_at_stations(rain, quantity="rain", window_m=1500.0, places=(here,))
    assert near.sum() > 4
    assert mean[2] == pytest.approx(np.where(raw < 0, np.nan, raw)[near].mean() * 0.05)
    with pytest.raises(ConfigError, match="the file states the unit 'mm', not 'm'"):
        read_rows_at_stations(rain, quantity="rain", unit="m", places=(here,))
    with pytest.raises(ConfigError, match="none of 1 stations with coordinates is on this grid"):
        read_rows_at_stations(rain, quantity="rain", places=(elsewhere,))
    with pytest.raises(ConfigError, match="no centre of a cell is within 1 m"):
        read_rows_at_stations(rain, quantity="rain", window_m=1.0, places=(here,))


# ---- classic netCDF: CF times with bounds, and missing values -------------------------------------------------
def write_classic(path, values, *, units="mm", time_units="hours since 2026-01-01 00:00:00", bounds=True):
    with netcdf_file(path, "w") as out:
        for name, size in (("time", values.shape[0]), ("lat", values.shape[1]), ("lon", values.shape[2]), ("n", 2)):
            out.createDimension(name, size)
        for name, given in (
            ("time", np.arange(values.shape[0])),
            ("lat", 46.2 - 0.1 * np.arange(values.shape[1])),
            ("lon", 8.9 + 0.1 * np.arange(values.shape[2])),
        ):
            out.createVariable(name, "d", (name,))[:] = given
        out.variables["time"].units, out.variables["lon"].units = time_units, "degrees_east"
        if bounds:
            out.variables["time"].bounds = "time_bounds"
            edges = np.arange(values.shape[0])[:, None] + np.array([0.0, 1.0])
            out.createVariable("time_bounds", "d", ("time", "n"))[:] = edges
        kept = out.createVariable("tp", "f", ("time", "lat", "lon"))
        kept.units, kept._FillValue, kept.valid_min = units, np.float32(-9), np.float32(0)
        kept[:] = np.where(np.isnan(values), -9, values)
    return path


def test_rain_is_dated_by_the_end_of_its_interval_and_missing_values_are_skipped(tmp_path):
    values = np.arange(12.0).reshape(2, 2, 3)
    values[1, 0, :2] = np.nan
    path = write_classic(tmp_path / "a.nc", values)
    places = (StationPlace("R1", 46.19, 9.02), StationPlace("R2", 46.11, 8.9))
    hours = [datetime(2026, 1, 1, h, tzinfo=UTC) for h in (1, 2)]
    assert read_rows_at_stations(path, quantity="rain", places=places) == [
        (hours[0], "R1", 1.0, "mm"),
        (hours[0], "R2", 3.0, "mm"),
        (hours[1], "R2", 9.0, "mm"),
    ]
    other = read_rows_at_stations(path, quantity="snow_depth", places=places[:1])
    assert other == [(datetime(2026, 1, 1, tzinfo=UTC), "R1", 1.0, "mm")]
    wide = read_rows_at_stations(path, quantity="rain", window_m=9_000.0, places=(StationPlace("R1", 46.2, 9.0),))
    assert [v for _, _, v, _ in wide] == [1.0]  # layer 2: fewer than half of the cells have a value
    for more, message in (
        ({"units": "mm h-1"}, "is a rate.*multiply the values by the length of their interval"),
        ({"units": ""}, "give --unit"),
        ({"time_units": "months since 2026-01-01"}, "cannot be read"),
        ({"time_units": "hours since 0"}, "is invalid"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_rows_at_stations(write_classic(tmp_path / "odd.nc", values, **more), quantity="rain", places=places)
    with pytest.raises(ConfigError, match="no grid 'rain'; there are: tp"):
        read_rows_at_stations(path, quantity="rain", variable="rain", places=places)


@pytest.mark.parametrize("type_of", ["b", "h"])
def test_unsigned_attribute_of_classic_netcdf_is_applied(tmp_path, type_of):
    """Classic netCDF stores the unsigned byte 200 as -56 with `_Unsigned`; a fill of -1 is then the largest number."""
    path, side = write_classic(tmp_path / "a.nc", np.zeros((1, 1, 3))), np.dtype(f"i{1 if type_of == 'b' else 2}")
    stored = np.array([200, 3, np.iinfo(f"u{side.itemsize}").max], f"u{side.itemsize}").view(side)
    with netcdf_file(path, "a") as out:
        variable = out.createVariable("rr", type_of, ("time", "lat", "lon"))
        variable.units, variable.scale_factor, variable._FillValue, variable._Unsigned = (
            "mm",
            0.5,
            side.type(-1),
            "true",
        )
        variable[:] = stored.reshape(1, 1, 3)
    places = [StationPlace(f"R{k}", 46.2, 8.9 + 0.1 * k) for k in range(3)]
    rows = read_rows_at_stations(path, quantity="rain", variable="rr", places=places)
    assert [(row[1], row[2]) for row in rows] == [("R0", 100.0), ("R1", 1.5)]


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({}, (0.0, 0.25, 1.0, 3.0)),
        ({"valid_range": np.array([0, 99], "i2")}, (0.0, 0.25)),
        ({"valid_range": np.array([0.0, 2.0], "f4")}, (0.0, 0.25, 1.0)),
        ({"valid_max": np.float32(0.5)}, (0.0, 0.25)),
        ({"missing_value": np.array([25, 100], "i2")}, (0.0, 3.0)),
        ({"missing_value": "100"}, (0.0, 0.25, 3.0)),
    ],
)
def test_valid_range_and_missing_value_of_packed_rain_are_applied(tmp_path, attrs, expected):
    path, units = tmp_path / "a.nc", "hours since 2026-01-01"
    with h5netcdf.File(path, "w") as out:
        out.dimensions = {"time": 4, "lat": 2, "lon": 2}
        for name, given, unit, packing in (
            ("time", [0, 10, 20, 30], units, 0.1),
            ("lat", [462, 461], "degrees_north", 0.1),
            ("lon", [89, 90], "degrees_east", 0.1),
        ):
            axis = out.create_variable(name, (name,), "i2", data=np.array(given, "i2"))
            axis.attrs["units"], axis.attrs["scale_factor"] = unit, packing
        values = np.broadcast_to(np.array([0, 25, 100, 300], "i2")[:, None, None], (4, 2, 2))
        rain = out.create_variable("rr", ("time", "lat", "lon"), "i2", data=values)
        rain.attrs.update({"units": "mm", "scale_factor": np.float32(0.01)} | attrs)
    rows = read_rows_at_stations(path, quantity="rain", places=(StationPlace("R1", 46.2, 8.9),))
    hours = {0.0: 0, 0.25: 1, 1.0: 2, 3.0: 3}
    assert [(row[0].hour, row[2]) for row in rows] == [(hours[v], pytest.approx(v)) for v in expected]


@pytest.mark.parametrize("calendar", ["", "standard", "gregorian", "proleptic_gregorian"])
def test_times_before_the_calendar_reform_need_the_proleptic_calendar(calendar):
    days, units = (NOW - datetime(1, 1, 1, tzinfo=UTC)).days, "days since 0001-01-01"
    if calendar.startswith("proleptic"):
        assert read_times([days], units, calendar, "a.nc") == (NOW,)
        return
    with pytest.raises(ConfigError, match="cannot be read"):
        read_times([days], units, calendar, "a.nc")
    assert read_times([1], "days since 1582-10-15", calendar, "a.nc")[0].day == 16


# ---- stacks of displacement --------------------------------------------------------------------------------------
def write_tif(path, layers, names=(), **more):
    profile = {"crs": "EPSG:32632", "transform": Affine(20, 0, 500_000, 0, -20, 5_100_000), "nodata": -9999.0}
    return write_raster(path, np.where(np.isnan(layers), -9999, layers).astype("float32"), names, **profile | more)


def test_pixels_of_a_raster_become_points(tmp_path, monkeypatch):
    layers = np.arange(24.0).reshape(2, 3, 4)
    layers[:, 0, 0] = np.nan
    layers[1, 2, 3] = np.nan
    path = write_tif(tmp_path / "stack.tif", layers, ("20260101", "disp 2026-01-13T05:12:30"))
    options = {"point_set": "desc", "direction": "los-towards", "unit": "mm"}
    monkeypatch.setattr(stacks, "WINDOW_BYTES", 1)  # reads row by row
    declared, pieces = read_points_and_meaning(open_pixels, path, **options)
    assert (declared.name, declared.direction, declared.unit, len(pieces)) == ("desc", "los-towards", "mm", 11)
    last = pieces[-1]
    lon, lat = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True).transform(500_070, 5_099_950)
    assert (last.point.latitude, last.point.longitude) == (pytest.approx(lat), pytest.approx(lon))
    assert (last.point.pid, last.missing) == (f"{lat:.5f} {lon:.5f}", 1)
    assert [(v.observed_at, v.value) for v in last.values] == [(datetime(2026, 1, 1, tzinfo=UTC), 11.0)]
    assert pieces[0].values[1].observed_at == datetime(2026, 1, 13, 5, 12, 30, tzinfo=UTC)
    assert (
        len(
            read_points_and_meaning(
                open_pixels, path, **options, within_m=25.0, places=(StationPlace("G1", lat, lon),)
            )[1]
        )
        == 3
    )
    monkeypatch.setattr("monitor.ingest.grids.read._MOST_POINTS", 5)
    with pytest.raises(ConfigError, match="more than 5 pixels; give --within"):
        read_points_and_meaning(open_pixels, path, **options)
    (first,) = read_rows_at_stations(path, quantity="velocity", unit="mm/yr", places=(StationPlace("G1", lat, lon),))
    assert first == (datetime(2026, 1, 1, tzinfo=UTC), "G1", 11.0, "mm/yr")


def test_raster_without_date_unit_or_direction_is_refused(tmp_path):
    layers = np.ones((1, 2, 2))
    complete_options = {"point_set": "desc", "direction": "up", "unit": "mm"}
    assert (
        len(
            read_points_and_meaning(open_pixels, write_tif(tmp_path / "disp_20260101.tif", layers), **complete_options)[
                1
            ]
        )
        == 4
    )
    for name, more, options, message in (
        ("disp.tif", {}, complete_options, "band 1 has no date"),
        ("disp_20270101.tif", {}, complete_options, "is in the future"),
        ("disp_20260102.tif", {"crs": None}, complete_options, "with coordinates"),
        ("disp_20260103.tif", {}, {**complete_options, "unit": "mm/yr"}, "rates are no displacement"),
        ("disp_20260104.tif", {}, {**complete_options, "unit": None}, "give --unit"),
        ("disp_20260105.tif", {}, {**complete_options, "direction": None}, "the sign is never guessed"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_points_and_meaning(open_pixels, write_tif(tmp_path / name, layers, **more), **options)


@pytest.mark.parametrize(
    ("tags", "unit", "message"),
    [
        ({"UNIT": "m"}, "mm", "states the unit 'm', not 'mm'"),
        ({"units": "radians"}, "mm", "states the unit 'rad', not 'mm'"),
        ({"UNIT": "m/year", "FILE_TYPE": "velocity"}, None, "rates are no displacement"),
        ({"UNIT": "cm"}, None, ""),
        ({"UNIT": "of the provider"}, "mm", ""),
    ],
)
def test_unit_tag_of_a_raster_is_checked_and_used(tmp_path, tags, unit, message):
    path = write_tif(tmp_path / "disp_20260101.tif", np.ones((1, 2, 2)))
    change_raster(path, **tags)
    options = {"point_set": "desc", "direction": "up", "unit": unit}
    if not message:
        assert read_points_and_meaning(open_pixels, path, **options)[0].unit == (unit or "cm")
        return
    with pytest.raises(ConfigError, match=message):
        read_points_and_meaning(open_pixels, path, **options)


# ---- MintPy: a drawn file in the documented layout; no measured file is available ------------------
def write_mintpy(path, **attrs):
    values = np.arange(12.0, dtype="f4").reshape(2, 2, 3) / 1000
    values[:, 0, 0] = 0.0
    values[1, 1, 2] = np.nan
    with h5py.File(path, "w") as out:
        out["timeseries"], out["date"] = values, np.array([b"20260101", b"20260113"])
        geo = {"X_FIRST": "8.9", "Y_FIRST": "46.2", "X_STEP": "0.001", "Y_STEP": "-0.001", "Y_UNIT": "degrees"}
        attributes = {"FILE_TYPE": "timeseries", "UNIT": "m", "CENTER_LINE_UTC": "19950.0", **geo, **attrs}
        out.attrs.update({k: v for k, v in attributes.items() if v is not None})
    return path


def test_mintpy_is_in_metres_towards_the_satellite_at_acquisition_time(tmp_path):
    declared, pieces = read_points_and_meaning(open_mintpy_points, write_mintpy(tmp_path / "timeseries_demErr.h5"))
    assert (declared.name, declared.direction, declared.unit) == ("timeseries_demErr", "los-towards", "m")
    assert len(pieces) == 5
    first = pieces[0]
    assert (first.point.latitude, first.point.longitude) == (pytest.approx(46.1995), pytest.approx(8.9015))
    assert first.values[1].observed_at == datetime(2026, 1, 13, 5, 32, 30, tzinfo=UTC)
    assert ([v.value for v in first.values], pieces[-1].missing) == ([pytest.approx(0.001), pytest.approx(0.007)], 1)
    with pytest.raises(ConfigError, match="in radar coordinates"):
        read_points_and_meaning(open_mintpy_points, write_mintpy(tmp_path / "radar.h5", Y_FIRST=None))
    with pytest.raises(ConfigError, match="towards the satellite, not up"):
        read_points_and_meaning(open_mintpy_points, tmp_path / "radar.h5", direction="up")


@pytest.mark.parametrize(("zone", "epsg"), [("32N", 32632), ("19S", 32719)])
def test_mintpy_time_series_in_utm_needs_its_zone_or_epsg_code(tmp_path, zone, epsg):
    """HyP3 products are in UTM. MintPy names the zone, and newer versions the EPSG code too."""
    place = {"X_FIRST": "500000", "Y_FIRST": "5100000", "X_STEP": "20", "Y_STEP": "-20", "Y_UNIT": "meters"}
    (first, *_), (other, *_) = (
        read_points_and_meaning(open_mintpy_points, write_mintpy(tmp_path / f"{key}.h5", **place, **{key: value}))[1]
        for key, value in (("UTM_ZONE", zone), ("EPSG", str(epsg)))
    )
    assert first.point == other.point
    with pytest.raises(ConfigError, match="without the attributes EPSG or UTM_ZONE"):
        read_points_and_meaning(open_mintpy_points, write_mintpy(tmp_path / "none.h5", **place))


def test_reference_date_and_point_of_mintpy_are_read(tmp_path):
    attrs = {"REF_DATE": "20260101", "REF_LAT": "46.2", "REF_LON": "8.9"}
    declared, _ = read_points_and_meaning(open_mintpy_points, write_mintpy(tmp_path / "a.h5", **attrs))
    assert declared.reference_at == datetime(2026, 1, 1, 5, 32, 30, tzinfo=UTC)
    assert declared.reference_point == "46.2, 8.9"


def test_reference_date_and_point_of_a_geotiff_are_read(tmp_path):
    path = write_tif(tmp_path / "s.tif", np.ones((2, 3, 4)), ("20260101", "20260113"))
    with rasterio.open(path, "r+") as out:
        out.update_tags(REF_DATE="20260101", REF_LAT="46.2", REF_LON="8.9")
    declared, _ = read_points_and_meaning(open_pixels, path, point_set="s", direction="up", unit="mm")
    assert (declared.reference_at, declared.reference_point) == (datetime(2026, 1, 1, tzinfo=UTC), "46.2, 8.9")


@pytest.mark.parametrize("fill", [0.0, -9999.0, 1e20])
def test_pixels_with_a_constant_fill_value_are_masked(tmp_path, fill):
    values = np.random.default_rng(4).normal(0, 3, (4, 5, 6))
    values[:, 1:3, 2:4] = fill
    for layers in (values, values[1:2]):
        masked = stacks.mask_fills(layers, zero=True)
        assert np.isnan(masked[:, 1:3, 2:4]).all()
        assert np.isfinite(masked).sum() == layers[:, 0].size * 5 - 4 * len(layers)
    dry = np.zeros((4, 5, 6))
    assert np.isfinite(stacks.mask_fills(dry, zero=False)).all()
    assert np.isfinite(stacks.mask_fills(dry[:1], zero=True)).all()  # the reference date may be zero everywhere


@pytest.mark.parametrize(("first", "turn"), [(8.9, 0.0), (8.9, -360.0), (-118.5, 0.0), (-118.5, 360.0)])
def test_longitudes_may_differ_by_a_full_turn(first, turn):
    longitudes = first + np.array([0.0, 0.01, 0.02])
    place = (longitudes + turn, np.array([46.21, 46.20]), CRS.from_epsg(4326))
    stack = stacks.GridStack("a", (NOW,), *place, "mm", lambda *_: np.zeros((1, 2, 3)))
    assert stack.find_cells(StationPlace("S", 46.2, first + 0.02), None)[:2] == (slice(1, 2), slice(2, 3))
    ((_, _, longitude),) = stack.walk_places()
    assert np.allclose(longitude, [longitudes] * 2)


def test_damaged_or_foreign_file_is_refused(tmp_path):
    whole = write_mintpy(tmp_path / "a.h5").read_bytes()
    torn = (b"", b"\x89HDF\r\n\x1a\n", whole[:900], whole[:-300], b"CDF\x01\xff\xff", b"II*\0\xff")
    for k, content in enumerate(torn):
        path = tmp_path / f"{k}.h5"
        path.write_bytes(content)
        for opens in (open_mintpy_points, open_pixels):
            with pytest.raises(ConfigError):
                read_points_and_meaning(opens, path, point_set="a", direction="los-towards", unit="m")
    with (
        pytest.raises(ConfigError, match="expected one grid"),
        open_netcdf(tmp_path / "a.h5", None, use_end=False),
    ):
        pass


def test_cells_of_a_single_row_are_as_high_as_wide():
    x, y = np.array([8.90, 8.91, 8.92]), np.array([46.20])
    row_stack = stacks.GridStack("row.nc", (NOW,), x, y, CRS.from_epsg(4326), "mm", lambda *_: np.zeros((1, 1, 1)))
    assert row_stack.find_cells(StationPlace("G1", 46.204, 8.911), None) is not None
    assert row_stack.find_cells(StationPlace("FAR", 46.21, 8.911), None) is None
    cell_stack = stacks.GridStack(
        "cell.nc", (NOW,), x[:1], y, CRS.from_epsg(4326), "mm", lambda *_: np.zeros((1, 1, 1))
    )
    assert cell_stack.find_cells(StationPlace("NEAR", 46.3, 8.8), None) is not None
    assert cell_stack.find_cells(StationPlace("NEXT", 46.5, 8.9), None) is None  # 33 km away


# ---- dates in file names, and accumulated rain ---------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("RR_20250310-015000.tif", "2025-03-10T01:50"),
        ("RR.20250310-S013000-E015959.0090.tif", "2025-03-10T01:30"),
        ("rain_2025-03-10T01:50Z.tif", "2025-03-10T01:50"),
        ("rain_20250310_06h.tif", "2025-03-10T06:00"),
        ("rain_2025031006.tif", "2025-03-10T06:00"),
        ("rain.20250310.t06z.tif", "2025-03-10T06:00"),
        ("rain_20250310_v2.tif", "2025-03-10T00:00"),
        ("rain_20250310_7.tif", "2025-03-10T00:00"),
        ("rain_20250310-2400.tif", "2025-03-11T00:00"),
        ("rain_20250310_20250311.tif", None),
        ("rain_2025031.tif", None),
        ("tile_2025_0310.tif", None),
    ],
)
def test_date_in_a_file_name_is_read_with_its_time(name, expected):
    date = find_date(name)
    assert (None if date is None else f"{date:%Y-%m-%dT%H:%M}") == expected


def test_every_spelling_of_a_time_gives_the_same_instant():
    rng = random.Random(1)
    for _ in range(300):
        at = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(525_600))
        mark = rng.choice(["", "-", "_", "."])
        clock = rng.choice(["%H%M", "%H:%M", "%H-%M", "%H%M00", "%H:%M:00", "S%H%M00", "T%H%MZ"])
        between = rng.choice(["", "-", "_", " "] if clock[0] in "ST" else ["-", "_", " ", "T"])
        name = f"a.{at:%Y{mark}%m{mark}%d}{between}{at.strftime(clock)}.tif"
        assert find_date(name) == at, name
        assert find_date(f"x_{at:%Y{mark}%m{mark}%d}.tif") == at.replace(hour=0, minute=0)
        until = at + timedelta(minutes=30)
        assert find_date(f"a.{at:%Y%m%d-S%H%M00}-E{until - timedelta(seconds=1):%H%M%S}.tif", use_end=True) == until


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("form", ["%Y%m%dT%H%M%S", "%Y-%m-%dT%H:%M", "%Y%m%d_%H%M", "%Y%m%d-%H%M%S"])
def test_time_zone_in_a_file_name_is_applied(seed, form):
    rng = random.Random(seed)
    at = datetime(2024, 1, 5, tzinfo=UTC) + timedelta(minutes=10 * rng.randrange(10_000))
    for zone, ahead in (
        ("", 0),
        ("Z", 0),
        ("_UTC", 0),
        ("+0100", 1),
        ("+05:00", 5),
        ("_CET", 1),
        ("-JST", 9),
        ("_RR", 0),
    ):
        local = at + timedelta(hours=ahead)
        assert find_date(f"rr_{local:{form}}{zone}.tif") == at, zone
    for zone in ("_LT", "_local", ".LST"):
        assert find_date(f"rr_{at:{form}}{zone}.tif") is None


def write_rain(path, values, *, name="rain", step_h=1, bounds=None, **attrs):
    values = np.asarray(values, float)
    hours = step_h * np.arange(1, len(values) + 1)
    with h5netcdf.File(path, "w") as out:
        out.dimensions = {"time": len(values), "lat": 2, "lon": 2, "n": 2}
        for axis, numbers, units in (
            ("time", hours, "hours since 2026-01-01"),
            ("lat", [46.3, 46.2], "degrees_north"),
            ("lon", [8.9, 9.0], "degrees_east"),
        ):
            out.create_variable(axis, (axis,), "f8", data=np.asarray(numbers, float)).attrs["units"] = units
        if bounds is not None:
            out.create_variable("bnds", ("time", "n"), "f8", data=np.asarray(bounds, float))
            out.variables["time"].attrs["bounds"] = "bnds"
        grid = np.broadcast_to(values[:, None, None], (len(values), 2, 2))
        variable = out.create_variable(name, ("time", "lat", "lon"), "f8", data=grid)
        variable.attrs.update({"units": "mm", **attrs})
    return path


def at_gauge(stamp):
    return (StationPlace("R1", 46.2, 9.0, None, stamp),)


@pytest.mark.parametrize("kind", ["day", "run", "short", "bounds"])
def test_accumulated_rain_needs_a_counter_and_interval_sums_do_not(tmp_path, kind):
    rain = np.random.default_rng(4).choice([0.0, 0.0, 0.2, 1.4], size=120)
    count = {"short": 6, "bounds": 6}.get(kind, 120)
    hours = np.arange(count)
    accumulated = {"day": np.concatenate([np.cumsum(day) for day in rain.reshape(5, 24)])}.get(
        kind, np.cumsum(rain) + 0.2
    )
    name = {"short": "RAINNC", "day": "tp"}.get(kind, "rain")
    bounds = np.column_stack([np.zeros(count), hours + 1]) if kind == "bounds" else None
    path = write_rain(tmp_path / "run.nc", accumulated[:count], name=name, bounds=bounds)
    with pytest.raises(ConfigError, match='stamp = "counter" for the rain of R1'):
        read_rows_at_stations(path, quantity="rain", places=at_gauge("interval_end"))
    rows = read_rows_at_stations(path, quantity="rain", places=at_gauge("counter"))
    assert [v for _, _, v, _ in rows] == pytest.approx(accumulated[:count])
    assert read_rows_at_stations(path, quantity="snow_depth", places=at_gauge("interval_end"))
    interval_sums = write_rain(tmp_path / "each.nc", rain, name=name)
    assert [
        v for _, _, v, _ in read_rows_at_stations(interval_sums, quantity="rain", places=at_gauge("interval_end"))
    ] == pytest.approx(rain)
    with pytest.raises(ConfigError, match="rain of its own interval"):
        read_rows_at_stations(interval_sums, quantity="rain", places=at_gauge("counter"))
    few = write_rain(tmp_path / "few.nc", [0.4, 0.6], name="precip", bounds=[[0.0, 1.0], [1.0, 2.0]])
    assert len(read_rows_at_stations(few, quantity="rain", places=at_gauge("interval_end"))) == 2
    assert (
        len(
            read_rows_at_stations(interval_sums, quantity="rain", places=at_gauge("interval_end"), stamp="interval_end")
        )
        == 120
    )


def test_repeated_layer_is_refused(tmp_path):
    path = write_rain(tmp_path / "a.nc", [1.0, 2.0], step_h=0)
    with pytest.raises(ConfigError, match="two layers have the same time"):
        read_rows_at_stations(path, quantity="rain", places=at_gauge("interval_end"))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("unit", "factor"), [("mm", 1.0), ("m", 1e-3), ("kg m-2", 1.0)])
def test_slightly_negative_rain_is_zero(tmp_path, seed, unit, factor):
    draw = np.random.default_rng(seed)
    rain = draw.choice([0.0, 0.4, 3.1], size=30)
    noise = np.where(rain == 0.0, -(10.0 ** -draw.uniform(1.4, 18.0, 30)), 0.0)
    noise[-1], rain[-1] = -4.0, 0.0  # more than a rounding error
    path = write_rain(tmp_path / "a.nc", (rain + noise) * factor, units=unit)
    values = [
        v / factor for _, _, v, _ in read_rows_at_stations(path, quantity="rain", places=at_gauge("interval_end"))
    ]
    assert values[:-1] == pytest.approx(rain[:-1], abs=1e-12)
    assert values[-1] == pytest.approx(-4.0)


@pytest.mark.parametrize(
    ("name", "attrs", "is_rain"),
    [
        ("sf", {"long_name": "Snowfall"}, False),
        ("pet", {"long_name": "potential evapotranspiration"}, False),
        ("ro", {"standard_name": "surface_runoff_amount"}, False),
        ("pr", {"cell_methods": "time: maximum"}, False),
        ("rain", {"cell_methods": "area: mean time: mean (interval: 1 hour)"}, False),
        ("tp", {"GRIB_stepType": "max"}, False),
        ("rr", {"long_name": "rain and melting snow"}, True),
        ("prcp", {"cell_methods": "area: mean time: sum"}, True),
        ("apcp", {"GRIB_stepType": "accum"}, True),
    ],
)
def test_variable_of_another_standard_name_is_not_read_as_rain(tmp_path, name, attrs, is_rain):
    rain = np.random.default_rng(4).choice([0.0, 0.0, 0.2, 1.4], size=60)
    path = write_rain(tmp_path / "a.nc", rain, name=name, **attrs)
    options = {"quantity": "rain", "places": at_gauge("interval_end")}
    if not is_rain:
        with pytest.raises(ConfigError, match="no sums of rain"):
            read_rows_at_stations(path, **options)
        assert read_rows_at_stations(path, quantity="snow_depth", places=at_gauge("interval_end"))
        options["variable"] = name  # a named variable is read without this check
    assert len(read_rows_at_stations(path, **options)) == 60


@pytest.mark.parametrize("given", ["mm/day", "mm d-1", "m day-1"])
def test_daily_rain_rate_is_read_with_the_unit_of_its_sums(tmp_path, given):
    path = write_rain(tmp_path / "daily.nc", [2.0, 0.5, 3.25], step_h=24, units=given)
    unit = given.split("/")[0].split()[0]
    with pytest.raises(ConfigError, match=f"give --unit {unit}$"):
        read_rows_at_stations(path, quantity="rain", places=at_gauge("interval_end"))
    rows = read_rows_at_stations(path, quantity="rain", unit=unit, places=at_gauge("interval_end"))
    assert [(value, own) for _, _, value, own in rows] == [(2.0, unit), (0.5, unit), (3.25, unit)]


@pytest.mark.parametrize("given", ["mm/hr", "kg m-2 s-1", "mm/s", "m/yr"])
def test_rate_of_rain_that_is_not_per_day_is_refused_with_what_to_do(tmp_path, given):
    path = write_rain(tmp_path / "rate.nc", [2.0, 0.5, 3.25], step_h=24, units=given)
    for unit in (None, "mm"):
        with pytest.raises(ConfigError, match="is a rate: multiply the values by the length of their interval"):
            read_rows_at_stations(path, quantity="rain", unit=unit, places=at_gauge("interval_end"))


@pytest.mark.parametrize("step_h", [1, 12, 36])
def test_rain_rate_with_layers_not_a_day_apart_is_refused(tmp_path, step_h):
    path = write_rain(tmp_path / "rate.nc", [2.0, 0.5, 3.25], step_h=step_h, units="mm/day")
    with pytest.raises(ConfigError, match="not one day apart"):
        read_rows_at_stations(path, quantity="rain", unit="mm", places=at_gauge("interval_end"))

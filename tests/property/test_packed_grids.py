"""Law: a packed netCDF grid has the values that were written, whatever its packing, dimensions and window."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.ingest.grids import packing
from monitor.ingest.grids.netcdf import open_netcdf

SHAPE = {"time": 4, "lat": 3, "lon": 5}
ENGINES = ("h5netcdf", "scipy")


@st.composite
def draw_packing(draw):
    kind = draw(st.sampled_from(["i2", "i4", "f4", "u1"]))
    encoding = {"dtype": kind}
    if kind != "f4":
        encoding["scale_factor"] = draw(st.sampled_from([1.0, 0.1, 0.05, 2.0]))
        encoding["add_offset"] = draw(st.sampled_from([0.0, 7.5, -3.0]))
        encoding["_FillValue"] = draw(st.sampled_from([0, 250] if kind == "u1" else [-999, 32000]))
    return encoding


def write(path, numbers, missing, encoding, order, engine):
    scale, offset = encoding.get("scale_factor", 1.0), encoding.get("add_offset", 0.0)
    values = np.where(missing, np.nan, numbers * scale + offset)
    if encoding["dtype"] == "f4":
        values = values.astype("f4")
    coordinates = {
        "time": ("time", np.arange(SHAPE["time"]), {"units": "hours since 2026-01-01"}),
        "lat": ("lat", 46.0 + 0.1 * np.arange(SHAPE["lat"]), {"units": "degrees_north"}),
        "lon": ("lon", 8.0 + 0.1 * np.arange(SHAPE["lon"]), {"units": "degrees_east"}),
    }
    grid = xr.DataArray(values, dims=tuple(SHAPE)).transpose(*order)
    dataset = xr.Dataset({"level": grid.assign_attrs(units="m")}, coordinates)
    dataset.to_netcdf(path, engine=engine, encoding={"level": encoding})
    return values.astype("f8")


def check(folder, encoding, order, engine, seed):
    chance = np.random.default_rng(seed)
    numbers = chance.integers(1, 200, tuple(SHAPE.values()))
    missing = chance.random(numbers.shape) < 0.2
    if encoding["dtype"] == "f4":
        numbers = numbers + 0.25
    path = folder / f"{engine}.nc"
    path.unlink(missing_ok=True)
    expected = write(path, numbers, missing, encoding, order, engine)
    rows, columns = slice(1, 3), slice(0, 4)
    with open_netcdf(path, None, use_end=False) as stack:
        window_values = stack.read(slice(1, 4), rows, columns)
        assert stack.times[1].hour == 1
        assert stack.x[3] == pytest.approx(8.3)
    np.testing.assert_allclose(window_values, expected[1:4, rows, columns], rtol=1e-12, atol=1e-9)


@pytest.mark.soak
@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=40, deadline=None)
@given(encoding=draw_packing(), order=st.permutations(list(SHAPE)), seed=st.integers(0, 1000))
def test_packed_values_are_read_as_written(tmp_path_factory, engine, encoding, order, seed):
    if engine == "scipy" and encoding["dtype"] == "u1":
        return  # classic files have no unsigned types
    check(tmp_path_factory.getbasetemp(), encoding, order, engine, seed)


def ignore_offset(variable, name, default):
    return default if name == "add_offset" else READ_NUMBER(variable, name, default)


def ignore_fills(stated, dtype):
    return np.array([], dtype)


READ_NUMBER = packing._read_number
MUTANTS = {"offset is ignored": ("_read_number", ignore_offset), "fills are values": ("_read_fills", ignore_fills)}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_law_finds_a_mutant(tmp_path, monkeypatch, name):
    monkeypatch.setattr(packing, *MUTANTS[name])
    encoding = {"dtype": "i2", "scale_factor": 0.1, "add_offset": 7.5, "_FillValue": 32000}
    with pytest.raises(AssertionError):
        check(tmp_path, encoding, ["lat", "time", "lon"], "h5netcdf", 1)

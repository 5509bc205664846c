"""Displacement and velocity of MintPy and LiCSBAS at the stations of a site."""

from datetime import UTC, datetime

import h5py
import numpy as np
import pytest

from monitor.errors import ConfigError
from monitor.ingest.files.reader import ImportOptions, StationPlace
from monitor.ingest.files.sandboxed_conversion import open_converted
from monitor.ingest.grids.read import open_grid, open_mintpy_points
from monitor.settings.service import ComputeSection

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SHAPE = (3, 4)
DAYS = ("20250101", "20250113")
HERE = StationPlace("G1", 46.2 - 0.001 * 1, 8.9 + 0.001 * 2)  # row 1, column 2
EMPTY = StationPlace("G2", 46.2, 8.9)  # row 0, column 0: 0 outside of the scene
RATE = np.arange(12.0).reshape(SHAPE) / 1000


def write_mintpy(folder, name, dataset, values, **attributes):
    path = folder / name
    with h5py.File(path, "w") as file:
        file[dataset] = values.astype("f4")
        if values.ndim == 3:
            file["date"] = np.array([day.encode() for day in DAYS])
        place = {"X_FIRST": "8.8995", "Y_FIRST": "46.2005", "X_STEP": "0.001", "Y_STEP": "-0.001", "Y_UNIT": "degrees"}
        file.attrs.update(
            place | {"FILE_TYPE": dataset, "END_DATE": DAYS[-1], "CENTER_LINE_UTC": "21600.0"} | attributes
        )
    return path


def write_licsbas(folder):
    path = folder / "cum.h5"
    with h5py.File(path, "w") as file:
        file["imdates"] = np.array([int(day) for day in DAYS], "i4")
        file["cum"] = np.stack([RATE * 0, RATE * 1000]).astype("f4")
        file["vel"] = (RATE * 1000).astype("f4")
        for key, value in {"corner_lat": 46.2, "corner_lon": 8.9, "post_lat": -0.001, "post_lon": 0.001}.items():
            file[key] = value
    return path


def read_rows(path, **options):
    with open_grid(path, ImportOptions(places=(HERE, EMPTY), **options)) as lines:
        return [
            (row["time"], row["station"], row["value"], row["unit"], row.get("component"))
            for line in lines
            for row, _ in line.rows
        ]


def test_velocity_of_mintpy_has_its_sign_and_the_time_of_the_last_acquisition(tmp_path):
    path = write_mintpy(tmp_path, "geo_velocity.h5", "velocity", RATE, UNIT="m/year")
    last = datetime(2025, 1, 13, 6, tzinfo=UTC)
    assert read_rows(path, quantity="velocity") == [(last, "G1", pytest.approx(0.006), "m/yr", "los-towards")]
    with (
        pytest.raises(ConfigError, match="--format grid --quantity velocity"),
        open_mintpy_points(path, ImportOptions(), NOW),
    ):
        pass


def test_velocity_of_licsbas_has_its_sign_and_the_time_of_the_last_acquisition(tmp_path):
    last = datetime(2025, 1, 13, tzinfo=UTC)
    assert read_rows(write_licsbas(tmp_path), quantity="velocity") == [(last, "G1", 6.0, "mm/yr", "los-towards")]


@pytest.mark.parametrize("program", ["mintpy", "licsbas"])
def test_displacement_at_a_station_is_that_of_its_pixel(tmp_path, program):
    if program == "mintpy":
        path, scale = (
            write_mintpy(tmp_path, "geo_timeseries.h5", "timeseries", np.stack([RATE * 0, RATE]), UNIT="m"),
            0.001,
        )
    else:
        path, scale = write_licsbas(tmp_path), 1.0
    rows = read_rows(path, quantity="displacement_los")
    assert [(station, value) for _, station, value, _, _ in rows] == [("G1", 0.0), ("G1", pytest.approx(6.0 * scale))]


def test_mask_beside_a_velocity_is_applied(tmp_path):
    path = write_mintpy(tmp_path, "geo_velocity.h5", "velocity", RATE, UNIT="m/year")
    mask = np.ones(SHAPE)
    mask[1, 2] = 0
    write_mintpy(tmp_path, "geo_maskTempCoh.h5", "mask", mask)
    assert read_rows(path, quantity="velocity") == []
    assert len(read_rows(path, quantity="velocity", mask="none")) == 1


@pytest.mark.soak
def test_worker_reads_a_velocity(tmp_path):
    path = write_mintpy(tmp_path, "geo_velocity.h5", "velocity", RATE, UNIT="m/year")
    options = ImportOptions(quantity="velocity", places=(HERE,))
    with open_converted(path, "grid", options, ComputeSection(), NOW) as converted, converted.readings() as lines:
        [(row, error)] = [pair for line in lines for pair in line.rows]
    assert (row["component"], error) == ("los-towards", None)


def test_rain_is_not_read_from_radar_displacement(tmp_path):
    with pytest.raises(ConfigError, match="no unit of rain"):
        read_rows(
            write_mintpy(tmp_path, "geo_velocity.h5", "timeseries", np.stack([RATE, RATE]), UNIT="rad"), quantity="rain"
        )

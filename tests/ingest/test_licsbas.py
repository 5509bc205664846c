"""Time series of LiCSBAS: cells, sign, reference, and the mask in the folder of results."""

from datetime import UTC, datetime

import h5py
import numpy as np
import pytest

from monitor.errors import ConfigError
from monitor.ingest.files.reader import ImportOptions
from monitor.ingest.files.sandboxed_conversion import open_converted
from monitor.ingest.grids.read import open_licsbas_points, open_mintpy_points
from monitor.settings.service import ComputeSection

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = [20250101, 20250113, 20250125]
ROWS, COLUMNS = 3, 4


def draw_displacement():
    values = np.random.default_rng(2).normal(0, 3, (len(DAYS), ROWS, COLUMNS)).astype("f4")
    return values - values[0]


def write_cum(path, values, **datasets):
    path.parent.mkdir(exist_ok=True)
    place = {"corner_lat": 46.2, "corner_lon": 8.9, "post_lat": -0.001, "post_lon": 0.002}
    with h5py.File(path, "w") as file:
        file["refarea"] = "1:3/0:1"
        file.create_dataset("cum", data=values, chunks=(1, ROWS, COLUMNS), compression="gzip")
        for name, value in ({"imdates": np.array(DAYS, "i4")} | place | datasets).items():
            if value is not None:
                file[name] = value
    return path


def read_points(path, opens=open_licsbas_points, **options):
    with opens(path, ImportOptions(point_set="desc", **options), NOW) as (meaning, lines):
        pieces = list(lines)
    values = {(p.point.pid, v.observed_at): v.value for p in pieces if p.point is not None for v in p.values}
    return meaning, values, sum(p.masked for p in pieces)


@pytest.mark.parametrize("date_type", ["i4", "S8"])
def test_cells_dates_and_values_are_those_of_the_file(tmp_path, date_type):
    values = draw_displacement()
    days = np.array(DAYS, "i4") if date_type == "i4" else np.array([str(day).encode() for day in DAYS])
    path = write_cum(tmp_path / "cum.h5", values, imdates=days)
    meaning, points, masked = read_points(path)
    expected = {
        (f"{46.2 - 0.001 * row:.5f} {8.9 + 0.002 * column:.5f}", datetime(2025, 1, 1 + 12 * k, tzinfo=UTC)): float(
            values[k, row, column]
        )
        for k in range(len(DAYS))
        for row in range(ROWS)
        for column in range(COLUMNS)
    }
    assert points == expected
    assert (meaning.direction, meaning.unit, masked) == ("los-towards", "mm", 0)
    assert meaning.reference_at == datetime(2025, 1, 1, tzinfo=UTC)
    assert meaning.reference_point == "46.200000, 8.903000"  # columns 1 and 2 of row 0


def test_filtered_displacement_counts_from_no_date_exactly(tmp_path):
    path = write_cum(tmp_path / "cum_filt.h5", draw_displacement() + 0.3)
    assert read_points(path)[0].reference_at is None


@pytest.mark.parametrize("kind", ["results", "dataset", pytest.param("worker", marks=pytest.mark.soak)])
def test_mask_of_licsbas_is_applied(tmp_path, kind):
    values = draw_displacement()
    good = np.ones((ROWS, COLUMNS), "<f4")
    good[0, 0], good[1, 2] = 0.0, np.nan
    datasets = {"mask": good} if kind == "dataset" else {}
    path = write_cum(tmp_path / "TS_GEOCml1" / "cum.h5", values, coh_avg=np.full((ROWS, COLUMNS), 0.4), **datasets)
    if kind != "dataset":
        (path.parent / "results").mkdir()
        good.tofile(path.parent / "results" / "mask")
    if kind == "worker":
        options = ImportOptions(point_set="desc")
        with (
            open_converted(path, "licsbas", options, ComputeSection(), NOW) as converted,
            converted.points(NOW) as (meaning, lines),
        ):
            pieces = list(lines)
        count, masked = sum(len(p.values) for p in pieces), sum(p.masked for p in pieces)
    else:
        meaning, points, masked = read_points(path)
        count = len(points)
    assert (meaning.mask, count, masked) == ("mask", values.size - 2 * len(DAYS), 2 * len(DAYS))
    assert len(read_points(path, mask="none")[1]) == values.size
    assert len(read_points(path, mask="coh_avg>=0.5")[1]) == 0


def test_noise_indices_without_a_mask_need_an_option(tmp_path):
    path = write_cum(tmp_path / "cum.h5", draw_displacement(), coh_avg=np.full((ROWS, COLUMNS), 0.4))
    with pytest.raises(ConfigError, match="coh_avg"):
        read_points(path)
    assert len(read_points(path, mask="coh_avg>=0.3")[1]) == ROWS * COLUMNS * len(DAYS)


def test_mask_of_other_cells_is_refused(tmp_path):
    path = write_cum(tmp_path / "cum.h5", draw_displacement())
    (tmp_path / "results").mkdir()
    np.ones(5, "<f4").tofile(tmp_path / "results" / "mask")
    with pytest.raises(ConfigError, match=r"another number of cells.*--mask none"):
        read_points(path)


@pytest.mark.parametrize(
    ("datasets", "line"),
    [
        ({"corner_lat": None}, "not geocoded"),
        ({"imdates": None}, "imdates is missing"),
        ({"post_lat": 0.0}, "must rise or fall"),
    ],
)
def test_unusable_time_series_is_refused(tmp_path, datasets, line):
    path = write_cum(tmp_path / "cum.h5", draw_displacement(), **datasets)
    with pytest.raises(ConfigError, match=line):
        read_points(path)


def test_other_direction_is_refused_and_the_other_format_is_named(tmp_path):
    path = write_cum(tmp_path / "cum.h5", draw_displacement())
    with pytest.raises(ConfigError, match="towards the satellite, not up"):
        read_points(path, direction="up")
    with pytest.raises(ConfigError, match="--format licsbas"):
        read_points(path, open_mintpy_points)
    with h5py.File(tmp_path / "timeseries.h5", "w") as file:
        file["timeseries"] = np.zeros((1, 1, 1))
    with pytest.raises(ConfigError, match="--format mintpy"):
        read_points(tmp_path / "timeseries.h5")

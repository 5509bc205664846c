"""Masks and quality layers of displacement: rejected cells are missing and do not enter a rate."""

from dataclasses import replace
from datetime import UTC, datetime

import h5netcdf
import h5py
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS
from rasterio import Affine

from monitor.cli.site.ingest import describe_unmasked
from monitor.errors import ConfigError
from monitor.ingest.files.reader import ImportOptions, StationPlace
from monitor.ingest.files.reading import FileImport, FileResult
from monitor.ingest.files.sandboxed_conversion import open_converted
from monitor.ingest.grids.quality import QualityLayer, choose_mask
from monitor.ingest.grids.read import open_grid, open_mintpy_points, open_pixels
from monitor.ingest.pipeline import Pipeline
from monitor.settings.service import ComputeSection

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SIDE, DATES = 4, 3
GOOD = np.zeros((SIDE, SIDE), bool)
GOOD[1:3, :2] = True


def draw_displacement(seed=1):
    return np.random.default_rng(seed).normal(5.0, 1.0, (DATES, SIDE, SIDE)).astype("f4")


def write_netcdf(path, values, layers):
    """Write a stack of displacement in mm; `layers`: name to (array, attributes)."""
    with h5netcdf.File(path, "w") as out:
        out.dimensions = {"time": DATES, "y": SIDE, "x": SIDE}
        mapping = out.create_variable("spatial_ref", (), "i4", data=0)
        for key, value in CRS.from_epsg(32632).to_cf().items():
            mapping.attrs[key] = value
        axes = {"y": 5_116_600.0 - 30 * np.arange(SIDE), "x": 492_300.0 + 30 * np.arange(SIDE)}
        for axis, numbers in axes.items():
            out.create_variable(axis, (axis,), "f8", data=numbers).attrs["standard_name"] = (
                f"projection_{axis}_coordinate"
            )
        time = out.create_variable("time", ("time",), "f8", data=12.0 * np.arange(DATES))
        time.attrs["units"] = "days since 2026-01-01"
        displacement = out.create_variable("displacement", ("time", "y", "x"), "f4", data=values)
        displacement.attrs["units"], displacement.attrs["grid_mapping"] = "mm", "spatial_ref"
        for name, (array, attributes) in layers.items():
            dims = ("time", "y", "x") if array.ndim == 3 else ("y", "x")
            layer = out.create_variable(name, dims, array.dtype, data=array)
            for key, value in attributes.items():
                layer.attrs[key] = value
    return path


def write_layer(path, array):
    """Write a file with one layer on the cells of `write_netcdf`."""
    write_netcdf(path, np.zeros((DATES, SIDE, SIDE), "f4"), {"layer": (array, {"grid_mapping": "spatial_ref"})})
    with h5py.File(path, "r+") as out:
        del out["displacement"]
    return path


def read_points(opens, path, **options):
    with opens(path, ImportOptions(**options), NOW) as (meaning, lines):
        pieces = list(lines)
    values = {(p.point.pid, v.observed_at): v.value for p in pieces if p.point is not None for v in p.values}
    return meaning, values, sum(p.missing for p in pieces), sum(p.masked for p in pieces)


def read_netcdf(path, mask=None):
    options = {"point_set": "s", "direction": "los-towards", "variable": "displacement", "mask": mask}
    return read_points(open_pixels, path, **options)


def mask_to_nan(values, good):
    return np.where(good, values, np.nan).astype("f4")


KNOWN = {
    "recommended": ({"recommended_mask": (GOOD.astype("u1"), {})}, "recommended_mask"),
    "by date": ({"recommended_mask": (np.stack([GOOD] * DATES).astype("u1"), {})}, "recommended_mask"),
    "described": (
        {"my_mask": (GOOD.astype("i2"), {"description": "1 is a reliable pixel, 0 is bad"})},
        "my_mask",
    ),
    "inverted": (
        {"shadow_mask": ((~GOOD).astype("u1"), {"long_name": "0 = valid, 1 = masked"})},
        "shadow_mask=0",
    ),
    "flags": (
        {
            "quality": (
                np.where(GOOD, 2, 7).astype("u1"),
                {"flag_values": np.array([2, 5, 7], "u1"), "flag_meanings": "good noisy bad"},
            )
        },
        "quality=2",
    ),
    "recommended beside others": (
        {
            "recommended_mask": (GOOD.astype("u1"), {}),
            "temporal_coherence": (np.ones((SIDE, SIDE), "f4"), {}),
            "water_mask": (np.zeros((SIDE, SIDE), "u1"), {"description": "1 is valid land"}),
        },
        "recommended_mask",
    ),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_mask_of_known_meaning_removes_bad_cells(tmp_path, kind):
    layers, name = KNOWN[kind]
    values = draw_displacement()
    meaning, masked, missing, excluded = read_netcdf(write_netcdf(tmp_path / "a.nc", values, layers))
    _, clean, *_ = read_netcdf(write_netcdf(tmp_path / "b.nc", mask_to_nan(values, GOOD), {}))
    assert masked == clean
    assert len(clean) == GOOD.sum() * DATES
    assert meaning.mask == name
    assert missing == excluded == (~GOOD).sum() * DATES


@pytest.mark.parametrize(
    "layers",
    [
        {"temporal_coherence": (np.ones((SIDE, SIDE), "f4"), {})},
        {"connected_component_labels": (np.ones((SIDE, SIDE), "u2"), {})},
        {"layover_mask": (np.ones((SIDE, SIDE), "u1"), {"long_name": "layover"})},
        {"quality": (np.ones((SIDE, SIDE), "u1"), {"flag_masks": np.array([1, 2], "u1"), "flag_meanings": "a b"})},
    ],
)
def test_layer_of_unknown_meaning_needs_an_option(tmp_path, layers):
    path = write_netcdf(tmp_path / "a.nc", draw_displacement(), layers)
    with pytest.raises(ConfigError, match=rf"{next(iter(layers))}.*--mask NAME.*--mask none"):
        read_netcdf(path)
    meaning, values, _, excluded = read_netcdf(path, "none")
    assert (meaning.mask, len(values), excluded) == ("", SIDE * SIDE * DATES, 0)


@pytest.mark.parametrize(
    ("layer", "mask"),
    [
        (GOOD.astype("u1"), "q"),
        (np.where(GOOD, 0, 3).astype("u1"), "q=0"),
        (np.where(GOOD, 0.9, 0.2).astype("f4"), "q>=0.7"),
        (np.where(GOOD, 0.9, np.nan).astype("f4"), "q"),
    ],
)
def test_mask_option_names_the_good_cells(tmp_path, layer, mask):
    values = draw_displacement()
    path = write_netcdf(tmp_path / "a.nc", values, {"q": (layer, {}), "coherence": (layer, {})})
    _, masked, *_ = read_netcdf(path, mask)
    _, clean, *_ = read_netcdf(write_netcdf(tmp_path / "b.nc", mask_to_nan(values, GOOD), {}))
    assert masked == clean


def test_land_mask_is_no_quality_mask_of_displacement(tmp_path):
    shadow = np.zeros((SIDE, SIDE), "u1")
    shadow[1, 0] = 1
    layers = {
        "shadow_mask": (shadow, {"long_name": "0 = valid, 1 = masked"}),
        "coherence": (np.where(GOOD, 0.9, 0.2).astype("f4"), {}),
    }
    path = write_netcdf(tmp_path / "a.nc", draw_displacement(), layers)
    with pytest.raises(ConfigError, match=r"coherence.*rules of other layers: shadow_mask=0"):
        read_netcdf(path)
    meaning, values, *_ = read_netcdf(path, "shadow_mask=0, coherence>=0.5")
    assert meaning.mask == "shadow_mask=0 and coherence>=0.5"
    assert len(values) == (GOOD & (shadow == 0)).sum() * DATES


@pytest.mark.parametrize(("mask", "line"), [("nothing", "no layer 'nothing'"), ("q<3", "expected NAME"), ("", "expec")])
def test_mask_option_that_cannot_be_used_is_refused(tmp_path, mask, line):
    path = write_netcdf(tmp_path / "a.nc", draw_displacement(), {"q": (GOOD.astype("u1"), {})})
    with pytest.raises(ConfigError, match=line):
        read_netcdf(path, mask)


def test_station_on_a_rejected_cell_gets_no_value(tmp_path):
    path = write_netcdf(tmp_path / "a.nc", draw_displacement(), {"recommended_mask": (GOOD.astype("u1"), {})})
    places = (StationPlace("GOOD", 46.20266, 8.90058), StationPlace("BAD", 46.20266, 8.90136))
    options = ImportOptions(quantity="displacement", variable="displacement", places=places)
    with open_grid(path, options) as lines:
        found = list(lines)
    assert {row["station"] for line in found for row, _ in line.rows} == {"GOOD"}
    assert sum(line.missing for line in found) == DATES
    assert {line.mask for line in found} == {"recommended_mask"}
    assert sum(line.masked for line in found) == DATES


@pytest.mark.soak
def test_mask_applied_at_stations_is_reported_by_the_worker_and_the_result(tmp_path):
    path = write_netcdf(tmp_path / "a.nc", draw_displacement(), {"recommended_mask": (GOOD.astype("u1"), {})})
    places = (StationPlace("GOOD", 46.20266, 8.90058), StationPlace("BAD", 46.20266, 8.90136))
    options = ImportOptions(quantity="displacement", variable="displacement", places=places)
    with open_converted(path, "grid", options, ComputeSection(), NOW) as converted:
        job = FileImport(
            path, Pipeline(None, {}, lambda: NOW), None, lambda: NOW, dry_run=True, open_lines=converted.readings
        )
        result = job.run()
    assert (result.mask, result.masked, result.missing) == ("recommended_mask", DATES, DATES)


@settings(max_examples=60, deadline=None)
@given(
    rejected=st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=2, max_size=2),
    coherence=st.lists(st.floats(0, 1, width=32), min_size=6, max_size=6),
    least=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
)
def test_cell_is_good_only_if_every_layer_accepts_it(rejected, coherence, least):
    """Adding a layer never makes a cell good, and a cell without a value in a layer is never good."""
    window = slice(0, 1), slice(0, 1), slice(0, 6)
    arrays = [np.where(one, np.nan, 1.0)[None, None] for one in rejected]
    layers = [QualityLayer(f"m{k}", lambda *_, a=a: a, None) for k, a in enumerate(arrays)]
    layers.append(QualityLayer("coherence", lambda *_: np.array(coherence)[None, None], None))
    for layer, array in zip(layers[:2], arrays, strict=True):
        mask = choose_mask("f", layers, layer.name)
        assert mask.read_good(*window).tolist() == np.isfinite(array).tolist()
    mask = choose_mask("f", layers, f"coherence>={least}")
    assert mask.read_good(*window)[0, 0].tolist() == [c >= least for c in coherence]


# ---- layers beside the displacement, and GeoTIFF -----------------------------------------------------------------
NAMES = ("20260101", "20260113", "20260125")
CELLS = Affine(30, 0, 492_285, 0, -30, 5_116_615)


def write_raster(path, bands, names=(), *, transform=CELLS, **tags):
    bands = np.asarray(bands)
    shape = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype}
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32632", transform=transform, **shape) as out:
        out.write(bands)
        for number, name in enumerate(names, 1):
            out.set_band_description(number, name)
        out.update_tags(**tags)
    return path


def read_raster(path, mask=None):
    options = {"point_set": "s", "direction": "los-towards", "unit": "mm", "mask": mask}
    return read_points(open_pixels, path, **options)


def read_clean_raster(folder, values):
    folder.mkdir()
    return read_raster(write_raster(folder / "clean.tif", mask_to_nan(values, GOOD), NAMES))[1]


LAYER = {
    "mask": (GOOD.astype("u1"), "mask"),
    "inverted": ((~GOOD).astype("u1"), "layover_mask=0"),
    "coherence": (np.where(GOOD, 0.9, 0.2).astype("f4"), "coherence>=0.5"),
}


@pytest.mark.parametrize("kind", LAYER)
def test_layer_beside_a_geotiff_is_asked_for_and_then_applied(tmp_path, kind):
    array, option = LAYER[kind]
    name = option.split(">")[0].split("=")[0]
    values = draw_displacement()
    path = write_raster(tmp_path / "stack.tif", values, NAMES)
    write_raster(tmp_path / f"{name}.tif", array[None])
    with pytest.raises(ConfigError, match=rf"{name}.*--mask NAME.*--mask none"):
        read_raster(path)
    meaning, masked, _, excluded = read_raster(path, option)
    assert masked == read_clean_raster(tmp_path / "b", values)
    assert (meaning.mask, excluded) == (option, (~GOOD).sum() * DATES)
    assert len(read_raster(path, "none")[1]) == values.size


def test_layer_beside_a_geotiff_that_names_its_good_values_is_applied(tmp_path):
    values = draw_displacement()
    path = write_raster(tmp_path / "stack.tif", values, NAMES)
    write_raster(tmp_path / "stack_mask.tif", GOOD.astype("u1")[None], DESCRIPTION="0 = invalid, 1 = valid")
    meaning, masked, *_ = read_raster(path)
    assert (meaning.mask, masked) == ("stack_mask", read_clean_raster(tmp_path / "b", values))


def test_layer_in_a_band_of_a_geotiff_is_asked_for_and_then_applied(tmp_path):
    values = draw_displacement()
    bands = np.concatenate([np.where(GOOD, 0.9, 0.2)[None].astype("f4"), values])
    path = write_raster(tmp_path / "stack.tif", bands, ("temporal coherence", *NAMES))
    with pytest.raises(ConfigError, match=r"temporal_coherence.*--mask NAME"):
        read_raster(path)
    assert read_raster(path, "temporal_coherence>=0.5")[1] == read_clean_raster(tmp_path / "b", values)


def test_mask_of_a_date_belongs_to_the_file_of_that_date(tmp_path):
    values = draw_displacement()
    points = {}
    for k, name in enumerate(NAMES):
        write_raster(tmp_path / f"{name}_disp.tif", values[k : k + 1])
        good = GOOD if k else np.ones_like(GOOD)
        write_raster(tmp_path / f"{name}_mask.tif", good.astype("u1")[None], DESCRIPTION="1 is good, 0 is bad")
    for name in NAMES:
        points |= read_raster(tmp_path / f"{name}_disp.tif")[1]
    assert len(points) == GOOD.size + 2 * GOOD.sum()


def test_mask_file_on_another_grid_is_named(tmp_path):
    path = write_raster(tmp_path / "stack.tif", draw_displacement(), NAMES)
    write_raster(tmp_path / "mask.tif", GOOD.astype("u1")[None], transform=CELLS @ Affine.translation(1, 0))
    with pytest.raises(ConfigError, match=r"mask.tif is a mask.*another grid.*--mask none"):
        read_raster(path)
    assert len(read_raster(path, "none")[1]) == GOOD.size * DATES


@pytest.mark.parametrize("name", ["mask.tif", "20260101_coherence.tif", "stack_mask.tif"])
def test_mask_is_no_displacement(tmp_path, name):
    path = write_raster(tmp_path / name, GOOD.astype("f4")[None], NAMES[:1])
    with pytest.raises(ConfigError, match="is a mask or a quality layer by its name"):
        read_raster(path)


@pytest.mark.soak
def test_mask_beside_a_netcdf_file_is_asked_for_and_then_applied_by_the_worker(tmp_path):
    values = draw_displacement()
    path = write_netcdf(tmp_path / "stack.nc", values, {})
    write_layer(tmp_path / "mask.nc", GOOD.astype("u1"))
    # a displacement file with such a name is a separate product
    write_netcdf(tmp_path / "coherence_weighted.nc", values, {"recommended_mask": (GOOD.astype("u1"), {})})
    options = ImportOptions(point_set="s", direction="los-towards", variable="displacement")
    with (
        pytest.raises(ConfigError, match=r"mask.*--mask NAME"),
        open_converted(path, "insar-grid", options, ComputeSection(), NOW),
    ):
        pass
    options = replace(options, mask="mask")
    with (
        open_converted(path, "insar-grid", options, ComputeSection(), NOW) as converted,
        converted.points(NOW) as (meaning, lines),
    ):
        pieces = list(lines)
    assert meaning.mask == "mask"
    assert sum(len(p.values) for p in pieces) == GOOD.sum() * DATES


@pytest.mark.parametrize("name", ["shp_counts", "phase_similarity", "snr", "layover_shadow", "confidence"])
def test_processor_layers_of_unknown_meaning_need_an_option(tmp_path, name):
    path = write_netcdf(tmp_path / "a.nc", draw_displacement(), {name: (np.ones((SIDE, SIDE), "f4"), {})})
    with pytest.raises(ConfigError, match=rf"{name}.*--mask NAME"):
        read_netcdf(path)


@pytest.mark.parametrize(("masks", "named"), [(("m", "", "m"), "b.nc"), (("m", "m", "m"), None), (("", "", ""), None)])
def test_files_without_the_mask_of_the_others_are_named(masks, named):
    results = [FileResult(f"folder/{name}.nc", mask=mask) for name, mask in zip("abc", masks, strict=True)]
    line = describe_unmasked(results)
    assert (f"no mask was applied to {named}, which" in line) if named else line == ""


# ---- MintPy and HDF-EOS5 -----------------------------------------------------------------------------------------
PLACE = {"X_FIRST": "8.9", "Y_FIRST": "46.2", "X_STEP": "0.001", "Y_STEP": "-0.001", "Y_UNIT": "degrees"}
DAYS = np.array([b"20260101", b"20260113", b"20260125"])


def write_hdf5(path, datasets, **attributes):
    with h5py.File(path, "w") as out:
        for name, values in datasets.items():
            out[name] = values
        out.attrs.update(PLACE | attributes)
    return path


def write_time_series(path, values):
    return write_hdf5(path, {"timeseries": values / 1000, "date": DAYS}, UNIT="m")


@pytest.mark.parametrize("prefix", ["", "geo_"])
def test_mask_beside_a_mintpy_time_series_is_applied(tmp_path, prefix):
    values = draw_displacement()
    path = write_time_series(tmp_path / f"{prefix}timeseries.h5", values)
    write_hdf5(tmp_path / f"{prefix}maskTempCoh.h5", {"mask": GOOD})
    write_hdf5(tmp_path / f"{prefix}temporalCoherence.h5", {"temporalCoherence": np.full((SIDE, SIDE), 0.9)})
    write_hdf5(tmp_path / "waterMask.h5", {"waterMask": np.ones((9, 9), bool)})
    meaning, masked, _, excluded = read_points(open_mintpy_points, path)
    _, clean, *_ = read_points(open_mintpy_points, write_time_series(tmp_path / "clean.h5", mask_to_nan(values, GOOD)))
    assert masked == clean
    assert (meaning.mask, excluded) == ("maskTempCoh", (~GOOD).sum() * DATES)
    assert len(read_points(open_mintpy_points, path, mask="none")[1]) == values.size
    assert len(read_points(open_mintpy_points, path, mask="temporalCoherence>=0.95")[1]) == 0


def test_coherence_alone_beside_a_mintpy_time_series_needs_an_option(tmp_path):
    path = write_time_series(tmp_path / "timeseries.h5", draw_displacement())
    write_hdf5(tmp_path / "temporalCoherence.h5", {"temporalCoherence": np.where(GOOD, 0.9, 0.2)})
    with pytest.raises(ConfigError, match="temporalCoherence"):
        read_points(open_mintpy_points, path)
    assert len(read_points(open_mintpy_points, path, mask="temporalCoherence>=0.7")[1]) == GOOD.sum() * DATES


def test_mask_beside_a_mintpy_time_series_on_another_grid_is_refused(tmp_path):
    path = write_time_series(tmp_path / "timeseries.h5", draw_displacement())
    write_hdf5(tmp_path / "maskTempCoh.h5", {"mask": GOOD}, X_FIRST="8.7")
    with pytest.raises(ConfigError, match=r"maskTempCoh.h5 beside it lies on another grid.*--mask none"):
        read_points(open_mintpy_points, path)
    assert len(read_points(open_mintpy_points, path, mask="none")[1]) == SIDE * SIDE * DATES


def test_mask_of_hdf_eos5_is_applied(tmp_path):
    group = "HDFEOS/GRIDS/timeseries"
    datasets = {
        f"{group}/observation/displacement": draw_displacement() / 1000,
        f"{group}/observation/date": DAYS,
        f"{group}/quality/mask": GOOD,
        f"{group}/quality/temporalCoherence": np.ones((SIDE, SIDE)),
    }
    path = write_hdf5(tmp_path / "S1_IW2_128_0593_0597_20260101_20260125.he5", datasets, UNIT="m")
    meaning, values, *_ = read_points(open_mintpy_points, path)
    assert (meaning.mask, len(values)) == ("mask", GOOD.sum() * DATES)


def test_mask_of_hdf_eos5_with_other_cells_is_refused(tmp_path):
    group = "HDFEOS/GRIDS/timeseries"
    datasets = {
        f"{group}/observation/displacement": draw_displacement() / 1000,
        f"{group}/observation/date": DAYS,
        f"{group}/quality/mask": np.ones((2, 2), bool),
    }
    path = write_hdf5(tmp_path / "a.he5", datasets, UNIT="m")
    with pytest.raises(ConfigError, match=r"its mask has \(2, 2\) cells.*--mask none"):
        read_points(open_mintpy_points, path)
    assert len(read_points(open_mintpy_points, path, mask="none")[1]) == SIDE * SIDE * DATES


def test_displacement_file_named_like_a_mask_is_read(tmp_path):
    path = write_netcdf(tmp_path / "coherence_weighted.nc", draw_displacement(), {})
    assert len(read_netcdf(path)[1]) == SIDE * SIDE * DATES


@pytest.mark.soak
def test_sandboxed_worker_reads_the_mask_beside_a_mintpy_time_series(tmp_path):
    path = write_time_series(tmp_path / "timeseries.h5", draw_displacement())
    write_hdf5(tmp_path / "maskTempCoh.h5", {"mask": GOOD})
    with (
        open_converted(path, "mintpy", ImportOptions(), ComputeSection(), NOW) as converted,
        converted.points(NOW) as (meaning, lines),
    ):
        pieces = list(lines)
    assert meaning.mask == "maskTempCoh"
    assert sum(len(p.values) for p in pieces) == GOOD.sum() * DATES
    assert sum(p.masked for p in pieces) == (~GOOD).sum() * DATES

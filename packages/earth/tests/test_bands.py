"""Stacks, velocity maps and radar images take their bands by name."""

import numpy as np
import pytest
from rasterio import Affine

from detection.imagery.errors import RadiometryError
from slopeward_earth.insar.interferogram import invert
from slopeward_earth.insar.stack import read_stack
from slopeward_earth.insar.velocity import find_components
from slopeward_earth.radar.dates import read_radar
from tests.data.surveys.rasters import write_raster

AT = Affine(50, 0, 500_000, 0, -50, 5_100_000)
SIDE, WAVELENGTH_M = 24, 0.0555


def write_stack(folder, bands, names):
    """Write six dates of a stack; `bands(phase, brightness)` gives the layers of an interferogram."""
    rng = np.random.default_rng(6)
    days = [np.datetime64("2024-01-01") + 12 * k for k in range(6)]
    speed = np.zeros((SIDE, SIDE))
    speed[8:16, 8:16] = -60.0
    lines = [f"wavelength_m = {WAVELENGTH_M}", ""]
    for a, b in ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (2, 4), (3, 4), (3, 5), (4, 5)):
        years = (days[b] - days[a]).astype(int) / 365.25
        phase = -4 * np.pi / WAVELENGTH_M * speed * years / 1000 + rng.normal(0, 0.15, speed.shape)
        name = f"{days[a]}_{days[b]}"
        layers = bands(phase, np.abs(rng.normal(120, 30, speed.shape)))
        write_raster(folder / f"{name}.tif", layers.astype("float32"), names, transform=AT, crs="EPSG:32632")
        write_raster(
            folder / f"{name}.cc.tif",
            np.stack([phase, np.full(speed.shape, 0.8)]).astype("float32"),
            ("amplitude", "coherence"),
            transform=AT,
            crs="EPSG:32632",
        )
        lines += ["[[pair]]", f"from = {days[a]}", f"to = {days[b]}", f'unwrapped = "{name}.tif"']
        lines += [f'coherence = "{name}.cc.tif"', ""]
    (folder / "stack.toml").write_text("\n".join(lines))
    return read_stack(folder)


@pytest.mark.parametrize(
    ("bands", "names"),
    [
        (lambda phase, bright: np.stack([bright, phase]), ("amplitude", "unwrapped phase")),
        (lambda phase, bright: np.stack([phase, bright]), ("unw", "mag")),
        (lambda phase, bright: np.stack([bright, bright * 0 + 1, phase]), ("amp", "conncomp", "phase")),
        (lambda phase, _: phase[None], ()),
    ],
)
def test_rates_are_those_of_the_phase(tmp_path, bands, names):
    movement = invert(write_stack(tmp_path, bands, names))
    assert np.nanmedian(movement.rate_mm_per_year[8:16, 8:16]) == pytest.approx(-60.0, abs=6.0)
    assert abs(np.nanmedian(movement.rate_mm_per_year[:6])) < 6.0


@pytest.mark.parametrize("names", [(), ("band one", "band two")])
def test_unnamed_amplitude_beside_phase_is_refused(tmp_path, names):
    stack = write_stack(tmp_path, lambda phase, bright: np.stack([bright, phase]), names)
    with pytest.raises(RadiometryError, match=r"bands 1, 2 may contain the phase.*gdal_translate -b N"):
        invert(stack)


def test_velocity_and_radar_image_are_chosen_by_name(tmp_path):
    two = np.ones((2, 8, 8), "float32")
    place = {"transform": AT, "crs": "EPSG:32632"}
    path = write_raster(tmp_path / "v.tif", two, ("velocityStd", "velocity"), **place)
    assert find_components((path,), "los-towards") == ([(path, 2)], "los-towards")
    with pytest.raises(RadiometryError, match="bands 1, 2 may contain the velocity"):
        find_components((write_raster(tmp_path / "u.tif", two, (), **place),), "los-towards")
    path = write_raster(tmp_path / "s_20240101.tif", two, ("localIncidenceAngle", "Sigma0_VH_db"), **place)
    found = read_radar(path)
    assert (found.index, found.metadata["polarisation"]) == (2, "VH")
    path = write_raster(tmp_path / "t_20240101.tif", two, (), **place)
    with pytest.raises(RadiometryError, match=r"bands 1, 2 may contain the backscatter.*--band N"):
        read_radar(path)
    assert read_radar(path, 2).index == 2

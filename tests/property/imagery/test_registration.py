"""Shifts of one ground are measured within 0.25 px, whatever light, haze, noise and nodata are between the dates."""

from zipfile import ZipFile

import numpy as np
import pytest
import rasterio
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from detection.imagery.data.generate import draw_scene
from detection.imagery.scene.registration import measure_shift
from tests.fixtures.examples import expensive_examples

MOST_PX = 3.0
ERROR_PX = 0.25
SIZE = 192

lengths = st.floats(0, MOST_PX)
angles = st.floats(0, 2 * np.pi)
lights = st.floats(0.5, 2.0)
hazes = st.floats(0.0, 0.5)
noises = st.floats(0.0, 0.02)
seeds = st.integers(0, 2**16)


def degrade(image, light, haze, noise, rng):
    """Change the light of an image, lay uneven haze over it and add noise, as shares of its brightness."""
    brightest = np.percentile(image, 99)
    density = ndimage.gaussian_filter(rng.normal(size=image.shape), 40)
    density = haze * (density - density.min()) / np.ptp(density)
    hazy = image * (1 - density) + density * brightest
    return light * hazy + rng.normal(0, max(noise * light * brightest, 1e-6), image.shape)


def measure_moved(image, columns, rows, *, light=1.0, haze=0.0, noise=0.0, seed=0, older_valid=None):
    """Move an image by whole and partial pixels, and measure how far the degraded original lies off."""
    rng = np.random.default_rng(seed)
    newer = degrade(ndimage.shift(image, (rows, columns), order=3, mode="nearest"), 1.0, 0.0, noise, rng)
    older = degrade(image, light, haze, noise, rng)
    valid = np.ones(image.shape, bool) if older_valid is None else older_valid
    older = np.where(valid, older, 0)

    def read(column, row, width, height):
        window = np.s_[row : row + height, column : column + width]
        return newer[window], older[window], valid[window]

    return measure_shift(read, image.shape[1], image.shape[0])


def check(shift, columns, rows):
    assert np.hypot(shift.columns - columns, shift.rows - rows) < ERROR_PX


@pytest.mark.soak
@expensive_examples(25, deadline=None)
@example(length=0.0, angle=0.0, light=1.0, haze=0.0, noise=0.0, seed=0)
@example(length=0.5, angle=0.8, light=0.5, haze=0.5, noise=0.02, seed=1)
@example(length=MOST_PX, angle=2.5, light=2.0, haze=0.5, noise=0.02, seed=2)
@given(length=lengths, angle=angles, light=lights, haze=hazes, noise=noises, seed=seeds)
def test_shift_of_generated_ground_is_measured(length, angle, light, haze, noise, seed):
    image = draw_scene(5, SIZE, scars=1).bands["B4"].astype(float)
    columns, rows = length * np.cos(angle), length * np.sin(angle)
    check(measure_moved(image, columns, rows, light=light, haze=haze, noise=noise, seed=seed), columns, rows)


@expensive_examples(15, deadline=None)
@given(first=seeds, second=seeds, noise=noises)
def test_shift_between_different_grounds_is_not_made_up(first, second, noise):
    grounds = [draw_scene(seed, SIZE, scars=1).bands["B4"].astype(float) for seed in (2 * first, 2 * second + 1)]
    newer, older = (degrade(ground, 1.0, 0.0, noise, np.random.default_rng(first)) for ground in grounds)

    def read(column, row, width, height):
        window = np.s_[row : row + height, column : column + width]
        return newer[window], older[window], np.ones((height, width), bool)

    assert measure_shift(read, SIZE, SIZE) is None


@pytest.mark.soak
@pytest.mark.data
@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        (0.4, -0.3),
        (-2.1, 2.1),
        *(pytest.param(*shift, marks=pytest.mark.soak) for shift in ((0, 0), (-1.0, 0.0), (1.7, 1.2))),
    ],
)
def test_shift_of_a_satellite_scene_is_measured_where_the_earlier_date_shows_it(measured, columns, rows):
    folder = measured("hokkaido-2018-s2-scene")
    with rasterio.open(folder / "post_event_B4.tif") as source:
        image = source.read(1).astype(float)
    with rasterio.open(folder / "pre_event_B4.tif") as source:
        shown = source.read(1) > 0
    assert 0.39 < 1 - shown.mean() < 0.42
    for degraded in ({}, {"light": 0.5, "haze": 0.5, "noise": 0.02}):
        check(measure_moved(image, columns, rows, **degraded, older_valid=shown), columns, rows)


@pytest.mark.data
@pytest.mark.parametrize("number", range(0, 300, 30))
def test_shift_of_a_satellite_patch_is_measured(measured, number):
    with ZipFile(measured("landslide4sense-rgb") / "validation.zip") as patches:
        names = sorted(name for name in patches.namelist() if "/images/" in name and name.endswith(".png"))
        with patches.open(names[number]) as file:
            image = np.asarray(Image.open(file).convert("RGB"))[..., 0].astype(float)
    rng = np.random.default_rng(number)
    length, angle = rng.uniform(0, MOST_PX), rng.uniform(0, 2 * np.pi)
    columns, rows = length * np.cos(angle), length * np.sin(angle)
    for degraded in ({}, {"light": 0.5, "haze": 0.5, "noise": 0.02}):
        check(measure_moved(image, columns, rows, **degraded, seed=number), columns, rows)

"""The autoencoder of stations: reproducible training, no look-ahead, and what its inputs contribute."""

import numpy as np
import pytest

from detection.anomaly.detector import train_detector
from detection.anomaly.networks import NetworkRecord
from detection.anomaly.neural.channels import list_quantities, make_channels
from detection.anomaly.records import InputError
from detection.anomaly.registry import NETWORKS, list_parts, load_network
from detection.anomaly.windows import Series, sum_cells

DAY = 86400.0
CELLS = 500
CHANNELS = ("displacement_east", "displacement_north", "displacement_up")


def make_site(stations=5, cells=CELLS, common=1.0, seed=0):
    """Return stations of three channels with noise of their own and noise that all stations share."""
    rng = np.random.default_rng(seed)
    times_s = np.arange(cells) * DAY
    samples = {}
    for quantity in CHANNELS:
        shared = common * rng.normal(0, 1, cells)
        for number in range(stations):
            values = shared + rng.normal(0, 0.5, cells)
            samples[f"G{number}.{quantity}"] = Series(times_s, values, DAY)
    return samples


def alter(samples, label, cells, change):
    values = samples[label].values.copy()
    values[cells] += change
    return {**samples, label: Series(samples[label].times_s, values, DAY)}


@pytest.fixture(scope="module")
def detector():
    return train_detector("ae", make_site(), 1.0, 0)


def test_equal_seeds_give_equal_weights_and_other_seeds_do_not():
    network, record = load_network("ae"), NetworkRecord(make_site(stations=2))
    first, again, other = (network.train("ae", record, seed).weights for seed in (1, 1, 2))
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert not all(np.array_equal(first[key], other[key]) for key in first)


def test_each_part_has_a_threshold_of_its_own(detector):
    assert tuple(detector.thresholds) == list_parts("ae") == NETWORKS["ae"].parts
    assert detector.limit == 1.0


def test_readings_after_a_cell_do_not_change_its_score(detector):
    samples = make_site()
    later = {
        label: Series(one.times_s, np.where(np.arange(CELLS) >= 400, 7.0 - 3.0 * one.values, one.values), DAY)
        for label, one in samples.items()
    }
    before, after = detector.score(samples), detector.score(later)
    for label in samples:
        np.testing.assert_allclose(before[label][:400], after[label][:400], rtol=1e-5)
        assert np.isfinite(before[label][200:400]).all()
        assert not np.allclose(before[label][400:], after[label][400:])


@pytest.mark.parametrize(
    ("part", "cells", "change"),
    [
        ("level", slice(420, 421), 8.0),
        ("drift", slice(400, 450), np.linspace(0.0, 10.0, 50)),
        ("noise", slice(400, 412), np.resize([2.2, -2.2, 1.8, -2.4], 12)),
    ],
)
def test_a_fault_raises_the_score_of_its_series_and_names_the_part(detector, part, cells, change):
    samples = make_site()
    faulty = alter(samples, "G2.displacement_north", cells, change)
    quiet, _ = detector.score_with_parts(samples)
    scores, parts = detector.score_with_parts(faulty)
    inside = scores["G2.displacement_north"][cells]
    assert inside.max() > 1.0
    assert inside.max() > 2.0 * quiet["G2.displacement_north"][cells].max()
    names = list(detector.thresholds)
    assert part in {names[number] for number in parts["G2.displacement_north"][cells][inside > 1.0]}
    others = [label for label in samples if not label.startswith("G2.")]
    assert max(np.abs(scores[label] - quiet[label])[cells].max() for label in others) < 0.5 * inside.max()


def test_what_all_stations_share_is_explained_by_the_neighbours(detector):
    """A day on which all stations jump scores lower than the same jump of one station."""
    samples = make_site()
    alone = alter(samples, "G1.displacement_east", 420, 4.0)
    together = samples
    for number in range(5):
        together = alter(together, f"G{number}.displacement_east", 420, 4.0)
    label = "G1.displacement_east"
    assert detector.score(together)[label][420] < 0.5 * detector.score(alone)[label][420]


def test_channels_of_a_station_are_one_sample():
    channels = make_channels(NetworkRecord(make_site(stations=4)), list_quantities(make_site()))
    assert channels.own.shape == (4, 3, 2, CELLS)
    assert list(channels.quantities) == list(CHANNELS)
    assert np.isfinite(channels.others[:, :, :, 200:]).all()
    alone = make_channels(NetworkRecord(make_site(stations=3)), CHANNELS)
    assert np.isnan(alone.others).all(), "the median of two other stations follows a faulty one"


def test_rain_explains_motion_that_follows_it():
    """Each rain moves the only station. The network that reads rain scores such days lower."""
    rng = np.random.default_rng(3)
    rain = np.where(rng.random(1200) < 0.05, rng.gamma(2.0, 10.0, 1200), 0.0)
    times_s = np.arange(1200) * DAY
    values = np.cumsum(0.1 * rain) + rng.normal(0, 0.5, 1200)
    samples = {"G0.displacement": Series(times_s, values, DAY)}
    wet = np.flatnonzero(rain[600:] > 20.0) + 600
    scores = {}
    for name, series in (("with", sum_cells(times_s, rain, DAY)), ("without", None)):
        network, record = load_network("ae"), NetworkRecord(samples, series)
        level = network.score(network.train("ae", record, 0), record)["level"]["G0.displacement"]
        scores[name] = np.nanmean(level[wet]) / np.nanmedian(level[600:])
    assert scores["with"] < 0.9 * scores["without"]


def test_a_series_of_another_quantity_and_a_silent_gauge_are_scored_without_an_error():
    rng = np.random.default_rng(4)
    rain = sum_cells(np.arange(CELLS) * DAY, rng.gamma(0.2, 5.0, CELLS), DAY)
    samples = make_site(stations=2)
    detector = train_detector("ae", samples, 1.0, 0, rain)
    tilt = {"T1.tilt_x": Series(np.arange(CELLS) * DAY, rng.normal(0, 1, CELLS), DAY)}
    scores = detector.score({**samples, **tilt})
    assert np.isnan(scores["T1.tilt_x"]).all()
    assert np.isfinite(scores["G0.displacement_up"][200:]).all()
    assert np.isnan(detector.score(tilt)["T1.tilt_x"]).all()


@pytest.mark.soak
def test_stations_that_measure_different_quantities_are_trained_together():
    samples = make_site(stations=2)
    times_s, rng = np.arange(CELLS) * DAY, np.random.default_rng(1)
    for quantity in ("tilt_x", "tilt_y", "extension", "pore_pressure", "water_level", "strain", "settlement"):
        samples[f"X.{quantity}"] = Series(times_s, rng.normal(0, 1, CELLS), DAY)
    samples["crack.crack_width"] = Series(times_s, rng.normal(0, 1, CELLS), DAY)
    scores = train_detector("ae", samples, 1.0, 0).score(samples)
    assert all(np.isfinite(scores[label][200:]).all() for label in samples)


def test_too_few_windows_are_refused_with_their_number():
    with pytest.raises(InputError, match=r"^\d+ complete windows of 30 readings: at least 100 are needed to train ae$"):
        train_detector("ae", make_site(stations=1, cells=80), 1.0, 0)

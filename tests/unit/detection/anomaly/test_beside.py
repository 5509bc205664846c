"""A network that reads other quantities: laid on the cells of the motion, read alone, refused where they are others."""

import math
from dataclasses import replace

import numpy as np
import pytest

from detection.anomaly.bench import format_quantities, run_quantities_bench
from detection.anomaly.detector import train_detector
from detection.anomaly.errors import InputError
from detection.anomaly.faults import inject
from detection.anomaly.jobs import score, train
from detection.anomaly.neural.site_table import KEPT, lay_beside, stack_site
from detection.anomaly.records import Beside, DetectorTraining, Scoring
from detection.anomaly.windows import Series

DAY, HOUR = 86400.0, 3600.0
DAYS = 420
NOON_S = 0.5 * DAY  # the motion is read at noon


def at_noon(values):
    return Series(NOON_S + np.arange(len(values)) * DAY, np.asarray(values, dtype=np.float64), DAY)


def hourly(values, **how):
    return Beside(list(np.arange(len(values)) * HOUR), list(values), HOUR, **how)


def test_faster_quantities_become_means_and_what_rain_left_and_slower_ones_stay_missing_between():
    motion = {"G1": at_noon(np.zeros(6))}
    hours = np.arange(6 * 24)
    wet = np.where(hours % 24 == 3, 5.0, 0.0)
    laid = lay_beside(
        motion,
        {
            "P1.pore_pressure": hourly(hours.astype(float)),
            "R1.rain": hourly(wet, adds=True),
            "W1.groundwater_level": Beside([NOON_S, NOON_S + 3 * DAY], [7.0, 8.0], 3 * DAY),
        },
    )
    assert all(np.array_equal(one.times_s, motion["G1"].times_s) for one in laid.values())
    # a cell holds what came after the reading of the day before, up to this one
    assert laid["P1.pore_pressure"].values[2] == np.mean(np.arange(37, 61))
    rain = laid["R1.rain"].values
    assert math.isnan(rain[0]), "half a day of rain is no day: it is not known, it is not small"
    assert rain[2] == pytest.approx(KEPT * rain[1] + 5.0)
    assert np.isfinite(laid["W1.groundwater_level"].values).tolist() == [True, False, False, True, False, False]


def test_a_sum_over_missing_readings_is_not_known():
    wet = np.ones(6 * 24)
    wet[60:75] = np.nan
    rain = lay_beside({"G1": at_noon(np.zeros(6))}, {"R1.rain": hourly(wet, adds=True)})["R1.rain"].values
    assert np.isfinite(rain).tolist() == [False, True, True, False, True, True]


def test_what_comes_after_a_reading_is_in_no_cell_up_to_it():
    rng = np.random.default_rng(0)
    early = at_noon(rng.normal(size=5))
    early.times_s[3] -= 2 * HOUR  # one station reported a little earlier that day
    motion = {"G1": early, "G2": at_noon(rng.normal(size=5))}
    values = rng.normal(size=5 * 24)
    later = values.copy()
    hours_s = np.arange(values.size) * HOUR
    later[hours_s > early.times_s[3]] += 100.0
    before, after = (lay_beside(motion, {"P1.tilt": hourly(one)})["P1.tilt"].values for one in (values, later))
    assert np.array_equal(before[:4], after[:4])
    assert before[4] != after[4]


def draw_site(seed=4):
    """Three stations that rise and fall with the water of the same day, hardly seen in each other."""
    rng = np.random.default_rng(seed)
    water = rng.normal(0, 2.0, DAYS)
    motion = {f"G{k}": at_noon(water * (1.0 if k == 0 else 0.0) + rng.normal(0, 0.3, DAYS)) for k in range(2)}
    return motion, {"W1.groundwater_level": at_noon(water)}


@pytest.fixture(scope="module")
def drawn():
    return draw_site()


@pytest.fixture(scope="module")
def trained(drawn):
    return {name: train_detector(name, drawn[0], 1.0, 1, drawn[1]) for name in ("site-ae", "quantities-ae")}


def test_a_station_that_follows_the_water_no_more_is_seen_beside_it_alone(drawn, trained):
    motion, beside = drawn
    odd = motion["G0"].values.copy()
    odd[400] -= 2.0 * beside["W1.groundwater_level"].values[400] + 3.0  # the water rose, the station fell
    odd = motion | {"G0": replace(motion["G0"], values=odd)}
    usual = {n: np.nanmedian(one.score(motion, beside=beside)["G0"][300:]) for n, one in trained.items()}
    found = {n: one.score(odd, beside=beside)["G0"][400] / usual[n] for n, one in trained.items()}
    assert usual["quantities-ae"] < 0.8 * usual["site-ae"], "the water tells what is to come"
    assert found["quantities-ae"] > 1.5 * found["site-ae"]


def test_weights_are_of_the_quantities_that_they_learnt_beside(drawn, trained):
    motion, beside = drawn
    one = trained["quantities-ae"]
    assert one.notes["channels"] == ["W1.groundwater_level"]
    with pytest.raises(InputError, match=r"trained beside W1\.groundwater_level; there is now nothing"):
        one.score(motion)
    with pytest.raises(InputError, match=r"now R1\.rain, W1\.groundwater_level"):
        one.score(motion, beside=beside | {"R1.rain": beside["W1.groundwater_level"]})
    assert one.score({}) == {}, "where nothing can be scored there is nothing to refuse"
    silent = {"W1.groundwater_level": at_noon(np.full(DAYS, np.nan))}
    assert np.isfinite(one.score(motion, beside=silent)["G0"][300:]).all(), "one that is silent is missing"


def test_where_there_is_nothing_beside_it_is_the_network_of_the_site(drawn, trained):
    motion, beside = drawn
    alone = train_detector("quantities-ae", motion, 1.0, 1)
    site = trained["site-ae"]
    assert all(np.array_equal(alone.weights[key], site.weights[key]) for key in site.weights)
    assert "channels" not in site.notes
    scores = site.score(motion)
    assert all(np.array_equal(scores[n], row, equal_nan=True) for n, row in alone.score(motion).items())
    assert all(np.array_equal(scores[n], row, equal_nan=True) for n, row in site.score(motion, beside=beside).items())


def test_the_table_of_a_site_puts_what_is_read_alone_behind_the_stations(drawn):
    motion, beside = drawn
    plain, _ = stack_site(motion, ["G0", "G1"], {}, [])
    table, _ = stack_site(motion, ["G0", "G1"], beside, ["W1.groundwater_level", "X.rain"])
    assert np.array_equal(table[:, :4], plain, equal_nan=True)
    assert np.isfinite(table[300:, [4, 6]]).all()
    assert not np.isfinite(table[:, [5, 7]]).any()
    # where the first station is gone, the others still lie beside what was laid on its cells
    fewer, _ = stack_site(
        {"G1": Series(motion["G1"].times_s[50:], motion["G1"].values[50:], DAY)}, ["G1"], beside, [*beside]
    )
    assert np.array_equal(fewer[100:, 2], table[150:, 4], equal_nan=True)


def test_a_score_names_the_quantities_that_it_was_compared_with(tmp_path, drawn):
    motion, _ = drawn
    samples = {name: (one.times_s.tolist(), one.values.tolist()) for name, one in motion.items()}
    water = drawn[1]["W1.groundwater_level"].values
    beside = {
        "W1.groundwater_level": Beside((NOON_S + np.arange(DAYS) * DAY).tolist(), water.tolist(), DAY),
        "R1.rain": Beside([], [], HOUR, adds=True),
    }
    made = train(DetectorTraining("quantities-ae", samples, DAY, tmp_path, 1.0, beside=beside))
    assert made.card["training"]["channels"] == ["R1.rain", "W1.groundwater_level"]
    samples["G0"][1][410] += 30.0
    asked = Scoring("quantities-ae", samples, DAY, made.checkpoint, NOON_S + 405 * DAY, beside)
    found = {one.at_s: one for one in score(asked).scores if one.station == "G0"}
    wild, before = (found[NOON_S + day * DAY] for day in (410, 407))
    assert wild.alerted
    expected = "what a network expects from all stations and quantities, and with 1 other series"
    assert (wild.compared_with, before.compared_with) == (f"{expected} (W1.groundwater_level)", expected)


def test_a_decoupled_series_follows_its_own_past_without_a_step():
    days = np.arange(900)
    clean = at_noon(10.0 * np.sin(days / 17.0) + 0.01 * days)
    odd, last = inject(clean, "decoupled", 700, 0.1, np.random.default_rng(0))
    assert (last, np.array_equal(odd.values[:700], clean.values[:700])) == (744, True)
    # it moves as it did a year before
    assert np.allclose(np.diff(odd.values[700:745]), np.diff(clean.values[335:380]))
    steps = np.abs(np.diff(odd.values))
    assert steps[[699, 744]].max() < 3.0 * np.abs(np.diff(clean.values)).max()
    assert np.allclose(np.diff(odd.values[745:]), np.diff(clean.values[745:]))


def test_faults_are_laid_in_one_quantity_after_the_other(drawn):
    motion, beside = drawn
    long = {n: at_noon(np.tile(s.values, 3)) for n, s in {**motion, **beside}.items()}
    groups = {"motion": {n: long[n] for n in motion}, "groundwater_level": {n: long[n] for n in beside}}
    rows = run_quantities_bench(groups, {}, ["persistence-z", "rules"], 0.5, range(1))
    assert [(row["quantity"], row["detector"]) for row in rows] == [
        (quantity, name) for quantity in groups for name in ("persistence-z", "rules")
    ]
    assert all(row["events"] > 0 for row in rows)
    assert any("decoupled" in row["recall_by_kind"] for row in rows)
    short = {"motion": {"G0": at_noon(motion["G0"].values[:60])}}
    rows += run_quantities_bench(short, {}, ["quantities-ae"], 0.5, range(1))
    assert "at least 100 are needed" in rows[-1]["refused"]
    assert len(format_quantities(rows).splitlines()) == 6

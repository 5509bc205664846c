"""Settings beside each other: nothing of the calibration block is read, and chance alone chooses none."""

from dataclasses import replace

import numpy as np
import pytest

from forecasting.data.series import Panel
from forecasting.data.splits import split
from forecasting.errors import NotEnoughDataError
from forecasting.evaluation.grid import choose_settings, compare_settings, score_settings
from forecasting.serving.records import HorizonErrors

DAY_S = 86400.0
QUICK = {"epochs": 8, "learning_rate": 1e-2, "window": 10}


def chaos(rows=300):
    """A logistic map, which a network can learn: with nothing to learn its blend is the simple forecast."""
    values = np.empty((rows, 2))
    values[0] = 0.3, 0.51
    for k in range(1, rows):
        values[k] = 3.7 * values[k - 1] * (1.0 - values[k - 1])
    return Panel(0.0, DAY_S, ("A", "B"), 10.0 * values)


def test_nothing_of_what_the_gate_judges_by_is_read():
    pytest.importorskip("torch")
    panel = chaos()
    first = split(panel.values.shape[0]).calibration.first
    values = panel.values.copy()
    values[first:] += 1000.0
    here, there = (score_settings(one, "gru", (DAY_S,), QUICK, 7) for one in (panel, replace(panel, values=values)))
    assert here == there
    values[first - 2] += 1.0  # scored by the grid
    assert score_settings(replace(panel, values=values), "gru", (DAY_S,), QUICK, 7) != here, "the rows before are"
    assert {len(one.network) for one in here} == {int(first * 0.196)}
    assert score_settings(panel, "gru", (DAY_S,), QUICK | {"hidden": 8}, 7) != here


def test_a_record_that_is_too_short_is_said_to_be():
    pytest.importorskip("torch")
    with pytest.raises(NotEnoughDataError, match="needed"):
        score_settings(chaos(120), "gru", (DAY_S,), QUICK, 7)


def errors(factor, noise=0.1, horizon_s=DAY_S, seed=1, n=200):
    base = np.abs(np.random.default_rng(9).normal(0, 1, n)) + 1.0
    own = base * factor + np.random.default_rng(seed).normal(0, noise, n)
    return HorizonErrors(horizon_s, 1, tuple(own), tuple(base), tuple(base * 0.9))


def choose(*cells):
    return choose_settings(compare_settings([cell if isinstance(cell, list) else [cell] for cell in cells]))


def test_the_best_is_chosen_only_where_it_is_better_by_more_than_chance():
    assert choose(errors(0.8), errors(0.7, seed=2), errors(0.75, seed=3)) == 1
    assert choose(errors(0.7), errors(0.8, seed=2)) is None, "worse"
    assert choose(errors(0.8, 2.0), errors(0.79, 2.0, seed=2)) is None, "within the noise"
    many = [errors(0.8, 1.0, seed=k) for k in range(40)]
    assert choose(*many) is None, "one of many that are alike looks good by chance"
    week = 7 * DAY_S
    mixed = [errors(0.5, seed=2), errors(0.95, horizon_s=week, seed=3)]
    assert choose([errors(0.8), errors(0.8, horizon_s=week)], mixed) is None, "worse at another horizon"
    assert choose([errors(0.8), errors(0.8, horizon_s=week)], [errors(0.5, seed=2)]) is None, "silent at another"
    assert choose(errors(0.8)) is None


def test_the_table_holds_intervals_that_widen_with_the_number_of_settings():
    one = compare_settings([[errors(0.8)], [errors(0.7, 1.0, seed=2)]])[1]
    low, high = one.over_use_mm
    assert low < one.mae_mm - compare_settings([[errors(0.8)]])[0].mae_mm < high
    assert one.over_persistence_mm[1] < 0
    many = compare_settings([[errors(0.8)], [errors(0.7, 1.0, seed=2)], *([errors(0.9, seed=k)] for k in range(40))])[1]
    assert many.over_use_mm[0] < low < high < many.over_use_mm[1]
    weeks = [errors(0.8, horizon_s=k * DAY_S, seed=k) for k in range(1, 41)]
    long = compare_settings([weeks, [replace(errors(0.7, 1.0, seed=2), horizon_s=DAY_S), *weeks[1:]]])[40]
    assert long.over_use_mm[1] - long.over_use_mm[0] > 1.2 * (high - low), "and with the number of horizons"
    holed = replace(errors(0.8), network=(None, *errors(0.8).network[1:]))
    assert compare_settings([[holed]])[0].n == 199
    assert compare_settings([[errors(0.8, n=2)]])[0].over_persistence_mm is None

"""Contract of drivers in forecasting networks: they are read, may be missing, and are never known too early.

The tests that take a model run over `MODELS` of the module that collects them, as in `test_forecasters.py`.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from forecasting.data.covariates import (
    Covariate,
    covariates_from_samples,
    join_properties,
    make_season,
    rows_from_covariates,
)
from forecasting.data.driver_rows import DriverRows
from forecasting.data.kinds import KINDS, find_kind
from forecasting.data.rain_forecasts import lay_outlook
from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import split
from forecasting.errors import PanelError
from forecasting.explanation.record import list_drivers
from forecasting.neural.checkpoint import model_hash, read, to_bytes, write
from forecasting.neural.forecaster import NeuralForecaster, build_network
from forecasting.neural.learner import Settings
from forecasting.neural.source_scale import fit_scale
from forecasting.neural.training import deterministic, prepare, train_network
from forecasting.registry import NETWORKS
from tests.data.slopes import rain_to_come
from tests.fixtures.networks import pytest_generate_tests  # noqa: F401 - a hook of pytest

MODELS = sorted(NETWORKS)
HORIZONS = (DAY_S, 2 * DAY_S)
SMALL = Settings(window=10, hidden=8, dropout=0.0)
ORIGIN = np.array([250])


@cache
def wet():
    """Every kind of driver there is, beside two stations of which a few facts are known."""
    panel, rain, expected = rain_to_come()
    times, rows = panel.times_s, panel.values.shape[0]
    draw = np.random.default_rng(1)
    samples = {
        "R.rain": rain,
        "W.reservoir_level": (times, np.cumsum(draw.normal(0, 1, rows))),
        "T.air_temperature": (times, draw.normal(5, 9, rows)),
        "P.ndvi": (times[::10], draw.uniform(0, 1, rows)[::10]),
        "G9.displacement": (times, np.cumsum(draw.normal(0.1, 1, rows))),
    }
    laid = (*covariates_from_samples(samples, panel), lay_outlook(expected, panel), *make_season(panel))
    drivers = rows_from_covariates(laid, panel.step_s)
    facts = {"A": {"height_m": 900.0, "plunge_deg": 20.0}, "B": {"height_m": 820.0}}
    return replace(panel, drivers=join_properties(drivers, facts, panel))


@cache
def lively(model):
    """A network whose head is no longer zero, so that it says something without a training."""
    panel = wet()
    with deterministic(3):
        recipe = prepare(model, panel, split(panel.values.shape[0]), HORIZONS, SMALL)
        network = build_network(recipe)
        for weights in network.head.parameters():
            torch.nn.init.normal_(weights, std=0.3)
    return NeuralForecaster(recipe, network.eval())


def answer(forecaster, drivers, panel=None):
    return forecaster.quantiles((panel or wet()).values, ORIGIN, drivers=drivers)


def test_every_network_hears_each_driver_up_to_the_origin_and_none_after_it(model):
    panel, forecaster = wet(), lively(model)
    assert set(panel.drivers.kinds) == set(KINDS)
    before = answer(forecaster, panel.drivers)
    later = panel.drivers.values.copy()
    later[ORIGIN[0] + 1 :] = np.nan
    later[ORIGIN[0] + 2 :: 2] = 1e4
    np.testing.assert_array_equal(before, answer(forecaster, replace(panel.drivers, values=later)))
    # a network may choose among them
    for kind in set(forecaster.recipe.sources.kinds):
        other = panel.drivers.values.copy()
        other[: ORIGIN[0] + 1, [own == kind for own in panel.drivers.kinds]] *= -0.5
        assert np.abs(before - answer(forecaster, replace(panel.drivers, values=other))).max() > 1e-6, kind
    facts = panel.drivers.properties.copy()
    facts[0, 0] -= 60.0
    assert np.abs(before - answer(forecaster, replace(panel.drivers, properties=facts))).max() > 1e-6


def test_a_driver_that_says_nothing_is_one_that_is_not_there(model):
    panel, forecaster = wet(), lively(model)
    drivers = panel.drivers
    for kind in KINDS:
        silent = drivers.values.copy()
        silent[:, [own == kind for own in drivers.kinds]] = np.nan
        made = answer(forecaster, replace(drivers, values=silent))
        np.testing.assert_array_equal(made, answer(forecaster, drivers.without((kind,))))
        assert np.isfinite(made).all()
    nothing = replace(
        drivers, values=np.full_like(drivers.values, np.nan), properties=np.full_like(drivers.properties, np.nan)
    )
    np.testing.assert_array_equal(answer(forecaster, nothing), answer(forecaster, None))
    d = drivers
    turned = DriverRows(d.names[::-1], d.kinds[::-1], d.values[:, ::-1], d.property_names[::-1], d.properties[:, ::-1])
    np.testing.assert_array_equal(answer(forecaster, turned), answer(forecaster, drivers))


def test_stations_in_another_order_are_forecast_the_same(station_model):
    panel, forecaster = wet(), lively(station_model)
    turned = Panel(0.0, DAY_S, ("B", "A"), panel.values[:, ::-1], drivers=panel.drivers.of_stations([1, 0]))
    seen, floors = forecaster.on_panel(turned)
    made = forecaster.quantiles(seen.values, ORIGIN, floors, seen.drivers)
    np.testing.assert_allclose(made[:, ::-1], answer(forecaster, panel.drivers), rtol=1e-5, atol=1e-5)
    alone = Panel(0.0, DAY_S, ("B",), panel.values[:, 1:], drivers=panel.drivers.of_stations([1]))
    seen, floors = forecaster.on_panel(alone)
    made = forecaster.quantiles(seen.values, ORIGIN, floors, seen.drivers)
    np.testing.assert_allclose(made[:, 0], answer(forecaster, panel.drivers)[:, 1], rtol=1e-5, atol=1e-5)


def test_drivers_say_nothing_to_neighbours_through_a_station_that_is_silent(graph_model):
    panel, forecaster = wet(), lively(graph_model)
    values = panel.values.copy()
    values[200:, 1] = np.nan
    made = forecaster.quantiles(values, ORIGIN, drivers=panel.drivers)
    facts = panel.drivers.properties.copy()
    facts[1] *= 3.0
    other = forecaster.quantiles(values, ORIGIN, drivers=replace(panel.drivers, properties=facts))
    np.testing.assert_array_equal(made[:, 0], other[:, 0])
    seen, _ = forecaster.on_panel(Panel(0.0, DAY_S, ("A",), values[:, :1], drivers=panel.drivers.of_stations([0])))
    assert seen.stations == ("A", "B")
    assert np.isnan(seen.drivers.properties[1]).all()


def test_a_checkpoint_keeps_what_was_read(tmp_path):
    for model in ("gru", "graph-gru"):
        forecaster = lively(model)
        content = to_bytes(forecaster, "d")
        loaded, _ = read(write(tmp_path, content, {"model_hash": model_hash(content)}))
        assert loaded.recipe == forecaster.recipe
        np.testing.assert_array_equal(answer(loaded, wet().drivers), answer(forecaster, wet().drivers))


def test_a_network_that_reads_no_driver_is_the_same_whether_there_are_any():
    bare = replace(wet(), drivers=None)
    parts = split(bare.values.shape[0])
    quick = replace(SMALL, epochs=1, stride=8)
    for model in ("gru", "graph-gru"):
        one = train_network(model, bare, parts, HORIZONS, quick).forecaster
        two = train_network(model, wet(), parts, HORIZONS, replace(quick, covariates=())).forecaster
        assert to_bytes(one, "d") == to_bytes(two, "d")
        assert "sources" not in one.recipe.to_json()


def test_the_season_is_turned_to_the_target_and_its_scale_is_left_alone():
    panel = wet()
    scale = fit_scale(panel.drivers, 100)
    place = panel.drivers.names.index("season.sin")
    assert (scale.centre[place], scale.scale[place]) == (0.0, 1.0)
    network, recipe = lively("gru").network, lively("gru").recipe
    heard = torch.from_numpy(recipe.sources.cut(panel.drivers, ORIGIN, recipe.window))
    known = network.ahead(heard)
    assert known.shape == (1, 2, 5)
    for i, steps in enumerate(recipe.steps):
        at = panel.drivers.values[ORIGIN[0] + steps, [place, place + 1]]
        np.testing.assert_allclose(known[0, i, 2:], [*at, 1.0], atol=1e-6)
    assert network.ahead(torch.zeros_like(heard)).abs().max() == 0
    half = replace(panel, drivers=panel.drivers.only(("season.sin",)))
    with deterministic(3):
        recipe = prepare("gru", half, split(half.values.shape[0]), HORIZONS, SMALL)
        alone = NeuralForecaster(recipe, build_network(recipe).eval())
    assert np.isfinite(answer(alone, half.drivers)).all(), "one part of the angle is a number like others"


def test_what_was_read_is_said_with_what_is_missing_of_it():
    panel = wet()
    read = list_drivers(lively("gru").recipe.sources, panel)
    assert {one["name"]: one["kind"] for one in read} == {
        "R.rain": "rain",
        "W.reservoir_level": "water",
        "T.air_temperature": "temperature",
        "P.ndvi": "image",
        "G9.displacement": "stations",
        "R.rain_next_2d_mm": "outlook",
        "season": "season",
        "height_m": "station",
        "plunge_deg": "station",
    }
    missing = {one["name"]: one["missing"] for one in read}
    assert (missing["P.ndvi"], missing["R.rain"], missing["plunge_deg"]) == (pytest.approx(0.9, abs=0.01), 0.0, 0.5)
    assert all(r["missing"] == 1.0 for r in list_drivers(lively("gru").recipe.sources, replace(panel, drivers=None)))
    assert list_drivers(None, panel) == []


def test_kinds_and_facts_that_nobody_could_read_are_refused():
    names = ("R1.rain_mm", "T1.soil_temperature", "G1.crack_opening", "P.ndvi", "X.any", "S1.strain", "rain.level")
    assert [find_kind(name) for name in names] == "rain temperature stations image water stations water".split()
    panel = wet()
    with pytest.raises(PanelError, match="properties of 1 stations"):
        replace(panel, drivers=panel.drivers.of_stations([0]))
    with pytest.raises(PanelError, match="properties of stations"):
        replace(panel.drivers, property_names=("one",))
    alone = rows_from_covariates([Covariate("G2.tilt_x", "stations", np.arange(40.0))], DAY_S)
    assert alone.names == ("G2.tilt_x.change_1d", "G2.tilt_x.change_7d", "G2.tilt_x.change_30d")
    assert join_properties(None, {}, panel) is None
    assert join_properties(None, {"A": {"height_m": 1.0}}, panel).properties.shape == (2, 1)

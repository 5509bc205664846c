"""Contract of drivers in forecasting networks: they are used, may be missing, and cause no look-ahead.

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
    """Return a panel of two stations with every kind of driver and some station properties."""
    panel, rain, expected = rain_to_come()
    times, rows = panel.times_s, panel.values.shape[0]
    rng = np.random.default_rng(1)
    samples = {
        "R.rain": rain,
        "W.reservoir_level": (times, np.cumsum(rng.normal(0, 1, rows))),
        "T.air_temperature": (times, rng.normal(5, 9, rows)),
        "P.ndvi": (times[::10], rng.uniform(0, 1, rows)[::10]),
        "G9.displacement": (times, np.cumsum(rng.normal(0.1, 1, rows))),
    }
    covariates = (*covariates_from_samples(samples, panel), lay_outlook(expected, panel), *make_season(panel))
    drivers = rows_from_covariates(covariates, panel.step_s)
    facts = {"A": {"height_m": 900.0, "plunge_deg": 20.0}, "B": {"height_m": 820.0}}
    return replace(panel, drivers=join_properties(drivers, facts, panel))


@cache
def lively(model):
    """Return an untrained network with random head weights, so that its forecast depends on its inputs."""
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
    # A network may use a part of the kinds.
    for kind in set(forecaster.recipe.sources.kinds):
        other = panel.drivers.values.copy()
        other[: ORIGIN[0] + 1, [driver_kind == kind for driver_kind in panel.drivers.kinds]] *= -0.5
        assert np.abs(before - answer(forecaster, replace(panel.drivers, values=other))).max() > 1e-6, kind
    facts = panel.drivers.properties.copy()
    facts[0, 0] -= 60.0
    assert np.abs(before - answer(forecaster, replace(panel.drivers, properties=facts))).max() > 1e-6


def test_a_driver_that_says_nothing_is_one_that_is_not_there(model):
    panel, forecaster = wet(), lively(model)
    drivers = panel.drivers
    for kind in KINDS:
        values = drivers.values.copy()
        values[:, [driver_kind == kind for driver_kind in drivers.kinds]] = np.nan
        forecast = answer(forecaster, replace(drivers, values=values))
        np.testing.assert_array_equal(forecast, answer(forecaster, drivers.without((kind,))))
        assert np.isfinite(forecast).all()
    empty_drivers = replace(
        drivers, values=np.full_like(drivers.values, np.nan), properties=np.full_like(drivers.properties, np.nan)
    )
    np.testing.assert_array_equal(answer(forecaster, empty_drivers), answer(forecaster, None))
    d = drivers
    reversed_drivers = DriverRows(
        d.names[::-1], d.kinds[::-1], d.values[:, ::-1], d.property_names[::-1], d.properties[:, ::-1]
    )
    np.testing.assert_array_equal(answer(forecaster, reversed_drivers), answer(forecaster, drivers))


def test_stations_in_another_order_are_forecast_the_same(station_model):
    panel, forecaster = wet(), lively(station_model)
    reversed_panel = Panel(0.0, DAY_S, ("B", "A"), panel.values[:, ::-1], drivers=panel.drivers.of_stations([1, 0]))
    aligned, floors = forecaster.on_panel(reversed_panel)
    forecast = forecaster.quantiles(aligned.values, ORIGIN, floors, aligned.drivers)
    np.testing.assert_allclose(forecast[:, ::-1], answer(forecaster, panel.drivers), rtol=1e-5, atol=1e-5)
    alone = Panel(0.0, DAY_S, ("B",), panel.values[:, 1:], drivers=panel.drivers.of_stations([1]))
    aligned, floors = forecaster.on_panel(alone)
    forecast = forecaster.quantiles(aligned.values, ORIGIN, floors, aligned.drivers)
    np.testing.assert_allclose(forecast[:, 0], answer(forecaster, panel.drivers)[:, 1], rtol=1e-5, atol=1e-5)


def test_drivers_say_nothing_to_neighbours_through_a_station_that_is_silent(graph_model):
    panel, forecaster = wet(), lively(graph_model)
    values = panel.values.copy()
    values[200:, 1] = np.nan
    forecast = forecaster.quantiles(values, ORIGIN, drivers=panel.drivers)
    facts = panel.drivers.properties.copy()
    facts[1] *= 3.0
    other = forecaster.quantiles(values, ORIGIN, drivers=replace(panel.drivers, properties=facts))
    np.testing.assert_array_equal(forecast[:, 0], other[:, 0])
    aligned, _ = forecaster.on_panel(Panel(0.0, DAY_S, ("A",), values[:, :1], drivers=panel.drivers.of_stations([0])))
    assert aligned.stations == ("A", "B")
    assert np.isnan(aligned.drivers.properties[1]).all()


def test_checkpoint_contains_the_drivers(tmp_path):
    for model in ("gru", "graph-gru"):
        forecaster = lively(model)
        content = to_bytes(forecaster, "d")
        loaded, _ = read(write(tmp_path, content, {"model_hash": model_hash(content)}))
        assert loaded.recipe == forecaster.recipe
        np.testing.assert_array_equal(answer(loaded, wet().drivers), answer(forecaster, wet().drivers))


def test_network_without_drivers_ignores_those_of_the_panel():
    bare = replace(wet(), drivers=None)
    parts = split(bare.values.shape[0])
    quick = replace(SMALL, epochs=1, stride=8)
    for model in ("gru", "graph-gru"):
        without_drivers = train_network(model, bare, parts, HORIZONS, quick).forecaster
        with_ignored_drivers = train_network(model, wet(), parts, HORIZONS, replace(quick, covariates=())).forecaster
        assert to_bytes(without_drivers, "d") == to_bytes(with_ignored_drivers, "d")
        assert "sources" not in without_drivers.recipe.to_json()


def test_season_is_given_at_the_target_and_is_not_scaled():
    panel = wet()
    scale = fit_scale(panel.drivers, 100)
    place = panel.drivers.names.index("season.sin")
    assert (scale.centre[place], scale.scale[place]) == (0.0, 1.0)
    network, recipe = lively("gru").network, lively("gru").recipe
    driver_inputs = torch.from_numpy(recipe.sources.cut(panel.drivers, ORIGIN, recipe.window))
    known = network.ahead(driver_inputs)
    assert known.shape == (1, 2, 5)
    for i, steps in enumerate(recipe.steps):
        at = panel.drivers.values[ORIGIN[0] + steps, [place, place + 1]]
        np.testing.assert_allclose(known[0, i, 2:], [*at, 1.0], atol=1e-6)
    assert network.ahead(torch.zeros_like(driver_inputs)).abs().max() == 0
    half = replace(panel, drivers=panel.drivers.only(("season.sin",)))
    with deterministic(3):
        recipe = prepare("gru", half, split(half.values.shape[0]), HORIZONS, SMALL)
        alone = NeuralForecaster(recipe, build_network(recipe).eval())
    assert np.isfinite(answer(alone, half.drivers)).all(), "the season needs both sine and cosine"


def test_drivers_are_listed_with_their_missing_share():
    panel = wet()
    drivers = list_drivers(lively("gru").recipe.sources, panel)
    assert {row["name"]: row["kind"] for row in drivers} == {
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
    missing = {row["name"]: row["missing"] for row in drivers}
    assert (missing["P.ndvi"], missing["R.rain"], missing["plunge_deg"]) == (pytest.approx(0.9, abs=0.01), 0.0, 0.5)
    assert all(r["missing"] == 1.0 for r in list_drivers(lively("gru").recipe.sources, replace(panel, drivers=None)))
    assert list_drivers(None, panel) == []


def test_driver_kinds_are_derived_from_names_and_wrong_properties_refused():
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

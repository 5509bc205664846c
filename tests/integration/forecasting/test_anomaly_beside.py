"""A network that reads other quantities, as served: trained, scored, and trained anew where they are others."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.config.service import ServiceConfig
from monitor.domain.observation import Observation
from monitor.domain.site import Site
from monitor.jobs import anomaly
from monitor.jobs.anomaly_beside import list_beside
from monitor.jobs.forecasts.train import _why_count, train_one
from monitor.store.alerting.sites import save_site
from monitor.store.database.engine import Database
from monitor.store.models.registry import find_active
from monitor.store.readings.observations import add_observations
from monitor.store.schema.views import load_view
from tests.conftest import ON_SQLITE
from tests.integration.forecasting.test_anomaly_quantities import UNITS, declare

DAY, START = timedelta(days=1), datetime(2025, 1, 1, tzinfo=UTC)
STATIONS = {
    "G1": ("displacement",), "G2": ("displacement",), "P1": ("pore_pressure",), "R1": ("rain",), "T1": ("temperature",),
}  # fmt: skip
NAME = "quantities-ae"


def send(database: Database, stations: dict[str, tuple[str, ...]], days: range, jump_mm: float = 0.0) -> datetime:
    """Daily readings: G1 goes with the pressure of the day; the instant after the last."""
    noise = random.Random(7)
    rows = []
    for day in range(days.stop):
        water = noise.gauss(0.0, 2.0)
        for name, quantities in stations.items():
            for quantity in quantities:
                draw = noise.gauss(0.0, 0.4)
                value = {"G1": water, "G2": 0.0, "P1": 50.0 + water, "R1": 2.0, "T1": 8.0}[name] + draw
                value += jump_mm if name == "G1" and day == days.stop - 1 else 0.0
                at = START + day * DAY
                if day in days:
                    rows.append(Observation("kinds", name, quantity, UNITS[quantity], at, at, value))
    end = START + (days.stop - 1) * DAY + timedelta(minutes=5)
    with database.write() as c:
        add_observations(c, rows, end)
    return end


@pytest.fixture
def service(tmp_path: Path) -> ServiceConfig:
    return ServiceConfig.model_validate({"paths": {"models": str(tmp_path / "models")}})


@pytest.fixture
def site(database: Database) -> Site:
    parsed = declare(STATIONS, "1d")
    with database.write() as c:
        save_site(c, parsed, "test", "test", START)
    return replace(parsed, anomaly=replace(parsed.anomaly, detectors=(NAME,), budget_per_sensor_month=1.0))


@ON_SQLITE
def test_it_is_trained_beside_what_there_is_and_its_scores_say_so(
    database: Database, service: ServiceConfig, site: Site
) -> None:
    silent = {name: of for name, of in STATIONS.items() if name != "T1"}
    now = send(database, silent, range(400))
    with database.read() as c:
        assert list_beside(c, site, NAME) == ["P1.pore_pressure", "R1.rain"]
        assert list_beside(c, site, "site-ae") == []
    said = train_one(database, service, site, "anomaly", NAME, now)
    with database.read() as c:
        active = find_active(c, task="anomaly", kind=NAME, site=site.id)
    assert active is not None, said
    assert active.card["training"]["channels"] == ["P1.pore_pressure", "R1.rain"]
    assert active.card["stations"] == ["G1.displacement", "G2.displacement"]
    now = send(database, silent, range(400, 402), jump_mm=40.0)
    anomaly.run(database, service, site, now)
    with database.read() as c:
        rows = load_view(c, "anomalies", order_by=("at",), site="kinds", detector=NAME)
        assert _why_count(c, site, NAME, now) is None
    assert {row["quantity"] for row in rows} == {"displacement"}, "what it reads beside it does not score"
    wild = [row for row in rows if row["station"] == "G1"][-1]
    assert wild["alerted"]
    assert wild["compared_with"] == (
        "what a network expects from all stations and quantities, "
        "and with 2 other series (P1.pore_pressure and R1.rain)"
    )
    # a thermometer is set up: the weights do not know it
    now = send(database, {"T1": ("temperature",)}, range(401, 403))
    with database.read() as c:
        assert _why_count(c, site, NAME, now) == "other quantities are measured now than those that it reads"
    assert "not trained yet" in anomaly.run(database, service, site, now)

"""Readings come to a new service: forecasts, networks and an autoencoder begin when these allow it, not by turn."""

import json
import math
import os
import random
import time
from datetime import UTC, datetime, timedelta

import pytest

from monitor.broker.logins import lend_login
from monitor.config.service import load_service
from monitor.extensions.demo.publish import Publisher
from tests.conftest import wait_for
from tests.data.running import hurry_services
from tests.end_to_end.test_service_run import ManagedService, clean_environment, service  # noqa: F401
from tests.integration.forecasting.test_cadences import spell_site

pytestmark = [pytest.mark.server, pytest.mark.slow]
GNSS = {f"G{i}": 6 * 3600.0 for i in range(3)}
SITE = spell_site("north", GNSS, ("1d", "7d"), ("auto", "gru")) + '[anomaly]\ndetectors = ["rules", "ae"]\n'
FIRST_S, NETWORKS_S = 60.0, 600.0  # what is promised, on a machine that has a core to itself; see `wait_for`


def publish(one: ManagedService, days: int) -> None:
    """Stations that creep and breathe with the day, up to now."""
    broker, noise = load_service(one.folder / "slopeward.toml").broker, random.Random(3)
    end, count = datetime.now(UTC), days * 4
    with lend_login(broker, "north", "test") as login, Publisher(broker.url, *login) as publisher:
        for i in range(count):
            at = end - timedelta(hours=6 * (count - 1 - i), minutes=1)
            for station in range(3):
                value = 0.05 * i + 0.3 * math.sin(i * math.pi / 2) + noise.gauss(0, 0.1)
                body = {"time": f"{at:%Y-%m-%dT%H:%M:%SZ}", "displacement_downslope_mm": round(value, 3)}
                publisher.publish(f"slopeward/v1/north/G{station}/obs", json.dumps(body).encode(), f"{station}.{i}")
        publisher.wait(60)


def test_what_readings_allow_begins_when_they_arrive(
    service: ManagedService,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not os.environ.get("SLOPEWARD_SOAK"):
        monkeypatch.setenv("PYTHONPATH", hurry_services(os.environ)["PYTHONPATH"])
    (service.folder / "sites/north.toml").write_text(SITE)
    service.start()
    wait_for(lambda: service.query("SELECT 1 FROM job_run WHERE job = 'forecast' AND finished_at IS NOT NULL"))
    assert service.query("SELECT count(*) FROM latest_forecast") == [(0,)]
    publish(service, 300)
    begun = time.monotonic()
    wait_for(lambda: service.query("SELECT count(*) FROM latest_forecast WHERE shown") != [(0,)], what="forecasts")
    assert time.monotonic() - begun < 2 * FIRST_S, "far from the next turn, six hours later"
    trained = "SELECT DISTINCT kind FROM model WHERE kind IN ('gru', 'ae') ORDER BY kind"
    wait_for(lambda: service.query(trained) == [("ae",), ("gru",)], NETWORKS_S, "networks")
    wait_for(
        lambda: service.query("SELECT 1 FROM forecast WHERE model = 'gru'"), NETWORKS_S, "forecasts of the network"
    )
    wait_for(lambda: service.query("SELECT 1 FROM anomaly WHERE detector = 'ae'"), NETWORKS_S, "scores of the network")
    assert time.monotonic() - begun < NETWORKS_S

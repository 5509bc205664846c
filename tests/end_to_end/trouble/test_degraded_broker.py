"""The demonstration broker, which loses its queue, is always reported as degraded."""

import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from sqlalchemy import text

from monitor.storage.engine import Database
from tests.data.running import Service, publish
from tests.end_to_end.test_never_lower import site_file
from tests.fixtures.waiting import free_port, wait_for

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.soak
def test_demo_broker_is_reported_as_degraded_also_after_a_kill(sqlite_url: str, tmp_path: Path) -> None:
    broker_url = f"mqtt://127.0.0.1:{free_port()}"
    with Service(tmp_path, sqlite_url, broker_url, {"s": site_file({"G1": "A", "G2": "B"}, "1h")}) as service:
        service.config.write_text(service.config.read_text().replace('mode = "external"', 'mode = "demo"'))
        for start in range(2):
            service.start()
            publish_reading(broker_url, start)
            wait_for(lambda start=start: count_readings(sqlite_url) == start + 1, 30, "the message to be stored")
            # the supervisor records the kind of broker within a second of its start
            wait_for(lambda: "broker not durable" in " ".join(load_health(service)["reasons"]), 10, "/health to say so")
            assert load_health(service)["status"] == "degraded"
            status = service.call("status", "--json")
            assert status.returncode in {5, 6}, status.stdout + status.stderr  # 6 until every station was evaluated
            assert "broker not durable" in status.stdout
            service.kill()
            wait_for(lambda: not accepts_connections(broker_url), 15, "the orphan broker to end")


def load_health(service: Service) -> Any:
    with urlopen(f"http://127.0.0.1:{service.port}/health", timeout=30) as response:
        return json.load(response)


def accepts_connections(broker_url: str) -> bool:
    host, port = broker_url.removeprefix("mqtt://").split(":")
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, int(port))) == 0


def count_readings(url: str) -> int:
    database = Database(url)
    try:
        with database.read() as connection:
            return int(connection.execute(text("SELECT count(*) FROM observation")).scalar_one())
    finally:
        database.close()


def publish_reading(broker_url: str, number: int) -> None:
    """Publish a reading with MQTT 3.1.1, the only version that the demonstration broker supports."""
    observed_at = (datetime.now(UTC) - timedelta(seconds=60 - number)).isoformat()
    publish(broker_url, [("slopeward/v1/s/G1/obs", {"time": observed_at, "displacement_mm": 1.0})], version=4)

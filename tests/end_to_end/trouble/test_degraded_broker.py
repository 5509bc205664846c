"""A broker that forgets is used for a demonstration only, and the service never says otherwise."""

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
def test_the_demo_broker_is_reported_as_degraded_also_after_a_kill(sqlite_url: str, tmp_path: Path) -> None:
    broker_url = f"mqtt://127.0.0.1:{free_port()}"
    with Service(tmp_path, sqlite_url, broker_url, {"s": site_file({"G1": "A", "G2": "B"}, "1h")}) as service:
        service.config.write_text(service.config.read_text().replace('mode = "external"', 'mode = "demo"'))
        for start in range(2):
            service.start()
            publish_311(broker_url, start)
            wait_for(lambda start=start: rows(sqlite_url) == start + 1, 30, "the message to be stored")
            # the supervisor notes the broker within a second of its start
            wait_for(lambda: "broker not durable" in " ".join(health(service)["reasons"]), 10, "/health to say so")
            assert health(service)["status"] == "degraded"
            said = service.call("status", "--json")
            assert said.returncode in {5, 6}, said.stdout + said.stderr  # 6 while a station has not been judged yet
            assert "broker not durable" in said.stdout
            service.kill()
            wait_for(lambda: not answers(broker_url), 15, "the orphan broker to end")


def health(service: Service) -> Any:
    with urlopen(f"http://127.0.0.1:{service.port}/health", timeout=30) as answer:
        return json.load(answer)


def answers(broker_url: str) -> bool:
    host, port = broker_url.removeprefix("mqtt://").split(":")
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, int(port))) == 0


def rows(url: str) -> int:
    db = Database(url)
    try:
        with db.read() as c:
            return int(c.execute(text("SELECT count(*) FROM observation")).scalar_one())
    finally:
        db.close()


def publish_311(broker_url: str, number: int) -> None:
    """The demo broker speaks MQTT 3.1.1 only."""
    at = (datetime.now(UTC) - timedelta(seconds=60 - number)).isoformat()
    publish(broker_url, [("slopeward/v1/s/G1/obs", {"time": at, "displacement_mm": 1.0})], version=4)

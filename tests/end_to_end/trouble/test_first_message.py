"""Time until a recipient is notified of a condition that nobody would notice otherwise.

The whole service runs in real time on both databases. Only `make soak` runs these tests. Tests in simulated time cover
the same cases: test_common_silence, test_late_crossings, test_order, test_claims. The cases of a database that refuses
writes and of a wrong clock are in other files of this folder.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from monitor.readings.tables import observation
from monitor.storage.service_state import find_heartbeat, write_heartbeat
from tests.data.running import Service, publish
from tests.data.site_text import series, station
from tests.end_to_end.test_never_lower import site_file
from tests.end_to_end.trouble.test_cannot_decide import (
    Receiver,
    Report,
    load_evaluated_at,
    publish_motion,
    receiver,
    report,
    run_service,
    subscribe_to,
)
from tests.fixtures import waiting
from tests.fixtures.mosquitto import MosquittoServer
from tests.fixtures.waiting import free_port

__all__ = ["receiver", "report"]
pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.soak,
]
wait_for = partial(
    waiting.wait_for, timeout_s=600.0
)  # A slow machine must not end a measurement; messages carry the time of their arrival.
HOUR = timedelta(hours=1)
LIVE_S = 2.0
CONTROL = station("C1", series("displacement", "mm", "15s", max_silence="1h"), on_slope=False)


def publish_reading(broker: str, stations: tuple[str, ...], displacement_mm: float) -> None:
    """Publish a reading of the present for each station."""
    body = {"time": datetime.now(UTC).isoformat(), "displacement_mm": displacement_mm}
    publish(broker, [(f"slopeward/v1/s/{name}/obs", body) for name in stations])


def test_silence_of_all_instruments_on_the_slope_is_reported_before_max_silence(
    database_url, mosquitto, tmp_path, receiver, report
):
    """Both instruments on the slope fail at red. A station beside the slope continues; `max_silence` is an hour."""
    with run_service(tmp_path, database_url, mosquitto.url, receiver, change=lambda text: text + CONTROL) as service:
        publish_motion(mosquitto.url, 0.0, 3.0, datetime.now(UTC) - 2.1 * HOUR)
        wait_for(lambda: load_evaluated_at(service), description="the first evaluation")
        started_at, extra_mm = time.monotonic(), 0.0
        publish_motion(mosquitto.url, 60.0, 2.0, datetime.now(UTC))
        while not receiver.find_red() or time.monotonic() - started_at < 20.0:
            extra_mm += 0.03
            publish_reading(mosquitto.url, ("G1", "G2", "C1"), 120.0 + extra_mm)
            time.sleep(LIVE_S)
        last_reading_at = time.monotonic()
        while (
            not receiver.find("instruments on the slope have been silent")
            and time.monotonic() - last_reading_at < 900.0
        ):
            publish_reading(mosquitto.url, ("C1",), 0.0)
            time.sleep(LIVE_S)
        notified_at, message = receiver.find("instruments on the slope have been silent")[0]
        report("the slope falls silent", database_url, notified_at - last_reading_at)
        assert "all 2 instruments on the slope have been silent since" in message["body"]
        assert notified_at - last_reading_at < 330.0, "its own rhythm tells it, not the hour that each may be silent"


def test_level_that_only_a_backlog_shows_is_reported(database_url, mosquitto, tmp_path, receiver, report):
    """The machine was off for nine hours. The broker queued the readings, and the newest is too old for a vote."""
    now = datetime.now(UTC)
    widen_window = lambda text: text.replace('50.0, window = "2h"', '50.0, window = "1d"')  # noqa: E731
    with run_service(tmp_path, database_url, mosquitto.url, receiver, change=widen_window) as service:
        publish_motion(mosquitto.url, 0.0, 3.0, now - 10 * HOUR)
        wait_for(lambda: count_readings(service) == 74, description="the quiet readings")
        wait_for(lambda: load_evaluated_at(service), description="the first evaluation")
        time.sleep(3)
        service.stop()
        with service.database.write() as connection:
            heartbeat = find_heartbeat(connection, "supervisor")
            assert heartbeat is not None
            write_heartbeat(connection, "supervisor", heartbeat[1], heartbeat[0] - 9 * HOUR)
            # Readings that were received just before would count as part of the backlog.
            connection.execute(observation.update().values(received_at=heartbeat[0] - 9 * HOUR))
        publish_motion(mosquitto.url, 60.0, 8.0, now - 2 * HOUR)
        started_at = time.monotonic()
        service.start()
        wait_for(lambda: receiver.find("would have been raised at"), description="a human to hear of it")
        notified_at, message = receiver.find("would have been raised at")[0]
        report("a failure that came as a backlog", database_url, notified_at - started_at)
        assert "mm/day" in message["body"]
        wait_for(lambda: receiver.find("no site was evaluated from"), description="the gap to be told")
        assert not receiver.find("now green"), "nobody can see what it is now"


def count_readings(service: Service) -> int:
    return int(service.query("SELECT count(*) FROM observation")[0][0])


@pytest.fixture
def mail(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Start a mail server and return a function that sets its answer. With an empty answer the server never answers."""
    current_answer = [""]

    class Handler:
        async def handle_DATA(self, *_: Any) -> str:  # noqa: N802
            if not current_answer[0]:
                await asyncio.sleep(1200.0)
            return current_answer[0]

    server = Controller(Handler(), hostname="127.0.0.1", port=free_port())
    server.start()
    for name, value in (("HOST", "127.0.0.1"), ("PORT", str(server.port)), ("SECURITY", "none")):
        monkeypatch.setenv(f"SLOPEWARD_SMTP__{name}", value)
    yield lambda answer: current_answer.__setitem__(0, answer)
    server.stop()


@pytest.mark.parametrize(
    ("way", "channel", "answer", "words"),
    [
        ("refuses", "email:duty@example.org", "550 no such user", "550 no such user"),
        ("hangs", "email:duty@example.org", "", "email:duty@example.org"),
        ("has no address", "webhook:NOWHERE", "", "NOWHERE is not set"),
    ],
)
def test_failing_channel_is_reported_on_another_channel(
    database_url: str,
    mosquitto: MosquittoServer,
    tmp_path: Path,
    receiver: Receiver,
    report: Report,
    mail: Callable[[str], None],
    way: str,
    channel: str,
    answer: str,
    words: str,
) -> None:
    """Recipients read of it on their other channel. An address that is not set is reported before the first message."""
    mail(answer)
    started_at = time.monotonic()
    add_channel = lambda text: text.replace('"webhook:HOOK"', f'"{channel}", "webhook:HOOK"')  # noqa: E731
    with run_service(tmp_path, database_url, mosquitto.url, receiver, change=add_channel):
        if way != "has no address":
            started_at = time.monotonic()
            publish_motion(mosquitto.url, 60.0, 3.0, datetime.now(UTC))
        wait_for(lambda: receiver.find(words), description="a human to hear of it")
        notified_at, _ = receiver.find(words)[0]
        report(f"a channel that {way}", database_url, notified_at - started_at)


def test_slow_receivers_get_each_message_once(database_url, mosquitto, tmp_path, receiver, report):
    """Six sites reach red. Their common webhook answers after 25 s."""
    sites = ["s", "n1", "n2", "n3", "n4", "n5"]
    receiver.answer_after_s = 25.0
    with run_service(tmp_path, database_url, mosquitto.url, receiver, sites=sites):
        started_at = time.monotonic()
        for site in sites:
            publish_motion(mosquitto.url, 60.0, 3.0, datetime.now(UTC), site)
        wait_for(
            lambda: {message["site"] for message in receiver.find_red()} == set(sites), description="red of each site"
        )
        received_times = [
            received_at
            for received_at, message in receiver.messages
            if message["level_name"] == "red" and message["ledger"] == "hazard"
        ]
        report("slow receivers, the first of six", database_url, min(received_times) - started_at)
        report("slow receivers, the last of six", database_url, max(received_times) - started_at)
        time.sleep(60.0)
    sent_counts = Counter(message["idempotency_key"] for message in receiver.find_red())
    assert set(sent_counts.values()) == {1}, "what a receiver takes is sent once"


@pytest.mark.parametrize("way", ["a site file that publishes for another site", "a decoder that reads all topics"])
def test_site_file_that_publishes_for_another_site_is_refused_and_reported(
    database_url, mosquitto, tmp_path, receiver, report, way
):
    """The retained state of the other site is never cleared or replaced by the refused file."""
    refused_text = site_file({"E1": "A"}, "1h", "evil").replace('"G*"', '"E*"')
    if "decoder" in way:
        refused_text += '[[decoder]]\ntopic = "#"\nname = "milesight"\n'
    else:
        refused_text = refused_text.replace('["log"]', '["mqtt:slopeward/v1/s/state"]')
    with run_service(tmp_path, database_url, mosquitto.url, receiver) as service:
        publish_motion(mosquitto.url, 0.0, 3.0, datetime.now(UTC) - 2.1 * HOUR)
        wait_for(lambda: load_evaluated_at(service), description="the first evaluation")
        states, unsubscribe = subscribe_to(mosquitto.url, "slopeward/v1/s/state")
        wait_for(lambda: states, description="the state of the site")
        (service.folder / "sites/evil.toml").write_text(refused_text)
        started_at = time.monotonic()
        os.kill(service.group, signal.SIGHUP)
        wait_for(lambda: receiver.find("evil.toml"), description="a human to hear of it")
        notified_at, message = receiver.find("evil.toml")[0]
        report(way, database_url, notified_at - started_at)
        assert "slopeward/v1/" in message["body"]
        publish_motion(mosquitto.url, 60.0, 2.0, datetime.now(UTC))
        wait_for(receiver.find_red, description="red of the other site")
        unsubscribe()
        assert all(states), "a retained state was cleared"

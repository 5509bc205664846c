"""How long until a person reads of what would pass unseen: the whole service, timed by the clock, on both databases.

Only `make soak` runs these tests. Tests in simulated time cover the same cases: test_common_silence,
test_late_crossings, test_order, test_claims. A database without writes and a wrong clock are beside this file.
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
    evaluated_at,
    listen,
    move,
    receiver,
    report,
    running,
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
wait_for = partial(waiting.wait_for, timeout_s=600.0)  # what is timed here may take long; what came is on record
HOUR = timedelta(hours=1)
LIVE_S = 2.0
CONTROL = station("C1", series("displacement", "mm", "15s", max_silence="1h"), on_slope=False)


def speak(broker: str, stations: tuple[str, ...], value: float) -> None:
    """A reading of now."""
    body = {"time": datetime.now(UTC).isoformat(), "displacement_mm": value}
    publish(broker, [(f"slopeward/v1/s/{name}/obs", body) for name in stations])


def test_the_slope_falls_silent(database_url, mosquitto, tmp_path, receiver, report):
    """Both instruments go at red; a station beside the slope speaks on, and each may be silent for an hour."""
    with running(tmp_path, database_url, mosquitto.url, receiver, change=lambda text: text + CONTROL) as service:
        move(mosquitto.url, 0.0, 3.0, datetime.now(UTC) - 2.1 * HOUR)
        wait_for(lambda: evaluated_at(service), description="the first evaluation")
        began, value = time.monotonic(), 0.0
        move(mosquitto.url, 60.0, 2.0, datetime.now(UTC))
        while not receiver.find_red() or time.monotonic() - began < 20.0:
            value += 0.03
            speak(mosquitto.url, ("G1", "G2", "C1"), 120.0 + value)
            time.sleep(LIVE_S)
        last = time.monotonic()
        while not receiver.find("instruments on the slope have been silent") and time.monotonic() - last < 900.0:
            speak(mosquitto.url, ("C1",), 0.0)
            time.sleep(LIVE_S)
        at, told = receiver.find("instruments on the slope have been silent")[0]
        report("the slope falls silent", database_url, at - last)
        assert "all 2 instruments on the slope have been silent since" in told["body"]
        assert at - last < 330.0, "its own rhythm tells it, not the hour that each may be silent"


def test_a_failure_that_came_as_a_backlog(database_url, mosquitto, tmp_path, receiver, report):
    """The machine slept for nine hours; the readings wait with the broker, the last of them too old to vote."""
    now = datetime.now(UTC)
    day = lambda text: text.replace('50.0, window = "2h"', '50.0, window = "1d"')  # noqa: E731  so far back is looked
    with running(tmp_path, database_url, mosquitto.url, receiver, change=day) as service:
        move(mosquitto.url, 0.0, 3.0, now - 10 * HOUR)
        wait_for(lambda: stored(service) == 74, description="the quiet readings")
        wait_for(lambda: evaluated_at(service), description="the first evaluation")
        time.sleep(3)
        service.stop()
        with service.database.write() as c:
            found = find_heartbeat(c, "supervisor")
            assert found is not None
            write_heartbeat(c, "supervisor", found[1], found[0] - 9 * HOUR)
            # Readings that were received just before would count as part of the backlog.
            c.execute(observation.update().values(received_at=found[0] - 9 * HOUR))
        move(mosquitto.url, 60.0, 8.0, now - 2 * HOUR)
        woke = time.monotonic()
        service.start()
        wait_for(lambda: receiver.find("would have been raised at"), description="a human to hear of it")
        at, told = receiver.find("would have been raised at")[0]
        report("a failure that came as a backlog", database_url, at - woke)
        assert "mm/day" in told["body"]
        wait_for(lambda: receiver.find("nobody watched from"), description="the gap to be told")
        assert not receiver.find("now green"), "nobody can see what it is now"


def stored(service: Service) -> int:
    return int(service.query("SELECT count(*) FROM observation")[0][0])


@pytest.fixture
def mail(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A mail server that answers so, or never where that is empty."""
    answers = [""]

    class Handler:
        async def handle_DATA(self, *_: Any) -> str:  # noqa: N802
            if not answers[0]:
                await asyncio.sleep(1200.0)
            return answers[0]

    server = Controller(Handler(), hostname="127.0.0.1", port=free_port())
    server.start()
    for name, value in (("HOST", "127.0.0.1"), ("PORT", str(server.port)), ("SECURITY", "none")):
        monkeypatch.setenv(f"SLOPEWARD_SMTP__{name}", value)
    yield lambda answer: answers.__setitem__(0, answer)
    server.stop()


@pytest.mark.parametrize(
    ("way", "channel", "answer", "words"),
    [
        ("refuses", "email:duty@example.org", "550 no such user", "550 no such user"),
        ("hangs", "email:duty@example.org", "", "email:duty@example.org"),
        ("has no address", "webhook:NOWHERE", "", "NOWHERE is not set"),
    ],
)
def test_a_channel_that_cannot_deliver(
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
    """People who have another one read of it there. An address that is not set is told before any message."""
    mail(answer)
    began = time.monotonic()
    more = lambda text: text.replace('"webhook:HOOK"', f'"{channel}", "webhook:HOOK"')  # noqa: E731
    with running(tmp_path, database_url, mosquitto.url, receiver, change=more):
        if way != "has no address":
            began = time.monotonic()
            move(mosquitto.url, 60.0, 3.0, datetime.now(UTC))
        wait_for(lambda: receiver.find(words), description="a human to hear of it")
        at, _ = receiver.find(words)[0]
        report(f"a channel that {way}", database_url, at - began)


def test_slow_receivers(database_url, mosquitto, tmp_path, receiver, report):
    """Six sites reach red; the webhook of all answers after 25 s."""
    sites = ["s", "n1", "n2", "n3", "n4", "n5"]
    receiver.answer_after_s = 25.0
    with running(tmp_path, database_url, mosquitto.url, receiver, sites=sites):
        began = time.monotonic()
        for site in sites:
            move(mosquitto.url, 60.0, 3.0, datetime.now(UTC), site)
        wait_for(lambda: {one["site"] for one in receiver.find_red()} == set(sites), description="red of each site")
        reds = [at for at, one in receiver.messages if one["level_name"] == "red" and one["ledger"] == "hazard"]
        report("slow receivers, the first of six", database_url, min(reds) - began)
        report("slow receivers, the last of six", database_url, max(reds) - began)
        time.sleep(60.0)
    sent = Counter(one["idempotency_key"] for one in receiver.find_red())
    assert set(sent.values()) == {1}, "what a receiver takes is sent once"


@pytest.mark.parametrize("way", ["a site file that publishes for another site", "a decoder that reads all topics"])
def test_a_site_that_publishes_for_others(database_url, mosquitto, tmp_path, receiver, report, way):
    """Its file is refused and people read why; the retained state of the other stays what the service said last."""
    evil = site_file({"E1": "A"}, "1h", "evil").replace('"G*"', '"E*"')
    if "decoder" in way:
        evil += '[[decoder]]\ntopic = "#"\nname = "milesight"\n'
    else:
        evil = evil.replace('["log"]', '["mqtt:slopeward/v1/s/state"]')
    with running(tmp_path, database_url, mosquitto.url, receiver) as service:
        move(mosquitto.url, 0.0, 3.0, datetime.now(UTC) - 2.1 * HOUR)
        wait_for(lambda: evaluated_at(service), description="the first evaluation")
        states, stop = listen(mosquitto.url, "slopeward/v1/s/state")
        wait_for(lambda: states, description="the state of the site")
        (service.folder / "sites/evil.toml").write_text(evil)
        began = time.monotonic()
        os.kill(service.group, signal.SIGHUP)
        wait_for(lambda: receiver.find("evil.toml"), description="a human to hear of it")
        at, told = receiver.find("evil.toml")[0]
        report(way, database_url, at - began)
        assert "slopeward/v1/" in told["body"]
        move(mosquitto.url, 60.0, 2.0, datetime.now(UTC))
        wait_for(receiver.find_red, description="red of the other site")
        stop()
        assert all(states), "a retained state was cleared"

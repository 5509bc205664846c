"""The stream of changes: a level or an alert that changes is told within seconds, to those who may read it."""

import threading
import time

import httpx
import pytest

from monitor.domain.alert import Actor
from monitor.store.alerting.alerts import acknowledge
from monitor.store.schema import tables as t
from monitor.web import change_notices
from tests.data.filled import NOW
from tests.integration.web.test_door import Clock, serving
from tests.integration.web.test_rules import enter


def listen(address, path, found, cookies=None):
    with httpx.Client(base_url=address, timeout=30, trust_env=False, cookies=cookies) as browser:
        try:
            with browser.stream("GET", path) as answer:
                found.append(answer.headers.get("content-type", ""))
                for line in answer.iter_lines():
                    found.append(line)
        except httpx.RemoteProtocolError:
            found.append("cut")


def wait_for(found, least, within_s=8.0):
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if found.count("event: changed") >= least:
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(change_notices, "EVERY_S", 0.1)
    monkeypatch.setattr(change_notices, "LASTS_S", 6.0)


def test_a_change_is_told_to_those_who_look_and_the_stream_ends(filled_database, quick):
    everything, own, other = [], [], []
    with serving(filled_database, Clock()) as address:
        looks = [
            threading.Thread(target=listen, args=(address, path, found), daemon=True)
            for path, found in (
                ("/live/changes", everything),
                ("/live/sites/north-bench/changes", own),
                ("/live/sites/south-bench/changes", other),
            )
        ]
        for one in looks:
            one.start()
        while not all(len(found) > 1 for found in (everything, own, other)):
            time.sleep(0.02)
        time.sleep(0.4)
        assert "event: changed" not in everything, "nothing happened yet"
        with filled_database.write() as c:
            number = c.exec_driver_sql(
                "SELECT id FROM alert WHERE site = 'north-bench' AND state = 'unacknowledged'"
            ).scalar()
            acknowledge(c, number, Actor("bo"), "I am looking at it", NOW)
        assert wait_for(everything, 1), "an acknowledgement is a change"
        assert wait_for(own, 1)
        with filled_database.write() as c:
            c.execute(t.site_state.update().where(t.site_state.c.site == "north-bench").values(observability="blind"))
        assert wait_for(everything, 2)
        assert wait_for(own, 2)
        assert "event: changed" not in other, "another site did not change"
        for one in looks:
            one.join(10)
        assert not any(one.is_alive() for one in looks), "a stream ends, so that rights are looked at anew"
    assert everything[0].startswith("text/event-stream")


def test_more_listeners_than_the_server_can_carry_are_sent_away(filled_database, quick, monkeypatch):
    monkeypatch.setattr("monitor.web.routes.live.MOST", 0)
    with serving(filled_database, Clock()) as address, enter(address, None) as browser:
        assert browser.get("/live/changes").status_code == 204

"""The stream of changes notifies each page of the sites that it may show, within two seconds."""

import asyncio
import json
import time
from contextlib import contextmanager
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from monitor.alerts.evaluation_tables import site_state
from monitor.alerts.queries.site_versions import SiteVersion
from monitor.errors import StoreBusyError
from monitor.people.queries import users
from monitor.settings.service import parse_service
from monitor.storage.engine import Database
from monitor.storage.service_state import write_heartbeat
from monitor.web import change_stream
from monitor.web.app import build_app
from monitor.web.change_stream import ChangeHub, EventId, Snapshot, StreamLimitError
from tests.data.event_stream import EventStreamClient
from tests.data.filled import NOW
from tests.data.store_rows import tell
from tests.fixtures.waiting import wait_for
from tests.web.test_door import Clock, serving
from tests.web.test_rules import LOGIN_TO_READ, enter

NORTH, LAKE = "north-bench", "lake-slope"
POLL_S = 0.05


@pytest.fixture(autouse=True)
def fast_intervals(monkeypatch):
    monkeypatch.setattr(change_stream, "POLL_INTERVAL_S", POLL_S)
    monkeypatch.setattr(change_stream, "HEARTBEAT_INTERVAL_S", 0.2)
    monkeypatch.setattr(change_stream, "ACCESS_CHECK_INTERVAL_S", 0.2)


def set_state(database, site, **values):
    with database.write() as c:
        c.execute(update(site_state).where(site_state.c.site == site).values(**values))


def wait_for_polls(client, count=2):
    """Wait until the server polled the database since the call: each heartbeat needs a poll."""
    client.wait_for_event("heartbeat", client.count("heartbeat") + count)


# ---- what is announced ---------------------------------------------------------------------------------------------
def test_a_change_reaches_the_streams_of_its_site_and_no_other(filled_database):
    with (
        serving(filled_database, Clock()) as address,
        EventStreamClient(address, "/live/changes") as overview,
        EventStreamClient(address, f"/live/sites/{NORTH}/changes") as north,
        EventStreamClient(address, f"/live/sites/{LAKE}/changes") as lake,
    ):
        for stream in (overview, north, lake):
            stream.wait_for_event("changed")
        set_state(filled_database, NORTH, level=3)
        for stream in (overview, north):
            event = stream.wait_for_event("changed", 2)
            assert json.loads(event.data) == {"now": "2026-03-01T06:00:00.000000Z"}
            assert event.event_id != stream.wait_for_event("changed", 1).event_id
        wait_for_polls(lake)
        assert lake.count("changed") == 1
        assert north.headers["content-type"].startswith("text/event-stream")
        assert north.headers["cache-control"] == "no-store"
        assert north.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in north.headers
        assert north.retry_ms == change_stream.RECONNECT_DELAY_MS


def test_a_change_arrives_within_two_seconds(filled_database, monkeypatch):
    monkeypatch.undo()  # the intervals of the service
    with serving(filled_database, Clock()) as address, EventStreamClient(address, "/live/changes") as stream:
        stream.wait_for_event("changed")
        for count, level in enumerate((3, 1, 3), 2):
            changed_s = time.monotonic()
            set_state(filled_database, NORTH, level=level)
            assert stream.wait_for_event("changed", count).received_s - changed_s < 2.0


def test_readings_refresh_a_page_at_intervals_and_a_level_at_once(filled_database, monkeypatch):
    monkeypatch.setattr(change_stream, "READINGS_INTERVAL_S", 3600.0)
    with serving(filled_database, Clock()) as address, EventStreamClient(address, "/live/changes") as stream:
        stream.wait_for_event("changed")
        for minute in range(3):
            set_state(filled_database, NORTH, evaluated_at=NOW + timedelta(minutes=10 + minute))
            wait_for_polls(stream)
        assert stream.count("changed") == 1
        set_state(filled_database, NORTH, level=3)
        stream.wait_for_event("changed", 2)


def test_a_stopped_core_process_is_announced(filled_database):
    with serving(filled_database, Clock()) as address, EventStreamClient(address, "/live/changes") as stream:
        stream.wait_for_event("changed")
        with filled_database.write() as c:
            write_heartbeat(c, "core", {"state": "stopped", "version": "x", "degraded": []}, NOW)
        stream.wait_for_event("changed", 2)


def test_trouble_of_the_service_is_announced_once(filled_database):
    with serving(filled_database, Clock()) as address, EventStreamClient(address, "/live/changes") as stream:
        stream.wait_for_event("changed")
        address.app.state.context.trouble = "the disk has been full for 10 s"
        stream.wait_for_event("changed", 2)
        address.app.state.context.trouble = "the disk has been full for 11 s"
        wait_for_polls(stream)
        assert stream.count("changed") == 2, "the duration alone refreshes no page"


def test_all_streams_share_one_poll(filled_database, monkeypatch):
    polls = []
    load_snapshot = ChangeHub._load_snapshot
    monkeypatch.setattr(ChangeHub, "_load_snapshot", lambda hub: (polls.append(1), load_snapshot(hub))[1])
    monkeypatch.setattr(change_stream, "POLL_INTERVAL_S", 0.5)
    with serving(filled_database, Clock()) as address:
        streams = [EventStreamClient(address, "/live/changes") for _ in range(8)]
        started_s = time.monotonic()
        for stream in streams:
            stream.__enter__()
        for stream in streams:
            stream.wait_for_event("heartbeat", 2)
        assert len(polls) <= (time.monotonic() - started_s) / 0.5 + 2
        for stream in streams:
            stream.__exit__()
        hub = address.app.state.change_hub
        wait_for(lambda: hub.stream_count == 0)
        wait_for(lambda: hub._polling.done(), description="the end of the polling without streams")


# ---- reconnection --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("by_query", [False, True], ids=["header", "query parameter"])
def test_reconnecting_announces_only_missed_changes_also_after_a_restart(filled_database, by_query):
    def reconnect(address, last_id):
        path = f"/live/sites/{NORTH}/changes"
        if by_query:
            return EventStreamClient(address, f"{path}?last-event-id={last_id}")
        return EventStreamClient(address, path, last_id)

    with serving(filled_database, Clock()) as address:
        with EventStreamClient(address, f"/live/sites/{NORTH}/changes") as stream:
            last_id = stream.wait_for_event("changed").event_id
        with reconnect(address, last_id) as stream:
            wait_for_polls(stream)
            assert stream.count("changed") == 0
    with serving(filled_database, Clock()) as address:
        with reconnect(address, last_id) as stream:
            wait_for_polls(stream)
            assert stream.count("changed") == 0, "the id does not depend on the process"
        set_state(filled_database, NORTH, level=3)
    with serving(filled_database, Clock()) as address, reconnect(address, last_id) as stream:
        stream.wait_for_event("changed")
        wait_for_polls(stream)
        assert stream.count("changed") == 1


@pytest.mark.parametrize("last_id", ["x", "-", "a-b-c", "%00"])
def test_an_id_that_no_server_issued_leads_to_one_refresh(filled_database, last_id):
    with (
        serving(filled_database, Clock()) as address,
        EventStreamClient(address, "/live/changes", last_id) as stream,
    ):
        stream.wait_for_event("changed")
        wait_for_polls(stream)
        assert stream.count("changed") == 1


versions = st.builds(SiteVersion, st.text("ab", max_size=2), st.text("ab", max_size=2))


@given(st.dictionaries(st.sampled_from("nlxs"), versions), st.dictionaries(st.sampled_from("nlxs"), versions))
def test_an_event_id_depends_on_the_sites_of_the_stream_only(first, second):
    def keep(versions, sites):
        return {site: version for site, version in versions.items() if site in sites}

    for sites in (frozenset("n"), frozenset("nl"), frozenset("xs")):
        ids = [Snapshot(versions, NOW).find_event_id(sites) for versions in (first, second)]
        assert (ids[0] == ids[1]) == (keep(first, sites) == keep(second, sites))
        assert EventId.parse(str(ids[0])) == ids[0]


# ---- heartbeat and trouble -----------------------------------------------------------------------------------------
def test_heartbeats_stop_while_the_database_cannot_be_read(filled_database, monkeypatch, caplog):
    with serving(filled_database, Clock()) as address, EventStreamClient(address, "/live/changes") as stream:
        stream.wait_for_event("heartbeat", 2)
        database = address.app.state.context.db
        read = database.read
        is_broken = True

        @contextmanager
        def fail():
            if is_broken:
                raise StoreBusyError("the database does not answer")
            with read() as connection:
                yield connection

        monkeypatch.setattr(database, "read", fail)
        hub = address.app.state.change_hub
        wait_for(lambda: hub.snapshot is None)
        heartbeats = stream.count("heartbeat")
        time.sleep(0.6)
        assert stream.count("heartbeat") <= heartbeats + 1
        assert not stream.is_ended
        assert caplog.text.count("changes cannot be read for open pages") == 1
        is_broken = False
        set_state(filled_database, NORTH, level=3)
        stream.wait_for_event("changed", 2)


# ---- limits --------------------------------------------------------------------------------------------------------
def test_one_caller_has_a_limited_number_of_streams(filled_database, monkeypatch):
    monkeypatch.setattr(change_stream, "MAX_STREAMS_PER_CALLER", 2)
    with serving(filled_database, Clock()) as address, enter(address, "ada") as ada:
        with EventStreamClient(address, "/live/changes") as first, EventStreamClient(address, "/live/changes"):
            refused = EventStreamClient(address, "/live/changes")
            with refused:
                assert (refused.status, refused.headers["retry-after"]) == (429, "60")
            with EventStreamClient(address, "/live/changes", cookies=ada.cookies) as other_caller:
                assert other_caller.status == 200
            first.disconnect()
            wait_for(lambda: address.app.state.change_hub.stream_count == 1)
            with EventStreamClient(address, "/live/changes") as admitted:
                assert admitted.status == 200


def test_the_service_has_a_limited_number_of_streams(filled_database, monkeypatch):
    monkeypatch.setattr(change_stream, "MAX_STREAMS", 1)
    with serving(filled_database, Clock()) as address, enter(address, "ada") as ada:
        with EventStreamClient(address, "/live/changes"):
            with EventStreamClient(address, "/live/changes", cookies=ada.cookies) as refused:
                assert (refused.status, refused.headers["retry-after"]) == (503, "60")
            assert ada.get("/live/overview").status_code == 200, "the page polls"


def test_a_slow_client_receives_one_event_for_many_changes(filled_database):
    async def read_slowly():
        hub = build_app(parse_service("", "test"), filled_database, Clock()).state.change_hub
        stream = hub.open("caller", None, "", lambda: True)
        events = stream.iterate_events()
        assert (await anext(events)).startswith("retry:")
        first = await anext(events)
        for level in (3, 1, 3, 0):
            set_state(filled_database, NORTH, level=level)
            await hub.wait_for_poll()
            await hub.wait_for_poll()
        second = await anext(events)
        assert first.startswith("id:")
        assert second.startswith("id:")
        third = await anext(events)
        assert third.startswith("event: heartbeat")
        hub.close()
        hub.release(stream)
        assert [event async for event in events] == []
        with pytest.raises(StreamLimitError):
            hub.open("caller", None, "", lambda: True)

    asyncio.run(read_slowly())


# ---- access --------------------------------------------------------------------------------------------------------
def test_a_stream_is_open_to_those_who_may_read_its_page(filled_database):
    tell(filled_database, users.set_sites, "bo", [LAKE])
    with serving(filled_database, Clock(), LOGIN_TO_READ) as address:
        with enter(address, None) as nobody:
            assert nobody.get("/live/changes").status_code == 401
            assert nobody.get(f"/live/sites/{LAKE}/changes").status_code == 401
        with enter(address, "bo") as bo:
            assert bo.get(f"/live/sites/{NORTH}/changes").status_code == 403
            assert bo.get("/live/sites/nowhere/changes").status_code == 403
            with (
                EventStreamClient(address, "/live/changes", cookies=bo.cookies) as all_of_bo,
                EventStreamClient(address, "/live/sites/status/changes", cookies=bo.cookies) as service,
            ):
                all_of_bo.wait_for_event("changed")
                assert service.status == 200
                set_state(filled_database, NORTH, level=3)
                wait_for_polls(all_of_bo)
                assert all_of_bo.count("changed") == 1, "no event about a site that the account may not read"
                set_state(filled_database, LAKE, level=1)
                all_of_bo.wait_for_event("changed", 2)
        with enter(address, "ada") as ada:
            assert ada.get("/live/sites/nowhere/changes").status_code == 404


def test_a_stream_ends_with_the_session_and_with_a_change_of_rights(filled_database):
    with serving(filled_database, Clock(), LOGIN_TO_READ) as address:
        with enter(address, "ada") as ada, EventStreamClient(address, "/live/changes", cookies=ada.cookies) as stream:
            stream.wait_for_event("heartbeat", 2)
            assert not stream.is_ended
            page = ada.get("/").text
            csrf = page.split('name="csrf" value="')[1][:64]
            assert ada.post("/logout", data={"csrf": csrf}).status_code == 303
            wait_for(lambda: stream.is_ended, description="the end of the stream")
        with enter(address, "bo") as bo, EventStreamClient(address, "/live/changes", cookies=bo.cookies) as stream:
            stream.wait_for_event("heartbeat", 2)
            tell(filled_database, users.set_sites, "bo", [LAKE])
            wait_for(lambda: stream.is_ended, description="the end of the stream")


def test_a_stream_does_not_keep_a_session_alive(filled_database):
    clock = Clock()
    settings = '[web]\nlogin_to_read = true\nidle_after = "1h"\n'
    with serving(filled_database, clock, settings) as address, enter(address, "ada") as ada:
        with EventStreamClient(address, "/live/changes", cookies=ada.cookies) as stream:
            stream.wait_for_event("heartbeat")
            clock.wait(3700)
            wait_for(lambda: stream.is_ended, description="the end of the stream")


# ---- the end of the service ----------------------------------------------------------------------------------------
def test_the_service_stops_at_once_with_open_streams(filled_database):
    with serving(filled_database, Clock()) as address:
        streams = [EventStreamClient(address, "/live/changes") for _ in range(5)]
        for stream in streams:
            stream.__enter__()
            stream.wait_for_event("changed")
        stopped_s = time.monotonic()
    assert time.monotonic() - stopped_s < 1.5, "without waiting for the limit of 2 s"
    for stream in streams:
        wait_for(lambda stream=stream: stream.is_ended)
        stream.__exit__()


def test_head_ends_with_the_headers(filled_database):
    with serving(filled_database, Clock()) as address, enter(address, None) as browser:
        answer = browser.head("/live/changes")
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"].startswith("text/event-stream")
        wait_for(lambda: address.app.state.change_hub.stream_count == 0)


def test_a_change_by_another_process_is_announced(filled_database):
    with serving(filled_database, Clock()) as address, EventStreamClient(address, "/live/changes") as stream:
        stream.wait_for_event("changed")
        with Database(filled_database.url.render_as_string(hide_password=False)) as other:
            set_state(other, NORTH, level=3)
        stream.wait_for_event("changed", 2)

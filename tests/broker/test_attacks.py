"""Attacks on the managed Mosquitto: a client can publish and read only what its login permits."""

import json
import stat
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from monitor.broker.access import Access, find_access
from monitor.broker.logins import DOCTOR, issue_temporary_login
from monitor.errors import NotFoundError, RefusedError
from monitor.ingest.broker_process import ManagedBroker, find_mosquitto
from monitor.ingest.payload_limits import PAYLOAD_LIMIT
from monitor.ingest.service import Ingest, IngestContext
from monitor.settings.service import parse_service
from monitor.sites.records import Binding, Level, Recipient, Site, Station
from monitor.storage.engine import Database
from tests.data.servers.mqtt_client import calling
from tests.fixtures.waiting import free_port, skip_missing, wait_for

pytestmark = pytest.mark.server
LEVELS = (Level(0, "green", False),)
G1 = Station("G1", 46.0, 9.0, None, None, None, None, None, None, True, ())
SOUTH = Site("south", "South", 46.0, 9.0, "UTC", LEVELS, (), ())
GATEWAY = (Binding("gateway/up", "rows"), Binding("#", "rows"))
SIREN = Recipient("siren", ("mqtt:siren/north",), (0,))
SITES = [replace(SOUTH, id="north", stations=(G1,), decoders=GATEWAY, recipients=(SIREN,)), SOUTH]
READING = '{"time": "2026-03-01T06:00:00Z", "rain_mm": 1}'
REFUSED = "Not authorized"


@pytest.fixture
def broker_setup(tmp_path, sqlite_url):
    if find_mosquitto() is None:
        skip_missing("Mosquitto")
    port = free_port()
    config = parse_service(f'[broker]\nurl = "mqtt://127.0.0.1:{port}"\ndata = "{tmp_path}/broker"\n', "test")
    broker = ManagedBroker(tmp_path / "broker", port, find_sites=lambda: SITES)
    broker.start()
    anonymous_access = Access(port=port)
    book = broker.book

    def issue_access(*arguments, **options):
        login, password = book.issue(*arguments, **options)
        book.reload_broker()
        return replace(anonymous_access, username=login.name, password=password)

    environment = SimpleNamespace(
        broker=broker, book=book, config=config, anonymous_access=anonymous_access, issue_access=issue_access
    )
    environment.station_access = issue_access("north", "G1")
    environment.gateway_access = issue_access("north")
    environment.listener_access = issue_access("north", listens=True)
    environment.service_access = find_access(config.broker)
    database = Database(sqlite_url)
    sites = {site.id: replace(site, decoders=()) for site in SITES}
    context = IngestContext(database, config, sites, lambda _: None, lambda _: None, lambda: datetime.now(UTC))
    environment.make_ingest = lambda: Ingest(context)
    environment.ingest = environment.make_ingest()
    environment.ingest.start()
    wait_for(lambda: all(environment.ingest.status()["connected"].values()), description="ingest")
    yield environment
    environment.ingest.stop()
    broker.stop()
    database.close()


def test_client_without_valid_login_is_refused(broker_setup):
    wrong_password = replace(broker_setup.station_access, password="guessed")
    for access in (
        broker_setup.anonymous_access,
        wrong_password,
        replace(broker_setup.service_access, username="", password=""),
    ):
        with calling(access, "x") as client:
            assert client.answers[0] == REFUSED, access


def test_login_of_station_publishes_only_its_readings(broker_setup):
    with calling(broker_setup.station_access, "x") as client:
        assert client.publish("slopeward/v1/north/G1/obs", READING) == "Success"
        assert client.publish("slopeward/v1/north/G1/backfill/obs", READING) == "Success"
        others = "north/G2/obs south/G1/obs north/report north/event north/state north/alert status north/G1/backfill"
        for topic in [*others.split(), "south/state", "north/G1/obs/x", "doctor/x"]:
            assert client.publish(f"slopeward/v1/{topic}", READING, retain=True) == REFUSED, topic
        assert (client.publish("gateway/up"), client.publish("$SYS/broker/x")) == (REFUSED, REFUSED)
    wait_for(lambda: broker_setup.ingest.status()["messages"] == 2, description="both messages")


def test_messages_are_kept_while_service_is_stopped(broker_setup):
    """Mosquitto from 2.0.12 on drops them if `per_listener_settings` is set, so no shipped configuration sets it."""
    broker_setup.ingest.stop()
    with calling(broker_setup.station_access) as client:
        for hour in range(3):
            assert client.publish("slopeward/v1/north/G1/obs", READING.replace("06:", f"0{hour}:")) == "Success"
    broker_setup.ingest = broker_setup.make_ingest()
    broker_setup.ingest.start()
    wait_for(lambda: broker_setup.ingest.status()["messages"] == 3, description="the kept messages")
    configurations = [
        (broker_setup.broker.folder / "mosquitto.conf"),
        *(Path(__file__).parents[2] / "deploy").glob("*.conf"),
    ]
    assert len(configurations) == 3
    assert not [path for path in configurations if "\nper_listener_settings" in path.read_text()]


def test_login_of_site_publishes_only_for_its_site(broker_setup):
    with calling(broker_setup.gateway_access) as client:
        site = "slopeward/v1/north"
        for topic in (f"{site}/G1/obs", f"{site}/report", f"{site}/event", "gateway/up"):
            assert client.publish(topic) == "Success", topic
        for topic in ("slopeward/v1/south/G1/obs", "slopeward/v1/north/state", "anything/else"):
            assert client.publish(topic) == REFUSED, topic


def test_login_of_listener_receives_its_site_and_publishes_nothing(broker_setup):
    with (
        calling(broker_setup.service_access, "slopeward-test") as service,
        calling(broker_setup.listener_access) as siren,
    ):
        siren.listen("#")
        for topic in ("slopeward/v1/north/state", "slopeward/v1/south/state", "siren/north", "siren/south"):
            service.publish(topic, topic)
        service.publish("slopeward/v1/status", "last")
        siren.wait(lambda: siren.heard[-1:] == [("slopeward/v1/status", b"last")], "the last message")
        assert {topic for topic, _ in siren.heard} == {"slopeward/v1/north/state", "siren/north", "slopeward/v1/status"}
        assert siren.publish("slopeward/v1/north/G1/obs") == REFUSED


def test_sessions_of_service_and_of_other_instruments_cannot_be_taken_over(broker_setup):
    connection_numbers = [session.connection_number for session in broker_setup.ingest._sessions.values()]
    gateway_access = broker_setup.issue_access("south")
    with calling(gateway_access) as gateway:
        for victim in ("slopeward", "slopeward-backfill", "south"):
            with calling(broker_setup.station_access, victim) as thief:  # the clean start would also delete the queue
                assert thief.is_in
                assert thief.publish("slopeward/v1/north/G1/obs", READING) == "Success"
        assert gateway.ends == []
    wait_for(lambda: broker_setup.ingest.status()["messages"] == 3, description="the messages")
    assert [session.connection_number for session in broker_setup.ingest._sessions.values()] == connection_numbers


def test_login_cannot_have_name_of_service_or_of_another_login(broker_setup):
    for name in ("slopeward", "slopeward-backfill", DOCTOR):
        with pytest.raises(RefusedError, match="belongs to the service"):
            broker_setup.book.issue("north", name=name)
    for invalid_name in ("a b", "a:b", "a\ntopic readwrite #", "+", "a/b"):
        with pytest.raises(RefusedError, match="expected letters"):
            broker_setup.book.issue(invalid_name)
    with pytest.raises(RefusedError, match="has a login"):
        broker_setup.book.issue("north", "G1")


def test_last_will_needs_the_right_to_publish(broker_setup):
    with calling(broker_setup.service_access, "slopeward-test") as service:
        service.listen("slopeward/#")
        with calling(broker_setup.station_access, will=("slopeward/v1/north/state", "forged")) as client:
            client.break_off()
        time.sleep(1.0)
        assert service.heard == []


def test_revoked_login_is_disconnected_at_once_and_others_stay(broker_setup):
    with calling(broker_setup.station_access) as revoked, calling(broker_setup.gateway_access) as other:
        broker_setup.book.revoke(broker_setup.station_access.username)
        broker_setup.broker.reload()
        revoked.wait(lambda: revoked.ends, "the end of the revoked connection")
        assert (other.publish("slopeward/v1/north/G1/obs", READING), other.ends) == ("Success", [])
    with calling(broker_setup.station_access) as reconnected:
        assert reconnected.answers[0] == REFUSED
    with pytest.raises(NotFoundError, match=r"no login 'north\.G1'; there are: north, north\.listener"):
        broker_setup.book.revoke("north.G1")
    assert all(broker_setup.ingest.status()["connected"].values())


def test_too_large_message_is_not_accepted(broker_setup):
    with calling(broker_setup.gateway_access) as client:
        client.client.publish("slopeward/v1/north/G1/obs", b"x" * (PAYLOAD_LIMIT + 1), qos=1)
        time.sleep(0.5)
    with calling(broker_setup.gateway_access) as client:
        assert client.publish("slopeward/v1/north/G1/obs", READING) == "Success"
    wait_for(lambda: broker_setup.ingest.status()["messages"] == 1, description="the small message")


def test_secrets_are_private_and_not_in_logs_or_commands(broker_setup):
    folder = broker_setup.broker.folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    names = {"logins.json", "passwords", "acl", "service.secret", "doctor.secret"}
    for name in {*names, "broker.log"}:
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name
    secrets = [
        broker_setup.service_access.password,
        broker_setup.station_access.password,
        broker_setup.book.doctor_password(),
    ]
    command = Path(f"/proc/{broker_setup.broker.pid}/cmdline").read_text()
    visible_texts = [
        command,
        (folder / "broker.log").read_text(),
        (folder / "mosquitto.conf").read_text(),
        repr(broker_setup.service_access),
    ]
    visible_texts += [(folder / name).read_text() for name in ("logins.json", "passwords")]
    assert not [secret for secret in secrets for text in visible_texts if secret in text]


def test_simulator_has_login_only_while_it_runs(broker_setup):
    with issue_temporary_login(broker_setup.config.broker, "north", "simulator") as (name, password):
        access = replace(broker_setup.anonymous_access, username=name, password=password)
        with calling(access) as client:
            assert client.publish("slopeward/v1/north/G1/obs", READING) == "Success"
    with calling(access) as client:
        assert client.answers[0] == REFUSED
    assert [login.name for login in broker_setup.book.load()] == ["north", "north.G1", "north.listener"]


def test_invalid_site_file_keeps_topics_of_gateway(broker_setup):
    broker_setup.book.prepare([])  # no file can be read now
    assert "topic write gateway/up" in (broker_setup.broker.folder / "acl").read_text()
    assert "topic write #" not in (broker_setup.broker.folder / "acl").read_text()
    topics = json.loads((broker_setup.broker.folder / "logins.json").read_text())["topics"]["north"]
    assert topics == {"write": ["gateway/up"], "read": ["siren/north"], "confirm": []}


def list_retained(broker_setup):
    """Return the topics of the retained readings of the site, which the broker sends to a new client."""
    with calling(broker_setup.service_access, "slopeward-look") as client:
        client.listen("slopeward/v1/north/#", "gateway/#", "slopeward/doctor/end")
        with calling(broker_setup.service_access, "slopeward-end") as other:
            other.publish("slopeward/doctor/end", "end")
        client.wait(lambda: ("slopeward/doctor/end", b"end") in client.heard, "the last message")
        return {topic for topic, payload in client.heard if payload and topic != "slopeward/doctor/end"}


def test_retained_messages_of_undeclared_stations_are_cleared(broker_setup):
    """One retained message for each topic of a declared station stays, also after a restart of the ingest."""
    declared_topics = {"slopeward/v1/north/G1/obs"}
    large = READING + " " * 10_000
    with calling(broker_setup.gateway_access) as gateway:
        for number in range(40):
            gateway.publish(f"slopeward/v1/north/X{number}/obs", large, retain=True)
        gateway.publish("slopeward/v1/north/G1/obs", large, retain=True)
        gateway.publish("slopeward/v1/north/Y/backfill/obs", large, retain=True)
        wait_for(lambda: broker_setup.ingest.status()["messages"] == 42, description="all of them read")
        wait_for(lambda: list_retained(broker_setup) == declared_topics, description="the clearing")
        broker_setup.ingest.stop()
        gateway.publish("slopeward/v1/north/Z1/obs", large, retain=True)
    assert list_retained(broker_setup) == declared_topics | {"slopeward/v1/north/Z1/obs"}
    broker_setup.ingest = broker_setup.make_ingest()
    broker_setup.ingest.start()
    wait_for(lambda: list_retained(broker_setup) == declared_topics, description="the clearing after a start")
    with broker_setup.ingest._db.read() as connection:
        rejected = connection.exec_driver_sql("SELECT count(*) FROM rejected_message").scalar()
    assert rejected == 0, "clearing a topic is not a rejected message"

"""An instrument may say only what it is: what a client of the managed Mosquitto tries and must not get."""

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
def house(tmp_path, sqlite_url):
    if find_mosquitto() is None:
        skip_missing("Mosquitto")
    port = free_port()
    config = parse_service(f'[broker]\nurl = "mqtt://127.0.0.1:{port}"\ndata = "{tmp_path}/broker"\n', "test")
    broker = ManagedBroker(tmp_path / "broker", port, find_sites=lambda: SITES)
    broker.start()
    door = Access(port=port)
    book = broker.book

    def enter(*words, **more):
        login, password = book.issue(*words, **more)
        book.reload_broker()
        return replace(door, username=login.name, password=password)

    made = SimpleNamespace(broker=broker, book=book, config=config, door=door, enter=enter)
    made.station, made.site, made.listener = enter("north", "G1"), enter("north"), enter("north", listens=True)
    made.access, database = find_access(config.broker), Database(sqlite_url)
    sites = {s.id: replace(s, decoders=()) for s in SITES}
    context = IngestContext(database, config, sites, lambda _: None, lambda _: None, lambda: datetime.now(UTC))
    made.make_ingest = lambda: Ingest(context)
    made.ingest = made.make_ingest()
    made.ingest.start()
    wait_for(lambda: all(made.ingest.status()["connected"].values()), description="ingest")
    yield made
    made.ingest.stop()
    broker.stop()
    database.close()


def test_nobody_comes_in_without_a_login(house):
    wrong = replace(house.station, password="guessed")
    for access in (house.door, wrong, replace(house.access, username="", password="")):
        with calling(access, "x") as one:
            assert one.answers[0] == REFUSED, access


def test_a_station_says_its_own_readings_and_nothing_else(house):
    with calling(house.station, "x") as one:
        assert one.publish("slopeward/v1/north/G1/obs", READING) == "Success"
        assert one.publish("slopeward/v1/north/G1/backfill/obs", READING) == "Success"
        others = "north/G2/obs south/G1/obs north/report north/event north/state north/alert status north/G1/backfill"
        for topic in [*others.split(), "south/state", "north/G1/obs/x", "doctor/x"]:
            assert one.publish(f"slopeward/v1/{topic}", READING, retain=True) == REFUSED, topic
        assert (one.publish("gateway/up"), one.publish("$SYS/broker/x")) == (REFUSED, REFUSED)
    wait_for(lambda: house.ingest.status()["messages"] == 2, description="both messages")


def test_what_comes_while_the_service_is_away_waits_for_it(house):
    """Mosquitto from 2.0.12 on drops it where `per_listener_settings` is set, so that nothing of ours sets it."""
    house.ingest.stop()
    with calling(house.station) as one:
        for n in range(3):
            assert one.publish("slopeward/v1/north/G1/obs", READING.replace("06:", f"0{n}:")) == "Success"
    house.ingest = house.make_ingest()
    house.ingest.start()
    wait_for(lambda: house.ingest.status()["messages"] == 3, description="what waited")
    ours = [(house.broker.folder / "mosquitto.conf"), *(Path(__file__).parents[2] / "deploy").glob("*.conf")]
    assert len(ours) == 3
    assert not [path for path in ours if "\nper_listener_settings" in path.read_text()]


def test_a_gateway_speaks_for_its_site_and_for_no_other(house):
    with calling(house.site) as one:
        site = "slopeward/v1/north"
        for topic in (f"{site}/G1/obs", f"{site}/report", f"{site}/event", "gateway/up"):
            assert one.publish(topic) == "Success", topic
        for topic in ("slopeward/v1/south/G1/obs", "slopeward/v1/north/state", "anything/else"):
            assert one.publish(topic) == REFUSED, topic


def test_a_listener_hears_its_site_and_says_nothing(house):
    with calling(house.access, "slopeward-test") as service, calling(house.listener) as siren:
        siren.listen("#")
        for topic in ("slopeward/v1/north/state", "slopeward/v1/south/state", "siren/north", "siren/south"):
            service.publish(topic, topic)
        service.publish("slopeward/v1/status", "last")
        siren.wait(lambda: siren.heard[-1:] == [("slopeward/v1/status", b"last")], "the last message")
        assert {topic for topic, _ in siren.heard} == {"slopeward/v1/north/state", "siren/north", "slopeward/v1/status"}
        assert siren.publish("slopeward/v1/north/G1/obs") == REFUSED


def test_nobody_takes_the_sessions_of_the_service_or_of_another_instrument(house):
    before = [one.connection_number for one in house.ingest._sessions.values()]
    gateway = house.enter("south")
    with calling(gateway) as kept:
        for victim in ("slopeward", "slopeward-backfill", "south"):
            with calling(house.station, victim) as thief:  # clean start: it would throw away the queue as well
                assert thief.is_in
                assert thief.publish("slopeward/v1/north/G1/obs", READING) == "Success"
        assert kept.ends == []
    wait_for(lambda: house.ingest.status()["messages"] == 3, description="the messages")
    assert [one.connection_number for one in house.ingest._sessions.values()] == before


def test_no_login_bears_a_name_of_the_service_and_none_is_given_twice(house):
    for name in ("slopeward", "slopeward-backfill", DOCTOR):
        with pytest.raises(RefusedError, match="belongs to the service"):
            house.book.issue("north", name=name)
    for bad in ("a b", "a:b", "a\ntopic readwrite #", "+", "a/b"):
        with pytest.raises(RefusedError, match="expected letters"):
            house.book.issue(bad)
    with pytest.raises(RefusedError, match="has a login"):
        house.book.issue("north", "G1")


def test_a_last_will_is_bound_to_the_rights_of_its_client(house):
    with calling(house.access, "slopeward-test") as service:
        service.listen("slopeward/#")
        with calling(house.station, will=("slopeward/v1/north/state", "forged")) as one:
            one.break_off()
        time.sleep(1.0)
        assert service.heard == []


def test_who_was_revoked_is_out_at_once_and_the_others_stay(house):
    with calling(house.station) as gone, calling(house.site) as kept:
        house.book.revoke(house.station.username)
        house.broker.reload()
        gone.wait(lambda: gone.ends, "the end of the revoked one")
        assert (kept.publish("slopeward/v1/north/G1/obs", READING), kept.ends) == ("Success", [])
    with calling(house.station) as again:
        assert again.answers[0] == REFUSED
    with pytest.raises(NotFoundError, match=r"no login 'north\.G1'; there are: north, north\.listener"):
        house.book.revoke("north.G1")
    assert all(house.ingest.status()["connected"].values())


def test_what_no_decoder_would_read_does_not_come_in(house):
    with calling(house.site) as one:
        one.client.publish("slopeward/v1/north/G1/obs", b"x" * (PAYLOAD_LIMIT + 1), qos=1)
        time.sleep(0.5)
    with calling(house.site) as one:
        assert one.publish("slopeward/v1/north/G1/obs", READING) == "Success"
    wait_for(lambda: house.ingest.status()["messages"] == 1, description="the small message")


def test_secrets_are_read_by_nobody_else_and_stand_in_no_log_and_no_command(house):
    folder = house.broker.folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    names = {"logins.json", "passwords", "acl", "service.secret", "doctor.secret"}
    for name in {*names, "broker.log"}:
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name
    secrets = [house.access.password, house.station.password, house.book.doctor_password()]
    words = Path(f"/proc/{house.broker.pid}/cmdline").read_text()
    shown = [words, (folder / "broker.log").read_text(), (folder / "mosquitto.conf").read_text(), repr(house.access)]
    shown += [(folder / name).read_text() for name in ("logins.json", "passwords")]
    assert not [s for s in secrets for text in shown if s in text]


def test_a_simulator_of_this_machine_takes_a_login_for_as_long_as_it_runs(house):
    with issue_temporary_login(house.config.broker, "north", "simulator") as (name, password):
        access = replace(house.door, username=name, password=password)
        with calling(access) as one:
            assert one.publish("slopeward/v1/north/G1/obs", READING) == "Success"
    with calling(access) as one:
        assert one.answers[0] == REFUSED
    assert [one.name for one in house.book.load()] == ["north", "north.G1", "north.listener"]


def test_a_site_that_cannot_be_read_keeps_the_topics_of_its_gateway(house):
    house.book.prepare([])  # no file can be read now
    assert "topic write gateway/up" in (house.broker.folder / "acl").read_text()
    assert "topic write #" not in (house.broker.folder / "acl").read_text()
    topics = json.loads((house.broker.folder / "logins.json").read_text())["topics"]["north"]
    assert topics == {"write": ["gateway/up"], "read": ["siren/north"], "confirm": []}


def retained(house):
    """What a client that comes now is given at once: all that the broker retains of readings of the site."""
    with calling(house.access, "slopeward-look") as one:
        one.listen("slopeward/v1/north/#", "gateway/#", "slopeward/doctor/end")
        with calling(house.access, "slopeward-end") as other:
            other.publish("slopeward/doctor/end", "end")
        one.wait(lambda: ("slopeward/doctor/end", b"end") in one.heard, "the last message")
        return {topic for topic, payload in one.heard if payload and topic != "slopeward/doctor/end"}


def test_retained_messages_under_ever_new_names_do_not_stay_with_the_broker(house):
    """Of declared stations one for each topic stays; all others are read and cleared, also those of before a start."""
    kept, large = {"slopeward/v1/north/G1/obs"}, READING + " " * 10_000
    with calling(house.site) as gateway:
        for n in range(40):
            gateway.publish(f"slopeward/v1/north/X{n}/obs", large, retain=True)
        gateway.publish("slopeward/v1/north/G1/obs", large, retain=True)
        gateway.publish("slopeward/v1/north/Y/backfill/obs", large, retain=True)
        wait_for(lambda: house.ingest.status()["messages"] == 42, description="all of them read")
        wait_for(lambda: retained(house) == kept, description="the clearing")
        house.ingest.stop()
        gateway.publish("slopeward/v1/north/Z1/obs", large, retain=True)
    assert retained(house) == kept | {"slopeward/v1/north/Z1/obs"}
    house.ingest = house.make_ingest()
    house.ingest.start()
    wait_for(lambda: retained(house) == kept, description="the clearing after a start")
    with house.ingest._db.read() as c:
        rejected = c.exec_driver_sql("SELECT count(*) FROM rejected_message").scalar()
    assert rejected == 0, "what was cleared is no message"

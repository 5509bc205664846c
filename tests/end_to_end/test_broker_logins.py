"""`slopeward run` accepts no MQTT client without a login, and the commands of the tutorial create logins."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitor.broker.access import Access, find_access
from monitor.broker.signing import KEYS_FILE, Keyring, is_signed
from monitor.ingest.broker_process import find_mosquitto
from monitor.settings.service import load_service
from tests.data.running import Service
from tests.data.servers.mqtt_client import calling
from tests.end_to_end.test_never_lower import site_file
from tests.fixtures.waiting import free_port, skip_missing, wait_for

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(300)]
OBS = "slopeward/v1/s/G1/obs"


@contextmanager
def make_service(folder: Path, template: Path) -> Iterator[Service]:
    """Yield a service, not started, with a managed broker in its folder. Stop it in the end."""
    if find_mosquitto() is None:
        skip_missing("Mosquitto")
    sites = {"s": site_file({"G1": "A", "G2": "B"}, "1h")}
    broker_url = f"mqtt://127.0.0.1:{free_port()}"
    database_url = f"sqlite:///{shutil.copy(template, folder / 'slopeward.db')}"
    with Service(folder, database_url, broker_url, sites, page=False, broker=folder / "broker") as service:
        service.config.write_text(service.config.read_text().replace("[paths]", f'[paths]\nstate = "{folder}/var"'))
        yield service
        if service.running:
            service.stop()  # also stops the managed broker, which a killed service leaves behind


@pytest.fixture
def stopped_service(tmp_path: Path, sqlite_template: Path) -> Iterator[Service]:
    """Yield a service that is not started."""
    with make_service(tmp_path, sqlite_template) as service:
        yield service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Service]:
    """Yield a running service. Each test revokes the logins that it creates."""
    with make_service(tmp_path_factory.mktemp("service"), sqlite_template) as running:
        running.start()
        yield running


def encode_reading(value: float) -> str:
    return json.dumps({"time": datetime.now(UTC).isoformat(), "displacement_mm": value})


def query_number(service: Service, sql: str = "SELECT count(*) FROM observation") -> int:
    return int(service.query(sql)[0][0])


def test_instrument_publishes_with_its_login_until_the_login_is_revoked(service: Service) -> None:
    audit_query = "SELECT count(*) FROM audit_log WHERE action LIKE 'broker.login.%' AND subject = 'login:s.G1'"
    count_before, audit_count_before = query_number(service), query_number(service, audit_query)
    broker = Access(port=load_service(service.config).broker.port)
    with calling(broker) as anonymous:
        assert not anonymous.is_in
    added = service.call("broker", "add", "s/G1", "--json")
    assert added.returncode == 0, added.stderr
    assert "the broker has loaded the change" in added.stderr
    login_data = json.loads(added.stdout)
    login = Access(port=broker.port, username=login_data["username"], password=login_data["password"])
    with calling(login) as instrument:
        assert instrument.publish(OBS, encode_reading(1.0)) == "Success"
        assert instrument.publish("slopeward/v1/s/state", encode_reading(1.0)) == "Not authorized"
        wait_for(lambda: query_number(service) == count_before + 1, 20, "the reading")
        login_list = service.call("broker", "list").stdout
        assert "s.G1" in login_list
        assert login_data["password"] not in login_list + service.log()
        assert service.call("broker", "revoke", "s.G1").returncode == 0
        instrument.wait(lambda: instrument.ends, "the end of its connection")
    assert (service.call("broker", "list").returncode, query_number(service, audit_query)) == (
        4,
        audit_count_before + 2,
    )
    assert (
        query_number(service, "SELECT count(*) FROM active_alerts WHERE ledger = 'health' AND reason LIKE '%login%'")
        == 0
    )


def test_messages_refused_by_the_broker_are_shown_by_doctor_instruments_and_sql(service: Service) -> None:
    login_data = json.loads(service.call("broker", "add", "s/G2", "--json").stdout)
    access = Access(port=load_service(service.config).broker.port, username="s.G2", password=login_data["password"])
    topic_of_station = OBS.replace("G1", "G2")
    topics = [
        topic_of_station.replace("/obs", "//obs"),
        topic_of_station.replace("/s/", "/S/"),
        topic_of_station.replace("/s/", "/other/"),
    ]
    for topic in [*topics, topics[0]]:
        with calling(access) as instrument:
            instrument.publish(topic, encode_reading(1.0))
    rejected_query = "SELECT count(*) FROM rejected_messages WHERE code = 'denied' AND client = 'login:s.G2'"
    wait_for(lambda: query_number(service, rejected_query) == 3, 40, "the rows")
    assert query_number(service, rejected_query.replace("count(*)", "sum(times)")) == 4
    assert query_number(service, "SELECT count(*) FROM rejected_messages WHERE client LIKE '%G2'") == 3
    report = service.call("doctor").stdout
    for times, topic in zip((2, 1, 1), topics, strict=True):
        assert f"the broker refused {times} messages of login s.G2 on topic {topic}, the last at" in report
    assert "the broker refused 4 of its messages" in service.call("instruments", "list").stdout
    assert login_data["password"] not in report + service.log() + (service.folder / "broker/broker.log").read_text()
    assert service.call("broker", "revoke", "s.G2").returncode == 0


def test_wrong_stations_and_names_are_rejected_with_one_line(stopped_service: Service) -> None:
    for arguments, message in (
        (("add", "nowhere"), "no site 'nowhere'"),
        (("add", "s/X9"), "s has no station 'X9'; there are: G1, G2"),
        (("add", "s", "--name", "slopeward"), "belongs to the service"),
        (("add", "s", "--name", "a b"), "expected letters"),
        (("revoke", "x"), "no login 'x'; there are: none"),
    ):
        result = stopped_service.call("broker", *arguments)
        assert result.returncode == 1, arguments
        assert message in result.stderr.splitlines()[-1], arguments
        assert "Traceback" not in result.stderr
    assert (
        stopped_service.call("broker", "add", "s").stderr.splitlines()[-1]
        == "the broker loads the change at its next start"
    )


@pytest.mark.soak
def test_simulator_uses_a_temporary_login(service: Service) -> None:
    url = load_service(service.config).broker.url
    arguments = f"demo simulate --broker {url} --days 2 --step 6h --live 6h --speed 100000 --stations 1"
    result = subprocess.run(
        [sys.executable, "-m", "monitor.cli.main", *arguments.split()],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "SLOPEWARD_CONFIG": str(service.config)},
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["acknowledged"] > 5
    assert service.call("broker", "list").returncode == 4


@pytest.mark.soak
def test_broker_without_logins_raises_an_alarm(stopped_service: Service) -> None:
    stopped_service.config.write_text(
        stopped_service.config.read_text().replace("[broker]\n", "[broker]\nanonymous = true\n")
    )
    stopped_service.start()
    config = load_service(stopped_service.config).broker
    with calling(Access(port=config.port), "logger") as logger:
        assert logger.publish(OBS, encode_reading(1.0)) == "Success"
        assert logger.publish("slopeward/v1/s/state", "{}") == "Not authorized"
    sql = "SELECT count(*) FROM active_alerts WHERE ledger = 'health' AND reason LIKE '%every user of this machine%'"
    wait_for(lambda: query_number(stopped_service, sql) == 1, 20, "the alarm")
    assert find_access(config).socket


@pytest.mark.soak
def test_level_published_by_another_client_raises_an_alarm(service: Service) -> None:
    """The service signs the levels that it publishes itself."""
    config = load_service(service.config)
    keyring = Keyring(config.paths.state / KEYS_FILE)
    with calling(find_access(config.broker), "slopeward-test") as insider:  # a client with the password of the service
        insider.listen("slopeward/v1/s/state")
        insider.wait(lambda: insider.heard, "a state")
        assert is_signed(*insider.heard[0], keyring.readable_keys())
        for _ in range(10):
            insider.publish("slopeward/v1/s/state", b'{"level": 0}', retain=True)
    alarm_query = (
        "SELECT count(*) FROM active_alerts WHERE ledger = 'health' AND reason LIKE '%another client publishes%'"
    )
    wait_for(lambda: query_number(service, alarm_query) == 1, 20, "the alarm")
    new_key = json.loads(service.call("broker", "key-add", "--json").stdout)
    assert new_key["id"] in service.call("broker", "keys").stdout
    assert new_key["key"] not in service.call("broker", "keys").stdout
    assert service.call("broker", "key-retire", keyring.readable_keys()[0].id).returncode == 0
    assert [key.id for key in keyring.keys()] == [new_key["id"]]

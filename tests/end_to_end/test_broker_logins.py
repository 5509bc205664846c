"""`slopeward run` lets nobody in without a login, and the commands of the tutorial give one."""

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
def keep_service(folder: Path, template: Path) -> Iterator[Service]:
    """The service with a managed broker on a folder of its own; not started."""
    if find_mosquitto() is None:
        skip_missing("Mosquitto")
    sites = {"s": site_file({"G1": "A", "G2": "B"}, "1h")}
    broker_url = f"mqtt://127.0.0.1:{free_port()}"
    url = f"sqlite:///{shutil.copy(template, folder / 'slopeward.db')}"
    with Service(folder, url, broker_url, sites, page=False, broker=folder / "broker") as made:
        made.config.write_text(made.config.read_text().replace("[paths]", f'[paths]\nstate = "{folder}/var"'))
        yield made
        if made.running:
            made.stop()  # the managed broker with it, which a killed service leaves behind


@pytest.fixture
def stopped(tmp_path: Path, sqlite_template: Path) -> Iterator[Service]:
    """A service that was not started."""
    with keep_service(tmp_path, sqlite_template) as made:
        yield made


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Service]:
    """A service that runs; each test takes back the logins that it gave."""
    with keep_service(tmp_path_factory.mktemp("service"), sqlite_template) as made:
        made.start()
        yield made


def reading(value: float) -> str:
    return json.dumps({"time": datetime.now(UTC).isoformat(), "displacement_mm": value})


def count(service: Service, sql: str = "SELECT count(*) FROM observation") -> int:
    return int(service.query(sql)[0][0])


def test_an_instrument_gets_a_login_speaks_and_is_shut_out(service: Service) -> None:
    acts = "SELECT count(*) FROM audit_log WHERE action LIKE 'broker.login.%' AND subject = 'login:s.G1'"
    before, acted = count(service), count(service, acts)
    door = Access(port=load_service(service.config).broker.port)
    with calling(door) as nobody:
        assert not nobody.is_in
    said = service.call("broker", "add", "s/G1", "--json")
    assert said.returncode == 0, said.stderr
    assert "the broker has loaded it" in said.stderr
    facts = json.loads(said.stdout)
    login = Access(port=door.port, username=facts["username"], password=facts["password"])
    with calling(login) as instrument:
        assert instrument.publish(OBS, reading(1.0)) == "Success"
        assert instrument.publish("slopeward/v1/s/state", reading(1.0)) == "Not authorized"
        wait_for(lambda: count(service) == before + 1, 20, "the reading")
        listed = service.call("broker", "list").stdout
        assert "s.G1" in listed
        assert facts["password"] not in listed + service.log()
        assert service.call("broker", "revoke", "s.G1").returncode == 0
        instrument.wait(lambda: instrument.ends, "the end of its connection")
    assert (service.call("broker", "list").returncode, count(service, acts)) == (4, acted + 2)
    assert count(service, "SELECT count(*) FROM active_alerts WHERE ledger = 'health' AND reason LIKE '%login%'") == 0


def test_what_the_broker_refuses_is_shown_in_doctor_on_the_board_and_in_sql(service: Service) -> None:
    facts = json.loads(service.call("broker", "add", "s/G2", "--json").stdout)
    door = Access(port=load_service(service.config).broker.port, username="s.G2", password=facts["password"])
    obs = OBS.replace("G1", "G2")
    topics = [obs.replace("/obs", "//obs"), obs.replace("/s/", "/S/"), obs.replace("/s/", "/other/")]
    for topic in [*topics, topics[0]]:
        with calling(door) as instrument:
            instrument.publish(topic, reading(1.0))
    sql = "SELECT count(*) FROM rejected_messages WHERE code = 'denied' AND client = 'login:s.G2'"
    wait_for(lambda: count(service, sql) == 3, 40, "the rows")
    assert count(service, sql.replace("count(*)", "sum(times)")) == 4
    assert count(service, "SELECT count(*) FROM rejected_messages WHERE client LIKE '%G2'") == 3
    shown = service.call("doctor").stdout
    for n, topic in zip((2, 1, 1), topics, strict=True):
        assert f"the broker refused {n} messages of login s.G2 on topic {topic}, the last at" in shown
    assert "the broker refused 4 of its messages" in service.call("instruments", "list").stdout
    assert facts["password"] not in shown + service.log() + (service.folder / "broker/broker.log").read_text()
    assert service.call("broker", "revoke", "s.G2").returncode == 0


def test_wrong_places_and_names_are_one_line(stopped: Service) -> None:
    for words, said in (
        (("add", "nowhere"), "no site 'nowhere'"),
        (("add", "s/X9"), "s has no station 'X9'; there are: G1, G2"),
        (("add", "s", "--name", "slopeward"), "belongs to the service"),
        (("add", "s", "--name", "a b"), "expected letters"),
        (("revoke", "x"), "no login 'x'; there are: none"),
    ):
        answer = stopped.call("broker", *words)
        assert answer.returncode == 1, words
        assert said in answer.stderr.splitlines()[-1], words
        assert "Traceback" not in answer.stderr
    assert stopped.call("broker", "add", "s").stderr.splitlines()[-1] == "the broker loads it at its next start"


def test_the_simulator_takes_a_login_of_its_own(service: Service) -> None:
    url = load_service(service.config).broker.url
    words = f"demo simulate --broker {url} --days 2 --step 6h --live 6h --speed 100000 --stations 1"
    done = subprocess.run(
        [sys.executable, "-m", "monitor.cli.main", *words.split()],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "SLOPEWARD_CONFIG": str(service.config)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["acknowledged"] > 5
    assert service.call("broker", "list").returncode == 4


def test_an_open_broker_is_an_alarm_that_stands(stopped: Service) -> None:
    stopped.config.write_text(stopped.config.read_text().replace("[broker]\n", "[broker]\nanonymous = true\n"))
    stopped.start()
    config = load_service(stopped.config).broker
    with calling(Access(port=config.port), "logger") as logger:
        assert logger.publish(OBS, reading(1.0)) == "Success"
        assert logger.publish("slopeward/v1/s/state", "{}") == "Not authorized"
    sql = "SELECT count(*) FROM active_alerts WHERE ledger = 'health' AND reason LIKE '%every user of this machine%'"
    wait_for(lambda: count(stopped, sql) == 1, 20, "the alarm")
    assert find_access(config).socket


def test_a_foreign_level_is_an_alarm_and_the_service_signs_its_own(service: Service) -> None:
    config = load_service(service.config)
    ring = Keyring(config.paths.state / KEYS_FILE)
    with calling(find_access(config.broker), "slopeward-test") as insider:  # who has the service's own secret
        insider.listen("slopeward/v1/s/state")
        insider.wait(lambda: insider.heard, "a state")
        assert is_signed(*insider.heard[0], ring.readable_keys())
        for _ in range(10):
            insider.publish("slopeward/v1/s/state", b'{"level": 0}', retain=True)
    sql = "SELECT count(*) FROM active_alerts WHERE ledger = 'health' AND reason LIKE '%another client publishes%'"
    wait_for(lambda: count(service, sql) == 1, 20, "the alarm")
    fresh = json.loads(service.call("broker", "key-add", "--json").stdout)
    assert fresh["id"] in service.call("broker", "keys").stdout
    assert fresh["key"] not in service.call("broker", "keys").stdout
    assert service.call("broker", "key-retire", ring.readable_keys()[0].id).returncode == 0
    assert [key.id for key in ring.keys()] == [fresh["id"]]

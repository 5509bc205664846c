"""An installation of the version before starts as a whole: its watch goes on, and one message says what to do.

`tests/data/installation_0006.jsonl` holds the rows that the program at revision 0006 itself wrote: a slope that ran to
its top level, unacknowledged, with an account, a report and an event.
"""

import json
import os
import shutil
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Boolean, MetaData, insert, text

from monitor.broker.access import Access
from monitor.broker.logins import HOW_TO_CLOSE
from monitor.ingest.broker import find_mosquitto
from monitor.store.database.engine import Database
from monitor.store.people.users import check_password
from monitor.store.upkeep.migrate import current, head, make_config
from monitor.store.upkeep.verify import verify
from tests.conftest import absent, free_port, wait_for
from tests.data.mqtt_client import calling
from tests.data.running import Service

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]
WRITTEN = Path(__file__).parents[1] / "data/installation_0006.jsonl"
ROWS = [json.loads(line) for line in WRITTEN.read_text(encoding="utf-8").splitlines()]
OBS = "slopeward/v1/bench/G1/obs"
# as the version before wrote them, broker and service file
OLD_BROKER = """# written by slopeward at each start; to change it run a broker of your own (broker.mode = "external")
listener {port} 127.0.0.1
allow_anonymous true
{user}persistence true
persistence_location {folder}/
autosave_interval 5
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages 0
set_tcp_nodelay true
log_dest stderr
log_type error
log_type warning
log_type notice
"""
OLD_SERVICE = """[database]
url = "{url}"
[broker]
mode = "managed"
url = "mqtt://127.0.0.1:{port}"
client_id = "slopeward"
username = ""
password_file = ""
ca_file = ""
data = "var/broker"
[paths]
sites = "sites"
inbox = "inbox"
models = "models"
[web]
host = "127.0.0.1"
port = {web}
public_url = ""
[schedule]
evaluate_tick = "1s"
[compute]
dask = ""
job_limit = "15m"
[retention]
observations = "forever"
forecasts = "90d"
[watchdog]
ping_url = ""
[log]
level = "INFO"
"""


def make_database(url: str) -> None:
    """The schema by the migrations up to 0006, and the rows of then."""
    db = Database(url)
    with db.engine.connect().execution_options(slopeward_write=True) as c, c.begin():
        command.upgrade(make_config(c), "0006")
        tables = MetaData()
        tables.reflect(c)
        for name, row in ROWS:
            table = tables.tables[name]
            truths = {k.name for k in table.columns if isinstance(k.type, Boolean)}
            c.execute(insert(table).values({k: bool(v) if k in truths else v for k, v in row.items()}))
        if not db.is_sqlite:
            for name in {name for name, row in ROWS if "id" in row and isinstance(row["id"], int)}:
                c.execute(text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {name}"))
    db.close()


def leave_broker(folder: Path, port: int) -> None:
    """The folder of a broker that knew no logins, with a reading that came while the service was down."""
    folder.mkdir(parents=True)
    user = "user root\n" if os.geteuid() == 0 else ""
    (folder / "mosquitto.conf").write_text(OLD_BROKER.format(port=port, user=user, folder=folder))
    program = find_mosquitto()
    assert program is not None
    with (folder / "broker.log").open("wb") as log:
        broker = subprocess.Popen([program, "-c", str(folder / "mosquitto.conf")], stdout=log, stderr=log, cwd=folder)
    (folder / "broker.pid").write_text(str(broker.pid))
    try:
        wait_for(lambda: answers(port), 30, "the old broker")
        with calling(Access(port=port), "slopeward", clean=False, expiry_s=2**32 - 1) as service:
            service.listen("slopeward/v1/+/+/obs")
        with calling(Access(port=port)) as instrument:
            assert instrument.publish(OBS, reading(1.0)) == "Success"
    finally:
        broker.terminate()
        broker.wait(20)
    assert (folder / "mosquitto.db").is_file()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def reading(value: float) -> str:
    return json.dumps({"time": datetime.now(UTC).isoformat(), "crack_opening_mm": value})


def ask(url: str, sql: str) -> list[Any]:
    db = Database(url)
    try:
        with db.read() as c:
            return list(c.execute(text(sql)).all())
    finally:
        db.close()


def test_an_old_installation_watches_on_and_says_what_to_do(empty_database_url: str, tmp_path: Path) -> None:
    if find_mosquitto() is None:
        absent("Mosquitto")
    make_database(empty_database_url)
    port = free_port()
    leave_broker(tmp_path / "var/broker", port)
    site = next(row["source"] for name, row in ROWS if name == "config_version")
    with Service(tmp_path, empty_database_url, f"mqtt://127.0.0.1:{port}", {"bench": site}) as service:
        service.config.write_text(OLD_SERVICE.format(url=empty_database_url, port=port, web=service.port))
        service.start(200)
        # what waited with the old broker is read, and its instruments, which have no login, go on speaking
        count = "SELECT count(*) FROM observation"
        before = sum(name == "observation" for name, _ in ROWS)
        wait_for(lambda: ask(empty_database_url, count)[0][0] == before + 1, 30, "the reading that waited", pause_s=0.3)
        with calling(Access(port=port)) as instrument:
            assert instrument.publish(OBS, reading(2.0)) == "Success"
        wait_for(lambda: ask(empty_database_url, count)[0][0] == before + 2, 30, "a reading without login", pause_s=0.3)
        told = f"SELECT reason FROM active_alerts WHERE reason LIKE '%{HOW_TO_CLOSE[:40]}%'"
        wait_for(lambda: ask(empty_database_url, told), 30, "what to do", pause_s=0.3)
        assert len(ask(empty_database_url, told)) == 1
        service.stop()
    # the level that stood stands, and its alert is the very same
    assert ask(empty_database_url, "SELECT level FROM site_state") == [(3,)]
    rows = ask(empty_database_url, "SELECT id, level, closed_at FROM alert WHERE ledger = 'hazard'")
    assert [tuple(row) for row in rows] == [(1, 3, None)]
    db = Database(empty_database_url)
    try:
        assert current(db) == head()
        with db.read() as c:
            assert verify(c) == []
            assert check_password(c, "ada", "tin lantern quarry 41") == "operator"
        assert not db.is_sqlite or list(tmp_path.glob("*.0006.*.bak")), "no copy was made before the upgrade"
    finally:
        db.close()
    shutil.rmtree(tmp_path / "var/broker", ignore_errors=True)

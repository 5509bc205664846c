"""PostgreSQL is restarted under the running service, which ends the lock of its core: one core decides still."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.storage.engine import Database
from monitor.storage.service_state import load_heartbeats
from tests.data.running import Service
from tests.end_to_end.test_never_lower import site_file
from tests.end_to_end.trouble.test_cannot_decide import health
from tests.fixtures.mosquitto import MosquittoServer
from tests.fixtures.postgresql import PostgresServer
from tests.fixtures.waiting import wait_for

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(200)]
TAKEN_OVER = "another core has taken this database over"


@pytest.mark.soak
def test_one_core_decides_when_the_server_was_restarted_and_a_second_core_comes(
    postgresql: PostgresServer, postgresql_url: str, mosquitto: MosquittoServer, tmp_path: Path
) -> None:
    def find_core() -> int | None:
        with Database(postgresql_url) as db, db.read() as c:
            found = load_heartbeats(c).get("core")
        return int(found[1]["pid"]) if found else None

    def count_evaluations() -> int:
        with Database(postgresql_url) as db, db.read() as c:
            return int(c.exec_driver_sql("SELECT count(*) FROM evaluation").scalar_one())

    def restart() -> None:
        postgresql.stop("fast")
        postgresql.start()

    second = None
    words = [sys.executable, "-m", "monitor.app.core", str(tmp_path / "slopeward.toml")]
    with Service(tmp_path, postgresql_url, mosquitto.url, {"s": site_file({"G1": "A", "G2": "B"}, "1h")}) as service:
        service.start(90)
        first = find_core()
        assert first is not None
        restart()
        wait_for(
            lambda: "the lock of the core was taken again" in service.log(), description="the lock to be taken again"
        )
        with (tmp_path / "second.log").open("wb") as log:
            second = subprocess.Popen(words, stdout=log, stderr=log, cwd=tmp_path)
        try:
            # it has tried and waits: were the turn free, it would have it by now
            wait_for(lambda: count_waiting(second), description="the second core to try")
            os.kill(first, signal.SIGSTOP)
            restart()
            wait_for(lambda: find_core() == second.pid, 40, "the second core to decide")
            os.kill(first, signal.SIGCONT)
            wait_for(lambda: TAKEN_OVER in service.log(), description="the first one to say that it decides nothing")
            # a busy machine may take a minute until here: then the supervisor has replaced the core that hung
            wait_for(
                lambda: TAKEN_OVER in str(health(service)) or not is_running(first), description="the page to say it"
            )
            assert health(service)[0] == 503 or not is_running(first)
            before = count_evaluations()
            wait_for(lambda: count_evaluations() > before + 1, description="the second core to go on")
            assert find_core() == second.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(first, signal.SIGCONT)
            second.terminate()
            second.wait(20)
        wait_for(lambda: find_core() not in {first, second.pid}, 40, "a fresh core of the first service to decide")
        wait_for(lambda: health(service)[0] == 200, 20, "the page to say that all is well")


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def count_waiting(process: subprocess.Popen[bytes]) -> int:
    """Connections that it has to a server; none before it has tried."""
    try:
        return sum(os.readlink(one).startswith("socket:") for one in Path(f"/proc/{process.pid}/fd").iterdir())
    except OSError:
        return 0

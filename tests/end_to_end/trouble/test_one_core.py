"""PostgreSQL restarts under the running service and releases the lock of its core: only one core decides."""

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
from tests.end_to_end.trouble.test_cannot_decide import load_health
from tests.fixtures.mosquitto import MosquittoServer
from tests.fixtures.postgresql import PostgresServer
from tests.fixtures.waiting import wait_for

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(200)]
TAKEN_OVER = "another core has taken this database over"


@pytest.mark.soak
def test_only_one_core_decides_after_server_restarts_with_a_second_core(
    postgresql: PostgresServer, postgresql_url: str, mosquitto: MosquittoServer, tmp_path: Path
) -> None:
    def find_core() -> int | None:
        with Database(postgresql_url) as database, database.read() as connection:
            heartbeat = load_heartbeats(connection).get("core")
        return int(heartbeat[1]["pid"]) if heartbeat else None

    def count_evaluations() -> int:
        with Database(postgresql_url) as database, database.read() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM evaluation").scalar_one())

    def restart() -> None:
        postgresql.stop("fast")
        postgresql.start()

    second = None
    command = [sys.executable, "-m", "monitor.app.core", str(tmp_path / "slopeward.toml")]
    with Service(tmp_path, postgresql_url, mosquitto.url, {"s": site_file({"G1": "A", "G2": "B"}, "1h")}) as service:
        service.start(90)
        first_pid = find_core()
        assert first_pid is not None
        restart()
        wait_for(
            lambda: "the lock of the core was taken again" in service.log(), description="the lock to be taken again"
        )
        with (tmp_path / "second.log").open("wb") as log:
            second = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path)
        try:
            # The second core has tried to take the lock. It would hold it now if the lock were free.
            wait_for(lambda: count_sockets(second), description="the second core to try")
            os.kill(first_pid, signal.SIGSTOP)
            restart()
            wait_for(lambda: find_core() == second.pid, 40, "the second core to decide")
            os.kill(first_pid, signal.SIGCONT)
            wait_for(lambda: TAKEN_OVER in service.log(), description="the first one to say that it decides nothing")
            # On a busy machine a minute may have passed. Then the supervisor has already replaced the stopped core.
            wait_for(
                lambda: TAKEN_OVER in str(load_health(service)) or not is_running(first_pid),
                description="the page to say it",
            )
            assert load_health(service)[0] == 503 or not is_running(first_pid)
            count_before = count_evaluations()
            wait_for(lambda: count_evaluations() > count_before + 1, description="the second core to go on")
            assert find_core() == second.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(first_pid, signal.SIGCONT)
            second.terminate()
            second.wait(20)
        wait_for(lambda: find_core() not in {first_pid, second.pid}, 40, "a fresh core of the first service to decide")
        wait_for(lambda: load_health(service)[0] == 200, 20, "the page to say that all is well")


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def count_sockets(process: subprocess.Popen[bytes]) -> int:
    """Return the number of open sockets of the process; 0 before its first connection attempt."""
    try:
        return sum(
            os.readlink(descriptor).startswith("socket:") for descriptor in Path(f"/proc/{process.pid}/fd").iterdir()
        )
    except OSError:
        return 0

"""A core that is killed again and again, as by a message that makes it die at each start, is an urgent alarm."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from monitor.alerts.queries.alerts import load_alerts
from monitor.app.children import STEADY_S
from monitor.storage.actor import SERVICE_SITE
from tests.data.running import Service
from tests.end_to_end.test_never_lower import site_file
from tests.end_to_end.trouble.test_cannot_decide import find_core_pid
from tests.fixtures.databases import ON_BOTH
from tests.fixtures.waiting import wait_for

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]
LATEST_S = 60.0


def find_alarm(service: Service) -> Any:
    with service.database.read() as connection:
        alarms = load_alerts(connection, SERVICE_SITE, open_only=True)
    return next((alarm for alarm in alarms if alarm.key == "health:process:core" and alarm.level > 0), None)


@pytest.mark.soak
@ON_BOTH
def test_core_that_is_killed_three_times_is_an_alarm_until_it_runs_for_five_minutes(
    database_url: str, mosquitto: Any, tmp_path: Path
) -> None:
    site = site_file({"G1": "A", "G2": "B"}, "1h")
    with Service(tmp_path, database_url, mosquitto.url, {"s": site}, page=False) as service:
        service.start()
        wait_for(lambda: find_core_pid(service), 20, "the heartbeat of the core")
        killed_pids: set[int | None] = {None}
        killed_at_s = 0.0
        for _ in range(3):
            assert find_alarm(service) is None
            wait_for(lambda: find_core_pid(service) not in killed_pids, 60, "a new core")
            pid = find_core_pid(service)
            assert pid is not None
            killed_pids.add(pid)
            os.kill(pid, signal.SIGKILL)
            killed_at_s = time.monotonic()
        alarm = wait_for(lambda: find_alarm(service), LATEST_S, "the alarm")
        stored_s = time.monotonic() - killed_at_s
        assert alarm.level == 2
        assert "core was ended by SIGKILL" in alarm.reason
        assert "3 times in a row" in alarm.reason
        wait_for(lambda: find_core_pid(service) not in killed_pids, 60, "a new core")
        started_at_s = time.monotonic()
        wait_for(lambda: find_alarm(service) is None, STEADY_S + 60, "the end of the alarm")
        print(f"stored {stored_s:.1f} s after the third end, over after {time.monotonic() - started_at_s:.0f} s")
        assert service.stop() == 0

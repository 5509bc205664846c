"""The whole service from outside: start-up, help, memory of the core, and sample to alert row at 500 messages a second.

    python -m tests.bench --only alert-latency

Every figure stands beside a reference of the same run: `python -c pass` for start-up and help, an idle interpreter for
memory, and for latency the time a message needs from its publisher to a bare subscriber on the same broker and load.
"""

import json
import multiprocessing
import statistics
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from sqlalchemy import text

from monitor.storage.engine import Database
from tests.bench.service.slopes import close_client, open_client
from tests.data.running import Service, publish
from tests.data.site_text import criterion, head, series, station

RATE = 500


def site_file(number: int) -> str:
    """A site whose water level crosses its bound once."""
    text = head(f"b{number}", timezone="UTC", levels={"names": ["green", "yellow"]}, fusion={"top_needs": 1})
    text += station("P", series("pore_pressure", "kPa", "1s", max_silence="1h"))
    text += station("X", series("temperature", "degC", "1s", max_silence="1h"))
    over = {"series": "P.pore_pressure", "yellow": {"over": 100.0}, "dwell": {"hits": 1, "of": 1}}
    return text + criterion("level", **over, author="bench", reason="latency")


def elapsed(command: list[str], times: int = 5) -> float:
    """Median wall seconds of a command."""
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        took.append(time.perf_counter() - begun)
    return statistics.median(took)


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError


def publish_load(broker_url: str, sites: int, stopping: Event, bare_ms: Queue) -> None:
    """Publish temperatures at a steady rate, in a process of its own, so that the load does not delay the measurement.

    Args:
        broker_url: The broker.
        sites: The readings are of this number of sites.
        stopping: Set to end.
        bare_ms: Receives the time that probes on the same broker need to a bare subscriber, in milliseconds.
    """
    port = int(broker_url.rpartition(":")[2])
    found: list[float] = []

    def note(_client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        found.append((time.time() - float(json.loads(message.payload)["sent"])) * 1e3)

    client, bare = open_client(port, 2000), open_client(port, on_message=note)
    bare.subscribe("bare/#", qos=1)
    begun, sent = time.monotonic(), 0
    while not stopping.is_set():
        due = int((time.monotonic() - begun) * RATE)
        while sent < due:
            body = {"time": datetime.now(UTC).isoformat(), "temperature_degc": 10.0 + sent % 7}
            client.publish(f"slopeward/v1/b{sent % sites}/X/obs", json.dumps(body), qos=1)
            sent += 1
            if sent % 100 == 0:
                client.publish("bare/probe", json.dumps({"sent": time.time()}), qos=1)
        time.sleep(0.002)
    close_client(client, bare)
    bare_ms.put(found)


class Watch(threading.Thread):
    """Looks every 5 ms from outside which sites have an alert row that is committed."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.stopping, self._url = threading.Event(), url
        self.seen: dict[str, float] = {}

    def run(self) -> None:
        db = Database(self._url)
        query = text("SELECT site FROM alert WHERE ledger = 'hazard'")
        while not self.stopping.wait(0.005):
            with db.read() as c:
                for site in c.execute(query).scalars():
                    self.seen.setdefault(site, time.time())
        db.close()


def measure() -> dict[str, object]:
    """Return the body of a message with a pore pressure of now, over the bound."""
    return {"time": datetime.now(UTC).isoformat(), "pore_pressure_kpa": 150.0}


def measure_service(
    url: str, broker_url: str, folder: Path, *, sites: int, warm_up_s: float, seconds: float
) -> dict[str, Any]:
    """Return times of alerts, start and stop, and memory, each with its reference.

    Args:
        url: an empty database.
        broker_url: a broker without logins.
        folder: an empty folder for the service.
        sites: number of sites. Each alert is the first of its own site: with more than a hundred sites a percentile of
            99 is not the largest of all.
        warm_up_s: time before the first alert. After a start, every job runs for the first time at every site.
        seconds: time over which the alerts are spread.
    """
    files = {f"b{i}": site_file(i) for i in range(sites)}
    with Service(folder, url, broker_url, files, tick="60s") as service:
        start_s = service.start()
        parent = service.group
        processes = {
            "core": service.find_child("monitor.app.core"),
            "web": service.find_child("monitor.web.server"),
        }
        processes["supervisor"] = parent
        processes_of_load = multiprocessing.get_context("spawn")
        stopping, bare_ms = processes_of_load.Event(), processes_of_load.Queue()
        load_arguments = (broker_url, max(1, sites // 3), stopping, bare_ms)
        load = processes_of_load.Process(target=publish_load, args=load_arguments, daemon=True)
        load.start()
        # One reading alone raises nothing. The second over the bound is the one that counts.
        publish(broker_url, [(f"slopeward/v1/b{i}/P/obs", measure()) for i in range(sites)])
        time.sleep(warm_up_s)
        sent: dict[str, float] = {}
        watch = Watch(url)
        watch.start()
        client = open_client(int(broker_url.rpartition(":")[2]))
        pause_s = seconds / sites
        for i in range(sites):
            sent[f"b{i}"] = time.time()
            client.publish(f"slopeward/v1/b{i}/P/obs", json.dumps(measure()), qos=1)
            time.sleep(pause_s)
        time.sleep(3)
        close_client(client)
        memory = {name: round(resident_mib(pid), 1) for name, pid in processes.items()}
        stopping.set()
        bare = sorted(bare_ms.get(timeout=30))
        load.join()
        watch.stopping.set()
        watch.join()
        begun = time.perf_counter()
        service.stop()
        stop_s = time.perf_counter() - begun
        begun = time.perf_counter()
        service.start()
        again_s = time.perf_counter() - begun
    idle = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(5)"])
    time.sleep(0.5)
    reference_mib = resident_mib(idle.pid)
    idle.kill()
    idle.wait()
    latency = sorted((watch.seen[s] - at) * 1e3 for s, at in sent.items() if s in watch.seen)
    python_s = elapsed([sys.executable, "-c", "pass"])
    help_s = elapsed([sys.executable, "-m", "monitor.cli.main", "--help"])
    if len(latency) < sites:
        raise RuntimeError(f"only {len(latency)} of {sites} sites raised an alert")
    return {
        "sample_to_alert_ms": {
            "p50": latency[len(latency) // 2],
            "p99": latency[int(len(latency) * 0.99)],
            "max": latency[-1],
        },
        "bare_subscriber_ms": {"p50": bare[len(bare) // 2], "p99": bare[int(len(bare) * 0.99)]},
        "start_up_new_database_s": start_s,
        "start_up_s": again_s,
        "clean_stop_s": stop_s,
        "help_s": help_s,
        "bare_python_s": python_s,
        "resident_mib": memory,
        "idle_python_resident_mib": reference_mib,
    }

"""One, two and four ingest processes on one PostgreSQL: sites divided among them, or a shared subscription of MQTT 5.

    python -m tests.bench.service.bench_ingest_processes [--messages 40000]

Each process is the ingest of the service with a session of its own. `sites`: each subscribes to its sites alone, so all
readings of a station go one way. `$share`: the broker hands each message to any of them. The broker holds the queue
first; then all processes come at once and empty it. What is out of order shows as gaps in the counts of the publishers.
Beside each rate stands the processor time of the processes, which says the same on a machine that others load.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from monitor.ingest import service
from monitor.ingest.message import LIVE_FILTER, ROOT
from monitor.store.database.engine import Database
from tests.bench.record import record
from tests.conftest import MosquittoServer, PostgresServer, create_schema
from tests.end_to_end.ingest_only import STATIONS, make_site

SITES = tuple(f"s{k}" for k in range(8))
STALL_S = 120.0


def be_a_process(url: str, port: int, number: int, filters: list[str]) -> None:
    """The ingest of the service with other filters, until stdin ends; prints what it has done."""

    class Session(service.Session):
        def __init__(self, name: str, access: Any, client_id: str, wanted: Any, *rest: Any, **more: Any) -> None:
            super().__init__(name, access, client_id, filters if name == "live" else wanted, *rest, **more)

    service.Session = Session  # type: ignore[misc]
    broker = SimpleNamespace(host="127.0.0.1", client_id=f"bench-{number}", username="", password="", port=port)
    limits = SimpleNamespace(
        readings_per_s=1e9, readings_at_once=10**9, undeclared_stations=100, quarantine_mb=1, quarantine_source_mb=1
    )
    ingest = service.Ingest(
        Database(url), SimpleNamespace(broker=broker, limits=limits), {s: make_site(s) for s in SITES}, lambda _: None,
        lambda _: None, lambda: datetime.now(UTC),
    )  # fmt: skip
    ingest.start()
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.wait(0.05):
        print(json.dumps({"cpu_s": time.process_time(), "at": time.monotonic(), **ingest.status()}), flush=True)
    ingest.stop()


class Process:
    """A child and its last word."""

    def __init__(self, url: str, port: int, number: int, filters: list[str]) -> None:
        words = [sys.executable, "-m", __spec__.name, "--be", url, str(port), str(number), json.dumps(filters)]
        self._child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.status: dict[str, Any] = {"messages": 0, "connected": {"live": False}, "cpu_s": 0.0, "gaps": 0}
        self.began_at = self.idle_cpu_s = 0.0
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self.status = json.loads(line)
            if not self.status["messages"]:
                self.idle_cpu_s = float(self.status["cpu_s"])  # to start takes as much as thousands of messages
            elif not self.began_at:
                self.began_at = float(self.status["at"])

    def stop(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(30)
        self._reader.join()


def divide(way: str, count: int) -> list[list[str]]:
    """The filters of each process."""
    if way == "$share":
        return [[f"$share/ingest/{LIVE_FILTER}"]] * count
    return [[f"{ROOT}{site}/+/obs" for site in SITES[k::count]] for k in range(count)]


def send(port: int, messages: int) -> None:
    """Readings of all stations at QoS 1, each round in another order: no way of dealing them out divides the sites."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    client = Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(2000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    begin, last = datetime(2026, 3, 1, tzinfo=UTC), []
    order, chance = list(range(64)), random.Random(7)
    for i in range(messages):
        if i % 64 == 0:
            chance.shuffle(order)
        k = order[i % 64]
        at = begin + timedelta(seconds=i // 64)
        body = {"time": at.isoformat(), "source": "l", "boot_id": 1, "seq": i // 64, "displacement_mm": i * 0.01}
        topic = f"{ROOT}{SITES[k % 8]}/{STATIONS[k // 8]}/obs"
        last.append(client.publish(topic, json.dumps(body), qos=1))
        if i % 1000 == 999:
            last[-1000].wait_for_publish(60)
    for info in last[-1000:]:
        info.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


def wait_until(done: Any, processes: list[Process]) -> None:
    """Look again and again; give up where nothing moves."""
    moved_at, before = time.monotonic(), -1
    while not done():
        count = sum(p.status["messages"] for p in processes)
        if count != before:
            moved_at, before = time.monotonic(), count
        if time.monotonic() - moved_at > STALL_S:
            raise TimeoutError(f"nothing moves: {[p.status for p in processes]}")
        time.sleep(0.02)


def run(way: str, count: int, url: str, messages: int) -> dict[str, float]:
    """One round on an empty broker and database."""
    with tempfile.TemporaryDirectory() as folder:
        broker = MosquittoServer(Path(folder))
        broker.start()
        try:
            filters = divide(way, count)
            processes = [Process(url, broker.port, k, filters[k]) for k in range(count)]
            wait_until(lambda: all(p.status["connected"]["live"] for p in processes), processes)
            for one in processes:
                one.stop()  # their sessions stay, and hold what comes
            send(broker.port, messages)
            processes = [Process(url, broker.port, k, filters[k]) for k in range(count)]
            wait_until(lambda: sum(p.status["messages"] for p in processes) >= messages, processes)
            took_s = time.monotonic() - min(p.began_at for p in processes if p.began_at)
            for one in processes:
                one.stop()
            cpu_us = [(float(p.status["cpu_s"]) - p.idle_cpu_s) / messages * 1e6 for p in processes]
            return {
                "messages_per_s": round(messages / took_s), "cpu_us_per_message": round(sum(cpu_us), 1),
                "busiest_cpu_us_per_message": round(max(cpu_us), 1),
                "gaps": sum(int(p.status["gaps"]) for p in processes),
            }  # fmt: skip
        finally:
            broker.stop()


def main() -> None:
    """Each way with one, two and four processes, in one run."""
    if sys.argv[1:2] == ["--be"]:
        url, port, number, filters = sys.argv[2:]
        be_a_process(url, int(port), int(number), json.loads(filters))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=40_000)
    options = parser.parse_args()
    figures: dict[str, Any] = {"messages": options.messages, "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder), durable=True)
        try:
            for way in ("sites", "$share"):
                for count in (1, 2, 4):
                    name = f"{'share' if way == '$share' else way}_{count}"
                    server.execute(f"CREATE DATABASE {name}")
                    create_schema(server.url(name))
                    figures[name] = run(way, count, server.url(name), options.messages)
                    print(f"{name}: {figures[name]}", flush=True)
            for way in ("sites", "share"):
                for count in (2, 4):
                    one, many = figures[f"{way}_1"], figures[f"{way}_{count}"]
                    figures[f"{way}_speedup_{count}"] = round(many["messages_per_s"] / one["messages_per_s"], 2)
                    # were there a core for each process: the busiest one decides
                    bound = one["busiest_cpu_us_per_message"] / many["busiest_cpu_us_per_message"]
                    figures[f"{way}_processor_speedup_{count}"] = round(bound, 2)
        finally:
            server.stop()
    record("ingest-processes", "python -m tests.bench.service.bench_ingest_processes", figures)
    print({k: v for k, v in figures.items() if "speedup" in k})


if __name__ == "__main__":
    main()

"""One, two and four ingest processes on one PostgreSQL, as `[ingest] processes` starts them.

    python -m tests.bench.service.bench_ingest_processes [--messages 40000] [--name FILE]

The broker holds the queue first; then all processes come at once and empty it. After that the same number comes live:
the first process then also leaves out the messages of the others. What is out of order would show as gaps in the counts
of the publishers. Beside each rate stands the processor time of the processes, which says the same on a machine
that others load: of ours, of the broker, which has one thread, and of all processes of PostgreSQL together. Were there
a core for each, the slowest of these would set the pace: `live_bound_N` compares that of one process with that of N.
"""

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from monitor.config.service import BrokerSection, DatabaseSection, IngestSection, LimitsSection, ServiceConfig
from monitor.extensions.scale_out.divided import DividedIngest, open_ingest
from monitor.ingest.message import ROOT
from monitor.ingest.service import Ingest, IngestContext
from monitor.service.alarms import ServiceAlarms
from monitor.store.database.engine import Database
from tests.bench.record import read_options, record
from tests.bench.service.slopes import close_client, open_client
from tests.end_to_end.ingest_only import STATIONS, make_site
from tests.fixtures.databases import create_schema
from tests.fixtures.mosquitto import MosquittoServer
from tests.fixtures.postgresql import PostgresServer

SITES = tuple(f"s{k}" for k in range(8))
STALL_S = 120.0


def send(port: int, messages: int, first: int) -> None:
    """Readings of all stations at QoS 1, each round in another order: no way of dealing them out divides the sites."""
    client = open_client(port, 2000)
    begin, last = datetime(2026, 3, 1, tzinfo=UTC), []
    order, chance = list(range(64)), random.Random(7)
    for i in range(first, first + messages):
        if i % 64 == 0 or not last:
            chance.shuffle(order)
        k = order[i % 64]
        at = begin + timedelta(seconds=i // 64)
        body = {"time": at.isoformat(), "source": "l", "boot_id": 1, "seq": i // 64, "displacement_mm": i * 0.01}
        topic = f"{ROOT}{SITES[k % 8]}/{STATIONS[k // 8]}/obs"
        last.append(client.publish(topic, json.dumps(body), qos=1))
        if len(last) % 1000 == 0:
            last[-1000].wait_for_publish(60)
    for info in last[-1000:]:
        info.wait_for_publish(60)
    close_client(client)


def wait_until(done: Callable[[], bool], ingest: Ingest | DividedIngest) -> None:
    """Look again and again; give up where nothing moves."""
    moved_at, before = time.monotonic(), -1
    while not done():
        count = int(ingest.status()["messages"])
        if count != before:
            moved_at, before = time.monotonic(), count
        if time.monotonic() - moved_at > STALL_S:
            raise TimeoutError(f"nothing moves: {ingest.status()}")
        time.sleep(0.02)


def find_cpu_us(ingest: Ingest | DividedIngest, own_s: float, messages: int) -> list[float]:
    """Processor time a message of each process that stores, since it listens; of this one, since `own_s`."""
    if isinstance(ingest, Ingest):
        return [(time.process_time() - own_s) / messages * 1e6]
    time.sleep(1.0)  # the last report of each
    return [float(one["cpu_s"]) / messages * 1e6 for one in ingest.status()["processes"]]


def spend(broker: MosquittoServer, folder: Path) -> tuple[float, float]:
    """Processor seconds up to now of the broker, and of a server of PostgreSQL with all that it has started."""
    served = psutil.Process(int((folder / "postmaster.pid").read_text().split()[0]))
    times = served.cpu_times()
    server_s = times.user + times.system + times.children_user + times.children_system
    for one in served.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            server_s += sum(one.cpu_times()[:2])
    return sum(psutil.Process(broker.pid).cpu_times()[:2]), server_s


def run(count: int, url: str, messages: int, server: Path) -> dict[str, float]:
    """One round on an empty broker and database."""
    with tempfile.TemporaryDirectory() as folder, Database(url) as db:
        broker = MosquittoServer(Path(folder))
        broker.start()
        sites = {name: make_site(name) for name in SITES}
        config = ServiceConfig(
            database=DatabaseSection(url=url),
            ingest=IngestSection(processes=count),
            broker=BrokerSection(mode="external", url=f"mqtt://127.0.0.1:{broker.port}"),
            limits=LimitsSection(readings_per_s=1e9, readings_at_once=10**9),
        )

        def start() -> Ingest | DividedIngest:
            def now() -> datetime:
                return datetime.now(UTC)

            alarms = ServiceAlarms(db, sites, now, lambda: None)
            ingest = open_ingest(
                IngestContext(db, config, sites, lambda _: None, alarms.write, now), alarms, lambda: None
            )
            ingest.start()
            return ingest

        try:
            ingest = start()
            wait_until(ingest.drained, ingest)
            ingest.stop()  # its sessions stay, and hold what comes
            send(broker.port, messages, 0)
            own_s = time.process_time()
            ingest = start()
            wait_until(lambda: ingest.status()["messages"] > 0, ingest)
            began_s, first = time.monotonic(), int(ingest.status()["messages"])
            wait_until(lambda: ingest.status()["messages"] >= messages, ingest)
            took_s = time.monotonic() - began_s
            queued = find_cpu_us(ingest, own_s, messages)
            own_s, others_s = time.process_time(), spend(broker, server)
            subprocess.run([sys.executable, "-m", __spec__.name, "--send", str(broker.port), str(messages)], check=True)
            wait_until(lambda: ingest.status()["messages"] >= 2 * messages, ingest)
            others = [(b - a) / messages * 1e6 for a, b in zip(others_s, spend(broker, server), strict=True)]
            live = find_cpu_us(ingest, own_s, messages)
            live = live if isinstance(ingest, Ingest) else [b - a for a, b in zip(queued, live, strict=True)]
            found = {
                "messages_per_s": round((messages - first) / took_s),
                "cpu_us_per_message": round(sum(queued), 1),
                "busiest_cpu_us_per_message": round(max(queued), 1),
                "live_busiest_cpu_us_per_message": round(max(live), 1),
                "gaps": int(ingest.status()["gaps"]),
                "live_broker_cpu_us_per_message": round(others[0], 1),
                "live_postgresql_cpu_us_per_message": round(others[1], 1),
            }
            ingest.stop()
            return found
        finally:
            broker.stop()


def main() -> None:
    """One, two and four processes, in one run."""
    if sys.argv[1:2] == ["--send"]:
        port, messages = map(int, sys.argv[2:])
        send(port, messages, messages // 64 * 64)
        return
    options = read_options(__doc__, messages=40_000, name="ingest-processes")
    figures: dict[str, Any] = {"messages": options.messages, "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder), durable=True)
        try:
            for count in (1, 2, 4):
                name = f"sites_{count}"
                server.execute(f"CREATE DATABASE {name}")
                create_schema(server.url(name))
                figures[name] = run(count, server.url(name), options.messages, Path(folder) / "cluster")
                print(f"{name}: {figures[name]}", flush=True)
            for count in (2, 4):
                one, many = figures["sites_1"], figures[f"sites_{count}"]
                figures[f"speedup_{count}"] = round(many["messages_per_s"] / one["messages_per_s"], 2)
                # were there a core for each process: the busiest one decides
                bound = one["busiest_cpu_us_per_message"] / many["busiest_cpu_us_per_message"]
                figures[f"processor_speedup_{count}"] = round(bound, 2)
                # live: the broker has one thread, and each of our processes a session of PostgreSQL
                slowest = [
                    max(
                        one["live_busiest_cpu_us_per_message"],
                        one["live_broker_cpu_us_per_message"],
                        one["live_postgresql_cpu_us_per_message"] / processes,
                    )
                    for one, processes in ((one, 1), (many, count))
                ]
                figures[f"live_bound_{count}"] = round(slowest[0] / slowest[1], 2)
        finally:
            server.stop()
    terms = "" if options.name == "ingest-processes" else f" --messages {options.messages} --name {options.name}"
    record(options.name, f"python -m tests.bench.service.bench_ingest_processes{terms}", figures)
    print({k: v for k, v in figures.items() if "speedup" in k})


if __name__ == "__main__":
    main()

"""Run ingest alone as a process: `python ingest_only.py DATABASE_URL BROKER [SITE_ID ...]`.

BROKER is the port of an open broker or the folder of a managed broker. The process prints its status as lines of JSON.
"""

import json
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from types import SimpleNamespace

from monitor.ingest.service import Ingest, IngestContext
from monitor.sites.records import Level, SeriesSpec, Site, Station
from monitor.storage.engine import Database

STATIONS = tuple(f"G{i}" for i in range(1, 9))


def make_site(site_id):
    stations = tuple(
        Station(
            station,
            46.0,
            9.0,
            series=(
                SeriesSpec(station, "displacement", "mm", 60.0, 600.0),
                SeriesSpec(station, "rain", "mm", 60.0, 600.0),
            ),
        )
        for station in STATIONS
    )
    levels = tuple(Level(rank, name, False) for rank, name in enumerate(("green", "yellow", "orange", "red")))
    return Site(site_id, site_id, 46.0, 9.0, "UTC", levels, stations, ())


def print_line(facts):
    """Print one line in one write, because two threads print."""
    print(f"{json.dumps(facts)}\n", end="", flush=True)


def main():
    url, broker_argument, *names = sys.argv[1:]
    sites = {name: make_site(name) for name in [n for n in names if n != "--quiet"] or ["north"]}
    broker_settings = (
        {"port": int(broker_argument)} if broker_argument.isdigit() else {"mode": "managed", "data": broker_argument}
    )
    broker = SimpleNamespace(host="127.0.0.1", client_id="slopeward", username="", password="", **broker_settings)
    stop = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stop.set())
    ingest = Ingest(
        IngestContext(
            Database(url),
            SimpleNamespace(broker=broker),
            sites,
            lambda _: None,
            lambda change: print_line({"alarm": change.key}),
            lambda: datetime.now(UTC),
        )
    )
    ingest.start()
    while not stop.wait(0.05 if "--quiet" not in sys.argv else 1.0):
        status = ingest.status()
        if "--quiet" not in sys.argv:
            print_line({"at": time.monotonic(), "cpu_s": time.process_time(), **status})
    ingest.stop()


if __name__ == "__main__":
    main()

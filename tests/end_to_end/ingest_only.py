"""Ingest alone as a process: `python ingest_only.py DATABASE_URL BROKER [SITE_ID ...]`; prints its status.

BROKER is the port of an open broker, or the folder of a managed one.
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
            s,
            46.0,
            9.0,
            series=(SeriesSpec(s, "displacement", "mm", 60.0, 600.0), SeriesSpec(s, "rain", "mm", 60.0, 600.0)),
        )
        for s in STATIONS
    )
    levels = tuple(Level(i, n, False) for i, n in enumerate(("green", "yellow", "orange", "red")))
    return Site(site_id, site_id, 46.0, 9.0, "UTC", levels, stations, ())


def say(facts):
    """One line in one piece: two threads say something."""
    print(f"{json.dumps(facts)}\n", end="", flush=True)


def main():
    url, place, *names = sys.argv[1:]
    sites = {name: make_site(name) for name in [n for n in names if n != "--quiet"] or ["north"]}
    where = {"port": int(place)} if place.isdigit() else {"mode": "managed", "data": place}
    broker = SimpleNamespace(host="127.0.0.1", client_id="slopeward", username="", password="", **where)
    stop = threading.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: stop.set())
    ingest = Ingest(
        IngestContext(
            Database(url),
            SimpleNamespace(broker=broker),
            sites,
            lambda _: None,
            lambda change: say({"alarm": change.key}),
            lambda: datetime.now(UTC),
        )
    )
    ingest.start()
    while not stop.wait(0.05 if "--quiet" not in sys.argv else 1.0):
        status = ingest.status()
        if "--quiet" not in sys.argv:
            say({"at": time.monotonic(), "cpu_s": time.process_time(), **status})
    ingest.stop()


if __name__ == "__main__":
    main()

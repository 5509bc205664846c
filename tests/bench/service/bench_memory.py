"""Measure how the memory of the core grows under a steady stream of messages.

    pytest -q -s --timeout 10000 tests/bench/service/bench_memory.py      # three hours
    BENCH_MEMORY_RATES=100 pytest ...                                     # two hours

Every reading belongs to a criterion. In the first half of a run the core fills its caches and windows. What still grows
in the second half would grow forever. The core drops old readings in blocks, so its memory rises and falls by some MiB
within minutes. Growth is therefore the difference of two medians, each over ten minutes.
"""

import json
import os
import statistics
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from monitor.storage.engine import Database
from tests.bench.record import SERVICE_RESULTS
from tests.bench.service.bench_service import resident_mib
from tests.bench.service.slopes import close_client, open_client
from tests.data.running import Service
from tests.data.site_text import criterion, head, series, station
from tests.fixtures.waiting import wait_for


@dataclass(frozen=True)
class Load:
    """A stream of messages, and what the core may grow in the second half of it."""

    rate_per_s: int
    minutes: float
    largest_growth_mib: float


LOADS = (Load(100, 120.0, 1.0), Load(1000, 60.0, 3.0))
RATES = os.environ.get("BENCH_MEMORY_RATES", "100 1000").split()
STATIONS_PER_SITE = 20  # each sends one reading per second
SAMPLE_INTERVAL_S = 5.0
MEDIAN_OVER_S = 600.0
SMALLEST_STORED_SHARE = 0.95
Sample = tuple[float, float]  # seconds since the start of the stream, MiB


def make_site_file(name: str) -> str:
    """Return a site whose stations send one reading per second and whose criterion looks back one minute."""
    text = head(
        name,
        timezone="UTC",
        levels={"names": ["green", "yellow"]},
        fusion={"top_needs": 1, "verify_within": "1m"},
    )
    stations = [f"G{number}" for number in range(STATIONS_PER_SITE)]
    displacement = series("displacement", "mm", "1s", max_silence="1m", noise_floor_mm=0.5)
    text += "".join(station(one, displacement, azimuth_deg=90.0) for one in stations)
    return text + criterion(
        "velocity",
        quantity="displacement",
        stations=stations,
        yellow={"over": 4e6, "window": "1m"},
        dwell={"hits": 2, "of": 3},
        author="bench",
        reason="memory",
    )


class Stream(threading.Thread):
    """Publishes a constant number of readings per second, one per station."""

    def __init__(self, broker_url: str, rate_per_s: int) -> None:
        super().__init__(daemon=True)
        self.stopping = threading.Event()
        self.sent_count = 0
        self._rate_per_s = rate_per_s
        self._client = open_client(int(broker_url.rpartition(":")[2]), 2000)

    def run(self) -> None:
        started = time.monotonic()
        site_count = self._rate_per_s // STATIONS_PER_SITE
        while not self.stopping.wait(0.01):
            due_count = int((time.monotonic() - started) * self._rate_per_s)
            while self.sent_count < due_count:
                number = self.sent_count % self._rate_per_s
                topic = f"slopeward/v1/m{number % site_count}/G{number // site_count}/obs"
                displacement_mm = round(0.3 * ((self.sent_count * 7919) % 11 - 5), 3)
                reading = {"time": datetime.now(UTC).isoformat(), "displacement_mm": displacement_mm}
                self._client.publish(topic, json.dumps(reading), qos=1)
                self.sent_count += 1
        close_client(self._client)


def take_median(samples: list[Sample], end_s: float) -> float:
    """Return the median of the ten minutes before an instant, in MiB."""
    return statistics.median(mib for at_s, mib in samples if end_s - MEDIAN_OVER_S <= at_s <= end_s)


def count(url: str, selected: str) -> int:
    with Database(url) as db, db.read() as connection:
        return int(connection.execute(text(f"SELECT count({selected}")).scalar_one())


@pytest.mark.parametrize(
    "load", [one for one in LOADS if str(one.rate_per_s) in RATES], ids=lambda load: f"{load.rate_per_s}-per-second"
)
def test_memory_does_not_grow(load: Load, sqlite_url: str, mosquitto: Any, tmp_path: Path) -> None:
    names = [f"m{number}" for number in range(load.rate_per_s // STATIONS_PER_SITE)]
    sites = {name: make_site_file(name) for name in names}
    samples: list[Sample] = []
    with Service(tmp_path, sqlite_url, mosquitto.url, sites, tick="60s") as service:
        started = time.monotonic()
        service.start()
        start_s = time.monotonic() - started
        core = service.find_child("monitor.app.core")
        wait_for(lambda: count(sqlite_url, "DISTINCT site) FROM evaluation") == len(sites), description="one per site")
        stream = Stream(mosquitto.url, load.rate_per_s)
        mib_at_start = resident_mib(core)
        stream.start()
        started = time.monotonic()
        while (at_s := time.monotonic() - started) < 60.0 * load.minutes:
            samples.append((at_s, resident_mib(core)))
            if len(samples) % 12 == 0:
                print(f"{at_s / 60.0:5.1f} min, {stream.sent_count} readings, {samples[-1][1]:.1f} MiB", flush=True)
            time.sleep(SAMPLE_INTERVAL_S)
        stream.stopping.set()
        stream.join()
        stored_count = count(sqlite_url, "*) FROM observation")
        assert service.find_child("monitor.app.core") == core, "the core was replaced"
    half_mib = take_median(samples, 30.0 * load.minutes)
    end_mib = take_median(samples, 60.0 * load.minutes)
    figures = {
        "start_s": round(start_s, 1),
        "minutes": load.minutes,
        "readings_sent": stream.sent_count,
        "readings_stored": stored_count,
        "mib_at_start": round(mib_at_start, 1),
        "mib_at_half": round(half_mib, 1),
        "mib_at_end": round(end_mib, 1),
        "growth_in_second_half_mib": round(end_mib - half_mib, 2),
    }
    print(load.rate_per_s, json.dumps(figures))
    stored_figures = dict(SERVICE_RESULTS.load_figures("memory") or {})
    name = f"{load.rate_per_s} messages a second"
    SERVICE_RESULTS.store("memory", "make soak", stored_figures | {name: figures}, added=name)
    assert stored_count > SMALLEST_STORED_SHARE * stream.sent_count, "the core did not keep up with the messages"
    assert end_mib - half_mib < load.largest_growth_mib

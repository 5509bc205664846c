"""Measure how the memory of the core grows under a steady stream of messages.

    pytest -q -s --timeout 10000 tests/bench/service/bench_memory.py      # three hours
    BENCH_MEMORY_RATES=100 pytest ...                                     # two hours

Every reading belongs to a criterion. In the first half of a run the core fills its caches and windows. What still grows
in the second half would grow forever. The core drops old readings in blocks, so its memory rises and falls by some MiB
within minutes. Growth is therefore the difference of two medians, each over ten minutes.

Resident memory includes pages of libraries and of the database that the system can take back at any time. The figures
therefore also have the private memory, which belongs to the process alone.
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


@dataclass(frozen=True)
class Sample:
    """The memory of a process at one instant, in MiB; `at_s` counts from the start of the stream."""

    at_s: float
    resident_mib: float
    private_mib: float


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


def sample_memory(pid: int, at_s: float) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    sizes_kib = {line.split()[0].rstrip(":"): line.split()[1] for line in status.splitlines() if line.endswith(" kB")}
    return Sample(at_s, int(sizes_kib["VmRSS"]) / 1024.0, int(sizes_kib["RssAnon"]) / 1024.0)


def take_medians(samples: list[Sample], end_s: float) -> Sample:
    """Return the medians of the ten minutes before an instant."""
    last_samples = [sample for sample in samples if end_s - MEDIAN_OVER_S <= sample.at_s <= end_s]
    return Sample(
        end_s,
        statistics.median(sample.resident_mib for sample in last_samples),
        statistics.median(sample.private_mib for sample in last_samples),
    )


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
        start = sample_memory(core, 0.0)
        stream.start()
        started = time.monotonic()
        while (at_s := time.monotonic() - started) < 60.0 * load.minutes:
            sample = sample_memory(core, at_s)
            samples.append(sample)
            if len(samples) % 12 == 0:
                print(
                    f"{at_s / 60.0:5.1f} min, {stream.sent_count} readings, {sample.resident_mib:.1f} MiB,"
                    f" {sample.private_mib:.1f} MiB private",
                    flush=True,
                )
            time.sleep(SAMPLE_INTERVAL_S)
        stream.stopping.set()
        stream.join()
        stored_count = count(sqlite_url, "*) FROM observation")
        assert service.find_child("monitor.app.core") == core, "the core was replaced"
    half = take_medians(samples, 30.0 * load.minutes)
    end = take_medians(samples, 60.0 * load.minutes)
    figures = {
        "start_s": round(start_s, 1),
        "minutes": load.minutes,
        "readings_sent": stream.sent_count,
        "readings_stored": stored_count,
        "mib_at_start": round(start.resident_mib, 1),
        "mib_at_half": round(half.resident_mib, 1),
        "mib_at_end": round(end.resident_mib, 1),
        "growth_in_second_half_mib": round(end.resident_mib - half.resident_mib, 2),
        "private_mib_at_start": round(start.private_mib, 1),
        "private_mib_at_half": round(half.private_mib, 1),
        "private_mib_at_end": round(end.private_mib, 1),
        "private_growth_in_second_half_mib": round(end.private_mib - half.private_mib, 2),
    }
    print(load.rate_per_s, json.dumps(figures))
    stored_figures = dict(SERVICE_RESULTS.load_figures("memory") or {})
    name = f"{load.rate_per_s} messages a second"
    SERVICE_RESULTS.store("memory", "make soak", stored_figures | {name: figures}, added=name)
    assert stored_count > SMALLEST_STORED_SHARE * stream.sent_count, "the core did not keep up with the messages"
    assert end.resident_mib - half.resident_mib < load.largest_growth_mib

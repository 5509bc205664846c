"""Resident memory of the core under a steady stream: its slope over the second half of an hour.

    pytest -q -s --timeout=7200 tests/bench/service/bench_memory.py      (SOAK_MINUTES, SOAK_RATES="100 1000")

Every reading belongs to a criterion. The windows of decisions are full after four minutes, and a job reads a history
piece by piece: what still grows in the second half grows for ever. Windows are dropped a quarter at a time, on one grid
for all sites, so the figure saws by some MiB: the slope is given with its standard error over means of whole teeth.
"""

import json
import os
import statistics
import threading
import time
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

MINUTES = float(os.environ.get("SOAK_MINUTES", "60"))
RATES = [int(rate) for rate in os.environ.get("SOAK_RATES", "100 1000").split()]
STATIONS = 20  # of one site, each with one reading a second
EVERY_S = 5.0
BAR_MIB_PER_MIN = 0.1
SOON_RATE = 100  # messages a second at which it is flat soon: at more, windows that are dropped make a saw of 10 MiB
SOON_MIN = (10.0, 15.0)
SOON_BAR_MIB_PER_MIN = 0.2
KEPT_UP = 0.95  # of what was sent is stored at the end


def site_file(number: int) -> str:
    """A site of stations with one reading a second and windows of about three minutes."""
    fusion = {"top_needs": 1, "verify_within": "1m"}
    text = head(f"m{number}", timezone="UTC", levels={"names": ["green", "yellow"]}, fusion=fusion)
    names = [f"G{k}" for k in range(STATIONS)]
    moved = series("displacement", "mm", "1s", max_silence="1m", noise_floor_mm=0.5)
    text += "".join(station(name, moved, azimuth_deg=90.0) for name in names)
    fast = {"yellow": {"over": 4e6, "window": "1m"}, "dwell": {"hits": 2, "of": 3}}
    return text + criterion(
        "velocity", quantity="displacement", stations=names, **fast, author="bench", reason="memory"
    )


class Stream(threading.Thread):
    """Publishes one reading of each station a second, spread evenly, at a whole number of readings a second."""

    def __init__(self, broker_url: str, rate: int) -> None:
        super().__init__(daemon=True)
        self.stopping, self.sent, self._rate = threading.Event(), 0, rate
        self._client = open_client(int(broker_url.rpartition(":")[2]), 2000)

    def run(self) -> None:
        begun = time.monotonic()
        sites = self._rate // STATIONS
        while not self.stopping.wait(0.01):
            due = int((time.monotonic() - begun) * self._rate)
            while self.sent < due:
                at = self.sent % self._rate
                body = {
                    "time": datetime.now(UTC).isoformat(),
                    "displacement_mm": round(0.3 * ((self.sent * 7919) % 11 - 5), 3),
                }
                self._client.publish(f"slopeward/v1/m{at % sites}/G{at // sites}/obs", json.dumps(body), qos=1)
                self.sent += 1
        close_client(self._client)


def slope_per_min(samples: list[tuple[float, float]]) -> float:
    """Least squares through (seconds, MiB), in MiB per minute."""
    return statistics.linear_regression([at for at, _ in samples], [mib for _, mib in samples]).slope * 60.0


def slope_error_per_min(samples: list[tuple[float, float]]) -> float:
    """Standard error of that slope, from means over a minute: samples of one tooth of the saw hang together."""
    minutes: dict[int, list[tuple[float, float]]] = {}
    for at, mib in samples:
        minutes.setdefault(int(at // 60.0), []).append((at, mib))
    means = [(statistics.fmean(a for a, _ in some), statistics.fmean(m for _, m in some)) for some in minutes.values()]
    if len(means) < 3:
        return float("inf")
    slope, start = statistics.linear_regression([at for at, _ in means], [mib for _, mib in means])
    middle = statistics.fmean(at for at, _ in means)
    left = sum((mib - start - slope * at) ** 2 for at, mib in means) / (len(means) - 2)
    return 60.0 * (left / sum((at - middle) ** 2 for at, _ in means)) ** 0.5


def count(url: str, what: str) -> int:
    with Database(url) as db, db.read() as c:
        return int(c.execute(text(f"SELECT count({what}")).scalar_one())


@pytest.mark.parametrize("rate", RATES)
def test_memory_is_flat(rate: int, sqlite_url: str, mosquitto: Any, tmp_path: Path) -> None:
    sites = {f"m{k}": site_file(k) for k in range(rate // STATIONS)}
    samples: list[tuple[float, float]] = []
    with Service(tmp_path, sqlite_url, mosquitto.url, sites, tick="60s") as service:
        service.start()
        core = service.find_child("monitor.app.core")
        wait_for(
            lambda: count(sqlite_url, "DISTINCT site) FROM evaluation") == len(sites),
            description="one per site",
        )
        stream = Stream(mosquitto.url, rate)
        stream.start()
        begun = time.monotonic()
        while (at := time.monotonic() - begun) < 60.0 * MINUTES:
            samples.append((at, resident_mib(core)))
            if len(samples) % 12 == 0:
                print(f"{at / 60.0:5.1f} min, {stream.sent} readings, {samples[-1][1]:.1f} MiB", flush=True)
            time.sleep(EVERY_S)
        stream.stopping.set()
        stream.join()
        stored = count(sqlite_url, "*) FROM observation")
        seen = json.loads(service.call("status", "--json").stdout)
        assert service.find_child("monitor.app.core") == core, "the core was replaced"
    late = [s for s in samples if s[0] >= samples[-1][0] / 2.0]
    soon = [s for s in samples if 60.0 * SOON_MIN[0] <= s[0] <= 60.0 * SOON_MIN[1]]
    figures = {
        "minutes": MINUTES,
        "readings_sent": stream.sent,
        "readings_stored": stored,
        "mib_after_a_minute": round(samples[min(12, len(samples) - 1)][1], 1),
        "mib_at_half": round(late[0][1], 1),
        "mib_at_end": round(late[-1][1], 1),
        "slope_minutes_10_to_15_mib_per_min": round(slope_per_min(soon), 3) if len(soon) > 2 else None,
        "slope_second_half_mib_per_min": round(slope_per_min(late), 3),
        "standard_error_mib_per_min": round(slope_error_per_min(late), 3),
    }
    print(rate, json.dumps(figures), json.dumps(seen)[:300])
    known = dict(SERVICE_RESULTS.load_figures("memory") or {})
    if MINUTES >= 30:  # shorter runs see windows fill
        SERVICE_RESULTS.store("memory", "make soak", known | {f"{rate} messages a second": figures})
    assert stored > KEPT_UP * stream.sent, "the core did not keep up on this machine: what it holds says nothing"
    assert figures["slope_second_half_mib_per_min"] < BAR_MIB_PER_MIN
    if rate == SOON_RATE and MINUTES >= SOON_MIN[1]:
        assert figures["slope_minutes_10_to_15_mib_per_min"] < SOON_BAR_MIB_PER_MIN

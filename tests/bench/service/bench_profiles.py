"""How long depth profiles hold the write lock: 100 depths every ten minutes, with the default window and one of a week.

    python -m tests.bench.service.bench_profiles

A borehole has a past that fills its window. Then surveys arrive one by one, as from an instrument, and a day of them at
once, as from a logger that uploads once a day. The figures are the longest write transaction by the name of what it
computed, the longest piece of computation, and how long the profile of a single survey takes after its readings are
stored: the first one after a start, which reads the whole window, and the others. At last the whole past is computed
again, as after a change of the site file.
"""

import json
import logging
import random
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor.features.profiles import redefined
from monitor.features.profiles.calculator import ProfileCalculator
from monitor.features.profiles.declare import list_profiles, list_quantities
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage import slow_writes
from tests.bench.record import parse_options
from tests.bench.service.bench_decisions import open_new
from tests.data import site_text

NOW = datetime(2026, 3, 1, tzinfo=UTC)
EVERY = timedelta(minutes=10)
DEPTHS = 100
PAST = 1100  # surveys
LIVE = 5
DAY = 144


def write_site(window: str) -> str:
    """The site file with one in-place inclinometer."""
    text = site_text.head("slope") + site_text.station("I1", latitude=46.0, longitude=8.0)
    profile = {
        "station": "I1",
        "kind": "in_place",
        "unit": "mm",
        "first_m": 0.5,
        "last_m": DEPTHS / 2,
        "interval": "10m",
    }
    return text + site_text.table("[[profile]]", **profile | ({"window": window} if window else {}))


class Bench:
    """A database with a borehole and its past."""

    def __init__(self, folder: Path, window: str) -> None:
        self.db = open_new(folder, f"profiles{window}")
        self.site = parse_site(write_site(window), "slope.toml")
        with self.db.write() as c:
            save_site(c, self.site, "bench", "bench", NOW)
        self.now = NOW
        self.names = list_quantities(list_profiles(self.site)[0])
        self.rng = random.Random(1)
        self.sites = {"slope": self.site}
        self.pipeline = Pipeline(self.db, self.sites, lambda: self.now)
        self.calculator = ProfileCalculator(self.db, self.sites, lambda: self.now)
        self.pieces_s: list[float] = []
        for _ in range(PAST // 100):
            rows = []
            for _ in range(100):
                self.now += EVERY
                facts = (self.now, self.now)
                rows += [Observation("slope", "I1", n, "mm", *facts, v) for n, v in self.draw().items()]
            with self.db.write() as c:
                add_observations(c, rows, self.now, {})

    def draw(self) -> dict[str, float]:
        """Readings of one survey."""
        return {name: round(self.rng.gauss(0.0, 0.05), 4) for name in self.names}

    def send(self, surveys: int) -> None:
        """Store surveys in one batch."""
        messages = []
        for _ in range(surveys):
            self.now += EVERY
            body = {"time": self.now.isoformat()} | {f"{name}_mm": value for name, value in self.draw().items()}
            messages.append(BrokerMessage("slopeward/v1/slope/I1/obs", json.dumps(body).encode(), self.now, "live"))
        assert self.pipeline.store(messages).rejected == 0

    def compute(self, most: int = 1_000_000) -> float:
        """Compute what waits, at most so many pieces; return the seconds until the newest survey is stored."""
        began_s = time.monotonic()
        newest_s = 0.0
        self.calculator.load()
        for _ in range(most):
            piece_s = time.monotonic()
            stored = self.calculator.compute_piece()
            if stored is None:
                break
            self.pieces_s.append(time.monotonic() - piece_s)
            if stored.sites and not newest_s:
                newest_s = time.monotonic() - began_s
        return newest_s


def measure(folder: Path, window: str) -> None:
    """Measure with one window, and print."""
    bench = Bench(folder, window)
    slow = bench.db.slow_writes = slow_writes.SlowWrites()
    slow_writes.LONGEST_WRITE_S = 0.0  # type: ignore[misc]  # name every write transaction
    newest_s = []
    for _ in range(LIVE):
        bench.send(1)
        newest_s.append(bench.compute())
    print(f"window {window or 'default'}:")
    print(f"  survey: {newest_s[0]:.2f} s after a start, then {max(newest_s[1:]):.2f} s", flush=True)
    bench.send(DAY)
    print(f"  a day at once: newest survey {bench.compute():.2f} s", flush=True)
    redefined.run(bench.db, None, bench.site, bench.now)
    began_s = time.monotonic()
    print(f"  whole past: newest survey {bench.compute():.2f} s, all {time.monotonic() - began_s:.0f} s", flush=True)
    print(f"  longest of {len(bench.pieces_s)} pieces: {max(bench.pieces_s):.2f} s")
    for name, one in sorted(slow.list_slow().items(), key=lambda item: -item[1].longest_s):
        print(f"  write {one.longest_s:.3f} s, {one.times} times: {name}", flush=True)
    slow_writes.LONGEST_WRITE_S = 1.0  # type: ignore[misc]


def main() -> None:
    """Measure and print."""
    parse_options(__doc__)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        for window in ("", "7d"):
            measure(Path(name), window)


if __name__ == "__main__":
    main()

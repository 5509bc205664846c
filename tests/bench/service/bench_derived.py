"""What calculated channels cost ingest: 5,000 of them at 1 Hz over 5,000 readings a second, with and without.

    python -m tests.bench.service.bench_derived [--quick] [--profile]   # small size; where it goes

A thousand stations send each second: one message with five values, or five with one. Each station has five calculated
series; of all of them one in twenty reaches back, by a lag or a rate. The pipeline stores the same messages, in batches
as the service takes them, for the site with these series and for the site without, in turns, on SQLite. The values of
a second are computed after its messages are stored. Figures are processor time of this process, the median of rounds;
`ratio` is what 5,000 values add to storing 5,000 readings, `ingest_us` what ingest alone takes for a reading of the
site with these series, and `storing_us` what `add_observations` alone takes for a value. With `every = "1m"` figures
are the mean of a minute.
"""

import cProfile
import json
import pstats
import statistics
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random

from monitor.features.derived.calculator import Calculator
from monitor.ingest.message import BATCH_MESSAGES, BATCH_MOST, BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.readings.queries.observations import in_chunks
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.worker.garbage_collection import freeze_startup_objects
from tests.bench.record import measure_cpu_s, parse_options
from tests.bench.service.bench_decisions import open_new
from tests.data import site_text

NOW = datetime(2026, 3, 1, tzinfo=UTC)
WARM_S = 25  # the longest reach has its readings then
VALUES = {
    "displacement_east": "mm",
    "displacement_north": "mm",
    "crack_opening": "mm",
    "temperature": "degC",
    "pore_pressure": "kPa",
}
MADE = {"east_difference": "mm", "crack_freed": "mm", "crack_mean": "mm", "baseline": "mm", "head": "m"}
EXPRESSIONS = {
    "east_difference": "{a}.displacement_east - {b}.displacement_east",
    "crack_freed": "{a}.crack_opening - '0.02 mm/degC' * ({a}.temperature - '20 degC')",
    "crack_mean": "mean({a}.crack_opening, {b}.crack_opening, {c}.crack_opening)",
    "baseline": "sqrt(({a}.displacement_east - {b}.displacement_east)**2"
    " + ({a}.displacement_north - {b}.displacement_north)**2)",
    "head": "{a}.pore_pressure / '9.81 kPa/m'",
}
PAST = (
    "({a}.pore_pressure - lag({a}.pore_pressure, '10s')) / '9.81 kPa/m'",
    "rate({a}.pore_pressure, '20s') * '20 s' / '9.81 kPa/m'",
)


def write_site(stations: int, *, derived: bool, every: str) -> str:
    """The site file; of the heads every fourth is a lag or a rate."""
    how = {"every": every} if every else {}
    names = [f"G{k}" for k in range(stations)]
    parts = [site_text.head("slope")]
    parts += [site_text.station(n, *(site_text.series(q, u, "1s") for q, u in VALUES.items())) for n in names]
    for quantity, unit in MADE.items() if derived else ():
        parts.append(site_text.table("[[quantity]]", name=quantity, unit=unit, low=-1e9, high=1e9))
        for k, a in enumerate(names):
            text = PAST[k // 4 % 2] if quantity == "head" and k % 4 == 0 else EXPRESSIONS[quantity]
            text = text.format(a=a, b=names[k ^ 1], c=names[k ^ 2])
            parts.append(
                site_text.table("[[derived]]", station=a, quantity=quantity, unit=unit, expression=text, **how)
            )
    return "".join(parts)


def make_batches(stations: int, second: int, values_each: int) -> Iterable[list[BrokerMessage]]:
    """What comes in a second, in batches of the size that the service takes."""
    rng, at = Random(second), NOW + timedelta(seconds=second)
    messages = []
    for k in range(stations):
        for names in in_chunks([*VALUES], values_each):
            body = {f"{name}_{VALUES[name].lower()}": round(rng.gauss(20.0, 1.0), 3) for name in names}
            head = {"time": at.isoformat(), "source": names[0], "boot_id": 1, "seq": second}
            payload = json.dumps(head | body | {"sigma": dict.fromkeys(body, 0.1)}).encode()
            messages.append(BrokerMessage(f"slopeward/v1/slope/G{k}/obs", payload, at, "live"))
    return in_chunks(messages, BATCH_MESSAGES if len(messages) < BATCH_MOST else BATCH_MOST)


class Way:
    """A database of its own and the way in; `second` is the clock."""

    def __init__(self, folder: Path, name: str, stations: int, every: str) -> None:
        self.db, self.second = open_new(folder, name), 0
        site = parse_site(write_site(stations, derived=name == "with", every=every), "slope.toml")
        with self.db.write() as c:
            save_site(c, site, "bench", "bench", NOW)
        self.pipeline = Pipeline(self.db, {site.id: site}, self.now)
        self.calculator = Calculator(self.db, {site.id: site}, self.now)

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.second)

    def store(self, batches: Iterable[list[BrokerMessage]]) -> None:
        for batch in batches:
            assert self.pipeline.store(batch).rejected == 0

    def compute(self) -> None:
        self.calculator.load()
        while self.calculator.compute_piece() is not None:
            pass


def count_values(way: Way) -> int:
    """Readings and values that are there."""
    with way.db.read() as c:
        return int(c.exec_driver_sql("SELECT count(*) FROM observation").scalar_one())


def measure_storing(way: Way, count: int) -> float:
    """Microseconds of `add_observations` for a value, as a calculated series has them."""
    ids, spent = {}, []
    for second in range(9):
        at = NOW + timedelta(days=1, seconds=second)
        rows = [Observation("slope", f"S{k}", "head", "m", at, at, 0.1 * k, 0.1) for k in range(count)]
        with way.db.write() as c:
            spent.append(measure_cpu_s(partial(add_observations, c, rows, at, ids)) / count * 1e6)
    return statistics.median(spent[1:])


def measure(
    folder: Path, stations: int, seconds: int, values_each: int, every: str, *, profile: bool
) -> dict[str, float]:
    """A drawn stream through both."""
    folder.mkdir()
    ways = [Way(folder, name, stations, every) for name in ("without", "with")]
    freeze_startup_objects()  # as the service does
    spent: list[tuple[float, float]] = []
    ingest_us: list[float] = []
    profiler = cProfile.Profile()
    for second in range(WARM_S + seconds):
        batches, pair = [*make_batches(stations, second, values_each)], [0.0, 0.0]
        for k in (0, 1) if second % 2 else (1, 0):
            ways[k].second = second
            if profile and k and second >= WARM_S:
                profiler.enable()
            stored_s = measure_cpu_s(lambda way=ways[k], batches=batches: way.store(batches))
            computed_s = measure_cpu_s(ways[k].compute)
            pair[k] = (stored_s + computed_s) / stations / len(VALUES) * 1e6
            if k:
                ingest_us.append(stored_s / stations / len(VALUES) * 1e6)
            profiler.disable()
        spent.append((pair[0], pair[1]))
    there = [count_values(way) for way in ways]
    instants = len(spent) if not every else 1 + (len(spent) - 1) // 60
    missing = there[0] + stations * len(MADE) * instants - there[1]
    assert 0 <= missing <= stations // 4 * 20, there  # those that reach back begin later
    found = spent[WARM_S:]
    middle = statistics.mean if every else statistics.median
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(45)
    return {
        "ratio": round(middle(b / a - 1.0 for a, b in found), 3),
        "reading_us": round(middle(a for a, _ in found), 1),
        "added_us": round(middle(b - a for a, b in found), 1),
        "ingest_us": round(middle(ingest_us[WARM_S:]), 1),
        "storing_us": round(measure_storing(ways[1], stations * len(MADE)), 1),
    }


def main() -> None:
    """Measure and print."""
    options = parse_options(__doc__, quick=False, profile=False)
    stations, seconds = (40, 10) if options.quick else (1000, 15)
    with tempfile.TemporaryDirectory() as name:
        for values_each, every in ((5, ""), (1, ""), (5, "1m"), (1, "1m")):
            case = f"{values_each} values a message{every and ', every '}{every}"
            lasts = 60 if every else seconds
            figures = measure(Path(name) / case, stations, lasts, values_each, every, profile=options.profile)
            print(f"{case}: {figures}", flush=True)


if __name__ == "__main__":
    main()

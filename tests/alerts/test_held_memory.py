"""Memory of the service over many messages: it does not grow once the windows are full."""

import gc
import json
import sys
import tracemalloc
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import pytest

from monitor.alerts.evaluate import Evaluator
from monitor.decision.criteria.scope import find_history_spans, find_longest_reach_s
from monitor.features.forecasts.drivers import load_drivers
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.models.samples import load_samples
from monitor.readings.queries.observations import find_series_id, load_ids, load_readings, stream_readings
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.watched import find_motion
from monitor.text.instants import epoch_s
from tests.data.site_text import criterion, head, series, station
from tests.data.store_rows import tell
from tests.fixtures.databases import ON_BOTH

START = datetime(2026, 3, 1, 6, tzinfo=UTC)
NAMES = ("A", "B")
EVERY = 5  # seconds between two evaluations; a batch is what came meanwhile
MOVED = series("displacement", "mm", "1s", max_silence="10s", noise_floor_mm=0.5, verify_step_mm=20.0)
HOW = {"dwell": {"hits": 2, "of": 3, "within": "10s"}, "recover": 0.6, "valid_for": "60s"}
SITE = parse_site(
    head("north", longitude=9.0, levels={"names": ["green", "yellow"]}, fusion={"verify_within": "20s"})
    + "".join(station(name, MOVED, azimuth_deg=90.0) for name in NAMES)
    + criterion("velocity", stations=NAMES, yellow={"over": 4e6, "window": "20s"}, **HOW),
    "north.toml",
)
LONG = 7200  # two hours
LRU_CACHE = type(lru_cache(len))
SPAN_S = max(find_history_spans(SITE).values())


class Stream:
    def __init__(self, database, evaluator):
        self.database, self.evaluator, self.epoch, self.now = database, evaluator, 0, START
        tell(database, save_site, SITE, "test", "held", START)
        self.pipeline = Pipeline(database, {SITE.id: SITE}, lambda: self.now)

    def go_on(self, seconds):
        for _ in range(0, seconds, EVERY):
            batch = []
            for _ in range(EVERY):
                self.epoch += 1
                at = START + timedelta(seconds=self.epoch)
                for k, name in enumerate(NAMES):
                    body = {"time": at.isoformat(), "displacement_mm": (self.epoch * (7919 + k)) % 11 / 10.0}
                    topic = f"slopeward/v1/{SITE.id}/{name}/obs"
                    batch.append(BrokerMessage(topic, json.dumps(body).encode(), at, "live"))
            self.now = START + timedelta(seconds=self.epoch)
            assert self.pipeline.store(batch).added.stored == len(batch)
            self.evaluator(self.database, SITE, self.now, "data")


def clear_bounded_caches():
    """Empty every `lru_cache`: they are bounded, and how full they are depends on the tests before."""
    for module in [module for name, module in sys.modules.items() if name.startswith("monitor")]:
        for function in vars(module).values():
            if isinstance(function, LRU_CACHE):
                function.cache_clear()
    gc.collect()


@pytest.mark.soak
def test_memory_is_constant_once_the_windows_are_full(database):
    """Blocks of the interpreter, counted where the windows stand at the same place of their grid."""
    evaluator = Evaluator()
    stream = Stream(database, evaluator)
    block_s = SPAN_S / 4
    assert block_s == int(block_s)
    assert block_s % EVERY == 0
    stream.go_on(int(16 * block_s))
    held = []
    for _ in range(3):
        stream.go_on(int(16 * block_s))
        clear_bounded_caches()
        held.append(sys.getallocatedblocks())
    readings = 32 * int(block_s) * len(NAMES)
    print(f"{held} blocks, {(held[2] - held[0]) / readings:.3f} for each of {readings} readings")
    assert held[2] - held[0] < 0.5 * readings, "each reading leaves something behind"

    cache, _ = evaluator._caches[SITE.id]
    window = find_longest_reach_s(SPAN_S) * len(NAMES)
    in_tracks = sum(tracker.count() for tracker in cache.decision.trackers.values())
    assert 0 < in_tracks <= window, "a track holds what its window has left"
    assert cache.count() == in_tracks + sum(map(len, (series.readings for series in cache._series.values())))


@pytest.mark.parametrize("most", [50, 10_000])
def test_cached_rows_are_bounded_over_all_criteria(database, most):
    evaluator = Evaluator(max_cached_rows=most)
    Stream(database, evaluator).go_on(60)
    assert bool(evaluator._caches) == (most > 50)


def reading(second, value):
    at = START + timedelta(seconds=second)
    flags = ("spike",) if second % 7 == 0 else ()
    return Observation("north", "A", "displacement", "mm", at, at, value, flags=flags)


@pytest.mark.soak
@ON_BOTH
def test_job_loads_a_long_history_in_parts(database):
    """Two hours of one-second readings: what a job holds of them is two numbers each, and a forecast's less."""
    with database.write() as c:
        save_site(c, SITE, "test", "held", START)
        add_observations(c, [reading(k, 0.001 * k + k % 3) for k in range(LONG)], START)
        add_observations(c, [reading(k, 5.0) for k in (500, 501, 999)], START)
    end = START + timedelta(seconds=LONG)
    with database.read() as c:
        series_id = find_series_id(c, "north", "A", "displacement")
        every = load_readings(c, series_id, None, end, end)
        assert list(stream_readings(c, series_id, None, end, end)) == every
        fit = [r for r in every if "spike" not in r.flags]
        assert len(every) == LONG
        peaks, found = {}, {}
        for grid_s in (0.0, 21600.0):
            tracemalloc.start()
            motion = find_motion(SITE, load_ids(c, SITE.id))
            (found[grid_s],) = load_samples(c, SITE, motion, START - timedelta(days=1), end, grid_s)
            peaks[grid_s] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        tracemalloc.start()
        drivers = load_drivers(c, SITE, START - timedelta(days=1), end, named=("A.displacement",))
        peaks["drivers"] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    whole, thin = found[0.0], found[21600.0]
    assert list(whole.times_s) == [epoch_s(r.observed_at) for r in fit]
    assert (list(whole.values), drivers) == ([r.value for r in fit], {"A.displacement": whole.timed})
    assert len(thin.values) == LONG // 600
    assert sum(thin.values) / len(thin.values) == pytest.approx(sum(whole.values) / len(whole.values), rel=1e-4)
    assert thin.newest_received_at == whole.newest_received_at
    assert max(peaks[21600.0], peaks["drivers"]) < 100 * LONG, f"{peaks} bytes for {LONG} readings of 16 bytes"
    assert peaks[0.0] < 1000 * LONG, "while one series is cleaned, its readings are in memory"

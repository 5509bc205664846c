"""What message after message leaves in memory: once the windows are full, nothing more is held than before."""

import gc
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from monitor.alerting.decision.evaluator import Evaluator
from monitor.alerting.decision.scope import reach_s, wanted_series
from monitor.domain.site import Criterion, Dwell, Fusion, Level, SeriesSpec, Site, Station, Threshold
from monitor.ingest.message import Message
from monitor.ingest.pipeline import Pipeline
from monitor.store.sites import save_site

START = datetime(2026, 3, 1, 6, tzinfo=UTC)
NAMES = ("A", "B")
EVERY = 5  # seconds between two evaluations; a batch is what came meanwhile
SITE = Site(
    "north", "North", 46.0, 9.0, "UTC", (Level(0, "green", False), Level(1, "yellow", False)),
    tuple(
        Station(n, 46.0, 9.0, None, 90.0, None, None, None, None, on_slope=True,
                series=(SeriesSpec(n, "displacement", "mm", 1.0, 10.0, 0.5, 20.0),))
        for n in NAMES
    ),
    (Criterion(
        "velocity", "velocity", NAMES, "displacement", (Threshold(1, over=1e9, window_s=20.0),),
        dwell=Dwell(2, 3, 10.0), recover=0.6, valid_for_s=60.0,
    ),),
    version="held",
)  # fmt: skip
SITE = replace(SITE, fusion=replace(Fusion(), verify_within_s=20.0))
SPAN_S = max(wanted_series(SITE).values())


class Stream:
    """Readings of one second after the other, stored and evaluated as the core does."""

    def __init__(self, database, evaluator):
        self.database, self.evaluator, self.epoch, self.now = database, evaluator, 0, START
        with database.write() as c:
            save_site(c, SITE, "test", "held", START)
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
                    batch.append(Message(topic, json.dumps(body).encode(), at, "live"))
            self.now = START + timedelta(seconds=self.epoch)
            assert self.pipeline.store(batch).added.stored == len(batch)
            self.evaluator(self.database, SITE, self.now, "data")


def test_memory_stands_still_once_the_windows_are_full(database):
    """Blocks of the interpreter, counted where the windows stand at the same place of their grid."""
    evaluator = Evaluator()
    stream = Stream(database, evaluator)
    block_s = SPAN_S / 4
    assert block_s == int(block_s)
    assert block_s % EVERY == 0
    stream.go_on(int(8 * block_s))
    held = []
    for _ in range(3):
        stream.go_on(int(6 * block_s))
        gc.collect()
        held.append(sys.getallocatedblocks())
    readings = 12 * int(block_s) * len(NAMES)
    print(f"{held} blocks, {(held[2] - held[0]) / readings:.3f} for each of {readings} readings")
    assert held[2] - held[0] < 0.2 * readings, "each reading leaves something behind"

    looking, _ = evaluator._lookings[SITE.id]
    window = reach_s(SPAN_S) * len(NAMES)
    in_tracks = sum(tracker.count() for tracker in looking.warm.values())
    assert 0 < in_tracks <= window, "a track holds what its window has left"
    assert looking.count() == in_tracks + sum(map(len, (h.readings for h in looking._held.values())))


@pytest.mark.parametrize("most", [50, 10_000])
def test_what_is_held_is_bounded_over_all_criteria(database, most):
    evaluator = Evaluator(hold_most=most)
    Stream(database, evaluator).go_on(60)
    assert bool(evaluator._lookings) == (most > 50)

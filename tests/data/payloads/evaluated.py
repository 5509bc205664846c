"""Ingest messages and evaluate a site with them, at the times at which they were received."""

from datetime import timedelta

from monitor.alerts.replay.clock import ReplaySchedule, play
from monitor.alerts.replay.history import History, VisibilityRule
from monitor.ingest.files.temporary import open_empty_database
from monitor.ingest.pipeline import Pipeline
from monitor.readings.queries.observations import find_series_id, load_readings
from monitor.text.instants import epoch_s

BATCH_SIZE = 40


def split_into_batches(items, size):
    return (items[start : start + size] for start in range(0, len(items), size))


def evaluate_messages(site, messages, *, every_s=600.0, series=()):
    """Return the decisions after some messages, and the stored readings of `series` (pairs of station and quantity)."""
    now = [messages[0].received_at]
    with open_empty_database(site) as db:
        pipeline = Pipeline(db, {site.id: site}, lambda: now[0])
        for batch in split_into_batches(messages, BATCH_SIZE):
            now[0] = batch[-1].received_at
            pipeline.store(batch)
        from_s, to_s = epoch_s(messages[0].received_at), epoch_s(now[0]) + 1.0
        with db.read() as c:
            history = History(
                c,
                [site],
                messages[0].received_at - timedelta(days=1),
                now[0] + timedelta(seconds=1),
                VisibilityRule("received"),
                proofs=None,
            )
            decisions = [
                evaluation.decision
                for evaluation in play(history, [(0.0, site)], from_s, to_s, ReplaySchedule(tick_s=every_s))
            ]
            stored = {
                (station, quantity): load_readings(
                    c, find_series_id(c, site.id, station, quantity), None, now[0], now[0]
                )
                for station, quantity in series
            }
    return decisions, stored

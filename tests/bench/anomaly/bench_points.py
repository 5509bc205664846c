"""Satellite points by the ten thousand: rules and an autoencoder on injected steps, accelerations and phase jumps.

    python -m tests.bench.anomaly.bench_points [FILE.zip] [--budget .001] [--seeds 1]

A file of the EGMS with points, or 10,000 drawn ones. Figures go to `anomalies-insar.json`.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from detection.anomaly.bench import TEST_FROM, spend_budget
from detection.anomaly.detector import Detector, train_detector
from detection.anomaly.evaluation import DetectionOutcome, evaluate_alarms
from detection.anomaly.faults import Event
from detection.anomaly.points.alarms import BUDGET
from detection.anomaly.stages import Array
from detection.anomaly.windows import Series, build_series
from forecasting.data.sources import Recipe, read_record
from tests.bench.record import record
from tests.data.anomalies.drawn_points import KINDS, draw_points, inject_points

LEARN_FROM: Final = 1000  # points that thresholds and networks learn from; all others are unseen
DETECTORS: Final = ("persistence-z", "rules", "lstm-ae")


def run_points_bench(samples: Mapping[str, Series], budget: float, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Learn on a thousand points, count at the budget, judge all points on injected events.

    Args:
        samples: clean points on the same acquisitions.
        budget: false alarm runs per point and month.
        seeds: of the events and the networks.

    Returns:
        One row per detector, means over the seeds, at the threshold that was counted and, as `equal`, at the one that
        spends the budget exactly on the untouched test part. That one has seen the test and serves the comparison.
        `accuracy` is the share of readings that are right as alarm or none, `accuracy_of_silence` that of no alarm.
    """
    stride = max(1, len(samples) // LEARN_FROM)
    learnt = {name: samples[name] for name in sorted(samples)[::stride]}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in DETECTORS}
    for seed in seeds:
        faulty, events = inject_points(samples, seed)
        for name in DETECTORS:
            begun = time.process_time()
            detector = train_detector(name, learnt, budget, seed)
            trained_s = time.process_time() - begun
            begun = time.process_time()
            on_faulty = detector.score(faulty)
            scored_s = time.process_time() - begun
            limit = spend_budget(detector.score(samples), samples, budget, TEST_FROM)
            rows[name].append(
                _judge(detector, on_faulty, faulty, events, limit) | {"train_s": trained_s, "score_s": scored_s}
            )
    return [{"detector": name, "points": len(samples), "seeds": len(seeds)} | _mean(rows[name]) for name in DETECTORS]


def _judge(
    detector: Detector,
    scores: Mapping[str, Array],
    faulty: Mapping[str, Series],
    events: Sequence[Event],
    limit: float | None,
) -> dict[str, Any]:
    row = _describe(scores, faulty, events, detector.limit)
    return row | {"equal": None if limit is None else _describe(scores, faulty, events, limit)}


def _describe(
    scores: Mapping[str, Array], faulty: Mapping[str, Series], events: Sequence[Event], limit: float
) -> dict[str, Any]:
    alarms = {name: np.nan_to_num(row) > limit for name, row in scores.items()}
    outcome = evaluate_alarms(faulty, {k: v.astype(np.float64) for k, v in alarms.items()}, events, TEST_FROM)
    return {
        "events": outcome.events,
        "precision": outcome.precision,
        "recall": outcome.recall,
        "f1": outcome.f1,
        "false_alarms_per_point_month": outcome.false_alarms_per_sensor_month,
        "median_delay_days": float(np.median(outcome.delays_days)) if outcome.delays_days else float("nan"),
        "recall_by_kind": {kind: found / count for kind, (found, count) in outcome.by_kind.items()},
    } | _accuracies(alarms, faulty, events, outcome)


def _accuracies(
    alarms: Mapping[str, Any], faulty: Mapping[str, Series], events: Sequence[Event], outcome: DetectionOutcome
) -> dict[str, float]:
    """Share of readings, and of points, that were called rightly; and what silence would have got."""
    event_of = {event.station: event for event in events}
    right = inside = total = points = 0
    for name, series in faulty.items():
        begin, event = int(len(series.values) * TEST_FROM), event_of.get(name)
        end = len(series.values) if event is None else event.last + 1
        known, raised = series.observed[begin:end], alarms[name][begin:end]
        truth = np.zeros(end - begin, dtype=bool)
        if event is not None:
            truth[event.first - begin :] = True
        right += int((known & (raised == truth)).sum())
        inside += int((known & truth).sum())
        total += int(known.sum())
        points += bool(raised.any()) == (event is not None)
    return {
        "accuracy": right / total,
        "accuracy_of_silence": 1.0 - inside / total,
        "accuracy_of_points": points / len(faulty),
        "accuracy_of_points_of_silence": 1.0 - outcome.events / len(faulty),
    }


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means of what several seeds gave, figure by figure."""
    out: dict[str, Any] = {}
    for key in rows[0]:
        values = [row[key] for row in rows if row[key] is not None]
        if values and isinstance(values[0], Mapping):
            out[key] = _mean(values)
        else:
            out[key] = round(float(np.mean(values)), 5) if values else None
    return out


def format_points_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as plain text: each detector at its counted threshold, and at equal false alarms."""
    head = ["detector", "P", "R", "F1", "FA/month", "delay d", *KINDS, "accuracy", "silence", "train s", "score s"]
    body = []
    for row in rows:
        for name, one in ((row["detector"], row), (f"{row['detector']}, equal FA", row["equal"])):
            if one is None:
                continue
            cells = [f"{one[key]:.2f}" for key in ("precision", "recall", "f1")]
            cells += [f"{one['false_alarms_per_point_month']:.5f}", f"{one['median_delay_days']:.0f}"]
            cells += [f"{one['recall_by_kind'].get(kind, float('nan')):.2f}" for kind in KINDS]
            cells += [f"{one['accuracy']:.3f}", f"{one['accuracy_of_silence']:.3f}"]
            cells += [f"{row[key]:.0f}" if one is row else "" for key in ("train_s", "score_s")]
            body.append([name, *cells])
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in [head, *body])


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="A ZIP of the EGMS; else drawn points")
    parser.add_argument("--budget", type=float, default=BUDGET)
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    if given.data is None:
        samples = draw_points(0)
    else:
        panel = read_record(given.data, Recipe({"format": "points", "rows": "acquisitions"})).panel
        columns = zip(panel.stations, panel.values.T.tolist(), strict=True)
        samples = {name: build_series(panel.times_s.tolist(), values, panel.step_s) for name, values in columns}
    rows = run_points_bench(samples, given.budget, range(given.seeds))
    print(format_points_table(rows))
    record("anomalies-insar", f"python -m tests.bench.anomaly.bench_points {given.data or ''}".strip(), {"rows": rows})


if __name__ == "__main__":
    main()

"""The comparison every detector must stand: equal budget, injected faults, real noise, held-out time."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NotRequired, TypedDict

import numpy as np

from detection.anomaly.certain.checks import check_series, find_replay, find_stuck
from detection.anomaly.detector import Detector, train_detector
from detection.anomaly.evaluation import DetectionOutcome, evaluate_alarms
from detection.anomaly.faults import CERTAIN_KINDS, Event, inject_many
from detection.anomaly.records import MONTH_S, CertainFault, ThresholdError
from detection.anomaly.registry import CHECKS
from detection.anomaly.stages import DAY_S, Array
from detection.anomaly.threshold import choose_threshold
from detection.anomaly.windows import Series

TEST_FROM = 0.67
KNOWN_AFTER: Final = 2  # cells after a fault within which a check may still find it: a gap is known at its end
SIMPLE: Final = ("persistence-z", "rules")
# A network may vote only where it finds this much more than the better of them at equal false alarms.
VOTE_GAIN: Final = 0.02


class BenchRow(TypedDict):
    """What a detector is worth: means over the seeds; None where nothing is known."""

    detector: str
    budget_per_sensor_month: float
    seeds: int
    events: int
    precision: float | None
    recall: float | None
    f1: float | None
    false_alarms_per_sensor_month: float | None  # on the faulty record
    false_alarms_clean: float | None  # on the untouched one
    # with a threshold that spends the budget exactly on the untouched test record: it has seen the test, and serves the
    # comparison of detectors alone
    recall_at_equal_false_alarms: float | None
    threshold: float | None
    median_delay_days: float | None
    recall_by_kind: dict[str, float]
    recall_by_kind_at_equal_false_alarms: dict[str, float]
    recall_gain_over_rules: NotRequired[float | None]  # of a network, see `find_gain`
    adds: NotRequired[bool]  # whether that is enough


class CertainFaultRow(TypedDict):
    """What the checks find of one kind of certain faults."""

    detector: str
    kind: str
    seeds: int
    events: int
    recall: float | None
    median_delay_days: float | None  # from the first wrong reading, of a gap the first missing one
    untouched_per_sensor_month: float | None  # of that kind on the untouched record; gaps found there are real ones


def run_bench(
    samples: Mapping[str, Series],
    detectors: Sequence[str],
    budget: float,
    seeds: Sequence[int],
    ready: Mapping[str, Detector] | None = None,
) -> list[BenchRow]:
    """Train, set thresholds on validation, inject faults into the last third, and score each detector.

    ``+checks`` behind a name adds the stuck and replay checks. Networks are trained once per seed.

    Args:
        samples: clean series by station, all on one interval.
        detectors: ids, each with or without ``+checks``.
        budget: false alarm runs per sensor-month.
        ready: detectors that are trained already and used for every seed.
    """
    outcomes: dict[str, list[DetectionOutcome]] = {name: [] for name in detectors}
    clean: dict[str, list[float]] = {name: [] for name in detectors}
    thresholds: dict[str, list[float]] = {name: [] for name in detectors}
    equal: dict[str, list[DetectionOutcome]] = {name: [] for name in detectors}
    for seed in seeds:
        faulty, events = inject_many(samples, TEST_FROM, seed)
        trained: dict[str, Detector] = dict(ready or {})
        scored: dict[str, tuple[dict[str, Array], dict[str, Array]]] = {}
        for name in detectors:
            base = name.partition("+")[0]
            if base not in trained:
                trained[base] = train_detector(base, samples, budget, seed)
            detector, with_checks = trained[base], "+checks" in name
            if base not in scored:
                scored[base] = detector.score(faulty), detector.score(samples)
            on_faulty, on_clean = scored[base]
            limit, spent = detector.limit, spend_budget(on_clean, samples, budget, TEST_FROM)
            raised = _alarms(on_faulty, faulty, limit, with_checks)
            outcomes[name].append(evaluate_alarms(faulty, raised, events, TEST_FROM))
            untouched = evaluate_alarms(samples, _alarms(on_clean, samples, limit, with_checks), [], TEST_FROM)
            if spent is not None:
                raised = _alarms(on_faulty, faulty, spent, with_checks)
                equal[name].append(evaluate_alarms(faulty, raised, events, TEST_FROM))
            clean[name].append(untouched.false_alarms_per_sensor_month)
            thresholds[name].append(detector.limit)
    return [_row(name, outcomes[name], clean[name], thresholds[name], equal[name], budget) for name in detectors]


def run_certain_bench(samples: Mapping[str, Series], seeds: Sequence[int]) -> list[CertainFaultRow]:
    """Lay faults that are certain into the last part of the record, and see which the checks find: a row per kind."""
    events: list[Event] = []
    delays: dict[str, list[float]] = {kind: [] for kind in CERTAIN_KINDS}
    for seed in seeds:
        faulty, laid = inject_many(samples, TEST_FROM, seed, CERTAIN_KINDS)
        events += laid
        found = {name: _check(series) for name, series in faulty.items()}
        for event in laid:
            at_s = samples[event.station].times_s
            begin, end = at_s[event.first], at_s[min(event.last + KNOWN_AFTER, len(at_s) - 1)]
            mine = [f.at_s for f in found[event.station] if f.kind == event.kind and begin <= f.at_s <= end + 0.5]
            delays[event.kind] += [(mine[0] - begin) / DAY_S] if mine else []
    months, kinds, names = 0.0, list[str](), {kind: check for check, kind in CHECKS.items()}
    for series in samples.values():
        from_s = series.times_s[int(len(series.times_s) * TEST_FROM)]
        months += float(series.observed[series.times_s >= from_s].sum()) * series.step_s / MONTH_S
        kinds += [f.kind for f in _check(series) if f.at_s >= from_s]
    return [
        {
            "detector": names.get(kind, kind),
            "kind": kind,
            "seeds": len(seeds),
            "events": (count := sum(event.kind == kind for event in events)),
            "recall": round(len(delays[kind]) / count, 4) if count else None,
            "median_delay_days": round(float(np.median(delays[kind])), 2) if delays[kind] else None,
            "untouched_per_sensor_month": round(kinds.count(kind) / months, 4) if months else None,
        }
        for kind in CERTAIN_KINDS
    ]


def _check(series: Series) -> list[CertainFault]:
    return check_series(series, series.times_s[series.observed].tolist())


def find_gain(rows: Sequence[BenchRow], name: str) -> float | None:
    """What a network finds more than the better of the simple detectors, in recall at equal real false alarms.

    >>> rows = [{"detector": n, "recall_at_equal_false_alarms": r} for n, r in (("ae", 0.5), ("rules", 0.75))]
    >>> find_gain(rows, "ae"), find_gain(rows[:1], "ae")
    (-0.25, None)
    """
    recall = {row["detector"]: row["recall_at_equal_false_alarms"] for row in rows}
    simple = [found for one in SIMPLE if (found := recall.get(one)) is not None]
    own = recall.get(name)
    return None if own is None or not simple else own - max(simple)


def spend_budget(
    scores: Mapping[str, Array], samples: Mapping[str, Series], budget: float, test_from: float
) -> float | None:
    """The threshold that spends the budget on the test part; None where there is too little to count."""
    parts = {name: slice(int(len(row) * test_from), None) for name, row in scores.items()}
    try:
        return choose_threshold(
            [scores[name][part] for name, part in parts.items()],
            [samples[name].times_s[part] for name, part in parts.items()],
            next(iter(samples.values())).step_s,
            budget,
        ).value
    except ThresholdError:
        return None


def _alarms(
    scores: Mapping[str, Array], samples: Mapping[str, Series], limit: float, with_checks: bool
) -> dict[str, Array]:
    out = {}
    for name, series in samples.items():
        raised = np.nan_to_num(scores[name], nan=0.0) > limit
        if with_checks:
            for finding in (*find_stuck(series), *find_replay(series)):
                raised[int(np.searchsorted(series.times_s, finding.at_s))] = True
        out[name] = raised.astype(np.float64)
    return out


def _row(
    name: str,
    outcomes: Sequence[DetectionOutcome],
    clean: Sequence[float],
    thresholds: Sequence[float],
    equal: Sequence[DetectionOutcome],
    budget: float,
) -> BenchRow:
    delays = [d for o in outcomes for d in o.delays_days]
    return {
        "detector": name,
        "budget_per_sensor_month": budget,
        "seeds": len(outcomes),
        "events": sum(o.events for o in outcomes),
        "precision": _mean([o.precision for o in outcomes]),
        "recall": _mean([o.recall for o in outcomes]),
        "f1": _mean([o.f1 for o in outcomes]),
        "false_alarms_per_sensor_month": _mean([o.false_alarms_per_sensor_month for o in outcomes]),
        "false_alarms_clean": _mean(clean),
        "recall_at_equal_false_alarms": _mean([o.recall for o in equal]),
        "threshold": _mean(thresholds),
        "median_delay_days": round(float(np.median(delays)), 2) if delays else None,
        "recall_by_kind": _by_kind(outcomes),
        "recall_by_kind_at_equal_false_alarms": _by_kind(equal),
    }


def _by_kind(outcomes: Sequence[DetectionOutcome]) -> dict[str, float]:
    kinds = sorted({kind for one in outcomes for kind in one.by_kind})
    found = {kind: [one.by_kind.get(kind, (0, 0)) for one in outcomes] for kind in kinds}
    return {kind: round(sum(n for n, _ in of) / sum(count for _, count in of), 3) for kind, of in found.items()}


def _mean(values: Sequence[float]) -> float | None:
    finite = [v for v in values if np.isfinite(v)]
    return round(float(np.mean(finite)), 4) if finite else None


def format_table(rows: Sequence[BenchRow]) -> str:
    """The rows as plain text, one line per detector."""
    kinds = sorted({kind for row in rows for kind in row["recall_by_kind"]})
    columns = "precision recall f1 false_alarms_per_sensor_month false_alarms_clean recall_at_equal_false_alarms"
    return _align(
        ["detector", "P", "R", "F1", "FA/month", "FA clean", "R equal FA", "delay d", *kinds],
        [
            [
                row["detector"],
                *map(row.get, [*columns.split(), "median_delay_days"]),
                *map(row["recall_by_kind"].get, kinds),
            ]
            for row in rows
        ],
    )


def format_certain(rows: Sequence[CertainFaultRow]) -> str:
    """What the checks found as plain text, one line per kind."""
    columns = ("kind", "events", "recall", "median_delay_days", "untouched_per_sensor_month")
    return _align(["check", "events", "R", "delay d", "untouched/month"], [list(map(row.get, columns)) for row in rows])


def _align(head: list[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [
        head,
        *([f"{v:.3f}" if isinstance(v, float) else "-" if v is None else str(v) for v in row] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in lines)

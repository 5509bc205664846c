"""Compare detectors on measured noise with injected faults, at equal budgets of false alarms, on held-out time."""

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
# A check finds a fault if it alarms up to so many cells after it: a gap is only known at its end.
CELLS_AFTER_FAULT: Final = 2
# The detector that networks are compared with.
SIMPLE: Final = "rules"
# A network may vote only if its recall at equal false alarms is larger by this.
VOTE_GAIN: Final = 0.02
# Appended to the name of a detector whose alarms are joined with those of the checks.
WITH_CHECKS: Final = "+checks"


class BenchRow(TypedDict):
    """Results of one detector: means over the seeds; None where nothing could be measured.

    `false_alarms_per_sensor_month` is measured on the altered record, `false_alarms_clean` on the record as measured.
    The threshold behind `recall_at_equal_false_alarms` spends the budget exactly on the test part as measured. It was
    chosen on the test part, so it serves the comparison of detectors only. The last two keys are those of networks:
    see `find_gain` and `VOTE_GAIN`.
    """

    detector: str
    budget_per_sensor_month: float
    seeds: int
    events: int
    precision: float | None
    recall: float | None
    f1: float | None
    false_alarms_per_sensor_month: float | None
    false_alarms_clean: float | None
    recall_at_equal_false_alarms: float | None
    threshold: float | None
    median_delay_days: float | None
    recall_by_kind: dict[str, float]
    recall_by_kind_at_equal_false_alarms: dict[str, float]
    recall_gain_over_rules: NotRequired[float | None]
    adds: NotRequired[bool]


class CertainFaultRow(TypedDict):
    """Results of a check on injected faults of one kind.

    The delay is counted from the first wrong reading, for a gap from the first missing one.
    `untouched_per_sensor_month` counts findings on the record as measured; gaps found there are real.
    """

    detector: str
    kind: str
    seeds: int
    events: int
    recall: float | None
    median_delay_days: float | None
    untouched_per_sensor_month: float | None


def run_bench(
    samples: Mapping[str, Series],
    detectors: Sequence[str],
    budget: float,
    seeds: Sequence[int],
    ready: Mapping[str, Detector] | None = None,
    rain: Series | None = None,
) -> list[BenchRow]:
    """Train each detector, inject faults into the last third of the record, and compare alarms with faults.

    Networks are trained once for each seed.

    Args:
        samples: Series by label, all with one interval, as measured.
        detectors: Names, each with or without `WITH_CHECKS`.
        budget: False alarms per sensor-month.
        ready: Trained detectors, which are used for every seed.
        rain: Rain of the site, for networks.
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
            base, has_checks = name.removesuffix(WITH_CHECKS), name.endswith(WITH_CHECKS)
            if base not in trained:
                trained[base] = train_detector(base, samples, budget, seed, rain)
            detector = trained[base]
            if base not in scored:
                scored[base] = detector.score(faulty, rain=rain), detector.score(samples, rain=rain)
            on_faulty, on_clean = scored[base]
            alarms = _find_alarms(on_faulty, faulty, detector.limit, has_checks=has_checks)
            outcomes[name].append(evaluate_alarms(faulty, alarms, events, TEST_FROM))
            alarms = _find_alarms(on_clean, samples, detector.limit, has_checks=has_checks)
            untouched = evaluate_alarms(samples, alarms, [], TEST_FROM)
            clean[name].append(untouched.false_alarms_per_sensor_month)
            thresholds[name].append(detector.limit)
            equal_limit = find_equal_threshold(on_clean, samples, budget, TEST_FROM)
            if equal_limit is not None:
                alarms = _find_alarms(on_faulty, faulty, equal_limit, has_checks=has_checks)
                equal[name].append(evaluate_alarms(faulty, alarms, events, TEST_FROM))
    return [_make_row(name, outcomes[name], clean[name], thresholds[name], equal[name], budget) for name in detectors]


def run_certain_bench(samples: Mapping[str, Series], seeds: Sequence[int]) -> list[CertainFaultRow]:
    """Inject faults that checks find into the last third of the record; return a row for each kind."""
    events: list[Event] = []
    delays: dict[str, list[float]] = {kind: [] for kind in CERTAIN_KINDS}
    for seed in seeds:
        faulty, injected = inject_many(samples, TEST_FROM, seed, CERTAIN_KINDS)
        events += injected
        findings = {label: _check(series) for label, series in faulty.items()}
        for event in injected:
            times_s = samples[event.station].times_s
            begin_s = times_s[event.first]
            end_s = times_s[min(event.last + CELLS_AFTER_FAULT, len(times_s) - 1)] + 0.5
            hits_s = [
                finding.at_s
                for finding in findings[event.station]
                if finding.kind == event.kind and begin_s <= finding.at_s <= end_s
            ]
            if hits_s:
                delays[event.kind].append((hits_s[0] - begin_s) / DAY_S)
    months, kinds, check_of = 0.0, list[str](), {kind: check for check, kind in CHECKS.items()}
    for series in samples.values():
        from_s = series.times_s[int(len(series.times_s) * TEST_FROM)]
        months += float(series.observed[series.times_s >= from_s].sum()) * series.step_s / MONTH_S
        kinds += [finding.kind for finding in _check(series) if finding.at_s >= from_s]
    rows: list[CertainFaultRow] = []
    for kind in CERTAIN_KINDS:
        count = sum(event.kind == kind for event in events)
        rows.append(
            {
                "detector": check_of.get(kind, kind),
                "kind": kind,
                "seeds": len(seeds),
                "events": count,
                "recall": round(len(delays[kind]) / count, 4) if count else None,
                "median_delay_days": round(float(np.median(delays[kind])), 2) if delays[kind] else None,
                "untouched_per_sensor_month": round(kinds.count(kind) / months, 4) if months else None,
            }
        )
    return rows


def _check(series: Series) -> list[CertainFault]:
    return check_series(series, series.times_s[series.observed].tolist())


def find_gain(rows: Sequence[BenchRow], name: str) -> float | None:
    """Return the recall of a network minus that of `rules`, at equal false alarms; None if one was not measured.

    >>> rows = [{"detector": n, "recall_at_equal_false_alarms": r} for n, r in (("ae", 0.5), ("rules", 0.75))]
    >>> find_gain(rows, "ae"), find_gain(rows[:1], "ae")
    (-0.25, None)
    """
    recall = {row["detector"]: row["recall_at_equal_false_alarms"] for row in rows}
    of_network, of_rules = recall.get(name), recall.get(SIMPLE)
    return None if of_network is None or of_rules is None else of_network - of_rules


def find_equal_threshold(
    scores: Mapping[str, Array], samples: Mapping[str, Series], budget: float, test_from: float
) -> float | None:
    """Return the threshold that spends the budget on the test part; None if the record is too short to count."""
    parts = {label: slice(int(len(row) * test_from), None) for label, row in scores.items()}
    try:
        return choose_threshold(
            [scores[label][part] for label, part in parts.items()],
            [samples[label].times_s[part] for label, part in parts.items()],
            next(iter(samples.values())).step_s,
            budget,
        ).value
    except ThresholdError:
        return None


def _find_alarms(
    scores: Mapping[str, Array], samples: Mapping[str, Series], limit: float, *, has_checks: bool
) -> dict[str, Array]:
    alarms = {}
    for label, series in samples.items():
        is_alarm = np.nan_to_num(scores[label], nan=0.0) > limit
        if has_checks:
            for finding in (*find_stuck(series), *find_replay(series)):
                is_alarm[int(np.searchsorted(series.times_s, finding.at_s))] = True
        alarms[label] = is_alarm.astype(np.float64)
    return alarms


def _make_row(
    name: str,
    outcomes: Sequence[DetectionOutcome],
    clean: Sequence[float],
    thresholds: Sequence[float],
    equal: Sequence[DetectionOutcome],
    budget: float,
) -> BenchRow:
    delays = [delay for outcome in outcomes for delay in outcome.delays_days]
    return {
        "detector": name,
        "budget_per_sensor_month": budget,
        "seeds": len(outcomes),
        "events": sum(outcome.events for outcome in outcomes),
        "precision": _mean([outcome.precision for outcome in outcomes]),
        "recall": _mean([outcome.recall for outcome in outcomes]),
        "f1": _mean([outcome.f1 for outcome in outcomes]),
        "false_alarms_per_sensor_month": _mean([outcome.false_alarms_per_sensor_month for outcome in outcomes]),
        "false_alarms_clean": _mean(clean),
        "recall_at_equal_false_alarms": _mean([outcome.recall for outcome in equal]),
        "threshold": _mean(thresholds),
        "median_delay_days": round(float(np.median(delays)), 2) if delays else None,
        "recall_by_kind": _find_recall_by_kind(outcomes),
        "recall_by_kind_at_equal_false_alarms": _find_recall_by_kind(equal),
    }


def _find_recall_by_kind(outcomes: Sequence[DetectionOutcome]) -> dict[str, float]:
    recall = {}
    for kind in sorted({kind for outcome in outcomes for kind in outcome.by_kind}):
        counts = [outcome.by_kind.get(kind, (0, 0)) for outcome in outcomes]
        recall[kind] = round(sum(found for found, _ in counts) / sum(count for _, count in counts), 3)
    return recall


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if np.isfinite(value)]
    return round(float(np.mean(finite)), 4) if finite else None


def format_table(rows: Sequence[BenchRow]) -> str:
    """Return the rows as plain text, one line for each detector."""
    kinds = sorted({kind for row in rows for kind in row["recall_by_kind"]})
    columns = (
        "precision",
        "recall",
        "f1",
        "false_alarms_per_sensor_month",
        "false_alarms_clean",
        "recall_at_equal_false_alarms",
        "median_delay_days",
    )
    return _align(
        ["detector", "P", "R", "F1", "FA/month", "FA clean", "R equal FA", "delay d", *kinds],
        [[row["detector"], *map(row.get, columns), *map(row["recall_by_kind"].get, kinds)] for row in rows],
    )


def format_certain(rows: Sequence[CertainFaultRow]) -> str:
    """Return the results of the checks as plain text, one line for each kind."""
    columns = ("kind", "events", "recall", "median_delay_days", "untouched_per_sensor_month")
    return _align(["check", "events", "R", "delay d", "untouched/month"], [list(map(row.get, columns)) for row in rows])


def _align(head: list[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, *([_format_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def _format_cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)

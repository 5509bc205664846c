"""Recall of the served anomaly detectors on faults injected into measured records, by kind of fault.

    python -m packages.lab.benchmarks.anomaly.bench_anomaly [--record] [--seeds 3] [--only NAME]

`as served` is what a new site file contains: `rules` and the autoencoder `ae`, each with half of the budget of 0.1
false alarms per sensor-month, and the checks. Thresholds are counted on the first two thirds of each record; faults are
injected into the last third. A record that is too short to count has the thresholds of other sites. The thresholds of
other quantities have the factor of the service.

`dense-ae` is the former autoencoder, which read windows of single series. `ae without rain` and `ae of single channels`
show what these inputs are worth; the latter trains one network for each quantity. The share of `ae` is the recall as
served minus that of `rules and checks`.

`autoregression, threshold known` is a reference that nobody could serve. It predicts each increment from the 12 before
it, with coefficients of the first two thirds, and its threshold is counted on the last third without faults, for 0.025
false alarms per series and day. Where it finds few faults, they are smaller than what the record does by itself.

With `--record`, the figures are stored, unless `--only` leaves records out.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from detection.anomaly.certain.checks import check_series
from detection.anomaly.detector import Detector, start_without_history, train_detector
from detection.anomaly.records import FACTORS, RUN_GAP_S, AnomalyError, ThresholdError
from detection.anomaly.registry import CHECKS
from detection.anomaly.stages import Array, Standardise
from detection.anomaly.threshold import find_threshold
from detection.anomaly.windows import Series
from monitor.sites.watched import CHECKS_BY_QUANTITY
from packages.lab.benchmarks.anomaly.faults import TEST_FROM, Outcome, evaluate, inject_faults
from packages.lab.benchmarks.anomaly.records import DAY_S, READERS, Record
from tests.bench.record import LAB_RESULTS, measure_cpu_s, parse_options

NAME: Final = "anomalies-served"
ALL: Final = "all records"
COMMAND: Final = "python -m packages.lab.benchmarks.anomaly.bench_anomaly --record"
BUDGET_OF_EACH: Final = 0.05
MOTION: Final = ("displacement", "displacement_east", "displacement_north")
# Seeds of a record with few faults are multiplied by this.
MORE_SEEDS: Final[Mapping[str, int]] = {"glacier": 4, "reservoir slope": 2}
REFERENCE: Final = "autoregression, threshold known"
REFERENCE_LAGS: Final = 12
REFERENCE_FALSE_PER_DAY: Final = 0.025
Samples = Mapping[str, Series]
Alarms = dict[str, list[float]]


def find_quantity(label: str) -> str:
    return label.partition(".")[2]


def list_alarms(scores: Mapping[str, Any], samples: Samples, limit: float) -> Alarms:
    return {label: samples[label].times_s[np.nan_to_num(row) > limit].tolist() for label, row in scores.items()}


def prepare_rules(samples: Samples) -> list[tuple[list[str], Detector]]:
    """Return the groups of series that `rules` compares, each with its detector."""
    groups: dict[tuple[str, float], list[str]] = defaultdict(list)
    for label, series in samples.items():
        quantity = find_quantity(label)
        groups["motion" if quantity in MOTION else quantity, series.step_s].append(label)
    detectors = []
    for (name, step_s), labels in groups.items():
        detector = start_without_history("rules", step_s)
        if name == "motion":
            try:
                detector = train_detector("rules", {label: samples[label] for label in labels}, BUDGET_OF_EACH, 0)
            except ThresholdError as error:
                print(f"  rules: thresholds of other sites: {error}")
        else:
            watched = CHECKS_BY_QUANTITY[name]
            thresholds = {
                part: replace(threshold, value=watched.factor * threshold.value)
                for part, threshold in detector.thresholds.items()
                if part in watched.parts
            }
            detector = Detector("rules", thresholds)
        detectors.append((labels, detector))
    return detectors


def prepare_networks(
    name: str, samples: Samples, rain: Series | None, *, single_channels: bool = False
) -> list[tuple[list[str], Detector]]:
    """Return the series of moving ground with a trained network; empty if the record is too short."""
    moving = [label for label in samples if CHECKS_BY_QUANTITY[find_quantity(label)].moves]
    groups = [moving] if moving else []
    if single_channels:
        by_quantity: dict[str, list[str]] = defaultdict(list)
        for label in moving:
            by_quantity[find_quantity(label)].append(label)
        groups = list(by_quantity.values())
    detectors = []
    for labels in groups:
        try:
            detector = train_detector(name, {label: samples[label] for label in labels}, BUDGET_OF_EACH, 0, rain)
        except AnomalyError as error:
            print(f"  {name}: {error}")
        else:
            detectors.append((labels, detector))
    return detectors


def apply_detectors(detectors: Sequence[tuple[list[str], Detector]], samples: Samples, rain: Series | None) -> Alarms:
    alarms: Alarms = {}
    for labels, detector in detectors:
        group = {label: samples[label] for label in labels}
        alarms |= list_alarms(detector.score(group, rain=rain), group, detector.limit)
    return alarms


def apply_checks(samples: Samples) -> Alarms:
    alarms = {}
    for label, series in samples.items():
        watched = CHECKS_BY_QUANTITY[find_quantity(label)]
        kinds = {CHECKS[check] for check in watched.checks}
        faults = check_series(series, series.times_s[series.observed].tolist(), FACTORS[watched.units])
        alarms[label] = sorted({fault.at_s for fault in faults if fault.kind in kinds})
    return alarms


def fit_increments(series: Series) -> Array:
    """Fit the reference to the first two thirds of a record: each increment from the 12 increments before it."""
    inputs, increments = _pair_increments(series)
    rows = np.flatnonzero(np.isfinite(inputs).all(axis=1) & np.isfinite(increments))
    rows = rows[rows < int(len(series.values) * TEST_FROM)]
    coefficients: Array = np.linalg.lstsq(inputs[rows], increments[rows], rcond=None)[0]
    return coefficients


def score_increments(series: Series, coefficients: Array) -> Array:
    """Return the error of each predicted increment in its robust scale, NaN where a reading is missing."""
    inputs, increments = _pair_increments(series)
    errors = increments - inputs @ coefficients
    scores: Array = np.abs(Standardise(1, series.step_s).feed(errors[None], 0, len(errors)))[0]
    return scores


def _pair_increments(series: Series) -> tuple[Array, Array]:
    """Return the inputs and the output of the reference at each cell.

    The inputs are the increments of the 12 cells before and a 1, shape (n, 13). The output is the increment to the
    cell, shape (n,).
    """
    increments = np.diff(series.values, prepend=np.nan)
    padded = np.concatenate([np.full(REFERENCE_LAGS, np.nan), increments[:-1]])
    before = np.lib.stride_tricks.sliding_window_view(padded, REFERENCE_LAGS)
    return np.column_stack([before, np.ones(len(increments))]), increments


def prepare_reference(samples: Samples) -> Callable[[Samples], Alarms]:
    """Return a function from series with faults to the alarms of the reference."""
    coefficients = {label: fit_increments(series) for label, series in samples.items()}
    scores, times_s = [], []
    days = 0.0
    for label, series in samples.items():
        test = slice(int(len(series.values) * TEST_FROM), None)
        scores.append(score_increments(series, coefficients[label])[test])
        times_s.append(series.times_s[test])
        days += float(np.isfinite(scores[-1]).sum()) * series.step_s / DAY_S
    limit = find_threshold(scores, times_s, int(REFERENCE_FALSE_PER_DAY * days), RUN_GAP_S)
    return lambda faulty: list_alarms(
        {label: score_increments(series, coefficients[label]) for label, series in faulty.items()}, faulty, limit
    )


def merge(*several: Alarms) -> Alarms:
    labels = {label for alarms in several for label in alarms}
    return {label: sorted({at_s for alarms in several for at_s in alarms.get(label, ())}) for label in labels}


def pool(outcomes: Sequence[Outcome]) -> Outcome:
    found: dict[str, tuple[int, int]] = {}
    for outcome in outcomes:
        for kind, (hits, count) in outcome.found.items():
            hits_before, count_before = found.get(kind, (0, 0))
            found[kind] = hits_before + hits, count_before + count
    false_alarms = sum(outcome.false_alarms for outcome in outcomes)
    return Outcome(found, false_alarms, sum(outcome.series_days for outcome in outcomes))


def measure(record: Record, seeds: int) -> tuple[dict[str, Outcome], dict[str, float]]:
    """Return what each detector and combination finds on one record, and the seconds that training took."""
    prepared: dict[str, list[tuple[list[str], Detector]]] = {}
    training_s: dict[str, float] = {}

    def prepare(name: str, make: Callable[[], list[tuple[list[str], Detector]]]) -> None:
        training_s[name] = measure_cpu_s(lambda: prepared.update({name: make()}))

    prepare("rules", lambda: prepare_rules(record.series))
    prepare("ae", lambda: prepare_networks("ae", record.series, record.rain))
    if prepared["ae"]:
        prepare("dense-ae", lambda: prepare_networks("dense-ae", record.series, None))
        prepare(
            "ae of single channels", lambda: prepare_networks("ae", record.series, record.rain, single_channels=True)
        )
        if record.rain is not None:
            prepare("ae without rain", lambda: prepare_networks("ae", record.series, None))
    find_by_reference = prepare_reference(record.series)
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    for seed in range(1, seeds + 1):
        faulty, faults = inject_faults(record.series, seed)
        alarms = {
            name: apply_detectors(detectors, faulty, None if name == "ae without rain" else record.rain)
            for name, detectors in prepared.items()
            if detectors
        }
        alarms["checks"] = apply_checks(faulty)
        alarms["rules and checks"] = merge(alarms["rules"], alarms["checks"])
        alarms["as served"] = merge(alarms["rules"], alarms["checks"], alarms.get("ae", {}))
        alarms[REFERENCE] = merge(find_by_reference(faulty), alarms["checks"])
        for name, detector_alarms in alarms.items():
            outcomes[name].append(evaluate(faulty, detector_alarms, faults))
    return {name: pool(by_seed) for name, by_seed in outcomes.items()}, training_s


def make_row(record: str, series_count: int, name: str, outcome: Outcome, training_s: float | None) -> dict[str, Any]:
    return {
        "record": record,
        "detector": name,
        "series": series_count,
        "faults": sum(count for _, count in outcome.found.values()),
        "recall": round(outcome.recall, 3),
        "false_per_series_day": round(outcome.false_per_series_day, 4),
        "training_cpu_s": None if training_s is None else round(training_s, 1),
        "recall_by_kind": {kind: round(hits / count, 3) for kind, (hits, count) in outcome.found.items()},
    }


def show(row: Mapping[str, Any]) -> None:
    kinds = "  ".join(f"{kind} {share:.2f}" for kind, share in row["recall_by_kind"].items())
    head = f"{row['record']:16} {row['detector']:22} {row['recall']:.3f} {row['false_per_series_day']:.4f}"
    print(f"{head}  {kinds}", flush=True)


if __name__ == "__main__":
    options = parse_options(__doc__, seeds=3, only="", record=False)
    figures = []
    totals = []
    everywhere: dict[str, list[Outcome]] = defaultdict(list)
    series_count = 0
    for name, read in READERS.items():
        if options.only in name:
            record = read()
            series_count += len(record.series)
            outcomes, training_s = measure(record, options.seeds * MORE_SEEDS.get(name, 1))
            for detector, outcome in outcomes.items():
                everywhere[detector].append(outcome)
                figures.append(make_row(name, len(record.series), detector, outcome, training_s.get(detector)))
                show(figures[-1])
    for detector in ("rules and checks", "as served", REFERENCE):
        totals.append(make_row(ALL, series_count, detector, pool(everywhere[detector]), None))
        show(totals[-1])
    if options.record and not options.only:
        LAB_RESULTS.store(NAME, COMMAND, [*totals, *figures])

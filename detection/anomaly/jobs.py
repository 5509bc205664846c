"""Tasks of worker processes: train a detector, and score new readings."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from detection.anomaly.bench import SIMPLE, TEST_FROM, VOTE_GAIN, find_gain, run_bench
from detection.anomaly.detector import Detector, start_without_history, train_detector
from detection.anomaly.evaluation import evaluate_alarms
from detection.anomaly.kinds import classify_shapes
from detection.anomaly.networks import TRAIN_UNTIL, VALIDATE_UNTIL
from detection.anomaly.parts import find_alarm_kind
from detection.anomaly.records import (
    MONTH_S,
    DetectorCheckpointError,
    DetectorTraining,
    InputError,
    ReadingScore,
    Scores,
    ScoringRequest,
    ThresholdError,
    Timed,
    TrainedDetector,
)
from detection.anomaly.registry import CARRIED_OVER_THRESHOLDS, describe_comparison, is_network, list_parts
from detection.anomaly.running.state import INCREMENTAL_DETECTORS, DetectorState
from detection.anomaly.threshold import COUNTABLE, DetectorThreshold, count_runs
from detection.anomaly.windows import Series, build_series, compute_scaled_residuals, sum_cells
from detection.reasons import Reason, reasons_to_json
from detection.whole_file import replacing


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint file: weights, facts about the detector, and the SHA-256 of the file."""

    weights: dict[str, NDArray[Any]]
    card: dict[str, Any]  # see `_write_card`
    model_hash: str


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint.

    Raises:
        DetectorCheckpointError: The file is missing or no checkpoint, or its hash differs from its name.
    """
    try:
        content = path.read_bytes()
        with safe_open(path, framework="numpy") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- the handle is no mapping
            card = json.loads((file.metadata() or {})["card"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DetectorCheckpointError(f"{path.name} cannot be read as an anomaly checkpoint: {error}") from error
    model_hash = hashlib.sha256(content).hexdigest()
    if len(path.stem) == len(model_hash) and path.stem != model_hash:
        raise DetectorCheckpointError(
            f"{path.name} was changed: its SHA-256 is {model_hash}, and its name states another one"
        )
    return Checkpoint(weights, card, model_hash)


def train(request: DetectorTraining) -> TrainedDetector:
    """Train one detector on the record of a site and write its checkpoint: `<hash>.safetensors` and `<hash>.json`.

    The safetensors file contains the facts of the JSON file too. Therefore the hash covers weights, thresholds and
    settings.

    The record is split in time. The detector is trained on the first half. Its thresholds are chosen on the next 17 %,
    so that false alarms do not exceed the budget. False alarms are measured on the rest. A network is also compared
    with `rules` there, on injected faults.

    Raises:
        InputError: There are too few windows to train on, or a series cannot be used.
        ThresholdError: The record is too short to choose a threshold for this budget.
    """
    name = request.detector
    budget = request.budget_per_sensor_month
    seed = request.seed
    samples = {label: build_series(*timed, request.step_s) for label, timed in request.samples.items()}
    rain = _read_rain(request.rain, request.step_s)
    detector = train_detector(name, samples, budget, seed, rain)
    card = _write_card(detector, samples, rain, budget, seed)
    weights = detector.weights or {
        "thresholds": np.array([threshold.value for threshold in detector.thresholds.values()])
    }
    tensors = {key: np.ascontiguousarray(value) for key, value in sorted(weights.items())}
    content = save(tensors, metadata={"card": json.dumps(card, sort_keys=True, allow_nan=False)})
    model_hash = hashlib.sha256(content).hexdigest()
    request.folder.mkdir(parents=True, exist_ok=True)
    path = request.folder / f"{model_hash}.safetensors"
    with replacing(path, flush=True) as partial:
        partial.write_bytes(content)
    text = json.dumps({"model_hash": model_hash, **card}, sort_keys=True, indent=1, allow_nan=False)
    with replacing(path.with_suffix(".json"), flush=True) as partial:
        partial.write_text(text, encoding="utf-8")
    return TrainedDetector(model_hash, name, str(path), card)


def _read_rain(rain: Timed | None, step_s: float) -> Series | None:
    """Return rain as sums over intervals; None without rain."""
    return None if rain is None or not len(rain[0]) else sum_cells(*rain, step_s)


def measure_card(request: ScoringRequest, budget: float) -> dict[str, Any]:
    """Return the facts about a trained detector, measured again on the present record.

    The `seed` of these facts is that of the injected faults, 0, not that of the training.

    Args:
        request: Checkpoint and record.
        budget: Allowed false alarms per sensor-month.

    Raises:
        InputError: There is no series, the checkpoint belongs to another detector, or a series cannot be used.
        DetectorCheckpointError: The checkpoint cannot be read or was changed.
    """
    if not request.samples:
        raise InputError("no series to measure the detector on: import readings of its series first")
    samples = {label: build_series(*timed, request.step_s) for label, timed in request.samples.items()}
    rain = _read_rain(request.rain, request.step_s)
    return _write_card(_load_detector(request)[0], samples, rain, budget, 0)


def score(request: ScoringRequest) -> Scores:
    """Score new readings with a trained detector, or with `rules` and the thresholds of other sites.

    Series that cannot be used or whose past is too short get no score.

    Raises:
        InputError: The detector needs a checkpoint and the request has none, or it has one of another detector.
        DetectorCheckpointError: The checkpoint cannot be read or was changed.
    """
    samples = dict[str, Series]()
    for label, (times_s, values) in request.samples.items():
        with suppress(InputError):
            samples[label] = build_series(times_s, values, request.step_s)
    since_s = -np.inf if request.since_s is None else request.since_s
    detector, model_hash = _load_detector(request)
    if not samples:
        return Scores((), model_hash)
    if detector.name in INCREMENTAL_DETECTORS:
        limits = {part: threshold.value for part, threshold in detector.thresholds.items()}
        scores_by_detector, _ = DetectorState(samples, {detector.name: limits}, since_s).score_new()
        rows = scores_by_detector[detector.name]
        return Scores(tuple(sorted(rows, key=lambda row: (row.station, row.at_s))), model_hash)
    scored, strongest = detector.score_with_parts(samples, rain=_read_rain(request.rain, request.step_s))
    parts = list(detector.thresholds)
    rows = []
    for label, series in sorted(samples.items()):
        shapes = classify_shapes(compute_scaled_residuals(series))
        scores = scored[label]
        is_new = series.observed & (series.times_s > since_s) & np.isfinite(scores)
        for cell in np.flatnonzero(is_new).tolist():
            kind = find_alarm_kind(parts[strongest[label][cell]], shapes[cell])
            value = float(scores[cell])
            rows.append(
                ReadingScore(
                    station=label,
                    at_s=float(series.times_s[cell]),
                    score=value,
                    threshold=detector.limit,
                    kind=kind,
                    alerted=value > detector.limit,
                    compared_with=describe_comparison(detector.name, kind),
                )
            )
    return Scores(tuple(rows), model_hash)


def _load_detector(request: ScoringRequest) -> tuple[Detector, str | None]:
    """Return the detector of a request, and the hash of its checkpoint. Without a checkpoint the hash is None."""
    name = request.detector
    path = request.checkpoint
    if path is None:
        if name not in CARRIED_OVER_THRESHOLDS:
            names = ", ".join(CARRIED_OVER_THRESHOLDS)
            raise InputError(f"{name} needs a checkpoint: train it first. Only {names} can score without a checkpoint")
        return start_without_history(name, request.step_s), None
    stored = load_checkpoint(Path(path))
    card = stored.card
    if card["detector"] != name:
        raise InputError(f"the checkpoint belongs to {card['detector']}, not to {name}: train {name}")
    if float(card["step_s"]) != request.step_s:
        raise InputError(
            f"the checkpoint was trained with an interval of {card['step_s']:g} s, these series have "
            f"{request.step_s:g} s: train it again"
        )
    thresholds = {part: DetectorThreshold(**values) for part, values in card["thresholds"].items()}
    if not set(thresholds) <= set(list_parts(name)):
        raise InputError(f"the checkpoint of {name} was written by an earlier version of Slopeward: train it again")
    weights = stored.weights if is_network(name) else {}
    return Detector(name, thresholds, weights, card["training"]), stored.model_hash


def _write_card(
    detector: Detector, samples: Mapping[str, Series], rain: Series | None, budget: float, seed: int
) -> dict[str, Any]:
    """Return the facts about a detector: settings, thresholds, alarms in the record, and whether it may vote.

    Echoes of earlier alarms (`StrongestPart`) are not suppressed here, because a vote does not suppress them either.
    """
    scored = detector.score(samples, rain=rain, suppresses_echoes=False)
    alarms = {label: np.nan_to_num(scores) > detector.limit for label, scores in scored.items()}
    alarm_values = {label: is_alarm.astype(np.float64) for label, is_alarm in alarms.items()}
    held_out = evaluate_alarms(samples, alarm_values, [], TEST_FROM)
    held_out_rate = held_out.false_alarms_per_sensor_month
    step_s = next(iter(samples.values())).step_s
    # Simultaneous alarms of several parts are one run of alarms.
    runs = 0
    scored_cells = 0
    digest = hashlib.sha256()
    for label, series in sorted(samples.items()):
        part = slice(int(len(series.values) * TRAIN_UNTIL), int(len(series.values) * VALIDATE_UNTIL))
        runs += count_runs(series.times_s[part][alarms[label][part]])
        scored_cells += int(np.isfinite(scored[label][part]).sum())
        for content in (label.encode(), series.times_s.tobytes(), series.values.tobytes()):
            digest.update(content)
    # The thresholds state months too, but of the record of the training and of the part that chose them.
    months = scored_cells * step_s / MONTH_S
    gain = None
    if is_network(detector.name):
        gain = _measure_gain(detector, samples, rain, budget, seed)
    card: dict[str, Any] = {
        "detector": detector.name,
        "seed": seed,
        "stations": sorted(samples),
        "step_s": step_s,
        "budget_per_sensor_month": budget,
        "threshold": detector.limit,
        "thresholds": {part: asdict(threshold) for part, threshold in sorted(detector.thresholds.items())},
        "validation_false_alarms_per_sensor_month": runs / months if months > 0.0 else None,
        "validation_months": months,
        "heldout_alarms_per_sensor_month": held_out_rate if np.isfinite(held_out_rate) else None,
        "heldout_months": held_out.months,
        "train_until_share": TRAIN_UNTIL,
        "validate_until_share": VALIDATE_UNTIL,
        "readings": sum(int(series.observed.sum()) for series in samples.values()),
        "from_s": min(float(series.times_s[0]) for series in samples.values()),
        "to_s": max(float(series.times_s[-1]) for series in samples.values()),
        "data_sha256": digest.hexdigest(),
        "training": dict(detector.notes),
        "role": "advice",
    }
    if is_network(detector.name):
        card["recall_gain_over_rules"] = gain
    reasons = []
    if not np.isfinite(held_out_rate) or held_out.months * budget < COUNTABLE:
        needed = COUNTABLE / budget
        reasons.append(Reason("vote.short", {"months": held_out.months, "needed": needed, "budget": budget}))
    elif held_out_rate > budget:
        reasons.append(Reason("vote.loud", {"rate": held_out_rate, "budget": budget}))
    if is_network(detector.name) and (gain is None or gain < VOTE_GAIN):
        if gain is None:
            reasons.append(Reason("vote.no_gain", {"names": (SIMPLE,), "needed": VOTE_GAIN}))
        else:
            reasons.append(Reason("vote.small_gain", {"gain": gain, "names": (SIMPLE,), "needed": VOTE_GAIN}))
    card["may_vote"] = not reasons
    card["may_not_vote_because"] = reasons_to_json(reasons)
    return card


def _measure_gain(
    detector: Detector, samples: Mapping[str, Series], rain: Series | None, budget: float, seed: int
) -> float | None:
    """Return the recall of a network minus that of `rules`, at equal false alarms; None if it cannot be measured."""
    compared = {detector.name: detector}
    with suppress(ThresholdError):
        compared[SIMPLE] = train_detector(SIMPLE, samples, budget, seed)
    rows = run_bench(samples, tuple(compared), budget, seeds=(seed,), ready=compared, rain=rain)
    return find_gain(rows, detector.name)

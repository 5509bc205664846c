"""The two calls a job makes: train a detector, score what is new; records in and out."""

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
from detection.anomaly.detector import (
    TRAIN_UNTIL,
    VALIDATE_UNTIL,
    Detector,
    start_without_history,
    train_detector,
)
from detection.anomaly.evaluation import evaluate_alarms
from detection.anomaly.kinds import name_kinds
from detection.anomaly.parts import PARTS
from detection.anomaly.records import (
    DetectorCheckpointError,
    DetectorTraining,
    InputError,
    ReadingScore,
    Scores,
    ScoringRequest,
    ThresholdError,
    TrainedDetector,
)
from detection.anomaly.registry import (
    CARRIED_OVER,
    COMPOSITES,
    compared_with,
    is_network,
)
from detection.anomaly.running.state import RUNNING, DetectorState
from detection.anomaly.threshold import COUNTABLE, DetectorThreshold, count_runs
from detection.anomaly.windows import Series, build_series, scaled_residuals
from detection.reasons import Reason, reasons_to_json
from detection.whole_file import replacing


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights, card and the sha256 of the file that holds both."""

    weights: dict[str, NDArray[Any]]
    card: dict[str, Any]
    model_hash: str


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint.

    Raises:
        CheckpointError: the file is absent, no checkpoint, or its content is not what its name promises.
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
        raise DetectorCheckpointError(f"{path.name} was altered: its sha256 is {model_hash}")
    return Checkpoint(weights, card, model_hash)


def train(request: DetectorTraining) -> TrainedDetector:
    """Train one detector on a site's record and write its checkpoint: ``<hash>.safetensors`` and ``<hash>.json``.

    The card lies inside the safetensors file too, so that the hash covers thresholds and settings, not weights alone.

    The record is split in time: 50 % to learn from, 17 % to count false alarms on, the rest to report what they really
    were and, for a network, to compare it with `persistence-z` on injected faults.

    Raises:
        InputError: there are too few windows to train on, or samples cannot be used.
        ThresholdError: no threshold can be stated for this budget on this record.
    """
    name, budget, seed = request.detector, request.budget_per_sensor_month, request.seed
    samples = {name: build_series(*timed, request.step_s) for name, timed in request.samples.items()}
    detector = train_detector(name, samples, budget, seed)
    card = _write_card(detector, samples, budget, seed)
    weights = detector.weights or {"thresholds": np.array([t.value for t in detector.thresholds.values()])}
    tensors = {name: np.ascontiguousarray(value) for name, value in sorted(weights.items())}
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


def renew_card(request: ScoringRequest, budget: float) -> dict[str, Any]:
    """The card of a detector that is trained already, written anew on a record as it is now.

    Raises:
        InputError: the checkpoint is of another detector, or samples cannot be used.
    """
    samples = {name: build_series(*timed, request.step_s) for name, timed in request.samples.items()}
    return _write_card(_load_detector(request)[0], samples, budget, 0)


def score(request: ScoringRequest) -> Scores:
    """Score what is new with a trained detector, or with `persistence-z` or `rules` as they come.

    Series that cannot be used, or whose past is too short, have no score.

    Raises:
        InputError: the detector needs a checkpoint and none was given, or the checkpoint is of another one.
        CheckpointError: the checkpoint cannot be read or was altered.
    """
    samples = dict[str, Series]()
    for name, (times_s, values) in request.samples.items():
        with suppress(InputError):
            samples[name] = build_series(times_s, values, request.step_s)
    since_s = -np.inf if request.since_s is None else request.since_s
    detector, model_hash = _load_detector(request)
    if not samples:
        return Scores((), model_hash)
    if detector.name in RUNNING:
        limits = {part: one.value for part, one in detector.thresholds.items()}
        rows = DetectorState(samples, {detector.name: limits}, since_s).score()[0][detector.name]
        return Scores(tuple(sorted(rows, key=lambda one: (one.station, one.at_s))), model_hash)
    scored, rows = detector.score(samples), []
    for name, series in sorted(samples.items()):
        kinds, scores = name_kinds(scaled_residuals(series)), scored[name]
        for k in np.flatnonzero(series.observed & (series.times_s > since_s) & np.isfinite(scores)).tolist():
            at_s, one, against = float(series.times_s[k]), float(scores[k]), compared_with(detector.name, kinds[k])
            rows.append(ReadingScore(name, at_s, one, detector.limit, kinds[k], one > detector.limit, against))
    return Scores(tuple(rows), model_hash)


def _load_detector(request: ScoringRequest) -> tuple[Detector, str | None]:
    name, path = request.detector, request.checkpoint
    if path is None:
        if name not in CARRIED_OVER:
            known = ", ".join(CARRIED_OVER)
            raise InputError(f"{name} needs a checkpoint; without one only {known} can score")
        return start_without_history(name, request.step_s), None
    stored = load_checkpoint(Path(path))
    card = stored.card
    if card["detector"] != name:
        raise InputError(f"the checkpoint holds {card['detector']}, not {name}")
    if float(card["step_s"]) != request.step_s:
        raise InputError(
            f"the checkpoint was trained at {card['step_s']:g} s, the samples come at {request.step_s:g} s"
        )
    thresholds = {part: DetectorThreshold(**one) for part, one in card["thresholds"].items()}
    if name in COMPOSITES and not set(thresholds) <= set(PARTS):
        raise InputError(f"the checkpoint of {name} is of an earlier version: train it again")
    weights = stored.weights if is_network(name) else {}
    return Detector(name, thresholds, weights, card["training"]), stored.model_hash


def _write_card(detector: Detector, samples: Mapping[str, Series], budget: float, seed: int) -> dict[str, Any]:
    # as it would serve as a witness: nothing is held back
    scored = detector.score(samples, holds=False)
    alarms = {name: np.nan_to_num(row) > detector.limit for name, row in scored.items()}
    heldout = evaluate_alarms(samples, {k: v.astype(np.float64) for k, v in alarms.items()}, [], TEST_FROM)
    heldout_rate = heldout.false_alarms_per_sensor_month
    months = max(t.months for t in detector.thresholds.values())
    runs, digest = 0, hashlib.sha256()  # several rules that alarm at once are one run
    for name, series in sorted(samples.items()):
        part = slice(int(len(series.values) * TRAIN_UNTIL), int(len(series.values) * VALIDATE_UNTIL))
        runs += count_runs(series.times_s[part][alarms[name][part]])
        for content in (name.encode(), series.times_s.tobytes(), series.values.tobytes()):
            digest.update(content)
    card: dict[str, Any] = {
        "detector": detector.name,
        "seed": seed,
        "stations": sorted(samples),
        "step_s": next(iter(samples.values())).step_s,
        "budget_per_sensor_month": budget,
        "threshold": detector.limit,
        "thresholds": {part: asdict(one) for part, one in sorted(detector.thresholds.items())},
        "validation_false_alarms_per_sensor_month": runs / months,
        "validation_months": months,
        "heldout_alarms_per_sensor_month": heldout_rate if np.isfinite(heldout_rate) else None,
        "heldout_months": heldout.months,
        "train_until_share": TRAIN_UNTIL,
        "validate_until_share": VALIDATE_UNTIL,
        "readings": sum(int(s.observed.sum()) for s in samples.values()),
        "from_s": min(float(s.times_s[0]) for s in samples.values()),
        "to_s": max(float(s.times_s[-1]) for s in samples.values()),
        "data_sha256": digest.hexdigest(),
        "training": dict(detector.notes),
        "role": "advice",
    }
    gain: float | None = None
    if is_network(detector.name):
        ready = {detector.name: detector}
        for name in SIMPLE:
            with suppress(ThresholdError):  # a record that is too short for one of them may do for the other
                ready[name] = train_detector(name, samples, budget, seed)
        rows = run_bench(samples, tuple(ready), budget, (seed,), ready)
        gain = card["recall_gain_over_rules"] = find_gain(rows, detector.name)
    reasons = []
    if not np.isfinite(heldout_rate) or heldout.months * budget < COUNTABLE:
        needed = COUNTABLE / budget
        reasons.append(Reason("vote.short", {"months": heldout.months, "needed": needed, "budget": budget}))
    elif heldout_rate > budget:
        reasons.append(Reason("vote.loud", {"rate": heldout_rate, "budget": budget}))
    if is_network(detector.name) and (gain is None or gain < VOTE_GAIN):
        if gain is None:
            reasons.append(Reason("vote.no_gain", {"names": SIMPLE, "needed": VOTE_GAIN}))
        else:
            reasons.append(Reason("vote.small_gain", {"gain": gain, "names": SIMPLE, "needed": VOTE_GAIN}))
    card["may_vote"] = not reasons
    card["may_not_vote_because"] = reasons_to_json(reasons)
    return card

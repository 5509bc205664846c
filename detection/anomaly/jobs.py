"""The two calls a job makes: train a detector, score what is new; records in and out."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from detection.anomaly.bench import SIMPLE, TEST_FROM, VOTE_GAIN, find_gain, run_bench
from detection.anomaly.certain.checks import check_series
from detection.anomaly.detector import (
    TRAIN_UNTIL,
    VALIDATE_UNTIL,
    Detector,
    start_without_history,
    train_detector,
)
from detection.anomaly.evaluation import evaluate_alarms
from detection.anomaly.kinds import name_kinds
from detection.anomaly.parts import PARTS, call
from detection.anomaly.records import (
    DetectorCheckpointError,
    DetectorTraining,
    FaultFinding,
    InputError,
    ReadingScore,
    Samples,
    Scores,
    ScoringRequest,
    ThresholdError,
    TrainedDetector,
    UnscoredStation,
)
from detection.anomaly.registry import (
    CARRIED_OVER,
    CHECKS,
    COMPOSITES,
    NETWORKS,
    compared_with,
)
from detection.anomaly.stages import Array
from detection.anomaly.threshold import COUNTABLE, DetectorThreshold, count_runs
from detection.anomaly.windows import Series, build_series, fewest_readings, scaled_residuals
from forecasting.message import Figure, NameList, Template, spread
from forecasting.whole_file import replacing

_SHORT: Final = Template(
    "vote.short",
    "{months} sensor-months were held out: {needed} are needed to count {budget} false alarms per sensor-month",
)
_LOUD: Final = Template(
    "vote.loud", "{rate} alarms per sensor-month on held-out time, more than the budget of {budget}"
)
_NO_GAIN: Final = Template(
    "vote.no_gain",
    "it cannot be compared with the best of {names} at equal false alarms; {needed} is needed",
)
_SMALL_GAIN: Final = Template(
    "vote.small_gain",
    "it finds {gain} in recall against the best of {names} at equal false alarms; {needed} is needed",
)


Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights, card and the sha256 of the file that holds both."""

    weights: dict[str, NDArray[Any]]
    card: dict[str, Any]
    model_hash: str


def save_checkpoint(folder: Path, weights: Weights, card: Mapping[str, Any]) -> tuple[str, Path]:
    """Write ``<hash>.safetensors`` and ``<hash>.json`` whole or not at all.

    The card lies inside the safetensors file too, so that the hash covers thresholds and settings, not weights alone.

    Returns the model hash and the path of the safetensors file.
    """
    tensors = {name: np.ascontiguousarray(value) for name, value in sorted(weights.items())}
    content = save(tensors, metadata={"card": json.dumps(card, sort_keys=True, allow_nan=False)})
    model_hash = hashlib.sha256(content).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{model_hash}.safetensors"
    with replacing(path, flush=True) as partial:
        partial.write_bytes(content)
    text = json.dumps({"model_hash": model_hash, **card}, sort_keys=True, indent=1, allow_nan=False)
    with replacing(path.with_suffix(".json"), flush=True) as partial:
        partial.write_text(text, encoding="utf-8")
    return model_hash, path


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
    """Train one detector on a site's record and write its checkpoint.

    The record is split in time: 50 % to learn from, 17 % to count false alarms on, the rest to report what they really
    were and, for a network, to compare it with `persistence-z` on injected faults.

    Raises:
        InputError: there are too few windows to train on, or samples cannot be used.
        ThresholdError: no threshold can be stated for this budget on this record.
    """
    name, budget, seed = request.detector, request.budget_per_sensor_month, request.seed
    samples, _ = _read_samples(request.samples, request.step_s)
    detector = train_detector(name, samples, budget, seed)
    card = _write_card(detector, samples, budget, seed)
    weights = detector.weights or {"thresholds": np.array([t.value for t in detector.thresholds.values()])}
    model_hash, path = save_checkpoint(request.folder, weights, card)
    return TrainedDetector(model_hash, name, str(path), card)


def renew_card(request: ScoringRequest, budget: float, seed: int = 0) -> dict[str, Any]:
    """The card of a detector that is trained already, written anew on a record as it is now.

    Raises:
        InputError: the checkpoint is of another detector, or samples cannot be used.
    """
    samples, _ = _read_samples(request.samples, request.step_s)
    return _write_card(_load_detector(request)[0], samples, budget, seed)


def score(request: ScoringRequest) -> Scores:
    """Score what is new with a trained detector, or with `persistence-z` as it comes.

    A check (one of `CHECKS`) gives its findings and no score.

    Raises:
        InputError: the detector needs a checkpoint and none was given, or the checkpoint is of another one.
        CheckpointError: the checkpoint cannot be read or was altered.
    """
    samples, unusable = _read_samples(request.samples, request.step_s, withhold=True)
    since_s = -np.inf if request.since_s is None else request.since_s
    findings = [
        FaultFinding(name, one.at_s, one.kind, one.detail)
        for name in sorted(samples)
        for one in check_series(samples[name], list(request.samples[name][0]))
        if one.at_s > since_s
    ]
    if request.detector in CHECKS:
        mine = tuple(one for one in findings if one.kind == CHECKS[request.detector])
        return Scores((), mine, unusable, request.detector, None)
    detector, model_hash = _load_detector(request)
    rows: list[ReadingScore] = []
    withheld = list(unusable)
    scored, kinds_of, others_at, echoes = _score_and_name(detector, samples)
    for name in sorted(samples):
        series, scores = samples[name], scored[name]
        fresh = series.observed & (series.times_s > since_s)
        chosen = np.flatnonzero(fresh & np.isfinite(scores))
        if not chosen.size:
            withheld.append(UnscoredStation(name, _explain(series, int(fresh.sum()))))
            continue
        kinds = kinds_of[name]
        rows += [
            ReadingScore(
                name,
                float(series.times_s[k]),
                float(scores[k]),
                detector.limit,
                kinds[k],
                bool(scores[k] > detector.limit) and not (name in echoes and echoes[name][k]),
                compared_with(detector.name, kinds[k], *others_at(name, int(k))),
            )
            for k in chosen
        ]
    withheld.sort(key=lambda one: one.station)
    return Scores(tuple(rows), tuple(findings), tuple(withheld), detector.name, model_hash)


OthersAt = Callable[[str, int], tuple[int, tuple[str, ...]]]


def _score_and_name(
    detector: Detector, samples: Mapping[str, Series]
) -> tuple[dict[str, Array], dict[str, list[str]], OthersAt, dict[str, NDArray[np.bool_]]]:
    looks = {name: name_kinds(scaled_residuals(series)) for name, series in samples.items()}
    if detector.name not in COMPOSITES:
        return detector.score(samples), looks, lambda _name, _cell: (0, ()), {}
    scored, parts_of = detector.score_by_part(samples)
    named = {
        name: [
            call(part, shape, moves=moves)
            for part, shape, moves in zip(parts, looks[name], parts_of.moves(name), strict=False)
        ]
        for name, (_, parts, _) in scored.items()
    }
    echoes = {name: np.isfinite(held) for name, (_, _, held) in scored.items()}
    rows = {name: np.where(echoes[name], held, row) for name, (row, _, held) in scored.items()}

    def others_at(name: str, cell: int) -> tuple[int, tuple[str, ...]]:
        count, names = parts_of.others_at(scored[name][1][cell], name, cell)
        return count, names if rows[name][cell] > detector.limit else ()

    return rows, named, others_at, echoes


def _read_samples(
    samples: Samples, step_s: float, *, withhold: bool = False
) -> tuple[dict[str, Series], tuple[UnscoredStation, ...]]:
    out: dict[str, Series] = {}
    unusable = []
    for name, (times_s, values) in samples.items():
        try:
            out[name] = build_series(times_s, values, step_s)
        except InputError as error:
            if not withhold:
                raise
            unusable.append(UnscoredStation(name, str(error)))
    return out, tuple(sorted(unusable, key=lambda one: one.station))


def _explain(series: Series, fresh: int) -> str:
    known = int(series.observed.sum())
    if fresh == 0:
        return "no new reading"
    need = fewest_readings(series)
    if known < need:
        return f"{known} readings so far: about {need} are needed for a median and its scale"
    return f"{fresh} new readings, but too few known ones just before them to judge by"


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
    weights = stored.weights if name in NETWORKS else {}
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
    if detector.name in NETWORKS:
        ready = {detector.name: detector}
        for name in SIMPLE:
            with suppress(ThresholdError):  # a record that is too short for one of them may do for the other
                ready[name] = train_detector(name, samples, budget, seed)
        rows = run_bench(samples, tuple(ready), budget, (seed,), ready)
        gain = card["recall_gain_over_rules"] = find_gain(rows, detector.name)
    found = []
    if not np.isfinite(heldout_rate) or heldout.months * budget < COUNTABLE:
        needed = Figure(COUNTABLE / budget, ".0f")
        found.append(_SHORT(months=Figure(heldout.months, ".1f"), needed=needed, budget=budget))
    elif heldout_rate > budget:
        found.append(_LOUD(rate=Figure(heldout_rate, ".3g"), budget=budget))
    if detector.name in NETWORKS and (gain is None or gain < VOTE_GAIN):
        least, best = Figure(VOTE_GAIN, "+g"), NameList(SIMPLE, conjunction=True)
        if gain is None:
            found.append(_NO_GAIN(names=best, needed=least))
        else:
            found.append(_SMALL_GAIN(gain=Figure(gain, "+.3f"), names=best, needed=least))
    against = found
    card["may_vote"], card["may_not_vote_because"] = not against, spread(against)
    return card

"""The three calls a job makes: train a detector, score what is new, compare detectors. Plain JSON values in and out."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.bench import TEST_FROM, format_table, run_bench
from detection.anomaly.checkpoint import load_checkpoint, save_checkpoint
from detection.anomaly.checks import check_series
from detection.anomaly.detector import TRAIN_UNTIL, VALIDATE_UNTIL, Detector, train_detector
from detection.anomaly.errors import InputError
from detection.anomaly.evaluation import judge_alarms
from detection.anomaly.kinds import name_kinds
from detection.anomaly.registry import CARRIED_OVER, CHECKS, NETWORKS
from detection.anomaly.threshold import COUNTABLE, Threshold, count_runs
from detection.anomaly.windows import Series, build_series, fewest_readings, scaled_residuals

CARRIED_SOURCE: Final = "benchmark G: 18 daily GNSS stations, 2014-07 to 2015-05, 0.025 false alarms per sensor-month"
# An autoencoder may vote only where it finds this much more than persistence-z at equal false alarms.
VOTE_GAIN: Final = 0.02


def train(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Train one detector on a site's record and write its checkpoint.

    The record is split in time: 50 % to learn from, 17 % to count false alarms on, the rest to report what they really
    were and, for a network, to compare it with `persistence-z` on injected faults.

    Args:
        payload: ``samples`` {station: {times_s, values}}, ``step_s``, ``detector``, ``folder``, and optionally
            ``budget_per_sensor_month`` (0.1) and ``seed`` (0).

    Returns:
        ``model_hash``, ``detector``, ``checkpoint`` (path), ``card``.

    Raises:
        InputError: a key is missing or cannot be used, or there are too few windows to train on.
        ThresholdError: no threshold can be stated for this budget on this record.
    """
    samples, _ = _read_samples(payload)
    name = str(_need(payload, "detector"))
    budget = float(payload.get("budget_per_sensor_month", 0.1))
    seed = int(payload.get("seed", 0))
    detector = train_detector(name, samples, budget, seed)
    card = _write_card(detector, samples, budget, seed)
    weights = detector.weights or {"thresholds": np.array([t.value for t in detector.thresholds.values()])}
    model_hash, path = save_checkpoint(Path(_need(payload, "folder")), weights, card)
    return {"model_hash": model_hash, "detector": name, "checkpoint": str(path), "card": card}


def score(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Score the readings newer than ``since_s`` with a trained detector, or with `persistence-z` as it comes.

    A check (`flatline`, `replay`) gives its findings and no score.

    Args:
        payload: ``samples``, ``step_s``, ``detector``, ``checkpoint`` (path or None), ``since_s`` (exclusive; None for
            all). Samples should reach back two years where they can, ninety days at least for a steady scale.

    Returns:
        ``scores``: rows {station, at_s, score, threshold, kind, alerted}; ``findings``: certain faults without a score
        {station, at_s, kind (stuck, replay, gap, duplicate, backwards), detail}; ``withheld``: {station, reason};
        ``detector``, ``model_hash`` (None when carried over), ``threshold_source``.

    Raises:
        InputError: a key is missing or cannot be used, or the detector needs a checkpoint and none was given.
        CheckpointError: the checkpoint cannot be read or was altered.
    """
    samples, times = _read_samples(payload, withhold=True)
    since = payload.get("since_s")
    since_s = -np.inf if since is None else float(since)
    if payload.get("detector") in CHECKS:
        return _check_only(str(payload["detector"]), samples, times, since_s, _unusable(payload, samples))
    detector, model_hash, source = _load_detector(payload)
    rows: list[dict[str, Any]] = []
    findings: list[dict[str, Any]] = []
    withheld = [{"station": name, "reason": reason} for name, reason in _unusable(payload, samples)]
    for name in sorted(samples):
        series = samples[name]
        findings += _find_certain(name, series, times[name], since_s)
        scores = detector.score(series)
        fresh = series.observed & (series.times_s > since_s)
        chosen = np.flatnonzero(fresh & np.isfinite(scores))
        if not chosen.size:
            withheld.append({"station": name, "reason": _explain(series, int(fresh.sum()))})
            continue
        kinds = name_kinds(scaled_residuals(series))
        rows += [
            {
                "station": name,
                "at_s": float(series.times_s[k]),
                "score": float(scores[k]),
                "threshold": detector.limit,
                "kind": kinds[k],
                "alerted": bool(scores[k] > detector.limit),
            }
            for k in chosen
        ]
    return {
        "scores": rows,
        "findings": findings,
        "withheld": sorted(withheld, key=lambda row: row["station"]),
        "detector": detector.name,
        "model_hash": model_hash,
        "threshold_source": source,
    }


def bench(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Compare detectors at one budget on a record with injected faults.

    Args:
        payload: ``samples``, ``step_s``, ``detectors`` (ids, ``+checks`` appended adds the stuck and replay checks;
            default ae, lstm-ae, persistence-z, rules+checks), ``budget_per_sensor_month`` (0.1), ``seeds`` (3).

    Returns:
        ``rows`` and ``table`` (the rows as text).

    Raises:
        InputError: a key is missing or cannot be used.
        ThresholdError: no threshold can be stated for this budget on this record.
    """
    samples, _ = _read_samples(payload)
    names = list(payload.get("detectors") or ("ae", "lstm-ae", "persistence-z", "rules+checks"))
    rows = run_bench(
        samples, names, float(payload.get("budget_per_sensor_month", 0.1)), range(int(payload.get("seeds", 3)))
    )
    return {"rows": rows, "table": format_table(rows)}


def _check_only(
    check: str,
    samples: Mapping[str, Series],
    times: Mapping[str, list[float]],
    since_s: float,
    unusable: list[tuple[str, str]],
) -> dict[str, Any]:
    """The answer of a check: what it found, and nothing scored."""
    found = [one for name in sorted(samples) for one in _find_certain(name, samples[name], times[name], since_s)]
    return {
        "scores": [],
        "findings": [one for one in found if one["kind"] == CHECKS[check]],
        "withheld": [{"station": name, "reason": reason} for name, reason in sorted(unusable)],
        "detector": check,
        "model_hash": None,
        "threshold_source": "a check is certain and has no threshold",
    }


def _find_certain(name: str, series: Series, times_s: list[float], since_s: float) -> list[dict[str, Any]]:
    return [
        {"station": name, "at_s": f.at_s, "kind": f.kind, "detail": f.detail}
        for f in check_series(series, times_s)
        if f.at_s > since_s
    ]


def _need(payload: Mapping[str, Any], key: str) -> Any:
    if payload.get(key) is None:
        raise InputError(f"the request lacks {key!r}")
    return payload[key]


def _read_samples(
    payload: Mapping[str, Any], *, withhold: bool = False
) -> tuple[dict[str, Series], dict[str, list[float]]]:
    """Series by station and the times as they came; with `withhold` a bad station is left out instead of raised."""
    step_s = float(_need(payload, "step_s"))
    out: dict[str, Series] = {}
    times: dict[str, list[float]] = {}
    for name, record in dict(_need(payload, "samples")).items():
        try:
            out[name] = build_series(record["times_s"], record["values"], step_s)
        except InputError:
            if not withhold:
                raise
        else:
            times[name] = list(record["times_s"])
    return out, times


def _unusable(payload: Mapping[str, Any], samples: Mapping[str, Series]) -> list[tuple[str, str]]:
    reasons = []
    for name, record in payload["samples"].items():
        if name not in samples:
            try:
                build_series(record["times_s"], record["values"], float(payload["step_s"]))
            except InputError as error:
                reasons.append((name, str(error)))
    return reasons


def _explain(series: Series, fresh: int) -> str:
    known = int(series.observed.sum())
    if fresh == 0:
        return "no new reading"
    need = fewest_readings(series)
    if known < need:
        return f"{known} readings so far: about {need} are needed for a median and its scale"
    return f"{fresh} new readings, but too few known ones just before them to judge by"


def _load_detector(payload: Mapping[str, Any]) -> tuple[Detector, str | None, str]:
    name = str(_need(payload, "detector"))
    path = payload.get("checkpoint")
    if path is None:
        if name not in CARRIED_OVER:
            known = ", ".join(CARRIED_OVER)
            raise InputError(f"{name} needs a checkpoint; without one only {known} can score")
        return Detector(name, {name: Threshold(CARRIED_OVER[name], 0, 0.0, "carried over")}), None, CARRIED_SOURCE
    stored = load_checkpoint(Path(path))
    card = stored.card
    if card["detector"] != name:
        raise InputError(f"the checkpoint holds {card['detector']}, not {name}")
    if float(card["step_s"]) != float(payload["step_s"]):
        raise InputError(
            f"the checkpoint was trained at {card['step_s']:g} s, the samples come at {payload['step_s']:g} s"
        )
    thresholds = {
        part: Threshold(t["value"], t["false_alarms"], t["months"], t["method"])
        for part, t in card["thresholds"].items()
    }
    weights = stored.weights if name in NETWORKS else {}
    return Detector(name, thresholds, weights), stored.model_hash, "counted on this site's validation record"


def _write_card(detector: Detector, samples: Mapping[str, Series], budget: float, seed: int) -> dict[str, Any]:
    alarms = {name: np.nan_to_num(detector.score(series)) > detector.limit for name, series in samples.items()}
    heldout = judge_alarms(samples, {k: v.astype(np.float64) for k, v in alarms.items()}, [], TEST_FROM)
    months = max(t.months for t in detector.thresholds.values())
    card: dict[str, Any] = {
        "detector": detector.name,
        "seed": seed,
        "stations": sorted(samples),
        "step_s": next(iter(samples.values())).step_s,
        "budget_per_sensor_month": budget,
        "threshold": detector.limit,
        "thresholds": {
            part: {"value": t.value, "false_alarms": t.false_alarms, "months": t.months, "method": t.method}
            for part, t in sorted(detector.thresholds.items())
        },
        "validation_false_alarms_per_sensor_month": _count_validation(alarms, samples) / months,
        "validation_months": months,
        "heldout_alarms_per_sensor_month": _finite(heldout.false_alarms_per_sensor_month),
        "heldout_months": heldout.months,
        "train_until_share": TRAIN_UNTIL,
        "validate_until_share": VALIDATE_UNTIL,
        "from_s": min(float(s.times_s[0]) for s in samples.values()),
        "to_s": max(float(s.times_s[-1]) for s in samples.values()),
        "data_sha256": _hash_samples(samples),
        "training": dict(detector.notes),
        "role": "advice",
    }
    gain: float | None = None
    if detector.name in NETWORKS:
        rows = run_bench(samples, (detector.name, "persistence-z"), budget, (seed,), {detector.name: detector})
        own, simple = (row["recall_at_equal_false_alarms"] for row in rows)
        gain = own - simple if own is not None and simple is not None else None
        card["recall_gain_over_persistence_z"] = gain
    against = _find_against_vote(detector.name, heldout.false_alarms_per_sensor_month, heldout.months, budget, gain)
    card["may_vote"], card["may_not_vote_because"] = not against, against
    return card


def _find_against_vote(name: str, rate: float, months: float, budget: float, gain: float | None) -> list[str]:
    """Why the record does not show that this detector may count as a witness; empty where it does.

    Args:
        name: of the detector.
        rate: alarms per sensor-month on the part of the record that nothing was fitted on.
        months: sensor-months of that part.
        budget: false alarms per sensor-month that were allowed.
        gain: of a network, in recall over `persistence-z` at equal false alarms.
    """
    found = []
    if not np.isfinite(rate) or months * budget < COUNTABLE:
        found.append(
            f"{months:.1f} sensor-months were held out: {COUNTABLE / budget:.0f} are needed to count {budget:g} false "
            "alarms per sensor-month"
        )
    elif rate > budget:
        found.append(f"{rate:.3g} alarms per sensor-month on held-out time, more than the budget of {budget:g}")
    if name in NETWORKS and (gain is None or gain < VOTE_GAIN):
        by = "cannot be compared with" if gain is None else f"finds {gain:+.3f} in recall against"
        found.append(f"it {by} persistence-z at equal false alarms; +{VOTE_GAIN:g} is needed")
    return found


def _count_validation(alarms: Mapping[str, NDArray[np.bool_]], samples: Mapping[str, Series]) -> int:
    """Alarm runs in the validation part; several rules that speak at once are one run."""
    runs = 0
    for name, series in samples.items():
        part = slice(int(len(series.values) * TRAIN_UNTIL), int(len(series.values) * VALIDATE_UNTIL))
        runs += count_runs(series.times_s[part][alarms[name][part]])
    return runs


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _hash_samples(samples: Mapping[str, Series]) -> str:
    digest = hashlib.sha256()
    for name in sorted(samples):
        digest.update(name.encode())
        digest.update(samples[name].times_s.tobytes())
        digest.update(samples[name].values.tobytes())
    return digest.hexdigest()

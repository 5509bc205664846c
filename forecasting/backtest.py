"""Rolling-origin comparison of models on one record: expanding training, an embargo, tests that never overlap."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecasting.baselines import Baseline, fit_baseline, fit_lld
from forecasting.choice import Auto, fit_auto
from forecasting.errors import UnknownModelError
from forecasting.fan import bounds, conform, point_fan, widen
from forecasting.judging import judge
from forecasting.metrics import coverage, mae, rmse, skill, winkler
from forecasting.registry import BASELINES, NETWORKS
from forecasting.series import Floats, Panel
from forecasting.splits import Split, rolling_folds


@dataclass(frozen=True, slots=True)
class Score:
    """One model on one fold at one horizon.

    Attributes:
        model: Id.
        variant: `plain` (baselines); for networks `ungated` (own median), `blend` (weight chosen on calibration),
            `gated` (what the service would have shown: the blend, or the best baseline where the gate is closed).
        fold: From 0, in order of time.
        horizon_s: Horizon in seconds.
        n: Pairs scored: the same for every model of a fold and horizon.
        mae_mm: Mean absolute error.
        rmse_mm: Root mean square error.
        skill_persistence: 1 - MAE / MAE of persistence.
        skill_lld: The same against lld.
        skill_best: The same against the baseline chosen on calibration.
        coverage_80: Share inside the 80 % interval (NaN for `ungated`).
        worst_80: The same of the worst station.
        coverage_95: Share inside the 95 % interval.
        winkler_80: Interval score, mm.
        weight: Blend weight (networks).
        shown: Verdict of the gate (networks).
        reason: Its sentence.
        seconds: Training time of the fold.
    """

    model: str
    variant: str
    fold: int
    horizon_s: float
    n: int
    mae_mm: float
    rmse_mm: float
    skill_persistence: float
    skill_lld: float
    skill_best: float
    coverage_80: float
    worst_80: float
    coverage_95: float
    winkler_80: float
    weight: float | None
    shown: bool
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What the gate said about a network, and what training it cost."""

    weight: float | None
    shown: bool
    reason: str
    seconds: float


_SIMPLE = _Verdict(None, shown=True, reason="simple forecast", seconds=0.0)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One model's answer on the test origins of a fold at one horizon."""

    model: str
    variant: str
    point: Floats  # (N, S)
    fan: Floats | None  # (N, S, 5)
    verdict: _Verdict = _SIMPLE


def backtest(
    panel: Panel,
    models: Sequence[str],
    horizons_s: Sequence[float],
    *,
    folds: int = 3,
    seed: int = 7,
    test_share: float = 0.196,
    training: Mapping[str, Any] | None = None,
) -> list[Score]:
    """Score models by rolling origin; `persistence` and `lld` are always among them.

    Args:
        panel: The record.
        models: Model ids.
        horizons_s: Horizons in seconds.
        folds: Number of tests.
        seed: Seed of every network.
        test_share: Length of one test as a share of the record.
        training: Other settings of `forecasting.neural.training.Settings`, for instance `epochs`.

    Raises:
        ForecastingError: Unknown model or too short a record.
    """
    for name in models:
        if name not in BASELINES and name not in NETWORKS:
            raise UnknownModelError(f"no model is called {name}; there are {', '.join([*BASELINES, *NETWORKS])}")
    wanted = list(dict.fromkeys(["persistence", "lld", *models]))
    scores: list[Score] = []
    for fold, parts in enumerate(rolling_folds(panel.values.shape[0], folds, test_share)):
        how = {**(training or {}), "seed": seed}
        scores += _score_fold(panel, parts, fold, wanted, tuple(horizons_s), training=how)
    return scores


def _score_fold(
    panel: Panel,
    parts: Split,
    fold: int,
    models: Sequence[str],
    horizons_s: tuple[float, ...],
    *,
    training: Mapping[str, Any],
) -> list[Score]:
    # no model sees a row after the test, and none is fitted on a row inside it
    known = panel.head(parts.test.end)
    steps = tuple(known.steps(h) for h in horizons_s)
    auto = fit_auto(known, parts.calibration, steps)
    answers: list[list[_Candidate]] = [[] for _ in horizons_s]
    simple = _baseline_fans(known, parts, auto, horizons_s)
    for name in models:
        if name in BASELINES:
            fitted = auto if name == "auto" else fit_baseline(name, known, parts.calibration, steps)
            fans = simple if name == "auto" else _baseline_fans(known, parts, fitted, horizons_s)
            for i in range(len(steps)):
                answers[i].append(_Candidate(name, "plain", fans[i][..., 2], fans[i]))
        else:
            for i, made in enumerate(
                _network_answers(name, known, parts, auto, horizons_s, simple=simple, training=training)
            ):
                answers[i] += made
    out = []
    for i, horizon_s in enumerate(horizons_s):
        observed = parts.test.targets(known.values, parts.test.origins, steps[i])
        out += _score(answers[i], simple[i][..., 2], observed, fold, horizon_s)
    return out


def _baseline_fans(panel: Panel, parts: Split, fitted: Baseline, horizons_s: tuple[float, ...]) -> list[Floats]:
    """Fans of a baseline on the test origins, adapted from calibration on."""
    origins = np.arange(parts.calibration.first, parts.test.end, dtype=np.int64)
    points = fitted.predict(panel.values, origins)
    first = parts.test.first - parts.calibration.first
    out = []
    for i, horizon_s in enumerate(horizons_s):
        fan = point_fan(points[:, :, i])
        conformed = conform(fan, panel.values, origins, panel.steps(horizon_s), horizon_s)
        out.append(widen(fan, conformed.margins)[first:])
    return out


def _network_answers(
    name: str,
    panel: Panel,
    parts: Split,
    auto: Auto,
    horizons_s: tuple[float, ...],
    *,
    simple: Sequence[Floats],
    training: Mapping[str, Any],
) -> list[list[_Candidate]]:
    """Ungated, blended and gated answers of one network per horizon."""
    from forecasting.neural.training import Settings, train_network

    begun = time.monotonic()
    trained = train_network(name, panel, parts, horizons_s, Settings(**training))
    seconds = time.monotonic() - begun
    lld = fit_lld(panel, parts.calibration, trained.forecaster.recipe.steps)
    origins, judged = judge(trained.forecaster, lld, auto, panel, parts, horizons_s=horizons_s, last=parts.test.end)
    test = origins >= parts.test.first
    out = []
    for i, one in enumerate(judged):
        gate = one.gate
        verdict = _Verdict(gate.weight, gate.shown, gate.reason, seconds)
        fan = one.fan[test]
        shown = fan if gate.shown else simple[i]
        out.append(
            [
                _Candidate(name, "ungated", one.network[test], None, verdict),
                _Candidate(name, "blend", fan[..., 2], fan, verdict),
                _Candidate(name, "gated", shown[..., 2], shown, verdict),
            ]
        )
    return out


def _score(answers: Sequence[_Candidate], best: Floats, observed: Floats, fold: int, horizon_s: float) -> list[Score]:
    """Scores on the pairs that every model answers; a model that answers under half of them stands aside."""
    known = np.isfinite(observed)
    full = [np.isfinite(a.point) & known for a in answers]
    common = known.copy()
    for pairs in full:
        if pairs.sum() * 2 >= known.sum():
            common &= pairs
    plain = {a.model: a for a in answers if a.variant == "plain"}
    references = {key: mae((observed - plain[key].point)[common]) for key in ("persistence", "lld")}
    references["best"] = mae((observed - best)[common])
    out = []
    for answer, pairs in zip(answers, full, strict=True):
        use = common & pairs
        error = np.where(use, observed - answer.point, np.nan)
        own = mae(error)
        cover = worst = cover_95 = width = float("nan")
        if answer.fan is not None:
            seen = np.where(use, observed, np.nan)
            low, high = bounds(answer.fan, 0.8)
            cover, worst = coverage(low, high, seen)
            cover_95, _ = coverage(*bounds(answer.fan, 0.95), seen)
            width = winkler(low, high, seen, 0.8)
        out.append(
            Score(
                answer.model,
                answer.variant,
                fold,
                horizon_s,
                int(use.sum()),
                own,
                rmse(error),
                skill(own, references["persistence"]),
                skill(own, references["lld"]),
                skill(own, references["best"]),
                cover,
                worst,
                cover_95,
                width,
                answer.verdict.weight,
                answer.verdict.shown,
                answer.verdict.reason,
                answer.verdict.seconds,
            )
        )
    return out

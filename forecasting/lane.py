"""The two functions that a job process calls: train one network, make one set of forecasts; plain data in and out."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from forecasting import conformal, judging
from forecasting.baselines import Auto, fit_auto, fit_baseline
from forecasting.conformal import ConformalState, margin
from forecasting.errors import CheckpointError, HorizonError, NotEnoughDataError, UnknownModelError
from forecasting.fan import LEVELS, NAMES, blend_fan, conform, point_fan, widen
from forecasting.gate import horizon_key
from forecasting.registry import BASELINES, NETWORKS
from forecasting.series import Floats, Ints, Panel, panel_from_payload
from forecasting.splits import Block, Split, split

WINDOW = 60
HISTORY = 400
MINIMUM_TARGETS = 10
STALE_STEPS = 3
OBSERVED_SHARE = 0.7
CALIBRATION_ROWS = 60

Progress = Callable[[int, int, float], None]


def train(payload: Mapping[str, Any], progress: Progress | None = None) -> dict[str, Any]:
    """Train one network, judge it on its calibration block, write its checkpoint.

    Args:
        payload: `panel` (start_s, step_s, stations, values, xy_m), `model`, `horizons_s`, `folder`, and optionally
            `seed` (7), `epochs` (30), `time_limit_s` (300), `stride` (1), `created_at` (text kept in the card).
        progress: Called after each epoch with (epoch, epochs, validation loss).

    Returns:
        `model_hash`, `model`, `path` and `card`; the card's `gates` hold one verdict per horizon in seconds, its
        `dropped_horizons` the reason for each that the record is too short for.

    Raises:
        ForecastingError: Unknown model, unusable panel, too little data.
    """
    from forecasting.neural.checkpoint import model_hash, to_bytes, write
    from forecasting.neural.training import Settings, train_network

    panel = panel_from_payload(payload["panel"])
    model = str(payload["model"])
    if model not in NETWORKS:
        raise UnknownModelError(f"no network is called {model}; there are {', '.join(NETWORKS)}")
    parts = split(panel.values.shape[0])
    horizons_s, dropped = _trainable(panel, parts, _horizons(payload["horizons_s"]))
    settings = Settings(
        seed=int(payload.get("seed", 7)),
        epochs=int(payload.get("epochs", 30)),
        time_limit_s=float(payload.get("time_limit_s", 300.0)),
        stride=int(payload.get("stride", 1)),
        window=WINDOW,
    )
    training = train_network(model, panel, parts, horizons_s, settings, progress=progress)
    recipe = training.forecaster.recipe
    auto = fit_auto(panel, parts.calibration, recipe.steps)
    _, judged = judging.judge(training.forecaster, recipe.lld, auto, panel, parts, horizons_s=horizons_s)
    digest = data_hash(panel)
    content = to_bytes(training.forecaster, digest)
    card = {
        "model_hash": model_hash(content),
        "model": model,
        "kind": "forecaster",
        "code_version": _code_version(),
        "torch_version": version("torch"),
        "created_at": payload.get("created_at"),
        "config": recipe.to_json(),
        "parameters": sum(p.numel() for p in training.forecaster.network.parameters()),
        "data": {"hash": digest, "rows": panel.values.shape[0], "start_s": panel.start_s, "end_s": panel.end_s},
        "bounds": _bounds(panel, parts),
        "dropped_horizons": {horizon_key(h): reason for h, reason in dropped.items()},
        "training": {
            "epochs": training.epochs,
            "losses": list(training.losses),
            "seconds": round(training.seconds, 3),
            "stopped": training.stopped,
        },
        "baselines": {
            "calibration_mae_mm": {
                name: {horizon_key(h): _plain(e) for h, e in zip(horizons_s, errors, strict=True)}
                for name, errors in auto.errors_mm.items()
            },
            "auto": {horizon_key(h): name for h, name in zip(horizons_s, auto.chosen, strict=True)},
        },
        "gates": {horizon_key(h): one.gate.to_json() for h, one in zip(horizons_s, judged, strict=True)},
    }
    path = write(payload["folder"], content, card)
    return {"model_hash": card["model_hash"], "model": model, "path": str(path), "card": card}


def forecast(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Forecast every station and horizon from the last row of the panel.

    Args:
        payload: `panel` as in `train` (its last row is the moment of issue), `model`, `horizons_s`, and optionally
            `checkpoint` (path; networks only), `conformal` (`station|horizon|level` to state; where it is absent or
            younger than 20 scores the adaptation is run through the past of the panel) and `ungated` (true forces the
            network's own median).

    Returns:
        `rows` (one per station and horizon), `withheld` (station, horizon_s, reason), `conformal` (states used, by the
        same keys), `latency_ms`.

    Raises:
        ForecastingError: Unknown model, damaged checkpoint, unusable panel.
    """
    begun = time.perf_counter()
    panel = panel_from_payload(payload["panel"])
    model = str(payload["model"])
    horizons_s = _horizons(payload["horizons_s"])
    possible = tuple(h for h in horizons_s if round(h / panel.step_s) >= 1)
    withheld = [
        _withheld(name, h, "the horizon is shorter than the sampling interval")
        for h in horizons_s
        if h not in possible
        for name in panel.stations
    ]
    rows: list[dict[str, Any]] = []
    states: dict[str, Any] = {}
    if possible:
        issue = _issue(panel, model, possible, payload)
        given = payload.get("conformal") or {}
        for i, horizon_s in enumerate(issue.horizons_s):
            made = _forecast_horizon(issue, i, horizon_s, given, states)
            rows += made[0]
            withheld += made[1]
        withheld += [_withheld(name, h, reason) for h, reason in issue.refused.items() for name in panel.stations]
    return {
        "rows": rows,
        "withheld": withheld,
        "conformal": states,
        "latency_ms": (time.perf_counter() - begun) * 1000.0,
    }


def feedback(row: Mapping[str, Any], observed_mm: float, states: Mapping[str, Any]) -> dict[str, Any]:
    """The conformal states of one station and horizon after the target of `row` has been observed.

    Args:
        row: A row that `forecast` returned (its quantiles and `margins` as they were issued).
        observed_mm: The value at the target, on the same zero as the row.
        states: `station|horizon|level` to state.

    Returns:
        The two keys that change, with their new states.
    """
    out = {}
    for level, (low, high) in LEVELS.items():
        key = conformal_key(str(row["station"]), float(row["horizon_s"]), level)
        old = states.get(key)
        state = ConformalState.from_json(old) if old else ConformalState.fresh(level, float(row["horizon_s"]))
        widened = float(row["margins"][str(level)])
        bottom, top = float(row[NAMES[low]]), float(row[NAMES[high]])
        value = conformal.score(bottom + widened, top - widened, observed_mm)
        out[key] = conformal.update(state, value, covered=bottom <= observed_mm <= top).to_json()
    return out


def conformal_key(station: str, horizon_s: float, level: float) -> str:
    """The key of a conformal state.

    >>> conformal_key("G1", 86400.0, 0.8)
    'G1|86400|0.8'
    """
    return f"{station}|{horizon_key(horizon_s)}|{level}"


def data_hash(panel: Panel) -> str:
    """sha256 over grid, stations and values: which data a network has learnt."""
    digest = hashlib.sha256(repr((panel.start_s, panel.step_s, panel.stations, panel.values.shape)).encode())
    digest.update(np.ascontiguousarray(panel.values).tobytes())
    if panel.xy_m is not None:
        digest.update(np.ascontiguousarray(panel.xy_m).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class _Issue:
    """Everything about one moment of issue that the horizons share."""

    panel: Panel
    model: str
    model_hash: str | None
    horizons_s: tuple[float, ...]
    refused: dict[float, str]
    origins: Ints
    fans: list[Floats]  # per horizon, (N, S, 5), before conformal correction
    auto: Auto
    best: Floats  # (N, S, H)
    gates: Mapping[str, Any] | None
    silent: dict[str, str]


def _issue(panel: Panel, model: str, horizons_s: tuple[float, ...], payload: Mapping[str, Any]) -> _Issue:
    """Fit or load the model and forecast the past and present origins."""
    rows = panel.values.shape[0]
    given = payload.get("conformal") or {}
    settled = all(
        _is_ready(given.get(conformal_key(name, h, level)))
        for name in panel.stations
        for h in horizons_s
        for level in LEVELS
    )
    # with every state at hand the past need not be forecast again
    reach = HISTORY + round(max(horizons_s) / panel.step_s)
    origins = np.arange(rows - 1 if settled else max(0, rows - reach), rows, dtype=np.int64)
    calibration = Block(max(0, min(int(rows * 0.8), rows - CALIBRATION_ROWS)), rows)
    silent = _silent(panel)
    if model in BASELINES:
        steps = tuple(panel.steps(h) for h in horizons_s)
        auto = fit_auto(panel, calibration, steps)
        best = auto.predict(panel.values, origins)
        made = (
            best if model == "auto" else fit_baseline(model, panel, calibration, steps).predict(panel.values, origins)
        )
        fans = [point_fan(made[:, :, i]) for i in range(len(steps))]
        return _Issue(panel, model, None, horizons_s, {}, origins, fans, auto, best, None, silent)
    if model not in NETWORKS:
        raise UnknownModelError(f"no model is called {model}; there are {', '.join([*BASELINES, *NETWORKS])}")
    if not payload.get("checkpoint"):
        raise CheckpointError(f"{model} needs a checkpoint")
    from forecasting.neural.checkpoint import read

    forecaster, card = read(payload["checkpoint"])
    recipe = forecaster.recipe
    if recipe.model != model:
        raise CheckpointError(f"the checkpoint holds {recipe.model}, not {model}")
    known = tuple(h for h in horizons_s if h in recipe.horizons_s)
    refused = {h: f"{model} was not trained for {judging.words(h)}" for h in horizons_s if h not in known}
    seen, floors = forecaster.on_panel(panel)
    made = forecaster.quantiles(seen.values, origins, floors)
    base = recipe.lld.predict(seen.values, origins)
    if seen.stations != panel.stations:
        column = {name: i for i, name in enumerate(seen.stations)}
        silent |= {name: f"{model} was trained without this station" for name in panel.stations if name not in column}
        # a station without a column keeps NaN and is withheld
        order = [column.get(name, -1) for name in panel.stations]
        gap = np.array([i < 0 for i in order])
        made, base = made[:, order], base[:, order]
        made[:, gap], base[:, gap] = np.nan, np.nan
    fans = []
    for horizon_s in known:
        i = recipe.horizons_s.index(horizon_s)
        weight = 1.0 if payload.get("ungated") else float(card["gates"][horizon_key(horizon_s)]["weight"])
        fans.append(blend_fan(base[:, :, i], made[:, :, i], weight))
    auto = fit_auto(panel, calibration, tuple(panel.steps(h) for h in known)) if known else Auto("auto", (), (), (), {})
    best = auto.predict(panel.values, origins) if known else np.empty((0, 0, 0))
    digest = str(card["model_hash"])
    return _Issue(panel, model, digest, known, refused, origins, fans, auto, best, card["gates"], silent)


def _forecast_horizon(
    issue: _Issue, index: int, horizon_s: float, given: Mapping[str, Any], states: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows and withheld entries of one horizon; adds the conformal states used to `states`."""
    panel, fan = issue.panel, issue.fans[index]
    kept = {level: [given.get(conformal_key(name, horizon_s, level)) for name in panel.stations] for level in LEVELS}
    past: dict[float, list[ConformalState]] = {}
    if not all(_is_ready(state) for level in LEVELS for state in kept[level]):
        past = conform(fan, panel.values, issue.origins, panel.steps(horizon_s), horizon_s).states
    used = {
        level: [
            ConformalState.from_json(k) if k and _is_ready(k) else past[level][s] for s, k in enumerate(kept[level])
        ]
        for level in LEVELS
    }
    rows: list[dict[str, Any]] = []
    withheld: list[dict[str, Any]] = []
    for s, name in enumerate(panel.stations):
        reason, until_s = issue.silent.get(name), _newest_s(panel, s)
        margins: dict[float, float] = {}
        borrowed = False
        for level in LEVELS:
            states[conformal_key(name, horizon_s, level)] = used[level][s].to_json()
            margins[level] = margin(used[level][s])
            if not np.isfinite(margins[level]):
                margins[level], borrowed = _pooled(used[level]), True
        last = widen(fan[-1:, s : s + 1], {level: np.array([[value]]) for level, value in margins.items()})[0, 0]
        if reason is None and not np.isfinite(fan[-1, s, 2]):
            reason = "the record is too short for this model"
        if reason is None and not np.isfinite(last).all():
            reason = f"fewer than {conformal.MINIMUM_SCORES} past errors at {judging.words(horizon_s)}: no interval"
        if reason is not None:
            withheld.append(_withheld(name, horizon_s, reason, until_s))
            continue
        rows.append(
            _row(issue, index, horizon_s, s, quantiles=last, margins=margins, until_s=until_s, borrowed=borrowed)
        )
    return rows, withheld


def _row(
    issue: _Issue,
    index: int,
    horizon_s: float,
    column: int,
    *,
    quantiles: Floats,
    margins: Mapping[float, float],
    until_s: float | None,
    borrowed: bool,
) -> dict[str, Any]:
    """One forecast as plain values."""
    panel = issue.panel
    shown, reason = True, f"simple forecast {issue.model}"
    verdict: Mapping[str, Any] = {}
    if issue.model == "auto":
        reason = f"simple forecast {issue.auto.chosen[index]}, the best on calibration"
    if issue.gates is not None:
        verdict = issue.gates[horizon_key(horizon_s)]
        shown, reason = bool(verdict["shown"]), str(verdict["reason"])
    if borrowed:
        reason += "; interval from the errors of all stations"
    return {
        "station": panel.stations[column],
        "model": issue.model,
        "model_hash": issue.model_hash,
        "horizon_s": horizon_s,
        "issued_s": panel.end_s,
        "target_s": panel.end_s + panel.steps(horizon_s) * panel.step_s,
        "data_until_s": until_s,
        **{name: float(value) for name, value in zip(NAMES, quantiles, strict=True)},
        "margins": {str(level): float(value) for level, value in margins.items()},
        "unit": "mm",
        "baseline": issue.auto.chosen[index],
        "baseline_q50": float(issue.best[-1, column, index]),
        "skill": verdict.get("skill"),
        "shown": shown,
        "reason": reason,
    }


def _silent(panel: Panel) -> dict[str, str]:
    """Stations that must not be forecast now, with the reason."""
    out = {}
    recent = np.isfinite(panel.values[-WINDOW:])
    for s, name in enumerate(panel.stations):
        newest = _newest_s(panel, s)
        if newest is None:
            out[name] = "stale: no observation at all"
        elif panel.end_s - newest > STALE_STEPS * panel.step_s * (1 + 1e-9):
            out[name] = f"stale: newest observation is older than {STALE_STEPS} intervals"
        elif recent[:, s].sum() < OBSERVED_SHARE * WINDOW:
            share = recent[:, s].sum() / WINDOW
            out[name] = f"stale: {share:.0%} of the last {WINDOW} intervals observed, {OBSERVED_SHARE:.0%} are needed"
    return out


def _newest_s(panel: Panel, column: int) -> float | None:
    seen = np.flatnonzero(np.isfinite(panel.values[:, column]))
    return float(panel.start_s + panel.step_s * seen[-1]) if seen.size else None


def _is_ready(state: Mapping[str, Any] | None) -> bool:
    """Whether a kept state knows enough to be used; until then the past of the panel knows more."""
    return state is not None and len(state["scores"]) >= conformal.MINIMUM_SCORES


def _pooled(states: Sequence[ConformalState]) -> float:
    """The margin that the errors of all stations together ask for; NaN where even they are too few."""
    scores = tuple(value for state in states for value in state.scores)
    if len(scores) < conformal.MINIMUM_SCORES:
        return float("nan")
    nominal = states[0].nominal
    return margin(ConformalState(nominal, states[0].gamma, 1.0 - nominal, scores, len(scores)))


def _withheld(station: str, horizon_s: float, reason: str, until_s: float | None = None) -> dict[str, Any]:
    return {"station": station, "horizon_s": horizon_s, "reason": reason, "data_until_s": until_s}


def _trainable(panel: Panel, parts: Split, horizons_s: tuple[float, ...]) -> tuple[tuple[float, ...], dict[float, str]]:
    """Horizons that this record can teach, and why the others cannot be learnt.

    Raises:
        NotEnoughDataError: None is left.
    """
    dropped = {}
    for horizon_s in horizons_s:
        if round(horizon_s / panel.step_s) < 1:
            dropped[horizon_s] = "the horizon is shorter than the sampling interval"
            continue
        steps = panel.steps(horizon_s)
        for block in (parts.fit, parts.early_stop, parts.calibration):
            pairs = np.isfinite(block.targets(panel.values, block.origins, steps)).any(axis=1).sum()
            if pairs < MINIMUM_TARGETS:
                span = judging.words((block.end - block.first) * panel.step_s)
                dropped[horizon_s] = f"a block of {span} holds {pairs} targets {judging.words(horizon_s)} ahead"
    kept = tuple(h for h in horizons_s if h not in dropped)
    if not kept:
        raise NotEnoughDataError(f"no horizon can be learnt: {next(iter(dropped.values()))}")
    return kept, dropped


def _horizons(given: Sequence[float]) -> tuple[float, ...]:
    """Horizons in seconds, distinct, in rising order."""
    out = tuple(sorted({float(h) for h in given}))
    if not out or not all(np.isfinite(h) and h > 0 for h in out):
        raise HorizonError("horizons_s needs at least one positive number of seconds")
    return out


def _bounds(panel: Panel, parts: Split) -> dict[str, list[float]]:
    """First and last instant of each block."""
    return {
        name: [panel.start_s + panel.step_s * block.first, panel.start_s + panel.step_s * (block.end - 1)]
        for name, block in (("fit", parts.fit), ("early_stop", parts.early_stop), ("calibration", parts.calibration))
    }


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _code_version() -> str:
    try:
        return version("slopeward")
    except PackageNotFoundError:
        return "unknown"

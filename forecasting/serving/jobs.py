"""The two functions that a job process calls: train one network, make one set of forecasts; records in and out."""

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Final

import numpy as np

from forecasting.data.kinds import format_span
from forecasting.data.series import Ints, Panel, horizon_key
from forecasting.data.splits import MINIMUM_TARGETS, Split, split, taught_blocks
from forecasting.data.windows import last_value
from forecasting.errors import ForecastingError, HorizonError, NotEnoughDataError, UnknownModelError
from forecasting.reasons import Reason, reason_to_json
from forecasting.registry import (
    PRETRAINED,
    SHORTEST_RECORD,
    count_needed,
    describe_unknown_model,
    is_network,
    is_short,
)
from forecasting.serving.conformal import ConformalState
from forecasting.serving.issue import STALE_STEPS, WINDOW, forecast_horizon, make_row, open_issue
from forecasting.serving.kinematic import Motion, see_motion, step_in
from forecasting.serving.path import hold_rows, lay_paths
from forecasting.serving.quantiles import conform, widen
from forecasting.serving.records import Forecast, Forecasts, Limits, Trained, TrainingRequest, Withheld

_FINER: Final = Reason("forecast.finer")

Progress = Callable[[int, int, float], None]


def train(
    panel: Panel, request: TrainingRequest, progress: Progress | None = None, replay: Sequence[Panel] = ()
) -> Trained:
    """Train one network and write its checkpoint.

    Args:
        progress: Called after each epoch with (epoch, epochs, validation loss).
        replay: Records of other places that it goes on learning from, where it does not begin anew; one that is too
            short is left out.

    Returns:
        Its hash, place and card; the card's `dropped_horizons` hold the reason for each horizon, by its seconds, that
        the record is too short for.
    """
    from forecasting.explanation.record import explain
    from forecasting.neural.checkpoint import model_hash, to_bytes, write
    from forecasting.neural.learner import Settings
    from forecasting.neural.pretrained import learn

    model = request.model
    if not is_network(model):
        raise UnknownModelError(describe_unknown_model(model, "network"))
    parts = split(panel.values.shape[0])
    horizons_s, dropped = _trainable(model, panel, parts, _horizons(request.horizons_s))
    settings = Settings(
        seed=request.seed,
        epochs=request.epochs,
        time_limit_s=request.time_limit_s,
        stride=request.stride,
        window=WINDOW,
    )
    others = [found for other in replay if (found := _replayable(model, other, panel, parts, horizons_s))]
    training, begun_from = learn(
        model,
        panel,
        parts,
        horizons_s,
        settings,
        start=request.start,
        own_start=request.own_start,
        replay=others,
        progress=progress,
    )
    recipe = training.forecaster.recipe
    unknown = {*horizons_s} - {*recipe.horizons_s}
    dropped |= dict.fromkeys(sorted(unknown), "the network to begin with was not trained for it")
    digest = data_hash(panel)
    content = to_bytes(training.forecaster, digest)
    card = {
        "model_hash": model_hash(content),
        "model": model,
        "kind": "forecaster",
        "code_version": version("slopeward"),
        "torch_version": version("torch"),
        "created_at": request.created_at,
        "config": recipe.to_json(),
        "parameters": sum(p.numel() for p in training.forecaster.network.parameters()),
        "data": {"hash": digest, "rows": panel.values.shape[0], "start_s": panel.start_s, "end_s": panel.end_s},
        "bounds": {
            name: [panel.start_s + panel.step_s * block.first, panel.start_s + panel.step_s * (block.end - 1)]
            for name, block in (
                ("fit", parts.fit),
                ("early_stop", parts.early_stop),
                ("calibration", parts.calibration),
            )
        },
        "dropped_horizons": {horizon_key(h): reason for h, reason in dropped.items()},
        "training": {
            "epochs": training.epochs,
            "losses": list(training.losses),
            "seconds": round(training.seconds, 3),
            "stopped": training.stopped,
            "begun_from": reason_to_json(begun_from) if isinstance(begun_from, Reason) else begun_from,
            "replayed": 0 if isinstance(begun_from, Reason) or not begun_from else len(others),
        },
        "explanation": explain(training.forecaster, panel, parts),
    }
    path = write(request.folder, content, card)
    return Trained(str(card["model_hash"]), model, str(path), card)


def forecast(
    panel: Panel,
    model: str,
    horizons_s: Sequence[float],
    *,
    checkpoint: str | None = None,
    conformal: Mapping[str, ConformalState] | None = None,
    motion: Motion | None = None,
    limits: Mapping[str, Limits] | None = None,
) -> Forecasts:
    """Forecast every station and horizon from the last row of the panel.

    The rows of a network are its own: its quantiles with its own interval, moved by nothing but declared limits. They
    are never shown. Where the present of a station lies outside what calibration saw, the rows of the model are closed,
    and kinematic ones stand beside them (`step_in`).

    Args:
        conformal: `station|horizon|level` to state; where it is absent or younger than 20 scores the adaptation is run
            through the past of the panel.
        limits: By station, what its values cannot pass; the rows of every model keep to it.
    """
    begun = time.perf_counter()
    wanted = _horizons(horizons_s)
    possible = _possible(panel, wanted)
    withheld = [Withheld(model, name, h, _FINER) for h in wanted if h not in possible for name in panel.stations]
    rows: list[Forecast] = []
    states: dict[str, ConformalState] = {}
    shared_s = 0.0
    if possible:
        given = conformal or {}
        issue = open_issue(panel, model, possible, checkpoint=checkpoint, conformal=given, motion=motion)
        shared_s = issue.waited_s - (issue.auto.seconds if model == "auto" else 0.0)
        for i, horizon_s in enumerate(issue.horizons_s):
            made = forecast_horizon(issue, i, horizon_s, given, states)
            rows += made[0]
            withheld += made[1]
        rows = rows if is_network(model) else lay_paths(panel, rows)
        longest = max(panel.steps(h) for h in possible)
        rows, without = step_in(panel, issue.drivers, rows, longest, motion, issue.auto)
        rows = hold_rows(panel, rows, limits or {})
        withheld += [
            Withheld(model, name, h, why, lack=lack)
            for h, (why, lack) in issue.refused.items()
            for name in panel.stations
        ]
        withheld += without
    latency_ms = (time.perf_counter() - begun - shared_s) * 1000.0
    return Forecasts(tuple(replace(row, latency_ms=latency_ms) for row in rows), tuple(withheld), states)


def measure_motion(panel: Panel, horizons_s: Sequence[float]) -> Motion | None:
    """How the stations move in the last row, for all models of one issue; None where no horizon reaches a row."""
    possible = _possible(panel, horizons_s)
    return see_motion(panel, max(panel.steps(h) for h in possible)) if possible else None


def data_hash(panel: Panel) -> str:
    """sha256 over grid, stations and values: which data a network has learnt."""
    digest = hashlib.sha256(repr((panel.start_s, panel.step_s, panel.stations, panel.values.shape)).encode())
    digest.update(np.ascontiguousarray(panel.values).tobytes())
    if panel.xy_m is not None:
        digest.update(np.ascontiguousarray(panel.xy_m).tobytes())
    if panel.drivers is not None:
        digest.update(repr((panel.drivers.names, panel.drivers.kinds)).encode())
        digest.update(panel.drivers.content)
    return digest.hexdigest()


def _trainable(
    model: str, panel: Panel, parts: Split, horizons_s: tuple[float, ...]
) -> tuple[tuple[float, ...], dict[float, str]]:
    """Horizons that this record can teach, and why the others cannot be learnt."""
    observed = int(np.isfinite(panel.values).sum(axis=0).max())
    if observed < (least := count_needed(model)):
        way = f", or {', '.join(PRETRAINED)} from {SHORTEST_RECORD} on" if observed >= SHORTEST_RECORD else ""
        raise NotEnoughDataError(f"{observed} observations at most, {least} are needed: simple forecasts only{way}")
    dropped = drop_horizons(panel, parts, horizons_s, short=is_short(model))
    kept = tuple(h for h in horizons_s if h not in dropped)
    if not kept:
        raise NotEnoughDataError(f"no horizon can be learnt: {next(iter(dropped.values()))}")
    return kept, dropped


def _replayable(
    model: str, other: Panel, panel: Panel, own: Split, horizons_s: tuple[float, ...]
) -> tuple[Panel, Split] | None:
    """A record of another place with its blocks, None where it cannot teach these horizons.

    It ends where the fit block here ends: both places have the same weather, so later rows would make the test here
    easier. Shipped weights look rows ahead, whatever the interval.
    """
    taught_s = tuple(other.step_s * panel.steps(h) for h in horizons_s) if model in PRETRAINED else horizons_s
    until_s = panel.start_s + panel.step_s * own.fit.end
    try:
        other = other.head(min(other.values.shape[0], max(0, math.ceil((until_s - other.start_s) / other.step_s))))
        parts = split(other.values.shape[0])
        _, dropped = _trainable(model, other, parts, taught_s)
    except ForecastingError:
        return None
    return None if dropped else (other, parts)


def drop_horizons(
    panel: Panel, parts: Split, horizons_s: Sequence[float], least: int = MINIMUM_TARGETS, *, short: bool = False
) -> dict[float, str]:
    """Horizons that leave fewer than `least` targets in a block of a training, each with the reason."""
    dropped = {}
    for horizon_s in horizons_s:
        if round(horizon_s / panel.step_s) < 1:
            dropped[horizon_s] = "the horizon is shorter than the sampling interval"
            continue
        steps = panel.steps(horizon_s)
        for block in taught_blocks(parts, short=short):
            pairs = np.isfinite(block.targets(panel.values, block.origins, steps)).any(axis=1).sum()
            if pairs < least:
                span = format_span((block.end - block.first) * panel.step_s)
                dropped[horizon_s] = f"a block of {span} holds {pairs} targets {format_span(horizon_s)} ahead"
    return dropped


def _horizons(given: Sequence[float]) -> tuple[float, ...]:
    out = tuple(sorted({float(h) for h in given}))
    if not out or not all(np.isfinite(h) and h > 0 for h in out):
        raise HorizonError("horizons_s needs at least one positive number of seconds")
    return out


def _possible(panel: Panel, horizons_s: Sequence[float]) -> tuple[float, ...]:
    return tuple(h for h in horizons_s if round(h / panel.step_s) >= 1)


_MADE_AFTER: Final = Reason("forecast.made_after")


def forecast_past(
    panel: Panel, model: str, horizons_s: Sequence[float], cut: int, origins: Ints, checkpoint: str | None = None
) -> list[Forecast]:
    """Forecasts of one model from past rows; none is shown.

    Args:
        horizons_s: Those that reach a row.
        cut: Row from which on nothing was known when the model was fitted, or its checkpoint trained.
        origins: Rows from `cut` on, shape (N,).
    """
    issue = open_issue(panel, model, tuple(horizons_s), checkpoint=checkpoint, conformal={}, cut=cut)
    value, age = last_value(panel.values, origins)
    at = origins - int(issue.origins[0])
    out = []
    for i, steps in enumerate(panel.steps(h) for h in issue.horizons_s):
        margins = conform(issue.fans[i], panel.values, issue.origins, steps, issue.pace).margins
        made, simple = widen(issue.fans[i], margins)[at], issue.best[at, :, i]
        ready = np.isfinite(made).all(axis=2) & (age <= STALE_STEPS) & np.isfinite(simple)
        for n, s in zip(*np.nonzero(ready), strict=True):
            until_s = panel.start_s + panel.step_s * float(origins[n] - age[n, s])
            mine = {level: float(one[at[n], s]) for level, one in margins.items()}
            row = make_row(issue, i, s, made[n, s], mine, at[n], until_s=until_s, newest=float(value[n, s]))
            out.append(replace(row, shown=False, reason=_MADE_AFTER))
    return out

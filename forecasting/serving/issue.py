"""One moment of issue: past and present forecasts of one model on one panel, turned into rows or reasons."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import DAY_S, Floats, Ints, Panel, horizon_key
from forecasting.data.splits import Block, count_rows
from forecasting.errors import CheckpointError, UnknownModelError
from forecasting.reasons import Reason, Value, join_reasons
from forecasting.registry import BASELINES, TRAINING_ROWS, describe_unknown_model, is_network, is_short
from forecasting.serving.conformal import (
    MINIMUM_SCORES,
    ConformalState,
    conformal_key,
    margin,
    margins_of,
    stretch_margin,
)
from forecasting.serving.experience import Pace, see_pace
from forecasting.serving.kinematic import Motion
from forecasting.serving.quantiles import LEVELS, conform, simple_fans, widen
from forecasting.serving.records import SHORT, Forecast, Lack, Withheld, name_quantiles
from forecasting.simple.auto import Auto, fit_auto
from forecasting.simple.baselines import fit_baseline

if TYPE_CHECKING:
    from forecasting.neural.forecaster import NeuralForecaster

WINDOW = 60
HISTORY = 400
STALE_STEPS = 3
OBSERVED_SHARE = 0.7
CALIBRATION_ROWS = 60
FEWEST_ROWS = MINIMUM_SCORES + 1
"""Observations that a simple forecast needs: so many rows leave the errors that an interval is made of."""
WIDER_FROM = 1.25  # stretch of the interval from which the reason says so
WIDER: Final = Reason("forecast.wider")
OWN: Final = Reason("forecast.own")
"""Reason of a network's own forecast, which is stored and never shown."""


@dataclass(frozen=True, slots=True)
class Issue:
    """Everything about one moment of issue that the horizons share."""

    panel: Panel
    model: str
    model_hash: str | None
    horizons_s: tuple[float, ...]
    refused: Mapping[float, tuple[Reason, Lack | None]]  # by horizon: why, and what is lacking
    origins: Ints
    fans: list[Floats]  # per horizon, (N, S, 5), before conformal correction
    auto: Auto
    best: Floats  # (N, S, H); of the last origin alone where only that is asked
    silent: Mapping[str, Reason]
    lacks: Mapping[str, Lack]
    pace: Pace  # at the origins
    waited_s: float  # for the choice of `auto`, which all models share
    drivers: DriverRows | None = None  # those that the model reads


def open_issue(
    panel: Panel,
    model: str,
    horizons_s: tuple[float, ...],
    *,
    checkpoint: str | None,
    conformal: Mapping[str, ConformalState],
    motion: Motion | None = None,
    cut: int | None = None,
) -> Issue:
    """Fit or load the model and forecast the past and present origins.

    From a `cut` on nothing was known when simple forecasts were fitted: all origins since then, and those that
    intervals learn from, are forecast.
    """
    rows = panel.values.shape[0]
    known = panel if cut is None else panel.head(cut)
    origins = _pick_origins(panel, horizons_s, conformal) if cut is None else np.arange(max(0, cut - HISTORY), rows)
    pace = see_pace(panel.values, origins) if motion is None else motion.pace_from(int(origins[0]))
    if model in BASELINES:
        return _open_simple(panel, known, model, horizons_s, origins, pace)
    return _open_network(panel, known, model, horizons_s, origins, pace, *load_network(model, checkpoint))


def load_network(model: str, checkpoint: str | None) -> "tuple[NeuralForecaster, dict[str, Any]]":
    """Load a network from its checkpoint, with its card."""
    if not is_network(model):
        raise UnknownModelError(describe_unknown_model(model))
    if not checkpoint:
        raise CheckpointError(f"{model} needs a checkpoint")
    from forecasting.neural.checkpoint import read

    forecaster, card = read(checkpoint)
    if forecaster.recipe.model != model:
        raise CheckpointError(f"the checkpoint holds {forecaster.recipe.model}, not {model}")
    return forecaster, card


def _pick_origins(panel: Panel, horizons_s: tuple[float, ...], conformal: Mapping[str, ConformalState]) -> Ints:
    rows = panel.values.shape[0]
    settled = all(
        _is_ready(conformal.get(conformal_key(name, h, level)))
        for name in panel.stations
        for h in horizons_s
        for level in LEVELS
    )
    reach = HISTORY + round(max(horizons_s) / panel.step_s)
    return np.arange(rows - 1 if settled else max(0, rows - reach), rows, dtype=np.int64)


def _choose_auto(known: Panel, horizons_s: tuple[float, ...]) -> tuple[Auto, float]:
    if not horizons_s:
        return Auto("auto", (), (), (), {}), 0.0
    begun = time.perf_counter()
    auto = fit_auto(known, find_calibration(known.values.shape[0]), tuple(known.steps(h) for h in horizons_s))
    return auto, time.perf_counter() - begun


def _open_simple(
    panel: Panel, known: Panel, model: str, horizons_s: tuple[float, ...], origins: Ints, pace: Pace
) -> Issue:
    auto, waited_s = _choose_auto(known, horizons_s)
    calibration = find_calibration(known.values.shape[0])
    fitted = auto if model == "auto" else auto.member(model) or fit_baseline(model, known, calibration, auto.steps)
    fans = simple_fans(fitted, panel.values, origins)
    # `auto` is asked once, and where only the present counts for its last row alone
    rows = origins[-1:] if known is panel else origins
    best = np.stack([f[..., 2] for f in fans], 2) if fitted is auto else auto.predict(panel.values, rows)
    # stations of which no simple forecast can be given now; gaps behind do not matter
    silent: dict[str, Reason] = {}
    lacks: dict[str, Lack] = {}
    for s, name in enumerate(panel.stations):
        quiet, seen = _find_quiet(panel, s), int(np.isfinite(panel.values[:, s]).sum())
        if quiet is not None:
            silent[name] = quiet
        elif seen < FEWEST_ROWS:
            few = {"n": seen, "needed": FEWEST_ROWS, "step": panel.step_s}
            silent[name] = Reason("forecast.few_rows", few)
        else:
            continue
        if seen < FEWEST_ROWS:
            lacking = Reason("forecast.lack.few", {"n": seen, "needed": FEWEST_ROWS})
        else:
            lacking = Reason("forecast.lack.reading")
        lacks[name] = Lack(lacking, panel.end_s + max(1, FEWEST_ROWS - seen) * panel.step_s)
    return Issue(panel, model, None, horizons_s, {}, origins, fans, auto, best, silent, lacks, pace, waited_s)


def _open_network(
    panel: Panel,
    known: Panel,
    model: str,
    horizons_s: tuple[float, ...],
    origins: Ints,
    pace: Pace,
    forecaster: "NeuralForecaster",
    card: Mapping[str, Any],
) -> Issue:
    """The network's own fans at the horizons that it was trained for."""
    recipe = forecaster.recipe
    reached = tuple(h for h in horizons_s if h in recipe.horizons_s)
    refused = {h: _refuse_horizon(panel, model, h, card) for h in horizons_s if h not in reached}
    silent, lacks = find_silent(panel, recipe.window)
    made = read_network(forecaster, panel, origins)
    absent = [] if recipe.supports is None else [name for name in panel.stations if name not in recipe.stations]
    silent |= dict.fromkeys(absent, Reason("forecast.not_trained_at", {"model": model}))
    auto, waited_s = _choose_auto(known, reached)
    rows = origins if known is not panel else origins[-1:]
    best = auto.predict(panel.values, rows) if reached else np.empty((0, 0, 0))
    fans = [made[:, :, recipe.horizons_s.index(h)] for h in reached]
    reads = panel.drivers and panel.drivers.only(recipe.sources.names if recipe.sources else ())
    return Issue(
        panel,
        model,
        str(card["model_hash"]),
        reached,
        refused,
        origins,
        fans,
        auto,
        best,
        silent,
        lacks,
        pace,
        waited_s,
        drivers=reads,
    )


def _refuse_horizon(panel: Panel, model: str, horizon_s: float, card: Mapping[str, Any]) -> tuple[Reason, Lack | None]:
    """Why a network with this card does not reach so far, and what it lacks where that can be known.

    A longer record is no help where gaps, or shipped weights, kept a horizon from it.
    """
    needed = count_rows(panel.steps(horizon_s), short=is_short(model))
    asked: dict[str, Value] = {"model": model, "horizon": horizon_s}
    if needed > TRAINING_ROWS:
        return Reason("forecast.too_far", {**asked, "rows": TRAINING_ROWS, "step": panel.step_s}), None
    why, rows = Reason("forecast.not_trained_for", asked), int(card["data"]["rows"])
    if horizon_key(horizon_s) in card["dropped_horizons"] and (rows >= needed or is_short(model)):
        return why, None
    if rows < needed:
        lacking = Reason("forecast.lack.record", {"n": rows, "needed": needed, "step": panel.step_s})
    else:
        lacking = Reason("forecast.lack.training")
    earliest_s = float(card["data"]["end_s"]) + max(0, needed - rows) * panel.step_s
    return why, Lack(lacking, earliest_s)


def read_network(forecaster: "NeuralForecaster", panel: Panel, origins: Ints) -> Floats:
    """A network's own quantiles at the stations of a panel, mm, shape (N, S, H, 5); NaN at one without a column."""
    seen, floors = forecaster.on_panel(panel)
    made = forecaster.quantiles(seen.values, origins, floors, seen.drivers)
    if seen.stations == panel.stations:
        return made
    column = {name: i for i, name in enumerate(seen.stations)}
    order = [column.get(name, -1) for name in panel.stations]
    made = made[:, order]
    made[:, np.array(order) < 0] = np.nan
    return made


def find_calibration(rows: int) -> Block:
    """The newest fifth of a record, 60 rows at least: what simple forecasts are chosen and judged on."""
    return Block(max(0, min(int(rows * 0.8), rows - CALIBRATION_ROWS)), rows)


def forecast_horizon(
    issue: Issue, index: int, horizon_s: float, given: Mapping[str, ConformalState], states: dict[str, ConformalState]
) -> tuple[list[Forecast], list[Withheld]]:
    """Rows and withheld entries of one horizon; adds the conformal states used to `states`."""
    panel, quantiles = issue.panel, issue.fans[index]
    steps = panel.steps(horizon_s)
    stretch = issue.pace.stretch_over(steps)[-1]
    used = _choose_states(issue, index, horizon_s, given)
    usual = {level: margins_of(used[level], steps) for level in LEVELS}
    rows: list[Forecast] = []
    withheld: list[Withheld] = []
    for s, name in enumerate(panel.stations):
        reason, until_s = issue.silent.get(name), _newest_s(panel, s)
        lack = None if reason is None else issue.lacks.get(name)
        own = {level: float(usual[level][s]) for level in LEVELS}
        missing = [level for level in LEVELS if not np.isfinite(own[level])]
        margins = own | {level: _pooled(used[level], steps) for level in missing}
        n, count = count_seen(panel, s)
        # what is known of the pace comes of n rows in place of all: its error grows as the root of their share falls
        gaps = math.sqrt(count / n) if 0 < n < math.ceil(OBSERVED_SHARE * count) else 1.0
        times = float(stretch[s] * gaps)
        for level in LEVELS:
            states[conformal_key(name, horizon_s, level)] = used[level][s]
            margins[level] = float(stretch_margin(margins[level], times))
        last = widen(quantiles[-1:, s : s + 1], {level: np.array([[value]]) for level, value in margins.items()})[0, 0]
        if reason is None and not np.isfinite(quantiles[-1, s, 2]):
            reason = SHORT
        if reason is None and not np.isfinite(last).all():
            seen = len(used[min(LEVELS)][s].scores)
            reason = few_errors(horizon_s)
            more_s = max(1, MINIMUM_SCORES - seen) * panel.step_s
            errors = {"n": seen, "horizon": horizon_s, "needed": MINIMUM_SCORES}
            lack = Lack(Reason("forecast.lack.errors", errors), panel.end_s + more_s)
        if reason is not None:
            withheld.append(Withheld(issue.model, name, horizon_s, reason, until_s, lack))
            continue
        assert until_s is not None, "a station without any observation is silent"
        notes = [WIDER] if stretch[s] >= WIDER_FROM else []
        notes += [Reason("forecast.borrowed")] if missing else []
        if gaps > 1.0:
            notes.append(Reason("forecast.with_gaps", {"n": n, "rows": count, "step": panel.step_s}))
        newest = float(panel.values[round((until_s - panel.start_s) / panel.step_s), s])
        row = make_row(issue, index, s, last, margins, -1, until_s=until_s, newest=newest, notes=notes)
        rows.append(replace(row, stretch=times))
    return rows, withheld


def _choose_states(
    issue: Issue, index: int, horizon_s: float, given: Mapping[str, ConformalState]
) -> dict[float, list[ConformalState]]:
    """By level the state of each station: the one given where it is ready, else that of the panel's own past."""
    panel = issue.panel
    kept = {level: [given.get(conformal_key(name, horizon_s, level)) for name in panel.stations] for level in LEVELS}
    past: dict[float, list[ConformalState]] = {}
    if not all(_is_ready(state) for level in LEVELS for state in kept[level]):
        past = conform(issue.fans[index], panel.values, issue.origins, panel.steps(horizon_s), issue.pace).states
    return {
        level: [k if k is not None and _is_ready(k) else past[level][s] for s, k in enumerate(kept[level])]
        for level in LEVELS
    }


def make_row(
    issue: Issue,
    index: int,
    column: int,
    quantiles: Floats,
    margins: Mapping[float, float],
    at: int,
    *,
    until_s: float,
    newest: float,
    notes: Sequence[Reason] = (),
) -> Forecast:
    """One forecast, of the origin that stands `at` in the issue; its reason says what it is, then `notes`."""
    panel, horizon_s = issue.panel, issue.horizons_s[index]
    issued_s = panel.start_s + panel.step_s * int(issue.origins[at])
    return Forecast(
        station=panel.stations[column],
        model=issue.model,
        model_hash=issue.model_hash,
        horizon_s=horizon_s,
        issued_s=issued_s,
        target_s=issued_s + panel.steps(horizon_s) * panel.step_s,
        data_until_s=until_s,
        data_value=newest,
        **name_quantiles(quantiles),
        margins={str(level): float(value) for level, value in margins.items()},
        baseline=issue.auto.chosen[index],
        baseline_q50=float(issue.best[at, column, index]),
        shown=not is_network(issue.model),
        reason=join_reasons([_explain(issue, index, column), *notes]),
    )


def _explain(issue: Issue, index: int, column: int) -> Reason:
    if is_network(issue.model):
        return OWN
    if issue.model == "auto":
        return issue.auto.explain(index, column)
    return Reason("forecast.simple", {"model": issue.model})


def few_errors(horizon_s: float) -> Reason:
    """Return the reason of a forecast without an interval: too few past errors are known at the horizon."""
    return Reason("forecast.few_errors", {"needed": MINIMUM_SCORES, "horizon": horizon_s})


def find_silent(panel: Panel, window: int = WINDOW) -> tuple[dict[str, Reason], dict[str, Lack]]:
    """Stations that a model which reads `window` rows without long gaps cannot forecast now: why, and what they lack.

    It is there as soon as it can be if every coming row is observed.
    """
    silent: dict[str, Reason] = {}
    lacks: dict[str, Lack] = {}
    least = math.ceil(OBSERVED_SHARE * window)
    for s, name in enumerate(panel.stations):
        seen, quiet = np.isfinite(panel.values[-window:, s]), _find_quiet(panel, s)
        now = int(seen.sum())
        if now >= least and quiet is None:
            continue
        days: dict[str, Value] = {"n": now, "rows": window, "needed": least}
        rows = {**days, "step": panel.step_s}
        is_young = not np.isfinite(panel.values[:-window, s]).any()
        if quiet is not None:
            silent[name] = quiet
        elif is_young:
            silent[name] = Reason("forecast.few_rows", {"n": now, "needed": least, "step": panel.step_s})
        else:
            silent[name] = Reason("forecast.gaps", rows)
        seen = np.concatenate([np.zeros(window - seen.size, dtype=bool), seen])
        # each coming row enters the window as the oldest one leaves it
        more = next(k for k in range(1, window + 1) if k + int(seen[k:].sum()) >= least)
        is_daily = panel.step_s == DAY_S
        lacking = Reason("forecast.lack.days", days) if is_daily else Reason("forecast.lack.rows", rows)
        lacks[name] = Lack(lacking, panel.end_s + more * panel.step_s)
    return silent, lacks


def count_seen(panel: Panel, column: int, window: int = WINDOW) -> tuple[int, int]:
    """Rows that were observed of the last `window`, and how many there are since the record began."""
    seen = np.isfinite(panel.values[:, column])
    rows = min(window, seen.size - int(np.argmax(seen)))
    return int(seen[-rows:].sum()), rows


def _find_quiet(panel: Panel, column: int) -> Reason | None:
    """Why a station has no present: it never spoke, or not of late; None where it has one."""
    newest = _newest_s(panel, column)
    if newest is None:
        return Reason("forecast.unseen")
    is_stale = panel.end_s - newest > STALE_STEPS * panel.step_s * (1 + 1e-9)
    return Reason("forecast.stale", {"n": STALE_STEPS}) if is_stale else None


def _newest_s(panel: Panel, column: int) -> float | None:
    seen = np.flatnonzero(np.isfinite(panel.values[:, column]))
    return float(panel.start_s + panel.step_s * seen[-1]) if seen.size else None


def _is_ready(state: ConformalState | None) -> bool:
    """Whether a kept state knows enough to be used; until then the past of the panel knows more."""
    return state is not None and len(state.scores) >= MINIMUM_SCORES


def _pooled(states: Sequence[ConformalState], steps: int) -> float:
    """The margin that the errors of all stations together ask for; NaN where even they are too few."""
    scores = tuple(value for state in states for value in state.scores)
    if len(scores) < MINIMUM_SCORES:
        return float("nan")
    nominal = states[0].nominal
    return margin(ConformalState(nominal, states[0].gamma, 1.0 - nominal, scores, len(scores)), steps)

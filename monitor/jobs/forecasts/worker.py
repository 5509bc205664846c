"""What runs inside a spawned worker: plain samples in, plain rows out. Nothing here opens the database."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from forecasting.data.covariates import covariates_from_samples, rows_from_covariates
from forecasting.data.rain_forecasts import lay_outlooks, outlooks_from_payload
from forecasting.data.series import Panel, horizon_key, panel_from_samples
from forecasting.errors import ForecastingError
from monitor.extras import explain_missing

_OF_THE_PANEL = frozenset({"samples", "step_s", "xy_m", "heights_m", "issue_s", "drivers", "expected"})


def forecast_site(payload: dict[str, Any]) -> dict[str, Any]:
    """Run every model of a site on one panel; a model that fails does not stop the others.

    Args:
        payload: `samples` (label -> times_s, values), `step_s`, `issue_s`, `xy_m` (label -> [east, north] or None),
            `horizons_s`, `models` (list of {model, name, checkpoint, verdicts}; `verdicts` of a network say per horizon
            in seconds whether it may be shown, why, and its skill), `conformal` (name -> key -> state).

    Returns:
        `rows` of all models with exactly one shown per label and horizon, each with `data_value` and `latency_ms`;
        `withheld` (model, station, horizon_s, reason); `conformal` (name -> states used); `failed` (name -> reason).
    """
    from forecasting.serving.gate import choose_shown
    from forecasting.serving.jobs import forecast

    panel = _panel(payload)
    plain = _plain(panel)
    newest = {name: _newest(panel, column) for column, name in enumerate(panel.stations)}
    rows: list[dict[str, Any]] = []
    withheld: list[dict[str, Any]] = []
    states: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for one in payload["models"]:
        model, name = one["model"], one["name"]
        request = {
            "panel": plain, "model": model, "horizons_s": payload["horizons_s"], "checkpoint": one.get("checkpoint"),
            "conformal": payload.get("conformal", {}).get(name),
        }  # fmt: skip
        try:
            answer = forecast(request)
        except ForecastingError as error:
            failed[name] = str(error)
            continue
        except ModuleNotFoundError as error:  # a network without its extra: baselines forecast all the same
            failed[name] = explain_missing(error) or str(error)
            continue
        made = [r | {"latency_ms": answer["latency_ms"], "data_value": newest[r["station"]]} for r in answer["rows"]]
        rows += [r | _standing(one["verdicts"], r["horizon_s"]) if one.get("verdicts") is not None else r for r in made]
        withheld += [w | {"model": model} for w in answer["withheld"]]
        states[name] = answer["conformal"]
    return {"rows": choose_shown(rows), "withheld": withheld, "conformal": states, "failed": failed}


def train_forecaster(payload: dict[str, Any]) -> dict[str, Any]:
    """Train one network on the panel of a site; `refused` says why nothing was trained."""
    from forecasting.serving.jobs import train

    request = {k: v for k, v in payload.items() if k not in _OF_THE_PANEL}
    try:
        return train(request | {"panel": _plain(_panel(payload))})
    except ForecastingError as error:
        return {"refused": str(error)}


def train_detector(payload: dict[str, Any]) -> dict[str, Any]:
    """Train one anomaly detector; `refused` says why nothing was trained."""
    from detection.anomaly.errors import AnomalyError
    from detection.anomaly.jobs import train

    try:
        return train(payload)
    except AnomalyError as error:
        return {"refused": str(error)}


def _standing(verdicts: Mapping[str, Mapping[str, Any]], horizon_s: float) -> dict[str, Any]:
    """What the record of a checkpoint says of a row, in place of what its training said."""
    first = {"shown": False, "reason": "not shown: no forecast of it has been scored yet", "skill": None}
    return dict(verdicts.get(horizon_key(horizon_s), first))


def _panel(payload: Mapping[str, Any]) -> Panel:
    samples = {label: (s["times_s"], s["values"]) for label, s in payload["samples"].items()}
    panel = panel_from_samples(samples, payload["step_s"], end_s=payload.get("issue_s"), xy_m=payload.get("xy_m"))
    given = {label: (s["times_s"], s["values"]) for label, s in (payload.get("drivers") or {}).items()}
    expected = lay_outlooks(outlooks_from_payload(payload.get("expected")), panel)
    heights = payload.get("heights_m")
    return replace(
        panel,
        drivers=rows_from_covariates((*covariates_from_samples(given, panel), *expected), panel.step_s),
        heights_m=None if heights is None else np.array([heights[name] for name in panel.stations], dtype=np.float64),
    )


def _plain(panel: Panel) -> dict[str, Any]:
    return {
        "start_s": panel.start_s, "step_s": panel.step_s, "stations": list(panel.stations), "values": panel.values,
        "xy_m": panel.xy_m, "heights_m": panel.heights_m,
        "drivers": None if panel.drivers is None else asdict(panel.drivers),
    }  # fmt: skip


def _newest(panel: Panel, column: int) -> float:
    seen = np.flatnonzero(np.isfinite(panel.values[:, column]))
    return float(panel.values[seen[-1], column]) if seen.size else float("nan")

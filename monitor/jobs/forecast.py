"""Forecast every displacement series of a site with every model of its plan; the gate says which row is shown."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from forecasting.registry import NETWORKS
from monitor import compute
from monitor.config import ServiceConfig
from monitor.domain.instants import epoch_s, from_epoch_s
from monitor.domain.site import Site
from monitor.jobs.samples import Samples, history_since, load_displacements, panel_payload, step_s
from monitor.store.engine import Database
from monitor.store.forecasts import ForecastRow, add_forecasts, add_withheld, load_conformal, save_conformal
from monitor.store.models import find_active

ALWAYS = ("persistence", "lld")  # whatever a site asks for, these two run and are scored
HISTORY_STEPS = 1200
Key = tuple[int, str, float, float]


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Issue forecasts from what is known at `now`; returns one line that says what was done."""
    plan = site.forecast
    models = tuple(dict.fromkeys((*ALWAYS, *plan.models)))
    with db.read() as c:
        probe = load_displacements(c, site, history_since(now, max(_intervals(site), default=0.0), 2), now)
        step = step_s(probe, min(plan.horizons_s)) if probe else 0.0
        samples = load_displacements(c, site, history_since(now, step, HISTORY_STEPS), now) if probe else []
        active = {m: find_active(c, task="forecast", kind=m, site=site.id) for m in models if m in NETWORKS}
        states = load_conformal(c, [s.series_id for s in samples])
    if not samples:
        return "no recent displacement readings"
    runnable = [m for m in models if m not in NETWORKS or active[m] is not None]
    payload = panel_payload(site, samples, step) | {
        "issue_s": epoch_s(now),
        "horizons_s": list(plan.horizons_s),
        "models": [{"model": m, "checkpoint": a.path if (a := active.get(m)) else None} for m in runnable],
        "conformal": _grouped(states, samples),
    }
    answer = compute.run(
        "monitor.jobs.in_worker:forecast_site", payload, config.compute.job_limit_s, dask=config.compute.dask
    )
    by_label = {s.label: s for s in samples}
    as_of = max(s.newest_received_at for s in samples)
    rows = [_row(one, by_label[one["station"]], now, as_of) for one in answer["rows"]]
    waiting = [(s.series_id, m, "not trained yet") for m in models if m not in runnable for s in samples]
    withheld = [(by_label[w["station"]].series_id, w["model"], w["reason"]) for w in answer["withheld"]]
    with db.write() as c:
        added = add_forecasts(c, rows)
        add_withheld(c, sorted(set(withheld + waiting)), now)
        save_conformal(c, _flat(answer["conformal"], by_label, states), now)
    parts = [f"{added} rows by {len(runnable)} models", f"{len(withheld)} withheld"]
    parts += [f"{model} failed: {reason}" for model, reason in answer["failed"].items()]
    parts += [f"{model} not trained yet" for model in models if model not in runnable]
    return "; ".join(parts)


def _intervals(site: Site) -> list[float]:
    return [p.interval_s for s in site.stations for p in s.series if p.quantity.startswith(("displacement", "crack"))]


def _row(one: Mapping[str, Any], sample: Samples, now: datetime, as_of: datetime) -> ForecastRow:
    margins = one["margins"]
    return ForecastRow(
        sample.series_id, now, from_epoch_s(one["data_until_s"]), as_of, from_epoch_s(one["target_s"]),
        one["horizon_s"], one["q025"], one["q10"], one["q50"], one["q90"], one["q975"], one["model"],
        one["model_hash"] or "", one["baseline"], one["baseline_q50"], one["data_value"], one["shown"], one["reason"],
        one["latency_ms"], margins.get("0.8"), margins.get("0.95"),
    )  # fmt: skip


def _grouped(states: Mapping[Key, Mapping[str, Any]], samples: list[Samples]) -> dict[str, dict[str, Any]]:
    """States by model and the worker's own key, `label|horizon|nominal`."""
    from forecasting.lane import conformal_key

    labels = {s.series_id: s.label for s in samples}
    out: dict[str, dict[str, Any]] = {}
    for (series_id, model, horizon_s, nominal), state in states.items():
        out.setdefault(model, {})[conformal_key(labels[series_id], horizon_s, nominal)] = dict(state)
    return out


def _flat(
    answered: Mapping[str, Mapping[str, Any]], by_label: Mapping[str, Samples], known: Mapping[Key, Any]
) -> dict[Key, dict[str, Any]]:
    """States that the worker started; those the database knows are changed by the score job only."""
    out = {}
    for model, states in answered.items():
        for text, state in states.items():
            label, horizon, nominal = text.rsplit("|", 2)
            key = (by_label[label].series_id, model, float(horizon), float(nominal))
            if key not in known:
                out[key] = state
    return out

"""Detectors that a site file asks for and that are not trained yet."""

from datetime import datetime

from sqlalchemy import Connection

from detection.anomaly.registry import list_detectors
from forecasting.registry import TRAINING_ROWS
from monitor.api.extras import is_installed
from monitor.api.queries.models import LackingModels, await_model, find_history_start, load_models, needs_torch
from monitor.api.queries.readings import load_extents, load_ids
from monitor.api.sites import Site, find_watched_motion


def find_lacking_detectors(connection: Connection, site: Site, now: datetime) -> LackingModels:
    """Return the detectors of a site that are not trained yet and whose series have readings."""
    models = load_models(connection, site=site.id, kinds={*site.anomaly.detectors})
    active = {model.kind for model in models if model.state == "active"}
    has_torch = is_installed("torch")
    missing = [
        detector
        for detector in site.anomaly.detectors
        if detector in list_detectors() and detector not in active and (has_torch or not needs_torch(detector))
    ]
    watched = find_watched_motion(site, load_ids(connection, site.id))
    if not missing or not watched:
        return LackingModels(())
    step_s = site.watched_step_s or 0.0
    since = find_history_start(now, step_s, TRAINING_ROWS)
    extents = load_extents(connection, [series.series_id for series in watched], since, now)
    awaited = [
        model
        for detector in missing
        for model in await_model(
            detector,
            "anomaly",
            "train-detectors",
            "anomaly",
            extents,
            now,
            quantity="displacement",
            is_trained=True,
            every_s=step_s,
            step_s=step_s,
            measured=[series.spec.quantity for series in watched],
        )
    ]
    return LackingModels(tuple(awaited))

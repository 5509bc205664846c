"""Detectors of faults of instruments and of unusual movement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from monitor.api.hooks import Command, Job, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Table

    from monitor.alerts.replay.scorecard import DetectorScore
    from monitor.models.lacking import LackingModels
    from monitor.sites.records import Site
    from monitor.storage.public_view import PublicView

_DAY_S: Final = 86400.0


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands of anomalies."""
    return {
        "anomalies": Command(
            _load_commands, "Train and run anomaly detectors; label anomalies", after="forecast failure-time"
        )
    }


def _load_commands() -> Any:
    from monitor.features.anomalies.cli.app import app

    return app


@hookimpl
def register_jobs() -> Iterable[Job]:
    """Return the jobs that score new readings and train detectors."""
    from monitor.features.anomalies import jobs, training

    return [
        Job("anomaly", jobs.run, lambda site: site.anomaly.every_s if site else _DAY_S, 30.0),
        Job("train-detectors", training.run, lambda _: _DAY_S, 300.0),
    ]


@hookimpl
def lacking_models(connection: Connection, site: Site, now: datetime) -> LackingModels:
    """Return the detectors of a site that are not trained yet."""
    from monitor.features.anomalies.lacking import find_lacking_detectors

    return find_lacking_detectors(connection, site, now)


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of anomalies."""
    from monitor.features.anomalies import tables

    return [tables.anomaly, tables.anomaly_budget, tables.anomaly_label]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of anomalies."""
    from monitor.features.anomalies import views
    from monitor.storage.public_view import pair_views

    return pair_views(sqlite, views.select_views)


@hookimpl
def evaluation_fact_instants(
    connection: Connection, site_id: str, from_at: datetime, to_at: datetime
) -> Iterable[datetime]:
    """Return when scores of readings became known, and the times of these readings."""
    from monitor.features.anomalies.queries.fact_instants import load_fact_instants

    return load_fact_instants(connection, site_id, from_at, to_at)


@hookimpl
def detector_scores(connection: Connection, site: Site, from_at: datetime, to_at: datetime) -> Sequence[DetectorScore]:
    """Return what the detectors reported and how people labelled it."""
    from monitor.features.anomalies.detector_scores import score_detectors
    from monitor.features.anomalies.queries.budget import measure_detectors
    from monitor.features.anomalies.queries.labels import load_runs

    measurements = measure_detectors(connection, site, to_at, from_at)
    return score_detectors(load_runs(connection, site, from_at, to_at), measurements)

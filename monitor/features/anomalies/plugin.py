"""Detectors of faults of instruments and of unusual movement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from monitor.api.hooks import AccessRule, Command, CurveAddition, Job, Panel, SuspectedFault, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from types import ModuleType

    from fastapi import APIRouter
    from sqlalchemy import Connection, Table

    from monitor.api.acts import Act
    from monitor.api.decision import FactRequest
    from monitor.api.queries.alerts import DetectorScore
    from monitor.api.queries.models import LackingModels
    from monitor.api.queries.readings import SeriesRow
    from monitor.api.sites import Site
    from monitor.api.store import PublicView
    from monitor.api.web import SiteSnapshot

_DAY_S: Final = 86400.0


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands of anomalies."""
    return {
        "anomalies": Command(
            _load_commands,
            "List and label anomalies; train and run detectors",
            after="export",
            rules=dict.fromkeys(("anomalies score", "anomalies train", "anomalies bench"), "serves"),
            subject="Results",
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
        Job("anomaly", jobs.run, lambda site: jobs.find_pause_s(site) if site else _DAY_S, 30.0),
        Job("train-detectors", training.run, lambda _: _DAY_S, 300.0),
    ]


@hookimpl
def lacking_models(connection: Connection, site: Site, now: datetime) -> LackingModels:
    """Return the detectors of a site that are not trained yet."""
    from monitor.features.anomalies.lacking import find_lacking_detectors

    return find_lacking_detectors(connection, site, now)


@hookimpl
def register_acts() -> Iterable[Act]:
    """Return the acts that label an anomaly and set the factor of a threshold."""
    from monitor.api.alerts import make_act_factory

    anomalies = make_act_factory("/sites/{site}/anomalies", "anomalies", "/sites/{site}/instruments#anomalies")
    return [
        anomalies("anomaly.label", "label", "/label", lambda: _load_acts().label),
        anomalies("anomaly.factor", "factor", "/factor", lambda: _load_acts().set_factor),
    ]


def _load_acts() -> ModuleType:
    from monitor.features.anomalies import acts

    return acts


@hookimpl
def evaluation_facts(connection: Connection, site: Site, request: FactRequest) -> Mapping[str, Sequence[object]]:
    """Return the newest anomaly scores if a criterion reads them."""
    if "anomalies" not in request.kinds:
        return {}
    from monitor.features.anomalies.queries.facts import load_anomaly_facts

    facts = load_anomaly_facts(connection, site.id, request.since, request.scored_until, request.now)
    return {"anomalies": facts}


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the route of anomaly scores."""
    from monitor.features.anomalies.routes import router

    return [router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may read anomaly scores."""
    return {"GET /api/v1/sites/{site}/anomalies": AccessRule("read")}


@hookimpl
def register_panels() -> Iterable[Panel]:
    """Return the list of anomalies on the page of instruments."""
    return [Panel("site.instruments", "anomalies_of_site.html")]


@hookimpl
def instruments_page_values(page: SiteSnapshot, instruments: frozenset[str] | None) -> Mapping[str, object]:
    """Return anomalies, gaps and false-alarm budgets."""
    from monitor.features.anomalies.page import collect_anomalies

    return collect_anomalies(page, instruments)


@hookimpl
def curve_values(
    connection: Connection, series: Sequence[SeriesRow], from_at: datetime, to_at: datetime
) -> CurveAddition:
    """Return the anomaly scores of a series."""
    from monitor.features.anomalies.curve import describe_scores

    return describe_scores(connection, series, from_at, to_at)


@hookimpl
def suspected_faults(
    connection: Connection, site: Site, faulty_stations: frozenset[str], since: datetime, now: datetime
) -> Iterable[SuspectedFault]:
    """Return anomalies that nobody dismissed."""
    from monitor.features.anomalies.suspicions import list_suspicions

    return list_suspicions(connection, site, faulty_stations, since, now)


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of anomalies."""
    from monitor.features.anomalies import tables

    return [tables.anomaly, tables.anomaly_budget, tables.anomaly_label]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of anomalies."""
    from monitor.api.store import pair_views
    from monitor.features.anomalies import views

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

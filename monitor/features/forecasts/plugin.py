"""Forecasts: models, their training, their record, and the split of series into trend and season."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from monitor.api.hooks import AccessRule, Command, Job, Panel, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from fastapi import APIRouter
    from sqlalchemy import Connection, Table

    from forecasting.data.series import Panel as SeriesPanel
    from monitor.api.database import RetentionRule
    from monitor.api.decision import FactRequest
    from monitor.api.hooks import CurveAddition, StatusSection
    from monitor.api.queries.models import LackingModels
    from monitor.api.queries.readings import SeriesRow
    from monitor.api.sites import Site
    from monitor.api.store import PublicView

_HOUR_S: Final = 3600.0
_DAY_S: Final = 86400.0


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands of forecasts."""
    return {
        "forecast": Command(
            _load_commands,
            "Show the forecast of a site (forecast show); train, score models",
            after="evaluate",
            rules=dict.fromkeys(("forecast run", "forecast train", "forecast hindcast"), "serves"),
            subject="Everyday commands",
        ),
        "forecast failure-time": Command(
            _load_failure_time, "Estimate and score failure windows of a displacement curve", after="forecast"
        ),
    }


def _load_commands() -> Any:
    from monitor.features.forecasts.cli.app import app

    return app


def _load_failure_time() -> Any:
    from monitor.features.forecasts.cli.failure_time import app

    return app


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the pages of forecasts and their HTTP API."""
    from monitor.features.forecasts.routes import api, pages

    return [pages, api]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may read forecasts."""
    site = "/sites/{site}"
    addresses = (
        f"{site}/forecasts",
        f"{site}/forecasts/scores",
        f"/api/v1{site}/forecasts",
        f"/api/v1{site}/forecasts/why-not-shown",
        f"/api/v1{site}/forecasts/{{station}}/{{quantity}}/history",
        f"/api/v1{site}/season/{{station}}",
    )
    return {f"GET {address}": AccessRule("read") for address in addresses}


@hookimpl
def register_panels() -> Iterable[Panel]:
    """Return the link from the curves of a site to its forecasts."""
    return [Panel("site.curves", "forecasts_link.html")]


@hookimpl
def register_jobs() -> Iterable[Job]:
    """Return the jobs that issue, score, train and decompose."""
    from monitor.api.sites import stage_cadence
    from monitor.features.forecasts import run, season, train

    return [
        Job(
            "forecast",
            run.run,
            lambda site: site.forecast.every_s if site else _DAY_S,
            20.0,
            at_stage=lambda site, stage: stage_cadence(site, stage)[1],
        ),
        Job("score", run.score_observed, lambda _: _HOUR_S, 60.0),
        Job("train", train.run, lambda _: _DAY_S, 300.0),
        Job("season", season.run, lambda _: _DAY_S, 900.0, hour=1),
    ]


@hookimpl
def evaluation_facts(connection: Connection, site: Site, request: FactRequest) -> Mapping[str, Sequence[object]]:
    """Return the newest shown forecasts of the stations and horizons that criteria name."""
    if "forecasts" not in request.kinds:
        return {}
    from monitor.features.forecasts.queries.facts import load_forecast_facts

    criteria = [criterion for criterion in site.criteria if criterion.kind.facts == "forecasts"]
    stations = {station for criterion in criteria for station in criterion.stations}
    thresholds = [threshold for criterion in criteria for threshold in criterion.thresholds]
    horizons_s = {threshold.window_s for threshold in thresholds if threshold.window_s is not None}
    return {"forecasts": load_forecast_facts(connection, site.id, request.now, stations, horizons_s)}


@hookimpl
def forecast_panels(connection: Connection, site: Site, now: datetime) -> Sequence[SeriesPanel]:
    """Return the panels of a site on their grids."""
    from monitor.features.forecasts.read_site import read_site
    from monitor.features.forecasts.worker import make_panel

    return [make_panel(read.record) for read in read_site(connection, site, now) if read.record is not None]


@hookimpl
def lacking_models(connection: Connection, site: Site, now: datetime) -> LackingModels:
    """Return the forecasts and networks of a site that do not exist yet."""
    from monitor.features.forecasts.lacking import find_lacking_forecasts

    return find_lacking_forecasts(connection, site, now)


@hookimpl
def status_sections(sites: Sequence[Site], zones: Callable[[str], str]) -> Iterable[StatusSection]:
    """Return which series are not forecast."""
    from monitor.features.forecasts.status import describe_series_left_out

    return [describe_series_left_out(sites, zones)]


@hookimpl
def curve_values(
    connection: Connection, series: Sequence[SeriesRow], from_at: datetime, to_at: datetime
) -> CurveAddition:
    """Return the forecasts of a series."""
    from monitor.features.forecasts.curve import describe_forecasts

    return describe_forecasts(connection, series, from_at, to_at)


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of forecasts."""
    from monitor.features.forecasts import tables

    return [
        tables.forecast,
        tables.forecast_withheld,
        tables.forecast_score,
        tables.forecast_month,
        tables.forecast_state,
        tables.season,
    ]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of forecasts."""
    from monitor.api.store import pair_views
    from monitor.features.forecasts import season_views, views

    return pair_views(sqlite, views.select_views, season_views.select_views)


@hookimpl
def retention_rules() -> Iterable[RetentionRule]:
    """Return the rules for forecasts and their scores."""
    from monitor.features.forecasts.queries.retention import RETENTION_RULES

    return RETENTION_RULES


@hookimpl
def series_joined(connection: Connection, kept_id: int, removed_id: int) -> None:
    """Compute the sums of the scores again."""
    from monitor.features.forecasts.queries.score_sums import sum_up_joined

    sum_up_joined(connection, kept_id, removed_id)


@hookimpl
def evaluation_fact_instants(
    connection: Connection, site_id: str, from_at: datetime, to_at: datetime
) -> Iterable[datetime]:
    """Return when forecasts of a site were issued."""
    from monitor.features.forecasts.queries.fact_instants import load_fact_instants

    return load_fact_instants(connection, site_id, from_at, to_at)

"""Query plans of views for a station with a long history among many stations with a short history."""

import re

import pytest
from sqlalchemy import text, true

from monitor.features.forecasts.queries.score_sums import find_spans, sum_up
from monitor.storage.engine import Database
from tests.fixtures.databases import fill_nothing

pytestmark = pytest.mark.server
STATION_FILTER = "site = 's' AND station = 'G7'"
MONTHLY_VIEWS = ("forecast_skill", "forecast_skill_by_stage", "forecast_scores", "forecast_coverage")
SERIES = (
    "INSERT INTO series (site, station, quantity, unit, created_at)"
    " SELECT 's', 'G' || k, 'displacement', 'mm', '2026-03-01T00:00:00.000000Z' FROM generate_series(1, 400) AS g(k)"
)
FORECASTS = (
    "INSERT INTO forecast (series_id, issued_at, data_until, as_of_received_at, target_at, horizon_s, q025, q10, q50,"
    " q90, q975, model, model_hash, baseline, baseline_q50, data_value, shown, reason)"
    " SELECT s.id, t.at, t.at, t.at, t.at, 86400.0, 1, 2, 3, 4, 5, 'combined', '', 'line', 3, 2, 1 = 1, ''"
    " FROM series s"
    " CROSS JOIN LATERAL (SELECT to_char(timestamp '2026-03-01' - k * interval '6 hours',"
    """ 'YYYY-MM-DD"T"HH24:MI:SS') || '.000000Z' AS at"""
    " FROM generate_series(1, CASE s.station WHEN 'G7' THEN 4000 ELSE 3 END) AS g(k)) t"
)
SCORES = (
    "INSERT INTO forecast_score (forecast_id, observed_at, observed, error, baseline_error, persistence_error,"
    " inside_80, inside_95, pinball, winkler_80, scored_at)"
    " SELECT id, target_at, 3, 0.2, 0.1, 0.7, 1 = 1, 1 = 1, 0.3, 2, target_at FROM forecast"
)


@pytest.fixture(scope="module")
def database_with_long_history(postgresql, templates):
    """Database with 4,000 scored forecasts of one station and three of 399 others, after VACUUM ANALYZE."""
    with Database(postgresql.url(postgresql.copy(templates("postgresql", fill_nothing)[0], "plans"))) as database:
        with database.write() as connection:
            for statement in (SERIES, FORECASTS, SCORES):
                connection.execute(text(statement))
            sum_up(connection, find_spans(connection, true()))
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
        yield database


def list_plan_nodes(node):
    return [node, *(descendant for child in node.get("Plans", ()) for descendant in list_plan_nodes(child))]


def count_rows_read(database, view, where=STATION_FILTER):
    """Return how many rows of each table a query reads, including those that it filters out."""
    query = f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM {view} WHERE {where}"
    with database.read() as c:
        plan = list_plan_nodes(c.execute(text(query)).scalar_one()[0]["Plan"])
    read = {}
    for node in plan:
        if name := node.get("Relation Name"):
            rows = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            read[name] = read.get(name, 0) + rows
    return read


@pytest.mark.parametrize("view", MONTHLY_VIEWS)
def test_monthly_views_read_only_sums_of_the_station(database_with_long_history, view):
    read = count_rows_read(database_with_long_history, view)
    assert set(read) == {"series", "forecast_month"}
    assert read["forecast_month"] < 40


def test_latest_forecast_reads_no_earlier_issues(database_with_long_history):
    assert count_rows_read(database_with_long_history, "latest_forecast")["forecast"] < 20


def test_recent_scores_are_read_without_earlier_ones(database_with_long_history):
    read = count_rows_read(
        database_with_long_history,
        "forecast_vs_observed",
        f"{STATION_FILTER} AND target_at > '2026-02-20T00:00:00.000000Z'",
    )
    assert read["forecast"] == read["forecast_score"] < 40


@pytest.mark.parametrize(
    ("view", "index"),
    [
        *((name, r"forecast_month|g USING PRIMARY KEY \(series_id=\?\)") for name in MONTHLY_VIEWS),
        ("forecast_coverage_rolling", r"f USING COVERING INDEX ix_forecast_order \(series_id=\?\)"),
        ("latest_forecast", r"n USING INDEX ix_forecast_series_model \(series_id=\? AND model=\? AND issued_at=\?\)"),
        ("forecast_vs_observed", r"f USING INDEX ix_forecast_target \(series_id=\? AND target_at>\?\)"),
    ],
)
def test_sqlite_reads_rows_of_a_station_by_an_index(sqlite_url, view, index):
    more = " AND target_at > '2026-02-20T00:00:00.000000Z'" if view == "forecast_vs_observed" else ""
    with Database(sqlite_url) as db, db.read() as c:
        plan = c.execute(text(f"EXPLAIN QUERY PLAN SELECT * FROM {view} WHERE {STATION_FILTER}{more}")).all()
    assert any(re.search(index, row[3]) for row in plan), plan


@pytest.mark.parametrize(
    ("view", "index"),
    [
        ("notification_status", "ix_notification_site"),
        ("deliveries", "ix_notification_site"),
        ("alert_outcomes", "ix_alert_outcome_alert"),
        ("reports", "ix_report_site"),
        ("site_events", "ix_site_event_site"),
        ("drills", "ix_drill_site"),
        ("other_alarms", "ix_other_alarm_site"),
        ("siren_orders", "ix_siren_order_site"),
        ("message_replies", "ix_reply_alert"),
        ("scene_outlines", "ix_scene_outline"),
        ("problems", "ix_job_run_failed"),
    ],
)
def test_sqlite_reads_rows_of_a_site_by_an_index(sqlite_url, view, index):
    with Database(sqlite_url) as db, db.read() as c:
        plan = c.execute(text(f"EXPLAIN QUERY PLAN SELECT * FROM {view} WHERE site = 's'")).all()
    assert any(index in row[3] for row in plan), plan

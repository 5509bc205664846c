"""Columns, rows and documentation of the public views, and the dashboards that query them."""

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from sqlalchemy import Boolean, insert, text, true

from monitor.alerts.tables import alert
from monitor.errors import NotFoundError
from monitor.features.forecasts.queries.score_sums import find_spans, sum_up
from monitor.features.forecasts.tables import forecast_score
from monitor.features.help.reference import QUESTIONS
from monitor.ingest.payload_limits import PAYLOAD_LIMIT
from monitor.ingest.queries.messages import RejectedMessage, add_rejected
from monitor.readings.queries import observations
from monitor.sites.tables import site, station
from monitor.storage import views
from monitor.storage.engine import Database
from monitor.storage.view_tables import load_view_tables, select_views
from monitor.text.instants import format_iso
from tests.data.filled import NOW, days
from tests.data.store_rows import ask, tell
from tests.storage.test_reader_attacks import reader, service  # noqa: F401 - fixtures

DOCS = Path(__file__).resolve().parents[2] / "docs"
ALERTS = (
    "alert_id site ledger level level_name state exercise raised_at data_time reason evidence evidence_sha256 rule_version "  # noqa: E501
    "acknowledged_at acknowledged_by closed_at"
)
FORECAST = (
    "site station quantity unit issued_at data_until as_of_received_at target_at horizon_s q025 q10 q50 q90 q975 model "
    "model_hash baseline baseline_q50 shown reason stage"
)
PROMISED = {
    "latest_observation": "site station quantity unit observed_at received_at value value_raw offset_applied sigma flags revision solution",  # noqa: E501
    "latest_forecast": FORECAST,
    "forecast_history": FORECAST,
    "forecast_vs_observed": f"{FORECAST} observed error baseline_error inside_80 inside_95 pinball winkler_80",
    "forecast_skill": "site station quantity model horizon_s month n mae mae_persistence mae_best_baseline skill",
    "forecast_skill_by_stage": "site station quantity model horizon_s month stage n mae mae_best_baseline skill",
    "forecast_scores": "site station quantity model horizon_s month situation n mae pinball crps interval_score_80 covered_80 pit_below_10",  # noqa: E501
    "forecast_coverage_rolling": "site station quantity model horizon_s target_at shown covered_80 covered_95 n",
    "forecast_coverage": "site station quantity model horizon_s month nominal covered width n",
    "forecast_chances": "site criterion station level level_name over_mm_per_day horizon_s chance_from chance_to "
    "probability crossed model data_until evaluated_at",
    "failure_windows": "site station issued_at data_until window_from window_mid window_to trusted reasons velocity_mm_per_day withdrawn_at",  # noqa: E501
    "site_status": "site level level_name level_source since evaluated_at observability reachable_level witnesses_available health "  # noqa: E501
    "movement_stage trend newest_at active_alerts unacknowledged config_version",
    "movement_now": "site station quantity stage velocity_mm_per_day velocity_error_mm_per_day rate rate_error unit window_s newest_at "  # noqa: E501
    "age_s criterion level bound bound_ratio next_level next_bound next_ratio",
    "station_health": "site station state since reason newest_at expected_interval_s missing_share_24h votes",
    "active_alerts": ALERTS,
    "alert_history": ALERTS,
    "alert_events": "alert_id at data_time from_state to_state actor actor_kind reason",
    "alert_outcomes": "alert_id class by note",
    "notification_status": "notification_id alert_id level recipient channel exercise state attempts queued_at sent_at confirmed_at confirmed_by confirmed_via "  # noqa: E501
    "next_attempt_at superseded_by last_error",
    "deliveries": "notification_id alert_id recipient channel state sent_at received_at confirmed_at why",
    "siren_orders": "site topic sequence wanted state valid_until confirmed_at",
    "channel_tests": "channel target at good",
    "anomalies": "site station quantity at detector score threshold kind alerted",
    "scene_polygons": "site scene acquired_at polygon_id parent_id change area_m2 grown_m2 mean_probability geometry min_lon min_lat "  # noqa: E501
    "max_lon max_lat nearest_station distance_m model model_hash",
    "rejected_messages": "received_at topic code reason retained cut",
    "quarantine_sources": "source kept_bytes kept_rows unkept unkept_at",
    "sequence_gaps": "site source boot_id from_seq to_seq",
    "offsets": "site station quantity at known_from author reason",
    "reports": "site at kind text by",
    "site_events": "site from_at to_at kind text by",
    "config_versions": "site config_version loaded_at author reason",
    "audit_log": "at actor actor_kind action subject",
}


def read_columns(database):
    with database.read() as connection:
        return {name: list(connection.exec_driver_sql(f"SELECT * FROM {name}").keys()) for name in load_view_tables()}


def to_canonical(rows):
    def plain(value):
        if isinstance(value, Decimal):
            return int(value) if value == int(value) else float(value)
        return int(value) if isinstance(value, bool) else value

    return [
        json.dumps({key: plain(field) for key, field in row.items()}, sort_keys=True, allow_nan=False) for row in rows
    ]


def test_every_promised_column_exists(database):
    columns_by_view = read_columns(database)
    missing = {name: set(columns.split()) - set(columns_by_view.get(name, ())) for name, columns in PROMISED.items()}
    assert not any(missing.values()), missing


def test_every_view_has_the_declared_columns(database):
    declared = {name: [column.name for column in view.c] for name, view in load_view_tables().items()}
    assert read_columns(database) == declared


def test_every_view_and_column_is_described():
    for view in load_view_tables().values():
        assert view.comment
        assert view.info["question"] in QUESTIONS
        assert [column.name for column in view.c if not column.comment] == []


def remove_seals(view, rows):
    """Return rows without seals of the audit log, which depend on the time of writing and on salted passwords."""
    if view != "audit_log":
        return rows
    remaining = [row for row in rows if row["action"] != "rows.seal"]
    return [
        {key: value for key, value in row.items() if key not in {"audit_id", "previous_hash", "hash"}}
        for row in remaining
    ]


def test_every_view_is_equal_on_both_databases(filled_sqlite_url, filled_postgresql_url):
    rows_by_database = []
    for url in (filled_sqlite_url, filled_postgresql_url):
        with Database(url) as database, database.read() as connection:
            rows_by_database.append(
                {
                    name: sorted(to_canonical(remove_seals(name, views.load_view(connection, name))))
                    for name in load_view_tables()
                }
            )
    for name in load_view_tables():
        assert rows_by_database[0][name], f"{name}: the story has no row for it, so the test would prove nothing"
        assert rows_by_database[0][name] == rows_by_database[1][name], name


def test_cookbook_queries_return_equal_rows_on_both_databases(filled_sqlite_url, filled_postgresql_url):
    book = (DOCS / "how-to/sql-cookbook.md").read_text(encoding="utf-8")
    queries = re.findall(r"```sql\n(.+?)```", book, flags=re.DOTALL)
    assert queries
    assert len(queries) == book.count("\n### ")
    rows_by_database = []
    for url in (filled_sqlite_url, filled_postgresql_url):
        with Database(url) as database, database.read() as connection:
            rows_by_database.append(
                [
                    to_canonical(connection.execute(text(query_text.replace(":", "\\:"))).mappings().all())
                    for query_text in queries
                ]
            )
    for query, left, right in zip(queries, *rows_by_database, strict=True):
        assert left, f"no row: {query}"
        assert left == right, query


def test_queries_in_documentation_can_be_executed(filled_database):
    query_count = 0
    for path in (
        *sorted((DOCS / "how-to").glob("*.md")),
        *(DOCS / "tutorial").glob("*.md"),
        DOCS / "explanation/evidence.md",
    ):
        page = path.read_text(encoding="utf-8")
        queries = [*re.findall(r"```sql\n(.+?)```", page, re.DOTALL), *re.findall(r"`(SELECT [^`]+)`", page)]
        with filled_database.read() as connection:
            of_sqlite = (
                re.findall(r'sqlite3 slopeward\.db "(.+?)"', page) if connection.dialect.name == "sqlite" else []
            )
            for query in [*queries, *of_sqlite]:
                if "FROM published" not in query:  # only in a published copy
                    connection.execute(text(query.replace(":", "\\:"))).fetchmany(1)
                    query_count += 1
    assert query_count > 50


def test_booleans_can_be_used_as_conditions_and_are_returned_as_bool(filled_database):
    with filled_database.read() as c:
        for name in load_view_tables():
            every = views.load_view(c, name)
            booleans = [k.name for k in load_view_tables()[name].c if isinstance(k.type, Boolean)]
            for column in booleans:
                assert {type(row[column]) for row in every} == {bool}, (name, column)
                count = c.exec_driver_sql(f"SELECT count(*) FROM {name} WHERE {column}").scalar()
                assert count == sum(row[column] for row in every), (name, column)


def test_newest_reading_has_offsets_flags_and_revision_applied(filled_database):
    with filled_database.read() as connection:
        newest = {
            (row["station"], row["quantity"]): row
            for row in views.load_view(connection, "latest_observation", site="north-bench")
        }
        moved = newest["G2", "displacement_east"]
        assert (moved["offset_applied"], moved["value"]) == (12.5, moved["value_raw"] - 12.5)
        assert newest["P1", "pore_pressure"]["flags"] == "checked"  # `suspect` was set and withdrawn
        series_filter = {"site": "north-bench", "station": "G1", "quantity": "displacement_east"}
        at = format_iso(NOW - days(3))
        revisions = views.load_view(
            connection, "observation_history", **series_filter, observed_at=at, order_by=("revision",)
        )
        assert [(row["revision"], row["solution"], row["flags"]) for row in revisions] == [
            (0, "rapid", ""),
            (1, "final", "spike"),
        ]
        unmoved = newest["G1", "displacement_east"]
        assert (unmoved["offset_applied"], unmoved["observed_at"]) == (0.0, format_iso(NOW))


def test_views_return_the_values_that_decisions_use(filled_database):
    with filled_database.read() as connection:
        for series_key in {
            (newest["site"], newest["station"], newest["quantity"])
            for newest in views.load_view(connection, "latest_observation")
        }:
            series_id = observations.find_series_id(connection, *series_key)
            filters = dict(zip(("site", "station", "quantity"), series_key, strict=True))
            for reading in observations.load_readings(connection, series_id, NOW - days(6), NOW, NOW):
                filters |= {"observed_at": format_iso(reading.observed_at), "revision": reading.revision}
                (row,) = views.load_view(connection, "observation_history", **filters)
                assert row["value"] == pytest.approx(reading.value, abs=1e-9)
                assert set(filter(None, row["flags"].split(","))) == set(reading.flags)


def test_skill_is_null_if_the_baseline_made_no_error(filled_database):
    with filled_database.write() as c:
        c.execute(forecast_score.update().values(baseline_error=0.0))
        sum_up(c, find_spans(c, true()))
    assert {r["skill"] for r in ask(filled_database, views.load_view, "forecast_skill")} == {None}


def add_site(c):
    levels = [{"number": 0, "name": "green", "action": "", "auto_lower": False}]
    place = {"latitude": 1.0, "longitude": 2.0, "timezone": "UTC"}
    c.execute(insert(site).values(id="new", name="New", config_sha256="a" * 64, active=True, levels=levels, **place))


def test_columns_of_a_site_that_was_never_evaluated_are_null(database):
    with database.write() as c:
        add_site(c)
        c.execute(insert(station).values(site="new", id="S1", on_slope=True, declared=True))
    with database.read() as c:
        (status,) = views.load_view(c, "site_status")
        (health,) = views.load_view(c, "station_health")
    assert [status[k] for k in ("level", "level_name", "observability", "active_alerts")] == [None, None, None, 0]
    assert (health["station"], health["state"], health["votes"]) == ("S1", None, None)


def test_advice_does_not_count_as_unacknowledged(database):
    """Only alerts of the ledgers hazard and health ask for an acknowledgement."""
    row = {"site": "new", "level": 1, "peak_level": 1, "state": "unacknowledged", "exercise": False}
    row |= {"raised_at": NOW, "reason": "x", "rule_version": "1"}
    with database.write() as c:
        add_site(c)
        c.execute(insert(alert), [{**row, "ledger": kind, "key": kind} for kind in ("hazard", "health", "advice")])
    (status,) = ask(database, views.load_view, "site_status")
    assert (status["active_alerts"], status["unacknowledged"]) == (3, 2)


def test_quarantine_marks_retained_and_cut_messages(database):
    bodies = {"whole": b"{", "kept": b"{{", "cut": b"{" * (PAYLOAD_LIMIT + 1)}
    rows = [
        RejectedMessage(NOW, name, body, "x", "x", "live", retained=name == "kept") for name, body in bodies.items()
    ]
    tell(database, add_rejected, rows)
    with database.read() as connection:
        rows = views.load_view(connection, "rejected_messages")
        assert [row["topic"] for row in views.load_view(connection, "rejected_messages", cut=True)] == ["cut"]
    marks = {row["topic"]: (row["retained"], row["cut"]) for row in rows}
    assert marks == {"whole": (False, False), "kept": (True, False), "cut": (False, True)}


def test_views_use_neither_the_clock_nor_window_functions():
    for sqlite in (True, False):
        for name, select in select_views(sqlite=sqlite).items():
            lowered = select.lower()
            assert not re.search(
                r"\b(now\(|current_|datetime\(|strftime|clock_timestamp|localtime|over \()", lowered
            ), name


def test_error_for_an_unknown_view_lists_the_views(database):
    with database.read() as c, pytest.raises(NotFoundError, match="latest_observation"):
        views.load_view(c, "everything")


def test_unknown_column_is_an_error(filled_database):
    for invalid_column in ("nowhere", "site = site --"):
        with pytest.raises(Exception, match="column"), filled_database.read() as connection:
            views.load_view(connection, "site_status", **{invalid_column: "x"})
    first = ask(filled_database, views.load_view, "alert_outcomes", by="ada", order_by=("-class",))[0]
    assert first["class"] == "false_weather"


BOARDS = sorted((Path(__file__).parents[2] / "deploy/grafana/dashboards").glob("*.json"))


def list_queries(board):
    """Yield the place, SQL and format of each panel, variable and annotation."""
    dashboard = json.loads(board.read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield f"{board.stem}: {panel['title']} {target['refId']}", target["rawSql"], target["format"]
    for item in dashboard["templating"]["list"]:
        if item["type"] == "query":
            yield f"{board.stem}: ${item['name']}", item["query"], "table"
    for item in dashboard["annotations"]["list"]:
        yield f"{board.stem}: {item['name']}", item["target"]["rawSql"], "table"


def expand_macros(sql):
    """Replace the macros of Grafana and the variables of the dashboard by values."""
    values = {
        "$__timeFrom()": "'2025-12-01T00:00:00Z'",
        "$__timeTo()": "'2026-03-02T00:00:00Z'",
        "($model)": "('combined', 'gru')",
        "$site": "north-bench",
        "$station": "G1",
        "$quantity": "displacement_north",
    }
    for name, value in values.items():
        sql = sql.replace(name, value)
    assert not re.search(r"\$\w", sql), sql
    return sql


@pytest.mark.server
def test_dashboard_queries_return_rows_for_a_read_only_role(reader):  # noqa: F811
    empty = []
    session = reader()
    for board in BOARDS:
        for place, sql, form in list_queries(board):
            result = session.execute(expand_macros(sql))
            names = [column.name for column in result.description]
            if form == "time_series":
                assert names[0] == "time", place
                assert result.description[0].type_code == 1184, place  # timestamptz
            if result.fetchone() is None:
                empty.append(place)
    assert len(BOARDS) == 4

    # No instrument of the story measures a voltage.
    assert empty == ["instruments: Battery, V A"]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_dashboards_are_valid_for_grafana(board):
    original = json.loads(board.read_text(encoding="utf-8"))
    parsed = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(original)))
    assert [panel["title"] for panel in parsed["panels"]] == [panel["title"] for panel in original["panels"]]
    assert [panel["gridPos"] for panel in parsed["panels"]] == [{**panel["gridPos"]} for panel in original["panels"]]
    assert all((panel["gridPos"]["x"] + panel["gridPos"]["w"]) <= 24 for panel in original["panels"])
    assert len({panel["id"] for panel in original["panels"]}) == len(original["panels"])

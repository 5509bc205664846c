"""How PostgreSQL reads the monthly views of one station with a long past, among many stations with a short one."""

import pytest
from sqlalchemy import text

from monitor.store.database.engine import Database

pytestmark = pytest.mark.server
MONTHLY = ("forecast_skill", "forecast_skill_by_stage", "forecast_scores", "forecast_coverage")
SERIES = (
    "INSERT INTO series (site, station, quantity, unit, created_at)"
    " SELECT 's', 'G' || k, 'displacement', 'mm', '2026-03-01T00:00:00.000000Z' FROM generate_series(1, 400) AS g(k)"
)
FORECASTS = (
    "INSERT INTO forecast (series_id, issued_at, data_until, as_of_received_at, target_at, horizon_s, q025, q10, q50,"
    " q90, q975, model, model_hash, baseline, baseline_q50, data_value, shown, reason)"
    " SELECT s.id, t.at, t.at, t.at, t.at, 86400.0, 1, 2, 3, 4, 5, 'lld', '', 'lld', 3, 2, 1 = 1, '' FROM series s"
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
def long_past(postgresql):
    """One station with 4,000 scored forecasts, 399 with three, as a server keeps them: vacuumed and counted."""
    with Database(postgresql.url(postgresql.copy("template_slopeward", "plans"))) as db:
        with db.write() as c:
            for statement in (SERIES, FORECASTS, SCORES):
                c.execute(text(statement))
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
            c.exec_driver_sql("VACUUM ANALYZE")
        yield db


def gather(node):
    """A plan as a list of its nodes."""
    return [node, *(found for one in node.get("Plans", ()) for found in gather(one))]


@pytest.mark.parametrize("view", MONTHLY)
def test_a_monthly_view_reads_its_rows_from_indexes_alone_and_in_order(long_past, view):
    question = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM {view} WHERE site = 's' AND station = 'G7'"
    with long_past.read() as c:
        plan = gather(c.execute(text(question)).scalar_one()[0]["Plan"])
    read = {n["Relation Name"]: n for n in plan if n.get("Relation Name") in ("forecast", "forecast_score")}
    assert {name: node["Node Type"] for name, node in read.items()} == {
        "forecast": "Index Only Scan",
        "forecast_score": "Index Only Scan",
    }
    assert sum(node["Heap Fetches"] for node in read.values()) == 0
    assert "Sort" not in {node["Node Type"] for node in plan}, "rows of all months are sorted at once"
    assert plan[0]["Temp Written Blocks"] == 0

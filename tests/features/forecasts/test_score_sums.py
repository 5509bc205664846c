"""What is kept of scores beside them answers as if all scores had been read, whatever came and went in which order."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, text

from monitor.features.forecasts.queries.forecasts import ForecastScore, add_forecasts, add_scores
from monitor.features.forecasts.tables import forecast, forecast_month
from monitor.readings.queries.renames import apply_renames
from monitor.readings.tables import series as series_table
from monitor.sites.records import Site, Station
from monitor.storage.actor import Actor
from monitor.storage.dialect import Dialect
from monitor.storage.prune import RetentionRun
from monitor.storage.retention import RetentionLimits
from tests.data.feature_rows import forecast_row
from tests.data.store_rows import tell

NOW = datetime(2026, 3, 9, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
GROUP = "f.model, f.horizon_s, substr(f.target_at, 1, 7), f.hindcast"
NAMES = "f.model AS model, f.horizon_s AS horizon_s, substr(f.target_at, 1, 7) AS month, f.hindcast AS hindcast"
MAE = ("abs(c.error)", "abs(c.baseline_error)")


def write_plain(d):
    """The views that read what is kept beside scores, worked out from the scores themselves."""
    scored = "FROM series s JOIN forecast f ON f.series_id = s.id JOIN forecast_score c ON c.forecast_id = f.id"
    series = "s.site AS site, s.station AS station, s.quantity AS quantity"

    def mean(value):
        return d.rounded(f"avg({value})", 6)

    def share(where):
        return f"CAST(CASE WHEN {where} THEN 1 ELSE 0 END AS double precision)"

    def group(figures, more=""):
        by = f"s.site, s.station, s.quantity, {GROUP}{more}"
        return f"SELECT {series}, {NAMES}, count(*) AS n, {figures} {scored} GROUP BY {by}"

    skill = f"""CASE WHEN avg({MAE[1]}) > 0 THEN {d.rounded(f"1 - avg({MAE[0]}) / avg({MAE[1]})", 6)} END AS skill"""
    inside = f"{mean(share('c.inside_80'))} AS covered_80, {mean(share('c.inside_95'))} AS covered_95"
    ends = [
        mean(f"CASE WHEN c.pit IS NULL THEN NULL WHEN c.pit {where} THEN 1.0 ELSE 0.0 END")
        for where in ("< 0.1", "> 0.9")
    ]
    order = "PARTITION BY s.id, f.model, f.horizon_s, f.hindcast ORDER BY f.target_at, f.issued_at, f.id"
    rolled = [d.rounded(f"avg({share(f'c.inside_{k}')}) OVER newest", 6) for k in (80, 95)]
    covered = " UNION ALL ".join(
        group(
            f"CAST({nominal} AS double precision) AS nominal, {mean(share(f'c.{column}'))} AS covered,"
            f" {mean(width)} AS width"
        )
        for nominal, column, width in ((0.8, "inside_80", "f.q90 - f.q10"), (0.95, "inside_95", "f.q975 - f.q025"))
    )
    return {
        "forecast_skill": group(
            f"{mean(MAE[0])} AS mae, {mean('abs(c.persistence_error)')} AS mae_persistence,"
            f" {mean(MAE[1])} AS mae_best_baseline, {skill}"
        ),
        "forecast_skill_by_stage": group(
            f"f.stage AS stage, {mean(MAE[0])} AS mae, {mean(MAE[1])} AS mae_best_baseline, {skill}, {inside}",
            ", f.stage",
        ),
        "forecast_scores": group(
            f"c.situation AS situation, {mean(MAE[0])} AS mae, {mean('abs(c.persistence_error)')} AS mae_persistence,"
            f" {mean('c.pinball')} AS pinball, {mean('c.crps')} AS crps, {mean('c.winkler_80')} AS interval_score_80,"
            f" {inside}, {ends[0]} AS pit_below_10, {ends[1]} AS pit_above_90",
            ", c.situation",
        ),
        "forecast_coverage": covered,
        "forecast_coverage_rolling": f"SELECT {series}, f.model, f.horizon_s, f.target_at, f.issued_at, f.shown,"
        f" f.hindcast, {rolled[0]} AS covered_80, {rolled[1]} AS covered_95, count(*) OVER newest AS n {scored}"
        f" WINDOW newest AS ({order} ROWS BETWEEN 29 PRECEDING AND CURRENT ROW)",
        "latest_forecast": f"""SELECT {series}, f.model, f.issued_at, f.horizon_s, f.q50 FROM series s
JOIN forecast f ON f.series_id = s.id WHERE NOT f.hindcast AND f.issued_at = (SELECT max(g.issued_at) FROM forecast g
  WHERE g.series_id = s.id AND g.model = f.model AND NOT g.hindcast) AND (f.model <> 'combined' OR f.issued_at =
  (SELECT max(g.issued_at) FROM forecast g WHERE g.series_id = s.id AND NOT g.hindcast))""",
    }


def assert_equal_rows(database):
    with database.read() as c:
        for name, plain in write_plain(Dialect(database.is_sqlite)).items():
            expected = c.execute(text(plain)).mappings().all()
            assert expected, name
            columns = sorted(expected[0])
            found = c.execute(text(f"SELECT {', '.join(columns)} FROM {name}")).all()
            assert Counter(map(tuple, found)) == Counter(tuple(row[k] for k in columns) for row in expected), name


def draw_forecast(r, series_id):
    horizon_s = r.choice((3600.0, 86400.0))
    issued = NOW - r.choice((9, 70)) * DAY + r.randrange(60) * HOUR * (24 if r.random() < 0.3 else 1)
    model, low = r.choice(("combined", "combined", "gru", "line")), r.uniform(0, 9)
    fan = (low, low + r.random(), low + 1.5, low + 2, low + 3 + r.random())
    facts = {"stage": r.choice((None, "creep", "steady")), "shown": r.random() < 0.5, "model_hash": r.choice("ab")}
    if r.random() < 0.2:  # two issues without a reading between them forecast the same instant
        facts["target_at"] = issued.replace(hour=0) + timedelta(seconds=horizon_s)
    return forecast_row(series_id, issued, fan, horizon_s, model=model, hindcast=r.random() < 0.2, **facts)


def draw_score(r, row):
    crps, pit = (None, None) if r.random() < 0.2 else (r.uniform(0, 3), r.random())
    errors = [0.0 if r.random() < 0.1 else r.uniform(-9, 9) for _ in range(3)]
    inside = r.random() < 0.8
    situation = r.choice((None, "creep", "after rain"))
    scores = (inside, inside or r.random() < 0.5, r.random(), r.uniform(1, 40))
    return ForecastScore(row.id, row.target_at, 3.0, *errors, *scores, crps, pit, situation)


@pytest.mark.soak
def test_views_of_scores_answer_as_if_all_scores_were_read(database):
    r = random.Random(database.engine.dialect.name)
    stations = [("s", k, "displacement_north") for k in ("A", "B", "C")]
    with database.write() as c:
        for site, station, quantity in stations:
            c.execute(
                insert(series_table).values(site=site, station=station, quantity=quantity, unit="mm", created_at=NOW)
            )
        numbers = sorted(c.execute(select(series_table.c.id)).scalars())
        add_forecasts(c, [draw_forecast(r, r.choice(numbers)) for _ in range(500)])
        rows = list(c.execute(select(forecast.c.id, forecast.c.target_at)))
    r.shuffle(rows)
    cuts = sorted(r.sample(range(1, len(rows)), 6))
    for start, end in zip([0, *cuts], cuts, strict=False):
        some = [draw_score(r, row) for row in rows[start:end]]
        with database.write() as c:
            assert add_scores(c, some, NOW) == {one.forecast_id for one in some}
            assert add_scores(c, some[:5], NOW) == set()
        assert_equal_rows(database)
    limits = RetentionLimits({"scores": NOW - r.choice((69, 68, 8)) * DAY})
    assert RetentionRun(database, limits, NOW, pause=lambda _: None).run()["forecast_score"].removed
    assert_equal_rows(database)
    site = Site("s", "S", 46.0, 8.0, "UTC", (), (Station("C", was=("A",)),), ())
    assert tell(database, apply_renames, site, Actor("ada"), NOW, merge=True) == {"A": "C"}
    assert_equal_rows(database)
    with database.read() as c:
        kept = set(c.execute(select(forecast_month.c.series_id)).scalars())
        assert kept <= set(c.execute(select(series_table.c.id)).scalars())

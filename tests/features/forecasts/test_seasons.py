"""The season of a series from the readings to the view, the page and the file, on both databases."""

import json
from datetime import timedelta

import pytest

from forecasting.decomposition.season import Season
from monitor.features.forecasts import season, worker
from monitor.features.forecasts.queries.seasons import load_season, save_seasons
from monitor.readings.queries.observations import load_series
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.views import load_view
from monitor.text.instants import parse_time
from tests.features.instruments.test_instruments import HEAD, STATION
from tests.fixtures.databases import ON_BOTH
from tests.web.test_door import Clock, serving
from tests.web.test_rules import enter

pytest.importorskip("statsmodels")
NOW = parse_time("2026-03-15T12:00:00Z")
SITE = parse_site(HEAD + STATION.format("G1") + STATION.format("G2"), "bench.toml")
YEAR = 365.25 * 86400.0


def read(station, months, quantity="displacement_downslope", unit="mm"):
    for k in range(months):
        at = NOW - timedelta(days=30.4375 * k + 1)
        value = 2.0 * ((at.timestamp() / YEAR) % 1.0) - 0.3 * k
        yield Observation("bench", station, quantity, unit, at, at, value)


@pytest.fixture
def split(database, monkeypatch):
    """G1 with four years of months, G2 with fourteen months; rain, which has no level."""
    monkeypatch.setattr(season, "run_in_worker", lambda plan, task, asked: worker.split_seasons(asked))
    rows = [*read("G1", 48), *read("G2", 14), *read("G1", 3, "rain", "mm")]
    with database.write() as c:
        save_site(c, SITE, "test", "test", NOW)
        add_observations(c, rows, NOW)
    assert season.run(database, ServiceConfig(), SITE, NOW) == "1 of 2 series split into trend, season and remainder"
    return database


@ON_BOTH
def test_views_hold_the_split_with_its_evidence_and_the_reason_where_there_is_none(split):
    with split.read() as c:
        heads = {r["station"]: r for r in load_view(c, "series_seasons", site="bench")}
        rows = load_view(c, "season_components", order_by=("station", "at"), site="bench")
    assert (set(heads), heads["G2"]["reason"]) == ({"G1", "G2"}, "needs two full years: 14 of 24 months")
    assert heads["G2"]["season_strength"] is None
    assert (heads["G1"]["grid"], heads["G1"]["grid_rows"], heads["G1"]["unit"]) == ("month", 48, "mm")
    assert (heads["G1"]["method"], heads["G2"]["method"], heads["G1"]["day_range"]) == ("STL", "", None)
    assert (json.loads(heads["G1"]["parameters"])["period"], len(rows)) == ("12", 48)
    assert {r["station"] for r in rows} == {"G1"}
    for row in rows:
        assert row["trend"] + row["season"] + row["remainder"] == pytest.approx(row["value"], abs=1e-5)
        assert parse_time(row["at"]).day == 1


def test_the_season_of_the_day_is_kept_and_shown(split):
    """What a split with two seasons holds goes to the view; `split_season` finds it in its own tests."""
    with split.write() as c:
        (series_id,) = [s.id for s in load_series(c, "bench") if s.station == "G1" and s.quantity != "rain"]
        rows = {"at_s": (0.0,), "value": (1.5,), "trend": (1.0,), "season": (0.25,), "remainder": (0.25,)}
        facts = {"trend_strength": 0.5, "season_strength": 0.25, "season_range": 2.0, "method": "MSTL"}
        facts |= {"day_strength": 0.75, "day_range": 1.5, "parameters": {"method": "MSTL"}}
        parts = (0.5, 1.0, 0.75, 0.0, -0.5, -0.25, 0.0, 0.25)
        save_seasons(c, {series_id: Season("day", 365, 2, 0.0, 86400.0, day_parts=parts, **rows, **facts)}, NOW)
    with split.read() as c:
        hours = load_view(c, "season_hours", order_by=("hour_utc",), site="bench")
        (found,) = load_season(c, "bench", "G1")
    assert [(r["hour_utc"], r["season"]) for r in hours][:3] == [(0, 0.5), (3, 1.0), (6, 0.75)]
    assert found["day"]["hour_utc"] == [0, 3, 6, 9, 12, 15, 18, 21]


def test_a_start_by_day_does_not_repeat_the_night_and_the_next_night_does(split):
    assert season.run(split, ServiceConfig(), SITE, NOW + timedelta(hours=3)) == "split already tonight"
    assert season.run(split, ServiceConfig(), SITE, NOW + timedelta(days=1)).startswith("1 of 2 series")


def test_page_and_programs_read_it(split):
    with serving(split, Clock()) as address, enter(address, None) as at:
        (found,) = at.get("/api/v1/sites/bench/season/G1").json()["series"]
        assert (found["components"]["at"][0], len(found["components"]["season"])) == ("2022-04-01T00:00:00.000000Z", 48)
        (short,) = at.get("/api/v1/sites/bench/season/G2?lang=it").json()["series"]
        assert short["reason"] == "servono due anni interi: 14 di 24 mesi"
        assert at.get("/api/v1/sites/bench/season/G9").status_code == 404

"""A replaced antenna is no error of a forecast, and a movement is one."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from monitor.alerts.acts.operator_acts import verify
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries.offsets import confirm_offset
from monitor.decision.keys import StepKey
from monitor.features.forecasts import run
from monitor.features.forecasts.score import score_targets
from monitor.features.forecasts.tables import forecast, forecast_score
from monitor.people.queries.users import add_user
from monitor.readings.queries.observations import find_series_id
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.text.instants import epoch_s, parse_time
from monitor.worker import compute
from tests.data.crossing import cross
from tests.data.site_text import bounds, criterion, head, series, station
from tests.data.store_rows import enter_offset, tell
from tests.fixtures.databases import ON_BOTH, ON_SQLITE

START = parse_time("2026-01-01T00:00:00Z")
DAY = timedelta(days=1)
STEP_DAY, STEP_MM = 101, 80.0
SITE = parse_site(
    head(
        "bench",
        levels={"names": ["green", "yellow", "orange", "red"]},
        forecast={"horizons": ["3d"]},
    )
    + station("G1", series("displacement", "mm", "1d", max_silence="3d", noise_floor_mm=1.0))
    + criterion("rate", stations=["G1"], quantity="displacement", **bounds(yellow="6 3d")),
    "bench.toml",
)


def store(database: Database, first: int, last: int) -> datetime:
    """Store daily readings of an antenna that is replaced on day 101; return the instant after the last one."""
    rows = [
        Observation(
            "bench", "G1", "displacement", "mm", at, at, 0.1 * (day % 2) + (STEP_MM if day >= STEP_DAY else 0.0)
        )
        for day in range(first, last + 1)
        for at in [START + day * DAY]
    ]
    now = START + last * DAY + timedelta(hours=1)
    tell(database, add_observations, rows, now)
    return now


def sign_offset(database: Database, day: int, size_mm: float, now: datetime) -> None:
    with database.write() as c:
        number = enter_offset(c, find_series_id(c, "bench", "G1", "displacement"), START + day * DAY, size_mm, now)
        confirm_offset(c, number, Actor("Bo"), "field book", now)


def read_largest_error(database: Database) -> float:
    with database.read() as c:
        errors = c.execute(select(forecast_score.c.error)).scalars().all()
    assert errors
    return max(map(abs, errors))


@pytest.fixture
def issued(database, tmp_path, monkeypatch):
    """A site whose forecasts were issued on day 100, and that has readings until day 103."""
    monkeypatch.setattr(compute, "run", cross)
    tell(database, save_site, SITE, "test", "test", START)
    for name in ("Ada", "Bo"):
        tell(database, add_user, name, None, "operator", START)
    now = store(database, 0, STEP_DAY - 1)
    evaluate_site(database, SITE, now, "data")
    run.run(database, ServiceConfig.model_validate({"paths": {"models": f"{tmp_path}/models"}}), SITE, now)
    with database.read() as c:
        assert set(c.execute(select(forecast.c.model)).scalars()) == {"combined", "persistence", "line"}
    for day in range(STEP_DAY, STEP_DAY + 3):
        now = store(database, day, day)
        evaluate_site(database, SITE, now, "data")
    return database, now


@ON_SQLITE
def test_an_open_step_is_no_error_of_a_forecast(issued):
    database, now = issued
    score_targets(database, SITE, now)
    assert read_largest_error(database) < 5.0


@ON_SQLITE
def test_an_offset_of_the_time_after_a_forecast_is_no_error(issued):
    database, now = issued
    sign_offset(database, STEP_DAY, STEP_MM, now)
    score_targets(database, SITE, now)
    assert read_largest_error(database) < 5.0


@ON_BOTH
def test_an_offset_of_the_time_before_a_forecast_is_no_error(issued):
    database, now = issued
    sign_offset(database, 50, 30.0, now)
    score_targets(database, SITE, now)
    assert read_largest_error(database) < 5.0


@ON_BOTH
def test_a_step_that_is_movement_is_an_error_of_a_forecast(issued):
    database, now = issued
    question = str(StepKey("G1", epoch_s(START + STEP_DAY * DAY)))
    verify(database, SITE, question, "movement", Actor("Ada", "person"), "cracks at the head", now)
    score_targets(database, SITE, now)
    assert read_largest_error(database) > STEP_MM - 5.0

"""States of stations at the instant of display, loaded from the database."""

from datetime import timedelta

import pytest

from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.evaluation_tables import site_state
from monitor.alerts.queries.overview import load_cards
from monitor.alerts.queries.station_states import load_station_states
from monitor.features.instruments.queries.board import load_present_board
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from tests.data.watched_slope import HOUR, SITE_TEXT, WatchedSlope

MINUTE = timedelta(minutes=1)


@pytest.fixture
def slope(database):
    slope = WatchedSlope(database)
    slope.live(30, looks=1)
    return slope


def load_states(slope, now):
    with slope.database.read() as c:
        return load_station_states(c, now, slope.site.id)[slope.site.id]


@pytest.mark.parametrize(
    ("age", "state", "is_current"),
    [
        (timedelta(0), "ok", True),
        (90 * MINUTE, "ok", True),
        (91 * MINUTE, "late", True),
        (121 * MINUTE, "late", False),
        (6 * HOUR, "late", False),
        (6 * HOUR + MINUTE, "silent", False),
    ],
)
def test_state_is_that_of_the_instant_of_display(slope, age, state, is_current):
    stations = load_states(slope, slope.now + age)
    assert stations.states == {"G1": state, "G2": state}
    assert stations.is_current("G1", "crack_opening", slope.now) == is_current
    assert stations.missing_voting == ([] if state == "ok" else ["G1", "G2"])


def test_a_late_instrument_is_nowhere_ok(slope):
    newest_at = slope.now
    slope.now += HOUR
    slope.publish("G1", 0.0, slope.now)
    now = newest_at + 100 * MINUTE
    with slope.database.read() as c:
        card = load_cards(c, "bench", now=now)[0]
        board = {row["instrument"]: row["state"] for row in load_present_board(c, "bench", now)}
    assert card.status["observability"] == "full"
    assert card.sight == "degraded"
    assert str(card.ok) == "1 of 2 ok, 1 late"
    assert board == {"G1": "ok", "G2": "late"}


def test_a_new_reading_ends_the_state_late_without_an_evaluation(slope):
    now = slope.now + 100 * MINUTE
    assert load_states(slope, now).states["G1"] == "late"
    slope.now = now
    slope.publish("G1", 0.0, now)
    assert load_states(slope, now).states == {"G1": "ok", "G2": "late"}


def test_the_decision_does_not_depend_on_the_state_late(slope):
    now = slope.now + 100 * MINUTE
    result = evaluate_site(slope.database, slope.site, now, "tick")
    assert result.decision.observability == "full"
    assert {health.state for health in result.decision.health} == {"ok"}


def test_readings_at_another_interval_than_declared_have_their_own(slope):
    for _ in range(12):
        slope.now += 10 * MINUTE
        slope.publish("G1", 0.0, slope.now)
    assert load_states(slope, slope.now + 16 * MINUTE).states["G1"] == "late"


def test_a_logger_that_uploads_once_a_day_is_late_after_a_day_and_a_half(database):
    slope = WatchedSlope(database, SITE_TEXT.replace('max_silence = "6h"\n', ""))
    start = slope.now
    for day in range(1, 6):
        slope.now = start + timedelta(days=day)
        epochs = [slope.now - k * 10 * MINUTE for k in reversed(range(144))]
        rows = [
            Observation("bench", "G1", "crack_opening", "mm", at, slope.now, slope.rng.gauss(0.0, 0.3)) for at in epochs
        ]
        with database.write() as c:
            add_observations(c, rows, slope.now)
    evaluate_site(database, slope.site, slope.now, "data")
    assert load_states(slope, slope.now + 35 * HOUR).states["G1"] == "ok"
    assert load_states(slope, slope.now + 37 * HOUR).states["G1"] == "late"
    assert load_states(slope, slope.now + 73 * HOUR).states["G1"] == "silent"


def test_while_a_backlog_is_stored_no_station_becomes_silent(slope):
    with slope.database.write() as c:
        c.execute(site_state.update().values(catching_up=True))
    assert set(load_states(slope, slope.now + timedelta(days=1)).states.values()) == {"late"}

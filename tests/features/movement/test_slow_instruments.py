"""A site with GNSS every six hours and an inclinometer that people read every 14 days, each at its own pace."""

from datetime import timedelta
from random import Random

import pytest

from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries.evaluations import load_incomplete
from monitor.features.movement.update import update_movement
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.views import load_view
from monitor.text.instants import parse_time
from tests.data import site_text
from tests.data.store_rows import ask, tell

START = parse_time("2026-01-01T00:00:00Z")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
GNSS_EVERY = 6 * HOUR
SURVEY_EVERY = 14 * DAY
FIRST_SURVEY = START + 30 * DAY
VELOCITY_MM_PER_DAY = 0.1
NOISE_MM = {"GNSS": 1.0, "BOREHOLE": 0.5}
QUANTITY = {"GNSS": "displacement_downslope", "BOREHOLE": "displacement"}


def make_bounds(window, yellow, orange, red):
    levels = {"yellow": yellow, "orange": orange, "red": red}
    return {level: {"over": velocity, "window": window} for level, velocity in levels.items()}


SITE = parse_site(
    site_text.head("bank", levels=site_text.FOUR)
    + site_text.station("GNSS", site_text.series("displacement", "mm", "6h", noise_floor_mm=1.0), azimuth_deg=90.0)
    + site_text.station("BOREHOLE", site_text.series("displacement", "mm", "14d", noise_floor_mm=0.5))
    + site_text.criterion("velocity", stations=["GNSS"], **make_bounds("2d", 5.0, 10.0, 20.0))
    + site_text.criterion("survey_rate", series="BOREHOLE.displacement", **make_bounds("42d", 0.5, 1.0, 2.0)),
    "bank.toml",
)


def store(database, station, instants, move_mm):
    """Store readings that are received when they are measured."""
    noise = Random(1)
    sigma_mm = NOISE_MM[station]
    readings = []
    for at in instants:
        value_mm = move_mm(at) + noise.gauss(0.0, sigma_mm)
        readings.append(Observation("bank", station, QUANTITY[station], "mm", at, at, value_mm, sigma_mm))
    tell(database, add_observations, readings, START)


def creep_mm(at):
    return VELOCITY_MM_PER_DAY * ((at - START) / DAY)


def load_stages(database, station):
    return [dict(row) for row in ask(database, load_view, "movement_history", station=station, order_by=["at"])]


@pytest.mark.soak
def test_slow_instrument_neither_degrades_the_site_nor_makes_its_movement_unknown(database):
    surveys = [FIRST_SURVEY + n * SURVEY_EVERY for n in range(7)]
    solutions = (surveys[-1] - START) // GNSS_EVERY + 1
    tell(database, save_site, SITE, "test", "test", START)
    store(database, "GNSS", [START + n * GNSS_EVERY for n in range(solutions)], creep_mm)
    store(database, "BOREHOLE", surveys, creep_mm)

    for survey_at in surveys:
        for now in (survey_at - HOUR / 2, survey_at + HOUR / 2):
            evaluate_site(database, SITE, now, "tick")
            update_movement(database, SITE, now)
            (status,) = ask(database, load_view, "site_status")
            gnss_stage = load_stages(database, "GNSS")[-1]["stage"]
            assert status["movement_stage"] == gnss_stage != "unknown"
            if now > surveys[1]:
                assert status["observability"] == "full", ask(database, load_incomplete, "bank")

    rows = load_stages(database, "BOREHOLE")
    assert [row["stage"] == "unknown" for row in rows] == [True] * 3 + [False] * 4
    assert "too few readings so far" in rows[0]["reasons"]
    newest = rows[-1]
    error = newest["velocity_error_mm_per_day"]
    assert newest["velocity_mm_per_day"] == pytest.approx(VELOCITY_MM_PER_DAY, abs=3.0 * error)
    assert newest["velocity_window_s"] >= 4 * SURVEY_EVERY.total_seconds()


def test_slow_instrument_that_accelerates_decides_the_stage_of_the_site(database):
    moved_mm = [0.0]
    for survey in range(40):
        growth = 1.5 ** max(0, survey - 30)
        moved_mm.append(moved_mm[-1] + growth * VELOCITY_MM_PER_DAY * SURVEY_EVERY.days)
    surveys = [START + n * SURVEY_EVERY for n in range(40)]
    tell(database, save_site, SITE, "test", "test", START)
    store(database, "BOREHOLE", surveys, lambda at: moved_mm[(at - START) // SURVEY_EVERY])

    stages = [update_movement(database, SITE, at + HOUR).stage for at in surveys]
    assert stages[:3] == ["unknown"] * 3
    assert not {"unknown", "progressive"} & {*stages[3:30]}
    assert stages[-1] == "progressive"

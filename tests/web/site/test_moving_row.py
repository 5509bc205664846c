"""The row "Moving" of a site whose stations creep: it names the fastest one, with the age of its newest reading."""

import re
from datetime import timedelta

import pytest

from monitor.features.movement.update import update_movement
from tests.data.watched_slope import WatchedSlope
from tests.web.served import serving
from tests.web.test_simulated import Page

FASTEST = re.compile(r"; fastest G1, (0\.\d+) mm/day over [\d.]+ (?:h|d) \((.+) ago\)$")


@pytest.fixture
def calm_slope(database):
    slope = WatchedSlope(database)
    slope.live(5 * 24, {"G1": 0.05, "G2": 0.01}, looks=1)
    update_movement(database, slope.site, slope.now)
    return slope


def read_moving_rows(slope, *, minutes):
    """Return the row of the site page and of the overview, some minutes after the last reading."""
    with serving(slope.database, slope.now + timedelta(minutes=minutes)) as client:
        return [dict(Page(client.get(path).text).facts)["Moving"] for path in ("/sites/bench", "/")]


def test_row_names_the_fastest_station_of_a_calm_site(calm_slope):
    for row in read_moving_rows(calm_slope, minutes=12):
        assert row.startswith("none: the only judged station is not faster than creep; fastest G1, "), row
        velocity, age = FASTEST.search(row).groups()
        assert float(velocity) == pytest.approx(0.05, abs=0.1)
        assert age == "12 min"


def test_row_shows_the_age_of_the_velocity_of_a_silent_site(calm_slope):
    for row in read_moving_rows(calm_slope, minutes=9 * 60):
        assert FASTEST.search(row).group(2) == "9 h", row

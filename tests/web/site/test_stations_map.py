"""Stations on the map of a site, on both databases."""

from datetime import timedelta

import pytest

from monitor.alerts.evaluation_tables import site_state
from monitor.decision.keys import VoteKey
from monitor.decision.records import Memory, Vote
from monitor.features.movement.queries import MovementRow, add_update
from monitor.readings.queries.observations import find_series_id
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.text.instants import epoch_s
from tests.data.filled import NOW
from tests.web.served import serving

SITE = "/api/v1/sites/north-bench"


@pytest.fixture
def client(filled_database):
    with serving(filled_database, NOW + timedelta(minutes=5)) as c:
        yield c


def facts_of(client):
    found = client.get(f"{SITE}/stations.geojson")
    assert found.status_code == 200, found.text
    return {f["properties"]["station"]: f["properties"] for f in found.json()["features"]}


def vote(level, until):
    return Vote(level, epoch_s(until) - 3600, epoch_s(until), "x")


def test_station_on_the_map_has_direction_of_motion_and_requested_level(client, filled_database):
    with filled_database.write() as c:
        ids = {q: find_series_id(c, "north-bench", "G2", f"displacement_{q}") for q in ("east", "north")}
        for k in range(40):  # The motion is to the north-west, against the azimuth of the site file.
            at = NOW + timedelta(hours=-39 + k, minutes=1)
            for q, value in (("east", -500.0 - 3.0 * k), ("north", -500.0 + 3.0 * k)):
                add_observations(c, [Observation("north-bench", "G2", f"displacement_{q}", "mm", at, at, value)], at)
        newest = NOW + timedelta(minutes=2)
        moves = MovementRow(ids["east"], newest, NOW, "progressive", "none", 90.0, 2.0, 86400.0, *[None] * 6, "", {})
        add_update(c, moves, [])
        memory = Memory(votes={VoteKey("v", "G1"): vote(2, NOW + timedelta(hours=1)), VoteKey("v", "E1"): vote(3, NOW)})
        c.execute(site_state.update().where(site_state.c.site == "north-bench").values(state=memory.to_json()))
    found = facts_of(client)
    assert (found["G2"]["heading_deg"], found["G2"]["heading_from"]) == (pytest.approx(315.0, abs=2.0), "readings")
    assert (found["G1"]["heading_deg"], found["G1"]["heading_from"]) == (205.0, "site file")
    assert found["C1"]["heading_deg"] is None
    assert [(found[s]["asks"], found[s]["asks_name"]) for s in ("G1", "E1")] == [
        (2, "orange"),
        (0, None),
    ]  # The vote of E1 has expired.

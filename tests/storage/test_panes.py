"""Data of the linked charts: the same readings for any length of range, and marks with links to their alerts."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from monitor.alerts.evaluation_tables import evaluation, outage
from monitor.alerts.queries.timeline import load_ribbon
from monitor.readings.queries.observations import load_series
from monitor.storage.service_state import write_heartbeat
from monitor.web.parts import columns
from monitor.web.parts.columns import load_points, unfold
from monitor.web.routes.site.charts import find_parts
from tests.data import filled as story
from tests.data.store_rows import ask, tell
from tests.web.served import client, database, filled  # noqa: F401 - fixtures

SITE = "/api/v1/sites/north-bench"


def test_long_range_contains_the_extremes_and_newest_readings_of_the_exact_range(filled_database, monkeypatch):
    now, low = story.NOW + timedelta(minutes=5), story.START - timedelta(days=1)
    with filled_database.read() as connection:
        series = load_series(connection, "north-bench")
        for station, quantity in (
            *{(listed.station, listed.quantity) for listed in series},
            ("G1", "displacement_downslope"),
            ("G2", "displacement_downslope"),
        ):
            parts = find_parts(connection, "north-bench", series, station, quantity)
            monkeypatch.setattr(columns, "EXACT", 10**6)
            exact, total, readings = load_points(connection, parts, low, story.NOW, now, 10**6)
            if total < 60:
                continue
            monkeypatch.setattr(columns, "EXACT", 20)
            thinned, counted, newest = load_points(connection, parts, low, story.NOW, now, 40)
            unflagged = [value for index, value in enumerate(exact["value"]) if str(index) not in exact["flags"]]
            shown = [value for index, value in enumerate(thinned["value"]) if str(index) not in thinned["flags"]]
            assert (min(shown), max(shown)) == pytest.approx((min(unflagged), max(unflagged))), (station, quantity)
            assert [reading.value for reading in newest] == [reading.value for reading in readings[-len(newest) :]]
            assert thinned["value"][-len(newest) :] == exact["value"][-len(newest) :]
            assert len(thinned["at"]) < 40 + 2 * columns.NEWEST + columns.FLAGGED
            assert abs(counted - total) <= len(exact["flags"])
            # Every point of the thinned range is a measured value of the record.
            measured_values = {round(value, 4) for value in unflagged}
            assert all(round(value, 4) in measured_values for value in shown)
            assert unfold(thinned["at"]) == sorted(unfold(thinned["at"]))


def test_pane_contains_forecast_thresholds_velocity_rain_and_marks_with_alerts(client, filled):  # noqa: F811
    pane = client.get(f"{SITE}/panes/G1/displacement_north", params={"span": "60d"}).json()
    assert unfold(pane["points"]["at"])[-1] == pane["to"] == story.NOW.timestamp()
    assert (pane["points"]["value"][-1], pane["forecast"]["model"]) == (pytest.approx(-111.4, abs=0.1), "combined")
    assert pane["forecast"]["targets"]["at"][0] > pane["to"]
    assert {bound["name"] for bound in pane["thresholds"]} == {"yellow", "orange", "red"}
    assert [bound["value"] for bound in pane["velocity"]["bounds"]] == [2.0, 20.0, 100.0]
    assert {rate["window_s"] for rate in pane["velocity"]["rates"]} == {172_800.0, 604_800.0}
    rain = next(other_pane for other_pane in pane["more"] if other_pane["quantity"] == "rain")
    exact = client.get(f"{SITE}/series/R1/rain", params={"span": "60d"}).json()["points"]["value"]
    assert sum(rain["value"]) == pytest.approx(sum(exact), rel=1e-4)
    assert [other_pane["quantity"] for other_pane in pane["more"]] == ["rain", "pore_pressure"]
    assert filled["hazard_alert"] in {mark.get("alert") for mark in pane["marks"]}
    assert {mark["kind"] for mark in pane["marks"]} >= {"level", "event", "report"}
    assert (pane["maintenance"][0]["reason"], pane["ribbon"]["level"][-1]) == ("new battery", 2)
    # A range never starts before the first reading. Otherwise a chart of everything would be mostly empty.
    full_pane = client.get(f"{SITE}/panes/G1/displacement_north", params={"span": "36500d"}).json()
    assert full_pane["from"] == pytest.approx(unfold(full_pane["points"]["at"])[0], abs=1)


def test_chart_leads_with_the_velocity_only_where_a_criterion_reads_it(client):  # noqa: F811
    expected = {
        "G1/displacement_north": "velocity",
        "C1/displacement_north": "quantity",
        "E1/crack_opening": "quantity",
        "P1/pore_pressure": "quantity",
        "R1/rain": "quantity",
    }
    leads = {path: client.get(f"{SITE}/panes/{path}", params={"span": "60d"}).json()["leads"] for path in expected}
    assert leads == expected


@pytest.mark.parametrize("compared", [10**6, 50])
def test_compared_stations_share_an_axis_and_displacements_start_at_zero(client, monkeypatch, compared):  # noqa: F811
    monkeypatch.setattr(columns, "COMPARED", compared)
    comparison = client.get(f"{SITE}/compare/displacement_north", params={"span": "20d"}).json()
    assert comparison["thinned"] is (compared == 50)
    assert [compared_series["station"] for compared_series in comparison["series"]] == ["C1", "G1", "G2"]
    assert all(compared_series["value"][0] == 0.0 for compared_series in comparison["series"])
    g1 = comparison["series"][1]
    expected_mm = [-0.9 * story.move_mm("G1", datetime.fromtimestamp(time_s, UTC)) for time_s in unfold(g1["at"])]
    assert g1["value"] == pytest.approx([value_mm - expected_mm[0] for value_mm in expected_mm], abs=5e-3)
    computed = client.get(f"{SITE}/compare/displacement_downslope", params={"span": "20d"}).json()
    assert [compared_series["station"] for compared_series in computed["series"]] == ["G1", "G2"]
    assert client.get(f"{SITE}/compare/pore_pressure").json()["from_zero"] is False


def test_invalid_ranges_names_and_numbers_return_an_error_message(client):  # noqa: F811
    for path, params in (
        ("panes/G1/nothing", {}),
        ("panes/nobody/rain", {}),
        ("compare/nothing", {}),
        ("compare/%27%3B--", {}),
        ("panes/C1/displacement_downslope", {}),
        ("panes/G1/displacement_north", {"span": "soon"}),
        ("panes/G1/displacement_north", {"from": "2026-03-02T00:00:00Z", "to": "2026-03-01T00:00:00Z"}),
        ("panes/G1/displacement_north", {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"}),
        ("panes/G1/displacement_north", {"max_points": "1e9"}),
        ("compare/rain", {"from": "2026-03-01"}),
    ):
        response = client.get(f"{SITE}/{path}", params=params)
        assert response.status_code in {200, 404, 409, 422}, (path, params, response.text)
        assert response.status_code == 200 or "error" in response.json()
    assert client.get("/api/v1/sites/nowhere/panes/G1/rain").status_code == 404
    assert client.get("/api/v1/sites/nowhere/compare/rain").status_code == 404


def test_cached_ribbon_of_levels_equals_that_of_the_database(client, database):  # noqa: F811
    def add(minutes_ago, level):
        row = {
            "site": "lake-slope",
            "at": story.NOW - timedelta(minutes=minutes_ago),
            "level": level,
            "trigger": "tick",
        }
        row |= {"observability": "full", "reachable_level": 2, "config_sha256": "x", "digest": "0" * 64}
        tell(database, lambda connection: connection.execute(insert(evaluation).values(row)))

    def load_rows(to_at=story.NOW, *options):
        return ask(database, load_ribbon, "lake-slope", story.NOW - timedelta(days=6), to_at, *options)

    def load_levels(span):
        ribbon_data = client.get("/api/v1/sites/lake-slope/panes/X1/crack_opening", params={"span": span}).json()[
            "ribbon"
        ]
        return list(zip(unfold(ribbon_data["from"]), ribbon_data["level"], strict=True))

    for minutes_ago, level in ((4000, 1), (3000, 0), (600, 1), (500, 0)):
        add(minutes_ago, level)
    short = load_levels("12h")
    assert [level for _, level in short] == [0, 1, 0]
    assert ([level for _, level in load_levels("6d")], load_levels("12h")) == ([1, 0, 1, 0], short)
    rows = load_rows()
    assert [(segment.from_at.timestamp(), segment.level) for segment in rows] == load_levels("6d")
    outage_start, outage_end = (story.NOW - timedelta(minutes=minutes) for minutes in (700, 550))
    with database.write() as connection:
        for cause, from_at, end in (
            ("service", outage_start, outage_end),
            ("broker", story.NOW - timedelta(minutes=400), story.NOW),
        ):
            row = {"id": 100 + len(cause), "cause": cause, "from_at": from_at, "back_at": end}
            connection.execute(insert(outage).values(**row, drained_at=end, counts_until=end))
    levels_with_outage = load_levels("6d")
    assert levels_with_outage[2:] == [
        (outage_start.timestamp(), None),
        (outage_end.timestamp(), 1),
        levels_with_outage[-1],
    ], "nobody decided while it was away"
    rows = load_rows()
    assert ([segment.level for segment in rows], rows[1].to_at, rows[2].from_at) == (
        [1, 0, 1, 0],
        outage_start,
        outage_end,
    )
    silent_since = story.NOW - timedelta(minutes=30)
    for state, is_silent in (("stopped", True), ("running", True), ("stopped", False)):  # the second core was killed
        heartbeat_at = silent_since if is_silent else story.NOW + timedelta(days=1)
        tell(database, write_heartbeat, "core", {"state": state}, heartbeat_at)
        assert load_levels("6d") == (
            [*levels_with_outage, (silent_since.timestamp(), None)] if is_silent else levels_with_outage
        ), "it goes on now"
        assert load_rows()[-1].to_at == (silent_since if is_silent else story.NOW)
    tell(database, write_heartbeat, "core", {"state": "stopped"}, silent_since)
    add(10, 3)  # a person sets a level at the command line while the service is stopped
    assert load_rows()[-1].level == 3, "what was decided is told"
    tell(database, write_heartbeat, "core", {"state": "running"}, story.NOW - timedelta(seconds=5))
    tomorrow = story.NOW + timedelta(days=1)
    assert load_rows(tomorrow, story.NOW)[-1].to_at == tomorrow, "a service that runs is not said to be away tomorrow"

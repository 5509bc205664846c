"""The answers behind the linked chart: the same readings however long the range is, and marks that lead on."""

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


def test_a_long_range_shows_the_extremes_and_the_newest_that_reading_one_by_one_shows(filled_database, monkeypatch):
    now, low = story.NOW + timedelta(minutes=5), story.START - timedelta(days=1)
    with filled_database.read() as c:
        series = load_series(c, "north-bench")
        for station, quantity in (
            *{(s.station, s.quantity) for s in series},
            ("G1", "displacement_downslope"),
            ("G2", "displacement_downslope"),
        ):
            parts = find_parts(c, "north-bench", series, station, quantity)
            monkeypatch.setattr(columns, "EXACT", 10**6)
            exact, total, readings = load_points(c, parts, low, story.NOW, now, 10**6)
            if total < 60:
                continue
            monkeypatch.setattr(columns, "EXACT", 20)
            few, counted, newest = load_points(c, parts, low, story.NOW, now, 40)
            sound = [v for k, v in enumerate(exact["value"]) if str(k) not in exact["flags"]]
            shown = [v for k, v in enumerate(few["value"]) if str(k) not in few["flags"]]
            assert (min(shown), max(shown)) == pytest.approx((min(sound), max(sound))), (station, quantity)
            assert [r.value for r in newest] == [r.value for r in readings[-len(newest) :]]
            assert few["value"][-len(newest) :] == exact["value"][-len(newest) :]
            assert len(few["at"]) < 40 + 2 * columns.NEWEST + columns.FLAGGED
            assert abs(counted - total) <= len(exact["flags"])
            # every point that is drawn was measured: its value stands in the record, near its instant
            known = {round(v, 4) for v in sound}
            assert all(round(v, 4) in known for v in shown)
            assert unfold(few["at"]) == sorted(unfold(few["at"]))


def test_an_answer_holds_what_stands_beside_the_curve_and_marks_lead_to_their_alert(client, filled):  # noqa: F811
    found = client.get(f"{SITE}/panes/G1/displacement_north", params={"span": "60d"}).json()
    assert unfold(found["points"]["at"])[-1] == found["to"] == story.NOW.timestamp()
    assert (found["points"]["value"][-1], found["forecast"]["model"]) == (pytest.approx(-111.4, abs=0.1), "combined")
    assert found["forecast"]["targets"]["at"][0] > found["to"]
    assert {b["name"] for b in found["thresholds"]} == {"yellow", "orange", "red"}
    assert [b["value"] for b in found["velocity"]["bounds"]] == [2.0, 20.0, 100.0]
    assert {r["window_s"] for r in found["velocity"]["rates"]} == {172_800.0, 604_800.0}
    rain = next(p for p in found["more"] if p["quantity"] == "rain")
    exact = client.get(f"{SITE}/series/R1/rain", params={"span": "60d"}).json()["points"]["value"]
    assert sum(rain["value"]) == pytest.approx(sum(exact), rel=1e-4)
    assert [p["quantity"] for p in found["more"]] == ["rain", "pore_pressure"]
    assert filled["hazard_alert"] in {m.get("alert") for m in found["marks"]}
    assert {m["kind"] for m in found["marks"]} >= {"level", "event", "report"}
    assert (found["maintenance"][0]["reason"], found["ribbon"]["level"][-1]) == ("new battery", 2)
    # a span back never begins before the first reading: else a picture of all would be empty for the most part
    whole = client.get(f"{SITE}/panes/G1/displacement_north", params={"span": "36500d"}).json()
    assert whole["from"] == pytest.approx(unfold(whole["points"]["at"])[0], abs=1)


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
def test_all_stations_lie_over_each_other_and_what_moves_begins_at_zero(client, monkeypatch, compared):  # noqa: F811
    monkeypatch.setattr(columns, "COMPARED", compared)
    found = client.get(f"{SITE}/compare/displacement_north", params={"span": "20d"}).json()
    assert found["thinned"] is (compared == 50)
    assert [s["station"] for s in found["series"]] == ["C1", "G1", "G2"]
    assert all(s["value"][0] == 0.0 for s in found["series"])
    g1 = found["series"][1]
    moved = [-0.9 * story.move_mm("G1", datetime.fromtimestamp(at, UTC)) for at in unfold(g1["at"])]
    assert g1["value"] == pytest.approx([m - moved[0] for m in moved], abs=5e-3)
    computed = client.get(f"{SITE}/compare/displacement_downslope", params={"span": "20d"}).json()
    assert [s["station"] for s in computed["series"]] == ["G1", "G2"]
    assert client.get(f"{SITE}/compare/pore_pressure").json()["from_zero"] is False


def test_odd_ranges_names_and_numbers_end_in_one_line(client):  # noqa: F811
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
        answer = client.get(f"{SITE}/{path}", params=params)
        assert answer.status_code in {200, 404, 409, 422}, (path, params, answer.text)
        assert answer.status_code == 200 or "error" in answer.json()
    assert client.get("/api/v1/sites/nowhere/panes/G1/rain").status_code == 404
    assert client.get("/api/v1/sites/nowhere/compare/rain").status_code == 404


def test_the_ribbon_kept_between_requests_is_the_one_of_the_database(client, database):  # noqa: F811
    def add(minutes_ago, level):
        row = {
            "site": "lake-slope",
            "at": story.NOW - timedelta(minutes=minutes_ago),
            "level": level,
            "trigger": "tick",
        }
        row |= {"observability": "full", "reachable_level": 2, "config_sha256": "x", "digest": "0" * 64}
        tell(database, lambda c: c.execute(insert(evaluation).values(row)))

    def ribbon(to_at=story.NOW, *more):
        return ask(database, load_ribbon, "lake-slope", story.NOW - timedelta(days=6), to_at, *more)

    def levels(span):
        found = client.get("/api/v1/sites/lake-slope/panes/X1/crack_opening", params={"span": span}).json()["ribbon"]
        return list(zip(unfold(found["from"]), found["level"], strict=True))

    for minutes_ago, level in ((4000, 1), (3000, 0), (600, 1), (500, 0)):
        add(minutes_ago, level)
    short = levels("12h")
    assert [level for _, level in short] == [0, 1, 0]
    assert ([level for _, level in levels("6d")], levels("12h")) == ([1, 0, 1, 0], short)
    rows = ribbon()
    assert [(r.from_at.timestamp(), r.level) for r in rows] == levels("6d")
    begin, back = (story.NOW - timedelta(minutes=minutes) for minutes in (700, 550))
    with database.write() as c:
        for cause, from_at, end in (
            ("service", begin, back),
            ("broker", story.NOW - timedelta(minutes=400), story.NOW),
        ):
            row = {"id": 100 + len(cause), "cause": cause, "from_at": from_at, "back_at": end}
            c.execute(insert(outage).values(**row, drained_at=end, counts_until=end))
    away = levels("6d")
    assert away[2:] == [(begin.timestamp(), None), (back.timestamp(), 1), away[-1]], "nobody decided while it was away"
    rows = ribbon()
    assert ([r.level for r in rows], rows[1].to_at, rows[2].from_at) == ([1, 0, 1, 0], begin, back)
    since = story.NOW - timedelta(minutes=30)
    for state, is_silent in (("stopped", True), ("running", True), ("stopped", False)):  # the second one was killed
        at = since if is_silent else story.NOW + timedelta(days=1)
        tell(database, write_heartbeat, "core", {"state": state}, at)
        assert levels("6d") == ([*away, (since.timestamp(), None)] if is_silent else away), "it goes on now"
        assert ribbon()[-1].to_at == (since if is_silent else story.NOW)
    tell(database, write_heartbeat, "core", {"state": "stopped"}, since)
    add(10, 3)  # a person decides at the command line while the service is away
    assert ribbon()[-1].level == 3, "what was decided is told"
    tell(database, write_heartbeat, "core", {"state": "running"}, story.NOW - timedelta(seconds=5))
    tomorrow = story.NOW + timedelta(days=1)
    assert ribbon(tomorrow, story.NOW)[-1].to_at == tomorrow, "a service that runs is not said to be away tomorrow"

"""Series, curves, lists and figures of the page and its API agree with the database."""

import re
from datetime import timedelta
from itertools import pairwise
from math import cos, radians, sin

import pytest
from sqlalchemy import select, update

from monitor.alerts.acts.table import API, list_acts
from monitor.alerts.evaluation_tables import station_state
from monitor.decision.records import Memory
from monitor.features.movement.tables import failure_time, movement
from monitor.storage.views import load_view
from monitor.text.instants import format_iso, parse_time
from monitor.text.local_time import format_local
from tests.data.figures import bare_figures_of_page
from tests.data.rows import insert_rows
from tests.markup import flatten_html
from tests.web.served import NOW, client, database, filled, log_in, story

__all__ = ["client", "database", "filled"]  # fixtures


def test_health_and_metrics(client):
    health = client.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert health.json()["sites"]["north-bench"]["level"] == 2
    text = client.get("/metrics").text
    assert 'slopeward_level{site="north-bench"} 2.0' in text
    assert 'slopeward_observability{site="lake-slope"} 1.0' in text
    assert re.search(r'slopeward_open_alerts\{ledger="health",site="lake-slope"\} 1.0', text)
    assert 'slopeward_notifications{state="failed_final"}' in text
    assert "# TYPE slopeward_ingest_connected gauge" in text


def test_series_equal_stored_readings_and_ranges_are_checked(client):
    base = "/api/v1/sites/north-bench/series/G1/displacement_north"
    week = client.get(base, params={"span": "7d"}).json()
    assert week["unit"] == "mm"
    assert week["total"] == len(week["points"]["at"]) == 28
    assert parse_time(week["to"]) == story.NOW
    assert week["points"]["value"][-1] == pytest.approx(-0.9 * story.move_mm("G1", story.NOW), abs=2e-3)
    few = client.get(base, params={"span": "60d", "max_points": 50}).json()
    assert few["sampled"]
    assert len(few["points"]["at"]) <= 64
    assert min(few["points"]["value"]) == min(client.get(base, params={"span": "60d"}).json()["points"]["value"])
    for bad in ({"from": "2026-03-01T06:00:00"}, {"span": "soon"}, {"from": "2026-03-02T00:00:00Z"}, {"max_points": 1}):
        answer = client.get(base, params=bad)
        assert answer.status_code in {409, 422}, bad
        assert "error" in answer.json()


def test_chart_contains_forecast_thresholds_scores_flags_and_reasons(client):
    pane = client.get("/api/v1/sites/north-bench/panes/G1/displacement_north", params={"span": "60d"}).json()
    forecast = pane["forecast"]
    assert forecast["model"] == "combined"
    assert forecast["reason"] == "weighted mean of experts, weights by past errors: line 80 %, gru 20 %"
    t = forecast["targets"]
    rows = zip(t["q025"], t["q10"], t["q50"], t["q90"], t["q975"], strict=True)
    assert all(a < b < c < d < e for a, b, c, d, e in rows)
    assert {row["name"] for row in pane["thresholds"]} == {"yellow", "orange", "red"}
    assert set(pane["scores"]["detector"]) == {"persistence-z", "lstm-ae"}
    assert {m["kind"] for m in pane["marks"]} >= {"level", "event", "report"}
    assert len(pane["past"]["at"]) == len(pane["past"]["q50"]) > 0
    lines = client.get("/api/v1/sites/north-bench/panes/P1/pore_pressure").json()
    assert [row["line"] for row in lines["thresholds"]] == [60.0, 80.0]
    assert "out_of_range" in "".join(lines["points"]["flags"].values())


def test_downslope_movement_is_projected_with_offsets_applied(client):
    computed = client.get("/api/v1/sites/north-bench/series/G2/displacement_downslope", params={"span": "10d"}).json()
    azimuth, plunge = radians(201.0), radians(30.0)
    share = -0.42 * sin(azimuth) * cos(plunge) - 0.9 * cos(azimuth) * cos(plunge) + 0.5 * sin(plunge)
    for at, value in zip(computed["points"]["at"], computed["points"]["value"], strict=True):
        # The offset of the antenna, 12.5 mm, is subtracted.
        expected = share * story.move_mm("G2", parse_time(at))
        assert value == pytest.approx(expected, abs=0.01)


def test_movement_and_level_history_equal_stored_rows(client, database):
    answer = client.get("/api/v1/sites/north-bench/movement/G1").json()
    moved = [(r["stage"], r["velocity_mm_per_day"]) for r in answer["movement"]]
    assert moved == [("intermediate", 4.0), ("progressive", 7.0)]
    assert [w["trusted"] for w in answer["windows"]] == [False, True]
    assert {(b["kind"], b["value"]) for b in answer["bounds"]} == {("velocity", v) for v in (2.0, 20.0, 100.0)}
    with database.write() as c:
        for hours, level, observability in ((30, 1, "full"), (20, 1, "full"), (10, 1, "blind"), (5, 3, "full")):
            row = f"evaluation site=north-bench at=-{hours}h trigger=tick level={level} observability={observability}"
            insert_rows(c, story.NOW, f"{row} reachable_level=3 config_sha256=x digest={'0' * 64}")
    ribbon = client.get("/api/v1/sites/north-bench/ribbon?span=25h").json()
    cuts = [ribbon["from"], *(format_iso(story.NOW + timedelta(minutes=m)) for m in (-600, -300, 2))]
    shown = [(r["from_at"], r["level"], r["observability"]) for r in ribbon["ribbon"]]
    assert shown == list(zip(cuts, (1, 1, 3, 2), ("full", "blind", "full", "full"), strict=True))
    assert [r["to_at"] for r in ribbon["ribbon"]] == [*cuts[1:], ribbon["to"]]
    assert [s["stage"] for s in ribbon["stages"]["G1"]][-1] == "progressive"


def test_figures_of_a_failing_slope_equal_those_of_sql(client, database):
    """Two stations without a vote are faulty and one is fast.

    Observability, stage, velocity and failure window must agree.
    """
    with database.write() as c:
        series_id = c.execute(select(movement.c.series_id).limit(1)).scalar_one()
        row = f"movement series_id={series_id} at=+1m data_until=+0m stage=progressive trend=progressive"
        insert_rows(c, story.NOW, f"{row} reasons='too few data' state=$state", {"state": Memory().to_json()})
        sick = station_state.c.station.in_(("G2", "P1"))
        c.execute(update(station_state).where(sick).values(state="stale", reason="battery"))
        edges = {"window_from": -timedelta(days=1), "window_mid": -timedelta(hours=1), "window_to": timedelta(days=1)}
        c.execute(update(failure_time).values({k: NOW + v for k, v in edges.items()}))
    text = client.get("/sites/north-bench").text
    with database.read() as c:
        [status] = load_view(c, "site_status", site="north-bench")
        states = [row["state"] for row in load_view(c, "station_health", site="north-bench")]
        rows = load_view(c, "movement_history", order_by=["-at"], site="north-bench", station="G1")
        [window] = [w for w in load_view(c, "failure_windows", site="north-bench") if w["withdrawn_at"] is None]
    assert status["observability"] == "full"
    assert (
        f"all series that can raise a level give valid data; {states.count('ok')} of {len(states)} stations ok" in text
    )
    assert f"<dt>Stage</dt><dd>{status['movement_stage']}<" in flatten_html(text)
    [row] = re.findall(r'<tr data-station="G1".*?</tr>', flatten_html(text))
    # The newest row has no velocity. The page must not show the velocity of an older row beside its stage.
    assert rows[0]["velocity_mm_per_day"] is None
    assert re.findall(r'<td class="num">(.*?)</td>', row) == ["–", "–"]
    assert f"{rows[0]['stage']}, trend {rows[0]['trend']}" in row
    for edge in ("window_from", "window_to"):
        assert format_local(parse_time(window[edge]), "Europe/Zurich") in row
    assert "open: failure is possible at any time" in row
    newest = client.get("/api/v1/sites/north-bench/movement/G1").json()["newest"][0]
    assert {k: newest[k] for k in rows[0] if k in newest} == {k: v for k, v in rows[0].items() if k in newest}
    assert newest["window"]["window_mid"] == window["window_mid"]
    with database.write() as c:
        values = {"velocity_mm_per_day": 372.0, "inverse_velocity_day_per_mm": 1 / 372}
        c.execute(update(movement).where(movement.c.velocity_mm_per_day.is_(None)).values(values))
    page = flatten_html(client.get("/sites/north-bench").text)
    [row] = re.findall(r'<tr data-station="G1".*?</tr>', page)
    assert re.findall(r'<td class="num">(\S+?)[ <]', row) == ["372", "0.00269"]
    page = flatten_html(client.get("/sites/north-bench/movement").text)
    reason = re.search(r'id="h-why".*?<p>(.*?)</p>', page)[1]
    assert "nothing requests a higher level" not in reason or reason.startswith("green")


def test_lists_of_the_api_contain_stored_items(client, filled):
    assert [s["site"] for s in client.get("/api/v1/sites").json()] == ["north-bench", "lake-slope"]
    stations = {s["id"]: s for s in client.get("/api/v1/sites/north-bench/stations").json()}
    assert stations["G1"]["quantities"][0] == "displacement_downslope"
    alert = client.get(f"/api/v1/alerts/{filled['hazard_alert']}").json()
    assert (alert["alert"]["evidence"]["criterion"], [e["to_level"] for e in alert["events"]]) == ("hazard", [1, 2, 2])
    assert client.get("/api/v1/alerts", params={"open": True, "ledger": "health"}).json()[0]["site"] == "lake-slope"
    states = {n["state"] for n in client.get("/api/v1/notifications").json()}
    assert states >= {"delivered", "superseded", "failed_final"}
    scenes = client.get("/api/v1/sites/north-bench/scenes").json()
    assert ([s["footprints"] for s in scenes], "out_dir" in scenes[0]) == ([3, 1], False)
    polygons = client.get(f"/api/v1/sites/north-bench/scenes/{scenes[0]['scene_hash']}").json()
    assert polygons["features"][0]["geometry"]["type"] == "Polygon"
    assert client.get("/api/v1/sites/north-bench/forecasts", params={"shown": True}).json()[0]["model"] == "combined"
    history = client.get("/api/v1/sites/north-bench/forecasts/G1/displacement_north/history").json()
    assert history[0]["observed"] is None
    (anomaly, *_) = client.get("/api/v1/sites/north-bench/anomalies", params={"alerted": True}).json()
    assert anomaly["station"] == "P1"
    assert {"kind", "compared_with"} <= anomaly.keys()


def test_forecast_pages_show_scores_and_models_in_training(client):
    text = client.get("/sites/north-bench/forecasts").text
    assert "Whether the intervals hold" in text
    scores = client.get("/sites/north-bench/forecasts/scores").text
    assert "2026-02" in scores
    assert "95 %" in scores
    assert len(client.get("/sites/north-bench/forecasts/scores?of=coverage").text) < len(scores)
    awaited = text.partition("Models that cannot forecast yet")[2].partition("</section>")[0]
    assert (
        "rules: it is trained when the record is long enough, which is tried each day; it has 238 rows of 1 h"
        in awaited
    )
    assert client.get("/sites/nowhere/forecasts").status_code == 404


def test_openapi_names_every_api_route(client):
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    assert "/api/v1/sites/{site}/series/{station}/{quantity}" in paths
    assert not [p for p in paths if not p.startswith("/api/v1/")]
    written = {p for p, methods in paths.items() if "post" in methods}
    assert {method for p in paths.values() for method in p} == {"get", "post"}
    named = {address for act in list_acts() for own in (False, True) for address in act.list_addresses(own=own)}
    assert {f"POST {path}" for path in written} == {address for address in named if f" {API}" in address}


def test_velocity_over_the_window_of_each_bound(client):
    rates = client.get("/api/v1/sites/north-bench/movement/G1?span=20d").json()["rates"]
    assert [r["window_s"] for r in rates] == [21600.0, 172800.0, 604800.0]
    week = rates[-1]
    assert week["at"] == sorted(week["at"])
    assert 50 < len(week["at"]) <= 152
    curve = client.get("/api/v1/sites/north-bench/series/G1/displacement_downslope?span=7d").json()["points"]
    days = [(parse_time(at) - parse_time(curve["at"][0])).total_seconds() / 86400 for at in curve["at"]]
    mean_t, mean_y = sum(days) / len(days), sum(curve["value"]) / len(days)
    slope = sum((t - mean_t) * (y - mean_y) for t, y in zip(days, curve["value"], strict=True))
    slope /= sum((t - mean_t) ** 2 for t in days)
    assert week["rate"][-1] == pytest.approx(slope, rel=0.1)


def test_every_number_of_a_page_has_a_unit(client):
    log_in(client, "ada")
    figures_without_unit = {}
    paths = [f"/sites/north-bench{page}" for page in ("", "/movement", "/forecasts", "/proposals")]
    for path in (*paths, *"/ /sites/lake-slope /alerts /notifications /signatures /account /admin".split()):
        answer = client.get(path)
        assert answer.status_code == 200, path
        if bare := bare_figures_of_page(answer.text):
            figures_without_unit[path] = bare
    lines = [f"{path}: {bare}" for path, items in figures_without_unit.items() for bare in items]
    assert not lines, "\n".join(lines)


def test_each_bound_is_shown_with_the_present_value(client):
    log_in(client)
    panels = re.findall(r"<fieldset.*?</fieldset>", client.get("/sites/north-bench/thresholds").text, re.DOTALL)
    assert len(panels) == 5
    assert all("<p><b" in panel for panel in panels)
    assert "now 24.5 mm/day, G1" in panels[0]
    assert "R1: rain 7.1 mm in 1 h is 48 % of the bound" in panels[3]
    assert "G1: if the acceleration continues: failure about" in panels[4]


def test_rain_is_returned_with_its_threshold_curve(client):
    (curve,) = client.get("/api/v1/sites/north-bench/rain?span=30d").json()["curves"]
    assert (curve["criterion"], curve["station"], curve["level"]) == ("rain_intensity_duration-1", "R1", 1)
    one_day = next(p for p in curve["curve"] if abs(p["duration_h"] - 24) < 4)
    assert one_day["intensity_mm_per_h"] == pytest.approx(14.82 * one_day["duration_h"] ** -0.39)
    rows = client.get("/api/v1/sites/north-bench/series/R1/rain?span=40d").json()["points"]["value"]
    # The gauge reports every six hours. A window of up to five hours has one reading, one of 7 to 11 hours has two.
    sums_of_one_reading = [p["sum_mm"] for p in curve["most"] if p["duration_h"] <= 5]
    sums_of_two_readings = [p["sum_mm"] for p in curve["most"] if 7 <= p["duration_h"] <= 11]
    assert sums_of_one_reading
    assert sums_of_one_reading == pytest.approx([max(rows)] * len(sums_of_one_reading))
    assert sums_of_two_readings
    assert sums_of_two_readings == pytest.approx([max(a + b for a, b in pairwise(rows))] * len(sums_of_two_readings))
    assert curve["now"][0]["sum_mm"] == pytest.approx(rows[-1])
    assert 0 < curve["ratio"] < 5

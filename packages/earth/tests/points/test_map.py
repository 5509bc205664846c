"""Satellite points on the map of a site, on both databases: their lines, a share of many, one with its series."""

import re
import threading
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import select

from monitor.readings.point_tables import point, point_observation
from monitor.readings.queries import points
from slopeward_earth.points import routes
from slopeward_earth.points.store import maps as point_maps
from slopeward_earth.points.store.rates import load_rates
from tests.data.filled import NOW
from tests.fixtures.databases import STORY_ON_BOTH
from tests.web.served import serving
from tests.web.test_door import serving as serving_at
from tests.web.test_rules import enter

SITE = "/api/v1/sites/north-bench"


@pytest.fixture
def client(filled_database):
    with serving(filled_database, NOW + timedelta(minutes=5)) as c:
        yield c


@STORY_ON_BOTH
def test_points_have_the_rate_of_their_newest_revisions(client, filled_database, monkeypatch):
    with filled_database.write() as c:
        set_id = points.open_point_set(c, "north-bench", "a-set", "los-towards", "mm")
        placed = points.place_points(c, set_id, [points.Point(f"q{k}", 46.2, 8.9 + 1e-4 * k) for k in range(9)])
        ids = {pid: one.id for pid, one in placed.items()}
        for n in range(6):
            at = NOW - timedelta(days=10 * n)
            c.execute(
                point_observation.insert(),
                [
                    {"point_id": i, "observed_at": at, "revision": 0, "received_at": at, "value_raw": -0.1 * k * 10 * n}
                    for k, i in enumerate(ids.values())
                    if k < 8 or n < 3
                ],
            )
        c.execute(
            point_observation.insert().values(
                point_id=ids["q0"], observed_at=NOW, revision=1, received_at=NOW, value_raw=50.0
            )
        )
    answer = client.get(f"{SITE}/points.geojson?days=365").json()
    assert answer["sets"] == {"a-set": "los-towards", "descending-66": "los-towards"}
    found = {f["properties"]["point"]: f["properties"] for f in answer["features"]}
    assert found["q5"]["rate_mm_per_year"] == pytest.approx(0.5 * 365.25, rel=1e-4)
    assert found["q5"]["error_mm_per_year"] == pytest.approx(0.0, abs=1e-3)
    assert found["q0"]["rate_mm_per_year"] == pytest.approx(261.0, abs=1.0)  # the newest value's correction bends it
    from scipy.stats import linregress  # half a second: not for every worker

    days, values = -10.0 * np.arange(6.0), np.array([50.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    error = linregress(days, values).stderr * 365.25
    assert found["q0"]["error_mm_per_year"] == pytest.approx(error, rel=1e-4)
    assert found["q8"]["rate_mm_per_year"] is None  # three acquisitions
    inside = client.get(f"{SITE}/points.geojson?bbox=8.90015,46,8.90035,47").json()
    assert [f["properties"]["point"] for f in inside["features"]] == ["q2", "q3"]
    other = client.get(f"{SITE}/points.geojson?set=descending-66").json()["features"]
    assert other[0]["properties"]["rate_mm_per_year"] == pytest.approx(-30.44, abs=0.1)
    far = "0,0,1," + "9" * 400
    boxes = ("1,2,3", "nan,0,1,1", "1,2,3,x", "3,0,1,1", "0,5,1,4", "0,-91,1,1", "-1e308,0,1e308,1", far)
    for bad in ("bbox=", *(f"bbox={box}" for box in boxes), "at=never", "days=0", "days=1e9", f"set={'x' * 200}"):
        refused = client.get(f"{SITE}/points.geojson?{bad}")
        assert refused.status_code in {409, 422}, bad
        assert len(refused.json()["error"].splitlines()) == 1, bad
    assert client.get(f"{SITE}/points.geojson?set=none").json()["features"] == []
    monkeypatch.setattr(routes, "_drawing", threading.Semaphore(0))
    assert client.get(f"{SITE}/points.geojson").status_code == 503, "at once"
    monkeypatch.setattr("slopeward_earth.points.store.rates.MOST", 4)
    with filled_database.read() as c:
        one = point_maps.list_sets(c, "north-bench")["a-set"]
        thinned, inside = load_rates(c, one.id, "mm", None, NOW, timedelta(days=365))
        early, _ = load_rates(c, one.id, "mm", None, NOW - timedelta(minutes=1), timedelta(days=365))
    assert (inside, len(thinned) <= 4) == (9, True)
    assert all(p.line.newest_at is None or p.line.newest_at < NOW for p in early)


def test_one_point_has_its_series_and_its_forecast_or_the_reason_for_none(client, filled_database):
    address = f"{SITE}/points/series"
    found = client.get(address, params={"set": "descending-66", "pid": "p0"}).json()
    assert found["value_mm"] == [0.0, -1.0, -2.0, -3.0]
    assert [at[:10] for at in found["at"]] == ["2026-01-22", "2026-02-03", "2026-02-15", "2026-02-27"]
    assert found["rate_mm_per_year"] == pytest.approx(-30.44, abs=0.1)
    assert (found["height_m"], found["direction"], found["unit"]) == (900.5, "los-towards", "mm")
    assert [bool(one["reason"]) for one in found["forecast"]] == [False, False, True]
    with filled_database.write() as c:
        ids = c.execute(select(point.c.id).where(point.c.pid == "p0")).scalars().all()
        c.execute(
            point_observation.insert().values(
                point_id=ids[0], observed_at=NOW - timedelta(days=2), revision=9, received_at=NOW, value_raw=-0.9
            )
        )
    corrected = client.get(address, params={"set": "descending-66", "pid": "p0"}).json()
    assert corrected["value_mm"] == [0.0, -1.0, -2.0, -9.0], "the newest revision counts"
    for asked, status in (
        ({"set": "descending-66", "pid": "p9"}, 404),
        ({"set": "none", "pid": "p0"}, 404),
        ({"pid": "p0"}, 422),
        ({"set": "descending-66", "pid": "x" * 65}, 422),
        ({"set": "' OR 1=1 --", "pid": "p0"}, 404),
    ):
        answer = client.get(address, params=asked)
        assert (answer.status_code, len(answer.json()["error"].splitlines())) == (status, 1), asked
    assert client.get("/api/v1/sites/nowhere/points/series?set=a&pid=b").status_code == 404
    assert "/api/v1/sites/north-bench/export/insar-points.gpkg" in client.get("/sites/north-bench/instruments").text


def test_where_satellite_points_will_be_is_said_with_what_such_forecasts_did(filled_database):
    with serving_at(filled_database, lambda: NOW) as address, enter(address, None) as browser:
        page = browser.get("/sites/north-bench/instruments")
        rows = browser.get("/api/v1/sites/north-bench/forecasts/points?pid=p1")
    words = " ".join(re.sub(r"<[^>]+>", " ", page.text.split('id="points-ahead"')[1].split("</section>")[0]).split())
    assert "2 points forecast, 1 withheld" in words
    assert ": 0.0412 mm" in page.text.split('id="points"')[1].split("</section>")[0], "a small change is not 0"
    assert words.count("81 % of forecasts lay inside the interval of 80 %, error 2.5 mm") == 2
    assert "the record is too short to try a forecast so far ahead" in words
    assert [(r["horizon"], r["model"], r["q10"]) for r in rows.json()] == [
        (1, "level-drift", -6.0),
        (2, "trend", -7.25),
        (3, "level-drift", None),
    ]

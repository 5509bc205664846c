"""Rates from a stack of interferograms in the point sets of a site, where the criterion on InSAR sees them."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import rasterio
from sqlalchemy import text

from detection.imagery.insar.outputs import measure_stack
from detection.imagery.insar.records import StackRequest
from detection.imagery.raster.raster import read_grid
from monitor.alerting.evaluate import evaluate_site
from monitor.cli.main import run_verb
from monitor.config.service import load_site
from monitor.extensions.surveys.stack import store_coherence
from monitor.store.alerting.alerts import load_alerts
from monitor.store.alerting.sites import save_site
from monitor.store.readings.points import load_point_facts
from monitor.store.schema.views import load_view
from tests.conftest import ON_BOTH
from tests.data import site_text
from tests.data.surveys.stacks import write_stack

# rates are judged as known now: the stack ends a few days ago
LAST = datetime.now(UTC).replace(hour=6, minute=0, second=0, microsecond=0) - timedelta(days=3)
DATES = [LAST - timedelta(days=12 * k) for k in reversed(range(9))]


def spell_site(lat, lon):
    levels = {"names": ["green", "yellow", "red"]}
    head = site_text.head("valley", latitude=46.2, longitude=8.9, timezone="Europe/Zurich", levels=levels)
    rate = {"window": "120d", "near_m": 200.0, "yellow": {"over": 0.1}, "valid_for": "30d"}
    station = site_text.station("B1", latitude=float(lat), longitude=float(lon))
    return head + station + site_text.criterion("insar_rate", id="radar", **rate)


@pytest.fixture
def valley(tmp_path, database_url, database, monkeypatch):
    """A stack with a sinking bowl, and a site with a station in its middle."""
    truth = write_stack(tmp_path / "stack", 11, DATES, size_px=32, rate_mm_per_year=-150.0)
    row, column = np.unravel_index(np.argmin(truth), truth.shape)
    grid = read_grid(min((tmp_path / "stack").glob("*_unw.tif")))
    lon, lat = grid.to_lonlat(*grid.to_crs(np.array([column + 0.5]), np.array([row + 0.5])))
    (tmp_path / "sites").mkdir()
    file = tmp_path / "sites" / "valley.toml"
    file.write_text(spell_site(lat=round(float(lat[0]), 6), lon=round(float(lon[0]), 6)))
    config = tmp_path / "slopeward.toml"
    config.write_text(f'[database]\nurl = "{database_url}"\n[paths]\nsites = "{tmp_path}/sites"\n')
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(config))
    return tmp_path / "stack", load_site(file), truth


def test_the_criterion_sees_the_zone_around_its_station(valley, database, capsys):
    stack, site, truth = valley
    assert run_verb(["scenes", "rates", str(stack), "--site", "valley", "--set", "track-5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["points"], told["stored"]) == (32 * 32, 32 * 32 * len(DATES))
    with database.read() as c:
        (fact,) = load_point_facts(c, site, datetime.now(UTC) + timedelta(minutes=1))
    assert (fact.station, fact.zone, fact.epochs) == ("B1", "track-5", len(DATES))
    row, column = np.unravel_index(np.argmin(truth), truth.shape)
    rows, columns = np.indices(truth.shape)
    zone = truth[np.hypot(rows - row, columns - column) * 40.0 <= 200.0]
    assert fact.rate_mm_per_day == pytest.approx(float(zone.mean()) / 365.25, abs=0.03)
    assert fact.newest_s == LAST.timestamp()
    with database.read() as c:
        rows = c.exec_driver_sql("SELECT count(*), min(direction) FROM insar_points WHERE site = 'valley'").one()
    assert tuple(rows) == (32 * 32, "los-towards")
    assert run_verb(["scenes", "rates", str(stack), "--site", "valley", "--set", "track-5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stored"] == 0, "the same stack again adds nothing"


COVER = {"id": "ground-cover", "quantity": "coherence", "stations": ["B1"], "yellow": {"under": 0.45}}
COVER |= {"role": "advice", "valid_for": "30d", "author": "test", "reason": "test"}
COHERENT = site_text.series("coherence", "1", "12d") + site_text.criterion("level", **COVER)


def change_coherence(stack, number, level):
    """Set the coherence of the short pair that ends on a date around the middle of the stack."""
    file = next(stack.glob(f"{DATES[number - 1]:%Y%m%d}-{DATES[number]:%Y%m%d}*cc*"), None)
    assert file is not None, sorted(p.name for p in stack.iterdir())
    with rasterio.open(file, "r+") as raster:
        values = raster.read(1)
        values[:] = level
        raster.write(values, 1)


def coherence_of(database, station):
    with database.read() as c:
        order = ["observed_at", "revision"]
        rows = load_view(c, "observation_history", order_by=order, station=station, quantity="coherence")
        return [(row["observed_at"], row["value"], row["revision"]) for row in rows]


def test_coherence_becomes_series_and_its_loss_advice(valley, database, capsys):
    stack, site, _ = valley
    file = stack.parent / "sites" / "valley.toml"
    station, _, criterion = file.read_text().partition("[[criterion]]")
    head, _, tail = COHERENT.partition("[[criterion]]")
    file.write_text(f"{station}{head}[[criterion]]{tail}[[criterion]]{criterion}")
    words = ["scenes", "rates", str(stack), "--site", "valley", "--json"]
    assert run_verb(words) == 0
    first = json.loads(capsys.readouterr().out)
    series = coherence_of(database, "B1")
    assert [at[:10] for at, _, _ in series] == [f"{d:%Y-%m-%d}" for d in DATES[1:]], "one value per date"
    assert all(0.5 < value < 1 for _, value, _ in series)
    zone = coherence_of(database, "F-zone-B1")
    assert len(zone) == len(series), "the sinking bowl lies around the station"
    assert (first["stored_coherence"], first["coherence_loss"]) == (len(series) + len(zone), [])
    with database.read() as c:
        assert load_alerts(c, "valley") == []
    assert run_verb(words) == 0
    assert json.loads(capsys.readouterr().out)["stored_coherence"] == 0, "the same stack again adds nothing"

    # the newest pairs lose it: advice of its own, and a criterion on the series may say so too (two epochs at least)
    for number in (len(DATES) - 2, len(DATES) - 1):
        change_coherence(stack, number, 0.34)
    assert run_verb(words) == 0
    told = json.loads(capsys.readouterr().out)
    (loss,) = told["coherence_loss"]
    assert loss["to"][:10] == f"{LAST:%Y-%m-%d}"
    newest = coherence_of(database, "B1")[-2:]
    assert newest[0][0] == newest[1][0], "a corrected value is a revision"
    assert newest[1][1:] == (pytest.approx(0.34, abs=0.01), 1)
    with database.read() as c:
        (alert,) = load_alerts(c, "valley")
    assert (alert.ledger, alert.key, alert.state) == ("advice", "advice:coherence:stack", "unacknowledged")
    assert f"to 0.34 on {loss['area_m2']:,.0f} m²" in alert.reason
    assert "nearest station 0 m (B1)" in alert.reason
    site = load_site(file)
    with database.write() as c:
        save_site(c, site, "test", "test", datetime.now(UTC))
    evaluate_site(database, site, datetime.now(UTC), "tick")
    with database.read() as c:
        found = {a.key: (a.ledger, a.level) for a in load_alerts(c, "valley", open_only=True)}
        level = c.execute(text("SELECT level FROM site_status WHERE site = 'valley'")).scalar()
    assert found.get("advice:ground-cover:B1", ("",))[0] == "advice", found
    assert level == 0, "coherence is advice"

    # a stack whose newest pair is whole again ends it
    change_coherence(stack, len(DATES) - 1, 0.8)
    assert run_verb(words) == 0
    capsys.readouterr()
    with database.read() as c:
        (alert,) = [a for a in load_alerts(c, "valley") if a.key == "advice:coherence:stack"]
    assert alert.state == "returned_unacknowledged"


@ON_BOTH
def test_an_old_loss_is_printed_and_nobody_is_told(valley, database, capsys):
    stack, site, _ = valley
    change_coherence(stack, len(DATES) - 1, 0.34)
    with database.write() as c:
        save_site(c, site, "test", "test", datetime.now(UTC))
    found = measure_stack(StackRequest(folder=stack))
    with database.write() as c:
        store_coherence(c, site, "stack", found, datetime.now(UTC) + timedelta(days=60))
        assert load_alerts(c, "valley") == []
    assert len(found.coherence_loss) == 1


def test_a_place_that_is_none_is_one_line(valley, capsys):
    assert run_verb(["scenes", "rates", str(valley[0]), "--reference", "8.9,46.2"]) == 1
    assert "expected LON,LAT,RADIUS_M" in capsys.readouterr().err
    assert run_verb(["scenes", "rates", str(valley[0]), "--site", "nowhere"]) == 1

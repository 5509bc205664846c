"""Rates from a stack of interferograms in the point sets of a site, where the criterion on InSAR sees them."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from detection.imagery.generate_phase import write_stack
from detection.imagery.raster import read_grid
from monitor.cli.main import run_verb
from monitor.config import load_site
from monitor.store.points import load_point_facts

# rates are judged as known now: the stack ends a few days ago
LAST = datetime.now(UTC).replace(hour=6, minute=0, second=0, microsecond=0) - timedelta(days=3)
DATES = [LAST - timedelta(days=12 * k) for k in reversed(range(9))]
SITE = """
[site]
id = "valley"
name = "Valley"
latitude = 46.2
longitude = 8.9
timezone = "Europe/Zurich"
[levels]
names = ["green", "yellow", "red"]
[[station]]
id = "B1"
latitude = {lat}
longitude = {lon}
[[criterion]]
id = "radar"
kind = "insar_rate"
window = "120d"
near_m = 200.0
yellow = {{over = 0.1}}
valid_for = "30d"
author = "test"
reason = "test"
"""


@pytest.fixture
def valley(tmp_path, database_url, database, monkeypatch):
    """A stack with a sinking bowl, and a site with a station in its middle."""
    truth = write_stack(tmp_path / "stack", 11, DATES, size_px=32, rate_mm_per_year=-150.0)
    row, column = np.unravel_index(np.argmin(truth), truth.shape)
    grid = read_grid(min((tmp_path / "stack").glob("*_unw.tif")))
    lon, lat = grid.to_lonlat(*grid.to_crs(np.array([column + 0.5]), np.array([row + 0.5])))
    (tmp_path / "sites").mkdir()
    file = tmp_path / "sites" / "valley.toml"
    file.write_text(SITE.format(lat=round(float(lat[0]), 6), lon=round(float(lon[0]), 6)))
    config = tmp_path / "slopeward.toml"
    config.write_text(f'[database]\nurl = "{database_url}"\n[paths]\nsites = "{tmp_path}/sites"\n')
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(config))
    return tmp_path / "stack", load_site(file), truth


def test_the_criterion_sees_the_zone_around_its_station(valley, database, capsys):
    stack, site, truth = valley
    assert run_verb(["scenes", "rates", str(stack), "--site", "valley", "--set", "track-5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["points"] == 32 * 32
    assert told["stored"] == 32 * 32 * len(DATES)
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


def test_a_place_that_is_none_is_one_line(valley, capsys):
    assert run_verb(["scenes", "rates", str(valley[0]), "--reference", "8.9,46.2"]) == 1
    assert "expected LON,LAT,RADIUS_M" in capsys.readouterr().err
    assert run_verb(["scenes", "rates", str(valley[0]), "--site", "nowhere"]) == 1

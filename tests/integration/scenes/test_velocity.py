"""A map of velocities in a site: readings of stations with errors, zones on the map, on both databases."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio

from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff
from monitor.cli.main import run_verb
from monitor.config.service import load_service
from monitor.store.readings.observations import load_readings, load_series
from monitor.web.parts.zones import read_velocity_zones
from tests.data.watched_slope import SITE_TEXT, write_service

STATION = """
[[station]]
id = "V1"
latitude = 46.0
longitude = 11.0
[[station.series]]
quantity = "velocity"
unit = "mm/day"
interval = "30d"
source = "velocity map"

[[criterion]]"""
SITE = SITE_TEXT.replace("[[criterion]]", STATION.lstrip("\n"), 1)


def test_stations_get_readings_and_the_map_its_zones(database, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = str(write_service(tmp_path, database, SITE))
    grid = grid_around(11.0, 46.0, 150, 20.0)
    rows, columns = np.mgrid[:150, :150]
    values = np.random.default_rng(2).normal(size=(150, 150)) + 73.05 * ((columns - 75) ** 2 + (rows - 75) ** 2 < 30**2)
    path = tmp_path / "up.tif"
    write_geotiff(path, values[None].astype(np.float32), grid)
    asked = ["scenes", "velocity", str(path), "--component", "up", "--site", "bench", "--config", config, "--json"]
    ends = ["--until", "2026-06-30T00:00:00Z"]
    assert run_verb([*asked, *ends]) == 1
    assert "the file says no unit: give --unit" in capsys.readouterr().err
    assert run_verb([*asked, *ends, "--unit", "furlong"]) == 1
    assert "no unit of velocity" in capsys.readouterr().err
    assert run_verb([*asked, "--unit", "mm/year"]) == 2
    assert "--site needs --until" in capsys.readouterr().err
    assert run_verb([*asked, "--until", "2199-01-01", "--unit", "mm/year"]) == 1
    assert "in the future" in capsys.readouterr().err
    for stored in (1, 0):  # the same map again is known
        assert run_verb([*asked, *ends, "--unit", "mm/year"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["stored"] == {"readings": stored, "known": 1 - stored, "zones": 1}
    # another component would turn the sign of the series
    asked[asked.index("up")] = "los-away"
    assert run_verb([*asked, *ends, "--unit", "mm/year"]) == 1
    assert "are of up, this map is of los-away" in capsys.readouterr().err
    # errors in another unit than the velocities
    asked[asked.index("los-away")] = "up"
    sigma = tmp_path / "sigma.tif"
    with rasterio.open(path) as source, rasterio.open(sigma, "w", **source.profile) as target:
        target.write(np.full((1, 150, 150), 1 / 365.25, np.float32))
        target.set_band_unit(1, "mm/day")
    assert run_verb([*asked[:5], "--json", "--sigma-file", str(sigma), "--unit", "mm/year"]) == 1
    assert "sigma.tif: the file says the unit 'mm/day', not 'mm/yr'" in capsys.readouterr().err
    with rasterio.open(path, "r+") as target:
        target.set_band_unit(1, "mm/year")
    assert run_verb([*asked[:5], "--json", "--sigma-file", str(sigma)]) == 0
    assert json.loads(capsys.readouterr().out)["zones"][0]["sigma_mm_per_year"] == pytest.approx(1)
    now = datetime.now(UTC)
    with database.read() as c:
        (series,) = [one for one in load_series(c, "bench") if one.station == "V1"]
        (reading,) = load_readings(c, series.id, None, now, now)
    assert (series.quantity, reading.observed_at) == ("velocity", datetime(2026, 6, 30, tzinfo=UTC))
    assert reading.value_raw == pytest.approx(0.2, abs=0.002)
    assert reading.sigma == pytest.approx(1 / 365.25, rel=0.3)
    assert json.loads(reading.extra) == {"component": "up"}, "the row says what its sign means"
    kept = load_service(config).paths.velocity_of("bench")
    (zone,) = read_velocity_zones(kept)
    assert zone["properties"] | {"way": "up", "kind": "velocity", "name": "up.tif"} == zone["properties"]
    kept.write_text("damaged")
    assert read_velocity_zones(kept) == []

"""Rates from a stack of interferograms in the point sets of a site, where the criterion on InSAR sees them."""

import json
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import rasterio
from sqlalchemy import text

from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import read_grid, write_geotiff
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries.alerts import load_alerts
from monitor.alerts.queries.point_facts import load_point_facts
from monitor.app.checks import site_files
from monitor.cli.main import run_command
from monitor.errors import ConfigError
from monitor.readings.queries.observations import load_readings, load_series
from monitor.settings.service import load_service
from monitor.sites.files import load_site
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.witnesses import find_groups
from monitor.storage.views import load_view
from packages.earth.tests.data.stacks import write_stack
from slopeward_earth.insar.outputs import measure_stack
from slopeward_earth.insar.rates_cli import store_coherence
from slopeward_earth.insar.records import StackRequest
from slopeward_earth.insar.stations import list_mapped_ground
from slopeward_earth.insar.zones import read_zones
from tests.data import site_text
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import SITE_TEXT, write_service
from tests.fixtures.databases import ON_BOTH, ON_SQLITE

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
    assert run_command(["scenes", "rates", str(stack), "--site", "valley", "--set", "track-5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["points"], told["stored"]) == (32 * 32, 32 * 32 * len(DATES))
    (fact,) = ask(database, load_point_facts, site, datetime.now(UTC) + timedelta(minutes=1))
    assert (fact.station, fact.zone, fact.epochs) == ("B1", "track-5", len(DATES))
    row, column = np.unravel_index(np.argmin(truth), truth.shape)
    rows, columns = np.indices(truth.shape)
    zone = truth[np.hypot(rows - row, columns - column) * 40.0 <= 200.0]
    assert fact.rate_mm_per_day == pytest.approx(float(zone.mean()) / 365.25, abs=0.03)
    assert fact.newest_s == LAST.timestamp()
    with database.read() as c:
        rows = c.exec_driver_sql("SELECT count(*), min(direction) FROM insar_points WHERE site = 'valley'").one()
    assert tuple(rows) == (32 * 32, "los-towards")
    assert run_command(["scenes", "rates", str(stack), "--site", "valley", "--set", "track-5", "--json"]) == 0
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


@pytest.mark.soak
def test_coherence_becomes_series_and_its_loss_advice(valley, database, capsys):
    stack, site, _ = valley
    file = stack.parent / "sites" / "valley.toml"
    station, _, criterion = file.read_text().partition("[[criterion]]")
    head, _, tail = COHERENT.partition("[[criterion]]")
    file.write_text(f"{station}{head}[[criterion]]{tail}[[criterion]]{criterion}")
    words = ["scenes", "rates", str(stack), "--site", "valley", "--json"]
    assert run_command(words) == 0
    first = json.loads(capsys.readouterr().out)
    series = coherence_of(database, "B1")
    assert [at[:10] for at, _, _ in series] == [f"{d:%Y-%m-%d}" for d in DATES[1:]], "one value per date"
    assert all(0.5 < value < 1 for _, value, _ in series)
    zone = coherence_of(database, "F-zone-B1")
    assert len(zone) == len(series), "the sinking bowl lies around the station"
    assert (first["stored_coherence"], first["coherence_loss"]) == (len(series) + len(zone), [])
    assert (ask(database, load_alerts, "valley"), run_command(words)) == ([], 0)
    assert json.loads(capsys.readouterr().out)["stored_coherence"] == 0, "the same stack again adds nothing"

    # the newest pairs lose it: advice of its own, and a criterion on the series may say so too (two epochs at least)
    for number in (len(DATES) - 2, len(DATES) - 1):
        change_coherence(stack, number, 0.34)
    assert run_command(words) == 0
    (loss,) = json.loads(capsys.readouterr().out)["coherence_loss"]
    assert loss["to"][:10] == f"{LAST:%Y-%m-%d}"
    newest = coherence_of(database, "B1")[-2:]
    assert newest[0][0] == newest[1][0], "a corrected value is a revision"
    assert newest[1][1:] == (pytest.approx(0.34, abs=0.01), 1)
    (alert,) = ask(database, load_alerts, "valley")
    assert (alert.ledger, alert.key, alert.state) == ("advice", "advice:coherence:stack", "unacknowledged")
    assert f"to 0.34 on {loss['area_m2']:,.0f} m²" in alert.reason
    assert "nearest station 0 m (B1)" in alert.reason
    site = load_site(file)
    tell(database, save_site, site, "test", "test", datetime.now(UTC))
    evaluate_site(database, site, datetime.now(UTC), "tick")
    with database.read() as c:
        found = {a.key: (a.ledger, a.level) for a in load_alerts(c, "valley", open_only=True)}
        level = c.execute(text("SELECT level FROM site_status WHERE site = 'valley'")).scalar()
    assert found.get("advice:ground-cover:B1", ("",))[0] == "advice", found
    assert level == 0, "coherence is advice"

    # a stack whose newest pair is whole again ends it
    change_coherence(stack, len(DATES) - 1, 0.8)
    assert run_command(words) == 0
    capsys.readouterr()
    (alert,) = [a for a in ask(database, load_alerts, "valley") if a.key == "advice:coherence:stack"]
    assert alert.state == "returned_unacknowledged"


@pytest.mark.soak
@ON_SQLITE
def test_an_old_loss_is_printed_and_nobody_is_told(valley, database, capsys):
    stack, site, _ = valley
    change_coherence(stack, len(DATES) - 1, 0.34)
    tell(database, save_site, site, "test", "test", datetime.now(UTC))
    found = measure_stack(StackRequest(folder=stack))
    with database.write() as c:
        store_coherence(c, site, "stack", found, datetime.now(UTC) + timedelta(days=60))
        assert load_alerts(c, "valley") == []
    assert len(found.coherence_loss) == 1


def test_a_place_that_is_none_is_one_line(valley, capsys):
    assert run_command(["scenes", "rates", str(valley[0]), "--reference", "8.9,46.2"]) == 1
    assert "expected LON,LAT,RADIUS_M" in capsys.readouterr().err
    assert run_command(["scenes", "rates", str(valley[0]), "--site", "nowhere"]) == 1


# ---- a map of velocities in a site ----------------------------------------------------------------------------------
FROM_MAP = {"interval": "30d", "source": "velocity map"}
MAPPED = site_text.series("velocity", "mm/day", **FROM_MAP)
STATION = site_text.station("V1", MAPPED, latitude=46.0, longitude=11.0) + "[[criterion]]"
SHARES = site_text.series("moving_share", "%", **FROM_MAP, over_mm_per_day=0.1)
SHARES += site_text.series("velocity_p95", "mm/day", **FROM_MAP)
FLANK = [[46.195, 8.892], [46.195, 8.908], [46.205, 8.908], [46.205, 8.892]]
ZONE = (
    site_text.station("Z1", SHARES, outline=FLANK)
    + site_text.criterion("level", id="flank", series="Z1.moving_share", valid_for="60d", yellow={"over": 20.0})
    + "[[criterion]]"
)
RAIN = site_text.series("rain", "mm")
SITE = SITE_TEXT.replace("[[criterion]]", STATION.lstrip("\n"), 1)


@ON_BOTH
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
    assert (run_command([*asked, *ends]), "the file states no unit: give --unit" in capsys.readouterr().err) == (
        1,
        True,
    )
    assert run_command([*asked, *ends, "--unit", "furlong"]) == 1
    assert "no unit of velocity" in capsys.readouterr().err
    assert run_command([*asked, "--unit", "mm/year"]) == 2
    assert "--site needs --until" in capsys.readouterr().err
    assert run_command([*asked, "--until", "2199-01-01", "--unit", "mm/year"]) == 1
    assert "in the future" in capsys.readouterr().err
    for stored in (1, 0):  # the same map again is known
        assert run_command([*asked, *ends, "--unit", "mm/year"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["stored"] == {"readings": stored, "known": 1 - stored, "zones": 1}
    # another component would turn the sign of the series
    asked[asked.index("up")] = "los-away"
    assert run_command([*asked, *ends, "--unit", "mm/year"]) == 1
    assert "are of up, this map is of los-away" in capsys.readouterr().err
    # errors in another unit than the velocities
    asked[asked.index("los-away")] = "up"
    sigma = tmp_path / "sigma.tif"
    with rasterio.open(path) as source, rasterio.open(sigma, "w", **source.profile) as target:
        target.write(np.full((1, 150, 150), 1 / 365.25, np.float32))
        target.set_band_unit(1, "mm/day")
    assert run_command([*asked[:5], "--json", "--sigma-file", str(sigma), "--unit", "mm/year"]) == 1
    assert "sigma.tif: the file states the unit 'mm/day', not 'mm/yr'" in capsys.readouterr().err
    with rasterio.open(path, "r+") as target:
        target.set_band_unit(1, "mm/year")
    assert run_command([*asked[:5], "--json", "--sigma-file", str(sigma)]) == 0
    assert json.loads(capsys.readouterr().out)["zones"][0]["sigma_mm_per_year"] == pytest.approx(1)
    now = datetime.now(UTC)
    with database.read() as c:
        (series,) = [one for one in load_series(c, "bench") if one.station == "V1"]
        (reading,) = load_readings(c, series.id, None, now, now)
    assert (series.quantity, reading.observed_at) == ("velocity", datetime(2026, 6, 30, tzinfo=UTC))
    assert (reading.value_raw, reading.sigma) == (pytest.approx(0.2, abs=0.002), pytest.approx(1 / 365.25, rel=0.3))
    told = json.loads(reading.extra)
    assert (told["component"], told["pixels"] > 1000) == ("up", True), "the row says what its sign means"
    paths = load_service(config).paths
    (zone,) = read_zones(paths, "bench")
    assert zone["properties"] | {"way": "up", "kind": "velocity", "name": "up.tif"} == zone["properties"]
    paths.velocity_zones_path("bench").write_text("damaged")
    assert read_zones(paths, "bench") == []


def test_a_zone_votes_by_the_share_of_it_that_moves(database, tmp_path, capsys, monkeypatch):
    """Two maps over the bound raise the level by the rules of any instrument; one raises nothing."""
    monkeypatch.chdir(tmp_path)
    text = SITE_TEXT.replace("[[criterion]]", ZONE.lstrip("\n"), 1)
    config, site = str(write_service(tmp_path, database, text)), parse_site(text, "bench.toml")
    tell(database, save_site, site, "test", "a zone", datetime(2026, 1, 1, tzinfo=UTC))
    grid = grid_around(8.9, 46.2, 150, 20.0)
    rows, columns = np.mgrid[:150, :150]
    slides = (columns - 75) ** 2 + (rows - 75) ** 2 < 20**2
    noise = np.random.default_rng(2).normal(size=(150, 150))
    levels, last = [], datetime.now(UTC) - timedelta(days=1)
    for number, faster in enumerate((0.0, 73.05, 73.05)):
        path = tmp_path / f"up{number}.tif"
        write_geotiff(path, (noise + faster * slides)[None].astype(np.float32), grid)
        until = (last - timedelta(days=30 * (2 - number))).isoformat()
        asked = ["scenes", "velocity", str(path), "--component", "up", "--unit", "mm/year", "--site", "bench"]
        assert run_command([*asked, "--config", config, "--until", until, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["stored"]["readings"] == 2
        now = datetime.now(UTC)
        result = evaluate_site(database, site, now, "data")
        levels.append(result.level)
    (zone,) = told["places"]
    assert (zone["moving_share"], levels) == (pytest.approx(np.pi * 20**2 / zone["pixels"], rel=0.03), [0, 0, 1])
    evidence, percent = result.decision.evidence, round(100 * zone["moving_share"], 2)
    assert evidence["votes"]["flank|Z1"]["counted"]
    (said,) = [word["reason"] for word in evidence["words"] if word["station"] == "Z1"]
    assert said == f"moving share: {percent:g} %, bounds 20 %"
    with database.read() as c:
        kept = {(one.station, one.quantity): one.id for one in load_series(c, "bench")}
        readings = load_readings(c, kept["Z1", "moving_share"], None, now, now)
        speeds = load_readings(c, kept["Z1", "velocity_p95"], None, now, now)
    assert [one.value_raw for one in readings] == pytest.approx([0.0, percent, percent])
    assert json.loads(readings[0].extra) == {"component": "up", "pixels": zone["pixels"]}
    assert speeds[-1].value_raw == pytest.approx(0.2, abs=0.01)


def test_what_one_map_says_of_zones_is_one_witness(tmp_path):
    other = ZONE.replace('"Z1"', '"Z2"').partition("[[criterion]]")[0]
    near = STATION.replace("46.0", "46.2").replace("11.0", "8.9").partition("[[criterion]]")[0]
    site = parse_site(SITE_TEXT.replace("[[criterion]]", near + other + ZONE.lstrip("\n"), 1), "bench.toml")
    groups = find_groups(site)
    assert groups["Z1"] == groups["Z2"] == groups["V1"]
    assert len({groups["Z1"], groups["G1"], groups["G2"]}) == 3


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('quantity = "moving_share"\nunit = "%"', 'quantity = "tilt"\nunit = "mrad"', "a velocity map contains"),
        ("over_mm_per_day = 0.1\n", RAIN, "move rain to another station"),
        ("[46.205, 8.908], [46.205, 8.892]", "[46.205, 8.892], [46.205, 8.908]", "two edges cross or touch"),
        (
            "outline = [[46.195, 8.892], [46.195, 8.908], [46.205, 8.908], [46.205, 8.892]]\n",
            "",
            "to read the velocity map there",
        ),
        ('unit = "mm/day"', 'unit = "mm/day"\nover_mm_per_day = 2.0', "only the quantity moving_share uses"),
    ],
)
def test_a_zone_that_no_map_could_fill_is_refused(old, new, words):
    assert ZONE.count(old) == 1
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse_site(SITE_TEXT.replace("[[criterion]]", ZONE.lstrip("\n").replace(old, new), 1), "bench.toml")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("latitude = 46.0\nlongitude = 11.0\n", "", "V1.velocity stays empty: a velocity map cannot be read"),
        ('quantity = "velocity"\nunit = "mm/day"', 'quantity = "tilt"\nunit = "mrad"', "V1.tilt stays empty"),
    ],
)
def test_a_file_of_before_that_no_map_can_fill_is_said_and_its_slope_stays_watched(
    old, new, words, database, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    text = SITE.replace(old, new)
    assert text != SITE
    assert list_mapped_ground(parse_site(text, "bench.toml")) == []
    run_command(["check", "--config", str(write_service(tmp_path, database, text))])
    assert words in capsys.readouterr().err


def test_a_series_that_nothing_here_can_fill_is_said(database, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = str(write_service(tmp_path, database, SITE))
    run_command(["check", "--config", config])
    assert "V1.velocity stays empty" not in capsys.readouterr().err
    monkeypatch.setattr(site_files, "is_installed", lambda _module: False)
    run_command(["check", "--config", config])
    assert "a velocity map is read by slopeward-earth, which is not installed" in capsys.readouterr().err

"""Displacement between images as series of stations: through the gate, with errors, in chains, on both databases."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from monitor.cli.main import run_command
from monitor.ingest.pipeline import Pipeline
from monitor.readings.queries.observations import load_readings, load_series
from monitor.sites.files import scan_sites
from slopeward_earth.tracking.stations import StationDisplacement, store_vectors
from tests.data.site_text import series, station
from tests.data.surveys.images import PLACE, SLID_M, write_pair, write_still
from tests.data.watched_slope import SITE_TEXT, write_service
from tests.fixtures.databases import ON_SQLITE

MOVED = series("displacement", "mm", "30d", source="image correlation")
STATION = station("P1", MOVED, latitude=PLACE[1], longitude=PLACE[0], azimuth_deg=116.0)
SITE = SITE_TEXT.replace("[[criterion]]", f"{STATION}\n[[criterion]]", 1)
TUNED = ["--most", "1", "--window", "32", "--step", "52"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    first, second, grid = write_pair(folder)
    write_still(folder, grid)
    third = write_pair(folder, slid_m=(0.6, -0.3), names=("again.tif", "20260701.tif"))[1]
    return str(first), str(second), str(third)


@pytest.fixture
def track(database, tmp_path, capsys):
    service = write_service(tmp_path, database, SITE)

    def run(*words):
        status = run_command(["scenes", "track", *words, *TUNED, "--config", str(service)])
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


def read_rows(database):
    """(quantity, reading) of P1, by time."""
    now = datetime.now(UTC)
    with database.read() as c:
        ids = [(one.quantity, one.id) for one in load_series(c, "bench") if one.station == "P1"]
        rows = [(quantity, r) for quantity, id_ in ids for r in load_readings(c, id_, None, now, now)]
    return sorted(rows, key=lambda row: (row[1].observed_at, row[0]))


@pytest.mark.soak
@ON_SQLITE
def test_stations_get_series_with_errors_and_chains_add_up(database, track, images, tmp_path):
    first, second, third = images
    stations = ["--site", "bench", "--stable", str(Path(first).with_name("still.tif"))]
    status, out, _ = track(first, second, *stations, "--json")
    assert status == 0
    told = json.loads(out)
    assert (told["stored"], told["vectors"][0]["name"]) == (4, "P1")
    rows = read_rows(database)
    assert [(quantity, str(r.observed_at)[:10]) for quantity, r in rows] == [
        (f"displacement_{axis}", f"2026-{month}-01") for month in ("05", "06") for axis in ("east", "north")
    ]
    assert [r.value_raw for _, r in rows[:2]] == [0, 0]
    assert [r.value_raw for _, r in rows[2:]] == pytest.approx([1e3 * one for one in SLID_M], abs=15)
    assert all(1 < r.sigma < 20 for _, r in rows)
    assert [r.sigma for _, r in rows[:2]] == [r.sigma for _, r in rows[2:]]
    assert not any("undeclared" in r.flags for _, r in rows)
    status, out, _ = track(first, second, *stations, "--json")
    assert (status, json.loads(out)["stored"]) == (0, 0)  # the same again is known
    assert track(second, third, *stations)[0] == 0
    rows = read_rows(database)[4:]
    assert [r.value_raw for _, r in rows] == pytest.approx([600, -300], abs=20)
    single = [r.sigma for _, r in read_rows(database)[2:4]]
    assert all(r.sigma > np.sqrt(1.1) * one for (_, r), one in zip(rows, single, strict=True))


@pytest.mark.soak
def test_what_cannot_be_stored_is_one_line(database, track, images, monkeypatch):
    first, second, third = images
    stations = ["--site", "bench"]
    monkeypatch.setattr("monitor.cli.session.PROGRESS_EVERY_S", 0.0)
    monkeypatch.setattr("monitor.cli.session.shows_progress", lambda: True)
    status, _, err = track(second, first, *stations)
    assert "windows 97%" in err
    assert status == 1
    assert "was not taken after the older one" in err
    assert track(first, second, *stations)[0] == 0
    status, _, err = track(third, second, *stations, "--older-at", "2026-05-20T00:00:00Z")
    assert (status, "has readings, but none at the older image" in err) == (1, True)
    assert (track(first, second)[0], len(read_rows(database))) == (0, 4)


def test_without_a_declared_station_nothing_is_stored(database, tmp_path, images, capsys):
    service = write_service(tmp_path, database, SITE.replace('source = "image correlation"\n', ""))
    words = ["scenes", "track", *images[:2], *TUNED, "--site", "bench", "--config", str(service)]
    assert (run_command(words), "source = 'image correlation'" in capsys.readouterr().err) == (1, True)
    assert not read_rows(database)


def test_a_velocity_reads_what_images_say(database, tmp_path, capsys):
    """Five images of a slope that speeds past a bound; each compared with the first one."""
    more = """verify_step_mm = 5000.0

[[criterion]]
kind = "velocity"
id = "images"
stations = ["P1"]
yellow = {over = 5.0, window = "100d"}
orange = {over = 50.0, window = "100d"}
red = {over = 500.0, window = "100d"}
valid_for = "40d"
author = "A. Rossi"
reason = "drawn"
"""
    key = 'source = "image correlation"\n'
    service = write_service(tmp_path, database, SITE.replace(key, key + more, 1))
    site = scan_sites(service.parent / "sites")[0][0]
    now, first = datetime(2026, 8, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)
    pipeline = Pipeline(database, {site.id: site}, lambda: now)
    for day in (31, 61, 85, 91):
        moved = [StationDisplacement("P1", (9.0 * day, -4.5 * day), (3.0, 3.0))]
        told = store_vectors(pipeline, site, moved, first, first + timedelta(days=day), f"{day}", now)
        assert told.stored == (4 if day == 31 else 2)
    at = ("--at", "2026-08-01T00:00:00Z", "--known", "observed")
    assert run_command(["evaluate", "bench", *at, "--config", str(service)]) == 0
    assert "images P1: yellow; velocity 10." in capsys.readouterr().out

"""`slopeward import` leads from the export of a total station to a judged level."""

import math
import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.cli.main import run_command
from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.raw_table import read_raw_table

HOURS = 24 * 15
PRISMS = {
    "PR1": (1000.0, 2000.0, 500.0, 0.5),
    "PR2": (1100.0, 2020.0, 490.0, 8.0),
    "REF1": (1300.0, 2300.0, 520.0, 0.0),
}
INSTRUMENT_M = (500.0, 1500.0, 450.0)
SITE = """
[site]
id = "cut"
name = "Cut"
latitude = 46.0
longitude = 9.0
{stations}
[[criterion]]
kind = "velocity"
stations = ["PR*"]
dwell = {{hits = 3, of = 4}}
yellow = {{over = 10.0, window = "1d"}}
orange = {{over = 50.0, window = "1d"}}
[[total_station]]
id = "TS1"
east_m = 500.0
north_m = 1500.0
up_m = 450.0
"""
STATION = """
[[station]]
id = "{name}"
on_slope = {on_slope}
origin = {{east_m = {east}, north_m = {north}, up_m = {up}, since = {since}}}
[[station.series]]
quantity = "displacement"
unit = "mm"
interval = "1h"
"""


@pytest.fixture
def begin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return datetime.now(UTC).replace(tzinfo=None, minute=0, second=0, microsecond=0) - timedelta(hours=HOURS)


def simulate(begin):
    """Yield time, prism and coordinates. In the last four days PR2 moves 120 mm/day."""
    rng = random.Random(1)
    for hour in range(HOURS):
        for name, (east, north, up, rate) in PRISMS.items():
            moved_m = rate * hour / 24 / 1000
            if name == "PR2":
                moved_m += 0.12 * max(0, hour - HOURS + 96) / 24
            place = (east + 0.8 * moved_m, north - 0.5 * moved_m, up - 0.3 * moved_m)
            yield begin + timedelta(hours=hour), name, [value + rng.gauss(0, 0.001) for value in place]


def write_coordinates(begin):
    lines = ["Point ID;Date/Time;Easting [m];Northing [m];Height [m]"]
    for at, name, place in simulate(begin):
        lines.append(f"{name};{at:%d.%m.%Y %H:%M};" + ";".join(f"{value:.4f}" for value in place))
    Path("prisms.csv").write_text("\n".join(lines) + "\n")


def write_polar(begin, *, has_site=True):
    lines = ["Point;Time;SD;Hz;V"]
    gon = 200 / math.pi
    for at, name, place in simulate(begin):
        east, north, up = (a - b for a, b in zip(place, INSTRUMENT_M, strict=True))
        level = math.hypot(east, north)
        circle, zenith = math.atan2(east, north) * gon, math.atan2(level, up) * gon
        lines.append(f"{name};{at:%d.%m.%Y %H:%M};{math.hypot(level, up):.4f};{circle:.5f};{zenith:.5f}")
    Path("polar.csv").write_text("\n".join(lines) + "\n")
    if not has_site:
        return
    stations = [
        STATION.format(
            name=name,
            on_slope="false" if name.startswith("REF") else "true",
            east=east,
            north=north,
            up=up,
            since=f"{begin:%Y-%m-%dT%H:%M:%SZ}",
        )
        for name, (east, north, up, _) in PRISMS.items()
    ]
    Path("configs/sites").mkdir(parents=True)
    Path("configs/sites/cut.toml").write_text(SITE.format(stations="".join(stations)))


def list_newest():
    query = """
        select s.station, s.quantity, o.value_raw from observation o join series s on s.id = o.series_id
        where o.observed_at = (select max(observed_at) from observation)
    """
    with closing(sqlite3.connect("slopeward.db")) as connection:
        return {(station, quantity): value for station, quantity, value in connection.execute(query)}


def import_file(file, *answers):
    answered = [word for answer in answers for word in ("--answer", answer)]
    return run_command(["import", file, "--yes", *answered])


def test_coordinates_become_displacement_and_a_level(begin, capsys):
    write_coordinates(begin)
    place = ("zone=UTC", "place=46,9")
    assert import_file("prisms.csv", *place) == 1
    assert "--answer 'coordinates=...'" in capsys.readouterr().err
    assert import_file("prisms.csv", *place, "coordinates=coordinates", "reference=first") == 0
    newest = list_newest()
    assert newest["PR2", "displacement_east"] == pytest.approx(0.8 * (120 + 480), abs=15)
    assert newest["REF1", "displacement_east"] == pytest.approx(0.0, abs=8)
    assert not [quantity for _, quantity in newest if quantity.startswith("position")]
    said = capsys.readouterr().out
    assert "PR2: velocity" in said
    assert "over" in said


@pytest.mark.soak
def test_coordinates_of_a_new_station_are_checked_and_stored_at_a_site_without_origins(begin, capsys):
    Path("configs/sites").mkdir(parents=True)
    stations = """
[[station]]
id = "E1"
[[station.series]]
quantity = "displacement"
unit = "mm"
interval = "1h"
"""
    site = SITE.partition("[[total_station]]")[0].replace('"PR*"', '"*"')
    Path("configs/sites/cut.toml").write_text(site.format(stations=stations))
    write_coordinates(begin)
    answers = ("zone=UTC", "coordinates=coordinates", "reference=first")
    answered = [word for answer in answers for word in ("--answer", answer)]
    assert run_command(["import", "prisms.csv", "--site", "cut", "--yes", *answered]) == 0, capsys.readouterr().err
    assert list_newest()["PR2", "displacement_east"] == pytest.approx(0.8 * (120 + 480), abs=15)


@pytest.mark.soak
def test_distances_and_angles_use_the_instrument_of_the_site_file(begin, capsys):
    write_polar(begin)
    answers = ("zone=UTC", "polar=total station", "unit:angle=gon", "unit:slope_distance=m")
    assert (
        run_command(["import", "polar.csv", "--site", "cut", "--yes", *[w for a in answers for w in ("--answer", a)]])
        == 0
    )
    newest = list_newest()
    assert newest["PR2", "displacement_east"] == pytest.approx(0.8 * (120 + 480), abs=15)
    assert newest["PR2", "displacement_north"] == pytest.approx(-0.5 * (120 + 480), abs=15)
    assert "PR2: velocity" in capsys.readouterr().out


def test_units_are_asked_after_the_readings_are_known(begin):
    write_polar(begin)
    questions = guess(read_raw_table(Path("polar.csv")), {"zone": "UTC", "polar": "total station"}).questions
    assert {question.key for question in questions} == {"unit:angle", "unit:slope_distance", "reference"}


POLAR_ANSWERS = ("zone=UTC", "polar=total station", "unit:angle=gon", "unit:slope_distance=m", "reference=first")


@pytest.mark.soak
def test_distances_and_angles_of_a_new_site_become_displacement_and_a_level(begin, capsys):
    write_polar(begin, has_site=False)
    assert import_file("polar.csv", "place=46,9", *POLAR_ANSWERS) == 0
    newest = list_newest()
    assert newest["PR2", "displacement_east"] == pytest.approx(0.8 * (120 + 480), abs=15)
    assert newest["PR2", "displacement_north"] == pytest.approx(-0.5 * (120 + 480), abs=15)
    assert newest["REF1", "displacement_east"] == pytest.approx(0.0, abs=15)
    said = capsys.readouterr().out
    assert "PR2: velocity" in said
    assert "origin of a local grid" in said


EMPTY_SITE = """
[site]
id = "cut"
name = "Cut"
latitude = 46.0
longitude = 9.0
[[station]]
id = "E1"
[[station.series]]
quantity = "crack_opening"
unit = "mm"
interval = "1h"
"""


@pytest.mark.soak
def test_a_total_station_is_added_to_a_site_without_prisms(begin):
    write_polar(begin, has_site=False)
    Path("configs/sites").mkdir(parents=True)
    Path("configs/sites/cut.toml").write_text(EMPTY_SITE)
    answered = [word for answer in POLAR_ANSWERS for word in ("--answer", answer)]
    assert run_command(["import", "polar.csv", "--site", "cut", "--yes", *answered]) == 0
    assert list_newest()["PR2", "displacement_east"] == pytest.approx(0.8 * (120 + 480), abs=15)
    assert "[[total_station]]" in Path("configs/sites/cut.toml").read_text()
    assert run_command(["import", "polar.csv", "--site", "cut", "--yes"]) == 0

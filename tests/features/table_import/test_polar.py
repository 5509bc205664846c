"""Distances and angles of a total station are recognised by their headings, and asked about."""

from datetime import UTC, datetime, timedelta

import pytest

from monitor.errors import ConfigError
from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.raw_table import read_raw_table
from monitor.features.table_import.guess.site_file import write_site
from monitor.ingest.files.lines import open_wide
from monitor.sites.parsing import parse_site
from monitor.sites.records import Origin, TotalStation
from tests.data.payloads.guess_tables import write_table

BEGIN = datetime(2025, 3, 4)
INSTRUMENT = TotalStation("TS1", east_m=1000.0, north_m=2000.0, up_m=500.0, angle_unit="gon")
ORIGINS = {"P1": Origin(datetime(2025, 1, 1, tzinfo=UTC), baseline_m=(1100.0, 2000.0, 500.0))}
HEADINGS = (
    ("Hz [gon]", "V [gon]", "SD [m]"),
    ("Hz", "V", "Slope distance"),
    ("Horizontalrichtung (gon)", "Zenitwinkel (gon)", "Schrägdistanz (m)"),
    ("H angle [gon]", "Zenith angle [gon]", "S-dist [m]"),
)
ANSWERS = {"zone": "UTC", "polar": "total station", "unit:angle": "gon", "unit:slope_distance": "m"}


def write(path, headings, more="", cells=""):
    """Write daily readings of prism P1, which stands east of the instrument and moves 2 mm a day to the east."""
    rows = [
        f"P1;{BEGIN + timedelta(days=k):%d.%m.%Y %H:%M};100.0000;100.0000;{100 + k / 500:.4f}{cells}" for k in range(40)
    ]
    return write_table(path, ";".join(["Point", "Date", *headings]) + more, rows)


@pytest.mark.parametrize("headings", HEADINGS)
def test_polar_readings_are_asked_about_and_become_displacement(tmp_path, headings):
    path = write(tmp_path / "t.csv", headings)
    table = read_raw_table(path)
    question = next(question for question in guess(table, {"zone": "UTC"}).questions if question.key == "polar")
    assert f"'{headings[2]}': 100 is slope distance" in question.examples["total station"]
    found = guess(table, ANSWERS, site_origins=ORIGINS, total_stations=[INSTRUMENT])
    assert not found.questions
    assert {(sensor.station, sensor.quantity) for sensor in found.sensors} == {
        ("P1", f"displacement_{axis}") for axis in ("east", "north", "up")
    }
    with open_wide(path, found.options) as lines:
        rows = [judged for line in lines for judged in line.rows]
    assert not [error for _, error in rows if error is not None]
    east = [row["value"] for row, _ in rows if row["quantity"] == "displacement_east"]
    assert east[-1] == pytest.approx(78.0, abs=0.2)


def read_displacements(path, found):
    with open_wide(path, found.options) as lines:
        rows = [judged for line in lines for judged in line.rows]
    assert not [error for _, error in rows if error is not None]
    return {
        axis: [row["value"] for row, _ in rows if row["quantity"] == f"displacement_{axis}"]
        for axis in ("east", "north", "up")
    }


@pytest.mark.parametrize("headings", HEADINGS)
def test_polar_readings_of_a_new_site_count_from_the_first_one(tmp_path, headings):
    path = write(tmp_path / "t.csv", headings)
    asked = guess(read_raw_table(path), ANSWERS)
    assert [question.key for question in asked.questions] == ["reference"]
    found = guess(read_raw_table(path), ANSWERS | {"reference": "first"})
    assert "origin of a local grid" in str(dict(found.facts)["total station"])
    moved_mm = read_displacements(path, found)
    assert moved_mm["east"][0] == pytest.approx(0.0, abs=0.06)
    assert moved_mm["east"][-1] == pytest.approx(78.0, abs=0.2)
    assert moved_mm["north"][-1] == pytest.approx(0.0, abs=0.06)
    site = parse_site(write_site("cut", (46.0, 9.0), "UTC", found.sensors, known=found.file_options), "cut")
    assert site.station("P1").origin == dict(found.file_options.origins)["P1"]
    assert [one.id for one in site.total_stations] == ["TS1"]


def test_polar_readings_of_a_new_site_count_from_a_date(tmp_path):
    path = write(tmp_path / "t.csv", HEADINGS[0])
    found = guess(read_raw_table(path), ANSWERS | {"reference": "2025-03-14"})
    assert read_displacements(path, found)["east"][0] == pytest.approx(-20.0, abs=0.1)
    with pytest.raises(ConfigError, match="P1 has no reading"):
        guess(read_raw_table(path), ANSWERS | {"reference": "2031-01-01"})


def test_a_reading_that_lacks_an_angle_is_no_reference(tmp_path):
    path = write(tmp_path / "t.csv", HEADINGS[0])
    path.write_text(path.read_text().replace(";100.0000;100.0000;100.0000", ";100.0000;;100.0000", 1))
    found = guess(read_raw_table(path), ANSWERS | {"reference": "first"})
    ((_, origin),) = found.file_options.origins
    assert origin.since == datetime(2025, 3, 5, tzinfo=UTC)


def test_the_place_of_the_instrument_does_not_change_displacement(tmp_path):
    path = write(tmp_path / "t.csv", HEADINGS[0])
    answers = ANSWERS | {"reference": "first"}
    local = read_displacements(path, guess(read_raw_table(path), answers))
    placed = read_displacements(path, guess(read_raw_table(path), answers, total_stations=[INSTRUMENT]))
    for axis in ("east", "north", "up"):
        assert placed[axis] == pytest.approx(local[axis], abs=0.11)


def test_a_new_prism_of_a_declared_total_station_gets_an_origin(tmp_path):
    path = write(tmp_path / "t.csv", HEADINGS[0])
    path.write_text(path.read_text().replace("P1;", "P2;"))
    answers = ANSWERS | {"reference": "first"}
    found = guess(read_raw_table(path), answers, site_origins=ORIGINS, total_stations=[INSTRUMENT])
    origins = dict(found.file_options.origins)
    assert origins["P1"] == ORIGINS["P1"]
    assert origins["P2"].baseline_m == (1100.0, 2000.0, 500.0)
    assert "total station" not in dict(found.facts)


def test_polar_readings_beside_coordinates_are_left_out(tmp_path):
    path = write(tmp_path / "t.csv", HEADINGS[0], ";Easting [m];Northing [m]", ";1100.0;2000.0")
    found = guess(read_raw_table(path), {"zone": "UTC", "coordinates": "coordinates", "reference": "first"})
    assert not found.questions
    assert {rule.quantity for rule in found.mapping.columns} == {"position_east", "position_north"}
    assert "which the coordinates contain" in str(dict(found.facts)["Hz [gon]"])


def test_an_angle_alone_is_no_reading_of_a_total_station(tmp_path):
    rows = [f"P1;{BEGIN + timedelta(days=k):%d.%m.%Y %H:%M};{k}.5" for k in range(40)]
    path = write_table(tmp_path / "t.csv", "Point;Date;V [gon]", rows)
    assert [question.key for question in guess(read_raw_table(path), {"zone": "UTC"}).questions] == ["quantity:gon"]

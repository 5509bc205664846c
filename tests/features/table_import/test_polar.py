"""Distances and angles of a total station are recognised by their headings, and asked about."""

from datetime import UTC, datetime, timedelta

import pytest

from monitor.errors import ConfigError
from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.raw_table import read_raw_table
from monitor.ingest.files.lines import open_wide
from monitor.sites.records import Origin, TotalStation
from tests.data.payloads.guessed import lay_rows

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
    return lay_rows(path, ";".join(["Point", "Date", *headings]) + more, rows)


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


def test_polar_readings_without_a_total_station_are_refused_with_the_remedy(tmp_path):
    path = write(tmp_path / "t.csv", HEADINGS[0])
    found = guess(read_raw_table(path), ANSWERS)
    with pytest.raises(ConfigError, match=r"\[\[total_station\]\]"), open_wide(path, found.options):
        pass


def test_polar_readings_beside_coordinates_are_left_out(tmp_path):
    path = write(tmp_path / "t.csv", HEADINGS[0], ";Easting [m];Northing [m]", ";1100.0;2000.0")
    found = guess(read_raw_table(path), {"zone": "UTC", "coordinates": "coordinates", "reference": "first"})
    assert not found.questions
    assert {rule.quantity for rule in found.mapping.columns} == {"position_east", "position_north"}
    assert "which the coordinates contain" in str(dict(found.facts)["Hz [gon]"])


def test_an_angle_alone_is_no_reading_of_a_total_station(tmp_path):
    rows = [f"P1;{BEGIN + timedelta(days=k):%d.%m.%Y %H:%M};{k}.5" for k in range(40)]
    path = lay_rows(tmp_path / "t.csv", "Point;Date;V [gon]", rows)
    assert [question.key for question in guess(read_raw_table(path), {"zone": "UTC"}).questions] == ["quantity:gon"]

"""`slopeward offsets propose` prints the jump of a replaced sensor with its error and a command. It stores nothing."""

import json
import re
import shlex

import pytest
from sqlalchemy import func, select

from monitor.alerts.queries.maintenance import add_maintenance
from monitor.cli.main import run_command
from monitor.readings.queries.observations import find_series_id, load_readings
from monitor.readings.tables import offset_entry
from monitor.storage.actor import Actor
from monitor.text.instants import format_iso
from tests.data.watched_slope import HOUR, WatchedSlope, write_service


@pytest.fixture
def slope_with_new_sensor(database, tmp_path):
    watched_slope = WatchedSlope(database)
    watched_slope.live(30, {"G1": 1.0}, looks=1)
    with database.write() as connection:
        add_maintenance(
            connection,
            "bench",
            "G1",
            watched_slope.now,
            watched_slope.now + 3 * HOUR,
            Actor("Ada"),
            "new sensor",
            watched_slope.now,
        )
    watched_slope.now += 2 * HOUR
    watched_slope.position["G1"] += 25.0
    watched_slope.live(30, {"G1": 1.0}, looks=1)
    watched_slope.config = str(write_service(tmp_path, database))
    return watched_slope


def call(slope_with_new_sensor, capsys, *arguments):
    status = run_command([*arguments, "--config", slope_with_new_sensor.config])
    out = capsys.readouterr()
    return status, out.out, out.err


def test_offset_of_a_replaced_sensor_is_proposed_and_not_applied(slope_with_new_sensor, capsys):
    propose = "offsets propose bench --station G1 --maintenance 1".split()
    status, out, err = call(slope_with_new_sensor, capsys, *propose)
    assert status == 0, err
    proposal = re.search(r"G1 crack_opening: ([\d.]+) ± ([\d.]+) mm, from 29 readings before and \d+ after", out)
    assert abs(float(proposal[1]) - 25.0) < 3.0 * float(proposal[2]) < 3.0
    assert "that may be motion of the slope in the 4h between" in out
    with slope_with_new_sensor.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(offset_entry)).scalar_one() == 0
    command = shlex.split(next(line for line in out.splitlines() if "offsets add" in line))
    assert call(slope_with_new_sensor, capsys, *command[1:], "--by", "Ada")[0] == 0
    with slope_with_new_sensor.database.read() as connection:
        series = find_series_id(connection, "bench", "G1", "crack_opening")
        values = [
            reading.value
            for reading in load_readings(
                connection, series, None, slope_with_new_sensor.now, slope_with_new_sensor.now + 24 * 365 * HOUR
            )
        ]
    assert abs(values[-1] - values[0]) < 5.0
    # a declared offset is not proposed again
    status, out, _ = call(slope_with_new_sensor, capsys, *propose)
    assert (status, "no offset is needed" in out) == (0, True)


def test_invalid_request_for_a_proposal_is_rejected_with_one_line(slope_with_new_sensor, capsys):
    series_options = ("bench", "--station", "G1")
    cases = {
        "either --at or --maintenance": series_options,
        "--until belongs to --at": (*series_options, "--maintenance", "1", "--until", "2026-03-01T00:00Z"),
        "no maintenance 9 of G1": (*series_options, "--maintenance", "9"),
        "no maintenance 1 of G2": ("bench", "--station", "G2", "--maintenance", "1"),
        "has no series whose zero point can jump": (
            "bench",
            "--station",
            "X",
            "--at",
            format_iso(slope_with_new_sensor.now),
        ),
        "--until must not be before": (
            *series_options,
            "--at",
            format_iso(slope_with_new_sensor.now),
            "--until",
            format_iso(slope_with_new_sensor.now - HOUR),
        ),
    }
    for message, options in cases.items():
        status, _, err = call(slope_with_new_sensor, capsys, "offsets", "propose", *options)
        assert status == 1, message
        assert message in err
    status, out, _ = call(
        slope_with_new_sensor,
        capsys,
        "offsets",
        "propose",
        *series_options,
        "--at",
        format_iso(slope_with_new_sensor.now + HOUR),
        "--json",
    )
    assert status == 4
    assert "usable readings after" in json.loads(out)["reason"]

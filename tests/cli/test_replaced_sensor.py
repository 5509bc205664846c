"""`slopeward offsets propose`: a replaced sensor's jump is said with its error and its command; nothing is declared."""

import json
import re
import shlex

import pytest
from sqlalchemy import func, select

from monitor.alerts.queries.maintenance import add_maintenance
from monitor.cli.main import run_verb
from monitor.readings.queries.observations import find_series_id, load_readings
from monitor.readings.tables import offset_entry
from monitor.storage.actor import Actor
from monitor.text.instants import format_iso
from tests.data.watched_slope import HOUR, WatchedSlope, write_service


@pytest.fixture
def slope(database, tmp_path):
    found = WatchedSlope(database)
    found.live(30, {"G1": 1.0}, looks=1)
    with database.write() as c:
        add_maintenance(c, "bench", "G1", found.now, found.now + 3 * HOUR, Actor("Ada"), "new sensor", found.now)
    found.now += 2 * HOUR
    found.position["G1"] += 25.0
    found.live(30, {"G1": 1.0}, looks=1)
    found.config = str(write_service(tmp_path, database))
    return found


def call(slope, capsys, *words):
    code = run_verb([*words, "--config", slope.config])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_a_replaced_sensor_proposes_its_offset_and_applies_nothing(slope, capsys):
    propose = "offsets propose --site bench --station G1 --maintenance 1".split()
    code, out, err = call(slope, capsys, *propose)
    assert code == 0, err
    found = re.search(r"G1 crack_opening: ([\d.]+) ± ([\d.]+) mm, of 29 readings before and \d+ after", out)
    assert abs(float(found[1]) - 25.0) < 3.0 * float(found[2]) < 3.0
    assert "may be motion of the 4h between, which stays" in out
    with slope.database.read() as c:
        assert c.execute(select(func.count()).select_from(offset_entry)).scalar_one() == 0
    command = shlex.split(next(line for line in out.splitlines() if "offsets add" in line))
    assert call(slope, capsys, *command[1:], "--by", "Ada")[0] == 0
    with slope.database.read() as c:
        series = find_series_id(c, "bench", "G1", "crack_opening")
        values = [r.value for r in load_readings(c, series, None, slope.now, slope.now + 24 * 365 * HOUR)]
    assert abs(values[-1] - values[0]) < 5.0
    # what was declared is not proposed again
    code, out, _ = call(slope, capsys, *propose)
    assert (code, "no offset is needed" in out) == (0, True)


def test_what_cannot_be_said_is_refused_in_one_line(slope, capsys):
    place = ("--site", "bench", "--station", "G1")
    cases = {
        "Give either --at, or --maintenance": place,
        "no maintenance 9 of G1": (*place, "--maintenance", "9"),
        "no maintenance 1 of G2": ("--site", "bench", "--station", "G2", "--maintenance", "1"),
        "has no series of a level": ("--site", "bench", "--station", "X", "--at", format_iso(slope.now)),
        "--until lies before": (*place, "--at", format_iso(slope.now), "--until", format_iso(slope.now - HOUR)),
    }
    for said, words in cases.items():
        code, _, err = call(slope, capsys, "offsets", "propose", *words)
        assert code == 1, said
        assert said in err
    code, out, _ = call(slope, capsys, "offsets", "propose", *place, "--at", format_iso(slope.now + HOUR), "--json")
    assert code == 4
    assert "usable readings after" in json.loads(out)["reason"]

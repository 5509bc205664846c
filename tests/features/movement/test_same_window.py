"""The decision, the page and `slopeward forecast failure-time` show the same failure window of a series."""

import json
import math
import re
from datetime import timedelta
from random import Random

from monitor.alerts.evaluate import load_inputs
from monitor.cli.main import run_command
from monitor.features.movement.update import update_movement
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.text.instants import epoch_s, format_iso, parse_time
from tests.data import site_text
from tests.data.store_rows import tell
from tests.web.served import serving

START = parse_time("2026-01-01T00:00:00Z")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FAILURE_DAY, LAST_ACCELERATING_DAY, LAST_DAY = 120.0, 116, 128
NOISE_MM = 0.5
SITE = parse_site(
    site_text.head("slope")
    + site_text.station("A", site_text.series("displacement", "mm", "1d", max_silence="3d", noise_floor_mm=NOISE_MM))
    + site_text.criterion("inverse_velocity", stations=["A"], yellow={"within": "10d"}),
    "slope.toml",
)


def list_readings():
    """Return a slope that accelerates towards a failure, and continues with its last velocity instead."""
    noise = Random(3)
    values, moved_mm, velocity = [], 0.0, 0.0
    for day in range(LAST_DAY):
        values.append((START + day * DAY, moved_mm + noise.gauss(0.0, NOISE_MM)))
        if day <= LAST_ACCELERATING_DAY:
            velocity = 0.3 + 60.0 * math.log((FAILURE_DAY - day) / (FAILURE_DAY - day - 1.0))
        moved_mm += velocity
    return values


def test_decision_page_and_command_show_the_same_window(database, tmp_path, capsys):
    readings = list_readings()
    tell(database, save_site, SITE, "test", "test", START)
    decision = {}
    for at, value_mm in readings:
        reading = Observation("slope", "A", "displacement", "mm", at, at, value_mm, NOISE_MM)
        tell(database, add_observations, [reading], at)
        update_movement(database, SITE, at + HOUR)
        with database.read() as c:
            inputs, _ = load_inputs(c, SITE, at + HOUR, draining=False)
        for fact in inputs.failures:
            assert fact.data_until_s == epoch_s(at), "a window that stands is as of the newest reading"
            decision[format_iso(at)] = (fact.from_s, fact.mid_s, fact.to_s, fact.trusted, str(fact.reasons))

    with serving(database, readings[-1][0] + HOUR) as client:
        rows = client.get("/api/v1/sites/slope/movement/A?span=400d").json()["windows"]
        text = " ".join(client.get("/sites/slope/movement").text.split())
    page = {row["data_until"]: describe_row(row, row["reasons"]) for row in rows}

    curve = tmp_path / "curve.csv"
    lines = [f"{format_iso(at)},{value_mm!r}" for at, value_mm in readings]
    curve.write_text("\n".join(["time,displacement_mm", *lines]) + "\n", encoding="utf-8")
    command = ["forecast", "failure-time", str(curve), "--interval", "1d", "--sigma", str(NOISE_MM), "--forwards"]
    assert run_command([*command, "--json"]) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    printed = {row["time"]: describe_row(row, "; ".join(row["reasons"])) for row in results if row["window_from"]}

    assert "Trusted failure windows of this site so far:" in text
    assert re.search(r"\b1 window (passed|stands|was withdrawn)", text)
    assert "a trusted window existed in 80 % of cases 7 days before the failure, and 96 % of these" in text
    assert len(decision) > 20
    assert any(trusted for _, _, _, trusted, _ in decision.values())
    assert any("the window contains the present and remains valid" in reasons for *_, reasons in decision.values())
    assert page == decision
    assert printed == decision


def describe_row(row, reasons):
    from_s, mid_s, to_s = (epoch_s(parse_time(row[name])) for name in ("window_from", "window_mid", "window_to"))
    return from_s, mid_s, to_s, bool(row["trusted"]), reasons

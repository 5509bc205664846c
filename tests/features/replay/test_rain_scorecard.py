"""Test that a scorecard compares a published, a physical and a learned rain threshold with movement."""

import json
import random
from datetime import UTC, datetime, timedelta

import pytest

from monitor.cli.main import run_command
from tests.data.site_text import criterion, head, series, station

START = datetime(2020, 1, 1, tzinfo=UTC)
YEARS = 2

HEAD = (
    head("made", "Made slope")
    + station("R1", series("rain", "mm", "1d"))
    + station("G1", series("displacement", "mm", "1d", noise_floor_mm=0.5))
)
CURVE = {"a": 14.82, "b": 0.39, "duration": ["1d", "10d"], "dry_gap": "2d"}
SOIL = {"method": "infiltration", "slope_deg": 32.0, "depth_m": 1.5, "cohesion_kpa": 3.0, "cohesion_sd_kpa": 1.0}
SOIL |= {"friction_deg": 32.0, "friction_sd_deg": 1.5, "unit_weight_kn_m3": 19.0, "conductivity_m_per_s": 1e-06}
SOIL |= {"diffusivity_m2_per_s": 0.0001, "water_table_m": 1.5}
RULES = (
    criterion("rain_intensity_duration", id="published", role="advice", series="R1.rain", **CURVE, level="yellow")
    + criterion("factor_of_safety", id="physical", role="advice", series="R1.rain", **SOIL, yellow={"under": 1.1})
    + criterion("velocity", id="movement", stations=["G1"], yellow={"over": 2.0, "window": "7d"})
)


def make_slope(seed=4):
    """Two years of daily rain; the slope moves for a week from the day on which two days brought over 70 mm."""
    chance = random.Random(seed)
    rain, moved, events = [], [], []
    place, busy = 0.0, 0
    for i in range(365 * YEARS):
        storm = chance.random() < 0.04
        rain.append(chance.uniform(30.0, 90.0) if storm else max(0.0, chance.gauss(-2.0, 5.0)))
        if i and rain[i] + rain[i - 1] > 70.0:
            if not busy:
                events.append(START + timedelta(days=i))
            busy = 7
        moved.append(place + chance.gauss(0.0, 0.3))
        place += 5.0 if busy else 0.02
        busy = max(0, busy - 1)
    return rain, moved, events


@pytest.mark.soak
def test_scorecard_compares_published_physical_and_learned_thresholds(tmp_path, capsys):
    rain, moved, events = make_slope()
    lines = ["time,station,quantity,value"]
    for i, (fell, where) in enumerate(zip(rain, moved, strict=True)):
        at = (START + timedelta(days=i)).isoformat()
        lines += [f"{at},R1,rain_mm,{fell:.2f}", f"{at},G1,displacement_mm,{where:.3f}"]
    data, labels, site = tmp_path / "slope.csv", tmp_path / "labels.csv", tmp_path / "made.toml"
    data.write_text("\n".join(lines))
    labels.write_text(
        "from,to,class\n" + "\n".join(f"{e.isoformat()},{(e + timedelta(days=7)).isoformat()},small" for e in events)
    )
    series = ["--data", str(data), "--rain", "R1.rain", "--movement", "G1.displacement"]
    choice = ["--rate-window", "2d", "--fast", "2", "--windows", "1d,2d,4d,8d", "--lags", "1d,3d", "--apart", "9d"]
    assert run_command(["sites", "thresholds", "learn", *series, *choice, "--json"]) == 0
    learned = json.loads(capsys.readouterr().out)
    assert learned["cross_validated"]["skill"] > 0.6
    site.write_text(HEAD + learned["criterion"] + RULES)
    words = ["backtest", "--data", str(data), "--site-file", str(site), "--site", "made", "--labels", str(labels)]
    assert run_command([*words, "--lead", "3d", "--json"]) == 0
    by = {c["criterion"]: c for c in json.loads(capsys.readouterr().out.splitlines()[-1])["runs"][0]["criteria"]}
    rows = {k: (v["kind"], v["days"], v["false_days"], v["hits"], v["misses"]) for k, v in by.items()}
    print(f"{len(events)} events;", rows)
    assert {"rain_learned", "rain_intensity_duration", "factor_of_safety", "velocity"} <= {
        c["kind"] for c in by.values()
    }
    known = next(c for c in by.values() if c["kind"] == "rain_learned")
    assert known["hits"] >= 0.7 * len(events), "the learned threshold announces most events of its record"
    assert all(c["false_days"] is not None for c in by.values())
    assert by["physical"]["crossings"] > 0

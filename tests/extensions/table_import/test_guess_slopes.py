"""A first site file sees the slope of its record: each station is judged, and what comes in time."""

import random
from datetime import datetime, timedelta
from math import cos, radians, sin
from types import MappingProxyType

import pytest

from monitor.checks.site_files import SiteFolder
from monitor.checks.table import run_checks
from monitor.config.service import ServiceConfig, find_weaknesses, parse_site
from monitor.extensions.table_import.guess.guess import SensorGuess, guess
from monitor.extensions.table_import.guess.raw_table import read_raw_table
from monitor.extensions.table_import.guess.site_file import add_stations, write_site
from monitor.extensions.table_import.guess.toml_writer import BASE
from monitor.replay.backtest import BacktestOptions, open_files, run_backtest
from monitor.replay.history import VisibilityRule
from monitor.store.alerting.history import find_span

BEGIN = datetime(2025, 3, 1)
AXES = ("E", "N", "U")
STILL = (0.0, 0.0, 0.0)
DAY_S = 86400.0


def go(azimuth, plunge, rate):
    """Rates of east, north and up."""
    a, p = radians(azimuth), radians(plunge)
    return rate * cos(p) * sin(a), rate * cos(p) * cos(a), -rate * sin(p)


def lay(path, columns, *, days=12.0, every_h=2.0, noise=1.0, seed=1, mark="\t"):
    """A table of daily or hourly values: header of a column -> mm/day, or how far it went after so many days."""
    rng = random.Random(seed)
    lines = [mark.join(("Time (UTC)", *columns))]
    for k in range(round(days * 24 / every_h)):
        day = k * every_h / 24
        row = [(one(day) if callable(one) else one * day) + rng.gauss(0, noise) for one in columns.values()]
        lines.append(mark.join((f"{BEGIN + timedelta(days=day):%Y-%m-%d %H:%M:%S}", *(f"{v:.3f}" for v in row))))
    path.write_text("\n".join((*lines, "")))
    return path


def in_space(**stations):
    return {
        f"{name.replace('_', '-')} {axis} (mm)": r
        for name, rates in stations.items()
        for axis, r in zip(AXES, rates, strict=True)
    }


def understand(path, answers=MappingProxyType({})):
    found = guess(read_raw_table(path), answers)
    assert not found.questions, found.questions
    return found


def begin_site(path, name="s"):
    found = understand(path)
    text = write_site(name, (46.0, 8.0), "UTC", found.sensors)
    site = parse_site(text, f"{name}.toml")
    assert find_weaknesses(site) == [], "check passes it"
    assert {"gru", "lstm", "graph-gru"} <= set(site.forecast.models)
    assert "ae" in site.anomaly.detectors
    return text, site, found


def replay(path, site, found):
    known = found.form, found.options
    with open_files(path, site, accept_units=True, accept_times=True, known=known) as past:
        span = past.db.run_read(find_span, site.id)
        (run,) = run_backtest(past.db, site, *span, terms=BacktestOptions(known=VisibilityRule("observed"))).runs
    return run.level_names[max(span.level for span in run.levels)]


def judged(site):
    return {name for c in site.criteria if c.role == "witness" for name in c.stations}


# what a table holds -> columns, how it is laid, the highest level of its record
SLOPES = MappingProxyType(
    {
        "two go south, a base": (in_space(G1=go(180, 30, 40), G2=go(175, 20, 35), BASE=STILL), {}, "orange"),
        "semicolons": (in_space(G1=go(230, 30, 40), G2=go(220, 20, 35)), {"mark": ";"}, "orange"),
        "one alone, daily": (in_space(G1=go(300, 10, 30)), {"days": 60, "every_h": 24}, "orange"),
        "one alone that is called base": (in_space(BASE=go(90, 0, 30)), {}, "orange"),
        "two bases": (in_space(BASE_1=STILL, REF_2=STILL, P7=go(10, 40, 30)), {}, "orange"),
        "all stable": (in_space(G1=STILL, G2=STILL, BASE=STILL), {}, "green"),
        "only bases": (in_space(BASE_1=STILL, BASE_2=STILL), {}, "green"),
        "one goes up the hill": (in_space(G1=go(15, -50, 30)), {}, "orange"),
        "one only sinks": (in_space(G1=(0.0, 0.0, -30.0)), {}, "orange"),
        "one only rises": (in_space(G1=(0.0, 0.0, 30.0), G2=STILL), {}, "orange"),
        "a distance that shortens": ({"M1 distance (mm)": -30.0, "M2 distance (mm)": 0.0}, {}, "orange"),
        "a crack that closes": ({"Crack 1 (mm)": -30.0}, {"noise": 0.1}, "orange"),
        "a settlement": ({"S1 settlement (mm)": -30.0}, {}, "orange"),
        "they run away": (
            {
                f"G{k} {axis} (mm)": lambda day, r=r: 90 * r / (12.3 - day)
                for k in (1, 2)
                for axis, r in zip(AXES, go(180, 30, 1), strict=True)
            },
            {},
            "red",
        ),
    }
)


@pytest.mark.turns
@pytest.mark.parametrize("slope", SLOPES)
def test_the_first_site_file_passes_check_and_sees_what_its_record_does(slope, tmp_path):
    columns, how, highest = SLOPES[slope]
    path = lay(tmp_path / "hang.csv", columns, **how)
    _, site, found = begin_site(path)
    assert replay(path, site, found) == highest
    names = {s.station for s in found.sensors}
    assert judged(site) == names, "each station may move"


def test_stations_that_are_added_later_are_judged(tmp_path):
    """A folder with a file for each station: the base comes first, by its name."""
    _, site, _ = begin_site(lay(tmp_path / "base.csv", in_space(BASE=STILL), days=120, every_h=24))
    rovers = {f"R{k}": go(60 * k, 20, 0.4 * (k + 1)) for k in range(6)}
    for seed, (name, rates) in enumerate(rovers.items()):
        path = lay(tmp_path / f"{name}.csv", in_space(**{name: rates}), days=120, every_h=24, seed=seed)
        site = parse_site(add_stations(site, understand(path).sensors), "s.toml")
    assert judged(site) == {"BASE", *rovers}
    path = lay(tmp_path / "ref.csv", {**in_space(REF_1=STILL), "E1 Crack (mm)": 1.0}, days=120, every_h=24)
    site = parse_site(add_stations(site, understand(path).sensors), "s.toml")
    assert judged(site) == {"BASE", "REF-1", "E1", *rovers}, "a crack too, of which the site knew no criterion"


def test_stations_fall_under_a_criterion_of_a_site_that_names_its_own(tmp_path):
    text, _, _ = begin_site(lay(tmp_path / "a.csv", in_space(G1=go(180, 30, 40), G2=go(175, 20, 35))))
    own = parse_site(text.replace('stations = ["*"]', 'stations = ["G*"]').replace("over = 20.0", "over = 12.0"), "s")
    sensors = understand(lay(tmp_path / "b.csv", in_space(CHAN=go(90, 0, 9)))).sensors
    site = parse_site(add_stations(own, sensors), "s")
    assert judged(site) == {"G1", "G2", "CHAN"}
    witnesses = [c for c in site.criteria if c.role == "witness"]
    assert {c.stations for c in witnesses if "CHAN" in c.stations} == {("CHAN",)}, "others keep their own bounds"


@pytest.mark.parametrize("hours", [0.1, 1, 3, 6, 12, 13, 24, 42, 48, 24 * 6, 24 * 11, 24 * 28, 24 * 40])
def test_no_example_waits_longer_than_a_warning_may(hours):
    sensors = [SensorGuess("G1", f"displacement_{part}", "mm", hours * 3600.0) for part in ("east", "north", "up")]
    text = write_site("s", (46.0, 8.0), "UTC", sensors)
    site = parse_site(text, "s.toml")
    windows = {site.levels[t.level].name: t.window_s for c in site.criteria for t in c.thresholds if t.window_s}
    most = {"orange": 7 * DAY_S, "red": 2 * DAY_S, "yellow": 120 * DAY_S}
    assert set(windows) == {level for level, wait_s in most.items() if 4 * hours * 3600.0 <= wait_s}
    for level, window_s in windows.items():
        assert 4 * hours * 3600.0 <= window_s <= most[level]
    for level in most.keys() - windows.keys():
        assert f"# {level}: left out. A warning of it may wait for" in text


def test_fast_stations_keep_the_levels_that_slow_ones_beside_them_have_not():
    sensors = [
        SensorGuess(name, f"displacement_{part}", "mm", every_s)
        for name, every_s in (("F", 3600.0), ("S", DAY_S))
        for part in ("east", "north")
    ]
    site = parse_site(write_site("s", (46.0, 8.0), "UTC", sensors), "s.toml")
    highest = {c.stations: max(t.level for t in c.thresholds) for c in site.criteria if c.kind.id == "velocity"}
    assert highest == {("F", "S"): 2, ("F",): 3}


def list_slow(site):
    files = SiteFolder(ServiceConfig(), [site], {})
    return [one.text for one in run_checks(files) if one.check.id == "sites.slow" and one.is_wrong]


def test_check_says_which_level_comes_too_late_and_why(tmp_path):
    columns = in_space(G1=STILL)
    _, site, _ = begin_site(lay(tmp_path / "a.csv", columns, days=40, every_h=24))
    said = next(one for one in list_slow(site) if one.startswith("G1.displacement raises"))
    assert said.startswith("G1.displacement raises no red: it is read every 1d, a velocity takes 4 intervals, and a")
    assert said.endswith("warning of this level may wait for 2d")
    assert site.fusion.top_needs == 1
    assert [c.kind.id for c in site.criteria if c.thresholds[-1].level == 3] == ["report"], "people raise it"
    _, site, _ = begin_site(lay(tmp_path / "b.csv", columns, every_h=12))
    assert not list_slow(site)


def test_a_name_of_stable_ground_is_a_whole_word():
    names = ("BASE", "ref-01", "GNSS_Base2", "Basel", "REFUGE", "G1", "fixed_3", "base-a")
    assert [BASE.search(name) is not None for name in names] == [True, True, True, False, False, False, True, True]

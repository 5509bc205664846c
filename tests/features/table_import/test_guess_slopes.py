"""A first site file sees the slope of its record: where each station goes, who is stable ground, what comes in time."""

import json
import random
import re
from dataclasses import replace
from datetime import datetime, timedelta
from math import cos, radians, sin
from types import MappingProxyType

import pytest

from monitor.alerts.replay.backtest import BacktestOptions, find_record_span, run_backtest
from monitor.alerts.replay.history import VisibilityRule
from monitor.features.table_import.guess.guess import SensorGuess, guess
from monitor.features.table_import.guess.lookback import count_days
from monitor.features.table_import.guess.motion import MotionReadings
from monitor.features.table_import.guess.preview import PreviewRequest, PreviewResult
from monitor.features.table_import.guess.preview import preview_file as understand_in_worker
from monitor.features.table_import.guess.raw_table import read_raw_table
from monitor.features.table_import.guess.site_file import add_stations, write_site
from monitor.features.table_import.guess.toml_writer import format_mapping
from monitor.features.table_import.guess.values import list_values
from monitor.features.table_import.guess.words import names_stable_ground
from monitor.ingest.files.temporary import open_imported_files
from monitor.sites.parsing import find_weaknesses, parse_site
from monitor.worker.records import plain_to_record, record_to_plain
from tests.fixtures.soak import in_soak
from tests.tables import tabulated

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
    record = MotionReadings()
    for value in list_values(path, found.form, found.options):
        record.add(value)
    return found, record.estimate_motion(found.sensors)


def begin_site(path, name="s"):
    found, sensors = understand(path)
    text = write_site(name, (46.0, 8.0), "UTC", sensors)
    site = parse_site(text, f"{name}.toml")
    assert find_weaknesses(site) == [], "check passes it"
    assert {"gru", "lstm", "graph-gru"} <= set(site.forecast.models)
    assert "ae" in site.anomaly.detectors
    return text, site, found


def replay(path, site, found):
    mapping = path.with_suffix(".toml")
    mapping.write_text(format_mapping(found.options.mapping, path.name))
    with open_imported_files(path, site, mapping, accept_units=True, accept_times=True) as past:
        span = find_record_span(past.db, site)
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


SIMILAR_SLOPES = ("semicolons", "one only rises", "one only sinks", "all stable", "a crack that closes", "a settlement")


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize(
    "slope", [*(slope for slope in SLOPES if slope not in SIMILAR_SLOPES), *in_soak(*SIMILAR_SLOPES)]
)
def test_the_first_site_file_passes_check_and_sees_what_its_record_does(slope, tmp_path):
    columns, how, highest = SLOPES[slope]
    path = lay(tmp_path / "hang.csv", columns, **how)
    _, site, found = begin_site(path)
    assert replay(path, site, found) == highest
    names = {s.station for s in found.sensors}
    still = {name for name in names if name.startswith(("BASE", "REF"))}
    bases = still if names - still else set()
    assert {s.id for s in site.stations if not s.on_slope} == bases
    assert judged(site) == names - bases, "each station that may move is judged, and no base alone"


@pytest.mark.parametrize("seed", [*range(4), *in_soak(*range(4, 16))])
def test_azimuth_and_plunge_are_those_of_the_record_within_their_errors(seed, tmp_path):
    rng = random.Random(seed)
    azimuth, plunge, rate = rng.uniform(0, 360), rng.uniform(-60, 75), 10 ** rng.uniform(-0.5, 1.5)
    path = lay(tmp_path / "a.csv", in_space(G1=go(azimuth, plunge, rate)), days=60, every_h=6, noise=2.0, seed=seed)
    text, site, _ = begin_site(path)
    (station,) = site.stations
    lines = {key: float(error) for key, error in re.findall(r"^(\w+)_deg = .*# ± (\S+)", text, re.MULTILINE)}
    assert (station.azimuth_deg is not None) == ("azimuth" in lines)
    to_the_side = rate * 60 * cos(radians(plunge))
    assert station.azimuth_deg is not None or to_the_side < 20.0, "what surely moves has a direction"
    if station.azimuth_deg is not None:
        assert abs((station.azimuth_deg - azimuth + 180) % 360 - 180) <= 0.5 + 4 * lines["azimuth"]
    if station.plunge_deg is not None:
        assert abs(station.plunge_deg - plunge) <= 0.5 + 4 * lines["plunge"]
        assert lines["plunge"] <= 15


# mm on a day: what no slope does, or not yet
@pytest.mark.parametrize(
    "wander",
    [lambda day: 0.0, lambda day: 6 * sin(day / 58), lambda day: 6 * sin(day * 6.283), lambda day: 400 * (day == 50)],
    ids=["scatter", "seasons", "days", "a spike"],
)
@pytest.mark.parametrize("seed", [0, *in_soak(1, 2, 3)])
def test_no_direction_is_proposed_where_no_motion_is_sure(wander, seed, tmp_path):
    columns = in_space(G1=(wander, lambda day: wander(day) / 2, 0.0))
    text, site, _ = begin_site(lay(tmp_path / "a.csv", columns, days=500, every_h=24, noise=2.0, seed=seed))
    assert site.stations[0].azimuth_deg is None
    assert "# azimuth_deg = 205.0  # downslope, from north: its record shows no sure motion" in text
    assert "until it is written, the horizontal speed counts" in text
    assert "downslope" not in text.replace("# downslope, from north", "").replace("# azimuth_deg", "")


def test_a_short_record_says_that_it_tells_no_direction(tmp_path):
    text, site, _ = begin_site(lay(tmp_path / "a.csv", in_space(G1=go(1, 2, 30)), days=0.45))
    assert site.stations[0].azimuth_deg is None
    assert "its record is too short" in text


@pytest.mark.soak
def test_stations_that_are_added_later_are_judged(tmp_path):
    """A folder with a file for each station: the base comes first, by its name."""
    _, site, _ = begin_site(lay(tmp_path / "base.csv", in_space(BASE=STILL), days=120, every_h=24))
    rovers = {f"R{k}": go(60 * k, 20, 0.4 * (k + 1)) for k in range(6)}
    for seed, (name, rates) in enumerate(rovers.items()):
        path = lay(tmp_path / f"{name}.csv", in_space(**{name: rates}), days=120, every_h=24, seed=seed)
        site = parse_site(add_stations(site, understand(path)[1]), "s.toml")
    assert judged(site) == {"BASE", *rovers}
    path = lay(tmp_path / "ref.csv", {**in_space(REF_1=STILL), "E1 Crack (mm)": 1.0}, days=120, every_h=24)
    site = parse_site(add_stations(site, understand(path)[1]), "s.toml")
    assert judged(site) == {"BASE", "E1", *rovers}, "a crack too, of which the site knew no criterion"
    assert not site.station("REF-1").on_slope


def test_stations_fall_under_a_criterion_of_a_site_that_names_its_own(tmp_path):
    text, _, _ = begin_site(lay(tmp_path / "a.csv", in_space(G1=go(180, 30, 40), G2=go(175, 20, 35))))
    own = parse_site(text.replace('stations = ["*"]', 'stations = ["G*"]').replace("over = 20.0", "over = 12.0"), "s")
    _, sensors = understand(lay(tmp_path / "b.csv", in_space(CHAN=go(90, 0, 9), BASE=STILL)))
    site = parse_site(add_stations(own, sensors), "s")
    assert judged(site) == {"G1", "G2", "CHAN"}
    witnesses = [c for c in site.criteria if c.role == "witness"]
    assert [c.stations for c in witnesses if "CHAN" in c.stations] == [("CHAN",)], "others keep their own bounds"


@tabulated("hours", [0.1, 1, 3, 6, 12, 13, 24, 42, 48, 24 * 6, 24 * 11, 24 * 28, 24 * 40])
def test_every_level_is_reachable_at_every_interval_and_no_window_waits_longer_than_a_warning_may(hours):
    sensors = [SensorGuess("G1", f"displacement_{part}", "mm", hours * 3600.0) for part in ("east", "north", "up")]
    site = parse_site(write_site("s", (46.0, 8.0), "UTC", sensors), "s.toml")
    most_s = {"orange": 7 * DAY_S, "red": 2 * DAY_S, "yellow": 120 * DAY_S}
    speeds = [c for c in site.criteria if c.kind.id in {"velocity", "survey_rate"}]
    assert {site.levels[t.level].name for c in speeds for t in c.thresholds} == set(most_s)
    for criterion in speeds:
        for threshold in criterion.thresholds:
            if criterion.kind.id == "velocity":
                assert 4 * hours * 3600.0 <= threshold.window_s <= most_s[site.levels[threshold.level].name]
            else:
                assert threshold.window_s >= 2 * hours * 3600.0


def test_stations_of_different_interval_each_get_all_levels():
    sensors = [
        SensorGuess(name, f"displacement_{part}", "mm", every_s)
        for name, every_s in (("F", 3600.0), ("S", DAY_S))
        for part in ("east", "north")
    ]
    site = parse_site(write_site("s", (46.0, 8.0), "UTC", sensors), "s.toml")
    for station in ("F", "S"):
        speeds = [c for c in site.criteria if station in c.stations and c.kind.id in {"velocity", "survey_rate"}]
        assert sorted(t.level for c in speeds for t in c.thresholds) == [1, 2, 3]


@pytest.mark.soak
def test_each_figure_of_the_file_is_repeated_by_a_replay_of_it(tmp_path):
    path = lay(tmp_path / "a.csv", in_space(G1=go(180, 30, 40), G2=STILL), days=120, every_h=24)
    found, sensors = understand(path)
    plain = write_site("s", (46.0, 8.0), "UTC", sensors)
    files = [(path, found)]
    record = count_days(parse_site(plain, "s.toml"), files, values=1000)
    days = record.days
    assert record.total == 120
    assert record.judged["velocity-1"] == 117, "a line takes four readings"
    assert not record.uncounted
    text = write_site("s", (46.0, 8.0), "UTC", sensors, days=days)
    again = count_days(parse_site(text, "s.toml"), files, values=1000)
    assert replace(again, end=None) == replace(record, end=None)  # the age of the newest reading grows with the clock
    written = [int(number) for number in re.findall(r"condition met on (\d+) days? of this record", text)]
    assert sorted(written) == sorted(n for (c, _), n in days.items() if c.startswith(("velocity", "survey_rate")))
    assert max(written) > 0


@pytest.mark.soak
def test_of_a_long_record_the_newest_days_are_counted(tmp_path, monkeypatch):
    path = lay(tmp_path / "a.csv", in_space(G1=go(180, 30, 40), G2=STILL), days=120, every_h=24)
    found, sensors = understand(path)
    site = parse_site(write_site("s", (46.0, 8.0), "UTC", sensors), "s.toml")
    whole = count_days(site, [(path, found)], values=1000)
    assert whole.part is None
    readings_a_day = len(sensors)
    monkeypatch.setattr("monitor.features.table_import.guess.lookback.REPLAY_MS", 30.0 * 5.0 * readings_a_day)
    newest = count_days(site, [(path, found)], values=1000)
    assert newest.total == 31
    assert "from 2025" in str(newest.part)
    assert newest.end is None, "the level may have been raised earlier"


def test_the_page_gets_the_motion_of_a_table_from_its_worker(tmp_path):
    path = lay(tmp_path / "a.csv", in_space(G1=go(180, 30, 40)))
    told = understand_in_worker(PreviewRequest(str(path), "a.csv", {"place": "46,8"}, is_new=True))
    again = plain_to_record(PreviewResult, json.loads(json.dumps(told, default=record_to_plain)))
    assert {s.motion for s in again.sensors} == {s.motion for s in understand(path)[1]}
    assert again.sensors[0].motion.is_sure


def test_a_name_of_stable_ground_is_a_whole_word():
    names = ("BASE", "ref-01", "GNSS_Base2", "Basel", "REFUGE", "G1", "fixed_3", "base-a")
    assert list(map(names_stable_ground, names)) == [True, True, True, False, False, False, True, True]


@pytest.mark.soak
def test_what_the_last_reading_shows_is_counted(tmp_path):
    columns = {"P1 E (mm)": lambda day: 200.0 * (day >= 510), "P1 N (mm)": 0.0}
    path = lay(tmp_path / "surveys.csv", columns, days=540, every_h=720)
    found, sensors = understand(path)
    site = parse_site(write_site("s", (46.0, 8.0), "UTC", sensors), "s.toml")
    assert replay(path, site, found) == "orange"
    days = count_days(site, [(path, found)], values=1000).days
    assert {level: n for (criterion, level), n in days.items() if criterion == "survey_rate-1"} == {
        "yellow": 1,
        "orange": 1,
        "red": 0,
    }


@pytest.mark.soak
def test_days_of_a_long_gap_are_not_judged(tmp_path):
    path = lay(tmp_path / "a.csv", in_space(G1=go(180, 30, 0.1)), days=160, every_h=24)
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join((head, *lines[:60], *lines[100:], "")))
    found, sensors = understand(path)
    site = parse_site(write_site("s", (46.0, 8.0), "UTC", sensors), "s.toml")
    record = count_days(site, [(path, found)], values=1000)
    assert record.total == 160
    assert 110 <= record.judged["velocity-1"] <= 120

"""How a guessed site file declares rain: sums, counters and tips."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.known_format import guess_known_format
from monitor.features.table_import.guess.raw_table import read_raw_table
from monitor.features.table_import.guess.toml_writer import format_stations
from monitor.ingest.files.reader import ImportOptions

BEGIN = datetime(2025, 6, 3, tzinfo=UTC)


def draw_tips(seed, count=120):
    chance, at, found = random.Random(seed), BEGIN, []
    for _ in range(count):
        at += timedelta(seconds=chance.choice([12.0, 40.0, 1500.0]) * chance.uniform(0.5, 1.5))
        found.append(at)
    return found


def draw_cloudburst(seed, count=300):
    """Tips of a storm: several of a minute."""
    chance, at, found = random.Random(seed), BEGIN, []
    for _ in range(count):
        at += timedelta(seconds=chance.expovariate(1.0 / 15.0))
        found.append(at)
    return found


def write_long(path, rows):
    lines = [f"{at:%Y-%m-%dT%H:%M:%SZ},{station},rain,{value:.1f},mm" for at, station, value in rows]
    path.write_text("\n".join(["time,station,quantity,value,unit", *lines]) + "\n")


def write_table(path, rows):
    lines = [f"{at:%Y-%m-%d %H:%M:%S};{station};{value:.1f}" for at, station, value in rows]
    path.write_text("\n".join(["Time;Station;Rain (mm)", *lines]) + "\n")


def understand(path, form):
    if form == "long":
        return guess_known_format(path, "long", {}, ImportOptions()).sensors
    return guess(read_raw_table(path), {"zone": "UTC"}).sensors


@pytest.mark.parametrize(("form", "write"), [("long", write_long), ("table", write_table)])
def test_tips_are_declared_as_events(tmp_path, form, write):
    rows = [(at, "RG4", 0.2) for at in draw_tips(4)] + [(at, "RG7", 0.5) for at in draw_tips(7)]
    write(tmp_path / "tips.csv", sorted(rows))
    sensors = understand(tmp_path / "tips.csv", form)
    assert [sensor.stamp for sensor in sensors] == ["event", "event"]
    text = format_stations(sensors)
    assert text.count('stamp = "event"') == 2
    assert text.count('interval = "10m"') == 2
    assert text.count('max_silence = "7d"') == 2, "a gauge of tips is silent while it is dry"


@pytest.mark.parametrize(("form", "write"), [("long", write_long), ("table", write_table)])
def test_sums_and_counters_are_told_apart(tmp_path, form, write):
    chance, total, rows = random.Random(1), 12.0, []
    for k in range(200):
        amount = chance.choice([0.0, 0.0, 0.2, 1.4])
        total += amount
        at = BEGIN + timedelta(minutes=10 * k)
        rows += [(at, "SUMS", amount), (at, "TOTAL", total)]
    write(tmp_path / "rain.csv", rows)
    stamps = {sensor.station: sensor.stamp for sensor in understand(tmp_path / "rain.csv", form)}
    assert stamps == {"SUMS": "", "TOTAL": "counter"}


@pytest.mark.parametrize(("form", "write"), [("long", write_long), ("table", write_table)])
def test_tips_by_the_minute_are_declared_as_events(tmp_path, form, write):
    rows = [(at.replace(second=0, microsecond=0), "RG4", 0.2) for at in draw_cloudburst(4)]
    write(tmp_path / "tips.csv", rows)
    [sensor] = understand(tmp_path / "tips.csv", form)
    assert sensor.stamp == "event"


@pytest.mark.parametrize("empty", [(), (3,), (3, 700)])
def test_empty_cells_turn_drizzle_into_no_tips(tmp_path, empty):
    chance = random.Random(2)
    lines = ["Time;RG4 rain (mm)"]
    for k in range(1500):
        amount = 0.2 if k // 50 % 7 == 2 and chance.random() < 0.3 else 0.0
        at = BEGIN + timedelta(minutes=10 * k)
        lines.append(f"{at:%Y-%m-%d %H:%M:%S};{'' if k in empty else amount}")
    (tmp_path / "rain.csv").write_text("\n".join(lines) + "\n")
    [sensor] = understand(tmp_path / "rain.csv", "table")
    assert sensor.stamp == ""


@pytest.mark.parametrize("step_min", [5, 10, 15])
@pytest.mark.parametrize("amount", [0.4, 2.0, 6.0])
@pytest.mark.parametrize(("form", "write"), [("long", write_long), ("table", write_table)])
def test_a_counter_that_restarts_each_hour_is_asked_about(tmp_path, form, write, amount, step_min):
    rows = [(BEGIN + timedelta(minutes=step_min * k), "R1", 0.0) for k in range(60)]
    for k in range(3 * 60 // step_min):
        number = k % (60 // step_min) + 1
        rows.append((BEGIN + timedelta(minutes=step_min * (60 + k)), "R1", amount * number))
    write(tmp_path / "rain.csv", rows)

    def read(answers):
        if form == "long":
            return guess_known_format(tmp_path / "rain.csv", "long", answers, ImportOptions())
        return guess(read_raw_table(tmp_path / "rain.csv"), {"zone": "UTC"} | answers)

    (question,) = read({}).questions
    assert question.key == "count"
    assert question.examples["running total"] == f"R1: {3 * 60 / step_min * amount:.4g} mm in this file"
    stamps = [
        [sensor.stamp for sensor in read({"count": answer}).sensors]
        for answer in ("running total", "rain of each interval")
    ]
    assert stamps == [["counter"], [""]]

"""What a new user reads after a table was read: what raises which level, how quickly, and what is missed."""

import csv
import json
import random
import re
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.cli.main import run_command
from tests.fixtures.waiting import REPOSITORY

PAGE = REPOSITORY / "docs/how-to/import-any-table.md"
BEGIN = datetime(2024, 1, 1, 6, tzinfo=UTC)
PLACE = ["--answer", "place=46.2,8.9"]


def write_readings(name: str, rows: list[tuple[datetime, str, str, float]]) -> None:
    with Path(name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "station", "quantity", "value"])
        for at, station, quantity, value in rows:
            writer.writerow([at.isoformat(), station, quantity, f"{value:.1f}"])


def write_daily_gnss() -> None:
    """Write two stations that creep for 120 days; in the last 30 days both of them accelerate."""
    rng = random.Random(1)
    rows = []
    for day in range(120):
        moved_mm = 0.2 * day + 0.1 * max(0, day - 90) ** 2
        for station in ("G1", "G2"):
            for part, share in (("east", 0.8), ("north", -0.6)):
                value = share * moved_mm + rng.gauss(0.0, 1.0)
                rows.append((BEGIN + timedelta(days=day), station, f"displacement_{part}_mm", value))
    write_readings("gnss.csv", rows)


def write_monthly_surveys() -> None:
    rng = random.Random(2)
    rows = [
        (BEGIN + timedelta(days=30 * month), station, "displacement_downslope_mm", rate * month + rng.gauss(0.0, 2.0))
        for month in range(24)
        for station, rate in (("P1", 15.0), ("P2", 14.0))
    ]
    write_readings("surveys.csv", rows)


def write_pressure_and_temperature() -> None:
    rows = [
        (BEGIN + timedelta(hours=hour), "K1", quantity, base + hour % 5)
        for hour in range(100)
        for quantity, base in (("pore_pressure_kpa", 20.0), ("temperature_degc", 8.0))
    ]
    write_readings("pressure.csv", rows)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read_summary(out: str) -> str:
    return out[out.index("What raises a level at") :].strip()


@pytest.mark.soak
@pytest.mark.parametrize(("name", "write"), [("gnss", write_daily_gnss), ("surveys", write_monthly_surveys)])
def test_the_documentation_shows_what_is_printed(here, capsys, name, write):
    write()
    assert run_command(["ingest", f"{name}.csv", "--guess", *PLACE]) == 0
    printed = hide_age(read_summary(capsys.readouterr().out))
    blocks = re.findall(r"```text\n(.*?)\n```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert printed in map(hide_age, blocks), printed


def hide_age(text: str) -> str:
    """Replace the age of the newest reading, which grows each day."""
    return re.sub(r"\(\d+ d( \d+ h)? ago\)", "(... ago)", text)


@pytest.mark.soak
def test_a_backtest_repeats_the_days_that_were_printed(here, capsys):
    write_daily_gnss()
    assert run_command(["ingest", "gnss.csv", "--guess", *PLACE, "--json"]) == 0
    warnings = json.loads(capsys.readouterr().out.splitlines()[-1])["warnings"]
    assert warnings["record_days"] == 120
    printed = {
        (level["criterion"], level["level"]): level["days"] for group in warnings["judged"] for level in group["levels"]
    }
    assert max(printed.values()) > 0
    assert run_command(["db", "upgrade"]) == 0
    assert run_command(["ingest", "gnss.csv", "--site", "gnss"]) == 0
    capsys.readouterr()
    assert run_command(["backtest", "--site", "gnss", "--known", "observed", "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    exact = {score["criterion"]: score["days_by_level"] for score in run["criteria"]}
    order = ["yellow", "orange", "red"]
    repeated = {
        (criterion, level): sum(exact[criterion].get(name, 0) for name in order[order.index(level) :])
        for criterion, level in printed
    }
    assert repeated == printed


def test_a_site_file_from_a_record_is_the_one_of_the_import(here, capsys):
    write_monthly_surveys()
    assert run_command(["sites", "init", "slope", "--table", "surveys.csv", *PLACE]) == 0
    first = capsys.readouterr().out
    path = Path("configs/sites/slope.toml")
    written = path.read_text(encoding="utf-8")
    assert run_command(["sites", "init", "slope", "--table", "surveys.csv", *PLACE]) == 1, "a file is never overwritten"
    assert "exists already" in capsys.readouterr().err
    path.unlink()
    assert run_command(["ingest", "surveys.csv", "--guess", "--site", "slope", *PLACE]) == 0
    assert read_summary(capsys.readouterr().out) == read_summary(first)
    assert path.read_text(encoding="utf-8") == written
    assert tomllib.loads(written)["criterion"]


@pytest.mark.parametrize("more", [["--answer", "zone=UTC"], ["--table", "surveys.csv", "--out", "a.toml"]])
def test_options_that_do_not_go_together_are_refused(here, more):
    assert run_command(["sites", "init", "slope", *more]) == 2
    assert not Path("configs/sites/slope.toml").exists()


def test_series_that_nothing_judges_are_named(here, capsys):
    write_pressure_and_temperature()
    assert run_command(["ingest", "pressure.csv", "--guess", *PLACE]) == 0
    printed = read_summary(capsys.readouterr().out)
    assert "no motion raises a level" in printed
    assert "judged by nothing: K1.pore_pressure." in printed
    assert "no level is raised by it: K1.temperature" in printed


def test_a_record_that_is_too_long_to_replay_says_so(here, capsys, monkeypatch):
    monkeypatch.setattr("monitor.features.table_import.guess.lookback.LONGEST_ROWS", 10)
    write_monthly_surveys()
    assert run_command(["ingest", "surveys.csv", "--guess", *PLACE]) == 0
    printed = read_summary(capsys.readouterr().out)
    assert "were not counted: the record has 48 values, more than 10; `slopeward backtest --site surveys`" in printed
    assert "days of this record;" not in printed


@pytest.mark.soak
def test_a_record_of_which_no_reading_counts_does_not_look_fine(here, capsys):
    rows = [
        (BEGIN + timedelta(days=day), "G1", f"displacement_{part}_mm", value + 0.1 * (day % 7))
        for day in range(60)
        for part, value in (("east", 2.6e9), ("north", 1.2e9))
    ]
    write_readings("gnss.csv", rows)
    given = [*PLACE, "--answer", "coordinates=displacements"]
    assert run_command(["ingest", "gnss.csv", "--guess", *given]) == 0
    (file,) = [path for path in Path().rglob("*.toml") if "[site]" in path.read_text(encoding="utf-8")]
    printed = capsys.readouterr().out
    first = printed[: printed.index("What raises a level at")].splitlines()[-1]
    assert first == (
        "no reading of G1.displacement_east, G1.displacement_north counts: all are flagged out of range, so no "
        "criterion judges this motion. Check the columns, units and --answer values above, correct them and run this "
        "command again."
    )
    assert "condition was met" not in printed
    assert "could not be judged on any of the 60 days of this record" in printed
    assert "condition met on" not in file.read_text(encoding="utf-8")
    assert run_command(["db", "upgrade"]) == 0
    run_command(["ingest", "gnss.csv", "--site", "gnss", "--accept-units"])
    capsys.readouterr()
    run_command(["check"])
    printed = capsys.readouterr()
    assert "none of the newest 60 readings of G1.displacement_east, G1.displacement_north is used" in printed.err


@pytest.mark.soak
def test_speeds_that_a_person_gives_are_the_bounds_of_the_site_file(here, capsys):
    write_daily_gnss()
    assert run_command(["ingest", "gnss.csv", "--guess", *PLACE, "--bound", "displacement=0.5 1 2 mm/day"]) == 0
    site = tomllib.loads(Path("configs/sites/gnss.toml").read_text(encoding="utf-8"))
    lines, between, *_ = site["criterion"]
    assert [lines[level]["over"] for level in ("yellow", "orange", "red")] == [0.5, 1, 2]
    assert lines["reason"].startswith("given with --bound on")
    assert between["kind"] == "survey_rate"
    assert between["red"]["over"] == 20, "two daily readings are less certain than a line"
    assert "yellow: faster than 0.5 mm/day over 14 d" in read_summary(capsys.readouterr().out)


@pytest.mark.soak
def test_speeds_of_surveys_are_the_bounds_between_two_readings(here):
    write_monthly_surveys()
    bound = ["--bound", "displacement_downslope=2 4 6 mm/day"]
    assert run_command(["ingest", "surveys.csv", "--guess", *PLACE, *bound]) == 0
    site = tomllib.loads(Path("configs/sites/surveys.toml").read_text(encoding="utf-8"))
    found = {criterion["kind"]: criterion for criterion in site["criterion"]}
    assert [found["survey_rate"][level]["over"] for level in ("orange", "red")] == [4, 6]
    assert found["rate"]["yellow"]["under"] == -2


@pytest.mark.soak
def test_a_bound_on_positions_joins_the_speeds_of_a_vector(here, capsys):
    write_daily_gnss()
    assert run_command(["ingest", "gnss.csv", "--guess", *PLACE, "--bound", "displacement=20 40 80 mm"]) == 0
    printed = read_summary(capsys.readouterr().out)
    assert "yellow: above 20 mm; values beyond the bound raise it within 2 d" in printed
    assert "steady motion of 1 mm/day or less (365 mm in a year), as long as its values do not reach" in printed


@pytest.mark.parametrize("bound", ["displacement=over 1 2 mm/day; under -1 mm/day", "displacement=-1 2 mm/day"])
def test_speeds_have_no_side(here, capsys, bound):
    write_daily_gnss()
    assert run_command(["ingest", "gnss.csv", "--guess", *PLACE, "--bound", bound]) == 1
    assert "they count in both directions" in capsys.readouterr().err

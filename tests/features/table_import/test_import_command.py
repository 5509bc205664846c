"""`slopeward import`: from files of unknown layout to stored readings and a judged level, by one command."""

import io
import json
import random
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.cli.main import run_command
from monitor.features.table_import.folder import share_questions
from monitor.features.table_import.guess.questions import FileQuestion
from monitor.ingest.files import lines

HOURS = 300
ANSWERS = ["--answer", "zone=UTC", "--answer", "place=46,9", "--answer", "unit:pore_pressure=kPa"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def begin():
    return datetime.now(UTC).replace(tzinfo=None, minute=0, second=0, microsecond=0) - timedelta(hours=HOURS)


def write_piezometer(folder, name, begin, rise_kpa=0.0):
    """Write a table without zone and unit, with a rise of the pressure in its last three days."""
    rng = random.Random(name)
    rows = []
    for hour in range(HOURS):
        pressure_kpa = 50.0 + rng.gauss(0, 0.2) + rise_kpa * max(0, hour - HOURS + 72) / 72
        rows.append(f"{begin + timedelta(hours=hour):%d.%m.%Y;%H:%M};{pressure_kpa:.2f}")
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.csv").write_text("\n".join(["Datum;Zeit;Porenwasserdruck", *rows, ""]))


@pytest.fixture
def piezometers(here, begin):
    for name in ("P1", "P2", "P3"):
        write_piezometer(here / "dam", name, begin, rise_kpa=20.0)
    return here / "dam"


def count_readings():
    with closing(sqlite3.connect("slopeward.db")) as connection:
        return connection.execute("SELECT count(*) FROM observation").fetchone()[0]


def test_each_question_is_put_once_for_a_folder_and_nothing_is_written(piezometers, capsys):
    assert run_command(["import", "dam"]) == 1
    said = capsys.readouterr().err
    for key in ("zone", "place", "unit:pore_pressure"):
        assert said.count(f"--answer '{key}=...'") == 1
    assert "(P1.csv, P2.csv, P3.csv)" in said
    assert not Path("configs").exists()
    assert not Path("slopeward.db").exists()


def test_one_command_leads_from_a_folder_to_a_judged_level(piezometers, capsys):
    bound = ["--bound", "pore_pressure=55 60 65 kPa"]
    assert run_command(["import", "dam", *ANSWERS, *bound]) == 0
    said = capsys.readouterr()
    assert "P1.csv: 300 stored" in said.out
    assert "\nred | sees: full" in said.out
    assert "slopeward run" in said.err
    assert count_readings() == 3 * HOURS


def test_the_first_and_last_rows_are_shown_as_they_would_be_stored(piezometers, begin, capsys):
    assert run_command(["import", "dam/P1.csv", *ANSWERS, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert f"{begin:%Y-%m-%d %H:%M:%S} UTC  P1       pore_pressure" in said
    assert f"{begin + timedelta(hours=HOURS - 1):%Y-%m-%d %H:%M:%S} UTC" in said
    assert not Path("configs").exists()


@pytest.mark.soak
def test_a_second_import_needs_no_answer_and_stores_nothing_twice(piezometers, capsys):
    assert run_command(["import", "dam", *ANSWERS]) == 0
    capsys.readouterr()
    assert run_command(["import", "dam"]) == 0
    assert "P1.csv: 0 stored, 300 known before" in capsys.readouterr().out
    assert count_readings() == 3 * HOURS


@pytest.mark.soak
def test_a_later_file_with_a_new_station_is_read_by_the_answers_of_the_first_import(piezometers, begin, capsys):
    assert run_command(["import", "dam", *ANSWERS, "--bound", "pore_pressure=55 60 65 kPa"]) == 0
    write_piezometer(piezometers, "P4", begin)
    assert run_command(["import", "dam", "--bound", "pore_pressure=55 60 65 kPa"]) == 0
    assert 'id = "P4"' in Path("configs/sites/dam.toml").read_text()
    assert count_readings() == 4 * HOURS


@pytest.mark.soak
def test_an_earlier_answer_contradicts_no_file_that_names_its_zone(piezometers, begin, capsys):
    assert run_command(["import", "dam", "--answer", "zone=Asia/Tokyo", *ANSWERS[2:]]) == 0
    rows = [f"{begin + timedelta(hours=hour):%Y-%m-%d %H:%M};{hour / 100}" for hour in range(50)]
    (piezometers / "T1.csv").write_text("\n".join(["Time UTC;Temperature (degC)", *rows, ""]))
    assert run_command(["import", "dam/T1.csv", "--site", "dam"]) == 0
    assert f"{begin:%Y-%m-%d %H:%M:%S} UTC  T1" in capsys.readouterr().out


@pytest.mark.soak
def test_a_broken_file_does_not_keep_the_others_out(piezometers, capsys):
    (piezometers / "notes.csv").write_text("see the report\nof last year\n")
    assert run_command(["import", "dam", *ANSWERS]) == 3
    assert "notes.csv is left out" in capsys.readouterr().err
    assert count_readings() == 3 * HOURS


@pytest.mark.soak
def test_an_import_that_was_killed_is_completed_by_the_same_command(piezometers, monkeypatch, capsys):
    from monitor.features.table_import.cli import import_command

    def die(path, *_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(import_command, "store_file", die)
        assert run_command(["import", "dam", *ANSWERS]) == 130
    assert run_command(["import", "dam"]) == 0
    assert count_readings() == 3 * HOURS


@pytest.mark.soak
def test_a_refused_unit_leaves_no_site_file_and_the_corrected_file_is_imported(here, begin, capsys):
    rows = [f"{begin + timedelta(hours=hour):%Y-%m-%d %H:%M};{hour * 2.0:.1f}" for hour in range(HOURS)]
    Path("u.csv").write_text("\n".join(["Time UTC;Displacement P1 [m]", *rows, ""]))
    assert run_command(["import", "u.csv", *ANSWERS[2:4]]) == 1
    assert "is the unit right?" in capsys.readouterr().err
    assert not list(Path().rglob("*.toml"))
    Path("u.csv").write_text(Path("u.csv").read_text().replace("[m]", "[mm]"))
    assert run_command(["import", "u.csv", *ANSWERS[2:4]]) == 0
    assert "\norange" in capsys.readouterr().out


@pytest.mark.soak
def test_what_a_folder_holds_besides_tables_is_named(piezometers, begin, capsys):
    write_piezometer(piezometers / "inner", "P5", begin)
    (piezometers / "report.pdf").write_bytes(b"%PDF-1.7")
    (piezometers / "P1 (1).csv").write_bytes((piezometers / "P1.csv").read_bytes())
    assert run_command(["import", "dam", *ANSWERS]) == 3
    said = capsys.readouterr().err
    assert "inner is left out: a folder; name it as well" in said
    assert "report.pdf is left out: its suffix is not one of a table" in said
    assert "is left out: a copy of" in said
    assert count_readings() == 3 * HOURS


def test_two_files_that_differ_in_three_values_are_asked_about(piezometers, begin, capsys):
    lines = (piezometers / "P1.csv").read_text().splitlines()
    changed = [
        f"{line.rpartition(';')[0]};70.0" if number in {50, 60, 70} else line for number, line in enumerate(lines)
    ]
    (piezometers / "P1.csv").rename(piezometers / "P1_old.csv")
    (piezometers / "P1_new.csv").write_text("\n".join(["Datum;Zeit;P9 Porenwasserdruck", *changed[1:], ""]))
    (piezometers / "P1_old.csv").write_text("\n".join(["Datum;Zeit;P9 Porenwasserdruck", *lines[1:], ""]))
    assert run_command(["import", "dam", *ANSWERS]) == 1
    assert "--answer 'record:P9.pore_pressure=...'" in capsys.readouterr().err


@pytest.mark.soak
def test_an_answer_that_no_file_needs_is_named(piezometers, capsys):
    assert run_command(["import", "dam", *ANSWERS, "--answer", "unit:rain=mm"]) == 0
    assert "no file needed these answers, so they changed nothing: unit:rain" in capsys.readouterr().err


@pytest.mark.soak
def test_a_mapping_that_a_person_changed_is_kept(piezometers, capsys):
    assert run_command(["import", "dam/P1.csv", *ANSWERS]) == 0
    path = Path("configs/mappings/p1/P1.mapping.toml")
    path.write_text(path.read_text() + "# checked by Ada\n")
    assert run_command(["import", "dam/P1.csv"]) == 1
    assert "was changed by hand, so nothing was stored" in capsys.readouterr().err
    assert "checked by Ada" in path.read_text()


def test_a_program_reads_the_open_questions_as_json(piezometers, capsys):
    assert run_command(["import", "dam", "--json"]) == 1
    questions = json.loads(capsys.readouterr().out)["questions"]
    assert [question["key"] for question in questions] == ["zone", "unit:pore_pressure", "place"]
    assert questions[0]["files"] == ["P1.csv", "P2.csv", "P3.csv"]


@pytest.mark.soak
def test_files_beside_other_sites_are_put_into_none_without_an_answer(piezometers, capsys):
    assert run_command(["sites", "init", "north"]) == 0
    assert run_command(["import", "dam", *ANSWERS]) == 1
    assert "which site do these files belong to? dam would be a new site [north, dam]" in capsys.readouterr().err
    assert run_command(["import", "dam", *ANSWERS, "--site", "dam"]) == 0


@pytest.mark.soak
def test_a_program_reads_the_result_as_json(piezometers, capsys):
    assert run_command(["import", "dam", *ANSWERS, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["site"] == "dam"
    assert [file["stored"] for file in found["files"]] == [HOURS] * 3
    assert found["level"] == "green"
    assert found["warnings"]["not_judged"] == [f"P{number}.pore_pressure" for number in (1, 2, 3)]


class Typed(io.StringIO):
    """Standard input of a terminal at which a person types prepared lines."""

    def isatty(self):
        return True


@pytest.mark.soak
def test_a_person_at_the_terminal_answers_each_question_once_and_confirms(piezometers, monkeypatch, capsys):
    typed = Typed("UTC\nkPa\n46,9\n55 60 65\ny\n")
    monkeypatch.setattr(sys, "stdin", typed)
    assert run_command(["import", "dam"]) == 0
    assert typed.read() == ""
    said = capsys.readouterr()
    assert "Store 900 values of 3 files and write the new site file configs/sites/dam.toml?" in said.err
    assert "red | sees: full" in said.out


def test_nothing_is_written_if_the_person_does_not_confirm(piezometers, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Typed("none\nn\n"))
    assert run_command(["import", "dam", *ANSWERS]) == 1
    assert not Path("configs").exists()
    assert not Path("slopeward.db").exists()


def test_files_with_other_choices_for_one_question_are_asked_about_separately():
    order = FileQuestion("dates", "day or month first?", ("day first", "month first"))
    year = FileQuestion("dates", "what is first?", ("day first", "year first"))
    unit = [FileQuestion("unit:rain", f"which unit has column {name}?", ("mm", "in")) for name in "AB"]
    shared = share_questions([("a.csv", [order, unit[0]]), ("b.csv", [year, unit[1]]), ("c.csv", [order])])
    assert [(one.key, one.files) for one in shared] == [
        ("dates", ("a.csv", "c.csv")),
        ("unit:rain", ("a.csv", "b.csv")),
        ("b.csv/dates", ("b.csv",)),
    ]
    assert shared[1].other_texts == ("which unit has column B?",)


@pytest.mark.soak
def test_a_table_is_parsed_once_for_its_columns_and_once_for_its_values(piezometers, monkeypatch):
    opened = []
    open_rows = lines.open_rows
    monkeypatch.setattr(lines, "open_rows", lambda path, *layout: opened.append(path.name) or open_rows(path, *layout))
    assert run_command(["import", "dam/P1.csv", *ANSWERS, "--bound", "pore_pressure=55 60 65 kPa"]) == 0
    assert opened == ["P1.csv"]
    assert count_readings() == HOURS


@pytest.mark.soak
def test_a_table_that_is_too_long_to_be_kept_is_read_again(piezometers, monkeypatch):
    monkeypatch.setattr("monitor.features.table_import.guess.values.KEPT_LINES", HOURS - 1)
    assert run_command(["import", "dam/P1.csv", *ANSWERS, "--bound", "pore_pressure=55 60 65 kPa"]) == 0
    assert count_readings() == HOURS


@pytest.mark.soak
def test_a_file_that_is_refused_beside_stored_values_changes_nothing(here, begin, capsys):
    times = [f"{begin + timedelta(hours=hour):%Y-%m-%d %H:%M}" for hour in range(100)]
    rng = random.Random(1)
    depths_m = [10.0 + rng.gauss(0, 0.05) for _ in times]
    rows = [f"{at},{depth_m:.3f}" for at, depth_m in zip(times, depths_m, strict=True)]
    Path("bench.csv").write_text("\n".join(["Time,P1 water_level [m]", *rows, ""]))
    given = ["--answer", "zone=UTC", "--answer", "place=46,9", "--site", "bench"]
    assert run_command(["import", "bench.csv", *given]) == 0
    site_file = Path("configs/sites/bench.toml")
    before = site_file.read_text()
    # The same epochs with values in centimetres, beside a station that the site file lacks.
    rows = [f"{at},{100 * depth_m:.1f},{depth_m:.3f}" for at, depth_m in zip(times, depths_m, strict=True)]
    Path("wrong.csv").write_text("\n".join(["Time,P1 water_level [m],P2 water_level [m]", *rows, ""]))
    rows = [f"{at},{depth_m + 1:.3f}" for at, depth_m in zip(times, depths_m, strict=True)]
    Path("right.csv").write_text("\n".join(["Time,P3 water_level [m]", *rows, ""]))
    capsys.readouterr()
    assert run_command(["import", "wrong.csv", "right.csv", *given]) == 3
    assert "wrong.csv was not stored" in capsys.readouterr().err
    after = site_file.read_text()
    assert after.startswith(before.rstrip())
    assert '"P3"' in after
    assert '"P2"' not in after
    assert {path.name for path in Path("configs/mappings/bench").glob("*.mapping.toml")} == {
        "bench.mapping.toml",
        "right.mapping.toml",
    }


@pytest.mark.soak
def test_mappings_of_files_that_differ_in_their_suffix_have_different_names(piezometers):
    Path("dam/P2.csv").rename("dam/P1.txt")
    given = [*ANSWERS, "--answer", "record:P1.pore_pressure=one record", "--bound", "pore_pressure=55 60 65 kPa"]
    assert run_command(["import", "dam", *given]) == 0
    assert {path.name for path in Path("configs/mappings/dam").glob("*.mapping.toml")} == {
        "P1.csv.mapping.toml",
        "P1.txt.mapping.toml",
        "P3.mapping.toml",
    }


@pytest.mark.soak
def test_the_preview_names_new_quantities_of_declared_stations(piezometers, begin, capsys):
    assert run_command(["import", "dam", *ANSWERS, "--bound", "pore_pressure=55 60 65 kPa"]) == 0
    rows = [f"{begin + timedelta(hours=hour):%Y-%m-%d %H:%M},{8.0 + 0.01 * (hour % 24):.2f}" for hour in range(100)]
    Path("P1.csv").write_text("\n".join(["Time,P1 temperature [°C]", *rows, ""]))
    capsys.readouterr()
    assert run_command(["import", "P1.csv", "--site", "dam", "--answer", "zone=UTC", "--dry-run"]) == 0
    assert "the site file does not declare P1.temperature" in capsys.readouterr().out

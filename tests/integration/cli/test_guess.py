"""`slopeward ingest --guess` from a stranger's table to levels, forecasts and stored readings, without an editor."""

import json
import random
import shlex
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from monitor.cli.main import run_verb

BEGIN = datetime(2025, 2, 3)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = random.Random(5)
    rows = [(BEGIN + timedelta(hours=3 * k), 0.05 * k + rng.gauss(0, 0.2), abs(rng.gauss(0, 0.3))) for k in range(250)]
    lines = [f"{at:%d.%m.%Y};{at:%H:%M};{a:.2f};{b:.1f}".replace(".", ",").replace(",", ".", 2) for at, a, b in rows]
    Path("hang.csv").write_text("Datum;Zeit;Riss 1 [mm];Regen [mm]\n" + "\n".join(lines) + "\n", encoding="cp1252")
    return tmp_path


def test_what_is_not_known_is_listed_with_the_option_that_answers_it(here, capsys):
    assert run_verb(["ingest", "hang.csv", "--guess"]) == 1
    said = capsys.readouterr()
    assert "station Riss-1: crack_opening in mm" in said.out
    assert "--answer 'zone=...'" in said.err
    assert "--answer 'place=...'" in said.err
    assert not list(Path().glob("*.toml"))


def test_two_answers_lead_from_a_table_to_levels_forecasts_and_stored_readings(here, capsys):
    assert run_verb(["sites", "init", "other"]) == 0  # a service is set up: the new file goes to the others
    command = ["ingest", "hang.csv", "--guess", "--site", "hang", "--answer", "zone=Europe/Berlin", "--answer"]
    assert run_verb([*command, "place=47.5,10.2"]) == 0
    said = capsys.readouterr()
    assert "time in each level" in said.out
    assert "forecasts of crack_opening" in said.err
    assert "lld" in said.out
    assert Path("configs/sites/hang.toml").is_file()
    text = Path("configs/sites/hang.toml").read_text()
    Path("configs/sites/hang.toml").write_text(text.replace("over = 2.0", "over = 3.0"))
    Path("hang.mapping.toml").write_text("# mine\n")
    assert run_verb([*command, "place=47.5,10.2"]) == 1  # what somebody wrote is never written over
    assert "says something else" in capsys.readouterr().err
    Path("hang.mapping.toml").unlink()
    assert run_verb([*command, "place=47.5,10.2"]) == 0  # the site exists now, and its file is left alone
    assert "over = 3.0" in Path("configs/sites/hang.toml").read_text()
    assert run_verb(["check"]) == 0
    assert run_verb(["db", "upgrade"]) == 0
    capsys.readouterr()
    assert run_verb(["ingest", "hang.csv", "--site", "hang", "--mapping", "hang.mapping.toml", "--json"]) == 0
    stored = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (stored["stored"], stored["rejected"], stored["undeclared"]) == (500, 0, [])


def test_a_site_that_exists_gets_the_stations_it_lacks_in_a_file(here, capsys):
    assert run_verb(["sites", "init", "bench"]) == 0
    capsys.readouterr()
    assert run_verb(["ingest", "hang.csv", "--guess", "--site", "bench", "--answer", "zone=UTC", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[0])
    assert facts["written"] == ["hang.mapping.toml", "hang.stations.toml"]
    assert 'id = "Riss-1"' in Path("hang.stations.toml").read_text()


def follow(said):
    """Do what was printed, word for word."""
    done = []
    for line in said[said.index("\nnext: ") :].splitlines()[2:]:
        verb, *words = shlex.split(line)
        if verb == "slopeward":
            assert run_verb(words) == 0, line
        elif verb == "mv":
            shutil.move(*words)
        else:
            assert (verb, words[1]) == ("cat", ">>")
            with Path(words[2]).open("a") as file:
                file.write(Path(words[0]).read_text())
        done.append(" ".join([verb, *words[:1]]))
    return done


NEXT = ["slopeward check", "slopeward db", "slopeward ingest", "slopeward backtest", "slopeward forecast"]


def test_in_an_empty_folder_the_printed_commands_lead_to_stored_readings_levels_and_a_forecast(here, capsys):
    command = ["ingest", "hang.csv", "--guess", "--answer", "zone=Europe/Berlin", "--answer", "place=47.5,10.2"]
    assert run_verb(command) == 0
    assert Path("configs/sites/hang.toml").is_file()
    assert follow(capsys.readouterr().err) == NEXT
    said = capsys.readouterr()
    assert "500 stored" in said.out
    assert "time in each level" in said.out
    assert run_verb([*command[:3], "--answer", "zone=UTC", "--answer", "place=1,2", "--out", "look"]) == 0
    assert "mv look/hang.toml configs/sites/" in capsys.readouterr().err


def test_beside_sites_a_new_one_waits_to_be_moved_and_stations_to_be_added(here, capsys):
    assert run_verb(["sites", "init", "bench"]) == 0
    assert run_verb(["ingest", "hang.csv", "--guess", "--answer", "zone=UTC", "--answer", "place=47.5,10.2"]) == 0
    assert not Path("configs/sites/hang.toml").exists()
    assert follow(capsys.readouterr().err) == ["mv hang.toml", *NEXT]
    shutil.move("hang.csv", "a b.csv")
    assert run_verb(["ingest", "a b.csv", "--guess", "--site", "bench", "--answer", "zone=UTC"]) == 0
    assert follow(capsys.readouterr().err) == ["cat a b.stations.toml", *NEXT]


def test_of_quantities_without_a_criterion_it_is_said_how_one_is_written(here, capsys):
    rows = [f"{BEGIN + timedelta(hours=3 * k):%Y-%m-%d %H:%M};{k % 7 / 10};{k % 5}.1" for k in range(60)]
    Path("tilt.csv").write_text("\n".join(["Time (UTC);T1 Tilt X (mrad);Piezo P1 (kPa)", *rows, ""]))
    assert run_verb(["ingest", "tilt.csv", "--guess", "--answer", "place=47.5,10.2"]) == 0
    said = capsys.readouterr().err
    assert "nothing judges tilt_x, pore_pressure yet: write criteria into configs/sites/tilt.toml" in said
    lines = said.splitlines()
    begin = next(k for k, line in enumerate(lines) if "[[criterion]]" in line)
    example = "\n".join(lines[begin : begin + 6])
    assert 'series = "T1.tilt_x"' in example
    assert follow(said) == NEXT[1:], "a check of it is not among the commands that are to work"
    assert "level above 'green'" in said
    assert run_verb(["check"]) == 1
    with Path("configs/sites/tilt.toml").open("a") as file:
        for number in (3, 5, 9):
            example = example.replace("BOUND", str(number), 1)
        file.write(f"\n{example}\n")
    assert run_verb(["check"]) == 0
    Path("rain.csv").write_text("\n".join(["Time (UTC);Rain (mm)", *(row.rpartition(";")[0] for row in rows), ""]))
    capsys.readouterr()
    assert run_verb(["ingest", "rain.csv", "--guess", "--site", "wet", "--answer", "place=47.5,10.2"]) == 0
    said = capsys.readouterr().err
    assert "nothing judges" not in said
    assert "`slopeward check` exits 1 until something can reach 'red'" in said


@pytest.mark.parametrize(
    "more",
    [("--mapping", "m.toml"), ("--dry-run",), ("--format", "long"), ("--answer", "zone"), ("--answer", "place=x")],
)
def test_options_that_cannot_be_are_refused(here, more):
    assert run_verb(["ingest", "hang.csv", "--guess", "--answer", "zone=UTC", *more]) in {1, 2}
    assert run_verb(["ingest", "hang.csv", "--answer", "zone=UTC"]) == 2

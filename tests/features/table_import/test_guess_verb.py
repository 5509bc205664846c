"""`slopeward ingest --guess` from a stranger's table to levels and stored readings, without an editor."""

import json
import random
import shlex
import shutil
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.cli.main import run_command
from monitor.ingest.recognise import find_form
from monitor.sites.parsing import find_cautions, parse_site
from tests.data.readers.gnss import list_positions
from tests.fixtures.soak import with_soak

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
    assert run_command(["ingest", "hang.csv", "--guess"]) == 1
    said = capsys.readouterr()
    assert "station Riss-1: crack opening in mm" in said.out
    assert "--answer 'zone=...'" in said.err
    assert "--answer 'place=...'" in said.err
    assert not list(Path().glob("*.toml"))


@pytest.mark.parametrize(
    ("key", "hint"),
    [("zonne", "did you mean zone?"), ("hang.csv/plce", "did you mean place?"), ("7", "there are axes,")],
)
def test_an_answer_to_no_question_is_refused_with_the_nearest_one(here, capsys, key, hint):
    assert run_command(["ingest", "hang.csv", "--guess", "--answer", f"{key}=UTC"]) == 2
    assert hint in " ".join(capsys.readouterr().err.split())


@pytest.mark.soak
def test_two_answers_lead_from_a_table_to_levels_and_stored_readings(here, capsys):
    assert run_command(["sites", "init", "other"]) == 0  # a service is set up: the new file goes to the others
    command = ["ingest", "hang.csv", "--guess", "--site", "hang", "--answer", "zone=Europe/Berlin", "--answer"]
    assert run_command([*command, "place=47.5,10.2"]) == 0
    capsys.readouterr()
    assert Path("configs/sites/hang.toml").is_file()
    text = Path("configs/sites/hang.toml").read_text()
    Path("configs/sites/hang.toml").write_text(text.replace("min_sigma = 3.0", "min_sigma = 3.5"))
    Path("hang.mapping.toml").write_text("# mine\n")
    assert run_command([*command, "place=47.5,10.2"]) == 1  # what somebody wrote is never written over
    assert "exists already with other content" in capsys.readouterr().err
    Path("hang.mapping.toml").unlink()
    assert run_command([*command, "place=47.5,10.2"]) == 0  # the site exists now, and its file is left alone
    assert "min_sigma = 3.5" in Path("configs/sites/hang.toml").read_text()
    assert (run_command(["check"]), run_command(["db", "upgrade"])) == (0, 0)
    capsys.readouterr()
    assert run_command(["ingest", "hang.csv", "--site", "hang", "--mapping", "hang.mapping.toml", "--json"]) == 0
    stored = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (stored["stored"], stored["rejected"], stored["undeclared"]) == (500, 0, [])


def follow(said, *, to_the_end=False):
    """Do what was printed, word for word; a replay and forecasts where wanted. Start no service."""
    done = []
    for line in said[said.index("\nnext: ") :].splitlines()[2:]:
        verb, *words = shlex.split(line)
        if verb == "slopeward":
            is_skipped = words[0] == "run" or (words[0] in {"backtest", "forecast"} and not to_the_end)
            assert is_skipped or run_command(words) == 0, line
        elif verb == "mv":
            shutil.move(*words)
        else:
            assert (verb, words[1]) == ("cat", ">>")
            with Path(words[2]).open("a") as file:
                file.write(Path(words[0]).read_text())
        done.append(" ".join([verb, *words[:1]]))
    return done


NEXT = [f"slopeward {name}" for name in ("check", "db", "ingest", "evaluate", "backtest", "forecast", "run")]


@pytest.mark.parametrize("to_the_end", with_soak(ordinary=False, soak=True))
def test_in_an_empty_folder_the_printed_commands_lead_to_stored_readings_levels_and_a_forecast(
    here, capsys, to_the_end
):
    command = ["ingest", "hang.csv", "--guess", "--answer", "zone=Europe/Berlin", "--answer", "place=47.5,10.2"]
    assert run_command(command) == 0
    assert Path("configs/sites/hang.toml").is_file()
    assert follow(capsys.readouterr().err, to_the_end=to_the_end) == NEXT
    said = capsys.readouterr()
    assert "500 stored" in said.out
    assert ("time in each level" in said.out) == to_the_end
    assert run_command([*command[:3], "--answer", "zone=UTC", "--answer", "place=1,2", "--out", "look"]) == 0
    said = capsys.readouterr().err
    assert "configs/sites/hang.toml exists already: compare it with look/hang.toml" in said
    assert "mv -i look/hang.toml configs/sites/" in said


@pytest.mark.soak
def test_out_is_followed_with_a_site_name_as_well(here, capsys):
    command = ["ingest", "hang.csv", "--guess", "--answer", "zone=UTC", "--answer", "place=1,2"]
    assert run_command([*command, "--site", "north-bench", "--out", "look"]) == 0
    assert {p.name for p in Path("look").iterdir()} == {"north-bench.toml", "hang.mapping.toml"}
    assert not Path("configs/sites/north-bench.toml").exists()
    assert "mv look/north-bench.toml configs/sites/" in capsys.readouterr().err


@pytest.mark.soak
def test_check_does_not_doubt_bounds_that_the_guess_has_converted(here, capsys):
    rows = "".join(f"{datetime(2026, 3, 1) + timedelta(hours=k):%Y-%m-%d %H:%M},{0.001 * k:.4f}\n" for k in range(200))
    Path("creep.csv").write_text("Time (UTC),Crack 1 [in]\n" + rows)
    assert run_command(["ingest", "creep.csv", "--guess", "--answer", "place=1,2"]) == 0
    site = parse_site(Path("configs/sites/creep.toml").read_text(), "creep")
    assert not [line for line in find_cautions(site) if "converted" in line]


@pytest.mark.soak
def test_beside_sites_a_new_one_waits_to_be_moved_and_stations_to_be_added(here, capsys):
    assert run_command(["sites", "init", "bench"]) == 0
    assert run_command(["ingest", "hang.csv", "--guess", "--answer", "zone=UTC", "--answer", "place=47.5,10.2"]) == 0
    assert not Path("configs/sites/hang.toml").exists()
    assert follow(capsys.readouterr().err) == ["mv hang.toml", *NEXT]
    shutil.move("hang.csv", "a b.csv")
    assert run_command(["ingest", "a b.csv", "--guess", "--site", "bench", "--answer", "zone=UTC"]) == 0
    assert follow(capsys.readouterr().err) == ["cat a b.stations.toml", *NEXT]


@pytest.mark.soak
def test_of_quantities_without_a_criterion_it_is_said_how_one_is_written(here, capsys):
    rows = [f"{BEGIN + timedelta(hours=3 * k):%Y-%m-%d %H:%M};{k % 7 / 10};{k % 5}.1" for k in range(60)]
    Path("tilt.csv").write_text("\n".join(["Time (UTC);T1 Tilt X (mrad);Piezo P1 (kPa)", *rows, ""]))
    assert run_command(["ingest", "tilt.csv", "--guess", "--answer", "place=47.5,10.2"]) == 0
    said = capsys.readouterr().err
    assert "nothing judges tilt_x, pore_pressure yet: give --bound 'tilt_x=NUMBERS mrad' with this command" in said
    assert "or write criteria into configs/sites/tilt.toml" in said
    lines = said.splitlines()
    begin = next(k for k, line in enumerate(lines) if "[[criterion]]" in line)
    example = "\n".join(lines[begin : begin + 6])
    assert 'series = "T1.tilt_x"' in example
    assert follow(said) == NEXT[1:], "a check of it is not among the commands that are to work"
    assert "`slopeward check` exits 1 until" in said
    assert run_command(["check"]) == 1
    with Path("configs/sites/tilt.toml").open("a") as file:
        for number in (3, 5, 9):
            example = example.replace("BOUND", str(number), 1)
        file.write(f"\n{example}\n")
    assert run_command(["check"]) == 0
    Path("rain.csv").write_text("\n".join(["Time (UTC);Rain (mm)", *(row.rpartition(";")[0] for row in rows), ""]))
    capsys.readouterr()
    assert run_command(["ingest", "rain.csv", "--guess", "--site", "wet", "--answer", "place=47.5,10.2"]) == 0
    said = capsys.readouterr().err
    assert "nothing judges" not in said
    assert "`slopeward check` exits 1 until a criterion can raise 'red'" in said


def lay_tilt():
    rows = [f"{BEGIN + timedelta(hours=3 * k):%Y-%m-%d %H:%M};{-k / 10};{k}.1" for k in range(60)]
    Path("tilt.csv").write_text("\n".join(["Time (UTC);T1 Tilt X (mrad);Piezo P1 (kPa)", *rows, ""]))
    return ["ingest", "tilt.csv", "--guess", "--answer", "place=47.5,10.2"]


@pytest.mark.soak
def test_bounds_that_a_person_gives_lead_to_levels_without_an_editor(here, capsys):
    command = lay_tilt()
    assert (run_command(command), "`slopeward check` exits 1 until" in capsys.readouterr().err) == (0, True)
    given = ["--bound", "tilt_x=under -2 -4", "--bound", "pore_pressure=0.01 0.02 0.05 MPa"]
    assert run_command([*command, *given]) == 0  # the file is as this command wrote it: nobody's words are lost
    said = capsys.readouterr()
    assert "nothing judges" not in said.err
    text = Path("configs/sites/tilt.toml").read_text()
    assert "yellow = {under = -2.0}  # mrad\norange = {under = -4.0}  # mrad\n" in text
    assert 'red = {over = 50.0}  # kPa\nauthor = "' in text
    assert f"given with --bound on {datetime.now(UTC):%Y-%m-%d}" in text
    assert follow(said.err) == NEXT
    capsys.readouterr()
    assert run_command(["backtest", "--site", "tilt", "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert [one["level_name"] for one in run["level_history"]] == ["green", "yellow", "orange", "red"]


def test_bounds_in_both_directions_are_one_criterion(here, capsys):
    assert run_command([*lay_tilt(), "--bound", "tilt_x=over 2 5; under -3 -6"]) == 0
    (path,) = [path for path in Path().rglob("*.toml") if "[site]" in path.read_text(encoding="utf-8")]
    text = path.read_text(encoding="utf-8")
    assert "yellow = {over = 2.0, under = -3.0}  # mrad\norange = {over = 5.0, under = -6.0}  # mrad\n" in text
    assert text.count('.tilt_x"') == 1


def test_bounds_go_with_stations_that_a_site_lacks(here, capsys):
    assert run_command(["sites", "init", "bench"]) == 0
    command = [*lay_tilt(), "--site", "bench"]
    assert run_command([*command, "--bound", "pore_pressure=20 30"]) == 0
    said = capsys.readouterr().err
    assert "nothing judges tilt_x yet" in said
    assert follow(said)[0] == "cat tilt.stations.toml"
    assert "orange = {over = 30.0}" in Path("configs/sites/bench.toml").read_text()
    assert run_command([*command, "--bound", "pore_pressure=20"]) == 1
    assert "change its bounds in its own file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bound", "why"),
    [
        ("tilt_x=5,5", "separated by blanks"),
        ("tilt_x=5 mm", "'mm' is no unit"),
        ("tilt_x=9 5", "not nearer than"),
        ("tilt_x=under 5 9", "not nearer than"),
        ("tilt_x=1 2 3 4", "4 numbers for 3 levels"),
        ("tilt_x=nan", "separated by"),
        ("tilt_x=1e999", "is no unit"),
        ("tilt_x=under 5; over 1", "any value would reach"),
        ("tilt_x=over 1; over 2", "one part for each side"),
        ("rain=5", "the table has no such quantity"),
        ("tlt=5", "expected one of"),
        ("tilt_x=", "expected KEY=VALUE"),
        ("tilt_x", "expected KEY=VALUE"),
    ],
)
def test_a_bound_that_cannot_be_is_one_line_and_writes_no_site(here, bound, why, capsys):
    assert run_command([*lay_tilt(), "--bound", bound]) in {1, 2}
    assert why in capsys.readouterr().err
    assert not list(Path().rglob("configs/sites/*.toml"))


@pytest.mark.parametrize(
    "more",
    [("--mapping", "m.toml"), ("--format", "long"), ("--answer", "zone"), ("--answer", "place=x"), ("--bound", "x")],
)
def test_options_that_cannot_be_are_refused(here, more):
    assert run_command(["ingest", "hang.csv", "--guess", "--answer", "zone=UTC", *more]) in {1, 2}
    assert run_command(["ingest", "hang.csv", "--answer", "zone=UTC"]) == 2


def lay_gauges(folder):
    folder.mkdir()
    for n, name in enumerate(("north", "south")):
        rows = [f"{BEGIN + timedelta(hours=k):%Y-%m-%d %H:%M},{(k + n) * 3 % 5 / 5}" for k in range(60)]
        (folder / f"{name}.csv").write_text("\n".join(["Time (UTC),Rainfall Amount (mm)", *rows, ""]))
    (folder / "notes.txt").write_text("of the gauges\nand nothing else\n")
    return str(folder)


def test_a_dry_run_says_what_is_understood_and_asked_and_writes_nothing(here, capsys):
    assert run_command(["ingest", "hang.csv", "--guess", "--dry-run"]) == 1
    said = capsys.readouterr()
    assert "--answer 'zone=...'" in said.err
    assert "place" not in said.err, "nothing is written that needs one"
    before = sorted(here.rglob("*"))
    for path in ("hang.csv", lay_gauges(here / "gauges")):
        assert run_command(["ingest", path, "--guess", "--dry-run", "--answer", "zone=UTC"]) == 0
        said = capsys.readouterr()
        assert "understood, nothing written (dry run)" in said.err
        assert "without --dry-run a new site also needs: where is the slope?" in said.err
        assert ": rain in mm" in said.out
    assert [p for p in sorted(here.rglob("*")) if "gauges" not in str(p)] == before


@pytest.mark.soak
def test_a_folder_of_tables_makes_one_site_and_merges_no_gauges(here, capsys):
    assert run_command(["ingest", lay_gauges(here / "gauges"), "--guess", "--answer", "place=47.5,10.2"]) == 0
    said = capsys.readouterr().err
    assert "notes.txt" in said
    text = Path("configs/sites/gauges.toml").read_text()
    assert ('id = "north"' in text, 'id = "south"' in text) == (True, True)
    ingests = [shlex.split(line)[1:] for line in said.splitlines() if "slopeward ingest" in line]
    assert run_command(["db", "upgrade"]) == 0
    capsys.readouterr()
    for words in ingests:
        assert run_command([*words, "--json"]) == 0
        told = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (told["stored"], told["revisions"], told["undeclared"]) == (60, 0, [])
    assert len(ingests) == 2


def test_files_of_one_series_that_differ_at_the_same_instants_are_asked_about(here, capsys):
    folder = here / "tunnel"
    folder.mkdir()

    def lay(name, first, add, unit="mm", each=1.0):
        rows = [f"{BEGIN + timedelta(hours=first + k):%Y-%m-%d %H:%M},{(add + k) * each:g}" for k in range(60)]
        (folder / f"{name}.csv").write_text("\n".join([f"Time (UTC),Crack C1 ({unit})", *rows, ""]))

    command = ["ingest", "tunnel", "--guess", "--dry-run"]
    lay("left", 0, 0)
    lay("right", 40, 40, "cm", 0.1)  # the same record goes on, in another unit
    assert run_command(command) == 0
    lay("right", 40, 45)
    capsys.readouterr()
    assert run_command(command) == 1
    assert "other values in right.csv than in left.csv at 20 of 20 instants" in capsys.readouterr().err
    assert run_command([*command, "--answer", "record:C1.crack_opening=one record"]) == 0
    lay("right", 60, 45)
    assert run_command(command) == 0, "no instant is in both"


def test_the_questions_of_all_files_of_a_folder_are_asked_and_answered_by_file(here, capsys):
    folder = here / "cracks"
    folder.mkdir()
    for name in ("a", "b"):
        rows = [f"{BEGIN + timedelta(hours=k):%Y-%m-%d %H:%M};{k}.5" for k in range(60)]
        (folder / f"{name}.csv").write_text("\n".join([f"Time;{name.upper()}1 [mm]", *rows, ""]))
    command = ["ingest", "cracks", "--guess", "--dry-run", "--answer"]
    assert run_command([*command, "a.csv/zone=UTC"]) == 1
    said = capsys.readouterr().err
    assert said.count("--answer 'quantity:mm=...' (a.csv, b.csv)") == 1
    assert "--answer 'zone=...' (b.csv)" in said
    answers = ["zone=UTC", "--answer", "a.csv/quantity:mm=crack_opening", "--answer", "b.csv/quantity:mm=rain"]
    assert run_command([*command, *answers]) == 0
    said = capsys.readouterr().out
    assert "station A1: crack opening in mm" in said
    assert "station B1: rain in mm" in said


def test_times_that_cannot_be_are_asked_before_anything_is_stored(here, capsys):
    times = [BEGIN.replace(year=2095) + timedelta(hours=k) for k in range(40)]
    rows = [f"{at:%Y-%m-%dT%H:%MZ},C1,crack_opening_mm,{k}" for k, at in enumerate(times)]
    Path("long.csv").write_text("\n".join(["time,station,quantity,value", *rows, ""]))
    assert (run_command(["sites", "init", "bench"]), run_command(["db", "upgrade"])) == (0, 0)
    capsys.readouterr()
    for command in (
        ["ingest", "long.csv", "--site", "bench"],
        ["ingest", "long.csv", "--site", "bench", "--accept-units"],
        ["ingest", "long.csv", "--site", "bench", "--dry-run"],
        ["backtest", "--data", "long.csv", "--site-file", "configs/sites/bench.toml"],
    ):
        assert run_command(command) == 1, command
        assert "can the times be right? its times end at 2095-02-04" in capsys.readouterr().err
    assert run_command(["ingest", "long.csv", "--guess", "--answer", "place=1,2"]) == 1
    assert "--answer 'times=...'" in capsys.readouterr().err
    assert run_command(["ingest", "long.csv", "--site", "bench", "--accept-times", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["stored"], told["flags"]["future"]) == (40, 40)


def test_times_of_a_clock_that_nobody_set_are_asked_about_without_a_guess_too(here, capsys):
    times = [datetime(2000, 1, 1, k, tzinfo=UTC) if k < 3 else BEGIN + timedelta(hours=k) for k in range(40)]
    rows = [f"{at:%Y-%m-%dT%H:%MZ},C1,crack_opening_mm,{k}" for k, at in enumerate(times)]
    Path("long.csv").write_text("\n".join(["time,station,quantity,value", *rows, ""]))
    assert run_command(["ingest", "long.csv", "--dry-run"]) == 1
    assert "can the times be right? 3 of its times begin at 2000-01-01" in capsys.readouterr().err
    assert run_command(["ingest", "long.csv", "--dry-run", "--accept-times"]) == 0


def test_a_header_that_names_another_beginning_than_the_mapping_is_a_doubt(here, capsys):
    since = datetime(2000, 1, 1, 12)
    rows = [f"{(BEGIN + timedelta(hours=k) - since).total_seconds():.0f},{k / 10}" for k in range(60)]
    Path("a.csv").write_text("\n".join(["sec_j2000,Crack C1 (mm)", *rows, ""]))
    mapping = '[time]\ncolumn = "sec_j2000"\nformat = "s"\n{}[[column]]\nname = "Crack C1 (mm)"\nstation = "C1"\n'
    mapping += 'quantity = "crack_opening"\nunit = "mm"\n'
    command = ["ingest", "a.csv", "--mapping", "m.toml", "--dry-run"]
    Path("m.toml").write_text(mapping.format(""))
    assert run_command(command) == 1
    assert "the header 'sec_j2000' counts from 2000-01-01, and 1970-01-01 was taken" in capsys.readouterr().err
    Path("m.toml").write_text(mapping.format('since = "2000-01-01T12:00:00"\n'))
    assert run_command([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["from"].startswith("2025-02-03T00:00")


BEGIN_KNOWN = datetime(2024, 2, 3)
HEAD = (
    "site YYMMMDD yyyy.yyyy __MJD week d reflon _e0(m) __east(m) ____n0(m) _north(m) u0(m) ____up(m) _ant(m) "
    "sig_e(m) sig_n(m) sig_u(m) __corr_en __corr_eu __corr_nu _latitude(deg) _longitude(deg) __height(m)"
)  # of the Nevada Geodetic Laboratory, since 2019


def lay_nevada(name="CHAN.tenv3", count=120):
    """Daily positions as the laboratory writes them; its longitudes go westward around the earth."""
    rng = random.Random(3)
    lines = [HEAD]
    for k in range(count):
        at, east = BEGIN_KNOWN + timedelta(days=k), 0.0002 * k + rng.gauss(0, 0.001)
        lines.append(
            f"CHAN {at:%y%b%d} 2024.09 51827 1083 2 125.4 3557 {east:.6f} 4850565 0.569955 273 0.258084 0.2500 "
            "0.000726 0.000971 0.002951 -0.006208 -0.017137 -0.107418 43.7906870848 -234.5558020471 273.25808".upper()
        )
    Path(name).write_text("\n".join([lines[0], *lines[1:], ""]))
    return name


@pytest.fixture
def here_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.soak
def test_positions_of_a_network_need_no_answer_and_no_editor(here_known, capsys):
    assert run_command(["ingest", lay_nevada(), "--guess"]) == 0
    said = capsys.readouterr()
    site = tomllib.loads(Path("configs/sites/chan.toml").read_text())
    assert (site["site"]["latitude"], site["site"]["longitude"]) == (43.790687, 125.444198)
    (station,) = site["station"]
    assert (station["id"], station["height_m"], station["longitude"]) == ("CHAN", 273.2581, 125.44419795)
    assert not list(here_known.glob("*.mapping.toml"))
    assert "azimuth_deg" not in station, "0.2 mm/day in a frame of the earth may be the plate"
    assert "no more than a plate of the earth drifts; until" in Path("configs/sites/chan.toml").read_text()
    assert (follow(said.err), "360 stored" in capsys.readouterr().out) == (NEXT, True)


@pytest.mark.soak
def test_solutions_of_a_receiver_begin_at_its_first_good_one(here_known, capsys):
    rows = [(BEGIN_KNOWN + timedelta(minutes=15 * k), 1 if k else 5, 1e-8 * k) for k in range(200)]
    lines = [
        f"{at:%Y/%m/%d %H:%M:%S}.000 {46.1 + d:.9f} 8.2 410.5 {q} 9 .002 .002 .004 0 0 0 0 9.9" for at, q, d in rows
    ]
    Path("rover_2024.pos").write_text("\n".join([*lines, ""]))
    assert run_command(["ingest", "rover_2024.pos", "--guess"]) == 1
    asked = capsys.readouterr().err
    assert "--answer 'station=...'" in asked
    assert "--answer 'time=...'" in asked
    assert "place=" not in asked, "the file says where it is"
    answers = ["--answer", "station=G7", "--answer", "time=gpst"]
    assert run_command(["ingest", "rover_2024.pos", "--guess", *answers]) == 0
    origin = tomllib.loads(Path("configs/sites/rover-2024.toml").read_text())["station"][0]["origin"]
    assert origin["since"].isoformat() == "2024-02-03T00:14:42+00:00", "GPS time was 18 s ahead"
    said = capsys.readouterr().err
    command = next(line.split() for line in said.splitlines() if "slopeward ingest" in line)
    assert command[-6:] == ["--format", "rtklib", "--station", "G7", "--time", "gpst"]
    assert run_command(["db", "upgrade"]) == 0
    assert run_command(command[1:]) == 3, "a single solution waits in the quarantine"
    assert "597 stored" in capsys.readouterr().out


@pytest.mark.soak
def test_a_quantity_that_is_not_known_is_left_out_and_said(here_known, capsys):
    rows = [
        f"{BEGIN + timedelta(hours=6 * k):%Y-%m-%dT%H:%MZ},E1,{name},{k / 50:.2f},{unit}"
        for k in range(90)
        for name, unit in (("crack_opening", "mm"), ("flow", "m3/h"))
    ]
    Path("long.csv").write_text("\n".join(["time,station,quantity,value,unit", *rows, ""]))
    assert run_command(["ingest", "long.csv", "--guess", "--answer", "place=46.1,8.2"]) == 0
    assert "no quantity that is known here: E1.flow" in capsys.readouterr().out
    (station,) = tomllib.loads(Path("configs/sites/long.toml").read_text())["station"]
    assert [series["quantity"] for series in station["series"]] == ["crack_opening"]
    Path("other.csv").write_text("\n".join(["time,station,quantity,value,unit", *rows[1::2], ""]))
    assert run_command(["ingest", "other.csv", "--guess", "--answer", "place=46.1,8.2"]) == 1


def test_positions_whose_head_was_cut_off_are_read_as_with_it(here_known):
    whole = Path(lay_nevada())
    lines = whole.read_text().splitlines()
    shorter = [" ".join(line.split()[:20]) for line in lines[1:]]  # as before 2019: without the place of the day
    for name, rows in (("cut.tenv3", lines[1:]), ("old.tenv3", shorter)):
        Path(name).write_text("\n".join([*rows, ""]))
        assert find_form(Path(name)) == "gnss"
        assert [(p.at, p.values, p.sigmas) for p in list_positions(Path(name))] == [
            (p.at, p.values, p.sigmas) for p in list_positions(whole)
        ]


def test_a_site_that_exists_gets_the_station_with_its_place(here_known, capsys):
    assert run_command(["sites", "init", "bench"]) == 0
    assert run_command(["ingest", lay_nevada(), "--guess", "--site", "bench"]) == 0
    assert "height_m = 273.2581" in Path("CHAN.stations.toml").read_text()
    assert follow(capsys.readouterr().err) == ["cat CHAN.stations.toml", *NEXT]

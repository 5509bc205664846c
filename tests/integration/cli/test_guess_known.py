"""`slopeward ingest --guess` of files whose form is known: stations and places from the file, without an editor."""

import random
import tomllib
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from monitor.cli.main import run_verb
from monitor.ingest.guess.recognise import find_form
from tests.data.readers.gnss import list_positions
from tests.integration.cli.test_guess import NEXT, follow

BEGIN = datetime(2024, 2, 3)
HEAD = (
    "site YYMMMDD yyyy.yyyy __MJD week d reflon _e0(m) __east(m) ____n0(m) _north(m) u0(m) ____up(m) _ant(m) "
    "sig_e(m) sig_n(m) sig_u(m) __corr_en __corr_eu __corr_nu _latitude(deg) _longitude(deg) __height(m)"
)  # of the Nevada Geodetic Laboratory, since 2019


def lay_nevada(name="CHAN.tenv3", count=120):
    """Daily positions as the laboratory writes them; its longitudes go westward around the earth."""
    rng = random.Random(3)
    lines = [HEAD]
    for k in range(count):
        at, east = BEGIN + timedelta(days=k), 0.0002 * k + rng.gauss(0, 0.001)
        lines.append(
            f"CHAN {at:%y%b%d} 2024.09 51827 1083 2 125.4 3557 {east:.6f} 4850565 0.569955 273 0.258084 0.2500 "
            "0.000726 0.000971 0.002951 -0.006208 -0.017137 -0.107418 43.7906870848 -234.5558020471 273.25808".upper()
        )
    Path(name).write_text("\n".join([lines[0], *lines[1:], ""]))
    return name


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_positions_of_a_network_need_no_answer_and_no_editor(here, capsys):
    assert run_verb(["ingest", lay_nevada(), "--guess"]) == 0
    said = capsys.readouterr()
    assert "forecasts of displacement_east" in said.err
    site = tomllib.loads(Path("configs/sites/chan.toml").read_text())
    assert (site["site"]["latitude"], site["site"]["longitude"]) == (43.790687, 125.444198)
    (station,) = site["station"]
    assert (station["id"], station["height_m"], station["longitude"]) == ("CHAN", 273.2581, 125.44419795)
    assert not list(here.glob("*.mapping.toml"))
    assert "azimuth_deg" not in station, "0.2 mm/day in a frame of the earth may be the plate"
    assert "no more than a plate of the earth drifts; until" in Path("configs/sites/chan.toml").read_text()
    assert follow(said.err) == NEXT
    assert "360 stored" in capsys.readouterr().out


def test_solutions_of_a_receiver_begin_at_its_first_good_one(here, capsys):
    rows = [(BEGIN + timedelta(minutes=15 * k), 1 if k else 5, 1e-8 * k) for k in range(200)]
    lines = [
        f"{at:%Y/%m/%d %H:%M:%S}.000 {46.1 + d:.9f} 8.2 410.5 {q} 9 .002 .002 .004 0 0 0 0 9.9" for at, q, d in rows
    ]
    Path("rover_2024.pos").write_text("\n".join([*lines, ""]))
    assert run_verb(["ingest", "rover_2024.pos", "--guess"]) == 1
    asked = capsys.readouterr().err
    assert "--answer 'station=...'" in asked
    assert "--answer 'time=...'" in asked
    assert "place=" not in asked, "the file says where it is"
    answers = ["--answer", "station=G7", "--answer", "time=gpst"]
    assert run_verb(["ingest", "rover_2024.pos", "--guess", *answers]) == 0
    origin = tomllib.loads(Path("configs/sites/rover-2024.toml").read_text())["station"][0]["origin"]
    assert origin["since"].isoformat() == "2024-02-03T00:14:42+00:00", "GPS time was 18 s ahead"
    said = capsys.readouterr().err
    command = next(line.split() for line in said.splitlines() if "slopeward ingest" in line)
    assert command[-6:] == ["--format", "rtklib", "--station", "G7", "--time", "gpst"]
    assert run_verb(["db", "upgrade"]) == 0
    assert run_verb(command[1:]) == 3, "a single solution waits in the quarantine"
    assert "597 stored" in capsys.readouterr().out


def test_the_neutral_form_makes_a_site_as_well(here, capsys):
    rows = [f"{BEGIN + timedelta(hours=6 * k):%Y-%m-%dT%H:%MZ},E1,crack_opening_mm,{k / 50:.2f}" for k in range(90)]
    Path("long.csv").write_text("\n".join(["time,station,quantity,value", *rows, ""]))
    assert run_verb(["ingest", "long.csv", "--guess", "--answer", "place=46.1,8.2"]) == 0
    said = capsys.readouterr()
    assert "station E1: crack opening in mm" in said.out
    assert follow(said.err) == NEXT
    assert run_verb(["ingest", "long.csv", "--site", "long", "--json"]) == 0


def test_a_quantity_that_is_not_known_is_left_out_and_said(here, capsys):
    rows = [
        f"{BEGIN + timedelta(hours=6 * k):%Y-%m-%dT%H:%MZ},E1,{name},{k / 50:.2f},{unit}"
        for k in range(90)
        for name, unit in (("crack_opening", "mm"), ("flow", "m3/h"))
    ]
    Path("long.csv").write_text("\n".join(["time,station,quantity,value,unit", *rows, ""]))
    assert run_verb(["ingest", "long.csv", "--guess", "--answer", "place=46.1,8.2"]) == 0
    assert "no quantity that is known here: E1.flow" in capsys.readouterr().out
    (station,) = tomllib.loads(Path("configs/sites/long.toml").read_text())["station"]
    assert [series["quantity"] for series in station["series"]] == ["crack_opening"]
    Path("other.csv").write_text("\n".join(["time,station,quantity,value,unit", *rows[1::2], ""]))
    assert run_verb(["ingest", "other.csv", "--guess", "--answer", "place=46.1,8.2"]) == 1


def test_positions_whose_head_was_cut_off_are_read_as_with_it(here):
    whole = Path(lay_nevada())
    lines = whole.read_text().splitlines()
    shorter = [" ".join(line.split()[:20]) for line in lines[1:]]  # as before 2019: without the place of the day
    for name, rows in (("cut.tenv3", lines[1:]), ("old.tenv3", shorter)):
        Path(name).write_text("\n".join([*rows, ""]))
        assert find_form(Path(name)) == "gnss"
        assert [(p.at, p.values, p.sigmas) for p in list_positions(Path(name))] == [
            (p.at, p.values, p.sigmas) for p in list_positions(whole)
        ]


def test_a_site_that_exists_gets_the_station_with_its_place(here, capsys):
    assert run_verb(["sites", "init", "bench"]) == 0
    assert run_verb(["ingest", lay_nevada(), "--guess", "--site", "bench"]) == 0
    assert "height_m = 273.2581" in Path("CHAN.stations.toml").read_text()
    assert follow(capsys.readouterr().err) == ["cat CHAN.stations.toml", *NEXT]

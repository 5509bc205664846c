"""Units that cannot be right: asked before anything of a file is stored, whichever way the mistake shows."""

import json
import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.cli.main import run_verb
from monitor.store.people.users import add_user
from monitor.store.schema.tables import user_account
from tests.integration.ingest.test_files import ask, place, run  # noqa: F401 - fixtures

DAYS = 120
MAPPING = """
[time]
column = "Date"
zone = "UTC"
[[column]]
name = "{name}"
station = "G1"
quantity = "displacement"
unit = "{unit}"
"""


def creep_mm(days: int = DAYS, start: float = 40.0) -> list[float]:
    """A slope that creeps by 0.4 mm a day under 1.5 mm of noise."""
    dice = random.Random(4)
    return [start + 0.4 * day + dice.gauss(0.0, 1.5) for day in range(days)]


def at(day: int) -> datetime:
    return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=day)


def write_long(path: Path, columns: dict[str, list[float]], unit: str, first: int = 0) -> Path:
    rows = [
        f"{at(first + day).isoformat()},{station},displacement_{unit},{value!r}"
        for station, values in columns.items()
        for day, value in enumerate(values)
    ]
    path.write_text("\n".join(["time,station,quantity,value", *rows]) + "\n")
    return path


def write_wide(path: Path, header: str, values: list[float]) -> Path:
    rows = [f"{at(day):%Y-%m-%d},{value!r}" for day, value in enumerate(values)]
    path.write_text("\n".join([f"Date,{header}", *rows]) + "\n")
    return path


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
def test_millimetres_declared_as_metres_are_refused_before_anything_is_stored(place, run, tmp_path, dry):  # noqa: F811
    file = write_long(tmp_path / "g1.csv", {"G1": creep_mm()}, "m")
    status, out, err = run("ingest", file, "--site", "north", *dry)
    assert (status, out) == (1, [])
    assert "is the unit right? G1.displacement" in err
    assert "mm from epoch to epoch" in err
    assert "say --accept-units when it is right" in err
    if not dry:
        assert ask(place, "SELECT count(*) FROM observation") == [(0,)]
        status, _, _ = run("ingest", file, "--site", "north", "--accept-units", "--by", "A. Rossi")
        assert status == 0
        assert ask(place, "SELECT count(*) FROM observation") == [(DAYS,)]
        said = ask(place, "SELECT actor, subject FROM audit_entry WHERE action = 'ingest.accept_units'")
        assert said == [("A. Rossi", "north")]


def test_a_slow_smooth_record_in_millimetres_named_metres_is_asked(run, tmp_path):  # noqa: F811
    """Without noise nothing scatters: a slope of 0.2 mm a day becomes one of 200 that never rests."""
    file = write_long(tmp_path / "g1.csv", {"G1": [260.0 - 0.2 * day for day in range(DAYS)]}, "m")
    status, _, err = run("ingest", file, "--site", "north", "--dry-run")
    assert status == 1
    assert "G1.displacement: it moves by 200 mm/day or more from the first day to the last" in err


@pytest.mark.parametrize(
    ("header", "unit", "said"),
    [
        ("G1/mm", "m", "mm"),
        ("disp [cm]", "mm", "cm"),
        ("Verschiebung (mm)", "cm", "mm"),
        ("g1_cm", "m", "cm"),
        ("displacement in millimetres", "cm", "mm"),
        ("位移（毫米）", "cm", "mm"),
        ("mm", "cm", "mm"),
    ],
)
def test_a_header_that_names_another_unit_than_the_mapping_is_asked(run, tmp_path, header, unit, said):  # noqa: F811
    file = write_wide(tmp_path / "wide.csv", header, creep_mm())
    (tmp_path / "m.toml").write_text(MAPPING.format(name=header, unit=unit))
    status, _, err = run("ingest", file, "--mapping", tmp_path / "m.toml", "--site", "north", "--dry-run")
    assert status == 1
    assert f"the header '{header}' says {said}, the mapping says {unit}" in err
    (tmp_path / "m.toml").write_text(MAPPING.format(name=header, unit=said))
    right = write_wide(tmp_path / "right.csv", header, [v / {"mm": 1, "cm": 10}[said] for v in creep_mm()])
    assert run("ingest", right, "--mapping", tmp_path / "m.toml", "--site", "north", "--dry-run")[0] == 0


def test_a_unit_that_changes_in_mid_record_is_asked_with_its_day(run, tmp_path):  # noqa: F811
    values = creep_mm()
    file = write_long(tmp_path / "g1.csv", {"G1": values[:70] + [v / 10 for v in values[70:]]}, "mm")
    status, _, err = run("ingest", file, "--site", "north", "--dry-run")
    assert status == 1
    assert "G1.displacement: values are 0.1 times as large from 2026-05-10 00:00 UTC on: another unit?" in err


@pytest.mark.parametrize("first", [0, DAYS - 10], ids=["the same epochs", "the epochs after"])
def test_a_file_in_another_unit_than_what_is_stored_is_asked(place, run, tmp_path, first):  # noqa: F811
    values = creep_mm(2 * DAYS)
    assert run("ingest", write_long(tmp_path / "a.csv", {"G1": values[:DAYS]}, "mm"), "--site", "north")[0] == 0
    stored = ask(place, "SELECT count(*) FROM observation")
    later = [v / 10 for v in values[first:]]
    if first:
        later, first = later[10:], DAYS
    status, _, err = run("ingest", write_long(tmp_path / "b.csv", {"G1": later}, "mm", first), "--site", "north")
    assert status == 1
    assert "G1.displacement: values are 0.1 times those that are stored of the" in err
    assert ask(place, "SELECT count(*) FROM observation") == stored


def test_one_station_a_thousand_times_beside_the_others_is_asked(run, tmp_path):  # noqa: F811
    columns = {f"G{n}": [0.05 * v for v in creep_mm()] for n in range(1, 5)}
    columns["G4"] = [1000 * v for v in columns["G4"]]
    status, _, err = run("ingest", write_long(tmp_path / "all.csv", columns, "mm"), "--site", "north", "--dry-run")
    assert status == 1
    assert "G4.displacement" in err
    assert "G1" not in err


@pytest.mark.parametrize("what", ["creep", "collapse", "step", "still", "few", "tide"])
def test_what_slopes_really_do_is_not_asked(run, tmp_path, what):  # noqa: F811
    day = range(DAYS)
    values = {
        "creep": creep_mm(),
        "collapse": [400.0 / (DAYS + 1 - d) for d in day],
        "step": [v + (500.0 if d > 60 else 0.0) for d, v in enumerate(creep_mm())],
        "still": [0.0] * DAYS,
        "few": [1.0, 10.0, 100.0, 1000.0],
        "tide": [20.0 * math.sin(d) for d in day],
    }[what]
    status, out, err = run("ingest", write_long(tmp_path / "g1.csv", {"G1": values}, "mm"), "--dry-run", "--json")
    assert (status, err) == (0, "")
    assert out[0]["valid"] == len(values)


def test_readings_through_a_pipe_are_looked_at_as_well(monkeypatch, capsys, tmp_path):
    import io

    class Pipe(io.StringIO):
        def seekable(self) -> bool:
            return False

    text = write_long(tmp_path / "g1.csv", {"G1": creep_mm()}, "mm").read_text()
    monkeypatch.setattr("sys.stdin", Pipe(text))
    assert run_verb(["ingest", "-", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["valid"] == DAYS
    monkeypatch.setattr("sys.stdin", Pipe(text.replace("_mm", "_m")))
    assert run_verb(["ingest", "-", "--dry-run"]) == 1
    assert "is the unit right?" in capsys.readouterr().err


def test_decimal_years_and_tables_without_a_header_can_be_mapped(run, tmp_path):  # noqa: F811
    rows = ["2011.0 3.1 9", "2011.5 4.2 9", "2012.5 5.0 9", "2012.9999 6.0 9"]
    table = tmp_path / "monthly.txt"
    table.write_text("\n".join(rows) + "\n")
    mapping = tmp_path / "m.toml"
    text = '[table]\ndelimiter = " "\nheader = false\n' + MAPPING.format(name="2", unit="mm")
    mapping.write_text(text.replace('column = "Date"', 'column = "1"\nformat = "year"'))
    status, out, err = run("ingest", table, "--mapping", mapping, "--dry-run", "--json")
    assert (status, err) == (0, "")
    assert (out[0]["valid"], out[0]["from"]) == (4, "2011-01-01T00:00:00.000000Z")
    assert out[0]["to"] == "2012-12-31T23:07:18.000000Z"
    mapping.write_text(text.replace('column = "Date"', 'column = "1"\nformat = "s"'))
    status, out, err = run("ingest", table, "--mapping", mapping, "--dry-run")
    assert status == 4
    assert "looks like a decimal year, not s since 1970" in err


def test_who_is_for_one_site_vouches_for_the_units_of_no_other(place, run, tmp_path, monkeypatch):  # noqa: F811
    sites = tmp_path / "configs" / "sites"
    (sites / "south.toml").write_text((sites / "north.toml").read_text().replace('"north"', '"south"'))
    with place.write() as c:
        add_user(c, "ed", "slate piano ember 26", "operator", datetime.now(UTC))
        c.execute(user_account.update().values(sites=["south"]))
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD", "slate piano ember 26")
    file = write_long(tmp_path / "g1.csv", {"G1": creep_mm()}, "m")
    lines = file.read_text().splitlines()
    file.write_text("\n".join([f"{lines[0]},site", *(f"{line},north" for line in lines[1:])]) + "\n")
    status, _, err = run("ingest", file, "--accept-units", "--by", "ed", "--site", "north")
    assert (status, "is for south only" in err) == (1, True)
    status, (said,), _ = run("ingest", file, "--accept-units", "--by", "ed", "--site", "south", "--json")
    assert (said["stored"], said["reasons"]) == (0, {"unknown_site": DAYS})
    assert ask(place, "SELECT count(*) FROM observation") == [(0,)]

"""`slopeward ingest`, `report` and `events` as commands, on both databases."""

import io
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from monitor.cli.identity import name_helper
from monitor.cli.main import run_verb
from monitor.store.database.engine import Database

SITE = """
[site]
id = "north"
name = "North"
latitude = 46.2
longitude = 8.9
timezone = "UTC"
[levels]
names = ["green", "red"]
[[station]]
id = "G1"
latitude = 46.2
longitude = 8.9
[[station.series]]
quantity = "displacement"
unit = "mm"
interval = "1d"
max_silence = "3d"
"""
LONG = """time,station,quantity,value,sigma,solution
2026-03-01T00:00:00Z,G1,displacement_mm,1.0,0.5,rapid
2026-03-02T00:00:00+01:00,G1,displacement_mm,2.0,,
2026-03-03T00:00:00Z,R1,rain_mm,,,
2026-03-04T00:00:00Z,R1,reservoir_level_m,175.2,,
"""


@pytest.fixture
def place(tmp_path, monkeypatch, database_url):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs" / "sites").mkdir(parents=True)
    (tmp_path / "configs" / "sites" / "north.toml").write_text(SITE)
    (tmp_path / "configs" / "slopeward.toml").write_text("")
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", database_url)
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def run(capsys):
    def call(*words):
        status = run_verb([str(w) for w in words])
        out, err = capsys.readouterr()
        lines = [json.loads(line) for line in out.splitlines()] if "--json" in words else out.splitlines()
        return status, lines, err

    return call


def ask(database, sql):
    with database.read() as c:
        return [tuple(r) for r in c.execute(text(sql))]


def test_a_long_file_is_stored_once(place, run):
    Path("a.csv").write_text(LONG)
    status, (said,), _ = run("ingest", "a.csv", "--json")
    assert (status, said["stored"], said["missing"], said["rejected"]) == (0, 3, 1, 0)
    assert (said["from"], said["to"]) == ("2026-03-01T00:00:00.000000Z", "2026-03-04T00:00:00.000000Z")
    status, (said,), _ = run("ingest", "a.csv", "--json")
    assert (status, said["stored"], said["duplicates"]) == (0, 0, 3)
    rows = ask(
        place,
        "select s.station, s.quantity, s.unit, o.observed_at, o.value_raw, o.sigma, o.solution, o.flags "
        "from observation o join series s on s.id = o.series_id order by o.observed_at",
    )
    assert rows == [
        ("G1", "displacement", "mm", "2026-03-01T00:00:00.000000Z", 1.0, 0.5, "rapid", ""),
        ("G1", "displacement", "mm", "2026-03-01T23:00:00.000000Z", 2.0, None, None, ""),
        ("R1", "reservoir_level", "m", "2026-03-04T00:00:00.000000Z", 175.2, None, None, "undeclared"),
    ]


def test_who_reads_in_other_values_of_stored_epochs_stands_with_them(place, run):
    Path("a.csv").write_text(LONG)
    Path("b.csv").write_text(LONG.replace(",1.0,", ",0.2,"))
    assert [run("ingest", name)[0] for name in ("a.csv", "b.csv")] == [0, 0]
    found = ask(place, "select revision, extra from observation order by revision desc")
    assert found[0][0] == 1
    assert json.loads(found[0][1]) == {"brought_by": f"{name_helper().name} (b.csv)"}
    assert set(found[1:]) == {(0, None)}


def test_bad_rows_wait_and_are_read_again_when_the_site_file_knows_more(place, run):
    bad = (
        "2026-03-05T00:00:00,G1,displacement_mm,1,,\n2026-03-06T00:00:00Z,G1,displacement_mm,x,,\n"
        "2026-03-07T00:00:00Z,G1,pumping_index,7,,\n2026-03-08T00:00:00Z,G1,pumping_index,8,,\n"
    )
    Path("a.csv").write_text(LONG + bad)
    status, (said,), err = run("ingest", "a.csv", "--json")
    assert status == 3
    assert said["reasons"] == {"no_zone": 1, "not_number": 1, "unknown_quantity": 2}
    assert "--rejected" in err
    assert ask(place, "select code, times, client from rejected_message order by code") == [
        ("no_zone", 1, "file:a.csv"),
        ("not_number", 1, "file:a.csv"),
        ("unknown_quantity", 1, "file:a.csv"),
    ]
    assert run("ingest", "--rejected")[0] == 4
    with Path("configs/sites/north.toml").open("a") as site_file:
        site_file.write('\n[[quantity]]\nname = "pumping"\nunit = "index"\n')
    status, (said,), _ = run("ingest", "--rejected", "--json")
    assert (status, said["accepted"], said["stored"], said["waiting"]) == (3, 1, 2, 2)
    assert ask(place, "select count(*) from rejected_message where replayed_at is not null") == [(1,)]
    assert run("ingest", "--rejected")[0] == 4


def test_a_dry_run_needs_neither_database_nor_site(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", "postgresql://nobody@127.0.0.1:1/none")
    Path("a.csv").write_text(LONG)
    status, (said,), _ = run("ingest", "a.csv", "--dry-run", "--json")
    assert (status, said["valid"], said["stored"]) == (0, 3, 0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty"),
        ("a,b\n1,2\n", "no table of time"),
        (b"\xff\xfe\x00", "no table of time"),
        (None, "no such"),
        (LONG + '2026-03-05T00:00:00Z,G1,"displacement_mm,1.0,,\n' + LONG, "line 6: unexpected end"),
    ],
)
def test_what_is_no_table_is_one_line_and_status_1(tmp_path, monkeypatch, run, content, said):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("a.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    status, _, err = run("ingest", "a.csv", "--dry-run")
    assert (status, said in err, len(err.strip().splitlines())) == (1, True, 1)


def test_a_pipe_in_place_of_a_file_is_not_read_as_empty(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    read, write = os.pipe()
    with open(read), open(write, "w") as pipe:
        pipe.write(LONG)
        pipe.flush()
        status, _, err = run("ingest", f"/dev/fd/{read}", "--dry-run")
    assert (status, "give - as the file" in err) == (1, True)


def test_wrong_usage_is_status_2(run, capsys):
    for words in ((), ("a.csv", "--rejected"), ("a.csv", "--format", "wide"), ("a.csv", "--format", "xml")):
        assert run("ingest", *words)[0] == 2


def test_parquet_a_folder_and_stdin(place, run, monkeypatch):
    Path("in").mkdir()
    times = pa.array([1772344800000, 1772431200000], pa.timestamp("ms", "UTC"))
    columns = {"time": times, "station": ["G1"] * 2, "quantity": ["displacement_cm"] * 2, "value": [1.0, float("nan")]}
    pq.write_table(pa.table(columns), "in/a.parquet")
    Path("in/b.csv").write_text(LONG)
    status, said, _ = run("ingest", "in", "--json")
    assert (status, [s["stored"] for s in said], said[0]["missing"]) == (0, [1, 3], 1)
    assert ask(place, "select value_raw from observation where observed_at like '2026-03-01T06%'") == [(10.0,)]
    monkeypatch.setattr("sys.stdin", io.StringIO(LONG.replace("2026-03-04", "2026-04-04")))
    status, (said,), _ = run("ingest", "-", "--json")
    assert (status, said["stored"]) == (0, 1)


def test_a_decimal_comma_is_not_read_as_a_sigma(place, run):
    text = LONG + "2026-03-05T00:00:00Z,G1,displacement_mm,12,4,0,5,,\n2026-03-06T00:00:00Z,G1,displacement_mm,3.0,,,\n"
    Path("a.csv").write_text(text)
    status, (said,), _ = run("ingest", "a.csv", "--json")
    assert (status, said["stored"], said["rejected"], said["reasons"]) == (3, 4, 1, {"cell_count": 1})
    assert ask(place, "select count(*) from observation where value_raw in (12, 4)") == [(0,)]
    assert run("ingest", "--rejected")[0] == 4  # reading again does not make a value of it


def test_one_broken_file_does_not_keep_the_others_out(place, run):
    Path("in").mkdir()
    Path("in/a.csv").write_bytes(b"\xff\xfe\x00")
    Path("in/b.csv").write_text(LONG)
    status, said, err = run("ingest", "in", "--json")
    assert (status, [s["stored"] for s in said], "in/a.csv: no table" in err) == (3, [3], True)


WIDE = """
[table]
delimiter = ";"
skip_rows = 1
[time]
column = "Date"
format = "%d.%m.%Y %H:%M"
zone = "Europe/Zurich"
[[column]]
name = "p"
station = "P1"
quantity = "pore_pressure"
unit = "bar"
sigma = "p_sd"
[[column]]
name = "t"
station = "P1"
quantity = "temperature"
unit = "degC"
"""


def test_a_wide_table_by_mapping(place, run):
    Path("m.toml").write_text(WIDE)
    Path("w.csv").write_text(
        "made by a logger\nDate;p;p_sd;t\n01.07.2026 12:00;1.5;0.1;20\n25.10.2026 02:30;1;;9\n02.07.2026 12:00;;;NaN\n"
    )
    status, (said,), _ = run("ingest", "w.csv", "--mapping", "m.toml", "--json")
    assert (status, said["valid"], said["missing"], said["reasons"]) == (3, 2, 2, {"ambiguous_time": 2})
    assert ask(place, "select observed_at, value_raw, sigma from observation order by value_raw") == [
        ("2026-07-01T10:00:00.000000Z", 20.0, None),
        ("2026-07-01T10:00:00.000000Z", 150.0, 10.0),
    ]
    Path("m.toml").write_text(WIDE.replace('"t"', '"absent"'))
    status, _, err = run("ingest", "w.csv", "--mapping", "m.toml")
    assert status == 1
    assert "column 'absent' of the mapping is not there" in err


RUSHING = (
    SITE
    + """
[[criterion]]
kind = "rate"
quantity = "displacement"
stations = ["G*"]
red = {over = 20.0, window = "1d"}
"""
)
STATION = """
[[station]]
id = "G9"
latitude = 46.2
longitude = 8.9
[[station.series]]
quantity = "displacement"
unit = "mm"
interval = "1h"
max_silence = "3d"
high = 5000.0
"""


def test_a_station_that_is_declared_later_counts_from_then_on_and_not_before(place, run):
    """Undeclared readings are stored; once the file names the station they are seen, by now, not by the past."""
    site_file = Path("configs/sites/north.toml")
    site_file.write_text(RUSHING)
    end = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
    rows = [f"{(end - timedelta(hours=h)).isoformat()},G9,displacement_mm,{1000.0 - 4.0 * h}" for h in range(120)]
    Path("late.csv").write_text("time,station,quantity,value\n" + "\n".join(rows) + "\n")
    for dry in ((), ("--dry-run",)):
        status, lines, err = run("ingest", "late.csv", *dry)
        assert status == 0, err
        said = lines[-1]
        assert said.endswith("flagged: undeclared 120; stations that the site file does not name: G9")
    _, (facts,), _ = run("ingest", "late.csv", "--json")
    assert (facts["flags"], facts["unknown_stations"]) == ({"undeclared": 120}, ["G9"])
    assert run("evaluate", "--site", "north", "--json")[1][0]["level_name"] == "green"
    before = datetime.now(UTC).isoformat()
    site_file.write_text(RUSHING + STATION)

    _, (said,), err = run("ingest", "late.csv")  # the file on disk is not the version in force yet
    assert ("0 stored, 120 known before" in said, "flagged" in said, "not in force yet" in err) == (True, False, True)
    assert set(ask(place, "select flags from latest_observation")) == {("undeclared",)}
    seen = run("evaluate", "--site", "north", "--json")[1][0]
    assert [w["raise_level"] for w in seen["evidence"]["words"] if w["station"] == "G9" and w["heard"]] == [1]
    assert ask(place, "select flags from latest_observation") == [("",)]
    was = run("evaluate", "--site", "north", "--at", before, "--json")[1][0]
    assert [w["raise_level"] for w in was["evidence"]["words"] if w["station"] == "G9" and w["heard"]] in ([], [0])
    again = ask(place, "select flag, count(*) from observation_flag group by flag")
    assert again == [("-undeclared", 120)]
    run("evaluate", "--site", "north")
    assert ask(place, "select flag, count(*) from observation_flag group by flag") == again
    # the past that was read in as history is replayed as the file of today judges it
    day = end.date().isoformat()
    status, lines, err = run(
        "backtest", "--site", "north", "--from", before[:10] + "T00:00:00Z", "--known", "observed", "--json"
    )
    assert (status, "red" in json.dumps(lines), day != "") == (0, True, True), err


def test_a_range_that_changes_is_judged_anew_but_never_over_a_person(place, run):
    """Values beyond a new range are flagged, those within a wider one no longer; a person's word on one stands."""
    site_file = Path("configs/sites/north.toml")
    days = "\n".join(f"2026-03-{d:02d}T00:00:00Z,G1,displacement_mm,{d * 100.0}" for d in range(1, 10))
    Path("a.csv").write_text(f"time,station,quantity,value\n{days}\n")
    run("ingest", "a.csv")
    with place.write() as c:
        c.execute(
            text(
                'insert into observation_flag (series_id, observed_at, revision, flag, known_from, "by", reason) '
                "select series_id, observed_at, 0, '-out_of_range', received_at, 'Ada', 'looked at' from observation "
                "where value_raw = 900.0"
            )
        )
    flagged = "select value_raw from observation_history where flags = 'out_of_range' order by value_raw"
    for most, values in ((650.0, [700.0, 800.0]), (750.0, [800.0]), (850.0, [])):
        site_file.write_text(SITE + f"high = {most}\n")
        run("evaluate", "--site", "north")
        assert [v for (v,) in ask(place, flagged)] == values


def test_reports_and_events_by_hand(place, run):
    words = ("--site", "north", "--kind", "crack", "--text", "3 cm", "--by", "Ada")
    when = "2026-03-01T06:00:00Z"
    assert run("report", "add", *words, "--time", when, "--station", "G1")[0] == 0
    assert run("report", "add", *words, "--time", when, "--station", "G1")[0] == 4
    assert run("report", "add", *words, "--time", "2026-03-01T06:00:00")[0] == 1
    assert run("events", "add", *words, "--from", when, "--to", "2026-03-01T08:00:00Z", "--value", "2.5")[0] == 0
    assert run("events", "add", *words, "--from", when, "--to", "2026-02-01T08:00:00Z")[0] == 1
    assert run("events", "add", *words, "--from", when, "--known-from", "2026-02-01T08:00:00Z")[0] == 1
    quake = ["--site", "north", "--kind", "earthquake", "--text", "felt"]
    for more, code in (("--value=nan", 2), ("--value=inf", 2), ("--value=-1", 1), ("--from=2090-01-01T00:00:00Z", 1)):
        assert run("events", "add", *quake, more)[0] == code, more
    assert "999 gal (cm/s²) are 1.02 g" in run("events", "add", *quake, "--value", "999")[2]
    for typed, meant in (("earthqake", "earthquake"), ("quake", "earthquake"), ("Blast", "blasting")):
        code, _, err = run("events", "add", "--site", "north", "--kind", typed, "--text", "felt")
        assert (code, f"did you mean {meant}?" in err) == (1, True)
    assert run("report", "add", "--site", "south", "--kind", "x", "--text", "y")[0] == 1
    assert ask(place, "select kind, station, by from report") == [("crack", "G1", "Ada")]
    assert ask(place, "select kind, value, by from site_event") == [("crack", 2.5, "Ada")]
    assert ask(place, "select action, actor from audit_entry where action <> 'rows.seal' order by id") == [
        ("report.add", "Ada"),
        ("event.add", "Ada"),
    ]
    assert run("events", "add", *words, "--from", when, "--known-from", "2026-03-02T08:00:00Z")[0] == 0
    said = "select known_from from site_event where known_from is not null"
    assert ask(place, said) == [("2026-03-02T08:00:00.000000Z",)]


@pytest.mark.data
def test_the_measured_slope_of_outang(place, run, measured):
    columns = "".join(
        f'[[column]]\nname = "{s}/mm"\nstation = "{s}"\nquantity = "displacement"\nunit = "mm"\n'
        for s in ("MJ9", "MJ1", "MJ3", "ATU4", "ATU5", "ATU3", "ATU2", "ATU1")
    )
    columns += '[[column]]\nname = "RWL/m"\nstation = "RES"\nquantity = "reservoir_level"\nunit = "m"\n'
    Path("m.toml").write_text(f'[time]\ncolumn = "Date"\nformat = "DATE"\nzone = "Asia/Shanghai"\n{columns}')
    table = measured("outang/monitoring_data.csv")
    example = table.read_text(encoding="utf-8-sig").splitlines()[1].split(",")[0]
    form = "%Y/%m/%d" if "/" in example else "iso"
    Path("m.toml").write_text(Path("m.toml").read_text().replace("DATE", form))
    status, (said,), _ = run("ingest", table, "--mapping", "m.toml", "--json")
    assert (status, said["rows"], said["stored"], said["rejected"]) == (0, 1461, 9 * 1461, 0)
    assert said["from"] == "2016-06-30T16:00:00.000000Z"


def test_a_workbook_is_read_by_day_numbers_and_by_cells_that_are_dates(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    book = openpyxl.Workbook()
    for row in (["Date", "mm"], [45352.25, 1.5], [datetime(2024, 3, 2, 6), 3.0]):
        book.active.append(row)
    book.save("a.xlsx")
    Path("m.toml").write_text(
        '[time]\ncolumn = "Date"\nformat = "excel"\nzone = "UTC"\n[[column]]\nname = "mm"\nstation = "G1"\n'
        'quantity = "displacement"\nunit = "mm"\n'
    )
    status, (said,), _ = run("ingest", "a.xlsx", "--mapping", "m.toml", "--dry-run", "--json")
    assert (status, said["valid"]) == (0, 2)
    assert (said["from"], said["to"]) == ("2024-03-01T06:00:00.000000Z", "2024-03-02T06:00:00.000000Z")

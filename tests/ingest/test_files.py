"""The commands `slopeward ingest`, `report` and `events` on both databases."""

import io
import json
import math
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text

from monitor.cli.identity import name_os_actor
from monitor.cli.main import run_command
from monitor.ingest.files.tables import Layout, find_fault, open_rows
from monitor.people.tables import user_account
from monitor.readings.tables import observation
from monitor.storage.engine import Database
from tests.data.accounts import add_account
from tests.data.site_text import criterion, head, series, station
from tests.data.store_rows import add_flag

PLACE = {"latitude": 46.2, "longitude": 8.9}
SITE = head("north", timezone="UTC", **PLACE, levels={"names": ["green", "red"]}) + station(
    "G1", series("displacement", "mm", "1d", max_silence="3d"), **PLACE
)
LONG_TABLE = """time,station,quantity,value,sigma,solution
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
        status = run_command([str(w) for w in words])
        out, err = capsys.readouterr()
        lines = [json.loads(line) for line in out.splitlines()] if "--json" in words else out.splitlines()
        return status, lines, err

    return call


def ask(database, sql):
    with database.read() as c:
        return [tuple(r) for r in c.execute(text(sql))]


def test_a_long_file_is_stored_once(place, run):
    Path("a.csv").write_text(LONG_TABLE)
    status, (summary,), _ = run("ingest", "a.csv", "--json")
    assert (status, summary["stored"], summary["missing"], summary["rejected"]) == (0, 3, 1, 0)
    assert (summary["from"], summary["to"]) == ("2026-03-01T00:00:00.000000Z", "2026-03-04T00:00:00.000000Z")
    status, (summary,), _ = run("ingest", "a.csv", "--json")
    assert (status, summary["stored"], summary["duplicates"]) == (0, 0, 3)
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


def test_revision_records_who_imported_it(place, run):
    Path("a.csv").write_text(LONG_TABLE)
    Path("b.csv").write_text(LONG_TABLE.replace(",1.0,", ",0.2,"))
    assert [run("ingest", name)[0] for name in ("a.csv", "b.csv")] == [0, 0]
    rows = ask(place, "select revision, extra from observation order by revision desc")
    assert rows[0][0] == 1
    assert json.loads(rows[0][1]) == {"brought_by": f"{name_os_actor().name} (b.csv)"}
    assert set(rows[1:]) == {(0, None)}


def test_bad_rows_are_quarantined_and_replayed_after_a_site_file_change(place, run):
    bad_rows = (
        "2026-03-05T00:00:00,G1,displacement_mm,1,,\n2026-03-06T00:00:00Z,G1,displacement_mm,x,,\n"
        "2026-03-07T00:00:00Z,G1,pumping_index,7,,\n2026-03-08T00:00:00Z,G1,pumping_index,8,,\n"
    )
    Path("a.csv").write_text(LONG_TABLE + bad_rows)
    status, (summary,), err = run("ingest", "a.csv", "--json")
    assert (status, summary["reasons"]) == (3, {"no_zone": 1, "not_number": 1, "unknown_quantity": 2})
    assert "--rejected" in err
    assert ask(place, "select code, times, client from rejected_message order by code") == [
        ("no_zone", 1, "file:a.csv"),
        ("not_number", 1, "file:a.csv"),
        ("unknown_quantity", 1, "file:a.csv"),
    ]
    assert run("ingest", "--rejected")[0] == 4
    with Path("configs/sites/north.toml").open("a") as site_file:
        site_file.write('\n[[quantity]]\nname = "pumping"\nunit = "index"\n')
    status, (summary,), _ = run("ingest", "--rejected", "--json")
    assert (status, summary["accepted"], summary["stored"], summary["waiting"]) == (3, 1, 2, 2)
    assert ask(place, "select count(*) from rejected_message where replayed_at is not null") == [(1,)]
    assert run("ingest", "--rejected")[0] == 4


def test_a_dry_run_needs_neither_database_nor_site(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", "postgresql://nobody@127.0.0.1:1/none")
    Path("a.csv").write_text(LONG_TABLE)
    status, (summary,), _ = run("ingest", "a.csv", "--dry-run", "--json")
    assert (status, summary["valid"], summary["stored"]) == (0, 3, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("a,b\n1,2\n", "no table of time"),
        (b"\xff\xfe\x00", "no table of time"),
        (None, "no such"),
        (LONG_TABLE + '2026-03-05T00:00:00Z,G1,"displacement_mm,1.0,,\n' + LONG_TABLE, "line 6: unexpected end"),
    ],
)
def test_file_without_a_table_gives_one_line_and_status_1(tmp_path, monkeypatch, run, content, message):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("a.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    status, _, err = run("ingest", "a.csv", "--dry-run")
    assert (status, message in err, len(err.strip().splitlines())) == (1, True, 1)


def test_a_pipe_in_place_of_a_file_is_not_read_as_empty(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    read, write = os.pipe()
    with open(read), open(write, "w") as pipe:
        pipe.write(LONG_TABLE)
        pipe.flush()
        status, _, err = run("ingest", f"/dev/fd/{read}", "--dry-run")
    assert (status, "give - as the file" in err) == (1, True)


def test_wrong_usage_is_status_2(run, capsys):
    for words in ((), ("a.csv", "--rejected"), ("a.csv", "--format", "wide"), ("a.csv", "--format", "xml")):
        assert run("ingest", *words)[0] == 2


def test_parquet_folder_and_stdin_are_imported(place, run, monkeypatch):
    Path("in").mkdir()
    times = pa.array([1772344800000, 1772431200000], pa.timestamp("ms", "UTC"))
    columns = {"time": times, "station": ["G1"] * 2, "quantity": ["displacement_cm"] * 2, "value": [1.0, float("nan")]}
    pq.write_table(pa.table(columns), "in/a.parquet")
    Path("in/b.csv").write_text(LONG_TABLE)
    status, summaries, _ = run("ingest", "in", "--json")
    assert (status, [s["stored"] for s in summaries], summaries[0]["missing"]) == (0, [1, 3], 1)
    assert ask(place, "select value_raw from observation where observed_at like '2026-03-01T06%'") == [(10.0,)]
    monkeypatch.setattr("sys.stdin", io.StringIO(LONG_TABLE.replace("2026-03-04", "2026-04-04")))
    status, (summaries,), _ = run("ingest", "-", "--json")
    assert (status, summaries["stored"]) == (0, 1)


def test_a_decimal_comma_is_not_read_as_a_sigma(place, run):
    text = (
        LONG_TABLE
        + "2026-03-05T00:00:00Z,G1,displacement_mm,12,4,0,5,,\n2026-03-06T00:00:00Z,G1,displacement_mm,3.0,,,\n"
    )
    Path("a.csv").write_text(text)
    status, (summary,), _ = run("ingest", "a.csv", "--json")
    assert (status, summary["stored"], summary["rejected"], summary["reasons"]) == (3, 4, 1, {"cell_count": 1})
    assert ask(place, "select count(*) from observation where value_raw in (12, 4)") == [(0,)]
    assert run("ingest", "--rejected")[0] == 4  # the second attempt rejects the row again


@pytest.mark.parametrize("layout", [Layout(), Layout(";", encoding="cp1252"), Layout("whitespace")], ids=str)
@given(values=st.lists(st.integers(-99_999, 99_999), min_size=7, max_size=12), cut=st.integers(0, 12), data=st.data())
def test_truncated_number_at_the_end_of_a_file_is_not_read(tmp_path_factory, layout, values, cut, data):
    decimals, mark = data.draw(st.integers(1, 4)), ";" if layout.delimiter == ";" else ","
    mark = " " if layout.delimiter == "whitespace" else mark
    texts = [f"{v / 10**decimals:.{decimals}f}" for v in values]
    text = "".join(f"2026-03-{k:02}{mark}{number}\n" for k, number in enumerate(["mm", *texts]))
    path = tmp_path_factory.mktemp("torn") / "a.csv"
    path.write_text(text[: -cut - 1] if data.draw(st.booleans()) else text, encoding=layout.encoding)
    whole = path.read_text(encoding=layout.encoding).split(mark)[-1].strip()
    with open_rows(path, layout) as (names, rows):
        *_, last = rows
    read = str(last[names[-1]] or "") if find_fault(last) is None else ""
    assert read in {*texts, "", "-"}, "a truncated number was read as a value"
    assert whole not in texts or read == whole, "a complete number was not read"


def test_truncated_line_is_quarantined_and_other_lines_are_stored(place, run):
    rows = [f"2026-04-{day:02}T00:00:00Z,G1,displacement_mm,{day}.25" for day in range(1, 9)]
    Path("a.csv").write_text("\n".join(["time,station,quantity,value", *rows])[:-1])
    status, (summary,), _ = run("ingest", "a.csv", "--json")
    assert (status, summary["stored"], summary["reasons"]) == (3, 7, {"torn_line": 1})


def test_broken_file_of_a_folder_does_not_block_the_others(place, run):
    Path("in").mkdir()
    Path("in/a.csv").write_bytes(b"\xff\xfe\x00")
    Path("in/b.csv").write_text(LONG_TABLE)
    status, summaries, err = run("ingest", "in", "--json")
    assert (status, [s["stored"] for s in summaries], "in/a.csv: no table" in err) == (3, [3], True)


WIDE_MAPPING = """
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


def test_wide_table_is_imported_by_a_mapping(place, run):
    Path("m.toml").write_text(WIDE_MAPPING)
    Path("w.csv").write_text(
        "made by a logger\nDate;p;p_sd;t\n01.07.2026 12:00;1.5;0.1;20\n25.10.2026 02:30;1;;9\n02.07.2026 12:00;;;NaN\n"
    )
    status, (summary,), _ = run("ingest", "w.csv", "--mapping", "m.toml", "--json")
    assert (status, summary["valid"], summary["missing"], summary["reasons"]) == (3, 2, 2, {"ambiguous_time": 2})
    assert ask(place, "select observed_at, value_raw, sigma from observation order by value_raw") == [
        ("2026-07-01T10:00:00.000000Z", 20.0, None),
        ("2026-07-01T10:00:00.000000Z", 150.0, 10.0),
    ]
    Path("m.toml").write_text(WIDE_MAPPING.replace('"t"', '"absent"'))
    status, _, err = run("ingest", "w.csv", "--mapping", "m.toml")
    assert (status, "the file has no column 'absent', which the mapping names" in err) == (1, True)


SITE_WITH_RATE_CRITERION = SITE + criterion(
    "rate", quantity="displacement", stations=["G*"], red={"over": 20.0, "window": "1d"}
)
STATION = station("G9", series("displacement", "mm", max_silence="3d", high=5000.0), **PLACE)


def test_readings_count_from_the_declaration_of_their_station(place, run):
    """Undeclared readings are stored. Evaluations use them once the site file declares the station."""
    site_file = Path("configs/sites/north.toml")
    site_file.write_text(SITE_WITH_RATE_CRITERION)
    end = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
    rows = [f"{(end - timedelta(hours=h)).isoformat()},G9,displacement_mm,{1000.0 - 4.0 * h}" for h in range(120)]
    Path("late.csv").write_text("time,station,quantity,value\n" + "\n".join(rows) + "\n")
    for dry in ((), ("--dry-run",)):
        status, lines, err = run("ingest", "late.csv", *dry)
        assert status == 0, err
        summary = lines[-1]
        assert summary.endswith("flagged: undeclared 120; stations that the site file does not name: G9")
    _, (report,), _ = run("ingest", "late.csv", "--json")
    assert (report["flags"], report["unknown_stations"]) == ({"undeclared": 120}, ["G9"])
    assert run("evaluate", "north", "--json")[1][0]["level_name"] == "green"
    before = datetime.now(UTC).isoformat()
    site_file.write_text(SITE_WITH_RATE_CRITERION + STATION)

    _, (summary,), err = run("ingest", "late.csv")  # the changed site file is not in force yet
    assert ("0 stored, 120 known before" in summary, "flagged" in summary, "not in force yet" in err) == (
        True,
        False,
        True,
    )
    assert set(ask(place, "select flags from latest_observation")) == {("undeclared",)}
    evaluation = run("evaluate", "north", "--json")[1][0]
    assert [w["raise_level"] for w in evaluation["evidence"]["words"] if w["station"] == "G9" and w["heard"]] == [1]
    assert ask(place, "select flags from latest_observation") == [("",)]
    earlier_evaluation = run("evaluate", "north", "--at", before, "--json")[1][0]
    assert [
        w["raise_level"] for w in earlier_evaluation["evidence"]["words"] if w["station"] == "G9" and w["heard"]
    ] in ([], [0])
    flag_counts = ask(place, "select flag, count(*) from observation_flag group by flag")
    assert flag_counts == [("-undeclared", 120)]
    run("evaluate", "north")
    assert ask(place, "select flag, count(*) from observation_flag group by flag") == flag_counts
    # A backtest with `--known observed` replays the imported history with today's site file.
    day = end.date().isoformat()
    words = ("--site", "north", "--since", before[:10] + "T00:00:00Z", "--known", "observed", "--json")
    status, lines, err = run("backtest", *words)
    assert (status, "red" in json.dumps(lines), day != "") == (0, True, True), err


def test_changed_range_updates_flags_except_those_set_by_an_operator(place, run):
    """A new range sets and removes the flag `out_of_range`, except where an operator decided about a reading."""
    site_file = Path("configs/sites/north.toml")
    days = "\n".join(f"2026-03-{d:02d}T00:00:00Z,G1,displacement_mm,{d * 100.0}" for d in range(1, 10))
    Path("a.csv").write_text(f"time,station,quantity,value\n{days}\n")
    run("ingest", "a.csv")
    with place.write() as c:
        (row,) = c.execute(select(observation).where(observation.c.value_raw == 900.0))
        add_flag(c, row.series_id, row.observed_at, "-out_of_range", row.received_at)
    flagged = "select value_raw from observation_history where flags = 'out_of_range' order by value_raw"
    for most, values in ((650.0, [700.0, 800.0]), (750.0, [800.0]), (850.0, [])):
        site_file.write_text(SITE + f"high = {most}\n")
        run("evaluate", "north")
        assert [v for (v,) in ask(place, flagged)] == values


def test_reports_and_events_are_added_by_command(place, run):
    words = ("north", "--kind", "crack", "--text", "3 cm", "--by", "Ada")
    when = "2026-03-01T06:00:00Z"
    assert run("report", "add", *words, "--at", when, "--station", "G1")[0] == 0
    assert run("report", "add", *words, "--at", when, "--station", "G1")[0] == 4
    assert run("report", "add", *words, "--at", "2026-03-01T06:00:00")[0] == 1
    assert run("events", "add", *words, "--since", when, "--until", "2026-03-01T08:00:00Z", "--value", "2.5")[0] == 0
    assert run("events", "add", *words, "--since", when, "--until", "2026-02-01T08:00:00Z")[0] == 1
    assert run("events", "add", *words, "--since", when, "--known-since", "2026-02-01T08:00:00Z")[0] == 1
    quake = ["north", "--kind", "earthquake", "--text", "felt"]
    for more, code in (("--value=nan", 2), ("--value=inf", 2), ("--value=-1", 1), ("--since=2090-01-01T00:00:00Z", 1)):
        assert run("events", "add", *quake, more)[0] == code, more
    assert "999 gal (cm/s²) are 1.02 g" in run("events", "add", *quake, "--value", "999")[2]
    for typed, meant in (("earthqake", "earthquake"), ("quake", "earthquake"), ("Blast", "blasting")):
        code, _, err = run("events", "add", "north", "--kind", typed, "--text", "felt")
        assert (code, f"did you mean {meant}?" in err) == (1, True)
    assert run("report", "add", "south", "--kind", "x", "--text", "a crack")[0] == 1
    assert ask(place, "select kind, station, by from report") == [("crack", "G1", "Ada")]
    assert ask(place, "select kind, value, by from site_event") == [("crack", 2.5, "Ada")]
    acts = ask(place, "select action, actor from audit_entry where action <> 'rows.seal' order by id")
    assert acts == [("report.add", "Ada"), ("event.add", "Ada")]
    assert run("events", "add", *words, "--since", when, "--known-since", "2026-03-02T08:00:00Z")[0] == 0
    query = "select known_from from site_event where known_from is not null"
    assert ask(place, query) == [("2026-03-02T08:00:00.000000Z",)]


def test_workbook_may_mix_day_numbers_and_date_cells(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    book = openpyxl.Workbook()
    for row in (["Date", "mm"], [45352.25, 1.5], [datetime(2024, 3, 2, 6), 3.0]):
        book.active.append(row)
    book.save("a.xlsx")
    Path("m.toml").write_text(
        '[time]\ncolumn = "Date"\nformat = "excel"\nzone = "UTC"\n[[column]]\nname = "mm"\nstation = "G1"\n'
        'quantity = "displacement"\nunit = "mm"\n'
    )
    status, (summary,), _ = run("ingest", "a.xlsx", "--mapping", "m.toml", "--dry-run", "--json")
    assert (status, summary["valid"]) == (0, 2)
    assert (summary["from"], summary["to"]) == ("2024-03-01T06:00:00.000000Z", "2024-03-02T06:00:00.000000Z")


# ---- implausible units: the command asks before it stores anything of the file ----
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
    """Return daily displacement that creeps by 0.4 mm/day, with noise of 1.5 mm."""
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
def test_millimetres_declared_as_metres_are_refused_before_anything_is_stored(place, run, tmp_path, dry):
    file = write_long(tmp_path / "g1.csv", {"G1": creep_mm()}, "m")
    status, out, err = run("ingest", file, "--site", "north", *dry)
    assert (status, out, "is the unit right? G1.displacement" in err) == (1, [], True)
    assert "mm from epoch to epoch" in err
    assert "say --accept-units when it is right" in err
    if not dry:
        assert ask(place, "SELECT count(*) FROM observation") == [(0,)]
        status, _, _ = run("ingest", file, "--site", "north", "--accept-units", "--by", "A. Rossi")
        assert (status, ask(place, "SELECT count(*) FROM observation")) == (0, [(DAYS,)])
        audit_entries = ask(place, "SELECT actor, subject FROM audit_entry WHERE action = 'ingest.accept_units'")
        assert audit_entries == [("A. Rossi", "north")]


@pytest.mark.parametrize("agrees", [True, False])
def test_a_person_at_the_keyboard_confirms_a_doubtful_unit(place, run, tmp_path, monkeypatch, agrees):
    file = write_long(tmp_path / "g1.csv", {"G1": creep_mm()}, "m")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: agrees)
    status, _, _ = run("ingest", file, "--site", "north", "--by", "A. Rossi")
    assert (status, ask(place, "SELECT count(*) FROM observation")) == (int(not agrees), [(DAYS * agrees,)])
    audit_entries = ask(place, "SELECT actor, subject FROM audit_entry WHERE action = 'ingest.accept_units'")
    assert audit_entries == [("A. Rossi", "north")] * agrees


@pytest.mark.parametrize(
    ("header", "unit", "header_unit"),
    [
        ("G1/mm", "m", "mm"),
        ("g1_cm", "m", "cm"),
        ("displacement in millimetres", "cm", "mm"),
        ("位移（毫米）", "cm", "mm"),
    ],
)
def test_header_with_another_unit_than_the_mapping_is_refused(run, tmp_path, header, unit, header_unit):
    file = write_wide(tmp_path / "wide.csv", header, creep_mm())
    (tmp_path / "m.toml").write_text(MAPPING.format(name=header, unit=unit))
    status, _, err = run("ingest", file, "--mapping", tmp_path / "m.toml", "--site", "north", "--dry-run")
    assert (status, f"the header '{header}' states {header_unit}, the mapping {unit}" in err) == (1, True)
    (tmp_path / "m.toml").write_text(MAPPING.format(name=header, unit=header_unit))
    right = write_wide(tmp_path / "right.csv", header, [v / {"mm": 1, "cm": 10}[header_unit] for v in creep_mm()])
    assert run("ingest", right, "--mapping", tmp_path / "m.toml", "--site", "north", "--dry-run")[0] == 0


@pytest.mark.parametrize(
    ("values", "unit", "message"),
    [
        # No noise gives the unit away. Read as metres, 0.2 mm/day becomes a steady 200 mm/day.
        ([260.0 - 0.2 * day for day in range(DAYS)], "m", "moves at 200 mm/day or more from the first day to the last"),
        ([v if day < 70 else v / 10 for day, v in enumerate(creep_mm())], "mm", "0.1 times as large from 2026-05-10"),
        ([50 * v for v in creep_mm()], "mm", "those of other stations"),
    ],
    ids=["smooth", "changed", "alone"],
)
def test_record_with_an_implausible_unit_is_refused(run, tmp_path, values, unit, message):
    others = {f"G{n}": [0.05 * v for v in creep_mm()] for n in (1, 2, 3) if unit == "mm"}
    file = write_long(tmp_path / "all.csv", {**others, "G4": values}, unit)
    status, _, err = run("ingest", file, "--site", "north", "--dry-run")
    assert (status, "G1" in err, "G4.displacement" in err, message in err) == (1, False, True, True)


@pytest.mark.parametrize("first", [0, DAYS - 10], ids=["the same epochs", "the epochs after"])
def test_file_in_another_unit_than_the_stored_values_is_refused(place, run, tmp_path, first):
    values = creep_mm(2 * DAYS)
    assert run("ingest", write_long(tmp_path / "a.csv", {"G1": values[:DAYS]}, "mm"), "--site", "north")[0] == 0
    stored = ask(place, "SELECT count(*) FROM observation")
    later = [v / 10 for v in values[first:]]
    if first:
        later, first = later[10:], DAYS
    status, _, err = run("ingest", write_long(tmp_path / "b.csv", {"G1": later}, "mm", first), "--site", "north")
    assert (status, "G1.displacement: values are 0.1 times the stored values of the" in err) == (1, True)
    assert ask(place, "SELECT count(*) FROM observation") == stored


@pytest.mark.parametrize("what", ["creep", "collapse", "step", "still", "few", "tide"])
def test_plausible_motion_raises_no_question_about_units(run, tmp_path, what):
    day = range(DAYS)
    values = {"creep": creep_mm(), "still": [0.0] * DAYS, "few": [1.0, 10.0, 100.0, 1000.0]}
    values |= {"collapse": [400.0 / (DAYS + 1 - d) for d in day], "tide": [20.0 * math.sin(d) for d in day]}
    values = (values | {"step": [v + (500.0 if d > 60 else 0.0) for d, v in enumerate(creep_mm())]})[what]
    status, out, err = run("ingest", write_long(tmp_path / "g1.csv", {"G1": values}, "mm"), "--dry-run", "--json")
    assert (status, err, out[0]["valid"]) == (0, "", len(values))


def test_units_of_readings_from_a_pipe_are_checked(monkeypatch, capsys, tmp_path):
    class Pipe(io.StringIO):
        def seekable(self) -> bool:
            return False

    text = write_long(tmp_path / "g1.csv", {"G1": creep_mm()}, "mm").read_text()
    monkeypatch.setattr("sys.stdin", Pipe(text))
    assert run_command(["ingest", "-", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["valid"] == DAYS
    monkeypatch.setattr("sys.stdin", Pipe(text.replace("_mm", "_m")))
    assert (run_command(["ingest", "-", "--dry-run"]), "is the unit right?" in capsys.readouterr().err) == (1, True)


def test_decimal_years_and_tables_without_a_header_can_be_mapped(run, tmp_path):
    rows = ["2011.0 3.1 9", "2011.5 4.2 9", "2012.5 5.0 9", "2012.9999 6.0 9"]
    table = tmp_path / "monthly.txt"
    table.write_text("\n".join(rows) + "\n")
    mapping = tmp_path / "m.toml"
    text = '[table]\ndelimiter = " "\nheader = false\n' + MAPPING.format(name="2", unit="mm")
    mapping.write_text(text.replace('column = "Date"', 'column = "1"\nformat = "year"'))
    status, out, err = run("ingest", table, "--mapping", mapping, "--dry-run", "--json")
    assert (status, err, out[0]["valid"], out[0]["from"]) == (0, "", 4, "2011-01-01T00:00:00.000000Z")
    assert out[0]["to"] == "2012-12-31T23:07:18.000000Z"
    mapping.write_text(text.replace('column = "Date"', 'column = "1"\nformat = "s"'))
    status, out, err = run("ingest", table, "--mapping", mapping, "--dry-run")
    assert (status, "looks like a decimal year, not s since 1970" in err) == (4, True)


def test_account_of_one_site_cannot_confirm_units_of_another(place, run, tmp_path, monkeypatch):
    sites = tmp_path / "configs" / "sites"
    (sites / "south.toml").write_text((sites / "north.toml").read_text().replace('"north"', '"south"'))
    with place.write() as c:
        add_account(c, "ed", "slate piano ember 26", "operator", datetime.now(UTC))
        c.execute(user_account.update().values(sites=["south"]))
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD", "slate piano ember 26")
    file = write_long(tmp_path / "g1.csv", {"G1": creep_mm()}, "m")
    lines = file.read_text().splitlines()
    file.write_text("\n".join([f"{lines[0]},site", *(f"{line},north" for line in lines[1:])]) + "\n")
    status, _, err = run("ingest", file, "--accept-units", "--by", "ed", "--site", "north")
    assert (status, "is for south only" in err) == (1, True)
    status, (summary,), _ = run("ingest", file, "--accept-units", "--by", "ed", "--site", "south", "--json")
    assert (summary["stored"], summary["reasons"]) == (0, {"unknown_site": DAYS})
    assert ask(place, "SELECT count(*) FROM observation") == [(0,)]

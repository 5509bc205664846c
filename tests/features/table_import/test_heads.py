"""A line that repeats or resembles the names ends a part: a head that says anything else than the first is refused."""

import random
from datetime import datetime, timedelta

import pytest

from monitor.errors import ConfigError
from monitor.features.forecasts.cli.curve_file import read_curve
from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.raw_table import read_raw_table
from monitor.ingest.files.lines import open_long
from monitor.ingest.files.reader import ImportOptions
from tests.data.payloads.guess_tables import read_rows, save_and_reload

BEGIN = datetime(2025, 4, 1)
NAMES = ("Time (UTC)", "Crack C1 (mm)", "Piezo P1 (kPa)", "Rain R1 (mm)")


def times(count, begin=0):
    return [f"{BEGIN + timedelta(hours=begin + k):%Y-%m-%d %H:%M}" for k in range(count)]


def draw(seed):
    """A table of several parts with the same head, its rows by name, and the order of its columns."""
    rng = random.Random(seed)
    mark = rng.choice(",;\t")
    lines, rows, order = [], [], rng.sample(NAMES, len(NAMES))
    for part in range(rng.randint(2, 4)):
        lines += [""] * (part > 0 and rng.random() < 0.3) + [mark.join(order)]
        for at in times(rng.randint(8, 20), 100 * part):
            row = dict(zip(NAMES, (at, *(f"{rng.uniform(0, 50):.2f}" for _ in NAMES[1:])), strict=True))
            rows.append(row)
            lines.append(mark.join(row[name] for name in order))
    return "\n".join([*lines, ""]), rows


def tell(path):
    found = guess(read_raw_table(path), {})
    assert not found.questions, found.questions
    rows = read_rows(path, save_and_reload(found.mapping, path))
    assert not [error for _, error in rows if error is not None]
    by_time = {}
    for row, _ in rows:
        by_time.setdefault(row["time"].strftime("%Y-%m-%d %H:%M"), {})[row["station"]] = float(row["value"])
    return by_time


def expect(rows):
    return {r[NAMES[0]]: {"C1": float(r[NAMES[1]]), "P1": float(r[NAMES[2]]), "R1": float(r[NAMES[3]])} for r in rows}


@pytest.mark.parametrize("seed", range(10))
def test_each_part_with_the_same_head_is_read(tmp_path, seed):
    text, rows = draw(seed)
    path = tmp_path / "f.csv"
    path.write_text(text)
    assert tell(path) == expect(rows)


@pytest.mark.parametrize(
    "head",
    [
        "Time (UTC),Crack C1 (cm),Piezo P1 (kPa),Rain R1 (mm)",  # another unit
        "Time (CET),Crack C1 (mm),Piezo P1 (kPa),Rain R1 (mm)",  # another zone
        "Time (UTC),Crack C2 (mm),Piezo P1 (kPa),Rain R1 (mm)",  # another instrument
        "Time (UTC),Crack C1 (mm),Piezo P1 (kPa)",
        "Time (UTC),Piezo P1 (kPa),Crack C1 (mm),Rain R1 (mm)",  # another order
        "Time (UTC),Crack C1 (mm),Piezo P1 (kPa),Rain R1 (mm),Tilt T1 (mrad)",
        "Zeit,Riss,Porendruck,Regen",  # not one word of the first
        "# exported from station B\n" + ",".join(NAMES),
    ],
)
def test_a_part_with_another_head_is_refused_with_its_line(tmp_path, head):
    rows = [f"{at},{k}.5,2{k % 7}.1,0.{k * 3 % 5}" for k, at in enumerate(times(20))]
    (tmp_path / "f.csv").write_text("\n".join([",".join(NAMES), *rows, head, *rows, ""]))
    with pytest.raises(ConfigError, match="line 22 begins another part of the file"):
        guess(read_raw_table(tmp_path / "f.csv"), {})


TOA5 = (
    '"TOA5","S1","CR300","77","OS","CPU:{program}","1","T"\n"TIMESTAMP","RECORD","{names[0]}","{names[1]}"\n'
    '"TS","RN","{units[0]}","{units[1]}"\n"","","Avg","Avg"\n'
)


def lay_logger(path, names, units, values):
    first = TOA5.format(program="a", names=("Crack_mm", "Pore_kPa"), units=("mm", "kPa"))
    lines = [f'"{at}:00",{k},{k}.5,2{k % 7}.1' for k, at in enumerate(times(20))]
    second = TOA5.format(program="b", names=names, units=units)
    lines += [second.rstrip("\n"), *(f'"{at}:00",{k},{values(k)}' for k, at in enumerate(times(20, 100)))]
    path.write_text(first + "\n".join([*lines, ""]))


def test_a_logger_with_a_new_program_is_refused_where_its_head_says_anything_else(tmp_path):
    path = tmp_path / "T.dat"
    lay_logger(path, ("Crack_mm", "Pore_kPa"), ("mm", "kPa"), lambda k: f"{k}.25,3{k % 7}.1")
    found = guess(read_raw_table(path), {"zone": "UTC"})
    assert len([row for row, error in read_rows(path, found.mapping) if error is None]) == 80
    lay_logger(path, ("Crack_mm", "Pore_kPa"), ("cm", "kPa"), lambda k: f"{k}.25,3{k % 7}.1")
    with pytest.raises(ConfigError, match=r"line 27 .* its head says 'TS RN cm kPa'"):
        guess(read_raw_table(path), {"zone": "UTC"})
    lay_logger(path, ("Pore_kPa", "Crack_mm"), ("kPa", "mm"), lambda k: f"3{k % 7}.1,{k}.25")
    with pytest.raises(ConfigError, match="in another order"):
        guess(read_raw_table(path), {"zone": "UTC"})


def test_marks_of_byte_order_and_words_at_the_end_are_no_head(tmp_path):
    parts = [
        [",".join(NAMES), *(f"{at},{k}.5,2{k % 7}.1,0.{k * 3 % 5}" for k, at in enumerate(times(20, begin)))]
        for begin in (0, 100)
    ]
    (tmp_path / "f.csv").write_text("".join("\ufeff" + "\n".join([*part, ""]) for part in parts))
    assert len(tell(tmp_path / "f.csv")) == 40
    head = f"# written on 2025-04-{{}}\n{','.join(NAMES)}"
    lines = [head.format("02"), *parts[0][1:], head.format("09"), *parts[1][1:], ",".join(NAMES), ""]
    (tmp_path / "f.csv").write_text("\n".join(lines))
    assert len(tell(tmp_path / "f.csv")) == 40, "the same head once more, with another day above it"
    rows = [f"{at},{k}.5,2{k % 7}.1,0.{k * 3 % 5}" for k, at in enumerate(times(20))]
    (tmp_path / "f.csv").write_text("\n".join([",".join(NAMES), *rows, "checked,by,the,office", ""]))
    found = guess(read_raw_table(tmp_path / "f.csv"), {})
    errors = [error.code for _, error in read_rows(tmp_path / "f.csv", found.mapping) if error is not None]
    assert errors == ["bad_time"] * 3


def test_rows_before_the_names_are_counted_and_wait_in_the_quarantine(tmp_path):
    early = [f"{at},{k}.5" for k, at in enumerate(times(12))]
    rows = [f"{at},{k}.5,2{k % 7}.1,0.{k * 3 % 5}" for k, at in enumerate(times(60, 100))]
    (tmp_path / "f.csv").write_text("\n".join(["Time,Crack", *early, ",".join(NAMES), *rows, ""]))
    found = guess(read_raw_table(tmp_path / "f.csv"), {})
    assert (
        "left out",
        "12 rows of data are above the headings of the columns: they go to the quarantine",
    ) in found.facts
    read = read_rows(tmp_path / "f.csv", found.mapping)
    assert [error.code for _, error in read if error is not None] == ["before_names"] * 12
    assert sum(error is None for _, error in read) == 180


def test_heads_of_a_long_table_and_a_curve_are_seen_too(tmp_path):
    long, head = tmp_path / "long.csv", "time,station,quantity,value"
    first = [f"{at.replace(' ', 'T')}Z,C1,crack_opening_mm,{k}.5" for k, at in enumerate(times(9))]
    long.write_text("\n".join([head, *first, head, *first[:2], ""]))
    with open_long(long, ImportOptions()) as lines:
        assert len([row for line in lines for row, error in line.rows if error is None]) == 11
    curve = tmp_path / "curve.csv"
    lines = [f"{at.replace(' ', 'T')}Z,{k}.5,9" for k, at in enumerate(times(9))]
    curve.write_text("\n".join(["time,disp,battery", *lines, "time,battery,disp", *lines, ""]))
    with pytest.raises(ConfigError, match="in another order"):
        read_curve(curve, "displacement")


def test_what_a_database_writes_above_the_names_is_no_name(tmp_path):
    path = tmp_path / "query.csv"
    notes = "#group,false,false,true,false,false,true\n#datatype,string,long,dateTime:RFC3339,double,string,string\n"
    head = f"{notes}#default,_result,,,,,\n,result,table,_time,_value,_field,sensor\n"
    parts = [
        "".join(f",,{n},{at.replace(' ', 'T')}:00Z,{n}.{k:02d},{field},X{n}\n" for k, at in enumerate(times(20)))
        for n, field in enumerate(("crack_opening_mm", "pore_pressure_kpa"))
    ]
    failed = "\n#datatype,string,string\n#group,true,true\n#default,,\n,error,reference\n,query ended early,\n"
    path.write_text(head + parts[0] + "\n" + head + parts[1] + failed)
    found = guess(read_raw_table(path), {})
    assert not found.questions
    rows = read_rows(path, found.mapping)
    told = {(row["station"], row["quantity"], row["unit"]) for row, error in rows if error is None}
    assert told == {("X0", "crack_opening", "mm"), ("X1", "pore_pressure", "kPa")}
    assert [error.code for _, error in rows if error] == ["no_time"] * 2, "what says that the query failed is kept"
    assert len(rows) == 42


@pytest.mark.parametrize("names", ["Time;0.5;1.0;1.5", "Time;1;2;10", "Datum;-3,5;-2,5;-1"])
def test_names_that_are_rising_numbers_are_names(tmp_path, names):
    path = tmp_path / "incl.csv"
    mark = "," if "," in names else "."
    rows = [f"{at};{k}{mark}1;{k}{mark}2;{k}{mark}3" for k, at in enumerate(times(20))]
    path.write_text("\n".join([names, *rows, ""]))
    look = read_raw_table(path)
    assert (look.keys, look.rows) == (tuple(names.split(";")), 20)
    found = guess(look, {"zone": "UTC", "quantity": "displacement", "unit": "mm"})
    assert len({s.station for s in found.sensors}) == 3


@pytest.mark.parametrize("early", [1, 3, 25])
@pytest.mark.parametrize("units", ["", "UTC;mm;degC"])
def test_rows_before_the_names_of_a_file_that_begins_in_the_middle_are_counted(tmp_path, early, units):
    path = tmp_path / "f.csv"
    rows = [f"2026-01-{k:02d} 06:00;{k}.5;{k % 4}" for k in range(1, 29)]
    names = "Time;Crack 1;Temp" if units else "Time;Crack 1 (mm);Temp (degC)"
    path.write_text("\n".join([*rows[:early], names, *filter(None, [units]), *rows[early:]]) + "\n")
    look = read_raw_table(path)
    assert [name.split(" (")[0] for name in look.keys] == ["Time", "Crack 1", "Temp"]
    assert (look.early, look.rows) == (early, len(rows) - early)
    assert guess(look, {"zone": "UTC"}).questions == ()

"""`slopeward forecast failure-time` reads curves of several forms, and says in one line why it cannot read one."""

import json
import math
import random
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from monitor.cli.main import run_command
from monitor.errors import PayloadError
from monitor.features.forecasts.cli.curve_file import read_curve

DAYS = [f"2026-01-{d:02}" for d in range(1, 29)]


def write(folder: Path, header: str, rows: list[str], name: str = "curve.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_command_prints_a_line_with_all_keys_per_reading(tmp_path, capsys):
    days = [f"{(100 / (60 - i)):.4f}" for i in range(58)]
    rows = [f"2026-{1 + i // 28:02}-{1 + i % 28:02},{sum(map(float, days[:i])):.4f}" for i in range(58)]
    path = write(tmp_path, "date,disp", rows)
    assert run_command(["forecast", "failure-time", str(path), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 58
    promised = {"time", "onset", "window_from", "window_mid", "window_to", "trusted", "reasons"}
    assert promised <= set(lines[0])
    for line in lines:
        assert line["window_from"] is None or line["time"] <= line["window_from"] <= line["window_to"]
        assert line["trusted"] or line["reasons"]
    assert run_command(["forecast", "failure-time", "--json", str(path)]) == 0  # options may come first
    assert run_command(["forecast", "failure-time", "watch", str(path)]) == 0


@pytest.mark.parametrize(
    ("header", "row", "scale"),
    [
        ("date,disp", "{t},{v}", 1.0),
        ("Timestamp;Displacement (cm)", "{t}T00:00:00Z;{v}", 10.0),
        ("time\tbattery\tdisplacement_m", "{t}T01:00:00+01:00\t12\t{v}", 1000.0),
        ("station,time,quantity,value", "A,{t}T00:00:00Z,displacement_mm,{v}", 1.0),
        ("Date,Displacement A", "{s},{v}", 1.0),
    ],
)
def test_headers_units_and_separators(tmp_path: Path, header: str, row: str, scale: float) -> None:
    rows = [row.format(t=t, s=t.replace("-0", "/").replace("-", "/"), v=i) for i, t in enumerate(DAYS)]
    curve = read_curve(write(tmp_path, header, rows), "displacement")
    assert curve.values == [i * scale for i in range(28)]
    assert curve.times_s[1] - curve.times_s[0] == 86400.0


@pytest.mark.parametrize("step", [0.25, 37.5, 1234.5])
@pytest.mark.parametrize(
    ("parts", "cell"),
    [
        (",", "{:.2f}"),
        (";", "{:.3f}"),
        (";", "decimal comma"),
        ("\t", "decimal comma"),
        (",", '"{:,.2f}"'),
        (";", "{:,.2f}"),
        (",", "decimal comma"),
    ],
)
def test_separator_in_a_number_is_read_or_refused(tmp_path, step, parts, cell):
    spelled = [
        f"{k * step:.2f}".replace(".", ",") if cell == "decimal comma" else cell.format(k * step) for k in range(28)
    ]
    if cell == "decimal comma" and parts == ",":
        spelled = [f'"{one}"' for one in spelled]
    path = write(tmp_path, f"date{parts}disp", [f"{t}{parts}{v}" for t, v in zip(DAYS, spelled, strict=True)])
    if (parts, cell) == (",", "decimal comma") or any(one.strip('"').count(",") and "." in one for one in spelled):
        with pytest.raises(PayloadError, match="mark of thousands or of decimals"):
            read_curve(path, "displacement")
    else:
        assert read_curve(path, "displacement").values == pytest.approx([k * step for k in range(28)])


def test_velocity_is_integrated_and_unusable_rows_are_noted(tmp_path: Path) -> None:
    rows = [f"{t},{2.0}" for t in DAYS]
    rows[5] = f"{DAYS[5]},nan"
    rows += [f"{DAYS[3]},2.0", ""]
    curve = read_curve(write(tmp_path, "time,velocity_mm_per_day", rows), "velocity")
    assert curve.values[-1] == pytest.approx(2.0 * 27)
    assert any("1 rows without a number" in n for n in curve.notes)
    assert any("repeat a time" in n for n in curve.notes)


@pytest.mark.parametrize(
    ("header", "rows", "says"),
    [
        ("when,disp", ["2026-01-01,1"], "no time column"),
        ("time,disp", [f"{t},1" for t in DAYS[:5]], "8 are the least"),
        ("time,disp", ["yesterday,1"] * 9, "is not of the form"),
        ("time,a,b", [f"{t},1,2" for t in DAYS], "choose one by --value"),
        ("time,station,quantity,value", [f"{t},{s},displacement_mm,1" for t in DAYS for s in "AB"], "--station"),
        ("time,station,quantity,value", [f"{t},A,rain_mm,1" for t in DAYS], "--value"),
        ("alone", ["1"], "holds no table"),
    ],
)
def test_unreadable_file_is_reported_in_one_line(tmp_path, capsys, header, rows, says):
    assert run_command(["forecast", "failure-time", str(write(tmp_path, header, rows))]) == 1
    err = capsys.readouterr().err
    assert says in err
    assert len(err.splitlines()) == 1


def test_error_names_the_option_that_selects_a_curve(tmp_path: Path) -> None:
    path = write(tmp_path, "time,disp", [f"{t},1" for t in DAYS])
    with pytest.raises(PayloadError, match="leave --station away"):
        read_curve(path, "displacement", station="G1")
    path = write(tmp_path, "time,disp,note", [f"{t},1,calm" for t in DAYS])
    with pytest.raises(PayloadError, match=r"no row of column 'note' holds a number; choose another by --value: disp$"):
        read_curve(path, "displacement", value="note")
    long = write(tmp_path, "time,station,quantity,value", [f"{t},G1,displacement_mm,1" for t in DAYS], "long.csv")
    with pytest.raises(PayloadError, match="holds no quantity 'value', choose one by --value: displacement_mm"):
        read_curve(long, "displacement", value="value")
    with pytest.raises(PayloadError, match="No such file"):
        read_curve(tmp_path / "none.csv", "displacement")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(PayloadError, match="UTF-8"):
        read_curve(tmp_path / "b.csv", "displacement")


@pytest.mark.parametrize("words", ["{} --column colour", "{} --interval soon", "{} --interval 0s"])
def test_wrong_option_exits_with_two_and_is_named(tmp_path, capsys, words):
    path = write(tmp_path, "time,disp", [f"{t},1" for t in DAYS])
    assert run_command(["forecast", "failure-time", *words.format(path).split()]) == 2
    assert words.split()[1].lstrip("-") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "wrong"),
    [("--interval", "0s"), ("--noise", "nan"), ("--noise", "-1"), ("--noise", "loud"), ("--alpha", "1")],
)
def test_wrong_option_of_the_benchmark_is_named(option, wrong, capsys):
    assert run_command(["forecast", "failure-time", "bench", "--seeds", "1", f"{option}={wrong}"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert option in told.err


def collapse(sign: float, noise: float = 0.2, days: int = 78) -> list[str]:
    chance = random.Random(3)
    begin, fails = datetime(2024, 2, 10), 80.0
    moved = [700 * math.log(fails / (fails - k)) + chance.gauss(0, noise) for k in range(days)]
    return [f"{begin + timedelta(days=k):%Y-%m-%d},{sign * mm:.3f}" for k, mm in enumerate(moved)]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_both_directions_are_tried_and_the_chosen_one_is_printed(tmp_path, capsys, sign):
    path = write(tmp_path, "date,displacement_mm", collapse(sign))
    assert run_command(["forecast", "failure-time", str(path), "--json"]) == 0
    answer = capsys.readouterr()
    lines = [json.loads(line) for line in answer.out.splitlines()]
    assert {line["backwards"] for line in lines} == {sign < 0}
    assert any(line["trusted"] for line in lines)
    assert f"values that {'fall' if sign < 0 else 'rise'} along the movement" in answer.err
    told = ["--backwards"] if sign < 0 else ["--forwards"]
    assert run_command(["forecast", "failure-time", str(path), "--json", *told]) == 0
    answer = capsys.readouterr()
    assert [json.loads(line) for line in answer.out.splitlines()] == lines
    assert "along the movement" not in answer.err
    other = ["--forwards"] if sign < 0 else ["--backwards"]
    assert run_command(["forecast", "failure-time", str(path), *other]) == 0
    assert "no window at any instant" in capsys.readouterr().err


def test_day_and_month_exchanged_in_a_curve_are_a_warning(tmp_path: Path) -> None:
    rows = collapse(1.0)
    changed = [f"2024-{r[8:10]}-{r[5:7]}{r[10:]}" if int(r[8:10]) <= 12 else r for r in rows]
    curve = read_curve(write(tmp_path, "date,displacement_mm", changed), "displacement")
    assert any(note.startswith("WARNING") and "day and month" in note for note in curve.notes)
    newest_first = read_curve(write(tmp_path, "date,displacement_mm", rows[::-1]), "displacement")
    assert "rows were not in order of time" in newest_first.notes
    chance = random.Random(2)
    noise = [f"{row[:11]}{chance.gauss(0, 1):.3f}" for row in changed]
    assert not any(
        note.startswith("WARNING")
        for note in read_curve(write(tmp_path, "date,displacement_mm", noise), "displacement").notes
    )
    assert not read_curve(write(tmp_path, "date,displacement_mm", rows), "displacement").notes[1:]


@pytest.mark.parametrize(("unit", "scale"), [("mm", 1.0), ("cm", 10.0), ("m", 1000.0)])
@pytest.mark.parametrize(
    ("per", "times"), [("/day", 1.0), ("_per_day", 1.0), ("_day", 1.0), ("/h", 24.0), ("/a", 1 / 365.25)]
)
@pytest.mark.parametrize("name", ["velocity_{}", "speed ({})", "rate [{}]"])
def test_velocity_is_read_in_its_unit_and_refused_as_displacement(tmp_path, name, unit, scale, per, times):
    path = write(tmp_path, "date," + name.format(unit + per), [f"{t},2.0" for t in DAYS])
    assert read_curve(path, "velocity").values[1] == pytest.approx(2.0 * scale * times)
    with pytest.raises(PayloadError, match="--column velocity"):
        read_curve(path, "displacement")


@pytest.mark.parametrize("name", ["inverse_velocity_d_mm", "1/v", "Inverse Velocity (h/mm)", "days/mm"])
def test_inverse_velocity_is_refused(tmp_path, name):
    for column in ("displacement", "velocity"):
        with pytest.raises(PayloadError, match="inverse velocity"):
            read_curve(write(tmp_path, "date," + name, [f"{t},0.5" for t in DAYS]), column)


@pytest.mark.parametrize("unit", ["mm", "cm", "m"])
def test_rows_of_a_long_table_are_read_in_their_unit(tmp_path, unit):
    rows = [f"{t}T00:00:00Z,A,displacement,{k / 7},{unit}" for k, t in enumerate(DAYS)]
    found = read_curve(write(tmp_path, "time,station,quantity,value,unit", rows), "displacement")
    assert found.values == pytest.approx([k / 7 * {"mm": 1.0, "cm": 10.0, "m": 1000.0}[unit] for k in range(len(DAYS))])
    for other, line in (("in", "in several units"), ("mm/day", "")):
        others = [row.rpartition(",")[0] + "," + other for row in rows]
        changed = [*rows[:-1], others[-1]] if line else others
        with pytest.raises(PayloadError, match=line or "--column velocity"):
            read_curve(write(tmp_path, "time,station,quantity,value,unit", changed), "displacement")


@pytest.mark.parametrize("name", ["increment_mm", "Displacement increment (mm)", "displacement_incr_cm"])
def test_increments_are_refused_as_displacement(tmp_path, name):
    path = write(tmp_path, "date," + name, [f"{t},0.5" for t in DAYS])
    with pytest.raises(PayloadError, match="what came each time"):
        read_curve(path, "displacement")
    assert len(read_curve(path, "displacement", value=name).values) == len(DAYS)  # who names it means it


@pytest.mark.parametrize("fill", [-9999, 9999.0, -99.99, 7999, 65535, 1e37])
@pytest.mark.parametrize("header", ["date,disp_mm", "date,disp_m"])
def test_fill_values_are_left_out_and_noted(tmp_path, fill, header):
    values = [0.1 * k for k in range(len(DAYS))]
    whole = read_curve(write(tmp_path, header, [f"{t},{v}" for t, v in zip(DAYS, values, strict=True)]), "displacement")
    values[7] = values[19] = fill
    holed = read_curve(write(tmp_path, header, [f"{t},{v}" for t, v in zip(DAYS, values, strict=True)]), "displacement")
    assert holed.values == [v for k, v in enumerate(whole.values) if k not in {7, 19}]
    assert any(note.startswith("2 rows with") for note in holed.notes)
    assert not any("stands for" in note for note in whole.notes)

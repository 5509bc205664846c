"""Habits of engineers that `--guess` understands without a question that the file has answered itself."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from monitor.errors import ConfigError
from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.raw_table import read_raw_table
from monitor.features.table_import.guess.toml_writer import format_stations
from tests.data.payloads.guess_tables import read_rows, read_valid_rows, save_and_reload, write_table

BEGIN = datetime(2025, 3, 29, tzinfo=UTC)


def lay(path, head, line, count=60, step_h=2.0):
    """A table of so many rows; `line` makes one of its instant and number."""
    rows = (line(BEGIN + timedelta(hours=step_h * k), k) for k in range(count))
    return read_raw_table(write_table(path, "\n".join(head), rows))


def first_and_last(look, found):
    rows = read_valid_rows(look.path, found.mapping)
    return rows[0]["time"].astimezone(UTC), rows[-1]["time"].astimezone(UTC), len(rows)


def test_a_zone_below_the_names_is_not_asked_for(tmp_path):
    look = lay(tmp_path / "a.csv", ["Zeitpunkt;Riss 1", "[MEZ];[mm]"], lambda at, k: f"{at:%d.%m.%Y %H:%M};{k},5")
    found = guess(look, {})
    assert not found.questions
    assert found.mapping.time.zone.key == "Etc/GMT-1"


@pytest.mark.parametrize("blank", [" ", ""])
def test_summer_and_winter_time_named_row_by_row_are_offsets(tmp_path, blank):
    def spell(at, k):
        local = at.astimezone(ZoneInfo("Europe/Amsterdam"))
        return f"{local:%d-%m-%Y %H:%M}{blank}{local.tzname()};{k}.25"

    look = lay(tmp_path / "a.csv", ["Datum;Scheurmeter 1 (mm)"], spell)
    found = guess(look, {})
    assert not found.questions
    assert first_and_last(look, found) == (BEGIN, BEGIN + timedelta(hours=118), 60)


def test_a_line_of_units_is_of_all_columns(tmp_path):
    head = ["# total station", "# units: m", "Time (UTC),PR1_E,PR1_N,PR1_H"]
    look = lay(tmp_path / "a.csv", head, lambda at, k: f"{at:%Y-%m-%d %H:%M},{k}.1,{k}.2,{k}.3")
    found = guess(look, {})
    assert not found.questions
    assert {c.unit for c in found.mapping.columns} == {"m"}
    look = lay(tmp_path / "b.csv", head[2:], lambda at, k: f"{at:%Y-%m-%d %H:%M},{k}.1,{k}.2,{k}.3")
    assert [q.key for q in guess(look, {}).questions] == ["unit:displacement"], "one question for the three parts"
    assert not guess(look, {"unit:displacement": "m"}).questions


def test_each_column_has_its_own_interval(tmp_path):
    head = ["Time (UTC),Rain (mm),Crack 1 (mm)"]
    seldom = lambda at, k: f"{at:%Y-%m-%d %H:%M},{k % 3}.0,{f'{k}.5' if k % 6 == 0 else ''}"  # noqa: E731
    found = guess(lay(tmp_path / "a.csv", head, seldom), {})
    assert {s.quantity: s.interval_s for s in found.sensors} == {"rain": 7200.0, "crack_opening": 43200.0}
    assert ("sampling", "every 12 h of Crack 1 (mm)") in found.facts


def test_the_number_of_a_row_is_no_measurement(tmp_path):
    look = lay(tmp_path / "a.csv", ["S.No,Time (UTC),Crack 1 (mm)"], lambda at, k: f"{k},{at:%Y-%m-%d %H:%M},{k}.5")
    assert not guess(look, {}).questions


HOURLY = [datetime(2025, 2, 3) + timedelta(hours=6 * k) for k in range(60)]
ITALIAN_DAYS = ("Lun", "Mar", "Mer", "Gio", "Ven", "Sab", "Dom")


@pytest.mark.parametrize(
    ("head", "spell", "said"),
    [
        ("MJD", lambda at: (at - datetime(1858, 11, 17)) / timedelta(days=1), "mjd"),
        ("datenum", lambda at: 367 + (at - datetime(1, 1, 1)) / timedelta(days=1), "datenum"),
        ("Time", lambda at: f"{at:%y/%m/%d %H:%M}", "%y/%m/%d %H:%M"),
        ("Time", lambda at: f"{at:%Y%m%dT%H%M%S}", "iso"),
        ("Time", lambda at: f"{at:%Y%m%d_%H%M%S}", "iso"),
        ("Time", lambda at: f"{at:%a %b %d %H:%M:%S %Y}", "%a %b %d %H:%M:%S %Y"),
        ("Data", lambda at: f"{ITALIAN_DAYS[at.weekday()]} {at:%d.%m.%Y %H:%M}", "%a %d.%m.%Y %H:%M"),
        ("Date", lambda at: f"{at:%A} {at:%d/%m/%Y %H:%M}", "%a %d/%m/%Y %H:%M"),
    ],
)
def test_times_of_more_habits_are_read_and_nothing_is_asked(tmp_path, head, spell, said):
    path = write_table(
        tmp_path / "f.csv", f"{head};Crack 1 [mm]", (f"{spell(at)};{k}.5" for k, at in enumerate(HOURLY))
    )
    answers = {"zone": "UTC"}
    if "%y" in said:
        assert [q.key for q in guess(read_raw_table(path), answers).questions] == ["times"], (
            "two digits leave the century open"
        )
        answers["times"] = "as they are"
    found = guess(read_raw_table(path), answers)
    assert (found.questions, found.mapping.time.format) == ((), said)
    assert [
        row["time"].replace(tzinfo=None) for row, _ in read_rows(path, save_and_reload(found.mapping, path))
    ] == HOURLY


def test_a_record_with_the_newest_first_tells_day_from_month(tmp_path):
    path = tmp_path / "f.csv"
    rows = [f"{at:%d/%m/%Y %H:%M};{k}.5\n" for k, at in enumerate(HOURLY[:28])]
    path.write_text("Date;Crack 1 [mm]\n" + "".join(reversed(rows)))
    found = guess(read_raw_table(path), {"zone": "UTC"})
    assert (found.questions, found.mapping.time.format) == ((), "%d/%m/%Y %H:%M")


@pytest.mark.parametrize(("head", "first"), [("Hour", 0), ("Stunde", 1), ("Hour", 1)])
def test_a_date_and_the_number_of_the_hour_are_one_time(tmp_path, head, first):
    hours = [datetime(2025, 2, 13, first) + timedelta(hours=k) for k in range(96)]
    cells = [(at - timedelta(hours=first), (at - timedelta(hours=first)).hour + first) for at in hours]
    path = write_table(
        tmp_path / "f.csv",
        f"Date;{head};Crack 1 (mm)",
        (f"{day:%d.%m.%Y};{hour};{k}.5" for k, (day, hour) in enumerate(cells)),
    )
    found = guess(read_raw_table(path), {"zone": "UTC"})
    assert found.questions == ()
    assert [row["time"].replace(tzinfo=None) for row in read_valid_rows(path, found.mapping)] == hours


@pytest.mark.parametrize(
    ("head", "line", "column"),
    [
        ("Install date;Time;Crack 1 (mm)", lambda at, k: f"2020-01-01;{at:%Y-%m-%d %H:%M};{k}.5", "Time"),
        (
            "Begin;End;Rain [mm]",
            lambda at, k: f"{at:%Y-%m-%d %H:%M};{at + timedelta(hours=6):%Y-%m-%d %H:%M};{k % 3}.5",
            "End",
        ),
    ],
    ids=["a day that never changes", "the begin of a sum"],
)
def test_of_two_times_that_of_the_reading_counts(tmp_path, head, line, column):
    assert guess(lay(tmp_path / "f.csv", [head], line, step_h=6.0), {"zone": "UTC"}).mapping.time.column == column


@pytest.mark.parametrize(
    ("head", "cells", "count"),
    [
        ("Time;R1 rain (mm);Rain 24h (mm)", lambda k: f"{k % 5}.2;{k % 7}.1", 1),
        ("Time;R1 rain (mm);Rain 6 h (mm)", lambda k: f"{k % 5}.2;{k % 7}.1", 2),
        ("Time;Crack 1 (mm);Crack 1 (in)", lambda k: f"{k / 2};{k / 2 / 25.4:.4f}", 1),
        ("Time;Crack 1 (mm);Crack 1 (in)", lambda k: f"{k / 2};{k % 7 / 25.4:.4f}", 2),
    ],
    ids=["rain of a day in rows of hours", "rain of each row", "the same in another unit", "another in that unit"],
)
def test_a_column_that_repeats_another_is_no_second_instrument(tmp_path, head, cells, count):
    look = lay(tmp_path / "f.csv", [head], lambda at, k: f"{at:%Y-%m-%d %H:%M};{cells(k)}", step_h=6.0)
    assert len(guess(look, {"zone": "UTC"}).sensors) == count


def test_a_time_that_cannot_be_read_is_shown(tmp_path):
    path = write_table(
        tmp_path / "f.csv", "Datum;Riss 1 [mm]", (f"{at:%d.%m. %H:%M};{k}.5" for k, at in enumerate(HOURLY))
    )
    with pytest.raises(ConfigError, match=r"the cells of 'Datum' are like '03\.02\. 00:00'"):
        guess(read_raw_table(path), {})


def test_units_above_the_names_count_column_by_column(tmp_path):
    path = tmp_path / "f.csv"
    head = "Location:\nBH-2\nLEVEL\nUNIT: m\nOffset: 0.0 m\nTEMPERATURE\nUNIT: °C\nDate,Time,ms,LEVEL,TEMPERATURE\n"
    path.write_text(head + "".join(f"{at:%Y/%m/%d},{at:%H:%M:%S},0,{k}.5,{k % 7}.1\n" for k, at in enumerate(HOURLY)))
    found = guess(read_raw_table(path), {"zone": "UTC", "quantity:m": "water_level"})
    assert [(s.quantity, s.unit) for s in found.sensors] == [("water_level", "m"), ("temperature", "degC")]


def test_a_line_of_few_units_below_the_names_hides_no_name(tmp_path):
    path = write_table(
        tmp_path / "f.txt",
        "DATE      TIME  CRACK1  CRACK2  TEMP\n                  MM      MM     C",
        (f"{at:%Y%m%d}  {at:%H%M}{k + 0.5:8.2f}{-100 - k:8.2f}{k % 9:6.1f}" for k, at in enumerate(HOURLY)),
    )
    found = guess(read_raw_table(path), {"zone": "UTC", "unit:crack_opening": "mm", "unit:temperature": "degC"})
    assert {f"{s.station}.{s.quantity}" for s in found.sensors} == {
        "CRACK1.crack_opening",
        "CRACK2.crack_opening",
        "f.temperature",
    }
    assert [row["time"].replace(tzinfo=None) for row in read_valid_rows(path, found.mapping)[::3]] == HOURLY


def save_book(path, **sheets):
    book = pytest.importorskip("openpyxl").Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    return book


@pytest.mark.soak
def test_sheets_that_are_no_tables_are_passed_over_and_of_several_tables_a_person_says_which(tmp_path):
    path = tmp_path / "book.xlsx"
    tables = {
        year: [["Date", "Movement [mm]"], *([at.replace(year=year), k + 0.5] for k, at in enumerate(HOURLY))]
        for year in (2024, 2025)
    }
    save_book(path, Info=[["Project", "Slope"]], **{str(y): rows for y, rows in tables.items()}).save(path)
    found = guess(read_raw_table(path), {"zone": "UTC"})
    assert [(q.key, q.choices) for q in found.questions] == [("sheet", ("2024", "2025", "all of them"))]
    for said, station, years in (("2025", "2025", {2025}), ("all of them", "book", {2024, 2025})):
        whole = guess(read_raw_table(path, said), {"zone": "UTC", "sheet": said})
        assert [s.station for s in whole.sensors] == [station], "two sheets of one form may be two instruments"
        rows = read_valid_rows(path, save_and_reload(whole.mapping, path))
        assert ({row["time"].year for row in rows}, len(rows)) == (years, 60 * len(years))
    with pytest.raises(ConfigError, match="expected one of 2024, 2025"):
        read_raw_table(path, "2023")


def test_date_and_clock_as_cells_of_a_workbook_are_one_time(tmp_path):
    path = tmp_path / "book.xlsx"
    rows = [["Date", "Time", "Crack 1 [mm]"], *([at.date(), at.time(), k + 0.5] for k, at in enumerate(HOURLY))]
    save_book(path, Data=rows).save(path)
    rows = read_valid_rows(path, guess(read_raw_table(path), {"zone": "UTC"}).mapping)
    assert [row["time"].replace(tzinfo=None) for row in rows] == HOURLY


def test_a_share_that_is_shown_as_a_percentage_is_the_percentage(tmp_path):
    path = tmp_path / "book.xlsx"
    rows = [["Date", "Soil moisture [%]"], *([at, 0.3 + k / 1000] for k, at in enumerate(HOURLY))]
    book = save_book(path, Data=rows)
    for (cell,) in book["Data"].iter_rows(min_row=2, min_col=2, max_col=2):
        cell.number_format = "0.0%"
    book.save(path)
    mapping = guess(read_raw_table(path), {"zone": "UTC"}).mapping
    assert [float(row["value"]) for row in read_valid_rows(path, mapping)][:2] == [30.0, 30.1]


def test_a_column_of_dates_and_texts_is_refused(tmp_path):
    path = tmp_path / "book.xlsx"
    days = [datetime(2025, 2, 3) + timedelta(days=k) for k in range(40)]
    cells = [at.replace(day=at.month, month=at.day) if at.day <= 12 else f"{at:%d/%m/%Y}" for at in days]
    save_book(path, Data=[["Date", "Crack 1 [mm]"], *([at, k + 0.5] for k, at in enumerate(cells))]).save(path)
    with pytest.raises(ConfigError, match="mixes two forms of a time"):
        guess(read_raw_table(path), {"zone": "UTC"})


@pytest.mark.parametrize(
    ("head", "sign", "quantity", "first"),
    [
        ("Depth to water BH-1 (m)", 1, "groundwater_level", -1.5),
        ("Soggiacenza falda (m)", 1, "groundwater_level", -1.5),
        ("Grundwasser Flurabstand (m)", 1, "groundwater_level", -1.5),
        ("Groundwater level BH-1 (m bgl)", 1, "groundwater_level", -1.5),
        ("Groundwater level BH-1 (m bgl)", -1, "groundwater_level", -1.5),
        ("Groundwater level BH-1 (m)", 1, "groundwater_level", 1.5),
        ("Water level, profondità 12 m (m)", 1, "water_level", 1.5),
        ("Setzung 3 (mm)", 1, "displacement_up", -1.5),
        ("Setzung 3 (mm)", -1, "displacement_up", -1.5),
    ],
)
def test_depths_and_settlements_count_downward_unless_they_are_written_so(tmp_path, head, sign, quantity, first):
    path = write_table(
        tmp_path / "f.csv", f"Date;{head}", (f"{at:%Y-%m-%d %H:%M};{sign * (k + 1.5)}" for k, at in enumerate(HOURLY))
    )
    found = guess(read_raw_table(path), {"zone": "UTC"})
    assert found.questions == ()
    row = read_valid_rows(path, save_and_reload(found.mapping, path))[0]
    assert (row["quantity"], float(row["value"])) == (quantity, first)


def test_a_settlement_of_both_signs_is_asked_about(tmp_path):
    path = write_table(
        tmp_path / "f.csv",
        "Date;Settlement S1 (mm)",
        (f"{at:%Y-%m-%d %H:%M};{(-1) ** k * 0.5}" for k, at in enumerate(HOURLY)),
    )
    assert [q.key for q in guess(read_raw_table(path), {"zone": "UTC"}).questions] == ["downward:displacement_up"]
    for said, value in (("yes", -0.5), ("no", 0.5)):
        mapping = guess(read_raw_table(path), {"zone": "UTC", "downward:displacement_up": said}).mapping
        assert float(read_valid_rows(path, mapping)[0]["value"]) == value


def test_rain_since_midnight_is_a_counter_and_rain_of_each_hour_is_none(tmp_path):
    path = tmp_path / "f.csv"
    hours = [datetime(2025, 2, 3) + timedelta(hours=k) for k in range(120)]
    for kind, told in ((lambda k: 0.2 * (k % 24 // 3), True), (lambda k: 1.2 * (k % 24 == 7), False)):
        write_table(path, "Time;Rain (mm)", (f"{at:%Y-%m-%d %H:%M};{kind(k):.1f}" for k, at in enumerate(hours)))
        sensors = guess(read_raw_table(path), {"zone": "UTC"}).sensors
        assert [s.stamp == "counter" for s in sensors] == [told]
        assert ('stamp = "counter"' in format_stations(sensors)) == told


def test_rows_of_one_instant_with_other_values_are_asked_about_and_not_taken_for_corrections(tmp_path):
    path = write_table(
        tmp_path / "f.csv",
        "Date;Depth (m);Movement (mm);Remark",
        (f"{at:%Y-%m-%d %H:%M};{depth};{k * depth / 10};fine" for k, at in enumerate(HOURLY) for depth in (0.5, 1, 2)),
    )
    (question,) = guess(read_raw_table(path), {"zone": "UTC"}).questions
    assert (question.key, question.choices) == ("rows", ("Depth (m)", "none of them"))
    for said, stations in (("Depth (m)", {"0-5", "1", "2"}), ("none of them", {"f"})):
        answers = {"zone": "UTC", "rows": said, "quantity:m": "leave out"}
        rows = read_valid_rows(path, guess(read_raw_table(path), answers).mapping)
        assert ({row["station"] for row in rows}, len(rows)) == (stations, 180)


def test_rows_that_come_twice_alike_or_seldom_differ_are_not_asked_about(tmp_path):
    path = tmp_path / "f.csv"
    rows = [f"{at:%Y-%m-%d %H:%M};{k}.5\n" for k, at in enumerate(HOURLY)]
    path.write_text("".join(["Date;Crack 1 (mm)\n", *rows, *rows[:20], f"{HOURLY[0]:%Y-%m-%d %H:%M};9.5\n"]))
    assert guess(read_raw_table(path), {"zone": "UTC"}).questions == ()


@pytest.mark.parametrize("word", ["T", "t", "trace", "Tr."])
def test_a_trace_of_rain_is_nothing_and_no_gap(tmp_path, word):
    path = tmp_path / "f.csv"
    rain = [word if k % 5 == 2 else f"{0.2 * (k % 3):.1f}" for k in range(60)]
    rows = [f"{at:%Y-%m-%d %H:%M};{mm};{10 + k % 4}" for k, (at, mm) in enumerate(zip(HOURLY[:60], rain, strict=True))]
    path.write_text("\n".join(["Time;Rain (mm);Temperature (degC)", *rows]) + "\n")
    found = guess(read_raw_table(path), {"zone": "UTC"})
    assert "no measurement" not in dict(found.facts)
    told = [row["value"] for row in read_valid_rows(path, found.mapping) if row["quantity"] == "rain"]
    assert (len(told), [float(told[k]) for k in range(60) if k % 5 == 2]) == (60, [0.0] * 12)

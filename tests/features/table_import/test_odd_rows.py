"""Rows that are no readings of the instrument of the table: bad by their own word, sums, other instruments, hours."""

import random
import re
from datetime import datetime, timedelta

import pytest

from monitor.errors import ConfigError
from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.raw_table import read_raw_table
from tests.data.payloads.guess_tables import read_valid_rows, save_and_reload, write_table
from tests.fixtures.soak import in_soak

BEGIN = datetime(2025, 2, 3)
UTC = {"zone": "UTC"}
HOURS = [BEGIN + timedelta(hours=k) for k in range(96)]


def lay(path, head, rows):
    return read_raw_table(write_table(path, head, rows))


def lines(spell=lambda k: f"{k % 7}.5", instants=HOURS):
    return [f"{at:%Y-%m-%d %H:%M};{spell(k)}" for k, at in enumerate(instants)]


def list_keys(table):
    return [question.key for question in guess(table, UTC).questions]


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize(
    ("head", "good", "bad"),
    [
        ("Quality", "Good", "Bad"),
        ("Status", "OK", "FAULT"),
        ("Crack 1 flag", "valid", "invalid"),
        ("Qualität", "gut", "gestört"),
        ("Crack 1 Quality", "192", "0"),
        ("Flag", "", "error"),
        ("Valid", "true", "false"),
        ("Valid", "1", "0"),
        ("Fix", "FIX", "SINGLE"),
        ("Q", "1", "5"),
        ("Status", "no error", "rate error"),
        ("Type", "observed", "forecast"),
        ("Source", "measured", "simulated by model"),
        ("Herkunft", "gemessen", "interpoliert"),
        ("Zustand Status", "kein Fehler", "Sensorfehler"),
    ],
)
def test_readings_that_their_row_calls_bad_count_only_where_a_person_says_so(tmp_path, head, good, bad):
    odd = set(random.Random(head).sample(range(96), 7))
    table = lay(
        tmp_path / "f.csv",
        f"Date;Crack 1 (mm);{head}",
        lines(lambda k: f"{'7000.0' if k in odd else f'{k % 7}.5'};{bad if k in odd else good}"),
    )
    (question,) = guess(table, UTC).questions
    assert (question.key, question.default) == (f"flag:{head}", good or "no label")
    kept = save_and_reload(guess(table, UTC | {question.key: question.default}).mapping, table.path)
    values = [float(row["value"]) for row in read_valid_rows(table.path, kept)]
    assert (len(values), max(values)) == (89, 6.5)
    assert len(read_valid_rows(table.path, guess(table, UTC | {question.key: "every row"}).mapping)) == 96


def test_flags_are_of_the_column_that_they_are_called_like_and_others_are_not_asked_about(tmp_path):
    spell = lambda k: f"{k % 7}.5;{'bad' if k == 9 else 'ok'};{k % 5}.5;{'bad' if k == 4 else 'ok'}"  # noqa: E731
    table = lay(tmp_path / "f.csv", "Date;Crack 1 (mm);Quality;Crack 2 (mm);Crack 2 quality", lines(spell))
    answers = {"flag:Quality": "ok", "flag:Crack 2 quality": "ok"}
    only = {rule.name: rule.only for rule in guess(table, UTC | answers).mapping.columns}
    assert only == {"Crack 1 (mm)": ("Quality", "ok"), "Crack 2 (mm)": ("Crack 2 quality", "ok")}


@pytest.mark.parametrize("words", [("ok", "ok"), ("P", "A"), ("1", "2"), ("open", "closed")])
def test_words_that_call_no_reading_bad_are_not_asked_about(tmp_path, words):
    spell = lambda k: f"{k}.5;{words[k % 2]}"  # noqa: E731
    assert not list_keys(lay(tmp_path / "g.csv", "Date;Crack 1 (mm);Status", lines(spell)))


@pytest.mark.parametrize("fill", ["-55.0", *in_soak("-777", "-1")])
@pytest.mark.parametrize(
    "line",
    ["#RINVAL{}|*|", "NODATA_value: {}", "Missing value = {}", "Fehlwert;{}", "Valore mancante: {}", "no data {}"],
)
def test_a_number_that_the_head_calls_no_value_is_none(tmp_path, line, fill):
    """A head said which number stands for a gap, and it was stored as a level. A count of gaps is no such number."""
    bad = set(random.Random(line).sample(range(96), 9))
    spell = lambda k: fill if k in bad else f"{5 + k % 7}.5"  # noqa: E731
    table = lay(tmp_path / "f.csv", f"{line.format(fill)}\nDate;Water level (m)", lines(spell))
    values = [float(row["value"]) for row in read_valid_rows(table.path, guess(table, UTC).mapping)]
    assert (len(values), min(values)) == (87, 5.5)
    for share in ("Missing values: 5", "Missing data: 5 %", "Fehlwerte: 5", "No data before 5"):
        table = lay(tmp_path / "g.csv", f"{share}\nDate;Water level (m)", lines(lambda k: f"{5 + k % 7}.0"))
        assert len(read_valid_rows(table.path, guess(table, UTC).mapping)) == 96, share


@pytest.mark.parametrize(
    "head",
    ["Date;Level (m)\nFactor;0.001", "scale factor: 0.01\nDate;Level (m)", "Faktor = 1e-3\nDate;Level (m)"],
)
def test_a_factor_beside_the_names_is_asked_about(tmp_path, head):
    """A line with the factor of each column was passed over, and a level came to be a thousand times what it was."""
    answers = UTC | {"quantity": "water_level"}
    table = lay(tmp_path / "f.csv", head, lines(lambda k: f"30{k % 70:02d}"))
    assert [question.key for question in guess(table, answers).questions] == ["factor"]
    assert guess(table, answers | {"factor": "as they are"}).mapping is not None
    for none in ("Factor;1.0", "Sensor;F 7"):
        table = lay(tmp_path / "g.csv", f"Date;Level (m)\n{none}", lines(lambda k: f"30{k % 70:02d}"))
        assert not guess(table, answers).questions


@pytest.mark.parametrize("head", ["Battery (V)", "Vbatt [V]", "Voltage (V)"])
def test_the_unit_of_a_voltage_alone_makes_no_battery(tmp_path, head):
    table = lay(tmp_path / "f.csv", f"Date;{head}", lines(lambda k: f"12.{k % 7}"))
    assert [s.quantity for s in guess(table, UTC).sensors] == ["battery_voltage"]
    for name in ("Panel (V)", "Sensor 3 output (V)", "Excitation [mV]"):
        assert list_keys(lay(tmp_path / "g.csv", f"Date;{name}", lines(lambda k: f"1{k % 7}.5")))[0][:9] == "quantity:"


def test_an_export_that_keeps_a_minus_from_being_a_formula_has_its_numbers(tmp_path):
    table = lay(tmp_path / "f.csv", "Date;Crack 1 (mm)", lines(lambda k: f"{chr(39) * (k % 3 == 0)}-{k % 7}.5"))
    found = read_valid_rows(table.path, save_and_reload(guess(table, UTC).mapping, table.path))
    assert [float(row["value"]) for row in found] == [-(k % 7) - 0.5 for k in range(96)]


def test_a_row_whose_time_is_missing_costs_no_other_and_the_end_of_a_window_is_its_time(tmp_path):
    table = lay(tmp_path / "f.csv", "_start;_stop;Rain (mm)", lines(lambda k: f"{HOURS[k]:%Y-%m-%d %H}:59;{k % 7}.5"))
    assert guess(table, UTC).mapping.time.columns == ("_stop",)
    blank = [line if k % 9 else "NaT;7.5" for k, line in enumerate(lines())]
    table = lay(tmp_path / "g.csv", "Date;Crack 1 (mm)", blank)
    assert len(read_valid_rows(table.path, guess(table, UTC).mapping)) == 96 - 11


def test_a_name_that_all_rows_share_does_not_hide_two_instruments(tmp_path):
    spell = lambda k: f"site 7;station=C{k % 2};{k % 7}.5"  # noqa: E731
    table = lay(tmp_path / "f.csv", "Date;name;tags;Crack (mm)", lines(spell, [at for at in HOURS[:48] for _ in "ab"]))
    assert list_keys(table) == ["rows"]
    assert len(guess(table, UTC | {"rows": "tags"}).sensors) == 2


@pytest.mark.parametrize(("head", "kinds"), [("axis", "XY"), ("depth (m)", "59"), ("direction", ("East", "North"))])
def test_rows_of_one_station_and_instant_that_a_column_parts_do_not_stand_over_one_another(tmp_path, head, kinds):
    instants = [at for at in HOURS[:48] for _ in range(4)]
    spell = lambda k: f"T{k % 2},{kinds[k // 2 % 2]},{k % 7}.5"  # noqa: E731
    rows = [f"{at:%Y-%m-%d %H:%M:%S},{spell(k)}" for k, at in enumerate(instants)]
    with pytest.raises(ConfigError, match=f"column '{re.escape(head)}' separates them"):
        guess(lay(tmp_path / "f.csv", f"time,sensor,{head},crack (mm)", rows), UTC)
    alone = [row for k, row in enumerate(rows) if k // 2 % 2]
    assert len(guess(lay(tmp_path / "g.csv", f"time,sensor,{head},crack (mm)", alone), UTC).sensors) == 2


def test_a_unit_of_two_words_above_the_names_is_whole(tmp_path):
    head = "TEMPERATURE\nUNIT: Deg C\nLEVEL\nUNIT: m  Offset: 0.0 m\nDate;LEVEL;TEMPERATURE"
    table = lay(tmp_path / "f.csv", head, lines(lambda k: f"{k % 7}.5;8.{k % 7}"))
    found = guess(table, UTC | {"quantity": "water_level"})
    assert {(s.quantity, s.unit) for s in found.sensors} == {("water_level", "m"), ("temperature", "degC")}


def test_a_discharge_of_few_litres_is_no_quality(tmp_path):
    spell = lambda k: f"{k}.5;{k % 4 + 1}"  # noqa: E731
    assert "flag:Q (m3/s)" not in list_keys(lay(tmp_path / "g.csv", "Date;Crack 1 (mm);Q (m3/s)", lines(spell)))


@pytest.mark.parametrize("gap", [timedelta(0), timedelta(days=9)])
@pytest.mark.parametrize("name", ["P2", "Station B77", "Sondaggio 4"])
def test_a_line_of_words_among_the_rows_may_begin_an_instrument(tmp_path, name, gap):
    rows = [*lines(), name, *lines(instants=[at + gap for at in HOURS])]
    table = lay(tmp_path / "f.csv", "Date;Crack 1 (mm)", rows)
    assert list_keys(table) == ["part"]
    assert guess(table, UTC | {"part": "one instrument"}).mapping is not None
    assert not list_keys(lay(tmp_path / "g.csv", "Date;Crack 1 (mm)", [*lines(), "", "end of the report", name]))


@pytest.mark.parametrize("head", ["S/N", "Sensor serial", "Seriennummer", "Matricola"])
@pytest.mark.parametrize("words", [("1234", "5678"), ("A12", "B77")])
def test_another_serial_number_from_a_row_on_may_be_another_instrument(tmp_path, head, words):
    spell = lambda k: f"{words[k // 48]};{k % 7}.5"  # noqa: E731
    assert list_keys(lay(tmp_path / "f.csv", f"Date;{head};Crack 1 (mm)", lines(spell))) == ["part"]
    assert not list_keys(lay(tmp_path / "g.csv", f"Date;{head};Crack 1 (mm)", lines(lambda k: f"{words[0]};{k}.5")))


def test_names_of_merged_cells_are_not_left_out_in_silence(tmp_path):
    spell = lambda k: f"{'' if k % 48 else 'AB'[k // 48]};{k % 7}.5"  # noqa: E731
    assert list_keys(lay(tmp_path / "f.csv", "Date;Station;Crack 1 (mm)", lines(spell))) == ["part"]
    whole = lay(tmp_path / "g.csv", "Date;Station;Crack (mm)", lines(lambda k: f"{'AB'[k // 48]};{k % 7}.5"))
    assert {sensor.station for sensor in guess(whole, UTC).sensors} == {"A", "B"}


@pytest.mark.parametrize("clock", ["", " %H:%M"])
@pytest.mark.parametrize("day", ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y"])
@pytest.mark.parametrize("at_row", [0, 24])
def test_sums_of_days_among_their_rows_are_refused_and_a_midnight_without_its_clock_is_none(
    tmp_path, day, clock, at_row
):
    rain = [f"{at:{day} %H:%M};0.5" for at in HOURS]
    for k in range(4):
        rain.insert(25 * k + at_row, f"{HOURS[24 * k]:{day}{clock}};12.0")
    answers = UTC | {"dates": "month first" if "/" in day else "day first"}
    if not clock or at_row:
        with pytest.raises(ConfigError, match="as sums of days have"):
            guess(lay(tmp_path / "f.csv", "Date;Rain (mm)", rain), answers)
    short = [f"{at:{day}}{f' {at:%H:%M}' if at.hour else ''};0.5" for at in HOURS]
    table = lay(tmp_path / "g.csv", "Date;Rain (mm)", short)
    assert [
        row["time"].replace(tzinfo=None) for row in read_valid_rows(table.path, guess(table, answers).mapping)
    ] == HOURS


@pytest.mark.parametrize("head", ["Time;Crack 1 (mm);Time;Crack 2 (mm)", "Date A;Crack 1 (mm);Date B;Crack 2 (mm)"])
def test_columns_with_times_of_their_own_do_not_take_those_of_others(tmp_path, head):
    late = lambda minutes: [  # noqa: E731
        f"{at:%Y-%m-%d %H:%M};1.5;{at + timedelta(minutes=minutes):%Y-%m-%d %H:%M};2.5" for at in HOURS
    ]
    with pytest.raises(ConfigError, match="have times of their own"):
        guess(lay(tmp_path / "f.csv", head, late(25)), UTC)
    assert len(guess(lay(tmp_path / "g.csv", head, late(0)), UTC).sensors) == 2


@pytest.mark.soak
@pytest.mark.parametrize("name", ["Rain {:02d}:00 (mm)", *in_soak("Rain_{:02d} (mm)", "Rain {}h (mm)")])
@pytest.mark.parametrize("first", [0, 1])
def test_24_columns_of_rain_in_rows_of_days_may_be_the_hours(tmp_path, name, first):
    head = ";".join(["Date", *(name.format(hour) for hour in range(first, first + 24))])
    cells = lambda k: ";".join(str(k * h % 5) for h in range(24))  # noqa: E731
    days = [BEGIN + timedelta(days=k) for k in range(60)]
    assert list_keys(lay(tmp_path / "f.csv", head, lines(cells, days))) == ["hours"]
    assert len(guess(read_raw_table(tmp_path / "f.csv"), UTC | {"hours": "24 instruments"}).sensors) == 24
    assert not list_keys(lay(tmp_path / "g.csv", head.replace("Rain", "Crack"), lines(cells, days)))
    assert "hours" not in list_keys(lay(tmp_path / "h.csv", head, lines(cells)))


@pytest.mark.parametrize("head", ["Received", "Upload time", "server_time", "Empfangen am", "Ora ricezione"])
def test_what_was_done_with_a_reading_later_is_not_its_time(tmp_path, head):
    rows = [
        f"{at + timedelta(minutes=17 * (k % 9)):%Y-%m-%d %H:%M};{at:%Y-%m-%d %H:%M};1.5" for k, at in enumerate(HOURS)
    ]
    table = lay(tmp_path / "f.csv", f"{head};Measured;Crack 1 (mm)", rows)
    assert guess(table, UTC).mapping.time.columns == ("Measured",)
    assert guess(lay(tmp_path / "g.csv", f"{head};Crack 1 (mm)", lines()), UTC).mapping.time.columns == (head,)


def test_codes_of_errors_are_no_standard_deviations_unless_a_person_says_so(tmp_path):
    head, spell = "Date;Crack 1 (mm);Error", lambda k: f"{k % 7}.5;{17 if k == 9 else 0}"
    assert list_keys(lay(tmp_path / "f.csv", head, lines(spell))) == ["error:Error"]
    assert guess(lay(tmp_path / "g.csv", head, lines(lambda k: f"{k % 7}.5;0.{k % 3}")), UTC).mapping.columns[0].sigma


@pytest.mark.parametrize(
    ("head", "spell", "asked"),
    [
        ("VW1 Temp (C);VW1 Freq (Hz)", lambda k: f"28{k:02d}.5;9.5", True),
        ("Air pressure (hPa)", lambda k: f"{k % 7}.5", True),
        ("Soil moisture (%)", lambda k: f"1{k:02d}.5", True),
        ("VW1 Temp (C);VW1 Freq (Hz)", lambda k: f"9.5;28{k:02d}.5", False),
        ("VW1 Temp (C)", lambda k: f"{'-127' if k % 5 == 0 else '9.5'}", False),
        ("E (m);N (m);H (m)", lambda k: f"0.{k};-1.{k};2.{k}", False),
    ],
)
def test_values_that_no_quantity_of_this_name_has_are_asked_about(tmp_path, head, spell, asked):
    table = lay(tmp_path / "f.csv", f"Date;{head}", lines(spell))
    column = head.split(";")[0]
    assert list_keys(table) == ([f"quantity:{column}"] if asked else [])
    if asked:
        quantity = guess(table, UTC).questions[0].choices[0]
        assert [s.quantity for s in guess(table, UTC | {f"quantity:{column}": quantity}).sensors] == [quantity]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Crack (mm)", "Crack change since zero (mm)"),
        ("Crack 3 raw (mm)", "Crack 3 corrected (mm)"),
        ("Crack median (mm)", "Crack p95 (mm)"),
        ("Riss A roh (mm)", "Riss A kompensiert (mm)"),
        ("Rain (mm)", "Daily Rain (mm)"),
    ],
)
def test_columns_that_differ_by_what_was_done_with_the_values_are_no_two_witnesses(tmp_path, first, second):
    spell = lambda k: f"{0.1 * (k % 24):.2f};{0.1 * (k % 24) + 0.01 * (k % 5):.2f}"  # noqa: E731
    table = lay(tmp_path / "f.csv", f"Date;{first};{second}", lines(spell))
    (question,) = guess(table, UTC).questions
    assert question.choices == (first, second, "leave out")
    assert len(guess(table, UTC | {question.key: second}).sensors) == 1
    assert len(guess(lay(tmp_path / "g.csv", "Date;Crack Upper (mm);Crack Lower (mm)", lines(spell)), UTC).sensors) == 2


@pytest.mark.parametrize(
    "head",
    [
        "Rain rate",
        "Rain intensity (mm/h)",
        "Intensità pioggia",
        "Niederschlagsintensität",
        "Precipitation type",
        "Rain duration (min)",
        "Rain tips",
        "Rain last hour (mm)",
        "Niederschlag letzte Stunde (mm)",
        "Hourly rain (mm)",
    ],
)
def test_what_is_no_amount_of_rain_between_two_rows_is_left_out(tmp_path, head):
    instants = [BEGIN + timedelta(minutes=10 * k) for k in range(96)]
    table = lay(tmp_path / "f.csv", f"Date;{head};Tilt X (deg)", lines(lambda k: f"{k * 7 % 5};1.{k % 7}", instants))
    assert [s.quantity for s in guess(table, UTC | {"unit": "mm"}).sensors] == ["tilt_x"]
    hours = lines(lambda k: f"{k * 7 % 5}")
    assert len(guess(lay(tmp_path / "g.csv", "Date;Hourly rain (mm)", hours), UTC).sensors) == 1


@pytest.mark.parametrize(
    "name",
    [
        "Predicted {}",
        "{} forecast",
        "{} model",
        "{} residual",
        "{} warning",
        "{} Prognose",
        "{} previsione",
        "Simulated {}",
    ],
)
def test_columns_of_what_nothing_measured_are_no_instruments(tmp_path, name):
    """A model of a level beside the level was a second witness of it."""
    for quantity, unit in (("Water level", "m"), ("Rain", "mm"), ("Crack 1", "mm")):
        head = f"Date;{quantity} ({unit});{name.format(quantity)} ({unit})"
        table = lay(tmp_path / "f.csv", head, lines(lambda k: f"{k % 7}.5;{k % 5}.5"))
        assert len(guess(table, UTC).sensors) == 1

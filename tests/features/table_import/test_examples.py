"""Questions about columns show what each answer makes of a value."""

from datetime import datetime, timedelta

import pytest

from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.raw_table import read_raw_table
from tests.data.payloads.guess_tables import write_table

BEGIN = datetime(2025, 3, 4)
UTC_ZONE = {"zone": "UTC"}


def ask(path, heading, cells, **answers):
    """Return the questions about a table with one column."""
    rows = [f"{BEGIN + timedelta(hours=k):%Y-%m-%d %H:%M};{cell}" for k, cell in enumerate(cells)]
    found = guess(read_raw_table(write_table(path, f"Time;{heading}", rows)), UTC_ZONE | answers)
    return {question.key: question for question in found.questions}


def test_a_unit_shows_the_value_in_the_unit_of_the_service(tmp_path):
    question = ask(tmp_path / "t.csv", "Piezometer P1", [f"{10 + k}.5" for k in range(40)])["unit:pore_pressure"]
    assert question.examples["psi"] == "'Piezometer P1': 49.5 psi becomes 341.29 kPa"
    assert question.examples["kPa"] == "'Piezometer P1': 49.5 kPa becomes 49.5 kPa"
    assert set(question.examples) == set(question.choices) - {"leave out"}


def test_a_unit_that_is_not_known_shows_the_value_in_the_units_that_are(tmp_path):
    question = ask(tmp_path / "t.csv", "Piezometer P1 [mH2Oo]", [f"{1 + k / 10:.1f}" for k in range(40)])
    assert (
        question["unit:pore_pressure [mH2Oo]"].examples["mH2O"]
        == "'Piezometer P1 [mH2Oo]': 4.9 mH2O becomes 48.0526 kPa"
    )


def test_a_quantity_shows_the_value_with_its_unit(tmp_path):
    question = ask(tmp_path / "t.csv", "Druck (mbar)", [f"{900 + k}.5" for k in range(40)])["quantity:mbar"]
    assert question.examples["air_pressure"] == "'Druck (mbar)': 939.5 mbar is air pressure of 939.5 hPa"
    assert question.examples["pore_pressure"] == "'Druck (mbar)': 939.5 mbar is pore pressure of 93.95 kPa"


def test_quantities_that_a_heading_names_are_the_first_choices(tmp_path):
    question = ask(tmp_path / "t.csv", "Lake road crack (mm)", [f"{k}.5" for k in range(40)])["quantity:mm"]
    assert set(question.choices[:2]) == {"crack_opening", "reservoir_level"}


@pytest.mark.parametrize(("cell", "comma", "point"), [("1,250", "1.25", "1250"), ("12,500", "12.5", "12500")])
def test_a_decimal_mark_shows_the_number_that_it_makes(tmp_path, cell, comma, point):
    question = ask(tmp_path / "t.csv", "Crack 1 (mm)", [cell] * 40)["decimal"]
    assert question.examples == {"comma": f"'{cell}' becomes {comma}", "point": f"'{cell}' becomes {point}"}


def test_axes_show_the_side_that_each_column_counts_to(tmp_path):
    rows = [f"{BEGIN + timedelta(hours=k):%Y-%m-%d %H:%M};{k}.5;{k}.1;{k}.2" for k in range(40)]
    path = write_table(tmp_path / "t.csv", "Time;P1 X (mm);P1 Y (mm);P1 Z (mm)", rows)
    (question,) = guess(read_raw_table(path), UTC_ZONE).questions
    assert question.examples["x east, y north"] == "'P1 X (mm)' counts to the east; 'P1 Y (mm)' counts to the north"
    assert question.examples["x north, y east"] == "'P1 X (mm)' counts to the north; 'P1 Y (mm)' counts to the east"


def test_flags_show_how_many_rows_each_answer_stores(tmp_path):
    rows = [f"{BEGIN + timedelta(hours=k):%Y-%m-%d %H:%M};{k}.5;{'bad' if k % 4 == 0 else 'ok'}" for k in range(40)]
    path = write_table(tmp_path / "t.csv", "Time;Crack 1 (mm);Quality", rows)
    (question,) = guess(read_raw_table(path), UTC_ZONE).questions
    assert question.examples == {
        "ok": "30 rows are stored",
        "bad": "10 rows are stored",
        "every row": "40 rows are stored",
    }

"""Workbooks as spreadsheets and pandas write them: dates, both calendars, tabs in any order, errors in cells."""

import re
import zipfile
from datetime import UTC, datetime

import numpy as np
import openpyxl
import pytest
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from forecasting.data.sources import RecordRecipe, read_record
from forecasting.data.workbook import read_sheet
from forecasting.errors import RecipeError
from forecasting.reasons import Reason

START = datetime(2024, 3, 1, tzinfo=UTC)
RECIPE = RecordRecipe({"format": "wide", "time": "time", "displacement": {"G1": "moved"}})


def lay(path, *rows, epoch=None):
    book = openpyxl.Workbook()
    if epoch:
        book.epoch = epoch
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


def day(number):
    return datetime(2024, 3, number)


def read(path):
    panel = read_record(path, RECIPE).panel
    return panel.times_s[0], panel.values[:, 0]


def test_days_are_counted_as_the_workbook_says(tmp_path):
    for name, epoch in (("windows", None), ("mac", CALENDAR_MAC_1904)):
        dated = lay(tmp_path / f"{name}.xlsx", ["time", "moved"], [day(1), 0.0], [day(2), 1.0], epoch=epoch)
        assert read(dated)[0] == START.timestamp()
        # the same without a date format on the cells: plain numbers of days
        number = (day(1) - (epoch or datetime(1899, 12, 30))).days
        plain = lay(tmp_path / f"{name}2.xlsx", ["time", "moved"], [number, 0.0], [number + 1, 1.0], epoch=epoch)
        assert read(plain)[0] == START.timestamp()


def test_the_first_tab_that_is_seen_is_read(tmp_path):
    path = lay(tmp_path / "a.xlsx", ["old"], [1])
    book = openpyxl.load_workbook(path)
    book.create_sheet("second").append(["new"])
    book.create_sheet("third").append(["newest"])
    book.move_sheet("third", -2)
    book.save(path)
    assert list(read_sheet(path)) == ["newest"]
    book["third"].sheet_state = "hidden"
    book.save(path)
    assert list(read_sheet(path)) == ["old"]


def test_errors_and_empty_cells_are_missing(tmp_path):
    path = tmp_path / "a.xlsx"
    lay(
        path,
        [],
        [None, "time", "moved"],
        [None, day(1), 1.0],
        [None, day(2), "#N/A"],
        [None, day(3), None],
        [],
        [None, day(4), 4.0],
    )
    first, values = read(path)
    assert (first, np.isnan(values).tolist()) == (START.timestamp(), [False, True, True, False])


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([["time", "mooved"], [day(1), 1.0]], "there is no column 'moved'; there are time, mooved"),
        ([["time", "moved", "moved"], [day(1), 1.0, 2.0]], "two columns are named 'moved'"),
        ([], "the first sheet is empty"),
    ],
)
def test_a_fault_of_a_sheet_is_one_line(tmp_path, rows, fault):
    with pytest.raises(RecipeError, match=fault):
        read(lay(tmp_path / "a.xlsx", *rows))


@pytest.mark.parametrize("content", [b"no zip", b"PK\x03\x04 cut"])
def test_what_is_no_workbook_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "a.xlsx"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match="no workbook that can be read") as fault:
        read(path)
    assert "\n" not in str(fault.value)


def test_a_formula_that_nobody_calculated_is_named_and_an_empty_result_is_none(tmp_path):
    rows = [[day(1), "=1+1"], [day(2), "=B2+1"], *([day(3 + k), "=B3"] for k in range(6))]
    path = lay(tmp_path / "a.xlsx", ["time", "moved"], *rows)
    with pytest.raises(RecipeError) as caught:
        read_sheet(path)
    no_result = Reason("workbook.no_result", {"cells": "B2, B3, B4, B5, B6 and 3 more"})
    assert caught.value.reason == Reason("text.of", {"name": str(path), "text": no_result})
    with zipfile.ZipFile(path) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    sheet = parts["xl/worksheets/sheet1.xml"].decode()
    calculated = re.sub(r'<c r="(B\d)"[^>]*><f>([^<]*)</f><v ?/?>(?:</v>)?', r'<c r="\1"><f>\2</f><v>2.5</v>', sheet)
    calculated = re.sub(r'<c r="B4"><f>([^<]*)</f><v>2.5</v>', r'<c r="B4" t="str"><f>\1</f><v></v>', calculated)
    with zipfile.ZipFile(path, "w") as book:
        for name, content in (parts | {"xl/worksheets/sheet1.xml": calculated.encode()}).items():
            book.writestr(name, content)
    assert read_sheet(path)["moved"].dropna().tolist() == [2.5] * 7

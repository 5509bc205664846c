"""Lines that are no rows: no row of data is lost in silence, and a refusal names the line."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from monitor.errors import ConfigError
from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.raw_table import read_raw_table
from tests.data.payloads.guess_tables import read_rows, save_and_reload

NOW = datetime(2026, 6, 1, tzinfo=UTC)
BEGIN = datetime(2026, 3, 1)
COUNT = 40


def write_lines(delimiter):
    rows = [[f"{BEGIN + timedelta(hours=k):%Y-%m-%d %H:%M}", f"{k}.5", str(k % 9)] for k in range(COUNT)]
    return [delimiter.join(cells) for cells in (["time", "crack_mm", "temp_c"], *rows)]


def count_values(folder, lines):
    """Return how many values are read, and how many are rejected."""
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = guess(read_raw_table(path), {"zone": "UTC", "part": "one instrument"}, NOW)
    assert not found.questions
    errors = [error for _, error in read_rows(path, save_and_reload(found.mapping, path))]
    return sum(error is None for error in errors), sum(error is not None for error in errors)


@pytest.mark.one_case_in(5)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("place", [1, 2, 20, COUNT])
@pytest.mark.parametrize("line", ["", "   ", "battery replaced", "# comment", "{d}{d}", "time{d}crack_mm{d}temp_c"])
def test_lines_without_data_lose_no_row(tmp_path, delimiter, place, line):
    lines = write_lines(delimiter)
    lines.insert(place, line.format(d=delimiter))
    assert count_values(tmp_path, lines) == (2 * COUNT, 0)


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("place", [1, 2, 20, COUNT])
@pytest.mark.parametrize(
    "change",
    [
        lambda row, d: f"{row}{d}",
        lambda row, d: f"{row}{d}7",
        lambda row, d: f"{d}{row}",
        lambda row, _: f'"{row}',
        lambda row, d: d.join(f'"{cell}"' for cell in row.split(d)),
        lambda row, d: row.replace(".", ","),
    ],
)
def test_a_row_with_other_cells_is_read_rejected_or_refused_with_its_line(tmp_path, delimiter, place, change):
    lines = write_lines(delimiter)
    lines[place] = change(lines[place], delimiter)
    try:
        good, bad = count_values(tmp_path, lines)
    except ConfigError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert re.search(rf"line {place + 1}\b", refusal)
        return
    assert good >= 2 * (COUNT - 1)
    assert good == 2 * COUNT or bad


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_units_below_the_first_row_are_refused(tmp_path, delimiter):
    lines = write_lines(delimiter)
    lines.insert(2, delimiter.join(["", "mm", "°C"]))
    with pytest.raises(ConfigError, match="line 2 is a row of data, but line 3 below it is not"):
        count_values(tmp_path, lines)

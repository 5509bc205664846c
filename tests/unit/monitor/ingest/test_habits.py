"""Habits of engineers that `--guess` understands without a question that the file has answered itself."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from monitor.ingest.files.lines import open_wide
from monitor.ingest.files.reader import Said
from monitor.ingest.guess.guess import guess
from monitor.ingest.guess.look import look_at

BEGIN = datetime(2025, 3, 29, tzinfo=UTC)


def lay(path, head, line, count=60, step_h=2.0):
    """A table of so many rows; `line` makes one of its instant and number."""
    rows = [line(BEGIN + timedelta(hours=step_h * k), k) for k in range(count)]
    path.write_text("\n".join([*head, *rows, ""]), encoding="utf-8")
    return look_at(path)


def first_and_last(look, found):
    with open_wide(look.path, Said(found.mapping)) as lines:
        rows = [row for line in lines for row, error in line.rows if error is None]
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

"""Each question about times shows what its answers mean for rows of the file."""

from datetime import UTC, datetime, timedelta

import pytest

from monitor.errors import ConfigError
from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.raw_table import read_raw_table
from tests.data.payloads.guess_tables import read_valid_rows, save_and_reload, write_table

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def ask(folder, head, rows, **answers):
    """Return the open questions about a table by their key."""
    path = write_table(folder / "table.csv", head, rows)
    found = guess(read_raw_table(path), answers, NOW)
    return {question.key: question for question in found.questions}


def write_rows(form, start, step, count):
    return [f"{(start + k * step).strftime(form)};{k % 7}.5" for k in range(count)]


def test_order_of_dates_shows_first_and_last_row_for_each_order(tmp_path):
    rows = write_rows("%d/%m/%Y", datetime(2025, 3, 1), timedelta(days=1), 10)
    question = ask(tmp_path, "Date;Crack 1 (mm)", rows, zone="UTC")["dates"]
    assert question.examples == {
        "day first": "01/03/2025 becomes 2025-03-01 00:00; 10/03/2025 becomes 2025-03-10 00:00",
        "month first": "01/03/2025 becomes 2025-01-03 00:00; 10/03/2025 becomes 2025-10-03 00:00",
    }


def test_digits_of_a_clock_show_what_each_answer_means(tmp_path):
    instants = [datetime(2026, 3, 1) + timedelta(minutes=10 * k) for k in range(144)]
    rows = [f"20260301;{100 * at.hour + at.minute};0.5" for at in instants]
    question = ask(tmp_path, "Date;Time;Crack 1 (mm)", rows, zone="UTC")["clock"]
    assert question.examples == {
        "hhmm": "20260301 10 becomes 2026-03-01 00:10; 20260301 2350 becomes 2026-03-01 23:50",
        "hhmmss": "20260301 10 becomes 2026-03-01 00:00:10; 20260301 2350 becomes 2026-03-01 00:23:50",
    }


def test_zone_shows_the_instant_in_utc_for_common_zones(tmp_path):
    rows = write_rows("%Y-%m-%d %H:%M", datetime(2026, 3, 1, 8, 30), timedelta(hours=1), 3)
    question = ask(tmp_path, "Time;Crack 1 (mm)", rows)["zone"]
    first = "2026-03-01 08:30 becomes 2026-03-01T{}Z; 2026-03-01 10:30 becomes 2026-03-01T{}Z"
    assert question.examples["UTC"] == first.format("08:30", "10:30")
    assert question.examples["Europe/Rome"] == first.format("07:30", "09:30")


def test_days_of_rain_show_when_the_amount_of_a_date_ends(tmp_path):
    rows = write_rows("%Y-%m-%d", datetime(2026, 3, 1), timedelta(days=1), 31)
    question = ask(tmp_path, "Date;Rain 1 (mm)", rows, zone="UTC")["day"]
    assert question.examples["24:00"].startswith("2026-03-01 becomes 2026-03-02T00:00Z")
    assert question.examples["07:00"].endswith("2026-03-31 becomes 2026-03-31T07:00Z")


@pytest.mark.parametrize(
    ("start", "shown"), [(datetime(2025, 3, 1), "2025-03-30"), (datetime(2025, 1, 1), "2025-03-30")]
)
def test_zones_that_clash_show_a_row_for_which_they_differ(tmp_path, start, shown):
    rows = write_rows("%Y-%m-%d %H:%M", start, timedelta(minutes=30), 48 * 120)
    question = ask(tmp_path, "Time;Crack 1 (mm)", rows, zone="Europe/Zurich")["which zone"]
    assert set(question.examples) == {"Etc/GMT-1", "Europe/Zurich"}
    first_shown = min(example[:10] for example in question.examples.values())
    assert first_shown >= shown
    assert len(set(question.examples.values())) == 2


# ---- which column, which unit ----------------------------------------------------------------------------------------


def test_two_columns_of_different_times_are_asked_about(tmp_path):
    days = [datetime(2026, 3, 1, 8, 30) + timedelta(days=k) for k in range(40)]
    rows = [
        f"{at:%Y-%m-%d %H:%M};{at + timedelta(minutes=13 * (k % 5)):%Y-%m-%d %H:%M};{k}.5" for k, at in enumerate(days)
    ]
    head = "Measured time;Photo time;Crack 1 (mm)"
    question = ask(tmp_path, head, rows, zone="UTC")["time column"]
    assert question.choices == ("Measured time", "Photo time")
    assert set(question.examples) == set(question.choices)
    found = guess(read_raw_table(tmp_path / "table.csv"), {"zone": "UTC", "time column": "Photo time"}, NOW)
    assert found.mapping.time.columns == ("Photo time",)


@pytest.mark.parametrize(
    ("head", "second"),
    [
        ("Time (UTC);Local time", lambda at: f"{at + timedelta(hours=2):%Y-%m-%d %H:%M}"),
        ("Time (UTC);Received time", lambda at: f"{at + timedelta(seconds=17 * (at.hour + 1)):%Y-%m-%d %H:%M:%S}"),
        ("Time (UTC);Date", lambda at: f"{at:%Y-%m-%d}"),
        ("Time (UTC);Installation date", lambda _: "2020-01-01"),
        ("Time (UTC);Unix time", lambda at: f"{at.replace(tzinfo=UTC).timestamp():.0f}"),
    ],
)
def test_a_second_column_of_the_same_times_raises_no_question(tmp_path, head, second):
    instants = [datetime(2026, 3, 1) + timedelta(hours=k) for k in range(60)]
    rows = [f"{at:%Y-%m-%d %H:%M};{second(at)};{k % 7}.5" for k, at in enumerate(instants)]
    path = write_table(tmp_path / "table.csv", f"{head};Crack 1 (mm)", rows)
    found = guess(read_raw_table(path), {}, NOW)
    assert not found.questions
    assert found.mapping.time.columns == ("Time (UTC)",)


def test_a_time_with_its_clock_is_preferred_to_its_date(tmp_path):
    instants = [datetime(2026, 3, 1) + timedelta(hours=k) for k in range(60)]
    rows = [f"{at:%Y-%m-%d};{at:%Y-%m-%d %H:%M};{k % 7}.5" for k, at in enumerate(instants)]
    path = write_table(tmp_path / "table.csv", "Date;Timestamp;Crack 1 (mm)", rows)
    found = guess(read_raw_table(path), {"zone": "UTC"}, NOW)
    assert found.mapping.time.columns == ("Timestamp",)


def test_numbers_since_a_year_without_a_unit_are_asked_about(tmp_path):
    rows = [f"{9000 + k};{k % 7}.5" for k in range(60)]
    question = ask(tmp_path, "Time since 2000-01-01;Crack 1 (mm)", rows)["time unit"]
    assert question.choices == ("days", "hours")
    assert question.examples["days"].startswith("9000 becomes 2024-08-22")
    path = tmp_path / "table.csv"
    found = guess(read_raw_table(path), {"time unit": "hours"}, NOW)
    assert found.mapping.time.format == "h"


def test_numbers_in_a_column_that_is_not_named_after_a_time_are_asked_about(tmp_path):
    rows = [f"{1_700_000_000 + 3600 * k};{k % 7}.5" for k in range(60)]
    question = ask(tmp_path, "Impulse;Crack 1 (mm)", rows)["time column"]
    assert question.choices == ("Impulse", "leave out")
    assert question.examples["Impulse"].startswith("1700000000 becomes 2023-11-14T22:13")
    with pytest.raises(ConfigError, match="no column holds a time"):
        guess(read_raw_table(tmp_path / "table.csv"), {"time column": "leave out"}, NOW)


@pytest.mark.parametrize("clock", ["9.00", "0900", "900", "9:00"])
def test_a_clock_that_is_the_same_on_each_day_counts(tmp_path, clock):
    days = [datetime(2026, 1, 1) + timedelta(days=k) for k in range(60)]
    rows = [f"{at:%Y-%m-%d};{clock};{k % 7}.5" for k, at in enumerate(days)]
    path = write_table(tmp_path / "table.csv", "Date;Time;Crack 1 (mm)", rows)
    found = guess(read_raw_table(path), {"zone": "UTC", "clock": "hhmm"}, NOW)
    read = read_valid_rows(path, save_and_reload(found.mapping, path))
    assert read[0]["time"].astimezone(UTC) == datetime(2026, 1, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize("line", ["Logger UTC-200", "Model: GMT-100", "UTC+99"])
def test_numbers_behind_utc_that_are_no_offset_are_no_zone(tmp_path, line):
    rows = write_rows("%Y-%m-%d %H:%M", datetime(2026, 3, 1), timedelta(hours=1), 60)
    path = write_table(tmp_path / "table.csv", f"{line}\nTime;Crack 1 (mm)", rows)
    assert [question.key for question in guess(read_raw_table(path), {}, NOW).questions] == ["zone"]
    assert guess(read_raw_table(path), {"zone": "Europe/Rome"}, NOW).zone == "Europe/Rome"


def test_only_the_order_of_dates_that_ends_before_now_is_a_choice(tmp_path):
    rows = write_rows("%m/%d/%Y", datetime(2026, 3, 1), timedelta(days=1), 10)
    path = write_table(tmp_path / "table.csv", "Date;Crack 1 (mm)", rows)
    found = guess(read_raw_table(path), {"zone": "UTC"}, NOW)
    assert not found.questions
    assert found.mapping.time.format == "%m/%d/%Y"


# ---- day numbers, days of rain, begin and end ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Julian day", "jd", "time"])
@pytest.mark.parametrize(
    ("zero", "number_of_zero", "answer"),
    [
        (datetime(1858, 11, 17), 2_400_000.5, "Julian days"),
        (datetime(1, 1, 1), 367.0, "day numbers of MATLAB"),
    ],
)
def test_large_day_numbers_are_read_or_asked_about(tmp_path, name, zero, number_of_zero, answer):
    instants = [datetime(2026, 3, 1) + timedelta(hours=6 * k) for k in range(40)]
    rows = [f"{(at - zero) / timedelta(days=1) + number_of_zero:.6f};{k % 7}.5" for k, at in enumerate(instants)]
    head = "datenum" if answer.endswith("MATLAB") and name != "time" else name
    path = write_table(tmp_path / "table.csv", f"{head};Crack 1 (mm)", rows)
    found = guess(read_raw_table(path), {"zone": "UTC"}, NOW)
    assert [question.choices for question in found.questions] == ([(answer,)] if name == "time" else [])
    found = guess(read_raw_table(path), {"zone": "UTC", "times": answer}, NOW)
    read = [
        row["time"].astimezone(UTC).replace(tzinfo=None)
        for row in read_valid_rows(path, save_and_reload(found.mapping, path))
    ]
    assert all(abs(a - b) < timedelta(seconds=1) for a, b in zip(read, instants, strict=True))


def test_midnights_of_rain_are_asked_about_like_dates(tmp_path):
    rows = write_rows("%Y-%m-%d %H:%M", datetime(2026, 3, 1), timedelta(days=1), 31)
    question = ask(tmp_path, "Date;Rain 1 (mm)", rows, zone="UTC")["day"]
    assert "midnights" in question.text
    rows = write_rows("%Y-%m-%d %H:%M", datetime(2026, 3, 1, 9), timedelta(days=1), 31)
    assert "day" not in ask(tmp_path, "Date;Rain 1 (mm)", rows, zone="UTC")


def test_the_end_of_an_interval_counts_also_beside_a_date(tmp_path):
    instants = [datetime(2026, 3, 1) + timedelta(hours=k) for k in range(60)]
    rows = [f"{at:%Y-%m-%d;%H:%M};{at + timedelta(minutes=50):%H:%M};{k % 7}.5" for k, at in enumerate(instants)]
    path = write_table(tmp_path / "table.csv", "Date;Start time;End time;Crack 1 (mm)", rows)
    found = guess(read_raw_table(path), {"zone": "UTC"}, NOW)
    assert found.mapping.time.columns == ("Date", "End time")

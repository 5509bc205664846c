"""Each question about times shows what its answers mean for rows of the file."""

from datetime import UTC, datetime, timedelta

import pytest

from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.raw_table import read_raw_table
from tests.data.payloads.guessed import lay_rows

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def ask(folder, head, rows, **answers):
    """Return the open questions about a table by their key."""
    path = lay_rows(folder / "table.csv", head, rows)
    found = guess(read_raw_table(path), answers, NOW)
    return {question.key: question for question in found.questions}


def write_rows(form, start, step, count):
    return [f"{(start + k * step).strftime(form)};{k % 7}.5" for k in range(count)]


def test_order_of_dates_shows_first_and_last_row_for_each_order(tmp_path):
    rows = write_rows("%d/%m/%Y", datetime(2026, 3, 1), timedelta(days=1), 10)
    question = ask(tmp_path, "Date;Crack 1 (mm)", rows, zone="UTC")["dates"]
    assert question.examples == {
        "day first": "01/03/2026 becomes 2026-03-01 00:00; 10/03/2026 becomes 2026-03-10 00:00",
        "month first": "01/03/2026 becomes 2026-01-03 00:00; 10/03/2026 becomes 2026-10-03 00:00",
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

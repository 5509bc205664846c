"""Clocks and zones that a table spells otherwise: read as they are meant, or asked about, never as other instants."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from monitor.errors import ConfigError
from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.raw_table import read_raw_table
from monitor.ingest.files.time_rule import TimeRule
from monitor.text.instants import read_iso
from tests.data.payloads.guess_tables import read_valid_rows, save_and_reload, write_table

BEGIN = datetime(2025, 2, 3)
HALF = "AM PM"
SPELLED = {
    "Date;Time": lambda at: f"{at:%d.%m.%Y};{int(f'{at:%H%M}')}",
    "Date;HHMM": lambda at: f"{at:%Y-%m-%d};{int(f'{at:%H%M}')}",
    "Datum;Uhrzeit": lambda at: f"{at:%Y%m%d};{int(f'{at:%H%M%S}')}",
    "Date;Clock time": lambda at: f"{at:%Y-%m-%d};{at:%H%M%S}",
    "Date;Time;Half": lambda at: f"{at:%m/%d/%Y};{at:%I:%M};{HALF.split()[at.hour // 12]}",
}


def look(tmp_path, head, spell, instants):
    rows = (f"{spell(at)};{k % 7}.5" for k, at in enumerate(instants))
    return read_raw_table(write_table(tmp_path / "f.csv", f"{head};Crack 1 (mm)", rows))


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("minutes", [10, 15, 60, 720])
@pytest.mark.parametrize("head", SPELLED)
def test_a_clock_of_digits_without_its_zeros_is_the_clock(tmp_path, head, minutes):
    begin = BEGIN + timedelta(minutes=30 if minutes == 720 else 0)
    instants = [begin + timedelta(minutes=minutes * k) for k in range(150)]
    table = look(tmp_path, head, SPELLED[head], instants)
    mapping = save_and_reload(guess(table, {"zone": "UTC", "dates": "month first"}).mapping, table.path)
    assert [row["time"].replace(tzinfo=None) for row in read_valid_rows(table.path, mapping)] == instants


def test_digits_side_by_side_are_read_in_their_full_width_or_not_at_all():
    draw = random.Random(11)
    for _ in range(300):
        at = BEGIN + timedelta(minutes=draw.randrange(1_000_000))
        assert TimeRule(("t",), "%Y-%m-%d %H%M").read_naive(f"{at:%Y-%m-%d} {int(f'{at:%H%M}')}") == at
        assert TimeRule(("t",), "%Y%m%d %H:%M").read_naive(f"{at:%Y%m%d %H:%M}") == at
        for form, short in (("%Y%m%d", f"{at.year}{at.month}{at.day}"), ("%Y%j%H%M", f"{at:%Y%j}{at.hour}{at.minute}")):
            if len(short) < len(at.strftime(form)):
                with pytest.raises(Exception, match="is not of the form"):
                    TimeRule(("t",), form).read_naive(short)


@pytest.mark.parametrize(
    ("head", "spell"),
    [
        ("Date;Hour", lambda at: f"{at:%Y-%m-%d};{at.hour + at.minute / 60:.2f}"),
        ("Date;Time", lambda at: f"{at:%Y-%m-%d};{(at.hour + at.minute / 60) / 24:.6f}"),
        ("Year;Month;Day;HHMM", lambda at: f"{at.year};{at.month};{at.day};{int(f'{at:%H%M}')}"),
    ],
)
def test_a_clock_that_cannot_be_read_is_no_midnight(tmp_path, head, spell):
    once_a_day = [BEGIN + timedelta(days=k, hours=13, minutes=30 + k % 5) for k in range(60)]
    with pytest.raises(ConfigError, match="looks like a clock"):
        guess(look(tmp_path, head, spell, once_a_day), {"zone": "UTC"})


def test_a_count_in_powers_of_ten_that_lost_its_digits_says_no_instant(tmp_path):
    days = [datetime(2025, 2, 3, 6, 20) + timedelta(days=k) for k in range(60)]
    for form in (".5E", ".4E"):
        with pytest.raises(ConfigError, match="no form of a time"):
            guess(look(tmp_path, "Timestamp", lambda at: format(at.timestamp() * 1e3, form), days), {"zone": "UTC"})  # noqa: B023
    assert len(guess(look(tmp_path, "Timestamp", lambda at: format(at.timestamp(), ".9E"), days), {}).sensors) == 1


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("UTC\u22123", "Etc/GMT+3"),
        ("UTC\u201303:00", "Etc/GMT+3"),
        ("CET, UTC+1", "Etc/GMT-1"),
        ("UTC/GMT", "UTC"),
        ("MEZ", "Etc/GMT-1"),
        ("UTC+1/UTC+2", None),
        ("MEZ/MESZ", None),
        ("CET/CEST", None),
        ("UTC+01:00 / DST", None),
        ("UTC+5:30", None),
        ("local time, not UTC", None),
        ("UTC plus 1", None),
        ("UTC offset -5", None),
        ("exported 2026-02-01 10:00 UTC", None),
    ],
)
def test_a_zone_counts_where_nothing_beside_it_turns_it(tmp_path, text, zone):
    rows = [f"{BEGIN + timedelta(hours=k):%Y-%m-%d %H:%M};{k % 7}.5" for k in range(60)]
    for head in (f"Time ({text});Crack 1 (mm)", f"{text}\nTime;Crack 1 (mm)"):
        found = guess(read_raw_table(write_table(tmp_path / "f.csv", head, rows)), {})
        if zone is None:
            assert [q.key for q in found.questions] == ["zone"]
        else:
            assert (found.questions, found.mapping.time.zone.key) == ((), zone)


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize(
    ("zone", "hours"), [("PST", -8), ("CET", 1), ("+05:30", 5.5), ("UTC+3", 3), ("-0400", -4), ("UTC", 0)]
)
@pytest.mark.parametrize("head", ["datetime;tz_cd", "Date;Clock time;UTC offset", "Zone;Time"])
def test_a_zone_in_a_column_of_its_own_is_that_of_its_row(tmp_path, head, zone, hours):
    """A file of a water survey was read in the zone of the answer: the zone of each row stood beside its time."""
    clock = {"datetime;tz_cd": "%Y-%m-%d %H:%M;{}", "Zone;Time": "{};%d.%m.%Y %H:%M:%S"}.get(head, "%Y-%m-%d;%H:%M;{}")
    instants = [BEGIN + timedelta(hours=k) for k in range(90)]
    table = look(tmp_path, head, lambda at: f"{at:{clock}}".format(zone), instants)
    found = guess(table, {"zone": "Asia/Tokyo"})
    if found.questions:  # a zone that is one for all can be another by what a person says
        found = guess(table, {"zone": "Asia/Tokyo", "which zone": found.questions[0].choices[0]})
    read = [
        row["time"].astimezone(UTC).replace(tzinfo=None)
        for row in read_valid_rows(table.path, save_and_reload(found.mapping, table.path))
    ]
    assert read == [at - timedelta(hours=hours) for at in instants]
    winter = look(tmp_path, head, lambda at: f"{at:{clock}}".format("PST" if at < instants[40] else "PDT"), instants)
    rows = read_valid_rows(winter.path, save_and_reload(guess(winter, {}).mapping, winter.path))
    assert rows[50]["time"] - rows[0]["time"] == timedelta(hours=49)


@pytest.mark.parametrize(
    ("head", "cells"),
    [
        ("Temp (°C)", ("-10", "-11")),
        ("Gain", ("+10", "+10")),
        ("State", ("WET", "WET")),
        ("QC", ("Z", "Z")),
        ("Zone", ("A", "B")),
        ("Level offset (mm)", ("-1000", "-1000")),
        ("Trend", ("-1", "+1")),
    ],
)
def test_numbers_with_a_sign_and_words_beside_a_time_are_no_zone(tmp_path, head, cells):
    table = look(
        tmp_path,
        f"Time;{head}",
        lambda at: f"{at:%Y-%m-%d %H:%M};{cells[at.hour % 2]}",
        [BEGIN + timedelta(hours=k) for k in range(90)],
    )
    found = guess(table, {"zone": "Asia/Tokyo", "quantity": "leave out", "quantity:mm": "leave out"})
    assert not found.questions
    assert (found.mapping.time.columns, found.zone) == (("Time",), "Asia/Tokyo")


@pytest.mark.parametrize("joined", [" ", "T", "-", "_"])
@pytest.mark.parametrize("sign", ["-", ".", ","])
def test_minutes_behind_a_hyphen_or_a_point_are_no_zone_and_no_part_of_a_second(joined, sign):
    """13-10 was ten past one ten hours behind UTC, and 13.30 three tenths of a second past one."""
    draw = random.Random(f"{joined}{sign}")
    for _ in range(50):
        at = BEGIN + timedelta(minutes=draw.randrange(1_000_000))
        for day in ("%Y-%m-%d", "%Y%m%d"):
            with pytest.raises(ValueError, match=r"is no time|isoformat|offset"):
                read_iso(f"{at:{day}{joined}%H{sign}%M}")
            assert read_iso(f"{at:{day}{joined}%H%M}") == at
        whole = at.replace(minute=0, tzinfo=UTC)
        assert read_iso(f"{whole:%Y-%m-%dT%H}+00") == whole
        assert read_iso(f"{whole:%Y-%m-%dT%H}-01:00") == whole + timedelta(hours=1)
        assert read_iso(f"{whole:%Y-%m-%dT%H:%M:%S}.5Z") == whole + timedelta(seconds=0.5)

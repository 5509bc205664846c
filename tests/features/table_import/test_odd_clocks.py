"""Times that a program can read and that are wrong: the importer asks or refuses with the remedy."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from monitor.errors import ConfigError
from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.raw_table import read_raw_table
from monitor.ingest.recognise import find_form
from tests.data.payloads.guess_tables import read_valid_rows, save_and_reload
from tests.fixtures.soak import in_soak, with_soak

NOW = datetime(2026, 6, 1, tzinfo=UTC)
BEGIN = datetime(2025, 7, 28)


def write(folder, head, rows):
    path = folder / "table.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def understand(path, zone="UTC", **answers):
    return guess(read_raw_table(path), {"zone": zone} | answers, NOW)


def list_instants(path, found):
    return [
        row["time"].astimezone(UTC).replace(tzinfo=None)
        for row in read_valid_rows(path, save_and_reload(found.mapping, path))
    ]


def list_keys(found):
    return [question.key for question in found.questions]


# ---- half days ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_min", [10, 60])
@pytest.mark.parametrize(
    ("head", "form"), [("Date,Crack 1 (mm)", "%d.%m.%Y %I:%M"), ("Date,Time,Crack 1 (mm)", "%Y-%m-%d,%I:%M:%S")]
)
def test_hours_of_half_days_without_am_or_pm_are_refused(tmp_path, step_min, head, form):
    instants = [BEGIN + timedelta(minutes=step_min * k) for k in range(400)]
    path = write(tmp_path, head, [f"{at:{form}},{k}.5" for k, at in enumerate(instants)])
    with pytest.raises(ConfigError, match="AM or PM"):
        understand(path)
    whole = form.replace("%I", "%H")
    path = write(tmp_path, head, [f"{at:{whole}},{k}.5" for k, at in enumerate(instants)])
    assert list_instants(path, understand(path)) == instants


def test_readings_of_working_hours_are_no_half_days(tmp_path):
    instants = [BEGIN + timedelta(days=k // 12, hours=1 + k % 12) for k in range(240)]
    path = write(tmp_path, "Date,Crack 1 (mm)", [f"{at:%d.%m.%Y %H:%M},{k}.5" for k, at in enumerate(instants)])
    assert list_instants(path, understand(path)) == instants


# ---- hours with a fraction ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{0:g}", "{0:.1f}", "{0:.2f}"])
def test_hours_with_a_fraction_are_refused(tmp_path, form):
    rows = [f"{BEGIN:%Y-%m-%d},{form.format(k / 2)},{k}.5" for k in range(48)]
    with pytest.raises(ConfigError, match=r"8:30|cannot be read"):
        understand(write(tmp_path, "Date,Time,Crack 1 (mm)", rows))


def test_hours_and_minutes_with_a_point_are_read(tmp_path):
    instants = [BEGIN + timedelta(minutes=15 * k) for k in range(192)]
    rows = [f"{at:%Y-%m-%d};{at.hour}.{at.minute:02};{k}.5" for k, at in enumerate(instants)]
    path = write(tmp_path, "Date;Time;Crack 1 (mm)", rows)
    assert list_instants(path, understand(path)) == instants


# ---- parts of a week or a day ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["week,tow", "GPS Week,GPS Seconds of Week", "GPSWeek,SOW", "wk,seconds of week"])
def test_seconds_of_a_gps_week_are_refused(tmp_path, head):
    rows = [f"2376,{600 * k},{k}.5" for k in range(100)]
    with pytest.raises(ConfigError, match="GPS week"):
        understand(write(tmp_path, f"{head},Crack 1 (mm)", rows))


def test_seconds_since_the_beginning_of_gps_time_are_read(tmp_path):
    rows = [f"{1_437_264_018 + 600 * k},{k}.5" for k in range(100)]  # 18 leap seconds after a whole minute
    path = write(tmp_path, "gps_seconds,Crack 1 (mm)", rows)
    first = datetime(1980, 1, 6) + timedelta(seconds=1_437_264_000)
    assert list_instants(path, understand(path)) == [first + timedelta(minutes=10 * k) for k in range(100)]


@pytest.mark.parametrize(("name", "seconds"), [("Second of day", 1), ("Minutes", 60), ("seconds", 1)])
def test_seconds_or_minutes_of_the_day_are_refused(tmp_path, name, seconds):
    instants = [BEGIN + timedelta(minutes=30 * k) for k in range(96)]
    rows = [f"{at:%Y-%m-%d},{(at.hour * 3600 + at.minute * 60) // seconds},{k}.5" for k, at in enumerate(instants)]
    with pytest.raises(ConfigError, match="of the day"):
        understand(write(tmp_path, f"Date,{name},Crack 1 (mm)", rows))


# ---- exchanged days and months --------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_h", [6, 24])
@pytest.mark.parametrize("month", [1, *in_soak(3, 12)])
@pytest.mark.parametrize(("usual", "other"), [("%d/%m/%Y", "%m/%d/%Y"), ("%m/%d/%Y", "%d/%m/%Y")])
def test_exchanged_days_and_months_are_asked_for(tmp_path, step_h, month, usual, other):
    begin = datetime(2024, month, 1)
    instants = [begin + timedelta(hours=step_h * k) for k in range(31 * 24 // step_h)]
    exchanged = [f"{at:{other if at.day <= 12 else usual} %H:%M},{k}.5" for k, at in enumerate(instants)]
    path = write(tmp_path, "Date,Crack 1 (mm)", exchanged)
    assert "dates" in list_keys(understand(path))
    plain = [f"{at:{usual} %H:%M},{k}.5" for k, at in enumerate(instants)]
    path = write(tmp_path, "Date,Crack 1 (mm)", plain)
    assert list_instants(path, understand(path)) == instants


def test_the_answer_that_dates_have_one_order_is_followed(tmp_path):
    days = [datetime(2024, month, 7) for month in range(1, 13)]
    days += [datetime(2024, 12, 13) + timedelta(days=k) for k in range(15)]
    path = write(tmp_path, "Date,Crack 1 (mm)", [f"{at:%d/%m/%Y},{k}.5" for k, at in enumerate(days)])
    assert list_keys(understand(path)) == ["dates"]
    assert list_instants(path, understand(path, dates="day first")) == days


# ---- clocks that are not turned -------------------------------------------------------------------------------------


ZONES = [("Europe/Zurich", 1, "Etc/GMT-1"), ("America/New_York", -5, "Etc/GMT+5"), ("Europe/London", 0, "UTC")]


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("step_min", with_soak(60, 30))
@pytest.mark.parametrize("begin", [datetime(2025, 3, 5), datetime(2024, 10, 20)])
@pytest.mark.parametrize("stations", [("A",), ("A", "B")])
@pytest.mark.parametrize(("zone", "hours", "fixed"), ZONES)
def test_a_clock_that_is_not_turned_is_asked_about(tmp_path, step_min, begin, stations, zone, hours, fixed):
    head = "Time;Station;Crack (mm)"
    instants = [begin + timedelta(minutes=step_min * k) for k in range(30 * 24 * 60 // step_min)]
    local = [at + timedelta(hours=hours) for at in instants]
    rows = [f"{at:%Y-%m-%d %H:%M};{name};{k}.5" for k, at in enumerate(local) for name in stations]
    path = write(tmp_path, head, rows)
    found = understand(path, zone=zone)
    assert list_keys(found) == ["which zone"]
    assert found.questions[0].choices == (fixed, zone)
    assert list_instants(path, understand(path, zone=zone, **{"which zone": fixed}))[:: len(stations)] == instants
    assert list_keys(understand(path, zone=fixed)) == []


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize("step_min", [60, 1440])
@pytest.mark.parametrize(("zone", "_hours", "_fixed"), ZONES)
def test_a_clock_that_is_turned_raises_no_question(tmp_path, step_min, zone, _hours, _fixed):
    instants = [datetime(2024, 10, 1, tzinfo=UTC) + timedelta(minutes=step_min * k) for k in range(5200)]
    instants = [at for at in instants if at < datetime(2025, 5, 1, tzinfo=UTC)]
    rows = [f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M};{k}.5" for k, at in enumerate(instants)]
    path = write(tmp_path, "Time;Crack 1 (mm)", rows)
    assert list_keys(understand(path, zone=zone)) == []


# ---- the end of a day, dates in some rows, bytes of loggers ----------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "form", "end"),
    [
        ("YYYYMMDD,HH,Crack 1 (mm)", "%Y%m%d,%H", "24"),
        ("time,Crack 1 (mm)", "%Y%m%d%H", "24"),
        ("time,Crack 1 (mm)", "%Y%m%d%H%M", "2400"),
        ("YYYY,MM,DD,hh,mm,Crack 1 (mm)", "%Y,%m,%d,%H,%M", "24,00"),
    ],
)
def test_the_hour_24_is_the_end_of_the_day(tmp_path, head, form, end):
    instants = [BEGIN + timedelta(hours=k) for k in range(1, 97)]
    rows = []
    for k, at in enumerate(instants):
        text = f"{at:{form}}"
        if at.hour == 0:
            text = f"{at - timedelta(days=1):{form}}"[: -len(end)] + end
        rows.append(f"{text},{k}.5")
    path = write(tmp_path, head, rows)
    assert list_instants(path, understand(path)) == instants


def test_a_midnight_behind_the_rows_of_one_single_day_is_refused(tmp_path):
    rows = [f"2025-07-28,{k % 24:02}:00,{k}.5" for k in range(1, 25)]
    with pytest.raises(ConfigError, match="24:00"):
        understand(write(tmp_path, "Date,Time,Crack 1 (mm)", rows))


def test_a_date_in_the_first_row_of_a_day_alone_is_refused(tmp_path):
    rows = [f"{'' if k % 24 else f'2025-07-{28 + k // 24}'},{k % 24}:00,{k}.5" for k in range(72)]
    with pytest.raises(ConfigError, match="the date in every row"):
        understand(write(tmp_path, "Date,Time,Crack 1 (mm)", rows))


def test_the_cell_that_is_no_time_is_shown(tmp_path):
    rows = [f"2025-07-{1 + k:02},{k}.5" for k in range(28)]
    rows[6::7] = [f"{row.partition(',')[0]} week total,99.5" for row in rows[6::7]]
    with pytest.raises(ConfigError, match="week total"):
        understand(write(tmp_path, "Date,Crack 1 (mm)", rows))


def test_two_forms_of_dates_in_one_column_are_named_with_a_row_of_each(tmp_path):
    rows = [f"2026-03-{day:02} 08:30,{day}.5" for day in range(1, 29)]
    rows += [f"{day:02}.04.2026 08:30,{day}.5" for day in range(1, 29)]
    with pytest.raises(ConfigError) as refused:
        understand(write(tmp_path, "Date,Crack 1 (mm)", rows))
    assert "mixes two forms of a time, such as '2026-03-01 08:30' in row 1 and '01.04.2026 08:30' in row 29" in str(
        refused.value
    )


@pytest.mark.parametrize("text", [b"%b" + b"\0" * 300, b"\0\0%b", "utf-16-le", "utf-16-be"])
def test_zeros_of_a_power_failure_and_bare_utf_16_are_read(tmp_path, text):
    instants = [BEGIN + timedelta(hours=k) for k in range(48)]
    plain = "\n".join(["time,Crack 1 (mm)", *(f"{at:%Y-%m-%d %H:%M},{k}.5" for k, at in enumerate(instants))]) + "\n"
    path = tmp_path / "table.csv"
    path.write_bytes(plain.encode(text) if isinstance(text, str) else text % plain.encode())
    assert find_form(path) == "wide"
    assert list_instants(path, understand(path)) == instants


def test_a_table_of_cartesian_positions_is_refused_with_the_file_to_use(tmp_path):
    rows = [f"G1AA 24JAN{d:02} 2024.00 4369812.1234 684021.4567 4579904.8765 0.001 0.001 0.001" for d in range(1, 29)]
    path = tmp_path / "G1AA.tenv3"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"Cartesian.*tenv3"):
        find_form(path)


def test_names_that_cannot_be_a_station_are_refused(tmp_path):
    instants = [BEGIN + timedelta(hours=k) for k in range(48)]
    names = ["-", "NaN", "n/a"]
    rows = [f"{at:%Y-%m-%d %H:%M},{name},{at:%j}.{at:%H}{j}" for at in instants for j, name in enumerate(names)]
    with pytest.raises(ConfigError, match="letter or digit"):
        understand(write(tmp_path, "time,station,Crack (mm)", rows))


def test_the_hours_of_a_day_as_columns_beside_their_sum_are_asked_for(tmp_path):
    head = ",".join(["Date", *map(str, range(1, 25)), "Total"])
    rows = [f"2025-07-{d:02}," + ",".join(f"{d}.{h}" for h in range(25)) for d in range(1, 29)]
    assert "hours" in list_keys(understand(write(tmp_path, head, rows)))

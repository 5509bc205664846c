"""Tables that can be read in more than one way: the importer reads the right one, asks, or refuses with the remedy."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitor.errors import ConfigError
from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.raw_table import read_raw_table
from tests.data.payloads.guess_tables import read_rows, read_valid_rows, save_and_reload
from tests.fixtures.soak import in_soak

NOW = datetime(2026, 6, 1, tzinfo=UTC)
UTC_ZONE = {"zone": "UTC"}
BEGIN = datetime(2025, 7, 28)


def write(folder, head, rows):
    path = folder / "table.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def understand(path, **answers):
    return guess(read_raw_table(path), UTC_ZONE | answers, NOW)


def list_instants(path, found):
    return [
        row["time"].astimezone(UTC).replace(tzinfo=None)
        for row in read_valid_rows(path, save_and_reload(found.mapping, path))
    ]


def find_question(found, key):
    return next(question for question in found.questions if question.key == key)


# ---- clocks of digits -----------------------------------------------------------------------------------------------


def write_digits(at):
    return str(100 * at.hour + at.minute)


@pytest.mark.soak
@settings(max_examples=40, deadline=None)
@given(
    step_min=st.sampled_from([1, 5, 10, 15, 20, 30, 60]),
    start_min=st.integers(0, 20).map(lambda n: 60 * n),
    count=st.integers(8, 140),
    date=st.sampled_from(["%Y%m%d", "%Y-%m-%d", "%d.%m.%Y"]),
    head=st.sampled_from(["Date,Time,Crack 1 (mm)", "Date,Clock time,Crack 1 (mm)", "Date,Time (hhmm),Crack 1 (mm)"]),
)
def test_digits_of_a_clock_are_read_right_or_asked_for(tmp_path_factory, step_min, start_min, count, date, head):
    assume(step_min > 1 or start_min + count != 24)  # the numbers 0 to 23 are the hours of a day
    instants = [BEGIN + timedelta(minutes=start_min + step_min * k) for k in range(count)]
    rows = [f"{at:{date}},{write_digits(at)},{k}.25" for k, at in enumerate(instants)]
    path = write(tmp_path_factory.mktemp("clock"), head, rows)
    found = understand(path)
    if found.questions:
        question = find_question(found, "clock")
        found = understand(path, clock="hhmm" if "hhmm" in question.choices else "hours")
    assert not found.questions
    assert list_instants(path, found) == instants


def test_one_day_of_digits_is_asked_for_and_each_answer_is_followed(tmp_path):
    rows = [f"20250728,{write_digits(BEGIN + timedelta(minutes=15 * k))},{k}.5" for k in range(96)]
    path = write(tmp_path, "Date,Time,Crack 1 (mm)", rows)
    assert find_question(understand(path), "clock").choices == ("hhmm", "hhmmss")
    assert list_instants(path, understand(path, clock="hhmm"))[-1] == BEGIN + timedelta(hours=23, minutes=45)
    assert list_instants(path, understand(path, clock="hhmmss"))[-1] == BEGIN + timedelta(minutes=23, seconds=45)


@pytest.mark.parametrize("head", ["Date,Time hhmmss,Crack 1 (mm)", "Date,Time,Crack 1 (mm)"])
def test_seconds_are_read_where_the_name_or_six_digits_say_so(tmp_path, head):
    last = 600 if "hhmmss" in head else 36_600
    instants = [BEGIN + timedelta(seconds=s) for s in range(last - 300, last)]
    rows = [f"20250728,{int(f'{at:%H%M%S}')},{k}.5" for k, at in enumerate(instants)]
    path = write(tmp_path, head, rows)
    assert list_instants(path, understand(path)) == instants


# ---- the end of a day -----------------------------------------------------------------------------------------------

SPELLINGS = {
    "one column": ("Date;Crack 1 (mm)", "{day:%d.%m.%Y} {at:%H:%M};{k}.5"),
    "two columns": ("Date;Time;Crack 1 (mm)", "{day:%d.%m.%Y};{at:%H:%M};{k}.5"),
    "half days": ("Date;Crack 1 (mm)", "{day:%Y-%m-%d} {at:%I:%M %p};{k}.5"),
    "parts": ("Year;Month;Day;Hour;Minute;Crack 1 (mm)", "{day:%Y};{day:%m};{day:%d};{at:%H};{at:%M};{k}.5"),
    "stations": ("Date;Station;Crack (mm)", "{day:%d.%m.%Y} {at:%H:%M};A;{k}.5"),
}


@pytest.mark.one_case_in(5)
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("step_min", [60, 720, *in_soak(10, 360)])
@pytest.mark.parametrize("is_newest_first", [False, True])
def test_a_midnight_written_as_the_beginning_of_the_day_it_ends_is_refused(
    tmp_path, spelling, step_min, is_newest_first
):
    head, form = SPELLINGS[spelling]
    instants = [BEGIN + timedelta(minutes=step_min * k) for k in range(1, 400)]
    begun, ended = [], []
    for k, at in enumerate(instants):
        is_midnight = at.hour == at.minute == 0
        ended.append(form.format(day=at - timedelta(days=1) if is_midnight else at, at=at, k=k))
        begun.append(form.format(day=at, at=at, k=k))
    if is_newest_first and spelling != "parts":  # parts are looked for in years that rise
        begun, ended = begun[::-1], ended[::-1]
    with pytest.raises(ConfigError, match=r"rows at 0:00 .* 24:00"):
        understand(write(tmp_path, head, ended))
    path = write(tmp_path, head, begun)
    assert sorted(list_instants(path, understand(path))) == instants


@pytest.mark.parametrize("count", [30, 100])
def test_stations_one_below_the_other_are_no_midnights(tmp_path, count):
    instants = [BEGIN + timedelta(hours=k) for k in range(count)]
    rows = [f"{at:%d.%m.%Y %H:%M};{name};{k}.5" for name in ("A", "B", "C") for k, at in enumerate(instants)]
    path = write(tmp_path, "Date;Station;Crack (mm)", rows)
    assert list_instants(path, understand(path)) == instants * 3


# ---- a beginning and an end in one cell -----------------------------------------------------------------------------

RANGES = [
    "{a:%d.%m.%Y %H:%M} - {b:%d.%m.%Y %H:%M}",
    "{a:%Y-%m-%d %H:%M}-{b:%H:%M}",
    "{a:%Y-%m-%dT%H:%M}/{b:%Y-%m-%dT%H:%M}",
    "{a:%Y-%m-%d %H:%M} to {b:%Y-%m-%d %H:%M}",
    "{a:%d/%m/%Y %H:%M} \u2013 {b:%H:%M}",
]


@pytest.mark.parametrize(
    ("form", "step_min"),
    # with steps of a day the clocks at both ends are the same, as a distance from UTC is
    [(form, step) for form in RANGES for step in (10, 60, 1440) if step < 1440 or form.count("%d") == 2],
)
def test_a_beginning_and_an_end_in_one_cell_are_refused(tmp_path, form, step_min):
    step = timedelta(minutes=step_min)
    rows = [f"{form.format(a=BEGIN + k * step, b=BEGIN + (k + 1) * step)};{k % 4}.5" for k in range(80)]
    with pytest.raises(ConfigError, match="a beginning and an end"):
        understand(write(tmp_path, "Time;Rain (mm)", rows))


@pytest.mark.parametrize("head", ["Date;Time;Rain (mm)", "Date;Period;Rain (mm)"])
def test_clocks_of_an_interval_beside_a_date_are_refused(tmp_path, head):
    hours = [BEGIN + timedelta(hours=k) for k in range(60)]
    rows = [f"{at:%d.%m.%Y;%H:%M}-{at + timedelta(hours=1):%H:%M};0.5" for at in hours]
    with pytest.raises(ConfigError, match="a beginning and an end"):
        understand(write(tmp_path, head, rows))


@pytest.mark.parametrize("offset", ["-05:00", "+01:00", "-03:30"])
def test_a_distance_from_utc_is_no_end(tmp_path, offset):
    rows = [f"{BEGIN + timedelta(hours=k):%Y-%m-%d %H:%M}{offset};0.5" for k in range(60)]
    path = write(tmp_path, "Time;Crack 1 (mm)", rows)
    sign = -1 if offset[0] == "-" else 1
    ahead = sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[4:]))
    assert list_instants(path, understand(path))[0] == BEGIN - ahead


# ---- numbers that count days ----------------------------------------------------------------------------------------


def count_days(at, since):
    return (at - since) / timedelta(days=1)


NUMBERS = {
    "year and day of the year": lambda at: f"{at:%y%j}",
    "four digits of the year": lambda at: f"{at:%Y%j}",
    "modified Julian days": lambda at: f"{count_days(at, datetime(1858, 11, 17)):.0f}",
    "days of a spreadsheet": lambda at: f"{count_days(at, datetime(1899, 12, 30)):.0f}",
    "modified Julian days with fractions": lambda at: f"{count_days(at, datetime(1858, 11, 17)) + 0.5:.1f}",
}


@settings(max_examples=40, deadline=None)
@given(
    begin=st.datetimes(datetime(2001, 1, 1), datetime(2025, 6, 1)).map(
        lambda at: at.replace(hour=0, minute=0, second=0, microsecond=0)
    ),
    count=st.integers(20, 300),
    way=st.sampled_from(sorted(NUMBERS)),
    name=st.sampled_from(["Date", "time", "epoch"]),
)
def test_numbers_that_count_days_are_read_right_or_asked_for_with_the_right_answer(
    tmp_path_factory, begin, count, way, name
):
    days = [begin + timedelta(days=k) for k in range(count)]
    rows = [f"{NUMBERS[way](at)},{k}.5" for k, at in enumerate(days)]
    path = write(tmp_path_factory.mktemp("days"), f"{name},Crack 1 (mm)", rows)
    found = understand(path)
    if found.questions:
        choices = find_question(found, "times").choices
        answer = next((choice for choice in choices if way.startswith(choice)), "as they are")
        found = understand(path, times=answer)
    noon = timedelta(hours=12) if "fractions" in way else timedelta(0)
    assert list_instants(path, found) == [at + noon for at in days]


@pytest.mark.parametrize(("name", "is_asked"), [("Date", True), ("YYDDD", True), ("Date (YYDDD)", True)])
def test_days_of_the_year_never_become_days_of_a_spreadsheet_in_silence(tmp_path, name, is_asked):
    rows = [f"{BEGIN + timedelta(days=k):%y%j},{k}.5" for k in range(50)]
    found = understand(write(tmp_path, f"{name},Crack 1 (mm)", rows))
    assert bool(found.questions) == is_asked
    assert dict(found.facts)["time"].values["first"].startswith("2025")


def test_days_of_the_year_with_a_fraction_are_asked_for(tmp_path):
    rows = [f"{BEGIN + timedelta(days=k):%y%j}.25,{k}.5" for k in range(50)]
    question = find_question(understand(write(tmp_path, "Date,Crack 1 (mm)", rows)), "times")
    assert "day of the year" in str(question.text)


@pytest.mark.parametrize(("decimals", "is_asked"), [(3, True), (4, False)])
def test_decimal_years_that_may_be_days_of_the_year_are_asked_about(tmp_path, decimals, is_asked):
    rows = [f"{2025 + (60 + k) / 10**decimals:.{decimals}f},{k}.5" for k in range(50)]
    path = write(tmp_path, "Date,Crack 1 (mm)", rows)
    assert bool(understand(path).questions) == is_asked
    assert not understand(path, times="as they are").questions


# ---- lines that are not as wide as the others -----------------------------------------------------------------------

ROWS = [f"{BEGIN + timedelta(hours=6 * k):%Y-%m-%dT%H:%M:%SZ},{2 + 0.05 * k:.3f},{11 + k % 5}.5" for k in range(40)]
NAMES = "time,displacement_mm,temperature_c"


@pytest.mark.soak
@settings(max_examples=30, deadline=None)
@given(longer=st.sets(st.integers(0, 39), max_size=40), commas=st.integers(1, 3), is_head_longer=st.booleans())
def test_empty_cells_at_the_end_of_lines_lose_no_row(tmp_path_factory, longer, commas, is_head_longer):
    rows = [row + "," * commas * (k in longer) for k, row in enumerate(ROWS)]
    path = write(tmp_path_factory.mktemp("commas"), NAMES + "," * is_head_longer, rows)
    found = understand(path)
    assert not found.questions
    assert len(list_instants(path, found)) == 80


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_decimal_comma_in_one_of_the_first_rows_is_refused_with_its_line(tmp_path, at):
    rows = [row.replace(".", ",", 1) if k == at else row for k, row in enumerate(ROWS)]
    with pytest.raises(ConfigError, match=f"line {at + 2} is a row of data with 4 cells"):
        understand(write(tmp_path, NAMES, rows))


# ---- stations that are called like no value -------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("NA", "ND", "NE"), ("null", "nan", "inf"), ("N/A", "None", "P7"), ("missing", "m")])
@pytest.mark.parametrize("column", ["point", "who"])
def test_names_that_are_words_for_no_value_are_names(tmp_path, names, column):
    days = [BEGIN + timedelta(days=k) for k in range(30)]
    rows = [f"{at:%Y-%m-%dT%H:%M:%SZ},{name},{k * n}.5" for k, at in enumerate(days) for n, name in enumerate(names)]
    path = write(tmp_path, f"time,{column},displacement_mm", rows)
    found = understand(path, **({} if column == "point" else {"rows": column}))
    assert not found.questions
    read = {row["station"] for row in read_valid_rows(path, save_and_reload(found.mapping, path))}
    assert read == {sensor.station for sensor in found.sensors}
    assert len(read) == len(names)


def test_a_word_for_no_value_in_a_few_rows_is_no_station(tmp_path):
    names = ["P1", "P2"] * 30
    names[7] = "NA"
    rows = [f"{BEGIN + timedelta(hours=k // 2):%Y-%m-%dT%H:%M:%SZ},{name},{k}.5" for k, name in enumerate(names)]
    found = understand(write(tmp_path, "time,point,displacement_mm", rows))
    assert {sensor.station for sensor in found.sensors} == {"P1", "P2"}


# ---- totals among the rows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["%d.%m.%Y", "%Y-%m-%d", "%d.%m.%Y %H:%M"])
@pytest.mark.parametrize("month", ["%B %Y", "%Y-%m", "%m/%Y"])
@pytest.mark.parametrize("words", [("Total", "Mean", "Maximum"), ("Summe", "Mittelwert", "Max."), ("Totale", "Media")])
def test_totals_among_the_rows_are_set_aside_and_named(tmp_path, form, month, words):
    rows = []
    days = [datetime(2025, 1, 1) + timedelta(days=k) for k in range(90)]
    for k, at in enumerate(days):
        rows.append(f"{at:{form}};{k % 7}.5")
        if (at + timedelta(days=1)).day == 1:
            rows.append(f"{at:{month}};99.5")
    path = write(tmp_path, "Date;Crack 1 (mm)", [*rows, *(f"{word};4.5" for word in words)])
    found = understand(path)
    assert not found.questions
    left_out = dict(found.facts)["totals"].values
    assert (left_out["n"].value, set(words) <= set(left_out["labels"].names)) == (3 + len(words), True)
    values = read_rows(path, save_and_reload(found.mapping, path))
    assert [error.code for _, error in values if error is not None] == ["bad_time"] * (3 + len(words))
    assert list_instants(path, found) == days


@pytest.mark.parametrize("word", ["Defekt", "replaced", "Marker", "Total station moved"])
def test_a_remark_among_the_rows_is_no_total(tmp_path, word):
    rows = [f"{datetime(2025, 1, 1) + timedelta(days=k):%d.%m.%Y};{k % 7}.5" for k in range(60)]
    found = understand(write(tmp_path, "Date;Crack 1 (mm)", [*rows[:30], f"{word};", *rows[30:]]))
    assert [question.key for question in found.questions] == ["part"]
    assert "totals" not in dict(found.facts)


# ---- names over two lines -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (["Date;Station 1;Station 2", ";displacement_mm;temperature_c"], {"displacement": "mm", "temperature": "degC"}),
        (["Date;Crack 1;Crack 2", ";Temperature (°C);Opening (mm)"], {"temperature": "degC", "crack_opening": "mm"}),
        (["Date;Air;Slope", ";Temp [°C];Distance [m]"], {"temperature": "degC", "displacement_distance": "m"}),
        (
            ["Date;Extensometer;Extensometer 2", ";temperature [°C];[mm]"],
            {"temperature": "degC", "crack_opening": "mm"},
        ),
        (["Date;Pore;Crack", ";pressure;opening", ";kPa;mm"], {"pore_pressure": "kPa", "crack_opening": "mm"}),
    ],
)
def test_names_that_go_on_in_a_second_line_are_read_together(tmp_path, head, expected):
    rows = [f"{BEGIN + timedelta(hours=k):%d.%m.%Y %H:%M};{k % 20}.5;{k % 9}.25" for k in range(40)]
    found = understand(write(tmp_path, "\n".join(head), rows))
    assert not found.questions
    assert {column.quantity: column.unit for column in found.mapping.columns} == expected


def test_stations_above_the_names_name_their_columns_and_words_of_the_file_do_not(tmp_path):
    rows = [f"{BEGIN + timedelta(hours=k):%d.%m.%Y %H:%M};{k % 20}.5;{k % 9}.25" for k in range(40)]
    for first, expected in (("Station", ["N1", "S1"]), ("", ["N1", "S1"]), ("Project", ["table", "table"])):
        path = write(tmp_path, f"{first};N1;S1\nDate;Crack [mm];Tilt [mrad]", rows)
        assert [column.station for column in understand(path).mapping.columns] == expected


def test_an_error_named_in_a_second_line_is_no_measurement(tmp_path):
    rows = [f"{BEGIN + timedelta(hours=k):%d.%m.%Y %H:%M};0.3;{k}.5" for k in range(40)]
    head = "Date;Crack A [mm];Crack B [mm]\n;standard deviation;value"
    assert [question.key.partition(":")[0] for question in understand(write(tmp_path, head, rows)).questions] == [
        "error"
    ]


# ---- dates without a time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d.%m.%Y", "%d-%b-%Y"])
@pytest.mark.parametrize(("answer", "hours"), [("24:00", 24), ("00:00", 0), ("7:30", 7.5)])
def test_rain_of_a_date_counts_at_the_time_that_a_person_says(tmp_path, form, answer, hours):
    days = [datetime(2025, 3, 13) + timedelta(days=k) for k in range(40)]
    path = write(tmp_path, "Date;Rain 1 (mm)", [f"{at:{form}};{k % 3}.5" for k, at in enumerate(days)])
    assert [question.key for question in understand(path).questions] == ["day"]
    found = understand(path, day=answer)
    assert list_instants(path, found) == [at + timedelta(hours=hours) for at in days]


@pytest.mark.parametrize("answer", ["25:00", "begin", "24:30"])
def test_a_time_of_the_day_that_is_none_is_refused(tmp_path, answer):
    rows = [f"{BEGIN + timedelta(days=k):%Y-%m-%d};{k % 3}.5" for k in range(40)]
    with pytest.raises(ConfigError, match="from 00:00 to 24:00"):
        understand(write(tmp_path, "Date;Rain 1 (mm)", rows), day=answer)


def test_what_is_no_rain_says_when_its_dates_count(tmp_path):
    rows = [f"{BEGIN + timedelta(days=k):%Y-%m-%d};{k}.5" for k in range(40)]
    found = understand(write(tmp_path, "Date;Crack 1 (mm)", rows))
    assert not found.questions
    assert "00:00" in str(dict(found.facts)["date"])


def test_rain_of_months_without_a_day_is_refused(tmp_path):
    rows = [f"{2020 + k // 12}-{k % 12 + 1:02};{k % 9}.5" for k in range(40)]
    with pytest.raises(ConfigError, match="last day of each month"):
        understand(write(tmp_path, "Month date;Rain 1 (mm)", rows))

"""What times of files count, however they are spelled: eras, beginnings, halves of the day; and what cannot be."""

import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import ConfigError, PayloadError
from monitor.features.forecasts.cli.curve_file import read_curve
from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.preview import PreviewRequest
from monitor.features.table_import.guess.preview import preview_file as understand_in_worker
from monitor.features.table_import.guess.raw_table import read_raw_table
from monitor.ingest.files.mapping import load_mapping
from monitor.ingest.files.time_rule import TimeRule
from monitor.ingest.text.clocks import normalise_time
from monitor.ingest.text.counts import find_time_count
from monitor.ingest.text.plausible_times import doubt_count, doubt_span
from tests.data.payloads.guess_tables import read_valid_rows, save_and_reload, write_table
from tests.fixtures.soak import with_soak

NOW = datetime(2026, 6, 1, tzinfo=UTC)
BEGIN = datetime(2025, 2, 13, 5)
HOURS = tuple(BEGIN + timedelta(hours=k) for k in range(60))
BLANKS = ("\u202f", "\u00a0", "\u2009", "\u3000", "  ", "\u200e ", " \u200b")
HALVES = MappingProxyType(
    {
        "AM": ("AM", "am", "a.m.", "a. m.", "A.M.", "a.\u202fm.", "上午", "午前", "오전", "vorm.", "π.μ.", "ص"),
        "PM": ("PM", "pm", "p.m.", "p. m.", "P.M.", "p.\u00a0m.", "下午", "午後", "오후", "nachm.", "μ.μ.", "م"),
    }
)


def lay(path, head, spell, more=""):
    return read_raw_table(write_table(path, head, (f"{spell(at)};{k}.5{more}" for k, at in enumerate(HOURS))))


def read_times(look, answers, now=NOW):
    """The instants as a mapping that was written and read again has them."""
    found = guess(look, {"zone": "UTC"} | answers, now)
    assert not found.questions, found.questions
    return [
        row["time"].astimezone(UTC) for row in read_valid_rows(look.path, save_and_reload(found.mapping, look.path))
    ]


@given(st.datetimes(datetime(1960, 1, 1), datetime(2026, 1, 1)), st.randoms())
def test_every_blank_and_every_half_of_the_day_is_read(at, rng):
    half = rng.choice(HALVES[f"{at:%p}"])
    clock = f"{at:%I:%M}" if rng.random() < 0.5 else f"{int(f'{at:%I}')}:{at:%M}"
    blank = rng.choice(BLANKS)
    text = f"{at:%d/%m/%Y}{rng.choice(('', ','))}{blank}" + (
        f"{half}{rng.choice(('', ' '))}{clock}" if rng.random() < 0.3 and len(half) < 4 else f"{clock}{blank}{half}"
    )
    assert TimeRule(("t",), "%d/%m/%Y %I:%M %p").read_naive(text) == at.replace(second=0, microsecond=0)


@given(
    st.datetimes(datetime(1960, 1, 1), datetime(2026, 1, 1)), st.sampled_from(["時分秒", "时分秒", "点分秒", "시분초"])
)
def test_clocks_in_words_and_an_hour_0_of_half_a_day_are_read(at, words):
    hour = at.hour % 12 if at.second % 2 else at.hour % 12 or 12
    text = f"{at:%Y/%m/%d} {'下午' if at.hour > 11 else '上午'}{hour}{words[0]}{at:%M}{words[1]}{at:%S}{words[2]}"
    assert TimeRule(("t",), "%Y/%m/%d %I:%M:%S %p").read_naive(text) == at.replace(microsecond=0)


@given(st.datetimes(datetime(1960, 1, 1), datetime(2026, 1, 1)), st.randoms())
def test_dates_and_clocks_are_read_whatever_stands_between_and_behind_them(at, rng):
    form = rng.choice(["%d.%m.%Y", "%Y-%m-%d", "%d/%m/%Y"])
    clock = rng.choice(["%H:%M", "%H:%M:%S"])
    behind = rng.choice(["", " Uhr", " h", " hrs", "h"])
    between = rng.choice([" - ", ", ", "_", " um ", " at ", " "])
    text = at.strftime(rng.choice([f"{form}{between}{clock}{behind}", f"{clock} {form}", f"{clock}, {form}"]))
    right = at.replace(microsecond=0) if clock.endswith("S") else at.replace(second=0, microsecond=0)
    assert TimeRule(("t",), f"{form} {clock}").read_naive(text) == right
    assert TimeRule(("t",), f"{form}, {clock}").read_naive(f"{at.strftime(f'{form}, {clock}')}") == right
    assert (
        normalise_time(f"{at:%d/%b/%Y:%H:%M:%S} +0100") == f"{at:%d/%b/%Y %H:%M:%S} +0100"
    )  # as servers of the web do
    offset = rng.choice([" UTC+1", " UTC+01:00", " GMT+1", "GMT+0100"])
    assert TimeRule(("t",), "iso").read_naive(f"{at:%Y-%m-%d %H:%M:%S}{offset}").utcoffset() == timedelta(hours=1)
    for form in ("%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M", "%Y-%m-%dT%H:%M:%S.%f", "%b %d, %Y %H:%M", "%d-%b-%y", "%H%M"):
        assert normalise_time(at.strftime(form)) == at.strftime(form), "what was read before is spelled as before"


@pytest.mark.parametrize("digits", [3, 6, 7, 9])
@pytest.mark.parametrize("mark", [".", ","])
def test_micro_and_nanoseconds_are_read_to_the_microsecond(tmp_path, digits, mark):
    part = f"{mark}{'250000000'[:digits]}"
    look = lay(tmp_path / "f.csv", "Time;Crack 1 (mm)", lambda at: f"{at:%d.%m.%Y %H:%M:%S}{part}")
    assert read_times(look, {})[0] == BEGIN.replace(tzinfo=UTC, microsecond=250_000)
    assert TimeRule(("t",)).read(f"2025-02-13T05:00:00{part}z") == BEGIN.replace(tzinfo=UTC, microsecond=250_000)


@pytest.mark.parametrize(("unit", "per_s"), [("s", 1), ("ms", 1e3), ("us", 1e6), ("ns", 1e9)])
def test_numbers_since_1970_are_known_by_their_size(tmp_path, unit, per_s):
    count = lambda at: f"{int(at.replace(tzinfo=UTC).timestamp() * per_s)}"  # noqa: E731
    look = lay(tmp_path / "f.csv", "epoch;Crack 1 (mm)", count)
    assert read_times(look, {}) == [at.replace(tzinfo=UTC) for at in HOURS]


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("first", [1, 1601])
@pytest.mark.parametrize("year", [1990, 2008, 2025, 2040])
def test_ticks_of_100_ns_are_no_nanoseconds_since_1970(tmp_path, first, year):
    """Their zone is open, and their size is that of nanoseconds of the years 1973 to 1991: refused."""
    count = lambda at: f"{(at.replace(year=year) - datetime(first, 1, 1)) // timedelta(microseconds=1) * 10}"  # noqa: E731
    look = lay(tmp_path / "f.csv", "Time;Crack 1 (mm)", count)
    with pytest.raises(ConfigError, match="no form of a time known here"):
        guess(look, {"zone": "UTC"}, NOW)


@pytest.mark.parametrize("begin", [datetime(2024, 2, 27, 5), datetime(2025, 4, 20)])
def test_an_era_is_asked_about_and_believed_where_words_beside_the_time_name_it(tmp_path, begin, monkeypatch):
    monkeypatch.setattr(
        "tests.features.table_import.test_clocks.HOURS", [begin + timedelta(hours=k) for k in range(200)]
    )
    right = [(begin + timedelta(hours=k)).replace(tzinfo=UTC) for k in range(200)]
    spell = lambda at: f"{at:%d/%m/}{at.year + 543} {at:%H:%M}"  # noqa: E731
    for head in ("Date (B.E.)", "วันที่ (พ.ศ.)"):
        assert read_times(lay(tmp_path / "f.csv", f"{head};Crack 1 (mm)", spell), {}) == right
    look = lay(tmp_path / "f.csv", "Date;Crack 1 (mm)", spell)
    questions = {q.key: q for q in guess(look, {"zone": "UTC"}, NOW).questions}
    assert "Buddhist era" in questions["times"].choices
    assert read_times(look, {"times": "Buddhist era"}) == right


DIGITS = ("%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S", "%Y%j%H%M", "%Y%j%H%M%S", "%Y-%jT%H:%M", "%Y%m%dT%H%M%S")


@pytest.mark.parametrize("form", DIGITS)
@given(begin=st.datetimes(datetime(1960, 1, 1), datetime(2026, 1, 1)))
@settings(max_examples=6, deadline=None)
def test_digits_that_are_days_count_nothing(tmp_path_factory, form, begin):
    """In every width: a file of ten figures is no seconds since 1970, which end beyond all measured years."""
    hours = [begin.replace(minute=0, second=0, microsecond=0) + timedelta(hours=k) for k in range(60)]
    rows = (f"{at.strftime(form)};{k}.5" for k, at in enumerate(hours))
    path = write_table(tmp_path_factory.mktemp("digits") / "f.csv", "Time;Crack 1 (mm)", rows)
    assert read_times(read_raw_table(path), {}) == [at.replace(tzinfo=UTC) for at in hours]


@pytest.mark.parametrize("form", ["%Y-%m", "%Y/%m", "%m/%Y"])
def test_months_of_one_year_are_no_days_of_it(tmp_path, form):
    months = [datetime(2025, k, 1) for k in range(1, 13)]
    rows = (f"{at.strftime(form)};{k}.5" for k, at in enumerate(months))
    path = write_table(tmp_path / "f.csv", "Month;Crack 1 (mm)", rows)
    assert read_times(read_raw_table(path), {}) == [at.replace(tzinfo=UTC) for at in months]


def test_years_of_two_digits_among_figures_are_asked_about_and_seconds_stay_seconds(tmp_path):
    look = lay(tmp_path / "f.csv", "Time;Crack 1 (mm)", lambda at: f"{at:%y%m%d%H%M}")
    assert [q.key for q in guess(look, {"zone": "UTC"}, NOW).questions] == ["times"]
    look = lay(tmp_path / "f.csv", "Time;Crack 1 (mm)", lambda at: f"{at.replace(tzinfo=UTC).timestamp():.0f}")
    assert read_times(look, {}) == [at.replace(tzinfo=UTC) for at in HOURS]


@pytest.mark.parametrize("seed", range(12))
def test_small_numbers_behind_a_date_are_parts_of_a_clock_by_their_names_alone(tmp_path, seed):
    chance = random.Random(seed)
    named = ("Year Month Day", "Jahr Monat Tag Stunde", "Anno Mese Giorno Ora Minuto", "Year DOY Hour")
    parts = chance.choice([*named, "Y M D h m s", "yyyy mm dd hh mi ss"]).split()
    step = timedelta(days=1) if len(parts) == 3 and "DOY" not in parts else timedelta(hours=1)
    times = [BEGIN.replace(hour=0) + k * step for k in range(50)]
    second = chance.choice(["0", "0.0", "00.000"])
    spelled = [(at.year, at.month, at.day, at.hour, at.minute, second)[: len(parts)] for at in times]
    if "DOY" in parts:
        spelled = [(at.year, at.timetuple().tm_yday, at.hour) for at in times]
    lines = [",".join(map(str, [*row, chance.randrange(24)])) for row in spelled]
    (tmp_path / "f.csv").write_text("\n".join([",".join([*parts, "Crack 1 (mm)"]), *lines, ""]))
    look = read_raw_table(tmp_path / "f.csv")
    assert [s.quantity for s in guess(look, {"zone": "UTC"}, NOW).sensors] == ["crack_opening"]
    assert read_times(look, {}) == [at.replace(tzinfo=UTC) for at in times]


J2000 = datetime(2000, 1, 1, 12)
BEGINNINGS = MappingProxyType(
    {
        "sec_j2000": (1.0, J2000),
        "Seconds past J2000": (1.0, J2000),
        "seconds since 2000-01-01": (1.0, datetime(2000, 1, 1)),
        "time [s since 1904-01-01]": (1.0, datetime(1904, 1, 1)),
        "LabVIEW time": (1.0, datetime(1904, 1, 1)),
        "days_since_1950_01_01": (86400.0, datetime(1950, 1, 1)),
        "hours since 2024-12-31 12:00": (3600.0, datetime(2024, 12, 31, 12)),
        "minutes since 2001-01-01": (60.0, datetime(2001, 1, 1)),
        "timestamp (ms since 2000)": (1e-3, datetime(2000, 1, 1)),
        "Zeit (Tage seit 1900-01-01)": (86400.0, datetime(1900, 1, 1)),
    }
)


@pytest.mark.parametrize("head", BEGINNINGS)
def test_a_beginning_beside_the_time_is_believed(tmp_path, head):
    one, since = BEGINNINGS[head]
    look = lay(tmp_path / "f.csv", f"{head};Crack 1 (mm)", lambda at: f"{(at - since).total_seconds() / one:.9f}")
    read = read_times(look, {})
    assert max(abs(a - b.replace(tzinfo=UTC)) for a, b in zip(read, HOURS, strict=True)) < timedelta(milliseconds=2)


def test_gps_time_is_turned_into_utc_and_seconds_and_zones_that_end_ahead_of_now_asked_about(tmp_path):
    begin = datetime(1980, 1, 6)
    look = lay(tmp_path / "f.csv", "gps_seconds;Crack 1 (mm)", lambda at: f"{(at - begin).total_seconds() + 18:.0f}")
    assert read_times(look, {}) == [at.replace(tzinfo=UTC) for at in HOURS]
    look = lay(tmp_path / "f.csv", "GPST;Crack 1 (mm)", lambda at: f"{at + timedelta(seconds=18):%Y-%m-%d %H:%M:%S}")
    assert read_times(look, {}) == [at.replace(tzinfo=UTC) for at in HOURS]
    look = lay(tmp_path / "f.csv", "GPS time (UTC);Crack 1 (mm)", lambda at: f"{at:%Y-%m-%d %H:%M:%S}")
    assert read_times(look, {}) == [at.replace(tzinfo=UTC) for at in HOURS]
    begin = datetime(1904, 1, 1)
    look = lay(tmp_path / "f.csv", "time;Crack 1 (mm)", lambda at: f"{(at - begin).total_seconds():.0f}")
    (question,) = guess(look, {}, NOW).questions
    assert (question.key, "since 1904" in question.choices) == ("times", True)
    assert "lies ahead of now" in question.text
    assert read_times(look, {"times": "since 1904"}) == [at.replace(tzinfo=UTC) for at in HOURS]
    look = lay(tmp_path / "f.csv", "Time;Crack 1 (mm)", lambda at: f"{at:%Y-%m-%d %H:%M}")
    now = (HOURS[-1] - timedelta(hours=1)).replace(tzinfo=UTC)
    assert [q.key for q in guess(look, {"zone": "UTC"}, now).questions] == ["times"]
    assert not guess(look, {"zone": "Etc/GMT-2"}, now).questions


@pytest.mark.parametrize("text", ["Rain since 2020 (mm)", "GPS antenna rise [mm]", "Pegel H 2000 [m]", "Crack (mm)"])
def test_words_of_other_columns_are_no_beginning(tmp_path, text):
    path = write_table(tmp_path / "f.csv", f"Time;{text}", (f"{at:%Y-%m-%d %H:%M};{k}" for k, at in enumerate(HOURS)))
    answers = {"zone": "UTC", "quantity": "rain", "unit": "mm", "quantity:m": "water_level"}
    found = guess(read_raw_table(path), answers, NOW)
    assert dict(found.facts)["time"].startswith("Time (")


def test_a_workbook_that_counts_from_1904_is_believed(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    path = tmp_path / "book.xlsx"
    book = openpyxl.Workbook()
    book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904
    sheet = book.active
    sheet.append(["Date", "Crack 1 [mm]"])
    days = [BEGIN.replace(hour=0) + timedelta(days=k) for k in range(40)]
    for k, at in enumerate(days):
        sheet.append([(at - datetime(1904, 1, 1)).days, k + 0.5])
    book.save(path)
    assert read_times(read_raw_table(path), {}) == [at.replace(tzinfo=UTC) for at in days]
    mapping = '[time]\ncolumn = "Date"\nformat = "excel"\nzone = "UTC"\n[[column]]\nname = "Crack 1 [mm]"\n'
    (tmp_path / "m.toml").write_text(f'{mapping}station = "C1"\nquantity = "crack_opening"\nunit = "mm"\n')
    assert read_valid_rows(path, load_mapping(tmp_path / "m.toml"))[0]["time"] == days[0].replace(tzinfo=UTC)


@given(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)), st.timedeltas(timedelta(0), timedelta(days=4000)))
def test_a_record_is_doubted_where_it_ends_after_now_or_begins_before_1950(first, length):
    first, last = first.replace(tzinfo=UTC), first.replace(tzinfo=UTC) + length
    cannot_be = first < datetime(1950, 1, 1, tzinfo=UTC) or last > NOW + timedelta(minutes=5)
    assert (doubt_span(first, last, NOW) is not None) == cannot_be


@pytest.mark.parametrize("years", [5, 543, -100])
@pytest.mark.parametrize("spelled", ["%Y-%m-%d %H:%M", "%d/%m/%Y %H:%M", "%Y-%m-%dT%H:%M:%SZ"])
def test_times_that_cannot_be_are_asked_about_by_the_command_line_and_on_the_page(tmp_path, years, spelled):
    look = lay(tmp_path / "f.csv", "Time;Crack 1 (mm)", lambda at: at.replace(year=at.year + years).strftime(spelled))
    for questions in (
        guess(look, {"zone": "UTC"}).questions,
        understand_in_worker(PreviewRequest(str(look.path), "f.csv", {"zone": "UTC"}, is_new=False)).questions,
    ):
        (question,) = questions
        assert (question.key, question.choices[-1]) == ("times", "as they are")
    assert not guess(look, {"zone": "UTC", "times": "as they are"}).questions


@pytest.mark.parametrize("text", ["26-01-12", "12-01-26", "26/1/12", "126-01-12"])
def test_a_year_of_two_digits_is_no_year_of_our_era(tmp_path, text):
    path = tmp_path / "curve.csv"
    path.write_text("time,disp\n" + f"{text},1\n" * 9)
    with pytest.raises(PayloadError, match="is not of the form"):
        read_curve(path, "displacement")
    with pytest.raises(PayloadError, match="is not of the form"):
        TimeRule(("t",)).read_naive(text)


def test_times_that_cannot_be_and_words_that_gainsay_a_mapping_are_a_doubt(tmp_path):
    path = tmp_path / "curve.csv"
    rows = (f"{at.replace(year=2094):%Y-%m-%dT%H:%M:%SZ},{k}\n" for k, at in enumerate(HOURS))
    path.write_text("".join(["time,disp\n", *rows]))
    notes = read_curve(path, "displacement").notes
    assert any("can the times be right? its times end at 2094" in note for note in notes)
    first, last = (datetime(1993, 1, d, tzinfo=UTC) for d in (1, 9))
    assert doubt_count("seconds since 2000-01-01", None, first, last, NOW) is not None
    late = datetime(2025, 1, 1, tzinfo=UTC)
    assert doubt_count("GPS time", None, late, NOW, NOW) is None, "it counts from 1970"
    assert find_time_count("Time") is None


@pytest.mark.soak
@pytest.mark.parametrize("count", with_soak(15, 60))
def test_times_with_signs_of_any_kind_end_in_one_line(tmp_path, count):
    rng = random.Random(5)
    signs = [*"0123456789/:. -TzZapm", *BLANKS, "พ", "下", "٣", "\u202e"]
    for k in range(count):
        cells = ["".join(rng.choices(signs, k=rng.randint(1, 24))) for _ in range(20)]
        path = write_table(tmp_path / f"{k}.csv", "Time;Crack 1 (mm)", (f"{c};{n}.5" for n, c in enumerate(cells)))
        with suppress(ConfigError):  # nothing else may come
            guess(read_raw_table(path), {"zone": "UTC", "dates": "day first"}, NOW)


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("begin", [(1970, 1, 1), (1980, 1, 6), (1990, 1, 1), (2000, 1, 1)])
@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("lone", [True, False])
def test_rows_of_a_clock_that_was_never_set_are_asked_about(tmp_path, begin, count, lone):
    first = datetime(*begin)
    early = [first + timedelta(minutes=10 * k) for k in range(count)]
    if not lone:  # a long record that begins there
        early = [first + timedelta(days=100 * k) for k in range(200) if first + timedelta(days=100 * k) < BEGIN]
    path = tmp_path / "f.csv"
    rows = [f"{at:%Y-%m-%d %H:%M:%S};{k}.5" for k, at in enumerate((*early, *HOURS))]
    path.write_text("\n".join(["Time;Crack 1 (mm)", *rows]) + "\n")
    questions = guess(read_raw_table(path), {"zone": "UTC"}, NOW).questions
    assert [q.key for q in questions] == (["times"] if lone else [])
    assert not guess(read_raw_table(path), {"zone": "UTC", "times": "as they are"}, NOW).questions

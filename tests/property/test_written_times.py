"""A time in any known form of a table is read correctly, leads to a question, or is refused. It is never misread.

The questions are answered as by the owner of the record: with the choice whose example is right.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import ConfigError
from monitor.features.table_import.guess import clock_columns, time_questions
from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.raw_table import read_raw_table
from monitor.features.table_import.guess.time_forms import CLOCK_FORMS, DATE_FORMS, MONTH_FORMS, TIMED_FORMS
from monitor.features.table_import.guess.times import Times
from tests.data.payloads.guess_tables import read_valid_rows, save_and_reload, write_table
from tests.fixtures.examples import expensive_examples
from tests.fixtures.soak import in_soak

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MJD_ZERO = datetime(1858, 11, 17)
EXCEL_ZERO = datetime(1899, 12, 30)
STEPS = [timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6), timedelta(days=1), timedelta(days=7)]


@dataclass(frozen=True)
class Record:
    """A record, and the cells by which a table writes its times."""

    head: str
    cells: tuple[str, ...]
    instants: tuple[datetime, ...]


def cut(at, form):
    """Return an instant with the parts that a form has."""
    at = at.replace(microsecond=0)
    if "%S" not in form:
        at = at.replace(second=0)
    if "%M" not in form:
        at = at.replace(minute=0)
    return at if "%H" in form or "%I" in form else at.replace(hour=0)


def write(form, instants, head="Time"):
    instants = tuple(dict.fromkeys(cut(at, form) for at in instants))
    return Record(head, tuple(at.strftime(form) for at in instants), instants)


def write_number(name, instants):
    if name == "mjd":
        return Record("epoch", tuple(f"{(at - MJD_ZERO) / timedelta(days=1):.6f}" for at in instants), instants)
    if name == "excel":
        return Record("Date", tuple(f"{(at - EXCEL_ZERO) / timedelta(days=1):.6f}" for at in instants), instants)
    if name == "hhmm":
        return Record("Date;Time", tuple(f"{at:%Y%m%d};{100 * at.hour + at.minute}" for at in instants), instants)
    unit_s = {"s": 1, "ms": 1000}[name]
    counts = (int(at.replace(tzinfo=UTC).timestamp() * unit_s) for at in instants)
    return Record("timestamp", tuple(map(str, counts)), instants)


def answer_by_example(question, record):
    """Return the choice whose example is right for the rows that it shows; None if no example is right."""
    if question.key == "zone":
        return "UTC"
    rows = {cell.replace(";", " ")[:40]: at for cell, at in zip(record.cells, record.instants, strict=True)}
    for choice, example in question.examples.items():
        shown = re.findall(r"(?:^|; )(.+?) becomes (\d{4}-\d\d-\d\d[ T][\d:]+)Z?", example)
        if shown and all(is_close(rows.get(cell), datetime.fromisoformat(at)) for cell, at in shown):
            return choice
    return None


def is_close(instant, shown_at):
    return instant is not None and abs(instant - shown_at) < timedelta(minutes=1)


def check_record(folder: Path, record: Record) -> bool:
    """Return whether the record is read; raise AssertionError if it is read as another one."""
    rows = (f"{cell};{k % 7}.5" for k, cell in enumerate(record.cells))
    path = write_table(folder / "table.csv", f"{record.head};Crack 1 (mm)", rows)
    answers = {"zone": "UTC"}
    for _ in range(6):
        try:
            found = guess(read_raw_table(path), answers, NOW)
        except ConfigError:
            return False
        if not found.questions:
            break
        for question in found.questions:
            answer = answer_by_example(question, record)
            assert answer is not None, f"no example of {question.key} is right: {dict(question.examples)}"
            answers[question.key] = answer
    read = [
        row["time"].astimezone(UTC).replace(tzinfo=None)
        for row in read_valid_rows(path, save_and_reload(found.mapping, path))
    ]
    assert len(read) == len(record.instants)
    assert all(abs(a - b) < timedelta(seconds=1) for a, b in zip(read, record.instants, strict=True))
    return True


@st.composite
def list_instants(draw):
    start = draw(st.datetimes(datetime(2005, 1, 1), datetime(2025, 6, 1))).replace(minute=0, second=0, microsecond=0)
    count = draw(st.integers(4, 40))
    if draw(st.booleans()):
        step = draw(st.sampled_from(STEPS))
        return tuple(start + k * step for k in range(count))
    steps = draw(st.lists(st.integers(1, 60), min_size=count, max_size=count))  # irregular surveys
    days = [start.replace(hour=0)]
    for step in steps:
        days.append(days[-1] + timedelta(days=step))
    return tuple(day for day in days if day < datetime(2026, 1, 1))


@st.composite
def list_records(draw):
    instants = draw(list_instants())
    kind = draw(st.sampled_from(["one column", "two columns", "date", "number"]))
    if kind == "number":
        return write_number(draw(st.sampled_from(["mjd", "excel", "s", "ms"])), instants)
    date = draw(st.sampled_from(DATE_FORMS))
    if kind == "date":
        return write(date, instants, "Date")
    clock = draw(st.sampled_from(CLOCK_FORMS))
    return (
        write(f"{date} {clock}", instants) if kind == "one column" else write(f"{date};{clock}", instants, "Date;Time")
    )


@expensive_examples(150, deadline=None)
@given(record=list_records())
def test_written_times_are_read_right_asked_about_or_refused(tmp_path_factory, record):
    check_record(tmp_path_factory.mktemp("times"), record)


HOURS = tuple(datetime(2025, 2, 13, 5) + timedelta(hours=17 * k) for k in range(57))


FORMS = [*TIMED_FORMS, *DATE_FORMS]
OTHER_FORMS = [form for number, form in enumerate(FORMS) if number % 5]


# Every fifth form contains nearly every date form and every form of the clock.
@pytest.mark.one_case_in(12)
@pytest.mark.parametrize("form", [*FORMS[::5], *in_soak(*OTHER_FORMS)])
def test_every_form_of_a_long_record_is_read(tmp_path, form):
    assert check_record(tmp_path, write(form, HOURS))


@pytest.mark.parametrize("form", MONTH_FORMS)
def test_every_form_of_months_is_read(tmp_path, form):
    months = tuple(datetime(2020 + k // 12, k % 12 + 1, 1) for k in range(40))
    assert check_record(tmp_path, write(form, months, "Month date"))


# ---- mutants: a wrong program is rejected by the property -----------------------------------------------------------

SHORT = tuple(datetime(2026, 3, 1) + timedelta(days=k) for k in range(10))
DAY_OF_DIGITS = tuple(datetime(2026, 3, 1) + timedelta(minutes=10 * k) for k in range(144))
AMBIGUOUS = [
    write(form, SHORT, "Date") for form in ("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d.%m.%y", "%y.%m.%d", "%m-%d-%y")
]
AMBIGUOUS += [write_number("hhmm", DAY_OF_DIGITS), write_number("mjd", SHORT), write_number("excel", SHORT)]


def test_ambiguous_records_are_read_with_their_answers(tmp_path):
    assert all(check_record(tmp_path, record) for record in AMBIGUOUS)


def take_first_in_silence(monkeypatch):
    monkeypatch.setattr(Times, "clearly_leads", lambda self, other: self is not other)


def read_digits_as_seconds(monkeypatch):
    monkeypatch.setattr(clock_columns, "_list_one_day_clocks", lambda *_: ["%H%M%S"])


def swap_examples(monkeypatch):
    def show(table, rules):
        shown = right(table, rules)
        return dict(zip(shown, reversed(shown.values()), strict=True))

    right = time_questions.show_instants
    monkeypatch.setattr(time_questions, "show_instants", show)


@pytest.mark.parametrize("mutate", [take_first_in_silence, read_digits_as_seconds, swap_examples])
def test_a_program_that_guesses_in_silence_is_rejected(tmp_path, monkeypatch, mutate):
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        for record in AMBIGUOUS:
            check_record(tmp_path, record)

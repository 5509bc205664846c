"""Duty plans: shifts of a year in several zones, changes of plans, texts of plans, and the command line."""

import io
import json
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.cli.main import run_command
from monitor.features.duty.rota import (
    DAYS,
    Override,
    Roster,
    Rota,
    find_gap,
    format_plan,
    list_shifts,
    read_plan,
    split_days,
    who_is_on_duty,
)
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import SERVICE_ACTOR
from monitor.text.zones import to_instant
from tests.data.accounts import add_account
from tests.data.store_rows import tell
from tests.data.watched_slope import write_service
from tests.features.duty.test_duty import SITE
from tests.tables import tabulated

# Both hemispheres, half an hour of summer time, no summer time, and a zone whose clock changes at midnight.
ZONES = ["Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago"]
PEOPLE = ["Mori", "Rossi", "Frei", "Okafor"]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


@cache
def read(text):
    return read_plan(text, PEOPLE)


def rota(text, zone, valid_from=START - 30 * DAY, begins=date(2025, 12, 1)):
    weeks, turns = read_plan(text, PEOPLE)
    return Rota(zone, weeks, begins, turns, valid_from)


minutes = st.integers(0, 1439).map(lambda m: f"{m // 60:02}:{m % 60:02}")
lines = st.tuples(
    st.integers(1, 3), st.sampled_from(DAYS), minutes, st.lists(st.sampled_from(PEOPLE), max_size=2, unique=True)
)


@st.composite
def plans(draw):
    drawn_lines = draw(st.lists(lines, min_size=1, max_size=8, unique_by=lambda x: x[:3]))
    return "\n".join(f"week {week} {day} {at} {', '.join(people) or 'nobody'}" for week, day, at, people in drawn_lines)


def find_planned(text, zone, at):
    """Return the people of the last line before a local time. This is an independent implementation."""
    weeks, turns = read(text)
    there = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
    minute = int((there - datetime(2025, 12, 1)) / timedelta(minutes=1)) % (weeks * 7 * 1440)
    return ([turn for turn in turns if turn.minute <= minute] or turns)[-1].people


@cache
def is_near_change(zone, at):
    """Return whether the clock changes within a few hours. Local times are ambiguous or missing there."""
    at = at.replace(minute=0)
    return len({(at + h * HOUR).astimezone(ZoneInfo(zone)).utcoffset() for h in range(-3, 5, 2)}) > 1


@settings(max_examples=15)
@given(plans(), st.sampled_from(ZONES), st.lists(st.integers(0, 365 * 1440 - 1), min_size=30, max_size=30))
def test_shifts_of_a_year_match_the_plan_without_gaps_or_overlaps(text, zone, moments):
    roster = Roster((rota(text, zone),))
    shifts = list_shifts(roster, START, END)
    assert (shifts[0].from_at, shifts[-1].to_at) == (START, END)
    for earlier, later in pairwise(shifts):
        assert earlier.to_at == later.from_at
        assert earlier.from_at < earlier.to_at
        assert earlier.people != later.people
        assert who_is_on_duty(roster, later.from_at) == later.people  # A shift includes its start.
        assert who_is_on_duty(roster, later.from_at - timedelta(microseconds=1)) == earlier.people
    for moment in moments:
        at = START + timedelta(minutes=moment)
        now = who_is_on_duty(roster, at)
        assert [s.people for s in shifts if s.from_at <= at < s.to_at] == [now]
        if not is_near_change(zone, at):
            assert now == find_planned(text, zone, at)


def test_night_shift_and_hand_over_at_a_change_of_the_clock():
    roster = Roster((rota("daily 07:00 Mori\ndaily 19:00 Rossi", "Europe/Zurich"),))
    nights = [s for s in list_shifts(roster, START + DAY, END - DAY) if s.people == ("Rossi",)][1:-1]
    spans = {str(s.from_at.date()): (s.to_at - s.from_at) / HOUR for s in nights}
    assert {k: v for k, v in spans.items() if v != 12.0} == {"2026-03-28": 11.0, "2026-10-24": 13.0}
    days = split_days(list_shifts(roster, START, END), "Europe/Zurich")
    long = {}
    for day, shift in days:
        long[str(day)] = long.get(str(day), 0.0) + (shift.to_at - shift.from_at) / HOUR
    assert (long["2026-03-29"], long["2026-10-25"], long["2026-07-01"]) == (23.0, 25.0, 24.0)
    roster = Roster((rota("Sun 02:30 Mori\nMon 02:30 Rossi", "Europe/Zurich"),))
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 02:30 occurs twice; this is the first time
    assert [who_is_on_duty(roster, first + k * HOUR)[0] for k in (-0.01, 0, 0.5, 1, 1.5)] == ["Rossi"] + ["Mori"] * 4
    spring = datetime(2026, 3, 29, 1, tzinfo=UTC)  # The clock skips from 02:00 to 03:00.
    assert [who_is_on_duty(roster, spring + k * HOUR)[0] for k in (-0.01, 0, 0.5)] == ["Rossi", "Mori", "Mori"]


@given(st.sampled_from(ZONES), st.dates(date(2026, 1, 1), date(2026, 12, 31)), st.integers(0, 1438))
def test_later_local_times_are_never_earlier_instants(zone, day, minute):
    assert to_instant(day, minute, zone) <= to_instant(day, minute + 1, zone) <= to_instant(day + DAY, 0, zone)


@settings(max_examples=20)
@given(plans())
def test_formatted_plan_is_read_back_unchanged(text):
    weeks, turns = read_plan(text, PEOPLE)
    again = read_plan(format_plan(weeks, turns), PEOPLE)
    assert again == ((weeks, turns) if weeks == again[0] else again)
    assert again[1] == turns


def test_changes_apply_to_the_plan_until_they_end():
    base = rota("Mon 08:00 Mori, Rossi", "UTC")
    at = datetime(2026, 3, 4, 12, tzinfo=UTC)

    def ask(*overrides, members=None, when=at):
        return who_is_on_duty(Roster((base,), overrides, members), when)

    ill = Override(1, at - HOUR, at + HOUR, "Mori", "")
    assert ask(ill) == ("Rossi",)  # The second person moves up.
    assert ask(ill, when=at + HOUR) == ask(ill, when=at - 2 * HOUR) == ("Mori", "Rossi")
    assert ask(Override(1, at, at + HOUR, "mori", "Frei")) == ("Frei", "Rossi")
    assert ask(Override(1, at, at + HOUR, "Mori", "Rossi")) == ("Rossi",)  # A person is not both first and second.
    assert ask(Override(1, at, at + HOUR, "", "Frei")) == ("Frei", "Rossi")
    assert ask(ill, Override(2, at, at + HOUR, "Rossi", "")) == ()
    assert ask(Override(1, at, at + HOUR, "Mori", "Frei"), Override(2, at, at + HOUR, "Frei", "Okafor")) == (
        "Okafor",
        "Rossi",
    )
    assert ask(members=frozenset({"Rossi"})) == ("Rossi",)  # Mori has left the team.
    later = Rota("UTC", 1, date(2026, 3, 2), read_plan("daily 00:00 Frei", PEOPLE)[1], at)
    assert who_is_on_duty(Roster((base, later)), at - HOUR) == ("Mori", "Rossi")
    assert who_is_on_duty(Roster((base, later)), at) == ("Frei",)


def test_gap_is_found_before_it_starts():
    roster = Roster((rota("Mon 08:00 Mori\nFri 20:00 nobody", "Europe/Zurich"),))
    monday = datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert find_gap(roster, monday, monday + 3 * DAY) is None
    gap = find_gap(roster, monday, monday + 5 * DAY)
    assert gap.from_at == to_instant(date(2026, 3, 6), 20 * 60, "Europe/Zurich")
    assert find_gap(Roster(), monday, monday + 5 * DAY) is None  # Without a plan, the whole team is notified.
    begins = rota("Mon 08:00 Mori", "UTC", valid_from=monday + DAY)
    assert find_gap(Roster((begins,)), monday, monday + 9 * DAY) is None


@tabulated(
    ("text", "message"),
    [
        ("", "at least one line"),
        ("Mon Mori", "expected DAYS HH:MM NAME"),
        ("Mon 25:00 Mori", "no time of the day"),
        ("Mon ٢٣:00 Mori", "no time of the day"),
        ("Monday 08:00 Mori", None),
        ("Xyz 08:00 Mori", "is not a day"),
        ("Fri-Mon 08:00 Mori", "ends before it starts"),
        ("Mon 08:00 Smith", "is not a member of the team"),
        ("Mon 08:00 Mori, mori", "occurs twice"),
        ("Mon 08:00 Mori\nMon 08:00 Rossi", "line 2: two lines have the same time"),
        ("week 99 Mon 08:00 Mori", "from 1 to 26"),
        ("week x Mon 08:00 Mori", "from 1 to 26"),
        ("\n".join(f"week {k // 24 + 1} daily {k % 24:02}:30 Mori" for k in range(96)), "at most"),
    ],
)
def test_invalid_plan_is_refused_with_the_reason(text, message):
    if message is None:
        assert read_plan(text, PEOPLE)
        return
    with pytest.raises(ValueError, match=message):
        read_plan(text, PEOPLE)


# ---- `slopeward people duty` ----------------------------------------------------------------------------------------
WORDS = "tin lantern quarry 41"
PLAN = "daily 00:00 R. Mori, A. Rossi\nSun 00:30 nobody\n"


@pytest.fixture
def call(database, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, database)))
    tell(database, save_site, SITE, SERVICE_ACTOR.name, "test", datetime.now(UTC))

    def run(*words, text=""):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        status = run_command(["people", "duty", *words])
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


def test_plan_and_swap_at_the_command_line(call):
    who = ("--by", "ada", "--reason", "spring")
    assert "no plan: messages go to the whole team" in call("show", "bench")[1]
    status, out, err = call("plan", "bench", "-", *who, text=PLAN)
    assert (status, out[:20]) == (0, "plan 1 of geologists"), err
    until = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%MZ")
    assert call("swap", "bench", "--absent", "r. mori", "--substitute", "L. Frei", "--until", until, *who)[0] == 0
    facts = json.loads(call("show", "bench", "--days", "9", "--json")[1])
    assert facts["plan"] == PLAN.strip()
    assert (facts["lead"], [(k["out"], k["in"]) for k in facts["changes"]]) == ("L. Frei", [("R. Mori", "L. Frei")])
    assert [] in [s["people"] for s in facts["shifts"]]
    status, out, _ = call("show", "bench")
    assert "change 1:" in out
    assert "nobody (messages go to the whole team)" in out
    assert call("withdraw", "bench", "1", *who)[0] == 0
    assert json.loads(call("show", "bench", "--json")[1])["changes"] == []


def test_hand_over_at_the_command_line_needs_two_people(call, database, monkeypatch):
    with database.write() as c:
        for name, role in (("ada", "admin"), ("bo", "operator")):
            add_account(c, name, WORDS, role, datetime.now(UTC) - timedelta(days=3))
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD", WORDS)
    assert call("plan", "bench", "-", "--by", "ada", "--reason", "spring", text=PLAN)[0] == 0
    status, out, _ = call("hand-over", "show", "bench")
    assert (status, "no hand-over waits" in out, "level: not evaluated" in out) == (0, True, True)
    assert call("hand-over", "sign", "bench", "1", "--by", "bo")[0] == 1
    notes = "crack above bench 3\nG1 is noisy"
    status, out, err = call("hand-over", "write", "bench", "--notes", "-", "--by", "ada", "--json", text=notes)
    assert (status, json.loads(out)) == (0, {"handover_id": 1, "outgoing": "ada", "team": "geologists"}), err
    out = call("hand-over", "show", "bench")[1]
    assert "  crack above bench 3\n  G1 is noisy\n" in out
    assert "to take over: slopeward people duty hand-over sign bench 1 --by NAME" in out
    assert "waits for a signature" in call("hand-over", "write", "bench", "--notes", "again", "--by", "bo")[2]
    assert "a second person is needed" in call("hand-over", "sign", "bench", "1", "--by", "ada")[2]
    assert "was written by ada" in call("hand-over", "withdraw", "bench", "1", "--by", "bo", "--reason", "mine")[2]
    status, out, err = call("hand-over", "sign", "bench", "1", "--by", "bo", "--remark", "read")
    assert (status, out) == (0, "hand-over 1: bo takes over the duty of geologists from ada\n"), err
    facts = json.loads(call("hand-over", "show", "bench", "--json")[1])
    assert facts["waiting"] == []
    (handover,) = facts["signed"]
    assert (handover["outgoing"], handover["incoming"], handover["remark"], handover["notes"]) == (
        "ada",
        "bo",
        "read",
        notes,
    )
    assert handover["since"] is not None
    assert "is signed already" in call("hand-over", "withdraw", "bench", "1", "--by", "ada", "--reason", "late")[2]
    assert call("hand-over", "write", "bench", "--notes", "quiet", "--by", "bo")[0] == 0
    assert call("hand-over", "withdraw", "bench", "2", "--by", "bo", "--reason", "not yet")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("plan", "bench", "-", "--by", "ada", "--reason", "ill"), "at least one line"),
        (("plan", "bench", "/nowhere", "--by", "ada", "--reason", "ill"), "No such file"),
        (
            ("swap", "bench", "--absent", "R. Mori", "--until", "never", "--by", "ada", "--reason", "ill"),
            "a local time",
        ),
        (
            ("swap", "bench", "--substitute", "Q", "--until", "2099-01-01 08:00", "--by", "a", "--reason", "ill"),
            "92 days at most",
        ),
        (("show", "bench", "--team", "others"), "has no team 'others'; it has: geologists"),
        (("show", "elsewhere"), "no site 'elsewhere'"),
        (("hand-over", "write", "bench", "--notes", " ", "--by", "ada"), "what the person who takes over must know"),
        (("hand-over", "write", "bench", "--notes", "x" * 4001, "--by", "ada"), "at most 4000"),
        (("hand-over", "sign", "bench", "9", "--by", "ada"), "has no hand-over 9"),
        (("hand-over", "show", "elsewhere"), "no site 'elsewhere'"),
        (("withdraw", "bench", "9", "--by", "ada", "--reason", "ill"), "site bench has no change 9"),
    ],
)
def test_refused_command_prints_one_line(call, words, message):
    status, _, err = call(*words)
    assert status == 1
    assert message in err
    assert "Traceback" not in err

"""Plans and changes of duties: stored, written day by day, refused if invalid, and checked for gaps."""

from datetime import date
from itertools import pairwise
from types import SimpleNamespace

import pytest
from sqlalchemy import update

from monitor.app.checks.table import run_checks
from monitor.app.self_monitoring.loop import SelfMonitoring
from monitor.errors import NotFoundError, RefusedError
from monitor.features.duty.checks import RotaStatus
from monitor.features.duty.queries import (
    WRITTEN_AHEAD,
    add_change,
    add_plan,
    find_plan_in_force,
    load_changes,
    load_plans,
    load_rosters,
    withdraw_change,
    write_days,
)
from monitor.features.duty.rota import Roster, Rota, read_plan, who_is_on_duty
from monitor.people.duty_tables import duty_rota
from monitor.settings.service import ServiceConfig
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import SERVICE_ACTOR
from monitor.storage.audit import load_entries
from monitor.storage.seals import find_unsealed
from monitor.storage.views import load_view
from tests.data.store_rows import ask, tell
from tests.features.duty.test_duty import ADA, BO, CREW, DAY, HOUR, PLAN, SITE, T0, list_notified, raise_alert


@pytest.fixture
def watched(database):
    tell(database, save_site, SITE, "ada", "test", T0 - DAY)
    return database


def test_change_replaces_a_person_until_it_ends_or_is_withdrawn(watched):
    with watched.write() as c:
        add_plan(c, CREW, PLAN, ADA, "spring", T0)
        first = add_change(c, CREW, T0 + HOUR, T0 + 3 * HOUR, "r. mori", "K. Okafor", BO, "dentist", T0)
        add_change(c, CREW, T0 + 24 * HOUR, T0 + 26 * HOUR, "", "L. Frei", BO, "holiday", T0)

    def friday(*columns):
        rows = ask(watched, load_view, "duty", order_by=("from_at",), day="2026-03-06")
        return [(row["from_at"][11:16], *(row[name] for name in columns)) for row in rows]

    changes = ask(watched, load_changes, "bench", T0)
    expected = [("09:00", "R. Mori"), ("10:00", "K. Okafor"), ("12:00", "R. Mori")]
    assert friday("person", "second_person") == [*((*row, "A. Rossi") for row in expected), ("19:00", None, None)]
    changes_seen = [(k.id - first, k.person_out, k.person_in, k.by, k.reason) for k in changes]
    assert changes_seen == [(0, "R. Mori", "K. Okafor", "bo", "dentist"), (1, None, "L. Frei", "bo", "holiday")]
    tell(watched, raise_alert, 2, T0 + 2 * HOUR)
    assert list_notified(watched) == [("K. Okafor", "log:okafor")]
    with watched.write() as c:
        withdraw_change(c, first, CREW, ADA, "is back", T0 + 2 * HOUR)
        with pytest.raises(RefusedError, match="withdrawn or over already"):
            withdraw_change(c, first, CREW, ADA, "is back", T0 + 2 * HOUR)
        with pytest.raises(NotFoundError):
            withdraw_change(c, 99, CREW, ADA, "is back", T0)
    with watched.read() as c:
        acts = [(e.actor, e.action) for e in load_entries(c, 50) if e.action.startswith("duty")]
        assert list(find_unsealed(c)) == []
    # Until the withdrawal, the rows do not change.
    until_now = [("09:00", "R. Mori"), ("10:00", "K. Okafor"), ("11:00", "R. Mori"), ("19:00", None)]
    assert friday("person") == until_now
    assert acts == [("ada", "duty.swap.withdraw"), ("bo", "duty.swap"), ("bo", "duty.swap"), ("ada", "duty.plan")]


def test_rows_of_days_have_no_gaps_or_duplicates_after_repeated_writes(watched):
    with watched.write() as c:
        add_plan(c, CREW, PLAN, ADA, "spring", T0)
        for hours in (0, 1, 5, 30, 31, 24 * 9, 24 * 60):  # Before the last call, the service did not run for weeks.
            write_days(c, CREW, T0 + hours * HOUR)
    rows = ask(watched, load_view, "duty", order_by=("from_at",), site="bench")
    for earlier, later in pairwise(rows):
        assert earlier["to_at"] == later["from_at"]
        assert (earlier["day"], earlier["person"]) != (later["day"], later["person"])
    assert len({row["day"] for row in rows}) == 61 + 35


def test_first_plan_may_start_after_the_days_that_are_written_ahead(watched):
    with watched.write() as c:
        number = add_plan(c, CREW, PLAN, ADA, "summer", T0, valid_from=T0 + WRITTEN_AHEAD + DAY)
        assert write_days(c, CREW, T0 + HOUR) == 0
    assert [plan.id for plan in ask(watched, load_plans, "bench", "geologists")] == [number]
    assert ask(watched, load_view, "duty", site="bench") == []


def test_plan_stored_last_replaces_an_earlier_plan_with_the_same_start(watched):
    starts_at = T0 + 4 * DAY
    with watched.write() as c:
        add_plan(c, CREW, "daily 00:00 R. Mori", ADA, "summer", T0, valid_from=starts_at)
        corrected = add_plan(c, CREW, "daily 00:00 A. Rossi", ADA, "summer, corrected", T0, valid_from=starts_at)
        add_plan(c, CREW, "daily 00:00 L. Frei", ADA, "until summer", T0)
        rosters = load_rosters(c, [CREW], T0)
        plans = load_plans(c, "bench", "geologists")
    roster = rosters["bench", "geologists"]
    assert who_is_on_duty(roster, T0 + HOUR) == ("L. Frei",)
    assert who_is_on_duty(roster, starts_at) == ("A. Rossi",)
    in_force = find_plan_in_force(plans, starts_at)
    assert in_force is not None
    assert in_force.id == corrected


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda c: add_plan(c, CREW, "Mon 08:00 Nobody Known", ADA, "why", T0), "is not a member of the team"),
        (lambda c: add_plan(c, CREW, PLAN, ADA, " ", T0), "a person with a name and a reason"),
        (lambda c: add_plan(c, CREW, PLAN, ADA, "why", T0, valid_from=T0 - HOUR), "cannot start in the past"),
        (lambda c: add_change(c, CREW, T0, T0, "R. Mori", "", ADA, "ill", T0), "must end after it starts"),
        (lambda c: add_change(c, CREW, T0, T0 + 99 * DAY, "R. Mori", "", ADA, "ill", T0), "last 92 days at most"),
        (lambda c: add_change(c, CREW, T0 - HOUR, T0, "R. Mori", "", ADA, "ill", T0), "in the past"),
        (lambda c: add_change(c, CREW, T0, T0 + DAY, " ", "", ADA, "ill", T0), "name the person who is replaced"),
        (lambda c: add_change(c, CREW, T0, T0 + DAY, "R. Mori", "r.mori", ADA, "ill", T0), "one person"),
        (lambda c: add_change(c, CREW, T0, T0 + DAY, "R. Mori", "stranger", ADA, "ill", T0), "is not a member"),
        (lambda c: add_change(c, CREW, T0, T0 + DAY, "R. Mori", "", SERVICE_ACTOR, "ill", T0), "a person with a name"),
    ],
)
def test_invalid_plan_or_change_is_refused(watched, act, message):
    with watched.write() as c, pytest.raises(RefusedError, match=message):
        act(c)


def test_gap_in_a_plan_raises_an_alarm_days_before():
    turns = read_plan(PLAN, [m.name for m in CREW.members])
    roster = Roster((Rota(CREW.zone, turns[0], date(2026, 3, 2), turns[1], T0 - DAY),))

    def wrong(at):
        states = run_checks(RotaStatus([CREW], {("bench", "geologists"): roster}, at))
        return [(state.check.alarm, state.reason) for state in states if state.is_wrong]

    assert wrong(T0 - 4 * DAY) == []
    assert wrong(T0 - DAY) == [
        (1, "nobody of team geologists of bench is on duty from 2026-03-06 19:00 UTC: put a plan in force")
    ]
    assert wrong(T0 + 12 * HOUR) == [
        (1, "nobody of team geologists of bench is on duty: messages go to the whole team")
    ]
    assert wrong(T0 + 47 * HOUR) == []


def test_core_checks_the_plans_of_its_sites(watched):
    subjects = []
    monitoring = SimpleNamespace(
        _db=watched,
        _config=ServiceConfig(),
        _sites={"bench": SITE},
        _clock=lambda: T0 + 11 * HOUR,
        _commits=SimpleNamespace(attempt=lambda action: action()),
        check=subjects.append,
    )
    monitoring._check_plugin_subject = lambda read: SelfMonitoring._check_plugin_subject(monitoring, read)
    tell(watched, add_plan, CREW, PLAN, ADA, "spring", T0)
    SelfMonitoring.check_plugin_subjects(monitoring)
    assert [k.key for subject in subjects for k in run_checks(subject) if k.is_wrong] == ["duty:bench:geologists:now"]
    monitoring._sites = {}
    SelfMonitoring.check_plugin_subjects(monitoring)
    assert [k for subject in subjects[1:] for k in run_checks(subject)] == []


@pytest.mark.parametrize("wrong", [{"plan": "every day"}, {"begins": "soon"}, {"zone": "Nowhere/Else"}])
def test_unreadable_plan_notifies_the_whole_team_and_raises_an_alarm(watched, wrong, caplog):
    with watched.write() as c:
        add_plan(c, CREW, PLAN, ADA, "spring", T0)
        c.execute(update(duty_rota).values(**wrong))
        raise_alert(c, 2, T0)
    assert [name for name, _ in list_notified(watched)] == ["R. Mori", "R. Mori", "A. Rossi", "L. Frei", "K. Okafor"]
    rosters = ask(watched, load_rosters, [CREW], T0)
    reasons = [k.reason for k in run_checks(RotaStatus([CREW], rosters, T0)) if k.is_wrong]
    assert "the plan of team geologists of bench cannot be read: put a new one in force" in reasons
    assert sum("cannot be read" in r.getMessage() for r in caplog.records) == 1, (
        "a plan is read every few seconds and must be logged once"
    )

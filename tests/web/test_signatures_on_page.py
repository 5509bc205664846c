"""Signatures on the page: who can withdraw them, and that an admin of other sites cannot see them."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from monitor.alerts.queries.offsets import load_offset_facts
from monitor.alerts.queries.signatures import TwoPersonAct, find_first, find_site, load_waiting, save_first
from monitor.decision.records import Step
from monitor.people.queries import users
from monitor.readings.queries.observations import find_series_id
from monitor.storage.actor import Actor
from monitor.storage.audit_tables import audit_entry
from monitor.text.instants import epoch_s, format_iso
from monitor.text.message import join
from tests.data.accounts import add_account
from tests.data.filled import NOW, PASSWORD
from tests.data.store_rows import ask, enter_offset, tell
from tests.markup import flatten_html
from tests.web.test_acts import load_memory, raise_question
from tests.web.test_door import Clock, serving
from tests.web.test_rules import enter, send

AT = NOW - timedelta(minutes=20)
KEY = f"G1@{format_iso(AT)}"


@pytest.fixture
def alert_id(filled_database):
    """Return the number of an alert that asks for the cause of a step, which votes for the highest level."""
    step = Step(epoch_s(AT), epoch_s(AT), 310.0, 3, "movement", join(["jump of 310 mm: silence followed it"]))
    return raise_question(filled_database, KEY, step, "health:G1:verify")


def restrict_to_sites(database, name, *sites):
    with database.write() as c:
        if users.find_user(c, "zoe") is None:  # one admin of all sites must remain
            add_account(c, "zoe", PASSWORD, "admin", NOW)
        users.set_sites(c, name, sites)


def test_first_answer_is_withdrawn_by_its_author(filled_database, alert_id):
    form = f"/alerts/{alert_id}/verify/withdraw"
    answer = {"answer": "instrument", "reason": "seen by camera"}
    with serving(filled_database, Clock()) as address, enter(address, "bo") as bo, enter(address, "cy") as viewer:
        assert form not in bo.get(f"/alerts/{alert_id}").text
        assert send(bo, form, reason="nothing was said").status_code == 404
        assert send(bo, f"/alerts/{alert_id}/verify", **answer).status_code == 303
        assert form in bo.get(f"/alerts/{alert_id}").text
        assert form in bo.get("/signatures").text
        assert form not in viewer.get("/signatures").text
        assert send(viewer, form, reason="may only look").status_code == 403
        done = send(bo, form, reason="it was another mast")
        assert "the%20first%20answer%20of%20bo%20is%20withdrawn" in done.headers["location"]
        assert form not in bo.get("/signatures").text
    assert (load_memory(filled_database).signed, load_memory(filled_database).answers) == ({}, {})


def test_answer_movement_is_withdrawn_by_two_people(filled_database, alert_id):
    form = f"/alerts/{alert_id}/verify/withdraw"
    with serving(filled_database, Clock()) as address, enter(address, "bo") as bo, enter(address, "ada") as ada:
        assert send(bo, f"/alerts/{alert_id}/verify", answer="movement", reason="cracks on foot").status_code == 303
        assert "not%20done%20yet" in send(bo, form, reason="other slope").headers["location"]
        assert load_memory(filled_database).answers == {KEY: "movement"}
        assert send(bo, form, reason="other slope").status_code == 409, "one person cannot sign twice"
        page = ada.get("/signatures").text
        assert f'<a class="button primary" href="/alerts/{alert_id}">Open and decide</a>' in flatten_html(page)
        assert "said answer movement" in page
        assert "answer%20movement%20is%20withdrawn" in send(ada, form, reason="other slope").headers["location"]
    assert load_memory(filled_database).answers == {}
    with filled_database.read() as c:
        actors = c.execute(select(audit_entry.c.actor).where(audit_entry.c.action == "step.withdraw")).scalars().all()
    assert actors == ["ada"]


def test_offset_is_confirmed_by_a_second_person(filled_database):
    with filled_database.write() as c:
        series_id = find_series_id(c, "north-bench", "G1", "displacement_east")
        number = enter_offset(c, series_id, AT, 40.0, AT, author=Actor("bo"))
    form = f"/sites/north-bench/offsets/{number}/confirm"
    with serving(filled_database, Clock()) as address, enter(address, "bo") as bo, enter(address, "ada") as ada:
        assert "+40 mm from" in bo.get("/signatures").text
        assert form not in bo.get("/signatures").text, "the author cannot confirm it"
        assert form in ada.get("/signatures").text
        assert send(ada, form.replace("north-bench", "lake-slope"), reason="field book").status_code == 404
        assert send(ada, form, reason="field book").status_code == 303
        assert form not in ada.get("/signatures").text
        assert send(ada, form, reason="field book").status_code == 409
    facts = ask(filled_database, load_offset_facts, "north-bench", NOW)
    (fact,) = [offset for offset in facts if offset.id == number]
    assert (fact.second_by, fact.counts) == ("ada", True)


# ---- permissions per site ---------------------------------------------------------------------------------------
ACTS = (
    TwoPersonAct("level.set", "site:north-bench", {"to": 0}),
    TwoPersonAct("site.retire", "north-bench", {}),
    TwoPersonAct("maintenance.add", "station:north-bench/G1", {"until": "noon"}),
    TwoPersonAct("epoch0.keep", "north-bench/G1", {"asked": "since 2025"}),
    TwoPersonAct("alert.close", "alert:ALERT", {}),
)


@pytest.fixture
def signed(filled_database, alert_id):
    """Store a signature of Bo for one act of each kind on north-bench."""
    with filled_database.write() as c:
        for act in ACTS:
            act = replace(act, subject=act.subject.replace("ALERT", str(alert_id)))
            save_first(c, act, Actor("bo"), "seen on foot", 2, Clock()())


@pytest.mark.usefixtures("signed")
def test_admin_of_another_site_cannot_see_or_withdraw_signatures(filled_database):
    restrict_to_sites(filled_database, "ada", "lake-slope")
    pending = ask(filled_database, load_waiting, Clock()())
    numbers = [signature.id for signature in pending if signature.site == "north-bench"]
    assert len(numbers) == len(ACTS), "the site of each kind of act is found"
    with serving(filled_database, Clock()) as address, enter(address, "ada") as ada:
        assert "north-bench" not in ada.get("/signatures").text
        # A signature that does not exist gets the same response.
        for number in (*numbers, 987654):
            assert send(ada, f"/signatures/{number}/withdraw", reason="not mine").status_code == 404
        restrict_to_sites(filled_database, "ada", "lake-slope", "north-bench")
        assert send(ada, f"/signatures/{numbers[0]}/withdraw", reason="mine now").status_code == 303
    assert [signature.id for signature in ask(filled_database, load_waiting, Clock()())] == numbers[1:]


@pytest.mark.usefixtures("signed")
def test_signature_of_a_person_without_access_to_the_site_does_not_count(filled_database):
    assert tell(filled_database, find_first, ACTS[0], Actor("ada"), 2, Clock()()).by == "bo"
    restrict_to_sites(filled_database, "bo", "lake-slope")
    assert tell(filled_database, find_first, ACTS[0], Actor("ada"), 2, Clock()()) is None


def test_alert_that_does_not_exist_has_no_site(filled_database):
    assert ask(filled_database, find_site, "alert:987654", {}) is None

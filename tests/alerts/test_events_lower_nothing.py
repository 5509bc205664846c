"""Declared earthquakes lower bounds and explain jumps only if people confirm them; they lower no level."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update

from monitor.alerts.acts.event_acts import withdraw_event_of_site
from monitor.alerts.queries.evaluations import find_state
from monitor.alerts.queries.events import confirm_event, withdraw_confirmation
from monitor.cli.main import run_command
from monitor.decision.records import Memory
from monitor.errors import NotFoundError, RefusedError
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.people.tables import user_account
from monitor.storage.actor import Actor
from monitor.storage.audit_tables import audit_entry
from monitor.storage.proof import verify
from monitor.text.instants import format_iso
from tests.alerts.test_scenes import ADA, BO, HOUR
from tests.data.accounts import add_account
from tests.data.store_rows import ask
from tests.data.watched_slope import recompute_every, write_service
from tests.fixtures.databases import ON_BOTH

JUMP = {"G1": 200.0, "G2": 180.0}


def publish_event(slope, at, **more):
    body = {"from": format_iso(at), "to": format_iso(at), "kind": "earthquake", "text": "M 5.1", "value": 0.3, **more}
    pipeline = Pipeline(slope.database, {"bench": slope.site}, lambda: slope.now)
    message = BrokerMessage("slopeward/v1/bench/event", json.dumps(body).encode(), slope.now, "backfill")
    assert pipeline.store([message]).rejected == 0


def fall(slope, hours=12):
    return max(slope.live(1, jump=JUMP if hour == 0 else None).level for hour in range(hours))


def stand_behind(slope, *people, event=1):
    with slope.database.write() as c:
        return [(), *(confirm_event(c, event, who, "felt in the office", slope.now) for who in people)][-1]


def log_of(slope, action):
    e = audit_entry.c
    with slope.database.read() as c:
        rows = c.execute(select(e.actor, e.actor_kind, e.detail).where(e.action == action).order_by(e.id)).all()
    return [(r.actor, r.actor_kind, json.loads(r.detail)) for r in rows]


@pytest.mark.parametrize(("people", "level"), [((), 3), ((ADA,), 3), ((ADA, BO), 0)])
def test_two_people_must_explain_a_jump_of_two_groups(slope, people, level):
    publish_event(slope, slope.now + HOUR / 2)
    slope.now += HOUR / 2
    stand_behind(slope, *people)
    slope.now -= HOUR / 2
    assert fall(slope) == level
    told = {"event": 1, "kind": "earthquake", "from": format_iso(slope.now - 11.5 * HOUR)}
    assert log_of(slope, "event.add") == [("mqtt", "program", told | {"via": "mqtt", "said_by": "mqtt"})]
    assert [(who, kind, d["event"]) for who, kind, d in log_of(slope, "event.confirm")] == [
        (p.name, "person", 1) for p in people
    ]
    with slope.database.read() as c:
        assert (verify(c), recompute_every(c)) == ([], [])
        memory = Memory.read(find_state(c, "bench").state)
    assert {s.state for s in memory.steps.values()} == ({"movement"} if level else {"event"})


@pytest.mark.parametrize("whole", [False, True])
def test_withdrawn_explanation_opens_questions_again_and_raises(slope, whole):
    """One of two words is enough where stations share the step; alone it becomes a question with a new clock."""
    publish_event(slope, slope.now + HOUR / 2)
    slope.now += HOUR / 2
    stand_behind(slope, ADA, BO)
    slope.now -= HOUR / 2
    assert [slope.live(1, jump=jump).level for jump in ({"G1": 200.0} if whole else JUMP, None, None)] == [0, 0, 0]
    with slope.database.write() as c:
        if whole:
            withdraw_event_of_site(c, slope.site, 1, ADA, "a lorry at the seismometer", slope.now)
        else:
            assert withdraw_confirmation(c, 1, " bo", ADA, "he felt a lorry", slope.now) == ("Ada",)
    assert slope.look("person").level == (0 if whole else 3)
    steps = list(Memory.read(ask(slope.database, find_state, "bench").state).steps.values())
    assert {(s.state, s.words) for s in steps} == {("pending" if whole else "movement", None)}
    assert not whole or all("event 1, which explained the jump, was withdrawn" in s.reason for s in steps)
    assert slope.live(3).level == (1 if whole else 3)
    with slope.database.read() as c:
        assert (verify(c), recompute_every(c)) == ([], [])
        row = c.execute(text("select confirmations, withdrawn_by from site_events")).one()
        assert tuple(row) == ((2, "Ada") if whole else (1, None))
    ((who, kind, detail),) = log_of(slope, "event.withdraw" if whole else "event.unconfirm")
    assert (who, kind, detail["event"]) == ("Ada", "person", 1)
    with slope.database.write() as c, pytest.raises(RefusedError if whole else NotFoundError):
        withdraw_confirmation(c, 1, "Bo", ADA, "again", slope.now)


def test_people_who_may_confirm_an_event(slope):
    publish_event(slope, slope.now, kind="blasting")
    publish_event(slope, slope.now, by="USGS")
    with slope.database.write() as c:
        for who in ("Ada", "Bo", "Eve"):
            add_account(c, who, "long enough a password", "viewer" if who == "Eve" else "operator", slope.now)
        add_account(c, "Guest", "long enough a password", "operator", slope.now)
        c.execute(update(user_account).where(user_account.c.name == "Guest").values(sites=["elsewhere"]))
    for event, who, said in (
        (1, ADA, "explains nothing"),
        (2, Actor("Eve"), "no open account"),
        (2, Actor("mqtt", "program"), "a person"),
        (2, Actor("Nobody"), "no open account"),
        (2, Actor("Guest"), "is not for the site bench"),
    ):
        with pytest.raises(RefusedError, match=said):
            stand_behind(slope, who, event=event)
    with pytest.raises(NotFoundError, match="events list"):
        stand_behind(slope, ADA, event=9)
    assert stand_behind(slope, ADA, event=2) == ("Ada",)
    with pytest.raises(RefusedError, match="second person"):
        stand_behind(slope, Actor(" ada"), event=2)
    assert stand_behind(slope, BO, event=2) == ("Ada", "Bo")
    with pytest.raises(RefusedError, match="already by Ada and Bo"):
        stand_behind(slope, BO, event=2)


def test_explanation_names_the_event_and_who_confirmed_it(slope, tmp_path, monkeypatch, capsys):
    publish_event(slope, slope.now + HOUR / 2, by="USGS")
    stand_behind(slope, ADA, BO)
    fall(slope, 3)
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, slope.database, None)))
    with slope.database.read() as c:
        alert = c.execute(text("select alert_id from alert_history where reason like '%jumped by%'")).scalars().first()
    assert run_command(["alerts", "explain", str(alert), "--recompute"]) == 0
    told = capsys.readouterr().out
    assert "Event 1 (earthquake), declared by USGS by mqtt, confirmed by Ada and Bo: explains the step G" in told
    assert run_command(["events", "list", "--site", "bench"]) == 0
    assert "earthquake by USGS (mqtt), confirmed by 2: M 5.1" in capsys.readouterr().out


@ON_BOTH
def test_flood_of_events_displaces_no_confirmed_or_stricter_event(slope, monkeypatch):
    from monitor.alerts.queries.events import load_event_facts

    monkeypatch.setattr("monitor.alerts.queries.events.READ_AT_MOST", 4)
    publish_event(slope, slope.now - 3 * HOUR, text="real, felt", value=0.05)
    stand_behind(slope, ADA)
    publish_event(slope, slope.now - 2 * HOUR, text="real", value=0.4)
    for number in range(9):
        publish_event(slope, slope.now, text=f"weak {number}", value=0.01)
        publish_event(slope, slope.now - timedelta(days=20), text=f"old {number}", value=4.9)
    span = (slope.now - timedelta(days=30), slope.now)
    facts = ask(slope.database, load_event_facts, "bench", *span, earthquake_span_s=5 * 86400.0)
    assert {"real", "real, felt"} <= {f.text for f in facts}
    assert len(facts) == 4

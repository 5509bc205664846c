"""Acts of people on the page: acknowledge, answer, sign, confirm."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import insert, select, update

from monitor.alerts.evaluation_tables import site_state
from monitor.alerts.event_tables import event_confirmation
from monitor.alerts.tables import alert, alert_event
from monitor.decision.records import Memory, Step
from monitor.storage.audit import verify_chain
from monitor.storage.audit_tables import audit_entry
from monitor.text.instants import epoch_s, format_iso
from monitor.text.message import join
from tests.web.served import NOW, client, database, filled, log_in, story, token

__all__ = ["client", "database", "filled"]  # fixtures


def test_acknowledging_needs_a_login_a_role_a_token_and_a_reason(client, database, filled):
    path = f"/alerts/{filled['stale_alert']}"

    def acknowledge(**fields):
        form = {"reason": "battery is being changed", "csrf": "0" * 64} | fields
        return client.post(f"{path}/acknowledge", data=form)

    assert acknowledge().status_code == 401
    log_in(client, "cy")
    refused = acknowledge(csrf=token(client, "/"))
    assert (refused.status_code, "the role operator" in refused.text) == (403, True)
    client.post("/logout", data={"csrf": token(client, "/")})
    log_in(client, "bo")
    assert "out of date" in acknowledge().text
    assert "say why" in acknowledge(csrf=token(client, path), reason=" . ").text
    form, elsewhere = {"reason": "because", "csrf": token(client, path)}, {"Origin": "http://evil.example"}
    assert "another web site" in client.post(f"{path}/acknowledge", data=form, headers=elsewhere).text
    assert acknowledge(csrf=token(client, path)).status_code == 303
    with database.read() as c:
        row = c.execute(select(alert).where(alert.c.id == filled["stale_alert"])).one()
        e, a = alert_event.c, audit_entry.c
        last = c.execute(select(alert_event).where(e.alert_id == row.id).order_by(e.sequence.desc())).first()
        assert verify_chain(c) == []
        acted = c.execute(select(audit_entry).where(a.action == "alert.acknowledge").order_by(a.id.desc())).first()
    assert (row.state, row.acknowledged_by) == ("acknowledged", "bo")
    assert (last.actor, last.actor_kind, last.reason) == ("bo", "person", "battery is being changed")
    assert (acted.actor, acted.actor_kind) == ("bo", "person")
    # An alert is acknowledged only once.
    assert acknowledge(csrf=token(client, "/")).status_code == 409


def raise_question(database, key, step, alert_key):
    """Store a step that needs an answer and the alert that asks for it. Return the number of the alert."""
    with database.write() as c:
        state = replace(Memory(), steps={key: step}, started_s=epoch_s(story.START)).to_json()
        c.execute(update(site_state).where(site_state.c.site == "north-bench").values(state=state, level=0))
        row = {"site": "north-bench", "ledger": "health", "key": alert_key, "level": 2, "peak_level": 2}
        row |= {"state": "unacknowledged", "exercise": False, "reason": "verify", "rule_version": "1"}
        row |= {"raised_at": NOW - timedelta(minutes=20)}
        return c.execute(insert(alert).values(**row).returning(alert.c.id)).scalar_one()


def load_memory(database):
    with database.read() as c:
        return Memory.read(c.execute(select(site_state.c.state).where(site_state.c.site == "north-bench")).scalar_one())


def test_answer_that_lowers_a_high_level_needs_two_signatures_on_the_page(client, database):
    at = NOW - timedelta(minutes=20)
    key = f"G1@{format_iso(at)}"
    step = Step(epoch_s(at), epoch_s(at), 310.0, 3, "movement", join(["jump of 310 mm: silence followed it"]))
    alert_id = raise_question(database, key, step, "health:G1:verify")
    for name, message, answered in (("bo", "second", False), ("bo", "", False), ("ada", "answered", True)):
        log_in(client, name)
        form = {"answer": "instrument", "reason": "seen by camera", "csrf": token(client, f"/alerts/{alert_id}")}
        reply = client.post(f"/alerts/{alert_id}/verify", data=form)
        assert reply.status_code == (303 if message else 409), "one person signs only once"
        assert message in reply.headers.get("location", "")
        with database.read() as c:
            assert c.execute(select(alert.c.acknowledged_at).where(alert.c.id == alert_id)).scalar_one() is None
        assert (key in load_memory(database).answers) is answered
    assert "says bo: seen by camera; a second person must sign that" in client.get(f"/alerts/{alert_id}").text


def test_earthquake_is_confirmed_by_two_people_on_the_page(client, database):
    page = "/sites/north-bench"
    assert "confirmed by one person" in client.get(page).text
    assert "Confirm this earthquake" not in client.get(page).text, "acts need a login"
    address = f"{page}/events/2/confirm"
    assert client.post(address, data={"reason": "felt it", "csrf": "0" * 64}).status_code in {401, 403}
    # Bo has confirmed the earthquake already.
    log_in(client)
    form = {"reason": "on the shake map", "csrf": token(client, page)}
    assert "second person" in client.post(address, data=form).text
    assert client.post("/sites/lake-slope/events/2/confirm", data=form).status_code == 404
    client.post("/logout", data={"csrf": token(client, "/")})
    log_in(client, "ada")
    form = {"reason": "on the shake map", "csrf": token(client, page)}
    assert client.post(address, data=form).status_code == 303
    assert "confirmed by two people" in client.get(page).text
    with database.read() as c:
        rows = c.execute(select(event_confirmation.c.by, event_confirmation.c.via, event_confirmation.c.reason)).all()
    assert [tuple(r)[:2] for r in rows] == [(rows[0].by, "unknown"), ("ada", "page")]
    assert rows[1].reason == "on the shake map"

"""Whatever is written past the service into a sealed table is found: every column, every table, both ways."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import String, select, text, type_coerce

from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries import alerts
from monitor.alerts.tables import alert_event
from monitor.delivery.queries import outbox
from monitor.people.queries import users
from monitor.storage import audit, clock_steps
from monitor.storage.audit_tables import audit_entry
from monitor.storage.column_types import Instant
from monitor.storage.proof import verify
from monitor.storage.seals import digest_row, find_unsealed, load_sealed_tables, write_seals
from monitor.storage.tables import load_metadata
from tests.data.filled import ADA, BO, NOW
from tests.data.seized import without_keys
from tests.data.store_rows import ask, tell
from tests.fixtures.databases import STORY_ON_SQLITE

HOUR = timedelta(hours=1)
SEALED = load_sealed_tables()
READINGS = "series observation observation_flag series_latest point_set point point_observation point_delivery"
RECEIVED = "rejected_message quarantine_source sequence_state sequence_gap source_poll source_file outage"
COMPUTED = (
    "forecast forecast_withheld forecast_score forecast_month model failure_time movement"
    " season anomaly reading_gap"
    " scene scene_footprint scene_change scene_unsure"
)
MADE_ANEW = (
    "site station station_state forecast_state forecast_chance rate_now instrument_finding instrument instrument_month"
)
MOMENTARY = "web_session known_device password_guess service_state job_run service_check"
# Why the other tables are not sealed: a new one is decided on.
NOT_SEALED = {
    "audit_entry": "the chain itself",
    **dict.fromkeys(MADE_ANEW.split(), "made anew from the site file and the readings"),
    "digest": "whether a daily message was sent; it bears no alarm",
    "duty_turn": "laid out anew from plans and what people changed of them, which are",
    "evaluation": "one row a look; what changed a level is a frozen decision",
    **dict.fromkeys(
        [*READINGS.split(), "observation_summary", *COMPUTED.split()],
        "readings come by the million, the rest is computed; what a decision used is frozen in its evidence",
    ),
    **dict.fromkeys([*RECEIVED.split(), "outage_station"], "reception, not decision"),
    **dict.fromkeys(MOMENTARY.split(), "of the moment"),
    "reply_code": "for some hours; what is acknowledged by it is an event of the alert",
    "reply": "what telephones sent; what counted of it is an event of an alert, what did not is in the audit log",
    "push_subscription": "where browsers are reached; who adds or removes one is in the audit log",
    "calculation_pending": "which values are still to be computed; they follow from the readings",
    "profile_pending": "which depth profiles are still to be computed; they follow from the readings",
    "siren_order": "follows from messages, which are sealed, and from what devices answer",
    "channel_test": "tests of channels, which warn nobody",
    "report_mail": "progress of the mails of a report; no decision reads it",
    **dict.fromkeys(("retention_run", "backup_run"), "what upkeep did, for people to read; no decision does"),
}


def findings(c):
    return list(find_unsealed(c))


def edit(table, column, key):
    """An UPDATE in plain SQL that gives a column of one row another value, whatever its type."""
    kind = str(column.type.compile()).upper() if not isinstance(column.type, Instant) else "INSTANT"
    name, where = f'"{column.name}"', " AND ".join(f'"{k}" = :{k}' for k in key)
    if kind == "INSTANT":
        value = "'2019-01-01T00:00:00.000000Z'"
    elif kind == "BOOLEAN":
        value = f"NOT coalesce({name}, false)"
    elif kind.startswith(("BIGINT", "INTEGER", "DOUBLE", "FLOAT")):
        value = f"coalesce({name}, 0) + 7001"
    else:
        value = "'altered'"
    return text(f'UPDATE "{table.name}" SET {name} = {value} WHERE {where}').bindparams(**key)


def test_each_table_is_sealed_or_says_why_not():
    every = set(load_metadata().tables)
    assert set(SEALED) | set(NOT_SEALED) == every
    assert not set(SEALED) & set(NOT_SEALED)
    for sealed in SEALED.values():
        assert sealed.left_out <= set(sealed.table.c.keys()), sealed.table.name


@STORY_ON_SQLITE  # how a row is read on PostgreSQL: the tests around it
def test_each_edit_of_each_sealed_column_is_named(filled_database):
    silent, tried = [], 0
    with filled_database.engine.connect() as c, c.begin():
        assert findings(c) == []
        without_keys(c)
        for name, sealed in SEALED.items():
            row = c.execute(select(*sealed.keys).limit(1)).mappings().first()
            assert row is not None, f"{name}: the story has no row for it, so the test would prove nothing"
            if name == "notification":
                delivered = select(notification.c.id).where(notification.c.state == "delivered")
                row = c.execute(delivered).mappings().first()
            for column in sealed.table.c:
                if column.primary_key or column.name in sealed.left_out:
                    continue
                tried += 1
                with c.begin_nested() as attempt:
                    c.execute(edit(sealed.table, column, dict(row)))
                    said = f"{sealed.name(tuple(row.values()))}: the row was alt"
                    if not any(line.startswith(said) for line in find_unsealed(c)):  # looks no further once it is said
                        silent.append(f"{name}.{column.name}")
                    attempt.rollback()
    assert silent == []
    assert tried > 100


def test_a_row_that_is_gone_or_was_added_is_named(filled_database):
    with filled_database.engine.connect() as c, c.begin():
        without_keys(c)
        for name, sealed in SEALED.items():
            key = c.execute(select(*sealed.keys).limit(1)).one()
            where = " AND ".join(f'"{k.name}" = :{k.name}' for k in sealed.keys)
            values = {k.name: v for k, v in zip(sealed.keys, key, strict=True)}
            with c.begin_nested() as attempt:
                c.execute(text(f'DELETE FROM "{name}" WHERE {where}').bindparams(**values))
                gone = f"{sealed.name(key)}: the row is gone"
                assert any(gone in line for line in find_unsealed(c))
                attempt.rollback()
            if name == "notification":
                continue  # the same way in, and its key of deliveries would have to be forged as well
            raw = [type_coerce(k, String) if isinstance(k.type, Instant) else k for k in sealed.table.c]
            copied = dict(zip(sealed.table.c.keys(), c.execute(select(*raw).limit(1)).one(), strict=True))
            copied |= {k.name: 99_001 if k.name == "id" else "forged" for k in sealed.keys}
            copied |= {"digest": "f" * 64} if name in {"site_event", "report"} else {}
            copied |= {"sequence": 99} if name == "alert_event" else {}
            copied |= {"key": "forged"} if name == "alert" else {}
            copied |= {"kind": "forged"} if name == "issued_report" else {}
            copied |= {"sha256": "f" * 64} if name == "config_version" else {}
            copied |= {"token_sha256": "f" * 64} if name == "api_token" else {}
            copied = {k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in copied.items()}
            with c.begin_nested() as attempt:
                columns, places = (", ".join(form.format(k) for k in copied) for form in ('"{}"', ":{}"))
                c.execute(text(f'INSERT INTO "{name}" ({columns}) VALUES ({places})'), copied)
                assert any("no entry of the audit log knows this row" in line for line in find_unsealed(c)), name
                attempt.rollback()


def test_what_the_service_writes_is_sealed_and_a_message_on_its_way_is_not(filled_database):

    def count_seals():
        with filled_database.read() as c:
            assert findings(c) == []
            return len(c.execute(select(audit_entry.c.id).where(audit_entry.c.action == "rows.seal")).all())

    with filled_database.write() as c:
        unheard = outbox.load_unacknowledged(c)[0]
        assert outbox.add_escalation(c, unheard, "chief", "email:chief@example.org", "once more", NOW)
    stale = unheard.alert_id
    before = count_seals()
    (waiting,) = tell(filled_database, outbox.claim_due, NOW, "me", 60.0, 9, "email:chief@example.org")
    with filled_database.write() as c:
        again = NOW + HOUR
        assert outbox.mark_failed(c, waiting.id, "me", "no route", permanent=False, next_attempt_at=again)
    assert count_seals() == before, "progress of a delivery needs no seal"
    with filled_database.write() as c:
        outbox.claim_due(c, NOW + HOUR, "me", 60.0, 9, waiting.channel)
        assert outbox.mark_delivered(c, waiting.id, "me", NOW + HOUR)
    assert count_seals() == before + 1
    tell(filled_database, alerts.acknowledge, stale, ADA, "seen", NOW)
    tell(filled_database, users.set_role, "bo", "admin")
    tell(filled_database, users.set_role, "bo", "admin")  # changes nothing
    tell(filled_database, clock_steps.set_back, 3600.0, NOW - HOUR)
    assert count_seals() == before + 4
    with pytest.raises(RuntimeError), filled_database.write() as c:
        alerts.add_note(c, stale, BO, "never said", NOW)
        raise RuntimeError
    assert (count_seals(), ask(filled_database, verify)) == (before + 4, [])


def test_an_act_is_logged_before_the_seal_of_its_rows_in_one_transaction(filled_database):
    tell(filled_database, alerts.add_note, 1, BO, "looked at again", NOW)
    with filled_database.read() as c:
        e = audit_entry.c
        note, seal = reversed(c.execute(select(e.action, e.detail).order_by(e.id.desc()).limit(2)).all())
    assert (note.action, seal.action) == ("alert.note", "rows.seal")
    event = json.loads(note.detail)["event"]
    assert set(json.loads(seal.detail)["rows"]) == {f"alert_event {event}"}, "the alert itself stays as it was"


def test_a_column_that_a_later_version_adds_leaves_old_digests_as_they_are():
    row = {"id": 1, "site": "s", "level": 2, "exercise": False}
    assert digest_row("alert", row) == digest_row("alert", {**row, "colour": None})
    assert digest_row("alert", row) != digest_row("alert", {**row, "colour": "red"})
    sent = {"id": 1, "recipient": "r", "state": "queued", "attempts": 0}
    assert digest_row("notification", sent) == digest_row("notification", {**sent, "state": "claimed", "attempts": 3})
    assert digest_row("notification", sent) != digest_row("notification", {**sent, "state": "delivered"})


def test_a_forged_seal_of_a_row_that_never_changes_is_named(filled_database):
    with filled_database.engine.connect() as c, c.begin():
        without_keys(c)
        c.execute(text("UPDATE alert_event SET reason = 'nothing moved' WHERE id = 1"))
        row = c.execute(select(alert_event).where(alert_event.c.id == 1)).mappings().one()
        write_seals(c, {"alert_event 1": digest_row("alert_event", row)}, NOW)
        assert audit.verify_chain(c) == [], "the log itself is consistent"
        (finding,) = findings(c)
        assert finding.startswith("alert_event 1: audit entry ")
        assert finding.endswith("seals another content; such a row never changes")


def test_seals_of_a_feature_that_is_not_installed_are_left_out(filled_database):
    with filled_database.engine.connect() as c, c.begin():
        write_seals(c, {"table_of_an_absent_feature 1": "0" * 32}, NOW)
        assert findings(c) == []

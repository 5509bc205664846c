"""Accounts, sessions, the audit chain and offsets: actions of people are logged, and tampering is detected."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from monitor.alerts.queries import offsets
from monitor.errors import NotFoundError, RefusedError
from monitor.people.queries import sessions, users
from monitor.people.tables import user_account, web_session
from monitor.readings.queries.observations import find_series_id, load_offsets
from monitor.storage import audit, service_state
from monitor.storage.actor import Actor
from monitor.storage.audit_tables import audit_entry
from tests.data.filled import ADA, BO, NOW, PASSWORD, days
from tests.data.store_rows import enter_offset, tell
from tests.fixtures.databases import STORY_ON_SQLITE

HOUR = timedelta(hours=1)


# ---- audit -----------------------------------------------------------------------------------------------------
def write_log(database, count=6):
    for number in range(count):
        arguments = (
            Actor("ada"),
            "alert.acknowledge",
            f"alert:{number}",
            {"reason": "sëen", "k": number},
            NOW + number * HOUR,
        )
        tell(database, audit.add_audit, *arguments)


ATTACKS = (
    ("UPDATE audit_entry SET actor = 'eve' WHERE id = 3", "entry 3: its content was altered"),
    ("UPDATE audit_entry SET at = '2026-01-01T00:00:00.000000Z' WHERE id = 3", "entry 3: its content was altered"),
    ("UPDATE audit_entry SET at = 'yesterday' WHERE id = 1", "entry 1: its content was altered"),
    ("UPDATE audit_entry SET detail = '{}' WHERE id = 6", "entry 6: its content was altered"),
    ("DELETE FROM audit_entry WHERE id = 3", "entry 4: the entry before it was removed"),
    ("DELETE FROM audit_entry WHERE id = 1", "entry 2: the entry before it was removed"),
    ("DELETE FROM audit_entry WHERE id = 6", "no longer in the chain"),
    ("DELETE FROM audit_entry", "no longer in the chain"),
    (
        "UPDATE audit_entry SET hash = 'f' || substr(hash, 2), actor = 'eve' WHERE id = 3",
        "entry 4",
    ),  # the hash was computed again
)


def test_tampering_with_the_audit_log_is_detected(database):
    write_log(database)
    with database.write() as connection:
        head = audit.find_head(connection)[1]
        for attack, finding in ATTACKS:
            savepoint = connection.begin_nested()
            connection.execute(text(attack))
            assert finding in "\n".join(audit.verify_chain(connection, head)), attack
            savepoint.rollback()
        assert audit.verify_chain(connection, head) == []


def test_concurrent_writers_create_one_chain(database):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: write_log(database, 5), range(4)))
    with database.read() as connection:
        assert (audit.verify_chain(connection), len(connection.execute(select(audit_entry.c.id)).all())) == ([], 20)


# ---- accounts --------------------------------------------------------------------------------------------------
def test_password_is_accepted_only_for_its_account(database):
    with database.write() as connection:
        users.add_user(connection, "ada", PASSWORD, "operator", NOW)
        users.add_user(connection, "eve", "another password", "viewer", NOW)
        assert users.check_password(connection, "ada", PASSWORD) == "operator"
        assert users.check_password(connection, "ada", "another password") is None
        assert users.check_password(connection, "nobody", PASSWORD) is None
        stored = connection.execute(select(user_account.c.password_hash)).scalars().all()
    assert all(password_hash.startswith("$argon2id$") and PASSWORD not in password_hash for password_hash in stored)


def test_passwords_are_hashed_with_the_parameters_of_rfc_9106(database):
    with database.write() as c:
        users.add_user(c, "ada", PASSWORD, "operator", NOW)
        added = c.execute(select(user_account.c.password_hash)).scalar_one()
        users.set_password(c, "ada", "a new password")
        changed = c.execute(select(user_account.c.password_hash)).scalar_one()
    assert added.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert changed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_session_ends_by_expiry_logout_lock_or_new_password(database):
    with database.write() as connection:
        for name in ("ada", "bo", "cy", "dee"):
            users.add_user(connection, name, PASSWORD, "viewer", NOW)
        tokens = {name: sessions.open_session(connection, name, NOW, 1800.0)[0] for name in ("ada", "bo", "cy", "dee")}
        token_hashes = set(connection.execute(select(web_session.c.token_sha256)).scalars())
        assert len(set(tokens.values())) == 4
        assert not token_hashes & set(tokens.values())
        assert sessions.find_session(connection, tokens["ada"], NOW).name == "ada"
        assert sessions.find_session(connection, tokens["ada"], NOW + HOUR / 2) is None
        assert sessions.find_session(connection, tokens["ada"] + "x", NOW) is None
        sessions.close_session(connection, tokens["bo"])
        users.disable_user(connection, "cy", NOW)
        users.set_password(connection, "dee", "a new password")
        assert [sessions.find_session(connection, tokens[name], NOW) for name in ("bo", "cy", "dee")] == [
            None,
            None,
            None,
        ]
        assert users.check_password(connection, "cy", PASSWORD) is None
        with pytest.raises(RefusedError, match="no open account"):
            sessions.open_session(connection, "cy", NOW)
        users.enable_user(connection, "cy")
        assert users.check_password(connection, "cy", PASSWORD) == "viewer"
        assert sessions.find_session(connection, tokens["cy"], NOW) is None


REFUSED = (
    ("", PASSWORD, "viewer", "user name"),
    ("a b", PASSWORD, "viewer", "user name"),
    ("x" * 65, PASSWORD, "viewer", "user name"),
    ("ok", "short", "viewer", "too short"),
    ("ok", "Password1", "viewer", "easy to guess: .*common"),
    ("ok", "Slopeward2026", "viewer", "easy to guess"),
    ("rossi.maria", "RossiMaria1", "viewer", "easy to guess"),
    ("ok", "qwertzuiop", "viewer", "easy to guess"),
    ("ok", "a" * 500, "viewer", "easy to guess"),
    ("ok", PASSWORD, "root", "viewer, operator, admin"),
    ("ada", PASSWORD, "viewer", "exists already"),
)


def test_invalid_account_is_refused_and_leaves_the_transaction_usable(database):
    with database.write() as connection:
        users.add_user(connection, "ada", PASSWORD, "admin", NOW)
        for name, password, role, message in REFUSED:
            with pytest.raises(RefusedError, match=message):
                users.add_user(connection, name, password, role, NOW)
        assert [user.name for user in users.load_users(connection)] == ["ada"]
        with pytest.raises(RefusedError, match="easy to guess"):
            users.set_password(connection, "ada", "Summer2026!")
        assert users.check_password(connection, "ada", PASSWORD) == "admin"
        users.set_password(connection, "ada", "k" * 3 + " unlikely walnut bridge " * 9)  # a long password is accepted
        with pytest.raises(NotFoundError, match="people users list"):
            users.set_role(connection, "nobody", "viewer")


# ---- offsets ---------------------------------------------------------------------------------------------------
def test_offset_of_a_single_operator_is_valid_from_its_known_time(filled_database):
    with filled_database.write() as connection:
        for account in users.load_users(connection):
            if account.name not in {"ada", "admin"}:
                users.disable_user(connection, account.name, NOW)
        assert not users.can_countersign(connection, "north-bench")
        series_id = find_series_id(connection, "north-bench", "G1", "displacement_up")
        offset_at = NOW - days(3)
        offset_id = enter_offset(
            connection, series_id, offset_at, 0.5, NOW, author=ADA, known_from=NOW - days(1), unit="cm", kind="rezero"
        )
        assert enter_offset(connection, series_id, offset_at, 5.0, NOW, author=BO, kind="rezero") == offset_id
        assert [size for _, size in load_offsets(connection, series_id, NOW)] == [
            5.0
        ]  # converted to the unit of the series
        assert load_offsets(connection, series_id, NOW - days(2)) == []
        offsets.confirm_offset(connection, offset_id, ADA, "checked", NOW + HOUR)
        offsets.revoke_offset(connection, offset_id, BO, "wrong", NOW + 2 * HOUR)
        assert [size for _, size in load_offsets(connection, series_id, NOW + HOUR)] == [5.0]
        assert load_offsets(connection, series_id, NOW + 2 * HOUR) == []
        offset = offsets.find_offset(connection, offset_id)
        assert (offset.author, offset.confirmed_by, offset.revoked_by, offset.unit) == ("ada", "ada", "bo", "mm")
    with filled_database.read() as connection:
        column = audit_entry.c
        actions = connection.execute(
            select(column.action).where(column.subject == f"offset:{offset_id}").order_by(column.id)
        ).scalars()
        assert (list(actions), audit.verify_chain(connection)) == (
            ["offset.add", "offset.confirm", "offset.revoke"],
            [],
        )


INVALID_OFFSETS = (
    ({"at": NOW + days(1)}, "becomes known after it happened"),
    ({"known_from": NOW + days(1)}, "becomes known after it happened and before now"),
    ({"size": 0.0}, "other than zero"),
    ({"size": float("nan")}, "finite"),
    ({"size": float("inf")}, "finite"),
    ({"unit": "kPa"}, "for a series in 'mm'"),
    ({"kind": "magic"}, "antenna"),
    ({"reason": " "}, "needs a reason"),
)


@STORY_ON_SQLITE
def test_invalid_offset_is_refused(filled_database):
    valid_values = {"at": NOW, "known_from": NOW, "size": 1.0, "unit": "mm", "kind": "other"}
    valid_values |= {"author": ADA, "reason": "r", "now": NOW}
    with filled_database.write() as connection:
        series_id = find_series_id(connection, "north-bench", "G1", "displacement_up")
        for change, message in INVALID_OFFSETS:
            with pytest.raises(RefusedError, match=message):
                offsets.add_offset(connection, series_id, **{**valid_values, **change})
        with pytest.raises(NotFoundError, match="no series 4711"):
            offsets.add_offset(connection, 4711, **valid_values)
        with pytest.raises(RefusedError, match="already"):
            offsets.confirm_offset(connection, 1, ADA, "", NOW)
        with pytest.raises(RefusedError, match="revoked already"):
            offsets.revoke_offset(connection, 2, ADA, "r", NOW)
        with pytest.raises(NotFoundError, match="offsets list"):
            offsets.find_offset(connection, 99)


# ---- heartbeats and jobs ---------------------------------------------------------------------------------------
def test_heartbeat_is_replaced_and_loaded(database):
    with database.write() as connection:
        service_state.write_heartbeat(connection, "core.evaluate", {"n": 1}, NOW)
        service_state.write_heartbeat(connection, "core.evaluate", {"n": 2, "text": "é"}, NOW + HOUR)
        service_state.write_heartbeat(connection, "web", {}, NOW)
        assert service_state.load_heartbeats(connection) == {
            "core.evaluate": (NOW + HOUR, {"n": 2, "text": "é"}),
            "web": (NOW, {}),
        }
        service_state.remove_heartbeat(connection, "web")
        assert service_state.find_heartbeat(connection, "web") is None


def test_job_run_ends_once_and_abandoned_runs_are_ended(database):
    with database.write() as connection:
        first = service_state.start_run(connection, "forecast", "north-bench", NOW)
        second = service_state.start_run(connection, "train", None, NOW + HOUR)
        service_state.finish_run(connection, first, "done", "12 rows", NOW + HOUR)
        with pytest.raises(Exception, match="is not running"):
            service_state.finish_run(connection, first, "failed", None, NOW + HOUR)
        with pytest.raises(Exception, match="cannot end as"):
            service_state.finish_run(connection, second, "running", None, NOW + HOUR)
        assert service_state.mark_abandoned(connection, NOW + 2 * HOUR) == 1
        service_state.add_missed(connection, "score", "north-bench", NOW, NOW + 3 * HOUR)
        ended = [(run.job, run.state) for run in service_state.load_runs(connection)]
    assert ended == [("train", "killed"), ("score", "missed"), ("forecast", "done")]

"""Accounts, sessions, the audit chain and offsets: what people do, and that nobody can undo it unseen."""

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
    for k in range(count):
        facts = (Actor("ada"), "alert.acknowledge", f"alert:{k}", {"reason": "sëen", "k": k}, NOW + k * HOUR)
        tell(database, audit.add_audit, *facts)


ATTACKS = (
    ("UPDATE audit_entry SET actor = 'eve' WHERE id = 3", "entry 3: its content was altered"),
    ("UPDATE audit_entry SET at = '2026-01-01T00:00:00.000000Z' WHERE id = 3", "entry 3: its content was altered"),
    ("UPDATE audit_entry SET at = 'yesterday' WHERE id = 1", "entry 1: its content was altered"),
    ("UPDATE audit_entry SET detail = '{}' WHERE id = 6", "entry 6: its content was altered"),
    ("DELETE FROM audit_entry WHERE id = 3", "entry 4: the entry before it was removed"),
    ("DELETE FROM audit_entry WHERE id = 1", "entry 2: the entry before it was removed"),
    ("DELETE FROM audit_entry WHERE id = 6", "no longer in the chain"),
    ("DELETE FROM audit_entry", "no longer in the chain"),
    ("UPDATE audit_entry SET hash = 'f' || substr(hash, 2), actor = 'eve' WHERE id = 3", "entry 4"),  # hashed anew
)


def test_tampering_is_found(database):
    write_log(database)
    with database.write() as c:
        head = audit.find_head(c)[1]
        for attack, finding in ATTACKS:
            before = c.begin_nested()
            c.execute(text(attack))
            assert finding in "\n".join(audit.verify_chain(c, head)), attack
            before.rollback()
        assert audit.verify_chain(c, head) == []


def test_many_writers_at_once_make_one_chain(database):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: write_log(database, 5), range(4)))
    with database.read() as c:
        assert (audit.verify_chain(c), len(c.execute(select(audit_entry.c.id)).all())) == ([], 20)


# ---- accounts --------------------------------------------------------------------------------------------------
def test_password_is_accepted_only_for_its_account(database):
    with database.write() as c:
        users.add_user(c, "ada", PASSWORD, "operator", NOW)
        users.add_user(c, "eve", "another password", "viewer", NOW)
        assert users.check_password(c, "ada", PASSWORD) == "operator"
        assert users.check_password(c, "ada", "another password") is None
        assert users.check_password(c, "nobody", PASSWORD) is None
        stored = c.execute(select(user_account.c.password_hash)).scalars().all()
    assert all(kept.startswith("$argon2id$") and PASSWORD not in kept for kept in stored)


def test_passwords_are_hashed_with_the_parameters_of_rfc_9106(database):
    with database.write() as c:
        users.add_user(c, "ada", PASSWORD, "operator", NOW)
        added = c.execute(select(user_account.c.password_hash)).scalar_one()
        users.set_password(c, "ada", "a new password")
        changed = c.execute(select(user_account.c.password_hash)).scalar_one()
    assert added.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert changed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_session_ends_by_expiry_logout_lock_or_new_password(database):
    with database.write() as c:
        for name in ("ada", "bo", "cy", "dee"):
            users.add_user(c, name, PASSWORD, "viewer", NOW)
        tokens = {name: sessions.open_session(c, name, NOW, 1800.0)[0] for name in ("ada", "bo", "cy", "dee")}
        kept = set(c.execute(select(web_session.c.token_sha256)).scalars())
        assert len(set(tokens.values())) == 4
        assert not kept & set(tokens.values())
        assert sessions.find_session(c, tokens["ada"], NOW).name == "ada"
        assert sessions.find_session(c, tokens["ada"], NOW + HOUR / 2) is None
        assert sessions.find_session(c, tokens["ada"] + "x", NOW) is None
        sessions.close_session(c, tokens["bo"])
        users.disable_user(c, "cy", NOW)
        users.set_password(c, "dee", "a new password")
        assert [sessions.find_session(c, tokens[name], NOW) for name in ("bo", "cy", "dee")] == [None, None, None]
        assert users.check_password(c, "cy", PASSWORD) is None
        with pytest.raises(RefusedError, match="no open account"):
            sessions.open_session(c, "cy", NOW)
        users.enable_user(c, "cy")
        assert users.check_password(c, "cy", PASSWORD) == "viewer"
        assert sessions.find_session(c, tokens["cy"], NOW) is None


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
    with database.write() as c:
        users.add_user(c, "ada", PASSWORD, "admin", NOW)
        for name, password, role, said in REFUSED:
            with pytest.raises(RefusedError, match=said):
                users.add_user(c, name, password, role, NOW)
        assert [user.name for user in users.load_users(c)] == ["ada"]
        with pytest.raises(RefusedError, match="easy to guess"):
            users.set_password(c, "ada", "Summer2026!")
        assert users.check_password(c, "ada", PASSWORD) == "admin"
        users.set_password(c, "ada", "k" * 3 + " unlikely walnut bridge " * 9)  # however long
        with pytest.raises(NotFoundError, match="people users list"):
            users.set_role(c, "nobody", "viewer")


# ---- offsets ---------------------------------------------------------------------------------------------------
def test_an_offset_counts_from_when_it_is_known_where_only_one_person_may_act(filled_database):
    with filled_database.write() as c:
        for account in users.load_users(c):
            if account.name not in {"ada", "admin"}:
                users.disable_user(c, account.name, NOW)
        assert not users.can_countersign(c, "north-bench")
        series_id = find_series_id(c, "north-bench", "G1", "displacement_up")
        at = NOW - days(3)
        first = enter_offset(c, series_id, at, 0.5, NOW, author=ADA, known_from=NOW - days(1), unit="cm", kind="rezero")
        assert enter_offset(c, series_id, at, 5.0, NOW, author=BO, kind="rezero") == first
        assert [size for _, size in load_offsets(c, series_id, NOW)] == [5.0]  # in the unit of the series
        assert load_offsets(c, series_id, NOW - days(2)) == []
        offsets.confirm_offset(c, first, ADA, "checked", NOW + HOUR)
        offsets.revoke_offset(c, first, BO, "wrong", NOW + 2 * HOUR)
        assert [size for _, size in load_offsets(c, series_id, NOW + HOUR)] == [5.0]
        assert load_offsets(c, series_id, NOW + 2 * HOUR) == []
        found = offsets.find_offset(c, first)
        assert (found.author, found.confirmed_by, found.revoked_by, found.unit) == ("ada", "ada", "bo", "mm")
    with filled_database.read() as c:
        e = audit_entry.c
        acts = c.execute(select(e.action).where(e.subject == f"offset:{first}").order_by(e.id)).scalars()
        assert (list(acts), audit.verify_chain(c)) == (["offset.add", "offset.confirm", "offset.revoke"], [])


NONSENSE = (
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
def test_an_offset_that_makes_no_sense_is_refused(filled_database):
    sound = {"at": NOW, "known_from": NOW, "size": 1.0, "unit": "mm", "kind": "other"}
    sound |= {"author": ADA, "reason": "r", "now": NOW}
    with filled_database.write() as c:
        series_id = find_series_id(c, "north-bench", "G1", "displacement_up")
        for change, said in NONSENSE:
            with pytest.raises(RefusedError, match=said):
                offsets.add_offset(c, series_id, **{**sound, **change})
        with pytest.raises(NotFoundError, match="no series 4711"):
            offsets.add_offset(c, 4711, **sound)
        with pytest.raises(RefusedError, match="already"):
            offsets.confirm_offset(c, 1, ADA, "", NOW)
        with pytest.raises(RefusedError, match="revoked already"):
            offsets.revoke_offset(c, 2, ADA, "r", NOW)
        with pytest.raises(NotFoundError, match="offsets list"):
            offsets.find_offset(c, 99)


# ---- stamps and jobs -------------------------------------------------------------------------------------------
def test_a_stamp_is_replaced_and_read_back(database):
    with database.write() as c:
        service_state.write_heartbeat(c, "core.evaluate", {"n": 1}, NOW)
        service_state.write_heartbeat(c, "core.evaluate", {"n": 2, "text": "é"}, NOW + HOUR)
        service_state.write_heartbeat(c, "web", {}, NOW)
        assert service_state.load_heartbeats(c) == {
            "core.evaluate": (NOW + HOUR, {"n": 2, "text": "é"}),
            "web": (NOW, {}),
        }
        service_state.remove_heartbeat(c, "web")
        assert service_state.find_heartbeat(c, "web") is None


def test_a_job_run_ends_once_and_abandoned_ones_are_ended(database):
    with database.write() as c:
        first = service_state.start_run(c, "forecast", "north-bench", NOW)
        second = service_state.start_run(c, "train", None, NOW + HOUR)
        service_state.finish_run(c, first, "done", "12 rows", NOW + HOUR)
        with pytest.raises(Exception, match="is not running"):
            service_state.finish_run(c, first, "failed", None, NOW + HOUR)
        with pytest.raises(Exception, match="cannot end as"):
            service_state.finish_run(c, second, "running", None, NOW + HOUR)
        assert service_state.mark_abandoned(c, NOW + 2 * HOUR) == 1
        service_state.add_missed(c, "score", "north-bench", NOW, NOW + 3 * HOUR)
        ended = [(run.job, run.state) for run in service_state.load_runs(c)]
    assert ended == [("train", "killed"), ("score", "missed"), ("forecast", "done")]

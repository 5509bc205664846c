"""Who acts at the command line: with accounts a name is proved, and two people are two sessions."""

import io
import json
import os
import pty
import pwd
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import select, update

from monitor.alerts.acts.operator_acts import set_level
from monitor.alerts.evaluation_tables import site_state
from monitor.alerts.queries.signatures import TwoPersonAct, save_first
from monitor.alerts.tables import alert as alert_table
from monitor.cli import acts
from monitor.cli.main import run_verb
from monitor.errors import RefusedError
from monitor.people.queries import sessions
from monitor.people.queries.api_tokens import add_api_token, revoke_api_token
from monitor.people.queries.second_factor import (
    RECOVERY_CODES,
    STEP_S,
    code_of,
    has_second_factor,
    remove_second_factor,
)
from monitor.people.queries.users import (
    ACCOUNT_CHANGES,
    COOLING,
    disable_user,
    enable_user,
    require_independent,
    set_sites,
)
from monitor.people.tables import first_signature, password_guess
from monitor.storage.actor import Actor
from monitor.storage.audit import verify_chain
from monitor.storage.audit_tables import audit_entry
from monitor.storage.engine import Database
from monitor.storage.seals import find_unsealed
from tests.data.accounts import add_account
from tests.data.forked import fork, run_forked
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import WatchedSlope, write_service
from tests.fixtures.databases import ON_BOTH

CHIEF = {"who": "Root-1"}  # the admin, where there is one
WORDS = {
    "Root-1": "moss vector tulip 55",
    "Ada": "tin lantern quarry 41",
    "Bo": "plum gravel sonnet 17",
    "Cy": "wool cedar anchor 93",
}
ROLES = {"Ada": "operator", "Bo": "operator", "Cy": "viewer"}
NOW = datetime.now(UTC)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(database, tmp_path, monkeypatch):
    slope = WatchedSlope(database)
    set_level(database, slope.site, 3, Actor("Ada"), "it fails", NOW)
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, database)))
    monkeypatch.delenv("SLOPEWARD_BY_PASSWORD", raising=False)
    return slope


@pytest.fixture
def accounts(bench):
    with bench.database.write() as c:
        for name, role in ROLES.items():
            add_account(c, name, WORDS[name], role, NOW)
    return bench


@pytest.fixture
def call(monkeypatch, capsys):
    """`call("level", "set", ..., who="Ada")`: status, stdout, stderr of a command in the session of that person."""

    def run(*words, who=None, password=None):
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdin", io.StringIO(""))
            if who or password:
                patch.setenv("SLOPEWARD_BY_PASSWORD", password or WORDS[who])
            names = () if who is None else ("--by", who)
            status = run_verb([*map(str, words), *names])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def level_of(bench):
    return ask(bench.database, lambda c: c.execute(select(site_state.c.level)).scalar_one())


def entries(bench, action):
    """(actor, detail) of each entry of the audit log of that action; the log and what it seals are whole."""
    e = audit_entry.c
    with bench.database.read() as c:
        rows = c.execute(select(e.actor, e.detail).where(e.action == action).order_by(e.id)).all()
        assert (verify_chain(c), list(find_unsealed(c))) == ([], [])
    return [(row.actor, json.loads(row.detail)) for row in rows]


LOWER = ("level", "set", "bench", "green", "--reason", "nothing moves", "--yes")


def test_an_alert_that_rises_while_its_password_is_typed_is_not_acknowledged(bench, call, monkeypatch):
    with bench.database.read() as c:
        number = c.execute(select(alert_table.c.id).where(alert_table.c.ledger == "hazard")).scalar_one()
    proved = acts.authenticate_actor

    def rise_meanwhile(db, *given, **own):
        who = proved(db, *given, **own)
        tell(
            db,
            lambda c: c.execute(
                update(alert_table).where(alert_table.c.id == number).values(level=alert_table.c.level + 1)
            ),
        )
        return who

    monkeypatch.setattr(acts, "authenticate_actor", rise_meanwhile)
    status, _, said = call("alerts", "ack", number, "--reason", "on the way")
    assert (status, "has risen" in said) == (1, True)


# ---- the attack ------------------------------------------------------------------------------------------------
def test_a_local_person_who_writes_the_name_of_another_lowers_nothing(accounts, call):
    status, _, said = call(*LOWER, "--by", "Ada")
    assert (status, level_of(accounts), said.count("\n"), "SLOPEWARD_BY_PASSWORD" in said) == (1, 3, 1, True)
    status, _, said = call(*LOWER, "--by", "Ada", password="plum gravel sonnet 17")
    assert (status, level_of(accounts), "wrong" in said) == (1, 3, True)
    ((name, detail),) = entries(accounts, "login.refused")
    assert (name, detail["via"], detail["os_user"]) == ("Ada", "command", pwd.getpwuid(os.getuid()).pw_name)


@ON_BOTH
def test_guesses_wait_for_each_other_and_keep_nobody_else_out(bench, tmp_path):
    """Side by side they are no faster than one after another; who is patient waits for half a minute at most."""

    def turn(now, os_user="mallory"):
        return (tell(bench.database, sessions.reserve_attempt, "Ada", os_user, now) - NOW).total_seconds()

    assert [turn(NOW) for _ in range(sessions.FREE_PASSWORDS + 1)] == [0.0] * (sessions.FREE_PASSWORDS + 1)
    url = bench.database.url.render_as_string(hide_password=False)

    def guess():
        with Database(url) as db:
            at = tell(db, sessions.reserve_attempt, "Ada", "mallory", NOW)
        (tmp_path / str(os.getpid())).write_text(str((at - NOW).total_seconds()))

    others = [fork(guess) for _ in range(3)]
    assert [os.waitpid(other, 0)[1] for other in others] == [0, 0, 0]
    assert sorted(float((tmp_path / str(other)).read_text()) for other in others) == [1.0, 3.0, 7.0]
    assert turn(NOW) == 15.0
    with pytest.raises(RefusedError, match="try again in 30 s"):
        turn(NOW)
    assert (turn(NOW + timedelta(seconds=1)), turn(NOW, "ada")) == (31.0, 0.0)
    assert turn(NOW + timedelta(hours=1)) == 3600.0  # long forgotten


def test_after_wrong_passwords_the_next_one_waits_and_the_right_one_ends_that(accounts, call, monkeypatch):
    waits = []
    monkeypatch.setattr("monitor.cli.identity.time", SimpleNamespace(sleep=waits.append))  # of this module alone
    monkeypatch.setattr("monitor.people.queries.sessions.FREE_PASSWORDS", 1)
    # The delays are 9 s and 18 s, so the fourth attempt is not refused.
    monkeypatch.setattr("monitor.people.queries.sessions.FIRST_DELAY_S", 9.0)
    for _ in range(2):
        assert call(*LOWER, "--by", "Ada", password="plum gravel sonnet 17")[0] == 1
    assert waits == []
    assert call(*LOWER, "--by", "Ada", password="plum gravel sonnet 17")[0] == 1
    status, _, said = call(*LOWER, who="Ada")
    assert (status, "wrong passwords were given before" in said) == (3, True), said
    assert 1 <= len(waits) <= 2
    assert all(0.0 < wait <= sessions.LONGEST_DELAY_S for wait in waits)
    assert ask(accounts.database, lambda c: c.execute(select(password_guess)).all()) == []


def test_a_name_in_the_environment_is_nobody(accounts, call, monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "Ada")
    status, _, said = call(*LOWER)
    assert (status, level_of(accounts), "--by" in said) == (1, 3, True)


def test_typing_a_second_name_is_no_second_person(accounts, call):
    status, _, said = call(*LOWER, who="Ada")
    assert (status, level_of(accounts), "second person" in said) == (3, 3, True)
    assert "slopeward level set bench green" in said
    assert call(*LOWER, who="Ada")[0] == 1  # the same person again
    assert call(*LOWER, who="Cy")[0] == 1  # may look only
    assert level_of(accounts) == 3
    status, out, said = call(*LOWER, "--json", who="bo", password=WORDS["Bo"])
    assert (status, level_of(accounts)) == (0, 0), said
    assert json.loads(out)["signed_by"] == ["Ada", "Bo"]
    ((name, detail),) = [e for e in entries(accounts, "level.set") if e[1]["to"] == 0]
    me = pwd.getpwuid(os.getuid()).pw_name
    assert (name, detail["second_by"], detail["os_user"], detail["proof"]) == ("Bo", "Ada", me, "password")
    ((first, signed),) = entries(accounts, "level.set.sign")
    assert (first, signed["os_user"], signed["proof"]) == ("Ada", me, "password")


def test_to_withdraw_an_earthquake_at_a_high_level_takes_two_people(accounts, call):
    """What it made stricter, or asked for, would end; to take back a confirmation lowers nothing."""
    quake = ("events", "add", "--site", "bench", "--kind", "earthquake", "--value", "0.3", "--text", "M 5.1")
    assert call(*quake, who="Ada")[0] == 0
    gone = ("events", "withdraw", 1, "--reason", "it was the blasting of bench 4")
    assert call(*gone, "--confirmation-of", "Ada", who="Cy")[0] == 1  # may look only
    status, out, _ = call(*gone, "--confirmation-of", "Ada", who="Bo")
    assert (status, "still confirmed by: nobody" in out, call(*gone, who="Ada")[0]) == (0, True, 3)
    status, out, _ = call("people", "signatures", "list")
    assert (status, "event.withdraw of site:bench, event 1: signed by Ada" in out) == (0, True)
    assert call("people", "signatures", "withdraw", 1, "--reason", "not mine", who="Bo")[0] == 1  # that of another one
    assert call("people", "signatures", "withdraw", 1, "--reason", "it was felt", who="Ada")[0] == 0
    assert call("people", "signatures", "list")[0] == 4
    assert call(*gone, who="Bo")[0] == 3  # alone again
    assert call("events", "list")[1].count("withdrawn") == 0
    status, out, said = call(*gone, who="Ada")
    assert (status, "event 1 is withdrawn by Ada; bench is at red" in out) == (0, True), said
    assert "withdrawn by Ada" in call("events", "list")[1]
    assert "was withdrawn by Ada" in call("events", "confirm", 1, "--reason", "felt", who="Bo")[2]
    told = [(a, d.get("second_by")) for a, d in entries(accounts, "event.withdraw")]
    assert (told, [a for a, _ in entries(accounts, "event.withdraw.unsign")]) == ([("Ada", "Bo")], ["Ada"])


def test_a_first_signature_holds_for_its_act_its_height_and_its_time_only(accounts, call):
    orange = ("level", "set", "bench", "orange", "--reason", "less", "--yes")
    assert call(*LOWER, who="Ada")[0] == 3
    assert call(*orange, who="Bo")[0] == 3  # another act: Bo is the first of it
    with accounts.database.write() as c:
        c.execute(first_signature.update().values(signed_at=NOW - timedelta(hours=5)))
    assert call(*LOWER, who="Bo")[0] == 3  # Ada's has lapsed
    with accounts.database.write() as c:
        c.execute(first_signature.update().values(height=2))  # something asks for more by now
    assert (call(*LOWER, who="Ada")[0], level_of(accounts), call(*LOWER, who="Bo")[0]) == (3, 3, 0)
    assert level_of(accounts) == 0


def test_a_signature_of_an_account_that_was_locked_counts_no_more(accounts, call):
    assert call(*LOWER, who="Ada")[0] == 3
    tell(accounts.database, add_account, "Root-1", WORDS["Root-1"], "admin", NOW)
    assert (call("people", "users", "disable", "Ada", **CHIEF)[0], call(*LOWER, who="Bo")[0]) == (0, 3)
    assert level_of(accounts) == 3


# ---- before the first account ----------------------------------------------------------------------------------
def test_without_accounts_a_name_is_enough_and_the_user_of_the_system_stands_beside_it(bench, call):
    status, _, said = call(*LOWER, "--by", "Ada")
    assert (status, level_of(bench), "slopeward people users add" in said) == (0, 0, True)
    ((name, detail),) = [e for e in entries(bench, "level.set") if e[1]["to"] == 0]
    assert (name, detail["os_user"]) == ("Ada", pwd.getpwuid(os.getuid()).pw_name)
    assert "proof" not in detail


# ---- accounts --------------------------------------------------------------------------------------------------
def test_accounts_are_changed_by_an_admin_who_proves_it(accounts, call):
    add = ("people", "users", "add", "eve", "--role", "operator")
    tell(accounts.database, add_account, "Root-1", WORDS["Root-1"], "admin", NOW)
    assert (call(*add)[0], call(*add, who="Ada")[0]) == (1, 1)
    assert call("people", "users", "enable", "Bo", who="Ada")[0] == 1
    assert call("people", "users", "bind", "Ada", "--os-user", "nobody", who="Ada")[0] == 1
    assert "Ada" in call("people", "users", "bind", "Ada", "--os-user", "nobody", **CHIEF)[1]
    for user, why in (("nobody", "Ada"), ("root", "root")):
        status, _, said = call("people", "users", "bind", "Bo", "--os-user", user, **CHIEF)
        assert (status, why in said) == (1, True)


def test_without_an_admin_an_operator_keeps_the_accounts(accounts, call, monkeypatch):
    monkeypatch.setenv("SLOPEWARD_USER_PASSWORD", "copper violin marsh 38")
    assert call("people", "users", "add", "eve", "--role", "operator")[0] == 1
    assert call("people", "users", "add", "eve", "--role", "operator", who="Cy")[0] == 1
    assert call("people", "users", "add", "eve", "--role", "admin", who="Ada")[0] == 0
    assert call("people", "users", "disable", "Bo", who="Ada")[0] == 1  # an admin is there now


def test_everybody_changes_the_own_password(accounts, call, monkeypatch):
    monkeypatch.setenv("SLOPEWARD_USER_PASSWORD", "copper violin marsh 38")
    tell(accounts.database, add_account, "Root-1", WORDS["Root-1"], "admin", NOW)
    assert call("people", "users", "passwd", "Bo", who="Cy")[0] == 1
    assert call("people", "users", "passwd", "Cy", who="Cy")[0] == 0
    assert call("people", "users", "passwd", "Cy", who="Cy")[0] == 1  # by the old one


def test_a_password_comes_by_file_descriptor_too(accounts, call, monkeypatch):
    reader, writer = os.pipe()
    os.write(writer, WORDS["Ada"].encode() + b"\n")
    os.close(writer)
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD_FD", str(reader))
    assert call("level", "set", "bench", "red", "--reason", "it fails", "--by", "Ada")[0] == 0
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD_FD", "977")
    status, _, said = call("level", "set", "bench", "red", "--reason", "it fails", "--by", "Ada")
    assert (status, "SLOPEWARD_BY_PASSWORD_FD" in said) == (1, True)


def test_a_token_acknowledges_and_reports_and_does_nothing_that_takes_a_person(accounts, call, monkeypatch):
    database = accounts.database

    def make(user, scope, sites=None):
        return tell(database, add_api_token, user, "gateway", scope, sites, 3600.0, NOW)

    alert = ask(database, lambda c: c.execute(select(alert_table.c.id).order_by(alert_table.c.id)).scalars().first())
    ack = ("alerts", "ack", alert, "--reason", "on my way")
    number, token = make("Ada", "act")
    monkeypatch.setenv("SLOPEWARD_BY_TOKEN", token)
    assert call(*ack)[0] == 0
    assert call("report", "add", "--site", "bench", "--kind", "crack", "--text", "wider", "--by", "Ada")[0] == 0
    with database.read() as c:
        acts = c.execute(select(audit_entry.c.actor, audit_entry.c.detail).order_by(audit_entry.c.id)).all()
    by_token = [(who, json.loads(told)) for who, told in acts if '"proof":"token"' in told]
    assert [(who, told["via"]) for who, told in by_token] == [("Ada", "token")] * 2
    status, _, said = call("level", "set", "bench", "yellow", "--reason", "it is over")
    assert (status, "needs a person" in said) == (1, True)
    status, _, said = call(*ack, "--by", "Bo")
    assert (status, "that of 'Ada'" in said) == (1, True)
    monkeypatch.setenv("SLOPEWARD_BY_TOKEN", make("Cy", "read")[1])
    status, _, said = call(*ack)
    assert (status, "allows reading only" in said) == (1, True)
    tell(database, revoke_api_token, number, NOW)
    for wrong in (token, "slopeward_invented", ""):
        monkeypatch.setenv("SLOPEWARD_BY_TOKEN", wrong)
        status, _, said = call(*ack)
        assert (status, "unknown, expired or revoked" in said) == (1, True)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_bound_user_of_the_system_is_that_account_and_root_is_nobody(database, tmp_path):
    slope = WatchedSlope(database)
    with database.write() as c:
        for name, role in ROLES.items():
            add_account(c, name, WORDS[name], role, NOW)
        add_account(c, "Root-1", WORDS["Root-1"], "admin", NOW)
    service = write_service(tmp_path, database)

    def call(*words, user=None, **more):
        """The status in a process whose real user is another one; the effective one stays, to read what it needs."""

        def act():
            os.environ.update({"SLOPEWARD_CONFIG": str(service), **more})
            if user is not None:
                os.setresuid(pwd.getpwnam(user).pw_uid, 0, 0)
            os._exit(run_verb(list(words)))

        return os.waitstatus_to_exitcode(run_forked(act))

    raise_it = ("level", "set", "bench", "yellow", "--reason", "it is wet")
    assert call(*raise_it, user="nobody") == 1
    by_root = {"SLOPEWARD_BY_PASSWORD": WORDS["Root-1"]}
    assert call("people", "users", "bind", "Ada", "--os-user", "nobody", "--by", "Root-1", **by_root) == 0
    assert call(*raise_it, "--by", "Ada") == 1  # root
    assert (call(*raise_it, "--by", "Bo", user="nobody"), call(*raise_it, user="nobody", LOGNAME="root")) == (1, 0)
    assert [(n, d["os_user"], d["proof"]) for n, d in entries(slope, "level.set")] == [("Ada", "nobody", "os_user")]
    with database.write() as c:
        set_sites(c, "Ada", ["bench"])
        save_first(c, TwoPersonAct("level.set", "site:lake", {"to": 0}), Actor("Bo"), "quiet", 2, NOW)
    assert call("people", "signatures", "list", user="nobody") == 4, "nothing of other sites is shown"
    assert call("people", "users", "unbind", "Ada", "--by", "Root-1", **by_root) == 0
    assert call(*raise_it, user="nobody") == 1


def test_work_by_two_is_in_force_with_the_command_of_the_second(accounts, call):
    add = ("maintenance", "add", "bench", "G1", "--for", "2h", "--reason", "new mast")
    status, _, said = call(*add, "--second", "Bo", who="Ada")
    assert (status, "slopeward maintenance add bench G1 --for 2h --second Ada" in said) == (3, True)
    assert call("maintenance", "list")[0] == 4
    assert call(*add, who="Bo")[0] == 0  # alone, and Ada's signature waits on
    status, out, _ = call(*add, "--second", "Ada", "--json", who="Bo")
    assert status == 0
    facts = json.loads(out)
    assert (facts["by"], facts["second_by"]) == ("Bo", "Ada")


# ---- one admin who is two persons -------------------------------------------------------------------------------


@pytest.fixture
def settled(bench, monkeypatch):
    then = NOW - timedelta(days=9)
    monkeypatch.setenv("SLOPEWARD_USER_PASSWORD", WORDS["Bo"])
    with bench.database.write() as c:
        for name, role in {"Root-1": "admin", **ROLES}.items():
            add_account(c, name, WORDS["Bo"] if name in {"Ada", "Cy"} else WORDS[name], role, then)
        disable_user(c, "Bo", then)
    return bench


TAKEN = {
    "an account made": (("people", "users", "add", "Dan", "--role", "operator"), "Dan", "made the account of Dan"),
    "a new password": (("people", "users", "passwd", "Ada"), "Ada", "set a new password for Ada"),
    "a role": (("people", "users", "role", "Cy", "operator"), "Cy", "changed the role of Cy"),
    "sites": (("people", "users", "sites", "Ada", "--all"), "Ada", "changed the sites of Ada"),
    "unlocked": (("people", "users", "enable", "Bo"), "Bo", "unlocked Bo"),
}


@pytest.mark.parametrize("how", TAKEN)
def test_admin_who_changed_an_account_does_not_count_as_second_person(settled, call, how):
    verb, name, said = TAKEN[how]
    assert (call(*verb, **CHIEF)[0], call(*LOWER, **CHIEF)[0]) == (0, 3)
    status, _, told = call(*LOWER, "--by", name, password=WORDS["Bo"])
    assert (status, f"Root-1 and {name} do not count as two people yet: Root-1 {said} at " in told) == (1, True)
    assert f"A third person can do it now, or {name} after" in told
    assert level_of(settled) == 3
    other = "Bo" if name == "Ada" else "Ada"
    if other == "Bo":
        tell(settled.database, enable_user, "Bo")
    assert (call(*LOWER, "--by", other, password=WORDS["Bo"])[0], level_of(settled)) == (0, 0)


def test_hands_are_followed_over_several_accounts_and_let_go_after_a_day(settled, call):
    for maker, name, role in (("Root-1", "Dan", "admin"), ("Dan", "Eve", "operator"), ("Root-1", "Fay", "operator")):
        words = ("people", "users", "add", name, "--role", role, "--by", maker)
        assert call(*words, password=WORDS.get(maker, WORDS["Bo"]))[0] == 0
    now = datetime.now(UTC)
    with settled.database.read() as c:
        for one, other in (("Root-1", "Eve"), ("Eve", "Fay"), ("Dan", "Fay"), ("root-1 ", "Dan")):
            with pytest.raises(RefusedError, match="do not count as two people yet"):
                require_independent(c, one, other, now)
        for one, other in (("Root-1", "Ada"), ("Eve", "Ada")):
            require_independent(c, one, other, now)
        require_independent(c, "Eve", "Fay", now + COOLING + timedelta(seconds=1))


def test_on_the_first_day_of_an_installation_two_people_sign_at_once(bench, call, monkeypatch):
    monkeypatch.setenv("SLOPEWARD_USER_PASSWORD", WORDS["Bo"])
    tell(bench.database, add_account, "Root-1", WORDS["Root-1"], "admin", NOW - timedelta(hours=3))
    for name in ("Bo", "Dan"):
        assert call("people", "users", "add", name, "--role", "operator", **CHIEF)[0] == 0
    assert (call(*LOWER, who="Bo")[0], call(*LOWER, "--by", "Dan", password=WORDS["Bo"])[0]) == (3, 0)
    assert level_of(bench) == 0


def test_every_act_on_an_account_is_one_that_is_followed():
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "monitor").rglob("*.py")]
    found = {word for text in texts for word in re.findall(r'"(user\.[a-z_.]+)"', text)}
    harmless = {"user.disable", "user.sign_out", "user.password.refused", "user.totp.refused"}
    found -= {"user.unbind", "user.totp.off"}  # of the table of acts: the log calls them user.bind and user.totp
    assert found == {*ACCOUNT_CHANGES, *harmless}, "an act that gives somebody an account must be in DONE"


# ---- a second factor: a first code makes it count, and codes for a lost telephone come ----
@pytest.fixture
def vault(accounts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the key of the vault lies in `paths.state`
    return accounts


def code_for(address):
    return code_of(re.search(r"secret=([A-Z2-7]{32})&", address)[1], int(datetime.now(UTC).timestamp()) // STEP_S)


def asks(slope, name="Ada"):
    return ask(slope.database, has_second_factor, name)


def test_a_second_factor_counts_from_its_first_code_on_and_gives_codes_for_a_lost_telephone(vault, call):
    status, address, told = call("people", "users", "totp", "Ada", who="Ada")
    assert (status, address.startswith("otpauth://totp/Slopeward:Ada?")) == (0, True)
    assert "slopeward people users totp Ada --code 123456" in told
    assert not asks(vault), "it asks for nothing before a first code was seen"
    status, _, told = call("people", "users", "totp", "Ada", "--code", "12345", who="Ada")
    assert (status, "the code is wrong" in told, asks(vault)) == (1, True, False)
    status, out, told = call("people", "users", "totp", "Ada", "--code", code_for(address), who="Ada")
    assert (status, asks(vault), len(set(out.split()))) == (0, True, RECOVERY_CODES)
    assert "each lets in once" in told
    assert not [code for code in out.split() if code in str(entries(vault, "user.totp"))]
    # another one, and none, is an admin's: who knows the password alone does not do away with it
    assert call("people", "users", "totp", "Ada", who="Ada")[0] == 1
    tell(vault.database, add_account, "Root-1", WORDS["Root-1"], "admin", datetime.now(UTC))
    assert "turn it off first" in call("people", "users", "totp", "Ada", who="Root-1")[2]
    assert call("people", "users", "totp-off", "Ada", who="Ada")[0] == 1
    assert call("people", "users", "totp-off", "Ada", who="Root-1")[0] == 0
    assert not asks(vault)
    # nothing waits for a code
    assert call("people", "users", "totp", "Ada", "--code", code_for(address), who="Ada")[0] == 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_at_a_terminal_the_first_code_is_asked_for(vault):
    ours, theirs = pty.openpty()
    words = "people users totp Ada --by Ada".split()
    command = [sys.executable, "-c", "from monitor.cli.main import main; main()", *words]
    path = os.pathsep.join(p for p in sys.path if p)
    env = {**os.environ, "SLOPEWARD_BY_PASSWORD": WORDS["Ada"], "PYTHONPATH": path}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as running:
        os.close(theirs)
        seen = b""
        while b"The code that the telephone shows now:" not in seen:
            seen += os.read(ours, 4096)
        os.write(ours, code_for(seen.decode()).encode() + b"\n")
        seen = b""
        while seen.count(b"\r\n") < 2 + RECOVERY_CODES:  # the code itself, the sentence, the codes
            seen += os.read(ours, 4096)
    os.close(ours)
    assert running.returncode == 0
    assert len(re.findall(rb"^[a-z2-7]{4}(?:-[a-z2-7]{4}){3}\r?$", seen, re.MULTILINE)) == RECOVERY_CODES
    assert asks(vault)
    tell(vault.database, remove_second_factor, "Ada")

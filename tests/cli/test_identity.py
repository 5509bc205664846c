"""Who acts at the command line: with accounts a person is authenticated, and two people need two sessions."""

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
from monitor.cli.main import run_command
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

CHIEF = {"who": "Root-1"}  # the admin, if the test creates one
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
    """Return a function that runs a command in the session of a person.

    `call("level", "set", ..., who="Ada")` returns status, stdout and stderr.
    """

    def run(*arguments, who=None, password=None):
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdin", io.StringIO(""))
            if who or password:
                patch.setenv("SLOPEWARD_BY_PASSWORD", password or WORDS[who])
            names = () if who is None else ("--by", who)
            status = run_command([*map(str, arguments), *names])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def load_level(bench):
    return ask(bench.database, lambda connection: connection.execute(select(site_state.c.level)).scalar_one())


def load_entries(bench, action):
    """Return (actor, detail) of each entry of the audit log with this action, and check the chain and its seals."""
    column = audit_entry.c
    with bench.database.read() as c:
        rows = c.execute(select(column.actor, column.detail).where(column.action == action).order_by(column.id)).all()
        assert (verify_chain(c), list(find_unsealed(c))) == ([], [])
    return [(row.actor, json.loads(row.detail)) for row in rows]


LOWER = ("level", "set", "bench", "green", "--reason", "nothing moves", "--yes")


def test_alert_that_rises_during_authentication_is_not_acknowledged(bench, call, monkeypatch):
    with bench.database.read() as c:
        number = c.execute(select(alert_table.c.id).where(alert_table.c.ledger == "hazard")).scalar_one()
    authenticate = acts.authenticate_actor

    def authenticate_and_raise_level(db, *arguments, **options):
        actor = authenticate(db, *arguments, **options)
        tell(
            db,
            lambda c: c.execute(
                update(alert_table).where(alert_table.c.id == number).values(level=alert_table.c.level + 1)
            ),
        )
        return actor

    monkeypatch.setattr(acts, "authenticate_actor", authenticate_and_raise_level)
    status, _, error = call("alerts", "ack", number, "--reason", "on the way")
    assert (status, "has risen" in error) == (1, True)


# ---- the attack ------------------------------------------------------------------------------------------------
def test_name_of_another_person_without_the_password_lowers_no_level(accounts, call):
    status, _, error = call(*LOWER, "--by", "Ada")
    assert (status, load_level(accounts), error.count("\n"), "SLOPEWARD_BY_PASSWORD" in error) == (1, 3, 1, True)
    status, _, error = call(*LOWER, "--by", "Ada", password="plum gravel sonnet 17")
    assert (status, load_level(accounts), "wrong" in error) == (1, 3, True)
    ((name, detail),) = load_entries(accounts, "login.refused")
    assert (name, detail["via"], detail["os_user"]) == ("Ada", "command", pwd.getpwuid(os.getuid()).pw_name)


@ON_BOTH
def test_password_guesses_are_delayed_together_and_delay_no_other_user(bench, tmp_path):
    """Parallel guesses are no faster than consecutive ones. The longest delay is half a minute."""

    def reserve_delay_s(now, os_user="mallory"):
        return (tell(bench.database, sessions.reserve_attempt, "Ada", os_user, now) - NOW).total_seconds()

    assert [reserve_delay_s(NOW) for _ in range(sessions.FREE_PASSWORDS + 1)] == [0.0] * (sessions.FREE_PASSWORDS + 1)
    url = bench.database.url.render_as_string(hide_password=False)

    def guess():
        with Database(url) as db:
            attempt_at = tell(db, sessions.reserve_attempt, "Ada", "mallory", NOW)
        (tmp_path / str(os.getpid())).write_text(str((attempt_at - NOW).total_seconds()))

    child_pids = [fork(guess) for _ in range(3)]
    assert [os.waitpid(child_pid, 0)[1] for child_pid in child_pids] == [0, 0, 0]
    assert sorted(float((tmp_path / str(child_pid)).read_text()) for child_pid in child_pids) == [1.0, 3.0, 7.0]
    assert reserve_delay_s(NOW) == 15.0
    with pytest.raises(RefusedError, match="try again in 30 s"):
        reserve_delay_s(NOW)
    assert (reserve_delay_s(NOW + timedelta(seconds=1)), reserve_delay_s(NOW, "ada")) == (31.0, 0.0)
    assert reserve_delay_s(NOW + timedelta(hours=1)) == 3600.0  # earlier guesses no longer count


def test_wrong_passwords_delay_the_next_attempt_until_a_correct_password(accounts, call, monkeypatch):
    delays_s = []
    monkeypatch.setattr("monitor.cli.identity.time", SimpleNamespace(sleep=delays_s.append))  # only in this module
    monkeypatch.setattr("monitor.people.queries.sessions.FREE_PASSWORDS", 1)
    # The delays are 9 s and 18 s, so the fourth attempt is not refused.
    monkeypatch.setattr("monitor.people.queries.sessions.FIRST_DELAY_S", 9.0)
    for _ in range(2):
        assert call(*LOWER, "--by", "Ada", password="plum gravel sonnet 17")[0] == 1
    assert delays_s == []
    assert call(*LOWER, "--by", "Ada", password="plum gravel sonnet 17")[0] == 1
    status, _, error = call(*LOWER, who="Ada")
    assert (status, "wrong passwords were given before" in error) == (3, True), error
    assert 1 <= len(delays_s) <= 2
    assert all(0.0 < delay_s <= sessions.LONGEST_DELAY_S for delay_s in delays_s)
    assert ask(accounts.database, lambda c: c.execute(select(password_guess)).all()) == []


def test_name_in_the_environment_authenticates_nobody(accounts, call, monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "Ada")
    status, _, error = call(*LOWER)
    assert (status, load_level(accounts), "--by" in error) == (1, 3, True)


def test_second_name_typed_by_the_same_person_is_no_second_person(accounts, call):
    status, _, error = call(*LOWER, who="Ada")
    assert (status, load_level(accounts), "second person" in error) == (3, 3, True)
    assert "slopeward level set bench green" in error
    assert call(*LOWER, who="Ada")[0] == 1  # the same person again
    assert call(*LOWER, who="Cy")[0] == 1  # viewer
    assert load_level(accounts) == 3
    status, out, error = call(*LOWER, "--json", who="bo", password=WORDS["Bo"])
    assert (status, load_level(accounts)) == (0, 0), error
    assert json.loads(out)["signed_by"] == ["Ada", "Bo"]
    ((name, detail),) = [entry for entry in load_entries(accounts, "level.set") if entry[1]["to"] == 0]
    os_user = pwd.getpwuid(os.getuid()).pw_name
    assert (name, detail["second_by"], detail["os_user"], detail["proof"]) == ("Bo", "Ada", os_user, "password")
    ((first_actor, sign_detail),) = load_entries(accounts, "level.set.sign")
    assert (first_actor, sign_detail["os_user"], sign_detail["proof"]) == ("Ada", os_user, "password")


def test_withdrawal_of_an_earthquake_at_a_high_level_needs_two_people(accounts, call):
    """The withdrawal ends stricter bounds and requested levels. Withdrawing a confirmation lowers nothing."""
    quake = ("events", "add", "bench", "--kind", "earthquake", "--value", "0.3", "--text", "M 5.1")
    assert call(*quake, who="Ada")[0] == 0
    withdraw = ("events", "withdraw", 1, "--reason", "it was the blasting of bench 4")
    assert call(*withdraw, "--confirmation-of", "Ada", who="Cy")[0] == 1  # viewer
    status, out, _ = call(*withdraw, "--confirmation-of", "Ada", who="Bo")
    assert (status, "still confirmed by: nobody" in out, call(*withdraw, who="Ada")[0]) == (0, True, 3)
    status, out, _ = call("people", "signatures", "list")
    assert (status, "event.withdraw of site:bench, event 1: signed by Ada" in out) == (0, True)
    assert (
        call("people", "signatures", "withdraw", 1, "--reason", "not mine", who="Bo")[0] == 1
    )  # the signature of another person
    assert call("people", "signatures", "withdraw", 1, "--reason", "it was felt", who="Ada")[0] == 0
    assert call("people", "signatures", "list")[0] == 4
    assert call(*withdraw, who="Bo")[0] == 3  # Ada's signature was withdrawn
    assert call("events", "list")[1].count("withdrawn") == 0
    status, out, error = call(*withdraw, who="Ada")
    assert (status, "event 1 is withdrawn by Ada; bench is at red" in out) == (0, True), error
    assert "withdrawn by Ada" in call("events", "list")[1]
    assert "was withdrawn by Ada" in call("events", "confirm", 1, "--reason", "felt", who="Bo")[2]
    withdrawals = [(actor, detail.get("second_by")) for actor, detail in load_entries(accounts, "event.withdraw")]
    assert (withdrawals, [actor for actor, _ in load_entries(accounts, "event.withdraw.unsign")]) == (
        [("Ada", "Bo")],
        ["Ada"],
    )


def test_first_signature_is_valid_only_for_its_action_level_and_time(accounts, call):
    orange = ("level", "set", "bench", "orange", "--reason", "less", "--yes")
    assert call(*LOWER, who="Ada")[0] == 3
    assert call(*orange, who="Bo")[0] == 3  # another action, which Bo signs first
    with accounts.database.write() as c:
        c.execute(first_signature.update().values(signed_at=NOW - timedelta(hours=5)))
    assert call(*LOWER, who="Bo")[0] == 3  # Ada's signature has expired
    with accounts.database.write() as c:
        c.execute(first_signature.update().values(height=2))  # a higher level is requested now
    assert (call(*LOWER, who="Ada")[0], load_level(accounts), call(*LOWER, who="Bo")[0]) == (3, 3, 0)
    assert load_level(accounts) == 0


def test_signature_of_a_locked_account_does_not_count(accounts, call):
    assert call(*LOWER, who="Ada")[0] == 3
    tell(accounts.database, add_account, "Root-1", WORDS["Root-1"], "admin", NOW)
    assert (call("people", "users", "disable", "Ada", **CHIEF)[0], call(*LOWER, who="Bo")[0]) == (0, 3)
    assert load_level(accounts) == 3


# ---- before the first account ----------------------------------------------------------------------------------
def test_without_accounts_a_name_is_enough_and_the_system_user_is_recorded(bench, call):
    status, _, error = call(*LOWER, "--by", "Ada")
    assert (status, load_level(bench), "slopeward people users add" in error) == (0, 0, True)
    ((name, detail),) = [entry for entry in load_entries(bench, "level.set") if entry[1]["to"] == 0]
    assert (name, detail["os_user"]) == ("Ada", pwd.getpwuid(os.getuid()).pw_name)
    assert "proof" not in detail


# ---- accounts --------------------------------------------------------------------------------------------------
def test_accounts_are_changed_only_by_an_authenticated_admin(accounts, call):
    add = ("people", "users", "add", "eve", "--role", "operator")
    tell(accounts.database, add_account, "Root-1", WORDS["Root-1"], "admin", NOW)
    assert (call(*add)[0], call(*add, who="Ada")[0]) == (1, 1)
    assert call("people", "users", "enable", "Bo", who="Ada")[0] == 1
    assert call("people", "users", "bind", "Ada", "--os-user", "nobody", who="Ada")[0] == 1
    assert "Ada" in call("people", "users", "bind", "Ada", "--os-user", "nobody", **CHIEF)[1]
    for user, reason in (("nobody", "Ada"), ("root", "root")):
        status, _, error = call("people", "users", "bind", "Bo", "--os-user", user, **CHIEF)
        assert (status, reason in error) == (1, True)


def test_operator_manages_accounts_if_there_is_no_admin(accounts, call, monkeypatch):
    monkeypatch.setenv("SLOPEWARD_USER_PASSWORD", "copper violin marsh 38")
    assert call("people", "users", "add", "eve", "--role", "operator")[0] == 1
    assert call("people", "users", "add", "eve", "--role", "operator", who="Cy")[0] == 1
    assert call("people", "users", "add", "eve", "--role", "admin", who="Ada")[0] == 0
    assert call("people", "users", "disable", "Bo", who="Ada")[0] == 1  # now there is an admin


@pytest.mark.soak
def test_each_person_can_change_only_their_own_password(accounts, call, monkeypatch):
    monkeypatch.setenv("SLOPEWARD_USER_PASSWORD", "copper violin marsh 38")
    tell(accounts.database, add_account, "Root-1", WORDS["Root-1"], "admin", NOW)
    assert call("people", "users", "passwd", "Bo", who="Cy")[0] == 1
    assert call("people", "users", "passwd", "Cy", who="Cy")[0] == 0
    assert call("people", "users", "passwd", "Cy", who="Cy")[0] == 1  # with the old password


def test_password_can_be_read_from_a_file_descriptor(accounts, call, monkeypatch):
    reader, writer = os.pipe()
    os.write(writer, WORDS["Ada"].encode() + b"\n")
    os.close(writer)
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD_FD", str(reader))
    assert call("level", "set", "bench", "red", "--reason", "it fails", "--by", "Ada")[0] == 0
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD_FD", "977")
    status, _, error = call("level", "set", "bench", "red", "--reason", "it fails", "--by", "Ada")
    assert (status, "SLOPEWARD_BY_PASSWORD_FD" in error) == (1, True)


def test_token_can_acknowledge_and_report_but_not_act_for_a_person(accounts, call, monkeypatch):
    database = accounts.database

    def create_token(user, scope, sites=None):
        return tell(database, add_api_token, user, "gateway", scope, sites, 3600.0, NOW)

    alert = ask(database, lambda c: c.execute(select(alert_table.c.id).order_by(alert_table.c.id)).scalars().first())
    ack = ("alerts", "ack", alert, "--reason", "on my way")
    number, token = create_token("Ada", "act")
    monkeypatch.setenv("SLOPEWARD_BY_TOKEN", token)
    assert call(*ack)[0] == 0
    assert call("report", "add", "bench", "--kind", "crack", "--text", "wider", "--by", "Ada")[0] == 0
    with database.read() as c:
        entries_of_log = c.execute(select(audit_entry.c.actor, audit_entry.c.detail).order_by(audit_entry.c.id)).all()
    by_token = [(actor, json.loads(detail)) for actor, detail in entries_of_log if '"proof":"token"' in detail]
    assert [(actor, detail["via"]) for actor, detail in by_token] == [("Ada", "token")] * 2
    status, _, error = call("level", "set", "bench", "yellow", "--reason", "it is over")
    assert (status, "needs a person" in error) == (1, True)
    status, _, error = call(*ack, "--by", "Bo")
    assert (status, "that of 'Ada'" in error) == (1, True)
    monkeypatch.setenv("SLOPEWARD_BY_TOKEN", create_token("Cy", "read")[1])
    status, _, error = call(*ack)
    assert (status, "allows reading only" in error) == (1, True)
    tell(database, revoke_api_token, number, NOW)
    for invalid_token in (token, "slopeward_invented", ""):
        monkeypatch.setenv("SLOPEWARD_BY_TOKEN", invalid_token)
        status, _, error = call(*ack)
        assert (status, "unknown, expired or revoked" in error) == (1, True)


@pytest.mark.soak
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_bound_system_user_acts_as_its_account_and_root_is_not_authenticated(database, tmp_path):
    slope = WatchedSlope(database)
    with database.write() as c:
        for name, role in ROLES.items():
            add_account(c, name, WORDS[name], role, NOW)
        add_account(c, "Root-1", WORDS["Root-1"], "admin", NOW)
    service = write_service(tmp_path, database)

    def call(*arguments, user=None, **variables):
        """Return the exit status in a process with another real user.

        The effective user stays, so that files can be read.
        """

        def run_as_user():
            os.environ.update({"SLOPEWARD_CONFIG": str(service), **variables})
            if user is not None:
                os.setresuid(pwd.getpwnam(user).pw_uid, 0, 0)
            os._exit(run_command(list(arguments)))

        return os.waitstatus_to_exitcode(run_forked(run_as_user))

    raise_level = ("level", "set", "bench", "yellow", "--reason", "it is wet")
    assert call(*raise_level, user="nobody") == 1
    admin_password = {"SLOPEWARD_BY_PASSWORD": WORDS["Root-1"]}
    assert call("people", "users", "bind", "Ada", "--os-user", "nobody", "--by", "Root-1", **admin_password) == 0
    assert call(*raise_level, "--by", "Ada") == 1  # root
    assert (call(*raise_level, "--by", "Bo", user="nobody"), call(*raise_level, user="nobody", LOGNAME="root")) == (
        1,
        0,
    )
    assert [(actor, detail["os_user"], detail["proof"]) for actor, detail in load_entries(slope, "level.set")] == [
        ("Ada", "nobody", "os_user")
    ]
    with database.write() as c:
        set_sites(c, "Ada", ["bench"])
        save_first(c, TwoPersonAct("level.set", "site:lake", {"to": 0}), Actor("Bo"), "quiet", 2, NOW)
    assert call("people", "signatures", "list", user="nobody") == 4, "no item of another site is printed"
    assert call("people", "users", "unbind", "Ada", "--by", "Root-1", **admin_password) == 0
    assert call(*raise_level, user="nobody") == 1


def test_maintenance_signed_by_two_people_starts_with_the_second_command(accounts, call):
    add = ("maintenance", "add", "bench", "G1", "--for", "2h", "--reason", "new mast")
    status, _, error = call(*add, "--second", "Bo", who="Ada")
    assert (status, "slopeward maintenance add bench G1 --for 2h --second Ada" in error) == (3, True)
    assert call("maintenance", "list")[0] == 4
    assert call(*add, who="Bo")[0] == 0  # Bo acts alone. Ada's signature stays stored.
    status, out, _ = call(*add, "--second", "Ada", "--json", who="Bo")
    assert status == 0
    facts = json.loads(out)
    assert (facts["by"], facts["second_by"]) == ("Bo", "Ada")


# ---- one admin who acts as two people ---------------------------------------------------------------------------


@pytest.fixture
def accounts_of_nine_days(bench, monkeypatch):
    created_at = NOW - timedelta(days=9)
    monkeypatch.setenv("SLOPEWARD_USER_PASSWORD", WORDS["Bo"])
    with bench.database.write() as c:
        for name, role in {"Root-1": "admin", **ROLES}.items():
            add_account(c, name, WORDS["Bo"] if name in {"Ada", "Cy"} else WORDS[name], role, created_at)
        disable_user(c, "Bo", created_at)
    return bench


ACCOUNT_CHANGES_BY_ADMIN = {
    "an account made": (("people", "users", "add", "Dan", "--role", "operator"), "Dan", "made the account of Dan"),
    "a new password": (("people", "users", "passwd", "Ada"), "Ada", "set a new password for Ada"),
    "a role": (("people", "users", "role", "Cy", "operator"), "Cy", "changed the role of Cy"),
    "sites": (("people", "users", "sites", "Ada", "--all"), "Ada", "changed the sites of Ada"),
    "unlocked": (("people", "users", "enable", "Bo"), "Bo", "unlocked Bo"),
}


@pytest.mark.soak
@pytest.mark.parametrize("how", ACCOUNT_CHANGES_BY_ADMIN)
def test_admin_who_changed_an_account_does_not_count_as_second_person(accounts_of_nine_days, call, how):
    command, name, change = ACCOUNT_CHANGES_BY_ADMIN[how]
    assert (call(*command, **CHIEF)[0], call(*LOWER, **CHIEF)[0]) == (0, 3)
    status, _, error = call(*LOWER, "--by", name, password=WORDS["Bo"])
    assert (status, f"Root-1 and {name} do not count as two people yet: Root-1 {change} at " in error) == (1, True)
    assert f"A third person can do it now, or {name} after" in error
    assert load_level(accounts_of_nine_days) == 3
    other = "Bo" if name == "Ada" else "Ada"
    if other == "Bo":
        tell(accounts_of_nine_days.database, enable_user, "Bo")
    assert (call(*LOWER, "--by", other, password=WORDS["Bo"])[0], load_level(accounts_of_nine_days)) == (0, 0)


@pytest.mark.soak
def test_chain_of_account_changes_is_followed_for_a_day(accounts_of_nine_days, call):
    for maker, name, role in (("Root-1", "Dan", "admin"), ("Dan", "Eve", "operator"), ("Root-1", "Fay", "operator")):
        command = ("people", "users", "add", name, "--role", role, "--by", maker)
        assert call(*command, password=WORDS.get(maker, WORDS["Bo"]))[0] == 0
    now = datetime.now(UTC)
    with accounts_of_nine_days.database.read() as c:
        for first_name, second_name in (("Root-1", "Eve"), ("Eve", "Fay"), ("Dan", "Fay"), ("root-1 ", "Dan")):
            with pytest.raises(RefusedError, match="do not count as two people yet"):
                require_independent(c, first_name, second_name, now)
        for first_name, second_name in (("Root-1", "Ada"), ("Eve", "Ada")):
            require_independent(c, first_name, second_name, now)
        require_independent(c, "Eve", "Fay", now + COOLING + timedelta(seconds=1))


def test_two_people_can_sign_on_the_first_day_of_an_installation(bench, call, monkeypatch):
    monkeypatch.setenv("SLOPEWARD_USER_PASSWORD", WORDS["Bo"])
    tell(bench.database, add_account, "Root-1", WORDS["Root-1"], "admin", NOW - timedelta(hours=3))
    for name in ("Bo", "Dan"):
        assert call("people", "users", "add", name, "--role", "operator", **CHIEF)[0] == 0
    assert (call(*LOWER, who="Bo")[0], call(*LOWER, "--by", "Dan", password=WORDS["Bo"])[0]) == (3, 0)
    assert load_level(bench) == 0


def test_every_action_on_an_account_counts_as_an_account_change():
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "monitor").rglob("*.py")]
    actions = {action for text in texts for action in re.findall(r'"(user\.[a-z_.]+)"', text)}
    harmless = {"user.disable", "user.sign_out", "user.password.refused", "user.totp.refused"}
    actions -= {
        "user.unbind",
        "user.totp.off",
    }  # names in the table of actions; the log contains user.bind and user.totp
    assert actions == {*ACCOUNT_CHANGES, *harmless}, "an act that changes an account must be in DONE"


# ---- second factor: the first code activates it and creates recovery codes ----
@pytest.fixture
def accounts_with_key(accounts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the key of the secrets is in `paths.state`
    return accounts


def make_code(address):
    return code_of(re.search(r"secret=([A-Z2-7]{32})&", address)[1], int(datetime.now(UTC).timestamp()) // STEP_S)


def requires_second_factor(slope, name="Ada"):
    return ask(slope.database, has_second_factor, name)


def test_first_code_activates_the_second_factor_and_prints_recovery_codes(accounts_with_key, call):
    status, address, error = call("people", "users", "totp", "Ada", who="Ada")
    assert (status, address.startswith("otpauth://totp/Slopeward:Ada?")) == (0, True)
    assert "slopeward people users totp Ada --code 123456" in error
    assert not requires_second_factor(accounts_with_key), "no code is needed before the first code was confirmed"
    status, _, error = call("people", "users", "totp", "Ada", "--code", "12345", who="Ada")
    assert (status, "the code is wrong" in error, requires_second_factor(accounts_with_key)) == (1, True, False)
    status, out, error = call("people", "users", "totp", "Ada", "--code", make_code(address), who="Ada")
    assert (status, requires_second_factor(accounts_with_key), len(set(out.split()))) == (0, True, RECOVERY_CODES)
    assert "each lets in once" in error
    assert not [code for code in out.split() if code in str(load_entries(accounts_with_key, "user.totp"))]
    # Only an admin can replace or remove a second factor. The password alone is not enough.
    assert call("people", "users", "totp", "Ada", who="Ada")[0] == 1
    tell(accounts_with_key.database, add_account, "Root-1", WORDS["Root-1"], "admin", datetime.now(UTC))
    assert "turn it off first" in call("people", "users", "totp", "Ada", who="Root-1")[2]
    assert call("people", "users", "totp-off", "Ada", who="Ada")[0] == 1
    assert call("people", "users", "totp-off", "Ada", who="Root-1")[0] == 0
    assert not requires_second_factor(accounts_with_key)
    # no second factor is waiting for its first code
    assert call("people", "users", "totp", "Ada", "--code", make_code(address), who="Ada")[0] == 1


@pytest.mark.soak
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_terminal_prompts_for_the_first_code(accounts_with_key):
    parent_fd, child_fd = pty.openpty()
    arguments = "people users totp Ada --by Ada".split()
    command = [sys.executable, "-c", "from monitor.cli.main import main; main()", *arguments]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    env = {**os.environ, "SLOPEWARD_BY_PASSWORD": WORDS["Ada"], "PYTHONPATH": path}
    with subprocess.Popen(command, stdin=child_fd, stdout=child_fd, stderr=child_fd, env=env) as running:
        os.close(child_fd)
        output = b""
        while b"The code that the telephone shows now:" not in output:
            output += os.read(parent_fd, 4096)
        os.write(parent_fd, make_code(output.decode()).encode() + b"\n")
        output = b""
        while output.count(b"\r\n") < 2 + RECOVERY_CODES:  # the echoed code, a sentence and the recovery codes
            output += os.read(parent_fd, 4096)
    os.close(parent_fd)
    assert running.returncode == 0
    assert len(re.findall(rb"^[a-z2-7]{4}(?:-[a-z2-7]{4}){3}\r?$", output, re.MULTILINE)) == RECOVERY_CODES
    assert requires_second_factor(accounts_with_key)
    tell(accounts_with_key.database, remove_second_factor, "Ada")

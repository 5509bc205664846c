"""Authenticate the person who acts at the command line. The user of the operating system is recorded as well.

Before the first account exists, a name is enough. With accounts, the person acts as an account and proves it: the
account is bound to the user of the operating system, or the password is in the environment, in a file descriptor, or
typed at the terminal. An act that needs two people needs two commands, one by each of them. A program that acknowledges
or reports gives an access token of its owner instead.
"""

import getpass
import os
import pwd
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from sqlalchemy import Connection

from monitor.alerts.acts.table import OPERATOR
from monitor.cli.rules import ADMIN, add_note, find_needed_role, require_token_command
from monitor.errors import NeedsSecondError, RefusedError
from monitor.people.queries.api_tokens import find_bearer
from monitor.people.queries.sessions import LONGEST_DELAY_S, forget_attempts, reserve_attempt
from monitor.people.queries.users import (
    ROLES,
    User,
    check_password,
    explain_second_person,
    find_account,
    is_open,
    load_users,
)
from monitor.storage.actor import COMMAND, SERVICE_SITE, TOKEN, Actor
from monitor.storage.audit import add_audit
from monitor.storage.engine import Database
from monitor.text.names import fold_name, is_same_person

# Environment variables with a secret, or with the number of a file descriptor from which it is read.
PASSWORD_VARIABLE: Final = "SLOPEWARD_BY_PASSWORD"  # noqa: S105 - the name of a variable
PASSWORD_FD_VARIABLE: Final = "SLOPEWARD_BY_PASSWORD_FD"  # noqa: S105 - the name of a variable
TOKEN_VARIABLE: Final = "SLOPEWARD_BY_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_FD_VARIABLE: Final = "SLOPEWARD_BY_TOKEN_FD"  # noqa: S105 - the name of a variable
# Exit status: one person has signed, and a second signature is needed.
EXIT_WAITING: Final = 3
# Largest password or token that is read from a file descriptor.
MAX_SECRET_BYTES: Final = 4096
By = Annotated[str | None, typer.Option("--by", help="Who acts. Default: the account of the OS user.")]
# The site of an act, or a function that finds its id. None: the act is on no site or on all sites.
SiteOfAct = str | Callable[[Connection], str | None] | None
NO_ACCOUNTS_ADVICE: Final = (
    "there are no accounts: every name is accepted without proof, and one person may sign as two; "
    "create accounts with `slopeward people users add NAME --role admin`"
)
_NO_UID: Final = 2**32 - 1  # the kernel's value for "nobody logged in"


def name_os_user() -> str:
    """Return the user of the operating system from the kernel. Anybody can change the environment variables."""
    uid = os.getuid()
    name = _name_uid(uid)
    with suppress(OSError, ValueError):
        # The user who logged in, if another user acts since (su, sudo).
        login = int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
        if login not in {uid, _NO_UID}:
            return f"{name} (logged in as {_name_uid(login)})"
    return name


def authenticate_actor(
    db: Database, by: str | None, site: SiteOfAct = None, *, own_account: str | None = None
) -> Actor:
    """Return the person who acts, and open the database for writing.

    The account needs the role that `monitor.cli.rules` has for the running command.

    Args:
        db: The database.
        by: The name given with `--by`, if any.
        site: The site of the act, or a function that finds its id.
        own_account: An account that its owner may change without being an admin.

    Raises:
        RefusedError: Nobody is named, there is no open account with the role for the site, or the proof is missing.
    """
    if by is not None and not fold_name(by):
        raise RefusedError(f"--by: a name is needed, and {by!r} is none")
    os_user = name_os_user()
    if (token := _read_secret(TOKEN_VARIABLE, TOKEN_FD_VARIABLE)) is not None:
        return _prove_by_token(db, token, by, site, os_user)
    accounts = db.run_read(load_users)
    needed_role = find_needed_role()
    if needed_role == ADMIN and not _has_usable_account(accounts, ADMIN):
        # Without an admin, an operator manages the accounts.
        needed_role = OPERATOR
        if not _has_usable_account(accounts, OPERATOR):
            # Without an operator, anybody at the keyboard does, as if there were no accounts.
            accounts = []
    if not accounts:
        db.read_only_because = None
        if find_needed_role() != ADMIN:
            add_note(NO_ACCOUNTS_ADVICE)
        return Actor(_remove_login(os_user) if by is None else by, "person", COMMAND, os_user)
    account = _find_account(accounts, by, os_user)
    if own_account is not None and account.name == own_account:
        needed_role = "viewer"
    if not is_open(account, needed_role):
        raise RefusedError(
            f"{account.name!r} has no open account with the role {needed_role}, which this needs; an admin can "
            "give the role; see `slopeward people users list`"
        )
    if needed_role != "viewer":
        _require_site(db, account.name, account.sites, site)
    proof = _prove(db, account, os_user)
    db.read_only_because = None
    return Actor(account.name, "person", COMMAND, os_user, proof)


def _has_usable_account(accounts: list[User], role: str) -> bool:
    """Return whether somebody can act as an account with this role."""
    return any(is_open(account, role) and account.can_prove for account in accounts)


def _prove_by_token(db: Database, token: str, by: str | None, site: SiteOfAct, os_user: str) -> Actor:
    require_token_command()
    bearer = db.run_read(find_bearer, token, datetime.now(UTC))
    if bearer is None:
        raise RefusedError(
            "the token is unknown, expired or revoked, or its account is locked; see `slopeward people tokens list`"
        )
    if by is not None and not is_same_person(by, bearer.name):
        raise RefusedError(f"the token is that of {bearer.name!r}, and --by names {by!r}")
    if ROLES.index(bearer.role) < ROLES.index(OPERATOR):
        raise RefusedError(
            f"the token of {bearer.name} allows reading only; its owner creates another one with `--scope act`"
        )
    _require_site(db, f"the token of {bearer.name}", bearer.sites, site)
    db.read_only_because = None
    return Actor(bearer.name, "person", TOKEN, os_user, TOKEN)


def find_sites_of_os_user(c: Connection) -> frozenset[str] | None:
    """Return the sites of the account to which this user of the operating system is bound, for lists. None: all."""
    os_user = name_os_user()
    return next((account.sites for account in load_users(c) if account.os_user == os_user), None)


def find_readable_sites(c: Connection, site: str | None) -> str | frozenset[str] | None:
    """Return the given site, or all sites that this user of the operating system may read (None: all).

    Raises:
        RefusedError: The user may not read the given site.
    """
    if site is not None:
        require_readable(c, site)
        return site
    sites = find_sites_of_os_user(c)
    return None if sites is None else sites | {SERVICE_SITE}


def require_readable(c: Connection, site: str) -> None:
    """Check that this user of the operating system may read a site. Everybody may read alarms of the service.

    The check does not protect the database from users who may open its file.

    Raises:
        RefusedError: The account of the user is for other sites only.
    """
    sites = find_sites_of_os_user(c)
    if sites is not None and site not in sites | {SERVICE_SITE}:
        raise RefusedError(f"this OS user is bound to an account for {', '.join(sorted(sites))} only")


def name_os_actor() -> Actor:
    """Return the user of the operating system as the actor of a command that does work of the service."""
    os_user = name_os_user()
    return Actor(_remove_login(os_user), "person", COMMAND, os_user)


@contextmanager
def waiting_for_second(
    db: Database, actor: Actor, find_site_id: Callable[[Connection], str | None], command: str
) -> Iterator[None]:
    """If an action waits for a second person, print why, who can do it and how, and exit with status 3.

    Args:
        db: The database.
        actor: The first person.
        find_site_id: Returns the site of the action.
        command: The command that the second person gives.
    """
    try:
        yield
    except NeedsSecondError as error:
        with db.read() as c:
            site = find_site_id(c)
            advice = explain_second_person(c, None if site == SERVICE_SITE else site, actor.name, datetime.now(UTC))
        print(
            f"not done yet, it waits for a second person: {error}. {advice} The second person gives the same command "
            f"within four hours: {command} --by NAME --reason WHY",
            file=sys.stderr,
        )
        raise typer.Exit(EXIT_WAITING) from None


def read_second(named: str | None) -> Actor | None:
    """Return the second person of `--second`, which counts only before the first account exists.

    Raises:
        RefusedError: The name is empty.
    """
    if named is not None and not fold_name(named):
        raise RefusedError(f"--second: a name is needed, and {named!r} is none")
    return None if named is None else Actor(named, "person", COMMAND)


def _find_account(accounts: list[User], by: str | None, os_user: str) -> User:
    if by is None:
        account = next((account for account in accounts if account.os_user == os_user), None)
    else:
        account = find_account(accounts, by)
    if account is not None:
        return account
    if by is not None:
        raise RefusedError(f"there is no account {by!r}; see `slopeward people users list`")
    refusal = f"no account is bound to the OS user {os_user}: name your account with --by NAME"
    # `people users bind` refuses root.
    if os_user != "root":
        refusal += f"; an admin can bind the two: slopeward people users bind NAME --os-user {os_user}"
    raise RefusedError(refusal)


def _require_site(db: Database, holder: str, sites: frozenset[str] | None, site: SiteOfAct) -> None:
    if sites is None:
        return
    if callable(site):
        site = db.run_read(site)
    if site not in sites:
        allowed = ", ".join(sorted(sites))
        raise RefusedError(f"{holder} is for {allowed} only; this command acts on {site or 'the whole service'}")


def _prove(db: Database, account: User, os_user: str) -> str:
    if account.os_user is not None and account.os_user == os_user:
        return "os_user"
    password = _read_secret(PASSWORD_VARIABLE, PASSWORD_FD_VARIABLE)
    if password is None and sys.stdin.isatty():
        password = getpass.getpass(f"Password of {account.name}: ")
    if password is None:
        raise RefusedError(
            f"acting as {account.name} needs its password: type it at a terminal, or set {PASSWORD_VARIABLE}, or give "
            f"a file descriptor in {PASSWORD_FD_VARIABLE}"
        )
    # The attempt and a failure are stored, so that guessing is slow and visible in the audit log. The database must
    # therefore accept writing before the password is checked.
    db.read_only_because = None
    with db.write() as c:
        checked_at = reserve_attempt(c, account.name, os_user, datetime.now(UTC))
    wait_s = (checked_at - datetime.now(UTC)).total_seconds()
    if wait_s > 0.0:
        print(f"wrong passwords were given before; this one is checked in {wait_s:.0f} s", file=sys.stderr)
        time.sleep(min(wait_s, LONGEST_DELAY_S))
    with db.read() as c:
        is_correct = check_password(c, account.name, password) is not None
    if is_correct:
        db.run_write(forget_attempts, account.name, os_user)
        return "password"
    with db.write() as c:
        actor = Actor(account.name, "person", COMMAND, os_user)
        add_audit(c, actor, "login.refused", f"user:{account.name}", {"via": COMMAND}, datetime.now(UTC))
    raise RefusedError(f"the password of {account.name} is wrong; the attempt is in the audit log")


def _read_secret(name: str, fd_name: str) -> str | None:
    """Return a secret from the environment, or the first line of the file descriptor that the environment names."""
    if (secret := os.environ.get(name)) is not None:
        return secret
    if (number := os.environ.get(fd_name)) is None:
        return None
    try:
        return os.read(int(number), MAX_SECRET_BYTES).split(b"\n")[0].decode().rstrip("\r")
    except (OSError, ValueError) as error:
        raise RefusedError(f"{fd_name}={number}: cannot be read ({error})") from None


def _name_uid(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


def _remove_login(os_user: str) -> str:
    """Return the name of the OS user without the login name that `name_os_user` appends."""
    return os_user.partition(" ")[0]

"""`slopeward people users`: who may look, act and administer on the page. No password stands on the command line."""

import getpass
import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

import typer

from monitor.cli.acts import add_acts
from monitor.cli.identity import By, acting, prove
from monitor.cli.session import Commands, open_database, options, print_note, read_service, require_any, show
from monitor.domain.errors import RefusedError
from monitor.domain.instants import format_iso
from monitor.store.database.audit import add_audit
from monitor.store.database.engine import Database
from monitor.store.people import second_factor, users
from monitor.store.people.users import bind_person
from monitor.web.access.sealed_texts import FernetVault, open_vault

app = Commands(no_args_is_help=True, help=__doc__)
add_acts(app, "people users")
PASSWORD_VARIABLE = "SLOPEWARD_USER_PASSWORD"  # noqa: S105 - the name of a variable
Name = Annotated[str, typer.Argument(help="Name of the account")]


@app.command("add")
def add(
    name: Name,
    role: Annotated[str, typer.Option(help="viewer, operator or admin")] = "viewer",
    site: Annotated[list[str] | None, typer.Option("--site", help="Only these sites; else all")] = None,
    by: By = None,
) -> None:
    """Make an account; the password is asked for, read from a pipe, or taken from SLOPEWARD_USER_PASSWORD.

    Example: slopeward people users add ada --role operator
    """
    now = datetime.now(UTC)
    with open_database() as db:
        who = prove(db, by)
        password = read_password()
        with db.write() as c:
            users.add_user(c, name, password, role, now, site or None)
            add_audit(c, who, "user.add", f"user:{name}", {"role": role, "sites": site or None}, now)
    show({"name": name, "role": role, "sites": site or None}, f"{name} may act as {role}{_on(site)}")


@app.command("list")
def list_users() -> None:
    """List the accounts with role and state; exit 4 when there are none.

    Example: slopeward people users list --json
    """
    with open_database() as db, db.read() as c:
        found = users.load_users(c)
    for user in found:
        disabled = None if user.disabled_at is None else format_iso(user.disabled_at)
        facts = {
            "name": user.name,
            "role": user.role,
            "created_at": format_iso(user.created_at),
            "disabled_at": disabled,
            "sites": None if user.sites is None else sorted(user.sites),
            "os_user": user.os_user,
            "oidc_subject": user.oidc_subject,
        }
        state = f"disabled since {disabled}" if disabled else "open"
        bound = f", OS user {user.os_user}" if user.os_user else ""
        bound += f", {user.oidc_subject} at the provider" if user.oidc_subject else ""
        bound += "" if user.has_password else ", without a password"
        show(facts, f"{user.name:<20} {user.role:<10} {state}{_on(user.sites)}{bound}")
    require_any(found, "there are no accounts; make one: slopeward people users add NAME --role admin")


@app.command("passwd")
def passwd(name: Name, by: By = None) -> None:
    """Give an account a new password and end its sessions; everybody may change the own one.

    Example: slopeward people users passwd ada --by ada
    """
    now = datetime.now(UTC)
    with open_database() as db:
        who = prove(db, by, own=name)
        password = read_password()
        with db.write() as c:
            users.set_password(c, name, password)
            add_audit(c, who, "user.password", f"user:{name}", {}, now)
    show({"name": name}, f"{name} has a new password")


@app.command("sites")
def sites(
    name: Name,
    site: Annotated[list[str] | None, typer.Option("--site", help="A site it is for; several times")] = None,
    every: Annotated[bool, typer.Option("--all", help="All sites")] = False,
    by: By = None,
) -> None:
    """Say for which sites an account is: there it may act, and read where reading takes a login.

    Example: slopeward people users sites ada --site north-bench --site lake-slope
    """
    if every == bool(site):
        raise RefusedError("name the sites with --site, or say --all")
    with acting(by) as (c, who, now):
        users.set_sites(c, name, site or None)
        add_audit(c, who, "user.sites", f"user:{name}", {"sites": site or None}, now)
    show({"name": name, "sites": site or None}, f"{name} is for {', '.join(site or ['all sites'])}")


@app.command("bind")
def bind(
    name: Name,
    os_user: Annotated[str, typer.Option("--os-user", help="User of this machine who is that person, and nobody else")],
    by: By = None,
) -> None:
    """Let a user of the operating system act at the command line as an account, without its password.

    Example: slopeward people users bind ada --os-user ada --by chief
    """
    _require_person_of_machine(os_user)
    _bind(name, os_user, by)
    show({"name": name, "os_user": os_user}, f"OS user {os_user} acts as {name}")


@app.command("unbind")
def unbind(name: Name, by: By = None) -> None:
    """End that a user of the operating system acts as an account.

    Example: slopeward people users unbind ada --by chief
    """
    _bind(name, None, by)
    show({"name": name, "os_user": None}, f"{name} acts by password only")


def _bind(name: str, os_user: str | None, by: str | None) -> None:
    with acting(by) as (c, who, now):
        users.bind_os_user(c, name, os_user)
        add_audit(c, who, "user.bind", f"user:{name}", {"bound_to": os_user}, now)


def _require_person_of_machine(os_user: str) -> None:
    import pwd

    try:
        uid = pwd.getpwnam(os_user).pw_uid
    except KeyError:
        raise RefusedError(f"--os-user {os_user!r}: this machine has no such user") from None
    if uid == 0:
        raise RefusedError(f"--os-user {os_user}: everybody who may sudo is root; bind the user of a person")


@app.command("totp")
def totp(
    name: Name,
    code: Annotated[str | None, typer.Option("--code", help="The first code that the telephone shows")] = None,
    off: Annotated[bool, typer.Option("--off", help="Password alone again")] = False,
    by: By = None,
) -> None:
    """Ask an account for a code of a telephone at every login (TOTP), from its first code on.

    The address for the authenticator is printed once. On a terminal the first code is asked for at once, else the same
    command with --code goes on. Then codes for a lost telephone are printed, once: each lets in once.

    The first one the owner makes; after --off another one, and --off itself, an admin.

    Example: slopeward people users totp ada
    """
    if off and code is not None:
        raise RefusedError("--off takes no code")
    now = datetime.now(UTC)
    with open_database() as db:
        with db.read() as c:
            is_first = not second_factor.has_second_factor(c, name)
        # who knows the password of an account alone must not do away with its second factor
        who = prove(db, by, own=name if is_first and not off else None)
        if off:
            with db.write() as c:
                second_factor.remove_second_factor(c, name)
                add_audit(c, who, "user.totp", f"user:{name}", {"on": False}, now)
            show({"name": name, "totp": False}, f"{name} logs in by password alone")
            return
        vault = open_vault(read_service())
        if code is None:
            code = _begin_totp(db, vault, name, now, by)
        if code is None:
            return
        now = datetime.now(UTC)
        with db.write() as c:
            spare = second_factor.confirm_second_factor(c, vault, name, code, now)
            add_audit(c, who, "user.totp", f"user:{name}", {"on": True}, now)
    print_note(f"from now on {name} logs in with a code; write these down for a lost telephone, each lets in once:")
    show({"name": name, "totp": True, "codes": spare}, "\n".join(spare))


def _begin_totp(db: Database, vault: FernetVault, name: str, now: datetime, by: str | None) -> str | None:
    """Print the address for the authenticator; the first code where somebody sits at a terminal, else None."""
    address = db.do(second_factor.add_second_factor, vault, name, now, pending=True)
    print_note(f"enter this once into the authenticator of {name}, by hand or as QR code; it is not shown again")
    show({"name": name, "totp": False, "address": address}, address)
    if options().as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        command = f"slopeward people users totp {name} --code 123456" + (f" --by {by}" if by else "")
        print_note(f"then, with the code that it shows: {command}; before, nothing counts")
        return None
    return input("The code that it shows now: ")


@app.command("oidc")
def oidc(
    name: Name,
    subject: Annotated[
        str | None, typer.Option("--subject", help="Who it is at the provider (claim sub); else the binding ends")
    ] = None,
    by: By = None,
) -> None:
    """Let a person of the provider of logins come in as an account that exists; ends its sessions.

    Who comes for the first time under a name that is free needs no binding. The subject stands in the audit log
    (login.refused) and on the page of the person who was refused.

    Example: slopeward people users oidc ada --subject 248289761001 --by chief
    """
    issuer = read_service().oidc.issuer
    if subject is not None and not issuer:
        raise RefusedError("oidc.issuer is empty: the service file names no provider of logins")
    if subject is not None and not subject.strip():
        raise RefusedError("--subject: a subject is needed; without --subject the binding ends")
    with acting(by) as (c, who, now):
        bind_person(c, name, issuer, subject)
        add_audit(c, who, "user.oidc", f"user:{name}", {"issuer": issuer, "subject": subject}, now)
    line = f"{name} comes in by the provider no more" if subject is None else f"{name} is {subject!r} at {issuer}"
    show({"name": name, "issuer": issuer, "subject": subject}, line)


def _on(sites: Iterable[str] | None) -> str:
    return f", only for {', '.join(sorted(sites))}" if sites else ""


def read_password() -> str:
    """The password from the environment, a pipe, or twice from the keyboard."""
    if (given := os.environ.get(PASSWORD_VARIABLE)) is not None:
        return given
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("New password: ")
    if getpass.getpass("Once more: ") != first:
        raise RefusedError("the two passwords differ; nothing was changed")
    return first

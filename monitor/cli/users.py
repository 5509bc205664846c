"""`slopeward users`: who may look, act and administer on the page. A password never stands on the command line."""

import getpass
import os
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from monitor.cli.opening import NOTHING, ConfigOption, JsonOption, actor, open_database, say, show
from monitor.domain.instants import spell
from monitor.errors import RefusedError
from monitor.store import users
from monitor.store.audit import add_audit

app = typer.Typer(no_args_is_help=True, help=__doc__)
PASSWORD_VARIABLE = "SLOPEWARD_USER_PASSWORD"  # noqa: S105 - the name of a variable
Name = Annotated[str, typer.Argument(help="Name of the account")]
By = Annotated[str | None, typer.Option("--by", help="Who does it; else the account at the keyboard")]


@app.command("add")
def add(
    name: Name,
    role: Annotated[str, typer.Option(help="viewer, operator or admin")] = "viewer",
    by: By = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an account; the password is asked for, read from a pipe, or taken from SLOPEWARD_USER_PASSWORD.

    Example: slopeward users add ada --role operator
    """
    now = datetime.now(UTC)
    password = read_password()
    with open_database(config) as db, db.write() as c:
        users.add_user(c, name, password, role, now)
        add_audit(c, actor(by), "user.add", f"user:{name}", {"role": role}, now)
    show({"name": name, "role": role}, f"{name} may act as {role}", as_json)


@app.command("list")
def list_users(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the accounts with role and state; exit 4 when there are none.

    Example: slopeward users list --json
    """
    with open_database(config) as db, db.read() as c:
        found = users.load_users(c)
    for user in found:
        disabled = None if user.disabled_at is None else spell(user.disabled_at)
        facts = {"name": user.name, "role": user.role, "created_at": spell(user.created_at), "disabled_at": disabled}
        show(facts, f"{user.name:<20} {user.role:<10} {f'disabled since {disabled}' if disabled else 'open'}", as_json)
    if not found:
        say("there are no accounts; make one: slopeward users add NAME --role admin")
        raise typer.Exit(NOTHING)


@app.command("disable")
def disable(name: Name, by: By = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Lock an account and end its sessions; the name stays for the audit log.

    Example: slopeward users disable ada
    """
    now = datetime.now(UTC)
    with open_database(config) as db, db.write() as c:
        users.disable_user(c, name, now)
        add_audit(c, actor(by), "user.disable", f"user:{name}", {}, now)
    show({"name": name, "disabled_at": spell(now)}, f"{name} is locked", as_json)


@app.command("enable")
def enable(name: Name, by: By = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Unlock an account.

    Example: slopeward users enable ada
    """
    now = datetime.now(UTC)
    with open_database(config) as db, db.write() as c:
        users.enable_user(c, name)
        add_audit(c, actor(by), "user.enable", f"user:{name}", {}, now)
    show({"name": name}, f"{name} is open", as_json)


@app.command("passwd")
def passwd(name: Name, by: By = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Give an account a new password and end its sessions.

    Example: slopeward users passwd ada
    """
    now = datetime.now(UTC)
    password = read_password()
    with open_database(config) as db, db.write() as c:
        users.set_password(c, name, password)
        add_audit(c, actor(by), "user.password", f"user:{name}", {}, now)
    show({"name": name}, f"{name} has a new password", as_json)


def read_password() -> str:
    """The password from the environment, a pipe, or twice from the keyboard."""
    if (given := os.environ.get(PASSWORD_VARIABLE)) is not None:
        return given
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != first:
        raise RefusedError("the two passwords differ; nothing was changed")
    return first

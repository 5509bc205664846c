"""Commands of acts: the parameters of an act are the arguments and options of its command.

The person who acts is authenticated. An act that needs two people needs two commands: the first one stores a signature
and exits with status 3.
"""

import getpass
import inspect
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from sqlalchemy import Connection

from monitor.alerts.acts.call import OWNER_OF, SITE_OF, ActCall, read_value
from monitor.alerts.acts.table import COMMAND, Act, ActParameter, ActResult, Secret, list_acts
from monitor.alerts.queries.alerts import find_alert
from monitor.cli.identity import By, authenticate_actor, read_second, waiting_for_second
from monitor.cli.session import (
    EXIT_NOTHING,
    Commands,
    check_site,
    find_zones,
    open_database,
    options,
    pick_site,
    print_note,
    read_service,
    show,
    take_site,
    translate_in_zone,
)
from monitor.errors import RefusedError
from monitor.storage.engine import Database

PASSWORD_VARIABLE: Final = "SLOPEWARD_USER_PASSWORD"  # noqa: S105 - the name of a variable


def add_acts(app: Commands, group: str) -> None:
    """Register the acts of a command group, such as `alerts`, as its commands."""
    for act in list_acts():
        above, _, name = act.command.rpartition(" ")
        if above == group and COMMAND in act.ways:
            app.command(name)(_make_command(act))


def _make_command(act: Act) -> Callable[..., None]:
    offered = act.list_offered(COMMAND)
    parameters = {one.name: one for one in offered if one.argument.option or one.kind is not bool}
    asks_two = any(one.name == "two" for one in act.list_parameters())

    def run(*, by: str | None = None, second: str | None = None, **given: Any) -> None:
        again = _repeat(act, parameters, given, asks_two=asks_two)
        with open_database() as db:
            values = _read_values(db, parameters, given) | ({"two": second is not None} if asks_two else {})
            _run(db, act, values, by, second, again)

    shared = [inspect.Parameter("by", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=By)]
    if act.second:
        kind = Annotated[str | None, typer.Option("--second", help=act.second)]
        shared.append(inspect.Parameter("second", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind))
    own = [_declare(one) for one in parameters.values() if one.kind is not Secret]
    run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    run.__doc__ = act.load().__doc__
    return run


def _declare(one: ActParameter) -> inspect.Parameter:
    argument, kind = one.argument, one.given_kind
    bounds: dict[str, Any] = {"min": argument.least, "max": argument.most} if kind in {int, float} else {}
    if kind is int:
        bounds = {name: None if bound is None else int(bound) for name, bound in bounds.items()}
    made: Any
    if argument.option:
        made = typer.Option(argument.option, help=argument.help, **bounds)
    else:
        made = typer.Argument(help=argument.help, metavar=argument.metavar or one.name.upper(), **bounds)
    if kind is tuple:
        kind = list[str]
    annotation: Any = Annotated[kind | None if one.is_optional else kind, made]
    return inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default_text, annotation=annotation)


def _repeat(act: Act, parameters: dict[str, ActParameter], given: dict[str, Any], *, asks_two: bool) -> str:
    words = ["slopeward", *act.command.split()]
    for name, value in given.items():
        one = parameters[name]
        if value is None or value is False or value == one.default_text or one.argument.option == "--reason":
            continue
        words += [one.argument.option] if one.argument.option else []
        words += [] if value is True else [str(value)]
    return shlex.join(words) + (" --second {name}" if asks_two else "")


def _read_values(db: Database, parameters: dict[str, ActParameter], given: dict[str, Any]) -> dict[str, Any]:
    def read(one: ActParameter, value: Any) -> Any:
        argument, zone = one.argument, None
        if argument.is_file or (argument.is_text and value == "-"):
            value = _read_text(value, argument.longest)
        if argument.is_local and value is not None:
            zone = db.run_read(lambda c: find_zones(c, utc=False)(given.get("site", "")))
        return read_value(one, value, zone)

    return {name: read(parameters[name], value) for name, value in given.items()}


def _read_text(file: str, longest: int) -> str:
    """Return the text of a file or of standard input, at most one character more than allowed."""
    try:
        with nullcontext(sys.stdin) if file == "-" else Path(file).open(encoding="utf-8") as opened:
            return opened.read(longest + 1)
    except (OSError, ValueError) as error:
        raise RefusedError(f"{file}: {error}") from None


def _run(db: Database, act: Act, values: dict[str, Any], by: str | None, second: str | None, again: str) -> None:
    key = next((name for name in SITE_OF if name in values), None)

    def where(c: Connection) -> str | None:
        return values.get("site") if key is None else SITE_OF[key](c, values[key])

    if (
        "alert_id" in values
        and values.get("seen", 0) is None
        and (found := db.run_read(find_alert, values["alert_id"])) is not None
    ):
        # The level at the call. It may rise while the person types a password.
        values["seen"] = found.level
    parameters = {one.name: one for one in act.list_parameters()}
    actor, now = authenticate_actor(db, by, where, own=_find_owner(db, act, values)), datetime.now(UTC)
    secrets = {name: read_value(one, read_secret()) for name, one in parameters.items() if one.kind is Secret}
    call = ActCall(
        db=db,
        actor=actor,
        now=now,
        find_site=lambda site: take_site(db, pick_site(read_service(), site), act.command, now),
        check_site=check_site,
        config=read_service(),
        report=print_note,
        second=read_second(second),
    )
    with waiting_for_second(db, actor, where, again.replace("{name}", actor.name)):
        done = act.load()(call, **values, **secrets)
    _show(done, db.run_read(lambda c: find_zones(c, utc=False)(where(c) or "")))
    later = next((one for name, one in parameters.items() if one.argument.later and values[name] is None), None)
    if done.secret and later and not options().as_json and sys.stdin.isatty() and sys.stdout.isatty():
        _run(db, act, values | {later.name: read_value(later, input(later.argument.later))}, by, second, again)


def _find_owner(db: Database, act: Act, values: Mapping[str, object]) -> str | None:
    """Return the account whose owner may do the act with any role; None if there is none."""
    name = next((name for name in OWNER_OF if act.by_owner and name in values), None)
    return None if name is None else db.run_read(OWNER_OF[name], values[name])


def _show(done: ActResult, zone: str) -> None:
    """Print the result of an act on stdout: a secret alone, else a sentence. Notes and hints go to stderr."""
    text = translate_in_zone(done.text, zone)
    for note in (text, *done.notes) if done.secret else done.notes:
        print_note(note)
    if done.hint:
        print_note(f"next: {done.hint}")
    if done.status == EXIT_NOTHING:
        print_note(str(done.text))
        raise typer.Exit(EXIT_NOTHING)
    show(done.facts, "\n".join(done.secret) or text)
    if done.status:
        raise typer.Exit(done.status)


def read_secret() -> str:
    """Return a new password from the environment, a pipe, or twice from the keyboard."""
    if (given := os.environ.get(PASSWORD_VARIABLE)) is not None:
        return given
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("New password: ")
    if getpass.getpass("Once more: ") != first:
        raise RefusedError("the two passwords differ; nothing was changed")
    return first

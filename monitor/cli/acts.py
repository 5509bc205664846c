"""Commands of acts: the parameters of an act are the arguments and options of its command.

The person who acts is authenticated. An act that needs two people needs two commands: the first one stores a signature
and exits with status 3.
"""

import getpass
import inspect
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
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
    print_result,
    put_site_in_force,
    read_service,
    translate_in_zone,
)
from monitor.errors import RefusedError
from monitor.storage.engine import Database

NEW_PASSWORD_VARIABLE: Final = "SLOPEWARD_USER_PASSWORD"  # noqa: S105 - the name of a variable


def add_acts(app: Commands, group: str) -> None:
    """Register the acts of a command group, such as `alerts`, as its commands."""
    for act in list_acts():
        above, _, name = act.command.rpartition(" ")
        if above == group and COMMAND in act.ways:
            app.command(name)(_make_command(act))


def _make_command(act: Act) -> Callable[..., None]:
    """Return a function whose signature declares the parameters of an act and `--by`, so that Typer can run it."""
    parameters = {
        parameter.name: parameter
        for parameter in act.list_offered(COMMAND)
        if parameter.argument.option or parameter.kind is not bool
    }
    # `--second` decides this parameter of the act: whether two people do it.
    has_two = any(parameter.name == "two" for parameter in act.list_parameters())

    def run(*, by: str | None = None, second: str | None = None, **typed_values: Any) -> None:
        words = _list_words(act, parameters, typed_values)
        with open_database() as db:
            values = _read_values(db, parameters, typed_values)
            if has_two:
                values["two"] = second is not None
            _run(db, act, values, by, second, words)

    options_of_people = [inspect.Parameter("by", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=By)]
    if act.second:
        annotation = Annotated[str | None, typer.Option("--second", help=act.second)]
        options_of_people.append(
            inspect.Parameter("second", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        )
    options_of_act = [_declare(parameter) for parameter in parameters.values() if parameter.kind is not Secret]
    run.__signature__ = inspect.Signature([*options_of_act, *options_of_people])  # type: ignore[attr-defined]
    run.__doc__ = act.load().__doc__
    return run


def _declare(parameter: ActParameter) -> inspect.Parameter:
    """Declare a parameter of an act for Typer. A parameter without a default is required, such as `--reason`."""
    argument = parameter.argument
    kind = parameter.given_kind
    bounds: dict[str, Any] = {"min": argument.least, "max": argument.most} if kind in {int, float} else {}
    if kind is int:
        bounds = {name: None if bound is None else int(bound) for name, bound in bounds.items()}
    declaration: Any
    if argument.option:
        declaration = typer.Option(argument.option, help=argument.help, **bounds)
    else:
        metavar = argument.metavar or parameter.name.upper()
        declaration = typer.Argument(help=argument.help, metavar=metavar, **bounds)
    if kind is tuple:
        kind = list[str]
    annotation: Any = Annotated[kind | None if parameter.is_optional else kind, declaration]
    return inspect.Parameter(
        parameter.name, inspect.Parameter.KEYWORD_ONLY, default=parameter.default_text, annotation=annotation
    )


def _list_words(act: Act, parameters: dict[str, ActParameter], typed_values: dict[str, Any]) -> list[str]:
    """Return the words of the command, which a second person repeats with a reason and a name of their own."""
    words = ["slopeward", *act.command.split()]
    for name, value in typed_values.items():
        parameter = parameters[name]
        option = parameter.argument.option
        if value is None or value is False or value == parameter.default_text or option == "--reason":
            continue
        if option:
            words.append(option)
        if value is not True:
            words.append(str(value))
    return words


def _read_values(db: Database, parameters: dict[str, ActParameter], typed_values: dict[str, Any]) -> dict[str, Any]:
    def read(parameter: ActParameter, value: Any) -> Any:
        argument = parameter.argument
        zone = None
        if argument.is_file or (argument.is_text and value == "-"):
            value = _read_text(value, argument.longest)
        if argument.is_local and value is not None:
            zone = db.run_read(lambda c: find_zones(c, utc=False)(typed_values.get("site", "")))
        return read_value(parameter, value, zone)

    return {name: read(parameters[name], value) for name, value in typed_values.items()}


def _read_text(file: str, longest: int) -> str:
    """Return the text of a file or of standard input, at most one character more than allowed."""
    try:
        with nullcontext(sys.stdin) if file == "-" else Path(file).open(encoding="utf-8") as opened:
            return opened.read(longest + 1)
    except (OSError, ValueError) as error:
        raise RefusedError(f"{file}: {error}") from None


def _run(
    db: Database, act: Act, values: dict[str, Any], by: str | None, second: str | None, words: Sequence[str]
) -> None:
    """Authenticate the person, do the act, print its result, and exit with the status of the result.

    Args:
        db: The database, which `authenticate_actor` opens for writing.
        act: The act.
        values: Arguments of the act by name, without secrets.
        by: The name given with `--by`, if any.
        second: The name given with `--second`, if any.
        words: The words of the command.
    """
    id_name = next((name for name in SITE_OF if name in values), None)

    def find_site_id(c: Connection) -> str | None:
        return values.get("site") if id_name is None else SITE_OF[id_name](c, values[id_name])

    if "alert_id" in values and "seen" in values and values["seen"] is None:
        # The level at the call. It may rise while the person types a password.
        alert = db.run_read(find_alert, values["alert_id"])
        values["seen"] = None if alert is None else alert.level
    parameters = {parameter.name: parameter for parameter in act.list_parameters()}
    actor = authenticate_actor(db, by, find_site_id, own_account=_find_owner(db, act, values))
    now = datetime.now(UTC)
    secrets = {
        name: read_value(parameter, read_new_password())
        for name, parameter in parameters.items()
        if parameter.kind is Secret
    }
    call = ActCall(
        db=db,
        actor=actor,
        now=now,
        find_site=lambda site: put_site_in_force(db, pick_site(read_service(), site), act.command, now),
        check_site=check_site,
        config=read_service(),
        report=print_note,
        second=read_second(second),
    )
    words_of_second = [*words, "--second", actor.name] if "two" in values else words
    with waiting_for_second(db, actor, find_site_id, shlex.join(words_of_second)):
        result = act.load()(call, **values, **secrets)
    _show(result, db.run_read(lambda c: find_zones(c, utc=False)(find_site_id(c) or "")))
    # An act that has shown a secret, such as the key of an authenticator, is done again with the answer to it.
    missing = next((p for name, p in parameters.items() if p.argument.later and values[name] is None), None)
    if result.secret and missing and not options().as_json and sys.stdin.isatty() and sys.stdout.isatty():
        answer = read_value(missing, input(missing.argument.later))
        _run(db, act, values | {missing.name: answer}, by, second, words)


def _find_owner(db: Database, act: Act, values: Mapping[str, object]) -> str | None:
    """Return the account whose owner may do the act with any role; None if there is none."""
    name = next((name for name in OWNER_OF if act.by_owner and name in values), None)
    return None if name is None else db.run_read(OWNER_OF[name], values[name])


def _show(result: ActResult, zone: str) -> None:
    """Print the result of an act on stdout: a secret alone, else a sentence. Notes and hints go to stderr.

    Raises:
        typer.Exit: The result has an exit status other than 0.
    """
    text = translate_in_zone(result.text, zone)
    for note in (text, *result.notes) if result.secret else result.notes:
        print_note(note)
    if result.hint:
        print_note(f"next: {result.hint}")
    if result.status == EXIT_NOTHING:
        print_note(str(result.text))
        raise typer.Exit(EXIT_NOTHING)
    print_result(result.facts, "\n".join(result.secret) or text)
    if result.status:
        raise typer.Exit(result.status)


def read_new_password() -> str:
    """Return a new password from the environment, a pipe, or twice from the keyboard."""
    if (password := os.environ.get(NEW_PASSWORD_VARIABLE)) is not None:
        return password
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("New password: ")
    if getpass.getpass("Once more: ") != first:
        raise RefusedError("the two passwords differ; nothing was changed")
    return first

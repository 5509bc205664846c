"""The commands that plugins register, and how each of them is loaded.

Listing the commands imports none of them, so that `slopeward --help` starts quickly.
"""

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from monitor.plugins import hooks
from monitor.registration import Command


class CommandTable(NamedTuple):
    """The commands that plugins register."""

    commands: Mapping[str, Command]  # commands and groups by full name, in the order in which help lists them
    additions: Mapping[str, Sequence[Command]]  # commands added to a group that another plugin registered


@functools.cache
def read_command_table() -> CommandTable:
    """Collect the commands of all plugins."""
    commands: dict[str, Command] = {}
    additions: dict[str, list[Command]] = {}
    for registered in hooks().register_commands():
        for name, command in registered.items():
            if name in commands:
                additions.setdefault(name, []).append(command)
                continue
            entries = list(commands.items())
            position = list(commands).index(command.after) + 1 if command.after in commands else len(entries)
            entries.insert(position, (name, command))
            commands = dict(entries)
    return CommandTable(commands, additions)


def list_commands() -> Mapping[str, Command]:
    """Return all commands and groups of commands by full name, in the order in which help lists them."""
    return read_command_table().commands


def list_below(group: str) -> list[str]:
    """Return the names of the commands that are registered one level below a group."""
    prefix = f"{group} "
    below = [name.removeprefix(prefix) for name in list_commands() if name.startswith(prefix)]
    return [name for name in below if " " not in name]


def find_full_name(name: str) -> str:
    """Return the full name of a command: `alerts ack` for its short form `ack`, any other name as it is."""
    command = list_commands().get(name)
    return name if command is None or not command.short_for else command.short_for


@functools.cache
def load_app(name: str) -> Any:
    """Return the `typer.Typer` of a command or group, with the commands that plugins add to it."""
    from monitor.plugin_isolation import PluginError

    command = list_commands()[name]
    if command.short_for:
        return _load_short_form(command.short_for)
    app = _make_group(name, command.help) if command.load is None else command.load()
    for addition in read_command_table().additions.get(name, ()):
        if addition.load is not None:
            try:
                app.add_typer(addition.load())
            except PluginError:  # The plugin's loader has logged it. The other commands of the group work.
                continue
    if _has_single_command_of_another_name(app, name):
        # With a callback, Typer keeps the name of a single command: `visits list` instead of `visits`.
        app.callback()(lambda: None)
    return app


def _has_single_command_of_another_name(app: Any, name: str) -> bool:
    """Return whether an app has one command only, which is not the command of this full name itself."""
    if app.registered_callback is not None or app.registered_groups or len(app.registered_commands) != 1:
        return False
    return _read_name(app.registered_commands[0]) != name.rpartition(" ")[2]


def _make_group(name: str, help_line: str) -> Any:
    """Return a group of acts, and of commands that are registered below it."""
    from monitor.cli.acts import add_acts
    from monitor.cli.session import Commands

    # With a callback, Typer makes a group also of a single command.
    app = Commands(no_args_is_help=True, help=f"{help_line}.", callback=lambda: None)
    add_acts(app, name)
    return app


def _load_short_form(full_name: str) -> Any:
    """Return a `typer.Typer` with a single command of a group."""
    from monitor.cli.session import Commands

    group, _, name = full_name.rpartition(" ")
    app = Commands()
    app.registered_commands = [
        registered for registered in load_app(group).registered_commands if _read_name(registered) == name
    ]
    return app


def _read_name(registered: Any) -> str:
    return str(registered.name or registered.callback.__name__.replace("_", "-"))


@functools.cache
def build_command(name: str) -> Any:
    """Return the Click command of a command or group. The help of a group lists the groups below it too."""
    import typer

    app = load_app(name)
    app._add_completion = False  # noqa: SLF001  Completion would complete this command as if it were the whole program.
    command = typer.main.get_command(app)
    for below in list_below(name):
        help_line = list_commands()[f"{name} {below}"].help
        if isinstance(command, typer.core.TyperGroup):
            # Only for the help: `slopeward` finds these commands by their full name before it calls the group.
            command.add_command(typer.core.TyperCommand(below, help=f"{help_line}."))
        else:
            command.epilog = f"{command.epilog or ''}\n\nSee also slopeward {name} {below}: {help_line}."
    _escape_brackets(command)
    return command


def _escape_brackets(command: Any) -> None:
    """Show `[web]` in help texts as it is written. Rich would take brackets for markup."""
    from rich.markup import escape

    for part in (command, *command.params):
        part.help = escape(part.help) if getattr(part, "help", None) else None
    for below in (getattr(command, "commands", None) or {}).values():
        _escape_brackets(below)


@functools.cache
def load_all_commands() -> Mapping[str, Any]:
    """Return every command by full name, without groups and hidden commands. Imports all of them."""
    import typer

    commands = (_list_leaves(name, typer.main.get_command(load_app(name))) for name in list_commands())
    return dict(itertools.chain.from_iterable(commands))


def _list_leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield the commands of a group and of the groups below it by full name; a command yields itself."""
    below = getattr(command, "commands", None)
    if below is None:
        yield name, command
        return
    for part, subcommand in below.items():
        if not subcommand.hidden:
            yield from _list_leaves(f"{name} {part}", subcommand)

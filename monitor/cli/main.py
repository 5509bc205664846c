"""The command `slopeward`: a table of verbs, each imported only when it is asked for, and one place for errors."""

import contextlib
import errno
import functools
import os
import select
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

from monitor.cli.packages import find_missing_package
from monitor.cli.printable import guard
from monitor.plugins import hooks
from monitor.registration import Command
from monitor.worker.garbage_collection import collection_paused, skip_collection_at_exit


class Group(NamedTuple):
    """A group of commands without a module of its own: its commands are registered one by one."""

    help: str
    example: str
    heading: str = ""  # as in `Command`


GROUPS: Final = {
    "people": Group("Manage duty plans, accounts, access tokens and signatures", "people users list", "People"),
    "notify": Group("Test channels, hold drills, manage keys of push and CAP", "notify channels test"),
}
HELP: Final = frozenset({"--help", "-h", "help"})
READER_LEFT: Final = 141  # as the shell says of what a closed pipe ends
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_RIGHTS: Final = "give this account the right to it, or name another place"
# what a person can do about a file that a command was given or writes beside its own
FILE_REMEDIES: Final = {
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "the disk is mounted for reading alone: name another place",
    errno.ENOENT: "see whether its folder is there and the name is right",
    errno.ENOTDIR: "a part of its path is a file: see whether the name is right",
    errno.EISDIR: "it is a folder: name a file",
}
TRACEBACK: Final = "SLOPEWARD_TRACEBACK"
# roots of the libraries' own errors, looked up only when the library was imported
LIBRARY_ERRORS: Final = (
    ("forecasting.errors", "ForecastingError"),
    ("detection.imagery.errors", "ImageryError"),
    ("detection.anomaly.records", "AnomalyError"),
    ("monitor.plugin_isolation", "PluginError"),
)


class CommandTable(NamedTuple):
    """The commands that plugins register."""

    commands: Mapping[str, Command]  # commands and groups by name, in the order in which help lists them
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
            rows = list(commands.items())
            place = list(commands).index(command.after) + 1 if command.after in commands else len(rows)
            rows.insert(place, (name, command))
            commands = dict(rows)
    return CommandTable(commands, additions)


def list_commands() -> Mapping[str, Command]:
    """Return all commands and groups of commands by name, in the order in which help lists them."""
    return read_command_table().commands


def main(arguments: list[str] | None = None) -> None:
    """Run one verb; a known error is one line on stderr and status 1, wrong usage 2, and never a traceback."""
    skip_collection_at_exit()
    if (Path(__file__).parents[1] / "_migrations").is_dir():  # installed: and so is all that we start
        os.environ.pop("PYTHONPATH", None)
    sys.stdout, sys.stderr = guard(sys.stdout), guard(sys.stderr)
    words = sys.argv[1:] if arguments is None else arguments
    status = run_verb(words)
    try:
        _flush(sys.stderr)
    except OSError:
        _drop(sys.stderr)
    sys.exit(status)


def run_verb(words: list[str]) -> int:
    """Run the verb that the words name and return the exit status."""
    output = _find_file(sys.stdout)
    try:
        status = _run(words)
        _flush(sys.stdout)  # at the end of the interpreter nobody could say what went wrong with it
    except KeyboardInterrupt:
        return 130
    except (Exception, SystemExit) as error:  # the edge: a person gets one line, never a traceback
        cause = error.__context__ if isinstance(error, SystemExit) else error
        if isinstance(cause, BrokenPipeError) and _has_lost_reader(sys.stdout, output):
            _drop(sys.stdout)
            return READER_LEFT
        if isinstance(error, SystemExit) or os.environ.get(TRACEBACK):
            raise
        try:
            _flush(sys.stdout)  # what was said before the error is not lost with it
        except OSError:
            _drop(sys.stdout)
        with contextlib.suppress(OSError):
            print(_describe(error), file=sys.stderr)
        return 1
    else:
        return status


def _flush(stream: TextIO | None) -> None:
    """Write what is left of an output; there is none where whoever started the command closed it (`>&-`)."""
    if stream is not None:
        stream.flush()


def _find_file(stream: TextIO | None) -> tuple[int, int] | None:
    """Which file an output is; None for what is none, such as what a test reads."""
    with contextlib.suppress(OSError, AttributeError):
        found = os.fstat(stream.fileno())  # type: ignore[union-attr]
        return found.st_dev, found.st_ino
    return None


def _has_lost_reader(stream: TextIO | None, begun: tuple[int, int] | None) -> bool:
    """Whether who read an output (head, less) has seen enough: sockets and pipes of workers break as well.

    `begun`: the file that it was at the beginning: rich sends an output nowhere when its reader left.
    """
    if stream is None or begun is None:
        return False
    poll = select.poll()
    poll.register(stream.fileno(), 0)  # an error is told without being asked for
    return _find_file(stream) != begun or bool(poll.poll(0))


def _drop(stream: TextIO | None) -> None:
    """Send what is left of an output nowhere: the end of the interpreter would try to write it once more."""
    if stream is None:
        return
    with contextlib.suppress(OSError):  # what a test reads is no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _run(words: list[str]) -> int:
    if not words or words[0] in HELP:
        print_help()
        return 0 if words else 2
    if words[0] == "--version":
        from monitor.canonical import code_version

        print(f"slopeward {code_version()}")
        return 0
    if (missing := find_missing_package(words)) is not None:
        print(missing, file=sys.stderr)
        return 1
    for depth in (2, 1):
        verb = " ".join(words[:depth])
        if verb in list_commands():
            return _invoke(verb, words[depth:])
    if words[0] not in GROUPS:
        return _refuse_verb("slopeward", words[0])
    if words[1:] and words[1] not in HELP:
        return _refuse_verb(f"slopeward {words[0]}", words[1])
    print_help(words[0])
    return 0 if words[1:] else 2


def _invoke(verb: str, words: list[str]) -> int:
    with collection_paused():
        from monitor.cli.rules import running
        from monitor.storage.engine import PATIENCE_S, patient

        command = _build(load_app(verb), verb)
    # the supervisor looks after its children meanwhile
    patience = contextlib.nullcontext() if verb == "run" else patient(PATIENCE_S)
    with running(_find_command(verb, command, words)) as run, patience:
        status = _call(command, verb, words)
    for line in run.notes if status in {0, 3} else ():
        print(line, file=sys.stderr)
    return status


@functools.cache
def load_app(verb: str) -> Any:
    """Return the `typer.Typer` of a command or group, with the commands that plugins add to it."""
    from monitor.plugin_isolation import PluginError

    command = list_commands()[verb]
    app = _make_app(verb, command.help) if command.load is None else command.load()
    for addition in read_command_table().additions.get(verb, ()):
        if addition.load is not None:
            try:
                app.add_typer(addition.load())
            except PluginError:  # noted by the plugin's loader; the other commands of the group work
                continue
    return app


def _make_app(verb: str, line: str) -> Any:
    from monitor.cli.acts import add_acts
    from monitor.cli.session import Commands

    app = Commands(no_args_is_help=True, help=line, callback=lambda: None)  # so that one alone is named as well
    add_acts(app, verb)
    return app


@functools.cache  # who calls verbs again and again in one process need not read their options again
def _build(app: Any, verb: str) -> Any:
    import typer

    app._add_completion = False  # noqa: SLF001  it would complete one verb as if it were the whole command
    command = typer.main.get_command(app)
    for name in _list_below(verb):  # help names them; what they do is found before this command is asked
        help_line = list_commands()[f"{verb} {name}"].help
        if isinstance(command, typer.core.TyperGroup):
            command.add_command(typer.core.TyperCommand(name, help=help_line))
        else:
            command.epilog = f"{command.epilog or ''}\n\nAlso: slopeward {verb} {name}: {help_line}"
    _keep_brackets(command)
    return command


def _list_below(verb: str) -> list[str]:
    return [path.removeprefix(f"{verb} ") for path in list_commands() if path.startswith(f"{verb} ")]


def _keep_brackets(command: Any) -> None:
    """Let help show `[web]` and other tables of files: brackets would be read as the colour of what follows."""
    from rich.markup import escape

    for part in (command, *command.params):
        part.help = escape(part.help) if getattr(part, "help", None) else None
    for one in (getattr(command, "commands", None) or {}).values():
        _keep_brackets(one)


def _find_command(verb: str, command: Any, words: list[str]) -> str:
    """The words that name a command: `alerts ack` of `alerts ack 12 --by Ada`."""
    names = [verb]
    for argument in words:
        command = (getattr(command, "commands", None) or {}).get(argument)
        if command is None:
            break
        names.append(argument)
    return " ".join(names)


def _call(command: Any, verb: str, words: list[str]) -> int:
    import typer

    try:
        answer: Any = command.main(args=words, prog_name=f"slopeward {verb}", standalone_mode=False)
    except (typer.Exit, SystemExit) as end:
        if isinstance(end.__context__, BrokenPipeError):  # click and rich make status 1 of it
            raise end.__context__ from None
        code = getattr(end, "exit_code", getattr(end, "code", 0))
        return code if isinstance(code, int) else int(code is not None)
    except typer.Abort:
        return 130
    except Exception as error:
        show, status = getattr(error, "show", None), getattr(error, "exit_code", None)
        if show is None or not isinstance(status, int):
            raise
        show()  # the parser's own words: wrong usage, with a pointer to --help
        return status
    return answer if isinstance(answer, int) and not isinstance(answer, bool) else 0


def _describe(error: Exception) -> str:
    from monitor.errors import SlopewardError
    from monitor.extras import explain_missing
    from monitor.text.reasons import describe_error

    text = " ".join(describe_error(error).split())
    if isinstance(error, SlopewardError):
        return text
    if (missing := explain_missing(error)) is not None:
        return missing
    if isinstance(error, OSError) and error.errno in FULL:
        where = f" to {error.filename}" if error.filename else ""
        return f"not all could be written{where}: {os.strerror(error.errno)}"
    if isinstance(error, OSError) and error.filename and error.errno in FILE_REMEDIES:
        return f"{error.filename}: {os.strerror(error.errno)}; {FILE_REMEDIES[error.errno]}"
    for module, name in LIBRARY_ERRORS:
        root = getattr(sys.modules.get(module), name, None)
        if root is not None and isinstance(error, root):
            return " ".join(describe_error(error).split())
    return f"internal error: {type(error).__name__}: {text} (set {TRACEBACK}=1 to see where)"


def _refuse_verb(program: str, verb: str) -> int:
    import difflib

    paths = {path.rpartition(" ")[2]: path for path in (*GROUPS, *list_commands())}
    near = difflib.get_close_matches(verb, paths, n=1)
    hint = f"; did you mean `slopeward {paths[near[0]]}`?" if near else "."
    print(f"{program}: unknown command {verb!r}{hint} See {program} --help", file=sys.stderr)
    return 2


def _list_top_commands() -> list[str]:
    """Return commands and groups. A command whose group is not installed is listed by its full name."""
    commands = list_commands()
    groups = {**commands, **GROUPS}
    listed: dict[str, None] = {}
    for path in commands:
        verb = path.split()[0]
        listed[verb if verb in groups else path] = None
    return list(listed)


def print_help(group: str = "") -> None:
    """Print the commands under their headings, or those of one group, without importing them."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    name = f"slopeward {group}".rstrip()
    title = GROUPS.get(group, Group("Monitor unstable slopes and warn the people responsible for them", "demo"))
    console.print(f"[bold]{name}[/bold] COMMAND [OPTIONS]\n\n{title.help}." + "\n" * bool(group), highlight=False)
    last_heading = ""
    for verb in _list_below(group) if group else _list_top_commands():
        listed = GROUPS[verb] if verb in GROUPS else list_commands()[f"{group} {verb}".strip()]
        heading = listed.heading or last_heading
        if heading != last_heading:
            console.print(f"\n[bold]{heading}[/bold]")
            last_heading = heading
        row = Table.grid(padding=(0, 4))
        row.add_column(min_width=11)
        row.add_row(f"[cyan]{verb}[/cyan]", listed.help)
        console.print(row)
    console.print(
        f"\nOptions and an example of a command: {name} COMMAND --help\n"
        "Exit status: 0 success, 1 error, 2 wrong usage, 3 partly done, 4 nothing to do\n"
        f"Example: slopeward {title.example}",
        highlight=False,
    )


if __name__ == "__main__":
    main()

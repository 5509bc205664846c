"""The lists of commands that `slopeward --help` and `slopeward help commands` print.

`slopeward --help` imports no command. Its lines are those of the command table.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from monitor.cli.commands import find_full_name, list_commands, load_all_commands

EVERYDAY: Final = "Everyday commands"
OTHER: Final = "Other commands"
# Subjects in the order in which help lists them. Subjects of third-party plugins follow, then `OTHER`.
SUBJECTS: Final = (EVERYDAY, "Slopes and instruments", "Results", "People and messages", "Operation")
# The longest names are `instruments` and `maintenance`, after two spaces.
_NAME_WIDTH: Final = 13


def print_overview() -> None:
    """Print the everyday commands, and one line for each other command or group."""
    from rich.console import Console

    console = Console()
    console.print("[bold]slopeward[/bold] COMMAND [OPTIONS]: monitor unstable slopes and warn people", highlight=False)
    for subject, names in _list_by_subject().items():
        console.print()
        console.print(f"[bold]{subject}[/bold]")
        _print_rows(console, {name: _describe(name) for name in names}, _NAME_WIDTH)
    console.print(
        "\nOptions and an example of a command: slopeward COMMAND --help\n"
        "All commands by subject: slopeward help commands",
        highlight=False,
    )


def print_all_commands() -> None:
    """Print every command with its summary, by subject. Imports all commands."""
    from rich.console import Console

    console = Console()
    summaries = list_summaries()
    width = max(map(len, summaries))
    for subject, groups in _list_by_subject(only_overview=False).items():
        console.print(f"[bold]{subject}[/bold]")
        rows = {name: summary for name, summary in summaries.items() if _is_of_any(name, groups)}
        _print_rows(console, rows, width)
        console.print()
    console.print(
        "Options and an example of a command: slopeward COMMAND --help\n"
        "Exit status: 0 success, 1 error, 2 wrong usage, 3 partly done, 4 nothing to do",
        highlight=False,
    )


def list_summaries() -> Mapping[str, str]:
    """Return the summary of every command by full name. Imports all commands."""
    summaries = {}
    for name, command in load_all_commands().items():
        full_name = find_full_name(name)
        summaries[name] = summarize(command)
        if full_name != name:
            summaries[name] = f"Short form of `slopeward {full_name}`: {summaries[name]}"
    return summaries


def summarize(command: Any) -> str:
    """Return the first sentence of the help of a command."""
    paragraph = " ".join((command.help or "").partition("\n\n")[0].split())
    sentence, end, _ = paragraph.partition(". ")
    return sentence + end.strip()


def find_subject(name: str) -> str:
    """Return the subject of a command: its own, or that of its group."""
    commands = list_commands()
    for group in (name, name.partition(" ")[0]):
        if group in commands and commands[group].subject:
            return commands[group].subject
    return OTHER


def _list_by_subject(*, only_overview: bool = True) -> dict[str, list[str]]:
    """Return top-level commands and groups by subject. A command whose group is not installed has its full name."""
    commands = list_commands()
    names_by_subject: dict[str, list[str]] = {subject: [] for subject in SUBJECTS}
    for name, command in commands.items():
        top = name.partition(" ")[0]
        if (name != top and top in commands) or (only_overview and not command.is_in_overview):
            continue
        names_by_subject.setdefault(find_subject(name), []).append(name)
    other = names_by_subject.pop(OTHER, [])
    names_by_subject[OTHER] = other
    return {subject: names for subject, names in names_by_subject.items() if names}


def _is_of_any(name: str, groups: Iterable[str]) -> bool:
    return any(name == group or name.startswith(f"{group} ") for group in groups)


def _describe(name: str) -> str:
    return list_commands()[name].help


def _print_rows(console: Any, texts: Mapping[str, str], width: int) -> None:
    from rich.markup import escape
    from rich.table import Table

    # One table per row, so that a reader that closes the pipe early ends the command at once.
    for name, text in texts.items():
        row = Table.grid(padding=(0, 1))
        row.add_column(min_width=width)
        row.add_column()
        row.add_row(f"  [cyan]{name}[/cyan]", escape(text))
        console.print(row)

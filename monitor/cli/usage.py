"""Wrong usage in one line: what is wrong, the nearest right spelling, and the command that shows the help."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from monitor.cli.commands import list_commands, load_all_commands
from monitor.cli.nearest import find_nearest, suggest_nearest
from monitor.cli.overview import summarize
from monitor.plugin_isolation import DISABLED, list_faults

# Present names of an option by its former name. The first one that the command has is suggested.
FORMER_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "--from": ("--since", "--table"),
    "--to": ("--until", "--out"),
    "--after": ("--since",),
    "--before": ("--until",),
    "--begin": ("--since",),
    "--start": ("--since",),
    "--end": ("--until",),
    "--time": ("--at",),
    "--valid": ("--for",),
    "--by": ("--per",),
    "--anew": ("--restart",),
    "--known-from": ("--known-since",),
    "--most": ("--limit",),
    "--looks": ("--limit",),
    "--in": ("--substitute",),
    "--out": ("--absent",),
    "--output": ("--out",),
}

# Commands by words that other programs use for them. The words are not similar to the names of the commands.
OTHER_WORDS: Final[Mapping[str, str]] = {
    "acknowledge": "ack",
    "alarm": "alerts",
    "alarms": "alerts",
    "confirm": "ack",
    "load": "import",
    "plugins": "doctor",
    "recipients": "notify channels list",
    "replay": "backtest",
    "serve": "run",
    "simulate": "demo",
    "simulation": "demo",
    "start": "run",
    "validate": "check",
}


# A word with a lower similarity to the name of a command is hardly a misspelling of it.
SIMILARITY: Final = 0.75


def describe_unknown_command(word: str) -> str:
    """Return one line about a word that is not the name of a command.

    The line suggests a command with a similar name, or else one whose summary contains the word.
    """
    return f"slopeward: unknown command {word!r}{_suggest_command(word)} See slopeward --help"


def _suggest_command(word: str) -> str:
    near = OTHER_WORDS.get(word)
    if near is None:
        # Loading all commands takes seconds, so they are compared only if no registered name is similar.
        near = _find_similar_command(word, list_commands())
    if near is None:
        near = _find_similar_command(word, list(load_all_commands()))
    if near is not None:
        return f"; did you mean `slopeward {near}`?"
    disabled = [fault.plugin for fault in list_faults() if fault.what == DISABLED]
    if disabled:
        return f"; commands of disabled plugins are missing ({', '.join(disabled)}): see slopeward doctor."
    near = _find_by_summary(word)
    if near is not None:
        return f"; `slopeward {near}` has the word in its summary."
    return "."


def _suggest_command_elsewhere(word: str, group: str) -> str:
    """Return the end of a message that names a command of another group: below this group, or anywhere."""
    names = list(load_all_commands())
    below = [name for name in names if name.startswith(f"{group} ")]
    near = _find_by_last_word(word, below) or OTHER_WORDS.get(word) or _find_by_last_word(word, names)
    return "" if near is None else f"; did you mean `slopeward {near}`?"


def _find_by_last_word(word: str, names: Collection[str]) -> str | None:
    return next((name for name in names if name.rpartition(" ")[2] == word), None)


def _find_by_summary(word: str) -> str | None:
    """Return the command that has the word, in singular or plural, nearest to the beginning of its summary."""
    stem = _make_singular(word.lower())
    positions: dict[str, int] = {}
    for name, command in load_all_commands().items():
        words = [_make_singular(each) for each in re.findall(r"\w+", summarize(command).lower())]
        if stem in words:
            positions[name] = words.index(stem)
    return min(positions, key=positions.__getitem__, default=None)


def _make_singular(word: str) -> str:
    """Remove the ending of a regular plural.

    >>> _make_singular("outlines"), _make_singular("mapping"), _make_singular("loss")
    ('outline', 'mapping', 'loss')
    """
    return word if word.endswith("ss") else word.removesuffix("s")


def _find_similar_command(word: str, names: Collection[str]) -> str | None:
    """Return the full name of a command whose last word is similar; `users` finds `people users`."""
    full_names: dict[str, str] = {}
    for name in names:
        full_names.setdefault(name.rpartition(" ")[2], name)
    near = find_nearest(word, full_names, SIMILARITY)
    return None if near is None else full_names[near]


def describe_usage_error(error: Any) -> str:
    """Return one line about an error of the parser.

    Args:
        error: An exception of the parser.
    """
    # The message is the help of a group that was called without a command.
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(error.format_message())
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    if context is None:
        return message
    program = context.command_path
    if (option := getattr(error, "option_name", None)) is not None and hasattr(error, "possibilities"):
        message = f"no such option {option}{_suggest_option(option, context)}"
    if message.startswith("Got unexpected extra argument"):
        if _needs_site_option(context.command):
            message += "; the site is an option of this command: --site SITE"
        elif not name_arguments(context.command):
            message += "; this command takes options only"
    word = _find_unknown_subcommand(message)
    if word is not None:
        message = f"{message.rstrip('.')}{_suggest_command_elsewhere(word, program.removeprefix('slopeward '))}"
    end = "" if message.endswith((".", "?")) else "."
    return f"{program}: {message}{end} See {program} --help"


def _find_unknown_subcommand(message: str) -> str | None:
    """Return the word of `No such command 'word'.`; None for other messages, also for those that suggest a name."""
    match = re.fullmatch(r"No such command '(?P<word>[^']*)'\.", message)
    return None if match is None else match["word"]


def _suggest_option(option: str, context: Any) -> str:
    command = context.command
    for name, subcommand in (getattr(command, "commands", None) or {}).items():
        if any(option in parameter.opts for parameter in subcommand.params):
            return f"; did you mean `{context.command_path} {name} {option}`?"
    options = [name for parameter in command.params for name in parameter.opts if name.startswith("--")]
    present = next((name for name in FORMER_OPTIONS.get(option, ()) if name in options), None)
    if present is not None:
        return f"; its name is {present}"
    arguments = name_arguments(command)
    if option.removeprefix("--").replace("-", "_").upper() in arguments:
        return f"; give it without the option: {context.command_path} {' '.join(arguments)}"
    return suggest_nearest(option, options)


def name_arguments(command: Any) -> list[str]:
    """Return the arguments of a command as its help names them, such as `SITE`, in their order."""
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    return [(argument.metavar or argument.name).strip("[]").upper() for argument in arguments]


def _needs_site_option(command: Any) -> bool:
    has_option = any("--site" in parameter.opts for parameter in command.params)
    return has_option and not name_arguments(command)

"""Rules of commands: which may write to the database, and which role the acting person needs.

A rule is `SERVES` or the role of the acting person. A command without a rule only reads. According to the rule,
`monitor.cli.session` opens the database read-only for commands that only read, and read-only for an act of a person
until `monitor.cli.identity` has authenticated that person.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from monitor.alerts.acts.table import COMMAND, OPERATOR, list_acts
from monitor.errors import RefusedError
from monitor.plugins import hooks
from monitor.storage.engine import Database

READS: Final = "reads"  # writes nothing to the database
SERVES: Final = "serves"  # writes what the service itself would write from files, readings and declarations
ADMIN: Final = "admin"

_SERVING: Final = (
    "run",
    "evaluate",
    "ingest",
    "notify channels test",
    "db upgrade",
    "db prune",
    "broker files",
)
_FOR_ADMINS: Final = (
    "broker add",
    "broker revoke",
    "broker acl",
    "broker key-add",
    "broker key-retire",
    "db restore",
    "db grant-readonly",
)


def _collect_rules() -> dict[str, str]:
    rules = dict.fromkeys(_SERVING, SERVES)
    rules |= {act.command: act.role for act in list_acts() if COMMAND in act.ways}
    rules |= dict.fromkeys(_FOR_ADMINS, ADMIN)
    for commands in hooks().register_commands():
        for command in commands.values():
            # A plugin cannot change the rule of another command.
            rules = {**command.rules, **rules}
    return rules


RULES: Final[dict[str, str]] = _collect_rules()

# Commands of acts that a program may do with an access token of its owner. A token cannot manage accounts.
TOKEN_COMMANDS: Final = frozenset(act.command for act in list_acts() if act.by_token)


@dataclass(slots=True)
class RunningCommand:
    """The command that runs, and the notes that are printed after it."""

    command: str  # its full name, such as `alerts ack`
    notes: list[str] = field(default_factory=list)

    @property
    def rule(self) -> str:
        """Return the rule of the command."""
        return RULES.get(self.command, READS)


_RUNNING: Final[ContextVar[RunningCommand | None]] = ContextVar("slopeward_command", default=None)


@contextmanager
def register_running(command: str) -> Iterator[RunningCommand]:
    """Register the running command within the context, for the other functions of this module."""
    running_command = RunningCommand(command)
    token = _RUNNING.set(running_command)
    try:
        yield running_command
    finally:
        _RUNNING.reset(token)


def find_needed_role() -> str:
    """Return the role that the acting person needs for the running command."""
    command = _RUNNING.get()
    return ADMIN if command is not None and command.rule == ADMIN else OPERATOR


def require_person() -> None:
    """Refuse an access token for a command that needs a person.

    Raises:
        RefusedError: The command needs a person.
    """
    running_command = _RUNNING.get()
    if running_command is not None and running_command.command not in TOKEN_COMMANDS:
        allowed = " and ".join(f"`slopeward {command}`" for command in sorted(TOKEN_COMMANDS))
        raise RefusedError(
            f"a token is accepted for {allowed}; `slopeward {running_command.command}` needs a person: --by NAME and "
            "the password"
        )


def add_note(line: str) -> None:
    """Add a line that is printed after the running command. Without one, as in other programs, nothing is printed."""
    running_command = _RUNNING.get()
    if running_command is not None:
        running_command.notes.append(line)


def forbid_writing_by_rule(db: Database) -> None:
    """Make the database read-only unless the rule of the running command allows writing."""
    running_command = _RUNNING.get()
    if running_command is None or running_command.rule == SERVES:
        return
    name = f"`slopeward {running_command.command}`"
    db.closed_because = (
        f"{name} only reads; a command that writes needs a rule in monitor/cli/rules.py"
        if running_command.rule == READS
        else f"{name} writes for a person, and nobody was authenticated"
    )

"""Rules of commands: which may write to the database, and which role the acting person needs.

The rule of a command is `SERVES`, or the role that the acting person needs. A command without a rule only reads.

`monitor.cli.session` opens the database read-only unless the rule is `SERVES`. For a command with a role,
`monitor.cli.identity` allows writing after it has authenticated the person.
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

# The command writes nothing to the database.
READS: Final = "reads"
# The command writes what the service itself would write from files, readings and declarations. It needs no role.
SERVES: Final = "serves"
# The acting person needs the role of an admin.
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

    name: str  # full name, such as `alerts ack`
    notes: list[str] = field(default_factory=list)

    @property
    def rule(self) -> str:
        """Return the rule of the command."""
        return RULES.get(self.name, READS)


_RUNNING: Final[ContextVar[RunningCommand | None]] = ContextVar("slopeward_command", default=None)


@contextmanager
def register_running(name: str) -> Iterator[RunningCommand]:
    """Register the running command within the context, for the other functions of this module."""
    running_command = RunningCommand(name)
    token = _RUNNING.set(running_command)
    try:
        yield running_command
    finally:
        _RUNNING.reset(token)


def find_needed_role() -> str:
    """Return the role that the acting person needs for the running command."""
    running_command = _RUNNING.get()
    return ADMIN if running_command is not None and running_command.rule == ADMIN else OPERATOR


def require_token_command() -> None:
    """Refuse an access token for a command that needs the proof of a person.

    Raises:
        RefusedError: The running command does not accept tokens.
    """
    running_command = _RUNNING.get()
    if running_command is not None and running_command.name not in TOKEN_COMMANDS:
        allowed = " and ".join(f"`slopeward {command}`" for command in sorted(TOKEN_COMMANDS))
        raise RefusedError(
            f"a token is accepted for {allowed}; `slopeward {running_command.name}` needs a person: --by NAME and "
            "the password"
        )


def add_note(line: str) -> None:
    """Add a line that is printed after the running command. Other programs run no command and print nothing."""
    running_command = _RUNNING.get()
    if running_command is not None:
        running_command.notes.append(line)


def forbid_writing_by_rule(db: Database) -> None:
    """Make the database read-only unless the rule of the running command allows writing."""
    running_command = _RUNNING.get()
    if running_command is None or running_command.rule == SERVES:
        return
    name = f"`slopeward {running_command.name}`"
    db.read_only_because = (
        f"{name} only reads; a command that writes needs a rule in monitor/cli/rules.py"
        if running_command.rule == READS
        else f"{name} writes for a person, and nobody was authenticated"
    )

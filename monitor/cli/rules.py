"""Who may write by which command; a command without a rule may not write at all.

A rule is `SERVES`, or the role of the person who acts. `monitor.cli.session` opens the database by it: closed
to writing for who only reads, and for a person's act closed until `monitor.cli.identity` knows who that person is.
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

READS: Final = "reads"  # writes nothing into the database
SERVES: Final = "serves"  # writes what the service itself would write from files, readings and declarations
ADMIN: Final = "admin"


def _each(verb: str, acts: str) -> list[str]:
    return [f"{verb} {act}" for act in acts.split()]


# what is not listed only reads
RULES: Final[dict[str, str]] = {
    **dict.fromkeys(
        (
            *("run", "evaluate", "ingest", "notify channels test"),
            *_each("db", "upgrade prune"),
            "broker files",
        ),
        SERVES,
    ),
    **{act.command: act.role for act in list_acts() if COMMAND in act.ways},
    **dict.fromkeys(
        (*_each("broker", "add revoke acl key-add key-retire"), *_each("db", "restore grant-readonly")), ADMIN
    ),
}
for _commands in hooks().register_commands():
    for _command in _commands.values():
        RULES.update({name: rule for name, rule in _command.rules.items() if name not in RULES})

# What a program may do in the name of its owner, as on the page: it explains nothing away and manages no accounts.
BY_TOKEN: Final = frozenset(act.command for act in list_acts() if act.by_token)


@dataclass(slots=True)
class RunningCommand:
    """The command that runs, such as `alerts ack`, and what is said once it is done."""

    command: str
    notes: list[str] = field(default_factory=list)

    @property
    def rule(self) -> str:
        """What it may do."""
        return RULES.get(self.command, READS)


_RUNNING: Final[ContextVar[RunningCommand | None]] = ContextVar("slopeward_command", default=None)


@contextmanager
def running(command: str) -> Iterator[RunningCommand]:
    """Say which command runs."""
    found = RunningCommand(command)
    token = _RUNNING.set(found)
    try:
        yield found
    finally:
        _RUNNING.reset(token)


def needed_role() -> str:
    """The role that the person who acts by this command needs."""
    now = _RUNNING.get()
    return ADMIN if now is not None and now.rule == ADMIN else OPERATOR


def require_person() -> None:
    """Refuse a token for what takes somebody who is there; raises RefusedError."""
    now = _RUNNING.get()
    if now is not None and now.command not in BY_TOKEN:
        raise RefusedError(
            f"a token serves for {' and '.join(f'`slopeward {one}`' for one in sorted(BY_TOKEN))}; "
            f"`slopeward {now.command}` takes a person: --by NAME and the password"
        )


def note(line: str) -> None:
    """Say a line once the command is done; nothing where none runs (another program uses the functions)."""
    now = _RUNNING.get()
    if now is not None:
        now.notes.append(line)


def close_by_rule(db: Database) -> None:
    """Let nothing be written that the rule of this command does not allow (yet)."""
    now = _RUNNING.get()
    if now is None or now.rule == SERVES:
        return
    db.closed_because = (
        f"`slopeward {now.command}` only reads; a command that writes needs a rule in monitor/cli/rules.py"
        if now.rule == READS
        else f"`slopeward {now.command}` writes for a person, and did not ask who that is"
    )

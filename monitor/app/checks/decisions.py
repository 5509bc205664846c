"""Reasons why the service cannot decide. The emergency message, the page and the dead-man ping depend on them."""

from datetime import datetime
from typing import Final, NamedTuple

from monitor.storage.check import BAD, Check, make_state
from monitor.text.message import Message, Template, Timestamp

# A database that is only busy accepts a write earlier.
LONGEST_WITHOUT_WRITE_S: Final = 15.0
LONGEST_EVALUATION_DELAY_S: Final = 60.0
# The person who upgrades expects a pause. A longer one must be reported to those who watch the slope.
LONGEST_UPGRADE_S: Final = 600.0
# The core loads sites and plugins during its start, which takes seconds, or a minute on a busy machine.
LONGEST_START_S: Final = 120.0
# A core without a heartbeat for this long decides nothing at this moment.
LONGEST_WITHOUT_HEARTBEAT_S: Final = 10.0
_NO_WRITES: Final = Template("check.decide.writes", "the database has accepted no writes since {at}")
_NO_WRITES_FOR: Final = Template(
    "check.decide.writes_for", "the database has accepted no writes since {at} ({problem})"
)


class CoreProgress(NamedTuple):
    """Progress of the core process, measured by itself.

    Attributes:
        since_write_s: Time since the last committed transaction.
        written_at: Time of that transaction.
        write_error: Why the next transaction failed; empty if unknown.
        evaluation_delay_s: Time since the last evaluation, beyond the longest time between two evaluations.
        evaluated_at: Time of the last evaluation.
        is_evaluation_expected: An evaluation was stored since the start, and none computes at this moment.
        upgrade_s: How long an upgrade of the database has been running; 0 without an upgrade.
        upgrade_began_at: Start of the upgrade; None without an upgrade.
        start_s: How long the core has been starting, without an upgrade; 0 after its start.
        start_began_at: When the start began; None after it.
    """

    since_write_s: float
    written_at: datetime
    write_error: str
    evaluation_delay_s: float
    evaluated_at: datetime
    is_evaluation_expected: bool
    upgrade_s: float = 0.0
    upgrade_began_at: datetime | None = None
    start_s: float = 0.0
    start_began_at: datetime | None = None


class Heartbeat(NamedTuple):
    """The last heartbeat of the core process, as the supervisor received it."""

    age_s: float
    received_at: datetime


def _describe_missing_writes(progress: CoreProgress) -> Message:
    at = Timestamp.of(progress.written_at, "second")
    return _NO_WRITES_FOR(at=at, problem=progress.write_error) if progress.write_error else _NO_WRITES(at=at)


CHECKS: Final = (
    Check(
        "decide.writes",
        CoreProgress,
        BAD,
        "{text}",
        lambda progress: make_state(
            is_wrong=progress.since_write_s > LONGEST_WITHOUT_WRITE_S, text=_describe_missing_writes(progress)
        ),
    ),
    Check(
        "decide.upgrade",
        CoreProgress,
        BAD,
        "the upgrade of the database has been running since {at}",
        lambda progress: make_state(is_wrong=progress.upgrade_s > LONGEST_UPGRADE_S, at=progress.upgrade_began_at),
    ),
    Check(
        "decide.start",
        CoreProgress,
        BAD,
        "the core process has been starting since {at}",
        lambda progress: make_state(is_wrong=progress.start_s > LONGEST_START_S, at=progress.start_began_at),
    ),
    Check(
        "decide.evaluations",
        CoreProgress,
        BAD,
        "no evaluation was stored since {at}",
        lambda progress: make_state(
            is_wrong=progress.is_evaluation_expected and progress.evaluation_delay_s > LONGEST_EVALUATION_DELAY_S,
            at=progress.evaluated_at,
        ),
    ),
    Check(
        "decide.core",
        Heartbeat,
        BAD,
        "the core process has sent no heartbeat since {at}",
        lambda heartbeat: make_state(is_wrong=heartbeat.age_s > LONGEST_WITHOUT_HEARTBEAT_S, at=heartbeat.received_at),
    ),
)

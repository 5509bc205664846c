"""What keeps the service from deciding: the emergency notice, the page and the outside watcher say it."""

from datetime import datetime
from typing import Final, NamedTuple

from monitor.storage.check import BAD, Check, make_state
from monitor.text.message import Message, Template, Timestamp

SILENT_WRITE_S: Final = 15.0  # a database that takes no write for so long is more than busy
LATE_EVALUATION_S: Final = 60.0  # beyond the tick
SLOW_BEAT_S: Final = 10.0  # a core that beats less often than this decides nothing now
_NO_WRITES: Final = Template("check.decide.writes", "database takes no writes since {at}")
_NO_WRITES_FOR: Final = Template("check.decide.writes_for", "database takes no writes since {at} ({problem})")


class CoreProgress(NamedTuple):
    """When core did last what it is there for, in seconds before now and as an instant."""

    unwritten_s: float
    written_at: datetime
    error: str  # what kept the next write from being committed
    late_s: float  # beyond the tick
    evaluated_at: datetime
    expects: bool  # an evaluation was stored since the start, and none computes at this moment


class Heartbeat(NamedTuple):
    """When core said last that it goes round."""

    silent_s: float
    silent_at: datetime


def _describe_silence(pulse: CoreProgress) -> Message:
    at = Timestamp.of(pulse.written_at, "second")
    return _NO_WRITES_FOR(at=at, problem=pulse.error) if pulse.error else _NO_WRITES(at=at)


CHECKS: Final = (
    Check(
        "decide.writes",
        CoreProgress,
        BAD,
        "{text}",
        lambda p: make_state(is_wrong=p.unwritten_s > SILENT_WRITE_S, text=_describe_silence(p)),
    ),
    Check(
        "decide.evaluations",
        CoreProgress,
        BAD,
        "no evaluation was stored since {at}",
        lambda p: make_state(is_wrong=p.expects and p.late_s > LATE_EVALUATION_S, at=p.evaluated_at),
    ),
    Check(
        "decide.core",
        Heartbeat,
        BAD,
        "the core process stands still since {at}",
        lambda beat: make_state(is_wrong=beat.silent_s > SLOW_BEAT_S, at=beat.silent_at),
    ),
)

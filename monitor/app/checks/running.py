"""Checks of the heartbeats in the database and of the state of each site. Any process can run them."""

import math
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from monitor.broker.access import HOW_TO_INSTALL
from monitor.storage.check import BAD, WARN, Check, SubjectState, make_state
from monitor.text.instants import CORE_SILENT, parse_time
from monitor.text.message import NameList, Template

# Report a risk above this. A short queue is always saved faster.
LONG_RISK_S: Final = 2.0
# A queue of more messages than this is reported.
LONG_QUEUE: Final = 1000
# Denied topics that `doctor` lists.
MOST_DENIED_IN_REPORT: Final = 10
# Programs of the service besides modules of `monitor`.
OWN_PROGRAMS: Final = frozenset({"slopeward", "mosquitto"})


class ProcessHeartbeats(NamedTuple):
    """The last heartbeats of all processes.

    Attributes:
        by_process: Time and contents of each heartbeat, by the name of the process.
        is_core_lock_held: Whether a core uses this database now (`monitor.app.core_lock.is_core_lock_held`); None if
            this is unknown.
    """

    by_process: Mapping[str, tuple[datetime, Mapping[str, Any]]]
    now: datetime
    is_core_lock_held: bool | None = None

    @property
    def is_core_alive(self) -> bool:
        """Whether the heartbeat of the core is recent."""
        return "core" in self.by_process and self.now - self.by_process["core"][0] <= CORE_SILENT

    @property
    def core(self) -> Mapping[str, Any]:
        """Contents of the heartbeat of the core; empty if it is silent."""
        return self.by_process["core"][1] if self.is_core_alive else {}

    @property
    def ingest(self) -> Mapping[str, Any]:
        """Status of ingest, from the heartbeat of the core."""
        ingest: Mapping[str, Any] = self.core.get("ingest", {})
        return ingest


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """Stored state of one site.

    Attributes:
        observability: `full`, `degraded`, `blind` or `starting`.
        evaluated_at: Last evaluation; None if the site was never evaluated.
        starting: What a starting site has received and awaits; empty for other sites.
    """

    id: str
    level: int
    level_name: str
    observability: str
    reachable_level: int
    top_level: int
    evaluated_at: datetime | None
    newest_at: datetime | None
    starting: str = ""


class ReachedDatabase(NamedTuple):
    """Result of a connection to the database that was tried just now."""

    problem: str  # why it cannot be read or written; empty if it can


class SiteStatuses(NamedTuple):
    """The sites that are watched."""

    sites: Sequence[SiteStatus]
    now: datetime
    tick_s: float  # longest time between two evaluations
    declared: Collection[str] = ()  # sites that have a file


def find_program(pid: int) -> str | None:
    """Return the command of a process of this service; None if it has ended or belongs to another program."""
    folder = Path(f"/proc/{pid}")
    try:
        arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        state = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return None
    is_own_script = any(Path(argument).name in OWN_PROGRAMS for argument in arguments[:2])
    is_own_module = any(argument.startswith("monitor.") for argument in arguments)
    has_ended = state in {"Z", "X"}
    if has_ended or not (is_own_script or is_own_module):
        return None
    return " ".join(arguments).strip()


def _is_gone(contents: Mapping[str, Any]) -> bool:
    """Return whether the process that wrote a heartbeat has ended. Its number may belong to another program now.

    False if this is unknown, because another machine wrote the heartbeat or the system has no /proc.
    """
    if contents.get("host") != socket.gethostname() or not Path("/proc/self/cmdline").exists():
        return False
    return find_program(int(contents["pid"])) is None


def _find_ended_core(heartbeats: ProcessHeartbeats) -> Iterator[SubjectState]:
    core = heartbeats.core
    has_ended = bool(core) and _is_gone(core)
    # A core that does not hold the lock of this database may run on the database of which this one is a copy.
    if core and (has_ended or heartbeats.is_core_lock_held is not False):
        yield make_state(
            is_wrong=has_ended,
            pid=core.get("pid"),
            at=heartbeats.by_process["core"][0],
            n=heartbeats.ingest.get("messages"),
        )


def _find_unused_database(heartbeats: ProcessHeartbeats) -> Iterator[SubjectState]:
    """Find a database with recent heartbeats that no core uses: a copy, or a service that has just ended.

    While the supervisor of this machine replaces the core, the lock is free for seconds.
    """
    core = heartbeats.core
    if "host" not in core or heartbeats.is_core_lock_held is None:
        return
    supervisor = heartbeats.by_process.get("supervisor", (heartbeats.now, {}))[1]
    is_being_replaced = _is_gone(core) and "pid" in supervisor and not _is_gone(supervisor)
    yield make_state(
        is_wrong=not heartbeats.is_core_lock_held and not is_being_replaced,
        host=str(core["host"]),
        at=heartbeats.by_process["core"][0],
    )


def _find_silent_core(heartbeats: ProcessHeartbeats) -> Iterator[SubjectState]:
    if "core" in heartbeats.by_process:
        yield make_state(is_wrong=not heartbeats.is_core_alive, at=heartbeats.by_process["core"][0])


def _find_degraded(heartbeats: ProcessHeartbeats) -> Iterator[SubjectState]:
    levels = heartbeats.core.get("levels", {})
    for line in heartbeats.core.get("degraded", ()):
        yield make_state(level=levels.get(line, WARN), line=line)


def _find_supervisor(heartbeats: ProcessHeartbeats) -> Iterator[SubjectState]:
    if heartbeats.core and not _is_gone(heartbeats.core) and "supervisor" in heartbeats.by_process:
        supervisor = heartbeats.by_process["supervisor"][1]
        yield make_state(is_wrong=_is_gone(supervisor), pid=supervisor.get("pid"))


def _find_unsaved(heartbeats: ProcessHeartbeats) -> Iterator[SubjectState]:
    """Yield how many seconds of readings a crash of the broker can lose, if its queue is saved rarely."""
    broker = heartbeats.by_process["broker"][1] if "broker" in heartbeats.by_process else {}
    risk_s = broker.get("risk_s")
    if risk_s is not None:
        yield make_state(is_wrong=risk_s > LONG_RISK_S, n=float(math.ceil(risk_s)))


def _list_denied(heartbeats: ProcessHeartbeats) -> Iterator[SubjectState]:
    """Yield messages that the managed broker refused since its start. An external broker does not report them."""
    broker = heartbeats.by_process["broker"][1] if "broker" in heartbeats.by_process else {}
    for denied in islice(broker.get("denied", ()), MOST_DENIED_IN_REPORT):
        yield make_state(n=denied["n"], login=denied["login"], topic=denied["topic"], at=parse_time(denied["at"]))


def _check_each_site(
    is_wrong: Callable[[SiteStatus, SiteStatuses], bool], *, only_evaluated: bool = True
) -> Callable[[SiteStatuses], Iterator[SubjectState]]:
    """Return the function `find` of a check that examines each site.

    Args:
        only_evaluated: Leave out sites that were never evaluated.
    """
    return lambda statuses: (
        make_state(
            is_wrong=is_wrong(site, statuses),
            site=site.id,
            at=site.evaluated_at,
            reached=site.reachable_level,
            top=site.top_level,
        )
        for site in statuses.sites
        if site.evaluated_at is not None or not only_evaluated
    )


def _is_late(site: SiteStatus, statuses: SiteStatuses) -> bool:
    longest = max(timedelta(seconds=10 * statuses.tick_s), CORE_SILENT)
    return site.evaluated_at is not None and statuses.now - site.evaluated_at > longest


_NO_SITE: Final = Template("check.sight.none", "no site is watched; write one with `slopeward sites init NAME`")()
_WAITING: Final = Template("check.sight.waiting", "no site is watched yet; `slopeward run` takes: {names}")
_RUN: Final = Template("check.service.run", "slopeward run (or systemctl start slopeward)")()
_RUN_OR_SEE_LOG: Final = Template(
    "check.service.run_or_log",
    "if the service does not run, start it (slopeward run, or systemctl start slopeward); otherwise see its log",
)()


def _check_any_site(statuses: SiteStatuses) -> SubjectState:
    text = _WAITING(names=NameList(tuple(sorted(statuses.declared)))) if statuses.declared else _NO_SITE
    return make_state(is_wrong=not statuses.sites, text=text)


CHECKS: Final = (
    Check(
        "service.never",
        ProcessHeartbeats,
        WARN,
        "the service has never run on this database; start it with `slopeward run`",
        lambda heartbeats: make_state(is_wrong="core" not in heartbeats.by_process),
        _RUN,
        blinds=True,
    ),
    Check(
        "service.silent",
        ProcessHeartbeats,
        WARN,
        "the service has reported nothing since {at}; it may have stopped",
        _find_silent_core,
        _RUN_OR_SEE_LOG,
        blinds=True,
    ),
    Check(
        "service.unused",
        ProcessHeartbeats,
        BAD,
        "no service runs on this database: the last one ran on {host} until {at}. It has ended, or this database is a "
        "copy",
        _find_unused_database,
        _RUN,
        blinds=True,
    ),
    Check(
        "service.gone",
        ProcessHeartbeats,
        BAD,
        "core, pid {pid}, has ended; its last heartbeat is from {at}",
        _find_ended_core,
        "the supervisor restarts it within a minute; otherwise slopeward run",
        fine="core runs, pid {pid}, {n} messages since start",
    ),
    Check(
        "service.unsupervised",
        ProcessHeartbeats,
        BAD,
        "the supervisor, pid {pid}, has ended: nothing restarts the core",
        _find_supervisor,
        "stop the core and start the service again",
    ),
    Check(
        "service.degraded",
        ProcessHeartbeats,
        WARN,
        "{line}",
        _find_degraded,
        "see /help/how-to/operate on the page",
        degrades=True,
    ),
    Check(
        "broker.durable",
        ProcessHeartbeats,
        WARN,
        "broker not durable: its messages are lost when it restarts; {how}",
        lambda heartbeats: make_state(
            is_wrong="broker" in heartbeats.by_process and not heartbeats.by_process["broker"][1].get("durable", True),
            how=HOW_TO_INSTALL,
        ),
        HOW_TO_INSTALL,
        degrades=True,
    ),
    Check(
        "broker.unsaved",
        ProcessHeartbeats,
        WARN,
        "a crash of the broker can lose the readings of the last {n} s: many readings wait for the service",
        _find_unsaved,
        "find out why the service does not store them (slopeward doctor); until then do not switch off this machine",
        degrades=True,
    ),
    # MQTT 3.1.1 has no answer that refuses a message.
    Check(
        "broker.denied",
        ProcessHeartbeats,
        WARN,
        "the broker refused {n} messages of login {login} on topic {topic}, the last at {at}",
        _list_denied,
        "correct the topic, or give the sender a login for it (slopeward broker add); MQTT 3.1.1 does not report to a "
        "sender that its messages are refused",
    ),
    Check(
        "queue.waiting",
        ProcessHeartbeats,
        WARN,
        "{n} messages wait to be stored",
        lambda heartbeats: make_state(
            is_wrong=heartbeats.ingest.get("queued", 0) > LONG_QUEUE, n=heartbeats.ingest.get("queued", 0)
        ),
        "the database is slow: check its disk",
    ),
    Check(
        "queue.dropped",
        ProcessHeartbeats,
        WARN,
        "{n} messages of QoS 0 were dropped",
        lambda heartbeats: make_state(
            is_wrong=heartbeats.ingest.get("dropped_qos0", 0) > 0, n=heartbeats.ingest.get("dropped_qos0", 0)
        ),
        "publish with QoS 1",
    ),
    Check(
        "database.now",
        ReachedDatabase,
        BAD,
        "the database, tried now: {problem}",
        lambda reached: make_state(is_wrong=bool(reached.problem), problem=reached.problem),
        blinds=True,
    ),
    Check(
        "sight.none",
        SiteStatuses,
        BAD,
        "{text}",
        _check_any_site,
        blinds=True,
    ),
    Check(
        "sight.begun",
        SiteStatuses,
        BAD,
        "{site}: not evaluated yet",
        _check_each_site(lambda site, _: site.evaluated_at is None and not site.starting, only_evaluated=False),
        blinds=True,
    ),
    Check(
        "sight.starting",
        SiteStatuses,
        WARN,
        "{site} is starting: {text}",
        lambda statuses: [make_state(site=site.id, text=site.starting) for site in statuses.sites if site.starting],
        degrades=True,
    ),
    Check(
        "sight.evaluated",
        SiteStatuses,
        BAD,
        "{site}: not evaluated since {at}",
        _check_each_site(_is_late),
        blinds=True,
    ),
    Check(
        "sight.blind",
        SiteStatuses,
        BAD,
        "{site}: cannot see the slope; no series that can vote has valid data, or none of those that raised the level",
        _check_each_site(lambda site, _: site.observability == "blind"),
        blinds=True,
    ),
    Check(
        "sight.part",
        SiteStatuses,
        WARN,
        "{site}: some series that can raise a level have missing or doubtful readings; "
        'the line "sees degraded" of `slopeward status` names them',
        _check_each_site(lambda site, _: site.observability == "degraded"),
        degrades=True,
    ),
    Check(
        "sight.reach",
        SiteStatuses,
        WARN,
        "{site}: with the present data, movement at some places raises only level {reached} of {top}",
        _check_each_site(lambda site, _: site.reachable_level < site.top_level and not site.starting),
        degrades=True,
    ),
)

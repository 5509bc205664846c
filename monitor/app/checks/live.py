"""Checks of the running service. `self_monitoring.facts` collects their facts in the core process."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from monitor.alerts.queries.alerts import UNDELIVERED
from monitor.app.outcomes import Outcome
from monitor.broker.broker_log import ContestedClient, OversizedClient
from monitor.delivery.dispatcher import ALL_SITES
from monitor.ingest.payload_limits import PAYLOAD_LIMIT
from monitor.settings.service import BrokerSection
from monitor.sites.records import Site
from monitor.storage.actor import SERVICE_SITE
from monitor.storage.check import BAD, WARN, Check, SubjectState, make_state
from monitor.storage.readers import ReaderWatch
from monitor.storage.slow_writes import LONGEST_WRITE_S, UNKNOWN, SlowWrite, describe_write
from monitor.text.message import Figure, Template

# The broker or the database may be unreachable for a shorter time without an alarm.
SHORTEST_OUTAGE_S: Final = 60.0
# An alarm about a count that grew lasts until the count has stayed the same for this long.
GROWN_S: Final = 600.0
# The alarm about foreign messages ends after an hour without one.
FOREIGN_S: Final = 3600.0
WRITER_FAILURES_IN_A_ROW: Final = 3
# A machine that has just started needs time to find its time reference.
UNSYNCHRONISED_S: Final = 1800.0
ESCALATION_FAILS_S: Final = 15.0
FAILED_RUNS_IN_A_ROW: Final = 3
PROCESS_ENDS_IN_A_ROW: Final = 3
HOW_TO_CLOSE: Final = Template(
    "broker.how_to_close",
    "give each instrument a login (slopeward broker add SITE/STATION), then set anonymous = false in [broker]",
)()
HasGrown = Callable[[str, int], bool]  # name of a count and the count; whether it has grown since the last check


class IntakeStatus(NamedTuple):
    """What `Ingest.status` returns about broker, database and messages."""

    status: Mapping[str, Any]
    has_grown: HasGrown


class PublisherStatus(NamedTuple):
    """What `StatePublisher.status` returns."""

    status: Mapping[str, Any]
    has_grown: HasGrown


class ReaderStatus(NamedTuple):
    """The sessions of readers that `ReaderWatch` ended, and those that it may not end."""

    watch: ReaderWatch
    has_grown: HasGrown


class WriteTimes(NamedTuple):
    """Write transactions that held the write lock of the database too long, by name."""

    slow: Mapping[str, SlowWrite]
    has_grown: HasGrown


class PartProblems(NamedTuple):
    """Problems that parts of the core report in one line each; empty if there is none.

    Attributes:
        reserve: `DiskReserve.hold_reason`.
        compute: `compute.find_start_problem`.
        synchronised: Whether the clock of this machine follows a reference; None if this is unknown.
    """

    reserve: str = ""
    compute: str = ""
    synchronised: bool | None = None


class EvaluationTimes(NamedTuple):
    """Durations of evaluations.

    Attributes:
        sites: All sites.
        slow: By site, the seconds that an evaluation takes, if that is too slow.
        measured: Sites whose last evaluation was measured. An alarm of any other site stays as it is.
    """

    sites: Iterable[str]
    slow: Mapping[str, float]
    measured: Collection[str]


class LoadedSites(NamedTuple):
    """The sites that the core watches, and the problems of their files when it loaded them.

    Attributes:
        sites: Of each site the version in force, or the last good one.
        folder_problem: Why the folder of the site files cannot be read; empty if it was read.
        unusable: By name of a file, why it cannot be used.
        gone: Sites whose file no longer exists.
        unwatched: By site, why its last good version cannot be used either.
        unread: By site, that its version in force cannot be read.
        unapproved: By site, that its file is not in force because it has no approval.
    """

    sites: Sequence[Site]
    folder_problem: str
    unusable: Mapping[str, str]
    gone: Collection[str]
    unwatched: Mapping[str, str]
    unread: Mapping[str, str]
    unapproved: Mapping[str, str]


class EvaluationOutcomes(NamedTuple):
    """Sites, and the outcomes of those that were evaluated since the core started."""

    names: Iterable[str]
    outcomes: Mapping[str, Outcome]


class JobOutcomes(NamedTuple):
    """Jobs of the schedule, and the outcomes of those that ran since the core started."""

    names: Iterable[str]
    outcomes: Mapping[str, Outcome]


class ProcessOutcomes(NamedTuple):
    """Processes of the supervisor, and the outcomes of those that have ended, or have run long enough to be healthy."""

    names: Iterable[str]
    outcomes: Mapping[str, Outcome]


class EscalationStatus(NamedTuple):
    """Problems of delivery.

    Attributes:
        sites: All sites.
        failing: Sites whose alerts cannot be escalated; `ALL_SITES` stands for all.
        channels: All channels.
        hanging: Channels whose workers hang.
        undelivered: By channel, why it accepts no messages.
    """

    sites: Collection[str]
    failing: Collection[str]
    channels: Iterable[str] = ()
    hanging: Collection[str] = ()
    undelivered: Mapping[str, str] = MappingProxyType({})


class ThreadStatus(NamedTuple):
    """Threads of the core: those that run, and those that ended, with the reason."""

    running: Collection[str]
    ended: Mapping[str, str]


class CheckThreads(NamedTuple):
    """The threads of self-monitoring that run checks which can hang.

    Attributes:
        machine_hangs_since: Start of the check of disks and backups that hangs; None if none hangs.
        plugins_hang_since: Start of the check of plugins that hangs; None if none hangs.
    """

    machine_hangs_since: datetime | None
    plugins_hang_since: datetime | None


class DatabaseFileStatus(NamedTuple):
    """Whether the SQLite file was removed or replaced while the core uses it."""

    path: str
    is_lost: bool


class StationClocks(NamedTuple):
    """Whether the clocks of many stations disagree with ours.

    Attributes:
        disagreeing: Description if our clock is not corrected; empty if they agree.
        behind: Description if decisions use the time of the stations; empty otherwise.
    """

    disagreeing: str = ""
    behind: str = ""


class BrokerClients(NamedTuple):
    """Clients of the managed broker whose messages may be lost."""

    contested: Collection[ContestedClient] = ()
    oversized: Collection[OversizedClient] = ()


def _find_refused(intake: IntakeStatus) -> Iterator[SubjectState]:
    for name in intake.status["connected"]:
        reason = intake.status["refused"].get(name, "")
        yield make_state(name, is_wrong=bool(reason), name=name, refused=reason)


def _find_disconnected(intake: IntakeStatus) -> Iterator[SubjectState]:
    for name, is_listening in intake.status["connected"].items():
        is_disconnected = not (is_listening or intake.status["refused"].get(name, ""))
        problem = intake.status["problems"].get(name, "")
        yield make_state(name, is_wrong=is_disconnected, name=name, problem=problem)


def _check_count(name: str) -> Callable[[IntakeStatus], SubjectState]:
    return lambda intake: make_state(is_wrong=intake.has_grown(name, intake.status[name]), n=intake.status[name])


def _check_slow_writes(times: WriteTimes) -> SubjectState:
    name, longest = max(times.slow.items(), key=lambda item: item[1].longest_s, default=(UNKNOWN, SlowWrite(0, 0.0)))
    return make_state(
        is_wrong=times.has_grown("slow_writes", sum(write.times for write in times.slow.values())),
        task=describe_write(name),
        held=Figure(longest.longest_s, ".1f", "s"),
        n=Figure(longest.times, "d"),
        most=Figure(LONGEST_WRITE_S, "g", "s"),
    )


def _check_database_busy(intake: IntakeStatus) -> SubjectState:
    since = intake.status["database_busy_since"]
    return make_state(is_wrong=since is not None, at=since)


def _check_catching_up(intake: IntakeStatus) -> SubjectState:
    is_connected = all(intake.status["connected"].values())
    return make_state(is_wrong=is_connected and not intake.status.get("drained", True))


def _check_foreign(publisher: PublisherStatus) -> SubjectState:
    has_grown = publisher.has_grown("foreign", publisher.status["foreign"])
    return make_state(is_wrong=has_grown, last=publisher.status["foreign_last"])


def _find_ended_threads(threads: ThreadStatus) -> Iterator[SubjectState]:
    for name in {*threads.running, *threads.ended}:
        yield make_state(name, is_wrong=name in threads.ended, name=name, problem=threads.ended.get(name, ""))


def _find_undelivered(status: EscalationStatus) -> Iterator[SubjectState]:
    for channel in status.channels:
        problem = status.undelivered.get(channel, "")
        yield make_state(channel, is_wrong=channel in status.undelivered, channel=channel, problem=problem)


def _find_hanging(status: EscalationStatus) -> Iterator[SubjectState]:
    for channel in status.channels:
        yield make_state(channel, is_wrong=channel in status.hanging, channel=channel)


def _find_unescalated(status: EscalationStatus) -> Iterator[SubjectState]:
    for site in (*status.sites, SERVICE_SITE, ALL_SITES):
        yield make_state(site, is_wrong=site in status.failing, site=site)


def _find_slow_sites(times: EvaluationTimes) -> Iterator[SubjectState]:
    for site in times.sites:
        duration = Figure(times.slow.get(site, 0.0), ".0f")
        is_unknown = site not in times.slow and site not in times.measured
        yield make_state(site, is_wrong=None if is_unknown else site in times.slow, site=site, s=duration)


def _find_file_problems(
    get_problems: Callable[[LoadedSites], Mapping[str, str]],
) -> Callable[[LoadedSites], Iterator[SubjectState]]:
    def find(loaded: LoadedSites) -> Iterator[SubjectState]:
        # No file was examined, so earlier alarms neither end nor begin.
        if not loaded.folder_problem:
            yield from _list_problems(get_problems(loaded))

    return find


def _list_problems(problems: Mapping[str, str]) -> Iterator[SubjectState]:
    # So that the last alarm ends when there is no problem any more.
    yield make_state(is_wrong=False)
    for name, problem in problems.items():
        yield make_state(name, name=name, problem=problem)


def _find_failing(
    work: EvaluationOutcomes | JobOutcomes | ProcessOutcomes, failures_before_alarm: int
) -> Iterator[SubjectState]:
    # So that the alarm of the last piece of work ends when there is no work any more.
    yield make_state(is_wrong=False)
    for name in work.names:
        outcome = work.outcomes.get(name)
        if outcome is None:
            yield make_state(name, is_wrong=None)
        else:
            is_wrong = outcome.is_wrong(failures_before_alarm)
            n = Figure(outcome.failures, "d")
            yield make_state(name, is_wrong=is_wrong, name=name, problem=outcome.problem, n=n)


def _find_contested(clients: BrokerClients) -> Iterator[SubjectState]:
    # So that the alarm of a client ends when no client is contested any more.
    yield make_state(is_wrong=False)
    for contested in clients.contested:
        yield make_state(contested.client, client=contested.client, n=contested.times)


def _find_oversized(clients: BrokerClients) -> Iterator[SubjectState]:
    yield make_state(is_wrong=False)
    most = Figure(PAYLOAD_LIMIT, "d")
    for oversized in clients.oversized:
        yield make_state(oversized.client, client=oversized.client, n=Figure(oversized.times, "d"), most=most)


CHECKS: Final = (
    Check(
        "database.slow_write",
        WriteTimes,
        WARN,
        "{task} held the database for {held}, and readings waited (longer than {most}: {n} times)",
        _check_slow_writes,
        todo='report it with a log of log.level = "DEBUG", which names the function; a faster disk for the database '
        "helps until this is corrected",
        alarm=1,
        hold_s=GROWN_S,
    ),
    Check(
        "mqtt.*.refused",
        IntakeStatus,
        BAD,
        "the broker refuses the {name} session of the service, so this session receives no messages: {refused}",
        _find_refused,
        alarm=2,
        degrades=True,
    ),
    Check(
        "mqtt.*.away",
        IntakeStatus,
        BAD,
        "no connection to the broker ({name} session), so no messages are received: {problem}",
        _find_disconnected,
        alarm=2,
        after_s=SHORTEST_OUTAGE_S,
        degrades=True,
    ),
    Check(
        "ingest.database",
        IntakeStatus,
        BAD,
        "the database has accepted no readings since {at}; messages wait with the broker",
        _check_database_busy,
        alarm=2,
        after_s=SHORTEST_OUTAGE_S,
        degrades=True,
    ),
    Check(
        "ingest.unstored",
        IntakeStatus,
        BAD,
        "{n} messages since start could not be stored and stay with the broker; see the log",
        _check_count("lost"),
        alarm=2,
        hold_s=GROWN_S,
        degrades=True,
    ),
    Check(
        "ingest.quarantine",
        IntakeStatus,
        WARN,
        "{n} unreadable messages since start were counted but not stored, because a sender has used its share of the "
        "quarantine; see the view quarantine_sources",
        _check_count("unkept"),
        alarm=1,
        hold_s=GROWN_S,
    ),
    Check(
        "ingest.dropped",
        IntakeStatus,
        BAD,
        "{n} messages of QoS 0 since start were dropped; publish with QoS 1",
        _check_count("dropped_qos0"),
        alarm=2,
        hold_s=GROWN_S,
        degrades=True,
    ),
    Check(
        "ingest.writer_failures",
        IntakeStatus,
        BAD,
        "the writer of observations fails repeatedly; messages wait with the broker; see the log",
        lambda intake: make_state(is_wrong=intake.status["writer_failures"] >= WRITER_FAILURES_IN_A_ROW),
        alarm=2,
        degrades=True,
    ),
    Check(
        "ingest.catching_up",
        IntakeStatus,
        WARN,
        "catching up: readings that waited are being read; silence is judged when they are stored",
        _check_catching_up,
        degrades=True,
    ),
    # Without logins, every user of this machine can send readings of any instrument.
    Check(
        "broker.anonymous",
        BrokerSection,
        WARN,
        "the broker accepts readings from every user of this machine; {how}",
        lambda broker: make_state(is_wrong=broker.mode == "managed" and broker.anonymous, how=HOW_TO_CLOSE),
        alarm=1,
    ),
    # Reported once, and again after an hour without foreign messages.
    Check(
        "mqtt.foreign",
        PublisherStatus,
        BAD,
        "another client publishes on topics of the service, last on {last}: levels and alerts received by MQTT may be "
        "forged unless the receiver checks their signature; find out who may publish there (slopeward doctor)",
        _check_foreign,
        alarm=2,
        hold_s=FOREIGN_S,
    ),
    Check(
        "mqtt.unsigned",
        PublisherStatus,
        BAD,
        "the keys of the signatures cannot be read, so sirens may refuse what is published: {why}",
        lambda publisher: make_state(is_wrong=bool(publisher.status["unsigned"]), why=publisher.status["unsigned"]),
        alarm=2,
    ),
    # One alarm for all jobs of all sites.
    Check(
        "compute.away",
        PartProblems,
        WARN,
        "no forecast, training or scene is computed; rules and alarms go on (see slopeward doctor): {trouble}",
        lambda parts: make_state(is_wrong=bool(parts.compute), trouble=parts.compute),
        alarm=1,
        after_s=SHORTEST_OUTAGE_S,
        degrades=True,
    ),
    Check(
        "disk.reserve",
        PartProblems,
        BAD,
        "{trouble}",
        lambda parts: make_state(is_wrong=bool(parts.reserve), trouble=parts.reserve),
        alarm=2,
    ),
    Check(
        "clock.unsynchronised",
        PartProblems,
        WARN,
        "the clock of this machine follows no reference; run a time service (systemd-timesyncd, chrony)",
        lambda parts: make_state(is_wrong=parts.synchronised is False),
        alarm=1,
        after_s=UNSYNCHRONISED_S,
    ),
    Check(
        "database.readers",
        ReaderStatus,
        WARN,
        "{n} sessions of readers of the SQL views were ended since start, last: {last}; if this continues, close that "
        "login (ALTER ROLE ... NOLOGIN)",
        lambda readers: make_state(
            is_wrong=readers.has_grown("readers", readers.watch.ended), n=readers.watch.ended, last=readers.watch.last
        ),
        alarm=1,
        hold_s=GROWN_S,
    ),
    Check(
        "database.readers.unended",
        ReaderStatus,
        BAD,
        "a session that reads the SQL views exceeds a limit, but the service may not end it: {refused}; let an "
        "administrator of the server run: GRANT pg_signal_backend TO the service's role",
        lambda readers: make_state(is_wrong=bool(readers.watch.refused), refused=readers.watch.refused),
        alarm=2,
    ),
    # Reported also if the thread was replaced.
    Check(
        "thread.*",
        ThreadStatus,
        BAD,
        "a part of the service has ended, and its work is not done ({name}: {problem})",
        _find_ended_threads,
        "restart the service, and send us its log",
        alarm=2,
        hold_s=GROWN_S,
        degrades=True,
    ),
    Check(
        "monitoring.machine",
        CheckThreads,
        WARN,
        "the check of disks and backups has not ended since {at}; a disk or network drive probably does not answer. "
        "Full disks and missing backups are not reported until it ends",
        lambda threads: make_state(is_wrong=threads.machine_hangs_since is not None, at=threads.machine_hangs_since),
        "check the disks and network drives of the service, such as that of backup.folder",
        alarm=1,
    ),
    Check(
        "monitoring.plugins",
        CheckThreads,
        BAD,
        "the check of plugins has not ended since {at}; a plugin, or a device that it uses, probably does not answer. "
        "Faults of sirens, modems and other devices are not reported until it ends",
        lambda threads: make_state(is_wrong=threads.plugins_hang_since is not None, at=threads.plugins_hang_since),
        "check modems and other devices of this machine, then restart the service",
        alarm=2,
        degrades=True,
    ),
    Check(
        "undelivered.*",
        EscalationStatus,
        BAD,
        "channel {channel} cannot deliver messages: {problem}",
        _find_undelivered,
        "correct it, then: slopeward notify channels test",
        key=f"{UNDELIVERED.removeprefix('health:')}*",
        alarm=2,
        degrades=True,
    ),
    # So many workers of the channel hang that no further one is started.
    Check(
        "hanging.*",
        EscalationStatus,
        BAD,
        "channel {channel} hangs: its messages wait until the service is restarted; restart it now",
        _find_hanging,
        alarm=2,
    ),
    Check(
        "escalation.*",
        EscalationStatus,
        BAD,
        "escalation of {site} fails, see the log; call the people in charge by other means",
        _find_unescalated,
        alarm=2,
        after_s=ESCALATION_FAILS_S,
        hold_s=60.0,
    ),
    Check(
        "slow.*",
        EvaluationTimes,
        BAD,
        "evaluation of {site} takes {s} s; shorten windows or thin its series",
        _find_slow_sites,
        alarm=2,
        degrades=True,
    ),
    # The core runs the checks of `LoadedSites` once, when it has loaded the site files.
    Check(
        "config.folder",
        LoadedSites,
        BAD,
        "no site file can be read: {problem}",
        lambda loaded: make_state(is_wrong=bool(loaded.folder_problem), problem=loaded.folder_problem),
        alarm=2,
    ),
    Check(
        "config.*.unusable",
        LoadedSites,
        BAD,
        "site file cannot be used: {problem}",
        _find_file_problems(lambda loaded: loaded.unusable),
        alarm=2,
    ),
    Check(
        "config.*.gone",
        LoadedSites,
        BAD,
        "the file of site {name} does not exist any more; the last version stays in force (to end the site: `slopeward "
        "sites retire {name}`)",
        _find_file_problems(lambda loaded: dict.fromkeys(loaded.gone, "")),
        alarm=2,
    ),
    Check(
        "config.*.unwatched",
        LoadedSites,
        BAD,
        "site {name} is NOT watched: neither its file nor the last good one can be used: {problem}",
        lambda loaded: _list_problems(loaded.unwatched),
        alarm=2,
    ),
    Check(
        "config.*.unread",
        LoadedSites,
        BAD,
        "{problem}",
        _find_file_problems(lambda loaded: loaded.unread),
        alarm=2,
    ),
    Check(
        "config.*.unapproved",
        LoadedSites,
        BAD,
        "{problem}",
        _find_file_problems(lambda loaded: loaded.unapproved),
        alarm=2,
    ),
    Check(
        "not_evaluated.*",
        EvaluationOutcomes,
        BAD,
        "site {name} cannot be evaluated and its level does not change; watch the slope by other means: {problem}",
        partial(_find_failing, failures_before_alarm=1),
        alarm=2,
    ),
    # A job that found no worker does not count as failed. `compute.away` is the alarm for all of them.
    Check(
        "job.*",
        JobOutcomes,
        WARN,
        "job {name} failed {n} times in a row: {problem}",
        partial(_find_failing, failures_before_alarm=FAILED_RUNS_IN_A_ROW),
        alarm=1,
    ),
    Check(
        "database.lost",
        DatabaseFileStatus,
        BAD,
        "the database file {path} was removed or replaced while the service runs; readings and alerts since then are "
        "lost when it ends: stop the service, restore the file or a backup, start the service",
        lambda file: make_state(is_wrong=file.is_lost, path=file.path),
        alarm=2,
        degrades=True,
    ),
    Check(
        "clock.stations",
        StationClocks,
        BAD,
        "{text}",
        lambda clocks: make_state(is_wrong=bool(clocks.disagreeing), text=clocks.disagreeing),
        alarm=2,
    ),
    Check(
        "clock.behind",
        StationClocks,
        BAD,
        "{text}",
        lambda clocks: make_state(is_wrong=bool(clocks.behind), text=clocks.behind),
        alarm=2,
    ),
    # The supervisor runs the following three checks, because it runs the processes and the managed broker.
    Check(
        "process.*",
        ProcessOutcomes,
        BAD,
        "{problem}, {n} times in a row. The supervisor keeps restarting it; the log of the service contains the cause",
        partial(_find_failing, failures_before_alarm=PROCESS_ENDS_IN_A_ROW),
        alarm=2,
    ),
    Check(
        "broker.client.*",
        BrokerClients,
        BAD,
        "verify now: several instruments seem to connect to the broker as '{client}': it closed the older connection "
        "{n} times within 10 minutes. Messages of both can be lost; give each instrument a login of its own (slopeward "
        "broker add), and a client id of its own",
        _find_contested,
        alarm=2,
    ),
    Check(
        "broker.too_large.*",
        BrokerClients,
        BAD,
        "verify now: the broker dropped {n} messages of '{client}' within an hour, because they have more than {most} "
        "bytes. Their readings are lost. Let it send its readings in several messages",
        _find_oversized,
        alarm=2,
    ),
)

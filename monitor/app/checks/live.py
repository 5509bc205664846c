"""What of the running service is wrong at the moment, as its parts see it: alarms of health."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from monitor.alerts.queries.alerts import UNDELIVERED
from monitor.delivery.dispatcher import ALL_SITES
from monitor.settings.service import BrokerSection
from monitor.storage.check import BAD, WARN, Check, SubjectState, make_state
from monitor.storage.readers import ReaderWatch
from monitor.storage.slow_writes import LONGEST_WRITE_S, SlowWrite
from monitor.text.message import Figure, Template

SHORTEST_OUTAGE_S: Final = 60.0  # a broker or database that is away for less is weather
GROWN_S: Final = 600.0  # a count that grew is told of until it stood still for that long
FOREIGN_S: Final = 3600.0
STUMBLES: Final = 3  # in a row
UNSYNCHRONISED_S: Final = 1800.0  # a machine that has just started is given the time to find its reference
ESCALATION_FAILS_S: Final = 15.0
STATUS_SITE: Final = "status"
HOW_TO_CLOSE: Final = Template(
    "broker.how_to_close",
    "give each instrument a login (slopeward broker add SITE/STATION), then set anonymous = false in [broker]",
)()
Grew = Callable[[str, int], bool]  # whether a count grew since the last look


class IntakeStatus(NamedTuple):
    """What `Ingest.status` says of broker, database and messages."""

    status: Mapping[str, Any]
    grew: Grew


class PublisherStatus(NamedTuple):
    """What `StatePublisher.status` says."""

    status: Mapping[str, Any]
    grew: Grew


class ReaderStatus(NamedTuple):
    """What `ReaderWatch` saw: sessions that it ended, and those that it may not end."""

    watch: ReaderWatch
    grew: Grew


class WriteTimes(NamedTuple):
    """Write transactions that held the write lock of the database too long, by name."""

    slow: Mapping[str, SlowWrite]
    grew: Grew


class PartTroubles(NamedTuple):
    """What parts say of themselves in one line each, empty where all is well."""

    reserve: str = ""  # `DiskReserve.trouble`
    compute: str = ""  # `compute.find_trouble`
    synchronised: bool | None = None  # whether the clock of this machine follows a reference


class EvaluationTimes(NamedTuple):
    """How long the evaluation of a site takes, in seconds, where that is too long."""

    sites: Iterable[str]
    slow: Mapping[str, float]


class EscalationStatus(NamedTuple):
    """Sites whose alerts cannot be escalated (`ALL_SITES` stands for all), and channels whose workers hang."""

    sites: Collection[str]
    failing: Collection[str]
    channels: Iterable[str] = ()
    hanging: Collection[str] = ()
    undelivered: Mapping[str, str] = MappingProxyType({})  # channel -> why it takes no messages


class ThreadStatus(NamedTuple):
    """Threads of core that run, and those that ended since the last look or are gone still, with the reason."""

    alive: Collection[str]
    ended: Mapping[str, str]


def _refused(seen: IntakeStatus) -> Iterator[SubjectState]:
    for name in seen.status["connected"]:
        refused = seen.status["refused"].get(name, "")
        yield make_state(name, is_wrong=bool(refused), name=name, refused=refused)


def _away(seen: IntakeStatus) -> Iterator[SubjectState]:
    for name, is_listening in seen.status["connected"].items():
        is_away = not (is_listening or seen.status["refused"].get(name, ""))
        yield make_state(name, is_wrong=is_away, name=name, problem=seen.status["problems"].get(name, ""))


def _count(name: str) -> Callable[[IntakeStatus], SubjectState]:
    return lambda seen: make_state(is_wrong=seen.grew(name, seen.status[name]), n=seen.status[name])


def _slow_writes(seen: WriteTimes) -> SubjectState:
    longest = max(seen.slow.items(), key=lambda item: item[1].longest_s, default=("", SlowWrite(0, 0.0)))
    return make_state(
        is_wrong=seen.grew("slow_writes", sum(one.times for one in seen.slow.values())),
        name=longest[0],
        held=Figure(longest[1].longest_s, ".1f", "s"),
        n=Figure(longest[1].times, "d"),
        most=Figure(LONGEST_WRITE_S, "g", "s"),
    )


CHECKS: Final = (
    Check(
        "database.slow_write",
        WriteTimes,
        WARN,
        "{name} held the write lock of the database for {held} ({n} times longer than {most}): readings wait meanwhile",
        _slow_writes,
        todo="report it with the log; a faster disk for the database helps until it is mended",
        alarm=1,
        hold_s=GROWN_S,
    ),
    Check(
        "mqtt.*.refused",
        IntakeStatus,
        BAD,
        "the broker refuses the {name} session of the service, no messages come by it: {refused}",
        _refused,
        alarm=2,
        degrades=True,
    ),
    Check(
        "mqtt.*.away",
        IntakeStatus,
        BAD,
        "no connection to the broker ({name} session), no messages come: {problem}",
        _away,
        alarm=2,
        after_s=SHORTEST_OUTAGE_S,
        degrades=True,
    ),
    Check(
        "ingest.database",
        IntakeStatus,
        BAD,
        "the database takes no observations since {at}; messages wait with the broker",
        lambda s: make_state(is_wrong=s.status["database_busy_since"] is not None, at=s.status["database_busy_since"]),
        alarm=2,
        after_s=SHORTEST_OUTAGE_S,
        degrades=True,
    ),
    Check(
        "ingest.lost",
        IntakeStatus,
        BAD,
        "{n} messages since start could be written nowhere and stay with the broker; see the log",
        _count("lost"),
        alarm=2,
        hold_s=GROWN_S,
        degrades=True,
    ),
    Check(
        "ingest.quarantine",
        IntakeStatus,
        WARN,
        "{n} unreadable messages since start were counted and not kept: a sender used up its share of the quarantine; "
        "see the view quarantine_sources",
        _count("unkept"),
        alarm=1,
        hold_s=GROWN_S,
    ),
    Check(
        "ingest.dropped",
        IntakeStatus,
        BAD,
        "{n} messages of QoS 0 since start were dropped; publish with QoS 1",
        _count("dropped_qos0"),
        alarm=2,
        hold_s=GROWN_S,
        degrades=True,
    ),
    Check(
        "ingest.stumbles",
        IntakeStatus,
        BAD,
        "the writer of observations fails again and again; messages wait with the broker; see the log",
        lambda s: make_state(is_wrong=s.status["stumbles"] >= STUMBLES),
        alarm=2,
        degrades=True,
    ),
    Check(
        "ingest.catching_up",
        IntakeStatus,
        WARN,
        "catching up: readings that waited are being read; silence is judged when they are in",
        lambda s: make_state(is_wrong=not s.status.get("drained", True) and all(s.status["connected"].values())),
        degrades=True,
    ),
    Check(  # a managed broker that asks nobody for a login: anybody of this machine can speak for any instrument
        "broker.anonymous",
        BrokerSection,
        WARN,
        "the broker takes readings from anybody of this machine; {how}",
        lambda b: make_state(is_wrong=b.mode == "managed" and b.anonymous, how=HOW_TO_CLOSE),
        alarm=1,
    ),
    Check(  # a foreign message is told once, and again after a quiet hour
        "mqtt.foreign",
        PublisherStatus,
        BAD,
        "somebody else publishes as if it were the service, last on {last}: levels and alerts received by MQTT may be "
        "forged where nobody looks at their signature; find who may write there (slopeward doctor)",
        lambda s: make_state(is_wrong=s.grew("foreign", s.status["foreign"]), last=s.status["foreign_last"]),
        alarm=2,
        hold_s=FOREIGN_S,
    ),
    Check(
        "mqtt.unsigned",
        PublisherStatus,
        BAD,
        "the keys of the signatures cannot be read, sirens may refuse what is published: {why}",
        lambda s: make_state(is_wrong=bool(s.status["unsigned"]), why=s.status["unsigned"]),
        alarm=2,
    ),
    Check(  # one alarm, however many jobs of however many sites wait for it
        "compute.away",
        PartTroubles,
        WARN,
        "no forecast, training or scene is computed, rules and alarms go on (see slopeward doctor): {trouble}",
        lambda s: make_state(is_wrong=bool(s.compute), trouble=s.compute),
        alarm=1,
        after_s=SHORTEST_OUTAGE_S,
        degrades=True,
    ),
    Check(
        "disk.reserve",
        PartTroubles,
        BAD,
        "{trouble}",
        lambda s: make_state(is_wrong=bool(s.reserve), trouble=s.reserve),
        alarm=2,
    ),
    Check(
        "clock.unsynchronised",
        PartTroubles,
        WARN,
        "the clock of this machine follows no reference; run a time service (systemd-timesyncd, chrony)",
        lambda s: make_state(is_wrong=s.synchronised is False),
        alarm=1,
        after_s=UNSYNCHRONISED_S,
    ),
    Check(
        "database.readers",
        ReaderStatus,
        WARN,
        "{n} sessions of readers of the SQL views were ended since start, last: {last}; if it goes on, close that "
        "login (ALTER ROLE ... NOLOGIN)",
        lambda r: make_state(is_wrong=r.grew("readers", r.watch.ended), n=r.watch.ended, last=r.watch.last),
        alarm=1,
        hold_s=GROWN_S,
    ),
    Check(
        "database.readers.unended",
        ReaderStatus,
        BAD,
        "a reader of the SQL views holds too much and the service may not end it: {refused}; let an administrator of "
        "the server run: GRANT pg_signal_backend TO the service's role",
        lambda r: make_state(is_wrong=bool(r.watch.refused), refused=r.watch.refused),
        alarm=2,
    ),
    Check(  # one that was started anew is told all the same
        "thread.*",
        ThreadStatus,
        BAD,
        "a part of the service has ended, what it did is not done ({name}: {problem})",
        lambda t: (
            make_state(x, is_wrong=x in t.ended, name=x, problem=t.ended.get(x, "")) for x in {*t.alive, *t.ended}
        ),
        "start the service again, and send us its log",
        alarm=2,
        hold_s=GROWN_S,
        degrades=True,
    ),
    Check(
        "undelivered.*",
        EscalationStatus,
        BAD,
        "channel {channel} takes no messages: {problem}",
        lambda s: (
            make_state(one, is_wrong=one in s.undelivered, channel=one, problem=s.undelivered.get(one, ""))
            for one in s.channels
        ),
        "mend it, then: slopeward notify channels test",
        key=f"{UNDELIVERED.removeprefix('health:')}*",
        alarm=2,
        degrades=True,
    ),
    Check(  # so many workers of a channel hang that no new one takes their place
        "hanging.*",
        EscalationStatus,
        BAD,
        "channel {channel} hangs: its messages wait until the service is started again; start it again now",
        lambda s: (make_state(one, is_wrong=one in s.hanging, channel=one) for one in s.channels),
        alarm=2,
    ),
    Check(
        "escalation.*",
        EscalationStatus,
        BAD,
        "escalation of {site} fails, see the log; call who must know by other means",
        lambda s: (make_state(x, is_wrong=x in s.failing, site=x) for x in (*s.sites, STATUS_SITE, ALL_SITES)),
        alarm=2,
        after_s=ESCALATION_FAILS_S,
        hold_s=60.0,
    ),
    Check(
        "slow.*",
        EvaluationTimes,
        BAD,
        "evaluation of {site} takes {s} s; shorten windows or thin its series",
        lambda e: (make_state(x, is_wrong=x in e.slow, site=x, s=Figure(e.slow.get(x, 0.0), ".0f")) for x in e.sites),
        alarm=2,
        degrades=True,
    ),
)

"""What of the service itself is wrong at the moment, so that it becomes an alarm and not only a count."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from monitor.broker.logins import HOW_TO_CLOSE, LoginBook
from monitor.config.service import BrokerSection
from monitor.config.sources import FOLDER_KIND, SourceSection
from monitor.domain.duty.rota import Roster, find_gap, find_unread
from monitor.domain.instants import spell
from monitor.domain.site import Team
from monitor.notify.dispatcher import ALL_SITES
from monitor.service.alarms import STATUS_SITE, ServiceAlarms
from monitor.store.alerting.alerts import FAILING
from monitor.store.delivery.channel_tests import Tested
from monitor.store.readings.sources import PollState
from monitor.store.service_checks import BAD, Check
from monitor.store.upkeep.readers import ReaderWatch

AWAY_S: Final = 60.0  # a broker or database that is away for less is weather
GROWN_S: Final = 600.0  # a count that grew is told of until it stood still for that long
FOREIGN_S: Final = 3600.0
STUMBLES: Final = 3  # in a row
FOUND_BEFORE: Final = "what was found before the service was started"
# by the first part of a check's name; figures and remedy stand in the view `service_checks` and in `slopeward doctor`
_CHECK_REASONS: Final = {
    "backup": "the newest copy of the database is too old, or none succeeded; see slopeward doctor",
    "broker": "the broker would lose readings in an outage, or has dropped some; see slopeward doctor",
    "database": "the database is slow, or its log has grown too large; see slopeward doctor",
}
_DISK_REASON: Final = "a disk is nearly full, or a folder cannot be written; see slopeward doctor"
GAP_AHEAD: Final = timedelta(days=3)  # so long before nobody is on duty it is an alarm
ESCALATION_FAILS_S: Final = 15.0
FOLDER_SILENT_S: Final = 600.0  # a file of a watched folder that cannot be read


class Condition(NamedTuple):
    """One thing that can be wrong; it is an alarm when it is true for `after_s`, until it was false for `hold_s`."""

    key: str
    is_true: bool
    reason: str
    level: int = 2  # 1 notice, 2 urgent
    after_s: float = 0.0
    hold_s: float = 0.0


class Conditions:
    """Follows conditions and puts an alarm where one begins or ends; what a process before us left open is ended."""

    def __init__(self, alarms: ServiceAlarms) -> None:
        self._alarms = alarms
        self._since: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._told: dict[str, str] = {}  # key -> what is wrong; "" = it is over
        self._counts: dict[str, int] = {}

    def follow(self, conditions: Iterable[Condition], monotonic_s: float) -> None:
        """Compare with what was told."""
        for one in conditions:
            if one.is_true:
                self._last[one.key] = monotonic_s
                since = self._since.setdefault(one.key, monotonic_s)
                if monotonic_s - since >= one.after_s and not self._told.get(one.key):
                    self._told[one.key] = one.reason
                    self._alarms.open(one.key, one.reason, one.level)
                continue
            self._since.pop(one.key, None)
            ended = monotonic_s - self._last.get(one.key, float("-inf")) >= one.hold_s
            if ended and self._told.get(one.key) != "":
                # what was wrong, as it was told: by now the figures of the reason are those of nothing
                told, self._told[one.key] = self._told.get(one.key), ""
                self._alarms.clear(one.key, f"over: {told or FOUND_BEFORE}")

    def told(self, *prefixes: str) -> list[str]:
        """What is wrong now among the keys that begin so, one line each."""
        return [reason for key, reason in self._told.items() if reason and key.startswith(prefixes)]

    def count(self, key: str, count: int) -> bool:
        """Whether a count grew since the last look."""
        before = self._counts.get(key, 0)
        self._counts[key] = count
        return count > before

    def of_ingest(self, status: Mapping[str, Any]) -> Iterator[Condition]:
        """What `Ingest.status` says of broker, database and messages."""
        for name, is_listening in status["connected"].items():
            problem = status["problems"].get(name, "")
            refused = status["refused"].get(name, "")
            yield Condition(
                f"mqtt:{name}:refused", bool(refused), f"messages of the {name} session do not come: {refused}"
            )
            yield Condition(
                f"mqtt:{name}:away", not (is_listening or refused),
                f"no connection to the broker ({name} session), no messages come: {problem}", after_s=AWAY_S,
            )  # fmt: skip
        busy_since = status["database_busy_since"]
        yield Condition(
            "ingest:database", busy_since is not None,
            f"the database takes no observations since {busy_since}; messages wait with the broker", after_s=AWAY_S,
        )  # fmt: skip
        lost, dropped = status["lost"], status["dropped_qos0"]
        yield Condition(
            "ingest:lost", self.count("lost", lost),
            f"{lost} messages since start could be written nowhere and stay with the broker; see the log",
            hold_s=GROWN_S,
        )  # fmt: skip
        yield Condition(
            "ingest:quarantine", self.count("unkept", status["unkept"]),
            f"{status['unkept']} unreadable messages since start were counted and not kept: a sender used up its"
            " share of the quarantine; see the view quarantine_sources", level=1, hold_s=GROWN_S,
        )  # fmt: skip
        yield Condition(
            "ingest:dropped", self.count("dropped", dropped),
            f"{dropped} messages of QoS 0 since start were dropped; publish with QoS 1", hold_s=GROWN_S,
        )  # fmt: skip
        yield Condition(
            "ingest:stumbles", status["stumbles"] >= STUMBLES,
            "the writer of observations fails again and again; messages wait with the broker; see the log",
        )  # fmt: skip

    @staticmethod
    def of_broker(broker: BrokerSection) -> Iterator[Condition]:
        """A managed broker that asks nobody for a login: anybody of this machine can speak for any instrument."""
        is_open = broker.mode == "managed" and LoginBook(Path(broker.data)).is_open(broker.anonymous)
        yield Condition(
            "broker:anonymous", is_open,
            f"the broker takes readings from anybody of this machine; {HOW_TO_CLOSE}", level=1,
        )  # fmt: skip

    def of_publisher(self, status: Mapping[str, Any]) -> Iterator[Condition]:
        """What `StatePublisher.status` says: a foreign message is told once, and again after a quiet hour."""
        yield Condition(
            "mqtt:foreign", self.count("foreign", status["foreign"]),
            f"somebody else publishes as if it were the service, last on {status['foreign_last']}: levels and alerts "
            "received by MQTT may be forged where nobody looks at their signature; find who may write there "
            "(slopeward doctor)",
            hold_s=FOREIGN_S,
        )  # fmt: skip
        yield Condition(
            "mqtt:unsigned", bool(status["unsigned"]),
            f"the keys of the signatures cannot be read, sirens may refuse what is published: {status['unsigned']}",
        )  # fmt: skip

    @staticmethod
    def of_modem(trouble: str) -> Condition:
        """What `ModemWatch.find_trouble` says."""
        return Condition("sms:modem", bool(trouble), f"text messages do not go out: {trouble}", after_s=AWAY_S)

    @staticmethod
    def of_compute(trouble: str) -> Condition:
        """What `compute.find_trouble` says: one alarm, however many jobs of however many sites wait for it."""
        return Condition(
            "compute:away", bool(trouble),
            f"no forecast, training or scene is computed, rules and alarms go on (see slopeward doctor): {trouble}",
            level=1, after_s=AWAY_S,
        )  # fmt: skip

    @staticmethod
    def of_sirens(troubles: Mapping[str, str]) -> Iterator[Condition]:
        """What `Sirens.find_troubles` says of each topic."""
        for topic, trouble in troubles.items():
            yield Condition(f"siren:{topic[:60]}", bool(trouble), trouble)

    @staticmethod
    def of_channels(tested: Iterable[Tested], pause: timedelta | None, now: datetime) -> Iterator[Condition]:
        """Channels whose last good test is older than two of the pauses between tests."""
        for one in tested:
            silent = pause is not None and one.is_silent(now, 2 * pause)
            text = f"channel {one.channel} fails its tests: {one.found}"
            yield Condition(f"{FAILING.removeprefix('health:')}{one.channel[:60]}", silent, text)

    @staticmethod
    def of_disk(trouble: str) -> Condition:
        """What `DiskReserve.trouble` says."""
        return Condition("disk:reserve", bool(trouble), trouble)

    def of_readers(self, readers: ReaderWatch) -> Iterator[Condition]:
        """What `ReaderWatch` saw: sessions that it ended, and those that it may not end."""
        yield Condition(
            "database:readers", self.count("readers", readers.ended),
            f"{readers.ended} sessions of readers of the SQL views were ended since start, last: {readers.last}; if it "
            "goes on, close that login (ALTER ROLE ... NOLOGIN)",
            level=1, hold_s=GROWN_S,
        )  # fmt: skip
        yield Condition(
            "database:readers:unended", bool(readers.refused),
            f"a reader of the SQL views holds too much and the service may not end it: {readers.refused}; let an "
            "administrator of the server run: GRANT pg_signal_backend TO the service's role",
        )  # fmt: skip

    @staticmethod
    def of_sources(
        tables: Sequence[SourceSection], sites: Collection[str], polls: Iterable[PollState], now: datetime
    ) -> Iterator[Condition]:
        """Sources of files that bring nothing for too long; watched folders with a file that cannot be read."""
        states = {one.source: one for one in polls}
        own = {one.name: one for one in tables if one.kind != FOLDER_KIND}
        for name in sorted(own.keys() | states.keys()):
            table, state = own.get(name), states.get(name)
            if table is not None and table.site not in sites:
                line = f"source {name} is for site {table.site}, which is not configured"
                yield Condition(f"source:{name}", True, line, level=1)
                continue
            since, silent_s = _find_silence(table, state)
            late = since is not None and (now - since).total_seconds() > silent_s
            yield Condition(f"source:{name}", late, _describe_silence(name, state, since), level=1)

    @staticmethod
    def of_duty(teams: Iterable[Team], rosters: Mapping[tuple[str, str], Roster], now: datetime) -> Iterator[Condition]:
        """Teams of which nobody is on duty soon, or now; messages go to all of the team then."""
        for team in teams:
            gap = find_gap(rosters[team.site, team.name], now, now + GAP_AHEAD)
            of = f"no one of team {team.name} of {team.site} is on duty"
            since = "" if gap is None else f"{spell(gap.from_at)[:16]}Z"
            is_now = gap is not None and gap.from_at <= now
            yield Condition(
                f"duty:{team.site}:{team.name}:soon", gap is not None and not is_now, f"{of} from {since}", level=1
            )
            yield Condition(f"duty:{team.site}:{team.name}:now", is_now, f"{of}: messages go to all of it", level=1)
            yield Condition(
                f"duty:{team.site}:{team.name}:unread", find_unread(rosters[team.site, team.name], now),
                f"the plan of team {team.name} of {team.site} cannot be read: put a new one in force", level=1,
            )  # fmt: skip

    @staticmethod
    def of_workers(channels: Iterable[str], hanging: Collection[str]) -> Iterator[Condition]:
        """Channels of which so many workers hang that no new one takes their place."""
        for channel in channels:
            text = f"channel {channel} hangs: its messages wait until the service starts again"
            yield Condition(f"hanging:{channel[:60]}", channel in hanging, text)

    @staticmethod
    def of_escalation(sites: Iterable[str], failing: Collection[str]) -> Iterator[Condition]:
        """Sites whose alerts cannot be escalated; `ALL_SITES` stands for all."""
        for site in (*sites, STATUS_SITE, ALL_SITES):
            text = f"escalation of {site} fails, see the log; call who must know by other means"
            yield Condition(f"escalation:{site}", site in failing, text, after_s=ESCALATION_FAILS_S, hold_s=60.0)

    @staticmethod
    def of_checks(checks: Iterable[Check]) -> Iterator[Condition]:
        """What the service stands on (`service_checks`); what is in order after a time that was bad ends the alarm."""
        made = tuple(checks)
        for one in made:
            if reason := _CHECK_REASONS.get(one.name.partition(".")[0], ""):
                yield Condition(f"check:{one.name}", one.state == BAD, reason, level=1, after_s=AWAY_S)
        # one alarm: several folders mostly lie on one disk
        disks = [one for one in made if one.name.startswith("disk.")]
        if disks:
            full = list(dict.fromkeys(one.found for one in disks if one.state == BAD))
            yield Condition("check:disk", bool(full), f"{_DISK_REASON}: {'; '.join(full)}", level=1, after_s=AWAY_S)

    @staticmethod
    def of_evaluation(sites: Iterable[str], slow: Mapping[str, float]) -> Iterator[Condition]:
        """Sites whose evaluation takes too long."""
        for site in sites:
            text = f"evaluation of {site} takes {slow.get(site, 0.0):.0f} s; shorten windows or thin its series"
            yield Condition(f"slow:{site}", site in slow, text)


def _find_silence(table: SourceSection | None, state: PollState | None) -> tuple[datetime | None, float]:
    """Since when a source brings nothing, None where it does or was never looked at; and how long that may last."""
    if state is None or state.error is None:
        return None, 0.0
    if state.kind == FOLDER_KIND:
        return state.error_since, FOLDER_SILENT_S
    return (None, 0.0) if table is None else (state.success_at or state.since_at, table.silent_s)


def _describe_silence(name: str, state: PollState | None, since: datetime | None) -> str:
    if state is not None and state.kind == FOLDER_KIND:
        what = f"a file in the watched folder of {state.site} cannot be read"
    else:
        what = f"source {name} brings no files" if state is None else f"source {name} of {state.site} brings no files"
    return what if since is None or state is None else f"{what} since {since:%Y-%m-%d %H:%M} UTC: {state.error}"

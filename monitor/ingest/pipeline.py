"""Decode messages and store their readings.

`Pipeline.decode` finds the decoder of a message and returns observations and faults. `Pipeline.store` stores a batch of
messages in one transaction. What could not be read goes to the quarantine, in the same transaction or later, so that
readings do not wait for it.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import accumulate, takewhile
from typing import Final, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from monitor.alerts.queries.events import MQTT, add_event
from monitor.alerts.queries.instruments import save_links
from monitor.alerts.queries.reports import add_report
from monitor.decision.judgements import can_change_level
from monitor.decision.prepared_site import PreparedSite
from monitor.errors import ConfigError, PayloadError, StoreBusyError
from monitor.ingest.admission import Admission
from monitor.ingest.decoders.coordinates import replace_positions
from monitor.ingest.decoders.decoder import Decoder, ReceivedMessage
from monitor.ingest.decoders.strict_json import too_large
from monitor.ingest.decoders.table import find_decoder
from monitor.ingest.message import BrokerMessage, DecodedMessage, MessageFault, TopicPlace, locate, matches
from monitor.ingest.quality import Vocabulary, flag_fills, is_suspect
from monitor.ingest.queries.messages import ROW_BYTES, Quota, RejectedMessage, add_rejected, note_sequences
from monitor.ingest.references import References, open_reference_questions
from monitor.ingest.tips import join_tips
from monitor.ingest.typing_errors import TypingErrors
from monitor.plugins import hooks, implementations
from monitor.readings.queries.observations import SeriesKey, load_stations
from monitor.readings.queries.storing import AddResult, add_observations
from monitor.readings.records import Link, Observation
from monitor.settings.service import LimitsSection
from monitor.sites.records import Binding, Site, gather_recipients
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.storage.engine import Database
from monitor.storage.service_state import find_heartbeat
from monitor.storage.slow_writes import PLUGIN_PART, write_part
from monitor.text.instants import EPOCH, format_iso, is_silent
from monitor.text.message import Template, join

log: Final = logging.getLogger(__name__)
# Bytes of the quarantine that are written in one transaction. Batches of readings are written in between.
PORTION_BYTES: Final = 1 << 18
# Larger payloads are written after the others of their batch, which then fit into one transaction.
LARGE_BYTES: Final = 1 << 16
# A station whose stored values are corrected gets one entry of the audit log in this time.
CORRECTIONS_EVERY: Final = timedelta(hours=1)
# A site whose newest reading is older is still sending its history.
HISTORY_S: Final = 3600.0
_DECODER_FAILED: Final = Template("quarantine.decoder", "the decoder failed: {problem}")
_STORE_REFUSED: Final = Template("quarantine.store", "the database refused it: {problem}")
_NO_DECODER: Final = Template("quarantine.topic", "no decoder is bound to topic '{topic}'")
UNKNOWN_SITE: Final = Template("quarantine.site", "site '{site}' is not configured")
Clock = Callable[[], datetime]
Pair = tuple[BrokerMessage, DecodedMessage]
PendingRejection = tuple[BrokerMessage, RejectedMessage]


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The result of storing a batch of messages.

    Attributes:
        added: Result of storing the observations.
        rejected: Number of messages, or parts of messages, that were not stored as readings.
        gaps: Number of gaps that opened in the sequence numbers of publishers.
        sites: Sites with new readings, reports or events.
        without_votes: Those of `sites` whose new readings cannot change a level.
        unwritten: Messages that could not be written at all. They are not acknowledged, so that the broker sends them
            again at the next connection.
        unkept: Number of rejected messages that were counted and acknowledged without storing their payload, because
            the quarantine is full.
        requests: Topics and payloads to publish, such as requests for a new Sparkplug birth.
        waiting: Rejected messages that are not stored yet. Store them with `Pipeline.store_rejected`.
        brings_history: Whether the newest reading that this process stored for a site of the batch is more than an hour
            old, so that its present readings are still to come.
    """

    added: AddResult
    rejected: int
    gaps: int
    sites: frozenset[str]
    without_votes: frozenset[str] = frozenset()
    unwritten: tuple[BrokerMessage, ...] = ()
    unkept: int = 0
    requests: tuple[tuple[str, bytes], ...] = ()
    waiting: tuple[PendingRejection, ...] = ()
    brings_history: bool = False


@dataclass(slots=True)
class PendingRejections:
    """Rejected messages of a batch on their way to the quarantine.

    Attributes:
        waiting: Not stored yet.
        unkept: Number of messages that were removed from `waiting` without storing their payload, because the
            quarantine is full.
        unwritten: Messages that could not be written at all. They are not acknowledged.
    """

    waiting: list[PendingRejection]
    unkept: int = 0
    unwritten: list[BrokerMessage] = field(default_factory=list)


class LastReading(NamedTuple):
    """The newest reading of a station.

    Attributes:
        ahead_s: Seconds from its reception to its time of measurement. A positive number lies in the future.
        received_at: When it was received.
    """

    ahead_s: float
    received_at: datetime


class Pipeline:
    """Decodes and stores messages and rows of files. Not thread-safe.

    Args:
        database: None for a dry run.
        sites: All sites, by id.
        clock: Wall clock.
        limits: Limits of senders and of the quarantine.
        is_sure: Whether a person has confirmed values that look like typing errors or fill values.

    Attributes:
        unusable: Why decoders of a site cannot be used, by site id. Their messages go to the quarantine.
        last_readings: Newest readings by site and station.
    """

    def __init__(
        self,
        database: Database | None,
        sites: Mapping[str, Site],
        clock: Clock,
        limits: LimitsSection | None = None,
        *,
        is_sure: bool = False,
    ) -> None:
        limits = limits or LimitsSection()
        self._database = database
        self._clock = clock
        self._is_sure = is_sure
        self._quota = Quota.of_megabytes(limits.quarantine_mb, limits.quarantine_source_mb)
        self.sites = sites
        self.vocabulary = Vocabulary(sites)
        self.references = References()
        self.last_readings: dict[tuple[str, str], LastReading] = {}
        self.unusable: dict[str, str] = {}
        self._typing_errors = TypingErrors({} if is_sure else sites)
        self._prepared: dict[str, PreparedSite] = {}  # by site id
        self._newest_at: dict[str, datetime] = {}  # by site id
        self._ids: dict[SeriesKey, tuple[int, str]] = {}
        self._corrected: dict[tuple[str, str], datetime] = {}  # newest entry of the audit log by site and station
        self._bound: list[tuple[str, Decoder, str, Binding]] = []  # topic filter, decoder, site id, binding
        for site in sites.values():
            for binding in site.decoders:
                self._bind(site.id, binding)
        stations: dict[str, set[str]] = {}
        if database is not None:
            with database.read() as connection:
                self.references.load(connection)
                stations = load_stations(connection)
        self._admission = Admission(limits, sites, stations)

    @property
    def database(self) -> Database:
        """The database.

        Raises:
            ConfigError: This is a dry run.
        """
        if self._database is None:
            raise ConfigError("a dry run stores nothing")
        return self._database

    def _bind(self, site: str, binding: Binding) -> None:
        """Bind a decoder to its topics. One that cannot be used must not stop the other sites."""
        try:
            decoder = find_decoder(binding.name, binding)
        except ConfigError as error:
            log.error("site %s: messages on %s go to the quarantine: %s", site, binding.pattern, error)  # noqa: TRY400
            problems = [self.unusable[site]] if site in self.unusable else []
            self.unusable[site] = join([*problems, error.message])
            decoder = _make_rejecting_decoder("decoder_unusable", error.message)
        self._bound.append((binding.topic, decoder, site, binding))

    def decode(self, message: BrokerMessage) -> DecodedMessage:
        """Decode a message and apply the limits of its sender.

        Never raises: a message that cannot be read becomes a fault with its reason. References, births of Sparkplug
        nodes and limits change in memory until `store` commits or reverts them.
        """
        try:
            decoded = self._decode(message)
            if len(decoded.observations) > 1:
                decoded = replace(decoded, observations=tuple(join_tips(decoded.observations, self.sites)))
            return self._admission.admit(message, decoded)
        except PayloadError as error:
            # A decoder may raise an error that it has stored. Without this call its traceback would grow.
            error.without_traceback()
            return DecodedMessage(faults=(MessageFault(error.code, error.message, message.payload),))
        except Exception as error:  # a bug of a decoder must neither lose a message nor stop the writer
            log.exception("decoder failed on topic %s", message.topic[:200])
            reason = _DECODER_FAILED(problem=f"{type(error).__name__}: {error}")
            return DecodedMessage(faults=(MessageFault("decoder_failed", reason, message.payload),))

    def _decode(self, message: BrokerMessage) -> DecodedMessage:
        place = locate(message.topic)
        decoder = None
        zone = None
        if place is None or place.site not in self.sites:
            for topic_filter, bound_decoder, site_id, binding in self._bound:
                if matches(topic_filter, message.topic):
                    station = binding.station or binding.read("{station}", message.topic)
                    place = TopicPlace(binding.name, site_id, station)
                    decoder = bound_decoder
                    zone = binding.zone
                    break
        if place is None:
            raise PayloadError("unknown_topic", _NO_DECODER(topic=message.topic[:200]))
        site = self.sites.get(place.site)
        if site is None:
            raise PayloadError("unknown_site", UNKNOWN_SITE(site=place.site))
        station_id = site.find_current_id(place.station)
        if station_id != place.station:
            place = replace(place, station=station_id)
        if message.full_size is not None:
            raise too_large(message.full_size.payload_bytes)
        decoder = decoder or find_decoder(place.decoder_name)
        received = ReceivedMessage(message, place, site, self.vocabulary, self.references, zone)
        return replace_positions(decoder(received), received)

    def flag(self, observations: Sequence[Observation]) -> Sequence[Observation]:
        """Return observations with the flags with which they would be stored, except those of typing errors."""
        if not any(map(is_suspect, observations)):
            return observations
        if self._database is None:
            return flag_fills(None, observations, is_sure=self._is_sure)
        with self._database.read() as connection:
            return flag_fills(connection, observations, is_sure=self._is_sure)

    def _flag(self, connection: Connection, observations: Sequence[Observation]) -> Sequence[Observation]:
        return self._typing_errors.flag(connection, flag_fills(connection, observations, is_sure=self._is_sure))

    def store(self, messages: Sequence[BrokerMessage], *, readings_first: bool = False) -> BatchResult:
        """Decode and store a batch. It is committed when this method returns.

        If the transaction fails because of a message, the messages are stored one by one, and that message goes to the
        quarantine. If that fails too, it is returned in `unwritten`.

        Args:
            messages: Those of each session in the order of their reception.
            readings_first: Whether to leave rejected messages to the caller, who stores them with `store_rejected`. No
                message of the batch may be acknowledged before that.

        Raises:
            StoreBusyError: The database is locked or unreachable. Nothing was written. Call again with the same batch.
        """
        for attempt in (1, 2):
            try:
                pairs = [(message, self.decode(message)) for message in messages]
                if self.references.has_contradiction and self.database.run_read(self.references.load):
                    # A person has answered which reference holds, so decode again.
                    self._admission.roll_back()
                    self.vocabulary.births.roll_back()
                    pairs = [(message, self.decode(message)) for message in messages]
                return self._commit(pairs, readings_first=readings_first)
            except StoreBusyError:
                self.discard_changes()
                raise
            except IntegrityError:
                # Another process has stored the same keys meanwhile, so try again with fresh ids.
                self.discard_changes()
                if attempt == 2:
                    log.warning("a batch of %d messages was refused twice; storing one by one", len(messages))
            except Exception:
                log.exception("a batch of %d messages was refused; storing one by one", len(messages))
                self.discard_changes()
                break
        return self._store_one_by_one(messages)

    def store_rejected(self, rejections: PendingRejections, portion_bytes: int = PORTION_BYTES) -> None:
        """Write the next rejected messages into the quarantine. If that fails, write them one by one.

        The database is locked while `portion_bytes` are written, or one message that is larger.

        Args:
            rejections: Messages that were written, or that cannot be written, are removed from `waiting`.
            portion_bytes: Bytes to write. The first message is written even if it is larger.

        Raises:
            StoreBusyError: The messages that are left were not written. Call again.
        """
        ends = accumulate(ROW_BYTES + len(rejected.payload) for _, rejected in rejections.waiting)
        count = max(1, sum(1 for _ in takewhile(lambda end: end <= portion_bytes, ends)))
        try:
            self._store_first_rejected(rejections, count)
        except StoreBusyError:
            raise
        except Exception:
            log.exception("%d rows of the quarantine were refused; storing one by one", count)
            for _ in range(count):
                message = rejections.waiting[0][0]
                try:
                    self._store_first_rejected(rejections, 1)
                except StoreBusyError:
                    raise
                except Exception:
                    log.exception("a rejected message on %s cannot be written", message.topic[:200])
                    if all(other is not message for other in rejections.unwritten):
                        rejections.unwritten.append(message)
                    del rejections.waiting[0]

    def _store_first_rejected(self, rejections: PendingRejections, count: int) -> None:
        with self.database.write(urgent=True) as connection:
            unkept = add_rejected(connection, [rejected for _, rejected in rejections.waiting[:count]], self._quota)
        rejections.unkept += unkept
        del rejections.waiting[:count]

    def discard_changes(self) -> None:
        """Restore the memory of the last commit: references, limits and births as before the messages since then."""
        self._ids.clear()
        self.references.roll_back()
        self._admission.roll_back()
        self.vocabulary.births.roll_back()

    def _commit(self, pairs: Sequence[Pair], *, readings_first: bool = False) -> BatchResult:
        now = self._clock()
        observations: Sequence[Observation] = [o for _, decoded in pairs for o in decoded.observations]
        rejections = [(message, _reject(message, fault)) for message, decoded in pairs for fault in decoded.faults]
        marks = [decoded.mark for _, decoded in pairs if decoded.mark is not None]
        links = [link for _, decoded in pairs for link in decoded.links if self._is_declared(link)]
        requests = {decoded.request[0]: decoded.request for _, decoded in pairs if decoded.request is not None}
        with self.database.write(urgent=True) as connection:
            observations = self._flag(connection, observations)
            added = add_observations(connection, observations, now, self._ids, sites=self.sites)
            self._notify_plugins(connection, observations, added)
            corrected = self._log_corrections(connection, added.revised, now) if added.revised else {}
            unkept = 0
            if not readings_first:
                unkept = add_rejected(connection, [rejected for _, rejected in rejections], self._quota)
            gaps = note_sequences(connection, marks, now) if marks else []
            reported = _add_reports(connection, pairs)
            save_links(connection, links)
            opened = self.references.save(connection, now)
            open_reference_questions(connection, opened, gather_recipients(self.sites.values()), now)
        self._note_commit(observations, corrected)
        with_votes: set[str] = set()
        for item in observations:
            if item.site not in with_votes and self._may_vote(item):
                with_votes.add(item.site)
        waiting: tuple[PendingRejection, ...] = ()
        if readings_first:
            waiting = tuple(sorted(rejections, key=lambda rejection: len(rejection[1].payload) > LARGE_BYTES))
        ages_s = [(now - self._newest_at.get(site, now)).total_seconds() for site in added.sites]
        return BatchResult(
            added,
            len(rejections),
            len(gaps),
            added.sites | reported,
            added.sites - reported - with_votes,
            unkept=unkept,
            requests=tuple(requests.values()),
            waiting=waiting,
            brings_history=any(age_s > HISTORY_S for age_s in ages_s),
        )

    def _notify_plugins(self, connection: Connection, observations: Sequence[Observation], added: AddResult) -> None:
        """Let plugins note which readings were stored. The readings are stored even if a plugin fails."""
        if not observations:
            return
        for plugin, call in implementations("readings_stored"):
            try:
                with write_part(f"{PLUGIN_PART}{plugin}"):
                    call(connection=connection, sites=self.sites, readings=observations, added=added)
            except (SQLAlchemyError, StoreBusyError):
                raise  # the transaction may be broken
            except Exception:
                log.exception("readings_stored of the plugin %s: %d readings", plugin, len(observations))

    def complete(self) -> None:
        """Compute what depends on imported readings, unless a service runs on this database and does so itself."""
        if self._database is None:
            return
        core = self._database.run_read(find_heartbeat, "core")
        if core is not None and not is_silent(core, self._clock()):
            return
        hooks().import_finished(database=self._database, sites=self.sites, clock=self._clock)

    def _note_commit(self, observations: Sequence[Observation], corrected: Mapping[tuple[str, str], datetime]) -> None:
        """Update what is held in memory after a commit."""
        self._corrected |= corrected
        self.references.commit()
        self._admission.commit()
        self.vocabulary.births.commit()
        for item in observations:
            ahead_s = (item.observed_at - item.received_at).total_seconds()
            self._newest_at[item.site] = max(item.observed_at, self._newest_at.get(item.site, item.observed_at))
            last = self.last_readings.get((item.site, item.station))
            if last is None or (item.received_at, ahead_s) > (last.received_at, last.ahead_s):
                self.last_readings[item.site, item.station] = LastReading(ahead_s, item.received_at)

    def _may_vote(self, item: Observation) -> bool:
        """Return whether a reading can change the level of its site."""
        site = self.sites.get(item.site)
        if site is None:
            return True
        prepared = self._prepared.get(site.id)
        if prepared is None or prepared.site is not site:
            prepared = PreparedSite(site)
            self._prepared[site.id] = prepared
        return can_change_level(prepared, item.station, item.quantity)

    def _is_declared(self, link: Link) -> bool:
        site = self.sites.get(link.site)
        return site is not None and site.station(link.station) is not None

    def _log_corrections(
        self, connection: Connection, revised: Sequence[Observation], now: datetime
    ) -> dict[tuple[str, str], datetime]:
        """Add an entry of the audit log for each station whose stored values are corrected, at most one per hour.

        Final solutions are expected and need no entry.

        Returns:
            The time of the new entries by site and station.
        """
        by_station: dict[tuple[str, str], list[Observation]] = {}
        for item in revised:
            if item.solution != "final":
                by_station.setdefault((item.site, item.station), []).append(item)
        due = {
            place: rows
            for place, rows in by_station.items()
            if now - self._corrected.get(place, EPOCH) >= CORRECTIONS_EVERY
        }
        for (site, station), rows in due.items():
            facts = {
                "site": site,
                "values": len(rows),
                "quantities": sorted({o.quantity for o in rows}),
                "from": format_iso(min(o.observed_at for o in rows)),
                "to": format_iso(max(o.observed_at for o in rows)),
            }
            add_audit(connection, Actor(MQTT, "program"), "reading.correct", f"station:{station}", facts, now)
        return dict.fromkeys(due, now)

    def _store_one_by_one(self, messages: Sequence[BrokerMessage]) -> BatchResult:
        """Store each message in a transaction of its own.

        Raises:
            StoreBusyError: Call again with the whole batch. Messages that were stored are duplicates then.
        """
        results: list[BatchResult] = []
        unwritten: list[BrokerMessage] = []
        for message in messages:
            try:
                results.append(self._store_one(message))
            except StoreBusyError:
                raise
            except Exception:
                log.exception("a message on %s cannot be written and stays at the broker", message.topic[:200])
                unwritten.append(message)
        sites = frozenset[str]().union(*(result.sites for result in results))
        added = AddResult(
            stored=sum(result.added.stored for result in results),
            duplicates=sum(result.added.duplicates for result in results),
            sites=sites,
            revised=tuple(item for result in results for item in result.added.revised),
        )
        requests = {topic: (topic, payload) for result in results for topic, payload in result.requests}
        return BatchResult(
            added,
            rejected=sum(result.rejected for result in results),
            gaps=sum(result.gaps for result in results),
            sites=sites,
            unwritten=tuple(unwritten),
            unkept=sum(result.unkept for result in results),
            requests=tuple(requests.values()),
        )

    def _store_one(self, message: BrokerMessage) -> BatchResult:
        """Store a message, or the reason why the database refuses it."""
        try:
            return self._commit([(message, self.decode(message))])
        except StoreBusyError:
            self.discard_changes()
            raise
        except Exception as error:
            self.discard_changes()
            cause = str(getattr(error, "orig", None) or error).splitlines()[0][:500]
            fault = MessageFault("store_refused", _STORE_REFUSED(problem=cause), message.payload)
            return self._commit([(message, DecodedMessage(faults=(fault,)))])

    def store_rows(
        self, observations: Sequence[Observation], rejected: Sequence[RejectedMessage], by: str | None = None
    ) -> AddResult:
        """Store rows of a file by the rules that apply to messages.

        Args:
            observations: Readings of the file.
            rejected: Rows that could not be read.
            by: Who imports the file.

        Raises:
            StoreBusyError: Nothing was written. Call again.
        """
        now = self._clock()
        try:
            return self._commit_rows(observations, rejected, by, now)
        except IntegrityError:
            # Another process has stored the same keys meanwhile, so try again with fresh ids.
            return self._commit_rows(observations, rejected, by, now)

    def _commit_rows(
        self,
        observations: Sequence[Observation],
        rejected: Sequence[RejectedMessage],
        by: str | None,
        now: datetime,
    ) -> AddResult:
        try:
            with self.database.write() as connection:
                flagged = self._flag(connection, observations)
                added = add_observations(connection, flagged, now, self._ids, by, self.sites)
                self._notify_plugins(connection, flagged, added)
                add_rejected(connection, rejected, self._quota)
                return added
        except Exception:
            self._ids.clear()
            raise


def _add_reports(connection: Connection, pairs: Sequence[Pair]) -> frozenset[str]:
    """Store the reports and events of messages and return the sites of new ones."""
    actor = Actor(MQTT, "program")
    sites: set[str] = set()
    for message, decoded in pairs:
        report = decoded.report
        event = decoded.event
        if report is not None and add_report(connection, report, message.received_at, actor=actor, credential=MQTT):
            sites.add(report.site)
        if event is not None and add_event(connection, event, message.received_at, decoded.event_by, via=MQTT):
            sites.add(event.site)
    return frozenset(sites)


def _make_rejecting_decoder(code: str, reason: str) -> Decoder:
    def decode(_: object) -> DecodedMessage:
        raise PayloadError(code, reason)

    return decode


def _reject(message: BrokerMessage, fault: MessageFault) -> RejectedMessage:
    return RejectedMessage(
        message.received_at,
        message.topic,
        fault.payload,
        fault.code,
        fault.reason,
        message.client,
        retained=message.retained,
        full_size=message.full_size,
    )

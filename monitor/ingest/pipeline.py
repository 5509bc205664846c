"""From messages to rows: decode, then what a batch says in one transaction; the unreadable may wait for its own."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import accumulate, groupby, takewhile
from operator import attrgetter
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
from monitor.ingest.message import BrokerMessage, DecodedMessage, MessageFault, TopicTarget, locate, matches
from monitor.ingest.quality import Vocabulary, flag_fills, is_suspect
from monitor.ingest.queries.messages import ROW_BYTES, Quota, RejectedMessage, add_rejected, note_sequences
from monitor.ingest.references import References, request_references
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
from monitor.storage.slow_writes import write_part
from monitor.text.instants import EPOCH, format_iso, is_silent
from monitor.text.message import Template

log: Final = logging.getLogger(__name__)
PORTION_BYTES: Final = 1 << 18  # of the quarantine in one transaction; readings go between two until too much waits
LARGE_BYTES: Final = 1 << 16  # such payloads are written after the others of their batch, which then are one portion
_DECODER_FAILED: Final = Template("quarantine.decoder", "the decoder failed: {problem}")
_STORE_REFUSED: Final = Template("quarantine.store", "the database refused it: {problem}")
_NO_DECODER: Final = Template("quarantine.topic", "no decoder is bound to topic '{topic}'")
UNKNOWN_SITE: Final = Template("quarantine.site", "site '{site}' is not configured")
CORRECTIONS_EVERY: Final = timedelta(hours=1)  # an entry of the audit log for a station whose values are changed
HISTORY_S: Final = 3600.0  # a site whose newest reading is older is still sending its past
Clock = Callable[[], datetime]
Pair = tuple[BrokerMessage, DecodedMessage]
Refusal = tuple[BrokerMessage, RejectedMessage]


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What a stored batch came to."""

    added: AddResult
    rejected: int  # messages or parts of them that went to the quarantine
    gaps: int  # holes in the counts of publishers that opened
    sites: frozenset[str]  # with news: readings, reports or events
    unvoted: frozenset[str] = frozenset()  # of them those where nothing came on which a vote may rest
    lost: tuple[BrokerMessage, ...] = ()  # could be written nowhere: must not be acknowledged
    unkept: int = 0  # of the rejected ones, counted only: the quarantine has its quota of them
    asks: tuple[tuple[str, bytes], ...] = ()  # topics and payloads by which senders are asked for what is missing
    waiting: tuple[Refusal, ...] = ()  # of the rejected ones, not written yet: for `Pipeline.keep`
    brings_history: bool = False  # a site with readings of the past alone: those of the present are still to come


@dataclass(slots=True)
class Refusals:
    """What waits of a batch for the quarantine, and what became of the rest of it."""

    waiting: list[Refusal]
    unkept: int = 0  # counted only, for want of room
    lost: list[BrokerMessage] = field(default_factory=list)  # could be written nowhere: must not be acknowledged


class LastReading(NamedTuple):
    """How far the newest reading of a station lies before its reception (above 0: in the future), and when it came."""

    ahead_s: float
    received_at: datetime


class Pipeline:
    """The one way in, for messages and for files. Used by one thread at a time.

    Args:
        database: None for a dry run.
        sites: All sites, by id.
        is_sure: a person was asked about what looks like a typing error already.
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
        self._corrected: dict[tuple[str, str], datetime] = {}  # when the audit log had its last entry
        self._quota = Quota.of_megabytes(limits.quarantine_mb, limits.quarantine_source_mb)
        self.sites = sites
        self.vocabulary = Vocabulary(sites)
        self.references = References()
        self._is_sure = is_sure
        self._typing_errors = TypingErrors({} if is_sure else sites)
        self.last_readings: dict[tuple[str, str], LastReading] = {}  # by site and station
        self._prepared: dict[str, PreparedSite] = {}  # by site id
        self._newest_at: dict[str, datetime] = {}  # by site
        self._clock = clock
        self._ids: dict[SeriesKey, tuple[int, str]] = {}
        self.unusable: dict[str, str] = {}  # site -> why one of its decoders cannot be used; its messages wait
        self._bound: list[tuple[str, Decoder, str, Binding]] = []
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
        """The database; a dry run has none."""
        if self._database is None:
            raise ConfigError("a dry run stores nothing")
        return self._database

    def _bind(self, site: str, binding: Binding) -> None:
        """Bind a decoder to its topics; one that cannot be used must not stop the other sites."""
        try:
            decoder = find_decoder(binding.name, binding)
        except ConfigError as error:
            log.error("site %s: messages on %s go to the quarantine: %s", site, binding.pattern, error)  # noqa: TRY400
            self.unusable[site] = error.message
            decoder = _refuse("decoder_unusable", error.message)
        self._bound.append((binding.topic, decoder, site, binding))

    # ---- decode ------------------------------------------------------------------------------------------------
    def decode(self, message: BrokerMessage) -> DecodedMessage:
        """Read a message; never raises: what cannot be read is a fault with its reason."""
        try:
            decoded = self._decode(message)
            if len(decoded.observations) > 1:
                decoded = replace(decoded, observations=tuple(join_tips(decoded.observations, self.sites)))
            return self._admission.admit(message, decoded)
        except PayloadError as error:
            error.bare()  # a decoder that raised what it had kept is one of its frames
            return DecodedMessage(faults=(MessageFault(error.code, error.message, message.payload),))
        except Exception as error:  # a bug of a decoder must not lose a message or stop the writer
            log.exception("decoder failed on topic %s", message.topic[:200])
            reason = _DECODER_FAILED(problem=f"{type(error).__name__}: {error}")
            return DecodedMessage(faults=(MessageFault("decoder_failed", reason, message.payload),))

    def _decode(self, message: BrokerMessage) -> DecodedMessage:
        place, decoder, zone = locate(message.topic), None, None
        if place is None or place.site not in self.sites:
            for topic, bound, home, binding in self._bound:
                if matches(topic, message.topic):
                    station = binding.station or binding.read("{station}", message.topic)
                    place, decoder, zone = TopicTarget(binding.name, home, station), bound, binding.zone
                    break
        if place is None:
            raise PayloadError("unknown_topic", _NO_DECODER(topic=message.topic[:200]))
        found = self.sites.get(place.site)
        if found is None:
            raise PayloadError("unknown_site", UNKNOWN_SITE(site=place.site))
        place = replace(place, station=found.find_current_id(place.station))
        if message.whole is not None:
            raise too_large(message.whole.payload_bytes)
        decoder = decoder or find_decoder(place.kind)
        received = ReceivedMessage(message, place, found, self.vocabulary, self.references, zone)
        return replace_positions(decoder(received), received)

    # ---- judge -------------------------------------------------------------------------------------------------
    def flag(self, observations: Sequence[Observation]) -> Sequence[Observation]:
        """The same observations as they would be stored, but for slips of the finger; nothing is stored."""
        if not any(map(is_suspect, observations)):
            return observations
        if self._database is None:
            return flag_fills(None, observations, is_sure=self._is_sure)
        with self._database.read() as connection:
            return flag_fills(connection, observations, is_sure=self._is_sure)

    def _flag(self, connection: Connection, observations: Sequence[Observation]) -> Sequence[Observation]:
        return self._typing_errors.flag(connection, flag_fills(connection, observations, is_sure=self._is_sure))

    # ---- store -------------------------------------------------------------------------------------------------
    def store(self, messages: Sequence[BrokerMessage], *, readings_first: bool = False) -> BatchResult:
        """Decode and store a batch; when this returns it is committed.

        A message that breaks the transaction is found by storing one by one, and goes to the quarantine.

        Args:
            readings_first: what cannot be read waits in the outcome, for `keep`: readings are there before the
                quarantine is written. No message is to be acknowledged before that.

        Raises:
            StoreBusyError: the database is away or locked; nothing was written, call again with the same batch.
        """
        for attempt in (1, 2):
            try:
                pairs = [(message, self.decode(message)) for message in messages]
                if self.references.is_asking and self.database.run_read(self.references.load):
                    self._admission.revert()
                    self.vocabulary.births.revert()
                    pairs = [(message, self.decode(message)) for message in messages]
                return self._commit(pairs, readings_first=readings_first)
            except StoreBusyError:
                self._forget()
                raise
            except IntegrityError:  # another process stored the same keys meanwhile: look again
                self._forget()
                if attempt == 2:
                    log.warning("a batch of %d messages was refused twice; storing one by one", len(messages))
            except Exception:
                log.exception("a batch of %d messages was refused; storing one by one", len(messages))
                self._forget()
                break
        return self._one_by_one(messages)

    def keep(self, refusals: Refusals, portion_bytes: int = PORTION_BYTES) -> None:
        """Write the next portion of what waits into the quarantine; where that is refused, one by one.

        A payload of a megabyte is a portion of its own: the database is locked no longer than one of them takes.

        Args:
            refusals: what is settled is taken from what waits, and noted.
            portion_bytes: of one transaction, beyond its first payload.

        Raises:
            StoreBusyError: what waits then is not written; call again with the same.
        """
        ends = accumulate(ROW_BYTES + len(rejected.payload) for _, rejected in refusals.waiting)
        count = max(1, sum(1 for _ in takewhile(lambda end: end <= portion_bytes, ends)))
        try:
            self._keep_first(refusals, count)
        except StoreBusyError:
            raise
        except Exception:
            log.exception("%d rows of the quarantine were refused; storing one by one", count)
            for _ in range(count):
                message = refusals.waiting[0][0]
                try:
                    self._keep_first(refusals, 1)
                except StoreBusyError:
                    raise
                except Exception:
                    log.exception("what is wrong with a message on %s can be written nowhere", message.topic[:200])
                    if all(one is not message for one in refusals.lost):
                        refusals.lost.append(message)
                    del refusals.waiting[0]

    def _keep_first(self, refusals: Refusals, count: int) -> None:
        with self.database.write(urgent=True) as connection:
            unkept = add_rejected(connection, [rejected for _, rejected in refusals.waiting[:count]], self._quota)
        refusals.unkept += unkept
        del refusals.waiting[:count]

    def _forget(self) -> None:
        """After a rollback memory may hold what the database does not."""
        self._ids.clear()
        self.references.revert()
        self._admission.revert()
        self.vocabulary.births.revert()

    def _commit(self, pairs: Sequence[Pair], *, readings_first: bool = False) -> BatchResult:
        now = self._clock()
        observations: Sequence[Observation] = [o for _, decoded in pairs for o in decoded.observations]
        refused = [(message, _reject(message, fault)) for message, decoded in pairs for fault in decoded.faults]
        marks = [decoded.mark for _, decoded in pairs if decoded.mark is not None]
        links = [link for _, decoded in pairs for link in decoded.links if self._is_declared(link)]
        asks = {decoded.request[0]: decoded.request for _, decoded in pairs if decoded.request is not None}
        with self.database.write(urgent=True) as connection:
            observations = self._flag(connection, observations)
            added = add_observations(connection, observations, now, self._ids, sites=self.sites)
            self._tell_plugins(connection, observations, added)
            corrected = self._log_corrections(connection, added.revised, now) if added.revised else {}
            unkept = 0
            if not readings_first:
                unkept = add_rejected(connection, [rejected for _, rejected in refused], self._quota)
            gaps = note_sequences(connection, marks, now) if marks else []
            notified = _add_notices(connection, pairs)
            save_links(connection, links)
            opened = self.references.save(connection, now)
            request_references(connection, opened, gather_recipients(self.sites.values()), now)
        self._remember(observations, corrected)
        by_site = groupby(observations, attrgetter("site"))
        return BatchResult(
            added,
            len(refused),
            len(gaps),
            added.sites | notified,
            added.sites - notified - {site for site, rows in by_site if any(map(self._may_vote, rows))},
            unkept=unkept,
            asks=tuple(asks.values()),
            waiting=tuple(sorted(refused, key=lambda one: len(one[1].payload) > LARGE_BYTES)) if readings_first else (),
            brings_history=any(
                (now - self._newest_at.get(site, now)).total_seconds() > HISTORY_S for site in added.sites
            ),
        )

    def _tell_plugins(self, connection: Connection, observations: Sequence[Observation], added: AddResult) -> None:
        """Let plugins note which readings were stored. The readings are stored even if a plugin fails."""
        for plugin, call in implementations("readings_stored") if observations else ():
            try:
                with write_part(f"plugin {plugin}"):
                    call(connection=connection, sites=self.sites, readings=observations, added=added)
            except (SQLAlchemyError, StoreBusyError):
                raise  # the transaction may be broken
            except Exception:
                log.exception("readings_stored of the plugin %s: %d readings", plugin, len(observations))

    def complete(self) -> None:
        """Compute what follows from imported readings, unless a service runs on this database and does so itself."""
        if self._database is None:
            return
        core = self._database.run_read(find_heartbeat, "core")
        if core is not None and not is_silent(core, self._clock()):
            return
        hooks().import_finished(database=self._database, sites=self.sites, clock=self._clock)

    def _remember(self, observations: Sequence[Observation], corrected: Mapping[tuple[str, str], datetime]) -> None:
        """After a commit memory holds what the database does."""
        self._corrected |= corrected
        self.references.settle()
        self._admission.settle()
        self.vocabulary.births.settle()
        for item in observations:
            ahead_s = (item.observed_at - item.received_at).total_seconds()
            self._newest_at[item.site] = max(item.observed_at, self._newest_at.get(item.site, item.observed_at))
            known = self.last_readings.get((item.site, item.station))
            if (
                known is None
                or item.received_at > known.received_at
                or (item.received_at == known.received_at and ahead_s > known.ahead_s)
            ):
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
        """An entry for each station of which stored values are changed, one an hour; final solutions need none."""
        mine: dict[tuple[str, str], list[Observation]] = {}
        for item in revised:
            if item.solution != "final":
                mine.setdefault((item.site, item.station), []).append(item)
        due = {p: rows for p, rows in mine.items() if now - self._corrected.get(p, EPOCH) >= CORRECTIONS_EVERY}
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

    def _one_by_one(self, messages: Sequence[BrokerMessage]) -> BatchResult:
        done: list[BatchResult] = []
        lost: list[BrokerMessage] = []
        for message in messages:
            try:
                try:
                    done.append(self._commit([(message, self.decode(message))]))
                except StoreBusyError:
                    self._forget()
                    raise
                except Exception as error:
                    self._forget()
                    cause = str(getattr(error, "orig", None) or error).splitlines()[0][:500]
                    fault = MessageFault("store_refused", _STORE_REFUSED(problem=cause), message.payload)
                    done.append(self._commit([(message, DecodedMessage(faults=(fault,)))]))
            except StoreBusyError:
                raise  # the whole batch comes again; what was stored is then a duplicate
            except Exception:
                log.exception("message on %s could be written nowhere and stays with the broker", message.topic[:200])
                lost.append(message)
        sites = frozenset[str]().union(*(one.sites for one in done))
        added = AddResult(
            sum(one.added.stored for one in done),
            sum(one.added.duplicates for one in done),
            sites,
            revised=tuple(observation for one in done for observation in one.added.revised),
        )
        rejected, gaps, unkept = (sum(getattr(one, name) for one in done) for name in ("rejected", "gaps", "unkept"))
        asks = dict(request for one in done for request in one.asks)
        return BatchResult(added, rejected, gaps, sites, lost=tuple(lost), unkept=unkept, asks=tuple(asks.items()))

    def store_rows(
        self, observations: Sequence[Observation], rejected: Sequence[RejectedMessage], by: str | None = None
    ) -> AddResult:
        """Store what somebody read in from a file; the same rules as for messages.

        Raises:
            StoreBusyError: nothing was written, call again.
        """
        now = self._clock()
        for last in (False, True):
            try:
                with self.database.write() as connection:
                    judged = self._flag(connection, observations)
                    result = add_observations(connection, judged, now, self._ids, by, self.sites)
                    self._tell_plugins(connection, judged, result)
                    add_rejected(connection, rejected, self._quota)
                    return result
            except IntegrityError:
                self._ids.clear()
                if last:
                    raise
            except Exception:
                self._ids.clear()
                raise
        raise AssertionError


def _add_notices(connection: Connection, pairs: Sequence[Pair]) -> frozenset[str]:
    """Store the reports and events of messages; the sites of those that are new."""
    actor, found = Actor(MQTT, "program"), set[str]()
    for message, decoded in pairs:
        report, event, at = decoded.report, decoded.event, message.received_at
        if report is not None and add_report(connection, report, at, actor=actor, credential=MQTT):
            found.add(report.site)
        if event is not None and add_event(connection, event, at, decoded.event_by, via=MQTT):
            found.add(event.site)
    return frozenset(found)


def _refuse(code: str, reason: str) -> Decoder:
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
        whole=message.whole,
    )

"""What programs hear by MQTT: `<site>/state` and `status` retained, `<site>/alert` once per change and never lost."""

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from monitor.alerts.views import AlertRow
from monitor.broker.access import Access
from monitor.broker.probe import TRIED
from monitor.broker.signing import SigningKey, is_signed, sign
from monitor.canonical import canonical_json
from monitor.delivery.notifiers.mqtt import TIMEOUT_S, MqttPublisher
from monitor.delivery.queries.outbox import last_event_id, load_alert_events
from monitor.errors import DeliveryError, SlopewardError, StoreBusyError
from monitor.sites.topics import TOPIC_ROOT
from monitor.sites.views import SiteStatusRow
from monitor.storage.audit import find_head
from monitor.storage.engine import Database
from monitor.storage.service_state import find_heartbeat, write_heartbeat
from monitor.storage.views import load_view
from monitor.text.instants import format_iso, parse_time
from monitor.text.rendering import translate_all

_AWAITED: Final = 2000  # of ours that were not heard yet
_LOG_EVERY_S: Final = 60.0


class OwnTopics:
    """Compares what the broker delivers with what was published.

    `note` comes before each publishing; `compare` is called by the network thread. What the broker kept (retained) is
    not checked: it may be of another service, and is overwritten at each connection.

    Args:
        status: the topic of the service's own last will.
        find_keys: the keys that sign now.
    """

    def __init__(self, status: str, find_keys: Callable[[], Sequence[SigningKey]]) -> None:
        self._status, self._find_keys = status, find_keys
        self._newest: dict[str, bytes] = {}
        self._awaited: OrderedDict[bytes, None] = OrderedDict()
        self._stained: set[str] = set()
        self._lock = threading.Lock()
        self._log_at = 0.0
        self._count, self._last = 0, ""

    def note(self, topic: str, content: str) -> None:
        """We publish this now."""
        digest = _digest(topic, content.encode())
        with self._lock:
            self._newest[topic] = digest
            self._awaited[digest] = None
            while len(self._awaited) > _AWAITED:
                self._awaited.popitem(last=False)

    def compare(self, topic: str, payload: bytes, retained: bool) -> None:
        """The broker delivered this on one of our topics."""
        digest = _digest(topic, payload)
        with self._lock:
            ours = digest in self._awaited
            self._awaited.pop(digest, None)
            # each of ours comes once; the newest may come again, when the broker did not hear our acknowledgement
            if retained or ours or digest == self._newest.get(topic):
                return
            if topic in self._newest:
                self._stained.add(topic)
            if payload == TRIED:
                return  # `slopeward doctor` tells it to who called it; nobody else need be called for it
            signed = is_signed(topic, payload, self._find_keys())
            if signed and topic == self._status and b'"status":"offline"' in payload:
                return  # the last will of a predecessor
            self._count += 1
            self._last = f"{topic[:120]!r} ({'a message of ours, repeated' if signed else 'not signed by us'})"
        if time.monotonic() >= self._log_at:
            self._log_at = time.monotonic() + _LOG_EVERY_S
            _LOG.error("somebody else published on %s; %d such messages since start", self._last, self._count)

    def take_stained(self) -> set[str]:
        """Topics on which something foreign stands now: what is true must be published again."""
        with self._lock:
            stained, self._stained = self._stained, set()
        return stained

    def status(self) -> dict[str, Any]:
        """How many foreign messages came, and where the last one did."""
        with self._lock:
            return {"foreign": self._count, "foreign_last": self._last}


def _digest(topic: str, payload: bytes) -> bytes:
    return hashlib.sha256(topic.encode() + b"\n" + payload).digest()


_LOG = logging.getLogger(__name__)
CURSOR: Final = "mqtt_alert_cursor"
BEHIND: Final = 200  # PostgreSQL gives out ids before it commits: look so far back for late ones
VALID_S: Final = 180.0
EVERY_S: Final = 1.0


class StatePublisher:
    """One thread that publishes what changed every second and repeats the state before it expires.

    `valid_until` counts from the last evaluation, not from the publishing: a dead evaluation behind a living publisher
    must read as unknown.
    """

    def __init__(
        self,
        db: Database,
        access: Access,
        clock: Callable[[], datetime],
        *,
        version: str,
        page_url: str = "http://127.0.0.1:8080",
        find_action: Callable[[str, str], str] = lambda _site, _stage: "",
        find_trouble: Callable[[], str] = lambda: "",
        find_keys: Callable[[], Sequence[SigningKey]] = lambda: (),
    ) -> None:
        offline = canonical_json({"status": "offline", "version": version})
        self._find_keys, self._keys, self._key_trouble = find_keys, tuple[SigningKey, ...](), ""
        self.own = OwnTopics(f"{TOPIC_ROOT}/status", self._load_keys)
        self._publisher = MqttPublisher(
            access,
            will=(f"{TOPIC_ROOT}/status", sign(f"{TOPIC_ROOT}/status", offline, self._load_keys(), clock())),
            name="state",
            filters=[f"{TOPIC_ROOT}/+/state", f"{TOPIC_ROOT}/+/alert", f"{TOPIC_ROOT}/status"],
            on_message=self.own.compare,
        )
        self._db, self._clock, self._version, self._page_url = db, clock, version, page_url.rstrip("/")
        self._find_action, self._find_trouble = find_action, find_trouble
        self._offline, self._started_at = offline, clock()
        self._sent: dict[str, tuple[str, datetime]] = {}
        self._connection = 0
        self._progress: dict[str, datetime] = {}
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # of the topic `status`, which two threads publish
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; a broker that is away is waited for."""
        self._progress["state_publisher"] = self._clock()
        self._thread = threading.Thread(target=self._run, name="state-publisher", daemon=True)
        self._thread.start()
        threading.Thread(target=self._run_trouble, name="status-publisher", daemon=True).start()

    def stop(self, timeout_s: float) -> None:
        """Say `offline` and disconnect."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        try:
            if self._publisher.connections:
                self._publish(f"{TOPIC_ROOT}/status", self._offline, retain=True, timeout_s=min(timeout_s, 2.0))
        except DeliveryError as error:
            _LOG.info("%s", error)
        self._publisher.close()

    def progress(self) -> dict[str, datetime]:
        """When the thread last went round."""
        return dict(self._progress)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.publish_once()
            except (DeliveryError, StoreBusyError) as error:
                _LOG.warning("state is not published: %s", error)
                self._stopping.wait(2.0)
            except Exception:  # loop edge
                _LOG.exception("state publisher")
            self._progress["state_publisher"] = self._clock()
            self._stopping.wait(EVERY_S)

    def _run_trouble(self) -> None:
        """Say what keeps core from deciding; in a thread of its own, for the other may be waiting for the database."""
        while not self._stopping.wait(EVERY_S):
            try:
                with self._lock:
                    if trouble := self._find_trouble():
                        blind = {"status": "offline", "version": self._version, "reason": f"cannot decide: {trouble}"}
                        self._publish_changed(f"{TOPIC_ROOT}/status", canonical_json(blind), self._clock())
            except DeliveryError as error:
                _LOG.warning("status is not published: %s", error)
            except Exception:  # loop edge
                _LOG.exception("status")

    def publish_once(self) -> None:
        """Publish new alert events, then the states that changed or are about to expire, then `status`."""
        now = self._clock()
        if self._find_trouble() or not self._db.holds():
            return  # the states run out by themselves; `status` is told by the other thread
        self._publish_events(now)
        with self._db.read() as c:
            entry, head = find_head(c)
            sites = load_view(c, "site_status", SiteStatusRow, order_by=["site"])
            # every second: the frozen inputs of hundreds of open alerts are tens of megabytes
            alerts = load_view(c, "active_alerts", AlertRow, order_by=["-level", "alert_id"], without="evidence")
        if self._publisher.connections != self._connection:  # a new broker or session: tell all again
            self._connection = self._publisher.connections
            self._sent.clear()
        for topic in self.own.take_stained():  # what somebody else wrote there must not stand
            self._sent.pop(topic, None)
        for row in sites:
            mine = [a for a in alerts if a["site"] == row["site"]]
            action = self._find_action(row["site"], row["movement_stage"]) if row["movement_stage"] else ""
            self._publish_changed(f"{TOPIC_ROOT}/{row['site']}/state", site_payload(row, mine, action), now)
        newest = {row["site"]: row["newest_at"] for row in sites}
        ages = {
            site: None if at is None else round((now - parse_time(at)).total_seconds(), -1)
            for site, at in newest.items()
        }
        status = {
            "status": "online",
            "version": self._version,
            "newest_age_s": ages,
            "audit": {"entry": entry, "head": head},  # kept elsewhere it shows a tail that was cut off
        }
        with self._lock:
            if not self._find_trouble():
                self._publish_changed(f"{TOPIC_ROOT}/status", canonical_json(status), now)

    def status(self) -> dict[str, Any]:
        """What it sees of others on its topics, and why it cannot sign; as plain values."""
        return {**self.own.status(), "unsigned": self._key_trouble}

    def _load_keys(self) -> Sequence[SigningKey]:
        """The keys as they are now; where they cannot be read, the last ones that could."""
        try:
            self._keys, trouble = tuple(self._find_keys()), ""
        except (SlopewardError, OSError) as error:
            trouble = str(error)
        if trouble and trouble != self._key_trouble:
            _LOG.error("the keys of the signatures cannot be read: %s", trouble)
        self._key_trouble = trouble
        return self._keys

    def _publish(self, topic: str, content: str, *, retain: bool = False, timeout_s: float = TIMEOUT_S) -> None:
        signed = sign(topic, content, self._load_keys(), self._clock())
        self.own.note(topic, signed)
        self._publisher.publish(topic, signed, retain=retain, timeout_s=timeout_s)

    def _publish_changed(self, topic: str, content: str, now: datetime) -> None:
        last = self._sent.get(topic)
        if last is not None and last[0] == content and now - last[1] < timedelta(seconds=VALID_S / 3):
            return
        self._publish(topic, content, retain=True)
        self._sent[topic] = (content, now)

    def _publish_events(self, now: datetime) -> None:
        with self._db.read() as c:
            cursor = find_heartbeat(c, CURSOR)
            # at the very first start history is not told again, but nothing since the start is left out
            floor = last_event_id(c, self._started_at) if cursor is None else int(cursor[1]["floor"])
            done = set() if cursor is None else set(cursor[1]["done"])
            events = [e for e in load_alert_events(c, floor) if e.id not in done]
        if cursor is not None and not events:
            return
        for event in events:
            self._publish(f"{TOPIC_ROOT}/{event.site}/alert", event_payload(event, self._page_url))
            done.add(event.id)
        floor = max(floor, max(done, default=floor) - BEHIND)
        with self._db.write() as c:
            write_heartbeat(c, CURSOR, {"floor": floor, "done": sorted(i for i in done if i > floor)}, now)


def site_payload(row: SiteStatusRow, alerts: Iterable[AlertRow], action: str = "") -> str:
    """The retained state of a site as JSON, out of `site_status` and `active_alerts`; never evaluated = null."""
    at = row["evaluated_at"]
    valid_until = None if at is None else format_iso(parse_time(at) + timedelta(seconds=VALID_S))
    shown = ("alert_id", "ledger", "level", "level_name", "state", "exercise", "raised_at", "reason")
    keys = SiteStatusRow.__annotations__.keys() - {"active_alerts", "unacknowledged", "config_version"}
    payload = {
        **{key: value for key, value in row.items() if key in keys},
        "stage": row["movement_stage"],
        "stage_action": action,
        "active_alerts": translate_all([{key: v for key, v in alert.items() if key in shown} for alert in alerts]),
        "valid_until": valid_until,
    }
    return canonical_json(payload)


def event_payload(event: Any, page_url: str) -> str:
    """One change of one alert as JSON."""
    payload = {
        "event_id": event.id,
        "sequence": event.sequence,
        "alert_id": event.alert_id,
        "site": event.site,
        "ledger": event.ledger,
        "level": event.to_level,
        "state": event.to_state,
        "reason": event.reason,
        "exercise": event.exercise,
        "at": format_iso(event.at),
        "data_time": None if event.data_time is None else format_iso(event.data_time),
        "evidence_url": f"{page_url}/alerts/{event.alert_id}",
    }
    return canonical_json(payload)

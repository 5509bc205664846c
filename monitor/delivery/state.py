"""Publish the state of sites for programs by MQTT.

The topics `<site>/state` and `status` are retained. `<site>/alert` has one message for each change of an alert.
"""

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
from monitor.broker.probe import PROBE_PAYLOAD
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

_LOG = logging.getLogger(__name__)
CURSOR: Final = "mqtt_alert_cursor"
# PostgreSQL assigns ids before the commit. Events with ids up to this much lower may appear late.
BEHIND: Final = 200
VALID_S: Final = 180.0
EVERY_S: Final = 1.0
# The broker delivers each published message back. At most this many messages are stored until then.
_MAX_AWAITED: Final = 2000
_LOG_EVERY_S: Final = 60.0


class OwnTopics:
    """Detects messages that other programs publish on the topics of the service.

    `note` is called before each publication and `compare`, in the network thread, for each message of the broker.
    Retained messages are not checked: an earlier process may have published them, and they are overwritten at each
    connection.

    Args:
        status: Topic of the last will of the service.
        find_keys: Returns the keys that sign now.
    """

    def __init__(self, status: str, find_keys: Callable[[], Sequence[SigningKey]]) -> None:
        self._status = status
        self._find_keys = find_keys
        self._newest: dict[str, bytes] = {}
        self._awaited: OrderedDict[bytes, None] = OrderedDict()
        self._overwritten: set[str] = set()
        self._lock = threading.Lock()
        self._next_log_at = 0.0
        self._count = 0
        self._last = ""

    def note(self, topic: str, content: str) -> None:
        """Note a message that is about to be published."""
        digest = _digest(topic, content.encode())
        with self._lock:
            self._newest[topic] = digest
            self._awaited[digest] = None
            while len(self._awaited) > _MAX_AWAITED:
                self._awaited.popitem(last=False)

    def compare(self, topic: str, payload: bytes, retained: bool) -> None:
        """Compare a message that the broker delivered on one of the topics."""
        digest = _digest(topic, payload)
        with self._lock:
            is_ours = digest in self._awaited
            self._awaited.pop(digest, None)
            # The broker delivers the newest message again if it did not receive the acknowledgement.
            if retained or is_ours or digest == self._newest.get(topic):
                return
            if topic in self._newest:
                self._overwritten.add(topic)
            if payload == PROBE_PAYLOAD:
                # `slopeward doctor` tried to publish and reports the result itself.
                return
            signed = is_signed(topic, payload, self._find_keys())
            if signed and topic == self._status and b'"status":"offline"' in payload:
                # The last will of an earlier process.
                return
            self._count += 1
            self._last = f"{topic[:120]!r} ({'a message of ours, repeated' if signed else 'not signed by us'})"
        if time.monotonic() >= self._next_log_at:
            self._next_log_at = time.monotonic() + _LOG_EVERY_S
            _LOG.error("somebody else published on %s; %d such messages since start", self._last, self._count)

    def take_overwritten(self) -> set[str]:
        """Return the topics that others overwrote since the last call. They must be published again."""
        with self._lock:
            overwritten = self._overwritten
            self._overwritten = set()
        return overwritten

    def status(self) -> dict[str, Any]:
        """Return the number of messages of others, and the topic of the last one."""
        with self._lock:
            return {"foreign": self._count, "foreign_last": self._last}


def _digest(topic: str, payload: bytes) -> bytes:
    return hashlib.sha256(topic.encode() + b"\n" + payload).digest()


class StatePublisher:
    """Publishes changes every second, and repeats each state before it expires.

    Sites in shadow mode are not published.

    `valid_until` counts from the last evaluation and not from the publication, so that a state without evaluations
    expires although this thread runs.
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
        self._find_keys = find_keys
        self._keys = tuple[SigningKey, ...]()
        self._key_trouble = ""
        self.own = OwnTopics(f"{TOPIC_ROOT}/status", self._load_keys)
        self._publisher = MqttPublisher(
            access,
            will=(f"{TOPIC_ROOT}/status", sign(f"{TOPIC_ROOT}/status", offline, self._load_keys(), clock())),
            name="state",
            filters=[f"{TOPIC_ROOT}/+/state", f"{TOPIC_ROOT}/+/alert", f"{TOPIC_ROOT}/status"],
            on_message=self.own.compare,
        )
        self._db = db
        self._clock = clock
        self._version = version
        self._page_url = page_url.rstrip("/")
        self._find_action = find_action
        self._find_trouble = find_trouble
        self._offline = offline
        self._started_at = clock()
        self._sent: dict[str, tuple[str, datetime]] = {}
        self._connection = 0
        self._progress: dict[str, datetime] = {}
        self._stopping = threading.Event()
        # Two threads publish the topic `status`.
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the threads. They wait for a broker that is unreachable."""
        self._progress["state_publisher"] = self._clock()
        self._thread = threading.Thread(target=self._run, name="state-publisher", daemon=True)
        self._thread.start()
        threading.Thread(target=self._run_trouble, name="status-publisher", daemon=True).start()

    def stop(self, timeout_s: float) -> None:
        """Publish the status `offline` and disconnect."""
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
        """Return when the thread finished its last round."""
        return dict(self._progress)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.publish_once()
            except (DeliveryError, StoreBusyError) as error:
                _LOG.warning("state is not published: %s", error)
                self._stopping.wait(2.0)
            except Exception:  # the next round publishes the states
                _LOG.exception("state publisher")
            self._progress["state_publisher"] = self._clock()
            self._stopping.wait(EVERY_S)

    def _run_trouble(self) -> None:
        """Publish why no decision is possible. The other thread may be waiting for the database at that time."""
        while not self._stopping.wait(EVERY_S):
            try:
                with self._lock:
                    trouble = self._find_trouble()
                    if trouble:
                        blind = {"status": "offline", "version": self._version, "reason": f"cannot decide: {trouble}"}
                        self._publish_changed(f"{TOPIC_ROOT}/status", canonical_json(blind), self._clock())
            except DeliveryError as error:
                _LOG.warning("status is not published: %s", error)
            except Exception:  # the next round publishes the status
                _LOG.exception("status")

    def publish_once(self) -> None:
        """Publish new alert events, then the states that changed or are about to expire, then `status`."""
        now = self._clock()
        if self._find_trouble() or not self._db.can_send():
            # The states expire by themselves. The other thread publishes `status`.
            return
        self._publish_events(now)
        with self._db.read() as c:
            entry, head = find_head(c)
            # Programs act on what they read. The last state before shadow mode expires by itself.
            sites = [row for row in load_view(c, "site_status", SiteStatusRow, order_by=["site"]) if not row["shadow"]]
            # The stored inputs of hundreds of open alerts are tens of megabytes, and are not needed.
            alerts = load_view(c, "active_alerts", AlertRow, order_by=["-level", "alert_id"], without="evidence")
        # A new broker or session gets all topics again.
        if self._publisher.connections != self._connection:
            self._connection = self._publisher.connections
            self._sent.clear()
        for topic in self.own.take_overwritten():
            self._sent.pop(topic, None)
        for row in sites:
            alerts_of_site = [alert for alert in alerts if alert["site"] == row["site"]]
            action = self._find_action(row["site"], row["movement_stage"]) if row["movement_stage"] else ""
            self._publish_changed(f"{TOPIC_ROOT}/{row['site']}/state", site_payload(row, alerts_of_site, action), now)
        newest = {row["site"]: row["newest_at"] for row in sites}
        ages = {
            site: None if at is None else round((now - parse_time(at)).total_seconds(), -1)
            for site, at in newest.items()
        }
        status = {
            "status": "online",
            "version": self._version,
            "newest_age_s": ages,
            # A copy of the head elsewhere reveals that the end of the audit log was removed.
            "audit": {"entry": entry, "head": head},
        }
        with self._lock:
            if not self._find_trouble():
                self._publish_changed(f"{TOPIC_ROOT}/status", canonical_json(status), now)

    def status(self) -> dict[str, Any]:
        """Return the messages of others on the topics, and why messages are not signed, as plain values."""
        return {**self.own.status(), "unsigned": self._key_trouble}

    def _load_keys(self) -> Sequence[SigningKey]:
        """Return the keys that sign now; if they cannot be read, the last ones."""
        trouble = ""
        try:
            self._keys = tuple(self._find_keys())
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
            # At the very first start, earlier events are not published.
            floor = last_event_id(c, self._started_at) if cursor is None else int(cursor[1]["floor"])
            done = set() if cursor is None else set(cursor[1]["done"])
            events = [event for event in load_alert_events(c, floor) if event.id not in done]
        if cursor is not None and not events:
            return
        for event in events:
            self._publish(f"{TOPIC_ROOT}/{event.site}/alert", event_payload(event, self._page_url))
            done.add(event.id)
        floor = max(floor, max(done, default=floor) - BEHIND)
        with self._db.write() as c:
            write_heartbeat(c, CURSOR, {"floor": floor, "done": sorted(i for i in done if i > floor)}, now)


def site_payload(row: SiteStatusRow, alerts: Iterable[AlertRow], action: str = "") -> str:
    """Return the retained state of a site as JSON. Values of a site that was never evaluated are null."""
    at = row["evaluated_at"]
    valid_until = None if at is None else format_iso(parse_time(at) + timedelta(seconds=VALID_S))
    shown = ("alert_id", "ledger", "level", "level_name", "state", "exercise", "raised_at", "reason")
    keys = SiteStatusRow.__annotations__.keys() - {"active_alerts", "unacknowledged", "config_version", "shadow"}
    payload = {
        **{key: value for key, value in row.items() if key in keys},
        "stage": row["movement_stage"],
        "stage_action": action,
        "active_alerts": translate_all([{key: v for key, v in alert.items() if key in shown} for alert in alerts]),
        "valid_until": valid_until,
    }
    return canonical_json(payload)


def event_payload(event: Any, page_url: str) -> str:
    """Return one change of an alert as JSON."""
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

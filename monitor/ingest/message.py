"""Messages of the broker: their topics, what a decoder returns, and the queue in front of the writer."""

import re
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from monitor.ingest.queries.messages import SequenceMark
from monitor.readings.records import Link, Observation, ObserverReport, PayloadSize, SiteEvent
from monitor.sites import topics
from monitor.text.names import is_station

# A batch is written when this number of messages waits.
BATCH_MESSAGES: Final = 500
# A batch has at most this number of messages. If more arrived while the last batch was written, fewer commits are
# needed for them.
BATCH_MOST: Final = 2000
BATCH_BYTES: Final = 4 << 20
# How long the first message of a batch waits for others. It is short, because an alert must be stored within 100 ms of
# its reading.
BATCH_WAIT_S: Final = 0.015
# Pause between two batches, however slow commits are, so that other writers can write.
PAUSE_S: Final = 0.01
# Pause between two batches if a full batch waits.
_SHORT_PAUSE_S: Final = 0.005
# Messages of backfill that a batch takes however many live messages wait, so that backfill always makes progress.
_BACKFILL_SHARE: Final = 200
# A batch without live messages takes no further message after this number of bytes, so it has at most two of 1 MiB.
_BACKFILL_BYTES: Final = 5 << 18
# Bytes of backfill after which a batch with live messages takes no further message of backfill.
_BACKFILL_SHARE_BYTES: Final = 1 << 18
# A message of QoS 0 is dropped if its queue already holds this number of messages of any QoS.
QOS0_QUEUE_MESSAGES: Final = 20_000
# A session stops reading from its connection while this much of it waits. Receive Maximum alone does not limit what
# the broker sends: Mosquitto 2.0 ignores it for messages that waited for the connection, and it does not count bytes.
QUEUE_MESSAGES: Final = 8000
QUEUE_BYTES: Final = 32 << 20

ROOT: Final = f"{topics.TOPIC_ROOT}/"
# Rows of files in the quarantine have this topic. The broker has no such topic.
FILE_TOPIC: Final = "file/"
# The same for files of InSAR points, which are corrected and imported again.
POINTS_TOPIC: Final = "points/"
# The filters end with # so that the quarantine shows topics that are written wrongly.
LIVE_FILTER: Final = ROOT + "+/+/obs/#"
BACKFILL_FILTERS: Final = (ROOT + "+/+/backfill/obs/#", ROOT + "+/report/#", ROOT + "+/event/#")
# Topics without a station, and topics that start with a slash.
STRAY_FILTERS: Final = (ROOT + "+/obs", f"/{ROOT}#")
_SITE: Final = re.compile(r"[a-z0-9-]{1,64}")
_BACKFILL: Final = "backfill"


@dataclass(frozen=True, slots=True)
class StoredSites:
    """Sites for which a committed batch contains something new.

    Attributes:
        sites: Ids of the sites.
        without_votes: Those of `sites` whose new readings cannot change a level.
    """

    sites: frozenset[str]
    without_votes: frozenset[str] = frozenset()


@dataclass(slots=True)
class BrokerMessage:
    """A message of the broker, or a part of a file or of the quarantine that is read like one.

    Attributes:
        client: How it was received: session (`live`, `backfill`), `file:` and a name, or `login:` and a name.
        packet_id: Packet identifier for the acknowledgement.
        connection_number: Number of the connection that received it. An acknowledgement is valid for this connection
            only.
        retained: With MQTT 3.1.1, whether the broker had stored the message, so that the time of its publication is
            unknown. Always False with MQTT 5, whose flag shows only what the publisher asked for.
        first_at: When it arrived first, if it was in the quarantine.
        full_size: True size and digest of the payload if `payload` is only its beginning.
    """

    topic: str
    payload: bytes
    received_at: datetime
    client: str
    packet_id: int = 0
    qos: int = 0
    connection_number: int = 0
    retained: bool = False
    first_at: datetime | None = None
    full_size: PayloadSize | None = None

    @property
    def came_at(self) -> datetime:
        """When it arrived first, which is the time of readings without a time of their own."""
        return self.first_at or self.received_at


@dataclass(frozen=True, slots=True)
class MessageFault:
    """A message, or a part of one, that is rejected and goes to the quarantine.

    Attributes:
        code: Stable code of the reason.
        reason: The reason for people.
        payload: What could be read again later.
    """

    code: str
    reason: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class DecodedMessage:
    """What a decoder returns for a message. All parts are empty if the message contains nothing to store.

    Attributes:
        request: Topic and payload to publish, such as the request for a new Sparkplug birth.
    """

    observations: tuple[Observation, ...] = ()
    faults: tuple[MessageFault, ...] = ()
    report: ObserverReport | None = None
    event: SiteEvent | None = None
    event_by: str = ""
    mark: SequenceMark | None = None
    links: tuple[Link, ...] = ()
    request: tuple[str, bytes] | None = None


@dataclass(frozen=True, slots=True)
class TopicPlace:
    """Site and station of a topic, and the name of its decoder. The station is empty if the topic has none."""

    decoder_name: str
    site: str
    station: str


@lru_cache(maxsize=4096)
def locate(topic: str) -> TopicPlace | None:
    """Return decoder, site and station for a valid topic of Slopeward or of rejected rows of a file; else None.

    >>> locate("slopeward/v1/north/G1/backfill/obs")
    TopicPlace(decoder_name='native', site='north', station='G1')
    >>> locate("slopeward/v1/north/report").decoder_name, locate("slopeward/v1/North/G1/obs")
    ('report', None)
    """
    if topic.startswith(FILE_TOPIC):
        return TopicPlace("rows", topic[len(FILE_TOPIC) :], "")
    if not topic.startswith(ROOT):
        return None
    parts = topic[len(ROOT) :].split("/")
    if not _SITE.fullmatch(parts[0]) or parts[0] == "status":
        return None
    match parts[1:]:
        case [station, "obs"] | [station, "backfill", "obs"] if is_station(station):
            return TopicPlace("native", parts[0], station)
        case ["report"]:
            return TopicPlace("report", parts[0], "")
        case ["event"]:
            return TopicPlace("event", parts[0], "")
    return None


def matches(topic_filter: str, topic: str) -> bool:
    """Return whether a topic matches an MQTT topic filter.

    >>> matches("app/+/up", "app/7/up"), matches("app/#", "app/7/up"), matches("app/+", "app/7/up")
    (True, True, False)
    """
    filter_parts = topic_filter.split("/")
    topic_parts = topic.split("/")
    for i, part in enumerate(filter_parts):
        if part == "#":
            return True
        if i >= len(topic_parts) or part not in ("+", topic_parts[i]):
            return False
    return len(filter_parts) == len(topic_parts)


class _Queue:
    """Messages of one session, with their size."""

    def __init__(self) -> None:
        self._messages: deque[BrokerMessage] = deque()
        self._put_bytes = 0  # changed by the network thread alone
        self._taken_bytes = 0  # changed by the writer alone

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def has_room(self) -> bool:
        return len(self._messages) < QUEUE_MESSAGES and self._put_bytes - self._taken_bytes < QUEUE_BYTES

    def put(self, message: BrokerMessage) -> None:
        self._put_bytes += len(message.payload)
        self._messages.append(message)

    def take(self, batch: list[BrokerMessage], most: int, room_bytes: int) -> None:
        """Move messages to the end of a batch until it has `most` messages, or `room_bytes` are used up."""
        while self._messages and len(batch) < most and room_bytes > 0:
            message = self._messages.popleft()
            room_bytes -= len(message.payload)
            self._taken_bytes += len(message.payload)
            batch.append(message)


class Inbox:
    """Queues between the network threads and the writer, one for live messages and one for backfill.

    `put` never blocks. A session reads from its connection only while `has_room` returns True. Messages of QoS 0 that
    do not fit are dropped and counted.
    """

    def __init__(self) -> None:
        self._live = _Queue()
        self._backfill = _Queue()
        self._waiting = threading.Event()
        self._waiting_since_s = 0.0  # monotonic
        self._full = threading.Event()  # a batch is complete
        self.dropped_qos0 = 0

    def _find_queue(self, client: str) -> _Queue:
        return self._backfill if client == _BACKFILL else self._live

    def has_room(self, client: str) -> bool:
        """Return whether more messages of a session can be put."""
        return self._find_queue(client).has_room

    def put(self, message: BrokerMessage) -> None:
        """Add a message and wake the writer."""
        queue = self._find_queue(message.client)
        if message.qos == 0 and len(queue) >= QOS0_QUEUE_MESSAGES:
            self.dropped_qos0 += 1
            return
        queue.put(message)
        self.wake()
        if len(self) >= BATCH_MESSAGES:
            self._full.set()

    def wake(self) -> None:
        """Wake the writer."""
        if not self._waiting.is_set():
            self._waiting_since_s = time.monotonic()
            self._waiting.set()

    def __len__(self) -> int:
        return len(self._live) + len(self._backfill)

    def is_due(self) -> bool:
        """Return whether a batch is nearly ready, so that the writer should start nothing else."""
        due_at_s = self._waiting_since_s + BATCH_WAIT_S - PAUSE_S
        return self._waiting.is_set() and (len(self) >= BATCH_MESSAGES or time.monotonic() >= due_at_s)

    def take(self, timeout_s: float) -> list[BrokerMessage]:
        """Wait for messages and return a batch: live messages, then backfill, each in the order of reception.

        The batch is complete when `BATCH_MESSAGES` wait, or `BATCH_WAIT_S` after the first of them arrived. It may
        arrive while the last batch is written. There is a pause after the last batch for other writers.
        """
        started_s = time.monotonic()
        if not self._waiting.wait(timeout_s):
            return []
        wait_s = max(self._waiting_since_s + BATCH_WAIT_S, started_s + PAUSE_S) - time.monotonic()
        if len(self) and wait_s > 0:
            self._full.wait(wait_s)
        pause_s = started_s + _SHORT_PAUSE_S - time.monotonic()
        if pause_s > 0:
            time.sleep(pause_s)
        # A message that arrives after these lines wakes the writer again.
        self._waiting.clear()
        self._full.clear()
        batch: list[BrokerMessage] = []
        reserved = min(_BACKFILL_SHARE, len(self._backfill))
        backfill_bytes = _BACKFILL_SHARE_BYTES if len(self._live) else _BACKFILL_BYTES
        self._live.take(batch, BATCH_MOST - reserved, BATCH_BYTES)
        self._backfill.take(batch, BATCH_MOST, backfill_bytes)
        if len(self):
            self._waiting.set()
        if len(self) >= BATCH_MESSAGES:
            self._full.set()
        return batch

"""A message as it came, the topics it may come on, what a decoder makes of it, and the queue before the writer."""

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

BATCH_MESSAGES: Final = 500  # that many end the wait
UNBOUNDED_MOST: Final = 20_000  # messages of QoS 0 that wait
BATCH_MOST: Final = 2000  # that many are taken when more came while the last batch was written: fewer disk syncs
BATCH_BYTES: Final = 4 << 20
BATCH_WAIT_S: Final = 0.025
PAUSE_S: Final = 0.02  # between two batches, however slow commits are: other writers get their turn
_YIELD_S: Final = 0.005  # the same where a full batch waits
_BACKFILL_SHARE: Final = 200  # of a batch, however much live data waits: catching up never stands still
_BACKFILL_BYTES: Final = 5 << 18  # a batch without live data ends beyond it: two large messages
_BACKFILL_SHARE_BYTES: Final = 1 << 18  # of a batch with live data, one message of backfill at least


ROOT: Final = f"{topics.TOPIC_ROOT}/"
FILE_TOPIC: Final = "file/"  # no topic of the broker: rows of files, in the quarantine
POINTS_TOPIC: Final = "points/"  # the same for files of InSAR points; those are mended and imported again
LIVE_FILTER: Final = ROOT + "+/+/obs/#"  # with what is written below it by mistake: the quarantine names the topic
BACKFILL_FILTERS: Final = (ROOT + "+/+/backfill/obs/#", ROOT + "+/report/#", ROOT + "+/event/#")
STRAY_FILTERS: Final = (ROOT + "+/obs", f"/{ROOT}#")  # no station, a slash too many at the begin
_SITE: Final = re.compile(r"[a-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class StoredSites:
    """Sites with news that are committed, and those of them where nothing came on which a vote may rest."""

    sites: frozenset[str]
    unvoted: frozenset[str] = frozenset()


@dataclass(slots=True)
class BrokerMessage:
    """What the broker handed over; `epoch` counts connections, an acknowledgement is good for its own only."""

    topic: str
    payload: bytes
    received_at: datetime
    client: str  # live or backfill
    mid: int = 0
    qos: int = 0
    epoch: int = 0
    retained: bool = False  # the broker had kept it: when it was sent nobody knows
    first_at: datetime | None = None  # when it came for the first time, where it waited in the quarantine
    whole: PayloadSize | None = None  # of what is too large to be read: the payload is the beginning of it

    @property
    def came_at(self) -> datetime:
        """When it first came: the time of readings whose device tells none."""
        return self.first_at or self.received_at


@dataclass(frozen=True, slots=True)
class MessageFault:
    """A message, or the part of one that is bad, with the reason; `payload` alone could be read again later."""

    code: str
    reason: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class DecodedMessage:
    """What a message says: any part may be empty, all of them together never are."""

    observations: tuple[Observation, ...] = ()
    faults: tuple[MessageFault, ...] = ()
    report: ObserverReport | None = None
    event: SiteEvent | None = None
    event_by: str = ""
    mark: SequenceMark | None = None
    links: tuple[Link, ...] = ()
    request: tuple[str, bytes] | None = None  # topic and payload that ask the sender for what is missing


@dataclass(frozen=True, slots=True)
class TopicTarget:
    """Where a topic says that a message belongs; `kind` names the decoder."""

    kind: str
    site: str
    station: str


@lru_cache(maxsize=4096)
def locate(topic: str) -> TopicTarget | None:
    """Read site, station and kind from a topic of the house; None for any other topic.

    >>> locate("slopeward/v1/north/G1/backfill/obs")
    TopicTarget(kind='native', site='north', station='G1')
    >>> locate("slopeward/v1/north/report").kind, locate("slopeward/v1/North/G1/obs")
    ('report', None)
    """
    if topic.startswith(FILE_TOPIC):
        return TopicTarget("rows", topic[len(FILE_TOPIC) :], "")
    if not topic.startswith(ROOT):
        return None
    parts = topic[len(ROOT) :].split("/")
    if not _SITE.fullmatch(parts[0]) or parts[0] == "status":
        return None
    match parts[1:]:
        case [station, "obs"] | [station, "backfill", "obs"] if is_station(station):
            return TopicTarget("native", parts[0], station)
        case ["report"]:
            return TopicTarget("report", parts[0], "")
        case ["event"]:
            return TopicTarget("event", parts[0], "")
    return None


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a topic falls under an MQTT topic filter.

    >>> matches("app/+/up", "app/7/up"), matches("app/#", "app/7/up"), matches("app/+", "app/7/up")
    (True, True, False)
    """
    wanted, got = topic_filter.split("/"), topic.split("/")
    for i, part in enumerate(wanted):
        if part == "#":
            return True
        if i >= len(got) or part not in ("+", got[i]):
            return False
    return len(wanted) == len(got)


class Inbox:
    """Two queues and one bell; `put` never blocks the network thread.

    The broker bounds the queues: it sends no more than Receive Maximum unacknowledged messages. Messages of QoS 0 are
    not bounded by it, so beyond `UNBOUNDED_MOST` they are dropped, and counted.
    """

    def __init__(self) -> None:
        self._live: deque[BrokerMessage] = deque()
        self._backfill: deque[BrokerMessage] = deque()
        self._bell = threading.Event()
        self._rung_at_s = 0.0  # since when something waits
        self.dropped_qos0 = 0

    def put(self, message: BrokerMessage) -> None:
        """Add a message and ring the bell."""
        queue = self._live if message.client == "live" else self._backfill
        if message.qos == 0 and len(queue) >= UNBOUNDED_MOST:
            self.dropped_qos0 += 1
            return
        queue.append(message)
        self.ring()

    def ring(self) -> None:
        """Wake the writer."""
        if not self._bell.is_set():
            self._rung_at_s = time.monotonic()
            self._bell.set()

    def __len__(self) -> int:
        return len(self._live) + len(self._backfill)

    def is_due(self) -> bool:
        """Whether a batch is nearly ready to be taken, so that nothing else should be begun."""
        due_at_s = self._rung_at_s + BATCH_WAIT_S - PAUSE_S
        return self._bell.is_set() and (len(self) >= BATCH_MESSAGES or time.monotonic() >= due_at_s)

    def take(self, timeout_s: float) -> list[BrokerMessage]:
        """A batch in order of reception, after 500 messages or 25 ms: what waits, at most 2,000 messages or 4 MiB.

        The 25 ms count from the first of them: what came while the last batch was written has waited already. Between
        two batches the database is left to other writers for a moment.
        """
        began_at_s = time.monotonic()
        if not self._bell.wait(timeout_s):
            return []
        deadline = max(self._rung_at_s + BATCH_WAIT_S, began_at_s + PAUSE_S)
        while 0 < len(self) < BATCH_MESSAGES and time.monotonic() < deadline:
            time.sleep(0.005)
        if (early_s := began_at_s + _YIELD_S - time.monotonic()) > 0:
            time.sleep(early_s)
        self._bell.clear()  # before looking: what comes now rings again
        batch: list[BrokerMessage] = []
        reserved = min(_BACKFILL_SHARE, len(self._backfill))
        backfill_bytes = _BACKFILL_SHARE_BYTES if self._live else _BACKFILL_BYTES
        for queue, most, room in (
            (self._live, BATCH_MOST - reserved, BATCH_BYTES),
            (self._backfill, BATCH_MOST, backfill_bytes),
        ):
            while queue and len(batch) < most and room > 0:
                message = queue.popleft()
                room -= len(message.payload)  # noqa: PLW2901
                batch.append(message)
        if len(self):
            self._bell.set()
        return batch

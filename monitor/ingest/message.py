"""A message as it came, the topics it may come on, and what a decoder makes of it."""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from monitor.domain import topics
from monitor.domain.names import is_station
from monitor.domain.observation import Link, Observation, ObserverReport, PayloadSize, SiteEvent
from monitor.store.readings.messages import SequenceMark

ROOT: Final = f"{topics.ROOT}/"
FILE_TOPIC: Final = "file/"  # no topic of the broker: rows of files, in the quarantine
POINTS_TOPIC: Final = "points/"  # the same for files of InSAR points; those are mended and imported again
LIVE_FILTER: Final = ROOT + "+/+/obs"
BACKFILL_FILTERS: Final = (ROOT + "+/+/backfill/obs", ROOT + "+/report", ROOT + "+/event")
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

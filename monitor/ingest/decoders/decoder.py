"""What a decoder is: a function from a message to what it says; some are made of what a site file tells."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from monitor.domain.errors import ConfigError, PayloadError
from monitor.domain.observation import Link, Observation
from monitor.domain.site import Binding, Site
from monitor.ingest.decoders.strict_json import read_cell, read_time
from monitor.ingest.message import BrokerMessage, DecodedMessage, MessageFault, TopicTarget
from monitor.ingest.quality import NO_DETAILS, ReadingDetails, StationField, Vocabulary, observe, read_digit
from monitor.ingest.references import References

RECEPTION: Final = "reception"
ROLLOVER: Final = timedelta(weeks=1024)  # the count of weeks of GPS has ten bits
ROLLED_MOST: Final = 2
Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message, and what is known where it belongs."""

    message: BrokerMessage  # as it came
    place: TopicTarget  # with the station that the topic or the site file names, empty where neither does
    site: Site  # of the place
    vocabulary: Vocabulary  # the names that its stations may use
    references: References  # what displacement of its receivers counts from
    zone: ZoneInfo | None = None  # in which times without one count, as the site file says

    def field(self, station: str, name: str, unit: str | None = None) -> StationField:
        """What a name of a station means; raises PayloadError."""
        return self.vocabulary.field(self.site, self.site.now_called(station), name, unit)

    def observe(
        self, station: str, field: StationField, value: float, at: datetime, details: ReadingDetails = NO_DETAILS
    ) -> Observation:
        """The record of one value given in the field's unit; raises PayloadError."""
        return observe(self.site.id, self.site.now_called(station), field, value, at, self.message.received_at, details)

    def observe_cell(self, station: str, field: StationField, cell: object, name: str, at: datetime) -> Observation:
        """The record of a number that came as a number or as text; raises PayloadError."""
        return self.observe(station, field, read_cell(cell, name), at, ReadingDetails(digit=read_digit(cell)))

    def read_time(self, value: object, unit: object = None, name: str = "time", *, live: bool = True) -> datetime:
        """An instant as `strict_json.read_time` reads it, in the zone of the decoder where the text has none."""
        at = read_time(value, unit, name, live=live, zone=self.zone, near=self.message.came_at)
        return self.check_clock(at, name) if live else at

    def check_clock(self, at: datetime, name: str = "time") -> datetime:
        """An instant of a device; raises PayloadError where it lies just as far back as a count of weeks runs over."""
        age = self.message.came_at - at
        rolled = round(age / ROLLOVER)
        if 1 <= rolled <= ROLLED_MOST and abs(age - rolled * ROLLOVER) < timedelta(days=1):
            text = f"{at:%Y-%m-%d %H:%M} lies {1024 * rolled} weeks back: the receiver counts weeks of GPS in ten bits"
            raise PayloadError("clock_unset", f"{name}: {text}, renew its firmware")
        return at

    def link(self, station: str, text: str, *, online: bool) -> Link:
        """That a station is connected, or not."""
        return Link(self.site.id, self.site.now_called(station), self.message.came_at, online, text)


Decoder = Callable[[ReceivedMessage], DecodedMessage]


@dataclass(frozen=True, slots=True)
class DecoderSpec:
    """A decoder that the site file tells something: `opener(binding)` makes it, `keys` of [[decoder]] are read."""

    opener: str
    keys: frozenset[str]


def gather(
    parts: Iterable[Part], read: Callable[[Part], Iterable[Observation]]
) -> tuple[list[Observation], list[tuple[Part, PayloadError]]]:
    """What the parts of a message say, and the bad ones, each with why; what a part said before it failed counts."""
    found: list[Observation] = []
    bad: list[tuple[Part, PayloadError]] = []
    for part in parts:
        try:
            found.extend(read(part))
        except PayloadError as error:
            bad.append((part, error.bare()))
    return found, bad


def read_each(parts: Iterable[Part], read: Callable[[Part], Iterable[Observation]]) -> Iterator[Observation]:
    """What the parts of one item say; raises the first PayloadError after the others were read."""
    found, bad = gather(parts, read)
    yield from found
    if bad:
        raise bad[0][1]


def join_fault(
    bad: Sequence[tuple[Any, PayloadError]], total: int, parts: str, payload: bytes
) -> tuple[MessageFault, ...]:
    """The bad parts of a message in a payload of their own that can be read again, with the first reason."""
    if not bad:
        return ()
    first = bad[0][1]
    reason = f"{len(bad)} of {total} {parts}, the first: {first}" if total > 1 else str(first)
    return (MessageFault(first.code, reason, payload),)


def counts_from_reception(binding: Binding) -> bool:
    """Whether the site file says that what has no time (or no date) of its own counts from its reception.

    Raises:
        ConfigError: `date` says something else.
    """
    source = dict(binding.told).get("date", "")
    if source not in {"", RECEPTION}:
        raise ConfigError(f"decoder {binding.name!r}: date: expected {RECEPTION}, got {source!r}")
    return source == RECEPTION

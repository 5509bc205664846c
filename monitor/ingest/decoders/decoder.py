"""What a decoder is, and how the site file names what a device calls otherwise."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.strict_json import read_cell, read_time
from monitor.ingest.message import BrokerMessage, DecodedMessage, MessageFault, TopicTarget
from monitor.ingest.quality import NO_DETAILS, ReadingDetails, StationField, Vocabulary, observe, read_digit
from monitor.ingest.references import References
from monitor.ingest.text.plausible_times import find_unset
from monitor.ingest.text.units import read_symbol
from monitor.readings.records import Link, Observation
from monitor.sites.quantities import convert, split_suffix
from monitor.sites.records import Binding, Site
from monitor.sites.units import UNITS
from monitor.text.message import Template, join
from monitor.text.names import is_station

RECEPTION: Final = "reception"
ROLLOVER: Final = timedelta(weeks=1024)  # the count of weeks of GPS has ten bits
ROLLED_MOST: Final = 2
UNSET_LEAST: Final = timedelta(days=365)  # before its reception: nearer it may be a reading that came late
REASONS_NAMED: Final = 5  # different reasons that one row of the quarantine lists
_AND_MORE: Final = Template("payload.more_reasons", "{text} and {n} more")
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
        return self.vocabulary.field(self.site, self.site.find_current_id(station), name, unit)

    def observe(
        self, station: str, field: StationField, value: float, at: datetime, details: ReadingDetails = NO_DETAILS
    ) -> Observation:
        """The record of one value given in the field's unit; raises PayloadError."""
        return observe(
            self.site.id, self.site.find_current_id(station), field, value, at, self.message.received_at, details
        )

    def observe_cell(self, station: str, field: StationField, cell: object, name: str, at: datetime) -> Observation:
        """The record of a number that came as a number or as text; raises PayloadError."""
        return self.observe(station, field, read_cell(cell, name), at, ReadingDetails(digit=read_digit(cell)))

    def read_time(self, value: object, unit: object = None, name: str = "time", *, live: bool = True) -> datetime:
        """An instant as `strict_json.read_time` reads it, in the zone of the decoder where the text has none."""
        at = read_time(value, unit, name, live=live, zone=self.zone, near=self.message.came_at)
        return self.check_clock(at, name) if live else at

    def check_clock(self, at: datetime, name: str = "time") -> datetime:
        """An instant of a device; raises PayloadError where it lies as far back as weeks run over, or was never set."""
        age = self.message.came_at - at
        if age > UNSET_LEAST and (begin := find_unset(at)) is not None:
            text = f"{at:%Y-%m-%d %H:%M} lies just behind {begin:%Y-%m-%d}, where clocks begin that nobody set"
            raise PayloadError("clock_unset", f"{name}: {text}")
        rolled = round(age / ROLLOVER)
        if 1 <= rolled <= ROLLED_MOST and abs(age - rolled * ROLLOVER) < timedelta(days=1):
            text = f"{at:%Y-%m-%d %H:%M} lies {1024 * rolled} weeks back: the receiver counts weeks of GPS in ten bits"
            raise PayloadError("clock_unset", f"{name}: {text}, renew its firmware")
        return at

    def link(self, station: str, text: str, *, online: bool) -> Link:
        """That a station is connected, or not."""
        return Link(self.site.id, self.site.find_current_id(station), self.message.came_at, online, text)


Decoder = Callable[[ReceivedMessage], DecodedMessage]


def is_dated_by_reception(binding: Binding) -> bool:
    """Return whether the site file gives readings the time of their reception (`date = "reception"`)."""
    return dict(binding.settings).get("date") == RECEPTION


@dataclass(frozen=True, slots=True)
class DecoderSpec:
    """A decoder that a site file can name."""

    # Called once for each `[[decoder]]` of a site file that names the decoder. Raises ConfigError if the decoder cannot
    # work with its settings.
    open: Callable[[Binding], Decoder]
    keys: frozenset[str] = frozenset()  # keys of `[[decoder]]` that the decoder reads, besides `topic` and `name`
    takes_zone: bool = False  # `[[decoder]]` may have the key `zone`, for times without an offset from UTC
    # Whether readings get the time of their reception. The service then subscribes with QoS 0 and ignores retained
    # messages, because a message that waited at the broker would get a wrong time.
    is_undated: Callable[[Binding], bool] = is_dated_by_reception


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
    """What the parts of one item say; raises one PayloadError for all bad parts after the others were read."""
    found, bad = gather(parts, read)
    yield from found
    if bad:
        raise combine_errors(bad)


def combine_errors(bad: Sequence[tuple[Any, PayloadError]]) -> PayloadError:
    """Return one error that names what is wrong with each bad part; its code is that of the first."""
    reasons = list(dict.fromkeys(error.message for _, error in bad))
    if len(reasons) == 1:
        return bad[0][1]
    listed = join(reasons[:REASONS_NAMED])
    more = len(reasons) - REASONS_NAMED
    return PayloadError(bad[0][1].code, _AND_MORE(text=listed, n=more) if more > 0 else listed)


def join_fault(
    bad: Sequence[tuple[Any, PayloadError]], total: int, parts: str, payload: bytes
) -> tuple[MessageFault, ...]:
    """The bad parts of a message in a payload of their own that can be read again, with their reasons."""
    if not bad:
        return ()
    error = combine_errors(bad)
    reason = f"{len(bad)} of {total} {parts}: {error}" if total > 1 else str(error)
    return (MessageFault(error.code, reason, payload),)


def counts_from_reception(binding: Binding) -> bool:
    """Whether the site file says that what has no time (or no date) of its own counts from its reception.

    Raises:
        ConfigError: `date` says something else.
    """
    source = dict(binding.settings).get("date", "")
    if source not in {"", RECEPTION}:
        raise ConfigError(f"decoder {binding.name!r}: date: expected {RECEPTION}, got {source!r}")
    return source == RECEPTION


@dataclass(frozen=True, slots=True)
class Target:
    """What a name of a device is: a quantity with its unit, of a station where it names one."""

    station: str
    name: str
    unit: str | None = None  # where the name has no suffix

    @property
    def name_alone(self) -> str:
        """The quantity without its unit."""
        parts = None if self.unit is not None else split_suffix(self.name)
        return self.name if parts is None else parts[0]

    def find(self, received: ReceivedMessage, station: str) -> tuple[str, StationField]:
        """Station and field, of the station of the message where this names none; raises PayloadError."""
        where = self.station or station
        if not is_station(where):
            raise PayloadError("no_station", f"{where[:64]!r} is no station id; name one in series or as station")
        return where, received.field(where, self.name, self.unit)


def read_series(binding: Binding) -> dict[str, Target]:
    """What the site file says of the names of a device.

    >>> read_series(Binding("a", "plain", series=(("t", "T1.tilt_x_deg"), ("flow", "pumping m3/h"))))["flow"]
    Target(station='', name='pumping', unit='m3/h')

    Raises:
        ConfigError: a target has no unit, or its station is none.
    """
    return {name: _read_target(name, text) for name, text in binding.series}


def _read_target(name: str, text: str) -> Target:
    station, dot, quantity = text.rpartition(".")
    quantity, _, unit = quantity.partition(" ")
    if (dot and not is_station(station)) or not (unit.strip() or split_suffix(quantity)):
        raise ConfigError(
            f"series: {name!r} = {text!r}: expected QUANTITY_UNIT, STATION.QUANTITY_UNIT or 'QUANTITY UNIT', "
            "such as T1.tilt_x_deg"
        )
    return Target(station, quantity, unit.strip() or None)


def find_target(series: dict[str, Target], name: str) -> Target | None:
    """What a name is: as the site file says, else as the house itself writes it; None where it is neither."""
    found = series.get(name)
    return found if found is not None or split_suffix(name) is None else Target("", name)


def check_unit(given: object, expected: str, who: str) -> None:
    """Refuse values that are said to be in another unit than the site file says; a unit nobody knows says nothing.

    Raises:
        PayloadError: unit_mismatch, in the name of who says it.
    """
    unit = read_symbol(given) if isinstance(given, str) else ""
    if unit not in UNITS or expected not in UNITS or unit == expected:
        return
    try:
        same = convert(1.0, unit, expected) == 1.0
    except ValueError:
        same = False
    if not same:
        raise PayloadError("unit_mismatch", f"{who} counts in {unit}, series says {expected}")

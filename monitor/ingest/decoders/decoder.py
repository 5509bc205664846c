"""Interface of decoders, and the `series` of a site file, which maps names of a device to quantities and stations."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.strict_json import read_cell, read_time
from monitor.ingest.message import BrokerMessage, DecodedMessage, MessageFault, TopicPlace
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
ROLLOVER: Final = timedelta(weeks=1024)  # GPS counts weeks in ten bits
ROLLED_MOST: Final = 2
# Readings of this age may come from a clock that was never set. Younger ones are taken as late readings.
UNSET_LEAST: Final = timedelta(days=365)
REASONS_NAMED: Final = 5  # different reasons that one quarantine row lists
_AND_MORE: Final = Template("payload.more_reasons", "{text} and {n} more")
Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message with the site and station that it belongs to.

    Attributes:
        place: Site and station by the topic or the site file. The station is empty if neither names one.
        vocabulary: Names of quantities that stations may use.
        references: References from which displacement of stations is measured.
        zone: Time zone of times without an offset, from the site file.
    """

    message: BrokerMessage
    place: TopicPlace
    site: Site
    vocabulary: Vocabulary
    references: References
    zone: ZoneInfo | None = None

    def field(self, station: str, name: str, unit: str | None = None) -> StationField:
        """Return quantity and unit of a name; raises PayloadError if the station does not measure it."""
        return self.vocabulary.field(self.site, self.site.find_current_id(station), name, unit)

    def observe(
        self, station: str, field: StationField, value: float, at: datetime, details: ReadingDetails = NO_DETAILS
    ) -> Observation:
        """Return the reading for a value in the unit of the field; raises PayloadError."""
        return observe(
            self.site.id, self.site.find_current_id(station), field, value, at, self.message.received_at, details
        )

    def observe_cell(self, station: str, field: StationField, cell: object, name: str, at: datetime) -> Observation:
        """Return the reading for a number, or for a text that is a number; raises PayloadError."""
        return self.observe(station, field, read_cell(cell, name), at, ReadingDetails(digit=read_digit(cell)))

    def read_time(self, value: object, unit: object = None, name: str = "time", *, live: bool = True) -> datetime:
        """Return an instant as `strict_json.read_time`, in the zone of the decoder if the text has no offset."""
        at = read_time(value, unit, name, live=live, zone=self.zone, near=self.message.came_at)
        return self.check_clock(at, name) if live else at

    def check_clock(self, at: datetime, name: str = "time") -> datetime:
        """Return an instant of a device; raises PayloadError if its clock was never set or its weeks rolled over."""
        age = self.message.came_at - at
        if age > UNSET_LEAST and (start := find_unset(at)) is not None:
            text = f"{at:%Y-%m-%d %H:%M} is just after {start:%Y-%m-%d}, at which clocks start that were never set"
            raise PayloadError("clock_unset", f"{name}: {text}")
        rollovers = round(age / ROLLOVER)
        if 1 <= rollovers <= ROLLED_MOST and abs(age - rollovers * ROLLOVER) < timedelta(days=1):
            text = f"{at:%Y-%m-%d %H:%M} is {1024 * rollovers} weeks ago: the receiver counts GPS weeks in ten bits"
            raise PayloadError("clock_unset", f"{name}: {text}, update its firmware")
        return at

    def link(self, station: str, text: str, *, online: bool) -> Link:
        """Return a record that a station is connected or not."""
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
    """Return the readings of all parts of a message, and the parts that failed with their errors.

    Readings that a part yields before it fails are kept.
    """
    observations: list[Observation] = []
    bad: list[tuple[Part, PayloadError]] = []
    for part in parts:
        try:
            observations.extend(read(part))
        except PayloadError as error:
            bad.append((part, error.without_traceback()))
    return observations, bad


def read_each(parts: Iterable[Part], read: Callable[[Part], Iterable[Observation]]) -> Iterator[Observation]:
    """Yield the readings of all parts of an item, then raise one PayloadError for the parts that failed."""
    observations, bad = gather(parts, read)
    yield from observations
    if bad:
        raise combine_errors(bad)


def combine_errors(bad: Sequence[tuple[Any, PayloadError]]) -> PayloadError:
    """Return one error with the reasons of all bad parts. Its code is that of the first."""
    reasons = list(dict.fromkeys(error.message for _, error in bad))
    if len(reasons) == 1:
        return bad[0][1]
    listed = join(reasons[:REASONS_NAMED])
    more = len(reasons) - REASONS_NAMED
    return PayloadError(bad[0][1].code, _AND_MORE(text=listed, n=more) if more > 0 else listed)


def join_fault(
    bad: Sequence[tuple[Any, PayloadError]], total: int, parts: str, payload: bytes
) -> tuple[MessageFault, ...]:
    """Return the bad parts of a message as one fault.

    Args:
        total: Number of all parts.
        parts: What the parts are, such as `rows`.
        payload: Payload that contains the bad parts only and can be decoded again.
    """
    if not bad:
        return ()
    error = combine_errors(bad)
    reason = f"{len(bad)} of {total} {parts}: {error}" if total > 1 else str(error)
    return (MessageFault(error.code, reason, payload),)


def read_date_setting(binding: Binding) -> bool:
    """Check the key `date` and return whether readings get the time of their reception (`date = "reception"`).

    Raises:
        ConfigError: `date` has another value.
    """
    source = dict(binding.settings).get("date", "")
    if source not in {"", RECEPTION}:
        raise ConfigError(f"decoder {binding.name!r}: date: expected {RECEPTION}, got {source!r}")
    return source == RECEPTION


@dataclass(frozen=True, slots=True)
class SeriesTarget:
    """Quantity, unit and station of a name that a device uses.

    Attributes:
        station: Empty if the name does not determine the station.
        name: Quantity, with a unit suffix if `unit` is None.
    """

    station: str
    name: str
    unit: str | None = None

    @property
    def name_alone(self) -> str:
        """The quantity without a unit suffix."""
        parts = None if self.unit is not None else split_suffix(self.name)
        return self.name if parts is None else parts[0]

    def find(self, received: ReceivedMessage, station: str) -> tuple[str, StationField]:
        """Return station and field.

        Args:
            station: Station of the message, for a target that names none.

        Raises:
            PayloadError: there is no station, or it does not measure the quantity.
        """
        target_station = self.station or station
        if not is_station(target_station):
            raise PayloadError(
                "no_station", f"{target_station[:64]!r} is no station id; name one in series or as station"
            )
        return target_station, received.field(target_station, self.name, self.unit)


def read_series(binding: Binding) -> dict[str, SeriesTarget]:
    """Return the targets in `series` of a site file by the names of a device.

    >>> read_series(Binding("a", "plain", series=(("t", "T1.tilt_x_deg"), ("flow", "pumping m3/h"))))["flow"]
    SeriesTarget(station='', name='pumping', unit='m3/h')

    Raises:
        ConfigError: a target has no unit, or its station is no station id.
    """
    return {name: _read_target(name, text) for name, text in binding.series}


def _read_target(name: str, text: str) -> SeriesTarget:
    station, dot, quantity = text.rpartition(".")
    quantity, _, unit = quantity.partition(" ")
    if (dot and not is_station(station)) or not (unit.strip() or split_suffix(quantity)):
        raise ConfigError(
            f"series: {name!r} = {text!r}: expected QUANTITY_UNIT, STATION.QUANTITY_UNIT or 'QUANTITY UNIT', "
            "such as T1.tilt_x_deg"
        )
    return SeriesTarget(station, quantity, unit.strip() or None)


def find_series_target(series: dict[str, SeriesTarget], name: str) -> SeriesTarget | None:
    """Return the target of a name: from `series`, or by a unit suffix such as `tilt_x_deg`; None without either."""
    target = series.get(name)
    if target is None and split_suffix(name) is not None:
        return SeriesTarget("", name)
    return target


def check_unit(given: object, expected: str, who: str) -> None:
    """Check the unit that a message states against that of the site file. Unknown units are ignored.

    Args:
        given: Unit in the message; anything but text is ignored.
        expected: Unit in the site file.
        who: What states the unit, for the message.

    Raises:
        PayloadError: unit_mismatch.
    """
    unit = read_symbol(given) if isinstance(given, str) else ""
    if unit not in UNITS or expected not in UNITS or unit == expected:
        return
    try:
        is_same = convert(1.0, unit, expected) == 1.0
    except ValueError:
        is_same = False
    if not is_same:
        raise PayloadError("unit_mismatch", f"{who} is in {unit}, series declares {expected}")

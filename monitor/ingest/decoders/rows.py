"""Rows of the long form (time, station, quantity, value) as JSON: the payload of rejected rows of files."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from monitor.canonical import canonical_json
from monitor.errors import PayloadError
from monitor.ingest.decoders.decoder import ReceivedMessage, gather
from monitor.ingest.decoders.native import ODD_SOLUTION, SOLUTIONS
from monitor.ingest.decoders.strict_json import LATE, check_keys, read_cell, read_object, read_sigma, read_time
from monitor.ingest.message import DecodedMessage, MessageFault
from monitor.ingest.quality import ReadingDetails, Vocabulary, observe, read_digit
from monitor.readings.no_value import is_no_value
from monitor.readings.records import DIGIT, Observation
from monitor.sites.quantities import VELOCITY_MAP_QUANTITIES, read_trace
from monitor.sites.records import Site
from monitor.text.instants import LATEST
from monitor.text.message import Figure, NameList, Template, Term
from monitor.text.names import is_station

# Columns for the reference of a position. All rows of a file must have the same.
FRAME: Final = "frame"
EPOCH0: Final = "epoch0"
# Value of the last digit of a reading that the reader of the file computed, in the unit of the row.
STEP: Final = "step"
COLUMNS: Final = frozenset(
    {"time", "station", "quantity", "value", "sigma", "site", "solution", "unit", "component", "pixels", DIGIT, STEP}
) | {FRAME, EPOCH0}
_NO_ROWS: Final = Template("row.none", "rows: expected a list of at least one row")
_NO_OBJECT: Final = Template("row.object", "a row must be an object")
NO_STATION: Final = Template("payload.station", "station: {value} is no station id")
_NO_QUANTITY: Final = Template("row.quantity", "quantity is missing")
_NO_UNIT: Final = Template("row.unit", "unit: expected a text")
_NO_VALUE: Final = Template("row.empty", "no row contains a value")
_OF_VELOCITY: Final = Template("row.velocity", "{name}: only a velocity has one in this column, not {quantity}")
_NO_COMPONENT: Final = Template("row.component", "component: expected a name such as los-towards or up")
_NO_PIXELS: Final = Template("row.pixels", "pixels: expected a whole number above 0, got {n}")
_ROWS: Final = Template("row.first", "{n} rows, the first: {reason}")


def decode(received: ReceivedMessage) -> DecodedMessage:
    """Decode `{"rows": [{time, station, quantity, value, ...}]}`; rows that are still bad become faults."""
    rows = read_object(received.message.payload).get("rows")
    if not isinstance(rows, list) or not rows:
        raise PayloadError("no_samples", _NO_ROWS())

    def read(row: Any) -> list[Observation]:
        if not isinstance(row, dict):
            raise PayloadError("not_object", _NO_OBJECT())
        if is_no_value(row.get("value")) and "value" in row:
            return []
        return [read_row(row, received.site, received.vocabulary, received.message.received_at, received.zone)]

    observations, bad = gather(rows, read)
    if not observations and not bad:
        raise PayloadError("empty", _NO_VALUE())
    return DecodedMessage(tuple(observations), join_bad_rows(bad))


def read_row(
    row: Mapping[str, Any], site: Site, vocabulary: Vocabulary, received_at: datetime, zone: ZoneInfo | None = None
) -> Observation:
    """Read one row of text or numbers; raises PayloadError."""
    check_keys(dict(row), COLUMNS)
    station, quantity, solution = row.get("station"), row.get("quantity"), row.get("solution") or None
    if not isinstance(station, str) or not is_station(station):
        raise PayloadError("bad_station", NO_STATION(value=repr(station)))
    station = site.find_current_id(station)
    if not isinstance(quantity, str) or not quantity:
        raise PayloadError("unknown_quantity", _NO_QUANTITY())
    if solution is not None and (not isinstance(solution, str) or solution not in SOLUTIONS):
        raise PayloadError("bad_solution", ODD_SOLUTION(names=NameList(tuple(sorted(SOLUTIONS)))))
    time = row.get("time")
    if isinstance(time, datetime):
        at = time.astimezone(UTC) if time.tzinfo else read_time(time.isoformat(), live=False, zone=zone)
        if at >= LATEST:
            raise PayloadError("bad_time", LATE(name="time", value=at.isoformat()))
    else:
        at = read_time(time or None, live=False, zone=zone)
    unit = row.get("unit") or None
    if unit is not None and not isinstance(unit, str):
        raise PayloadError("unit_mismatch", _NO_UNIT())
    field = vocabulary.field(site, station, quantity, unit)
    value, trace = row.get("value"), read_trace(row.get("value"), field.quantity)
    digit = read_digit(value) if row.get(STEP) is None else read_cell(row[STEP], STEP)
    return observe(
        site.id,
        station,
        field,
        read_cell(value, "value") if trace is None else trace,
        at,
        received_at,
        ReadingDetails(read_sigma(row.get("sigma")), solution, _read_more(row, field.quantity), digit),
    )


def _read_more(row: Mapping[str, Any], quantity: str) -> str | None:
    """Return further columns of a reading as stored JSON; None if there are none.

    Steps of the last digit by component, and component and number of pixels of a velocity.
    """
    component, pixels = row.get("component"), row.get("pixels")
    extra: dict[str, Any] = {}
    if row.get(DIGIT):
        extra[DIGIT] = [read_cell(step, DIGIT) for step in str(row[DIGIT]).split()]
    for name, value in (("component", component), ("pixels", pixels)):
        if value is not None and value != "" and quantity not in VELOCITY_MAP_QUANTITIES:
            raise PayloadError(f"bad_{name}", _OF_VELOCITY(name=name, quantity=Term(quantity)))
    if component is not None and component != "":
        if not isinstance(component, str) or not is_station(component):
            raise PayloadError("bad_component", _NO_COMPONENT())
        extra["component"] = component
    if pixels is not None and pixels != "":
        count = read_cell(pixels, "pixels")
        if count < 1 or count != int(count):
            raise PayloadError("bad_pixels", _NO_PIXELS(n=Figure(count)))
        extra["pixels"] = int(count)
    return canonical_json(extra) if extra else None


def join_bad_rows(bad: list[tuple[Any, PayloadError]]) -> tuple[MessageFault, ...]:
    """Return one fault for each error code. Its payload contains the rows unchanged."""
    by_code: dict[str, list[tuple[Any, PayloadError]]] = {}
    for row, error in bad:
        by_code.setdefault(error.code, []).append((row, error))
    payloads = {
        code: json.dumps({"rows": [row for row, _ in rows]}, default=value_to_json) for code, rows in by_code.items()
    }
    return tuple(
        MessageFault(code, describe_first(len(by_code[code]), by_code[code][0][1]), payloads[code].encode())
        for code in payloads
    )


def describe_first(count: int, first: PayloadError) -> str:
    """Return the reason for rejected rows: the first one, and their number."""
    return first.message if count == 1 else _ROWS(n=Figure(count, "d"), reason=first.message)


def value_to_json(value: object) -> str:
    """Return a value that JSON cannot represent as text; instants in ISO 8601."""
    return value.isoformat() if isinstance(value, datetime) else str(value)

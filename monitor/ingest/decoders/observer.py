"""Reports of observers and events on the slope, as JSON."""

from typing import Final
from urllib.parse import urlsplit

from monitor.errors import PayloadError
from monitor.ingest.decoders.decoder import ReceivedMessage
from monitor.ingest.decoders.strict_json import check_keys, read_line, read_number, read_object, read_person, read_text
from monitor.ingest.message import DecodedMessage
from monitor.readings.no_value import is_no_value
from monitor.readings.records import ObserverReport, SiteEvent
from monitor.text.names import is_station

_REPORT: Final = frozenset({"time", "time_unit", "kind", "text", "by", "station", "photo_url"})
_EVENT: Final = frozenset({"from", "to", "time_unit", "kind", "value", "text", "by"})


def decode_report(received: ReceivedMessage) -> DecodedMessage:
    """Decode `{time, kind, text, by, station?, photo_url?}`; raises PayloadError."""
    body = read_object(received.message.payload)
    check_keys(body, _REPORT)
    station = body.get("station")
    photo = body.get("photo_url")
    if station is not None and (not isinstance(station, str) or not is_station(station)):
        raise PayloadError("bad_station", "station: expected a station id")
    if photo is not None and not _is_address(read_text(photo, "photo_url", 2000)):
        raise PayloadError("bad_url", "photo_url: expected an http or https address")
    report = ObserverReport(
        received.place.site,
        received.read_time(body.get("time"), body.get("time_unit")),
        read_line(body.get("kind"), "kind", 64),
        read_line(body.get("text"), "text"),
        read_person(body.get("by"), "by"),
        None if station is None else received.site.find_current_id(station),
        photo,
    )
    return DecodedMessage(report=report)


def decode_event(received: ReceivedMessage) -> DecodedMessage:
    """Decode `{from, to, kind, value?, text, by?}`; raises PayloadError."""
    body = read_object(received.message.payload)
    check_keys(body, _EVENT)
    unit = body.get("time_unit")
    from_at = received.read_time(body.get("from"), unit, "from")
    to_at = received.read_time(body.get("to"), unit, "to")
    if to_at < from_at:
        raise PayloadError("bad_time", "to is before from")
    value = body.get("value")
    event = SiteEvent(
        received.place.site,
        from_at,
        to_at,
        read_line(body.get("kind"), "kind", 64),
        read_line(body.get("text"), "text"),
        None if is_no_value(value) else read_number(value, "value"),
    )
    return DecodedMessage(event=event, event_by=read_person(body.get("by", "mqtt"), "by"))


def _is_address(text: str) -> bool:
    try:
        return urlsplit(text).scheme in {"http", "https"}
    except ValueError:
        return False

"""Decoder of NMEA 0183: GGA for position, quality and satellites, RMC or ZDA for the date, GST for the error.

GGA has a time of day and no date. Without RMC or ZDA in the same message it is refused, unless the site file has
`date = "reception"`. Times of NMEA are UTC, unless the site file gives the decoder a `zone`, because some receivers
send local time. With `network = NAME` the differential stations of GGA are one network.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, NamedTuple

import pynmea2

from monitor.errors import PayloadError
from monitor.ingest.decoders.decoder import Decoder, ReceivedMessage, join_fault, read_date_setting
from monitor.ingest.decoders.fixes import Covariance, Fix, observe_fix
from monitor.ingest.decoders.rtklib import split_lines
from monitor.ingest.decoders.strict_json import read_cell, read_time
from monitor.ingest.message import DecodedMessage
from monitor.ingest.quality import read_digit
from monitor.ingest.references import BASE, NETWORK, PART, name_base
from monitor.readings.records import Observation
from monitor.sites.records import ELLIPSOID, Binding

_DATED: Final = ("RMC", "ZDA")
_READ: Final = ("GGA", "GST", "DTM", *_DATED)
# Quality of GGA. From 6 on, positions are estimated, entered or simulated.
_KINDS: Final = {1: "single", 2: "dgps", 3: "single", 4: "fixed", 5: "float"}
# Qualities of which the differential station is a base of the site. With 2 it is often a satellite of SBAS, to which a
# receiver falls back while its radio link is down. Such a position is good to metres only and has no vote.
_CORRECTED: Final = frozenset({4, 5})
# A smaller separation of geoid and ellipsoid is that of a receiver without a model of the geoid.
_SEPARATED_M: Final = 0.05
_LONGEST: Final = 120  # characters of a sentence; the standard allows 82
_DAY: Final = timedelta(days=1)


def open_nmea(binding: Binding) -> Decoder:
    """Return the decoder of a `[[decoder]]` section; raises ConfigError."""
    of_reception = read_date_setting(binding)
    network = dict(binding.settings).get("network", "")

    def decode(received: ReceivedMessage) -> DecodedMessage:
        message = received.message
        if message.retained and of_reception:
            raise PayloadError(
                "retained", "a position without a date that the broker had retained: its time is unknown"
            )
        lines = split_lines(message.payload)
        kinds = [line[3:6] if line.startswith("$") else "" for line in lines]
        if "GGA" not in kinds:
            raise PayloadError("empty", "no GGA sentence in the message")
        observations: list[Observation] = []
        days, errors, datum, bad = _read_context(lines, kinds)
        clock = message.came_at.astimezone(received.zone or UTC).replace(tzinfo=UTC)  # in the zone of the receiver
        near = next(iter(days.values()), clock if of_reception else None)
        for k, (line, kind) in enumerate(zip(lines, kinds, strict=True)):
            near = days.get(k, near)
            if kind != "GGA":
                continue
            try:
                fix = _read_fix(_parse(line), near, errors, datum, network)
                if received.zone is not None:
                    fix = replace(fix, at=received.read_time(fix.at.replace(tzinfo=None).isoformat()))
                observations += observe_fix(fix, received)
            except PayloadError as error:
                bad[k] = error.without_traceback()
        # With the sentences of the date, so that the lines can be decoded again.
        bad_lines = "\n".join(line for k, line in enumerate(lines) if k in bad or k in days)
        total = sum(kind in _READ for kind in kinds)
        return DecodedMessage(tuple(observations), join_fault([*bad.items()], total, "lines", bad_lines.encode()))

    return decode


class _Context(NamedTuple):
    """Data for the positions of a message.

    Attributes:
        days: Instants of RMC and ZDA, by line.
        errors: GST sentences, by time of day.
        datum: Datum of DTM; empty without DTM.
        bad: Errors of sentences, by line.
    """

    days: dict[int, datetime]
    errors: dict[Any, Any]
    datum: str
    bad: dict[int, PayloadError]


def _read_context(lines: Sequence[str], kinds: Sequence[str]) -> _Context:
    """Read all sentences except positions: they may follow the position that they belong to."""
    days: dict[int, datetime] = {}
    errors: dict[Any, Any] = {}
    bad: dict[int, PayloadError] = {}
    datum = ""
    for k, (line, kind) in enumerate(zip(lines, kinds, strict=True)):
        try:
            if kind in _DATED:
                days[k] = _read_day(line, kind)
            elif kind == "GST":
                sentence = _parse(line)
                errors[sentence.timestamp] = sentence
            elif kind == "DTM":
                datum = str(getattr(_parse(line), "datum", ""))[:8]
        except PayloadError as error:
            bad[k] = error.without_traceback()
    return _Context(days, errors, datum, bad)


def _parse(line: str) -> Any:
    if len(line) > _LONGEST:
        raise PayloadError("too_long", f"a sentence of {len(line)} characters")
    try:
        return pynmea2.parse(line, check=True)
    except (pynmea2.ParseError, ValueError, TypeError, AttributeError) as error:
        raise PayloadError("bad_payload", f"no sentence of NMEA 0183: {str(error)[:120]}") from None


def _read_day(line: str, kind: str) -> datetime:
    sentence = _parse(line)
    try:
        day = sentence.datestamp if kind == "RMC" else date(sentence.year, sentence.month, sentence.day)
    except (ValueError, TypeError, AttributeError, OverflowError):
        day = None
    if not isinstance(day, date) or not isinstance(sentence.timestamp, time):
        raise PayloadError("bad_time", f"{kind} has no date and time: the receiver has not determined them yet")
    return read_time(datetime.combine(day, sentence.timestamp.replace(tzinfo=UTC)).isoformat())


def _read_fix(sentence: Any, near: datetime | None, errors: dict[Any, Any], datum: str, network: str) -> Fix:
    try:
        quality, satellites = int(sentence.gps_qual), int(sentence.num_sats or 0)
        latitude, longitude = float(sentence.latitude), float(sentence.longitude)
        height, separation = float(sentence.altitude), float(sentence.geo_sep or "nan")
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise PayloadError("no_fix", "GGA without position, quality, altitude or geoid separation") from None
    kind = _KINDS.get(quality)
    if kind is None:
        raise PayloadError("no_fix", f"GGA of quality {quality}: no position was measured")
    place = latitude, longitude, height + separation
    _check_place(sentence, *place)
    if not isinstance(sentence.timestamp, time):
        raise PayloadError("no_time", "GGA has no time")
    if near is None:
        raise PayloadError(
            "no_time",
            "GGA has no date: configure the receiver to send RMC or ZDA in the same message, or set date = reception",
        )
    at = _nearest(sentence.timestamp, near)
    steps = (
        (read_digit(sentence.lat) or 0.0) / 60.0,
        (read_digit(sentence.lon) or 0.0) / 60.0,
        read_digit(str(sentence.data[8])) or 0.0,
    )
    # Without a separation, the reference surface of the height is not known. A separation later is another frame.
    heights = f"heights {'ellipsoidal' if abs(separation) >= _SEPARATED_M else 'unseparated'}"
    frame = PART.join([heights, *([f"datum {datum}"] if datum else []), *_name_base(sentence, quality, network)])
    count = satellites if 0 <= satellites < 1000 else None
    return Fix(at, place, None, kind, count, _find_error(errors, sentence), steps, ELLIPSOID, frame)


def _name_base(sentence: Any, quality: int, network: str) -> list[str]:
    """Return the differential station of a corrected position as a part of its frame; none where GGA has no id.

    A position that was corrected from another base contains the error of that base's coordinates. The stations of a
    network have one frame, whatever their ids are.

    Args:
        network: Name of the network that corrects the positions; empty where it is a single base.
    """
    if network:
        return [name_base(f"{NETWORK} {network}")] if quality in _CORRECTED else []
    station = str(sentence.ref_station_id or "").strip()
    if quality not in _CORRECTED or not station.isalnum():
        return []
    return [f"{BASE} {station.lstrip('0') or '0'}"]


def _check_place(sentence: Any, latitude: float, longitude: float, height: float) -> None:
    if not (sentence.lat_dir in {"N", "S"} and sentence.lon_dir in {"E", "W"}):
        raise PayloadError("bad_place", "GGA has no N or S, or no E or W")
    if not (abs(latitude) <= 90.0 and abs(longitude) <= 180.0 and abs(height) < 1e5):
        raise PayloadError("bad_place", f"{latitude:g}, {longitude:g}: no place on earth, or no height")
    if (sentence.altitude_units or "M", sentence.geo_sep_units or "M") != ("M", "M"):
        raise PayloadError("unit_mismatch", "heights of GGA are in metres")


def _nearest(of_day: time, near: datetime) -> datetime:
    at = datetime.combine(near.date(), of_day.replace(tzinfo=UTC))
    try:
        return min((at - _DAY, at, at + _DAY), key=lambda instant: abs(instant - near))
    except OverflowError:
        raise PayloadError("bad_time", "the date is out of range") from None


def _find_error(errors: dict[Any, Any], sentence: Any) -> Covariance | None:
    gst = errors.get(sentence.timestamp)
    if gst is None:
        return None
    parts = (gst.std_dev_longitude, gst.std_dev_latitude, gst.std_dev_altitude)
    try:
        east, north, up = (read_cell(str(part), "GST") for part in parts)
        ee, nn, uu = (1e6 * error**2 for error in (east, north, up))
    except (PayloadError, OverflowError):
        return None
    return (ee, nn, uu, 0.0, 0.0, 0.0) if max(ee, nn, uu) < 1e300 and min(east, north, up) >= 0.0 else None

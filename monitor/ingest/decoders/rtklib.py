"""Decoder of streams of solutions of RTKLIB (rtkrcv, rtknavi, rnx2rtkp): places on earth, or baselines.

The line with the names of the columns states the time system and the form. For a stream without this line, the site
file must state both. GPS time is 18 s ahead of UTC since 2017, the time of Japan (JST) 9 h. Times of a stream without
this line may be in the `zone` of the decoder. Source: RTKLIB manual 2.4.2, appendix B.1.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.decoder import Decoder, ReceivedMessage, gather, join_fault
from monitor.ingest.decoders.fixes import LINES_MOST, Fix, observe_fix
from monitor.ingest.decoders.strict_json import read_cell, read_payload, read_time
from monitor.ingest.message import DecodedMessage
from monitor.ingest.positions import Vector, gps_to_utc
from monitor.ingest.quality import read_digit
from monitor.ingest.references import PART, set_network
from monitor.ingest.text.counts import GPS_BEGIN
from monitor.readings.records import Observation
from monitor.sites.records import ELLIPSOID, GEOID, Binding

_SYSTEMS: Final = ("gpst", "utc")
_LOCAL: Final = "local"
_OF_HEADERS: Final = (*_SYSTEMS, "jst")
_JST: Final = timedelta(hours=9)  # ahead of UTC
_FORMS: Final = {"llh": "latitude(deg)", "enu": "e-baseline(m)"}
_OTHER_FORMS: Final = ("x-ecef(m)", "latitude(d'\")")
_KINDS: Final = {1: "fixed", 2: "float", 3: "sbas", 4: "dgps", 5: "single", 6: "ppp"}
_HEIGHT: Final = re.compile(r"lat/lon/height=([^/,]*)/(\w+)")
_DATUM: Final = "WGS84"
_BASE: Final = re.compile(r"ref pos\s*:\s*((?:[-+0-9.eE]+[,\s]+){2}[-+0-9.eE]+)", re.IGNORECASE)
_BLANKS: Final = str.maketrans(",;", "  ")  # possible values of out-fieldsep
_FEWEST: Final = 7  # fields: time in two, three numbers, quality, satellites


class SolutionHeader(NamedTuple):
    """Header of solutions.

    Attributes:
        system: Time system: gpst, utc, jst or local.
        form: llh (latitude, longitude, height) or enu (baseline).
        height: Reference surface of the heights; empty if it is not stated.
        frame: Parts of the frame, as in `references.join_frames`; empty if none is stated.
    """

    system: str
    form: str
    height: str = ""
    frame: str = ""


def open_rtklib(binding: Binding) -> Decoder:
    """Return the decoder of a `[[decoder]]` section.

    For a stream without a header, `time` is gpst or utc, and `positions` is llh or enu. With `network = NAME` all base
    stations of the stream are one network, and `ref pos` is not a part of the frame.

    Raises:
        ConfigError: a key has an invalid value.
    """
    settings = dict(binding.settings)
    for key, allowed in (("time", _SYSTEMS), ("positions", tuple(_FORMS))):
        if key in settings and settings[key] not in allowed:
            raise ConfigError(f"decoder 'rtklib': {key}: expected {' or '.join(allowed)}, got {settings[key]!r}")

    def decode(received: ReceivedMessage) -> DecodedMessage:
        lines = split_lines(received.message.payload)
        head = [line for line in lines if line.startswith("%")]
        place = received.site.id, received.place.station
        frame = read_frame(head)
        if frame and received.site.station(received.place.station) is not None:
            received.references.note_head(*place, frame)
        frame = frame or received.references.find_head(*place)
        if network := settings.get("network"):
            frame = set_network(frame, network)
        declared_system = settings.get("time") or (_LOCAL if received.zone else None)
        header = read_head(head, declared_system, settings.get("positions"))
        header = header._replace(frame=frame)
        solutions = [line for line in lines if not line.startswith("%")]

        def observe(line: str) -> Iterator[Observation]:
            fix = read_solution(line, header)
            if header.system == _LOCAL:
                fix = replace(fix, at=received.read_time(fix.at.replace(tzinfo=None).isoformat()))
            yield from observe_fix(fix, received)

        observations, bad = gather(solutions, observe)
        if not bad and not observations:
            raise PayloadError("empty", "no line of a solution")
        # With the header, so that the lines can be decoded again.
        bad_lines = "\n".join([*head, *(line for line, _ in bad)])
        return DecodedMessage(tuple(observations), join_fault(bad, len(solutions), "lines", bad_lines.encode()))

    return decode


def split_lines(payload: bytes) -> list[str]:
    """Return the lines of a message without empty ones; raises PayloadError."""
    text = read_payload(payload)
    if not text.isascii():
        raise PayloadError("bad_payload", "no lines of ASCII text")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > LINES_MOST:
        raise PayloadError("too_many", f"{len(lines)} lines; at most {LINES_MOST} are read")
    return lines


def find_columns(head: Sequence[str]) -> str:
    """Return the line of a header that names the columns of a solution in any form; empty if there is none."""
    return next((line for line in head if any(c in line for c in (*_FORMS.values(), *_OTHER_FORMS))), "")


def read_head(head: Sequence[str], system: str | None, form: str | None) -> SolutionHeader:
    """Return what the header states, or else the site file.

    Args:
        system: Time system by the site file, or None.
        form: Form by the site file, or None.

    Raises:
        PayloadError: time system or form are not stated, or not supported.
    """
    if columns := find_columns(head):
        if any(other in columns for other in _OTHER_FORMS):
            raise PayloadError("bad_payload", "set out-solformat = llh or enu, and out-degform = deg")
        form = next(name for name, column in _FORMS.items() if column in columns)
        system = columns.lstrip("% ").split()[0].lower()
    if system not in (*_OF_HEADERS, _LOCAL):
        raise PayloadError("no_zone", "GPS time or UTC? send the header of the solution, or set time = gpst or utc")
    if form is None:
        raise PayloadError("bad_payload", "send the header of the solution, or set positions = llh or enu")
    return SolutionHeader(system, form, read_height(head), read_frame(head))


def read_frame(head: Sequence[str]) -> str:
    """Return the frame that a header states: its datum, the kind of heights, the place of the base.

    >>> read_frame(["% (lat/lon/height=WGS84/geodetic,Q=1:fix)", "% ref pos   : 46.1000 8.900 501.2"])
    'datum WGS84; heights geodetic; base 46.100000000 8.900000000 501.2000'
    """
    parts: dict[str, str] = {}
    for line in head:
        height = _HEIGHT.search(line)
        if height is not None:
            parts |= {"datum": height[1], "heights": height[2].lower()}
        base = _BASE.search(line)
        if base is not None:
            with suppress(ValueError):
                parts["base"] = "{:.9f} {:.9f} {:.4f}".format(*map(float, base[1].replace(",", " ").split()[:3]))
    return PART.join(f"{key} {value}" for key, value in parts.items())


def read_height(head: Sequence[str]) -> str:
    """Return the reference surface of heights, empty if no line states it; raises PayloadError for other datums.

    >>> read_height(["% (lat/lon/height=WGS84/geodetic,Q=1:fix,2:float)"]), read_height(["%  GPST  latitude(deg)"])
    ('geoid', '')
    """
    height = next(filter(None, map(_HEIGHT.search, head)), None)
    if height is None:
        return ""
    if height[1].strip() != _DATUM:
        raise PayloadError("other_frame", f"positions in the datum {height[1].strip()[:40]}: set out-datum = wgs84")
    return GEOID if height[2] == "geodetic" else ELLIPSOID


def read_solution(line: str, head: SolutionHeader) -> Fix:
    """Return the position of one line; raises PayloadError."""
    system, form, height, frame = head
    parts = line.translate(_BLANKS).split()
    if len(parts) < _FEWEST:
        raise PayloadError("cell_count", f"{len(parts)} fields; a solution has at least {_FEWEST}: {line[:60]!r}")
    east, north, up = (read_cell(text, "position") for text in parts[2:5])
    quality, satellites = read_cell(parts[5], "Q"), read_cell(parts[6], "ns")
    kind = _KINDS.get(int(quality))
    if kind is None:
        raise PayloadError("no_fix", f"Q = {quality:g} is no solution")
    cov = _read_covariance(parts[7:13], form)
    first, second, third = (read_digit(text) or 0.0 for text in parts[2:5])
    place: Vector | None = None
    if form == "llh":
        if abs(east) > 90.0 or abs(north) > 360.0 or abs(up) > 1e5:
            raise PayloadError("bad_place", f"{east:g}, {north:g}, {up:g} m: no place on earth")
        place = (east, north, up)
    at = _read_at(parts[0], parts[1], system)
    count = int(satellites) if 0 <= satellites < 1000 else None
    return Fix(at, place, None if place else (east, north, up), kind, count, cov, (first, second, third), height, frame)


def _read_at(date: str, time: str, system: str) -> datetime:
    if "/" in date:
        at = read_time(f"{date.replace('/', '-')}T{time}Z")
    else:
        week, seconds = read_cell(date, "week"), read_cell(time, "seconds of the week")
        if not (0 <= week < 20_000 and 0 <= seconds < 604_800):
            raise PayloadError("bad_time", f"week {week:g}, {seconds:g} s is no time")
        at = read_time((GPS_BEGIN + timedelta(weeks=week, seconds=seconds)).isoformat())
    if system == "jst":
        return at - _JST
    return gps_to_utc(at) if system == "gpst" else at


def _read_covariance(parts: Sequence[str], form: str) -> tuple[float, float, float, float, float, float] | None:
    """Return the covariance; None if it is not estimated.

    RTKLIB writes standard deviations, and roots of covariances with their sign, m.
    """
    if len(parts) < 6:
        return None
    try:
        a, b, uu, ab, bu, ua = (1e6 * s * abs(s) for s in (read_cell(p, "standard deviation") for p in parts))
    except PayloadError:
        return None
    if min(a, b, uu) < 0.0 or max(map(abs, (a, b, uu, ab, bu, ua))) >= 1e300 or max(a, b, uu) == 0.0:
        return None  # invalid, or not estimated if all are 0
    # llh: n, e, u, ne, eu, un; enu: e, n, u, en, nu, ue
    return (b, a, uu, ab, bu, ua) if form == "llh" else (a, b, uu, ab, ua, bu)

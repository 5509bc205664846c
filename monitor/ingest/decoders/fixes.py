"""Positions of receivers as displacement since the origin that the site file gives the station."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from monitor.canonical import canonical_json
from monitor.errors import PayloadError
from monitor.ingest.decoders.decoder import ReceivedMessage
from monitor.ingest.decoders.native import AXES, NO_FIX
from monitor.ingest.positions import Vector, find_enu_mm
from monitor.ingest.quality import ReadingDetails, error_of_step
from monitor.ingest.references import PART
from monitor.readings.records import DIGIT, Observation
from monitor.sites.records import GEOID, Origin, Site
from monitor.text.instants import format_iso
from monitor.text.names import is_station

# how good each kind of solution is: centimetres, or decimetres of a float; the others are good to metres
GOOD: Final = frozenset({"fixed", "float", "ppp"})
LINES_MOST: Final = 1500  # of one message
TELLING_MM: Final = 1.0  # a smaller step of the last digit says nothing where no error is stated


Covariance = tuple[float, float, float, float, float, float]
"""ee, nn, uu, en, eu, nu, mm²."""


@dataclass(frozen=True, slots=True)
class Fix:
    """Where an antenna was: on the earth (deg, deg, m of height), or from its base (east, north, up, m)."""

    at: datetime
    place: Vector | None
    baseline_m: Vector | None
    kind: str  # fixed, float, ppp, dgps, sbas, single
    satellites: int | None
    covariance_mm2: Covariance | None
    steps: Vector  # one step of the last digit of each number of the position, in its unit
    height: str = ""  # above which the height counts; "" where nobody says it
    frame: str = ""  # what its head says of the frame besides: parts as `references.join_frames` has them


def find_origin(site: Site, station: str, *, of_place: bool) -> Origin:
    """What the positions of a station count from.

    Raises:
        PayloadError: no_station, or no_origin: the site file gives none, or one of the other kind.
    """
    if not is_station(station):
        raise PayloadError("no_station", "the topic names no station; put {station} into it, or name one as station")
    declared = site.station(station)
    origin = None if declared is None else declared.origin
    if origin is None or (origin.place is None if of_place else origin.complete_baseline_m is None):
        keys = "latitude, longitude, height_m" if of_place else "east_m, north_m, up_m"
        raise PayloadError(
            "no_origin", f"station {station} has no origin; the site file must give it origin = {{{keys}, since}}"
        )
    return origin


def check_height(height: str, origin: Origin) -> None:
    """Raises PayloadError where heights count above something else than that of the origin: tens of metres apart."""
    if origin.place is not None and height not in {"", origin.height}:
        setting = "geodetic" if origin.height == GEOID else "ellipsoidal"
        raise PayloadError(
            "other_frame",
            f"heights above the {height}, the origin counts above the {origin.height}: let the receiver "
            f'send out-height = {setting}, or give the station an origin with its height and height = "{height}"',
        )


def find_displacement(fix: Fix, origin: Origin) -> Vector:
    """Towards east, north and up since an origin of the same kind, mm; raises PayloadError: another height."""
    check_height(fix.height, origin)
    if fix.place is not None:
        return find_enu_mm(origin, *fix.place)
    east, north, up = (
        1000.0 * (now - then) for now, then in zip(fix.baseline_m or (), origin.complete_baseline_m or (), strict=True)
    )
    return east, north, up


def _find_steps_mm(fix: Fix, origin: Origin) -> Vector:
    if fix.place is None:
        east, north, up = (1000.0 * step for step in fix.steps)
        return east, north, up
    latitude, longitude, height_m = fix.place
    here = find_displacement(fix, origin)
    there = (
        find_enu_mm(origin, latitude, longitude + fix.steps[1], height_m),
        find_enu_mm(origin, latitude + fix.steps[0], longitude, height_m),
        find_enu_mm(origin, latitude, longitude, height_m + fix.steps[2]),
    )
    east, north, up = (abs(there[k][k] - here[k]) for k in range(3))
    return east, north, up


def state_error(fix: Fix, origin: Origin) -> tuple[Covariance | None, Vector | None]:
    """The covariance of a position, and its steps where they are larger than the error that the receiver states.

    No variance is smaller than that of rounding to the last digit. Noise that is larger than a step makes rounding
    harmless: a mean of many epochs is as good as without.
    """
    cov, steps_mm = fix.covariance_mm2, _find_steps_mm(fix, origin)
    if cov is None:
        return None, steps_mm if max(steps_mm) >= TELLING_MM else None
    ee, nn, uu = (max(variance, error_of_step(step) ** 2) for variance, step in zip(cov[:3], steps_mm, strict=True))
    is_coarse = any(step * step > variance for step, variance in zip(steps_mm, cov[:3], strict=True))
    return (ee, nn, uu, *cov[3:]), steps_mm if is_coarse else None


def observe_fix(fix: Fix, received: ReceivedMessage) -> list[Observation]:
    """East, north and up of a position; raises PayloadError."""
    received.check_clock(fix.at)
    site, station = received.site, received.place.station
    origin = find_origin(site, station, of_place=fix.place is not None)
    frame = add_parts(origin.frame, fix.frame)
    received.references.join(site.id, station, frame, origin.since)  # another one is asked about, whatever follows
    enu_mm = find_displacement(fix, origin)
    cov, steps_mm = state_error(fix, origin)
    facts = {
        "cov_mm2": None if cov is None else list(cov),
        "epoch0": format_iso(origin.since),
        "frame": origin.frame,
        "fix": fix.kind,
        "satellites": fix.satellites,
        DIGIT: None if steps_mm is None else list(steps_mm),
    }
    extra = canonical_json({key: value for key, value in facts.items() if value is not None})
    found = []
    for k, axis in enumerate(AXES):
        sigma = None if cov is None else cov[k] ** 0.5
        details = ReadingDetails(sigma, extra=extra)
        one = received.observe(station, received.field(station, axis, "mm"), enu_mm[k], fix.at, details)
        found.append(one if fix.kind in GOOD else replace(one, flags=(*one.flags, NO_FIX)))
    received.references.check(site.id, station, frame, origin.since)
    return found


def add_parts(frame: str, parts: str) -> str:
    """A frame with what a head says of it."""
    return f"{frame}{PART}{parts}" if parts else frame

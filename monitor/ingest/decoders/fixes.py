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

# Solutions that are accurate to centimetres, or to decimetres for a float. The others are accurate to metres.
GOOD: Final = frozenset({"fixed", "float", "ppp"})
LINES_MOST: Final = 1500  # lines of one message
TELLING_MM: Final = 1.0  # a smaller step of the last digit is not stored if no error is stated


Covariance = tuple[float, float, float, float, float, float]
"""ee, nn, uu, en, eu, nu, mm²."""


@dataclass(frozen=True, slots=True)
class Fix:
    """Position of an antenna: a place on earth, or a baseline from its base station.

    Attributes:
        place: Latitude (deg), longitude (deg), height (m).
        baseline_m: East, north, up from the base station, m.
        kind: Kind of solution: fixed, float, ppp, dgps, sbas or single.
        steps: Value of the last digit of each number of the position, in its unit.
        height: Reference surface of the height; empty if it is not stated.
        frame: Further parts of the frame, as in `references.join_frames`.
    """

    at: datetime
    place: Vector | None
    baseline_m: Vector | None
    kind: str
    satellites: int | None
    covariance_mm2: Covariance | None
    steps: Vector
    height: str = ""
    frame: str = ""


def find_origin(site: Site, station: str, *, of_place: bool) -> Origin:
    """Return the origin of a station in the site file.

    Args:
        of_place: The origin must be a place on earth. False: it must be a baseline.

    Raises:
        PayloadError: no_station, or no_origin: the site file has none, or one of the other kind.
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
    """Raise PayloadError if heights have another reference surface than the origin, which is tens of metres away."""
    if origin.place is not None and height not in {"", origin.height}:
        setting = "geodetic" if origin.height == GEOID else "ellipsoidal"
        raise PayloadError(
            "other_frame",
            f"heights above the {height}, the origin counts above the {origin.height}: let the receiver "
            f'send out-height = {setting}, or give the station an origin with its height and height = "{height}"',
        )


def find_displacement(fix: Fix, origin: Origin) -> Vector:
    """Return displacement towards east, north and up since an origin of the same kind, mm; raises PayloadError."""
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
    """Return the covariance of a position, and its steps of the last digit (mm) if they exceed the stated error.

    A variance is at least that of rounding to the last digit. Steps smaller than the noise are not returned, because
    rounding then does not bias the mean of many epochs.
    """
    cov, steps_mm = fix.covariance_mm2, _find_steps_mm(fix, origin)
    if cov is None:
        return None, steps_mm if max(steps_mm) >= TELLING_MM else None
    ee, nn, uu = (max(variance, error_of_step(step) ** 2) for variance, step in zip(cov[:3], steps_mm, strict=True))
    is_coarse = any(step * step > variance for step, variance in zip(steps_mm, cov[:3], strict=True))
    return (ee, nn, uu, *cov[3:]), steps_mm if is_coarse else None


def observe_fix(fix: Fix, received: ReceivedMessage) -> list[Observation]:
    """Return the readings of east, north and up of a position; raises PayloadError."""
    received.check_clock(fix.at)
    site, station = received.site, received.place.station
    origin = find_origin(site, station, of_place=fix.place is not None)
    frame = add_parts(origin.frame, fix.frame)
    # Before everything that may fail: another reference must become a question.
    received.references.join(site.id, station, frame, origin.since)
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
    observations = []
    for k, axis in enumerate(AXES):
        sigma = None if cov is None else cov[k] ** 0.5
        details = ReadingDetails(sigma, extra=extra)
        observation = received.observe(station, received.field(station, axis, "mm"), enu_mm[k], fix.at, details)
        observations.append(
            observation if fix.kind in GOOD else replace(observation, flags=(*observation.flags, NO_FIX))
        )
    received.references.check(site.id, station, frame, origin.since)
    return observations


def add_parts(frame: str, parts: str) -> str:
    """Return a frame with further parts."""
    return f"{frame}{PART}{parts}" if parts else frame

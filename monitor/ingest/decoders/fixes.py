"""Positions of receivers as displacement since the origin that the site file gives the station."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from monitor.domain.canonical import canonical_json
from monitor.domain.instants import spell
from monitor.domain.observation import Observation
from monitor.domain.site import Origin, Site
from monitor.errors import PayloadError
from monitor.ingest.decoders.decoder import Received
from monitor.ingest.decoders.native import AXES
from monitor.ingest.message import is_station
from monitor.ingest.positions import Vector, find_enu_mm

NO_FIX: Final = "no_fix"  # the flag of positions that are good to metres: no displacement
# how good each kind of solution is: centimetres, or decimetres of a float; the others are good to metres
GOOD: Final = frozenset({"fixed", "float", "ppp"})
LINES_MOST: Final = 1500  # of one message


@dataclass(frozen=True, slots=True)
class Fix:
    """Where an antenna was: on the earth (deg, deg, m above the ellipsoid), or from its base (east, north, up, m)."""

    at: datetime
    place: Vector | None
    baseline_m: Vector | None
    kind: str  # fixed, float, ppp, dgps, sbas, single
    satellites: int | None
    covariance_mm2: tuple[float, float, float, float, float, float] | None = None  # ee, nn, uu, en, eu, nu


def find_origin(site: Site, station: str, *, of_place: bool) -> Origin:
    """What the positions of a station count from.

    Raises:
        PayloadError: no_station, or no_origin: the site file gives none, or one of the other kind.
    """
    if not is_station(station):
        raise PayloadError("no_station", "the topic names no station; put {station} into it, or name one as station")
    declared = site.station(station)
    origin = None if declared is None else declared.origin
    if origin is None or (origin.place is None) == of_place:
        keys = "latitude, longitude, height_m" if of_place else "east_m, north_m, up_m"
        raise PayloadError(
            "no_origin", f"station {station} has no origin; the site file must give it origin = {{{keys}, since}}"
        )
    return origin


def find_displacement(fix: Fix, origin: Origin) -> Vector:
    """Towards east, north and up since an origin of the same kind, mm."""
    if fix.place is not None:
        return find_enu_mm(origin, *fix.place)
    east, north, up = (
        1000.0 * (now - then) for now, then in zip(fix.baseline_m or (), origin.baseline_m or (), strict=True)
    )
    return east, north, up


def observe_fix(fix: Fix, received: Received) -> list[Observation]:
    """East, north and up of a position; raises PayloadError."""
    site, station = received.site, received.place.station
    origin = find_origin(site, station, of_place=fix.place is not None)
    enu_mm = find_displacement(fix, origin)
    cov = fix.covariance_mm2
    facts = {"cov_mm2": None if cov is None else list(cov), "epoch0": spell(origin.since), "frame": origin.frame,
             "fix": fix.kind, "satellites": fix.satellites}  # fmt: skip
    extra = canonical_json({key: value for key, value in facts.items() if value is not None})
    found = []
    for k, axis in enumerate(AXES):
        sigma = None if cov is None else cov[k] ** 0.5
        one = received.observe(station, received.field(station, axis, "mm"), enu_mm[k], fix.at, sigma, None, extra)
        found.append(one if fix.kind in GOOD else replace(one, flags=(*one.flags, NO_FIX)))
    received.references.check(site.id, station, origin.frame, origin.since)
    return found

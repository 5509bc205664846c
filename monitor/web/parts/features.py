"""Return sites, stations and outlines as GeoJSON features for maps."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal, get_args

from sqlalchemy import Connection

from detection.geojson import Feature, Geometry
from monitor.alerts.queries import overview as pages
from monitor.alerts.queries.evaluations import find_requested_levels
from monitor.alerts.queries.movement import NewestMovement, load_newest_movement
from monitor.text.instants import format_iso

_STATION: Final = (
    *("site", "station", "state", "reason", "newest_at", "stage", "trend", "velocity_mm_per_day"),
    *("velocity_error_mm_per_day", "moved_at", "heading_deg", "heading_from", "asks", "asks_name", "level"),
    *("level_name", "top_level", "height_m", "azimuth_deg", "on_slope", "logger", "reference"),
)
# A velocity of at least this number of standard errors has a direction.
DIRECTION_ERRORS: Final = 2.0
_Health = Literal["state", "reason", "newest_at"]
_HEALTH: Final[tuple[_Health, ...]] = get_args(_Health)
_MOVED: Final = ("stage", "trend", "velocity_mm_per_day", "velocity_error_mm_per_day")


def list_sites(c: Connection, sites: str | frozenset[str] | None, now: datetime) -> list[Feature]:
    """Return sites as points with their row of `site_status`, the most dangerous first.

    `observability` is what the site sees at the instant `now`.
    """
    return [
        make_feature(
            card.id,
            make_point(card.longitude, card.latitude),
            {**card.status, "observability": card.sight, "name": card.name, "top_level": card.top_level},
        )
        for card in pages.load_cards(c, sites, now=now)
    ]


def list_stations(c: Connection, site: str, now: datetime) -> list[Feature]:
    """Return declared stations as points: state at the instant `now`, motion of the fastest series, requested level."""
    card = next(iter(pages.load_cards(c, site, now=now)), None)
    levels = {} if card is None else {v["number"]: v["name"] for v in card.levels}
    top = max(levels, default=0)
    level = None if card is None else card.status["level"]
    asks = find_requested_levels(c, site, top, now)
    rows = sorted(load_newest_movement(c, site, now), key=lambda row: abs(row["velocity_mm_per_day"] or 0.0))
    # The fastest series of each station, because later rows replace earlier ones.
    fastest = {row["station"]: row for row in rows}
    windows = {
        station: row["velocity_window_s"]
        for station, row in fastest.items()
        if row["velocity_window_s"] and _has_direction(row)
    }
    headings = pages.find_headings(c, site, windows, now)
    features = []
    for station in pages.load_stations(c, site, None if card is None else card.stations):
        if not station.declared:
            continue
        motion = fastest.get(station.id)
        heading_deg, heading_from = _find_heading(station, motion, headings)
        requested_level = asks.get(station.id, 0)
        facts: dict[str, Any] = {
            **{name: getattr(station, name, None) for name in _STATION},
            "site": site,
            "station": station.id,
            **{name: None if station.health is None else station.health[name] for name in _HEALTH},
            **({} if motion is None else {name: value for name, value in motion.items() if name in _MOVED}),
            "moved_at": None if motion is None else motion["at"],
            "heading_deg": heading_deg,
            "heading_from": heading_from,
            "asks": requested_level,
            "asks_name": levels.get(requested_level) if requested_level else None,
            "level": level,
            "level_name": None if level is None else levels.get(level),
            "top_level": top,
        }
        place = make_point(station.longitude, station.latitude, station.height_m)
        features.append(make_feature(f"{site}/{station.id}", place, facts))
    return features


def _has_direction(motion: NewestMovement) -> bool:
    velocity = motion["velocity_mm_per_day"]
    error = motion["velocity_error_mm_per_day"]
    return velocity is not None and error is not None and abs(velocity) > DIRECTION_ERRORS * error


def _find_heading(
    station: pages.StationCard, motion: NewestMovement | None, measured: Mapping[str, float]
) -> tuple[float | None, str | None]:
    """Return the direction of motion in degrees clockwise from north, and its source: readings or the site file."""
    if station.id in measured:
        return measured[station.id], "readings"
    if station.azimuth_deg is None or motion is None or not _has_direction(motion):
        return None, None
    turn_deg = 180.0 if (motion["velocity_mm_per_day"] or 0.0) < 0.0 else 0.0
    return (station.azimuth_deg + turn_deg) % 360.0, "site file"


def describe_outlines(rows: Iterable[Mapping[str, Any]]) -> Iterator[Feature]:
    """Outlines that people drew on scenes, and that stand, as polygons in WGS 84; rows of `scene_outlines`."""
    for row in rows:
        if row["withdrawn_at"] is None:
            left = ("geometry", "withdrawn_at", "withdrawn_by")
            rest = {k: v for k, v in row.items() if k not in left}
            yield make_feature(str(row["outline_id"]), json.loads(row["geometry"]), rest)


def make_point(longitude: float | None, latitude: float | None, height_m: float | None = None) -> Geometry | None:
    """Return a GeoJSON point in WGS 84; None if the place is not known."""
    if longitude is None or latitude is None:
        return None
    return {"type": "Point", "coordinates": [longitude, latitude, *([] if height_m is None else [height_m])]}


def make_feature(name: str, geometry: Geometry | None, facts: Mapping[str, Any]) -> Feature:
    """Return a GeoJSON feature. Instants become text."""
    properties = {k: format_iso(v) if isinstance(v, datetime) else v for k, v in facts.items()}
    return {"type": "Feature", "id": name, "geometry": geometry, "properties": properties}

"""Sites, stations and outlines as features of GeoJSON, as maps draw them."""

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
SEEN: Final = 2.0  # a movement of so many of its standard errors has a direction
_Health = Literal["state", "reason", "newest_at"]
_HEALTH: Final[tuple[_Health, ...]] = get_args(_Health)
_MOVED: Final = ("stage", "trend", "velocity_mm_per_day", "velocity_error_mm_per_day")


def list_sites(c: Connection, sites: str | frozenset[str] | None, now: datetime) -> list[Feature]:
    """Sites as points with the row of `site_status`, the most dangerous first."""
    return [
        make_feature(
            card.id,
            make_point(card.longitude, card.latitude),
            {**card.status, "observability": card.sight, "name": card.name, "top_level": card.top_level},
        )
        for card in pages.load_cards(c, sites, now=now)
    ]


def list_stations(c: Connection, site: str, now: datetime) -> list[Feature]:
    """Declared stations as points: health, the fastest series as last judged, and the level that each asks for."""
    card = next(iter(pages.load_cards(c, site, now=now)), None)
    levels = {} if card is None else {v["number"]: v["name"] for v in card.levels}
    top = max(levels, default=0)
    level = None if card is None else card.status["level"]
    asks = find_requested_levels(c, site, top, now)
    rows = sorted(load_newest_movement(c, site, now), key=lambda row: abs(row["velocity_mm_per_day"] or 0.0))
    moves = {row["station"]: row for row in rows}  # the fastest series of each; of equal ones the last
    context = {k: m["velocity_window_s"] for k, m in moves.items() if m["velocity_window_s"] and _is_seen(m)}
    headings = pages.find_headings(c, site, context, now)
    found = []
    for one in pages.load_stations(c, site, None if card is None else card.stations):
        if not one.declared:
            continue
        move = moves.get(one.id)
        heading_deg, heading_from = _find_heading(one, move, headings)
        requested_level = asks.get(one.id, 0)
        facts: dict[str, Any] = {
            **{name: getattr(one, name, None) for name in _STATION},
            "site": site,
            "station": one.id,
            **{k: None if one.health is None else one.health[k] for k in _HEALTH},
            **({} if move is None else {k: v for k, v in move.items() if k in _MOVED}),
            "moved_at": None if move is None else move["at"],
            "heading_deg": heading_deg,
            "heading_from": heading_from,
            "asks": requested_level,
            "asks_name": levels.get(requested_level) if requested_level else None,
            "level": level,
            "level_name": None if level is None else levels.get(level),
            "top_level": top,
        }
        found.append(make_feature(f"{site}/{one.id}", make_point(one.longitude, one.latitude, one.height_m), facts))
    return found


def _is_seen(move: NewestMovement) -> bool:
    speed, error = move["velocity_mm_per_day"], move["velocity_error_mm_per_day"]
    return speed is not None and error is not None and abs(speed) > SEEN * error


def _find_heading(
    station: pages.StationCard, move: NewestMovement | None, measured: Mapping[str, float]
) -> tuple[float | None, str | None]:
    """Degrees clockwise from north as east and north tell, else along the declared azimuth; and which of them."""
    if station.id in measured:
        return measured[station.id], "readings"
    if station.azimuth_deg is None or move is None or not _is_seen(move):
        return None, None
    back = 180.0 if (move["velocity_mm_per_day"] or 0.0) < 0.0 else 0.0
    return (station.azimuth_deg + back) % 360.0, "site file"


def describe_outlines(rows: Iterable[Mapping[str, Any]]) -> Iterator[Feature]:
    """Outlines that people drew on scenes, and that stand, as polygons in WGS 84; rows of `scene_outlines`."""
    for row in rows:
        if row["withdrawn_at"] is None:
            left = ("geometry", "withdrawn_at", "withdrawn_by")
            rest = {k: v for k, v in row.items() if k not in left}
            yield make_feature(str(row["outline_id"]), json.loads(row["geometry"]), rest)


def make_point(longitude: float | None, latitude: float | None, height_m: float | None = None) -> Geometry | None:
    """A place in WGS 84; None where it is not known."""
    if longitude is None or latitude is None:
        return None
    return {"type": "Point", "coordinates": [longitude, latitude, *([] if height_m is None else [height_m])]}


def make_feature(name: str, geometry: Geometry | None, facts: Mapping[str, Any]) -> Feature:
    """A feature of GeoJSON; its instants are text."""
    properties = {k: format_iso(v) if isinstance(v, datetime) else v for k, v in facts.items()}
    return {"type": "Feature", "id": name, "geometry": geometry, "properties": properties}

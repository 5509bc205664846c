"""Stations and footprints as features of GeoJSON (RFC 7946), and as layers of a GeoPackage."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from monitor.domain.instants import spell
from monitor.errors import NotFoundError, RefusedError
from monitor.export.tables import kind_of, read_rows
from monitor.store.pages import SiteCard, load_cards, load_stations
from monitor.store.schema.views import load_view

_STATION: Final = (
    "site", "station", "state", "reason", "newest_at", "stage", "trend", "velocity_mm_per_day",
    "velocity_error_mm_per_day", "moved_at", "level", "level_name", "height_m", "azimuth_deg", "on_slope", "logger",
    "reference",
)  # fmt: skip
_SQL: Final = {"real": "REAL", "integer": "INTEGER", "boolean": "BOOLEAN", "instant": "TEXT", "text": "TEXT"}
STATIONS: Final = "stations"
LAYERS: Final = (STATIONS, "footprints")
FORMATS: Final = ("geojson", "gpkg")


def list_sites(c: Connection, sites: str | frozenset[str] | None) -> list[dict[str, Any]]:
    """Sites as points with the row of `site_status`, the most dangerous first."""
    return [
        _feature(card.id, _point(card.longitude, card.latitude), _describe_site(card)) for card in load_cards(c, sites)
    ]


def _describe_site(card: SiteCard) -> dict[str, Any]:
    return {**card.status, "name": card.name, "top_level": card.top_level}


def list_stations(c: Connection, site: str) -> list[dict[str, Any]]:
    """Declared stations as points: health, the fastest series as last judged, and the level of their site."""
    status = next(iter(load_view(c, "site_status", site=site)), {})
    moves: dict[str, dict[str, Any]] = {}
    for row in _newest_movement(c, site):
        if abs(row["velocity_mm_per_day"] or 0.0) >= abs(
            moves.get(row["station"], {}).get("velocity_mm_per_day") or 0.0
        ):
            moves[row["station"]] = row
    found = []
    for one in load_stations(c, site):
        if not one["declared"]:
            continue
        health, move = one["health"] or {}, moves.get(one["id"], {})
        facts = {
            **dict.fromkeys(_STATION), **{k: v for k, v in one.items() if k in _STATION}, "site": site,
            "station": one["id"], **{k: health.get(k) for k in ("state", "reason", "newest_at")},
            **{k: move.get(k) for k in ("stage", "trend", "velocity_mm_per_day", "velocity_error_mm_per_day")},
            "moved_at": move.get("at"), "level": status.get("level"), "level_name": status.get("level_name"),
        }  # fmt: skip
        found.append(_feature(f"{site}/{one['id']}", _point(one["longitude"], one["latitude"], one["height_m"]), facts))
    return found


def _newest_movement(c: Connection, site: str) -> Iterator[dict[str, Any]]:
    """The newest row of `movement_history` of each series, by seeks."""
    series = {(row["station"], row["quantity"]) for row in load_view(c, "latest_observation", site=site)}
    for station, quantity in sorted(series):
        which = {"site": site, "station": station, "quantity": quantity}
        yield from load_view(c, "movement_history", order_by=["-at"], limit=1, **which)


def list_footprints(
    c: Connection, site: str, *, from_at: datetime | None = None, to_at: datetime | None = None
) -> Iterator[dict[str, Any]]:
    """Footprints of all scenes as polygons in WGS 84, by the time of the image."""
    for row in read_rows(c, "footprints", site, from_at=from_at, to_at=to_at):
        rest = {k: v for k, v in row.items() if k != "geometry"}
        yield _feature(row["polygon_id"], json.loads(row["geometry"]), rest)


def write_map(
    c: Connection, name: str, site: str, path: Path, kind: str, now: datetime, *,
    from_at: datetime | None = None, to_at: datetime | None = None, most: int | None = None,
) -> int:  # fmt: skip
    """Stations or footprints of a site as a file; returns how many have a place, and writes none where that is 0.

    Args:
        c: a read transaction.
        name: one of `LAYERS`.
        site: site.
        path: a new file.
        kind: geojson or gpkg.
        now: kept as the last change of a GeoPackage.
        from_at: footprints on images after this instant.
        to_at: footprints on images up to this instant.
        most: features at most; None: all.

    Raises:
        NotFoundError: no such layer or format.
        RefusedError: a range is asked of stations, or there are more than `most`.
    """
    if name not in LAYERS or kind not in FORMATS:
        raise NotFoundError(f"{name}.{kind} is no file to export: {', '.join(LAYERS)} come as {', '.join(FORMATS)}")
    if name == STATIONS and (from_at or to_at):
        raise RefusedError("stations are as of now: they take no --from and no --to")
    found = list_stations(c, site) if name == STATIONS else list_footprints(c, site, from_at=from_at, to_at=to_at)
    placed: list[dict[str, Any]] = []
    for one in found:
        if one["geometry"] is None:
            continue
        if len(placed) == most:
            raise RefusedError(f"more than {most} {name}: ask for a shorter range, or use `slopeward export`")
        placed.append(one)
    if not placed:
        return 0
    if kind == "geojson":
        text = json.dumps({"type": "FeatureCollection", "features": placed}, ensure_ascii=False, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")
    else:
        _write_layer(placed, path, name, now)
    return len(placed)


def _write_layer(features: list[dict[str, Any]], path: Path, layer: str, now: datetime) -> None:
    from detection.imagery.footprints.geopackage import write_geopackage

    columns = {name: _SQL[kind_of(name)] for name in features[0]["properties"]}
    rows = [{"geometry": one["geometry"], **one["properties"]} for one in features]
    if layer == STATIONS:
        write_geopackage(
            path, rows, columns, table=layer, changed_at=now, kind="POINT", description="Stations of a slope"
        )
    else:
        write_geopackage(path, rows, columns, table=layer, changed_at=now)


def _point(longitude: float | None, latitude: float | None, height_m: float | None = None) -> dict[str, Any] | None:
    if longitude is None or latitude is None:
        return None
    return {"type": "Point", "coordinates": [longitude, latitude, *([] if height_m is None else [height_m])]}


def _feature(name: str, geometry: Mapping[str, Any] | None, facts: Mapping[str, Any]) -> dict[str, Any]:
    told = {k: spell(v) if isinstance(v, datetime) else v for k, v in facts.items()}
    return {"type": "Feature", "id": name, "geometry": geometry, "properties": told}

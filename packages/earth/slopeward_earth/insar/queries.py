"""Landslides on scenes, as stacks are measured over them."""

import json

from sqlalchemy import Connection, column, select, table

from detection.geojson import Geometry


def load_followed(connection: Connection, site_id: str, near_m: float, limit: int) -> list[tuple[str, Geometry]]:
    """Return landslides near a station, the nearest first.

    Args:
        connection: an open connection.
        site_id: the site.
        near_m: the largest distance from a station.
        limit: the largest number of landslides.

    Returns:
        The id of the first polygon of each landslide, and its newest outline.
    """
    names = ("site", "root_id", "polygon_id", "change", "distance_m", "acquired_at", "geometry")
    polygons = table("scene_polygons", *map(column, names)).c
    rows = connection.execute(
        select(polygons.root_id, polygons.geometry, polygons.distance_m)
        .where(polygons.site == site_id, polygons.distance_m <= near_m, polygons.change != "vanished")
        .order_by(polygons.acquired_at, polygons.polygon_id)
    )
    newest = {row.root_id: row for row in rows}
    nearest = sorted(newest.values(), key=lambda row: (row.distance_m, row.root_id))
    return [(row.root_id, json.loads(row.geometry)) for row in nearest[:limit]]

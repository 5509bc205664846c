"""When footprints in scenes became known, for replays."""

from datetime import datetime

from sqlalchemy import Connection, select

from monitor.api.queries.alerts import load_instants
from monitor.features.scenes.tables import scene, scene_change, scene_footprint


def load_fact_instants(c: Connection, site: str, from_at: datetime, to_at: datetime) -> set[datetime]:
    """Return the instants in (from_at, to_at] at which footprints of a site were found or compared with older ones."""
    queries = [
        select(column).join(scene, scene.c.scene_hash == column.table.c.scene_hash).where(scene.c.site == site)
        for column in (scene_footprint.c.detected_at, scene_change.c.judged_at)
    ]
    return load_instants(c, queries, from_at, to_at)

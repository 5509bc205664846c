"""What the page of a site shows about scenes."""

from typing import Any

from monitor.api.web import SiteSnapshot
from monitor.features.scenes.queries.cards import find_shown_scene, load_footprints, load_scenes_of
from monitor.features.scenes.queries.weights import mark_unproven


def collect_scenes(page: SiteSnapshot) -> dict[str, Any]:
    """Return the newest scenes of a site, the newest image that was read, and the footprints on it."""
    connection, site_id = page.c, page.card.id
    shown = find_shown_scene(connection, site_id)
    footprints = [] if shown is None else load_footprints(connection, site_id, shown.scene_hash)
    mark_unproven(connection, site_id, footprints, page.now)
    return {"scenes": load_scenes_of(connection, site_id), "shown_scene": shown, "footprints": footprints}

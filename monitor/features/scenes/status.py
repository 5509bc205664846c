"""What `slopeward status` shows about scenes that wait."""

from collections.abc import Callable

from sqlalchemy import Connection

from monitor.api.cli import format_in_zone, translate_in_zone
from monitor.api.hooks import StatusSection
from monitor.features.scenes.queries.arrivals import SceneRow, load_waiting


def describe_waiting(connection: Connection, zones: Callable[[str], str]) -> StatusSection:
    """Return the scenes that wait for files or weights."""
    scenes = load_waiting(connection)
    entries = [
        {"site": scene.site, "scene": scene.name, "since": scene.received_at, "for": scene.error} for scene in scenes
    ]
    return StatusSection("waiting_scenes", entries, [_describe(scene, zones(scene.site)) for scene in scenes])


def _describe(scene: SceneRow, zone: str) -> str:
    since = format_in_zone(scene.received_at, zone)
    return f"{scene.site}: scene {scene.name} waits since {since}: {translate_in_zone(scene.error, zone)}"

"""Versions of a scene. A delivery of the same name and time with other files replaces the earlier one."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from monitor.api.decision import health_alarm
from monitor.api.queries.alerts import notify_site
from monitor.api.scenes import KnownVersion, ReadScene
from monitor.api.sites import Site
from monitor.api.text import Figure, Template
from monitor.features.scenes.queries.arrivals import SceneRow, load_footprints, load_scenes
from monitor.features.scenes.queries.versions import (
    SUPERSEDED,
    WithdrawnFootprint,
    flag_values,
    supersede_scene,
    withdraw_footprints,
)
from monitor.features.scenes.rows import list_deliveries, make_stored_name, to_known_outline

# How many scenes of one name are sent to a worker with their outlines, the newest by acquisition.
OUTLINED_MOST: Final = 24
REREAD: Final = Template("scene.reread", "the scene was read again by other weights")()
_DELIVERED: Final = Template(
    "scene.delivered_again",
    "scene {scene} was delivered again: {n} outlines that were called new or grown are withdrawn; what they raised "
    "stays until it ages out or a person lowers it",
)
_DELIVERED_NEAR: Final = Template(
    "scene.delivered_again_near",
    "scene {scene} was delivered again: {n} outlines that were called new or grown are withdrawn, the nearest "
    "{distance} m from {station}; what they raised stays until it ages out or a person lowers it",
)


def list_versions(c: Connection, site: str, entry: Path) -> list[KnownVersion]:
    """Return the scenes that arrived under the name of an entry and are in the inbox under no other name.

    The entry replaces those of these scenes that were taken at the same time. The worker determines which they are,
    because it reads the time of the entry.
    """
    versions: list[tuple[datetime, str, str]] = []
    for row in load_scenes(c, site):
        names = {name for name, _ in list_deliveries(row)}
        if row.state != "done" or make_stored_name(entry) not in names or row.acquired_at is None:
            continue
        if any((entry.parent / other).exists() for other in names - {make_stored_name(entry)}):
            continue
        versions.append((row.acquired_at, row.scene_hash, (row.run or {}).get("model_hash", "")))
    # One name may be used for every scene (latest.tif), so only the newest scenes are sent with their outlines.
    versions.sort(key=lambda version: version[0], reverse=True)
    return [
        KnownVersion(
            scene_hash,
            acquired_at,
            tuple(map(to_known_outline, load_footprints(c, scene_hash, model_hash))) if number < OUTLINED_MOST else (),
        )
        for number, (acquired_at, scene_hash, model_hash) in enumerate(versions)
    ]


def number_version(c: Connection, site: str, name: str, answer: ReadScene) -> int:
    """Return the number of this delivery of a scene, from 1. The same files and model keep their number."""
    stored: SceneRow | None = None
    highest = 0
    for row in load_scenes(c, site):
        if row.state not in {"done", SUPERSEDED} or row.acquired_at != answer.acquired_at:
            continue
        if row.scene_hash == answer.scene_hash:
            stored = row
        elif name not in {delivered_name for delivered_name, _ in list_deliveries(row)}:
            continue
        highest = max(highest, version_of(row))
    if stored is not None and stored.state == "done" and (stored.run or {}).get("model_hash") == answer.model_hash:
        return version_of(stored)
    return highest + 1


def version_of(row: SceneRow) -> int:
    """Return the number of the delivery of a stored scene."""
    return int((row.run or {}).get("version", 1))


def withdraw_earlier_versions(c: Connection, site: Site, name: str, answer: ReadScene, now: datetime) -> int:
    """Withdraw the footprints and values of earlier versions, in the transaction that stores this version.

    Returns:
        The number of outlines that were withdrawn.
    """
    points = {(row.station, row.quantity, row.at) for row in answer.series}
    withdrawn: list[WithdrawnFootprint] = []
    for scene_hash in answer.replaced:
        withdrawn += supersede_scene(c, scene_hash, answer.scene_hash, now)
        flag_values(c, site.id, scene_hash, points, now)
    withdrawn += withdraw_footprints(c, answer.scene_hash, now, REREAD, keep_model=answer.model_hash)
    _notify_withdrawn(c, site, name, [footprint for footprint in withdrawn if footprint.claimed], now)
    return len(withdrawn)


def _notify_withdrawn(
    c: Connection, site: Site, name: str, claimed: Sequence[WithdrawnFootprint], now: datetime
) -> None:
    """Notify people once of withdrawn changes that may have raised a level.

    The level falls when the vote expires or when a person lowers it.
    """
    if not claimed:
        return
    nearest = min(claimed, key=_distance_or_infinity)
    reason = _DELIVERED(scene=name, n=len(claimed))
    if nearest.distance_m is not None:
        distance = Figure(nearest.distance_m, ",.0f")
        reason = _DELIVERED_NEAR(scene=name, n=len(claimed), distance=distance, station=nearest.station or "")
    # The alert is opened and ended at once, because there is nothing that would end it later.
    key = f"scene-version:{name}"
    opening = health_alarm(key, 1, reason, is_open=True, evidence={})
    ending = health_alarm(key, 1, reason, is_open=False, evidence={}, notify=False)
    notify_site(c, site, [opening, ending], now, site.version)


def _distance_or_infinity(footprint: WithdrawnFootprint) -> float:
    return float("inf") if footprint.distance_m is None else footprint.distance_m

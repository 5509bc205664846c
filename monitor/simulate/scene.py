"""The scene of the demonstration: hills with one fresh scar on the simulated slope, drawn in a process of its own."""

from datetime import datetime
from pathlib import Path
from typing import Any

from monitor.domain.instants import parse


def write(payload: dict[str, Any]) -> dict[str, Any]:
    """Draw and write one scene folder; runs as a job because it needs the raster library.

    Args:
        payload: folder, seed, longitude, latitude, acquired_at (spelled instant).
    """
    from detection.imagery.data.generate import write_scene

    at: datetime = parse(payload["acquired_at"])
    place = (payload["longitude"], payload["latitude"])
    truth = write_scene(
        Path(payload["folder"]), payload["seed"], center_lon=place[0], center_lat=place[1], acquired_at=at,
        scar_lonlat=place,
    )  # fmt: skip
    return {"truth": truth}

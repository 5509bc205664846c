"""The scene of the demonstration: hills with one fresh scar on the simulated slope, drawn in a process of its own."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from monitor.api.worker import WorkerTask


@dataclass(frozen=True, slots=True)
class DrawSceneRequest:
    """Where a scene is drawn, of what place, and when it was taken."""

    folder: Path
    seed: int
    longitude: float
    latitude: float
    acquired_at: datetime


@dataclass(frozen=True, slots=True)
class DrawnScene:
    """The folder that holds it."""

    folder: str


def write(request: DrawSceneRequest) -> DrawnScene:
    """Draw and write one scene folder; runs as a job because it needs the raster library."""
    from detection.imagery.data.generate import write_scene

    place = (request.longitude, request.latitude)
    write_scene(
        request.folder,
        request.seed,
        center_lon=place[0],
        center_lat=place[1],
        acquired_at=request.acquired_at,
        scar_lonlat=place,
    )
    return DrawnScene(str(request.folder))


DRAW: Final = WorkerTask("monitor.features.demo.scene:write", DrawSceneRequest, DrawnScene)

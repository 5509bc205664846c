"""Draw the scene of the demonstration in a worker process: hills with a fresh scar on the simulated slope."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from monitor.api.worker import WorkerTask


@dataclass(frozen=True, slots=True)
class DrawSceneRequest:
    """The place and time of a scene, and the folder to write."""

    folder: Path
    seed: int
    longitude: float
    latitude: float
    acquired_at: datetime


@dataclass(frozen=True, slots=True)
class DrawnScene:
    """The folder of the scene."""

    folder: str


def write(request: DrawSceneRequest) -> DrawnScene:
    """Draw a scene and write its folder."""
    from detection.imagery.data.generate import write_scene

    write_scene(
        request.folder,
        request.seed,
        center_lon=request.longitude,
        center_lat=request.latitude,
        acquired_at=request.acquired_at,
        scar_lonlat=(request.longitude, request.latitude),
    )
    return DrawnScene(str(request.folder))


DRAW: Final = WorkerTask("monitor.features.demo.scene:write", DrawSceneRequest, DrawnScene)

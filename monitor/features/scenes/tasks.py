"""Tasks of the worker that reads scenes. The records of a scene itself are in `monitor.api.scenes`."""

from dataclasses import dataclass
from typing import Final

from detection.imagery.footprints.proximity import Place
from monitor.api.scenes import ReadScene, SceneRequest
from monitor.api.sites import LANDSLIDE_PREFIX
from monitor.api.worker import WorkerTask

MEASURED_QUANTITIES: Final = frozenset({"scene_probability", "ndvi", "coherence"})


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A scene that lies outside the area of the site."""

    distance_m: float  # from the ground of the site
    corners: tuple[Place, ...]  # points along the border of the scene


@dataclass(frozen=True, slots=True)
class SceneResult:
    """A scene that was read, or the reason why it was not. Only one of the reasons is set."""

    read: ReadScene | None = None
    waiting: str = ""  # the files, weights or packages that are missing
    may_arrive: bool = False  # whether these may arrive without anybody's help
    error: str = ""  # why the scene cannot be used
    needs_outlines: bool = False  # footprints of dates are missing from the request
    elsewhere: Elsewhere | None = None


@dataclass(frozen=True, slots=True)
class WeightsTrial:
    """Request to load weights once before they are put into use."""

    path: str


@dataclass(frozen=True, slots=True)
class WeightsTrialResult:
    """Why the weights cannot be run; empty if they can."""

    fault: str = ""


TRY_WEIGHTS: Final = WorkerTask("monitor.features.scenes.worker:try_weights", WeightsTrial, WeightsTrialResult)
READ_ONE: Final = WorkerTask("monitor.features.scenes.worker:read_one", SceneRequest, SceneResult)


def find_unrequested(answer: ReadScene, request: SceneRequest) -> str | None:
    """Return the first scene, station or quantity in an answer that the request does not contain, or None."""
    hashes = {answer.scene_hash, *(date.scene_hash for date in request.dates)}
    strange = [j.scene_hash for j in answer.judgements if j.scene_hash not in hashes]
    strange += [h for h in answer.replaced if h not in {v.scene_hash for v in request.versions}]
    strange += [
        f"{row.station}.{row.quantity}"
        for row in answer.series
        if row.quantity not in MEASURED_QUANTITIES
        or not (row.station in request.stations or row.station.startswith(LANDSLIDE_PREFIX))
    ]
    return strange[0][:60] if strange else None

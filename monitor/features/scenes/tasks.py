"""What the watched folder asks of its worker, and what this answers of a scene."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from detection.imagery.change.records import FootprintChange, KnownOutline, PlacedOutline, StoredDate
from detection.imagery.footprints.proximity import Place
from detection.imagery.footprints.records import DoubtfulTile, Window
from monitor.sites.quantities import LANDSLIDE
from monitor.sites.records import LocalGrid
from monitor.worker.records import WorkerTask

MEASURED: Final = frozenset({"scene_probability", "ndvi", "coherence"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDate(StoredDate):
    """A scene of the site that is done: what a worker needs to compare another with it.

    Where another image lies at its `scene_path` now, that ends with `(replaced)`.
    """

    name: str  # in the inbox
    model: str  # name of the network or method it was read by
    model_hash: str  # of the weights it was read by
    out_dir: str  # where its files are kept
    prints: tuple[str, ...]  # marks of its files as they came
    valid_share: float | None = None  # of its pixels, what was looked at; None: not known


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """An earlier delivery of the scene: it is replaced where it was taken at the same time."""

    scene_hash: str
    acquired_at: datetime
    polygons: tuple[KnownOutline, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRequest:
    """One scene against the other dates of its site."""

    scene_path: str  # raster, or folder with `scene.toml`
    weights: str  # name or path; `auto`: those that fit the scene
    out_dir: Path  # where its files are written
    minimum_area_m2: float | None  # of footprints; None: as the weights say
    owner: str  # the site
    dates: tuple[KnownDate, ...]  # scenes of the site that are done
    versions: tuple[KnownVersion, ...]  # scenes of the same name
    stations: Mapping[str, Place]  # id -> longitude, latitude
    near_m: float  # how far places look
    local: LocalGrid | None  # places files in a local system
    # where the ground of the site's map is drawn from the scene's elevation model; None: it is drawn
    relief: Path | None = None
    # susceptibility map that lies below the footprints; None: the scene's own, if it brings one
    prior: Path | None = None
    prior_picture: Path | None = None  # where its picture for the page is drawn
    own: tuple[str, ...] = ()  # weights made for this ground, which `auto` tries first
    dem: Path | None = None  # elevation model of the site, a file or a folder of tiles, for scenes that bring none


@dataclass(frozen=True, slots=True)
class DateAssessment:
    """What was judged of one date."""

    scene_hash: str  # the date
    # polygon_id of each of its footprints, and of those that vanished, to what became of it
    changes: dict[str, FootprintChange]
    vanished: tuple[PlacedOutline, ...]  # footprints of before that are gone
    described: dict[str, Any]  # what was measured between it and the dates before, as it is kept (JSON)


@dataclass(frozen=True, slots=True)
class PlaceValue:
    """What a scene says of a place: a station, or a landslide that is followed."""

    station: str
    quantity: str
    at: datetime
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadScene:
    """A scene that was read; `outputs` and `card` are kept as they are (JSON).

    `judgements` are of this scene first, then of later ones; `replaced` are hashes of the versions it replaces;
    `prior` is the susceptibility map below it (see `describe_prior`), `priors` the mean of it by polygon_id;
    `dem` is the elevation model below it, with its digest or those of its tiles;
    `doubtful_tiles` are those that the model is least sure of; `broken` says of each network of one's own that was
    asked, by its hash, why it cannot be run, None where it can; None altogether where no network was asked.
    """

    scene_hash: str
    model: str
    model_hash: str
    acquired_at: datetime
    role: str
    crs: str
    pixel_area_m2: float | None
    valid_share: float
    classes: tuple[str, ...]
    threshold: float
    minimum_area_m2: float
    warnings: tuple[str, ...]
    doubts: tuple[str, ...] = ()
    doubtful: tuple[Window, ...] = ()
    cloudy: tuple[Window, ...] = ()
    outputs: dict[str, Any]
    polygons: tuple[PlacedOutline, ...]
    weights_path: str
    card: dict[str, Any]
    judgements: tuple[DateAssessment, ...]
    series: tuple[PlaceValue, ...] = ()
    replaced: tuple[str, ...] = ()
    prior: dict[str, Any] | None = None
    dem: dict[str, Any] | None = None
    priors: dict[str, float] = field(default_factory=dict)
    doubtful_tiles: tuple[DoubtfulTile, ...] = ()
    broken: dict[str, str | None] | None = None


@dataclass(frozen=True, slots=True)
class SceneResult:
    """A scene that was read; or what it waits for, and whether that may come by itself; or why it cannot be used.

    `lacks`: footprints of dates are needed that were not given.
    """

    read: ReadScene | None = None
    waiting: str = ""
    comes: bool = False
    error: str = ""
    lacks: bool = False


@dataclass(frozen=True, slots=True)
class WeightsTrial:
    """Weights that shall be in use, to be loaded once as a scene would."""

    path: str


@dataclass(frozen=True, slots=True)
class WeightsTrialResult:
    """Why they cannot be run; empty where they can."""

    fault: str = ""


TRY_WEIGHTS: Final = WorkerTask("monitor.features.scenes.worker:try_weights", WeightsTrial, WeightsTrialResult)
READ_ONE: Final = WorkerTask("monitor.features.scenes.worker:read_one", SceneRequest, SceneResult)


def find_stranger(answer: ReadScene, request: SceneRequest) -> str | None:
    """The first thing that an answer says of what it was not asked about; None where there is none."""
    hashes = {answer.scene_hash, *(date.scene_hash for date in request.dates)}
    strange = [j.scene_hash for j in answer.judgements if j.scene_hash not in hashes]
    strange += [h for h in answer.replaced if h not in {v.scene_hash for v in request.versions}]
    strange += [
        f"{row.station}.{row.quantity}"
        for row in answer.series
        if row.quantity not in MEASURED or not (row.station in request.stations or row.station.startswith(LANDSLIDE))
    ]
    return strange[0][:60] if strange else None

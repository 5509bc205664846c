"""Methods that read scenes without a network, and the records that they exchange with the feature `scenes`.

A scene is read in a worker process without a database. `SceneRequest` contains everything that the worker may know,
`ReadScene` everything that the service stores.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from detection.imagery.change.records import FootprintChange, KnownOutline, PlacedOutline, StoredDate
from detection.imagery.footprints.proximity import Place
from detection.imagery.footprints.records import DoubtfulTile, Window
from monitor.sites.records import LocalGrid

if TYPE_CHECKING:
    from detection.imagery.scene.scene import Scene

__all__ = [
    "DateAssessment",
    "KnownDate",
    "KnownVersion",
    "PlaceValue",
    "ReadScene",
    "SceneMethod",
    "SceneRequest",
    "SiteArea",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDate(StoredDate):
    """A scene of the site that was read before, as far as a comparison needs it.

    `scene_path` ends with `(replaced)` if another image is there now.
    """

    name: str  # in the inbox
    model: str  # name of the network or method that read it
    model_hash: str
    out_dir: str  # folder of its files
    prints: tuple[str, ...]  # fingerprints of its files at each delivery
    valid_share: float | None = None  # share of its pixels that could be read; None: unknown


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """An earlier delivery under the same name. The scene replaces it if both were taken at the same time."""

    scene_hash: str
    acquired_at: datetime
    polygons: tuple[KnownOutline, ...]


@dataclass(frozen=True, slots=True)
class SiteArea:
    """The ground of a site, within which its scenes lie."""

    places: tuple[Place, ...]  # longitude and latitude of points; their convex hull is the ground
    margin_m: float  # a scene may lie this far outside the hull


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRequest:
    """A scene to read, and what it is compared with."""

    scene_path: str  # raster, or folder with `scene.toml`
    weights: str  # name or path; `auto`: those that fit the scene
    out_dir: Path  # where its files are written
    minimum_area_m2: float | None  # of footprints; None: as the weights say
    owner: str  # the site
    dates: tuple[KnownDate, ...]  # scenes of the site that were read before
    versions: tuple[KnownVersion, ...]  # earlier deliveries under the same name
    stations: Mapping[str, Place]  # longitude and latitude by station
    near_m: float  # radius around a station, within which it is measured
    local: LocalGrid | None  # places files in a local system
    # file to which the relief of the site is written, from the elevation model of the scene; None: it exists
    relief: Path | None = None
    # susceptibility map of the site; None: that of the scene, if it has one
    prior: Path | None = None
    prior_picture: Path | None = None  # file to which its picture for the page is written
    own: tuple[str, ...] = ()  # weights trained for this site, which `auto` tries first
    dem: Path | None = None  # elevation model of the site, a file or a folder of tiles, for scenes without one
    quality: Literal["standard", "best"] = "standard"  # see `DetectionOptions`
    area: SiteArea | None = None  # ground of the site; None: scenes of any ground are read
    # Whether a person confirmed that a scene outside the area is meant. It is read, with a warning.
    is_confirmed: bool = False


@dataclass(frozen=True, slots=True)
class DateAssessment:
    """How the footprints of one date changed."""

    scene_hash: str  # of the date
    # by polygon_id, for each of its footprints and for those that vanished
    changes: dict[str, FootprintChange]
    vanished: tuple[PlacedOutline, ...]  # footprints of earlier dates that are gone
    described: dict[str, Any]  # measurements between it and the dates before, stored as JSON


@dataclass(frozen=True, slots=True)
class PlaceValue:
    """What a scene measures at a place: a station, or a landslide that is followed. It is stored as a reading."""

    station: str
    quantity: str
    at: datetime
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadScene:
    """A scene that was read. `outputs` and `card` are stored as JSON."""

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
    judgements: tuple[DateAssessment, ...]  # of this scene, then of later ones
    series: tuple[PlaceValue, ...] = ()
    replaced: tuple[str, ...] = ()  # hashes of the versions that it replaces
    prior: dict[str, Any] | None = None  # the susceptibility map below it, see `describe_prior`
    dem: dict[str, Any] | None = None  # the elevation model below it, with digests of its files
    priors: dict[str, float] = field(default_factory=dict)  # mean of the susceptibility map by polygon_id
    doubtful_tiles: tuple[DoubtfulTile, ...] = ()  # tiles that the model is least certain of
    # by hash of each network of the site that was tried: why it cannot be run, or None. None if no network was tried.
    broken: dict[str, str | None] | None = None


@dataclass(frozen=True, slots=True)
class SceneMethod:
    """A method that reads the scenes it applies to, in a worker without a database."""

    applies: "Callable[[Scene], bool]"
    # Returns the dates that `read` compares the scene with. The worker is called again if their footprints are missing.
    list_compared: "Callable[[SceneRequest, Scene], Iterable[StoredDate]]"
    # Raises ImageryError if the scene cannot be read.
    read: "Callable[[SceneRequest, Scene], ReadScene]"

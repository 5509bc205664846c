"""Footprints, places that a scene is asked about, doubtful tiles, boxes and windows; no library is loaded for them."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NotRequired, TypedDict, cast

from detection.geojson import Geometry
from detection.reasons import Explanation
from detection.whole_file import write_json

Box = tuple[float, float, float, float]  # least longitude and latitude, greatest longitude and latitude
Window = tuple[int, int, int, int]  # column, row, width, height
# In place of the name of weights: those that fit a scene (see `choose`), or none: change of an index between dates.
AUTO: Final = "auto"
INDEX: Final = "index"
# Code of the doubt that `auto` read a scene on larger pixels than its own, since no network knows those.
COARSER: Final = "pixels.coarser"
RADAR: Final = "sar"  # name of the method that compares radar backscatter; it asks no network
# Beside the results of a scene: what its files are made of that its rows do not need; why they could not be made.
MAKING: Final = "making.json"
NOT_MADE: Final = "not-made.json"


def is_making(folder: Path) -> bool:
    """Whether files of a scene are being made, its picture among them; not where that failed."""
    return (folder / MAKING).is_file() and not (folder / NOT_MADE).is_file()


def note_failure(folder: Path, error: Explanation) -> None:
    """Say beside the results why files could not be made; an OSError where that cannot be written either."""
    write_json(folder / NOT_MADE, {"error": str(error)})


@dataclass(frozen=True, slots=True)
class Circle:
    """Ground around a point."""

    lon: float
    lat: float
    radius_m: float


@dataclass(frozen=True, slots=True)
class MeasuredPlace:
    """Ground that is measured: a circle, or an outline as GeoJSON."""

    name: str
    ground: Circle | Geometry


@dataclass(frozen=True, slots=True)
class DoubtfulTile:
    """Ground that a model is unsure of; `doubt` is 0 where it is sure and 1 at its threshold."""

    box: Box
    doubt: float


@dataclass(frozen=True, slots=True)
class SceneFilesRequest:
    """Whose files are made after its rows."""

    out_dir: Path  # where its results lie, `MAKING` among them
    scene: Path | None  # the image that the picture shows; None: there is no picture
    acquired_at: datetime  # when it was taken
    into: str = ""  # system that `affine` brings a local one into; empty: it is in none
    affine: tuple[float, ...] = ()  # of the local system


@dataclass(frozen=True, slots=True)
class SceneFilesResult:
    """What came of it; `error` says in one line why they are not there."""

    error: Explanation = ""


# A footprint as JSON has it, see `Footprint`; of an outline that an index found only what is known of it.
FootprintJson = TypedDict(
    "FootprintJson",
    {
        "polygon_id": str,
        "class": str,
        "area_m2": float | None,
        "perimeter_m": float | None,
        "mean_probability": float,
        "max_probability": float,
        "geometry": Geometry,
        "bbox": list[float],
        "box_px": list[int],  # left, top, width, height; where COCO was asked for
        "centroid": list[float],
        "length_m": float | None,
        "width_m": float | None,
        "azimuth_deg": float | None,
        "touches_edge": bool,
        "touches_nodata": bool,
        "hugs_nodata": bool,
        "mean_slope_deg": float | None,
        "min_elevation_m": float | None,
        "max_elevation_m": float | None,
        "prior": float | None,
        "shadow_share": float | None,
        "caution": Explanation | None,
    },
    total=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """A landslide as it was found; what a place on the ground is needed for is None without one."""

    polygon_id: str  # a hash of the scene, the model and the first pixel
    kind: str  # its class
    area_m2: float | None  # true, as all lengths and areas
    perimeter_m: float | None  # with the rims of holes
    mean_probability: float  # over its pixels
    max_probability: float  # over its pixels
    # GeoJSON (RFC 7946): lon/lat, exterior rings counter-clockwise, 7 decimals; pixels (column, row) without a place on
    # the ground, as bbox and centroid
    geometry: Geometry
    bbox: Box  # around it
    centroid: tuple[float, float]  # longitude, latitude
    length_m: float | None  # of the smallest rectangle around it
    width_m: float | None  # of this; of a line (a crack) the area over the length
    azimuth_deg: float | None  # of this, 0 to 180, clockwise from north
    touches_edge: bool  # of the scene
    touches_nodata: bool  # anywhere
    hugs_nodata: bool  # no pixel lies farther than 3 pixels from nodata
    mean_slope_deg: float | None  # beneath it, as all that follow
    min_elevation_m: float | None  # the lowest
    max_elevation_m: float | None  # the highest
    prior: float | None  # mean susceptibility
    shadow_share: float | None  # of its pixels
    # why it proves nothing by itself, known once all of the scene is read (`cautions.doubt_outlines`)
    caution: Explanation | None = None

    def to_json(self) -> FootprintJson:
        """As JSON has it."""
        values = {"class" if name == "kind" else name: getattr(self, name) for name in self.__slots__}
        return {**cast("FootprintJson", values), "bbox": list(self.bbox), "centroid": list(self.centroid)}


class RefusalFacts(TypedDict):
    """Weights that were not used, see `choose.WeightsRefusal`."""

    weights: str
    why: Explanation
    broken: bool


class DemFacts(TypedDict, total=False):
    """Which elevation model lies below a scene: file and digest, or those of its tiles."""

    file: str
    sha256: str
    tiles: list[dict[str, str]]


class TerrainFacts(TypedDict, total=False):
    """How much of a scene an elevation model covers, and what the weights read from it."""

    covered_share: float
    optional_bands: list[str]  # missing where the weights have none


class QualityShare(TypedDict):
    """How wide the edge of a scene is whose probabilities rest on half of what the network needs, and its share."""

    edge_px: int
    edge_share: float


class DetectionFacts(TypedDict):
    """Everything that a result depends on: a stored one with the same facts is this one."""

    scene_hash: str
    model: str
    model_hash: str
    acquired_at: str
    role: str
    classes: list[str]
    quality: str  # see `options.DetectionOptions`; `standard` where no network is used
    threshold: float
    minimum_area_m2: float
    blend: str
    tile: int
    halo: int
    scale: float | None
    offset: float | None
    resample_to_m: float | None
    dem: DemFacts | None
    prior: dict[str, Any] | None  # see `prior.describe_prior`
    slope_gate_deg: float | None
    partial: bool
    formats: list[str]
    named: NotRequired[bool]  # whether somebody named the weights
    refused: NotRequired[list[RefusalFacts]]  # `auto`: weights that do not fit, and why
    change: NotRequired[dict[str, Any] | None]  # since an earlier date


class GridFacts(TypedDict):
    """The grid of a result; `read_at`: that of the network (see `resized.ReadAt`), where it saw other pixels."""

    crs: str
    width: int
    height: int
    pixel_area_m2: float | None
    read_at: dict[str, Any] | None


class DetectionPlan(GridFacts):
    """What a detection would do."""

    scene: str
    scene_hash: str
    acquired_at: str
    model: str
    bands: list[str]
    warped: list[str]
    quality: str
    blend: str
    tile: int
    halo: int
    tiles: int
    estimated_cpu_s: float
    estimated_memory_mib: int
    warnings: list[Explanation]


class SceneDetection(DetectionFacts, GridFacts):
    """What `detect` answers: the JSON of the record."""

    weights: str  # those that were used
    valid_share: float
    unreadable_share: float
    flip_rate: float | None
    flip_pixels: int
    terrain: TerrainFacts | None
    qa: QualityShare | None  # None without `out_dir` and with `later`
    fills: list[float]  # nodata that is declared nowhere
    borders: list[dict[str, Any]]  # see `border.Border`
    cloudy: list[list[int]]  # windows beside clouds
    calibration: dict[str, Any]  # gain, offset, source
    # side of the scene's own pixels where `auto` read it on larger ones, since no network knows its own
    coarser_than_m: float | None
    warnings: list[Explanation]
    polygons: list[FootprintJson]
    outputs: dict[str, Any]  # name -> path, and `bounds` of the preview

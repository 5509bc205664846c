"""Records of a detection: footprints, measured places, doubtful tiles, results. Importing them loads no library."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NotRequired, TypedDict, cast

from detection.geojson import Geometry
from detection.reasons import Explanation
from detection.whole_file import write_json

Box = tuple[float, float, float, float]  # least longitude and latitude, greatest longitude and latitude
Window = tuple[int, int, int, int]  # column, row, width, height
AUTO: Final = "auto"
"""Stands for the name of weights: use the first weights that fit the scene, see `choose`."""
INDEX: Final = "index"
"""Stands for the name of weights: use no network, but the change of an index of red and green between dates."""
COARSER: Final = "pixels.coarser"
"""Code of the warning that `auto` resampled a scene to larger pixels, because no network fits its own pixels."""
RADAR: Final = "sar"
"""Name of the method that compares radar backscatter; it uses no network."""
MAKING: Final = "making.json"
"""File in the folder of a result: the facts from which its missing files are made. It is removed when they exist."""
NOT_MADE: Final = "not-made.json"
"""File in the folder of a result: why its missing files could not be made."""


def is_making(folder: Path) -> bool:
    """Return whether files of a scene are still to be made. Return False also if an attempt failed."""
    return (folder / MAKING).is_file() and not (folder / NOT_MADE).is_file()


def note_failure(folder: Path, error: Explanation) -> None:
    """Store in the folder of a result why files could not be made.

    Raises OSError: the note cannot be written.
    """
    write_json(folder / NOT_MADE, {"error": str(error)})


@dataclass(frozen=True, slots=True)
class Circle:
    """Ground around a point."""

    lon: float
    lat: float
    radius_m: float


@dataclass(frozen=True, slots=True)
class MeasuredPlace:
    """A place that is measured: a circle, or an outline as GeoJSON."""

    name: str
    ground: Circle | Geometry


@dataclass(frozen=True, slots=True)
class DoubtfulTile:
    """A tile that a model is uncertain of; `doubt` is 0 if it is certain and 1 at its threshold."""

    box: Box
    doubt: float


@dataclass(frozen=True, slots=True)
class SceneFilesRequest:
    """Request to make the files of a scene whose rows are stored."""

    out_dir: Path  # folder of its results, with `MAKING`
    scene: Path | None  # the image that the picture shows; None: there is no picture
    acquired_at: datetime
    into: str = ""  # target system of a local grid; empty: the scene is in no local grid
    affine: tuple[float, ...] = ()  # coefficients of the local grid


@dataclass(frozen=True, slots=True)
class SceneFilesResult:
    """Result of a `SceneFilesRequest`; `error` is empty if the files were made."""

    error: Explanation = ""


# A footprint in JSON, see `Footprint`. An outline of the index has fewer keys.
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
        "box_px": list[int],  # left, top, width, height; only with COCO
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
    """A landslide that was found. Values that need a georeference are None without one."""

    polygon_id: str  # a hash of the scene, the model and the first pixel
    kind: str  # class of the model
    area_m2: float | None  # on the ellipsoid, as are all lengths and areas
    perimeter_m: float | None  # including the edges of holes
    mean_probability: float
    max_probability: float
    # GeoJSON (RFC 7946): longitude and latitude, exterior rings counter-clockwise, 7 decimals. Without a georeference
    # `geometry`, `bbox` and `centroid` are in pixels (column, row).
    geometry: Geometry
    bbox: Box
    centroid: tuple[float, float]  # longitude, latitude
    length_m: float | None  # of the smallest rectangle around the outline
    width_m: float | None  # of this rectangle; for linear classes (cracks) the area divided by the length
    azimuth_deg: float | None  # of the long side of this rectangle, 0 to 180, clockwise from north
    touches_edge: bool  # the footprint reaches the edge of the scene
    touches_nodata: bool  # a pixel beside the footprint is nodata
    hugs_nodata: bool  # all pixels are within 3 pixels of nodata
    mean_slope_deg: float | None
    min_elevation_m: float | None
    max_elevation_m: float | None
    prior: float | None  # mean susceptibility
    shadow_share: float | None  # share of the pixels that are in shadow
    # why the footprint is advice only; set after the whole scene is read (`cautions.add_outline_cautions`)
    caution: Explanation | None = None

    def to_json(self) -> FootprintJson:
        """Return the footprint as plain data."""
        values = {"class" if name == "kind" else name: getattr(self, name) for name in self.__slots__}
        return {**cast("FootprintJson", values), "bbox": list(self.bbox), "centroid": list(self.centroid)}


class RefusalFacts(TypedDict):
    """Weights that were not used, see `choose.WeightsRefusal`."""

    weights: str
    why: Explanation
    broken: bool


class DemFacts(TypedDict, total=False):
    """Elevation model of a scene: file and digest, or those of its tiles."""

    file: str
    sha256: str
    tiles: list[dict[str, str]]


class TerrainFacts(TypedDict, total=False):
    """Share of a scene that an elevation model covers, and the bands that the weights read from it."""

    covered_share: float
    optional_bands: list[str]  # missing where the weights have none


class QualityShare(TypedDict):
    """The zone along nodata and the edge of a scene in which a network sees half of the ground that it needs."""

    edge_px: int  # width of the zone
    edge_share: float  # its share of the valid pixels


class DetectionFacts(TypedDict):
    """Everything that a result depends on. A stored result with the same facts is read back."""

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
    named: NotRequired[bool]  # the weights were named; False with `auto`
    refused: NotRequired[list[RefusalFacts]]  # weights that `auto` tried and that do not fit
    change: NotRequired[dict[str, Any] | None]  # since an earlier date


class GridFacts(TypedDict):
    """Grid of a result. `read_at` is the grid on which the network worked (see `resized.ReadAt`), None if the same."""

    crs: str
    width: int
    height: int
    pixel_area_m2: float | None
    read_at: dict[str, Any] | None


class DetectionPlan(GridFacts):
    """What a detection would do, see `detect.survey`."""

    scene: str
    scene_hash: str
    acquired_at: str
    model: str
    bands: list[str]
    optional_bands: list[str]  # those of the weights that are read from the DEM; empty without one
    warped: list[str]
    quality: str
    blend: str
    tile: int
    halo: int
    tiles: int
    estimated_cpu_s: float
    estimated_memory_mib: int
    warnings: list[Explanation]  # only those that are known before the scene is mapped


class SceneDetection(DetectionFacts, GridFacts):
    """Result of `detect`, and the JSON of the record."""

    weights: str  # name or path of the weights that were used
    valid_share: float
    unreadable_share: float
    flip_rate: float | None
    flip_pixels: int
    terrain: TerrainFacts | None
    qa: QualityShare | None  # None without `out_dir` and with `later`
    fills: list[float]  # nodata values that the files do not declare
    borders: list[dict[str, Any]]  # see `border.Border`
    cloudy: list[list[int]]  # windows beside clouds
    calibration: dict[str, Any]  # gain, offset, source
    # side of the pixels of the scene if `auto` resampled it to larger ones (see `COARSER`); None otherwise
    coarser_than_m: float | None
    warnings: list[Explanation]
    polygons: list[FootprintJson]
    outputs: dict[str, Any]  # paths by name, and `bounds` of the preview

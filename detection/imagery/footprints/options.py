"""What one asks of a detection: the payload's keys with their defaults, checked once."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypedDict

from detection.imagery.raster.untrusted import LIMITS, RasterLimits

FORMATS = ("gpkg", "geojson")


@dataclass(frozen=True, slots=True)
class DetectionOptions:
    """How to detect."""

    scene_path: Path  # raster, or folder with `scene.toml`
    # name of shipped weights, or path of a .safetensors file with its card beside it; `auto`: the first that fit the
    # scene, see `choose`; `index`: no network
    weights: str = "auto"
    own: tuple[str, ...] = ()  # paths of weights made for this ground, which `auto` tries before the shipped ones
    out_dir: Path | None = None  # where to write; None: nothing is kept
    threshold: float | None = None  # probability from which a pixel counts; None: the card's
    # smallest footprint on the ground, and the limit below which holes are filled; None: the card's, else 900
    minimum_area_m2: float | None = None
    # side of the owned tiles; None: 512 or, for a narrow network, 768; the training patch's where tiles are blended
    tile: int | None = None
    halo: int | None = None  # pixels read around a tile; None: as far as the network sees, so that tiles leave no trace
    scale: float | None = None  # factor from counts to the model's values, replaces the card's
    offset: float | None = None  # added to the counts of the spectral bands; None: as the scene's files or manifest say
    acquired_at: datetime | None = None  # for a raster that does not tell
    owner: str = ""  # whose scene it is: the same files of another owner are another scene, with hashes of its own
    force: bool = False  # do it again although the same result is there
    dem: Path | None = None  # elevation model, instead of the scene's own
    # name and digest of each tile that `dem` was brought together from (`scene.heights`)
    dem_tiles: tuple[tuple[str, str], ...] = ()
    prior: Path | None = None  # susceptibility raster, instead of the scene's own
    aoi: Path | None = None  # area of interest: raster (not 0), or GeoJSON polygons in longitude and latitude
    triage: str | None = None  # weights that tell which tiles are worth a look; None: all are looked at
    # boxes (longitude and latitude, least and greatest) of all that was found on this ground before: there the triage
    # is not asked
    known: tuple[tuple[float, ...], ...] = ()
    # side of the pixels that the scene is brought to before it is looked at; None: its own
    resample_to_m: float | None = None
    # footprints on ground less steep than this, on average, are left out; None: none are
    slope_gate_deg: float | None = None
    partial: bool = False  # blocks that cannot be read become nodata
    strict: bool = False  # band descriptions that contradict the names are refused, not warned of
    allow_ungeoreferenced: bool = False  # a raster without a place is taken in pixels; no areas then
    formats: tuple[str, ...] = FORMATS  # which vector files to write
    later: bool = False  # only what the rows of a scene rest on is written; `outputs.make_files` makes the other files
    max_pixels: int = LIMITS.pixels  # largest raster that is taken
    max_bands: int = LIMITS.bands  # most bands of a raster

    @property
    def limits(self) -> RasterLimits:
        """What is too large."""
        return RasterLimits(pixels=self.max_pixels, bands=self.max_bands)


class DetectionPayload(TypedDict, total=False):
    """The same as plain values of JSON; None: as where it is left out. Only `scene_path` is needed."""

    scene_path: str
    weights: str
    own: Sequence[str]
    out_dir: str | None
    threshold: float | None
    minimum_area_m2: float | None
    tile: int | None
    halo: int | None
    scale: float | None
    offset: float | None
    acquired_at: str | None
    owner: str
    force: bool
    dem: str | None
    dem_tiles: Sequence[Sequence[str]]
    prior: str | Path | None
    aoi: str | None
    triage: str | None
    known: Sequence[Sequence[float]] | None
    resample_to_m: float | None
    slope_gate_deg: float | None
    partial: bool
    strict: bool
    allow_ungeoreferenced: bool
    formats: Collection[str]
    later: bool
    max_pixels: int | None
    max_bands: int | None


def _read_formats(names: Collection[str]) -> tuple[str, ...]:
    wanted, known = set(names), set(FORMATS)
    if not wanted or wanted - known:
        named = ", ".join(sorted(wanted - known)) or "none"
        raise ValueError(f"format {named}; known: {', '.join(FORMATS)}")
    return tuple(name for name in FORMATS if name in wanted)


def _read_texts(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(map(str, values))


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("scene_path", "out_dir", "dem", "prior", "aoi"), Path),
    **dict.fromkeys(("own",), _read_texts),
    **dict.fromkeys(("threshold", "minimum_area_m2", "scale", "offset", "slope_gate_deg", "resample_to_m"), float),
    "dem_tiles": lambda tiles: tuple((str(name), str(digest)) for name, digest in tiles),
    "known": lambda boxes: tuple(map(tuple, boxes)),
    "acquired_at": datetime.fromisoformat,
    "formats": _read_formats,
}


def read_options(payload: DetectionPayload) -> DetectionOptions:
    """Read a payload of plain JSON values.

    Raises:
        TypeError: an unknown key.
        ValueError: a value that cannot be meant.
    """
    if unknown := sorted(set(payload) - {field.name for field in fields(DetectionOptions)}):
        raise TypeError(f"unknown key {unknown[0]!r} in the payload")
    given: dict[str, Any] = {key: value for key, value in payload.items() if value is not None}
    options = DetectionOptions(**{key: _READERS[key](one) if key in _READERS else one for key, one in given.items()})
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        raise ValueError("the threshold must lie between 0 and 1")
    if (options.minimum_area_m2 or 0) < 0 or options.max_pixels < 1 or options.max_bands < 1:
        raise ValueError("areas and limits must not be negative")
    for name in ("scale", "resample_to_m"):
        if (value := getattr(options, name)) is not None and not 0 < value < float("inf"):
            raise ValueError(f"{name} must be a positive number")
    return options

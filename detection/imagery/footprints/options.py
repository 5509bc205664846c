"""What one asks of a detection, with its defaults, checked once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from detection.imagery.raster.untrusted import LIMITS, RasterLimits
from detection.reasons import Describe

FORMATS = ("gpkg", "geojson")
Quality = Literal["standard", "best"]
QUALITIES: Final[tuple[Quality, ...]] = get_args(Quality)


@dataclass(frozen=True, slots=True)
class DetectionOptions:
    """How to detect."""

    scene_path: Path  # raster, or folder with `scene.toml`
    # name of shipped weights, or path of a .safetensors file with its card beside it; `auto`: the first that fit the
    # scene, see `choose`; `index`: no network
    weights: str = "auto"
    own: tuple[str, ...] = ()  # paths of weights made for this ground, which `auto` tries before the shipped ones
    out_dir: Path | None = None  # where to write; None: nothing is kept
    # `standard`: a network maps each tile once; `best`: it maps each tile in its eight flips and rotations and the mean
    # counts, which takes eight times as long
    quality: Quality = "standard"
    threshold: float | None = None  # probability from which a pixel counts; None: the card's
    # smallest footprint on the ground, and the limit below which holes are filled; None: the card's, else 900
    minimum_area_m2: float | None = None
    # side of the owned tiles; None: 512 or, for a narrow network, 768; the training patch's where tiles are blended
    tile: int | None = None
    halo: int | None = None  # pixels read around a tile; None: as far as the network sees, so that tiles leave no trace
    scale: float | None = None  # factor from counts to the model's values, replaces the card's
    offset: float | None = None  # added to the counts of the spectral bands; None: as the scene's files or manifest say
    owner: str = ""  # whose scene it is: the same files of another owner are another scene, with hashes of its own
    force: bool = False  # do it again although the same result is there
    dem: Path | None = None  # elevation model, instead of the scene's own
    # name and digest of each tile that `dem` was brought together from (`scene.heights`)
    dem_tiles: tuple[tuple[str, str], ...] = ()
    prior: Path | None = None  # susceptibility raster, instead of the scene's own
    aoi: Path | None = None  # area of interest: raster (not 0), or a vector file of polygons
    # side of the pixels that the scene is brought to before it is looked at; None: its own
    resample_to_m: float | None = None
    # footprints on ground less steep than this, on average, are left out; None: none are
    slope_gate_deg: float | None = None
    partial: bool = False  # blocks that cannot be read become nodata
    strict: bool = False  # band descriptions that contradict the names are refused, not warned of
    allow_ungeoreferenced: bool = False  # a raster without a place is taken in pixels; no areas then
    formats: Sequence[str] = FORMATS  # which vector files to write
    later: bool = False  # only what the rows of a scene rest on is written; `outputs.make_files` makes the other files
    max_pixels: int = LIMITS.pixels  # largest raster that is taken
    max_bands: int = LIMITS.bands  # most bands of a raster
    describe: Describe = str  # text of the cautions and warnings in the files

    def __post_init__(self) -> None:
        """Refuse what cannot be meant (ValueError)."""
        if not self.formats or set(self.formats) - set(FORMATS):
            named = ", ".join(sorted(set(self.formats) - set(FORMATS))) or "none"
            raise ValueError(f"format {named}; known: {', '.join(FORMATS)}")
        if self.quality not in QUALITIES:
            raise ValueError(f"quality {self.quality}; known: {', '.join(QUALITIES)}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError("the threshold must lie between 0 and 1")
        if (self.minimum_area_m2 or 0) < 0 or min(self.max_pixels, self.max_bands) < 1:
            raise ValueError("areas and limits must not be negative")
        for name in ("scale", "resample_to_m"):
            if (value := getattr(self, name)) is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a positive number")

    @property
    def limits(self) -> RasterLimits:
        """What is too large."""
        return RasterLimits(pixels=self.max_pixels, bands=self.max_bands)

"""Options of a detection."""

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
    """Options of one detection.

    Raises ValueError: a value is out of its range.
    """

    scene_path: Path  # raster, or folder with `scene.toml`
    # name of shipped weights, or path of a .safetensors file with its card beside it; `auto`: the first weights that
    # fit the scene, see `choose.choose_weights`; `index`: no network
    weights: str = "auto"
    own: tuple[str, ...] = ()  # paths of weights trained for this ground, which `auto` tries before the shipped ones
    out_dir: Path | None = None  # folder for the results; None: no files are written
    # `standard`: a network maps each tile once; `best`: it maps each tile in its eight flips and rotations, and the
    # mean is used, which takes eight times as long
    quality: Quality = "standard"
    threshold: float | None = None  # probability from which a pixel counts as landslide; None: that of the card
    # area of the smallest footprint, and of the smallest hole that is not filled; None: that of the card, else 900 m²
    minimum_area_m2: float | None = None
    tile: int | None = None  # see `probabilities.TilingPlan`; None: as `probabilities.make_plan` chooses
    halo: int | None = None  # pixels read around a tile; None: as far as the network sees, so that tiles are exact
    scale: float | None = None  # factor from counts to the values of the model; None: that of the card
    offset: float | None = None  # added to the counts of the spectral bands; None: that of the files or the manifest
    owner: str = ""  # site of the scene; the hash of a scene depends on it, so that each site has scenes of its own
    force: bool = False  # read the scene again even if the same result is stored
    dem: Path | None = None  # elevation model, instead of the scene's own
    # name and digest of each tile that `dem` was made of (`scene.heights`)
    dem_tiles: tuple[tuple[str, str], ...] = ()
    prior: Path | None = None  # susceptibility raster, instead of the scene's own
    aoi: Path | None = None  # area of interest: raster (not 0), or a vector file of polygons
    # side in metres of the pixels to which the scene is resampled before it is read; None: its own pixels
    resample_to_m: float | None = None
    slope_gate_deg: float | None = None  # footprints on ground with a smaller mean slope are left out
    partial: bool = False  # blocks that cannot be read become nodata instead of an error
    strict: bool = False  # band descriptions that contradict the names are an error instead of a warning
    allow_ungeoreferenced: bool = False  # read a raster without georeference in pixels, without areas
    formats: Sequence[str] = FORMATS  # which vector files to write
    later: bool = False  # write only the files that the rows need; `outputs.make_files` makes the others
    max_pixels: int = LIMITS.pixels  # largest raster that is read
    max_bands: int = LIMITS.bands  # most bands of a raster that is read
    describe: Describe = str  # returns the text of cautions and warnings for the files

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.formats or set(self.formats) - set(FORMATS):
            unknown = ", ".join(sorted(set(self.formats) - set(FORMATS))) or "none"
            raise ValueError(f"format {unknown}; known: {', '.join(FORMATS)}")
        if self.quality not in QUALITIES:
            raise ValueError(f"quality {self.quality}; known: {', '.join(QUALITIES)}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError("the threshold must lie between 0 and 1")
        if (self.minimum_area_m2 or 0) < 0 or min(self.max_pixels, self.max_bands) < 1:
            raise ValueError("areas and limits must not be negative")
        for name in ("scale", "resample_to_m"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a positive number")

    @property
    def limits(self) -> RasterLimits:
        """Return the limits of rasters that are read."""
        return RasterLimits(pixels=self.max_pixels, bands=self.max_bands)

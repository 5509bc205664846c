"""The picture of a susceptibility map for the page: five classes, hatched where the training saw nothing alike."""

import json
from pathlib import Path
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from detection.imagery.errors import ImageryError, NoValidPixelsError, SceneError
from detection.imagery.footprints.prior import describe_prior
from detection.imagery.raster.grid import lonlat_frame
from detection.imagery.raster.local_grid import placing
from detection.imagery.raster.overlay import Layer
from detection.imagery.raster.raster import inspect, read_grid, write_png
from detection.whole_file import replacing
from slopeward_earth.susceptibility.model import CLASSES
from slopeward_earth.susceptibility.records import PictureRequest, PictureResult, ShownMap, read_shown

LONGEST_PX: Final = 1000
# Violet from pale to dark (ColorBrewer): none of the colours by which warning levels are shown.
COLOURS: Final = ("#f2f0f7", "#cbc9e2", "#9e9ac8", "#756bb1", "#54278f")
HATCH: Final = "#6e6e6e"
OUTSIDE_BAND: Final = 4


def draw_picture(path: Path, out: Path) -> ShownMap:
    """Draw a susceptibility raster in longitude and latitude.

    A raster that is no map of ours has no bounds of classes: a fifth of its area is in each then.

    `path`: the raster, probability in band 1.

    Raises ImageryError: no raster that can be read, or one without any value.
    """
    facts = inspect(path)
    frame = lonlat_frame(read_grid(path), LONGEST_PX)
    window = 0, 0, frame.width, frame.height
    with Layer(path, frame, nearest=True) as layer:
        chance, known = layer.read(*window)
    if not known.any():
        raise NoValidPixelsError(f"{path}: no pixel has a susceptibility")
    bounds = _read_bounds(facts.tags.get("CLASS_BOUNDS"))
    if bounds is None:
        bounds = np.quantile(chance[known], (0.2, 0.4, 0.6, 0.8))
    image = np.zeros((4, frame.height, frame.width), np.uint8)
    place = np.searchsorted(bounds, chance, side="right")
    palette = np.array([_rgb(one) for one in COLOURS], np.uint8)
    image[:3] = np.moveaxis(palette[place], -1, 0)
    if facts.tags.get("SUSCEPTIBILITY") and facts.count >= OUTSIDE_BAND:
        with Layer(path, frame, OUTSIDE_BAND, nearest=True) as layer:
            outside, valid = layer.read(*window)
        rows, columns = np.indices(chance.shape)
        hatched = (outside > 0) & valid & ((rows + columns) % 8 < 2)
        image[:3, hatched] = np.array(_rgb(HATCH), np.uint8)[:, None]
    image[3] = np.where(known, 255, 0)
    write_png(out, image)
    a, _, west, _, e, north = frame.transform[:6]
    edges = [0.0, *(float(one) for one in bounds), 1.0]
    found = {
        "path": str(path),
        **describe_prior(path),
        "bounds": [west, north + e * frame.height, west + a * frame.width, north],
        "classes": [
            {"name": name, "colour": colour, "least": edges[k], "most": edges[k + 1]}
            for k, (name, colour) in enumerate(zip(CLASSES, COLOURS, strict=True))
        ],
    }
    return cast("ShownMap", found)


def show_map(path: Path, out: Path, *, anew: bool = False) -> ShownMap:
    """Draw a map for the page, and write what was drawn beside it; the same map as before is left as it lies.

    `anew`: a person takes what lies at `path` now, whatever lay there.

    Raises:
        SceneError: another map lies where the one that was drawn lay.
        ImageryError: as `draw_picture`.
    """
    known = None if anew else read_shown(out)
    if known is not None and known["path"] == str(path):
        if (sha256 := describe_prior(path)["sha256"]) == known["sha256"]:
            return known
        raise SceneError(
            f"{path}: another map than the one in use (sha256 {sha256[:12]}, it was {str(known['sha256'])[:12]}); "
            "`slopeward sites map susceptibility SITE` takes it"
        )
    drawn = draw_picture(path, out)
    with replacing(out.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(drawn, ensure_ascii=False), encoding="utf-8")
    return drawn


def show(request: PictureRequest) -> PictureResult:
    """What a worker does: the picture of one map, or one line that says why there is none."""
    local = {"into": request.into, "affine": request.affine} if request.into else None
    try:
        with placing(local):
            drawn = show_map(request.prior, request.out, anew=True)
    except ImageryError as error:
        return PictureResult(error=str(error))
    return PictureResult(drawn["sha256"], tuple(drawn["bounds"]))


def _read_bounds(text: str | None) -> NDArray[np.float64] | None:
    try:
        found = np.asarray(json.loads(text or ""), np.float64)
    except (ValueError, TypeError, RecursionError):
        return None
    usable = found.shape == (len(CLASSES) - 1,) and bool(np.isfinite(found).all()) and bool((np.diff(found) >= 0).all())
    return found if usable else None


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))

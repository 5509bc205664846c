"""Measure a scene at places: mean probability, vegetation and coherence around a station or under an outline."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import shape as shape_of

from detection.imagery.errors import ImageryError
from detection.imagery.footprints.polygons import STEPS
from detection.imagery.footprints.records import Circle, MeasuredPlace
from detection.imagery.raster.areas import spacing_m
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Layer, burn, to_pixels, window_around
from detection.imagery.raster.raster import read_grid
from detection.imagery.raster.reading.values import COHERENCES
from detection.imagery.scene.scene import Scene

# Names under which a scene may have a band of coherence.
COHERENCE = ("coherence", "cc", "coh")
# A place is measured only if at least this share of it is valid.
VALID_SHARE = 0.5


def measure_places(prob: Path, scene: Scene | None, places: Sequence[MeasuredPlace]) -> dict[str, dict[str, float]]:
    """Measure the means of a scene over places, on the grid of its stored probabilities.

    Args:
        prob: stored probabilities.
        scene: the scene; None: only the probabilities are measured.
        places: places to measure.

    Returns:
        The means by place and quantity: `scene_probability` (0 to 1), `ndvi` (-1 to 1) and `coherence` (0 to 1). A
        quantity is left out if less than half of the place is valid.
    """
    grid = read_grid(prob)
    means_by_place: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        steps = stack.enter_context(Layer(prob, grid, nodata=NODATA))
        layers = _open_bands(scene, grid, stack)
        for place in places:
            outline = outline_of(place, grid)
            window = window_around(outline, grid, 1)
            if window is None:
                continue
            pixels = burn(outline, window)
            outline_px = max(1.0, float(outline.area))
            means: dict[str, float] = {}
            values, valid = steps.read(*window)
            _store_mean(means, "scene_probability", values / STEPS, valid & pixels, outline_px)
            if "red" in layers and "nir" in layers:
                red, red_valid = layers["red"].read(*window)
                nir, nir_valid = layers["nir"].read(*window)
                total = nir.astype(np.float64) + red  # Rouse et al. 1974
                ndvi = np.divide(nir.astype(np.float64) - red, total, out=np.full_like(total, np.nan), where=total != 0)
                _store_mean(means, "ndvi", ndvi, red_valid & nir_valid & pixels & np.isfinite(ndvi), outline_px)
            if "coherence" in layers:
                values, valid = layers["coherence"].read(*window)
                _store_mean(means, "coherence", values, valid & pixels, outline_px)
            if means:
                means_by_place[place.name] = means
    return means_by_place


def _open_bands(scene: Scene | None, grid: Grid, stack: ExitStack) -> dict[str, Layer]:
    if scene is None:
        return {}
    names_by_role = {"red": ("B4",), "nir": ("B8",), "coherence": COHERENCE}
    layers = {}
    for role, names in names_by_role.items():
        band = next((scene.bands[name] for name in names if name in scene.bands), None)
        if band is None:
            continue
        try:
            quantity = COHERENCES if role == "coherence" else None
            # The gain cancels out in the NDVI, so only the offset is applied.
            offset, nodata = (0.0, None) if quantity else (scene.offset / scene.gain, scene.nodata)
            layers[role] = stack.enter_context(
                Layer(band.path, grid, band.index, nodata=nodata, offset=offset, quantity=quantity)
            )
        except ImageryError:
            continue  # if files of a scene are missing, its probabilities are still measured
    return layers


def outline_of(place: MeasuredPlace, grid: Grid) -> Any:
    """Return the outline of a place in pixels of a grid (column, row)."""
    ground = place.ground
    if not isinstance(ground, Circle):
        return to_pixels(shape_of({**ground}), grid)
    column, row = grid.pixel_of(ground.lon, ground.lat)
    across, down = spacing_m(grid, column, row)
    circle = shapely.Point(0.0, 0.0).buffer(ground.radius_m)
    scale = np.array([1 / across, 1 / down])
    return shapely.transform(circle, lambda points: points * scale + np.array([column, row]))


def _store_mean(
    means: dict[str, float], quantity: str, values: NDArray[np.floating], where: NDArray[np.bool_], outline_px: float
) -> None:
    valid_px = int(np.count_nonzero(where))
    if valid_px and valid_px >= VALID_SHARE * outline_px:
        means[quantity] = round(float(np.mean(values[where], dtype=np.float64)), 4)

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

# Names of a band of coherence.
COHERENCE = ("coherence", "cc", "coh")
# Share of a place that must be valid, else it is not measured.
SEEN_SHARE = 0.5


def measure_places(prob: Path, scene: Scene | None, places: Sequence[MeasuredPlace]) -> dict[str, dict[str, float]]:
    """Measure the means over places of one scene.

    Returns name -> quantity (`scene_probability` 0..1, `ndvi` -1..1, `coherence` 0..1) -> mean, on the grid of the
    kept probabilities. A place of which less than half is valid is left out: nothing is made up.
    """
    grid = read_grid(prob)
    found: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        steps = stack.enter_context(Layer(prob, grid, nodata=NODATA))
        layers = _open_bands(scene, grid, stack)
        for place in places:
            outline = outline_of(place, grid)
            box = window_around(outline, grid, 1)
            if box is None:
                continue
            body = burn(outline, box)
            wanted = max(1.0, float(outline.area))
            means: dict[str, float] = {}
            values, valid = steps.read(*box)
            _add(means, "scene_probability", values / STEPS, valid & body, wanted)
            if "red" in layers and "nir" in layers:
                (red, one), (nir, other) = layers["red"].read(*box), layers["nir"].read(*box)
                total = nir.astype(np.float64) + red  # Rouse et al. 1974
                index = np.divide(
                    nir.astype(np.float64) - red, total, out=np.full_like(total, np.nan), where=total != 0
                )
                _add(means, "ndvi", index, one & other & body & np.isfinite(index), wanted)
            if "coherence" in layers:
                values, valid = layers["coherence"].read(*box)
                _add(means, "coherence", values, valid & body, wanted)
            if means:
                found[place.name] = means
    return found


def _open_bands(scene: Scene | None, grid: Grid, stack: ExitStack) -> dict[str, Layer]:
    if scene is None:
        return {}
    wanted = {"red": ("B4",), "nir": ("B8",), "coherence": COHERENCE}
    layers = {}
    for role, names in wanted.items():
        band = next((scene.bands[name] for name in names if name in scene.bands), None)
        if band is None:
            continue
        try:
            quantity = COHERENCES if role == "coherence" else None
            offset, empty = (0.0, None) if quantity else (scene.offset / scene.gain, scene.nodata)  # of a ratio
            layers[role] = stack.enter_context(
                Layer(band.path, grid, band.index, nodata=empty, offset=offset, quantity=quantity)
            )
        except ImageryError:
            continue  # a date whose files are gone still has its probabilities
    return layers


def outline_of(place: MeasuredPlace, grid: Grid) -> Any:
    """Return the outline of a place in (column, row)."""
    ground = place.ground
    if not isinstance(ground, Circle):
        return to_pixels(shape_of({**ground}), grid)
    column, row = grid.pixel_of(ground.lon, ground.lat)
    across, down = spacing_m(grid, column, row)
    circle = shapely.Point(0.0, 0.0).buffer(ground.radius_m)
    scale = np.array([1 / across, 1 / down])
    return shapely.transform(circle, lambda points: points * scale + np.array([column, row]))


def _add(
    means: dict[str, float], quantity: str, values: NDArray[np.floating], where: NDArray[np.bool_], wanted: float
) -> None:
    seen = int(np.count_nonzero(where))
    if seen and seen >= SEEN_SHARE * wanted:
        means[quantity] = round(float(np.mean(values[where], dtype=np.float64)), 4)

"""Cells of landslides and of other ground, drawn from the grid window by window, each with the area it stands for."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio.features
import shapely
from numpy.typing import NDArray

from detection.imagery.raster.aoi import make_mask
from detection.imagery.raster.areas import spacing_m
from detection.imagery.raster.masks import apply_mask
from detection.imagery.raster.overlay import Box, Layer
from detection.imagery.raster.reading.shapes import extract_outlines
from detection.imagery.raster.vectors import read_vectors
from slopeward_earth.susceptibility.factors import Factors, windows
from slopeward_earth.susceptibility.study import Factor, FactorError, Inventory, InventoryError, Study

LEAST_LANDSLIDES: Final = 30
MOST_SLIDE_CELLS: Final = 5_000
MOST_OTHER_CELLS: Final = 10_000
AMPLE: Final = 4.0  # so many times as many cells are drawn first, since some ground has no factors
NOTHING: Final = -1
# What looks like nodata that nobody declared: more of the ground than this, seams of warping apart.
FILL_SHARE: Final = 0.01
FILL_SEAM: Final = 0.02
FEW_VALUES: Final = 20
BYTE_FILL: Final = 255.0  # of classes; what stands farther off is left out by `raster.values`
STREAM: Final = 0x5C5  # numbers of its own: whoever drew a landscape with the same seed must not steer its sample


@dataclass(frozen=True, slots=True)
class CellSample:
    """Sampled cells."""

    values: NDArray[np.float32]  # factors x cells
    label: NDArray[np.int64]  # 1 on landslides
    weight: NDArray[np.float64]  # cells of the area that each stands for
    slide: NDArray[np.int64]  # number of the landslide; -1 on other ground
    # cells x 2, metres east and south of the corner of the grid; of a landslide's cells its own middle, so that no
    # landslide is divided
    place_m: NDArray[np.float64]
    landslides: int  # of the inventory that lie on ground with factors
    left_out: int  # those that do not
    cells: int  # with all factors, in the area
    slide_cells: int  # of them on landslides
    cell_m2: float  # area of a cell
    notes: tuple[str, ...] = ()  # what was left out of the factors, one sentence each


def draw_sample(
    factors: Factors, study: Study, work: Path, *, seed: int = 0, progress: Callable[[float], None] = lambda _: None
) -> CellSample:
    """Draw cells of landslides and as twice as many of other ground at most, each cell as likely as any of its kind.

    Raises InventoryError: it lies elsewhere, or holds too few landslides, or leaves no other ground.
    """
    inventory, grid = study.inventory, factors.grid
    assert inventory is not None
    shapes = _open_inventory(inventory, factors)
    tree = shapely.STRtree(shapes)
    across, down = spacing_m(grid, grid.width / 2, grid.height / 2)
    # ground beside outlines that teaches nothing
    wide = np.asarray(shapely.buffer(shapes, inventory.buffer_m / min(across, down), quad_segs=4))
    wide_tree = shapely.STRtree(wide) if inventory.buffer_m else None
    rng = np.random.default_rng((seed, STREAM))
    # shares are taken that leave more than enough; what is too much is thinned at the end
    slide_share = min(1.0, AMPLE * MOST_SLIDE_CELLS / max(1.0, float(shapely.area(shapes).sum()) + len(shapes)))
    other_share = min(1.0, AMPLE * MOST_OTHER_CELLS / (grid.width * grid.height))
    drawn_values: list[NDArray[np.float32]] = []
    drawn_slides: list[NDArray[np.int64]] = []
    drawn_pixels: list[NDArray[np.int64]] = []
    seen: set[int] = set()
    cells = slide_cells = others = 0
    area = make_mask(study.area, grid, work, factors.notes) if study.area else None
    with Layer(area.path, grid, area.index, nearest=True) if area else nullcontext() as layer:
        for share, box in windows(grid):
            values, known = factors.read(box)
            if layer is not None:
                mask, valid = layer.read(*box)
                known &= valid & apply_mask("mask", mask)
            ids = _burn(shapes, tree, box)
            on_slide = known & (ids != NOTHING)
            free = known & (ids == NOTHING)
            others += int(free.sum())
            if wide_tree is not None:
                free &= _burn(wide, wide_tree, box) == NOTHING
            slide_cells += int(on_slide.sum())
            cells += int(known.sum())
            seen.update(np.unique(ids[on_slide]).tolist())
            chance = rng.random(free.shape)
            rows, columns = np.nonzero((on_slide & (chance < slide_share)) | (free & (chance < other_share)))
            drawn_values.append(values[:, rows, columns])
            drawn_slides.append(ids[rows, columns])
            drawn_pixels.append(np.stack([columns + box[0], rows + box[1]], axis=1))
            progress(share)
    if not cells:
        raise InventoryError(f"{study.path}: no pixel of the area has a value of every factor; do they overlap?")
    notes = "".join(f" ({line})" for line in factors.notes if "layers" in line)
    if not seen:
        raise InventoryError(
            f"{inventory.path}: none of its {len(shapes)} landslides lies where all factors are known{notes}"
        )
    if len(seen) < LEAST_LANDSLIDES:
        raise InventoryError(
            f"{inventory.path}: {len(seen)} landslides lie where all factors are known, at least {LEAST_LANDSLIDES} "
            f"are needed{notes}"
        )
    if others < len(seen):
        raise InventoryError(
            f"{inventory.path}: hardly any ground without landslides is left ({others} pixels): one class only"
        )
    # as many cells as are wanted, and how many each stands for
    slide = np.concatenate(drawn_slides)
    chosen = []
    for own, most in ((slide != NOTHING, MOST_SLIDE_CELLS), (slide == NOTHING, MOST_OTHER_CELLS)):
        places = np.flatnonzero(own)
        chosen.append(np.sort(rng.choice(places, min(most, len(places)), replace=False)))
    if not len(chosen[1]):
        raise InventoryError("no ground without landslides is left beyond buffer_m: one class only")
    taken = np.concatenate(chosen)
    of_slide = slide[taken] != NOTHING
    pixel = np.concatenate(drawn_pixels)[taken] + 0.5
    pixel[of_slide] = shapely.get_coordinates(shapely.point_on_surface(shapes[slide[taken][of_slide]]))
    sample = CellSample(
        values=np.concatenate(drawn_values, axis=1)[:, taken],
        label=of_slide.astype(np.int64),
        weight=np.where(of_slide, slide_cells / len(chosen[0]), others / len(chosen[1])),
        slide=slide[taken],
        place_m=pixel * (across, down),
        landslides=len(seen),
        left_out=len(shapes) - len(seen),
        cells=cells,
        slide_cells=slide_cells,
        cell_m2=across * down,
        notes=tuple(factors.notes),
    )
    for factor, values in zip(factors.factors, sample.values, strict=True):
        _refuse_fill(factor, values, sample.weight)
    return sample


def _refuse_fill(factor: Factor, values: NDArray[np.float32], weight: NDArray[np.float64]) -> None:
    """Refuse directions in radians, and a factor one value of which looks like nodata that nobody declared.

    Such a value is the least or the greatest, repeats, and lies farther off the others than they reach. Where the
    others are few (classes, steps), it must be a number that writers fill with.
    """
    if factor.kind == "distance":
        return
    if factor.kind == "direction" and values.max() <= 2 * np.pi:
        raise FactorError(
            f"{factor.path}: directions up to {values.max():.3g}: radians? Degrees are expected ({factor.name}); "
            "gdal_edit.py -scale 57.29578"
        )
    for value in (values.min(), values.max()):
        held = values == value
        share = float(weight[held].sum() / weight.sum())
        others = values[~held]
        if share <= FILL_SHARE or not len(others):
            continue
        low, high = (float(one) for one in np.quantile(others, (FILL_SEAM, 1 - FILL_SEAM)))
        few = factor.kind == "classes" or len(np.unique(others)) < FEW_VALUES
        away = max(low - float(value), float(value) - high)
        if away > high - low and (not few or value == BYTE_FILL):
            raise FactorError(
                f"{factor.path}: {value:g} is in {share:.0%} of the cells, far off the others ({low:g} to {high:g}): "
                f"declare it as nodata, as gdal_edit.py -a_nodata {value:g} does ({factor.name})"
            )


def _open_inventory(inventory: Inventory, factors: Factors) -> NDArray[Any]:
    grid = factors.grid
    found = read_vectors(inventory.path)
    shapes, lines = extract_outlines(found.to_pixels(grid), points=True)
    held = np.array([one is not None for one in shapes], bool)
    if not held.all():
        raise InventoryError(
            f"{inventory.path}: holds lines; an inventory has outlines or points of landslides ({'; '.join(lines)})"
        )
    factors.notes += [*found.notes, *(f"{inventory.path.name}: {line}" for line in lines)]
    if not len(shapely.STRtree(shapes).query(shapely.box(0, 0, grid.width, grid.height), predicate="intersects")):
        raise InventoryError(f"{inventory.path}: no landslide of it lies on the grid of the map ({grid.crs_name})")
    return np.asarray(shapes)


def _burn(shapes: NDArray[Any], tree: shapely.STRtree, box: Box) -> NDArray[np.int64]:
    """Which shape each pixel of a window belongs to; one too small for any centre takes the pixel of its middle."""
    column, row, width, height = box
    ids = np.full((height, width), NOTHING, np.int64)
    near = np.sort(tree.query(shapely.box(column, row, column + width, row + height)))
    if not len(near):
        return ids
    moved = shapely.transform(shapes[near], lambda points: points - np.array([column, row]))
    middles = np.floor(shapely.get_coordinates(shapely.point_on_surface(moved))).astype(np.int64)
    inside = (middles >= 0).all(axis=1) & (middles[:, 0] < width) & (middles[:, 1] < height)
    ids[middles[inside, 1], middles[inside, 0]] = near[inside]
    drawn = [(one, int(number)) for one, number in zip(moved, near, strict=True) if shapely.get_dimensions(one) == 2]
    if drawn:
        burnt = rasterio.features.rasterize(drawn, out_shape=ids.shape, fill=NOTHING, dtype="int32")
        ids = np.where(burnt != NOTHING, burnt, ids)
    return ids

"""Find the connected components of a raster, which is read block by block, and draw the outlines of pixels."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

EIGHT: Final = np.ones((3, 3), bool)  # neighbours by sides and corners
FOUR: Final = ndimage.generate_binary_structure(2, 1)  # neighbours by sides
NODATA: Final = 255  # step of pixels without a probability
# Pixels of a block. A block has the full width of the raster and at least `LEAST_BLOCK_ROWS` rows.
BLOCK_PX: Final = 1 << 21
LEAST_BLOCK_ROWS: Final = 64

Read = Callable[[int, int, int, int], NDArray[np.uint8]]
"""Reads the window (column, row, width, height) of a raster."""


class RowBuffer:
    """Read windows of a raster through a buffer of whole rows.

    If the windows are read from top to bottom, each row of the raster is read about once.

    Args:
        read: `read(column, row, width, height)` returns an array whose last two axes are rows and columns.
        width: of the raster.
        height: of the raster.
    """

    def __init__(self, read: Callable[[int, int, int, int], NDArray[Any]], width: int, height: int) -> None:
        self._read = read
        self.width = width
        self.height = height
        self._buffer_rows = max(1, BLOCK_PX // max(width, 1))
        self._buffer_top = 0
        self._buffer: NDArray[Any] | None = None

    def __call__(self, column: int, row: int, width: int, height: int) -> NDArray[Any]:
        """Return a window. The caller must not change it, because it can be a part of the buffer."""
        if height > self._buffer_rows:
            return self._read(column, row, width, height)
        buffer = self._buffer
        if buffer is None or row < self._buffer_top or row + height > self._buffer_top + buffer.shape[-2]:
            buffer = self._read(0, row, self.width, min(self._buffer_rows, self.height - row))
            self._buffer = buffer
            self._buffer_top = row
        first = row - self._buffer_top
        return buffer[..., first : first + height, column : column + width]


@dataclass(frozen=True, slots=True)
class Component:
    """Pixels that are connected by sides or corners.

    Rows and columns are those of the scene; right and bottom are exclusive.
    """

    first_row: int
    first_column: int
    pixels: int  # number of pixels
    left: int
    top: int
    right: int
    bottom: int

    def touches_sides(self, width: int, height: int) -> tuple[bool, bool, bool, bool]:
        """Return whether the component reaches the left, upper, right and lower edge of a scene of this size."""
        return self.left == 0, self.top == 0, self.right == width, self.bottom == height

    @property
    def box_px(self) -> int:
        """Number of pixels in the bounding box."""
        return (self.right - self.left) * (self.bottom - self.top)


class Labelling:
    """The connected components of the pixels whose step is at least `least`.

    Blocks are labelled one after the other, and labels that touch across the border of two blocks are merged. The
    labels of a block are computed again when its pixels are read, so that memory depends on the size of a block and on
    the number of components.

    Args:
        read: reads windows of the steps: probabilities, or other values from 0 to 254. `NODATA` is in no component.
        width: of the scene.
        height: of the scene.
        least: smallest step of a component.
        block_rows: rows of a block; None: as many as `BLOCK_PX` allows.

    Attributes:
        components: all components in the order of their first pixel.
    """

    def __init__(self, read: Read, width: int, height: int, least: int, block_rows: int | None = None) -> None:
        self._read = read
        self._width = width
        self._height = height
        self._least = least
        self._block_rows = block_rows or max(
            LEAST_BLOCK_ROWS, BLOCK_PX // max(width, 1) // LEAST_BLOCK_ROWS * LEAST_BLOCK_ROWS
        )
        # Each block has labels from 1 on. A label in the scene is the label in the block plus the offset of the block.
        self._offsets: list[int] = []
        label_facts = [np.empty((0, 7), np.int64)]
        touching = [np.empty((2, 0), np.int64)]
        number_of_labels = 0
        row_above: NDArray[np.int64] | None = None
        for top in range(0, height, self._block_rows):
            labels, count, _ = self._label_block(top)
            self._offsets.append(number_of_labels)
            label_facts.append(_measure_labels(labels, count, top))
            first_row, last_row = (
                np.where(row > 0, row.astype(np.int64) + number_of_labels, 0) for row in (labels[0], labels[-1])
            )
            if row_above is not None:
                touching.append(_find_touching(row_above, first_row))
            row_above = last_row
            number_of_labels += count
        self.components, self._numbers = _merge_labels(np.concatenate(label_facts), np.concatenate(touching, axis=1))

    def read_component(self, component: Component) -> Iterator[tuple[int, NDArray[np.bool_], NDArray[np.uint8]]]:
        """Yield a component block by block: first row of the part, which pixels belong to it, and their steps.

        The arrays contain the rows of the part from `left` to `right` of the component.
        """
        first_pixel = component.first_row, component.first_column
        number = 1 + bisect_left(self.components, first_pixel, key=lambda other: (other.first_row, other.first_column))
        columns = slice(component.left, component.right)
        for block, top in enumerate(range(0, self._height, self._block_rows)):
            if top >= component.bottom or top + self._block_rows <= component.top:
                continue
            labels, count, values = self._label_block(top)
            rows = slice(max(0, component.top - top), component.bottom - top)
            is_component = self._numbers_of_block(block, count) == number
            yield max(top, component.top), is_component[labels[rows, columns]], values[rows, columns]

    def read_labels(self) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.uint8]]]:
        """Yield the scene block by block: its first row, the labels of its pixels, and their steps.

        The label of a component is its position in `components` from 1; other pixels have the label 0.
        """
        for block, top in enumerate(range(0, self._height, self._block_rows)):
            labels, count, values = self._label_block(top)
            yield top, self._numbers_of_block(block, count)[labels], values

    def _label_block(self, top: int) -> tuple[NDArray[np.int32], int, NDArray[np.uint8]]:
        values = self._read(0, top, self._width, min(self._block_rows, self._height - top))
        labels, count = ndimage.label((values >= self._least) & (values != NODATA), structure=EIGHT)
        return labels, count, values

    def _numbers_of_block(self, block: int, count: int) -> NDArray[np.int64]:
        """Return the number of the component of each label of a block, from label 0 (no component) on."""
        first = self._offsets[block]
        return np.concatenate([np.zeros(1, np.int64), self._numbers[first : first + count]])


def _find_touching(above: NDArray[np.int64], below: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pairs of labels of two neighbouring rows that touch by sides or corners, 2 x pairs."""
    width = len(above)
    pairs = []
    for shift in (-1, 0, 1):
        upper = above[max(0, -shift) : width - max(0, shift)]
        lower = below[max(0, shift) : width + min(0, shift)]
        pairs.append(np.stack([upper, lower])[:, (upper > 0) & (lower > 0)])
    return np.unique(np.concatenate(pairs, axis=1), axis=1)


def _merge_labels(facts: NDArray[np.int64], touching: NDArray[np.int64]) -> tuple[list[Component], NDArray[np.int64]]:
    """Merge labels that touch.

    Args:
        facts: one row for each label; see `_measure_labels`.
        touching: 2 x pairs of labels from 1.

    Returns the components in the order of their first pixel, and the number of the component of each label, from 1.
    """
    labels = len(facts)
    if not labels:
        return [], np.empty(0, np.int64)
    edges = coo_array((np.ones(touching.shape[1], bool), tuple(touching - 1)), shape=(labels, labels))
    count, group_of_label = connected_components(edges, directed=False)
    # Labels in the order of their first pixel; the first label of a group has the first pixel of the component.
    order = np.lexsort((facts[:, 1], facts[:, 0]))
    _, first_positions = np.unique(group_of_label[order], return_index=True)
    group_order = np.argsort(first_positions)
    number_of_group = np.empty(count, np.int64)
    number_of_group[group_order] = np.arange(count)
    numbers = number_of_group[group_of_label]

    merged = np.empty((count, 7), np.int64)
    merged[:, :2] = facts[order[np.sort(first_positions)], :2]
    merged[:, 2] = 0
    np.add.at(merged[:, 2], numbers, facts[:, 2])
    merged[:, 3:5] = np.iinfo(np.int64).max
    merged[:, 5:] = 0
    for column in (3, 4):
        np.minimum.at(merged[:, column], numbers, facts[:, column])
    for column in (5, 6):
        np.maximum.at(merged[:, column], numbers, facts[:, column])
    return [Component(*row) for row in merged.tolist()], numbers + 1


def _measure_labels(labels: NDArray[Any], count: int, top: int) -> NDArray[np.int64]:
    """Return for each label of a block: first row, first column, pixels, left, top, right, bottom."""
    facts = np.zeros((count, 7), np.int64)
    if not count:
        return facts
    facts[:, 2] = np.bincount(labels[labels > 0], minlength=count + 1)[1:]
    for index, (rows, columns) in enumerate(ndimage.find_objects(labels)):
        first_column = columns.start + int(np.argmax(labels[rows.start, columns] == index + 1))
        facts[index, :2] = rows.start + top, first_column
        facts[index, 3:] = columns.start, rows.start + top, columns.stop, rows.stop + top
    return facts


def outline_pixels(mask: NDArray[np.bool_], origin: tuple[int, int] = (0, 0)) -> list[shapely.Polygon]:
    """Return the outlines of the true pixels in (column, row): one polygon for the pixels connected by their sides.

    The polygons are valid, and in the order of their first pixel.

    Args:
        mask: the pixels.
        origin: column and row of the first pixel of the mask.
    """
    shapes = rasterio.features.shapes(mask.astype(np.uint8), mask, 4, Affine.translation(*origin))
    polygons: list[Any] = [shapely.geometry.shape(outline) for outline, _ in shapes]
    return sorted(polygons, key=lambda polygon: min(vertex[::-1] for vertex in polygon.exterior.coords))

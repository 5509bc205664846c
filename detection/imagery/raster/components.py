"""Pixels that hang together, in a raster read strip by strip (labels joined by union-find), and their outlines."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

EIGHT = np.ones((3, 3), bool)
FOUR = ndimage.generate_binary_structure(2, 1)  # else it is made anew at every call
NODATA = 255
# Pixels held at a time; the strips of a wide scene are lower.
STRIP_PX = 1 << 21

Read = Callable[[int, int, int, int], NDArray[np.uint8]]


class Rows:
    """Windows of a raster out of rows that are kept: those who ask from top to bottom read each row about once.

    `read`: `read(column, row, width, height)`, an array whose last two axes are rows and columns.
    """

    def __init__(self, read: Callable[[int, int, int, int], NDArray[Any]], width: int, height: int) -> None:
        self._read, self.width, self.height = read, width, height
        self._most = max(1, STRIP_PX // max(width, 1))
        self._top = 0
        self._kept: NDArray[Any] | None = None

    def __call__(self, column: int, row: int, width: int, height: int) -> NDArray[Any]:
        """Return a window; it must not be changed."""
        if height > self._most:
            return self._read(column, row, width, height)
        kept = self._kept
        if kept is None or row < self._top or row + height > self._top + kept.shape[-2]:
            kept = self._read(0, row, self.width, min(self._most, self.height - row))
            self._top, self._kept = row, kept
        return kept[..., row - self._top : row - self._top + height, column : column + width]


@dataclass(frozen=True, slots=True)
class Component:
    """Pixels that hang together by sides or corners; rows and columns of the scene, right and bottom exclusive."""

    first_row: int
    first_column: int
    pixels: int
    left: int
    top: int
    right: int
    bottom: int

    def list_sides(self, width: int, height: int) -> tuple[bool, bool, bool, bool]:
        """Whether it reaches the left, upper, right and lower edge of a scene."""
        return self.left == 0, self.top == 0, self.right == width, self.bottom == height

    @property
    def box_px(self) -> int:
        """Pixels of the box around it."""
        return (self.right - self.left) * (self.bottom - self.top)


class Labelling:
    """The components of `step >= least`, and their pixels again, strip by strip.

    Args:
        read: `read(column, row, width, height)` of the stored probability steps.
        least: smallest step that counts.
        strip: rows held in memory at a time; by the width of the scene when None.
    """

    def __init__(self, read: Read, width: int, height: int, least: int, strip: int | None = None) -> None:
        self._read, self._width, self._height, self._least = read, width, height, least
        self._strip = strip or max(64, STRIP_PX // max(width, 1) // 64 * 64)
        self._parents: list[int] = [0]
        self._offsets: list[int] = []
        self._places: dict[int, int] = {}
        facts: list[NDArray[np.int64]] = []
        above: tuple[NDArray[np.int32], int] | None = None
        for top in range(0, height, self._strip):
            offset = len(self._parents) - 1
            labels, number, _ = self._label(top)
            self._offsets.append(offset)
            self._parents.extend(range(offset + 1, offset + number + 1))
            facts.append(_measure(labels, number, top))
            if above is not None:
                self._join_rows(above, (labels[0], offset))
            above = labels[-1].copy(), offset
        self.components = self._merge(np.concatenate(facts) if facts else np.empty((0, 7), np.int64))

    def bodies(self, component: Component) -> Iterator[tuple[int, NDArray[np.bool_], NDArray[np.uint8]]]:
        """Yield a component by strips: first row, its pixels within left..right, the steps of that window."""
        at, row = divmod(component.first_row, self._strip)
        labels, _, _ = self._label(at * self._strip)
        root = self._root(self._offsets[at] + int(labels[row, component.first_column]))
        for number, top in enumerate(range(0, self._height, self._strip)):
            if top >= component.bottom or top + self._strip <= component.top:
                continue
            labels, count, values = self._label(top)
            offset = self._offsets[number]
            own = np.array([False, *(self._root(offset + label) == root for label in range(1, count + 1))])
            rows = slice(max(0, component.top - top), component.bottom - top)
            columns = slice(component.left, component.right)
            yield max(top, component.top), own[labels[rows, columns]], values[rows, columns]

    def places(self) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.uint8]]]:
        """Yield the scene by strips: first row, the place of each pixel's component in `components` from 1 on, steps.

        A pixel of no component has the place 0.
        """
        for number, top in enumerate(range(0, self._height, self._strip)):
            labels, count, values = self._label(top)
            offset = self._offsets[number]
            own = np.array([0, *(self._places[self._root(offset + label)] for label in range(1, count + 1))], np.int64)
            yield top, own[labels], values

    def _label(self, top: int) -> tuple[NDArray[np.int32], int, NDArray[np.uint8]]:
        values = self._read(0, top, self._width, min(self._strip, self._height - top))
        labels, number = ndimage.label((values >= self._least) & (values != NODATA), structure=EIGHT)
        return labels, number, values

    def _join_rows(self, above: tuple[NDArray[np.int32], int], below: tuple[NDArray[np.int32], int]) -> None:
        width = self._width
        for shift in (-1, 0, 1):
            upper = above[0][max(0, -shift) : width - max(0, shift)]
            lower = below[0][max(0, shift) : width + min(0, shift)]
            touching = np.unique(np.stack([upper, lower])[:, (upper > 0) & (lower > 0)], axis=1)
            for one, other in touching.T:
                first, second = sorted((self._root(above[1] + int(one)), self._root(below[1] + int(other))))
                self._parents[second] = first

    def _root(self, label: int) -> int:
        parents = self._parents
        while parents[label] != label:
            parents[label] = parents[parents[label]]
            label = parents[label]
        return label

    def _merge(self, facts: NDArray[np.int64]) -> list[Component]:
        merged: dict[int, Component] = {}
        for label, row in enumerate(facts, start=1):
            part = Component(*(int(value) for value in row))
            root = self._root(label)
            known = merged.get(root)
            merged[root] = part if known is None else _unite(known, part)
        ordered = sorted(merged.items(), key=lambda item: (item[1].first_row, item[1].first_column))
        self._places = {root: place for place, (root, _) in enumerate(ordered, start=1)}
        return [component for _, component in ordered]


def _unite(one: Component, other: Component) -> Component:
    first_row, first_column = min((one.first_row, one.first_column), (other.first_row, other.first_column))
    return Component(
        first_row,
        first_column,
        one.pixels + other.pixels,
        min(one.left, other.left),
        min(one.top, other.top),
        max(one.right, other.right),
        max(one.bottom, other.bottom),
    )


def _measure(labels: NDArray[Any], number: int, top: int) -> NDArray[np.int64]:
    """Per label: first row, first column, pixels, left, top, right, bottom."""
    out = np.zeros((number, 7), np.int64)
    if not number:
        return out
    out[:, 2] = np.bincount(labels[labels > 0], minlength=number + 1)[1:]
    for index, box in enumerate(ndimage.find_objects(labels)):
        rows, columns = box
        first = columns.start + int(np.argmax(labels[rows.start, columns] == index + 1))
        out[index, [0, 1]] = rows.start + top, first
        out[index, 3:] = columns.start, rows.start + top, columns.stop, rows.stop + top
    return out


def outline_pixels(mask: NDArray[np.bool_], origin: tuple[int, int] = (0, 0)) -> list[shapely.Polygon]:
    """Outline the true pixels: a polygon in (column, row) for all that hang together by their sides.

    Args:
        origin: column and row of its first pixel.

    Returns valid polygons, in the order of their first pixel.
    """
    shapes = rasterio.features.shapes(mask.astype(np.uint8), mask, 4, Affine.translation(*origin))
    found: list[Any] = [shapely.geometry.shape(outline) for outline, _ in shapes]
    return sorted(found, key=lambda one: min(place[::-1] for place in one.exterior.coords))

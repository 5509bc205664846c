"""Cracks drawn over real pictures, beside what looks like them and is none: no licensed measured set is at hand."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from detection.imagery.data.files import Files
from detection.imagery.data.patches import Patches, as_values, resize_bands

BANDS = ("B4", "B3", "B2")  # red, green, blue
EMPTY_SHARE = 0.2  # of the patches that hold no crack
Cover = NDArray[np.float32]  # share of each pixel that is covered, H x W


@dataclass(frozen=True, slots=True)
class DrawnCracks:
    """One patch: the picture (3 x H x W, 0 to 1), where it is crack, and the middle line of each, (column, row)."""

    image: NDArray[np.float32]
    truth: NDArray[np.uint8]
    lines: tuple[NDArray[np.float64], ...]


def draw_patches(files: Files, part: str, draws: int, side_px: int) -> Patches:
    """Patches of cracks that are drawn over the pictures of a part, which take turns; 255 counts."""
    names = list_textures(files, part)

    def load(position: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        picture = files.read_picture(names[position % len(names)])[:3]
        drawn = draw_cracks(picture, side_px, np.random.default_rng([crc32(part.encode()), position]))
        return np.rint(255 * drawn.image).astype(np.uint8), drawn.truth

    turns = tuple(f"{PurePosixPath(names[n % len(names)]).stem}-{n // len(names)}" for n in range(draws))
    return Patches(turns, BANDS, load)


def list_textures(files: Files, part: str) -> list[str]:
    """The names of the pictures of a part (`train` or `val`)."""
    return [name for name in files.names if name.startswith(f"{part}/images/")]


def draw_cracks(picture: NDArray[np.uint8], side_px: int, rng: np.random.Generator) -> DrawnCracks:
    """Draw on a square cut of a picture (bands x H x W), turned, flipped and enlarged by chance.

    A crack is a walk that branches: dark, of changing width, with light rims and a shaded side. Beside it come roads,
    tracks, roots, edges of fields and shadows of poles, which are no cracks.
    """
    image = _cut(as_values(picture), side_px, rng)
    sun = rng.uniform(0, 2 * np.pi)
    towards = np.array([np.sin(sun), np.cos(sun)])
    for _ in range(int(rng.integers(0, 4))):
        others = (_draw_road, _draw_track, _draw_root, _draw_field, _draw_pole_shadow)
        others[int(rng.integers(len(others)))](image, towards, rng)
    truth, lines = np.zeros(image.shape[1:], bool), list[NDArray[np.float64]]()
    for _ in range(0 if rng.random() < EMPTY_SHARE else int(rng.integers(1, 4))):
        first = float(np.exp(rng.uniform(np.log(1.0), np.log(5.0))))
        walks = list(_branch(rng.uniform(0, side_px, 2), rng.uniform(0, 2 * np.pi), rng.uniform(30, 150), first, rng))
        cover = np.maximum.reduce([cover_line(walk, width, image.shape[1:]) for walk, width in walks])
        _open(image, cover, walks, towards, rng)
        truth |= cover >= 0.5
        lines += [walk for walk, _ in walks]
    if rng.random() < 0.5:
        image = ndimage.gaussian_filter(image, (0, *[rng.uniform(0, 0.7)] * 2))
    image = np.clip(image + rng.normal(0, rng.uniform(0, 0.015), image.shape), 0, 1).astype(np.float32)
    return DrawnCracks(image, truth.astype(np.uint8), tuple(lines))


def draw_flights(
    picture: NDArray[np.uint8], side_px: int, grown_px: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """One crack on two flights, the earlier one shorter by so much, in other light and off by up to 4 px.

    Returns both pictures, the earlier first, and by how much that must be moved (columns, rows).
    """
    ground, sun = _cut(as_values(picture), side_px, rng), rng.uniform(0, 2 * np.pi)
    walk, width = next(
        _branch(rng.uniform(0.3, 0.7, 2) * side_px, rng.uniform(0, 2 * np.pi), 90, rng.uniform(1.5, 5), rng)
    )
    images, seed = [], int(rng.integers(1 << 30))
    for points in (len(walk) - round(2 * grown_px), len(walk)):  # half a pixel apart
        image, walks = ground.copy(), [(walk[:points], width[:points])]
        towards = np.array([np.sin(sun), np.cos(sun)])
        _open(image, cover_line(*walks[0], image.shape[1:]), walks, towards, np.random.default_rng(seed))
        images.append(image)
    shift, light = rng.uniform(-4, 4, 2), rng.uniform(0.7, 1.2) * np.exp(rng.uniform(-0.1, 0.1, (3, 1, 1)))
    images[0] = ndimage.shift(images[0], (0, -shift[1], -shift[0]), order=1, mode="nearest") * light
    taken = [np.clip(one + rng.normal(0, 0.01, one.shape), 0, 1).astype(np.float32) for one in images]
    return taken[0], taken[1], shift


def cover_line(line: NDArray[np.floating], widths_px: Any, shape: tuple[int, ...]) -> Cover:
    """How much of each pixel a line of a width, or of one at each of its points (column, row), covers."""
    widths = np.broadcast_to(np.asarray(widths_px, np.float64), len(line))
    rows, columns = np.indices(shape)
    centres = np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5
    away, nearest = cKDTree(line).query(centres, distance_upper_bound=float(widths.max()) / 2 + 1)
    wide = np.append(widths, 0.0)[nearest]
    covered = np.clip(wide / 2 + 0.5 - away, 0, 1) * np.minimum(wide, 1)
    return np.asarray(covered.reshape(shape), np.float32)


def _cut(picture: NDArray[np.float32], side_px: int, rng: np.random.Generator) -> NDArray[np.float32]:
    least = min(picture.shape[1:])
    own = int(min(least, rng.uniform(0.5, 1.0) * side_px))
    top, left = (int(rng.integers(0, length - own + 1)) for length in picture.shape[1:])
    image = resize_bands(picture[:, top : top + own, left : left + own], (side_px, side_px))
    image = np.rot90(image, int(rng.integers(4)), (1, 2))
    return np.ascontiguousarray(image[:, :, :: int(rng.choice((-1, 1)))], np.float32)


def _walk(
    start: NDArray[np.floating], heading: float, length_px: float, bend: float, rng: np.random.Generator, kink: float
) -> NDArray[np.float64]:
    """Points half a pixel apart; a walk turns by chance, at times sharply, and comes back to its heading."""
    steps = max(2, int(2 * length_px))
    turns = rng.normal(0, bend, steps) + (rng.random(steps) < kink) * rng.normal(0, 0.7, steps)
    angle, angles = 0.0, np.empty(steps)
    for number, turn in enumerate(turns):
        angle += turn - 0.04 * angle
        angles[number] = heading + angle
    moves = 0.5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.asarray(start + np.cumsum(moves, axis=0), np.float64)


def _branch(
    start: NDArray[np.floating],
    heading: float,
    length_px: float,
    width_px: float,
    rng: np.random.Generator,
    depth: int = 0,
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    walk = _walk(start, heading, length_px, 0.12, rng, kink=0.03)
    along = np.linspace(0, 1, len(walk))
    swell = ndimage.gaussian_filter1d(rng.standard_normal(len(walk)), 8, mode="nearest") * 4
    taper = np.minimum(1, 3 * (1 - along)) if depth else np.minimum(1, 4 * np.minimum(along, 1 - along) + 0.3)
    yield walk, np.maximum(1.0, width_px * taper * np.exp(0.3 * np.clip(swell, -2, 2)))
    for _ in range(rng.poisson(length_px / 90) if depth < 2 else 0):
        place = int(rng.integers(len(walk) // 5, max(len(walk) * 4 // 5, len(walk) // 5 + 1)))
        aside = heading + rng.choice((-1, 1)) * rng.uniform(0.5, 1.2)
        yield from _branch(walk[place], aside, length_px * rng.uniform(0.2, 0.5), 0.7 * width_px, rng, depth + 1)


def _open(
    image: NDArray[np.float32], cover: Cover, walks: list[Any], towards: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Darken the crack, most on the side away from the sun, and lighten its rims."""
    rims = np.maximum.reduce([cover_line(walk, width + rng.uniform(1.5, 4), cover.shape) for walk, width in walks])
    light = rng.uniform(0, 0.12) * ndimage.shift(rims, towards, order=1) * (1 - cover)
    shaded = np.clip(cover - ndimage.shift(cover, 1.5 * towards, order=1), 0, 1)
    rough = np.clip(1 + 0.3 * ndimage.gaussian_filter(rng.standard_normal(cover.shape), 3) * 6, 0.3, 1.1)
    depth = rng.uniform(0.25, 0.85) * np.clip(rough, 0, 1) * cover + rng.uniform(0, 0.2) * shaded
    image *= np.clip(1 - depth, 0.05, 1).astype(np.float32)
    image += light.astype(np.float32)


def _draw_road(image: NDArray[np.float32], _: NDArray[np.float64], rng: np.random.Generator) -> None:
    walk = _across(image.shape[1], 0.01, rng)
    cover = cover_line(walk, rng.uniform(4, 14), image.shape[1:])
    colour = np.float32(rng.uniform(0.2, 0.8) + rng.uniform(-0.05, 0.05, (3, 1, 1)))
    image += (colour - image) * cover * np.float32(rng.uniform(0.6, 1))


def _draw_track(image: NDArray[np.float32], _: NDArray[np.float64], rng: np.random.Generator) -> None:
    walk = _across(image.shape[1], 0.02, rng)
    ahead = np.gradient(walk, axis=0)
    aside = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1) * rng.uniform(4, 9)
    width, depth = rng.uniform(1, 2.5), np.float32(rng.choice((-1, 1)) * rng.uniform(0.1, 0.4))
    for one in (walk + aside, walk - aside):
        image *= 1 + depth * cover_line(one, width, image.shape[1:])


def _draw_root(image: NDArray[np.float32], towards: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Raised: light towards the sun, its shadow beside it."""
    walk = _walk(
        rng.uniform(0, image.shape[1], 2), rng.uniform(0, 2 * np.pi), rng.uniform(20, 80), 0.12, rng, kink=0.02
    )
    cover = cover_line(walk, np.linspace(rng.uniform(2, 4), 1, len(walk)), image.shape[1:])
    image *= 1 - np.float32(rng.uniform(0.2, 0.5)) * ndimage.shift(cover, 2 * towards, order=1)
    image += np.float32(rng.uniform(0.1, 0.35)) * (1 - image) * cover


def _draw_field(image: NDArray[np.float32], _: NDArray[np.float64], rng: np.random.Generator) -> None:
    side = image.shape[1]
    angle, (rows, columns) = rng.uniform(0, 2 * np.pi), np.indices((side, side))
    east, south = rng.uniform(0, side, 2)
    across = (columns - east) * np.cos(angle) + (rows - south) * np.sin(angle)
    image *= (1 + rng.uniform(-0.4, 0.4) * np.clip(across + 0.5, 0, 1)).astype(np.float32)
    hedge = np.clip(rng.uniform(1, 3) - abs(across), 0, 1) * (rng.random() < 0.4)
    rough = np.clip(1 + ndimage.gaussian_filter(rng.standard_normal(hedge.shape), 2) * 4, 0, 1.5)
    image *= (1 - 0.4 * hedge * rough).astype(np.float32)


def _draw_pole_shadow(image: NDArray[np.float32], _: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Straight, of one width, and what lies in it is seen."""
    walk = _walk(rng.uniform(0, image.shape[1], 2), rng.uniform(0, 2 * np.pi), rng.uniform(20, 120), 0, rng, kink=0)
    cover = ndimage.gaussian_filter(cover_line(walk, rng.uniform(1, 4), image.shape[1:]), rng.uniform(0, 0.8))
    image *= 1 - np.float32(rng.uniform(0.25, 0.6)) * cover


def _across(side_px: int, bend: float, rng: np.random.Generator) -> NDArray[np.float64]:
    middle, heading = rng.uniform(0.2, 0.8, 2) * side_px, rng.uniform(0, 2 * np.pi)
    ways = [_walk(middle, heading + turn, 1.5 * side_px, bend, rng, kink=0) for turn in (0, np.pi)]
    return np.concatenate([ways[1][::-1], ways[0]])

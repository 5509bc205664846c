"""Two dates of one ground, drawn from measured patches: what is new is known, and all else changes with the season.

Landslides of the patch stand on both dates, or are filled on the date before with texture of the same patch (then they
are new), or on the date after (then they are gone); landslides of other patches are pasted in the same ways. Fields
turn bare or green, so that no seam of a paste says what is new. One date gets another light, haze, shade and vegetation
and lies up to 0.7 px off. Hard pairs, for training alone, have a relief: its shade moves with the sun of each date,
snow lies where it is high, cold or hollow on one of the dates (mostly the first), and scars cover up to a third of the
patch. A draw follows from (seed, position) alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.data.patches import Patches, as_values, make_patches

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
EIGHT = np.ones((3, 3), bool)
BANDS = ("B4", "B3", "B2")
DATES = tuple(f"{date} {band}" for date in ("before", "after") for band in BANDS)
HAZE = np.array([0.35, 0.55, 1.0], np.float32)
SHIFT_MOST_PX = 0.7
STABLE_SHARE = 0.3


@dataclass(frozen=True)
class Pair:
    """Both dates, 3 x H x W of values 0 to 1, and where a landslide is new."""

    before: Image
    after: Image
    new: NDArray[np.uint8]


def draw_pair(
    patches: Patches,
    position: int,
    seed: int,
    *,
    stable: bool | None = None,
    measured: bool = False,
    hard: bool = False,
) -> Pair:
    """Draw the two dates of a patch.

    Args:
        stable: whether nothing is new; by chance when None.
        measured: the other season takes its colours from another patch, in place of those that are drawn.
        hard: with shade of relief, melting snow and large scars.
    """
    rng = np.random.default_rng([seed, position, 2 if stable is None else int(stable), int(measured)])
    _, image, mask = patches.read(position)
    stable = bool(rng.random() < STABLE_SHARE) if stable is None else stable
    both = _Both(as_values(image), mask == 1, rng)
    fates = ("old", "gone") if stable else ("new", "new", "old", "gone")
    for component in _components(mask == 1):
        both.tell(component, str(rng.choice(fates, p=(0.8, 0.2) if stable else (0.3, 0.3, 0.3, 0.1))))
    for _ in range(int(rng.integers(0, 3))):
        _, other, other_mask = patches.read(int(rng.integers(len(patches))))
        if parts := _components(other_mask == 1):
            fate = str(rng.choice(("old", "gone") if stable else ("new", "old", "gone")))
            both.paste(as_values(other), parts[int(rng.integers(len(parts)))], fate)
    relief = Relief(rng, mask.shape) if hard else None
    if relief and rng.random() < 0.4:
        ground = both.after.copy()
        for _ in range(5):
            _, other, other_mask = patches.read(int(rng.integers(len(patches))))
            if (other_mask == 1).sum() >= 60:
                fate = str(rng.choice(("old", "gone") if stable else ("new", "new", "new", "old", "gone")))
                both.scar(ground, relief, (as_values(other), other_mask == 1), fate)
                break
    for _ in range(int(rng.integers(0, 3))):
        both.plough()
    colours = None
    if measured:
        places = rng.integers(len(patches), size=8)
        colours = [as_values(patches.read(int(place)).image) for place in places]
    before, after = both.before, both.after
    if rng.random() < 0.5:
        before = _another_season(before, rng, colours)
    else:
        after = _another_season(after, rng, colours)
    if relief:
        before, after = (relief.light(one) if rng.random() < 0.5 else one for one in (before, after))
        if rng.random() < 0.5:
            before, after = (relief.snow(before), after) if rng.random() < 0.75 else (before, relief.snow(after))
    off = rng.uniform(-SHIFT_MOST_PX, SHIFT_MOST_PX, 2)
    before = ndimage.shift(before, (0, *off), order=1, mode="nearest")
    before, after = (_take(one, rng) for one in (before, after))
    return Pair(before, after, both.new.astype(np.uint8))


def draw_pairs(patches: Patches, count: int, seed: int, **how: Any) -> Patches:
    """So many pairs as patches of six bands, the date before first; the patches take turns."""
    total = len(patches)
    images = np.empty((count, 6, *patches.read(0).mask.shape), np.uint8)
    masks = np.empty((count, *images.shape[2:]), np.uint8)
    for number in range(count):
        pair = draw_pair(patches, number % total, seed + number // total, **how)
        images[number] = np.rint(255 * np.concatenate([pair.before, pair.after]))
        masks[number] = pair.new
    names = tuple(f"{patches.names[number % total]}-{number // total}" for number in range(count))
    return make_patches(images, masks, DATES, names)


class Relief:
    """Drawn heights of a patch, whose light and snow its dates share."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
        self._rng = rng
        scale = rng.uniform(4, 14)
        heights = sum(
            size * (_noise(rng, shape, size) if rng.random() < 0.5 else -2 * abs(_noise(rng, shape, size)))
            for size in (2.5 * scale, scale, scale / 3)
        )
        self.heights = np.asarray(heights, np.float32)
        self._down, self._right = np.gradient(self.heights)
        steep = np.hypot(self._down, self._right).std() / rng.uniform(0.1, 0.3)
        self._down, self._right = self._down / steep, self._right / steep

    def face(self, azimuth: float) -> Image:
        """How much the ground falls towards a direction."""
        return np.asarray(self._down * np.cos(azimuth) - self._right * np.sin(azimuth), np.float32)

    def light(self, image: Image) -> Image:
        """The same under another sun, from anywhere in the half that lies to the south."""
        rng, height = self._rng, np.radians(self._rng.uniform(18, 60))
        steep = np.sqrt(1 + self._down**2 + self._right**2)
        shade = (1 + self.face(rng.uniform(-1.6, 1.6)) / np.tan(height)) / steep
        dark = np.clip(shade, 0.2, 1.9).astype(np.float32) ** np.float32(rng.uniform(0.4, 1.0))
        return np.asarray(image * dark + 0.05 * HAZE[:, None, None] * np.clip(1 - dark, 0, 1))

    def snow(self, image: Image) -> Image:
        """Snow that melts: left where it is high, turned from the sun, or hollow."""
        rng, shape = self._rng, self.heights.shape
        hollow = ndimage.laplace(ndimage.gaussian_filter(self.heights, 1.5))
        parts = [self.heights, -self.face(rng.uniform(-0.8, 0.8)), hollow]
        parts += [_noise(rng, shape, rng.uniform(1, 5)), _noise(rng, shape, 40)]
        field = np.sum([rng.uniform(0, 1) * part / max(float(part.std()), 1e-6) for part in parts], axis=0)
        edge = np.quantile(field, 1 - rng.uniform(0.03, 0.6))
        cover = 1 / (1 + np.exp(-np.clip((field - edge) / (field.std() * rng.uniform(0.03, 0.4)), -30, 30)))
        cover = (cover * rng.uniform(0.5, 1)).astype(np.float32)
        grey = np.maximum(image.mean(axis=0), 0)
        white = np.quantile(image, 0.98) * rng.uniform(0.9, 1.6) * (grey / max(float(grey.mean()), 0.02)) ** 0.4
        return np.asarray(image * (1 - cover) + cover * white * rng.uniform(0.95, 1.05, 3)[:, None, None], np.float32)


class _Both:
    def __init__(self, image: Image, slides: Mask, rng: np.random.Generator) -> None:
        self.before, self.after, self._rng = image.copy(), image.copy(), rng
        self.new, self._taken = np.zeros(slides.shape, bool), ndimage.binary_dilation(slides, EIGHT, 3)

    def tell(self, body: Mask, fate: str) -> None:
        """Give an own landslide its fate: filled on one date; where nothing fills it, it is old."""
        if fate == "new" and self._rng.random() < 0.2:  # an old one that grew
            body = body & _half_plane(body, self._rng)
        target = {"new": self.before, "gone": self.after}.get(fate)
        if target is not None and self._fill(target, body) and fate == "new":
            self.new |= body

    def paste(self, other: Image, part: Mask, fate: str) -> None:
        """Put a landslide of another patch where none is."""
        rows, columns = (np.flatnonzero(part.any(axis=axis)) for axis in (1, 0))
        height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        if max(height, width) > 70:
            return
        corner = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        turns = int(self._rng.integers(4))
        cut, pixels = np.rot90(part[corner], turns), np.rot90(other[:, *corner], turns, (1, 2))
        around = ndimage.binary_dilation(part, EIGHT, 4) & ~ndimage.binary_dilation(part, EIGHT, 1)
        for _ in range(20):
            top, left = (
                int(self._rng.integers(0, side - size + 1)) for side, size in zip(part.shape, cut.shape, strict=True)
            )
            place = slice(top, top + cut.shape[0]), slice(left, left + cut.shape[1])
            body = np.zeros(part.shape, bool)
            body[place] = cut
            if not (body & self._taken).any():
                break
        else:
            return
        blend = _feather(body)
        wide = np.zeros_like(self.after)
        wide[:, *place] = pixels
        # its contrast to its own ground, on this ground
        near = ndimage.binary_dilation(body, EIGHT, 4) & ~body
        for band in range(3):
            ratio = self.after[band][near].mean() / max(float(other[band][around].mean()), 0.02)
            wide[band] *= np.float32(np.clip(ratio, 0.5, 2.0))
            inside = body if body.any() else near
            wide[band][~body] = wide[band][inside].mean()
        for target in {"new": (self.after,), "gone": (self.before,)}.get(fate, (self.before, self.after)):
            target += (wide - target) * blend
        self._taken |= ndimage.binary_dilation(body, EIGHT, 3)
        if fate == "new":
            self.new |= body

    def scar(self, ground: Image, relief: Relief, other: tuple[Image, Mask], fate: str) -> None:
        """Bare up to a third of the patch, in the colours that landslides of another patch have beside its ground."""
        rng, shape, (image, slides) = self._rng, self.new.shape, other
        fine = _noise(rng, shape, rng.uniform(2, 8))
        steep = relief.face(rng.uniform(0, 2 * np.pi))
        field = fine + rng.uniform(0, 1.5) * steep / steep.std() + rng.uniform(0, 1) * _noise(rng, shape, 20)
        body = ndimage.binary_opening(field > np.quantile(field, 1 - rng.uniform(0.03, 0.33)), EIGHT) & ~self._taken
        around = ndimage.binary_dilation(slides, EIGHT, 6) & ~ndimage.binary_dilation(slides, EIGHT, 1)
        if not body.any() or not around.any():
            return
        inside, outside = image[:, slides], np.maximum(image[:, around].mean(axis=1), 0.02)
        grains = np.stack([_noise(rng, shape, rng.uniform(0.5, 1.5)) for _ in range(3)]).reshape(3, -1)
        spread = rng.uniform(0.3, 0.8) * np.linalg.cholesky(np.cov(inside) + 1e-5 * np.eye(3))
        colours = spread @ grains + inside.mean(axis=1)[:, None]
        ratio = np.clip(colours / outside[:, None], 0.3, 4).reshape(ground.shape)
        lit = np.maximum(ground.mean(axis=0), 0)
        lit = (lit / max(float(lit.mean()), 0.02)) ** rng.uniform(0.2, 0.8)
        bare = ratio * ground.mean(axis=(1, 2))[:, None, None] * lit
        blend = _feather(body)
        for target in {"new": (self.after,), "gone": (self.before,)}.get(fate, (self.before, self.after)):
            target += ((bare - target) * blend).astype(np.float32)
        self._taken |= ndimage.binary_dilation(body, EIGHT, 3)
        if fate == "new":
            self.new |= body

    def plough(self) -> None:
        """Let a field change between the dates."""
        rng, shape = self._rng, self.new.shape
        angle, row, column = rng.uniform(0, np.pi), *(rng.uniform(0, side) for side in shape)
        rows, columns = np.indices(shape)
        along = (columns - column) * np.cos(angle) + (rows - row) * np.sin(angle)
        across = (rows - row) * np.cos(angle) - (columns - column) * np.sin(angle)
        field = (abs(along) < rng.uniform(2, 10)) & (abs(across) < rng.uniform(2, 8)) & ~self._taken
        target = self.before if rng.random() < 0.5 else self.after
        factors = (1 + rng.uniform(0, 0.7) * np.array([1.0, 0.6, 0.5]) * rng.uniform(0.7, 1.3, 3)) ** rng.choice(
            (-1, 1)
        )
        target *= 1 + (factors[:, None, None] - 1).astype(np.float32) * _feather(field)

    def _fill(self, target: Image, body: Mask) -> bool:
        wide = ndimage.binary_dilation(body, EIGHT, 2)
        ring = ndimage.binary_dilation(wide, EIGHT, 3) & ~wide & ~self._taken
        if not ring.any():
            ring = ndimage.binary_dilation(wide, EIGHT, 3) & ~wide
        best: tuple[float, Image] | None = None
        rows, columns = np.nonzero(wide)
        for _ in range(60):
            down, right = self._rng.integers(-60, 61, 2)
            if not (0 <= rows.min() + down and rows.max() + down < body.shape[0]):
                continue
            if not (0 <= columns.min() + right and columns.max() + right < body.shape[1]):
                continue
            if self._taken[rows + down, columns + right].any():
                continue
            moved = np.roll(target, (-down, -right), (1, 2))
            apart = float(np.abs(moved[:, ring] - target[:, ring]).mean())
            if best is None or apart < best[0]:
                best = apart, moved
        if best is None:
            return False
        moved = best[1] + (target[:, ring].mean(axis=1) - best[1][:, ring].mean(axis=1))[:, None, None]
        target += (moved - target) * _feather(wide, 1.0)
        return True


def _components(mask: Mask) -> list[Mask]:
    labels, count = ndimage.label(mask, EIGHT)
    return [labels == number for number in range(1, count + 1) if (labels == number).sum() >= 6]


def _half_plane(body: Mask, rng: np.random.Generator) -> Mask:
    angle, (rows, columns) = rng.uniform(0, 2 * np.pi), np.indices(body.shape)
    across = rows * np.cos(angle) + columns * np.sin(angle)
    return np.asarray(across > np.median(across[body]))


def _feather(body: Mask, sigma: float = 0.7) -> Image:
    return np.asarray(ndimage.gaussian_filter(body.astype(np.float32), sigma))


def _noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Image:
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return np.asarray(smooth / max(float(smooth.std()), 1e-6), np.float32)


def _another_season(image: Image, rng: np.random.Generator, colours: list[Image] | None) -> Image:
    """Other light, vegetation, haze, shade, and at times snow or shadows of clouds."""
    shape = image.shape[1:]
    if colours is not None:
        image = _recolour(image, colours[0])
    else:
        red, green = image[0], image[1]
        leaves = 1 / (1 + np.exp(-((green - red) / np.maximum(green + red, 0.02) - rng.uniform(-0.1, 0.05)) / 0.03))
        leaves = leaves * np.clip(0.6 + 0.4 * _noise(rng, shape, rng.uniform(6, 20)), 0, 1)
        turned = np.array([rng.uniform(-0.3, 0.6), rng.uniform(-0.25, 0.35), rng.uniform(-0.25, 0.3)])
        image = image * (1 + turned[:, None, None] * leaves)
        image = image * np.exp(rng.uniform(-0.3, 0.3, 3))[:, None, None]
    shade = _noise(rng, shape, rng.uniform(3, 10)) * rng.uniform(0, 0.2)
    image = image * np.clip(1 + shade, 0.5, 1.5)
    image = image + HAZE[:, None, None] * rng.uniform(0, 0.15) * np.clip(1 + 0.4 * _noise(rng, shape, 25), 0, 2)
    if rng.random() < 0.15:
        image = image * (1 - 0.5 * np.clip(_noise(rng, shape, 8) - rng.uniform(1, 2), 0, 1))
    if rng.random() < 0.1:
        snow = np.clip(2 * (_noise(rng, shape, 10) - rng.uniform(0.8, 2)), 0, 1) * 0.8
        image = image * (1 - snow) + snow * image.max()
    return np.asarray(image, np.float32)


def _recolour(image: Image, like: Image) -> Image:
    """Bring mean and covariance of the bands to those of another patch (Reinhard et al. 2001, by whole colours)."""
    values, others = image.reshape(3, -1), like.reshape(3, -1)
    mean, other_mean = values.mean(axis=1, keepdims=True), others.mean(axis=1, keepdims=True)
    small = 1e-5 * np.eye(3)
    own, other = (np.linalg.cholesky(np.cov(one) + small) for one in (values, others))
    brought = other @ np.linalg.inv(own) @ (values - mean) + other_mean
    return np.asarray(brought.reshape(image.shape), np.float32)


def _take(image: Image, rng: np.random.Generator) -> Image:
    if rng.random() < 0.5:
        image = ndimage.gaussian_filter(image, (0, *[rng.uniform(0, 0.6)] * 2))
    image = image + rng.normal(0, rng.uniform(0.0, 0.012), image.shape)
    image = image * min(1.0, 1 / max(float(np.quantile(image, 0.999)), 1e-3))
    return np.clip(image, 1 / 255, 1).astype(np.float32)

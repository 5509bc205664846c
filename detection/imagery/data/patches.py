"""Sets of labelled patches. A set reads its patches one by one, so that it need not fit into memory."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.errors import DataError
from detection.imagery.optional_bands import encode_optional_bands
from detection.imagery.scene.moments import standardise

# Mask value of pixels that are not known. They count in no loss and no score.
IGNORED = 255
# `Patches.cache` stores at most this much.
CACHE_BYTES = 1 << 30


class Patch(NamedTuple):
    """One labelled patch."""

    name: str
    image: NDArray[Any]  # bands x H x W; float32, or uint8 in which 255 means 1
    mask: NDArray[np.uint8]  # H x W; 0 background, 1 landslide, 255 (`IGNORED`) not known


@dataclass(frozen=True, slots=True)
class Patches:
    """A set of patches that are read one by one. Methods that return a changed set do not read any patch."""

    names: tuple[str, ...]  # one per patch, unique
    bands: tuple[str, ...]  # names of the image's bands, in order
    load: Callable[[int], tuple[NDArray[Any], NDArray[np.uint8]]]  # reads image and mask of the patch at a position
    pixel_size_m: float | None = None  # side of a pixel on the ground; None: the files do not state it
    months: tuple[int, ...] = ()  # months (1 to 12) of the images; empty: a file does not state its date
    slope_unit_deg: float = 1.0  # degrees of one unit of the band `slope` in the files
    # names of the optional bands (see module `optional_bands`), which are not among `bands`
    optional_bands: tuple[str, ...] = ()
    # reads the values of the optional bands at a position, K x H x W, NaN where they are not known; None: no such bands
    load_optional: Callable[[int], NDArray[np.float32]] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def read(self, position: int) -> Patch:
        """Read one patch.

        Raises:
            DataError: image or mask have other bands, shapes or values than expected.
        """
        image, mask = self.load(position)
        if image.ndim != 3 or image.shape[0] != len(self.bands):
            raise DataError(
                f"{self.names[position]}: image of shape {image.shape}, expected {len(self.bands)} bands "
                f"({', '.join(self.bands)}) x rows x columns"
            )
        if mask.shape != image.shape[1:]:
            raise DataError(f"{self.names[position]}: mask of shape {mask.shape} on an image of {image.shape[1:]}")
        if unknown := sorted(set(np.unique(mask).tolist()) - {0, 1, IGNORED}):
            raise DataError(f"{self.names[position]}: mask value {unknown[0]}; expected 0, 1 and {IGNORED} = not known")
        return Patch(self.names[position], image, mask)

    def __iter__(self) -> Iterator[Patch]:
        return (self.read(position) for position in range(len(self)))

    def take(self, positions: Sequence[int] | NDArray[np.int64]) -> "Patches":
        """Return the patches at the given positions, in that order."""
        chosen = [int(position) for position in positions]
        load, load_optional = self.load, self.load_optional
        return replace(
            self,
            names=tuple(self.names[position] for position in chosen),
            load=lambda position: load(chosen[position]),
            load_optional=None if load_optional is None else lambda position: load_optional(chosen[position]),
        )

    def select_bands(self, bands: tuple[str, ...]) -> "Patches":
        """Return the patches with only the given bands, in the given order.

        Raises:
            DataError: a band is not among those of the set.
        """
        if bands == self.bands:
            return self
        if missing := [name for name in bands if name not in self.bands]:
            raise DataError(f"bands {', '.join(missing)} are not in the data, which have {', '.join(self.bands)}")
        indices = [self.bands.index(name) for name in bands]
        return replace(self.map_images(lambda image, _: image[indices]), bands=bands)

    def split_optional(self, names: tuple[str, ...]) -> "Patches":
        """Return the patches with the named bands as optional bands instead of bands of the images.

        Raises:
            DataError: a band is not among those of the set.
        """
        if not names:
            return self
        if missing := [name for name in names if name not in self.bands]:
            raise DataError(f"bands {', '.join(missing)} are not in the data, which have {', '.join(self.bands)}")
        indices = [self.bands.index(name) for name in names]
        units = np.array([self.slope_unit_deg if name == "slope" else 1.0 for name in names], np.float32)
        load = self.load

        def load_optional(position: int) -> NDArray[np.float32]:
            return load(position)[0][indices].astype(np.float32) * units[:, None, None]

        remaining = self.select_bands(tuple(name for name in self.bands if name not in names))
        return replace(remaining, optional_bands=names, load_optional=load_optional)

    def mask_optional(self, names: tuple[str, ...] | None = None) -> "Patches":
        """Return the patches with optional bands that are known nowhere.

        Args:
            names: of these bands. None: the optional bands that the patches have.
        """
        names = self.optional_bands if names is None else names
        load = self.load

        def load_unknown(position: int) -> NDArray[np.float32]:
            return np.full((len(names), *load(position)[1].shape), np.nan, np.float32)

        return replace(self, optional_bands=names, load_optional=load_unknown if names else None)

    def read_channels(self, position: int) -> NDArray[np.float32] | None:
        """Return the channels of the optional bands of one patch, 2K x H x W; None if it has no such bands."""
        if self.load_optional is None:
            return None
        return encode_optional_bands(self.load_optional(position), self.optional_bands)

    def map_images(self, convert: Callable[[NDArray[Any], NDArray[np.uint8]], NDArray[Any]]) -> "Patches":
        """Return the patches with the image that a function returns for each image and its mask."""
        load = self.load

        def load_converted(position: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
            image, mask = load(position)
            return convert(image, mask), mask

        return replace(self, load=load_converted)

    def resize(self, size_px: int) -> "Patches":
        """Return patches of `size_px` x `size_px`: bands by bilinear interpolation, masks by the nearest pixel."""
        load = self.load
        load_optional = self.load_optional
        size = (size_px, size_px)

        def load_resized(position: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
            image, mask = load(position)
            return resize_bands(image, size), resize_mask(mask, size)

        return replace(
            self,
            load=load_resized,
            load_optional=(
                None if load_optional is None else lambda position: resize_optional(load_optional(position), size)
            ),
        )

    def clip(self, ranges: Sequence[Sequence[float]]) -> "Patches":
        """Return the patches as float32 with every band clipped to its range (low, high)."""
        low, high = (np.array([limits[side] for limits in ranges], np.float32)[:, None, None] for side in (0, 1))
        return self.map_images(lambda image, _: np.clip(as_values(image), low, high))

    def standardise(self, unchanged: Collection[str]) -> "Patches":
        """Return the patches as float32 with mean 0 and standard deviation 1 in every band except `unchanged`.

        Pixels that are 0 in all bands and not known in the mask are nodata and become 0.
        """
        chosen = [position for position, name in enumerate(self.bands) if name not in unchanged]

        def standardise_image(image: NDArray[Any], mask: NDArray[np.uint8]) -> NDArray[Any]:
            values = as_values(image)
            nodata = (mask == IGNORED) & (image == 0).all(axis=0)
            values[chosen] = standardise(values[chosen], ~nodata)
            return values

        return self.map_images(standardise_image)

    def cache(self) -> "Patches":
        """Return the patches with a cache in memory, of at most `CACHE_BYTES`, that is filled as they are read."""
        cached_patches: dict[int, tuple[NDArray[Any], NDArray[np.uint8]]] = {}
        cached_optional: dict[int, NDArray[np.float32]] = {}
        cached_bytes = 0
        load = self.load
        load_optional = self.load_optional

        def load_cached(position: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
            nonlocal cached_bytes
            if position in cached_patches:
                return cached_patches[position]
            image, mask = load(position)
            if cached_bytes + image.nbytes + mask.nbytes <= CACHE_BYTES:
                cached_patches[position] = image, mask
                cached_bytes += image.nbytes + mask.nbytes
            return image, mask

        def load_optional_cached(position: int) -> NDArray[np.float32]:
            nonlocal cached_bytes
            assert load_optional is not None
            if position in cached_optional:
                return cached_optional[position]
            values = load_optional(position)
            if cached_bytes + values.nbytes <= CACHE_BYTES:
                cached_optional[position] = values
                cached_bytes += values.nbytes
            return values

        return replace(self, load=load_cached, load_optional=None if load_optional is None else load_optional_cached)

    def fingerprint(self) -> str:
        """Return the SHA-256 of names, bands, images, masks and the values of optional bands."""
        digest = hashlib.sha256(",".join((*self.bands, *self.optional_bands)).encode())
        for position, patch in enumerate(self):
            digest.update(patch.name.encode())
            digest.update(np.ascontiguousarray(patch.image).tobytes())
            digest.update(np.ascontiguousarray(patch.mask).tobytes())
            if self.load_optional is not None:
                digest.update(np.ascontiguousarray(self.load_optional(position)).tobytes())
        return digest.hexdigest()


def make_patches(
    images: NDArray[Any], masks: NDArray[np.uint8], bands: tuple[str, ...] = (), names: tuple[str, ...] = ()
) -> Patches:
    """Return images N x bands x H x W and masks N x H x W as a set of patches, numbered if they have no names.

    >>> patches = make_patches(np.zeros((2, 3, 4, 4), np.float32), np.zeros((2, 4, 4), np.uint8))
    >>> patches.bands, patches.names
    (('0', '1', '2'), ('0', '1'))
    """
    return Patches(
        names or tuple(str(number) for number in range(len(images))),
        bands or tuple(str(number) for number in range(images.shape[1])),
        lambda position: (images[position], masks[position]),
    )


def join_patches(first: Patches, second: Patches) -> Patches:
    """Return the patches of two sets with the same bands: first those of `first`, then those of `second`.

    The pixel size and the months are those of `first`.

    Raises:
        DataError: the sets have different bands or optional bands.

    >>> zeros = np.zeros((1, 3, 4, 4), np.float32), np.zeros((1, 4, 4), np.uint8)
    >>> join_patches(make_patches(*zeros, names=("a",)), make_patches(*zeros, names=("b",))).names
    ('a', 'b')
    """
    if (first.bands, first.optional_bands) != (second.bands, second.optional_bands):
        raise DataError(f"bands {', '.join(second.bands)} beside {', '.join(first.bands)}")
    first_load, second_load = first.load_optional, second.load_optional

    def load(position: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        if position < len(first):
            return first.load(position)
        return second.load(position - len(first))

    def load_optional(position: int) -> NDArray[np.float32]:
        assert first_load is not None
        assert second_load is not None
        if position < len(first):
            return first_load(position)
        return second_load(position - len(first))

    return replace(
        first,
        names=first.names + second.names,
        load=load,
        load_optional=None if first_load is None else load_optional,
    )


def as_values(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return an image as float32; uint8 is divided by 255."""
    values = image.astype(np.float32)
    return values / np.float32(255) if image.dtype == np.uint8 else values


def resize_bands(image: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Resize bands x H x W by bilinear interpolation between pixel centres.

    Along an axis that shrinks, pixels are averaged first.

    >>> resize_bands(np.array([[[0.0, 1.0]]]), (1, 4)).tolist()
    [[[0.0, 0.25, 0.75, 1.0]]]
    """
    values = image.astype(np.float32)
    for axis, target in enumerate(shape, start=1):
        source = values.shape[axis]
        if source == target:
            continue
        if source > target:
            values = ndimage.uniform_filter1d(values, max(1, round(source / target)), axis=axis, mode="nearest")
        centre = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
        lower = np.minimum(centre.astype(int), max(source - 2, 0))
        share = (centre - lower).reshape([-1 if number == axis else 1 for number in range(values.ndim)])
        upper = np.minimum(lower + 1, source - 1)
        values = values.take(lower, axis) * (1 - share) + values.take(upper, axis) * share
    return np.rint(values).astype(np.uint8) if image.dtype == np.uint8 else values.astype(image.dtype)


def resize_optional(values: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Resize optional bands x H x W. Only known values contribute; NaN means not known.

    A pixel of the result is known if known values have at least half of the weight in its interpolation.
    """
    is_known = np.isfinite(values)
    share = resize_bands(is_known.astype(np.float32), shape)
    sums = resize_bands(np.where(is_known, values, np.float32(0)), shape)
    return np.where(share >= 0.5, sums / np.maximum(share, np.float32(0.5)), np.float32(np.nan))


def resize_mask(mask: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a mask H x W by the nearest pixel."""
    rows, columns = (
        ((np.arange(target) + 0.5) * source / target).astype(int)
        for target, source in zip(shape, mask.shape, strict=True)
    )
    return np.asarray(mask[np.ix_(rows, columns)])


def list_starts(length: int, side: int) -> list[int]:
    """Return the first pixels, along one axis, of the training tiles that cover a scene.

    The last tile may overlap the one before it. A remainder of at most an eighth of a tile is left out.

    >>> list_starts(100, 128), list_starts(256, 128), list_starts(300, 128), list_starts(130, 128)
    ([0], [0, 128], [0, 128, 172], [0])
    """
    starts = list(range(0, max(1, length - side + 1), side))
    remainder = length - starts[-1] - side
    return [*starts, length - side] if remainder > side // 8 else starts

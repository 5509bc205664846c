"""A folder of GeoTIFF tiles with masks beside them: the layout for tiles of the user."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.patches import IGNORED, Patches
from detection.imagery.errors import (
    DataError,
    ImpossibleCrsError,
    NoCrsError,
    NotARasterError,
    TooLargeError,
    TrainingRecipeError,
)
from detection.imagery.raster.terrain import TERRAIN
from detection.imagery.scene.band_names import name_band
from detection.imagery.scene.offsets import CountCalibration, read_calibration

SUFFIXES = (".tif", ".tiff", ".png")
# The pixel size and the date are read from at least this many tiles, evenly spread over the set, or from all of fewer.
INSPECTED_TILES = 100
# Tiles have one pixel size if the largest pixel size is at most this many times the smallest.
PIXEL_SIZE_RATIO_MOST = 1.5
# A mask may be shifted against its image by at most this much, in pixels of the mask.
MASK_SHIFT_MOST_PX = 0.5
COLOURS = ("red", "green", "blue")
# Channels of a PNG by their number; with one channel it is grey.
PNG_CHANNELS = {2: ("grey", "alpha"), 3: COLOURS, 4: (*COLOURS, "alpha")}


def read(
    folder: Path, part: str, *, bands: tuple[str, ...] = (), pixel_size_m: float | None = None, landslide: int = 1
) -> Patches:
    """Read `<part>/images/*.tif` and `<part>/masks/*.tif|png`, or `images` and `masks` if there is no folder `<part>`.

    Masks contain 0 for background, the value `landslide` for landslides, and 255 for pixels that are not known (unless
    `landslide` is 255). Pixels that an image declares as nodata are not known either.

    The images contain the numbers of the files, after the calibration that scenes have too: a scale and offset in the
    header, or the offset of a Sentinel-2 product. `file_values.convert_to_values` converts them to values.

    Args:
        bands: names of the bands, in the order of the files. If empty, the bands are named by their descriptions, their
            colours or their numbers (`band1`).
        pixel_size_m: side of a pixel on the ground. None: measured by the georeference of the tiles.
        landslide: value of landslides in the masks.

    Raises:
        DataError: masks contain fractions, colours, or only 0 and 255.
        TrainingRecipeError: no pairs, tiles of several pixel sizes, or a size that the tiles contradict.
    """
    from detection.imagery.raster.raster import inspect
    from detection.imagery.scene.scene import find_date

    root = folder / part if (folder / part).is_dir() else folder
    pairs = _pair_files(root)
    if not pairs:
        raise TrainingRecipeError(f"{root}: no pair of images/NAME.tif and masks/NAME.tif")
    _check_masks(root, [mask for _, mask in pairs], landslide)
    names = tuple(name_band(band) for band in bands or _name_bands(pairs[0][0]))
    patches = read_pairs(root, pairs, names, landslide=landslide)
    images = [image for image, _ in pairs][:: max(1, len(pairs) // INSPECTED_TILES)]
    dates = [find_date(image, {} if image.suffix.lower() == ".png" else inspect(image).tags) for image in images]
    # The months are known only if all tiles have a date.
    months = tuple(sorted({date.month for date in dates if date})) if all(dates) else ()
    return replace(patches, pixel_size_m=_measure_pixels(root, images, pixel_size_m), months=months)


def _measure_pixels(root: Path, images: list[Path], given_m: float | None) -> float | None:
    from detection.imagery.raster.areas import geodesic_pixel_m2
    from detection.imagery.raster.raster import read_grid

    sides_m = []
    for image in images:
        with suppress(NoCrsError, ImpossibleCrsError, NotARasterError):
            sides_m.append(geodesic_pixel_m2(read_grid(image)) ** 0.5)
    if not sides_m:
        return given_m
    low, middle, high = min(sides_m), median(sides_m), max(sides_m)
    if given_m is not None and not 1 / PIXEL_SIZE_RATIO_MOST <= given_m / middle <= PIXEL_SIZE_RATIO_MOST:
        raise TrainingRecipeError(
            f"data.pixel_size_m is {given_m:g} m, the tiles in {root} have pixels of {middle:.3g} m"
        )
    if high > PIXEL_SIZE_RATIO_MOST * low:
        raise TrainingRecipeError(
            f"{root}: tiles with pixels of {low:.3g} to {high:.3g} m; bring them to one size first"
        )
    return given_m or middle


def _pair_files(root: Path) -> list[tuple[Path, Path]]:
    if not root.is_dir():
        raise TrainingRecipeError(f"{root}: the recipe's data are absent; name their folder with --data")
    pairs = []
    for image in sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES):
        if image.parent.name.lower() != "images":
            continue
        candidates = [image.parent.parent / "masks" / f"{image.stem}{suffix}" for suffix in SUFFIXES]
        if mask := next((file for file in candidates if file.is_file()), None):
            pairs.append((image, mask))
    return pairs


def read_pairs(root: Path, pairs: list[tuple[Path, Path]], bands: tuple[str, ...], landslide: int = 1) -> Patches:
    """Return patches that read their image and mask files when they are needed."""
    checked = set[int]()  # positions of the pairs whose georeferences were compared

    def load(position: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        image_path, mask_path = pairs[position]
        image, valid = read_whole(image_path)
        labels = _read_labels(mask_path)
        if position not in checked:
            _check_same_place(image_path, mask_path)
            checked.add(position)
        mask = labels.astype(np.uint8)
        if landslide != 1:
            if (labels == 1).any():
                raise DataError(f"{mask_path}: mask value 1, although landslides have the value {landslide}")
            mask[labels == landslide] = 1
        if valid.shape == mask.shape:
            mask[~valid] = IGNORED
        calibration = _read_calibration(image_path)
        is_calibrated = (calibration.gain, calibration.offset) != (1.0, 0.0)
        if image.dtype != np.uint8 or is_calibrated:
            image = image.astype(np.float32)
        # `Patches.read` refuses an image with another number of bands.
        if is_calibrated and len(image) == len(bands):
            image[is_spectral] = image[is_spectral] * np.float32(calibration.gain) + np.float32(calibration.offset)
        if image.dtype != np.uint8:
            image[:, ~valid] = 0
        return image, mask

    is_spectral = np.array([name not in TERRAIN for name in bands])
    names = tuple(image.relative_to(root).with_suffix("").as_posix() for image, _ in pairs)
    return Patches(names, bands, load)


def _read_calibration(image: Path) -> CountCalibration:
    from detection.imagery.raster.raster import inspect

    if image.suffix.lower() == ".png":
        return CountCalibration()
    return read_calibration([image], [inspect(image)])


def _check_same_place(image: Path, mask: Path) -> None:
    """Refuse a mask whose georeference differs from that of its image, if both have one."""
    from detection.imagery.raster.raster import read_grid

    if ".png" in {image.suffix.lower(), mask.suffix.lower()}:
        return
    with suppress(NoCrsError, ImpossibleCrsError, NotARasterError):
        image_grid = read_grid(image)
        mask_grid = read_grid(mask)
        # The first and the last corner, as shares of the width and the height.
        for share in (0, 1):
            x, y = mask_grid.to_crs(np.array(share * mask_grid.width), np.array(share * mask_grid.height))
            column, row = image_grid.pixel_of(*map(float, mask_grid.to_lonlat(x, y)))
            columns_off = abs(column / image_grid.width - share) * mask_grid.width
            rows_off = abs(row / image_grid.height - share) * mask_grid.height
            shift_px = max(columns_off, rows_off)
            if shift_px > MASK_SHIFT_MOST_PX:
                raise DataError(f"{mask}: lies {shift_px:.3g} of its pixels beside its image; cut both from one grid")


def _read_labels(path: Path) -> NDArray[Any]:
    """Return the labels of a mask. Several bands must be equal; an alpha channel is ignored."""
    bands, valid = read_whole(path)
    # The last of two or four bands is alpha.
    if len(bands) in {2, 4}:
        bands = bands[:-1]
    if any(not np.array_equal(bands[0], band) for band in bands[1:]):
        raise DataError(
            f"{path}: a mask of {len(bands)} bands that differ (colours?); one band is needed: 0, 1 = landslide, "
            f"{IGNORED} = not known"
        )
    labels = bands[0]
    # Nodata pixels are not known, unless their value is a label: many masks declare 0 as nodata and mean background.
    labels = np.where(~valid & ~((labels >= 0) & (labels <= IGNORED)), IGNORED, labels)
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.round(labels)):
        share = labels[labels != np.round(labels)][0]
        raise DataError(f"{path}: mask value {share:g}: shares or probabilities are no classes; write 0 and 1")
    if np.any((labels < 0) | (labels > IGNORED)):
        raise DataError(f"{path}: mask values below 0 or over {IGNORED}")
    return np.asarray(labels)


def _check_masks(root: Path, masks: list[Path], landslide: int) -> None:
    """Refuse masks that contain only 0 and 255, because many programs write 255 for landslides."""
    if landslide == IGNORED:
        return
    has_ignored = False
    for mask in masks:
        labels = set(np.unique(_read_labels(mask)).tolist())
        if landslide in labels:
            return
        has_ignored |= IGNORED in labels
    if has_ignored:
        raise DataError(
            f"{root}: the masks contain only 0 and {IGNORED}. If {IGNORED} means landslide, set "
            f"`landslide = {IGNORED}` in [data] of the recipe, or --landslide {IGNORED}. In other masks "
            f"{IGNORED} means unknown"
        )


def read_whole(path: Path) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read a raster, georeferenced or not: bands x H x W, and H x W where all bands are valid."""
    from detection.imagery.raster.raster import PICTURE_PIXELS, decode_png
    from detection.imagery.raster.untrusted import RasterLimits, open_raster

    if path.suffix.lower() == ".png":
        try:
            image = decode_png(path.read_bytes())
        except OSError:
            raise DataError(f"{path}: no picture that can be read") from None
        except TooLargeError as error:
            raise DataError(f"{path}: {error}") from None
        return image, np.ones(image.shape[1:], bool)
    with open_raster(path, RasterLimits(pixels=PICTURE_PIXELS)) as source:
        return source.read(), np.asarray(source.read_masks().min(axis=0) > 0)


def _name_bands(path: Path) -> tuple[str, ...]:
    from detection.imagery.raster.raster import inspect

    if path.suffix.lower() == ".png":
        colours = PNG_CHANNELS.get(len(read_whole(path)[0]), ())
        return colours or ("grey",)
    facts = inspect(path)
    # Bands without a description are named by the colours that the file states.
    names = [
        name or (colour if colour in COLOURS else None)
        for name, colour in zip(facts.descriptions, facts.colours, strict=True)
    ]
    return tuple(name or f"band{number}" for number, name in enumerate(names, start=1))

"""Measure the shift between an older image and the newer one, and correct it."""

from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detection.imagery.change.images import DateImage
from detection.imagery.change.records import DateComparison, StoredDate
from detection.imagery.raster.grid import Grid
from detection.imagery.scene.registration import (
    ImageShift,
    ReadPair,
    measure_distortion,
    measure_shift,
    median_ratios,
)
from detection.reasons import Explanation, Reason

# If the shift between two images is larger than this, pixels, the older one is moved onto the newer one. The
# measurement cannot distinguish a smaller shift from none.
REGISTER_LEAST_PX = 0.25
# No change is claimed between two images whose remaining shift is larger than this, pixels.
SHIFT_MOST_PX = 1.5
# A larger shift, pixels, is not an error of geocoding. It is not corrected.
REGISTER_MOST_PX = 24.0
# Largest shift, pixels, that may remain after a correction. A correction that leaves more is not used.
REGISTERED_PX = 1.0
# The medians of this many bands are compared to find images of different seasons.
BANDS_MOST = 4


@dataclass(frozen=True, slots=True)
class Alignment:
    """Position of an older image relative to the newer one."""

    image: DateImage | None  # the older image, moved if its shift was corrected; None: it was not read
    shift: ImageShift | None = None  # between the images, after a correction; None: not measured
    corrected_shift: ImageShift | None = None  # that was corrected; None: none
    median_ratios: tuple[float, ...] | None = None  # of the bands, newer over older; None: not measured
    distortion_px: float | None = None  # at the corners, beyond the shift; None: not measured

    @property
    def is_close(self) -> bool:
        """Whether the shift is small enough to claim change. An unknown shift causes a caution only."""
        return self.shift is None or self.shift.px <= SHIFT_MOST_PX

    @property
    def tolerance_px(self) -> int:
        """Pixels by which outlines of unchanged ground may differ: one, plus the shift of the images, rounded up."""
        return 2 if self.shift is None else 1 + int(np.ceil(self.shift.px - 0.25))

    def to_record(self, older: StoredDate, cautions: tuple[Explanation, ...]) -> DateComparison:
        """Return the measurements as the record of a comparison with an older date."""
        return DateComparison(
            scene_hash=older.scene_hash,
            acquired_at=older.acquired_at,
            shift_px=None if self.shift is None else asdict(self.shift),
            median_ratios=self.median_ratios,
            cautions=cautions,
            claimed=self.is_close,
            registered_px=None if self.corrected_shift is None else asdict(self.corrected_shift),
        )


def align(newer: DateImage, older: StoredDate, grid: Grid, stack: ExitStack) -> Alignment:
    """Measure the shift of the image of an older date, and move the image if the shift is an error of geocoding.

    The image is not moved if that does not reduce the shift, or leaves more than `REGISTERED_PX`.

    Args:
        grid: grid on which the older image is read.
        stack: closes the files of the older image.

    Raises:
        ImageryError: an image cannot be read.
        KeyError: the images have no band in common.
    """
    alignment = measure_alignment(newer, stack.enter_context(DateImage(older, grid)))
    shift = alignment.shift
    if shift is None or not REGISTER_LEAST_PX < shift.px <= REGISTER_MOST_PX:
        return alignment
    moved = measure_alignment(newer, stack.enter_context(DateImage(older, move_grid(grid, shift))))
    if moved.shift is None or moved.shift.px > REGISTERED_PX or moved.shift.px >= shift.px:
        return alignment
    return replace(moved, corrected_shift=shift)


def measure_alignment(newer: DateImage, older: DateImage) -> Alignment:
    """Measure shift, distortion and the ratios of the bands of two images without moving them.

    Raises:
        ImageryError: an image cannot be read.
        KeyError: the images have no band in common.
    """
    names = list_common_bands(newer, older)
    if not names:
        raise KeyError("no band in common")
    read = pair_reader(newer, older, names[0])
    width, height = newer.grid.width, newer.grid.height
    shift = measure_shift(read, width, height, newer.edges.setdefault(names[0], {}))
    distortion_px = measure_distortion(read, width, height)
    newer_samples = [newer.sample(name) for name in names[:BANDS_MOST]]
    older_samples = [older.sample(name) for name in names[:BANDS_MOST]]
    valid = np.logical_and.reduce([part for _, part in (*newer_samples, *older_samples)])
    ratios = median_ratios(
        np.stack([values for values, _ in newer_samples]), np.stack([values for values, _ in older_samples]), valid
    )
    return Alignment(older, shift, median_ratios=ratios, distortion_px=distortion_px)


def list_common_bands(newer: DateImage, older: DateImage) -> list[str]:
    """Return the bands of both images, red first, then by name."""
    names = [name for name in newer.scene.bands if name in older.scene.bands]
    return sorted(names, key=lambda name: (name != "B4", name))


def pair_reader(newer: DateImage, older: DateImage, band: str) -> ReadPair:
    """Return a function that reads a window of a band of both images, and where both are valid."""

    def read(
        column: int, row: int, width: int, height: int
    ) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]]:
        newer_values, newer_valid = newer.read(band, column, row, width, height)
        older_values, older_valid = older.read(band, column, row, width, height)
        return newer_values, older_values, newer_valid & older_valid

    return read


def move_grid(grid: Grid, shift: ImageShift) -> Grid:
    """Return the grid on which an older image is read so that its pixels match those of the newer image."""
    return replace(grid, transform=grid.transform_at(-shift.columns, -shift.rows))


def describe_correction(alignment: Alignment, day: str) -> list[Reason]:
    """Return the warning that the image of a day was moved; none if it was not."""
    shift = alignment.corrected_shift
    if shift is None:
        return []
    return [Reason("change.registered", {"day": day, "shift": shift.px, "columns": shift.columns, "rows": shift.rows})]

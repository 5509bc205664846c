"""Stretch the counts of a scene to values like those of the training, as the card of the model states."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.errors import ModelError, NoValidPixelsError, RadiometryError
from detection.imagery.raster.areas import geodesic_pixel_m2
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.terrain import TERRAIN
from detection.imagery.raster.tiling import list_runs
from detection.imagery.scene.moments import LOCAL_STANDARD, Moments, interpolate, sum_blocks
from detection.imagery.scene.offsets import SENTINEL_OFFSET, find_missing_offset
from detection.imagery.scene.reader import BandReader
from detection.imagery.scene.white import COLOURS, is_measured_size
from detection.imagery.weights_file import ModelCard

# Greatest number of pixels of a strip in memory, and side of the windows in which tiled files are read instead.
STRIP_PX = 1 << 21
READ_SIDE_PX = 1536
# A sample consists of windows of this side, and has about this many pixels.
SAMPLE_SIDE_PX = 256
SAMPLE_PX = 1_000_000
# Stretches whose result depends on the pixels nearby.
LOCAL = "local-max", LOCAL_STANDARD
KINDS = ("reflectance", *LOCAL, "band-mean")
# Factor by which the median of a scene may be outside of the training range.
RANGE_FACTOR = 4.0
# A pixel is cloud or snow if it is brighter than the brightest training pixel by this factor in every band.
CLOUD_FACTOR = 1.3
# If values are shares of the brightest pixel nearby, a pixel is cloud if it is at least `CLOUD_LEAST` bright and has
# hardly any colour: the brightest minus the darkest of red, green and blue, divided by the brightest, is less than
# `CLOUD_COLOUR`. By this rule 0.01 % of the
# training pixels of `landslide4sense` are cloud, and 0.007 % of its landslide pixels. At 0.8 m (Bijie) 4.5 % of the
# landslide pixels are, so the rule is used at the pixel sizes of `white` only.
CLOUD_COLOUR = 0.08
CLOUD_LEAST = 0.35
SPECK_PX = 2  # a white area is a cloud if some pixel has only white pixels within this distance; else it is a speck
# A cloud blurs and shades the ground beside its white part. The ground in cells of this side that contain cloud, and in
# their neighbours, counts as affected.
CLOUD_CELL_PX = 16
NEIGHBOURS = np.ones((3, 3), bool)
# Reflectance below this is a fill value. Dark water can be slightly below 0 after an offset.
FLOOR = -0.1


@dataclass(frozen=True, slots=True)
class RadiometricStretch:
    """How the counts of one scene become model values. The stretch is the same for all tiles."""

    # per band, the factor for its counts; 1 for terrain. With a local stretch it only marks the spectral bands: 1 for
    # them, 0 for terrain.
    factors: NDArray[np.float32]
    # with a local stretch, the greatest value of any spectral band per block of `block_px`; else None
    maxima: NDArray[np.float32] | None = None
    block_px: int = 1  # side of those blocks
    ceilings: NDArray[np.float32] | None = None  # per band, the greatest possible value; None: not known
    # per band, a value that cloud and snow exceed in all bands, and ground in the training did not; None: not known
    clouds: NDArray[np.float32] | None = None
    # with a local stretch, the positions of red, green and blue, by which clouds are found; empty if they are missing
    colours: tuple[int, ...] = ()
    # for `local-standard`, the sums from which mean and standard deviation nearby follow; else None
    moments: Moments | None = None
    # offset that the product has added to all counts; it changes ratios, but not standardised values
    offset: float = 0.0
    cloud_share: float = 0.0  # share of the valid pixels that were left out of `moments` as clouds
    # windows of the scene (column, row, width, height) that contain clouds, or are next to such windows
    cloudy: tuple[tuple[int, int, int, int], ...] = ()
    can_find_clouds: bool = True  # whether the rule for clouds was measured on pixels of this size

    @property
    def cloud_margin_px(self) -> int:
        """Pixels that `find_clouds` needs around a part of a scene, because it treats pixels outside as white."""
        return 2 * SPECK_PX if self.colours and self.can_find_clouds else 0

    def find_plausible(self, values: NDArray[np.float32]) -> NDArray[np.bool_] | None:
        """Return where stretched values (bands x H x W) are possible; None if all are, or if no limits are known.

        After a flipped bit or in a damaged block, the reflectance is higher than that of any ground. A fill value is a
        reflectance below 0.
        """
        if self.ceilings is None or self.clouds is None:
            return None
        spectral = np.isfinite(self.ceilings)
        shown = values if spectral.all() else values[spectral]
        ceilings, clouds = self.ceilings[spectral], self.clouds[spectral]
        highest, lowest = shown.max(axis=(1, 2)), shown.min(axis=(1, 2))
        if (highest <= ceilings).all() and (highest <= clouds).any() and (lowest >= FLOOR).all():
            return None
        good = (shown <= ceilings[:, None, None]).all(axis=0) & (shown >= FLOOR).all(axis=0)
        return np.asarray(good & (shown <= clouds[:, None, None]).any(axis=0))

    def find_clouds(
        self, values: NDArray[np.float32], counts: NDArray[np.float32], column: int, row: int
    ) -> NDArray[np.bool_] | None:
        """Return where a part of the scene is cloud: bright and white over more than a speck; None without clouds.

        Local stretches remove the brightness. With the other stretches `find_plausible` finds clouds. The network reads
        cloudy pixels, as in its training, and its results for them are removed.

        Args:
            values: stretched, bands x H x W.
            counts: of the same pixels.
            column: of the first pixel in the scene.
            row: of the first pixel in the scene.
        """
        if not (self.colours and self.can_find_clouds):
            return None
        shown = self.restore_ratios(values, counts, column, row)[list(self.colours)]
        white = (shown.min(axis=0) >= CLOUD_LEAST) & _is_white(shown)
        if not white.any():
            return None
        # `_erode` treats pixels outside of the part as white, because the edge of a part is no edge of a cloud
        core = _erode(white)
        return ~_erode(~core) if core.any() else None

    def restore_ratios(
        self, values: NDArray[np.float32], counts: NDArray[np.float32], column: int, row: int
    ) -> NDArray[np.float32]:
        """Return values with meaningful ratios: the stretched values, or shares of the brightest pixel nearby.

        The ratios of standardised values mean nothing. For the arguments see `find_clouds`.
        """
        if self.moments is None:
            return values
        return self._divide_by_brightest(counts - np.float32(self.offset), column, row)

    def apply(
        self, values: NDArray[np.float32], column: int, row: int, *, may_overwrite: bool = False
    ) -> NDArray[np.float32]:
        """Stretch a part of the scene, bands x H x W.

        Args:
            values: counts.
            column: of the first pixel in the scene.
            row: of the first pixel in the scene.
            may_overwrite: the caller does not need `values` any more, so they may be overwritten.
        """
        if self.moments is not None:
            spectral = self.factors > 0
            if spectral.all():
                return self.moments.standardise(values, column, row)
            stretched = np.array(values, np.float32)
            stretched[spectral] = self.moments.standardise(values[spectral], column, row)
            return stretched
        if self.maxima is not None:
            return self._divide_by_brightest(values, column, row)
        return np.multiply(values, self.factors[:, None, None], out=values if may_overwrite else None)

    def _divide_by_brightest(self, values: NDArray[np.float32], column: int, row: int) -> NDArray[np.float32]:
        assert self.maxima is not None
        height, width = values.shape[1:]
        brightest = interpolate(self.maxima, (row, height), (column, width), self.block_px)
        spectral = self.factors > 0
        stretched = np.array(values, np.float32)
        stretched[spectral] = np.clip(values[spectral] / brightest, 0, 1)
        return stretched


def measure_stretch(
    reader: BandReader, card: ModelCard, scale: float | None = None, progress: Callable[[float], None] = lambda _: None
) -> RadiometricStretch:
    """Measure the stretch of a scene.

    - `reflectance` multiplies by a constant, or by one constant per band. A sample of the scene is compared with the
      training range.
    - `local-max` divides by the brightest value nearby, interpolated between blocks of the size of the training
      patches. Each patch of the training was stretched in this way. The scene is read once.
    - `local-standard` subtracts the mean nearby from each band and divides by its standard deviation nearby, which
      removes any offset, factor and linear stretch of a band.
    - `band-mean` multiplies every band, also terrain, so that its mean is that of the training. It is for models whose
      training patches were divided by unknown constants. With `scale` it is the same as `reflectance`.

    Except with `band-mean`, bands of terrain are not changed.

    Args:
        reader: the scene.
        card: of the model.
        scale: replaces the constant of the card. The scene is then not compared with the training range.
        progress: receives the share of the scene that was read.

    Raises:
        NoValidPixelsError: no pixel is valid.
        RadiometryError: medians are far outside of the training range, usually because of a wrong scale.
        ModelError: the card names an unknown stretch, or ranges of other bands.
    """
    kind = card["radiometry"]["stretch"]
    if kind not in KINDS:
        raise ModelError(f"the card of {card['name']} names the unknown stretch {kind!r}")
    spectral = np.array([name not in TERRAIN for name in reader.names])
    if kind not in LOCAL:
        return _multiply_bands(reader, card, spectral, scale)
    block_px = int(card["radiometry"].get("block_px", 128))
    colours = tuple(reader.names.index(name) for name in COLOURS) if set(COLOURS) <= set(reader.names) else ()
    is_standard = kind == LOCAL_STANDARD
    can_find_clouds = is_measured_size(find_pixel_m(reader.grid))
    offset = 0.0
    if is_standard and find_missing_offset(sample_pixels(reader)[spectral]):
        offset = -SENTINEL_OFFSET
    blocks = _measure_blocks(
        reader, spectral, block_px, progress, colours if is_standard else (), offset, sums=is_standard
    )
    if not blocks.moments.count.any():
        raise NoValidPixelsError(reader.explain_empty())
    if not (blocks.maxima > 0).any():
        raise RadiometryError("no value lies above 0: decibels or an index, not the brightness of an image")
    # blocks without a valid pixel have the value of the nearest block with one
    nearest = ndimage.distance_transform_edt(blocks.maxima <= 0, return_distances=False, return_indices=True)
    factors, maxima = spectral.astype(np.float32), np.asarray(blocks.maxima[tuple(nearest)])
    if not is_standard:
        return RadiometricStretch(factors, maxima, block_px, colours=colours, can_find_clouds=can_find_clouds)
    if offset:
        maxima = np.maximum(maxima - np.float32(offset), np.float32(1))
    stretch = RadiometricStretch(
        factors,
        maxima,
        block_px,
        colours=colours,
        moments=blocks.moments,
        offset=offset,
        can_find_clouds=can_find_clouds,
    )
    return _leave_out_clouds(reader, stretch, blocks)


def _multiply_bands(
    reader: BandReader, card: ModelCard, spectral: NDArray[np.bool_], scale: float | None
) -> RadiometricStretch:
    """Return the stretch `reflectance` or `band-mean`: one factor per band for the whole scene."""
    if card["radiometry"]["stretch"] == "band-mean" and scale is None:
        means = sample_pixels(reader).mean(axis=1, dtype=np.float64)
        for name, mean in zip(card["bands"], means, strict=True):
            if not mean > 0:
                raise RadiometryError(f"band {name}: mean {mean:.4g} cannot be scaled to that of the training")
        factors = np.asarray(np.array(card["normalisation"]["mean"]) / means, np.float32)
    else:
        stated = np.asarray(card["radiometry"]["scale"] if scale is None else scale, np.float32)
        factors = np.where(spectral, stated, np.float32(1)).astype(np.float32)
        if scale is None:
            _check_range(sample_pixels(reader), factors, card)
    highs = np.array([high for _, high in card["normalisation"]["value_range"]], np.float32)
    ceilings = np.where(spectral, RANGE_FACTOR * highs, np.inf).astype(np.float32)
    clouds = np.where(spectral, CLOUD_FACTOR * highs, np.inf).astype(np.float32)
    return RadiometricStretch(factors, ceilings=ceilings, clouds=clouds)


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Measurements of the blocks of a scene, rows x columns of blocks."""

    maxima: NDArray[np.float32]  # brightest value of any spectral band; 0 if none is above 0
    moments: Moments  # only `count` is set unless the stretch is `local-standard`
    whitest: NDArray[np.float32]  # darkest colour of the brightest white pixel; 0 without white pixels


def _measure_blocks(
    reader: BandReader,
    spectral: NDArray[np.bool_],
    block_px: int,
    progress: Callable[[float], None],
    colours: tuple[int, ...],
    offset: float,
    *,
    sums: bool,
) -> _Blocks:
    width, height = reader.grid.width, reader.grid.height
    shape, bands = (-(-height // block_px), -(-width // block_px)), int(spectral.sum())
    maxima, whitest = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    moments = Moments(np.zeros(shape), np.zeros((bands, *shape)), np.zeros((bands, *shape)), block_px)
    for column, row, wide, high in _cut_windows(reader, block_px):
        values, valid = reader.read(column, row, wide, high)
        shown = values[spectral]
        blocks = _find_brightest(shown.max(axis=0), block_px)
        part = _find_blocks(column, row, blocks.shape, block_px)
        maxima[part] = np.maximum(blocks, 0)
        if colours:
            light = values[list(colours)] - np.float32(offset)
            whitest[part] = _find_brightest(np.where(_is_white(light) & valid, light.min(axis=0), 0), block_px)
        if sums:
            _set_sums(moments, part, shown, valid)
        else:
            moments.count[part] = sum_blocks(valid.astype(np.float64), block_px)
        progress(min(1.0, (row + high) / height))
    return _Blocks(maxima, moments, whitest)


def _leave_out_clouds(reader: BandReader, stretch: RadiometricStretch, blocks: _Blocks) -> RadiometricStretch:
    """Remove clouds from mean and standard deviation. Otherwise all ground next to a cloud would be equally dark.

    Only blocks that may contain clouds are read again. If the whole scene is cloud, the sums are not changed.
    """
    assert stretch.maxima is not None
    moments = blocks.moments
    block_px = stretch.block_px
    clear = Moments(moments.count.copy(), moments.total.copy(), moments.square.copy(), block_px)
    least_maxima = ndimage.minimum_filter(stretch.maxima, 3, mode="nearest")  # of the neighbouring blocks
    width, height = reader.grid.width, reader.grid.height
    cells = np.zeros((-(-height // CLOUD_CELL_PX), -(-width // CLOUD_CELL_PX)), bool)
    may_be_cloudy = (blocks.whitest > 0) & (blocks.whitest >= 0.99 * CLOUD_LEAST * least_maxima)
    for column, row, wide, high in _cut_windows(reader, block_px):
        part = _find_blocks(column, row, (-(-high // block_px), -(-wide // block_px)), block_px)
        if not may_be_cloudy[part].any():
            continue
        counts, valid = reader.read(column, row, wide, high)
        if (clouds := stretch.find_clouds(counts, counts, column, row)) is not None:
            _set_sums(clear, part, counts[stretch.factors > 0], valid & ~clouds)
            rows, columns = np.nonzero(clouds)
            cells[(rows + row) // CLOUD_CELL_PX, (columns + column) // CLOUD_CELL_PX] = True
    cloudy = tuple(list_runs(ndimage.binary_dilation(cells, NEIGHBOURS), CLOUD_CELL_PX, width, height))
    cloud_share = float(1 - clear.count.sum() / moments.count.sum())
    if not 0 < cloud_share < 1:
        return replace(stretch, cloud_share=cloud_share, cloudy=cloudy)
    # blocks that are all cloud get the sums of the nearest block with clear ground
    all_cloud = (clear.count == 0) & (moments.count > 0)
    nearest = tuple(ndimage.distance_transform_edt(clear.count == 0, return_distances=False, return_indices=True))
    for sums in (clear.total, clear.square, clear.count[None]):
        sums[:, all_cloud] = sums[(slice(None), *nearest)][:, all_cloud]
    return replace(stretch, moments=clear, cloud_share=cloud_share, cloudy=cloudy)


def _cut_windows(reader: BandReader, block_px: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield windows of whole blocks over a scene: column, row, width, height.

    The windows are strips. If the files are tiled and a strip would be too large, they are squares, so that no tile is
    decoded for several strips. Memory depends neither on width nor on height.
    """
    width, height = reader.grid.width, reader.grid.height
    wide, high = width, max(1, STRIP_PX // width // block_px) * block_px
    if reader.in_tiles and width * high > STRIP_PX:
        wide = high = max(1, READ_SIDE_PX // block_px) * block_px
    for row in range(0, height, high):
        for column in range(0, width, wide):
            yield column, row, min(wide, width - column), min(high, height - row)


def _find_blocks(column: int, row: int, shape: tuple[int, ...], block_px: int) -> tuple[slice, slice]:
    top, left = row // block_px, column // block_px
    return slice(top, top + shape[0]), slice(left, left + shape[1])


def _find_brightest(values: NDArray[np.float32], block_px: int) -> NDArray[np.float32]:
    rows, columns = (np.arange(0, side, block_px) for side in values.shape)
    return np.asarray(np.maximum.reduceat(np.maximum.reduceat(values, rows, axis=0), columns, axis=1))


def _set_sums(
    moments: Moments, part: tuple[slice, slice], shown: NDArray[np.float32], valid: NDArray[np.bool_]
) -> None:
    moments.count[part] = sum_blocks(valid.astype(np.float64), moments.block_px)
    for band, values in enumerate(shown):
        valid_values = np.where(valid, values, 0).astype(np.float64)
        moments.total[(band, *part)] = sum_blocks(valid_values, moments.block_px)
        moments.square[(band, *part)] = sum_blocks(valid_values * valid_values, moments.block_px)


def _erode(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return where all pixels within `SPECK_PX` are marked; pixels outside of the array count as marked.

    `ndimage.binary_erosion` takes thirty times as long.

    >>> _erode(np.pad(np.ones((5, 5), bool), ((0, 3), (0, 3)))).astype(int).sum(axis=0).tolist()
    [3, 3, 3, 0, 0, 0, 0, 0]
    """
    for axis in (0, 1):
        lines = np.moveaxis(mask, axis, 0)
        eroded = np.moveaxis(mask.copy(), axis, 0)
        for step in range(1, SPECK_PX + 1):
            eroded[step:] &= lines[:-step]
            eroded[:-step] &= lines[step:]
        mask = np.moveaxis(eroded, 0, axis)
    return mask


def _is_white(light: NDArray[np.float32]) -> NDArray[np.bool_]:
    brightest = light.max(axis=0)
    return np.asarray(brightest - light.min(axis=0) < CLOUD_COLOUR * brightest)


def find_pixel_m(grid: Grid) -> float | None:
    """Return the side of a pixel on the ground, metres; None if the grid has no place on the ground."""
    return geodesic_pixel_m2(grid) ** 0.5 if grid.placed else None


def sample_pixels(reader: BandReader) -> NDArray[np.float32]:
    """Return valid pixels, bands x n, from windows that are spread evenly over the scene.

    If these windows contain no valid pixel, all windows are read.

    Raises:
        NoValidPixelsError: no pixel of the scene is valid.
    """
    width, height = reader.grid.width, reader.grid.height
    every = max(1, int(np.sqrt(width * height / SAMPLE_PX)))
    for step, thin in dict.fromkeys(((every, 1 + (every > 1)), (1, every))):
        samples = []
        for row in range(0, height, SAMPLE_SIDE_PX * step):
            for column in range(0, width, SAMPLE_SIDE_PX * step):
                wide, high = min(SAMPLE_SIDE_PX, width - column), min(SAMPLE_SIDE_PX, height - row)
                values, valid = reader.read(column, row, wide, high)
                samples.append(values[:, ::thin, ::thin][:, valid[::thin, ::thin]])
        sample = np.concatenate(samples, axis=1)
        if sample.size:
            return np.asarray(sample)
    raise NoValidPixelsError(reader.explain_empty())


def _check_range(sample: NDArray[np.float32], factors: NDArray[np.float32], card: ModelCard) -> None:
    ranges = card["normalisation"]["value_range"]
    if len(ranges) != len(factors):
        raise ModelError(f"the card of {card['name']} has ranges of other bands")
    for name, band, factor, (low, high) in zip(card["bands"], sample, factors, ranges, strict=True):
        least, most = low / RANGE_FACTOR, high * RANGE_FACTOR
        values = band * factor
        # the median is in the range if more than half of the values are; counting is ten times as fast as the median
        if name in TERRAIN or 2 * np.count_nonzero((values >= least) & (values <= most)) > values.size:
            continue
        median = np.median(values)
        if not least <= median <= most:
            raise RadiometryError(
                f"band {name}: median {median:.4g} after the scale of {card['name']}, which was trained on "
                f"{low:.4g} to {high:.4g}; give `scale` if the values have another unit"
            )

"""The domain of a network: what its training tiles look like, and whether a scene looks like them.

The card of weights contains quantiles of the statistics of the training tiles (`describe_training`). The statistics of
windows of a scene are compared with these quantiles (`find_doubts`), and with limits that hold for any photograph of
ground (`check_ground`). A scene is refused (DomainError) if at least `REFUSED_SHARE` of its windows are impossible, and
doubted if more than `OUTSIDE_SHARE` of its windows are outside of the training.
"""

from calendar import month_name
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.degrade import NOISE_COUNTS
from detection.imagery.data.patches import Patches, as_values
from detection.imagery.errors import DomainError, FinerPixelsError
from detection.imagery.raster.areas import geodesic_pixel_m2, pixel_sides_m
from detection.imagery.raster.terrain import TERRAIN
from detection.imagery.scene.offsets import COUNT, find_landsat, find_missing_offset
from detection.imagery.scene.radiometry import RadiometricStretch
from detection.imagery.scene.reader import BandReader
from detection.imagery.scene.white import COLOURS
from detection.imagery.training.windows import (
    NOISE_SLACK,
    WindowStatistics,
    collect,
    compare_green,
    compare_red_with_green,
    correlate_steps,
    has_tested_noise,
    list_contrasts,
    measure_colour,
    measure_contrast,
    measure_window,
    pick_valid,
)
from detection.imagery.weights_file import ModelCard, Steadiness, TrainingDomain
from detection.reasons import Explanation, Reason

# Number of windows of a scene along each side.
WINDOWS: Final = 5
LEAST_VALID_SHARE: Final = 0.5  # windows with a smaller share of valid pixels are not measured
LEAST_SIDE_PX: Final = 16  # smaller windows are not measured
# At least this many training tiles are measured, evenly spread over the set, or all of fewer.
MEASURED_TILES: Final = 300
# With at least this many tiles, the 1 % and 99 % quantiles leave out a tile.
TILES_FOR_QUANTILES: Final = 100
# Pixels of pictures from aircraft and drones are smaller than this.
AERIAL_MOST_M: Final = 5.0
REFUSED_SHARE: Final = 0.75
OUTSIDE_SHARE: Final = 0.5
# How far a window may lie beyond the 1 % and 99 % quantiles of the training. These are factors, except `ORDER_SLACK`,
# which is a difference of correlations.
MEDIAN_SLACK: Final = 1.5
SPREAD_SLACK: Final = 2.0
CONTRAST_SLACK: Final = 0.8
CRISPNESS_SLACK: Final = 0.85  # a scene was warped once more than the patches of its training
# Brown ground and drawn scenes have less bright detail and less colour than 99 % of the training tiles, but more than
# half of the limit. A negative has no bright detail.
DETAIL_SLACK: Final = 0.5
ORDER_SLACK: Final = 0.15
# A picture beyond the limits of crispness and grain of the training can be read as advice up to these limits. Beyond
# them it is no photograph of ground. Measured pictures that were resampled between their pixels have a crispness of
# 0.82 and more, those blurred by 0.7 px 0.76, a hillshade 0.5. Of 1,330 training pictures one has a grain beyond 1.07
# of the limit; of radar images that no other check finds, 90 % have.
BLURRED_LEAST: Final = 0.7
EVEN_MOST: Final = 1.07
DECIMALS_MOST: Final = 9  # decimals of a value in a message, see `_format_apart`
# Limits beyond which no network can read a scene.
UNIT_RATIO: Final = 3.0  # ratio of medians to those of the training from which the unit is another one
PIXEL_RATIO_MOST: Final = 4.0  # ratio of pixel sizes
# Correlation of neighbouring pixels: ground has more at any scale, noise has about 0.
SMOOTHNESS_LEAST: Final = 0.3
# The same limit for weights whose card describes their training: scenes between both limits are doubted, not refused.
SMOOTHNESS_READ: Final = 0.2
CONTRAST_LEAST: Final = 0.2  # fog, cloud, snow and constants have less
CONTRAST_FLOOR: Final = 0.02  # constants have less; the least limit, even if the training has less contrast
NEGATIVE_MOST: Final = 0.2  # share of values below 0; decibels and indices have more
# Limit of `measure_colour`: ground is hardly ever below 0.1 (Landslide4Sense: 0.08 and more in 500 tiles, Bijie: 0.106
# and more in 280 crops); cloud and snow have 0.03.
COLOUR_LEAST: Final = 0.06
TROPIC_DEG: Final = 23.4
# Months with snow, bare trees and a low sun outside of the tropics.
WINTER: Final = (11, 12, 1, 2, 3)
SOUTHERN_WINTER: Final = (5, 6, 7, 8, 9)
SAME: Final = 0.9999  # correlation of bands that are copies of each other
# Correlation of bands of an image in one tint. The training tiles of `bijie` at half, once and twice the size that the
# network learnt, and those of `landslide4sense-standard`, have 0.991 at most. Radar with the same speckle in every
# channel has 0.999, a grey picture in one tint 0.996 and more.
ALIKE: Final = 0.995
# Share of pixels that repeat their neighbour. 99 % of the training windows of both shipped weights have less than 0.2.
# A drawn map has half and more, and a picture saved at the least quality of JPEG has a third.
REPEATS_MOST: Final = 0.3
# Red with less contrast than this share of that of blue is exchanged with it. None of 1,827 measured tiles
# (Landslide4Sense, Bijie, Hokkaido at 3 m and 10 m) has less, neither of the spread nor of the spread over the median.
SWAPPED_MOST: Final = 0.8
# Least `levels` of a picture of eight bits; none of 1,330 training pictures of both weights has less.
LEVELS_LEAST: Final = 12.0
# Correlations that are this far below the least of the training show that bands are not those of their names, or are
# channels of radar.
CORRELATION_DROP: Final = 0.6
STEPS_DROP: Final = 0.3
# Codes of doubts about the quality of a scene that other modules recognise.
INTERPOLATED: Final = "domain.interpolated"
NOISY: Final = "domain.noisy"
# A scene with these doubts alone is read, as advice.
READABLE: Final = frozenset({INTERPOLATED, NOISY, "domain.even", "domain.neighbours", "domain.noisy_steps"})
_STEPS: Final = "steps from pixel to pixel correlate by {seen} between bands, trained on {limit}"
_BANDS: Final = "correlation of bands {seen}, trained on {limit} and more"
_EVEN: Final = "the grain is as even as {seen}, trained on {limit} at most: speckle of radar or noise?"
_DRAWN: Final = "steps differ by {} from the next, trained on {} and more: blurred or drawn?"
_SMEARED: Final = "one direction is {seen} times as crisp as that across it, trained on {limit}: did the camera move?"
_DARK: Final = (
    "fine detail is bright by {seen}, trained on {limit} and more: a negative, or other pixels than the file says?"
)
_GREY: Final = (
    "steps have {seen} of the colour of the image, trained on {limit} and more: finer pixels than the file says?"
)
PICTURE: Final = "uint8"  # type of the counts of a picture of eight bits
# Ratio of the sides of pixels up to which smear is checked: an image warped to oblong pixels is softer along them.
OBLONG_MOST: Final = 1.1
# Share of cloud in a scene from which its brightness is compared with the training although the stretch removes it.
CLOUDY: Final = 0.02


def describe_training(
    patches: Patches, pixel_size_m: float, undated: str, *, reflectance: bool = False
) -> dict[str, Any]:
    """Describe the training tiles for the card of a model (`TrainingDomain`).

    The description contains quantiles over the measured tiles: `median` and `spread` are the 1 % and 99 % quantiles by
    band. A name that ends in `_least` is the 1 % quantile of a statistic of `WindowStatistics`, and a name that ends in
    `_most` is the 99 % quantile.

    Args:
        patches: in model values.
        pixel_size_m: side of their pixels on the ground.
        undated: why their season is not known, if they do not state their months.
        reflectance: whether their values are counts of reflectance divided by 10000. The counts may have an offset.
    """
    spectral = [position for position, name in enumerate(patches.bands) if name not in TERRAIN]
    bands = [patches.bands[position] for position in spectral]
    windows: list[WindowStatistics] = []
    types: set[str] = set()
    samples: list[NDArray[np.float32]] = []
    for position in range(0, len(patches), max(1, len(patches) // MEASURED_TILES)):
        image = patches.read(position).image
        types.add(image.dtype.name)
        tile = as_values(image)[spectral]
        windows.append(measure_window(tile, np.ones(tile.shape[1:], bool)))
        samples.append(tile.reshape(len(spectral), -1)[:, ::17])
    limits_of_counts: dict[str, Any] = {}
    if reflectance:
        limits_of_counts = {
            "counts_as_they_came": any(
                find_missing_offset(sample / COUNT) or find_landsat(sample / COUNT) for sample in samples
            ),
            "contrast_least": _find_quantile([measure_contrast(window) for window in windows], 0.01),
        }
    quantiles = np.quantile(np.concatenate(samples, axis=1), [0.01, 0.05, 0.5, 0.95, 0.99], axis=1).T
    return {
        "tiles": len(windows),
        "bands": bands,
        "types": sorted(types),
        "pixel_size_m": pixel_size_m,
        "season": list(patches.months) or None,
        "season_note": None if patches.months else undated,
        "quantiles": {"of": [0.01, 0.05, 0.5, 0.95, 0.99], "by_band": np.round(quantiles, 5).tolist()},
        "median": _find_range(collect(windows, "median")),
        "spread": _find_range(collect(windows, "spread")),
        **{
            f"{name}_least": _find_quantile(collect(windows, name), 0.01)
            for name in ("correlation", "smoothness", "crispness")
        },
        "steps_least": _find_quantile([correlate_steps([window]) for window in windows], 0.01),
        "grain_most": _find_quantile(collect(windows, "grain"), 0.99),
        **limits_of_counts,
        **_describe_narrow_limits(bands, windows, pixel_size_m),
    }


def _find_quantile(values: Sequence[float] | NDArray[np.float64], share: float) -> float:
    return round(float(np.quantile(values, share)), 4)


def _find_range(values: NDArray[np.float64]) -> list[list[float]]:
    """Return the 1 % and 99 % quantiles of windows x bands, per band."""
    quantiles = np.quantile(values, [0.01, 0.99], axis=0).T
    return [[round(float(value), 5) for value in pair] for pair in quantiles]


def _describe_narrow_limits(
    bands: Sequence[str], windows: list[WindowStatistics], pixel_size_m: float
) -> dict[str, float]:
    """Return the limits that are close to the usual values of ground.

    Few tiles give no such limits, because the scenes of the training themselves would be doubted. The limits that
    recognise a moving camera, and red exchanged with green, are only for pictures from aircraft: satellite images have
    neither fault.

    Args:
        bands: names of the spectral bands.
        windows: statistics of the tiles.
        pixel_size_m: side of a pixel on the ground.
    """
    if len(windows) < TILES_FOR_QUANTILES:
        return {}
    is_aerial = pixel_size_m < AERIAL_MOST_M
    statistics: dict[str, NDArray[np.float64]] = {"colour_least": collect(windows, "colour")}
    detail = collect(windows, "detail")
    if float(np.quantile(detail, 0.01)) > 0:
        statistics["detail_least"] = detail
    if is_aerial and {"B4", "B3"} <= set(bands):
        statistics["red_over_green_least"] = compare_red_with_green(bands, windows)
    if set(COLOURS) <= set(bands):
        green = compare_green(bands, windows)
        if float(np.quantile(green, 0.01)) > 0:
            statistics["green_least"] = green
    with np.errstate(invalid="ignore"):
        limits = {name: _find_quantile(values, 0.01) for name, values in statistics.items()}
    # An infinite statistic, such as the colour of grey pictures, is no limit.
    smear = {"smear_most": _find_quantile(collect(windows, "smear"), 0.99)} if is_aerial else {}
    return smear | {name: limit for name, limit in limits.items() if np.isfinite(limit)}


def find_doubts(
    reader: BandReader,
    stretch: RadiometricStretch,
    card: ModelCard,
    original: tuple[BandReader, RadiometricStretch] | None = None,
) -> list[Explanation]:
    """Return why a scene is outside of the training of a network; empty if it is inside, or if the card has no domain.

    Args:
        reader: the bands of the model, in its order, on the pixels that the network reads.
        stretch: of these pixels.
        card: of the weights.
        original: the scene on its own pixels, and its stretch there, if the network reads resampled pixels. Texture is
            measured on both, because resampled pixels are smoother than the image.

    Raises:
        DomainError: the network cannot map the scene. The message contains the measured value.
    """
    domain = card.get("domain")
    if domain is None:
        return []
    _check_pixel_size(reader, domain)
    original_windows = check_ground(*original, card, domain)[0] if original else []
    windows, missing_offset = check_ground(reader, stretch, card, domain)
    if not windows:
        return []
    if domain.get("counts_as_they_came") or stretch.offset:
        # The training has the same counts, or the stretch removes offsets.
        missing_offset = None
    # A stretch by local mean and deviation removes brightness and contrast, but a cloud makes the other ground of its
    # neighbourhood dark.
    compares_brightness = stretch.moments is None or stretch.cloud_share > CLOUDY
    order = _compare_order(windows, domain)
    if original_windows:
        order |= _compare_order(original_windows, domain)
    doubts: list[Explanation] = [missing_offset] if missing_offset else []
    if compares_brightness:
        doubts += _compare_brightness(windows, domain)
    doubts += order.values()
    windows_by_grid = [measured for measured in (original_windows, windows) if measured]
    image = original[0] if original else reader
    doubts += _check_texture(windows_by_grid, domain, is_picture=image.spectral_types == {PICTURE})
    doubts += list_noise_doubts(windows_by_grid[0], card.get("steadiness"))
    if not image.grid.placed or max(sides := pixel_sides_m(image.grid)) <= OBLONG_MOST * min(sides):
        doubts += _compare_with_limit(windows_by_grid[0], domain, "smear_most", _SMEARED.format)
    for key, template in (("detail_least", _DARK), ("colour_least", _GREY)):
        doubts += _compare_with_limit(windows, domain, key, template.format, DETAIL_SLACK)
    # Stretches with moments remove the factor of a band.
    if stretch.moments is None:
        doubts += _check_green(windows, domain)
    return doubts + _check_red_and_blue(windows, domain)


def find_other_types(reader: BandReader, stretch: RadiometricStretch, card: ModelCard) -> list[Reason]:
    """Return a doubt if weights that were trained only on pictures of eight bits are given counts of another type.

    A stretch with a fixed factor converts such counts to the values of a picture only by chance. Stretches that divide
    by nearby values have no fixed factor.
    """
    trained = set((card.get("domain") or {}).get("types", ()))
    others = reader.spectral_types - trained
    if trained != {PICTURE} or stretch.maxima is not None or not others:
        return []
    return [Reason("domain.types", {"types": tuple(sorted(others)), "trained": PICTURE})]


def check_ground(
    reader: BandReader, stretch: RadiometricStretch, card: ModelCard, domain: TrainingDomain | None = None
) -> tuple[list[WindowStatistics], str | None]:
    """Measure windows of a scene and check that they can be an image of ground.

    Args:
        domain: description of the training of a network. None: only the limits are checked that hold for any map, such
            as a map by an index.

    Returns:
        The statistics of the windows, and the offset or product that the counts seem to have; None if they have none.

    Raises:
        DomainError: the values are no image of ground (noise, no contrast, decibels, clouds, one grey image), or have
            another unit or other bands than the training.
    """
    windows: list[WindowStatistics] = []
    negative_shares: list[float] = []
    samples: list[NDArray[np.float32]] = []
    colours: list[float] = []
    spectral = [position for position, name in enumerate(reader.names) if name not in TERRAIN]
    colour_positions = [spectral.index(position) for position in stretch.colours or _list_colours(reader, domain)]
    for counts, values, declared_valid, valid in _read_windows(reader, stretch, card):
        # Pixels that are left out as cloud count here.
        if colour_positions:
            colours.append(measure_colour(pick_valid(counts[colour_positions], declared_valid)))
        if valid.mean() < LEAST_VALID_SHARE:
            continue
        windows.append(measure_window(values, valid, counts))
        valid_counts = pick_valid(counts, valid)
        negative_shares.append(float((valid_counts < 0).mean()))
        samples.append(valid_counts[:, ::7])
    missing_offset = None
    if windows:
        if domain is None:
            _refuse_nonsense(windows, negative_shares, CONTRAST_LEAST, SMOOTHNESS_LEAST)
        else:
            _refuse_nonsense(windows, negative_shares, _find_least_contrast(domain), SMOOTHNESS_READ)
            _refuse_other_values(windows, domain, compares_brightness=stretch.moments is None)
        sample = np.concatenate(samples, axis=1)
        missing_offset = find_missing_offset(sample) or find_landsat(sample)
    if colours and not missing_offset and np.mean(np.array(colours) < COLOUR_LEAST) >= REFUSED_SHARE:
        cause = "cloud, snow, a grey image, or counts whose offset is missing"
        raise DomainError(f"red, green and blue differ by {np.median(colours):.0%} only: {cause}")
    return windows, missing_offset


def _list_colours(reader: BandReader, domain: TrainingDomain | None) -> list[int]:
    """Return the positions of red, green and blue, if weights were trained on pictures; else an empty list."""
    if domain is None or set(domain.get("types", ())) != {PICTURE} or not set(COLOURS) <= set(reader.names):
        return []
    return [reader.names.index(name) for name in COLOURS]


def find_season(domain: TrainingDomain, month: int, latitude: float | None) -> Explanation | None:
    """Return a doubt if a scene was taken more than a month away from the months of the training.

    If those are not known, scenes outside of the tropics are doubted in the months of winter.

    Args:
        month: of the scene, 1 to 12.
        latitude: of the centre of the scene; None if its position is not known.

    >>> print(find_season({"season": [5, 6]}, 12, 46.0))
    domain.months: month=December, months=[May, June]
    >>> find_season({"season": [5, 6]}, 7, 46.0) is None, find_season({"season": None}, 12, 5.0) is None
    (True, True)
    """
    if months := domain.get("season"):
        if (
            min((month - trained) % 12 for trained in months) <= 1
            or min((trained - month) % 12 for trained in months) <= 1
        ):
            return None
        names = tuple(month_name[trained] for trained in months)
        return Reason("domain.months", {"month": month_name[month], "months": names})
    if latitude is None or abs(latitude) <= TROPIC_DEG or month not in (WINTER if latitude > 0 else SOUTHERN_WINTER):
        return None
    note = domain.get("season_note") or "the card does not say"
    return (
        f"taken in {month_name[month]}; the season of the training is not known ({note}): snow, bare trees and long "
        "shadows may mislead the network"
    )


def _read_windows(
    reader: BandReader, stretch: RadiometricStretch, card: ModelCard
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]]:
    """Read windows of the size of the training tiles, spread over the scene.

    Yields:
        For the spectral bands of each window: the counts, values in which ratios have a meaning, the pixels that the
        files declare valid, and those of them that are plausible and not cloud.
    """
    spectral = [position for position, name in enumerate(reader.names) if name not in TERRAIN]
    side = int(card.get("tile_px") or 128)
    width, height = reader.grid.width, reader.grid.height
    for row in _spread_windows(height, side):
        for column in _spread_windows(width, side):
            counts, declared_valid = reader.read(column, row, min(side, width), min(side, height))
            if declared_valid.mean() < LEAST_VALID_SHARE or min(declared_valid.shape) < LEAST_SIDE_PX:
                continue
            values = stretch.apply(counts, column, row)
            plausible = stretch.find_plausible(values)
            valid = declared_valid if plausible is None else declared_valid & plausible
            clouds = stretch.find_clouds(values, counts, column, row)
            if clouds is not None:
                valid = valid & ~clouds
            light = stretch.restore_ratios(values, counts, column, row)
            yield counts[spectral], light[spectral], declared_valid, valid


def _spread_windows(length: int, side: int) -> list[int]:
    """Return the origins of at most `WINDOWS` windows that are spread evenly over a length.

    >>> _spread_windows(100, 128), _spread_windows(1000, 100)
    ([0], [0, 225, 450, 675, 900])
    """
    last = max(0, length - side)
    return sorted({round(last * number / (WINDOWS - 1)) for number in range(WINDOWS)})


def _check_pixel_size(reader: BandReader, domain: TrainingDomain) -> None:
    """Refuse pixels that are more than `PIXEL_RATIO_MOST` times as large or small as those of the training.

    Raises:
        FinerPixelsError: they are smaller.
        DomainError: they are larger.
    """
    if not reader.grid.placed:
        return
    pixel_m, trained_m = geodesic_pixel_m2(reader.grid) ** 0.5, float(domain["pixel_size_m"])
    if not 1 / PIXEL_RATIO_MOST <= pixel_m / trained_m <= PIXEL_RATIO_MOST:
        why = f"pixels of {pixel_m:.3g} m, trained on {trained_m:g} m: what it marks would mean nothing"
        raise FinerPixelsError(why, trained_m) if pixel_m < trained_m else DomainError(f"{why}; use a finer image")


def _find_least_contrast(domain: TrainingDomain) -> float:
    """Return the contrast that the windows of a scene must have.

    It is `CONTRAST_LEAST`, or less if 1 % of the training tiles have less, but never less than a constant has.

    >>> _find_least_contrast({"contrast_least": 0.0}), _find_least_contrast({})
    (0.02, 0.2)
    """
    limit = min(CONTRAST_LEAST, CONTRAST_SLACK * float(domain.get("contrast_least", 1.0)))
    return max(CONTRAST_FLOOR, limit)


def _refuse_nonsense(
    windows: list[WindowStatistics], negative_shares: list[float], least_contrast: float, least_smoothness: float
) -> None:
    """Refuse a scene if most of its windows are not an image of ground.

    Each window is checked for the share of negative values (decibels, an index), the contrast (fog, a constant), the
    correlation of neighbouring pixels (noise), and the correlation of bands (a grey image).
    """
    contrast = np.array([measure_contrast(window) for window in windows])
    smoothness = collect(windows, "smoothness")
    correlation = collect(windows, "correlation")
    negative = np.array(negative_shares)
    has_several_bands = len(windows[0].median) > 1
    _refuse_if_most(
        negative > NEGATIVE_MOST, f"{np.median(negative):.0%} of the values are below 0: decibels or an index"
    )
    _refuse_if_most(
        contrast < least_contrast, f"no contrast ({np.median(contrast):.0%} of the median): cloud or a constant"
    )
    _refuse_if_most(
        smoothness < least_smoothness, f"neighbouring pixels correlate by {np.median(smoothness):.2f}: noise"
    )
    _refuse_if_most(
        (correlation > SAME) & has_several_bands, "all bands hold the same: one grey image, not the bands named"
    )


def _refuse_other_values(windows: list[WindowStatistics], domain: TrainingDomain, *, compares_brightness: bool) -> None:
    """Refuse a scene if most of its windows have another unit or other bands than the training.

    The unit is another one if the medians of all bands lie beyond those of the training by a factor of `UNIT_RATIO`. It
    is checked only with `compares_brightness`, for a stretch that keeps brightness. The bands are other ones if bands,
    or their steps from pixel to pixel, correlate far less than in the training, like channels of radar.
    """
    least_correlation = float(domain["correlation_least"]) - CORRELATION_DROP
    least_step_correlation = float(domain.get("steps_least", -1.0)) - STEPS_DROP
    medians = collect(windows, "median")
    low, high = np.array(domain["median"]).T
    correlation = collect(windows, "correlation")
    step_correlation = correlate_steps(windows)
    step_correlation_of_ground = correlate_steps(windows, without_noise=has_tested_noise(windows))
    is_darker = (medians < low / UNIT_RATIO).all(axis=1)
    is_brighter = (medians > high * UNIT_RATIO).all(axis=1)
    typical, trained = _format_bands(np.median(medians, axis=0)), _format_ranges(low, high)
    _refuse_if_most(
        (is_darker | is_brighter) & compares_brightness,
        f"values of another unit (medians {typical}; trained on {trained}); give --scale",
    )
    _refuse_if_most(
        correlation < least_correlation, f"bands correlate by {np.median(correlation):.2f}: not what they are called"
    )
    _refuse_if_most(
        np.array([step_correlation_of_ground < least_step_correlation]),
        f"steps from pixel to pixel correlate by {step_correlation:.2f} between bands: radar or noise?",
    )


def _refuse_if_most(is_wrong: NDArray[np.bool_], why: str) -> None:
    if np.mean(is_wrong) >= REFUSED_SHARE:
        raise DomainError(why)


def _is_mostly(is_outside: NDArray[np.bool_]) -> bool:
    """Return whether more than `OUTSIDE_SHARE` of the windows lie outside of the training."""
    return bool(np.mean(is_outside) > OUTSIDE_SHARE)


def _format_bands(values: NDArray[np.float64]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def _format_ranges(low: NDArray[np.float64], high: NDArray[np.float64]) -> str:
    return ", ".join(f"{a:.3g}-{b:.3g}" for a, b in zip(low, high, strict=True))


def _format_apart(value: float, limit: float) -> tuple[str, str]:
    """Format two figures with two decimals, or with as many more as make them differ.

    >>> _format_apart(0.7, 0.631), _format_apart(0.6341, 0.6312)
    (('0.70', '0.63'), ('0.634', '0.631'))
    """
    for decimals in range(2, DECIMALS_MOST + 1):
        pair = f"{value:.{decimals}f}", f"{limit:.{decimals}f}"
        if pair[0] != pair[1]:
            return pair
    return f"{value}", f"{limit}"


def _compare_brightness(windows: list[WindowStatistics], domain: TrainingDomain) -> list[str]:
    """Return doubts about medians and spreads of bands that are outside of the quantiles of the training."""
    doubts = []
    for name, slack, label in (("median", MEDIAN_SLACK, "brightness"), ("spread", SPREAD_SLACK, "contrast")):
        values = collect(windows, name)
        low, high = np.array(domain.get(name)).T
        if _is_mostly(((values < low / slack) | (values > high * slack)).any(axis=1)):
            typical, trained = _format_bands(np.median(values, axis=0)), _format_ranges(low, high)
            doubts.append(f"{label} {typical} ({', '.join(domain['bands'])}), trained on {trained}")
    return doubts


def _compare_order(windows: list[WindowStatistics], domain: TrainingDomain) -> dict[str, Explanation]:
    """Return doubts about three correlations that are below the least of the training, by the name of the statistic.

    They are the correlations of bands, of neighbouring pixels, and of steps. Noise and radar lower all three. With the
    names as keys, a scene that is measured on two grids gets each doubt once.
    """
    doubts: dict[str, Explanation] = {}
    correlation, least = collect(windows, "correlation"), float(cast("float", domain.get("correlation_least")))
    if _is_mostly(correlation < least - ORDER_SLACK):
        doubts["correlation"] = _BANDS.format(seen=f"{np.median(correlation):.2f}", limit=f"{least:.2f}")
    smoothness, least = collect(windows, "smoothness"), float(cast("float", domain.get("smoothness_least")))
    if _is_mostly(smoothness < least - ORDER_SLACK):
        values = {"seen": f"{np.median(smoothness):.2f}", "limit": f"{least:.2f}"}
        doubts["smoothness"] = Reason("domain.neighbours", values)
    step_correlation, least = correlate_steps(windows), float(domain.get("steps_least", -1.0))
    if step_correlation < least - ORDER_SLACK:
        # Independent noise of the bands, which costs accuracy, but leaves the scene readable.
        is_noise = has_tested_noise(windows) and correlate_steps(windows, without_noise=True) >= least - ORDER_SLACK
        values = {"seen": f"{step_correlation:.2f}", "limit": f"{least:.2f}"}
        doubts["steps"] = Reason("domain.noisy_steps", values) if is_noise else _STEPS.format(**values)
    return doubts


def _compare_with_limit(
    windows: list[WindowStatistics],
    domain: TrainingDomain,
    key: str,
    explain: Callable[..., Explanation],
    slack: float = 1.0,
) -> list[Explanation]:
    """Return a doubt if a statistic of most windows lies beyond a limit of the card.

    Args:
        key: of the limit in the card: the name of the statistic, and `_most` or `_least`. Without it there is no limit.
        explain: returns the doubt for the median of the windows (`seen`) and the `limit`, both as texts.
        slack: factor on the limit.
    """
    name, _, side = key.rpartition("_")
    sign = 1.0 if side == "most" else -1.0
    values, limit = collect(windows, name), float(cast("float", domain.get(key, sign * np.inf)))
    if not _is_mostly(sign * values > sign * slack * limit):
        return []
    usual, formatted_limit = _format_apart(np.median(values), limit)
    return [explain(seen=usual, limit=formatted_limit)]


def list_noise_doubts(windows: Sequence[WindowStatistics], steadiness: Steadiness | None) -> list[Reason]:
    """Return a doubt if most windows have more noise than the weights tolerate.

    Args:
        steadiness: of the card; see module `steadiness`.
    """
    if not steadiness or not windows:
        return []
    noise, tolerated = collect(windows, "noise"), float(steadiness["noise_counts"])
    if not _is_mostly(noise > NOISE_SLACK * tolerated):
        return []
    usual, tested = float(np.median(noise)), max(NOISE_COUNTS)
    if usual > NOISE_SLACK * tested:
        return [Reason("domain.too_noisy", {"seen": usual, "limit": f"{tested:g}"})]
    return [Reason(NOISY, {"seen": usual, "limit": f"{tolerated:g}"})]


def _explain_even(seen: str, limit: str) -> Reason:
    return Reason("domain.even", {"seen": seen, "limit": limit})


def _check_texture(
    windows_by_grid: list[list[WindowStatistics]], domain: TrainingDomain, *, is_picture: bool
) -> list[Explanation]:
    """Return doubts about a texture that no photograph of ground has.

    Doubted are: bands that correlate like one image in one tint; a grain that is more even than that of 99 % of the
    training tiles; a crispness below that of 99 % of them; many pixels that repeat their neighbour; and, in a picture
    of eight bits, few levels of brightness.

    Args:
        windows_by_grid: windows of the scene on its own pixels, and on those that the network reads if they differ.
            Crispness and repeats must be unusual in both, because resampling changes them.
        domain: description of the training.
        is_picture: whether the scene is a picture of eight bits.
    """
    first = windows_by_grid[0]
    doubts: list[Explanation] = []
    correlation = collect(first, "correlation")
    if len(first[0].median) > 1 and _is_mostly(correlation > ALIKE):
        doubts.append(f"correlation of bands {np.median(correlation):.3f}: next to one image in one tint")
    doubts += _compare_with_limit(first, domain, "grain_most", _EVEN.format, EVEN_MOST) or _compare_with_limit(
        first, domain, "grain_most", _explain_even
    )
    crispness = [collect(windows, "crispness") for windows in windows_by_grid]
    least_crispness = float(domain.get("crispness_least", 0.0))
    if all(_is_mostly(values < CRISPNESS_SLACK * least_crispness) for values in crispness):
        usual, limit = _format_apart(max(map(np.median, crispness)), least_crispness)
        if all(_is_mostly(values < BLURRED_LEAST) for values in crispness):
            doubts.append(_DRAWN.format(usual, limit))
        else:
            doubts.append(Reason(INTERPOLATED, {"seen": usual, "limit": limit}))
    repeats = [collect(windows, "repeats") for windows in windows_by_grid]
    if all(_is_mostly(values > REPEATS_MOST) for values in repeats):
        share = min(map(np.median, repeats))
        doubts.append(f"{share:.0%} of the pixels repeat the one beside them: drawn, or saved with great loss?")
    levels = collect(first, "levels")
    if is_picture and _is_mostly(levels < LEVELS_LEAST):
        cause = "night, or a picture that was made far darker"
        doubts.append(f"counts differ by {np.median(levels):.0f} of 255 only: {cause}")
    return doubts


def _check_green(windows: list[WindowStatistics], domain: TrainingDomain) -> list[str]:
    """Return doubts about green: it is exchanged with red, or it is the darkest colour.

    Red and green seem exchanged if the contrast of red, as a share of that of green, is less than in 99 % of the
    training tiles. Green must not be the darkest colour if it was not in the training.
    """
    doubts: list[str] = []
    least = domain.get("red_over_green_least")
    if least is not None:
        contrast_ratio = compare_red_with_green(domain["bands"], windows)
        if _is_mostly(contrast_ratio < least):
            share, limit = _format_apart(np.median(contrast_ratio), least)
            cause = "red and green may be exchanged: check the names of the bands"
            doubts.append(f"red has {share} of the contrast of green for its brightness, trained on {limit}; {cause}")
    if "green_least" in domain:
        green = compare_green(domain["bands"], windows)
        if _is_mostly(green < 0):
            cause = "a negative, or other bands than they are called?"
            doubts.append(f"green is darker than red and blue by {-np.median(green):.0%}: {cause}")
    return doubts


def _check_red_and_blue(windows: list[WindowStatistics], domain: TrainingDomain) -> list[str]:
    """Return a doubt if red and blue seem exchanged: red has less contrast than blue, unlike in the training.

    Contrast is compared as the spread and as the spread over the median; both must be below `SWAPPED_MOST`.
    """
    bands = domain["bands"]
    if not {"B4", "B2"} <= set(bands):
        return []
    red, blue = np.array(domain["spread"])[[bands.index("B4"), bands.index("B2")]]
    spread, contrast = list_contrasts(bands, windows, ("B4", "B2"))
    is_swapped = np.all([pair[:, 0] < SWAPPED_MOST * pair[:, 1] for pair in (spread, contrast)], axis=0)
    if not (red > blue).all() or not _is_mostly(is_swapped):
        return []
    share = np.median(spread[is_swapped, 0] / spread[is_swapped, 1])
    cause = "ground has more in red; red and blue may be exchanged: check the names of the bands"
    return [f"red has {share:.2f} of the contrast of blue, and {cause}"]

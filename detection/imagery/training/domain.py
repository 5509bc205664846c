"""Whether a scene looks like anything that a network was trained on: its values, their contrast, order and pixels."""

from calendar import month_name
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.degrade import COUNTS, NOISE_COUNTS
from detection.imagery.data.patches import Patches, as_values
from detection.imagery.errors import DomainError, FinerError
from detection.imagery.raster.areas import geodesic_pixel_m2, pixel_sides_m
from detection.imagery.scene.offsets import COUNT, find_landsat, find_missing_offset
from detection.imagery.scene.radiometry import UNITS, RadiometricStretch
from detection.imagery.scene.reader import BandReader
from detection.imagery.scene.white import COLOURS
from detection.imagery.training.grain import (
    compare_colour,
    measure_crispness,
    measure_detail,
    measure_grain,
    measure_noise,
    measure_repeats,
    measure_smear,
)
from detection.imagery.weights_file import ModelCard, Steadiness, TrainingDomain
from detection.reasons import Explanation, Reason

# Windows of a scene that are looked at, along each side.
WINDOWS = 5
LEAST_VALID = 0.5
LEAST_SIDE_PX = 16  # a smaller window says nothing of order and contrast
# Tiles of the training that its description is measured on, evenly spread.
TILES_MOST = 300
POINT: Final = 100  # tiles at least in which one is beyond the 1 % or 99 % point
# Share of the windows beyond which a scene is refused, or outside of the training.
REFUSED_SHARE: Final = 0.75
OUTSIDE_SHARE: Final = 0.5
# How far beyond the 1 % and 99 % points of the training a window may lie.
MEDIAN_SLACK: Final = 1.5
SPREAD_SLACK: Final = 2.0
CONTRAST_SLACK: Final = 0.8
CRISPNESS_SLACK: Final = 0.85  # a real scene was warped once more than the patches of its training
# Half of what hardly any training tile lacked: brown ground and drawn scenes have less of both, a negative has none.
DETAIL_SLACK: Final = 0.5
ORDER_SLACK: Final = 0.15
# Beyond the limits of crispness and grain a picture is read as doubted, up to these; further off it is something else.
# Measured pictures that were read between their pixels have a crispness of 0.82 and more, blurred by 0.7 px 0.76, a
# hillshade 0.5. Of 1,330 training pictures one has a grain beyond 1.07 of the limit, of radar that nothing else gives
# away 90 %.
BLURRED_LEAST: Final = 0.7
EVEN_MOST: Final = 1.07
NOISE_SLACK: Final = 1.3  # of the noise that weights hold; two windows of one noise may differ so much
LEAST_STEPS: Final = 0.05  # of the steps of a band are ground at least
BRIGHTEST: Final = 0.999  # the point of a window's values that counts as its brightest
DECIMALS_MOST: Final = 9  # of a figure beside its limit
# Beyond these no network can say anything.
UNIT_RATIO: Final = 3.0  # median beside the training's: another unit
PIXEL_RATIO_MOST: Final = 4.0
SMOOTHNESS_LEAST: Final = 0.3  # correlation of neighbours; ground at any scale has more, noise has none
SMOOTHNESS_READ: Final = 0.2  # likewise, where the card of a network says what its training had, and doubts it before
CONTRAST_LEAST: Final = 0.2  # 5 % to 95 % range over the median; fog, cloud, snow, a constant
CONTRAST_FLOOR: Final = 0.02  # of any training: below it lies a constant
NEGATIVE_MOST: Final = 0.2  # share of values below 0: decibels, indices
# (brightest - darkest) / brightest of red, green and blue: the median of a window of ground is hardly ever below 0.1
# (Landslide4Sense: 0.08 and more in 500 tiles, Bijie: 0.106 and more in 280 crops); a cloud or snow has 0.03.
COLOUR_LEAST: Final = 0.06
TROPIC_DEG: Final = 23.4
WINTER, SOUTHERN_WINTER = (11, 12, 1, 2, 3), (5, 6, 7, 8, 9)
SAME: Final = 0.9999  # correlation of bands that are copies of one
# Of the training of `bijie` at half, once and twice the size that the network learnt none has more than 0.991, nor of
# `landslide4sense-standard`. Radar that shares its speckle has 0.999, a grey picture in one tint 0.996 and more.
ALIKE: Final = 0.995
# Of the training windows of both 99 % repeat less than a fifth of their pixels. A map that was drawn has half and more,
# a picture saved at the least quality of JPEG a third.
REPEATS_MOST: Final = 0.3
# Ground differs more in red than in blue: of 1,827 measured tiles (Landslide4Sense, Bijie, Hokkaido at 3 m and 10 m)
# none has in red less than this share of the contrast in blue, both as it is and over the median.
SWAPPED_MOST: Final = 0.8
# Range of the counts of a picture of eight bits; of 1,330 training pictures of both weights none has less than this.
LEVELS_LEAST: Final = 12.0
CORRELATION_DROP: Final = 0.6  # of the bands below the training's least: they are not those of the names
STEPS_DROP: Final = 0.3  # likewise of the steps from pixel to pixel: channels of radar
# Codes of doubts about the quality of a scene that other modules recognise.
INTERPOLATED: Final = "domain.interpolated"
NOISY: Final = "domain.noisy"
# A scene about which only these doubts exist can be read, as advice.
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
PICTURE: Final = "uint8"
OBLONG_MOST: Final = 1.1  # of the sides of pixels: an image that was warped to longer ones is softer along them
CLOUDY: Final = 0.02  # share of a scene that is cloud; from there on its brightness is asked for again


class WindowStatistics(NamedTuple):
    """What is measured of one window, in model values."""

    median: NDArray[np.float64]  # per spectral band
    spread: NDArray[np.float64]  # 95 % point less 5 % point, per spectral band
    correlation: float  # the least between two spectral bands; 1 for one band
    smoothness: float  # the least correlation of a band with itself one pixel on
    steps: NDArray[np.float64]  # covariance between the spectral bands of the steps from a pixel to the next
    grain: float  # how even these steps are (see `grain`, also for what follows)
    crispness: float  # how much each step differs from the next
    smear: float  # how much crisper one direction is than the one across it
    repeats: float  # share of the pixels that repeat the one beside them
    levels: float  # 95 % point less 5 % point of the counts, of the band where that is greatest
    detail: float  # whether fine detail is bright or dark
    colour: float  # how much of the steps is colour, beside how much of the window is
    noise: float  # its standard deviation, in 255ths of the brightest of the window, of the mean band
    noise_steps: NDArray[np.float64]  # what noise alone, another in every band, makes of `steps`: its variances


def measure_window(
    values: NDArray[np.floating],
    valid: NDArray[np.bool_],
    counts: NDArray[np.floating] | None = None,
) -> WindowStatistics:
    """Measure a window bands x H x W of spectral bands; pixels that are not valid do not count.

    Args:
        values: of which a ratio means something.
        counts: the same as the file has them, where that is not so: pixels that repeat are equal there.

    >>> ramp = np.linspace(1, 2, 64 * 64).reshape(1, 64, 64)
    >>> round(measure_window(ramp, np.ones((64, 64), bool)).smoothness, 2)
    1.0
    """
    counts = values if counts is None else counts
    exact = values.astype(np.float64)
    kept = _pick(values, valid)
    low, middle, high = np.quantile(kept.astype(np.float64), (0.05, 0.5, 0.95), axis=1)
    shifted = exact - middle[:, None, None]  # so that sums lose no digits, and those of a constant are 0
    if kept.shape[1] < valid.size:
        shifted[:, ~valid] = 0
    flat = shifted.reshape(len(values), -1)
    sums, products = flat.sum(axis=1), flat @ flat.T
    power = np.diag(products) - sums**2 / kept.shape[1]
    between = _correlate(products - np.outer(sums, sums) / kept.shape[1], power[:, None], power[None])
    steps, along, pairs_px = np.zeros_like(products), [], 0
    for one, other, both in (
        (shifted[:, 1:], shifted[:, :-1], valid[1:] & valid[:-1]),
        (shifted[:, :, 1:], shifted[:, :, :-1], valid[:, 1:] & valid[:, :-1]),
    ):
        if not (pixels := int(np.count_nonzero(both))):
            continue
        pairs_px += pixels
        a, b = (one, other) if pixels == both.size else (one * both, other * both)
        left, right = a.sum(axis=(1, 2)), b.sum(axis=(1, 2))
        aa, ab, bb = (np.einsum("kij,kij->k", x, y) for x, y in ((a, a), (a, b), (b, b)))
        along.append(_correlate(ab - left * right / pixels, aa - left**2 / pixels, bb - right**2 / pixels))
        to_next = (a - b).reshape(len(values), -1)
        steps += to_next @ to_next.T
    smoothness = float(np.mean(along, axis=0).min()) if along else 0.0
    pairs = between[np.tril_indices(len(values), -1)]
    dark, light = np.quantile(_pick(counts, valid)[:, ::8].astype(np.float64), (0.05, 0.95), axis=1)
    noise = measure_noise(values, valid)
    brightest = float(np.quantile(kept.astype(np.float64), BRIGHTEST))
    return WindowStatistics(
        middle,
        high - low,
        float(pairs.min(initial=1.0)),
        smoothness,
        steps,
        measure_grain(values, valid, smoothness),
        measure_crispness(values, valid),
        measure_smear(values, valid),
        measure_repeats(counts, valid),
        float((light - dark).max()),
        measure_detail(values, valid),
        compare_colour(between, steps),
        float(noise.mean()) / brightest * COUNTS if brightest > 0 else 0.0,
        2 * pairs_px * noise**2,
    )


def _pick(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
    return values.reshape(len(values), -1) if valid.all() else values[:, valid]


def _collect(looks: Sequence[WindowStatistics], name: str) -> NDArray[np.float64]:
    return np.array([getattr(window, name) for window in looks])


def _is_usual(found: NDArray[np.bool_]) -> bool:
    """Whether most windows are so."""
    return bool(np.mean(found) > OUTSIDE_SHARE)


def _correlate(
    covariance: NDArray[np.float64], one: NDArray[np.float64], other: NDArray[np.float64]
) -> NDArray[np.float64]:
    power = np.sqrt(np.maximum(one, 0) * np.maximum(other, 0))
    return np.asarray(np.divide(covariance, power, out=np.zeros_like(covariance), where=power > 0))


def _correlate_steps(looks: Sequence[WindowStatistics], *, less_noise: bool = False) -> float:
    """The least correlation between two bands of the steps from a pixel to the next; calm parts hardly count.

    Roofs, crowns and furrows are the same steps in every colour. The speckle of radar is another in every channel.
    No offset and no factor of a band changes it.

    `less_noise`: of what is left of the steps without noise that is another in every band.
    """
    pooled = np.sum(_collect(looks, "steps"), axis=0)
    power = np.diag(pooled)
    if less_noise:
        power = power - np.sum(_collect(looks, "noise_steps"), axis=0)
    size = np.sqrt(np.maximum(power, LEAST_STEPS * np.diag(pooled)))
    return float((pooled / np.maximum(np.outer(size, size), 1e-12)).min())


def _is_slight(looks: Sequence[WindowStatistics]) -> bool:
    """Whether the noise of a scene is no more than weights are tried with; radar and what is no image has more."""
    return float(np.median(_collect(looks, "noise"))) <= NOISE_SLACK * max(NOISE_COUNTS)


def describe(patches: Patches, pixel_size_m: float, undated: str, *, reflectance: bool = False) -> dict[str, Any]:
    """Describe the training tiles for the card of a model: 1 % and 99 % points of what `measure_window` measures.

    Args:
        patches: as the network saw them, in model values.
        pixel_size_m: side of their pixels on the ground.
        undated: why nobody knows their season, where they do not say it.
        reflectance: their values are counts of reflectance over 10000, with whatever offset the counts had.
    """
    spectral = [k for k, name in enumerate(patches.bands) if name not in UNITS]
    looks, types, values = [], set(), []
    for position in range(0, len(patches), max(1, len(patches) // TILES_MOST)):
        image = patches.read(position).image
        types.add(image.dtype.name)
        tile = as_values(image)[spectral]
        looks.append(measure_window(tile, np.ones(tile.shape[1:], bool)))
        values.append(tile.reshape(len(spectral), -1)[:, ::17])
    as_they_came = {}
    if reflectance:
        as_they_came = {
            "counts_as_they_came": any(find_missing_offset(one / COUNT) or find_landsat(one / COUNT) for one in values),
            "contrast_least": _find_point([_measure_contrast(window) for window in looks], 0.01),
        }
    points = np.quantile(np.concatenate(values, axis=1), [0.01, 0.05, 0.5, 0.95, 0.99], axis=1).T
    return {
        "tiles": len(looks),
        "bands": [patches.bands[k] for k in spectral],
        "types": sorted(types),
        "pixel_size_m": pixel_size_m,
        "season": list(patches.months) or None,
        "season_note": None if patches.months else undated,
        "quantiles": {"of": [0.01, 0.05, 0.5, 0.95, 0.99], "by_band": np.round(points, 5).tolist()},
        "median": _range(_collect(looks, "median")),
        "spread": _range(_collect(looks, "spread")),
        **{
            f"{name}_least": _find_point(_collect(looks, name), 0.01)
            for name in ("correlation", "smoothness", "crispness")
        },
        "steps_least": _find_point([_correlate_steps([window]) for window in looks], 0.01),
        "grain_most": _find_point(_collect(looks, "grain"), 0.99),
        **as_they_came,
        **_describe_narrow([patches.bands[k] for k in spectral], looks),
    }


def _find_point(values: Sequence[float] | NDArray[np.float64], share: float) -> float:
    return round(float(np.quantile(values, share)), 4)


def _describe_narrow(bands: Sequence[str], looks: list[WindowStatistics]) -> dict[str, float]:
    """Limits near to what ground usually has; none from few tiles: they would doubt the very scenes of the training."""
    if len(looks) < POINT:
        return {}
    found = {"smear_most": _find_point(_collect(looks, "smear"), 0.99)}
    lower: dict[str, NDArray[np.float64]] = {"colour_least": _collect(looks, "colour")}
    if float(np.quantile(detail := _collect(looks, "detail"), 0.01)) > 0:
        lower["detail_least"] = detail
    if {"B4", "B3"} <= set(bands):
        lower["red_over_green_least"] = _compare_contrasts(bands, looks)
    if set(COLOURS) <= set(bands) and float(np.quantile(green := _compare_green(bands, looks), 0.01)) > 0:
        lower["green_least"] = green
    with np.errstate(invalid="ignore"):
        least = {name: _find_point(seen, 0.01) for name, seen in lower.items()}
    # what says nothing of the training is no limit: of pictures without colour, say
    return found | {name: value for name, value in least.items() if np.isfinite(value)}


def _compare_green(bands: Sequence[str], looks: list[WindowStatistics]) -> NDArray[np.float64]:
    """What green has beyond the lesser of red and blue in each window, of the medians, as a share of the brightest."""
    median = _collect(looks, "median")[:, [list(bands).index(name) for name in COLOURS]]
    red, green, blue = median.T
    return np.asarray((green - np.minimum(red, blue)) / np.maximum(median.max(axis=1), 1e-12))


def _compare_contrasts(bands: Sequence[str], looks: list[WindowStatistics]) -> NDArray[np.float64]:
    """The contrast of red over that of green in each window, each as a share of its median."""
    _, relative = _list_contrasts(bands, looks, ("B4", "B3"))
    return np.asarray(relative[:, 0] / np.maximum(relative[:, 1], 1e-12))


def _list_contrasts(
    bands: Sequence[str], looks: list[WindowStatistics], names: tuple[str, str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The spread of two bands in each window, as it is and as a share of the median."""
    pair = [list(bands).index(name) for name in names]
    spread, median = (_collect(looks, name)[:, pair] for name in ("spread", "median"))
    return spread, spread / np.maximum(np.abs(median), 1e-12)


def _range(rows: NDArray[np.float64]) -> list[list[float]]:
    return [[round(float(v), 5) for v in pair] for pair in np.quantile(rows, [0.01, 0.99], axis=0).T]


def find_doubts(
    reader: BandReader,
    stretch: RadiometricStretch,
    card: ModelCard,
    own: tuple[BandReader, RadiometricStretch] | None = None,
) -> list[Explanation]:
    """Say why a scene lies outside of what a network was trained on; empty where it does not, or no card says.

    Args:
        reader: the bands of the model, in its order, on the pixels that the network sees.
        own: the scene on its own pixels, and its stretch there, where the network sees others: what is interpolated
            or averaged has an order that the image has not.

    Raises:
        DomainError: the scene cannot mean anything to the network; one line with the figure.
    """
    domain = card.get("domain")
    if domain is None:
        return []
    _check_pixels(reader, domain)
    own_looks = check_ground(*own, card, domain)[0] if own else []
    looks, missing = check_ground(reader, stretch, card, domain)
    if not looks:
        return []
    if domain.get("counts_as_they_came") or stretch.offset:
        missing = None  # the training had the same counts, or the weights see no offset
    # beside a cloud all other ground is dark, and steps of little contrast are missed
    light = stretch.moments is None or stretch.cloud_share > CLOUDY
    disorder = _measure_disorder(looks, domain) | (_measure_disorder(own_looks, domain) if own_looks else {})
    found: list[Explanation] = [
        *([missing] if missing else []),
        *_list_outside(looks, domain, light=light),
        *disorder.values(),
    ]
    readings = [one for one in (own_looks, looks) if one]
    image = own[0] if own else reader
    found += _list_texture(readings, domain, is_picture=image.spectral_types == {PICTURE})
    found += list_noisy(readings[0], card.get("steadiness"))
    if not image.grid.placed or max(sides := pixel_sides_m(image.grid)) <= OBLONG_MOST * min(sides):
        found += _list_beyond(readings[0], domain, "smear_most", _SMEARED.format)
    for key, template in (("detail_least", _DARK), ("colour_least", _GREY)):
        found += _list_beyond(looks, domain, key, template.format, DETAIL_SLACK)
    if stretch.moments is None:  # others see no factor of a band
        found += _list_green(looks, domain)
    return found + _list_swapped(looks, domain)


def find_other_types(reader: BandReader, stretch: RadiometricStretch, card: ModelCard) -> list[Reason]:
    """Say that a scene has counts of another type than pictures of eight bits, where a picture is all they know.

    Of counts a factor makes a picture by chance alone. Weights that look at ratios nearby are not asked.
    """
    trained = set((card.get("domain") or {}).get("types", ()))
    others = reader.spectral_types - trained
    if trained != {PICTURE} or stretch.maxima is not None or not others:
        return []
    return [Reason("domain.types", {"types": tuple(sorted(others)), "trained": PICTURE})]


def check_ground(
    reader: BandReader, stretch: RadiometricStretch, card: ModelCard, domain: TrainingDomain | None = None
) -> tuple[list[WindowStatistics], str | None]:
    """What the windows look like, and which offset their counts seem to lack; without a domain, for any map.

    Raises:
        DomainError: the values are no image of ground: noise, no contrast, decibels, clouds, one grey image.
    """
    looks, negative, counts, colours = [], [], [], []
    spectral = [k for k, name in enumerate(reader.names) if name not in UNITS]
    shown = [spectral.index(k) for k in stretch.colours or _list_colours(reader, domain)]
    for found, values, stated, valid in _read_windows(reader, stretch, card):
        if shown:  # of what is set aside as a cloud too
            colours.append(_measure_colour(_pick(found[shown], stated)))
        if valid.mean() < LEAST_VALID:
            continue
        looks.append(measure_window(values, valid, found))
        kept = _pick(found, valid)
        negative.append(float((kept < 0).mean()))
        counts.append(kept[:, ::7])
    every = np.concatenate(counts, axis=1) if looks else None
    if looks:
        if domain is None:
            _refuse_nonsense(looks, negative, CONTRAST_LEAST, SMOOTHNESS_LEAST)
        else:
            _refuse_nonsense(looks, negative, _find_least_contrast(domain), SMOOTHNESS_READ)
            _refuse_others(looks, domain, light=stretch.moments is None)
    missing = None if every is None else find_missing_offset(every) or find_landsat(every)
    if colours and not missing and np.mean(np.array(colours) < COLOUR_LEAST) >= REFUSED_SHARE:
        why = "cloud, snow, a grey image, or counts whose offset is missing"
        raise DomainError(f"red, green and blue differ by {np.median(colours):.0%} only: {why}")
    return looks, missing


def _list_colours(reader: BandReader, domain: TrainingDomain | None) -> list[int]:
    if domain is None or set(domain.get("types", ())) != {PICTURE} or not set(COLOURS) <= set(reader.names):
        return []
    return [reader.names.index(name) for name in COLOURS]


def find_season(domain: TrainingDomain, month: int, latitude: float | None) -> Explanation | None:
    """Say that the month of a scene lies outside of the training, or that this cannot be known where it matters.

    It matters outside of the tropics, in the half of the year with snow, bare trees and a low sun.

    Args:
        latitude: of its centre; None where it has no place.

    >>> print(find_season({"season": [5, 6]}, 12, 46.0))
    domain.months: month=December, months=[May, June]
    >>> find_season({"season": [5, 6]}, 7, 46.0) is None, find_season({"season": None}, 12, 5.0) is None
    (True, True)
    """
    if known := domain.get("season"):
        if min((month - one) % 12 for one in known) <= 1 or min((one - month) % 12 for one in known) <= 1:
            return None
        trained = tuple(month_name[one] for one in known)
        return Reason("domain.months", {"month": month_name[month], "months": trained})
    if latitude is None or abs(latitude) <= TROPIC_DEG or month not in (WINTER if latitude > 0 else SOUTHERN_WINTER):
        return None
    why = domain.get("season_note") or "the card does not say"
    return (
        f"taken in {month_name[month]}; the season of the training is not known ({why}): snow, bare trees and long "
        "shadows may mislead the network"
    )


def _read_windows(
    reader: BandReader, stretch: RadiometricStretch, card: ModelCard
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]]:
    """Counts of the spectral bands, and values of which a ratio means something, in windows spread over the scene.

    Then which pixels are valid by what the files say, and which also by what their values can be.
    """
    spectral = [k for k, name in enumerate(reader.names) if name not in UNITS]
    side = int(card.get("tile_px") or 128)
    width, height = reader.grid.width, reader.grid.height
    for row in _spread(height, side):
        for column in _spread(width, side):
            counts, stated = reader.read(column, row, min(side, width), min(side, height))
            if stated.mean() < LEAST_VALID or min(stated.shape) < LEAST_SIDE_PX:
                continue
            values = stretch.apply(counts, column, row)
            plausible = stretch.find_plausible(values)
            valid = stated if plausible is None else stated & plausible
            if (clouds := stretch.find_clouds(values, counts, column, row)) is not None:
                valid = valid & ~clouds
            yield counts[spectral], stretch.show_light(values, counts, column, row)[spectral], stated, valid


def _measure_colour(counts: NDArray[np.floating]) -> float:
    """How far three colours (3 x n) lie apart, as a share of the brightest: the median over the pixels.

    >>> _measure_colour(np.array([[1000.0, 980.0, 970.0]] * 5).T)
    0.03
    """
    brightest = counts.max(axis=0)
    return round(float(np.median((brightest - counts.min(axis=0)) / np.maximum(brightest, 1e-12))), 4)


def _spread(length: int, side: int) -> list[int]:
    """Origins of at most `WINDOWS` windows that lie evenly over a length.

    >>> _spread(100, 128), _spread(1000, 100)
    ([0], [0, 225, 450, 675, 900])
    """
    last = max(0, length - side)
    return sorted({round(last * k / (WINDOWS - 1)) for k in range(WINDOWS)})


def _check_pixels(reader: BandReader, domain: TrainingDomain) -> None:
    if not reader.grid.placed:
        return
    pixel_m, trained_m = geodesic_pixel_m2(reader.grid) ** 0.5, float(domain["pixel_size_m"])
    if not 1 / PIXEL_RATIO_MOST <= pixel_m / trained_m <= PIXEL_RATIO_MOST:
        why = f"pixels of {pixel_m:.3g} m, trained on {trained_m:g} m: what it marks would mean nothing"
        raise FinerError(why, trained_m) if pixel_m < trained_m else DomainError(f"{why}; use a finer image")


def _measure_contrast(window: WindowStatistics) -> float:
    return float((window.spread / np.maximum(abs(window.median), 1e-12)).max())


def _find_least_contrast(domain: TrainingDomain) -> float:
    """What a scene must have: less than usual where a part of the training itself had less, but never next to none.

    >>> _find_least_contrast({"contrast_least": 0.0}), _find_least_contrast({})
    (0.02, 0.2)
    """
    found = min(CONTRAST_LEAST, CONTRAST_SLACK * float(domain.get("contrast_least", 1.0)))
    return max(CONTRAST_FLOOR, found)


def _refuse_nonsense(looks: list[WindowStatistics], negative: list[float], least: float, smoothest: float) -> None:
    contrast = np.array([_measure_contrast(window) for window in looks])
    smoothness = _collect(looks, "smoothness")
    correlation = _collect(looks, "correlation")
    below, many = np.array(negative), len(looks[0].median) > 1
    _refuse(
        (below > NEGATIVE_MOST, f"{np.median(below):.0%} of the values are below 0: decibels or an index"),
        (contrast < least, f"no contrast ({np.median(contrast):.0%} of the median): cloud or a constant"),
        (smoothness < smoothest, f"neighbouring pixels correlate by {np.median(smoothness):.2f}: noise"),
        ((correlation > SAME) & many, "all bands hold the same: one grey image, not the bands named"),
    )


def _refuse_others(looks: list[WindowStatistics], domain: TrainingDomain, *, light: bool) -> None:
    """Refuse what these weights cannot read: another unit, if they see light and contrast at all; other bands."""
    least = float(domain["correlation_least"]) - CORRELATION_DROP
    medians = _collect(looks, "median")
    low, high = np.array(domain["median"]).T
    correlation = _collect(looks, "correlation")
    steps, ground = _correlate_steps(looks), _correlate_steps(looks, less_noise=_is_slight(looks))
    least_steps = float(domain.get("steps_least", -1.0)) - STEPS_DROP
    darker, brighter = (medians < low / UNIT_RATIO).all(axis=1), (medians > high * UNIT_RATIO).all(axis=1)
    typical = ", ".join(f"{value:.3g}" for value in np.median(medians, axis=0))
    trained = ", ".join(f"{a:.3g}-{b:.3g}" for a, b in zip(low, high, strict=True))
    _refuse(
        (
            (darker | brighter) & light,
            f"values of another unit (medians {typical}; trained on {trained}); give --scale",
        ),
        (correlation < least, f"bands correlate by {np.median(correlation):.2f}: not what they are called"),
        (
            np.array([ground < least_steps]),
            f"steps from pixel to pixel correlate by {steps:.2f} between bands: radar or noise?",
        ),
    )


def _refuse(*found: tuple[NDArray[np.bool_], str]) -> None:
    for wrong, why in found:
        if np.mean(wrong) >= REFUSED_SHARE:
            raise DomainError(why)


def _list_outside(looks: list[WindowStatistics], domain: TrainingDomain, *, light: bool) -> list[str]:
    """What most windows have that hardly any training tile had; `light`: whether the weights see light and contrast."""
    found = []
    measures = ("median", MEDIAN_SLACK, "brightness"), ("spread", SPREAD_SLACK, "contrast")
    for name, slack, label in measures if light else ():
        seen, (low, high) = _collect(looks, name), np.array(domain.get(name)).T
        if _is_usual(((seen < low / slack) | (seen > high * slack)).any(axis=1)):
            typical = ", ".join(f"{value:.3g}" for value in np.median(seen, axis=0))
            trained = ", ".join(f"{a:.3g}-{b:.3g}" for a, b in zip(low, high, strict=True))
            found.append(f"{label} {typical} ({', '.join(domain['bands'])}), trained on {trained}")
    return found


def _measure_disorder(looks: list[WindowStatistics], domain: TrainingDomain) -> dict[str, Explanation]:
    found: dict[str, Explanation] = {}
    seen, least = _collect(looks, "correlation"), float(cast("float", domain.get("correlation_least")))
    if _is_usual(seen < least - ORDER_SLACK):
        found["correlation"] = _BANDS.format(seen=f"{np.median(seen):.2f}", limit=f"{least:.2f}")
    seen, least = _collect(looks, "smoothness"), float(cast("float", domain.get("smoothness_least")))
    if _is_usual(seen < least - ORDER_SLACK):
        found["smoothness"] = Reason("domain.neighbours", {"seen": f"{np.median(seen):.2f}", "limit": f"{least:.2f}"})
    steps, least_steps = _correlate_steps(looks), float(domain.get("steps_least", -1.0))
    if steps < least_steps - ORDER_SLACK:
        by_noise = _is_slight(looks) and _correlate_steps(looks, less_noise=True) >= least_steps - ORDER_SLACK
        values = {"seen": f"{steps:.2f}", "limit": f"{least_steps:.2f}"}
        found["steps"] = Reason("domain.noisy_steps", values) if by_noise else _STEPS.format(**values)
    return found


def _format_apart(seen: float, limit: float) -> tuple[str, str]:
    """Two figures with two decimals, or as many more as it takes until they differ.

    >>> _format_apart(0.7, 0.631), _format_apart(0.6341, 0.6312)
    (('0.70', '0.63'), ('0.634', '0.631'))
    """
    both = ((f"{seen:.{places}f}", f"{limit:.{places}f}") for places in range(2, DECIMALS_MOST + 1))
    return next((pair for pair in both if pair[0] != pair[1]), (f"{seen}", f"{limit}"))


def _list_beyond(
    looks: list[WindowStatistics],
    domain: TrainingDomain,
    key: str,
    explain: Callable[..., Explanation],
    slack: float = 1.0,
) -> list[Explanation]:
    """Whether most windows lie beyond a limit of the card, a measure and `most` or `least`; not where it has none."""
    name, _, side = key.rpartition("_")
    sign = 1.0 if side == "most" else -1.0
    seen, limit = _collect(looks, name), float(cast("float", domain.get(key, sign * np.inf)))
    if not _is_usual(sign * seen > sign * slack * limit):
        return []
    usual, most = _format_apart(np.median(seen), limit)
    return [explain(seen=usual, limit=most)]


def list_noisy(looks: Sequence[WindowStatistics], steadiness: Steadiness | None) -> list[Reason]:
    """Whether most windows have more noise than the weights were shown to hold, by their card (see `steadiness`)."""
    if not steadiness or not looks:
        return []
    seen, held = _collect(looks, "noise"), float(steadiness["noise_counts"])
    if not _is_usual(seen > NOISE_SLACK * held):
        return []
    noise, tried = float(np.median(seen)), max(NOISE_COUNTS)
    if noise > NOISE_SLACK * tried:
        return [Reason("domain.too_noisy", {"seen": noise, "limit": f"{tried:g}"})]
    return [Reason(NOISY, {"seen": noise, "limit": f"{held:g}"})]


def _explain_even(seen: str, limit: str) -> Reason:
    return Reason("domain.even", {"seen": seen, "limit": limit})


def _list_texture(
    readings: list[list[WindowStatistics]], domain: TrainingDomain, *, is_picture: bool
) -> list[Explanation]:
    """What no photograph of ground has: one tint, an even grain, steps that hardly differ, pixels that repeat, night.

    `readings`: of the scene as it is, and on the pixels that the network sees: what was brought to other pixels is
    smoother than the image, or the image smoother than it.
    """
    first, found = readings[0], list[Explanation]()
    if len(first[0].median) > 1 and _is_usual((alike := _collect(first, "correlation")) > ALIKE):
        found.append(f"correlation of bands {np.median(alike):.3f}: next to one image in one tint")
    found += _list_beyond(first, domain, "grain_most", _EVEN.format, EVEN_MOST) or _list_beyond(
        first, domain, "grain_most", _explain_even
    )
    crisp, least = [_collect(looks, "crispness") for looks in readings], float(domain.get("crispness_least", 0.0))
    if all(_is_usual(seen < CRISPNESS_SLACK * least) for seen in crisp):
        most, limit = _format_apart(max(map(np.median, crisp)), least)
        drawn = all(_is_usual(seen < BLURRED_LEAST) for seen in crisp)
        if drawn:
            found.append(_DRAWN.format(most, limit))
        else:
            found.append(Reason(INTERPOLATED, {"seen": most, "limit": limit}))
    repeats = [_collect(looks, "repeats") for looks in readings]
    if all(_is_usual(seen > REPEATS_MOST) for seen in repeats):
        share = min(map(np.median, repeats))
        found.append(f"{share:.0%} of the pixels repeat the one beside them: drawn, or saved with great loss?")
    if is_picture and _is_usual((levels := _collect(first, "levels")) < LEVELS_LEAST):
        dark = "night, or a picture that was made far darker"
        found.append(f"counts differ by {np.median(levels):.0f} of 255 only: {dark}")
    return found


def _list_green(looks: list[WindowStatistics], domain: TrainingDomain) -> list[str]:
    """Whether red has so little contrast beside green as hardly any training tile had, or green is the darkest."""
    found, least = list[str](), domain.get("red_over_green_least")
    if least is not None and _is_usual((seen := _compare_contrasts(domain["bands"], looks)) < least):
        share, limit = _format_apart(np.median(seen), least)
        why = "red and green may be exchanged: check the names of the bands"
        found.append(f"red has {share} of the contrast of green for its brightness, trained on {limit}; {why}")
    if "green_least" in domain and _is_usual((seen := _compare_green(domain["bands"], looks)) < 0):
        why = "a negative, or other bands than they are called?"
        found.append(f"green is darker than red and blue by {-np.median(seen):.0%}: {why}")
    return found


def _list_swapped(looks: list[WindowStatistics], domain: TrainingDomain) -> list[str]:
    """Whether what is called red looks like blue, where the training's red had more contrast than its blue."""
    bands = domain["bands"]
    if not {"B4", "B2"} <= set(bands):
        return []
    red, blue = np.array(domain["spread"])[[bands.index("B4"), bands.index("B2")]]
    spread, relative = _list_contrasts(bands, looks, ("B4", "B2"))
    swapped = np.all([of[:, 0] < SWAPPED_MOST * of[:, 1] for of in (spread, relative)], axis=0)
    if not (red > blue).all() or not _is_usual(swapped):
        return []
    share = np.median(spread[swapped, 0] / spread[swapped, 1])
    why = "ground has more in red; red and blue may be exchanged: check the names of the bands"
    return [f"red has {share:.2f} of the contrast of blue, and {why}"]

"""Read the values of a quantity from the numbers that a raster stores. All commands read quantities by this module.

A value is the stored number times its scale, plus its offset, in the unit of the quantity. A mask, an alpha band,
nodata or an undeclared fill marks pixels without a value. A raster with impossible values is refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyproj
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, RasterioError

from detection.imagery.errors import BandMissingError, RadiometryError, TruncatedRasterError
from detection.imagery.raster.areas import slope_deg, spacing_m
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.integrity import make_checker
from detection.imagery.raster.raster import window_below
from detection.imagery.raster.reading.bands import COLOURS
from detection.imagery.raster.reading.fills import ValueStatistics
from detection.imagery.raster.rewriting import rewrite_band, use_last_band_as_mask
from detection.imagery.raster.untrusted import LIMITS, RasterLimits, open_raster

STRIP_PX: Final = 1 << 21  # pixels of a strip that is inspected at once
MOST_INSPECTIONS: Final = 256  # that are cached
# Slopes are computed in at most so many strips, from at most so many rows and pixels of each.
SLOPE_STRIPS: Final = 16
SLOPE_ROWS: Final = 256
SLOPE_PX: Final = 1 << 18
STEEPEST_DEG: Final = 60.0  # greatest possible median slope; if it is steeper, the heights are not in metres
_HEIGHT_NAMES: Final = re.compile(r"(?<![a-z])(?:dem|dtm|dsm|elev\w*|heights?|altitude|z)(?![a-z])", re.IGNORECASE)
_OTHER_NAMES: Final = re.compile(
    r"(?<![a-z])(?:slopes?|aspect|hill_?shade|shaded|curvature|roughness|intensity|ndvi|coherence|density)(?![a-z])",
    re.IGNORECASE,
)
# Name of a unit -> its factor to metres, radians or degrees.
METRES: Final = {
    f"{short if name == 'm' else long}{name}": factor
    for short, long, factor in (
        ("", "", 1.0),
        ("k", "kilo", 1000.0),
        ("d", "deci", 0.1),
        ("c", "centi", 0.01),
        ("m", "milli", 0.001),
    )
    for name in ("m", "metre", "meter", "metres", "meters")
} | {
    **dict.fromkeys(("ft", "foot", "feet", "international foot"), 0.3048),
    **dict.fromkeys(
        ("us-ft", "us ft", "ftus", "us survey foot", "us survey feet", "foot_us", "us_survey_foot", "survey foot"),
        1200 / 3937,
    ),
}
RADIANS: Final = {
    **dict.fromkeys(("rad", "radian", "radians"), 1.0),
    **dict.fromkeys(("cycle", "cycles"), 2 * np.pi),
    **dict.fromkeys(("deg", "degree", "degrees"), np.pi / 180),
}
DEGREES: Final = {name: 180 / np.pi * factor for name, factor in RADIANS.items() if "cycle" not in name}


@dataclass(frozen=True, slots=True)
class BandQuantity:
    """A physical quantity: its name, its units, and the values that it can have."""

    name: str  # in messages, usually in the plural
    low: float = -np.inf  # smallest possible value
    high: float = np.inf  # largest possible value
    # name of a unit -> factor to the unit of the quantity; empty: the unit of a band is ignored
    units: Mapping[str, float] = field(default_factory=dict, compare=False)
    zero_can_be_fill: bool = False  # 0, or a negative whole number, can be an undeclared fill
    content: str = ""  # content of the band for `choose_band`; empty: band 1
    # an undeclared fill is farther than this from all other values; None: a share of their range
    fill_distance: float | None = None
    # for the message about values that are impossible: how the file can be corrected
    remedy: str = "declare nodata, scale and unit: gdal_edit.py -a_nodata, -scale, -units"


HEIGHT: Final = BandQuantity("heights", -500.0, 9000.0, units=METRES, zero_can_be_fill=True, fill_distance=3.0)
HEIGHT_ERROR: Final = BandQuantity("errors of heights", 0.0, 9000.0, units=METRES)
COHERENCES: Final = BandQuantity(
    "coherences",
    -0.05,
    1.05,
    content="coherence",
    remedy="bytes of 0 to 255 need gdal_edit.py -scale 0.003921569, per cent -scale 0.01",
)
SHARE: Final = BandQuantity(
    "probabilities",
    -1e-6,
    1 + 1e-6,
    remedy="declare pixels without a probability as nodata; per cent need gdal_edit.py -scale 0.01",
)
PHASE: Final = BandQuantity("phases", -1e6, 1e6, units=RADIANS, content="phase")
RATE: Final = BandQuantity("velocities")
ANGLE: Final = BandQuantity("angles of incidence", -360.0, 360.0, units=DEGREES, content="angle")
BACKSCATTER: Final = BandQuantity("backscatter")
FACTOR: Final = BandQuantity("values")  # any numbers, also the colours of a picture


@contextmanager
def open_values(
    path: Path,
    quantity: BandQuantity,
    index: int = 1,
    *,
    ground: Grid | None = None,
    limits: RasterLimits = LIMITS,
    notes: list[str] | None = None,
    empty: float | None = None,
) -> Iterator[Any]:
    """Open a raster, one band of which then contains the values of a quantity.

    If the stored numbers are the values, and no fill is found, the raster is opened as it is.

    Args:
        path: the file.
        quantity: the quantity of the band.
        index: number of the band, from 1.
        ground: only the part of the raster on this grid is inspected for fills and impossible values; None: all of it.
        limits: the largest raster that is accepted.
        notes: a sentence for each kind of values that is left out is appended.
        empty: stored number that means nodata, if the file declares none.

    Raises:
        BandMissingError: the raster has no such band.
        RadiometryError: a scale, unit or value is impossible, or the band contains something else.
        TruncatedRasterError: a block cannot be read.
        NotARasterError, ForbiddenSourceError, TooLargeError: see `open_raster`.
    """

    def prepare(source: Any, stack: ExitStack) -> Any:
        if not 1 <= index <= source.count:
            raise BandMissingError(f"{path}: band {index} was asked for, the file has {source.count}")
        colour = source.colorinterp[index - 1].name
        if colour in COLOURS and quantity is not FACTOR and source.dtypes[index - 1] in {"uint8", "uint16"}:
            raise RadiometryError(f"{path}: band {index} is the {colour} of a picture: no {quantity.name}")
        if quantity is HEIGHT:
            _refuse_other_band(source.descriptions, path, index)
        scale, offset = _read_scale(source, path, quantity, index)
        window = _find_window(source, ground)
        left, top, right, bottom = window
        make_checker(source, path).check(index, left, top, right - left, bottom - top)
        if source.colorinterp[-1] is ColorInterp.alpha and MaskFlags.all_valid in source.mask_flag_enums[index - 1]:
            source = use_last_band_as_mask(source, stack)
        stat = path.stat()
        version = stat.st_mtime_ns, stat.st_size, stat.st_ino
        fill_notes, fills = _inspect_band(
            _InspectionKey(path.resolve(), version, index, quantity, window, scale, offset), source
        )
        if notes is not None:
            notes.extend(note for note in fill_notes if note not in notes)
        is_scaled = (scale, offset) != (1.0, 0.0)
        if empty is not None and source.nodata is None and (is_scaled or fills):
            fills = (*fills, empty)
        # A mask becomes a nodata value, because neither warping nor the removal of fills uses masks.
        flags = source.mask_flag_enums[index - 1]
        if MaskFlags.all_valid not in flags and (fills or MaskFlags.nodata not in flags):
            source = rewrite_band(source, index, stack)
        for fill in fills:
            source = rewrite_band(source, index, stack, fill=fill)
        return rewrite_band(source, index, stack, scale=scale, offset=offset) if is_scaled else source

    with open_raster(path, limits, prepare) as source:
        yield source


def _refuse_other_band(names: Sequence[str | None], path: Path, index: int) -> None:
    """Refuse a band whose name states that it contains no heights."""
    name = names[index - 1]
    height_names = [other for other in names if other and _HEIGHT_NAMES.search(other)]
    if name and height_names and not _HEIGHT_NAMES.search(name):
        raise RadiometryError(
            f"{path}: band {index} is called {name!r}, another one {height_names[0]!r}: write the heights alone into a "
            f"file: gdal_translate -b {names.index(height_names[0]) + 1}"
        )
    if name and not height_names and _OTHER_NAMES.search(name):
        raise RadiometryError(f"{path}: band {index} is called {name!r}: these are no heights")


def _read_scale(source: Any, path: Path, quantity: BandQuantity, index: int) -> tuple[float, float]:
    scale, offset = float(source.scales[index - 1]), float(source.offsets[index - 1])
    if not (np.isfinite(scale) and np.isfinite(offset) and scale):
        raise RadiometryError(f"{path}: band {index} has the scale {scale:g} and the offset {offset:g}")
    if not quantity.units:
        return scale, offset
    factor, unit = _find_factor(source, path, quantity, index)
    if factor == scale != 1:
        raise RadiometryError(
            f"{path}: band {index} has both the scale {scale:g} and the unit {unit!r}: it is not clear "
            f"whether its numbers must be converted; keep one of them: gdal_edit.py -scale 1 or -units m"
        )
    return scale * factor, offset * factor


def _find_factor(source: Any, path: Path, quantity: BandQuantity, index: int) -> tuple[float, str]:
    """Return the factor and name of the unit of a band, or of its vertical system; 1 if neither states a unit."""
    unit = (source.units[index - 1] or "").strip()
    if unit:
        words = re.sub(r"[][().]", " ", unit.lower()).split()
        factor = quantity.units.get(" ".join(words), quantity.units.get(words[0]) if words else None)
        if factor is None:
            names = {value: name for name, value in reversed(list(quantity.units.items()))}
            raise RadiometryError(
                f"{path}: {quantity.name} in {unit!r}; expected {', '.join(reversed(names.values()))}"
            )
        return factor, unit
    if source.crs is None or quantity.units is not METRES:
        return 1.0, ""
    try:
        crs = pyproj.CRS(source.crs.to_wkt())
    except (CRSError, ProjError):
        return 1.0, ""
    if len(crs.axis_info) == 3:  # the third axis is that of the heights
        return float(crs.axis_info[2].unit_conversion_factor), str(crs.axis_info[2].unit_name)
    axis = crs.axis_info[0] if crs.is_projected and crs.axis_info else None
    if axis is not None and abs(axis.unit_conversion_factor - 1) > 1e-9:
        raise RadiometryError(
            f"{path}: x and y are in units of {axis.unit_conversion_factor:.4f} m, the unit of {quantity.name} is not "
            "said; write it into the file: gdal_edit.py -units m, ft or us-ft"
        )
    return 1.0, ""


def _find_window(source: Any, ground: Grid | None) -> tuple[int, int, int, int]:
    whole = (0, 0, source.width, source.height)
    if ground is None or not ground.placed or source.crs is None or source.transform.is_identity:
        return whole
    try:
        left, top, right, bottom = window_below(source, ground)
    except (RasterioError, CRSError):
        return whole
    return (left, top, right, bottom) if left < right and top < bottom else whole


class _InspectionKey(NamedTuple):
    path: Path
    version: tuple[int, int, int]  # time of change, size and inode
    band: int
    quantity: BandQuantity
    window: tuple[int, int, int, int]
    scale: float
    offset: float


# Notes and fills of the bands that this process has inspected, because it opens a file many times.
_inspections: Final[dict[_InspectionKey, tuple[list[str], tuple[float, ...]]]] = {}


def _inspect_band(key: _InspectionKey, source: Any) -> tuple[list[str], tuple[float, ...]]:
    """Return a note on each undeclared fill of a band, and the fills; refuse impossible values."""
    if key in _inspections:
        return _inspections[key]
    path, quantity = key.path, key.quantity
    statistics, slopes, has_nan = _read_statistics(key, source)
    fills = statistics.find_fills(None if quantity.fill_distance is None else quantity.fill_distance / abs(key.scale))
    low, high = sorted(number * key.scale + key.offset for number in (statistics.low, statistics.high))
    if statistics.low <= statistics.high and (low < quantity.low or high > quantity.high):
        raise RadiometryError(
            f"{path}: {quantity.name} from {low:,.6g} to {high:,.6g}: possible are {quantity.low:,.3g} to "
            f"{quantity.high:,.3g}; {quantity.remedy}"
        )
    if slopes.size and float(np.median(slopes)) > STEEPEST_DEG:
        raise RadiometryError(
            f"{path}: half of the ground is steeper than {np.median(slopes):.0f} degrees: are these heights in metres? "
            f"{quantity.remedy}"
        )
    notes = [
        f"{path.name}: {count:,} pixels of band {key.band} have {fill:g}, which stands alone among its "
        f"{quantity.name}: taken as nodata, which the file does not declare"
        for fill, count in fills.items()
    ]
    # NaN becomes nodata, because a warp would spread it to the neighbours.
    removed_values = (*fills, np.nan) if has_nan else tuple(fills)
    inspection = notes, removed_values
    if source.driver != "VRT":  # a rewritten raster also depends on the file beside it
        if len(_inspections) >= MOST_INSPECTIONS:
            _inspections.pop(next(iter(_inspections)))
        _inspections[key] = inspection
    return inspection


def _read_statistics(key: _InspectionKey, source: Any) -> tuple[ValueStatistics, NDArray[Any], bool]:
    """Return statistics of a band, slopes of a part of its ground in degrees (heights only), and whether it has NaN."""
    statistics = ValueStatistics(zero_can_be_fill=key.quantity.zero_can_be_fill)
    slopes: list[NDArray[Any]] = []
    has_nan = False
    left, top, right, bottom = key.window
    strip_rows = max(1, STRIP_PX // (right - left))
    boxes = [(left, row, right, min(bottom, row + strip_rows)) for row in range(top, bottom, strip_rows)]
    slope_strips = set(np.linspace(0, len(boxes) - 1, min(SLOPE_STRIPS, len(boxes))).astype(int).tolist())
    for number, box in enumerate(boxes):
        window = (box[1::2], box[::2])
        try:
            values, valid = source.read(key.band, window=window), source.read_masks(key.band, window=window) > 0
        except RasterioError:
            raise TruncatedRasterError(f"{key.path}: a block from row {box[1]} on cannot be read") from None
        if values.dtype.kind == "f":
            numbers = np.isfinite(values)
            has_nan |= bool((valid & ~numbers).any())
            valid &= numbers
        statistics.add(values, valid)
        if key.quantity is HEIGHT and number in slope_strips and statistics.low <= statistics.high:
            rows = slice(max(3, min(SLOPE_ROWS, SLOPE_PX // (right - left))))
            values, valid = values[rows].astype(np.float64), valid[rows]
            valid &= (values >= statistics.low) & (values <= statistics.high)
            slopes.append(_compute_slopes(source, values * key.scale + key.offset, valid, box))
    return statistics, np.concatenate(slopes) if slopes else np.empty(0), has_nan


def _compute_slopes(source: Any, heights: NDArray[Any], valid: NDArray[np.bool_], box: tuple[int, ...]) -> NDArray[Any]:
    if source.crs is None or source.transform.is_identity or not valid.any():
        return np.empty(0)
    try:
        grid = Grid(source.transform, source.crs.to_wkt(), source.width, source.height)
        spacing = spacing_m(grid, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    except (CRSError, ProjError):  # a local system that no site file places on the ground
        return np.empty(0)
    if not np.isfinite(spacing).all() or not min(spacing) > 0:
        return np.empty(0)
    slopes = slope_deg(heights, valid, spacing)
    return np.asarray(slopes[np.isfinite(slopes)])

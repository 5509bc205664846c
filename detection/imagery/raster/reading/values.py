"""What the numbers of a raster mean: the one reader of values of every verb, and what it leaves out.

A value is what the file stores, times its scale, plus its offset, in the unit of the quantity; nothing where a mask,
an alpha band, nodata or a fill that nobody declared says so. What cannot be meant is refused.
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

STRIP_PX: Final = 1 << 21  # looked at at once
SEEN_MOST: Final = 256
SLOPE_STRIPS: Final = 16
SLOPE_ROWS: Final = 256  # of a strip, and no more pixels than
SLOPE_PX: Final = 1 << 18
STEEPEST_DEG: Final = 60.0
_OF_HEIGHTS: Final = re.compile(r"(?<![a-z])(?:dem|dtm|dsm|elev\w*|heights?|altitude|z)(?![a-z])", re.IGNORECASE)
_NO_HEIGHTS: Final = re.compile(
    r"(?<![a-z])(?:slopes?|aspect|hill_?shade|shaded|curvature|roughness|intensity|ndvi|coherence|density)(?![a-z])",
    re.IGNORECASE,
)
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
    """What a band holds."""

    name: str  # for people, in the plural where that is how one speaks of it
    low: float = -np.inf  # no value is less
    high: float = np.inf  # no value is greater
    # by which a number in a unit that a band says is multiplied; none: what it says is not looked at
    units: Mapping[str, float] = field(default_factory=dict, compare=False)
    zero: bool = False  # 0, or a whole number below it, can be a fill that nobody declared
    content: str = ""  # what `choose_band` looks for in the names of bands; "": band 1
    apart: float | None = None  # how far away from all others such a fill lies at least; None: a share of their range
    # what to do where values lie beyond low and high
    hint: str = "declare nodata, scale and unit: gdal_edit.py -a_nodata, -scale, -units"


HEIGHT: Final = BandQuantity("heights", -500.0, 9000.0, units=METRES, zero=True, apart=3.0)
HEIGHT_ERROR: Final = BandQuantity("errors of heights", 0.0, 9000.0, units=METRES)
COHERENCES: Final = BandQuantity(
    "coherences",
    -0.05,
    1.05,
    content="coherence",
    hint="bytes of 0 to 255 need gdal_edit.py -scale 0.003921569, per cent -scale 0.01",
)
SHARE: Final = BandQuantity(
    "probabilities", -1e-6, 1 + 1e-6, hint="what has none is declared as nodata, per cent need gdal_edit.py -scale 0.01"
)
PHASE: Final = BandQuantity("phases", -1e6, 1e6, units=RADIANS, content="phase")
RATE: Final = BandQuantity("velocities")
ANGLE: Final = BandQuantity("angles of incidence", -360.0, 360.0, units=DEGREES, content="angle")
BACKSCATTER: Final = BandQuantity("backscatter")
FACTOR: Final = BandQuantity("values")


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
    """Open a raster of which one band is given as values of a quantity; where nothing must be changed, as it is.

    Args:
        ground: what is looked at for fills and impossible values; None: all of it.
        notes: gets one sentence for each kind of what was left out.
        empty: the number that means nothing, as it is stored, where the file declares none.

    Raises:
        BandMissingError: no such band.
        RadiometryError: a scale, a unit or values that cannot be meant.
        TruncatedRasterError: a block cannot be read.
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
        window = left, top, right, bottom = _find_window(source, ground)
        make_checker(source, path).check(index, left, top, right - left, bottom - top)
        if source.colorinterp[-1] is ColorInterp.alpha and MaskFlags.all_valid in source.mask_flag_enums[index - 1]:
            # the driver takes an alpha band of bytes for the mask of all others, and no other
            source = use_last_band_as_mask(source, stack)
        stat = path.stat()
        changed = stat.st_mtime_ns, stat.st_size, stat.st_ino
        lines, fills = _inspect_band(
            _InspectionKey(path.resolve(), changed, index, quantity, window, scale, offset), source
        )
        if notes is not None:
            notes.extend(line for line in lines if line not in notes)
        scaled = (scale, offset) != (1.0, 0.0)
        if empty is not None and source.nodata is None and (scaled or fills):
            fills = (*fills, empty)
        # what hides pixels becomes one nodata: neither all that warps nor what takes out fills asks for a mask
        flags = source.mask_flag_enums[index - 1]
        if MaskFlags.all_valid not in flags and (fills or MaskFlags.nodata not in flags):
            source = rewrite_band(source, index, stack)
        for fill in fills:
            source = rewrite_band(source, index, stack, fill=fill)
        return rewrite_band(source, index, stack, scale=scale, offset=offset) if scaled else source

    with open_raster(path, limits, prepare) as source:
        yield source


def _refuse_other_band(names: Sequence[str | None], path: Path, index: int) -> None:
    """A band that its file calls something else, where another one is called so, or at all, is none of heights."""
    own, heights = names[index - 1], [name for name in names if name and _OF_HEIGHTS.search(name)]
    if own and heights and not _OF_HEIGHTS.search(own):
        raise RadiometryError(
            f"{path}: band {index} is called {own!r}, another one {heights[0]!r}: write the heights alone into a file: "
            f"gdal_translate -b {names.index(heights[0]) + 1}"
        )
    if own and not heights and _NO_HEIGHTS.search(own):
        raise RadiometryError(f"{path}: band {index} is called {own!r}: these are no heights")


def _read_scale(source: Any, path: Path, quantity: BandQuantity, index: int) -> tuple[float, float]:
    scale, offset = float(source.scales[index - 1]), float(source.offsets[index - 1])
    if not (np.isfinite(scale) and np.isfinite(offset) and scale):
        raise RadiometryError(f"{path}: band {index} has the scale {scale:g} and the offset {offset:g}")
    if not quantity.units:
        return scale, offset
    factor, unit = _find_factor(source, path, quantity, index)
    if factor == scale != 1:
        raise RadiometryError(
            f"{path}: band {index} has both the scale {scale:g} and the unit {unit!r}: nobody can say whether its "
            f"numbers count once or twice; keep one of them: gdal_edit.py -scale 1 or -units m"
        )
    return scale * factor, offset * factor


def _find_factor(source: Any, path: Path, quantity: BandQuantity, index: int) -> tuple[float, str]:
    """What the unit of a band is worth, as it says or its system of heights does; 1 where both are mute."""
    unit = (source.units[index - 1] or "").strip()
    if unit:
        words = re.sub(r"[][().]", " ", unit.lower()).split()
        factor = quantity.units.get(" ".join(words), quantity.units.get(words[0]) if words else None)
        if factor is None:
            known = {value: name for name, value in reversed(list(quantity.units.items()))}
            raise RadiometryError(
                f"{path}: {quantity.name} in {unit!r}; expected {', '.join(reversed(known.values()))}"
            )
        return factor, unit
    if source.crs is None or quantity.units is not METRES:
        return 1.0, ""
    try:
        crs = pyproj.CRS(source.crs.to_wkt())
    except (CRSError, ProjError):
        return 1.0, ""
    if len(crs.axis_info) == 3:  # of a compound system those of its parts
        return float(crs.axis_info[2].unit_conversion_factor), str(crs.axis_info[2].unit_name)
    flat = crs.axis_info[0] if crs.is_projected and crs.axis_info else None
    if flat is not None and abs(flat.unit_conversion_factor - 1) > 1e-9:
        raise RadiometryError(
            f"{path}: x and y are in units of {flat.unit_conversion_factor:.4f} m, the unit of {quantity.name} is not "
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
    changed: tuple[int, int, int]
    band: int
    quantity: BandQuantity
    window: tuple[int, int, int, int]
    scale: float
    offset: float


_SEEN: Final[
    dict[_InspectionKey, tuple[list[str], tuple[float, ...]]]
] = {}  # in this process; a file is opened again and again


def _inspect_band(key: _InspectionKey, source: Any) -> tuple[list[str], tuple[float, ...]]:
    if key in _SEEN:
        return _SEEN[key]
    path, quantity = key.path, key.quantity
    record, slopes, holed = _read_statistics(key, source)
    fills = record.find_fills(None if quantity.apart is None else quantity.apart / abs(key.scale))
    low, high = sorted(one * key.scale + key.offset for one in (record.low, record.high))
    if record.low <= record.high and (low < quantity.low or high > quantity.high):
        raise RadiometryError(
            f"{path}: {quantity.name} from {low:,.6g} to {high:,.6g}: possible are {quantity.low:,.3g} to "
            f"{quantity.high:,.3g}; {quantity.hint}"
        )
    if slopes.size and float(np.median(slopes)) > STEEPEST_DEG:
        raise RadiometryError(
            f"{path}: half of the ground is steeper than {np.median(slopes):.0f} degrees: are these heights in metres? "
            f"{quantity.hint}"
        )
    lines = [
        f"{path.name}: {many:,} pixels of band {key.band} have {fill:g}, which stands alone among its "
        f"{quantity.name}: taken as nodata, which the file does not declare"
        for fill, many in fills.items()
    ]
    # what is no number takes its neighbours along where a raster is warped, what is nodata does not
    found = lines, (*fills, np.nan) if holed else tuple(fills)
    if source.driver != "VRT":  # a rewritten raster also depends on the file beside it
        if len(_SEEN) >= SEEN_MOST:
            _SEEN.pop(next(iter(_SEEN)))
        _SEEN[key] = found
    return found


def _read_statistics(key: _InspectionKey, source: Any) -> tuple[ValueStatistics, NDArray[Any], bool]:
    record, slopes, holed = ValueStatistics(zero=key.quantity.zero), [], False
    left, first, right, end = key.window
    step = max(1, STRIP_PX // (right - left))
    boxes = [(left, row, right, min(end, row + step)) for row in range(first, end, step)]
    sloping = set(np.linspace(0, len(boxes) - 1, min(SLOPE_STRIPS, len(boxes))).astype(int).tolist())
    for number, box in enumerate(boxes):
        window = (box[1::2], box[::2])
        try:
            values, valid = source.read(key.band, window=window), source.read_masks(key.band, window=window) > 0
        except RasterioError:
            raise TruncatedRasterError(f"{key.path}: a block from row {box[1]} on cannot be read") from None
        if values.dtype.kind == "f":
            numbers = np.isfinite(values)
            holed |= bool((valid & ~numbers).any())
            valid &= numbers
        record.feed(values, valid)
        if key.quantity is HEIGHT and number in sloping and record.low <= record.high:
            rows = slice(max(3, min(SLOPE_ROWS, SLOPE_PX // (right - left))))
            values, valid = values[rows].astype(np.float64), valid[rows]
            valid &= (values >= record.low) & (values <= record.high)
            slopes.append(_slopes(source, values * key.scale + key.offset, valid, box))
    return record, np.concatenate(slopes) if slopes else np.empty(0), holed


def _slopes(source: Any, heights: NDArray[Any], valid: NDArray[np.bool_], box: tuple[int, ...]) -> NDArray[Any]:
    if source.crs is None or source.transform.is_identity or not valid.any():
        return np.empty(0)
    try:
        grid = Grid(source.transform, source.crs.to_wkt(), source.width, source.height)
        spacing = spacing_m(grid, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    except (CRSError, ProjError):  # a local system, which only a site can place
        return np.empty(0)
    if not np.isfinite(spacing).all() or not min(spacing) > 0:
        return np.empty(0)
    found = slope_deg(heights, valid, spacing)
    return np.asarray(found[np.isfinite(found)])

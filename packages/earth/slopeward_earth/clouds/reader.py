"""Point clouds from outside, read in parts: where they lie, in which units, and their points in metres of height."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyproj
from numpy.typing import NDArray
from pyproj.database import get_units_map
from pyproj.exceptions import CRSError

from detection.imagery.raster.reading.values import HEIGHT
from slopeward_earth.clouds.header import CloudError, DamagedCloudError, Header, NoPlaceError, read_header

PART_BYTES: Final = 64 << 20
PART_MOST: Final = 1_000_000
# Height units as people write them; GeoTIFF keys number them (EPSG).
METRES: Final = {"m": 1.0, "ft": 0.3048, "us-ft": 1200 / 3937}
VERTICAL_UNITS_KEY: Final = 4099
VERTICAL_KEY: Final = 4096
VERTICAL_CODES: Final = range(1024, 32767)
ELLIPSOID: Final = "heights above the ellipsoid"
SLACK: Final = 1.0  # units by which writers round the bounds of a header
NOISE: Final = (7, 18)  # classes of noise (LAS 1.4)
GROUND: Final = 2


@dataclass(frozen=True, slots=True)
class CloudPlace:
    """Where a cloud lies."""

    crs_wkt: str  # of x and y, without heights
    unit_m: float  # metres in one unit of x and y
    height_m: float  # metres in one unit of z
    vertical: str = ""  # the system of heights, such as `EGM2008 height`; empty where nobody says it
    vertical_wkt: str = ""  # the same where it is in metres and a part of a compound system can be made of it


@dataclass(frozen=True, slots=True)
class CloudChunk:
    """Points of a file: x, y as the file has them, z in metres, and their class; `read` counts also those left out."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: NDArray[np.float64]
    kind: NDArray[np.uint8]
    read: int


def read_place(path: Path, crs: str | None = None, height_unit: str | None = None) -> CloudPlace:
    """Read where a cloud lies from its header: WKT, or GeoTIFF keys.

    `crs` (`EPSG:code`) and `height_unit` (`m`, `ft`, `us-ft`) are those of a file that does not say.

    Raises NoPlaceError: nobody says it, two say different things, or it is in degrees.
    """
    if height_unit is not None and height_unit not in METRES:
        raise NoPlaceError(f"height unit {height_unit!r}: expected one of {', '.join(METRES)}")
    with _open(path) as reader:
        try:
            found = reader.header.parse_crs()
        except Exception:  # whatever a damaged record makes of the parser
            raise NoPlaceError(f"{path}: its coordinate reference system cannot be understood") from None
        declared = None if found is None else pyproj.CRS(found)
        vertical_by_key, key_wkt, by_key = _read_keys(path, reader)
    if declared is None and crs is None:
        raise NoPlaceError(f"{path}: does not say its coordinate reference system; give --crs EPSG:CODE")
    try:
        given = None if crs is None else pyproj.CRS.from_user_input(crs)
    except CRSError:
        raise NoPlaceError(f"--crs {crs!r} is no coordinate reference system; such as EPSG:32632") from None
    if declared is None:
        assert given is not None
        declared = given
    flat, height, vertical, wkt = _split(path, declared)
    if given is not None:
        stated, _, *system = _split(path, given)
        if not vertical:
            vertical, wkt = system
        if not flat.equals(stated, ignore_axis_order=True):
            raise NoPlaceError(f"{path}: its header says {flat.name}, --crs says {given.name}; leave --crs out")
    if not flat.is_projected:
        raise NoPlaceError(f"{path}: {flat.name} is no projected system: bring the cloud into one (such as UTM) first")
    unit = float(flat.axis_info[0].unit_conversion_factor)
    height_m = _find_height_m(path, height or by_key, height_unit, unit)
    return CloudPlace(flat.to_wkt(), unit, height_m, vertical or vertical_by_key, wkt if vertical else key_wkt)


def _find_height_m(path: Path, height_m: float | None, height_unit: str | None, unit: float) -> float:
    """Metres in one unit of heights: what the header or the caller says, else those of x and y where they are metres.

    Raises NoPlaceError: both say different units, or nobody says one.
    """
    if height_m is not None and height_unit is not None and abs(height_m - METRES[height_unit]) > 1e-9:
        raise NoPlaceError(f"{path}: its header says another unit of heights than --height-unit {height_unit}")
    if height_m is None and height_unit is not None:
        height_m = METRES[height_unit]
    if height_m is None:
        if abs(unit - 1) > 1e-9:
            raise NoPlaceError(
                f"{path}: x and y are in units of {unit:.4f} m, the unit of heights is not said; give --height-unit "
                "m, ft or us-ft"
            )
        height_m = 1.0
    return height_m


def _read_keys(path: Path, reader: Any) -> tuple[str, str, float | None]:
    """The system of heights as GeoTIFF keys name it, its WKT, and metres in a unit of height; else empty."""
    keys = {key.id: key.value_offset for one in reader.header.vlrs for key in getattr(one, "geo_keys", ())}
    name, wkt, unit = "", "", None
    if (code := keys.get(VERTICAL_KEY, 0)) in VERTICAL_CODES:
        name = f"EPSG:{code}"
        with suppress(CRSError):
            found = pyproj.CRS.from_epsg(code)
            name, wkt = str(found.name), _to_metric_wkt(found)
            unit = float(found.axis_info[0].unit_conversion_factor) if found.is_vertical else None
    if (code := keys.get(VERTICAL_UNITS_KEY)) is not None:
        units = get_units_map("EPSG", "linear").values()
        unit = next((one.conv_factor for one in units if one.code == str(code)), None)
        if unit is None:
            raise NoPlaceError(f"{path}: its heights are in the unit {code}, which nobody knows")
    return name, wkt, unit


def _to_metric_wkt(height: pyproj.CRS) -> str:
    """A system of heights as WKT; empty where it is not one of metres upwards, as heights are written."""
    axis = height.axis_info[0] if height.is_vertical else None
    fits = axis is not None and axis.direction == "up" and abs(axis.unit_conversion_factor - 1.0) < 1e-12
    return str(height.to_wkt()) if fits else ""


def _split(path: Path, crs: pyproj.CRS) -> tuple[pyproj.CRS, float | None, str, str]:
    """The system of x and y, metres in a unit of height, the system of heights and its WKT, where it says so."""
    if crs.is_compound:
        flat, height = crs.sub_crs_list[0], crs.sub_crs_list[1]
        return flat, float(height.axis_info[0].unit_conversion_factor), str(height.name), _to_metric_wkt(height)
    if crs.is_geocentric:
        raise NoPlaceError(f"{path}: {crs.name} is geocentric: bring the cloud into a projected system first")
    height_axis = crs.axis_info[2:3]
    if height_axis:
        return crs.to_2d(), float(height_axis[0].unit_conversion_factor), ELLIPSOID, ""
    return crs.to_2d(), None, "", ""


def read_parts(path: Path, height_m: float) -> Iterator[CloudChunk]:
    """Yield the points of a file, without those that are withheld or of a class of noise.

    Raises DamagedCloudError: it ends early, or points lie outside of the bounds that its header says.
    """
    header = read_header(path)
    size = max(1, min(PART_MOST, PART_BYTES // header.record_bytes))
    read = 0
    with _open(path) as reader:
        parts = reader.chunk_iterator(size)
        while True:
            try:
                points = next(parts, None)
            except (CloudError, KeyboardInterrupt):
                raise
            except Exception:  # whatever damaged bytes make of the unpacker
                raise _cut(path, read, header.points) from None
            if points is None:
                break
            if not len(points):
                raise _cut(path, read, header.points)
            read += len(points)
            yield _take(path, points, header, height_m)
    if read != header.points:
        raise _cut(path, read, header.points)


def _cut(path: Path, read: int, stated: int) -> DamagedCloudError:
    return DamagedCloudError(f"{path}: after {read:,} of {stated:,} points it cannot be read: truncated or damaged")


def _take(path: Path, points: Any, header: Header, height_m: float) -> CloudChunk:
    x, y, z = (np.asarray(getattr(points, axis), np.float64) for axis in "xyz")
    for values, low, high in zip((x, y, z), header.low, header.high, strict=True):
        if values.min() < low - SLACK or values.max() > high + SLACK:
            raise DamagedCloudError(
                f"{path}: a point lies outside of the bounds that the header says: scale, offset or points are damaged"
            )
    kind = np.asarray(points.classification, np.uint8)
    kept = ~np.isin(kind, NOISE)
    if "withheld" in points.point_format.dimension_names:
        kept &= ~np.asarray(points.withheld, bool)
    heights = z[kept] * height_m
    if heights.size and (heights.min() < HEIGHT.low or heights.max() > HEIGHT.high):
        raise DamagedCloudError(
            f"{path}: heights from {heights.min():,.6g} to {heights.max():,.6g} m: possible are {HEIGHT.low:,.3g} to "
            f"{HEIGHT.high:,.3g}; leave such points out (pdal translate, filters.range), or is the unit another?"
        )
    return CloudChunk(x[kept], y[kept], heights, kind[kept], len(x))


def _open(path: Path) -> Any:
    """A reader of laspy, one core, nothing read yet but the header and its records."""
    read_header(path)
    import laspy
    import lazrs  # noqa: F401 - laspy unpacks by it, and would call its absence a damaged file

    try:
        return laspy.open(path, laz_backend=laspy.LazBackend.Lazrs)
    except Exception:  # whatever a damaged record makes of the library
        raise DamagedCloudError(f"{path}: its header cannot be understood: damaged") from None

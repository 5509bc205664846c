"""Readers of grids: readings at the stations of a site, or every pixel as a point of satellite radar."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from pyproj import CRS
from rasterio.errors import RasterioError
from rasterio.windows import Window

from detection.imagery.errors import ImageryError
from detection.imagery.raster.untrusted import open_raster
from monitor.errors import ConfigError, PayloadError
from monitor.ingest.files.reader import (
    DIRECTIONS,
    BadRow,
    ImportOptions,
    PointLine,
    ReadingLine,
    ValueMeaning,
    is_companion,
    list_companions,
)
from monitor.ingest.grids.beside import describe_band, list_layers_beside, read_raster_layer
from monitor.ingest.grids.cf import check_stamp, choose_unit, classify_sums, find_date, may_add_up, read_unit
from monitor.ingest.grids.quality import NONE, Footing, QualityLayer, choose_mask, find_rule, is_quality_name
from monitor.ingest.grids.stack import Array, GridStack, find_near, leave_fills, name_reference
from monitor.readings.queries.points import Point, PointValue
from monitor.sites.quantities import QUANTITIES, convert, is_unit_of
from monitor.sites.units import UNITS
from monitor.text.reasons import describe_error

TAGGED: Final = 8  # bands whose tags are read
_UNIT_KEYS: Final = frozenset({"UNIT", "UNITS", "GRIB_UNIT"})  # tags that say what GeoTIFF has an element for
# rain that is less than nothing by so much at most is the rounding of packed numbers, or of a difference of sums
_ROUNDED_MM: Final = 0.05


@contextmanager
def open_geotiff(
    path: Path, *, ends: bool, mask: str | None = NONE, companions: Sequence[Path] = ()
) -> Iterator[GridStack]:
    """Open a raster; values are nothing where its mask or nodata says so; `ends` as `find_date` has it.

    Args:
        mask: the value of `--mask`; None: apply the quality layers whose good values are named.
        companions: masks and quality layers that lie beside it.

    Raises:
        ConfigError: it is no such raster, lies in no place, or a band has no date; one line.
    """
    try:
        with ExitStack() as stack:
            source = stack.enter_context(open_raster(path))
            yield _read_stack(path, source, stack, ends=ends, mask=mask, companions=companions)
    except (ImageryError, RasterioError, OSError, ValueError, MemoryError) as error:
        text = " ".join(describe_error(error).split()).removeprefix(f"{path}: ")
        raise ConfigError(f"{path}: {text[:300]}") from None


def _read_stack(
    path: Path, source: Any, opened: ExitStack, *, ends: bool, mask: str | None, companions: Sequence[Path]
) -> GridStack:
    t = source.transform
    if source.crs is None or t.b or t.d:
        raise ConfigError(f"{path}: expected a raster with coordinates whose rows run east to west")
    x = t.c + t.a * (np.arange(source.width) + 0.5)
    y = t.f + t.e * (np.arange(source.height) + 0.5)
    quality_bands = _find_quality_bands(source)
    dated = [band for band in range(1, source.count + 1) if band not in quality_bands]
    times = _find_times(path, source, dated, ends=ends)
    units = _find_units(source, dated)
    if len(units) > 1:
        raise ConfigError(f"{path}: bands in different units: {', '.join(sorted(units))}")

    def read(layers: slice, rows: slice, columns: slice) -> Array:
        window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        bands = dated[layers]
        found = source.read(bands, window=window, masked=True).astype(float)
        scales, offsets = (
            np.array([each[b - 1] for b in bands])[:, None, None] for each in (source.scales, source.offsets)
        )
        plain: Array = leave_fills(np.ma.filled(found, np.nan), zero=False) * scales + offsets
        return plain

    crs = CRS.from_wkt(source.crs.to_wkt())
    quality = None
    if mask != NONE:
        own = [_make_band_layer(source, band, name) for band, name in quality_bands.items()]
        beside = list_layers_beside(path, Footing(times, x, y, crs), companions, opened)
        quality = choose_mask(path.name, [*own, *beside], mask)
    tags = [source.tags(), *(source.tags(band) for band in range(1, min(source.count, TAGGED) + 1))]
    texts = [str(text) for each in tags for text in each.values()]
    called = {text for each in tags for key, text in each.items() if key.upper() in {"GRIB_ELEMENT", "VARIABLE"}}
    return GridStack(
        path.name,
        times,
        x,
        y,
        crs,
        units.pop(),
        read,
        source.block_shapes[0][0],
        may_add_up=any(may_add_up(name, texts) for name in called or {""}),
        reference_at=_find_reference(source.tags()),
        reference_point=name_reference(source.tags()),
        mask_name="" if quality is None else quality.name,
        read_good=None if quality is None else quality.read_good,
    )


def _find_quality_bands(source: Any) -> dict[int, str]:
    """Find the bands of a stack that are masks or quality layers by their names: the number of each, and its name."""
    if source.count == 1:
        return {}
    return {
        band: "_".join(text.split())
        for band, text in enumerate(source.descriptions, 1)
        if text and is_quality_name(text) and find_date(text) is None
    }


def _make_band_layer(source: Any, band: int, name: str) -> QualityLayer:
    def read(layers: slice, rows: slice, columns: slice) -> Array:  # noqa: ARG001  one layer serves all dates
        return read_raster_layer(source, [band], rows, columns)

    return QualityLayer(name, read, find_rule(name, describe_band(source, band)))


def _find_units(source: Any, dated: Sequence[int]) -> set[str]:
    """What the bands say, or where they are mute a tag of the file or of its first band that is a unit we know."""
    if any(source.units[band - 1] for band in dated):
        return {source.units[band - 1] or "" for band in dated}
    tags = [pair for each in (source.tags(), source.tags(1)) for pair in each.items()]
    named = {read_unit(str(value).strip(" []")) for key, value in tags if key.upper() in _UNIT_KEYS}
    return {unit for unit in named if unit in UNITS and unit != "1"} or {""}


def _find_times(path: Path, source: Any, dated: Sequence[int], *, ends: bool) -> tuple[datetime, ...]:
    named = [find_date(source.descriptions[band - 1] or "", ends=ends) for band in dated]
    if named and all(named):
        return tuple(at for at in named if at is not None)
    if len(dated) == 1:
        tags = source.tags()
        for text in (tags.get("ACQUIRED_AT"), path.name):
            if text and (at := _read_tag(text, ends=ends)):
                return (at,)
    if not named:
        raise ConfigError(f"{path}: every band is a mask or a quality layer by its name; expected displacement by date")
    raise ConfigError(f"{path}: band {dated[named.index(None)]} has no date (YYYYMMDD) in its name")


def _find_reference(tags: dict[str, str]) -> datetime | None:
    upper = {key.upper(): value for key, value in tags.items()}
    text = next((upper[key] for key in ("REF_DATE", "REFERENCE_DATE", "REFERENCE_TIME") if key in upper), None)
    return None if text is None else _read_tag(text, ends=False)


def _read_tag(text: str, *, ends: bool) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return find_date(text, ends=ends)
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


MOST_POINTS: Final = 2_000_000
LEAST_SHARE: Final = 0.5  # of the cells of a window that must have a value
LAYERS_AT_ONCE: Final = 512
RAIN: Final = "rain"
MOTION: Final = "displacement"
_OF_MOTION: Final = frozenset({"mm", "cm", "m", "mm/yr", "cm/yr", "m/yr", "mm/day", "m/day"})
TOWARDS: Final = "los-towards"


def _open_stack(path: Path, options: ImportOptions, *, ends: bool) -> AbstractContextManager[GridStack]:
    mask = _find_mask_option(options)
    companions: Sequence[Path] = ()
    if mask != NONE:
        companions = list_companions(path) if options.companions is None else options.companions
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"CDF") or head == b"\x89HDF\r\n\x1a\n":
        from monitor.ingest.grids.netcdf import open_netcdf

        def beside(footing: Footing, opened: ExitStack) -> list[QualityLayer]:
            return list_layers_beside(path, footing, companions, opened)

        return open_netcdf(path, options.variable, ends=ends, mask=mask, beside=beside)
    if options.variable is not None:
        raise ConfigError(f"{path}: --variable belongs to netCDF files")
    return open_geotiff(path, ends=ends, mask=mask, companions=companions)


def _find_mask_option(options: ImportOptions) -> str | None:
    """Return `--mask`. Without it, quality layers mask displacement and velocity, but not rain and other quantities."""
    return options.mask if options.mask is not None or options.is_motion else NONE


# ---- at stations -------------------------------------------------------------------------------------------------


_OF_A_DAY: Final = {"mm/day": "mm", "m/day": "m"}  # rates of rain, and the unit of the sum of a day


def _check_motion(path: Path, stack: GridStack, options: ImportOptions) -> None:
    """Raise ConfigError where a file is a mask or a quality layer by its name, and has no unit of motion."""
    if options.is_motion and is_companion(path) and read_unit(stack.unit) not in _OF_MOTION:
        raise ConfigError(
            f"{path}: is a mask or a quality layer by its name, not displacement: import the displacement itself, and "
            "name this layer by --mask; if it holds displacement all the same, rename the file or write the unit into "
            "it"
        )


@contextmanager
def open_grid(path: Path, options: ImportOptions) -> Iterator[Iterator[ReadingLine]]:
    """What a grid says at the stations: the nearest cell, or the mean of the cells within `said.window_m`.

    A mean counts where half of the cells have a value. Rain is a sum of its interval and counts at the end of it.

    Raises:
        ConfigError: it is no such grid, or no station stands on it; one line.
    """
    quantity = str(options.quantity)
    with _open_stack(path, options, ends=quantity == RAIN) as stack:
        is_rain_rate = quantity == RAIN and read_unit(stack.unit) in _OF_A_DAY
        unit = _choose_daily_unit(stack, options) if is_rain_rate else choose_unit(stack.unit, options.unit, stack.name)
        if quantity in QUANTITIES and unit not in UNITS:
            usual = "rain is the sum of an interval" if quantity == RAIN else "give a file in a unit of the quantity"
            raise ConfigError(f"{stack.name}: unit {unit!r} is none of {quantity}: {usual}")
        if len(set(stack.times)) < len(stack.times):
            raise ConfigError(f"{stack.name}: two layers have the same time")
        cells = {
            p.station: found for p in options.places if (found := stack.find_cells(p, options.window_m)) is not None
        }
        if not cells:
            raise ConfigError(f"{stack.name}: none of {len(options.places)} stations with a place stands on this grid")
        if quantity == RAIN:
            _check_sums(stack, cells, options, unit)
        yield _walk_times(stack, cells, quantity, unit)


def _check_sums(stack: GridStack, cells: dict[str, Any], options: ImportOptions, unit: str) -> None:
    if stack.no_rain and options.variable is None and options.stamp is None:
        raise ConfigError(
            f"{stack.name}: its file says {stack.no_rain}: no sums of rain. Where they are, say --stamp interval_end"
        )
    rows: dict[str, list[tuple[float, float]]] = {station: [] for station in cells}
    for line in _walk_times(stack, cells, RAIN, unit):
        for row, _ in line.rows:
            rows[row["station"]].append((row["time"].timestamp(), row["value"]))
    adds = classify_sums(rows.values()) if stack.adds_up is None else stack.adds_up
    is_doubtful = stack.may_add_up and any(value > 0.0 for one in rows.values() for _, value in one)
    places = [place for place in options.places if place.station in cells]
    check_stamp(stack.name, places, options.stamp, adds=adds, is_doubtful=is_doubtful)


def _walk_times(stack: GridStack, cells: dict[str, Any], quantity: str, unit: str) -> Iterator[ReadingLine]:
    is_depth = quantity == RAIN and is_unit_of(unit, RAIN)
    rounded = _ROUNDED_MM / convert(1.0, unit, "mm") if is_depth else 0.0
    for first in range(0, len(stack.times), LAYERS_AT_ONCE):
        layers = slice(first, min(first + LAYERS_AT_ONCE, len(stack.times)))
        found: dict[str, Array] = {}
        rejected: dict[str, Any] = {}
        for station, (rows, columns, counts) in cells.items():
            values, taken = stack.read_masked(layers, rows, columns, zero=quantity == MOTION)
            found[station] = _average(values, counts)
            rejected[station] = taken[:, counts].any(axis=1)
        if is_depth:
            found = {s: np.where((v < 0.0) & (v > -rounded), 0.0, v) for s, v in found.items()}
        for k, at in enumerate(stack.times[layers]):
            rows = [
                ({"time": at, "station": s, "quantity": quantity, "unit": unit, "value": float(v[k])}, None)
                for s, v in found.items()
                if np.isfinite(v[k])
            ]
            masked = sum(bool(rejected[s][k]) and not np.isfinite(v[k]) for s, v in found.items())
            yield ReadingLine(tuple(rows), len(found) - len(rows), stack.mask_name, masked)


def _average(values: Array, counts: Any) -> Array:
    inside = values[:, counts]
    valid = np.isfinite(inside)
    enough = valid.sum(axis=1) >= max(1, LEAST_SHARE * inside.shape[1])
    sums = np.where(valid, inside, 0.0).sum(axis=1)
    mean: Array = np.where(enough, sums / np.maximum(valid.sum(axis=1), 1), np.nan)
    return mean


# ---- as points ---------------------------------------------------------------------------------------------------


def _choose_daily_unit(stack: GridStack, options: ImportOptions) -> str:
    """The unit of rain that the file gives per day, where each layer is the sum of one day and a person says so.

    Raises:
        ConfigError: nobody says so, or the layers are not one day apart.
    """
    rate = read_unit(stack.unit)
    amount = _OF_A_DAY[rate]
    times = sorted(stack.times)
    steps = [after - before for before, after in pairwise(times)]
    day = timedelta(days=1)
    # A day may be missing among the layers.
    if steps and (min(steps) != day or any(step % day for step in steps)):
        raise ConfigError(
            f"{stack.name}: its unit {rate!r} is a rate and its layers are not one day apart: convert the file to the "
            f"rain of each interval in {amount}, and import that file"
        )
    if options.unit != amount:
        raise ConfigError(
            f"{stack.name}: its unit {rate!r} is a rate. If each layer is the rain of the day that ends at its time, "
            f"give --unit {amount}"
        )
    return amount


@contextmanager
def open_pixels(
    path: Path, options: ImportOptions, now: datetime
) -> Iterator[tuple[ValueMeaning, Iterator[PointLine]]]:
    """Pixels of a stack of displacement as points, `said.within_m` of the stations alone where that is given.

    Raises:
        ConfigError: it is no such stack, or nobody said what its values mean; one line.
    """
    if options.point_set is None or options.direction not in DIRECTIONS:
        raise ConfigError(f"{path}: give --set and --direction: the sign is declared, never guessed")
    with _open_stack(path, options, ends=False) as stack:
        _check_motion(path, stack, options)
        yield (
            _declare(stack, options, options.direction, choose_unit(stack.unit, options.unit, stack.name)),
            _walk(stack, options, now),
        )


@contextmanager
def open_mintpy_points(
    path: Path, options: ImportOptions, now: datetime
) -> Iterator[tuple[ValueMeaning, Iterator[PointLine]]]:
    """Pixels of a MintPy time series as points; raises ConfigError."""
    from monitor.ingest.grids.mintpy import open_mintpy

    if options.direction not in (None, TOWARDS):
        raise ConfigError(f"{path}: MintPy counts towards the satellite, not {options.direction}: {TOWARDS}")
    with open_mintpy(path, options.mask, options.companions) as stack:
        unit = choose_unit(stack.unit, options.unit, stack.name)
        yield _declare(stack, options, TOWARDS, unit), _walk(stack, options, now)


def _declare(stack: GridStack, options: ImportOptions, direction: str, unit: str) -> ValueMeaning:
    if unit not in {"mm", "cm", "m"}:
        raise ConfigError(f"{stack.name}: displacement in {unit!r}; expected mm, cm or m (rates are no displacement)")
    if len(set(stack.times)) < len(stack.times):
        raise ConfigError(f"{stack.name}: two layers have the same time")
    name = options.point_set or (Path(options.name or stack.name).stem[:64])
    return ValueMeaning(name, direction, unit, None, stack.reference_at, stack.reference_point, stack.mask_name)


def _walk(stack: GridStack, options: ImportOptions, now: datetime) -> Iterator[PointLine]:
    count, whole = 0, slice(0, len(stack.x))
    future = [at for at in stack.times if at > now]
    if future:
        raise ConfigError(f"{stack.name}: a layer lies in the future: {future[0].isoformat()}")
    for first, latitude, longitude in stack.walk_places():
        wanted = np.isfinite(latitude) & np.isfinite(longitude)
        if options.within_m is not None:
            wanted &= find_near(latitude, longitude, options.places, options.within_m)
        if not wanted.any():
            continue
        rows = slice(first, first + len(latitude))
        values, rejected = stack.read_masked(slice(0, len(stack.times)), rows, whole, zero=True)
        valid = np.isfinite(values)
        # pixels of which the mask left no value become no point: only their number is reported
        fully_rejected = int((rejected & (wanted & ~valid.any(axis=0))).sum())
        if fully_rejected:
            yield PointLine(None, missing=fully_rejected, masked=fully_rejected)
        for row, column in zip(*np.nonzero(wanted & valid.any(axis=0)), strict=True):
            count += 1
            if count > MOST_POINTS:
                raise ConfigError(f"{stack.name}: more than {MOST_POINTS} pixels; give --within METRES of the stations")
            yield _make_piece(
                stack,
                float(latitude[row, column]),
                float(longitude[row, column]),
                values[:, row, column],
                valid[:, row, column],
                int(rejected[:, row, column].sum()),
            )


def _make_piece(
    stack: GridStack, latitude: float, longitude: float, values: Array, valid: Any, masked: int
) -> PointLine:
    """A pixel is called by its place, so that a cut of the same grid has the same points."""
    pid = f"{latitude:.5f} {longitude:.5f}"
    if not (-90.0 <= latitude <= 90.0 and -180.0 <= longitude <= 180.0):
        error = PayloadError("bad_place", f"pixel {pid} is no latitude and longitude")
        return PointLine(None, bad=(BadRow({"point": pid}, error, int(valid.sum())),))
    found = tuple(PointValue(pid, at, float(v)) for at, v, ok in zip(stack.times, values, valid, strict=True) if ok)
    return PointLine(Point(pid, latitude, longitude), found, int((~valid).sum()), masked=masked)

"""The study file: which factors there are and where they lie, the area, and what is known of the inventory."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from math import isfinite
from pathlib import Path
from typing import Any, Final

from detection.imagery.errors import ImageryError


class SusceptibilityError(ImageryError):
    """Root of what this room raises on purpose."""


class StudyError(SusceptibilityError):
    """The study file is no TOML, lacks a key, or names what is not there."""


class FactorError(SusceptibilityError):
    """A factor from which nothing can be learned."""


class InventoryError(SusceptibilityError):
    """An inventory from which nothing can be learned: too few, elsewhere, of one class."""


MOST_BYTES: Final = 1 << 20
MOST_FACTORS: Final = 64
# Beyond so many metres a river or a road is as good as absent, and every window can be computed by itself.
MOST_M: Final = 1000.0
# How a factor says what it is made of -> its kind.
SOURCES: Final = {"dem": "terrain", "file": "value", "classes": "classes", "degrees": "direction", "lines": "distance"}
# Names under which terrain is known -> the field of `raster.terrain`.
TERRAIN_FIELDS: Final = {
    "elevation": "dem",
    "slope": "slope",
    "aspect": "aspect",
    "curvature": "curvature",
    "roughness": "roughness",
}
KEYS: Final = ("grid", "area", "factors", "inventory")
FACTOR_KEYS: Final = (*SOURCES, "band", "most_m", "date")
INVENTORY_KEYS: Final = ("file", "from", "to", "source", "licence", "buffer_m")


@dataclass(frozen=True, slots=True)
class Factor:
    """One factor of the ground."""

    name: str  # as the study file calls it
    kind: str  # `value`, `classes`, `direction` (degrees), `terrain` (made of elevations), `distance` (to lines)
    path: Path  # raster, elevation model or lines
    band: int = 1  # of the raster, from 1
    most_m: float = MOST_M  # longest distance that is told apart
    day: date | None = None  # what it shows is of this day; None where that does not matter (geology)

    @property
    def is_direction(self) -> bool:
        """Whether its values are degrees of a circle."""
        return self.kind == "direction" or (self.kind == "terrain" and self.name == "aspect")


@dataclass(frozen=True, slots=True)
class Inventory:
    """Where the landslides are written down."""

    path: Path  # vector file of outlines or points
    first: date | None = None  # day of the oldest landslide in it; None where nobody said
    last: date | None = None  # day of the newest
    source: str = ""  # who mapped it
    licence: str = ""  # under which it may be used
    # ground so near to a landslide is not drawn as other ground, where borders are drawn that roughly. It still counts
    # as ground; without such cells every score looks better than it is.
    buffer_m: float = 0.0


@dataclass(frozen=True, slots=True)
class Study:
    """What a study file says."""

    path: Path  # the file
    factors: tuple[Factor, ...]  # in its order
    grid: str  # name of the factor whose raster gives the grid; the first one that has a raster
    # where the inventory is complete, as GeoJSON polygons or a raster; None: wherever all factors are known
    area: Path | None = None
    inventory: Inventory | None = None  # None where the file is for mapping alone


def read_study(path: Path) -> Study:
    """Read a study file; paths in it are relative to it.

    Raises:
        StudyError: it cannot be read, or says what cannot be meant; the message names file, key and what was expected.
    """
    content = _load(path)
    _refuse_unknown(path, "", content, KEYS)
    table = content.get("factors")
    if not isinstance(table, dict) or not table:
        raise StudyError(f'{path}: [factors] is missing; write for example: slope = {{ dem = "dem.tif" }}')
    if len(table) > MOST_FACTORS:
        raise StudyError(f"{path}: [factors] has {len(table)} factors, at most {MOST_FACTORS} are taken")
    factors = tuple(_read_factor(path, name, value) for name, value in table.items())
    rasters = [factor.name for factor in factors if factor.kind != "distance"]
    if not rasters:
        raise StudyError(f"{path}: [factors] has no raster that could give the grid of the map")
    grid = content.get("grid", rasters[0])
    if grid not in rasters:
        raise StudyError(f"{path}: grid must name a factor that is a raster: {', '.join(rasters)}")
    area = None if content.get("area") is None else _file(path, "area", content["area"])
    inventory = None if content.get("inventory") is None else _read_inventory(path, content["inventory"])
    return Study(path, factors, grid, area, inventory)


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror})") from None
    if len(text) > MOST_BYTES:
        raise StudyError(f"{path}: larger than {MOST_BYTES >> 10} KiB; a study file is a short TOML file")
    try:
        return tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StudyError(f"{path}: not TOML ({' '.join(str(error).split())[:120]})") from None


def _refuse_unknown(path: Path, where: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    if unknown := sorted(set(table) - set(known)):
        raise StudyError(f"{path}: {where}unknown key {unknown[0]!r}; expected: {', '.join(known)}")


def _file(path: Path, where: str, value: Any) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise StudyError(f"{path}: {where} must be the name of a file")
    found = path.parent / value
    if not found.is_file():
        raise StudyError(f"{path}: {where}: {found} is not there")
    return found


def _number(path: Path, where: str, value: Any, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < least:
        raise StudyError(f"{path}: {where} must be a number from {least:g} on")
    return float(value)


def _day(path: Path, where: str, value: Any) -> date | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.date()
    if not isinstance(value, date):
        raise StudyError(f"{path}: {where} must be a day without quotes, such as 2018-09-06")
    return value


def _text(path: Path, where: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > 200:
        raise StudyError(f"{path}: {where} must be a text of at most 200 characters")
    return value


def _read_factor(path: Path, name: str, value: Any) -> Factor:
    where = f"factors.{name}"
    if not isinstance(value, dict):
        raise StudyError(f'{path}: {where} must be a table such as {{ file = "{name}.tif" }}')
    _refuse_unknown(path, f"{where}: ", value, FACTOR_KEYS)
    named = [key for key in SOURCES if key in value]
    if len(named) != 1:
        raise StudyError(f"{path}: {where} needs exactly one of {', '.join(SOURCES)}")
    kind = SOURCES[named[0]]
    if kind == "terrain" and name not in TERRAIN_FIELDS:
        raise StudyError(f"{path}: {where}: of an elevation model are made: {', '.join(TERRAIN_FIELDS)}")
    band = value.get("band", 1)
    if isinstance(band, bool) or not isinstance(band, int) or band < 1:
        raise StudyError(f"{path}: {where}.band must be a whole number from 1 on")
    return Factor(
        name=name,
        kind=kind,
        path=_file(path, f"{where}.{named[0]}", value[named[0]]),
        band=band,
        most_m=_number(path, f"{where}.most_m", value.get("most_m", MOST_M), 1.0),
        day=_day(path, f"{where}.date", value.get("date")),
    )


def _read_inventory(path: Path, value: Any) -> Inventory:
    if not isinstance(value, dict) or "file" not in value:
        raise StudyError(f'{path}: [inventory] needs file = "landslides.geojson" (or .gpkg, .shp)')
    _refuse_unknown(path, "inventory: ", value, INVENTORY_KEYS)
    first = _day(path, "inventory.from", value.get("from"))
    last = _day(path, "inventory.to", value.get("to"))
    if first and last and first > last:
        raise StudyError(f"{path}: inventory.from lies after inventory.to")
    return Inventory(
        path=_file(path, "inventory.file", value["file"]),
        first=first,
        last=last,
        source=_text(path, "inventory.source", value.get("source", "")),
        licence=_text(path, "inventory.licence", value.get("licence", "")),
        buffer_m=_number(path, "inventory.buffer_m", value.get("buffer_m", 0.0), 0.0),
    )

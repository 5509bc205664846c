"""What files call their bands, and the one name by which models ask for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detection.imagery.scene.scene import Scene

# Sentinel-2 names lead. PlanetScope's eight bands lie close to them in wavelength, apart from green_i and yellow.
BAND_NAMES = {
    "coastal": "B1", "coastal_blue": "B1", "coastal_aerosol": "B1",
    "blue": "B2", "green": "B3", "red": "B4",
    "rededge": "B5", "red_edge": "B5", "red edge": "B5", "rededge1": "B5",
    "rededge2": "B6", "rededge3": "B7",
    "nir": "B8", "near_infrared": "B8", "nir08": "B8A", "narrow_nir": "B8A",
    "water_vapour": "B9", "cirrus": "B10", "swir16": "B11", "swir1": "B11", "swir22": "B12", "swir2": "B12",
    "green_i": "green_i", "yellow": "yellow",
    **{f"b{number:02d}": f"B{number}" for number in range(1, 13)},
    **{f"b{number}": f"B{number}" for number in range(1, 13)},
    "b8a": "B8A",
}  # fmt: skip


def name_band(name: str) -> str:
    """Return the one name of a band; a name that is not known stays as it is.

    >>> name_band("B04"), name_band("coastal_blue"), name_band("b8a"), name_band("slope")
    ('B4', 'B1', 'B8A', 'slope')
    """
    return BAND_NAMES.get(name.strip().lower(), name)


def find_contradictions(scene: "Scene", names: tuple[str, ...]) -> list[str]:
    """Say where the descriptions inside of the files contradict the names under which their bands are used."""
    from detection.imagery.raster.raster import inspect

    found = []
    facts: Mapping[Path, tuple[str | None, ...]] = {
        path: inspect(path).descriptions for path in {scene.bands[name].path for name in names if name in scene.bands}
    }
    known = set(BAND_NAMES.values())
    for name in names:
        band = scene.bands.get(name)
        if band is None or not 1 <= band.index <= len(facts[band.path]):
            continue
        described = name_band((facts[band.path][band.index - 1] or "").strip())
        if described in known and described != name:
            found.append(f"{band.path.name}: band {band.index} is used as {name}, its description says {described}")
    return found

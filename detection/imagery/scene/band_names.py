"""Translate the band names of files into the names that models use."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

NUMBER: Final = re.compile(r"(?:SR_)?B\d{1,2}A?", re.IGNORECASE)  # a name that is only a number
ONLY_NUMBERS: Final = (  # part of an error message
    "its bands have numbers alone, which mean something else on each satellite; give each its eo:common_name, or name "
    "[bands] in a scene.toml"
)
_OTHER_SENSORS: Final = re.compile(  # whose numbers mean other colours than those of Sentinel-2
    r"(?<![a-z])(?:l[coetm]0[1-9]_|landsat|aster(?![a-z])|modis|mod09|myd09|viirs|gf-?\d|gaofen|cbers|resourcesat|planet|"
    r"psscene|rapideye|skysat|spot-?\d|pleiades|worldview|quickbird|kompsat|naip(?![a-z]))",
    re.IGNORECASE,
)
_SENTINEL_2: Final = re.compile(
    r"sentinel-?_?2|(?<![a-z])s2[abc]?(?![a-z\d])|(?<![a-z])T\d\d[C-X][A-Z]{2}_", re.IGNORECASE
)
# If so many bands are numbered from 1 without a gap, they are probably all bands of another sensor: such a selection of
# bands of Sentinel-2 is unlikely.
_CONSECUTIVE_COUNTS: Final = range(3, 9)
_LANDSAT_7: Final = {"blue": "B1", "green": "B2", "red": "B3", "nir": "B4"}  # also of Landsat 4 and 5

# Name of a band in files, in lower case -> name that models use, which is that of Sentinel-2. The eight bands of
# PlanetScope have similar wavelengths, except for green_i and yellow.
BAND_NAMES = {
    **dict.fromkeys(("coastal", "coastal_blue", "coastal_aerosol"), "B1"),
    "blue": "B2",
    "green": "B3",
    "red": "B4",
    **dict.fromkeys(("rededge", "red_edge", "red edge", "rededge1"), "B5"),
    "rededge2": "B6",
    "rededge3": "B7",
    **dict.fromkeys(("nir", "near_infrared"), "B8"),
    **dict.fromkeys(("nir08", "narrow_nir", "b8a"), "B8A"),
    "water_vapour": "B9",
    "cirrus": "B10",
    "green_i": "green_i",
    "yellow": "yellow",
    **dict.fromkeys(("swir16", "swir1"), "B11"),
    **dict.fromkeys(("swir22", "swir2"), "B12"),
    **{f"b{number:02d}": f"B{number}" for number in range(1, 13)},
    **{f"b{number}": f"B{number}" for number in range(1, 13)},
}


def name_band(name: str) -> str:
    """Return the name that models use for a band; an unknown name is returned unchanged.

    >>> name_band("B04"), name_band("coastal_blue"), name_band("b8a"), name_band("slope")
    ('B4', 'B1', 'B8A', 'slope')
    """
    return BAND_NAMES.get(name.strip().lower(), name)


def has_foreign_numbers(names: Sequence[str], colours: Sequence[str], tags: Mapping[str, str], file: str) -> bool:
    """Return whether the band numbers of a file are not those of Sentinel-2.

    Args:
        names: of the bands in the file.
        colours: colour interpretation of each band, as a name of `BAND_NAMES`; other texts are ignored.
        tags: of the file.
        file: name of the file.

    >>> has_foreign_numbers(["B4", "B3"], ["red", "green"], {}, "a.tif")
    False
    >>> has_foreign_numbers(["B3", "B2"], ["red", "green"], {}, "a.tif")
    True
    >>> has_foreign_numbers(["B4"], [""], {"SPACECRAFT_ID": "LANDSAT_7"}, "a.tif")
    True
    >>> has_foreign_numbers(["nir"], [""], {}, "LE07_L2SP_195028.tif")
    False
    >>> has_foreign_numbers(["B1", "B2", "B3", "B4"], [""] * 4, {}, "a.tif")
    True
    """
    numbered = [(name.upper(), colour) for name, colour in zip(names, colours, strict=True) if NUMBER.fullmatch(name)]
    if not numbered:
        return False
    coloured = [(name, colour) for name, colour in numbered if colour in _LANDSAT_7]
    # GDAL interprets any three bands of bytes as red, green and blue, so the colours count only if all match Landsat
    has_landsat_colours = bool(coloured) and all(name.endswith(_LANDSAT_7[colour]) for name, colour in coloured)
    texts = (file, *tags.values())
    numbers = {int(re.sub(r"\D", "", name.removeprefix("SR_"))) for name, _ in numbered}
    is_consecutive = numbers == {*range(1, len(numbered) + 1)} and len(numbers) in _CONSECUTIVE_COUNTS
    names_sentinel = any(_SENTINEL_2.search(text) for text in texts)
    has_all_bands = is_consecutive and not coloured and not names_sentinel
    return has_landsat_colours or has_all_bands or any(_OTHER_SENSORS.search(text) for text in texts)

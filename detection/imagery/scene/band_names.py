"""What files call their bands, and the one name by which models ask for them."""

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

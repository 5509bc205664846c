"""Change the values or band properties of an open raster, without writing a file.

GDAL reads the changed raster from a VRT description in memory. This module derives the description from an open raster.
VRT files of users are refused by `untrusted`. `WarpedVRT` is no substitute: it neither scales values
nor takes more than one fill value.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import rasterio
import rasterio.shutil
from rasterio.io import MemoryFile

EMPTY_VALUE: Final = -99_999.0  # nodata value of a rewritten band
SIDE_FILE_BYTES: Final = 1 << 20
BAND_PROPERTIES: Final = ("NoDataValue", "Scale", "Offset", "UnitType", "Description")
_NUMERIC_PROPERTIES: Final = frozenset({"NoDataValue", "Scale", "Offset"})
_SOURCE_ELEMENTS: Final = frozenset({"SimpleSource", "ComplexSource"})  # of a band as GDAL writes it
_REPLACED_ELEMENTS: Final = _SOURCE_ELEMENTS | {"Scale", "Offset", "UnitType", "NoDataValue", "ColorInterp"}
_FLOAT64_TYPES: Final = frozenset({"float64", "int32", "uint32", "int64", "uint64"})


def rewrite_band(
    source: Any, index: int, stack: ExitStack, *, scale: float = 1.0, offset: float = 0.0, fill: float | None = None
) -> Any:
    """Return a raster in which one band is multiplied by a scale and increased by an offset.

    The band has the nodata value `EMPTY_VALUE` where its mask hides pixels, or, if a fill value is given, where it has
    that value. All other bands stay as they are.

    Args:
        source: the open raster.
        index: number of the band, from 1.
        stack: closes the returned raster.
        scale: factor for the values of the band.
        offset: added to these products.
        fill: value of the band that becomes nodata; None: its mask becomes nodata.
    """
    description = _describe(source, stack)
    for number, band in enumerate(description.findall("VRTRasterBand"), start=1):
        is_rewritten = number == index
        removed = _REPLACED_ELEMENTS if is_rewritten else _SOURCE_ELEMENTS
        for element in [child for child in band if child.tag in removed]:
            band.remove(element)
        band_source = _add_source(band, "ComplexSource", source, number)
        if is_rewritten:
            needs_float64 = source.dtypes[index - 1] in _FLOAT64_TYPES
            band.set("dataType", "Float64" if needs_float64 else "Float32")
            ET.SubElement(band, "NoDataValue").text = repr(EMPTY_VALUE)
            ET.SubElement(band_source, "ScaleOffset").text = repr(offset)
            ET.SubElement(band_source, "ScaleRatio").text = repr(scale)
            # GDAL uses either a nodata value or the mask of a source, not both.
            if fill is None:
                ET.SubElement(band_source, "UseMaskBand").text = "true"
            else:
                ET.SubElement(band_source, "NODATA").text = repr(fill)
    return _open(description, source, stack)


def use_last_band_as_mask(source: Any, stack: ExitStack) -> Any:
    """Return a raster whose last band is the mask of all others.

    GDAL itself uses an alpha band as a mask only if it has 8 bits.
    """
    description = _describe(source, stack)
    mask = ET.SubElement(ET.SubElement(description, "MaskBand"), "VRTRasterBand", dataType="Byte")
    _add_source(mask, "SimpleSource", source, source.count)
    return _open(description, source, stack)


def add_side_file(source: Any, path: Path, stack: ExitStack) -> Any:
    """Return a raster with the band properties of its `.aux.xml` file that its own header lacks.

    JPEG 2000 stores nodata, scale, offset, unit and description of bands nowhere else. Everything else in such a file
    is ignored, because it could name other files.
    """
    header = (source.nodatavals, source.scales, source.offsets, source.units, source.descriptions)
    defaults: tuple[tuple[Any, ...], ...] = ((None,), (1.0,), (0.0,), (None, ""), (None, ""))
    missing = {
        (number, name)
        for name, values, unset in zip(BAND_PROPERTIES, header, defaults, strict=True)
        for number, value in enumerate(values, start=1)
        if value in unset
    }
    side_file = _read_side_file(path.with_name(f"{path.name}.aux.xml"))
    added = {key: text for key, text in side_file.items() if key in missing}
    if not added:
        return source
    description = _describe(source, stack)
    bands = description.findall("VRTRasterBand")
    for (number, name), text in added.items():
        band = bands[number - 1]
        for element in band.findall(name):
            band.remove(element)
        ET.SubElement(band, name).text = text
    return _open(description, source, stack)


def unwrap_rewritten(source: Any) -> Any:
    """Return the open file that a rewritten raster was derived from; any other raster unchanged."""
    while hasattr(source, "rewritten_from"):
        source = source.rewritten_from
    return source


def _read_side_file(path: Path) -> dict[tuple[int, str], str]:
    """Return the properties of bands by number and name; an empty result for a file that is damaged or too large."""
    if not path.is_file() or path.stat().st_size > SIDE_FILE_BYTES:
        return {}
    properties: dict[tuple[int, str], str] = {}
    try:
        content = path.read_bytes()
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            return {}
        for band in ET.fromstring(content).findall("PAMRasterBand"):  # noqa: S314 - no entities, limited size
            number = int(band.get("band", "1"))
            for name in BAND_PROPERTIES:
                text = (band.findtext(name) or "").strip()
                if not text:
                    continue
                if name in _NUMERIC_PROPERTIES:
                    float(text)  # raises ValueError
                properties[number, name] = text
    except (OSError, ET.ParseError, ValueError):
        return {}
    return properties


def _describe(source: Any, stack: ExitStack) -> ET.Element:
    """Return the VRT description of an open raster, without its mask."""
    file = stack.enter_context(MemoryFile(ext=".vrt"))
    rasterio.shutil.copy(source, file.name, driver="VRT")
    description = ET.fromstring(bytes(file.getbuffer()))  # noqa: S314 - written by GDAL
    for mask in description.findall("MaskBand"):
        description.remove(mask)
    return description


def _add_source(band: ET.Element, kind: str, source: Any, number: int) -> ET.Element:
    band_source = ET.SubElement(band, kind)
    ET.SubElement(band_source, "SourceFilename", relativeToVRT="0").text = str(source.name)
    ET.SubElement(band_source, "SourceBand").text = str(number)
    return band_source


def _open(description: ET.Element, source: Any, stack: ExitStack) -> Any:
    file = stack.enter_context(MemoryFile(ET.tostring(description), ext=".vrt"))
    rewritten = stack.enter_context(rasterio.open(file.name, driver="VRT"))
    rewritten.rewritten_from = source
    return rewritten

"""What GDAL says of the numbers of a raster in a file beside it (`.aux.xml`), where the raster itself does not."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import rasterio
import rasterio.shutil
from rasterio.io import MemoryFile

MOST_BYTES: Final = 1 << 20
SAID: Final = ("NoDataValue", "Scale", "Offset", "UnitType", "Description")  # nothing else of such a file is looked at


def add_beside(source: Any, path: Path, stack: ExitStack) -> Any:
    """The same raster with what a file beside it says of its bands and its own header does not.

    JPEG 2000 has no other place for them.
    """
    bands = _read_bands(path.with_name(f"{path.name}.aux.xml"))
    own = zip(source.nodatavals, source.scales, source.offsets, source.units, source.descriptions, strict=True)
    lacking = [
        {key: bands[number][key] for key, has in zip(SAID, mute, strict=True) if has and key in bands[number]}
        if number in bands else {}
        for number, mute in enumerate(((n is None, s == 1, o == 0, not u, not d) for n, s, o, u, d in own), start=1)
    ]  # fmt: skip
    if not any(lacking):
        return source
    tree = copy_tree(source, stack)
    for band, said in zip(tree.findall("VRTRasterBand"), lacking, strict=True):
        for key, text in said.items():
            for one in band.findall(key):
                band.remove(one)
            ET.SubElement(band, key).text = text
    return open_tree(tree, stack)


def _read_bands(beside: Path) -> dict[int, dict[str, str]]:
    """What the file says of each band; nothing where it is not there or cannot be read."""
    try:
        content = beside.read_bytes() if beside.stat().st_size <= MOST_BYTES else b""
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            return {}
        bands = ET.fromstring(content).findall("PAMRasterBand")  # noqa: S314 - no entities, and bounded
        found = {
            int(band.get("band", "1")): {key: (band.findtext(key) or "").strip() for key in SAID} for band in bands
        }
        for said in found.values():
            for text in filter(None, (said[key] for key in SAID[:3])):
                float(text)
    except (OSError, ET.ParseError, ValueError):
        return {}
    return {number: {key: text for key, text in said.items() if text} for number, said in found.items()}


def copy_tree(source: Any, stack: ExitStack) -> ET.Element:
    """A raster as GDAL describes it, without its mask."""
    plain = stack.enter_context(MemoryFile(ext=".vrt"))
    rasterio.shutil.copy(source, plain.name, driver="VRT")
    tree = ET.fromstring(bytes(plain.getbuffer()))  # noqa: S314 - GDAL wrote it
    for mask in tree.findall("MaskBand"):
        tree.remove(mask)
    return tree


def open_tree(tree: ET.Element, stack: ExitStack) -> Any:
    """Open a raster that is described so; what holds it is closed with the stack."""
    held = stack.enter_context(MemoryFile(ET.tostring(tree), ext=".vrt"))
    return stack.enter_context(rasterio.open(held.name, driver="VRT"))

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
    own = (source.nodatavals, source.scales, source.offsets, source.units, source.descriptions)
    nothing: tuple[Any, ...] = (None,), (1.0,), (0.0,), (None, ""), (None, "")
    mute = {
        (number, key)
        for key, values, usual in zip(SAID, own, nothing, strict=True)
        for number, value in enumerate(values, start=1) if value in usual
    }  # fmt: skip
    said = {at: text for at, text in _read(path.with_name(f"{path.name}.aux.xml")).items() if at in mute}
    if not said:
        return source
    tree = copy_tree(source, stack)
    for (number, key), text in said.items():
        band = tree.findall("VRTRasterBand")[number - 1]
        for one in band.findall(key):
            band.remove(one)
        ET.SubElement(band, key).text = text
    return open_tree(tree, stack)


def _read(beside: Path) -> dict[tuple[int, str], str]:
    """What the file says: (band, element) -> text; nothing where it is not there or cannot be read."""
    try:
        content = beside.read_bytes() if beside.stat().st_size <= MOST_BYTES else b""
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            return {}
        bands = ET.fromstring(content).findall("PAMRasterBand")  # noqa: S314 - no entities, and bounded
        said = {(int(b.get("band", "1")), key): (b.findtext(key) or "").strip() for b in bands for key in SAID}
        return {at: text for at, text in said.items() if text and (at[1] in SAID[3:] or str(float(text)))}
    except (OSError, ET.ParseError, ValueError):
        return {}


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

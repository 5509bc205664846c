"""VRT files from outside: taken apart into what a mosaic needs, and put together anew from that alone.

The driver that reads a VRT ignores case, takes attributes for elements, and has elements that compute, read raw bytes
or open any address. So nothing of the file itself reaches the driver: every element and attribute must be of the lists
below, in its place, and the driver is given a text that is written from the parsed facts. Rasters that are given
otherwise than they are stored are described as VRT too.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from xml.etree import ElementTree as ET

import rasterio
import rasterio.shutil
from rasterio.io import MemoryFile

from detection.imagery.errors import ForbiddenSourceError, NotARasterError, TooLargeError

VRT_SOURCES: Final = frozenset({"SimpleSource", "ComplexSource"})
VRT_DEPTH: Final = 3
VRT_BYTES: Final = 16 << 20
SIDE_FILE_BYTES: Final = 1 << 20
SIDE_FILE_KEYS: Final = ("NoDataValue", "Scale", "Offset", "UnitType", "Description")  # of a band, in a file beside it
_RECT: Final = "xOff yOff xSize ySize"
_OF_BAND: Final = "ColorInterp NoDataValue HideNoDataValue Offset Scale UnitType Description"
_OF_SOURCE: Final = (
    "SourceFilename SourceBand SourceProperties SrcRect DstRect NODATA UseMaskBand ScaleOffset ScaleRatio"
)
_PLAIN: Final = f"{_OF_BAND} GeoTransform SourceBand NODATA UseMaskBand ScaleOffset ScaleRatio BlockXSize BlockYSize"
# element -> (attributes, elements within); what is not named here does more than put files together
_GRAMMAR: Final[Mapping[str, tuple[frozenset[str], frozenset[str]]]] = MappingProxyType(
    {
        name: (frozenset(attributes.split()), frozenset(elements.split()))
        for name, attributes, elements in (
            (
                "VRTDataset",
                "rasterXSize rasterYSize",
                "SRS GeoTransform Metadata VRTRasterBand MaskBand OverviewList BlockXSize BlockYSize",
            ),
            (
                "VRTRasterBand",
                "dataType band blockXSize blockYSize",
                f"{_OF_BAND} Metadata MaskBand {' '.join(VRT_SOURCES)}",
            ),
            *((name, "resampling name", _OF_SOURCE) for name in VRT_SOURCES),
            ("SourceFilename", "relativeToVRT shared", ""),
            ("SourceProperties", "RasterXSize RasterYSize DataType BlockXSize BlockYSize", ""),
            ("SrcRect", _RECT, ""),
            ("DstRect", _RECT, ""),
            ("MaskBand", "", "VRTRasterBand"),
            ("Metadata", "", "MDI"),
            ("MDI", "key", ""),
            ("SRS", "dataAxisToSRSAxisMapping", ""),
            ("OverviewList", "resampling", ""),
            *((name, "", "") for name in _PLAIN.split()),
        )
    }
)
_ONCE: Final = frozenset({"SourceFilename", "SourceBand", "SRS", "GeoTransform"})  # of one parent


def read_vrt(path: Path, depth: int = 0) -> ET.Element:
    """Parse a VRT and refuse whatever is not of the lists.

    `depth`: how deep it is nested in others.

    Raises:
        ForbiddenSourceError: an element or attribute that does more than name a window of a file.
        NotARasterError: no XML, or no VRT.
        TooLargeError: beyond `VRT_BYTES`.
    """
    if depth > VRT_DEPTH:
        raise ForbiddenSourceError(f"{path}: VRT files nested more than {VRT_DEPTH} deep")
    if path.stat().st_size > VRT_BYTES:
        raise TooLargeError(f"{path}: a VRT of more than {VRT_BYTES >> 20} MiB")
    content = path.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise ForbiddenSourceError(f"{path}: a VRT must not declare a document type or entities")
    try:
        # entities are refused above, and the size is bounded
        tree = ET.fromstring(content)  # noqa: S314
    except (ET.ParseError, ValueError):
        raise NotARasterError(f"{path}: neither a raster nor the XML of a VRT") from None
    if tree.tag != "VRTDataset":
        raise NotARasterError(f"{path}: XML, but no VRT")
    _check(tree, path)
    return tree


def _check(element: ET.Element, path: Path) -> None:
    attributes, children = _GRAMMAR[element.tag]
    for name, value in element.attrib.items():
        if name not in attributes:
            what = value if name.lower() == "subclass" else f"the attribute {name} of {element.tag}"
            raise ForbiddenSourceError(f"{path}: {what} is not allowed in a VRT; only mosaics and stacks of files are")
    seen: set[str] = set()
    for child in element:
        if child.tag not in children:
            raise ForbiddenSourceError(
                f"{path}: {child.tag} is not allowed in a VRT; only mosaics and stacks of files are"
            )
        if child.tag in _ONCE and child.tag in seen:
            raise ForbiddenSourceError(f"{path}: {element.tag} has more than one {child.tag}")
        seen.add(child.tag)
        _check(child, path)


def list_sources(tree: ET.Element, path: Path, root: Path) -> Iterator[tuple[ET.Element, Path]]:
    """The elements that name a file, each with the file.

    Raises:
        ForbiddenSourceError: a file that is absolute, virtual (`/vsicurl/` and the like), a URL, or outside of `root`.
    """
    for element in tree.iter("SourceFilename"):
        name, relative = (element.text or "").strip(), element.get("relativeToVRT") == "1"
        # A plain relative name only: `a:b` may name a driver or a protocol, /vsi... a virtual file.
        if not relative or not name or name.startswith(("/", "\\", "<")) or re.search(r"[:|?*{}]", name):
            raise ForbiddenSourceError(f"{path}: {name!r} is not a file name relative to the VRT")
        file = (path.parent / name).resolve()
        if not file.is_relative_to(root):
            raise ForbiddenSourceError(f"{path}: {name!r} lies outside of the scene's folder")
        yield element, file


def rebuild(path: Path, root: Path, stack: ExitStack, is_vrt: Any, depth: int = 0) -> str:
    """Write a VRT anew, in memory, with those nested in it; returns the name under which the driver opens it.

    `root`: folder that it may not leave.
    """
    tree = read_vrt(path, depth)
    for element, file in list_sources(tree, path, root):
        element.text = rebuild(file, root, stack, is_vrt, depth + 1) if is_vrt(file) else str(file)
        element.set("relativeToVRT", "0")
    for element in tree.iter():
        element.attrib.pop("name", None)
    held = stack.enter_context(MemoryFile(ET.tostring(tree), ext=".vrt"))
    return str(held.name)


def add_side_file(source: Any, path: Path, stack: ExitStack) -> Any:
    """The same raster with what a file beside it says of its bands and its own header does not.

    JPEG 2000 has no other place for them.
    """
    own = (source.nodatavals, source.scales, source.offsets, source.units, source.descriptions)
    nothing: tuple[Any, ...] = (None,), (1.0,), (0.0,), (None, ""), (None, "")
    mute = {
        (number, key)
        for key, values, usual in zip(SIDE_FILE_KEYS, own, nothing, strict=True)
        for number, value in enumerate(values, start=1)
        if value in usual
    }
    added = {at: text for at, text in _read_side_file(path.with_name(f"{path.name}.aux.xml")).items() if at in mute}
    if not added:
        return source
    tree = copy_tree(source, stack)
    for (number, key), text in added.items():
        band = tree.findall("VRTRasterBand")[number - 1]
        for one in band.findall(key):
            band.remove(one)
        ET.SubElement(band, key).text = text
    return open_tree(tree, stack)


def _read_side_file(side_file: Path) -> dict[tuple[int, str], str]:
    try:
        content = side_file.read_bytes() if side_file.is_file() and side_file.stat().st_size <= SIDE_FILE_BYTES else b""
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            return {}
        bands = ET.fromstring(content).findall("PAMRasterBand")  # noqa: S314 - no entities, and bounded
        found = {
            (int(b.get("band", "1")), key): (b.findtext(key) or "").strip() for b in bands for key in SIDE_FILE_KEYS
        }
        return {at: text for at, text in found.items() if text and (at[1] in SIDE_FILE_KEYS[3:] or str(float(text)))}
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

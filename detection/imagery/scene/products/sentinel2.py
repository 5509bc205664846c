"""Sentinel-2 in its SAFE folder, level 2A or 1C (ESA, Sentinel-2 Products Specification Document, issue 14.9)."""

import re
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from detection.imagery.errors import ManifestError
from detection.imagery.scene.offsets import BASELINE, COUNT, PRODUCT, SENTINEL_OFFSET
from detection.imagery.scene.products.texts import (
    SceneManifest,
    find_text,
    list_texts,
    read_instant,
    read_number,
    read_xml,
)

LEVELS: Final = {"MTD_MSIL2A.xml": "BOA", "MTD_MSIL1C.xml": "RADIO"}
IMAGE: Final = re.compile(r"_(B\d[0-9A]|SCL)(?:_(\d{2})m)?$")
CONTENTS: Final = "manifest.safe"
TOP: Final = "level 1C: reflectance at the top of the atmosphere, not of the ground; level 2A is what networks learned"


def describe_sentinel2(folder: Path) -> SceneManifest | None:
    """What a SAFE folder says of itself, or a folder with nothing but one in it; None where it is neither.

    Of a band that comes in several resolutions the finest is taken. The classification of the scene (level 2A) says
    which pixels can be used. What must be subtracted from the counts stands in the metadata, else it follows from the
    processing baseline in the product's name.
    """
    root = _find_root(folder)
    if root is None:
        return None
    metadata = next(root / name for name in LEVELS if (root / name).is_file())
    document = read_xml(metadata)
    within = "" if root == folder else f"{root.name}/"
    images: dict[str, tuple[int, str]] = {}
    for image in list_texts(document, "IMAGE_FILE", "IMAGE_ID"):
        named = IMAGE.search(image)
        if named:
            found = int(named[2] or 0), f"{within}{image}.jp2"
            images[named[1]] = min(images.get(named[1], found), found)
    bands = {name: file for name, (_, file) in images.items() if name != "SCL"}
    if not bands:
        raise ManifestError(f"{metadata}: names no image; is the download complete?")
    offset, source = _read_offset(document, metadata, root.name)
    stated = find_text(document, "BOA_QUANTIFICATION_VALUE") or find_text(document, "QUANTIFICATION_VALUE") or "10000"
    divisor = read_number(stated, metadata, "QUANTIFICATION_VALUE")
    if divisor <= 0.0:
        raise ManifestError(f"{metadata}: QUANTIFICATION_VALUE: {stated[:20]!r} is no divisor")
    taken = find_text(document, "PRODUCT_START_TIME")
    content: SceneManifest = {
        "acquired_at": read_instant(taken, metadata, "PRODUCT_START_TIME"),
        "bands": bands,
        "offset": offset,
        "gain": round(1.0 / (divisor * COUNT), 9),  # by which values become counts of 1/10000
        "calibration": source,
        "remarks": [],
        "files": _read_sizes(root, within, {file for _, file in images.values()}),
    }
    if "SCL" in images:
        content["classification"] = images["SCL"][1]
    if metadata.name == "MTD_MSIL1C.xml":
        content["remarks"] = [TOP]
    return content


def _find_root(folder: Path) -> Path | None:
    if any((folder / name).is_file() for name in LEVELS):
        return folder
    inner = sorted(folder.glob("*.SAFE"))
    if not inner:
        return None
    if len(inner) > 1:
        raise ManifestError(f"{folder}: holds {len(inner)} SAFE products; give each a folder of its own")
    if not any((inner[0] / name).is_file() for name in LEVELS):
        raise ManifestError(f"{inner[0]}: neither {' nor '.join(LEVELS)} is there; is the download complete?")
    return inner[0]


def _read_offset(document: ET.Element, metadata: Path, name: str) -> tuple[float, str]:
    tag = f"{LEVELS[metadata.name]}_ADD_OFFSET"
    values = set(list_texts(document, tag))
    if len(values) > 1:
        raise ManifestError(f"{metadata}: {tag} differs between bands ({', '.join(sorted(values)[:3])})")
    if values:
        return read_number(values.pop(), metadata, tag), f"{tag} in {metadata.name}"
    stated, named = find_text(document, "PROCESSING_BASELINE"), PRODUCT.search(name)
    if stated is not None:
        baseline = round(100.0 * read_number(stated, metadata, "PROCESSING_BASELINE"))
    else:
        baseline = int(named[1]) if named else 0
    return SENTINEL_OFFSET if baseline >= BASELINE else 0.0, f"processing baseline {baseline / 100:05.2f}"


def _read_sizes(root: Path, within: str, files: set[str]) -> dict[str, dict[str, int]]:
    """Sizes of the images as the list of contents states them: a download that broke off is known by them."""
    if not (root / CONTENTS).is_file():
        return {}
    found: dict[str, dict[str, int]] = {}
    for one in read_xml(root / CONTENTS).iter("byteStream"):
        place, size = one.find("fileLocation"), one.get("size", "")
        file = within + (place.get("href", "") if place is not None else "").removeprefix("./")
        if file in files and size.isdigit():
            found[file] = {"size": int(size)}
    return found

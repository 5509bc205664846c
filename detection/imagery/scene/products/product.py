"""Which product a folder is: each provider's own description becomes what a manifest says."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

from detection.imagery.errors import ManifestError
from detection.imagery.scene.offsets import BASELINE, COUNT, LANDSAT_OFFSET, LANDSAT_SCALE, PRODUCT, SENTINEL_OFFSET
from detection.imagery.scene.products.stac import describe_stac, find_items
from detection.imagery.scene.products.texts import (
    SceneManifest,
    find_text,
    list_texts,
    read_instant,
    read_json,
    read_number,
    read_pairs,
    read_text,
    read_xml,
)

# Sentinel-2 in its SAFE folder, level 2A or 1C (ESA, Sentinel-2 Products Specification Document, issue 14.9).
LEVELS: Final = {"MTD_MSIL2A.xml": "BOA", "MTD_MSIL1C.xml": "RADIO"}
SAFE_IMAGE: Final = re.compile(r"_(B\d[0-9A]|SCL)(?:_(\d{2})m)?$")
CONTENTS: Final = "manifest.safe"
TOP: Final = "level 1C: reflectance at the top of the atmosphere, not of the ground; level 2A is what networks learned"

# Landsat 4 to 9, Collection 2, level 2 (USGS LSDS-1618, LSDS-1619): number of the band -> its name in models
OLI: Final = {"1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "nir", "6": "swir1", "7": "swir2"}
TM: Final = {"1": "blue", "2": "green", "3": "red", "4": "nir", "5": "swir1", "7": "swir2"}
OLI_CRAFT: Final = ("LANDSAT_8", "LANDSAT_9")

# PlanetScope surface reflectance with its usable data mask (Planet, PlanetScope product specification).
PLANET_IMAGE: Final = re.compile(
    r"_analytic(?:ms)?(?:_[48]b)?_sr(?:_[48]b)?(?:_harmonized)?(?:_clip)?\.tiff?$", re.IGNORECASE
)
UNCORRECTED: Final = re.compile(r"_analytic(?:ms)?(?:_[48]b)?(?:_clip)?\.tiff?$", re.IGNORECASE)
MASK: Final = re.compile(r"_udm2(?:_clip)?\.tiff?$", re.IGNORECASE)
TAKEN: Final = re.compile(r"(?<!\d)(\d{8})_(\d{6})_")
FOUR: Final = ("blue", "green", "red", "nir")
EIGHT: Final = ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir")


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
        named = SAFE_IMAGE.search(image)
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


def describe_landsat(folder: Path) -> SceneManifest | None:
    """What the metadata (`*_MTL.json` or `*_MTL.txt`) of a folder says; None where there is none."""
    found = sorted(folder.glob("*_MTL.json")) or sorted(folder.glob("*_MTL.txt"))
    if not found:
        return None
    if len(found) > 1:
        raise ManifestError(f"{folder}: holds {len(found)} Landsat products; give each a folder of its own")
    metadata = found[0]
    values = _flatten_groups(read_json(metadata)) if metadata.suffix == ".json" else read_pairs(read_text(metadata))
    level = values.get("PROCESSING_LEVEL", "")
    if level not in {"L2SP", "L2SR"}:
        raise ManifestError(
            f"{metadata}: processing level {level or 'unknown'}: expected level 2 (L2SP, L2SR), the reflectance of the "
            "ground; order that product"
        )
    names = OLI if values.get("SPACECRAFT_ID") in OLI_CRAFT else TM
    bands = {name: file for number, name in names.items() if (file := values.get(f"FILE_NAME_BAND_{number}"))}
    if not bands:
        raise ManifestError(f"{metadata}: names no band")
    taken = f"{values.get('DATE_ACQUIRED', '')}T{values.get('SCENE_CENTER_TIME', '')}"
    content: SceneManifest = {
        "acquired_at": read_instant(taken, metadata, "DATE_ACQUIRED and SCENE_CENTER_TIME"),
        "bands": bands,
        "gain": round(LANDSAT_SCALE / COUNT, 9),
        "offset": round(LANDSAT_OFFSET / COUNT, 6),
        "calibration": f"Landsat Collection 2 level 2 in {metadata.name}",
        "remarks": [],
    }
    if quality := values.get("FILE_NAME_QUALITY_L1_PIXEL"):
        content["qa_pixel"] = quality
    return content


def _flatten_groups(tree: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in tree.items():
        for name, one in (_flatten_groups(value) if isinstance(value, dict) else {key: str(value)}).items():
            found.setdefault(name, one)
    return found


def find_image_folder(folder: Path) -> Path | None:
    """Where the images of PlanetScope lie: here, or in a folder of the order (`files`, `PSScene`); None: nowhere."""
    for place in (folder, *sorted(folder.glob("*/")), *sorted(folder.glob("*/*/"))):
        for one in place.iterdir():
            if TAKEN.search(one.name) and (PLANET_IMAGE.search(one.name) or UNCORRECTED.search(one.name)):
                return place
    return None


def describe_planet(folder: Path) -> SceneManifest | None:
    """What the names of the files of a folder say; None where none of them is an image of PlanetScope."""
    place = find_image_folder(folder)
    if place is None:
        return None
    within = "" if place == folder else f"{place.relative_to(folder).as_posix()}/"
    names = sorted(one.name for one in place.iterdir() if one.is_file())
    images = [name for name in names if PLANET_IMAGE.search(name) and TAKEN.search(name)]
    if not images:
        raise ManifestError(f"{place}: radiance only; order the surface reflectance (a file ..._SR.tif)")
    if len(images) > 1:
        raise ManifestError(
            f"{folder}: holds {len(images)} images; give each a folder of its own, or mosaic them first"
        )
    named = TAKEN.search(images[0])
    assert named is not None  # it was looked for above
    try:
        taken = datetime.strptime(named[1] + named[2], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        raise ManifestError(f"{folder / images[0]}: {named[0]!r} is no time") from None
    order = EIGHT if re.search(r"_8b", images[0], re.IGNORECASE) else FOUR
    content: SceneManifest = {
        "acquired_at": taken,
        "bands": {name: {"file": within + images[0], "index": k} for k, name in enumerate(order, 1)},
        "gain": 1.0,
        "offset": 0.0,
        "calibration": f"surface reflectance in the name {images[0]}",
        "remarks": [],
    }
    masks = [name for name in names if MASK.search(name)]
    if len(masks) == 1:
        content["udm2"] = within + masks[0]
    else:
        content["remarks"] = ["no usable data mask (udm2) lies beside the image: clouds are not set aside"]
    return content


READERS: Final[Mapping[str, Callable[[Path], SceneManifest | None]]] = {
    "Sentinel-2 (SAFE)": describe_sentinel2,
    "Landsat Collection 2, level 2": describe_landsat,
    "PlanetScope surface reflectance": describe_planet,
    "STAC item": describe_stac,
}


def is_product(folder: Path) -> bool:
    """Whether a folder looks like a product that is known, by names and beginnings of files; nothing is parsed."""
    if not folder.is_dir():
        return False
    names = [one.name for one in folder.iterdir()]
    inner = [one for one in folder.glob("*.SAFE") if one.is_dir()]
    return (
        any((one / name).is_file() for one in (folder, *inner) for name in LEVELS)
        or any(name.endswith(("_MTL.json", "_MTL.txt")) for name in names)
        or find_image_folder(folder) is not None
        or bool(find_items(folder))
    )


def describe_product(folder: Path) -> SceneManifest | None:
    """What a product says of itself, in the words of a manifest; None where the folder is no product that is known.

    Nothing of the images is opened.

    Raises:
        ManifestError: It is one of them, and cannot be used; the line says why.
    """
    for describe in READERS.values():
        if (content := describe(folder)) is not None:
            return content
    return None

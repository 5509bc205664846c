"""Recognise the product in a folder, and describe it in the form of a manifest."""

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

# Sentinel-2 in its SAFE folder, level 2A or 1C (ESA, Sentinel-2 Products Specification Document, issue 14.9): file of
# the metadata -> prefix of the tag with the offset.
LEVELS: Final = {"MTD_MSIL2A.xml": "BOA", "MTD_MSIL1C.xml": "RADIO"}
SAFE_IMAGE: Final = re.compile(r"_(B\d[0-9A]|SCL)(?:_(\d{2})m)?$")
CONTENTS: Final = "manifest.safe"  # list of the files of a product
LEVEL_1C_REMARK: Final = (
    "level 1C: reflectance at the top of the atmosphere, not of the ground; networks were trained on level 2A"
)

# Landsat 4 to 9, Collection 2, level 2 (USGS LSDS-1618, LSDS-1619): number of a band -> its common name.
OLI: Final = {"1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "nir", "6": "swir1", "7": "swir2"}
TM: Final = {"1": "blue", "2": "green", "3": "red", "4": "nir", "5": "swir1", "7": "swir2"}
OLI_SPACECRAFT: Final = ("LANDSAT_8", "LANDSAT_9")

# PlanetScope surface reflectance with its usable data mask (Planet, PlanetScope product specification).
PLANET_IMAGE: Final = re.compile(
    r"_analytic(?:ms)?(?:_[48]b)?_sr(?:_[48]b)?(?:_harmonized)?(?:_clip)?\.tiff?$", re.IGNORECASE
)
PLANET_RADIANCE: Final = re.compile(r"_analytic(?:ms)?(?:_[48]b)?(?:_clip)?\.tiff?$", re.IGNORECASE)
PLANET_MASK: Final = re.compile(r"_udm2(?:_clip)?\.tiff?$", re.IGNORECASE)
PLANET_TIME: Final = re.compile(r"(?<!\d)(\d{8})_(\d{6})_")
FOUR_BANDS: Final = ("blue", "green", "red", "nir")
EIGHT_BANDS: Final = ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir")


def describe_sentinel2(folder: Path) -> SceneManifest | None:
    """Describe a SAFE folder, or a folder that contains one; None if there is none.

    If a band exists in several resolutions, the finest is used. The scene classification (level 2A) marks usable
    pixels. The offset of the counts is read from the metadata, or follows from the processing baseline in the name.

    Raises:
        ManifestError: the product is incomplete or its metadata is wrong.
    """
    root = _find_root(folder)
    if root is None:
        return None
    metadata = next(root / name for name in LEVELS if (root / name).is_file())
    document = read_xml(metadata)
    prefix = "" if root == folder else f"{root.name}/"
    images: dict[str, tuple[int, str]] = {}  # name of the band -> resolution in metres, file
    for image in list_texts(document, "IMAGE_FILE", "IMAGE_ID"):
        match = SAFE_IMAGE.search(image)
        if match:
            file = int(match[2] or 0), f"{prefix}{image}.jp2"
            # the tuple with the finest resolution is the smallest
            images[match[1]] = min(images.get(match[1], file), file)
    bands = {name: file for name, (_, file) in images.items() if name != "SCL"}
    if not bands:
        raise ManifestError(f"{metadata}: names no image; is the download complete?")
    offset, source = _read_offset(document, metadata, root.name)
    stated = find_text(document, "BOA_QUANTIFICATION_VALUE") or find_text(document, "QUANTIFICATION_VALUE") or "10000"
    divisor = read_number(stated, metadata, "QUANTIFICATION_VALUE")
    if divisor <= 0.0:
        raise ManifestError(f"{metadata}: QUANTIFICATION_VALUE: {stated[:20]!r} is no divisor")
    acquired_at = find_text(document, "PRODUCT_START_TIME")
    content: SceneManifest = {
        "acquired_at": read_instant(acquired_at, metadata, "PRODUCT_START_TIME"),
        "bands": bands,
        "offset": offset,
        "gain": round(1.0 / (divisor * COUNT), 9),
        "calibration": source,
        "remarks": [],
        "files": _read_sizes(root, prefix, {file for _, file in images.values()}),
    }
    if "SCL" in images:
        content["classification"] = images["SCL"][1]
    if metadata.name == "MTD_MSIL1C.xml":
        content["remarks"] = [LEVEL_1C_REMARK]
    return content


def _find_root(folder: Path) -> Path | None:
    if any((folder / name).is_file() for name in LEVELS):
        return folder
    safe_folders = sorted(folder.glob("*.SAFE"))
    if not safe_folders:
        return None
    if len(safe_folders) > 1:
        raise ManifestError(f"{folder}: contains {len(safe_folders)} SAFE products; give each a folder of its own")
    root = safe_folders[0]
    if not any((root / name).is_file() for name in LEVELS):
        raise ManifestError(f"{root}: neither {' nor '.join(LEVELS)} is there; is the download complete?")
    return root


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


def _read_sizes(root: Path, prefix: str, files: set[str]) -> dict[str, dict[str, int]]:
    """Return the stated sizes of images from the list of contents, by which an interrupted download is recognised."""
    if not (root / CONTENTS).is_file():
        return {}
    sizes: dict[str, dict[str, int]] = {}
    for stream in read_xml(root / CONTENTS).iter("byteStream"):
        location = stream.find("fileLocation")
        size = stream.get("size", "")
        file = prefix + (location.get("href", "") if location is not None else "").removeprefix("./")
        if file in files and size.isdigit():
            sizes[file] = {"size": int(size)}
    return sizes


def describe_landsat(folder: Path) -> SceneManifest | None:
    """Describe a Landsat product by its metadata (`*_MTL.json` or `*_MTL.txt`); None without metadata.

    Raises:
        ManifestError: several products, another level, or wrong metadata.
    """
    paths = sorted(folder.glob("*_MTL.json")) or sorted(folder.glob("*_MTL.txt"))
    if not paths:
        return None
    if len(paths) > 1:
        raise ManifestError(f"{folder}: contains {len(paths)} Landsat products; give each a folder of its own")
    metadata = paths[0]
    values = _flatten_groups(read_json(metadata)) if metadata.suffix == ".json" else read_pairs(read_text(metadata))
    level = values.get("PROCESSING_LEVEL", "")
    if level not in {"L2SP", "L2SR"}:
        raise ManifestError(
            f"{metadata}: processing level {level or 'unknown'}: expected level 2 (L2SP, L2SR), the reflectance of the "
            "ground; order that product"
        )
    names = OLI if values.get("SPACECRAFT_ID") in OLI_SPACECRAFT else TM
    bands = {name: file for number, name in names.items() if (file := values.get(f"FILE_NAME_BAND_{number}"))}
    if not bands:
        raise ManifestError(f"{metadata}: names no band")
    acquired_at = f"{values.get('DATE_ACQUIRED', '')}T{values.get('SCENE_CENTER_TIME', '')}"
    content: SceneManifest = {
        "acquired_at": read_instant(acquired_at, metadata, "DATE_ACQUIRED and SCENE_CENTER_TIME"),
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
    values: dict[str, str] = {}
    for key, value in tree.items():
        group = _flatten_groups(value) if isinstance(value, dict) else {key: str(value)}
        for name, text in group.items():
            values.setdefault(name, text)
    return values


def find_image_folder(folder: Path) -> Path | None:
    """Return the folder with the images of PlanetScope: the folder itself, or a folder up to two levels below it.

    Orders contain the images in folders such as `files` and `PSScene`.
    """
    for candidate in (folder, *sorted(folder.glob("*/")), *sorted(folder.glob("*/*/"))):
        for file in candidate.iterdir():
            if PLANET_TIME.search(file.name) and (PLANET_IMAGE.search(file.name) or PLANET_RADIANCE.search(file.name)):
                return candidate
    return None


def describe_planet(folder: Path) -> SceneManifest | None:
    """Describe an image of PlanetScope by the names of its files; None without such an image.

    Raises:
        ManifestError: several images, or radiance only.
    """
    image_folder = find_image_folder(folder)
    if image_folder is None:
        return None
    prefix = "" if image_folder == folder else f"{image_folder.relative_to(folder).as_posix()}/"
    names = sorted(file.name for file in image_folder.iterdir() if file.is_file())
    images = [name for name in names if PLANET_IMAGE.search(name) and PLANET_TIME.search(name)]
    if not images:
        raise ManifestError(f"{image_folder}: radiance only; order the surface reflectance (a file ..._SR.tif)")
    if len(images) > 1:
        raise ManifestError(
            f"{folder}: contains {len(images)} images; give each a folder of its own, or mosaic them first"
        )
    match = PLANET_TIME.search(images[0])
    assert match is not None  # the images were selected by this expression
    try:
        acquired_at = datetime.strptime(match[1] + match[2], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        raise ManifestError(f"{folder / images[0]}: {match[0]!r} is no time") from None
    order = EIGHT_BANDS if re.search(r"_8b", images[0], re.IGNORECASE) else FOUR_BANDS
    content: SceneManifest = {
        "acquired_at": acquired_at,
        "bands": {name: {"file": prefix + images[0], "index": index} for index, name in enumerate(order, 1)},
        "gain": 1.0,
        "offset": 0.0,
        "calibration": f"surface reflectance in the name {images[0]}",
        "remarks": [],
    }
    masks = [name for name in names if PLANET_MASK.search(name)]
    if len(masks) == 1:
        content["udm2"] = prefix + masks[0]
    else:
        content["remarks"] = ["no usable data mask (udm2) lies beside the image: clouds are not masked"]
    return content


READERS: Final[Mapping[str, Callable[[Path], SceneManifest | None]]] = {
    "Sentinel-2 (SAFE)": describe_sentinel2,
    "Landsat Collection 2, level 2": describe_landsat,
    "PlanetScope surface reflectance": describe_planet,
    "STAC item": describe_stac,
}


def is_product(folder: Path) -> bool:
    """Return whether a folder looks like a supported product, by the names and the first bytes of its files."""
    if not folder.is_dir():
        return False
    names = [file.name for file in folder.iterdir()]
    safe_folders = [safe for safe in folder.glob("*.SAFE") if safe.is_dir()]
    return (
        any((safe / name).is_file() for safe in (folder, *safe_folders) for name in LEVELS)
        or any(name.endswith(("_MTL.json", "_MTL.txt")) for name in names)
        or find_image_folder(folder) is not None
        or bool(find_items(folder))
    )


def describe_product(folder: Path) -> SceneManifest | None:
    """Describe the product in a folder in the form of a manifest, without opening images; None without a product.

    Raises:
        ManifestError: the folder is a product that cannot be used; the message contains the reason.
    """
    for describe in READERS.values():
        content = describe(folder)
        if content is not None:
            return content
    return None

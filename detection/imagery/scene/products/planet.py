"""PlanetScope surface reflectance with its usable data mask (Planet, PlanetScope product specification)."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from detection.imagery.errors import ManifestError
from detection.imagery.scene.products.texts import SceneManifest

IMAGE: Final = re.compile(r"_analytic(?:ms)?(?:_[48]b)?_sr(?:_[48]b)?(?:_harmonized)?(?:_clip)?\.tiff?$", re.IGNORECASE)
UNCORRECTED: Final = re.compile(r"_analytic(?:ms)?(?:_[48]b)?(?:_clip)?\.tiff?$", re.IGNORECASE)
MASK: Final = re.compile(r"_udm2(?:_clip)?\.tiff?$", re.IGNORECASE)
TAKEN: Final = re.compile(r"(?<!\d)(\d{8})_(\d{6})_")
FOUR: Final = ("blue", "green", "red", "nir")
EIGHT: Final = ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir")


def find_image_folder(folder: Path) -> Path | None:
    """Where the images of PlanetScope lie: here, or in a folder of the order (`files`, `PSScene`); None: nowhere."""
    for place in (folder, *sorted(folder.glob("*/")), *sorted(folder.glob("*/*/"))):
        for one in place.iterdir():
            if TAKEN.search(one.name) and (IMAGE.search(one.name) or UNCORRECTED.search(one.name)):
                return place
    return None


def describe_planet(folder: Path) -> SceneManifest | None:
    """What the names of the files of a folder say; None where none of them is an image of PlanetScope."""
    place = find_image_folder(folder)
    if place is None:
        return None
    within = "" if place == folder else f"{place.relative_to(folder).as_posix()}/"
    names = sorted(one.name for one in place.iterdir() if one.is_file())
    images = [name for name in names if IMAGE.search(name) and TAKEN.search(name)]
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

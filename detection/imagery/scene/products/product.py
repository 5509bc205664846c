"""Which product a folder is: each provider's own description becomes what a manifest says."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from detection.imagery.scene.products.landsat import describe_landsat
from detection.imagery.scene.products.planet import describe_planet, find_image_folder
from detection.imagery.scene.products.sentinel2 import LEVELS, describe_sentinel2
from detection.imagery.scene.products.stac import describe_stac, find_items
from detection.imagery.scene.products.texts import SceneManifest

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

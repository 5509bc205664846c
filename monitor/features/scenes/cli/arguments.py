"""Options of commands that read scenes, and unpacking of archives."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from monitor.api.cli import print_note
from monitor.api.errors import RefusedError

FootprintArea = Annotated[
    float | None,
    typer.Option(
        "--mmu", min=0.0, max=1e12, help="Smallest footprint in m² on the ground. Default: that of the model, or 900."
    ),
]
Weights = Annotated[
    str, typer.Option(help="Shipped weights or a .safetensors file; auto: those that fit; index: no network.")
]


@contextmanager
def unpacked(scene: Path, work: Path) -> Iterator[Path]:
    """Yield the scene itself, or the content of an archive, unpacked into `work` for the duration of the context.

    Raises:
        RefusedError: the archive does not contain exactly one scene.
        ImageryError: the archive cannot be unpacked, or is too large.
    """
    from detection.imagery.scene.products.unpack import strip_suffix, unpack

    stem = strip_suffix(scene.name)
    if stem is None or not scene.is_file():
        yield scene
        return
    shutil.rmtree(work, ignore_errors=True)
    try:
        (work / stem).mkdir(parents=True)
        archive = unpack(scene, work / stem)
        left = f", {archive.left_out} links and devices left out" if archive.left_out else ""
        print_note(f"{scene.name}: {archive.files} files unpacked{left}")
        yield _find_content(work / stem, scene.name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _find_content(folder: Path, name: str) -> Path:
    """Return the scene in an unpacked archive: the folder itself, the only folder in it, or the only raster.

    Raises:
        RefusedError: there is not exactly one scene.
    """
    from detection.imagery.scene.products.product import is_product
    from monitor.features.scenes.inbox import RASTER_SUFFIXES

    inner_folders = [path for path in folder.iterdir() if path.is_dir()]
    for candidate in [folder, *inner_folders] if len(inner_folders) == 1 else [folder]:
        if (candidate / "scene.toml").is_file() or is_product(candidate):
            return candidate
    rasters = [file for file in folder.rglob("*") if file.is_file() and file.suffix.lower() in RASTER_SUFFIXES]
    if len(rasters) == 1:
        return rasters[0]
    raise RefusedError(f"{name}: holds no product, no scene.toml and {len(rasters)} rasters; expected one of them")

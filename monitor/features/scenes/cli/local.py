"""What a person names to verbs that take rasters: archives, which are unpacked, and `[crs] local` of a site file."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli.session import print_note
from monitor.errors import ConfigError, RefusedError, SlopewardError
from monitor.sites.parsing import parse_site
from monitor.sites.records import LocalGrid, Site


@contextmanager
def unpacked(scene: Path, work: Path) -> Iterator[Path]:
    """The scene as it lies there, or what an archive holds, unpacked into `work` for that time.

    Raises:
        RefusedError: the archive does not hold one scene.
        ImageryError: it cannot be unpacked, or is too large.
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
    """The scene in what was unpacked: all of it, the only folder in it, or the only raster."""
    from detection.imagery.scene.products.product import is_product
    from monitor.features.scenes.inbox import RASTERS

    inner = [one for one in folder.iterdir() if one.is_dir()]
    for one in [folder, *inner] if len(inner) == 1 else [folder]:
        if (one / "scene.toml").is_file() or is_product(one):
            return one
    rasters = [file for file in folder.rglob("*") if file.is_file() and file.suffix.lower() in RASTERS]
    if len(rasters) == 1:
        return rasters[0]
    raise RefusedError(f"{name}: holds no product, no scene.toml and {len(rasters)} rasters; expected one of them")


SiteFile = Annotated[
    Path | None,
    typer.Option(
        help="Site file whose [crs] local places files in a system of its own.", rich_help_panel="What goes in"
    ),
]
Area = Annotated[float, typer.Option("--mmu", min=0.0, max=1e12, help="Smallest area that is drawn, true m².")]
FootprintArea = Annotated[
    float | None,
    typer.Option("--mmu", min=0.0, max=1e12, help="Smallest footprint, true m²; else the model's, else 900."),
]
Weights = Annotated[str, typer.Option(help="Shipped weights, a .safetensors file; auto: those that fit; index: none.")]


@contextmanager
def placing_by_file(site: Path | None) -> Iterator[None]:
    """Files in a local system lie where the site file says; one that says nothing is a wrong word on the command."""
    local = None
    if site is not None:
        try:
            local = parse_site(site.read_text(encoding="utf-8"), str(site)).scenes.local
        except (ConfigError, OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(str(error)) from None
        if local is None:
            raise typer.BadParameter(f"{site}: has no [crs] local, so it places nothing")
    with _placing(local, lambda why: typer.BadParameter(f"{site}: {why}")):
        yield


@contextmanager
def placing_by(site: Site | None) -> Iterator[None]:
    """The same for a site of the service; None, or a site without the entry: nothing is placed."""
    with _placing(None if site is None else site.scenes.local, SlopewardError):
        yield


@contextmanager
def _placing(local: LocalGrid | None, refuse: Callable[[str], Exception]) -> Iterator[None]:
    from detection.imagery.errors import ImpossibleCrsError
    from detection.imagery.raster.local_grid import placing

    with ExitStack() as stack:
        try:
            stack.enter_context(placing(None if local is None else asdict(local)))
        except ImpossibleCrsError as error:
            raise refuse(str(error)) from None
        yield

"""Options of commands that read and write rasters, and the coordinate system of a site, `[crs] local` of its file."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from monitor.errors import ConfigError, SlopewardError
from monitor.sites.parsing import parse_site
from monitor.sites.records import LocalGrid, Site

LocalGridOption = Annotated[
    Path | None,
    typer.Option(help="Site file with the local coordinate system of the files, [crs] local.", rich_help_panel="Input"),
]
SmallestAreaOption = Annotated[
    float, typer.Option("--mmu", min=0.0, max=1e12, help="Smallest area that is drawn, in m² on the ground.")
]


@contextmanager
def use_local_grid_file(file: Path | None, *, is_required: bool = True) -> Iterator[Site | None]:
    """Place files that are in a local coordinate system as the site file describes. Yield the site.

    Args:
        file: The site file. If it is None, nothing is placed and None is yielded.
        is_required: Refuse a site file that describes no local system.

    Raises:
        typer.BadParameter: The site file cannot be read or describes no local system.
    """
    site = None
    if file is not None:
        try:
            site = parse_site(file.read_text(encoding="utf-8"), str(file))
        except (ConfigError, OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(str(error)) from None
        if is_required and site.scenes.local is None:
            raise typer.BadParameter(f"{file}: has no [crs] local, so it places nothing")
    with _placing(None if site is None else site.scenes.local, lambda why: typer.BadParameter(f"{file}: {why}")):
        yield site


@contextmanager
def use_local_grid(site: Site | None) -> Iterator[None]:
    """Place files that are in the local coordinate system of a site, if the site has one."""
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

"""`--site FILE` of verbs that take rasters: `[crs] local` of the site file places those in a mine's own grid."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from monitor.config.service import parse_site
from monitor.domain.errors import ConfigError, SlopewardError
from monitor.domain.site import LocalGrid, Site

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

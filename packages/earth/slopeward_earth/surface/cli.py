"""`slopeward scenes dod`: subtract two surfaces, without database and site."""

from dataclasses import asdict
from math import floor, inf, log10
from pathlib import Path
from typing import Annotated

import typer

from monitor.api.cli import LocalGridOption, SmallestAreaOption, exit_on, print_if_json, use_local_grid_file, warn

EXAMPLE = "Example: slopeward scenes dod 2025.tif 2026.tif --sigma-older-m 0.10 --sigma-newer-m 0.15 --json"


def dod(
    older: Annotated[Path, typer.Argument(help="Older elevation model, heights in metres.")],
    newer: Annotated[Path, typer.Argument(help="Newer elevation model, heights in metres. Its grid is used.")],
    sigma_older_m: Annotated[
        float | None, typer.Option(min=0.0, max=1000.0, help="Standard deviation of OLDER.")
    ] = None,
    sigma_newer_m: Annotated[
        float | None, typer.Option(min=0.0, max=1000.0, help="Standard deviation of NEWER.")
    ] = None,
    stable: Annotated[Path | None, typer.Option(help="Raster that is not 0 on stable ground.")] = None,
    minimum_area_m2: SmallestAreaOption = 100.0,
    out: Annotated[Path | None, typer.Option(help="Folder for the difference, outlines and record.")] = None,
    site_file: LocalGridOption = None,
) -> None:
    """Subtract two elevation models: area and volume of loss and gain. Exit 4 if they do not overlap."""
    from detection.imagery.errors import NoValidPixelsError
    from slopeward_earth.surface.difference import subtract

    with exit_on(NoValidPixelsError), use_local_grid_file(site_file):
        difference = subtract(
            older,
            newer,
            sigma_older_m=sigma_older_m,
            sigma_newer_m=sigma_newer_m,
            stable=stable,
            minimum_area_m2=minimum_area_m2,
            out_dir=out,
        )
    warn(difference.warnings)
    if print_if_json(asdict(difference)):
        return
    print(f"offset {difference.offset_m:+.3f} m, limit of detection {difference.limit_of_detection_m:.3f} m (95 %)")
    for kind, total in (("loss", difference.loss), ("gain", difference.gain)):
        print(
            f"{kind}: {_format_volume(total.volume_m3, total.volume_error_m3)} on {total.area_m2:,.0f} m² in "
            f"{total.bodies} {'body' if total.bodies == 1 else 'bodies'}"
        )
    print(f"net: {_format_volume(difference.net_volume_m3, difference.net_volume_error_m3, sign='+')}")
    print("errors are those of heights; how exactly the outlines are drawn is not in them")


def _format_volume(value: float, error: float, sign: str = "") -> str:
    """Return a volume with its error, to two digits of the error.

    >>> _format_volume(695.21, 0.179), _format_volume(-12345.6, 1234.5, "+"), _format_volume(0.0, 0.0)
    ('695.21 ± 0.18 m³', '-12,300 ± 1,200 m³', '0 ± 0 m³')
    """
    digits = 0 if not 0 < error < inf else 1 - floor(log10(error))
    shown = max(0, digits)
    return f"{round(value, digits):{sign},.{shown}f} ± {round(error, digits):,.{shown}f} m³"

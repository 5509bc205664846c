"""`slopeward scenes sar`: where ground changed between radar images of two times, offline, through clouds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from monitor.api.cli import (
    LocalGridOption,
    SmallestAreaOption,
    exit_on,
    make_progress_printer,
    print_if_json,
    use_local_grid_file,
    warn,
)
from slopeward_earth.radar.records import RadarChange, RadarRequest

EXAMPLE = "Example: slopeward scenes sar --before 20260501_VV.tif --after 20260513_VV.tif --out ./change --json"
SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class SarArguments:
    """What `slopeward scenes sar` takes."""

    before: Annotated[
        list[Path] | None,
        typer.Option(help="Calibrated backscatter before the event; can be repeated for several dates."),
    ] = None
    after: Annotated[
        list[Path] | None,
        typer.Option(help="Calibrated backscatter after the event; can be repeated. The first grid is used."),
    ] = None
    coherence_before: Annotated[Path | None, typer.Option(help="Coherence of a pair of images before the event.")] = (
        None
    )
    coherence_across: Annotated[
        Path | None, typer.Option(help="Coherence of an image before and one after the event.")
    ] = None
    mask: Annotated[Path | None, typer.Option(help="Raster that is not 0 in layover and radar shadow.")] = None
    incidence_before: Annotated[Path | None, typer.Option(help="Incidence angles of --before, in degrees.")] = None
    incidence_after: Annotated[
        Path | None, typer.Option(help="Incidence angles of --after, in degrees. Differences are reported.")
    ] = None
    band: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Number of the band. Default: the band is chosen by its name.")
    ] = None
    units: Annotated[
        Literal["power", "db", "amplitude"] | None,
        typer.Option(help="Units of the backscatter. Default: from the tags or the values."),
    ] = None
    multilook: Annotated[int, typer.Option(min=1, max=64, help="Side of a cell, in pixels.")] = 3
    false_alarms: Annotated[
        float, typer.Option(min=1e-12, max=0.1, help="Probability that an unchanged cell is marked as changed.")
    ] = 1e-4
    looks: Annotated[
        float | None,
        typer.Option(min=0.3, max=2000.0, help="Equivalent number of looks of a cell. Default: estimated."),
    ] = None
    minimum_area_m2: SmallestAreaOption = 5000.0
    out: Annotated[Path | None, typer.Option(help="Folder for rasters, outlines, picture and record.")] = None
    site_file: LocalGridOption = None


def sar(given: SarArguments) -> None:
    """Detect change between radar images, by backscatter, coherence or both, at a given false-alarm rate.

    Exit 4 if the images do not overlap.
    """
    from detection.imagery.errors import NoValidPixelsError
    from slopeward_earth.radar.change import find_radar_change

    if (given.coherence_before is None) != (given.coherence_across is None):
        raise typer.BadParameter("--coherence-before and --coherence-across belong together")
    if (given.incidence_before is None) != (given.incidence_after is None):
        raise typer.BadParameter("--incidence-before and --incidence-after belong together")
    if bool(given.before) != bool(given.after) or not (given.before or given.coherence_before):
        raise typer.BadParameter("give --before and --after, or a pair of coherences, or all of them")
    request = RadarRequest(
        before=tuple(given.before or ()),
        after=tuple(given.after or ()),
        mask=given.mask,
        band=given.band,
        multilook=given.multilook,
        coherence=_pair(given.coherence_before, given.coherence_across),
        incidence=_pair(given.incidence_before, given.incidence_after),
        false_alarms=given.false_alarms,
        minimum_area_m2=given.minimum_area_m2,
        looks=given.looks,
        units=given.units,
        out_dir=given.out,
    )
    with exit_on(NoValidPixelsError), use_local_grid_file(given.site_file):
        found = find_radar_change(request, make_progress_printer())
    warn(found.warnings)
    if not print_if_json(found.to_json()):
        _show(found)


def _pair(before: Path | None, after: Path | None) -> tuple[Path, Path] | None:
    return (before, after) if before and after else None


def _show(found: RadarChange) -> None:
    for path, unit in found.units.items():
        print(f"{Path(path).name}: {unit}")
    if found.looks is not None and found.threshold_db is not None:
        print(
            f"{found.looks[0]:.1f} looks a cell; changed beyond {found.threshold_db[0]:.1f} dB "
            f"and {found.threshold_db[1]:+.1f} dB; {found.offset_db:+.1f} dB of all ground taken away"
        )
    if found.threshold_coherence is not None:
        print(f"coherence: changed where its normalised difference is above {found.threshold_coherence:.2f}")
    area_m2 = sum(one.area_m2 for one in found.outlines)
    print(
        f"{len(found.outlines)} outlines, {area_m2:,.0f} m², on {found.valid_share:.0%} of the ground; about "
        f"{round(found.expected_false_cells)} single cells by chance"
    )
    for one in found.outlines[:SHOWN]:
        parts = [] if one.change_db is None else [f"{one.change_db:+.1f} dB"]
        if one.coherence_was is not None and one.coherence_is is not None:
            parts.append(f"coherence {one.coherence_was:.2f} to {one.coherence_is:.2f}")
        parts += ["uncertain: the incidence differs"] if one.uncertain else []
        print(f"{one.area_m2:,.0f} m² by {one.by}: {', '.join(parts)}")

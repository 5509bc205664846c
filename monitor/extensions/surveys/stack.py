"""`slopeward scenes rates`: what a stack of interferograms says of movement, and into a site's point sets."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from detection.imagery.insar.records import Reference, StackRates, StackRequest
from monitor.cli.scenes.local import Area, placing_by
from monitor.cli.session import ending_at, open_site, print_if_json, warn
from monitor.domain.errors import SlopewardError
from monitor.domain.site import Site
from monitor.extensions.surveys.stack_series import list_stack_places, store_coherence
from monitor.store.database.engine import Database

EXAMPLE = "Example: slopeward scenes rates ./stack --reference -99.17,19.40,1500 --out ./rates --json"
CHUNK: Final = 4000  # values of one transaction: others wait a fraction of a second
LOS: Final = "los-towards"  # what a positive value means, in the words of point sets


@dataclass(frozen=True, slots=True, kw_only=True)
class RatesArguments:
    """What `slopeward scenes rates` takes."""

    stack: Annotated[Path, typer.Argument(help="Folder with stack.toml, or rasters that name two dates each.")]
    reference: Annotated[str | None, typer.Option(help="Still ground: LON,LAT,RADIUS_M.")] = None
    k_sigma: Annotated[float, typer.Option(min=0.0, max=1000.0, help="A zone moves beyond so many sigma.")] = 3.0
    coherence: Annotated[float, typer.Option(min=0.0, max=1.0, help="Lower coherence is not used.")] = 0.3
    minimum_area_m2: Area = 40_000.0
    every: Annotated[int, typer.Option(min=1, max=10_000, help="Points of every n-th row and column.")] = 1
    network: Annotated[str | None, typer.Option(help="Unvalidated hint by a network: phase/generated-phase.")] = None
    out: Annotated[Path | None, typer.Option(help="Folder for rasters, zones, picture and record.")] = None
    site: Annotated[str | None, typer.Option("--site", help="Store the points in a set of this site.")] = None
    name: Annotated[str | None, typer.Option("--set", help="Name of the set; the folder's by default.")] = None


def rates(given: RatesArguments) -> None:
    """Rate toward the satellite per pixel with its error, zones of movement, loss of coherence; exit 4: no pixel."""
    from detection.imagery.errors import NoValidPixelsError
    from detection.imagery.insar.outputs import measure_stack

    request = StackRequest(
        folder=given.stack,
        reference=_place(given.reference),
        k_sigma=given.k_sigma,
        coherence_least=given.coherence,
        minimum_area_m2=given.minimum_area_m2,
        every=given.every,
        out_dir=given.out,
        network=given.network,
    )
    # before the work: a site that is not there is said at once
    target = None if given.site is None else open_site(given.site)[1:]
    if target is not None:
        request = replace(request, places=tuple(target[0].run_read(list_stack_places, target[1])))
    with ending_at(NoValidPixelsError), placing_by(None if target is None else target[1]):
        found = measure_stack(request)
    warn(found.warnings)
    label = given.name or given.stack.resolve().name
    stored = coherences = None
    if target is not None:
        stored = _store(target, label, found, given.stack)
        with target[0].write() as c:
            coherences = store_coherence(c, target[1], label, found, datetime.now(UTC))
    if print_if_json({**found.to_json(), "stored": stored, "stored_coherence": coherences}):
        return
    spread = found.rate_mm_per_year
    print(
        f"{len(found.points)} points on {len(found.dates)} dates, {spread['p1']:.0f} to {spread['p99']:.0f} mm/year "
        f"toward the satellite (1st to 99th percentile; error {found.error_mm_per_year:.1f} mm/year, still "
        f"ground scatters by {found.noise_mm_per_year:.1f} mm/year)"
    )
    for zone in found.zones:
        print(
            f"zone {zone.kind}: {zone.rate_mm_per_year:.0f} mm/year, fastest "
            f"{zone.fastest_mm_per_year:.0f} mm/year, {zone.area_m2 / 1e6:.2f} km²"
        )
    for loss in found.coherence_loss:
        print(f"coherence lost: {loss.was:.2f} to {loss.value:.2f} on {loss.area_m2 / 1e6:.2f} km² (advice)")
    if found.network is not None:
        print(f"network marks {found.network.marked_share:.1%} of the pixels (unvalidated)")
    if stored is not None:
        print(f"{stored} values of points and {coherences} of coherence stored")


def _place(text: str | None) -> Reference | None:
    if text is None:
        return None
    try:
        lon, lat, radius_m = (float(part) for part in text.split(","))
    except ValueError:
        raise SlopewardError(f"--reference: expected LON,LAT,RADIUS_M, got {text!r}") from None
    if not (-180 <= lon <= 180 and -90 <= lat <= 90 and radius_m > 0):
        raise SlopewardError(f"--reference: {text!r} is no place on the ground")
    return lon, lat, radius_m


def _store(target: tuple[Database, Site], name: str, found: StackRates, stack: Path) -> int:
    from monitor.store.readings import points

    db, site = target[0], target[1].id
    began_at = datetime.now(UTC)
    dates = found.dates
    step = max(1, CHUNK // len(dates))
    stored = revisions = 0
    for begin in range(0, len(found.points), step):
        part = found.points[begin : begin + step]
        with db.write() as c:
            set_id = points.open_point_set(c, site, name, LOS, "mm")
            placed = points.place_points(c, set_id, [points.Point(p.pid, p.lat, p.lon) for p in part])
            values = [points.PointValue(p.pid, at, v) for p in part for at, v in zip(dates, p.values_mm, strict=True)]
            added = points.add_point_values(c, placed, values, datetime.now(UTC), began_at)
        stored, revisions = stored + added.stored, revisions + added.revisions
    if stored:
        with db.write() as c:
            total = points.PointsAdded(stored, 0, revisions)
            points.add_delivery(c, site, set_id, stack.resolve().name, datetime.now(UTC), dates[-1], total)
    return stored

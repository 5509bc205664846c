"""`slopeward scenes rates`: what a stack of interferograms says of movement, and into a site's point sets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import typer
from sqlalchemy import Connection

from detection.imagery.footprints.proximity import keep_near, list_distances
from detection.imagery.footprints.records import Circle, MeasuredPlace
from monitor.api.cli import SmallestAreaOption, exit_on, open_site, print_if_json, use_local_grid, warn
from monitor.api.database import Database
from monitor.api.decision import AlertCategory, AlertChange
from monitor.api.errors import SlopewardError
from monitor.api.queries.alerts import notify_site
from monitor.api.queries.readings import add_observations
from monitor.api.readings import Observation
from monitor.api.sites import LANDSLIDE_PREFIX, QUANTITIES, Site
from monitor.api.text import Figure, Template, Timestamp, canonical_json
from slopeward_earth.insar.queries import load_followed
from slopeward_earth.insar.records import CoherenceLoss, MovingZone, Reference, StackRates, StackRequest

QUANTITY: Final = "coherence"
# A loss on a pair older than this is history: it is printed, nobody is told.
NEWS: Final = timedelta(days=45)
FOLLOWED_MOST: Final = 30
_LOST: Final = Template(
    "coherence.lost",
    "radar coherence fell from {before} to {after} on {area} m² between {since} and {until}, nearest "
    "station {distance} m ({station}): the ground has changed or moved, or it rained or snowed",
)
_LOST_MORE: Final = Template(
    "coherence.lost_more",
    "radar coherence fell from {before} to {after} on {area} m² between {since} and {until}, nearest "
    "station {distance} m ({station}) and {n} more: the ground has changed or moved, or it rained or "
    "snowed",
)
_KEPT: Final = Template("coherence.kept", "coherence of {name} is not lost near a station any more")


def list_stack_places(c: Connection, site: Site) -> list[MeasuredPlace]:
    """Circles around the stations and the newest outlines of followed landslides, as a stack is measured over them."""
    circles = [
        MeasuredPlace(name, Circle(lon, lat, site.scenes.near_m)) for name, (lon, lat) in sorted(site.places.items())
    ]
    outlines = [
        MeasuredPlace(f"{LANDSLIDE_PREFIX}{root[:12]}", geometry)
        for root, geometry in load_followed(c, site.id, site.scenes.near_m, FOLLOWED_MOST)
    ]
    return [*circles, *outlines]


def store_coherence(c: Connection, site: Site, name: str, found: StackRates, now: datetime) -> int:
    """Store the coherence of places and of zones near stations, and tell of its loss; call in a write transaction.

    A zone has no name of its own from stack to stack: it is that of the nearest station (`F-zone-G1`). A value has the
    time of the later date of its pair; the same stack again adds nothing. `name`: the stack's, so that two tracks do
    not end each other's advice. Returns the number of values that are news.
    """
    rows = dict(found.coherence_series)
    for station, zone in _name_zones(site, found.zones).items():
        rows[f"{LANDSLIDE_PREFIX}zone-{station}"] = zone.coherence
    added = add_observations(
        c,
        [
            Observation(
                site.id,
                station,
                QUANTITY,
                QUANTITIES[QUANTITY].unit,
                row.at,
                now,
                row.value,
                source="stacks",
                extra=canonical_json({"since": row.since.isoformat(), "stack": name}),
            )
            for station, values in sorted(rows.items())
            for row in values
        ],
        now,
    )
    _notify_loss(c, site, name, found.coherence_loss, now)
    return added.stored


def _name_zones(site: Site, zones: Sequence[MovingZone]) -> dict[str, MovingZone]:
    named: dict[str, MovingZone] = {}
    for zone, distances in zip(zones, list_distances([zone.geometry for zone in zones], site.places), strict=True):
        if near := keep_near(distances, site.scenes.near_m):
            named.setdefault(near[0][0], zone)
    return named


def _notify_loss(c: Connection, site: Site, name: str, losses: Sequence[CoherenceLoss], now: datetime) -> None:
    distances = list_distances([loss.geometry for loss in losses], site.places)
    near = [
        (stations[0][1], stations, loss)
        for loss, away in zip(losses, distances, strict=True)
        if now - loss.until <= NEWS and (stations := keep_near(away, site.scenes.near_m))
    ]
    reason, newest_at = _KEPT(name=name), None
    if near:
        away_m, stations, loss = min(near, key=lambda item: item[0])
        newest_at = loss.until
        others = len(stations) - 1
        reason = (_LOST_MORE if others else _LOST)(
            before=Figure(loss.was, ".2f"),
            after=Figure(loss.value, ".2f"),
            area=Figure(loss.area_m2, ",.0f"),
            since=Timestamp.of(loss.since, "day"),
            until=Timestamp.of(loss.until, "day"),
            distance=Figure(away_m, ",.0f"),
            station=stations[0][0],
            **({"n": others} if others else {}),
        )
    change = AlertChange(
        AlertCategory.ADVICE,
        f"advice:coherence:{name}",
        1,
        open=bool(near),
        reason=reason,
        data_time=newest_at,
        evidence=canonical_json({"losses": [loss.facts() for *_, loss in near]}),
        notify=bool(near),
    )
    notify_site(c, site, [change], now, site.version)


EXAMPLE = "Example: slopeward scenes rates ./stack --reference -99.17,19.40,1500 --out ./rates --json"
CHUNK: Final = 4000  # values of one transaction: others wait a fraction of a second
LOS: Final = "los-towards"  # what a positive value means, in the words of point sets


@dataclass(frozen=True, slots=True, kw_only=True)
class RatesArguments:
    """What `slopeward scenes rates` takes."""

    stack: Annotated[
        Path, typer.Argument(help="Folder with stack.toml, or with rasters that have two dates in tags or name.")
    ]
    reference: Annotated[str | None, typer.Option(help="Ground that does not move: LON,LAT,RADIUS_M.")] = None
    k_sigma: Annotated[
        float,
        typer.Option(min=0.0, max=1000.0, help="A zone moves if its velocity exceeds this many standard deviations."),
    ] = 3.0
    coherence: Annotated[float, typer.Option(min=0.0, max=1.0, help="Ignore pixels with a lower coherence.")] = 0.3
    minimum_area_m2: SmallestAreaOption = 40_000.0
    every: Annotated[int, typer.Option(min=1, max=10_000, help="Take points from every n-th row and column only.")] = 1
    network: Annotated[
        str | None, typer.Option(help="Network that marks moving zones: phase/generated-phase. It is not validated.")
    ] = None
    out: Annotated[Path | None, typer.Option(help="Folder for rasters, zones, picture and record of the run.")] = None
    site: Annotated[str | None, typer.Option("--site", help="Store the points in a point set of this site.")] = None
    name: Annotated[
        str | None, typer.Option("--set", help="Name of the point set. Default: the name of the folder.")
    ] = None


def rates(given: RatesArguments) -> None:
    """Compute the velocity towards the satellite from a stack of interferograms, and zones of movement.

    Each pixel has its rate with error; a loss of coherence is reported. Exit 4 if no pixel has a rate.
    """
    from detection.imagery.errors import NoValidPixelsError
    from slopeward_earth.insar.outputs import measure_stack

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
    with exit_on(NoValidPixelsError), use_local_grid(None if target is None else target[1]):
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
    from monitor.api.queries.readings import points

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

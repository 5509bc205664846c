"""What a stack of interferograms says of the places of a site: coherence as ordinary series, its loss as advice."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from detection.imagery.footprints.proximity import keep_near, list_distances
from detection.imagery.footprints.records import Circle, MeasuredPlace
from detection.imagery.insar.records import CoherenceLoss, MovingZone, StackRates
from forecasting.message import Figure, Template, Timestamp
from monitor.domain.alert import AlertCategory, AlertChange
from monitor.domain.canonical import canonical_json
from monitor.domain.observation import Observation
from monitor.domain.quantities import LANDSLIDE, QUANTITIES
from monitor.domain.site import Site
from monitor.store.alerting.alerts import notify_site
from monitor.store.readings.observations import add_observations
from monitor.store.scenes.arrivals import load_followed

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
        MeasuredPlace(f"{LANDSLIDE}{root[:12]}", geometry)
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
        rows[f"{LANDSLIDE}zone-{station}"] = zone.coherence
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

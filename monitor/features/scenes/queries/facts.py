"""Footprints as the criterion `scene` reads them."""

from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, select

from monitor.api.decision import FootprintFact
from monitor.api.queries.alerts import ADVICE_LIMIT
from monitor.api.text import epoch_s, read_columns
from monitor.features.scenes.tables import scene, scene_change, scene_footprint

SCENE_CHANGES: Final = frozenset({"new", "grown", "single"})  # changes that the criterion `scene` may count


def load_footprint_facts(c: Connection, site: str, since: datetime, now: datetime) -> tuple[FootprintFact, ...]:
    """Return footprints of scenes taken after `since` whose change is new, grown or not judged, as known at `now`.

    At most `ADVICE_LIMIT`, the nearest to a station first.
    """
    taken = {"site_id": site, "since": since, "now": now}
    judged: dict[tuple[str, str, str], Any] = {}
    judgements, footprints = _plan_footprint_facts()
    for r in c.execute(judgements, taken):
        key = (r.scene_hash, r.model_hash, r.polygon_id)
        if r.judged_at <= now:
            judged[key] = r
        else:
            judged.setdefault(key, None)  # not judged yet at that time, so it was a footprint of a single date
    found = []
    for r in c.execute(footprints, taken):
        latest = judged.get((r.scene_hash, r.model_hash, r.polygon_id), r)
        change = "single" if latest is None else latest.change
        if change not in SCENE_CHANGES:
            continue
        known_at = r.detected_at if latest is None or latest is r else latest.judged_at
        since_at = None if latest is None else latest.since_at
        found.append(
            FootprintFact(
                r.name,
                epoch_s(r.acquired_at),
                r.polygon_id,
                change,
                r.area_m2,
                r.nearest_station,
                r.distance_m,
                epoch_s(known_at),
                None if latest is None else latest.grown_m2,
                None if latest is None else latest.parent_id,
                None if since_at is None else epoch_s(since_at),
                None if latest is None else read_columns(latest, "caution"),
                tuple((station, away_m) for station, away_m in r.near_stations or ()),
                r.kind,
                r.model_hash,
            )
        )
        if len(found) == ADVICE_LIMIT:
            break
    return tuple(found)


@cache  # built once, because every evaluation uses it
def _plan_footprint_facts() -> tuple[Select[Any], Select[Any]]:
    g, s, h = scene_footprint.c, scene.c, scene_change.c
    now: Any = bindparam("now")
    taken = (s.site == bindparam("site_id"), s.acquired_at > bindparam("since"), s.acquired_at <= now)
    return (
        select(scene_change).join(scene, s.scene_hash == h.scene_hash).where(*taken).order_by(h.judged_at),
        select(*(k for k in g if k.name != "geometry"), s.name, s.acquired_at, g["class"].label("kind"))
        .join(scene, s.scene_hash == g.scene_hash)
        .where(*taken, g.detected_at <= now, g.distance_m.is_not(None))
        # The nearest first, so that hundreds of distant outlines do not displace one near a station.
        .order_by(g.distance_m, s.acquired_at.desc(), g.polygon_id),
    )

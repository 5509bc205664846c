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

    At most `ADVICE_LIMIT` are returned, the nearest to a station first.
    """
    parameters = {"site_id": site, "since": since, "now": now}
    judgements_query, footprints_query = _make_queries()
    # The newest judgement of each footprint at `now`. None: it was judged later only, so at `now` it was a footprint of
    # a single date.
    judgements: dict[tuple[str, str, str], Any] = {}
    for row in c.execute(judgements_query, parameters):
        key = (row.scene_hash, row.model_hash, row.polygon_id)
        if row.judged_at <= now:
            judgements[key] = row
        else:
            judgements.setdefault(key, None)
    facts = []
    for row in c.execute(footprints_query, parameters):
        # A footprint without any judgement has its change in its own row.
        latest = judgements.get((row.scene_hash, row.model_hash, row.polygon_id), row)
        change = "single" if latest is None else latest.change
        if change not in SCENE_CHANGES:
            continue
        known_at = row.detected_at if latest is None or latest is row else latest.judged_at
        since_at = None if latest is None else latest.since_at
        facts.append(
            FootprintFact(
                row.name,
                epoch_s(row.acquired_at),
                row.polygon_id,
                change,
                row.area_m2,
                row.nearest_station,
                row.distance_m,
                epoch_s(known_at),
                None if latest is None else latest.grown_m2,
                None if latest is None else latest.parent_id,
                None if since_at is None else epoch_s(since_at),
                None if latest is None else read_columns(latest, "caution"),
                tuple((station, distance_m) for station, distance_m in row.near_stations or ()),
                row.kind,
                row.model_hash,
            )
        )
        if len(facts) == ADVICE_LIMIT:
            break
    return tuple(facts)


@cache  # built once, because every evaluation uses them
def _make_queries() -> tuple[Select[Any], Select[Any]]:
    """Return the queries of the judgements and of the footprints of a site."""
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

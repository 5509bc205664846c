"""A scene delivered again: the outlines of the version before are withdrawn from then on, and may come back."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, and_, delete, select, update

from forecasting.message import Message, Template, message_columns
from monitor.domain.canonical import canonical_json
from monitor.domain.instants import spell
from monitor.store.database.engine import insert
from monitor.store.schema.tables import observation, observation_flag, scene, scene_change, scene_footprint, series

_ANOTHER_VERSION: Final = Template("scene.another_version", "another version of the scene was delivered")()
_IMAGE_WITHDRAWN: Final = Template("scene.image_withdrawn", "its image is withdrawn: another version was delivered")()
SUPERSEDED: Final = "superseded"
WAITING: Final = "waiting"
# later word on a value whose image is withdrawn; `observation.UNFIT` leaves such values out
WITHDRAWN_VALUE: Final = "bad"
SeriesPoint = tuple[str, str, datetime]  # station, quantity, observed_at


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """An outline that was withdrawn; `claimed` when it had been called new or grown without a caution."""

    polygon_id: str
    claimed: bool
    station: str | None
    distance_m: float | None


def supersede_scene(c: Connection, scene_hash: str, by_hash: str, now: datetime) -> list[Withdrawn]:
    """Mark a scene as replaced by another version of it and withdraw its outlines; nothing is deleted."""
    run = c.execute(select(scene.c.run).where(scene.c.scene_hash == scene_hash)).scalar() or {}
    told = {**run, "superseded_by": by_hash, "superseded_at": spell(now)}
    c.execute(update(scene).where(scene.c.scene_hash == scene_hash).values(state=SUPERSEDED, run=told))
    # outlines that rest on it, also on dates too late to be judged again, rest on the version that counts
    anchored = scene_footprint.c.anchor_scene == scene_hash
    c.execute(update(scene_footprint).where(anchored).values(anchor_scene=by_hash))
    return withdraw_footprints(c, scene_hash, now, _ANOTHER_VERSION)


def withdraw_footprints(
    c: Connection, scene_hash: str, now: datetime, reason: Message, *, keep_model: str | None = None
) -> list[Withdrawn]:
    """Judge the outlines of a scene withdrawn from `now` on; those of `keep_model` stay."""
    g = scene_footprint.c
    which = and_(g.scene_hash == scene_hash, g.change != "withdrawn")
    if keep_model is not None:
        which = and_(which, g.model_hash != keep_model)
    rows = c.execute(select(scene_footprint).where(which).order_by(g.model_hash, g.polygon_id)).all()
    found = []
    for row in rows:
        key = {
            "scene_hash": scene_hash, "model_hash": row.model_hash, "polygon_id": row.polygon_id, "judged_at": now,
        }  # fmt: skip
        word = {"change": "withdrawn", **message_columns("caution", reason)}
        bare = dict.fromkeys(("parent_id", "grown_m2", "since_at", "first_seen_at"))
        statement = insert(c, scene_change).values(key | bare | word)
        c.execute(statement.on_conflict_do_update(index_elements=list(key), set_=bare | word))
        c.execute(
            update(scene_footprint)
            .where(*(g[name] == key[name] for name in ("scene_hash", "model_hash", "polygon_id")))
            .values(word)
        )
        claimed = row.change in {"new", "grown"} and not row.caution
        found.append(Withdrawn(row.polygon_id, claimed, row.nearest_station, row.distance_m))
    return found


def name_origin(scene_hash: str) -> str:
    """What a value that a scene said of a place carries in `extra`.

    >>> name_origin("ab" * 32)
    '{"scene":"abababababababab"}'
    """
    return canonical_json({"scene": scene_hash[:16]})


def flag_values(c: Connection, site: str, scene_hash: str, kept: Collection[SeriesPoint], now: datetime) -> int:
    """Flag what a withdrawn version of a scene said of places and the version that counts does not say anew.

    Returns:
        The number of values that were flagged.
    """
    o, s = observation.c, series.c
    rows = c.execute(
        select(o.series_id, o.observed_at, o.revision, s.station, s.quantity)
        .join(series, s.id == o.series_id)
        .where(s.site == site, s.quantity.in_(("scene_probability", "ndvi", "coherence")))
        .where(o.extra == name_origin(scene_hash))
        .order_by(o.series_id, o.observed_at, o.revision)
    ).all()
    flagged = 0
    for row in rows:
        if (row.station, row.quantity, row.observed_at) in kept:
            continue
        c.execute(
            insert(c, observation_flag).values(
                series_id=row.series_id, observed_at=row.observed_at, revision=row.revision, flag=WITHDRAWN_VALUE,
                known_from=now, by="slopeward", reason=_IMAGE_WITHDRAWN,
            )
        )  # fmt: skip
        flagged += 1
    return flagged


def forget_failure(c: Connection, site: str, name: str) -> None:
    """Let a scene that could not be used be looked at again when files of its name come back; its row stays."""
    which = and_(scene.c.site == site, scene.c.name == name, scene.c.state == "failed")
    c.execute(update(scene).where(which).values(run={"fingerprint": None}))


def drop_waiting(c: Connection, hashes: Iterable[str]) -> None:
    """Forget scenes that wait no longer; of a scene that waits nothing but its name was known."""
    wanted = list(hashes)
    if wanted:
        c.execute(delete(scene).where(scene.c.scene_hash.in_(wanted), scene.c.state == WAITING))

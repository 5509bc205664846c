"""What people say of footprints, and which footprints wait for somebody to look."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, func, select

from detection.geojson import Geometry
from monitor.api.database import match_given, read_record
from monitor.features.scenes.tables import footprint_review, scene, scene_footprint, scene_outline

UNSURE: Final = 0.5
"""A footprint waits for a look when its mean probability is below threshold + this share of what is left to 1."""


NETWORK: Final = "network"


def name_method(model: str) -> str:
    """What found a footprint: `sar`, `index`, else a network; only that one's answer is a probability."""
    return model if model in {"sar", "index"} else NETWORK


@dataclass(frozen=True, slots=True)
class ReviewedFootprint:
    """A footprint with the newest word on it; `verdict` None: nobody looked yet.

    `by_outline`: somebody outlined it anew on the page, which says what a review would.
    """

    scene: str
    scene_hash: str
    model: str
    model_hash: str
    polygon_id: str
    mean_probability: float
    threshold: float
    area_m2: float
    change: str
    geometry: Geometry
    path: str
    acquired_at: datetime | None
    verdict: str | None
    by: str | None
    note: str | None
    redrawn: Geometry | None
    at: datetime | None = None
    by_outline: bool = False

    @property
    def method(self) -> str:
        """What found it, see `name_method`."""
        return name_method(self.model)

    @property
    def unsure(self) -> bool:
        """Whether the network was not sure of it; nothing says how sure an index or radar is, so a person looks."""
        return self.method != NETWORK or self.mean_probability < self.threshold + UNSURE * (1 - self.threshold)


def load_reviewed(
    c: Connection,
    site: str,
    *,
    model_hash: str | None = None,
    scene_hash: str | None = None,
    polygon_id: str | None = None,
) -> list[ReviewedFootprint]:
    """Footprints of a site, or of a model or scene of it, with the newest word on each, the least sure first.

    Those that no network found come last: nothing says how sure they are. Withdrawn ones are left out. `polygon_id`:
    those alone whose id begins so.
    """
    g, s, r = scene_footprint.c, scene.c, footprint_review.c
    same = and_(g.scene_hash == r.scene_hash, g.model_hash == r.model_hash, g.polygon_id == r.polygon_id)
    query = (
        select(scene_footprint, r.id, r.verdict, r.by, r.note, r.geometry.label("redrawn"), r.at)
        .add_columns(s.name.label("scene"), s.path, s.acquired_at, s.run)
        .join(scene, s.scene_hash == g.scene_hash)
        .outerjoin(footprint_review, same)
        .where(s.site == site, g.change != "withdrawn", g.change != "vanished")
        .where(
            *match_given(g.model_hash, model_hash),
            *match_given(g.scene_hash, scene_hash),
            *_begins(g.polygon_id, polygon_id),
        )
        .order_by(r.id)
    )
    found: dict[tuple[str, str, str], ReviewedFootprint] = {}
    for row in c.execute(query):
        threshold = float((row.run or {}).get("threshold", 0.5))
        one = read_record(ReviewedFootprint, row, threshold=threshold)
        found[row.scene_hash, row.model_hash, row.polygon_id] = one
    # outlines that stand, by the footprint that each corrects, the oldest first
    o, corrections = scene_outline.c, dict[tuple[str, str, str], list[Any]]()
    stands = (o.site == site, o.from_polygon_id.is_not(None), o.withdrawn_at.is_(None))
    drawn = select(scene_outline).where(*stands, *match_given(o.scene_hash, scene_hash))
    for row in c.execute(drawn.where(*_begins(o.from_polygon_id, polygon_id)).order_by(o.id)):
        corrections.setdefault((row.scene_hash, row.from_model_hash, row.from_polygon_id), []).append(row)
    for key in corrections.keys() & found.keys():
        found[key] = _correct(found[key], corrections[key])
    return sorted(found.values(), key=lambda one: (one.method != NETWORK, one.mean_probability, one.polygon_id))


def _begins(name: ColumnElement[str], with_: str | None) -> Sequence[ColumnElement[bool]]:
    return [] if with_ is None else [func.substr(name, 1, len(with_)) == with_]


def _correct(one: ReviewedFootprint, words: Sequence[Any]) -> ReviewedFootprint:
    """A footprint as the outlines say that correct it, unless somebody judged it after them."""
    last = words[-1]
    if one.at is not None and one.at > last.at:
        return one
    rings = [one_part.geometry["coordinates"] for one_part in words if one_part.kind == "landslide"]
    redrawn: Geometry | None = {"type": "MultiPolygon", "coordinates": rings} if rings else None
    return replace(
        one,
        verdict="redraw" if rings else "reject",
        by=last.by,
        note=last.note or None,
        redrawn=redrawn,
        at=last.at,
        by_outline=True,
    )

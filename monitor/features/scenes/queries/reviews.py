"""Reviews of footprints by people, and footprints that still need a review."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, func, select

from detection.geojson import Geometry
from monitor.api.database import match_given, read_record
from monitor.features.scenes.tables import footprint_review, scene, scene_footprint, scene_outline

UNSURE: Final = 0.5
"""A footprint needs a review if its mean probability is below threshold + this share of (1 - threshold)."""


NETWORK: Final = "network"


def name_method(model: str) -> str:
    """Return the method that found a footprint: `sar`, `index` or `network`. Only networks give probabilities."""
    return model if model in {"sar", "index"} else NETWORK


@dataclass(frozen=True, slots=True)
class ReviewedFootprint:
    """A footprint with its newest review. `verdict` is None if there is none.

    `by_outline`: a person drew another outline on the page, which counts as a review.
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
        """The method that found it, see `name_method`."""
        return name_method(self.model)

    @property
    def unsure(self) -> bool:
        """Whether a person should review it: the network is unsure, or an index or radar found it."""
        return self.method != NETWORK or self.mean_probability < self.threshold + UNSURE * (1 - self.threshold)


def load_reviewed(
    c: Connection,
    site: str,
    *,
    model_hash: str | None = None,
    scene_hash: str | None = None,
    polygon_id: str | None = None,
) -> list[ReviewedFootprint]:
    """Return footprints of a site, or of one of its models or scenes, with their newest reviews, the least sure first.

    Footprints without a probability come last. Withdrawn ones are left out. `polygon_id` is the beginning of an id.
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
    # Outlines that were not withdrawn, by the footprint that each corrects, the oldest first.
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
    """Return a footprint with the review that its corrected outlines mean, unless it was reviewed after them."""
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

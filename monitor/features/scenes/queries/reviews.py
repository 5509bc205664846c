"""Reviews of footprints by people, and footprints that still need a review."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, func, select

from detection.geojson import Geometry
from monitor.api.database import match_given, row_to_record
from monitor.features.scenes.tables import footprint_review, scene, scene_footprint, scene_outline

UNSURE_SHARE: Final = 0.5
"""A footprint needs a review if its mean probability is below threshold + this share of (1 - threshold)."""
NETWORK: Final = "network"


def name_method(model: str) -> str:
    """Return the method of a model: `sar`, `index` or `network`. Only networks compute probabilities."""
    return model if model in {"sar", "index"} else NETWORK


@dataclass(frozen=True, slots=True)
class ReviewedFootprint:
    """A footprint with its newest review. `verdict` is None if there is none.

    `by_outline`: a person drew another outline on the page, which counts as a review.
    """

    site: str
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
        return self.method != NETWORK or self.mean_probability < self.threshold + UNSURE_SHARE * (1 - self.threshold)


def load_reviewed(
    c: Connection,
    site: str | Iterable[str] | None,
    *,
    model_hash: str | None = None,
    scene_hash: str | None = None,
    polygon_id: str | None = None,
) -> list[ReviewedFootprint]:
    """Return footprints with their newest reviews, the least certain first.

    Footprints without a probability are last. Withdrawn footprints are left out.

    Args:
        c: The connection.
        site: Only of this site or of these sites; None for all sites.
        model_hash: Only those that this model found.
        scene_hash: Only those of this scene.
        polygon_id: Only those whose id begins with this text.
    """
    g, s, r = scene_footprint.c, scene.c, footprint_review.c
    same = and_(g.scene_hash == r.scene_hash, g.model_hash == r.model_hash, g.polygon_id == r.polygon_id)
    query = (
        select(scene_footprint, r.id, r.verdict, r.by, r.note, r.geometry.label("redrawn"), r.at)
        .add_columns(s.site, s.name.label("scene"), s.path, s.acquired_at, s.run)
        .join(scene, s.scene_hash == g.scene_hash)
        .outerjoin(footprint_review, same)
        .where(g.change != "withdrawn", g.change != "vanished")
        .where(
            *match_given(s.site, site),
            *match_given(g.model_hash, model_hash),
            *match_given(g.scene_hash, scene_hash),
            *_match_beginning(g.polygon_id, polygon_id),
        )
        .order_by(r.id)
    )
    footprints: dict[tuple[str, str, str], ReviewedFootprint] = {}
    for row in c.execute(query):
        threshold = float((row.run or {}).get("threshold", 0.5))
        # Reviews are ordered by id, so the newest one remains.
        key = (row.scene_hash, row.model_hash, row.polygon_id)
        footprints[key] = row_to_record(ReviewedFootprint, row, threshold=threshold)
    o = scene_outline.c
    query = (
        select(scene_outline)
        .where(o.from_polygon_id.is_not(None), o.withdrawn_at.is_(None))
        .where(
            *match_given(o.site, site),
            *match_given(o.scene_hash, scene_hash),
            *_match_beginning(o.from_polygon_id, polygon_id),
        )
        .order_by(o.id)
    )
    # Outlines that correct a footprint, by this footprint, the oldest first.
    corrections: dict[tuple[str, str, str], list[Any]] = {}
    for row in c.execute(query):
        corrections.setdefault((row.scene_hash, row.from_model_hash, row.from_polygon_id), []).append(row)
    for key in corrections.keys() & footprints.keys():
        footprints[key] = _correct(footprints[key], corrections[key])
    return sorted(footprints.values(), key=_sort_least_certain_first)


def _sort_least_certain_first(footprint: ReviewedFootprint) -> tuple[bool, float, str]:
    return (footprint.method != NETWORK, footprint.mean_probability, footprint.polygon_id)


def _match_beginning(column: ColumnElement[str], text: str | None) -> Sequence[ColumnElement[bool]]:
    return [] if text is None else [func.substr(column, 1, len(text)) == text]


def _correct(footprint: ReviewedFootprint, outlines: Sequence[Any]) -> ReviewedFootprint:
    """Return a footprint with the outlines that correct it as its review, unless it was reviewed after them.

    If none of the outlines is a landslide, the footprint is rejected.
    """
    last = outlines[-1]
    if footprint.at is not None and footprint.at > last.at:
        return footprint
    rings = [outline.geometry["coordinates"] for outline in outlines if outline.kind == "landslide"]
    redrawn: Geometry | None = {"type": "MultiPolygon", "coordinates": rings} if rings else None
    return replace(
        footprint,
        verdict="redraw" if rings else "reject",
        by=last.by,
        note=last.note or None,
        redrawn=redrawn,
        at=last.at,
        by_outline=True,
    )

"""From what a worker answered of a scene to rows: footprints, judgements, series; and back to what a worker asks."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from monitor.domain.instants import parse
from monitor.domain.observation import Observation
from monitor.domain.quantities import QUANTITIES
from monitor.domain.site import Site
from monitor.jobs.scenes.proximity import Place, list_near, nearest
from monitor.store.readings.observations import add_observations
from monitor.store.scenes.arrivals import (
    Change,
    Footprint,
    SceneRow,
    add_footprints,
    load_footprints,
    load_scenes,
    save_changes,
    save_comparison,
)
from monitor.store.scenes.versions import name_origin

# Scenes of a site that a worker is given, the newest by acquisition.
DATES_MOST: Final = 24
NAME_MOST: Final = 200


def list_places(site: Site) -> dict[str, Place]:
    """Stations that have a place: id -> longitude, latitude."""
    return {
        s.id: (s.longitude, s.latitude) for s in site.stations if s.longitude is not None and s.latitude is not None
    }


def load_dates(c: Connection, site: str) -> list[dict[str, Any]]:
    """The newest scenes of a site that are done, by acquisition, as a worker compares them."""
    found = []
    for row in _list_done(c, site):
        run = row.run or {}
        found.append(
            {
                "scene_hash": row.scene_hash, "name": row.name, "acquired_at": row.acquired_at.isoformat(),
                "model_hash": run["model_hash"], "out_dir": row.out_dir, "prob": run["outputs"]["prob"],
                "scene_path": row.path, "threshold": run["threshold"], "minimum_area_m2": run["minimum_area_m2"],
                "classes": run.get("classes") or ["landslide"], "unseen": run.get("unseen") or [],
                "doubts": run.get("doubts") or [],
                "prints": [print_ for _, print_ in list_names(row)],
                "polygons": [plain_footprint(p) for p in load_footprints(c, row.scene_hash, run["model_hash"])],
            }
        )  # fmt: skip
    return found


def mark_dates(c: Connection, site: str) -> frozenset[str]:
    """Which scenes are done: when that has changed while a worker ran, its judgement is out of date."""
    return frozenset(row.scene_hash for row in _list_done(c, site))


def _list_done(c: Connection, site: str) -> list[Any]:
    rows = [
        r for r in load_scenes(c, site)
        if r.state == "done" and r.acquired_at is not None and r.out_dir is not None and "model_hash" in (r.run or {})
    ]  # fmt: skip
    return sorted(rows, key=lambda r: (r.acquired_at, r.scene_hash), reverse=True)[:DATES_MOST]


def list_footprints(answer: Mapping[str, Any], site: Site) -> list[Footprint]:
    """The footprints of a scene as rows, each with its nearest station and all that are within reach."""
    return _footprints(answer, answer["scene_hash"], answer["polygons"], site)


def save_judgements(c: Connection, answer: Mapping[str, Any], site: Site, now: datetime) -> tuple[int, int]:
    """Write what was judged of this scene and of later ones; returns (news, of them new or grown)."""
    news = changed = 0
    for judgement in answer["judgements"]:
        scene_hash = judgement["scene_hash"]
        add_footprints(c, _footprints(answer, scene_hash, judgement["vanished"], site), now)
        words = {**judgement["changes"], **{v["polygon_id"]: v for v in judgement["vanished"]}}
        changes = [_change(polygon_id, word) for polygon_id, word in sorted(words.items())]
        news += save_changes(c, scene_hash, answer["model_hash"], changes, now)
        if scene_hash == answer["scene_hash"]:
            changed = sum(1 for one in changes if one.change in {"new", "grown"})
        save_comparison(c, scene_hash, {k: judgement[k] for k in ("compared", "pixels", "warnings", "outputs")})
    return news, changed


def save_series(c: Connection, site: Site, answer: Mapping[str, Any], now: datetime, version: int = 1) -> int:
    """Store what the scene says of places as ordinary observations, taken with the image, known from now on.

    A later version of a scene replaces the values of an earlier one as a late final solution does: it came last.
    """
    origin, solution = name_origin(answer["scene_hash"]), None if version == 1 else f"version {version}"
    rows = [
        Observation(
            site.id, row["station"], row["quantity"], QUANTITIES[row["quantity"]].unit, parse(row["at"]), now,
            row["value"], solution=solution, source="scenes", extra=origin,
        )
        for row in answer["series"]
    ]  # fmt: skip
    return add_observations(c, rows, now).stored


def run_of(answer: Mapping[str, Any], fingerprint: str, copies: Mapping[str, str], version: int = 1) -> dict[str, Any]:
    """What is kept of the run of a scene beside its columns; `copies`: names it came by -> marks of their files."""
    keys = ("warnings", "outputs", "model_hash", "classes", "threshold", "minimum_area_m2")
    own = {"fingerprint": fingerprint, "copies": dict(copies), "version": version}
    # what triage passed over was not looked at: it proves nothing for other dates
    return {**own, **{k: answer[k] for k in keys}, **{k: answer.get(k) or [] for k in ("unseen", "doubts")}}


def name_of(entry: Path) -> str:
    """The name of an entry of the inbox as it is stored: text of at most 200 characters, whatever it is on disk.

    >>> name_of(Path("/inbox/bench/2026-05-12"))
    '2026-05-12'
    """
    name = entry.name.encode("utf-8", "backslashreplace").decode()
    return (
        name if len(name) <= NAME_MOST else f"{name[: NAME_MOST - 9]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    )


def list_names(row: SceneRow) -> list[tuple[str, str]]:
    """The names under which a scene came, the present one last, each with the mark of its files."""
    run = row.run or {}
    return [*run.get("copies", {}).items(), (row.name, run.get("fingerprint", ""))]


def row_of(answer: Mapping[str, Any], site: Site, name: str, path: str, out_dir: str, now: datetime) -> SceneRow:
    """The row of a scene that was read."""
    return SceneRow(
        answer["scene_hash"], site.id, name, parse(answer["acquired_at"]), answer.get("role") or "single", path, now,
        "done", None, answer["valid_share"], answer["crs"], answer["pixel_area_m2"], out_dir,
    )  # fmt: skip


def _footprints(
    answer: Mapping[str, Any], scene_hash: str, polygons: Iterable[Mapping[str, Any]], site: Site
) -> list[Footprint]:
    places, reach_m = list_places(site), find_reach_m(site)
    return [_footprint(answer, scene_hash, polygon, places, reach_m) for polygon in polygons]


def find_reach_m(site: Site) -> float:
    """How far a footprint may lie from the stations that are stored with it: as far as any criterion looks."""
    asked = [dict(c.params).get("near_m", 0.0) for c in site.criteria if c.kind.facts == "footprints"]
    return max(site.scenes.near_m, *asked)


def _footprint(
    answer: Mapping[str, Any], scene_hash: str, polygon: Mapping[str, Any], places: Mapping[str, Place], reach_m: float
) -> Footprint:
    distance, station = nearest(polygon["geometry"], places) or (None, None)
    min_lon, min_lat, max_lon, max_lat = polygon["bbox"]
    return Footprint(
        scene_hash, answer["model_hash"], polygon["polygon_id"], answer["model"], polygon.get("change", "single"),
        polygon["area_m2"], polygon["mean_probability"], polygon["geometry"], min_lon, min_lat, max_lon, max_lat,
        station, distance, kind=polygon.get("class", "landslide"),
        near_stations=list_near(polygon["geometry"], places, reach_m),
    )  # fmt: skip


def _change(polygon_id: str, word: Mapping[str, Any]) -> Change:
    return Change(
        polygon_id, word["change"], word["parent_id"], word["grown_m2"], _instant(word["since_at"]),
        _instant(word["first_seen_at"]), word["root_id"], word["anchor_scene"], word["caution"],
    )  # fmt: skip


def _instant(text: str | None) -> datetime | None:
    return None if text is None else parse(text)


def plain_footprint(row: Mapping[str, Any]) -> dict[str, Any]:
    """A footprint row as a worker wants it."""
    keys = (
        "polygon_id", "class", "geometry", "area_m2", "mean_probability", "change", "parent_id", "root_id",
        "anchor_scene",
    )  # fmt: skip
    first = row["first_seen_at"]
    return {
        **{k: row[k] for k in keys}, "bbox": [row[k] for k in ("min_lon", "min_lat", "max_lon", "max_lat")],
        "first_seen_at": None if first is None else first.isoformat(),
    }  # fmt: skip

"""Convert between the records of the worker and rows: scenes, footprints, judgements and readings."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from detection.imagery.change import records
from detection.imagery.change.records import KnownOutline, PlacedOutline
from detection.imagery.footprints.proximity import keep_near, list_distances
from monitor.api.queries.readings import add_observations
from monitor.api.readings import Observation
from monitor.api.scenes import KnownDate, ReadScene
from monitor.api.sites import QUANTITIES, Site
from monitor.api.text import convert_reason, is_line, read_reason
from monitor.features.scenes.queries import arrivals
from monitor.features.scenes.queries.arrivals import load_scenes
from monitor.features.scenes.queries.versions import name_origin
from monitor.features.scenes.queries.weights import BROKEN

# How many scenes of a site a worker gets per model, the newest by acquisition. They are counted per model, so that
# frequent radar images do not displace the others.
DATES_MOST: Final = 24
# How many of these come with their footprints. They are enough for a scene that is newer than all of them.
NEAR_MOST: Final = 5
NAME_MOST: Final = 200


def load_dates(c: Connection, site: str, *, everything: bool = True) -> list[KnownDate]:
    """Return the newest scenes of a site that were read, as a worker compares them.

    Args:
        everything: Include the footprints of all scenes. Otherwise only those of the newest `NEAR_MOST` scenes of each
            model, and of the scenes on which these footprints were first declared.
    """
    rows = list_done(c, site)
    outlines: dict[str, tuple[KnownOutline, ...]] = {}
    taken: Counter[str] = Counter()
    for row in rows:
        model_hash = (row.run or {})["model_hash"]
        taken[model_hash] += 1
        if everything or taken[model_hash] <= NEAR_MOST:
            outlines[row.scene_hash] = _load_outlines(c, row)
    anchors = {one.anchor_scene for of_date in outlines.values() for one in of_date}
    for row in rows:
        if row.scene_hash in anchors and row.scene_hash not in outlines:
            outlines[row.scene_hash] = _load_outlines(c, row)
    found = []
    for row in rows:
        run = row.run or {}
        assert row.acquired_at is not None
        assert row.out_dir is not None
        found.append(
            KnownDate(
                scene_hash=row.scene_hash,
                name=row.name,
                acquired_at=row.acquired_at,
                model=run.get("model", ""),
                model_hash=run["model_hash"],
                out_dir=row.out_dir,
                prob=run["outputs"]["prob"],
                scene_path=row.path,
                threshold=run["threshold"],
                minimum_area_m2=run["minimum_area_m2"],
                classes=tuple(run.get("classes") or [records.LANDSLIDE]),
                doubtful=tuple(map(tuple, run.get("doubtful") or ())),
                cloudy=tuple(map(tuple, run.get("cloudy") or ())),
                doubts=tuple(map(read_reason, run.get("doubts") or ())),
                prints=tuple(print_ for _, print_ in list_names(row)),
                polygons=outlines.get(row.scene_hash),
                valid_share=row.valid_share,
            )
        )
    return found


def _load_outlines(c: Connection, row: arrivals.SceneRow) -> tuple[KnownOutline, ...]:
    return tuple(map(known_outline, arrivals.load_footprints(c, row.scene_hash, (row.run or {})["model_hash"])))


def mark_dates(c: Connection, site: str) -> frozenset[str]:
    """Return the scenes that comparisons use. If they have changed while a worker ran, its result is outdated."""
    return frozenset(row.scene_hash for row in list_done(c, site))


def list_done(c: Connection, site: str) -> list[arrivals.SceneRow]:
    """Return the newest scenes of a site by each model, newest acquisition first, for comparisons."""
    return pick_newest(load_scenes(c, site))


def pick_newest(scenes: Iterable[arrivals.SceneRow]) -> list[arrivals.SceneRow]:
    """Return those of the scenes of a site that `list_done` would return."""
    rows = [
        r
        for r in scenes
        if r.state == "done" and r.acquired_at is not None and r.out_dir is not None and "model_hash" in (r.run or {})
    ]
    taken: Counter[str] = Counter()
    found = []
    for row in sorted(rows, key=lambda r: (r.acquired_at, r.scene_hash), reverse=True):
        model_hash = (row.run or {})["model_hash"]
        taken[model_hash] += 1
        if taken[model_hash] <= DATES_MOST:
            found.append(row)
    return found


def list_footprints(answer: ReadScene, site: Site) -> list[arrivals.FootprintRow]:
    """Return the footprints of a scene as rows, each with its nearest station and all stations within reach."""
    return _footprints(answer, answer.scene_hash, answer.polygons, site, "single")


def save_judgements(c: Connection, answer: ReadScene, site: Site, now: datetime) -> tuple[int, int]:
    """Store the judgements of this scene and of later scenes.

    Returns:
        The number of judgements that differ from the stored ones, and the number of new or grown footprints of this
        scene.
    """
    news = changed = 0
    for one in answer.judgements:
        arrivals.add_footprints(c, _footprints(answer, one.scene_hash, one.vanished, site, "vanished"), now)
        changes = [
            arrivals.ChangeAssessment(polygon_id, **asdict(_describe_caution(change)))
            for polygon_id, change in sorted(one.changes.items())
        ]
        news += arrivals.save_changes(c, one.scene_hash, answer.model_hash, changes, now)
        if one.scene_hash == answer.scene_hash:
            changed = sum(1 for row in changes if row.change in {"new", "grown"})
        arrivals.save_comparison(c, one.scene_hash, one.described)
    return news, changed


def _describe_caution(change: records.FootprintChange) -> records.FootprintChange:
    return change if change.caution is None else replace(change, caution=convert_reason(change.caution))


def save_series(c: Connection, site: Site, answer: ReadScene, now: datetime, version: int = 1) -> int:
    """Store the values of a scene at stations and landslides as readings. Return how many were stored.

    They are observed when the image was taken and known from `now` on. The values of a later version of a scene replace
    those of an earlier one.
    """
    origin, solution = name_origin(answer.scene_hash), None if version == 1 else f"version {version}"
    rows = [
        Observation(
            site.id,
            row.station,
            row.quantity,
            QUANTITIES[row.quantity].unit,
            row.at,
            now,
            row.value,
            solution=solution,
            source="scenes",
            extra=origin,
        )
        for row in answer.series
    ]
    return add_observations(c, rows, now).stored


def run_of(answer: ReadScene, fingerprint: str, copies: Mapping[str, str], version: int = 1) -> dict[str, Any]:
    """Return the facts about a scene that are stored as JSON in column `run`.

    `copies`: fingerprint of the files by each further name under which the scene arrived.
    """
    return {
        "fingerprint": fingerprint,
        "copies": dict(copies),
        "version": version,
        "warnings": list(answer.warnings),
        "outputs": answer.outputs,
        "model": answer.model,
        "model_hash": answer.model_hash,
        "classes": list(answer.classes),
        "threshold": answer.threshold,
        "minimum_area_m2": answer.minimum_area_m2,
        "doubts": list(answer.doubts),
        "doubtful": [list(window) for window in answer.doubtful],
        "cloudy": [list(window) for window in answer.cloudy],
        "prior": answer.prior,
        "dem": answer.dem,
        **({} if answer.broken is None else {BROKEN: answer.broken}),
    }


def name_of(entry: Path) -> str:
    r"""Return the stored name of an entry of the inbox: one line of at most 200 characters.

    >>> name_of(Path("/inbox/bench/2026-05-12")), name_of(Path("/inbox/bench/a\nall clear\udcff"))
    ('2026-05-12', 'a\\nall clear\\udcff')
    """
    name = "".join(k if is_line(k) else k.encode("unicode_escape").decode() for k in entry.name)
    return (
        name if len(name) <= NAME_MOST else f"{name[: NAME_MOST - 9]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    )


def list_names(row: arrivals.SceneRow) -> list[tuple[str, str]]:
    """Return the names under which a scene arrived, the newest last, each with the fingerprint of its files."""
    run = row.run or {}
    return [*run.get("copies", {}).items(), (row.name, run.get("fingerprint", ""))]


def row_of(answer: ReadScene, site: Site, name: str, path: str, out_dir: str, now: datetime) -> arrivals.SceneRow:
    """Return the row of a scene that was read."""
    return arrivals.SceneRow(
        answer.scene_hash,
        site.id,
        name,
        answer.acquired_at,
        answer.role,
        path,
        now,
        "done",
        None,
        answer.valid_share,
        answer.crs,
        answer.pixel_area_m2,
        out_dir,
    )


def _footprints(
    answer: ReadScene, scene_hash: str, outlines: Iterable[PlacedOutline], site: Site, change: str
) -> list[arrivals.FootprintRow]:
    reaches = [dict(c.params).get("near_m", 0.0) for c in site.criteria if c.kind.facts == "footprints"]
    places, reach_m = site.places, max([site.scenes.near_m, *reaches])
    placed = list(outlines)
    distances = list_distances([outline.geometry for outline in placed], places)
    return [
        _footprint(answer, scene_hash, outline, away, reach_m, change)
        for outline, away in zip(placed, distances, strict=True)
    ]


def _footprint(
    answer: ReadScene,
    scene_hash: str,
    one: PlacedOutline,
    distances: Sequence[tuple[float, str]],
    reach_m: float,
    change: str,
) -> arrivals.FootprintRow:
    distance, station = distances[0] if distances else (None, None)
    susceptibility = answer.priors.get(one.polygon_id)
    known = susceptibility is not None
    return arrivals.FootprintRow(
        scene_hash,
        answer.model_hash,
        one.polygon_id,
        answer.model,
        change,
        one.area_m2,
        one.mean_probability,
        one.geometry,
        *one.bbox,
        station,
        distance,
        kind=one.kind,
        near_stations=keep_near(distances, reach_m),
        susceptibility=susceptibility,
        susceptibility_map=(answer.prior or {}).get("sha256") if known else None,
    )


def known_outline(row: Mapping[str, Any]) -> KnownOutline:
    """Convert a footprint row to the record of the worker."""
    bbox = (row["min_lon"], row["min_lat"], row["max_lon"], row["max_lat"])
    rest = ("area_m2", "mean_probability", "change", "parent_id", "root_id", "anchor_scene", "first_seen_at")
    return KnownOutline(row["polygon_id"], row["class"], row["geometry"], bbox, *(row[name] for name in rest))

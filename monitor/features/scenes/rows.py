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

# How many scenes of a site and model are part of the request to a worker, the newest by acquisition. They are counted
# by model, so that frequent radar images do not displace the others.
DATES_MOST: Final = 24
# How many of these are sent with their footprints. They are enough to compare a scene that is newer than all of them.
OUTLINED_DATES_MOST: Final = 5
NAME_MOST: Final = 200  # characters


def load_dates(c: Connection, site: str, *, with_all_outlines: bool = True) -> list[KnownDate]:
    """Return the newest scenes of a site that were read, as records for a worker.

    Args:
        with_all_outlines: Include the footprints of all scenes. Otherwise include only those of the newest
            `OUTLINED_DATES_MOST` scenes of each model, and of the scenes on which these footprints were first declared.
    """
    rows = list_done(c, site)
    outlines: dict[str, tuple[KnownOutline, ...]] = {}
    count_by_model: Counter[str] = Counter()
    for row in rows:
        model_hash = (row.run or {})["model_hash"]
        count_by_model[model_hash] += 1
        if with_all_outlines or count_by_model[model_hash] <= OUTLINED_DATES_MOST:
            outlines[row.scene_hash] = _load_outlines(c, row)
    anchors = {outline.anchor_scene for outlines_of_scene in outlines.values() for outline in outlines_of_scene}
    for row in rows:
        if row.scene_hash in anchors and row.scene_hash not in outlines:
            outlines[row.scene_hash] = _load_outlines(c, row)
    dates = []
    for row in rows:
        run = row.run or {}
        assert row.acquired_at is not None
        assert row.out_dir is not None
        dates.append(
            KnownDate(
                scene_hash=row.scene_hash,
                name=row.name,
                acquired_at=row.acquired_at,
                model=run.get("model", ""),
                model_hash=run["model_hash"],
                out_dir=row.out_dir,
                probability_path=run["outputs"]["prob"],
                scene_path=row.path,
                threshold=run["threshold"],
                minimum_area_m2=run["minimum_area_m2"],
                classes=tuple(run.get("classes") or [records.LANDSLIDE]),
                doubtful=tuple(map(tuple, run.get("doubtful") or ())),
                cloudy=tuple(map(tuple, run.get("cloudy") or ())),
                doubts=tuple(map(read_reason, run.get("doubts") or ())),
                prints=tuple(fingerprint for _, fingerprint in list_deliveries(row)),
                polygons=outlines.get(row.scene_hash),
                valid_share=row.valid_share,
            )
        )
    return dates


def _load_outlines(c: Connection, row: arrivals.SceneRow) -> tuple[KnownOutline, ...]:
    return tuple(map(to_known_outline, arrivals.load_footprints(c, row.scene_hash, (row.run or {})["model_hash"])))


def list_compared_scenes(c: Connection, site: str) -> frozenset[str]:
    """Return the hashes of the scenes that comparisons use.

    If they have changed while a worker ran, its result is outdated.
    """
    return frozenset(row.scene_hash for row in list_done(c, site))


def list_done(c: Connection, site: str) -> list[arrivals.SceneRow]:
    """Return the scenes of a site that comparisons use: the newest of each model, by acquisition, the newest first."""
    return pick_newest(load_scenes(c, site))


def pick_newest(scenes: Iterable[arrivals.SceneRow]) -> list[arrivals.SceneRow]:
    """Return those of the scenes of a site that `list_done` would return."""
    read_rows = [
        row
        for row in scenes
        if row.state == "done"
        and row.acquired_at is not None
        and row.out_dir is not None
        and "model_hash" in (row.run or {})
    ]
    count_by_model: Counter[str] = Counter()
    newest = []
    for row in sorted(read_rows, key=lambda row: (row.acquired_at, row.scene_hash), reverse=True):
        model_hash = (row.run or {})["model_hash"]
        count_by_model[model_hash] += 1
        if count_by_model[model_hash] <= DATES_MOST:
            newest.append(row)
    return newest


def list_footprints(answer: ReadScene, site: Site) -> list[arrivals.FootprintRow]:
    """Return the footprints of a scene as rows, each with its nearest station and all stations within reach."""
    return _make_footprint_rows(answer, answer.scene_hash, answer.polygons, site, "single")


def save_judgements(c: Connection, answer: ReadScene, site: Site, now: datetime) -> tuple[int, int]:
    """Store the judgements of this scene and of later scenes.

    Returns:
        The number of judgements that differ from the stored ones, and the number of new or grown footprints of this
        scene.
    """
    stored = 0
    changed = 0
    for assessment in answer.judgements:
        scene_hash = assessment.scene_hash
        vanished = _make_footprint_rows(answer, scene_hash, assessment.vanished, site, "vanished")
        arrivals.add_footprints(c, vanished, now)
        changes = [
            arrivals.ChangeAssessment(polygon_id, **asdict(_describe_caution(change)))
            for polygon_id, change in sorted(assessment.changes.items())
        ]
        stored += arrivals.save_changes(c, scene_hash, answer.model_hash, changes, now)
        if scene_hash == answer.scene_hash:
            changed = sum(1 for row in changes if row.change in {"new", "grown"})
        arrivals.save_comparison(c, scene_hash, assessment.described)
    return stored, changed


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


def describe_run(answer: ReadScene, fingerprint: str, copies: Mapping[str, str], version: int = 1) -> dict[str, Any]:
    """Return the facts about a scene that are stored as JSON in column `run`.

    Args:
        answer: the scene as the worker read it.
        fingerprint: fingerprint of its files.
        copies: fingerprints of the files by the other names under which the scene arrived.
        version: number of the delivery, see `versions.number_version`.
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


def make_stored_name(entry: Path) -> str:
    r"""Return the stored name of an entry of the inbox: one line of at most 200 characters.

    >>> make_stored_name(Path("/inbox/bench/2026-05-12")), make_stored_name(Path("/inbox/bench/a\nall clear\udcff"))
    ('2026-05-12', 'a\\nall clear\\udcff')
    """
    name = "".join(
        character if is_line(character) else character.encode("unicode_escape").decode() for character in entry.name
    )
    if len(name) <= NAME_MOST:
        return name
    return f"{name[: NAME_MOST - 9]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def list_deliveries(row: arrivals.SceneRow) -> list[tuple[str, str]]:
    """Return the deliveries of a scene, the newest last: the name and the fingerprint of the files of each."""
    run = row.run or {}
    return [*run.get("copies", {}).items(), (row.name, run.get("fingerprint", ""))]


def make_scene_row(
    answer: ReadScene, site: Site, name: str, path: str, out_dir: str, now: datetime
) -> arrivals.SceneRow:
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


def _make_footprint_rows(
    answer: ReadScene, scene_hash: str, outlines: Iterable[PlacedOutline], site: Site, change: str
) -> list[arrivals.FootprintRow]:
    reaches_m = [
        dict(criterion.params).get("near_m", 0.0) for criterion in site.criteria if criterion.kind.facts == "footprints"
    ]
    reach_m = max([site.scenes.near_m, *reaches_m])
    all_outlines = list(outlines)
    distances_by_outline = list_distances([outline.geometry for outline in all_outlines], site.places)
    return [
        _make_footprint_row(answer, scene_hash, outline, distances, reach_m, change)
        for outline, distances in zip(all_outlines, distances_by_outline, strict=True)
    ]


def _make_footprint_row(
    answer: ReadScene,
    scene_hash: str,
    outline: PlacedOutline,
    distances: Sequence[tuple[float, str]],
    reach_m: float,
    change: str,
) -> arrivals.FootprintRow:
    distance_m, station = distances[0] if distances else (None, None)
    susceptibility = answer.priors.get(outline.polygon_id)
    return arrivals.FootprintRow(
        scene_hash,
        answer.model_hash,
        outline.polygon_id,
        answer.model,
        change,
        outline.area_m2,
        outline.mean_probability,
        outline.geometry,
        *outline.bbox,
        station,
        distance_m,
        kind=outline.kind,
        near_stations=keep_near(distances, reach_m),
        susceptibility=susceptibility,
        susceptibility_map=None if susceptibility is None else (answer.prior or {}).get("sha256"),
    )


def to_known_outline(row: Mapping[str, Any]) -> KnownOutline:
    """Convert a row of `arrivals.load_footprints` to a record for the worker."""
    bbox = (row["min_lon"], row["min_lat"], row["max_lon"], row["max_lat"])
    columns = ("area_m2", "mean_probability", "change", "parent_id", "root_id", "anchor_scene", "first_seen_at")
    return KnownOutline(row["polygon_id"], row["class"], row["geometry"], bbox, *(row[name] for name in columns))

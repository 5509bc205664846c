"""What a spawned worker does with a scene: segment it, lay it beside the other dates, measure places. No database."""

import importlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from detection.imagery.change.compare import as_date, choose_before, compare
from detection.imagery.change.lineage import keep_lines
from detection.imagery.change.outlines import read_outlines
from detection.imagery.errors import ImageryError, IncompleteSceneError, ModelError
from detection.imagery.footprints.detect import detect
from detection.imagery.footprints.places import measure_places
from detection.imagery.raster.local_grid import placing
from detection.imagery.scene.scene import Scene, find_missing, read_scene
from monitor.domain.quantities import LANDSLIDE
from monitor.extras import explain_missing
from monitor.jobs.scenes.proximity import list_distances
from monitor.jobs.scenes.tasks import (
    Change,
    Judgement,
    KnownDate,
    KnownOutline,
    Outline,
    PlaceValue,
    ReadScene,
    SceneAnswer,
    SceneAsked,
)

# Footprints near a station that get series of their own, the nearest first; more would drown the page.
FOLLOWED_MOST: Final = 30
# Later dates that are judged again when a scene comes late.
AGAIN_MOST: Final = 5


def load_libraries() -> None:
    """Import what `read_one` imports when it needs it: while a file settles there is time for that."""
    importlib.import_module("detection.imagery.neural.checkpoint")
    importlib.import_module("detection.imagery.neural.inference")


def read_one(asked: SceneAsked) -> SceneAnswer:
    """Segment one scene and judge change in the order of acquisition, whatever the order of arrival."""
    try:
        with placing(None if asked.local is None else asdict(asked.local)):
            return SceneAnswer(read=_read_one(asked))
    except _LacksError:
        return SceneAnswer(lacks=True)
    except _WaitingError as waiting:
        return SceneAnswer(waiting=str(waiting), comes=waiting.comes)
    except ImageryError as error:
        return SceneAnswer(error=str(error))


class _WaitingError(Exception):
    """What is not there yet: files, weights or PyTorch; `comes`: whether that may end by itself."""

    def __init__(self, reason: str, *, comes: bool) -> None:
        super().__init__(reason)
        self.comes = comes


class _LacksError(Exception):
    """Footprints of dates are needed that were not given."""


def _read_one(asked: SceneAsked) -> ReadScene:
    """One scene against the other dates of its site."""
    try:
        if reason := find_missing(Path(asked.scene_path)):
            raise _WaitingError(reason, comes=True)
        answer = detect({
            "scene_path": asked.scene_path, "weights": asked.weights, "out_dir": str(asked.out_dir),
            "minimum_area_m2": asked.minimum_area_m2, "owner": asked.owner, "triage": asked.triage,
            "known": asked.known,
        })  # fmt: skip
        own = as_date(answer, asked.scene_path)
        dates = [_plain_date(date) for date in asked.dates]
        replaced = [
            v for v in asked.versions if v.acquired_at == _at(own) and v.scene_hash != answer["scene_hash"]
        ]  # fmt: skip
        gone = {answer["scene_hash"], *(v.scene_hash for v in replaced)}
        same = [d for d in dates if d["model_hash"] == answer["model_hash"] and d["scene_hash"] not in gone]
        # where later dates are judged again, each is laid beside dates of its own
        needed = same if any(_at(d) > _at(own) for d in same) else choose_before(own, same)
        if any(d["polygons"] is None for d in needed):
            raise _LacksError
        before = [_plain_outline(p) for v in replaced for p in v.polygons]
        judgements = _judge(own, same, asked.out_dir, before)
    except IncompleteSceneError as error:
        raise _WaitingError(str(error), comes=True) from error
    except ModelError as error:
        raise _WaitingError(str(error), comes=False) from error
    except ModuleNotFoundError as error:
        if (missing := explain_missing(error)) is None:
            raise
        raise _WaitingError(missing, comes=False) from error
    from detection.imagery.neural.checkpoint import load_model, weights_path

    return ReadScene(
        scene_hash=answer["scene_hash"], model=answer["model"], model_hash=answer["model_hash"],
        acquired_at=_at(answer), role=answer.get("role") or "single", crs=answer["crs"],
        pixel_area_m2=answer["pixel_area_m2"], valid_share=answer["valid_share"],
        classes=tuple(answer["classes"]), threshold=answer["threshold"],
        minimum_area_m2=answer["minimum_area_m2"], warnings=tuple(answer["warnings"]),
        doubts=tuple(answer.get("doubts") or ()), unseen=tuple(map(tuple, own["unseen"])),
        doubtful=tuple(map(tuple, own["doubtful"])), outputs=answer["outputs"],
        polygons=tuple(_outline(p) for p in answer["polygons"]),
        weights_path=str(weights_path(asked.weights)), card=load_model(asked.weights).card,
        judgements=tuple(_judgement(one) for one in judgements),
        series=tuple(_list_series(own, judgements[0], same, asked)),
        replaced=tuple(sorted(v.scene_hash for v in replaced)),
    )  # fmt: skip


def _plain_outline(one: KnownOutline) -> dict[str, Any]:
    """As the libraries of change take it: they read it from files too."""
    first = one.first_seen_at
    return {
        "polygon_id": one.polygon_id, "class": one.kind, "geometry": one.geometry, "bbox": list(one.bbox),
        "area_m2": one.area_m2, "mean_probability": one.mean_probability, "change": one.change,
        "parent_id": one.parent_id, "root_id": one.root_id, "anchor_scene": one.anchor_scene,
        "first_seen_at": None if first is None else first.isoformat(),
    }  # fmt: skip


def _plain_date(date: KnownDate) -> dict[str, Any]:
    return {
        **{field.name: getattr(date, field.name) for field in fields(date)},
        "acquired_at": date.acquired_at.isoformat(),
        "polygons": None if date.polygons is None else [_plain_outline(p) for p in date.polygons],
    }  # fmt: skip


def _outline(polygon: Mapping[str, Any]) -> Outline:
    west, south, east, north = polygon["bbox"]
    return Outline(
        polygon["polygon_id"], polygon.get("class") or "landslide", polygon["geometry"], (west, south, east, north),
        polygon["area_m2"], polygon["mean_probability"],
    )  # fmt: skip


def _judgement(one: Mapping[str, Any]) -> Judgement:
    words = {**one["changes"], **{v["polygon_id"]: v for v in one["vanished"]}}
    told = {key: one[key] for key in ("compared", "pixels", "warnings", "outputs")}
    vanished = tuple(_outline(p) for p in one["vanished"])
    return Judgement(one["scene_hash"], {name: _change(word) for name, word in words.items()}, vanished, told)


def _change(word: Mapping[str, Any]) -> Change:
    since, first = (None if word[key] is None else _instant(word[key]) for key in ("since_at", "first_seen_at"))
    return Change(
        word["change"], word["parent_id"], word["grown_m2"], since, word["root_id"], first, word["anchor_scene"],
        word["caution"],
    )  # fmt: skip


def _judge(
    own: dict[str, Any], others: list[dict[str, Any]], out_dir: Path, replaced: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Judge this date, then again those after it, oldest first, each with what is now known of those before."""
    found = [{"scene_hash": own["scene_hash"], **compare(own, others, out_dir)}]
    keep_lines(own["polygons"], found[0]["changes"], read_outlines(replaced))
    dates = [*others, _with_changes(own, found[0])]
    later = sorted((d for d in others if _at(d) > _at(own)), key=lambda d: (_at(d), d["scene_hash"]))
    for date in later[:AGAIN_MOST]:
        # what was called vanished is judged anew: only outlines found on the date itself go in
        bare = {**date, "polygons": [p for p in date["polygons"] if p.get("change") not in {"vanished", "withdrawn"}]}
        others_now = [d for d in dates if d["scene_hash"] != date["scene_hash"]]
        try:
            word = {"scene_hash": date["scene_hash"], **compare(bare, others_now, Path(date["out_dir"]))}
        except ImageryError:
            continue  # its kept files are gone: what was judged of it stands
        found.append(word)
        dates = [*others_now, _with_changes(bare, word)]
    return found


def _with_changes(date: dict[str, Any], judgement: dict[str, Any]) -> dict[str, Any]:
    return {**date, "polygons": [{**p, **judgement["changes"][p["polygon_id"]]} for p in date["polygons"]]}


def _at(date: Mapping[str, Any]) -> datetime:
    return _instant(date["acquired_at"])


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _list_series(
    own: dict[str, Any], judgement: dict[str, Any], others: list[dict[str, Any]], asked: SceneAsked
) -> list[PlaceValue]:
    """Means around stations and under followed footprints; of new footprints also on the date before."""
    circles = [
        {"name": name, "lon": lon, "lat": lat, "radius_m": asked.near_m} for name, (lon, lat) in asked.stations.items()
    ]
    near = []
    polygons = [*own["polygons"], *judgement["vanished"]]
    distances = list_distances([polygon["geometry"] for polygon in polygons], asked.stations)
    for polygon, found in zip(polygons, distances, strict=True):
        for away, _ in found[:1]:
            if away <= asked.near_m:
                word = judgement["changes"].get(polygon["polygon_id"], polygon)
                near.append((away, -polygon["area_m2"], polygon["polygon_id"], word, polygon))
    followed = sorted(near, key=lambda item: item[:3])[:FOLLOWED_MOST]
    outlines = [{"name": _series_name(word), "geometry": polygon["geometry"]} for *_, word, polygon in followed]
    rows = _measure(own, [*circles, *outlines])
    before = sorted((d for d in others if _at(d) < _at(own)), key=_at)[-1:]
    fresh = [o for o, (*_, word, _) in zip(outlines, followed, strict=True) if word["change"] == "new"]
    if before and fresh:
        rows += _measure(before[0], fresh)
    return rows


def _series_name(word: dict[str, Any]) -> str:
    """The station under whose name a landslide is followed over time.

    >>> _series_name({"root_id": "0123456789abcdef"})
    'F-0123456789ab'
    """
    return f"{LANDSLIDE}{word['root_id'][:12]}"


def _measure(date: dict[str, Any], places: list[dict[str, Any]]) -> list[PlaceValue]:
    try:
        scene: Scene | None = read_scene(Path(date["scene_path"]), _at(date))
    except ImageryError:
        scene = None  # its files are gone: its probabilities are kept
    try:
        means = measure_places(Path(date["prob"]), scene, places, date.get("unseen") or ())
    except ImageryError:
        return []
    return [
        PlaceValue(name, quantity, _at(date), value)
        for name, found in means.items()
        for quantity, value in found.items()
    ]

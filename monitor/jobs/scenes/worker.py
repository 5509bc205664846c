"""What a spawned worker does with a scene: segment it, lay it beside the other dates, measure places. No database."""

import importlib
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from detection.imagery.change.compare import as_date, compare
from detection.imagery.change.lineage import keep_lines
from detection.imagery.change.outlines import read_outlines
from detection.imagery.errors import ImageryError, IncompleteSceneError, ModelError
from detection.imagery.footprints.detect import detect
from detection.imagery.footprints.places import measure_places
from detection.imagery.raster.local_grid import placing
from detection.imagery.scene.scene import Scene, find_missing, read_scene
from monitor.domain.quantities import LANDSLIDE
from monitor.extras import explain_missing
from monitor.jobs.scenes.proximity import nearest

# Footprints near a station that get series of their own, the nearest first; more would drown the page.
FOLLOWED_MOST: Final = 30
# Later dates that are judged again when a scene comes late.
AGAIN_MOST: Final = 5


def load_libraries() -> None:
    """Import what `read_one` imports when it needs it: while a file settles there is time for that."""
    importlib.import_module("detection.imagery.neural.checkpoint")
    importlib.import_module("detection.imagery.neural.inference")


def read_one(payload: dict[str, Any]) -> dict[str, Any]:
    """Segment one scene and judge change in the order of acquisition, whatever the order of arrival.

    `local` of the payload (into, affine) places files in a local system; the rest is that of `_read_one`.
    """
    try:
        with placing(payload.get("local")):
            return _read_one(payload)
    except ImageryError as error:
        return {"error": str(error)}


def _read_one(payload: dict[str, Any]) -> dict[str, Any]:
    """One scene against the other dates of its site.

    Args:
        payload: what `detection.imagery.footprints.detect.detect` takes under `detect`; `dates`, the scenes of the
            site that are done (keys of `detection.imagery.change.compare.compare`, and name, model_hash, out_dir);
            `stations` (id -> longitude, latitude) and `near_m`; optionally `versions`, scenes of the same name
            (scene_hash, acquired_at, polygons): those of the same time are replaced by this one.

    Returns:
        The answer of `detect` with `weights_path` and `card`; `judgements`, one per scene that was judged (this one
        first, then later ones): scene_hash and the answer of `compare`; `series`: rows of station, quantity, at
        (ISO), value; `replaced`: hashes of the versions that this one replaces. Or `waiting`, for
        what, when files, weights or PyTorch are not there yet (`comes`: whether that may end by itself); `error` when
        the scene cannot be used.
    """
    wanted = payload["detect"]
    try:
        if reason := find_missing(Path(wanted["scene_path"])):
            return {"waiting": reason, "comes": True}
        answer = detect(wanted)
        own = as_date(answer, wanted["scene_path"])
        replaced = [
            v for v in payload.get("versions", ())
            if _at(v) == _at(own) and v["scene_hash"] != answer["scene_hash"]
        ]  # fmt: skip
        gone = {answer["scene_hash"], *(v["scene_hash"] for v in replaced)}
        same = [d for d in payload["dates"] if d["model_hash"] == answer["model_hash"] and d["scene_hash"] not in gone]
        judgements = _judge(own, same, Path(wanted["out_dir"]), [p for v in replaced for p in v["polygons"]])
    except IncompleteSceneError as error:
        return {"waiting": str(error), "comes": True}
    except ModelError as error:
        return {"waiting": str(error), "comes": False}
    except ModuleNotFoundError as error:
        if (missing := explain_missing(error)) is None:
            raise
        return {"waiting": missing, "comes": False}
    except ImageryError as error:
        return {"error": str(error)}
    from detection.imagery.neural.checkpoint import load_model, weights_path

    return answer | {
        "weights_path": str(weights_path(str(wanted["weights"]))),
        "card": load_model(str(wanted["weights"])).card,
        "judgements": judgements,
        "series": _list_series(own, judgements[0], same, payload),
        "unseen": own["unseen"],
        "replaced": sorted(v["scene_hash"] for v in replaced),
    }


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


def _at(date: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(date["acquired_at"])


def _list_series(
    own: dict[str, Any], judgement: dict[str, Any], others: list[dict[str, Any]], payload: dict[str, Any]
) -> list[dict[str, Any]]:
    """Means around stations and under followed footprints; of new footprints also on the date before."""
    stations: dict[str, tuple[float, float]] = payload["stations"]
    circles = [
        {"name": name, "lon": lon, "lat": lat, "radius_m": payload["near_m"]} for name, (lon, lat) in stations.items()
    ]
    near = []
    for polygon in (*own["polygons"], *judgement["vanished"]):
        found = nearest(polygon["geometry"], stations)
        if found is not None and found[0] <= payload["near_m"]:
            word = judgement["changes"].get(polygon["polygon_id"], polygon)
            near.append((found[0], -polygon["area_m2"], polygon["polygon_id"], word, polygon))
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


def _measure(date: dict[str, Any], places: list[dict[str, Any]]) -> list[dict[str, Any]]:
    try:
        scene: Scene | None = read_scene(Path(date["scene_path"]), _at(date))
    except ImageryError:
        scene = None  # its files are gone: its probabilities are kept
    try:
        means = measure_places(Path(date["prob"]), scene, places, date.get("unseen") or ())
    except ImageryError:
        return []
    return [
        {"station": name, "quantity": quantity, "at": date["acquired_at"], "value": value}
        for name, found in means.items() for quantity, value in found.items()
    ]  # fmt: skip

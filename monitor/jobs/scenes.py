"""The watched folder: a scene that is complete becomes footprints, in one transaction, once."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from monitor import compute
from monitor.config import ServiceConfig
from monitor.domain.alert import SERVICE, AlertChange, Ledger
from monitor.domain.instants import parse
from monitor.domain.site import Site, Station
from monitor.errors import JobError
from monitor.store.alerts import apply_changes
from monitor.store.engine import Database
from monitor.store.models import add_model
from monitor.store.scenes import Footprint, SceneRow, find_scene_by_name, save_scene

RASTERS = frozenset({".tif", ".tiff", ".vrt", ".jp2"})
EARTH_RADIUS_M = 6_371_008.8
SETTLED_S = 5.0  # a lone raster has no manifest: it is taken when nothing was written to it for this long
STRAY_S = 600.0  # what is no scene after this long is told, not passed over in silence


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Take every scene of `inbox/<site>/` that is complete and not yet known; returns one line."""
    folder = Path(config.paths.inbox) / site.id
    parts = []
    for entry in _candidates(folder, now):
        print_ = fingerprint(entry)
        with db.read() as c:
            known = find_scene_by_name(c, site.id, entry.name)
        if known is not None and (known.run or {}).get("fingerprint") == print_:
            continue
        if not _is_scene(entry):
            error = f"neither a raster ({', '.join(sorted(RASTERS))}) nor a folder with scene.toml"
            parts.append(f"{entry.name}: {_store_failure(db, site, entry, print_, error, now)}")
            continue
        parts.append(f"{entry.name}: {detect_scene(db, config, site, entry, now)}")
    return "; ".join(parts) or "nothing new"


def detect_scene(db: Database, config: ServiceConfig, site: Site, entry: Path, now: datetime) -> str:
    """Run the segmentation of one scene in a worker and store what it found, also that it failed."""
    out_dir = Path(config.paths.inbox).parent / "scenes" / site.id / entry.name
    payload = {
        "scene_path": str(entry),
        "weights": site.scenes.weights,
        "out_dir": str(out_dir),
        "threshold": None,
        "minimum_area_m2": site.scenes.minimum_area_m2,
    }
    print_ = fingerprint(entry)
    try:
        answer = compute.run(
            "monitor.jobs.in_worker:detect_scene", payload, config.compute.job_limit_s, dask=config.compute.dask
        )
    except JobError as error:
        if compute.is_stopping():
            raise  # not the scene's fault: it is read after the next start
        answer = {"error": str(error)}
    if "incomplete" in answer:
        return f"waiting: {answer['incomplete']}"
    if "error" in answer:
        return _store_failure(db, site, entry, print_, str(answer["error"]), now)
    row = SceneRow(
        answer["scene_hash"], site.id, entry.name, parse(answer["acquired_at"]) if answer["acquired_at"] else None,
        answer.get("role") or "single", str(entry), now, "done", None, answer["valid_share"], answer["crs"],
        answer["pixel_area_m2"], str(out_dir),
        {"fingerprint": print_, "warnings": answer["warnings"], "outputs": answer["outputs"]},
    )  # fmt: skip
    footprints = [_footprint(answer, polygon, site.stations) for polygon in answer["polygons"]]
    with db.write() as c:
        add_model(
            c, answer["model_hash"], kind=answer["model"], task="scene", site=None, path=answer["weights_path"],
            card=answer["card"], now=now, reason="weights named by the site file",
        )  # fmt: skip
        added = save_scene(c, row, footprints, now)
        _clear_failure(c, site, entry, now)
    return f"{added} footprints"


def fingerprint(entry: Path) -> str:
    """A cheap mark of a scene's files (names, sizes, times), so that an unchanged folder is not read again."""
    files = sorted(p for p in (entry.rglob("*") if entry.is_dir() else [entry]) if p.is_file())
    text = "\n".join(f"{p.name}|{p.stat().st_size}|{p.stat().st_mtime_ns}" for p in files)
    return hashlib.sha256(text.encode()).hexdigest()


def distance_m(geometry: dict[str, Any], station: Station) -> float | None:
    """Distance from a station to a GeoJSON polygon: 0 inside, else the great circle to the nearest vertex."""
    if station.latitude is None or station.longitude is None:
        return None
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    if any(_inside(station.longitude, station.latitude, rings[0]) for rings in polygons):
        return 0.0
    return min(_great_circle_m(station, lon, lat) for rings in polygons for lon, lat, *_ in rings[0])


def _candidates(folder: Path, now: datetime) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.is_symlink():
            continue
        age_s = now.timestamp() - entry.stat().st_mtime
        if (entry / "scene.toml").is_file() or age_s > (SETTLED_S if _is_scene(entry) else STRAY_S):
            yield entry


def _is_scene(entry: Path) -> bool:
    return (entry / "scene.toml").is_file() or (entry.suffix.lower() in RASTERS and entry.is_file())


def _footprint(answer: dict[str, Any], polygon: dict[str, Any], stations: Sequence[Station]) -> Footprint:
    near = [(d, s.id) for s in stations if (d := distance_m(polygon["geometry"], s)) is not None]
    distance, nearest = min(near, default=(None, None))
    min_lon, min_lat, max_lon, max_lat = polygon["bbox"]
    return Footprint(
        answer["scene_hash"], answer["model_hash"], polygon["polygon_id"], answer["model"], "single",
        polygon["area_m2"], polygon["mean_probability"], polygon["geometry"],
        min_lon, min_lat, max_lon, max_lat, nearest, distance,
    )  # fmt: skip


def _store_failure(db: Database, site: Site, entry: Path, print_: str, error: str, now: datetime) -> str:
    row = SceneRow(
        hashlib.sha256(f"{site.id}|{entry.name}|{print_}".encode()).hexdigest(), site.id, entry.name, None,
        "single", str(entry), now, "failed", error, run={"fingerprint": print_},
    )  # fmt: skip
    change = AlertChange(
        Ledger.HEALTH, f"scene:{entry.name}", 1, open=True, reason=f"scene {entry.name} cannot be used: {error}",
        data_time=None, evidence="{}",
    )  # fmt: skip
    with db.write() as c:
        save_scene(c, row, [], now)
        apply_changes(
            c, site.id, [change], site=site, recipients=site.recipients, actor=SERVICE, now=now,
            rule_version=site.version,
        )  # fmt: skip
    return f"failed: {error}"


def _clear_failure(c: Any, site: Site, entry: Path, now: datetime) -> None:
    change = AlertChange(
        Ledger.HEALTH, f"scene:{entry.name}", 1, open=False, reason=f"scene {entry.name} was read", data_time=None,
        evidence="{}", notify=False,
    )  # fmt: skip
    apply_changes(
        c, site.id, [change], site=site, recipients=(), actor=SERVICE, now=now, rule_version=site.version,
    )  # fmt: skip


def _inside(lon: float, lat: float, ring: Sequence[Sequence[float]]) -> bool:
    """Even-odd rule."""
    inside = False
    for (x1, y1, *_), (x2, y2, *_) in pairwise(ring):
        if (y1 > lat) != (y2 > lat) and lon < (x2 - x1) * (lat - y1) / (y2 - y1) + x1:
            inside = not inside
    return inside


def _great_circle_m(station: Station, lon: float, lat: float) -> float:
    assert station.latitude is not None
    assert station.longitude is not None
    p1, p2 = math.radians(station.latitude), math.radians(lat)
    dp, dl = p2 - p1, math.radians(lon - station.longitude)
    a = math.sin(dp / 2) ** 2 + math.cos(p1) * math.cos(p2) * math.sin(dl / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(a))

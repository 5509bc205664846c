"""Rows of the store of which a test says only what it is about: forecasts, scenes, footprints, offsets and flags."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert

from detection.geojson import Geometry
from monitor.alerts.queries.offsets import add_offset
from monitor.features.scenes.queries.arrivals import FootprintRow, SceneRow
from monitor.readings.tables import observation_flag
from monitor.storage.actor import Actor
from monitor.storage.engine import Database

if TYPE_CHECKING:
    from monitor.features.forecasts.queries.forecasts import ForecastRow


def forecast_row(
    series_id: int, issued_at: datetime, fan: Sequence[float], horizon_s: float = 86400.0, **facts: Any
) -> "ForecastRow":
    """A forecast that is shown, from what was known when it was issued; `fan`: its five quantiles."""
    from monitor.features.forecasts.queries.forecasts import ForecastRow

    usual = {
        "data_until": issued_at,
        "as_of_received_at": issued_at,
        "target_at": issued_at + timedelta(seconds=horizon_s),
        "model": "auto",
        "model_hash": "",
        "baseline": "persistence",
        "baseline_q50": 5.0,
        "data_value": 5.0,
        "shown": True,
        "reason": "",
    }
    quantiles = dict(zip(("q025", "q10", "q50", "q90", "q975"), fan, strict=True))
    return ForecastRow(series_id, issued_at, horizon_s=horizon_s, **quantiles, **(usual | facts))


def scene_row(scene_hash: str, acquired_at: datetime, **facts: Any) -> SceneRow:
    """A scene of the site `bench` that was read when it was taken."""
    usual = {
        "site": "bench",
        "name": f"{scene_hash}.tif",
        "role": "single",
        "path": f"/in/{scene_hash}.tif",
        "received_at": acquired_at,
        "state": "done",
    }
    return SceneRow(scene_hash=scene_hash, acquired_at=acquired_at, **(usual | facts))


def square(west: float, south: float, side: float = 0.001) -> Geometry:
    """A square on the ground as people send it."""
    ring = [(west, south), (west + side, south), (west + side, south + side), (west, south + side), (west, south)]
    return {"type": "Polygon", "coordinates": [[[round(x, 7), round(y, 7)] for x, y in ring]]}


def footprint_row(scene_hash: str, polygon_id: str, bbox: Sequence[float], **facts: Any) -> FootprintRow:
    """A footprint within west, south, east and north (degrees) that is compared with nothing and near no station."""
    usual = {
        "model_hash": "m" * 64,
        "model": "unet",
        "change": "single",
        "area_m2": 4000.0,
        "mean_probability": 0.9,
        "geometry": {},
        "nearest_station": None,
        "distance_m": None,
    }
    edges = dict(zip(("min_lon", "min_lat", "max_lon", "max_lat"), bbox, strict=True))
    return FootprintRow(scene_hash=scene_hash, polygon_id=polygon_id, **edges, **(usual | facts))


def enter_offset(c: Connection, series_id: int, at: datetime, size_mm: float, now: datetime, **facts: Any) -> int:
    """An offset that Ada enters and that is known from then on; its number."""
    usual = {"kind": "antenna", "author": Actor("Ada"), "reason": "antenna changed", "known_from": now, "unit": "mm"}
    return add_offset(c, series_id, at=at, size=size_mm, now=now, **(usual | facts))


def add_flag(
    c: Connection, series_id: int, at: datetime, flag: str, known_from: datetime, *, revision: int = 0, by: str = "Ada"
) -> None:
    """A person sets (`spike`) or takes back (`-spike`) a flag of a reading, known from an instant on."""
    facts = {"observed_at": at, "revision": revision, "flag": flag, "known_from": known_from, "by": by}
    c.execute(insert(observation_flag).values(series_id=series_id, reason="snow", **facts))


def ask(db: Database, find: Callable[..., Any], *about: Any, **more: Any) -> Any:
    """What a function of the store finds; rows that it would give one by one come as a list."""
    with db.read() as c:
        found = find(c, *about, **more)
        return list(found) if isinstance(found, Iterator) else found


def tell(db: Database, change: Callable[..., Any], *about: Any, **more: Any) -> Any:
    """Change the store by one of its functions, and hand back what it says."""
    with db.write() as c:
        return change(c, *about, **more)

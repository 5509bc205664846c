"""Forecasts, scenes and footprints with default values."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from monitor.features.forecasts.queries.forecasts import ForecastRow
from monitor.features.scenes.queries.arrivals import FootprintRow, SceneRow


def forecast_row(
    series_id: int, issued_at: datetime, fan: Sequence[float], horizon_s: float = 86400.0, **facts: Any
) -> ForecastRow:
    """Return a shown forecast from the data known at its issue. `fan` contains its five quantiles."""
    usual = {
        "data_until": issued_at,
        "as_of_received_at": issued_at,
        "target_at": issued_at + timedelta(seconds=horizon_s),
        "model": "combined",
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
    """Return a scene of the site `bench` that was read at its acquisition."""
    usual = {
        "site": "bench",
        "name": f"{scene_hash}.tif",
        "role": "single",
        "path": f"/in/{scene_hash}.tif",
        "received_at": acquired_at,
        "state": "done",
    }
    return SceneRow(scene_hash=scene_hash, acquired_at=acquired_at, **(usual | facts))


def footprint_row(scene_hash: str, polygon_id: str, bbox: Sequence[float], **facts: Any) -> FootprintRow:
    """Return a footprint in a box (west, south, east, north in degrees) without comparison or near station."""
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

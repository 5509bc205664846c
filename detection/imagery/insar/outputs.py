"""What a stack of interferograms leaves behind: rasters of rate, error and coherence, zones, a picture, a record."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import shape as shape_of

from detection.imagery.footprints.records import Place
from detection.imagery.insar.coherence import find_coherence_loss, measure_coherence
from detection.imagery.insar.interferogram import Movement, find_zones, invert, list_points
from detection.imagery.insar.stack import Stack, read_stack
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import to_pixels
from detection.imagery.raster.raster import write_geotiff, write_png
from detection.whole_file import replacing

FILES = {
    "rate": "rate.tif", "error": "rate_error.tif", "coherence": "coherence.tif", "zones": "zones.geojson",
    "picture": "rate.png", "run": "movement.json",
}  # fmt: skip
MOVING = "moving.tif"
NODATA = -9999.0
PICTURE_PX = 900
TOWARD, AWAY, STILL = np.array([40, 90, 200.0]), np.array([200, 40, 40.0]), np.array([245, 245, 245.0])


def measure_stack(payload: dict[str, Any]) -> dict[str, Any]:
    """Measure the movement of a stack of interferograms.

    Args:
        payload: `folder` (see `stack.read_stack`), and optionally `out_dir`, `coherence_least`, `k_sigma`,
            `minimum_area_m2`, `reference` ([lon, lat, radius_m], in place of the manifest's), `every` (points of every
            n-th row and column), `network` (weights of `moving`, an unvalidated hint beside the rates), `places` (see
            `coherence.measure_coherence`).

    Returns:
        dates (ISO), pairs, direction, rate percentiles and errors in mm per year toward the satellite, zones (each
        with its `coherence` from date to date), coherence_loss, coherence_series (name of a place -> rows), points
        (see `interferogram.list_points`), told_share, warnings, outputs.
    """
    stack = read_stack(Path(payload["folder"]))
    if payload.get("reference"):
        lon, lat, radius_m = payload["reference"]
        stack = replace(stack, reference=(float(lon), float(lat), float(radius_m)))
    movement = invert(stack, float(payload.get("coherence_least", 0.3)))
    minimum_m2 = float(payload.get("minimum_area_m2", 40_000.0))
    rates = movement.rate_mm_per_year[np.isfinite(movement.rate_mm_per_year)]
    answer: dict[str, Any] = {
        "dates": [d.isoformat() for d in movement.dates], "pairs": len(stack.pairs), "direction": stack.direction,
        "told_share": round(float(np.isfinite(movement.rate_mm_per_year).mean()), 4),
        "rate_mm_per_year": {f"p{p}": round(float(np.percentile(rates, p)), 2) for p in (1, 5, 50, 95, 99)},
        "error_mm_per_year": round(float(np.nanmedian(movement.error_mm_per_year)), 2),
        "noise_mm_per_year": round(movement.noise_mm_per_year, 2),
        "misfit_rad": round(float(np.nanmedian(movement.misfit_rad)), 3),
        "coherence": round(float(np.nanmean(movement.coherence)), 3),
        "zones": find_zones(movement, k_sigma=float(payload.get("k_sigma", 3.0)), minimum_area_m2=minimum_m2),
        "coherence_loss": find_coherence_loss(stack, movement.grid, minimum_m2),
        "points": list_points(movement, int(payload.get("every", 1))), "warnings": list(movement.warnings),
        "outputs": {},
    }  # fmt: skip
    own = [Place(str(number), zone["geometry"]) for number, zone in enumerate(answer["zones"])]
    of_zones = measure_coherence(stack, movement.grid, own)
    for number, zone in enumerate(answer["zones"]):
        zone["coherence"] = of_zones.get(str(number), [])
    answer["coherence_series"] = measure_coherence(stack, movement.grid, tuple(payload.get("places") or ()))
    if payload.get("out_dir"):
        _write(answer, movement, Path(payload["out_dir"]))
    if payload.get("network"):
        answer["network"] = _ask_network(stack, str(payload["network"]), answer)
    return answer


def _ask_network(stack: Stack, weights: str, answer: dict[str, Any]) -> dict[str, Any]:
    """What a network marks on the wrapped phases, as a share and, where a folder is given, as a raster."""
    from detection.imagery.insar.moving_zones import find_moving

    probability, grid, threshold = find_moving(stack, weights)
    told = np.isfinite(probability)
    if answer["outputs"]:
        path = Path(answer["outputs"]["rate"]).with_name(MOVING)
        filled = np.where(told, probability, NODATA).astype(np.float32)
        write_geotiff(path, filled[None], grid, nodata=NODATA)
        answer["outputs"]["moving"] = str(path)
    answer["warnings"].append("the network was trained on drawn interferograms only: unvalidated, a hint where to look")
    marked = float((probability[told] >= threshold).mean()) if told.any() else 0.0
    return {"weights": weights, "threshold": threshold, "marked_share": round(marked, 4), "validated": False}


def _write(answer: dict[str, Any], movement: Movement, out_dir: Path) -> None:
    out_dir.mkdir(parents=True, exist_ok=True)
    rasters = {
        "rate": movement.rate_mm_per_year, "error": movement.error_mm_per_year, "coherence": movement.coherence
    }  # fmt: skip
    for name, values in rasters.items():
        filled = np.where(np.isfinite(values), values, NODATA).astype(np.float32)
        write_geotiff(out_dir / FILES[name], filled[None], movement.grid, nodata=NODATA)
    _draw(out_dir / FILES["picture"], movement, answer)
    features = [
        {"type": "Feature", "geometry": z["geometry"],
         "properties": {"what": what, **{k: v for k, v in z.items() if k != "geometry"}}}
        for what in ("zones", "coherence_loss") for z in answer[what]
    ]  # fmt: skip
    answer["outputs"] = {name: str(out_dir / file) for name, file in FILES.items()}
    told = {k: v for k, v in answer.items() if k != "points"} | {"points": len(answer["points"])}
    for name, content in (("zones", {"type": "FeatureCollection", "features": features}), ("run", told)):
        with replacing(out_dir / FILES[name]) as partial:
            partial.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _draw(path: Path, movement: Movement, answer: dict[str, Any]) -> None:
    """Rates from red (away) over white to blue (toward), full colour at the 98th percentile; zones outlined black."""
    rate = movement.rate_mm_per_year
    told = np.isfinite(rate)
    most = max(1e-6, float(np.percentile(np.abs(rate[told]), 98)))
    share = np.clip(np.nan_to_num(rate) / most, -1, 1)[..., None]
    colours = np.where(share > 0, STILL + (TOWARD - STILL) * share, STILL + (AWAY - STILL) * -share)
    scale = max(1, PICTURE_PX // max(rate.shape))
    image = np.zeros((4, rate.shape[0] * scale, rate.shape[1] * scale), np.uint8)
    image[:3] = np.kron(np.moveaxis(colours, -1, 0), np.ones((1, scale, scale))).astype(np.uint8)
    image[3] = np.kron(told * 255, np.ones((scale, scale))).astype(np.uint8)
    for zone in answer["zones"]:
        _outline(image, zone["geometry"], movement.grid, scale)
    write_png(path, image)


def _outline(image: NDArray[np.uint8], geometry: dict[str, Any], grid: Grid, scale: int) -> None:
    outline = to_pixels(shape_of(geometry), grid)
    points = shapely.get_coordinates(shapely.segmentize(outline.boundary, 0.3 / scale)) * scale
    columns = np.clip(points[:, 0].astype(int), 0, image.shape[2] - 1)
    rows = np.clip(points[:, 1].astype(int), 0, image.shape[1] - 1)
    image[:3, rows, columns] = 0
    image[3, rows, columns] = 255

"""What a stack of interferograms leaves behind: rasters of rate, error and coherence, zones, a picture, a record."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from detection.imagery.footprints.preview import paint_signed
from detection.imagery.footprints.records import MeasuredPlace
from detection.imagery.insar.coherence import find_coherence_loss, measure_coherence
from detection.imagery.insar.interferogram import StackMovement, find_zones, invert, list_points
from detection.imagery.insar.records import CoherenceLoss, MovingZone, NetworkHint, StackRates, StackRequest
from detection.imagery.insar.stack import InterferogramStack, read_stack
from detection.imagery.raster.grid import lonlat_frame
from detection.imagery.raster.overlay import Layer
from detection.imagery.raster.raster import write_geotiff, write_png
from detection.imagery.raster.reading.values import RATE
from forecasting.whole_file import write_json

FILES = {
    "rate": "rate.tif",
    "error": "rate_error.tif",
    "coherence": "coherence.tif",
    "zones": "zones.geojson",
    "picture": "rate.png",
    "run": "movement.json",
}
MOVING = "moving.tif"
NODATA = -9999.0
PICTURE_PX = 900


def measure_stack(request: StackRequest) -> StackRates:
    """Measure the movement of a stack of interferograms."""
    stack = read_stack(request.folder)
    if request.reference is not None:
        stack = replace(stack, reference=request.reference)
    movement = invert(stack, request.coherence_least)
    grid, minimum_m2 = movement.grid, request.minimum_area_m2
    rates = movement.rate_mm_per_year[np.isfinite(movement.rate_mm_per_year)]
    zones = find_zones(movement, k_sigma=request.k_sigma, minimum_area_m2=minimum_m2)
    of_zones = measure_coherence(stack, grid, [MeasuredPlace(str(k), zone.geometry) for k, zone in enumerate(zones)])
    found = StackRates(
        dates=movement.dates,
        pairs=len(stack.pairs),
        direction=stack.direction,
        told_share=round(float(np.isfinite(movement.rate_mm_per_year).mean()), 4),
        rate_mm_per_year={f"p{p}": round(float(np.percentile(rates, p)), 2) for p in (1, 5, 50, 95, 99)},
        error_mm_per_year=round(float(np.nanmedian(movement.error_mm_per_year)), 2),
        noise_mm_per_year=round(movement.noise_mm_per_year, 2),
        misfit_rad=round(float(np.nanmedian(movement.misfit_rad)), 3),
        coherence=round(float(np.nanmean(movement.coherence)), 3),
        zones=tuple(replace(zone, coherence=of_zones.get(str(k), ())) for k, zone in enumerate(zones)),
        coherence_loss=tuple(find_coherence_loss(stack, grid, minimum_m2)),
        points=tuple(list_points(movement, request.every)),
        coherence_series=measure_coherence(stack, grid, request.places),
        warnings=movement.warnings,
    )
    if request.out_dir is not None:
        found = _write(found, movement, request.out_dir)
    return found if request.network is None else _run_network(found, stack, request.network, request.out_dir)


def _run_network(found: StackRates, stack: InterferogramStack, weights: str, out_dir: Path | None) -> StackRates:
    """What a network marks on the wrapped phases, as a share and, where a folder is given, as a raster."""
    from detection.imagery.insar.moving_zones import find_moving

    probability, grid, threshold = find_moving(stack, weights)
    known = np.isfinite(probability)
    outputs = dict(found.outputs)
    if out_dir is not None:
        outputs["moving"] = str(out_dir / MOVING)
        filled = np.where(known, probability, NODATA).astype(np.float32)
        write_geotiff(out_dir / MOVING, filled[None], grid, nodata=NODATA)
    warning = "the network was trained on drawn interferograms only: unvalidated, a hint where to look"
    marked = float((probability[known] >= threshold).mean()) if known.any() else 0.0
    hint = NetworkHint(weights, threshold, round(marked, 4))
    return replace(found, network=hint, warnings=(*found.warnings, warning), outputs=outputs)


def _write(found: StackRates, movement: StackMovement, out_dir: Path) -> StackRates:
    """The same with the paths of the files that were written."""
    out_dir.mkdir(parents=True, exist_ok=True)
    rasters = {"rate": movement.rate_mm_per_year, "error": movement.error_mm_per_year, "coherence": movement.coherence}
    for name, values in rasters.items():
        filled = np.where(np.isfinite(values), values, NODATA).astype(np.float32)
        write_geotiff(out_dir / FILES[name], filled[None], movement.grid, nodata=NODATA)
    frame = lonlat_frame(movement.grid, PICTURE_PX)
    with Layer(out_dir / FILES["rate"], frame, nearest=True, quantity=RATE) as layer:
        rate, known = layer.read(0, 0, frame.width, frame.height)
    write_png(out_dir / FILES["picture"], paint_signed(rate, known, [zone.geometry for zone in found.zones], frame))
    zones: list[MovingZone | CoherenceLoss] = [*found.zones, *found.coherence_loss]
    features = []
    for zone in zones:
        properties = zone.to_json()
        what = "zones" if isinstance(zone, MovingZone) else "coherence_loss"
        features.append(
            {"type": "Feature", "geometry": properties.pop("geometry"), "properties": {"what": what, **properties}}
        )
    found = replace(found, outputs={name: str(out_dir / file) for name, file in FILES.items()})
    for name, content in (("zones", {"type": "FeatureCollection", "features": features}), ("run", found.to_json())):
        write_json(out_dir / FILES[name], content)
    return found

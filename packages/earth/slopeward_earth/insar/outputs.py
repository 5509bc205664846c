"""What a stack of interferograms leaves behind: rasters of rate, error and coherence, zones, a picture, a record."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.footprints.places import VALID_SHARE, outline_of
from detection.imagery.footprints.preview import paint_signed
from detection.imagery.footprints.records import MeasuredPlace
from detection.imagery.raster.grid import Grid, lonlat_frame
from detection.imagery.raster.overlay import Layer, burn, window_around
from detection.imagery.raster.raster import read_grid, write_geotiff, write_png
from detection.imagery.raster.reading.values import COHERENCES, PHASE, RATE
from detection.imagery.weights_file import NormalisationSpec
from detection.whole_file import write_json
from slopeward_earth.insar.interferogram import StackMovement, find_zones, invert, list_points, outline_zones
from slopeward_earth.insar.records import (
    CoherenceLoss,
    CoherenceValue,
    MovingZone,
    NetworkHint,
    StackRates,
    StackRequest,
)
from slopeward_earth.insar.stack import Interferogram, InterferogramStack, read_stack


def find_moving(stack: InterferogramStack, weights: str) -> tuple[NDArray[np.float64], Grid, float]:
    """Mean probability of movement over the wrapped interferograms of a stack.

    Returns probabilities H x W (NaN where no interferogram is valid), the grid, and the threshold of the card.
    """
    from detection.imagery.neural.model_file import load_model

    model = load_model(weights)
    grid = read_grid(stack.pairs[0].unwrapped)
    box = (0, 0, grid.width, grid.height)
    total, seen = np.zeros((grid.height, grid.width)), np.zeros((grid.height, grid.width))
    for pair in stack.pairs:
        with Layer(pair.unwrapped, grid, quantity=PHASE) as layer:
            phase, valid = layer.read(*box)
        coherence = np.ones_like(phase)
        if pair.coherence is not None:
            with Layer(pair.coherence, grid, quantity=COHERENCES) as layer:
                coherence, also = layer.read(*box)
            valid &= also
        wrapped = wrap(phase.astype(np.float64))
        image = np.where(valid, np.stack([np.cos(wrapped), np.sin(wrapped), coherence]), 0.0).astype(np.float32)
        temperature = float(model.card.get("temperature", 1.0))
        found = run_network(model.network, image[None], model.card["normalisation"], temperature)[0]
        total += np.where(valid, found, 0.0)
        seen += valid
    mean = np.where(seen > 0, total / np.maximum(1, seen), np.nan)
    return mean, grid, float(model.card["threshold"])


def run_network(
    network: Any, images: NDArray[np.float32], normalisation: NormalisationSpec, temperature: float
) -> NDArray[Any]:
    """Probabilities N x H x W of N x 3 x H x W."""
    import torch

    mean, std = (np.asarray(normalisation[k], np.float32)[None, :, None, None] for k in ("mean", "std"))
    out = np.empty((len(images), *images.shape[2:]), np.float64)
    with torch.inference_mode():
        for begin in range(0, len(images), 16):
            batch = torch.from_numpy((images[begin : begin + 16] - mean) / std)
            out[begin : begin + 16] = torch.softmax(network(batch) / temperature, 1)[:, 1].numpy()
    return out


def wrap(phase: NDArray[np.floating]) -> NDArray[np.floating]:
    """Wrap radians into -pi .. pi.

    >>> round(float(wrap(np.array(7.0))), 4)
    0.7168
    """
    return np.asarray((phase + np.pi) % (2 * np.pi) - np.pi)


# Coherence falls with time by itself: only pairs up to the shortest, times this, can be compared.
SHORT_FACTOR = 1.6
LOSS = 0.25
WAS = 0.5


def list_short(stack: InterferogramStack) -> list[Interferogram]:
    """The pairs of comparable length that have coherence, by their later date; of one date the shortest."""
    pairs = [p for p in stack.pairs if p.coherence is not None]
    if not pairs:
        return []
    longest = SHORT_FACTOR * min(p.days for p in pairs)
    newest: dict[Any, Interferogram] = {}
    for pair in sorted(pairs, key=lambda p: -p.days):
        if pair.days <= longest:
            newest[pair.second_at] = pair
    return [newest[at] for at in sorted(newest)]


def measure_coherence(
    stack: InterferogramStack, grid: Grid, places: Sequence[MeasuredPlace]
) -> dict[str, tuple[CoherenceValue, ...]]:
    """Mean coherence over places from date to date.

    Returns by name the values of a place. One of which less than half is valid on a pair is left out there: nothing is
    made up.
    """
    found: dict[str, tuple[CoherenceValue, ...]] = {}
    bodies = []
    for place in places:
        outline = outline_of(place, grid)
        box = window_around(outline, grid, 1)
        if box is not None:
            bodies.append((place.name, box, burn(outline, box), max(1.0, float(outline.area))))
    for pair in list_short(stack) if bodies else ():
        assert pair.coherence is not None
        with Layer(pair.coherence, grid, quantity=COHERENCES) as layer:
            for name, box, body, wanted in bodies:
                values, valid = layer.read(*box)
                shown = valid & body
                seen = int(np.count_nonzero(shown))
                if not seen or seen < VALID_SHARE * wanted:
                    continue
                value = min(1.0, max(0.0, float(np.mean(values[shown], dtype=np.float64))))
                one = CoherenceValue(pair.first_at, pair.second_at, round(value, 4))
                found[name] = (*found.get(name, ()), one)
    return found


def find_coherence_loss(
    stack: InterferogramStack, grid: Grid, minimum_area_m2: float = 40_000.0
) -> list[CoherenceLoss]:
    """Zones whose coherence fell on the newest short pair against the earlier ones of like length; advice only.

    Returns:
        The zones; none where there are fewer than three short pairs with coherence. How old the newest of them is, its
        dates say.
    """
    short = list_short(stack)
    if len(short) < 3:
        return []
    layers = [_read(pair, grid) for pair in short]
    seen = np.isfinite(layers[-1]) & np.isfinite(layers[:-1]).all(axis=0)
    was = np.where(seen, np.median(np.nan_to_num(layers[:-1]), axis=0), np.nan)
    lost = seen & (was >= WAS) & (was - np.nan_to_num(layers[-1]) >= LOSS)
    return [
        CoherenceLoss(
            area_m2=zone.area_m2,
            was=round(float(np.median(was[zone.body])), 3),
            value=round(float(np.median(layers[-1][zone.body])), 3),
            since=short[-1].first_at,
            until=short[-1].second_at,
            geometry=zone.geometry,
        )
        for zone in outline_zones(lost, grid, minimum_area_m2)
    ]


def _read(pair: Interferogram, grid: Grid) -> NDArray[np.float64]:
    assert pair.coherence is not None
    with Layer(pair.coherence, grid, quantity=COHERENCES) as layer:
        values, valid = layer.read(0, 0, grid.width, grid.height)
    return np.where(valid, values, np.nan).astype(np.float64)


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
    from slopeward_earth.insar.outputs import find_moving

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

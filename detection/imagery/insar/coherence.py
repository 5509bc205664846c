"""Coherence of a stack from date to date: means over places, and zones where it fell on the newest pair."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.footprints.places import SEEN_SHARE, outline_of
from detection.imagery.footprints.records import MeasuredPlace
from detection.imagery.insar.interferogram import outline_zones
from detection.imagery.insar.records import CoherenceLoss, CoherenceValue
from detection.imagery.insar.stack import Interferogram, InterferogramStack
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Layer, burn, window_around
from detection.imagery.raster.reading.values import COHERENCES

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
                if not seen or seen < SEEN_SHARE * wanted:
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
    """Coherence of a pair, NaN where it is not valid."""
    assert pair.coherence is not None
    with Layer(pair.coherence, grid, quantity=COHERENCES) as layer:
        values, valid = layer.read(0, 0, grid.width, grid.height)
    return np.where(valid, values, np.nan).astype(np.float64)

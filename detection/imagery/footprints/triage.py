"""Triage of tiles before the segmenter: a tile is passed over only when a network is sure that nothing lies there."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.patches import resize_bands
from detection.imagery.errors import ModelError, RadiometryError
from detection.imagery.footprints.cautions import PIXEL_RATIO
from detection.imagery.footprints.records import TriageFacts, TriageRecord
from detection.imagery.raster.areas import pixel_area_m2
from detection.imagery.raster.grid import Grid, apply_affine, from_lonlat
from detection.imagery.scene.radiometry import RadiometricStretch, measure_stretch
from detection.imagery.weights_file import ModelCard

if TYPE_CHECKING:
    from detection.imagery.scene.reader import BandReader

Box = tuple[float, float, float, float]
"""Of an earlier footprint: least longitude and latitude, greatest longitude and latitude."""
# An earlier footprint is widened by this: its outline wobbles, and a box in degrees is curved on the grid.
MARGIN_PX = 4.0
# Finer pixels are brought to those of the training, up to so many times; coarser ones only within PIXEL_RATIO.
FINEST = 4.0


class Triage:
    """The network that says whether a picture may show a landslide.

    `weights`: name of shipped weights or a path; their network must be a classifier.
    """

    def __init__(self, weights: str) -> None:
        from detection.imagery.neural.checkpoint import load_model
        from detection.imagery.registry import CLASSIFIERS

        model = load_model(weights)
        self.card: ModelCard = model.card
        if self.card["network"]["name"] not in CLASSIFIERS:
            raise ModelError(f"{weights}: {self.card['network']['name']} is no network for triage")
        self.bands, self.model_hash, self._network = model.bands, model.model_hash, model.network

    def estimate_probability(self, picture: NDArray[np.float32]) -> float:
        """Probability that a picture, bands x H x W in the values of this card, shows a landslide."""
        import torch

        normalisation = self.card["normalisation"]
        mean, std = (np.array(normalisation[key], np.float32)[:, None, None] for key in ("mean", "std"))
        with torch.inference_mode():
            return float(self._network(torch.from_numpy((picture - mean) / std)[None]).softmax(dim=1)[0, 1])


@dataclass(frozen=True, slots=True)
class TriageRequest:
    """Triage as it was asked for: the network, and the boxes of all that was ever found on this ground."""

    triage: Triage
    known: tuple[Box, ...]

    def facts(self) -> TriageFacts:
        """What a result depends on."""
        text = json.dumps(self.known)
        return {
            "model": str(self.triage.card["name"]),
            "model_hash": self.triage.model_hash,
            "known": len(self.known),
            "known_sha256": hashlib.sha256(text.encode()).hexdigest(),
        }


def load_triage(weights: str | None, known: Sequence[Sequence[float]]) -> TriageRequest | None:
    """Load the network of the triage; None where none is asked for.

    Raises:
        ModelError: no such weights, or they are no classifier's.
        ValueError: a box that cannot be one.
    """
    if not weights:
        return None
    for box in known:
        if len(box) != 4 or not np.isfinite(box).all() or box[0] > box[2] or box[1] > box[3]:
            raise ValueError(f"known footprint {list(box)} is no box of longitudes and latitudes")
    boxes: list[Box] = [(float(a), float(b), float(c), float(d)) for a, b, c, d in known]
    return TriageRequest(Triage(weights), tuple(sorted(boxes)))


class SceneTriage:
    """Triage on the tiles of one scene: which are passed over, and why the others are not.

    A tile is looked at without asking the network where it overlaps anything found on this ground before, or where any
    of its pixels is not valid: what nodata, a cloud or a damaged block hides is unknown. Else windows of the ground
    size of the training tiles, half over each other, are judged, and one that may hold a landslide is enough.
    """

    def __init__(self, request: TriageRequest, reader: Any, card: ModelCard, scale: float | None = None) -> None:
        self._triage = request.triage
        self.because = {"footprint": 0, "nodata": 0, "network": 0, "aside": 0}
        self.passed_over: list[tuple[int, int, int, int]] = []
        self.aside: str | None = None
        self._known = np.array([_to_pixels(box, reader.grid) for box in request.known]).reshape(-1, 4).T
        self._stretch: RadiometricStretch | None = None
        self._window_px = _window_px(self._triage.card, reader.grid)
        # what was said of the counts of one network holds for another of the same values
        own = scale if card["radiometry"] == self._triage.card["radiometry"] else None
        try:
            wanted, names = self._triage.bands, list(reader.names)
            if missing := [band for band in wanted if band not in names]:
                raise ModelError(f"it needs {', '.join(missing)}, which the network that draws the map does not read")
            self._chosen = [names.index(band) for band in wanted]
            trained_m = float(self._triage.card["pixel_size_m"])
            pixel_m = pixel_area_m2(reader.grid) ** 0.5 if reader.grid.placed else trained_m
            if not 1 / FINEST <= pixel_m / trained_m <= PIXEL_RATIO:
                raise ModelError(f"pixels of {pixel_m:.3g} m, it was trained at {trained_m:g} m")
            part = cast("BandReader", _BandSubset(reader, self._chosen, self._triage.bands))
            self._stretch = measure_stretch(part, self._triage.card, own)
        except (ModelError, RadiometryError) as error:
            self.aside = f"triage stands aside, all tiles are looked at: {error}"

    def wants(self, values: NDArray[np.float32], valid: NDArray[np.bool_], column: int, row: int) -> bool:
        """Whether the segmenter must look at a tile: counts bands x H x W of the scene, from (column, row) on."""
        height, width = valid.shape
        reason = self._find_reason(values, valid, column, row)
        if reason is not None:
            self.because[reason] += 1
            return True
        self.passed_over.append((column, row, width, height))
        return False

    def _find_reason(self, values: NDArray[np.float32], valid: NDArray[np.bool_], column: int, row: int) -> str | None:
        height, width = valid.shape
        if self._stretch is None:
            return "aside"
        left, top, right, bottom = self._known
        if ((left < column + width) & (column < right) & (top < row + height) & (row < bottom)).any():
            return "footprint"
        if not valid.all() or min(height, width) * 2 < self._window_px:
            return "nodata"
        seen = self._stretch.apply(values[self._chosen], column, row)
        plausible = self._stretch.find_plausible(seen)
        if plausible is not None and not plausible.all():
            return "nodata"
        shrink = int(self._triage.card["tile_px"]) / self._window_px
        side = self._window_px
        for down, across in product(_starts(height, side), _starts(width, side)):  # each half over the next
            window = seen[:, down : down + side, across : across + side]
            shape = tuple(max(1, round(side * shrink)) for side in window.shape[1:])
            if (
                self._triage.estimate_probability(resize_bands(window, (shape[0], shape[1])))
                >= self._triage.card["threshold"]
            ):
                return "network"
        return None

    def to_json(self) -> TriageRecord:
        """For the record: how many tiles there were, which were passed over, why the others were not."""
        return {
            "tiles": sum(self.because.values()) + len(self.passed_over),
            "passed_over": len(self.passed_over),
            "looked_at": {reason: count for reason, count in self.because.items() if count},
            "windows": [list(window) for window in self.passed_over],
            "aside": self.aside,
        }


def list_triage_cautions(record: TriageRecord | None) -> list[str]:
    """What one must know of a result whose tiles were chosen by triage."""
    if record is None:
        return []
    if record["aside"]:
        return [str(record["aside"])]
    share = f"{record['passed_over']} of {record['tiles']} tiles were passed over by triage"
    return [f"{share}: a coarse network alone says that they hold no landslide"] if record["passed_over"] else []


class _BandSubset:
    def __init__(self, reader: Any, chosen: list[int], names: tuple[str, ...]) -> None:
        self._reader, self._chosen = reader, chosen
        self.names, self.grid = names, reader.grid

    def read(self, *window: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        values, valid = self._reader.read(*window)
        return values[self._chosen], valid


def _window_px(card: ModelCard, grid: Grid) -> int:
    side_px = int(card["tile_px"])
    if not grid.placed:
        return side_px
    return max(1, round(float(side_px * float(card["pixel_size_m"]) / pixel_area_m2(grid) ** 0.5)))


def _starts(length: int, side: int) -> list[int]:
    """Where windows begin."""
    last = max(0, length - side)
    return [*range(0, last, max(1, side // 2)), last]


def _to_pixels(box: Box, grid: Grid) -> Box:
    """The columns and rows that a box of longitudes and latitudes reaches on a grid, with a margin."""
    share = np.linspace(0, 1, 9)
    zero, one = np.zeros_like(share), np.ones_like(share)
    x = box[0] + np.concatenate([share, share, zero, one]) * (box[2] - box[0])
    y = box[1] + np.concatenate([zero, one, share, share]) * (box[3] - box[1])
    if grid.placed:
        x, y = apply_affine(~grid.transform, *from_lonlat(grid, x, y))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return -np.inf, -np.inf, np.inf, np.inf  # a place the grid's CRS cannot tell: it may be anywhere
    margin = MARGIN_PX
    return float(x.min() - margin), float(y.min() - margin), float(x.max() + margin), float(y.max() + margin)

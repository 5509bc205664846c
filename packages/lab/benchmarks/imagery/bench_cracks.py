"""Cracks drawn over real pictures: the recipe `cracks` beside filters that learn nothing.

    python -m packages.lab.benchmarks.imagery.bench_cracks [--draws 100]

No licensed set of measured cracks is at hand: all are drawn (`drawn_cracks`), over pictures of Bijie that no training
saw and over coseismic pictures of Hokkaido. Half of the former choose the threshold of each map, by F1 of length, and
score nothing. A part of a crack is found where a found line lies within 3 px of it, a found line false where no crack
does. Lengths are at the 0.05 m that the recipe says of a pixel.

`flights`: one crack on two pictures, of which the earlier has other light and lies off by up to 4 px; what
`scenes detect --cracks --pre` says became of it, by the maps of the network.

Weights are kept in build/, so that a run that was killed goes on where it was.
"""

import pickle
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from detection.imagery.change.records import StoredDate
from detection.imagery.data.files import open_files
from detection.imagery.data.patches import make_patches
from detection.imagery.errors import ImageryError
from detection.imagery.neural.learner import Hooks
from detection.imagery.neural.training import TrainedNetwork, predict_trained_maps, train_patches
from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.raster.raster import write_geotiff
from packages.lab.benchmarks.imagery.drawn_cracks import (
    BANDS,
    DrawnCracks,
    draw_cracks,
    draw_flights,
    draw_patches,
    list_textures,
)
from slopeward_lab.cracks.change import compare_cracks
from slopeward_lab.cracks.lines import find_cracks
from slopeward_lab.recipes.recipe_file import find_recipe, read_recipe
from tests.bench.record import DATA, LAB_RESULTS, ROOT, parse_options
from tests.data.surveys.rasters import write_folder

KEPT = ROOT / "build" / "bench_cracks"
COMMAND = "python -m packages.lab.benchmarks.imagery.bench_cracks"
NETWORKS = {"unet": "ce+dice", "unet, clDice": "ce+dice+cldice"}
BIJIE = DATA / "imagery" / "bijie" / "bijie_subset.zip"
DRAWS, EPOCHS, SIDE_PX, FLIGHT_PX, PIXEL_M, NEAR_PX = 640, 16, 128, 192, 0.05, 3.0
HECTARE_M2 = 10_000.0
SCALES_PX = (1.0, 1.5, 2.0, 3.0)
THRESHOLDS = np.arange(10, 200, 10)
Map = Callable[[DrawnCracks], NDArray[np.float32]]


def train(name: str) -> TrainedNetwork:
    """The recipe with a loss, on drawn cracks; from build/ where it is kept there."""
    path = KEPT / f"{name.rsplit(maxsplit=1)[-1]}.pickle"
    if not path.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        patches = draw_patches(open_files(BIJIE), "train", DRAWS, SIDE_PX).standardise(()).cache()
        settings = replace(read_recipe(find_recipe("cracks")).settings(), loss=NETWORKS[name], epochs=EPOCHS)
        trained = train_patches(patches, settings, Hooks(checkpoint=path.with_suffix(".place"), resume=True))
        path.write_bytes(pickle.dumps(trained))
    found: TrainedNetwork = pickle.loads(path.read_bytes())
    return found


def read_pictures() -> dict[str, list[NDArray[np.uint8]]]:
    """Pictures that no training saw: those that choose, those that score."""
    bijie = open_files(BIJIE)
    held = [bijie.read_picture(name)[:3] for name in list_textures(bijie, "val")]
    other, tiles = open_files(DATA / "imagery" / "coseismic-vhr-256" / "tiles.zip"), []
    for name in [one for one in other.names if one.startswith("labelled/images/")]:
        with rasterio.MemoryFile(other.read(name)) as memory, memory.open() as source:
            tiles.append(source.read()[:3])
    return {"choose": held[::2], "bijie": held[1::2], "coseismic": tiles}


def draw(pictures: list[NDArray[np.uint8]], count: int, seed: int) -> list[DrawnCracks]:
    """Cracks over pictures, which take turns."""
    places = range(count)
    return [draw_cracks(pictures[n % len(pictures)], SIDE_PX, np.random.default_rng([seed, n])) for n in places]


def filter_ridges(drawn: DrawnCracks) -> NDArray[np.float32]:
    """Dark ridges of several widths, over the local contrast (after Frangi et al. 1998)."""
    grey = _standardise(drawn.image.mean(axis=0))
    best = np.zeros_like(grey)
    for scale in SCALES_PX:
        rr, rc, cc = (scale**2 * ndimage.gaussian_filter(grey, scale, order) for order in ((2, 0), (1, 1), (0, 2)))
        root = np.sqrt((rr - cc) ** 2 / 4 + rc**2)
        large, small = (rr + cc) / 2 + root, (rr + cc) / 2 - root
        best = np.maximum(best, np.where(large > 0, large * np.exp(-2 * (small / np.maximum(large, 1e-6)) ** 2), 0))
    return np.clip(best / 3, 0, 1)


def filter_hat(drawn: DrawnCracks) -> NDArray[np.float32]:
    """The black top-hat: how much darker a place is than the narrowest bright frame around it."""
    grey = _standardise(ndimage.gaussian_filter(drawn.image.mean(axis=0), 0.7))
    return np.clip(ndimage.black_tophat(grey, size=(9, 9)) / 4, 0, 1)


def _standardise(grey: NDArray[np.floating]) -> NDArray[np.floating]:
    mean = ndimage.uniform_filter(grey, 31)
    return (grey - mean) / np.sqrt(np.maximum(ndimage.uniform_filter(grey**2, 31) - mean**2, 1e-4))


def map_by_network(trained: TrainedNetwork) -> Map:
    """Probabilities of a network."""

    def draw_map(drawn: DrawnCracks) -> NDArray[np.float32]:
        image = np.rint(255 * drawn.image).astype(np.uint8)[None]
        patches = make_patches(image, drawn.truth[None], BANDS).standardise(())
        return next(iter(predict_trained_maps(trained, patches)))[1]

    return draw_map


def measure(drawn: DrawnCracks, shares: NDArray[np.float32], threshold: int) -> list[float]:
    """Length that is there, found, that was drawn by the map, and falsely so, metres."""
    steps = np.rint(200 * shares).astype(np.uint8)
    grid = Grid(Affine.identity(), "", SIDE_PX, SIDE_PX)
    lines = find_cracks(lambda c, r, w, h: steps[r : r + h, c : c + w], grid, threshold, "")
    found = _spread([np.array(one.line.coords) for one in lines])
    there = _spread(drawn.lines)
    there = there[((there >= 0) & (there < SIDE_PX)).all(axis=1)]
    hit, right = (np.count_nonzero(_near(*pair)) for pair in ((there, found), (found, there)))
    return [PIXEL_M * one for one in (len(there), hit, len(found), len(found) - right)]


def _spread(lines: Any) -> NDArray[np.float64]:
    """Points one pixel apart."""
    parts = [np.empty((0, 2))]
    for line in lines:
        along = np.append(0, np.cumsum(np.hypot(*np.diff(line, axis=0).T)))
        at = np.arange(0, along[-1])
        parts.append(np.column_stack([np.interp(at, along, axis) for axis in line.T]))
    return np.concatenate(parts)


def _near(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    return cKDTree(others).query(points)[0] <= NEAR_PX if len(points) and len(others) else np.zeros(len(points), bool)


def follow(
    draw_map: Map, pictures: list[NDArray[np.uint8]], count: int, threshold: int, grown_px: float
) -> dict[str, Any]:
    """What `compare_cracks` says of cracks that grew by so much between two flights: words, and metres of growth."""
    grid, words, grown_by = grid_around(8.9, 46.2, FLIGHT_PX, PIXEL_M), Counter[str](), list[float]()
    length = within = 0.0
    for number in range(count):
        rng = np.random.default_rng([3, number, round(grown_px)])
        *images, _ = draw_flights(pictures[number % len(pictures)], FLIGHT_PX, grown_px, rng)
        with tempfile.TemporaryDirectory(prefix="bench-cracks-") as name:
            dates, maps = [], []
            for month, image in enumerate(images, 3):
                folder, empty = Path(name) / str(month), np.zeros(image.shape[1:], np.uint8)
                maps.append(np.rint(200 * draw_map(DrawnCracks(image, empty, ()))).astype(np.uint8))
                at = datetime(2026, month, 1, tzinfo=UTC)
                counts = dict(zip(BANDS, (1 + 1000 * image).astype(np.uint16), strict=True))
                write_folder(folder, counts, grid, at=at.isoformat())
                write_geotiff(folder / "prob.tif", maps[-1][None], grid, nodata=255)
                facts = {
                    "scene_hash": name,
                    "acquired_at": at,
                    "probability_path": str(folder / "prob.tif"),
                    "scene_path": str(folder),
                }
                dates.append(StoredDate(**facts, threshold=threshold / 200, minimum_area_m2=0.0, classes=("crack",)))
            steps = maps[1]
            cracks = find_cracks(lambda c, r, w, h, s=steps: s[r : r + h, c : c + w], grid, threshold, "")
            try:
                found = compare_cracks(cracks, dates[1], dates[0]).changes
            except ImageryError:
                words["not compared"] += 1
                continue
        words.update(found[one.crack_id].change for one in cracks)
        grown = [found[one.crack_id] for one in cracks if found[one.crack_id].change in {"new", "grown"}]
        grown_by.append(sum(one.grown_m or 0.0 for one in grown))
        errors = max((one.grown_error_m or 0.0 for one in grown), default=0.0)
        within += abs(grown_by[-1] - grown_px * PIXEL_M) <= errors
        length += sum(one.length_m or 0.0 for one in cracks)
    return {
        "words": dict(words),
        "length_m": round(length, 1),
        "grown_m": grown_px * PIXEL_M,
        "found_median_m": round(float(np.median(grown_by)), 3),
        "found_share_of_length": round(float(sum(grown_by) / length), 4),
        "within_error": round(float(within / len(grown_by)), 3),
    }


def summarise(lengths: NDArray[np.float64]) -> dict[str, float]:
    """Recall, precision and F1 of length, and false metres per hectare; `lengths`: images x what `measure` gives."""
    there, hit, found, false = lengths.sum(axis=0)
    recall, precision = hit / max(there, 1e-9), 1 - false / max(found, 1e-9)
    return {
        "recall": float(recall),
        "precision": float(precision),
        "f1": float(2 * recall * precision / max(recall + precision, 1e-9)),
        "false_m_per_ha": float(false / (len(lengths) * (SIDE_PX * PIXEL_M) ** 2 / HECTARE_M2)),
    }


def choose(draw_map: Map, images: list[DrawnCracks]) -> int:
    """The step with the best F1 of length."""
    maps = [draw_map(one) for one in images]
    scores = [
        summarise(np.array([measure(*pair, step) for pair in zip(images, maps, strict=True)])) for step in THRESHOLDS
    ]
    return int(THRESHOLDS[int(np.argmax([score["f1"] for score in scores]))])


def compare(one: NDArray[np.float64], other: NDArray[np.float64]) -> Iterator[tuple[str, dict[str, Any]]]:
    """One less the other, with the paired interval over images."""
    drawn = np.random.default_rng(0).integers(len(one), size=(1000, len(one)))
    own, beside = summarise(one), summarise(other)
    many = [[summarise(lengths[places]) for places in drawn] for lengths in (one, other)]
    for key in own:
        apart = [a[key] - b[key] for a, b in zip(*many, strict=True)]
        interval = [round(float(end), 4) for end in np.quantile(apart, [0.025, 0.975])]
        yield key, {"difference": round(own[key] - beside[key], 4), "interval": interval}


def main() -> None:
    """Train what is missing, score, and keep the figures."""
    import torch

    torch.set_num_threads(1)
    given = parse_options(__doc__, draws=100)
    pictures = read_pictures()
    choosing = draw(pictures["choose"], given.draws, 1)
    maps: dict[str, Map] = {"ridge filter": filter_ridges, "black top-hat": filter_hat}
    models = {name: train(name) for name in NETWORKS}
    maps |= {name: map_by_network(model) for name, model in models.items()}
    steps = {name: choose(draw_map, choosing) for name, draw_map in maps.items()}
    figures: dict[str, Any] = {"pixel_m": PIXEL_M, "near_px": NEAR_PX, "draws": given.draws}
    for label in ("bijie", "coseismic"):
        images = draw(pictures[label], given.draws, 2)
        lengths = {n: np.array([measure(one, m(one), steps[n]) for one in images]) for n, m in maps.items()}
        table = {
            name: {key: round(value, 4) for key, value in summarise(found).items()} | {"threshold": steps[name] / 200}
            for name, found in lengths.items()
        }
        for name, model in models.items():
            table[name] |= {
                "parameters": sum(p.numel() for p in model.network.parameters()),
                "cpu_s": round(model.cpu_s),
            }
        pairs = [(name, other) for name in models for other in lengths if other not in models]
        pairs.append((next(iter(models)), list(models)[-1]))
        less = {f"{one} less {other}": dict(compare(lengths[one], lengths[other])) for one, other in pairs}
        figures[label] = {
            "length_m": round(float(lengths["ridge filter"][:, 0].sum()), 1),
            "maps": table,
            "differences": less,
        }
        print(label, table, flush=True)
    held, model = pictures["bijie"] + pictures["coseismic"], maps["unet"]
    figures["flights"] = {f"longer by {px} px": follow(model, held, given.draws, steps["unet"], px) for px in (0, 30)}
    print(figures["flights"])
    print(LAB_RESULTS.store("cracks", f"{COMMAND} --draws {given.draws}", figures))


if __name__ == "__main__":
    main()

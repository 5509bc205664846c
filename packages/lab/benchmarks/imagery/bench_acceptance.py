"""The default weights beside what they must reach: logistic regression, ground without landslides, loss of quality.

    python -m packages.lab.benchmarks.imagery.bench_acceptance [--weights landslide4sense-standard] [--store]

* Landslide4Sense, 300 validation patches: F1 less that of logistic regression on the features of the pixels, which is
  fitted and given its threshold on the same train patches; 95 % interval by bootstrap over the patches. Shares of the
  objects of both maps that touch no landslide.
* The same patches by the quality `best`, which averages eight flips and rotations.
* The same patches in half the light, through haze, blurred, moved by half a pixel and with noise of up to 5 counts.
* Ground without landslides: tiles of a city and of snow that were not trained on, and pixels of the Hokkaido scene on
  flat ground (fields, settlements, water: below 2 degrees in the slope model). Then the whole scenes as a user would
  map them, with the share of the outlines that carry a caution.
* Bijie, 50 validation crops, by the weights `bijie`.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from detection.imagery.data.catalogue import open_data, open_empty_ground
from detection.imagery.data.degrade import add_noise, blur, resample
from detection.imagery.data.patches import IGNORED, Patches
from detection.imagery.data.splits import split
from detection.imagery.footprints.detect import detect
from detection.imagery.footprints.options import DetectionOptions
from detection.imagery.neural.model_file import SegmentationModel, load_model
from detection.imagery.training.evaluation import map_patches, score_weights
from detection.imagery.training.scoring import ScoringResult, compare, score_maps
from detection.imagery.training.simple_maps import fit_logistic, score_simple_map
from slopeward_lab.recipes.recipe_file import find_recipe, read_recipe
from tests.bench.record import DATA, LAB_RESULTS, parse_options

COMMAND: Final = "python -m packages.lab.benchmarks.imagery.bench_acceptance"
HOKKAIDO: Final = DATA / "imagery" / "hokkaido-2018-s2-scene"
CITY: Final = DATA / "imagery" / "chattogram-s2" / "north.tif"
LEAST_GAIN: Final = 0.05  # F1 above logistic regression
LEAST_GAIN_INTERVAL: Final = 0.03  # the lower end of its interval
MOST_LOSS: Final = 0.03  # F1
MOST_MARKED_SHARE: Final = 0.01  # of ground without landslides
BIJIE_LEAST_F1: Final = 0.64
FLAT_MOST_DEG: Final = 2.0

Change = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[Any]]
LOSSES: Final[dict[str, Change]] = {
    "half the light": lambda image, _: image // 2,
    "haze": lambda image, _: np.asarray(np.rint(0.75 * image + 40), np.uint8),
    "blur of 0.7 px": lambda image, _: blur(image, 0.7),
    "half a pixel of shift": lambda image, _: resample(image, 0.5, 0.5),
    "noise of 1 count": lambda image, rng: add_noise(image, 1.0, rng),
    "noise of 3 counts": lambda image, rng: add_noise(image, 3.0, rng),
    "noise of 5 counts": lambda image, rng: add_noise(image, 5.0, rng),
}


def change_patches(patches: Patches, change: Change) -> Patches:
    """Return the patches with every image changed; the draws of a patch follow from its position."""
    load = patches.load

    def load_changed(position: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        image, mask = load(position)
        return change(image, np.random.default_rng(position)), mask

    return Patches(patches.names, patches.bands, load_changed, patches.pixel_size_m, patches.months)


def score_model(model: SegmentationModel, patches: Patches, *, objects: bool = False) -> ScoringResult:
    """Score weights at their own threshold."""
    return score_maps(map_patches(model, patches), float(model.card["threshold"]), objects=objects)


def map_best(
    model: SegmentationModel, patches: Patches
) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.uint8]]]:
    """Yield name, mean probability over eight flips and rotations, and mask of each square patch."""
    total = [np.zeros(patch.mask.shape, np.float32) for patch in patches]
    for turns, is_flipped in itertools.product(range(4), (False, True)):

        def view(
            image: NDArray[np.uint8], _: np.random.Generator, turns: int = turns, is_flipped: bool = is_flipped
        ) -> NDArray[np.uint8]:
            turned = np.rot90(image, turns, (1, 2))
            return np.ascontiguousarray(turned[:, :, ::-1] if is_flipped else turned)

        for position, (_, probabilities, _) in enumerate(map_patches(model, change_patches(patches, view))):
            turned = probabilities[:, ::-1] if is_flipped else probabilities
            total[position] += np.rot90(turned, -turns) / 8
    for patch, probabilities in zip(patches, total, strict=True):
        yield patch.name, probabilities, patch.mask


def measure_best(model: SegmentationModel, test: Patches) -> dict[str, Any]:
    """Return F1 of the quality `best`, and how far it is above one pass."""
    standard = score_model(model, test)
    best = score_maps(map_best(model, test), float(model.card["threshold"]), objects=False)
    return {"f1": round(best.report["f1"], 4), "less_standard": compare(best.confusions, standard.confusions)}


def find_false_share(result: ScoringResult) -> float:
    """Return the share of the objects of a map whose intersection over union with any landslide is below .1."""
    return 1 - float(result.report["object_precision"]["iou_0.1"]["all"])


def compare_with_logistic(model: SegmentationModel, train: Patches, test: Patches) -> dict[str, Any]:
    """Return F1 of the weights and of logistic regression, their difference, and shares of false objects."""
    fit, held = split(train, "seeded", 0.15, 20)
    logistic = score_simple_map(fit_logistic(train, fit, held, 20), test)
    network = score_model(model, test, objects=True)
    return {
        "patches": len(test),
        "f1": round(network.report["f1"], 4),
        "f1_logistic": round(logistic.report["f1"], 4),
        "less_logistic": compare(network.confusions, logistic.confusions),
        "false_objects": round(find_false_share(network), 4),
        "false_objects_logistic": round(find_false_share(logistic), 4),
        "object_recall": network.report["object_recall"]["covered_half"],
        "object_recall_logistic": logistic.report["object_recall"]["covered_half"],
    }


def measure_losses(model: SegmentationModel, test: Patches) -> dict[str, Any]:
    """Return F1 on the patches as they are and after each loss of quality."""
    plain = score_model(model, test)
    figures: dict[str, Any] = {}
    for name, change in LOSSES.items():
        changed = score_model(model, change_patches(test, change))
        figures[name] = {
            "f1": round(changed.report["f1"], 4),
            "less_plain": compare(changed.confusions, plain.confusions),
        }
    return figures


def measure_empty_tiles(model: SegmentationModel) -> dict[str, Any]:
    """Return how much the weights mark of the tiles without landslides that they were not trained on."""
    recipe = read_recipe(find_recipe("landslide4sense-standard"))
    figures = {}
    for name, tiles in open_empty_ground(recipe.data, recipe.bands, 128, DATA).evaluation.items():
        valid_px = marked_px = 0
        for _, probabilities, mask in map_patches(model, tiles):
            valid = mask != IGNORED
            valid_px += int(valid.sum())
            marked_px += int((valid & (probabilities >= model.card["threshold"])).sum())
        figures[name] = {"tiles": len(tiles), "pixels": valid_px, "marked_share": round(marked_px / valid_px, 5)}
    return figures


def read_flat_ground(grid_of: Path) -> NDArray[np.bool_]:
    """Return where the slope model is below `FLAT_MOST_DEG` degrees, on the grid of a raster."""
    with rasterio.open(grid_of) as raster, rasterio.open(HOKKAIDO / "slope.tif") as slope:
        place = {"crs": raster.crs, "transform": raster.transform, "width": raster.width, "height": raster.height}
        with WarpedVRT(slope, **place, resampling=Resampling.bilinear) as warped:
            values, valid = warped.read(1), warped.read_masks(1) != 0
    return np.asarray(valid & (values < FLAT_MOST_DEG))


def write_scene(date: str, out: Path) -> Path:
    """Write the three bands of one date of the Hokkaido scene as one file."""
    paths = [HOKKAIDO / f"{date}_event_B{number}.tif" for number in (4, 3, 2)]
    with rasterio.open(paths[0]) as first:
        profile = {**first.profile, "count": 3, "nodata": 0}
    out.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(out, "w", **profile) as target:
        for number, path in enumerate(paths, 1):
            with rasterio.open(path) as band:
                target.write(band.read(1), number)
            target.set_band_description(number, path.stem[-2:])
        target.update_tags(ACQUIRED_AT="2018-10-25T01:00:00Z" if date == "post" else "2017-11-20T01:00:00Z")
    return out


def list_scenes(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name and path of the scenes that are mapped as a whole."""
    yield "city", CITY
    yield "snow", write_scene("pre", folder / "pre.tif")
    yield "after the earthquake", write_scene("post", folder / "post.tif")


def map_scenes(weights: str, folder: Path) -> dict[str, Any]:
    """Return for whole scenes how much is marked, and how many outlines carry a caution."""
    figures = {}
    for name, path in list_scenes(folder):
        out = folder / name.replace(" ", "-")
        result = detect(DetectionOptions(scene_path=path, weights=weights, out_dir=out, force=True))
        with rasterio.open(result["outputs"]["mask"]) as raster:
            mask = raster.read(1)
        valid = mask != 255
        cautioned = sum(polygon["caution"] is not None for polygon in result["polygons"])
        figures[name] = {
            "pixels": int(valid.sum()),
            "marked_share": round(float((mask[valid] == 1).mean()), 5),
            "outlines": len(result["polygons"]),
            "outlines_with_caution": cautioned,
        }
        if name == "after the earthquake":
            flat = read_flat_ground(path) & valid
            figures["flat ground after the earthquake"] = {
                "pixels": int(flat.sum()),
                "marked_share": round(float((mask[flat] == 1).mean()), 5),
            }
    return figures


def judge(figures: dict[str, Any]) -> dict[str, bool]:
    """Return which bars of the acceptance are reached."""
    landslides, scenes = figures["landslide4sense"], figures["scenes"]
    difference = landslides["less_logistic"]
    return {
        "F1 above logistic regression": difference["difference"] >= LEAST_GAIN,
        "interval of the difference": difference["interval"][0] > LEAST_GAIN_INTERVAL,
        "share of false outlines": landslides["false_objects"] <= landslides["false_objects_logistic"],
        "loss of quality": all(loss["less_plain"]["difference"] > -MOST_LOSS for loss in figures["losses"].values()),
        "ground without landslides": all(
            ground["marked_share"] <= MOST_MARKED_SHARE for ground in figures["empty_ground"].values()
        ),
        "a caution at every outline there": all(
            scenes[name]["outlines_with_caution"] == scenes[name]["outlines"] for name in ("city", "snow")
        ),
        "Bijie": figures["bijie"]["f1"] >= BIJIE_LEAST_F1,
    }


def main() -> None:
    """Measure, print the figures beside their bars, and store them as the result `imagery-acceptance`."""
    import torch

    options = parse_options(__doc__, weights="landslide4sense-standard", store=False)
    torch.set_num_threads(1)
    data = {"source": "landslide4sense-rgb", "folder": "imagery/landslide4sense-rgb"}
    train, test = (patches.cache() for patches in open_data(data, ("B4", "B3", "B2"), 20, DATA))
    model = load_model(options.weights)
    figures: dict[str, Any] = {"weights": model.card["name"], "model_hash": model.model_hash}
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "landslide4sense": lambda: compare_with_logistic(model, train, test),
        "best": lambda: measure_best(model, test),
        "losses": lambda: measure_losses(model, test),
        "empty_ground": lambda: measure_empty_tiles(model),
        "scenes": lambda: map_scenes(options.weights, Path("build") / "bench_imagery_acceptance"),
        "bijie": lambda: {
            key: round(value, 4)
            for key, value in score_weights("bijie", DATA, objects=False).items()
            if key in {"f1", "precision", "recall"}
        },
    }
    for name, measure in parts.items():
        figures[name] = measure()
        print(name, figures[name], flush=True)
    figures["reached"] = judge(figures)
    for bar, is_reached in figures["reached"].items():
        print(f"{'reached' if is_reached else 'MISSED '}  {bar}")
    if options.store:
        print(LAB_RESULTS.store("imagery-acceptance", COMMAND, figures))


if __name__ == "__main__":
    main()

"""How sure triage is: landslide tiles passed over by the shipped network, and by its recipe on tiles it never saw.

    python -m tests.bench.imagery.bench_triage

The shipped network on the Bijie validation crops, whole and window by window as on a scene; forty landslides say little
of a recall of 95 %, so the recipe is also trained on folds of the train part, each judged on the tiles left out. Those
are other weights than the shipped ones: they tell what the recipe is worth. Intervals are exact (Clopper-Pearson).
"""

import time
from typing import Any

import numpy as np
from affine import Affine
from scipy import stats

from detection.imagery.data.catalogue import open_data
from detection.imagery.data.patches import Patches, as_values, resize_bands
from detection.imagery.footprints.triage import SceneTriage, load_triage
from detection.imagery.raster.grid import Grid
from detection.imagery.training.recipe_file import find_recipe, read_recipe
from tests.bench.record import DATA, record


class Crop:
    """One crop as if it were a scene without a place; counts of 0 to 255."""

    def __init__(self, image: Any, names: tuple[str, ...]) -> None:
        self.values, self.names = image.astype(np.float32), names
        self.grid = Grid(Affine.identity(), "", image.shape[2], image.shape[1])

    def read(self, column: int, row: int, width: int, height: int) -> tuple[Any, Any]:
        """Counts and valid pixels of a window."""
        window = slice(row, row + height), slice(column, column + width)
        return self.values[:, window[0], window[1]], np.ones((height, width), bool)


def tell(looked_at: Any, truth: Any) -> dict[str, Any]:
    """Recall of landslide tiles with its interval, and which share of the empty ones is passed over."""
    found, landslides = int(looked_at[truth].sum()), int(truth.sum())
    low, high = stats.binomtest(found, landslides).proportion_ci(0.95, "exact")
    told = {"landslide_tiles": landslides, "looked_at": found, "recall": round(found / landslides, 4)}
    told |= {"recall_95": [round(float(low), 4), round(float(high), 4)]}
    return told | {"empty_tiles": int((~truth).sum()), "passed_over": int((~looked_at[~truth]).sum())}


def judge_shipped(test: Patches) -> dict[str, Any]:
    """The shipped network, on whole crops as it was trained and on windows as on a scene, and what it costs."""
    from detection.imagery.neural.checkpoint import load_model
    from detection.imagery.neural.inference import Segmenter

    asked = load_triage("triage", [])
    assert asked is not None
    segmenter, card = Segmenter(load_model("bijie")), asked.triage.card
    whole, windows, truth, cost = [], [], [], {"triage": 0.0, "network": 0.0}
    for patch in test:
        values, valid = as_values(patch.image), np.ones(patch.mask.shape, bool)
        side = int(card["tile_px"])
        shown = resize_bands(values, (side, side))
        whole.append(asked.triage.estimate_probability(shown) >= card["threshold"])
        crop = Crop(patch.image, asked.triage.bands)
        passing = SceneTriage(asked, crop, card)
        begun = time.process_time()
        windows.append(passing.wants(crop.values, valid, 0, 0))
        cost["triage"] += time.process_time() - begun
        begun = time.process_time()
        segmenter.class_probabilities(values, valid)
        cost["network"] += time.process_time() - begun
        truth.append(bool((patch.mask == 1).any()))
    known = np.array(truth)
    told = {"whole_crops": tell(np.array(whole), known), "windows": tell(np.array(windows), known)}
    return told | {"cost_to_network": round(cost["triage"] / cost["network"], 3)}


def judge_recipe(train: Patches, settings: Any, folds: int = 3) -> dict[str, Any]:
    """The recipe on folds: threshold and epoch from a held part of the tiles kept, recall on those left out."""
    from detection.imagery.neural.triage_training import labels, predict_tiles, train_triage

    looked_at, truth, each = [], [], []
    order = np.random.default_rng(settings.seed).permutation(len(train))
    for number, left_out in enumerate(map(np.sort, np.array_split(order, folds)), start=1):
        kept = np.setdiff1d(order, left_out)
        trained = train_triage(train.take(kept), settings)
        normalisation = np.array(trained.mean, np.float32), np.array(trained.std, np.float32)
        passed = predict_tiles(trained.network, train, left_out, normalisation) >= trained.threshold
        known = labels(train, left_out)
        looked_at.append(passed)
        truth.append(known)
        each.append(tell(passed, known))
        print(f"fold {number} of {folds}: {each[-1]}")
    return {"folds": each, "pooled": tell(np.concatenate(looked_at), np.concatenate(truth))}


def main() -> None:
    """Measure and write docs/benchmarks/triage.json."""
    import torch

    torch.set_num_threads(1)
    recipe = read_recipe(find_recipe("triage"))
    train, test = open_data(recipe.data, recipe.bands, recipe.seed, DATA)
    begun = time.process_time()
    figures: dict[str, Any] = {"shipped": judge_shipped(test)}
    print(figures)
    seen = train.resize(int(recipe.data["size_px"])).remember()
    figures["recipe"] = judge_recipe(seen, recipe.settings())
    print(figures["recipe"]["pooled"])
    figures["cpu_s"] = round(time.process_time() - begun, 1)
    print(record("triage", "python -m tests.bench.imagery.bench_triage", figures))


if __name__ == "__main__":
    main()

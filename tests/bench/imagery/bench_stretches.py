"""Weights beside others of the same data: held-out patches as they are, in other light, stretched, at other sizes.

With `--quality` after noise, JPEG, blur and interpolation, beside logistic regression, and what an unchanged scene
with noise gives when it is compared.

    python -m tests.bench.imagery.bench_stretches [--only landslide4sense]
    python -m tests.bench.imagery.bench_stretches --alone bijie,landslide4sense-standard
    python -m tests.bench.imagery.bench_stretches --odd bijie,landslide4sense-standard
    python -m tests.bench.imagery.bench_stretches --quality landslide4sense-standard,landslide4sense,bijie

A recipe whose weights are not shipped is trained once into build/bench_stretches and kept for as long as neither it nor
the weights beside it change. It may be shipped where plain F1 is not worse and none of the others is, by the paired
interval over the images, and at least one is better. `cost` is what a change costs the recipe's own weights. On patches
as they are both stand beside logistic regression too. Of `SEEDS` the recipe is trained with each, and all of them are
scored in every light.

`--alone` trains nothing: shipped weights by themselves, and what each change costs them, image by image. Where a card
says that images of other pixels are brought to those of the training, it has a row of those too. `--odd` does the same
with a gamma and with negatives.
"""

import argparse
import itertools
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from detection.imagery.change.compare import as_date
from detection.imagery.change.compare import compare as compare_dates
from detection.imagery.data.catalogue import open_data
from detection.imagery.data.degrade import list_losses
from detection.imagery.data.patches import Patches
from detection.imagery.data.splits import split
from detection.imagery.errors import ImageryError
from detection.imagery.footprints.detect import detect
from detection.imagery.neural.checkpoint import load_model
from detection.imagery.neural.learner import Hooks
from detection.imagery.training.evaluation import map_patches
from detection.imagery.training.recipe import run_recipe
from detection.imagery.training.recipe_file import find_recipe, read_recipe
from detection.imagery.training.scoring import ScoringResult, compare, score_maps
from detection.imagery.training.simple_maps import fit_logistic, score_simple
from detection.imagery.training.steadiness import degrade_patches
from detection.imagery.weights_file import WEIGHTS_FOLDER
from tests.bench.imagery.weights.stability import PLAIN, change_patches, score_stretched
from tests.bench.record import DATA, digest, read_figures, record
from tests.data.surveys.radar_pictures import write_picture

KEPT = Path(__file__).resolve().parents[3] / "build" / "bench_stretches"
PAIRS = {
    "landslide4sense": "landslide4sense-standard",
    "bijie": "bijie-steady",
    "landslide4sense-standard": "landslide4sense-windows",
}
ODD = {PLAIN: lambda image: image, "gamma 0.45": lambda image: image**0.45, "negative": lambda image: 1 - image}
MOSAIC = 6  # patches along a side of a scene
SEEDS = {"landslide4sense-standard": (20, 21, 22), "landslide4sense-windows": (20, 21, 22)}


def run(shipped: str, recipe: str) -> dict[str, Any]:
    """Train what is not there; F1 of both under each change, and their paired difference."""
    models = load_model(shipped), load_model(str(_find_weights(shipped, recipe)))
    card = models[0].card
    train, test = open_data(card["data"]["recipe"], models[0].bands, card["training"]["seed"], DATA)
    one, other = (score_stretched(model, test, sizes=True) for model in models)
    rows = {
        name: {
            shipped: round(one[name].report["f1"], 4),
            recipe: round(other[name].report["f1"], 4),
            **compare(other[name].confusions, one[name].confusions),
            "cost": compare(other[name].confusions, other[PLAIN].confusions)["difference"],
        }
        for name in one
    }
    if card.get("resize_px") is None:
        rule = fit_logistic(train, *split(train, "seeded", card["training"]["held_share"], card["training"]["seed"]))
        logistic = score_simple(rule, test, objects=False)
        rows[PLAIN] |= {"logistic": round(logistic.report["f1"], 4)} | {
            f"{name} less logistic": compare(found[PLAIN].confusions, logistic.confusions)
            for name, found in ((shipped, one), (recipe, other))
        }
        if seeds := SEEDS.get(recipe):
            own = {int(models[1].card["training"]["seed"]): other}
            for seed in sorted(set(seeds) - own.keys()):
                own[seed] = score_stretched(load_model(str(_find_weights(shipped, recipe, seed))), test)
            _add_seeds(rows, own, {shipped: one, "logistic": {PLAIN: logistic}})
    worse = [name for name, row in rows.items() if row["carries"] and row["difference"] < 0]
    better = [name for name, row in rows.items() if row["carries"] and row["difference"] > 0]
    return {
        "images": len(test),
        "cpu_s": models[1].card["training"]["cpu_s"],
        "rows": rows,
        "worse": worse,
        "better": better,
        "ship": bool(better) and not worse and rows[PLAIN]["interval"] is not None,
    }


def run_alone(name: str) -> dict[str, Any]:
    """F1 of shipped weights under each change, and its paired difference from patches as they are."""
    model = load_model(name)
    _, test = open_data(model.card["data"]["recipe"], model.bands, model.card["training"]["seed"], DATA)
    found = score_stretched(model, test, sizes=True)
    return {
        "images": len(test),
        "model_hash": model.model_hash,
        "rows": {
            change: {"f1": round(one.report["f1"], 4), "less plain": compare(one.confusions, found[PLAIN].confusions)}
            for change, one in found.items()
        },
    }


def run_odd(name: str) -> dict[str, Any]:
    """F1 of shipped weights on pictures that nobody should give them, and its paired difference from plain ones."""
    model = load_model(name)
    _, test = open_data(model.card["data"]["recipe"], model.bands, model.card["training"]["seed"], DATA)
    resize_px, threshold = model.card.get("resize_px"), float(model.card["threshold"])
    found = {
        change: score_maps(map_patches(model, change_patches(test, how), resize_px), threshold, objects=False)
        for change, how in ODD.items()
    }
    return {
        change: {"f1": round(one.report["f1"], 4), "less plain": compare(one.confusions, found[PLAIN].confusions)}
        for change, one in found.items()
    } | {"images": len(test)}


def run_quality(name: str) -> dict[str, Any]:
    """F1 of shipped weights and of logistic regression after each loss of quality; an unchanged scene with noise."""
    model = load_model(name)
    resize_px, training = model.card.get("resize_px"), model.card["training"]
    train, test = open_data(model.card["data"]["recipe"], model.bands, training["seed"], DATA)
    test = test.remember()
    shown = (train.resize(int(resize_px)) if resize_px else train).remember()
    rule = fit_logistic(shown, *split(shown, "seeded", training["held_share"], training["seed"]))
    plain, rows = None, {}
    for loss in (PLAIN, *list_losses()):
        worse = degrade_patches(test, loss)
        found = score_maps(map_patches(model, worse, resize_px), float(model.card["threshold"]), objects=False)
        plain = plain or found
        rows[loss] = {
            "f1": round(found.report["f1"], 4),
            "less plain": compare(found.confusions, plain.confusions),
            "logistic": round(score_simple(rule, worse, objects=False).report["f1"], 4),
        }
    held = model.card.get("steadiness")
    noisy = run_noisy(name, test) if resize_px is None else None
    return {"images": len(test), "model_hash": model.model_hash, "rows": rows, "held": held, "unchanged scene": noisy}


def run_noisy(name: str, patches: Patches, counts: tuple[float, ...] = (3.0, 10.0)) -> dict[str, dict[str, int]]:
    """Outlines that are new or grown where a clean scene is compared with a noisy one of the same ground, and back.

    The scene is a square of held-out patches. Noise is one in all bands (`grey`) or another in each.
    """
    rows = [np.concatenate([patches.read(MOSAIC * r + c).image for c in range(MOSAIC)], 2) for r in range(MOSAIC)]
    scene, found = np.concatenate(rows, 1).clip(1, 255), {}
    for noise, grey, first in itertools.product(counts, (True, False), (True, False)):
        drawn = np.random.default_rng(1).normal(0, noise, scene.shape[1:] if grey else scene.shape)
        worse = np.clip(np.rint(scene + drawn), 1, 255).astype(np.uint8)
        case = f"noise of {noise:g}{', grey' if grey else ''}, {'before' if first else 'after'}"
        found[case] = _compare_dates(name, *((worse, scene) if first else (scene, worse)))
    return found


def _compare_dates(name: str, *dates: np.ndarray) -> dict[str, int]:
    kept = []
    with tempfile.TemporaryDirectory() as folder:
        for number, bands in enumerate(dates):
            path = Path(folder) / f"{number}.tif"
            write_picture(path, bands, 10.0, acquired_at=f"2024-05-{6 + 10 * number:02}T00:00:00Z")
            try:
                answer = detect({"scene_path": str(path), "weights": name, "out_dir": f"{folder}/{number}"})
            except ImageryError:
                return {"refused": 1}
            kept.append(as_date(answer, path))
        words = compare_dates(kept[1], kept[:1]).changes.values()
    news = [one for one in words if one.change in {"new", "grown"}]
    silent = sum(one.caution is None for one in news)
    return {"outlines": len(words), "new or grown": len(news), "without a caution": silent}


def _find_weights(shipped: str, name: str, seed: int | None = None) -> Path:
    """The weights of a recipe: shipped, kept, or trained now; with `seed`, those of another seed than its own."""
    asked = read_recipe(find_recipe(name))
    if seed is None and (path := WEIGHTS_FOLDER / f"{name}.safetensors").exists():
        return path
    path = KEPT / f"{name}-{seed or asked.seed}-{digest(asked.text, load_model(shipped).model_hash)}.safetensors"
    if not path.exists():
        run_recipe(replace(asked, seed=seed or asked.seed), path, DATA, hooks=Hooks(resume=True))
    return path


def _add_seeds(
    rows: dict[str, Any], own: dict[int, dict[str, ScoringResult]], beside: dict[str, dict[str, ScoringResult]]
) -> None:
    """Add to each row what every seed scores, and how all of them, summed image by image, stand beside others."""
    for name in rows.keys() & set.intersection(*(set(found) for found in own.values())):
        f1 = {seed: round(found[name].report["f1"], 4) for seed, found in own.items()}
        total = np.sum([found[name].confusions for found in own.values()], axis=0)
        plain = np.sum([found[PLAIN].confusions for found in own.values()], axis=0)
        rows[name]["seeds"] = {
            "f1": f1,
            "median": statistics.median(f1.values()),
            "cost": compare(total, plain)["difference"],
            **{
                f"less {other}": {"all": compare(total, found[name].confusions)}
                | {seed: compare(one[name].confusions, found[name].confusions) for seed, one in own.items()}
                for other, found in beside.items()
                if name in found
            },
        }


def main() -> None:
    """Run, print and write docs/benchmarks/stretches.json."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PAIRS), help="names joined by commas")
    parser.add_argument("--alone", default="", help="names of shipped weights, joined by commas; nothing else is done")
    parser.add_argument("--odd", default="", help="names of shipped weights, joined by commas; nothing else is done")
    parser.add_argument(
        "--quality", default="", help="names of shipped weights, joined by commas; nothing else is done"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures = read_figures("stretches") or {}
    if given.alone:
        figures["alone"] = figures.get("alone", {}) | {name: run_alone(name) for name in given.alone.split(",")}
    elif given.odd:
        figures["odd"] = figures.get("odd", {}) | {name: run_odd(name) for name in given.odd.split(",")}
    elif given.quality:
        figures["quality"] = figures.get("quality", {}) | {name: run_quality(name) for name in given.quality.split(",")}
    else:
        figures |= {name: run(name, PAIRS[name]) for name in given.only.split(",")}
    modes = {"alone": given.alone, "odd": given.odd, "quality": given.quality}
    added = next((f"--{mode} {names}" for mode, names in modes.items() if names), "")
    print(record("stretches", "python -m tests.bench.imagery.bench_stretches", figures, added))


if __name__ == "__main__":
    main()

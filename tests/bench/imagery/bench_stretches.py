"""Weights beside others of the same data: held-out patches as they are, in other light, stretched, at other sizes.

    python -m tests.bench.imagery.bench_stretches [--only landslide4sense]

A recipe whose weights are not shipped is trained once into build/bench_stretches and kept for as long as neither it nor
the weights beside it change. It may be shipped where plain F1 is not worse and none of the others is, by the paired
interval over the images, and at least one is better. `cost` is what a change costs the recipe's own weights. On patches
as they are both stand beside logistic regression too.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from detection.imagery.data.catalogue import open_data
from detection.imagery.data.splits import split
from detection.imagery.neural.checkpoint import WEIGHTS_FOLDER, load_model
from detection.imagery.neural.learner import Hooks
from detection.imagery.training.recipe import run_recipe
from detection.imagery.training.recipe_file import find_recipe, read_recipe
from detection.imagery.training.scoring import compare
from detection.imagery.training.simple_maps import fit_logistic, score_simple
from detection.imagery.training.stability import PLAIN, score_stretched
from tests.bench.record import digest, read_figures, record

DATA = Path(os.environ.get("SLOPEWARD_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
KEPT = Path(__file__).resolve().parents[3] / "build" / "bench_stretches"
PAIRS = {"landslide4sense": "landslide4sense-standard", "bijie": "bijie-steady"}


def run(shipped: str, recipe: str) -> dict[str, Any]:
    """Train what is not there; F1 of both under each change, and their paired difference."""
    asked = read_recipe(find_recipe(recipe))
    path = WEIGHTS_FOLDER / f"{recipe}.safetensors"
    if not path.exists():
        path = KEPT / f"{recipe}-{digest(asked.text, load_model(shipped).model_hash)}.safetensors"
        if not path.exists():
            run_recipe(asked, path, DATA, hooks=Hooks(resume=True))
    models = load_model(shipped), load_model(str(path))
    card = models[0].card
    train, test = open_data(card["data"]["recipe"], models[0].bands, card["training"]["seed"], DATA)
    one, other = (score_stretched(model, test, sizes=True) for model in models)
    rows = {
        name: {
            shipped: round(one[name].report["f1"], 4), recipe: round(other[name].report["f1"], 4),
            **compare(other[name].confusions, one[name].confusions),
            "cost": compare(other[name].confusions, other[PLAIN].confusions)["difference"],
        }
        for name in one
    }  # fmt: skip
    if card.get("resize_px") is None:
        rule = fit_logistic(train, *split(train, "seeded", card["training"]["held_share"], card["training"]["seed"]))
        logistic = score_simple(rule, test, objects=False)
        rows[PLAIN] |= {"logistic": round(logistic.report["f1"], 4)} | {
            f"{name} less logistic": compare(found[PLAIN].confusions, logistic.confusions)
            for name, found in ((shipped, one), (recipe, other))
        }
    worse = [name for name, row in rows.items() if row["carries"] and row["difference"] < 0]
    better = [name for name, row in rows.items() if row["carries"] and row["difference"] > 0]
    return {
        "images": len(test), "cpu_s": models[1].card["training"]["cpu_s"], "rows": rows, "worse": worse,
        "better": better, "ship": bool(better) and not worse and rows[PLAIN]["interval"] is not None,
    }  # fmt: skip


def main() -> None:
    """Run, print and write docs/benchmarks/stretches.json."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PAIRS), help="names joined by commas")
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures = read_figures("stretches") or {}
    figures |= {name: run(name, PAIRS[name]) for name in given.only.split(",")}
    print(record("stretches", "python -m tests.bench.imagery.bench_stretches", figures))


if __name__ == "__main__":
    main()

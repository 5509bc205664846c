"""Shipped recipes trained as they are, against what they must reach: F1, mean IoU, processor seconds.

    python -m packages.lab.benchmarks.imagery.bench_recipes [--only bijie-short,generated-short]

Each is trained once into build/bench_recipes and kept, so that a second call only scores; remove a file to train it
again. Beside each: the index and logistic regression on the same patches, and beside SBConvU-Net the plain U-Net, with
the paired bootstrap over the test images. Nothing is ranked that its interval does not carry.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from detection.imagery.data.catalogue import open_data
from detection.imagery.neural.learner import Hooks
from detection.imagery.neural.model_file import load_model
from detection.imagery.training.evaluation import map_patches, score_weights
from detection.imagery.training.scoring import ScoringResult, compare, score_maps
from slopeward_lab.recipes.recipe_file import find_recipe, read_recipe
from slopeward_lab.recipes.run import run_recipe
from tests.bench.record import DATA, LAB_RESULTS, ROOT, parse_options

KEPT = ROOT / "build" / "bench_recipes"


@dataclass(frozen=True)
class Case:
    """One recipe and its bars; `training` replaces keys of the recipe."""

    recipe: str
    f1: float
    cpu_s: float
    miou: float | None = None
    training: dict[str, Any] = field(default_factory=dict)
    simple: bool = True
    beside: str | None = None


CASES = {
    "landslide4sense": Case("landslide4sense", 0.57, 180),
    "landslide4sense-sbconv": Case("landslide4sense-sbconv", 0.57, 550, beside="landslide4sense"),
    "bijie-short": Case("bijie", 0.65, 250, miou=0.70, training={"epochs": 18}),
    "generated-short": Case("generated", 0.90, 60, training={"epochs": 5}, simple=False),
}


def run(name: str) -> dict[str, Any]:
    """Train what is not there, and score it once on the test part."""
    case, path = CASES[name], KEPT / f"{name}.safetensors"
    if not path.exists():
        recipe = read_recipe(find_recipe(case.recipe))
        recipe = replace(recipe, training={**recipe.training, **case.training})
        run_recipe(recipe, path, DATA, hooks=Hooks(resume=True))
    card = load_model(str(path)).card
    report = score_weights(str(path), DATA, simple=case.simple, objects=False)
    cpu_s = card["training"]["cpu_s"]
    reached = report["f1"] >= case.f1 and (case.miou is None or report["miou"] >= case.miou)
    figures = {"network": card["network"], "epochs": len(card["history"]), "cpu_s": cpu_s}
    figures |= {"threshold": card["threshold"], "f1_interval": report["intervals"]["f1"], "images": report["images"]}
    figures |= {key: round(report[key], 4) for key in ("f1", "precision", "recall", "iou", "miou", "fwiou")}
    figures["bar"] = {"f1": case.f1, "miou": case.miou, "cpu_s": case.cpu_s}
    figures |= {"scores_reached": reached, "in_time": cpu_s <= case.cpu_s, "weights_sha256": card["weights_sha256"]}
    if case.simple:
        figures["simple"] = {kind: round(report["simple"][kind]["f1"], 4) for kind in ("index", "logistic")}
        figures["less_simple"] = report["simple"]["beside"]
    return figures


def score_kept(name: str) -> ScoringResult:
    """Counts image by image of kept weights."""
    model = load_model(str(KEPT / f"{name}.safetensors"))
    _, test = open_data(model.card["data"]["recipe"], model.bands, int(model.card["training"]["seed"]), DATA)
    return score_maps(map_patches(model, test, model.card.get("resize_px")), model.card["threshold"], objects=False)


def main() -> None:
    """Train, score and store the result `recipes`."""
    import torch

    given = parse_options(__doc__, only=",".join(CASES))
    torch.set_num_threads(1)
    figures: dict[str, Any] = {}
    for name in given.only.split(","):
        figures[name] = run(name)
        print(name, figures[name])
        other = CASES[name].beside
        if other and (KEPT / f"{other}.safetensors").exists():
            figures[name][f"less_{other}"] = compare(score_kept(name).confusions, score_kept(other).confusions)
            print(f"{name} less {other}:", figures[name][f"less_{other}"])
    print(LAB_RESULTS.store("recipes", "python -m packages.lab.benchmarks.imagery.bench_recipes", figures))


if __name__ == "__main__":
    main()

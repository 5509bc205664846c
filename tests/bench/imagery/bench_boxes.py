"""CenterNet beside the boxes of the footprints, on the pictures of Bijie that nobody was trained on.

    python -m tests.bench.imagery.bench_boxes [--seeds 20] [--epochs 30]

Boxes are drawn around what the masks show. Both networks see the same split by image: the detector is fitted on the
pictures that the shipped weights `bijie` were fitted on, its epoch is chosen on the same held ones, and it begins from
their encoder (`--fresh`: from nothing). The 50 pictures of the validation part are scored once: AP at an overlap of one
half, in native pixels, with intervals over the images. A run that was stopped goes on (build/bench_boxes).
"""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from detection.imagery.data.boxes import box_map, compare_boxes, find_boxes, match
from detection.imagery.data.catalogue import open_data
from detection.imagery.data.splits import split
from detection.imagery.neural.box_training import match_patches, train_boxes
from detection.imagery.neural.checkpoint import load_model, save_model
from detection.imagery.neural.learner import Hooks, Settings
from detection.imagery.training.evaluation import map_patches
from detection.imagery.training.model_card import read_normalisation
from tests.bench.record import record

DATA = Path(os.environ.get("SLOPEWARD_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
KEPT = Path(__file__).resolve().parents[3] / "build" / "bench_boxes"


def main() -> None:
    """Train what is not there, score it and keep docs/benchmarks/boxes.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="20")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--fresh", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    begun = load_model("bijie")
    card = begun.card
    native, test = open_data(card["data"]["recipe"], begun.bands, int(card["training"]["seed"]), DATA)
    test, size_px, threshold = test.remember(), int(card["resize_px"]), float(card["threshold"])
    train = native.resize(size_px).remember()
    normalisation = read_normalisation(card)
    footprints = [
        match(box_map(probabilities, threshold), find_boxes(mask))
        for _, probabilities, mask in map_patches(begun, test, size_px)
    ]
    figures: dict[str, Any] = {
        "unit": "AP at an overlap of one half with 95 % intervals over the images; boxes of 9 px and more",
        "images": len(test), "boxes": sum(one[1] for one in footprints), "weights_sha256": card["weights_sha256"],
        "runs": {},
    }  # fmt: skip
    for seed in (int(one) for one in given.seeds.split(",")):
        name = f"{'fresh' if given.fresh else 'begun'}-{given.epochs}-{seed}"
        # the split of the weights that it begins from, whatever the seed of its own heads and batches
        settings = Settings(
            seed=seed, network="centernet", width=0.25, epochs=given.epochs, brightness=(0.7, 1.4), shift=0.04,
            learning_rate=2e-3 if given.fresh else 1e-3,
        )  # fmt: skip
        path = KEPT / f"{name}.json"
        if not path.exists():
            parts = split(train, *(card["training"][key] for key in ("split", "held_share", "seed")))
            hooks = Hooks(
                on_progress=lambda p: None if p.held_score is None else print(p.epoch, p.held_score, flush=True),
                place=path.with_suffix(".place"), resume=True,
            )  # fmt: skip
            trained = train_boxes(train, settings, hooks, None if given.fresh else begun.network, normalisation, parts)
            matched = match_patches(trained.network, test, normalisation, size_px)
            save_model(KEPT / f"{name}-weights.safetensors", trained.network, {
                "name": "bijie-boxes", "network": {"name": "centernet", "classes": 2, "width": 0.25, "options": {}},
                "bands": list(begun.bands), "radiometry": card["radiometry"], "normalisation": card["normalisation"],
                "threshold": trained.threshold,
            })  # fmt: skip
            path.with_suffix(".part").write_text(json.dumps({
                "matched": matched, "best_epoch": trained.best_epoch, "held_ap50": trained.held_f1,
                "cpu_s": round(trained.cpu_s, 1), "threshold": trained.threshold, "history": trained.history,
                "parameters": sum(p.numel() for p in trained.network.parameters()),
                "settings": {k: v for k, v in asdict(settings).items() if k in {"epochs", "learning_rate", "batch"}},
            }))  # fmt: skip
            path.with_suffix(".part").replace(path)
            path.with_suffix(".place").unlink(missing_ok=True)
        run = json.loads(path.read_text())
        matched = [([tuple(pair) for pair in pairs], truths) for pairs, truths in run.pop("matched")]
        run.pop("history")
        beside = compare_boxes(matched, footprints)
        figures["footprints"] = beside.pop("other")
        figures["runs"][name] = {
            "centernet": beside.pop("one"),
            "less_footprints": beside,
            "width": settings.width,
            **run,
        }
        print(name, json.dumps(figures["runs"][name]), json.dumps(figures["footprints"]), flush=True)
    print(record("boxes", "python -m tests.bench.imagery.bench_boxes", figures))


if __name__ == "__main__":
    main()

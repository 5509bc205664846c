"""What lifts small landslides without training anew: more views of a patch, larger pictures, a lower threshold.

    python -m tests.bench.imagery.bench_small [--weights landslide4sense]

The shipped network of the Landslide4Sense pictures. Every way of looking has the threshold of best pixel F1 on the held
part of train; the validation part is scored once with each. Small are landslides below 10 px. Differences to the plain
look are told with the paired bootstrap over the images: recall of small landslides, and F1 of the pixels.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detection.imagery.data.catalogue import open_data
from detection.imagery.data.metrics import count
from detection.imagery.data.patches import Patches, as_values, resize_bands
from detection.imagery.data.splits import split_held
from detection.imagery.neural.calibration import choose_threshold
from detection.imagery.neural.checkpoint import SegmentationModel, load_model
from detection.imagery.training.objects import LABELS, ObjectCount
from tests.bench.record import record

DATA = Path(os.environ.get("SLOPEWARD_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
SMALL, DRAWS = LABELS[0], 1000
Look = Callable[[torch.nn.Module, NDArray[np.float32]], NDArray[np.float32]]


def plain(network: torch.nn.Module, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log odds H x W of a normalised image, as it is."""
    with torch.inference_mode():
        logits = network(torch.from_numpy(np.ascontiguousarray(image[None])))[0]
        return np.asarray((logits[1] - logits[0]).numpy())


def eight_views(network: torch.nn.Module, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of the log odds over the four turns and their mirror images."""
    total = np.zeros(image.shape[1:], np.float32)
    for turns in range(4):
        for mirrored in (False, True):
            seen = np.rot90(image[:, :, ::-1] if mirrored else image, turns, (1, 2))
            odds = np.rot90(plain(network, seen), -turns)
            total += odds[:, ::-1] if mirrored else odds
    return total / 8


def twice(network: torch.nn.Module, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The image at twice the size, the answer averaged back."""
    height, width = image.shape[1:]
    odds = plain(network, resize_bands(image, (2 * height, 2 * width)))
    return np.asarray(odds.reshape(height, 2, width, 2).mean(axis=(1, 3)))


LOOKS: dict[str, Look] = {"plain": plain, "eight views": eight_views, "twice the size": twice}


def look(
    model: SegmentationModel, patches: Patches, how: Look
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Calibrated log odds and truth of every patch."""
    mean, std = (np.array(model.card["normalisation"][key], np.float32)[:, None, None] for key in ("mean", "std"))
    for patch in patches:
        odds = how(model.network, (as_values(patch.image) - mean) / std) / np.float32(model.card["temperature"])
        yield odds.astype(np.float32), patch.mask == 1


def tally(found: list[tuple[NDArray[np.float32], NDArray[np.bool_]]], threshold: float) -> NDArray[np.int64]:
    """Per image: tp, fp, fn of pixels; small landslides, those covered by half; small outlines, those right."""
    rows = []
    for odds, truth in found:
        probability = 1 / (1 + np.exp(-np.clip(odds, -60, 60)))
        predicted, things = probability >= threshold, ObjectCount()
        pixels = count(predicted, truth, np.ones_like(truth))
        things.add(probability, predicted, truth)
        covered, right = things.found.get(("covered_half", SMALL), 0), things.right.get(("iou_0.1", SMALL), 0)
        rows.append((pixels.tp, pixels.fp, pixels.fn, things.truths[SMALL], covered, things.predicted[SMALL], right))
    return np.array(rows, np.int64)


def scores(counts: NDArray[np.int64]) -> dict[str, Any]:
    """Pixel F1, recall and precision of small things of n x 7 counts."""
    tp, fp, fn, truths, covered, outlines, right = (counts[..., k].astype(np.float64) for k in range(7))
    return {"f1": 2 * tp / (2 * tp + fp + fn), "small_recall": covered / truths, "small_precision": right / outlines}


def compare(one: NDArray[np.int64], other: NDArray[np.int64]) -> dict[str, list[float]]:
    """Differences with 95 % intervals, paired over images."""
    weights = np.random.default_rng(0).multinomial(len(one), np.full(len(one), 1 / len(one)), size=DRAWS)
    drawn = [scores(weights @ counts) for counts in (one, other)]
    return {
        name: [round(float(q), 4) for q in np.quantile(drawn[0][name] - drawn[1][name], [0.025, 0.5, 0.975])]
        for name in drawn[0]
    }


def main() -> None:
    """Measure and write docs/benchmarks/small.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="landslide4sense")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(given.weights)
    card = model.card
    train, test = open_data(card["data"]["recipe"], model.bands, int(card["training"]["seed"]), DATA)
    _, positions = split_held(len(train), card["training"]["held_share"], card["training"]["seed"])
    held, test = train.take(positions).remember(), test.remember()
    figures: dict[str, Any] = {"weights_sha256": card["weights_sha256"], "images": len(test)}
    kept: dict[str, NDArray[np.int64]] = {}
    for name, how in LOOKS.items():
        begun = time.process_time()
        threshold, held_f1 = choose_threshold((odds.ravel(), truth.ravel()) for odds, truth in look(model, held, how))
        found = list(look(model, test, how))
        cost = round(time.process_time() - begun, 1)
        # a threshold that gives up half of what the best one asks for: what more small landslides cost
        for word, at in ((name, threshold), (f"{name}, half the threshold", threshold / 2)):
            kept[word] = tally(found, at)
            pooled = kept[word].sum(axis=0)
            figures[word] = {
                "threshold": at,
                "held_f1": round(held_f1, 4),
                "cpu_s": cost,
                **{key: round(float(value), 4) for key, value in scores(pooled).items()},
                "small_landslides": int(pooled[3]),
                "small_outlines": int(pooled[5]),
            }
            if word != "plain":
                figures[word]["less_plain"] = compare(kept[word], kept["plain"])
            print(word, figures[word], flush=True)
    print(record("small", "python -m tests.bench.imagery.bench_small", figures))


if __name__ == "__main__":
    main()

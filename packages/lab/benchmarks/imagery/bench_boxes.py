"""Boxes and outlines of single landslides by shipped weights, on patches that no training read.

    python -m packages.lab.benchmarks.imagery.bench_boxes

An instance is a connected component of the map at the threshold of the card, a landslide one of the mask, each of 9
pixels and more. A match has an intersection over union of at least 0.5. The intervals are over patches.
"""

import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.data.catalogue import open_data
from detection.imagery.neural.model_file import load_model
from detection.imagery.raster.components import EIGHT, outline_pixels
from detection.imagery.training.evaluation import map_patches
from slopeward_lab.instances.boxes import Shapes, compute_iou, match_instances, summarise_matches
from tests.bench.record import DATA, LAB_RESULTS, parse_options

COMMAND = "python -m packages.lab.benchmarks.imagery.bench_boxes"
LEAST_PX = 9
DRAWS = 1000
Matched = tuple[list[tuple[float, bool]], int]
"""Instances of a patch by falling score, whether each matches, and the number of landslides."""


def list_components(mask: NDArray[np.bool_]) -> tuple[list[NDArray[np.bool_]], Shapes]:
    """Return the pixels and the outlines of the connected components of a mask."""
    labels, count = ndimage.label(mask, EIGHT)
    found = [labels == number for number in range(1, count + 1)]
    found = [pixels for pixels in found if np.count_nonzero(pixels) >= LEAST_PX]
    outlines = np.empty(len(found), object)
    for number, pixels in enumerate(found):
        outlines[number] = shapely.union_all(outline_pixels(pixels))
    return found, outlines


def draw_boxes(outlines: Shapes) -> Shapes:
    """Return the bounding boxes of outlines."""
    return shapely.box(*shapely.bounds(outlines).T) if outlines.size else outlines


def match_patch(probabilities: NDArray[np.floating], mask: NDArray[np.uint8], threshold: float) -> tuple[Matched, ...]:
    """Return the matches of boxes and of outlines of a patch."""
    found, outlines = list_components(probabilities >= threshold)
    _, known = list_components(mask == 1)
    scores = [float(probabilities[pixels].mean()) for pixels in found]
    boxes_iou = compute_iou(draw_boxes(outlines), draw_boxes(known))
    outlines_iou = compute_iou(outlines, known)
    return tuple((match_instances(scores, iou), len(known)) for iou in (boxes_iou, outlines_iou))


def score(patches: list[Matched]) -> dict[str, object]:
    """Return the score of all patches, and the 95 % interval of the average precision over patches."""

    def pool(chosen: list[Matched]):
        ranked = [pair for pairs, _ in chosen for pair in pairs]
        return summarise_matches(ranked, sum(count for _, count in chosen))

    rng = np.random.default_rng(0)
    draws = (rng.integers(0, len(patches), len(patches)) for _ in range(DRAWS))
    drawn = [pool([patches[number] for number in numbers])["average_precision"] or 0.0 for numbers in draws]
    low, high = (round(float(value), 4) for value in np.quantile(drawn, [0.025, 0.975]))
    values = {name: value if value is None else round(value, 4) for name, value in pool(patches).items()}
    return {**values, "interval": [low, high]}


def main() -> None:
    """Score the weights and store the result `boxes`."""
    parse_options(__doc__)
    torch.set_num_threads(1)
    figures = {}
    for weights in ("bijie", "landslide4sense", "landslide4sense-standard"):
        model = load_model(weights)
        card = model.card
        _, test = open_data(card["data"]["recipe"], model.bands, int(card["training"]["seed"]), DATA)
        maps = map_patches(model, test, card.get("resize_px"))
        matches = [match_patch(probabilities, mask, float(card["threshold"])) for _, probabilities, mask in maps]
        boxes, outlines = ([pair[place] for pair in matches] for place in (0, 1))
        figures[weights] = {
            "patches": len(matches),
            "landslides": sum(count for _, count in boxes),
            "instances": sum(len(ranked) for ranked, _ in boxes),
            "boxes": score(boxes),
            "outlines": score(outlines),
        }
        print(weights, figures[weights], flush=True)
    print(LAB_RESULTS.store("boxes", COMMAND, figures))


if __name__ == "__main__":
    main()

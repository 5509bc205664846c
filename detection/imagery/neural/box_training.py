"""Training of a network that draws boxes: the epoch is chosen by the boxes of held patches."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from detection.imagery.data.boxes import Box, Matched, ap50, find_boxes, match
from detection.imagery.data.patches import Patches, as_values
from detection.imagery.data.splits import Parts, split
from detection.imagery.errors import RecipeError
from detection.imagery.neural.centres import centre_loss, read_boxes
from detection.imagery.neural.learner import Hooks, Learner, Normalisation, Settings
from detection.imagery.neural.training import Trained, measure_statistics
from detection.imagery.registry import build

THRESHOLDS = np.round(np.arange(2, 19) * 0.05, 4)


def train_boxes(
    patches: Patches,
    settings: Settings,
    hooks: Hooks | None = None,
    begun: torch.nn.Module | None = None,
    normalisation: Normalisation | None = None,
    parts: Parts | None = None,
) -> Trained:
    """Train on boxes drawn around what the masks show; the network is that of the epoch of best held AP50.

    Args:
        patches: the train part, of one size.
        settings: how; the loss is that of CenterNet.
        hooks: progress, stop and resume.
        begun: a map network whose encoder is gone on with; the heads are fresh. All is when None.
        normalisation: mean and std per band of this; measured on the fit part when None.
        parts: positions fitted and held; by `settings.split` when None.
    """
    fit, held = parts or split(patches, settings.split, settings.held_share, settings.seed)
    mean, std, value_range, share = measure_statistics(patches, fit)
    mean, std = normalisation or (mean, std)
    kept = patches.take(held)
    network = None
    if begun is not None:
        torch.manual_seed(settings.seed)
        network = build(settings.network, len(patches.bands), 2, settings.width, **settings.options)
        begin_from(network, begun)

    def judge(network: torch.nn.Module) -> tuple[float, float]:
        matched = match_patches(network, kept, (mean, std))
        return ap50(matched) or 0.0, choose_score(matched)

    learner = Learner(patches, fit, settings, (mean, std), share, judge, network, centre_loss)
    learner.run(hooks or Hooks())
    assert learner.best is not None
    score, epoch, threshold, state = learner.best
    learner.network.load_state_dict(state)
    return Trained.of(learner, held, value_range, threshold, score, epoch)


def predict_boxes(
    network: torch.nn.Module, patches: Patches, normalisation: Normalisation, resize_px: int | None = None
) -> Iterator[list[tuple[float, Box]]]:
    """Scores and boxes of each patch, in its own pixels; the network sees squares of `resize_px` where given."""
    mean, std = (values[:, None, None] for values in normalisation)
    network.eval()
    for position, patch in enumerate(patches.resize(resize_px) if resize_px else patches):
        seen = (as_values(patch.image) - mean) / std
        with torch.inference_mode():
            answer = network(torch.from_numpy(seen[None]))[0]
        height, width = patch.mask.shape
        found = read_boxes(answer, height, width)
        if resize_px:
            rows, columns = patches.read(position).mask.shape
            x, y = columns / width, rows / height
            found = [(score, (b[0] * x, b[1] * y, b[2] * x, b[3] * y)) for score, b in found]
        yield found


def match_patches(
    network: torch.nn.Module, patches: Patches, normalisation: Normalisation, resize_px: int | None = None
) -> list[Matched]:
    """Boxes of each patch beside those of its mask."""
    found = predict_boxes(network, patches, normalisation, resize_px)
    return [match(boxes, find_boxes(patch.mask)) for boxes, patch in zip(found, patches, strict=True)]


def evaluate_boxes(trained: Trained, patches: Patches, resize_px: int | None = None) -> dict[str, Any]:
    """AP at an overlap of one half, and the share of boxes found and right at the chosen score, on unseen patches."""
    matched = match_patches(trained.network, patches, trained.normalisation, resize_px)
    shown = [hit for pairs, _ in matched for score, hit in pairs if score >= trained.threshold]
    truths = sum(one[1] for one in matched)
    return {
        "ap50": ap50(matched), "recall": sum(shown) / truths if truths else None,
        "precision": sum(shown) / len(shown) if shown else None, "boxes": truths,
    }  # fmt: skip


def choose_score(matched: list[Matched]) -> float:
    """Choose the score from which a box is shown: that of the best F1 on held patches.

    >>> choose_score([([(0.9, True), (0.2, False)], 1)])
    0.25
    """
    truths = sum(one[1] for one in matched)
    pairs = [pair for one in matched for pair in one[0]]

    def f1(threshold: float) -> float:
        shown = [hit for score, hit in pairs if score >= threshold]
        return 2 * sum(shown) / max(len(shown) + truths, 1)

    return float(max(THRESHOLDS, key=f1))


def begin_from(network: torch.nn.Module, begun: torch.nn.Module) -> int:
    """Take over the weights of a map network that have the same names and shapes; returns how many.

    Raises:
        RecipeError: there are none: it is another network, or of another width.
    """
    own, other = network.state_dict(), begun.state_dict()
    same = {name: other[name] for name, value in own.items() if name in other and other[name].shape == value.shape}
    if not same:
        raise RecipeError("start: these weights are no unet of the same width, whose encoder could be gone on with")
    network.load_state_dict(own | same)
    return len(same)

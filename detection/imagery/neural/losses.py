"""Loss functions for landslides, a rare class of about 4 % of the pixels. A recipe names a sum, such as `ce+dice`."""

from collections.abc import Callable

import torch
from torch.nn import functional

from detection.imagery.data.patches import IGNORED
from detection.imagery.errors import TrainingRecipeError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
SMOOTH = 1.0
FOCAL_EXPONENT = 2.0
# Weights of false alarms and misses in the Tversky loss.
FALSE_ALARM_WEIGHT = 0.3
MISS_WEIGHT = 0.7
# Steps of the soft skeleton. Shapes wider than twice as many pixels are not thinned to their middle line.
THINNINGS = 4
TERMS = ("ce", "weighted-ce", "focal", "dice", "tversky", "cldice")


def make_loss(terms: str, landslide_share: float = 0.5) -> Loss:
    """Return the sum of the named terms.

    Args:
        terms: names joined by `+`: `ce`; `weighted-ce` (weights are the inverse of the root of the share of a class);
            `focal` (Lin et al. 2017, exponent 2); `dice` (Milletari et al. 2016, over the batch, smooth 1);
            `tversky` (Salehi et al. 2017, weights 0.7 for misses and 0.3 for false alarms); `cldice` (Shit et al. 2021,
            dice of middle lines, for thin shapes).
        landslide_share: share of landslide pixels in the fit part, for `weighted-ce`.

    Raises:
        TrainingRecipeError: an unknown term.
    """
    names = terms.split("+")
    if unknown := [name for name in names if name not in TERMS]:
        raise TrainingRecipeError(f"unknown loss {unknown[0]!r}; known: {', '.join(TERMS)}, added up with +")
    share = min(max(landslide_share, 1e-4), 1 - 1e-4)
    weights = torch.tensor([(1 - share) ** -0.5, share**-0.5])
    weights = weights / weights.mean()

    def loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        return torch.stack([_compute_term(name, logits, truth, weights) for name in names]).sum()

    return loss


def _compute_term(name: str, logits: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    if name == "ce":
        return functional.cross_entropy(logits, truth, ignore_index=IGNORED)
    if name == "weighted-ce":
        return functional.cross_entropy(logits, truth, weight=weights.to(logits), ignore_index=IGNORED)
    if name == "focal":
        each = functional.cross_entropy(logits, truth, ignore_index=IGNORED, reduction="none")
        known_count = (truth != IGNORED).sum().clamp_min(1)
        return ((1 - torch.exp(-each)) ** FOCAL_EXPONENT * each).sum() / known_count
    known_pixels = (truth != IGNORED).to(logits.dtype)
    probability = logits.softmax(dim=1)[:, 1] * known_pixels
    target = (truth == 1).to(logits.dtype)
    if name == "cldice":
        lines, true_lines = (_thin(part * known_pixels) for part in (probability, target))
        precision = ((lines * target).sum() + SMOOTH) / (lines.sum() + SMOOTH)
        recall = ((true_lines * probability).sum() + SMOOTH) / (true_lines.sum() + SMOOTH)
        return 1 - 2 * precision * recall / (precision + recall)
    hits = (probability * target).sum()
    if name == "dice":
        return 1 - (2 * hits + SMOOTH) / (probability.sum() + target.sum() + SMOOTH)
    false_alarms = probability.sum() - hits
    misses = target.sum() - hits
    return 1 - (hits + SMOOTH) / (hits + FALSE_ALARM_WEIGHT * false_alarms + MISS_WEIGHT * misses + SMOOTH)


def _thin(shares: torch.Tensor) -> torch.Tensor:
    """Return the soft skeleton of shares N x H x W (Shit et al. 2021)."""

    def erode(values: torch.Tensor) -> torch.Tensor:
        down, across = (
            -functional.max_pool2d(-values, side, 1, (side[0] // 2, side[1] // 2)) for side in ((3, 1), (1, 3))
        )
        return torch.minimum(down, across)

    values = shares[:, None]
    lines = torch.zeros_like(values)
    for _ in range(THINNINGS):
        narrower = erode(values)
        ridge = functional.relu(values - functional.max_pool2d(narrower, 3, 1, 1))
        lines = lines + functional.relu(ridge - lines * ridge)
        values = narrower
    return lines[:, 0]


def log_odds(logits: torch.Tensor) -> torch.Tensor:
    """Return the log odds N x H x W of landslide against all other classes from logits N x C x H x W."""
    return logits[:, 1] - torch.cat([logits[:, :1], logits[:, 2:]], dim=1).logsumexp(dim=1)

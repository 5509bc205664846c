"""Whether a network of one's own is worth using: beside logistic regression and maps that learn nothing, by blocks."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.training.scoring import bootstrap, compare, pool_blocks
from detection.imagery.weights_file import WeightsGate
from slopeward_lab.learning.blocks import LEAST_BLOCKS

NOT_WORSE: Final = 0.05
"""F1 may lie this much below that of logistic regression, at the lower end of the interval."""
BETTER, AS_GOOD, WORSE, TRIVIAL, UNSAID = "better", "as good", "worse", "trivial", "cannot be said"


@dataclass(frozen=True, slots=True)
class HeldOutCounts:
    """What maps found on the tiles that were left out: tiles x (tp, fp, fn, tn), and the block of each tile."""

    network: NDArray[np.int64]
    logistic: NDArray[np.int64]
    index: NDArray[np.int64]
    blocks: NDArray[np.int64]


def compare_maps(tried: HeldOutCounts, seed: int = 0) -> WeightsGate:
    """Compare a network with the simple maps, drawing whole blocks.

    `passed` says whether a detector may load it at all, `put_to_use` whether it may be put to use: "as good" makes a
    candidate, to be tried beside what is in use. A network that is equal to logistic regression comes out as good in
    one case of two (drawn cases, eight blocks); as better in less than one of ten.

    It passes when its F1 lies above that of logistic regression (lower end of the interval above 0), or at most .05
    below (lower end), and in either case above that of maps that learn nothing: all is landslide, red less green.
    Of fewer than `LEAST_BLOCKS` blocks that hold landslides nothing can be said: an interval drawn from them is too
    narrow. Such a network is not offered.
    """
    network, logistic, index = (pool_blocks(one, tried.blocks) for one in (tried.network, tried.logistic, tried.index))
    everything = np.stack([network[:, 0] + network[:, 2], network[:, 1] + network[:, 3]], axis=1)
    everything = np.concatenate([everything, np.zeros_like(everything)], axis=1)
    maps = {"network": network, "logistic": logistic, "index": index, "everything": everything}
    sums = {name: counts.sum(axis=0)[:3] for name, counts in maps.items()}
    f1 = {name: float(2 * tp / max(1, 2 * tp + fp + fn)) for name, (tp, fp, fn) in sums.items()}
    idle = "index" if f1["index"] >= f1["everything"] else "everything"
    less_logistic = compare(network, logistic, seed)
    less_idle = compare(network, index if idle == "index" else everything, seed)
    holding = int((network[:, 0] + network[:, 2] > 0).sum())
    enough = holding >= LEAST_BLOCKS
    verdict = _decide(less_logistic["interval"], less_idle["interval"]) if enough else UNSAID
    figures = {name: f"{value:.3f}" for name, value in f1.items()}
    return {
        "passed": verdict in {BETTER, AS_GOOD},
        "put_to_use": verdict == BETTER,
        "verdict": verdict,
        "reasons": [_TEXTS[verdict].format(holding=holding, least=LEAST_BLOCKS, **figures)],
        "f1": {name: round(value, 4) for name, value in f1.items()},
        "interval": bootstrap(network, seed)["f1"],
        "less_logistic": less_logistic,
        "less_idle": {"map": idle, **less_idle},
        "blocks": len(network),
        "blocks_with_landslides": holding,
        "tiles": len(tried.blocks),
    }


_TEXTS: Final = {
    BETTER: "the network marks landslides better than logistic regression (F1 {network} against {logistic})",
    AS_GOOD: "the network is no worse than logistic regression by more than .05, and not shown to be better (F1 "
    "{network} against {logistic}): it is a candidate to try, not to put to use; outline in more places",
    WORSE: "the network is not shown to be as good as logistic regression (F1 {network} against {logistic}): it is not "
    "offered; outline more, or stay with what is in use",
    TRIVIAL: "the network is not shown to be better than a map that learns nothing (F1 {network}; all is landslide "
    "{everything}, red less green {index}): it is not offered; outline more, and check the outlines",
    UNSAID: "whether the network is good enough cannot be said: {holding} of the images or blocks that were left out "
    "hold landslides, and {least} are needed (F1 {network} against {logistic}): it is not offered; "
    "outline in more places",
}


def _decide(less_logistic: list[float] | None, less_idle: list[float] | None) -> str:
    if less_idle is None or less_idle[0] <= 0:
        return TRIVIAL
    if less_logistic is None or less_logistic[0] <= -NOT_WORSE:
        return WORSE
    return BETTER if less_logistic[0] > 0 else AS_GOOD

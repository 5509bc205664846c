"""Integrated gradients along the way from the usual window to the one seen (Sundararajan et al. 2017)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from forecasting.data.series import Floats

COMPLETENESS = 0.01
NOTHING = 1e-9  # differences up to this count as none
NODES = (16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class Attribution:
    """What each input adds on the way from the baseline to the window."""

    parts: tuple[Floats, ...]  # one array per input, of its shape; they add up to `difference`
    difference: float  # answer at the window minus answer at the baseline
    completeness_error: float  # |sum of parts - difference| / |difference|; the absolute error where nothing differs
    complete: bool  # whether that is below 1 %; where it is not, the parts must not be read


def integrate(answer: Callable[..., Tensor], inputs: Sequence[Tensor], baselines: Sequence[Tensor]) -> Attribution:
    """Integrate the gradient by Gauss-Legendre, with more nodes until the parts add up within 1 %.

    Args:
        answer: Takes batches (K, ...) of every input, gives (K,).
        baselines: The same shapes.
    """
    gaps = [end - start for end, start in zip(inputs, baselines, strict=True)]
    with torch.no_grad():
        ends, starts = ([part.unsqueeze(0) for part in some] for some in (inputs, baselines))
        difference = float(answer(*ends)[0] - answer(*starts)[0])
    parts: list[Tensor] = []
    error = float("inf")
    for count in NODES:
        places, weights = np.polynomial.legendre.leggauss(count)
        along, share = torch.from_numpy((places + 1.0) / 2.0), torch.from_numpy(weights / 2.0)
        points = [
            (start.unsqueeze(0) + along.reshape(-1, *[1] * gap.ndim) * gap).requires_grad_()
            for start, gap in zip(baselines, gaps, strict=True)
        ]
        slopes = torch.autograd.grad(answer(*points).sum(), points, allow_unused=True)
        parts = [
            torch.zeros_like(gap) if slope is None else gap * torch.tensordot(share, slope, dims=1)
            for gap, slope in zip(gaps, slopes, strict=True)
        ]
        missed = abs(float(sum(part.sum() for part in parts)) - difference)
        error = missed / abs(difference) if abs(difference) > NOTHING else missed
        if error < COMPLETENESS:
            break
    return Attribution(tuple(part.numpy() for part in parts), difference, error, error < COMPLETENESS)

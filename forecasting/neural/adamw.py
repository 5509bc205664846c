"""AdamW (Loshchilov and Hutter 2019) by the function of torch, with the same steps as `torch.optim.AdamW`.

The first object of `torch.optim.AdamW` loads the compiler of torch, which takes a second and 100 MB in each training.
"""

from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor
from torch.optim.adamw import adamw

BETAS: Final = (0.9, 0.999)
EPSILON: Final = 1e-8


class AdamW:
    """Optimiser with decoupled weight decay.

    Args:
        weights: Weights to train.
        rate: Learning rate.
        decay: Weight decay. A step reduces each weight by this share times the rate.
    """

    def __init__(self, weights: Iterable[Tensor], rate: float, decay: float = 0.01) -> None:
        self._weights = list(weights)
        self._rate = rate
        self._decay = decay
        # mean and square of the gradient, and number of steps, by number of the weight
        self._state: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def zero_grad(self) -> None:
        """Delete the gradients."""
        for weight in self._weights:
            weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update every weight that has a gradient."""
        numbers = [i for i, weight in enumerate(self._weights) if weight.grad is not None]
        if not numbers:
            return
        for i in numbers:
            if i not in self._state:
                mean = torch.zeros_like(self._weights[i], memory_format=torch.preserve_format)
                square = torch.zeros_like(self._weights[i], memory_format=torch.preserve_format)
                self._state[i] = (mean, square, torch.tensor(0.0))
        gradients = [self._weights[i].grad for i in numbers]
        adamw(
            [self._weights[i] for i in numbers],
            [gradient for gradient in gradients if gradient is not None],
            [self._state[i][0] for i in numbers],
            [self._state[i][1] for i in numbers],
            [],
            [self._state[i][2] for i in numbers],
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self._rate,
            weight_decay=self._decay,
            eps=EPSILON,
            maximize=False,
        )

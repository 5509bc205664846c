"""One training loop and one scoring loop for all autoencoders; single-threaded and reproducible by seed."""

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from detection.anomaly.registry import load_network
from detection.anomaly.stages import Array

WIDTH: Final = 30
LAST: Final = 3
# A residual beyond this says the same to a network; unbounded ones would own the loss.
CLIP: Final = 20.0
MAX_WINDOWS: Final = 8000
Weights = dict[str, NDArray[np.float32]]


def train_network(
    name: str, windows: tuple[Array, Array], watch: tuple[Array, Array], seed: int, epochs: int = 30, patience: int = 4
) -> tuple[Weights, dict[str, Any]]:
    """Fit an autoencoder on windows of scaled residuals.

    Args:
        windows: values and masks (k, width) to learn from.
        watch: values and masks to stop on; taken from the training part, never from what sets the threshold.
        patience: epochs without gain before stopping.

    Returns weights and what happened (epochs, losses, parameter count).
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = load_network(name)()
        order = torch.Generator().manual_seed(seed)
        optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-3)
        values, mask = _tensors(windows, thin=MAX_WINDOWS)
        seen = _tensors(watch, thin=MAX_WINDOWS // 4)
        best, best_loss, since, ran = _copy(network), float("inf"), 0, 0
        while ran < epochs and since < patience:
            ran += 1
            network.train()
            for batch in torch.split(torch.randperm(len(values), generator=order), 128):
                optimiser.zero_grad()
                torch.autograd.backward(_loss(network, values[batch], mask[batch]))
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimiser.step()
            network.eval()
            with torch.no_grad():
                loss = float(_loss(network, *seen))
            if loss < best_loss * 0.999:
                best, best_loss, since = _copy(network), loss, 0
            else:
                since += 1
    count = sum(p.numel() for p in network.parameters())
    return best, {"epochs": ran, "watch_loss": best_loss, "parameters": count, "torch": str(torch.__version__)}


def score_network(name: str, weights: Weights, windows: tuple[Array, Array]) -> Array:
    """Largest reconstruction error of the newest three cells of each window, in robust scales.

    Returns shape (k,) for windows of shape (k, width).
    """
    torch.set_num_threads(1)
    network = load_network(name)()
    network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in weights.items()})
    network.eval()
    values, mask = _tensors(windows)
    out = np.zeros(len(values))
    with torch.no_grad():
        for first in range(0, len(values), 4096):
            part = slice(first, first + 4096)
            error = (network(values[part], mask[part]) - values[part]).abs() * mask[part]
            out[part] = error[:, -LAST:].amax(dim=1).double().numpy()
    return out


def _loss(network: Any, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    out = network(values, mask)
    error = torch.nn.functional.smooth_l1_loss(out, values, reduction="none")
    fit = (error * mask).sum() / mask.sum().clamp(min=1.0)
    return fit + getattr(network, "penalty", 0.0)


def _tensors(windows: tuple[Array, Array], thin: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    values, mask = windows
    if thin is not None and len(values) > thin:
        chosen = np.linspace(0, len(values) - 1, thin).astype(np.int64)
        values, mask = values[chosen], mask[chosen]
    clipped = np.clip(values, -CLIP, CLIP).astype(np.float32)
    return torch.from_numpy(clipped), torch.from_numpy(mask.astype(np.float32))


def _copy(network: Any) -> Weights:
    return {key: value.detach().numpy().copy() for key, value in network.state_dict().items()}

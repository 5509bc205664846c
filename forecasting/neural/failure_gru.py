"""Time to failure by EMD and GRU, for tables alone: a network reads how a curve speeds up without its fastest wave.

The field names EMD-GRU as a way to foretell a failure. No paper of it was at hand, so this is built from its name. It
learns on drawn collapses, whose law it then knows: an advantage that no slope gives. It has no gate of its own and says
a time for every curve, also for one that never fails. Days before the end EMD takes the acceleration itself for a wave,
and the time comes out too late: the unsafe side. So nothing serves it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from forecasting.data.series import DAY_S, Floats
from forecasting.decomposition.components import fill_forward
from forecasting.decomposition.emd import first_mode
from forecasting.neural.adamw import AdamW
from forecasting.neural.device import ask
from forecasting.neural.training import deterministic

ROWS = 40
"""Daily steps that the network reads."""
REACH = 90
"""Days that are decomposed."""
RECENT = 7
LEVELS = (0.1, 0.5, 0.9)
MOST_LEAD_DAYS = 40
HIDDEN = 16
EPOCHS = 12
BATCH = 128


class LeadGru(nn.Module):
    """(N, ROWS, 1) -> quantiles of the logarithm of the days until failure, (N, 3), none above the next."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.GRU(1, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 3)

    def forward(self, steps: Tensor) -> Tensor:
        """The middle one, and how far the others lie from it."""
        _, state = self.encoder(steps)
        middle, down, up = self.head(state[-1]).unbind(dim=-1)
        soft = nn.functional.softplus
        return torch.stack([middle - soft(down), middle, middle + soft(up)], dim=-1)


@dataclass(frozen=True, slots=True)
class FailureGru:
    """A trained network."""

    network: LeadGru

    def lead_days(self, daily: Floats) -> tuple[float, float, float]:
        """Days until failure as if this curve ran towards one: 10 %, 50 % and 90 %; NaN for under `REACH` rows.

        Args:
            daily: Displacement of each day up to now, NaN where missing, shape (T,).
        """
        steps = read_steps(daily)
        if steps is None:
            return (float("nan"),) * 3
        with torch.inference_mode():
            made = ask(self.network.eval(), torch.from_numpy(steps)[None, :, None])[0].exp()
        low, middle, high = (float(v) for v in made)
        return low, middle, high


def read_steps(daily: Floats) -> "np.ndarray[tuple[int], np.dtype[np.float32]] | None":
    """Newest steps without the fastest wave, in units of their recent mean size; None where too little is known."""
    known = fill_forward(daily[-REACH:])
    if known.size < REACH or not np.isfinite(known).all():
        return None
    wave = first_mode(known)
    steps = np.diff(known if wave is None else known - wave)[-ROWS:]
    size = float(np.abs(steps[-RECENT:]).mean())
    return np.clip(steps / (size if size > 0 else 1.0), -5.0, 5.0).astype(np.float32)


def to_days(times_s: Sequence[float], values: Sequence[float]) -> Floats:
    """A curve with a row for each day from time 0 on, NaN where it has a gap."""
    rows = np.round(np.asarray(times_s) / DAY_S).astype(np.int64)
    out = np.full(int(rows[-1]) + 1, np.nan)
    out[rows] = values
    return out


def fit_failure_gru(curves: Sequence[tuple[Floats, float]], *, seed: int = 7) -> FailureGru:
    """Learn the days until failure from drawn curves, at every day of their last forty.

    Args:
        curves: Displacement of each day, and the day of the failure, both from time 0 on.
        seed: Of weights and order.
    """
    inputs, wanted = [], []
    for daily, failure_day in curves:
        for row in range(max(REACH, daily.size - MOST_LEAD_DAYS), daily.size):
            steps = read_steps(daily[: row + 1])
            if steps is not None:
                inputs.append(steps)
                wanted.append(np.log(max(failure_day - row, 0.25)))
    x = torch.from_numpy(np.stack(inputs))[..., None]
    y = torch.tensor(np.array(wanted), dtype=torch.float32)[:, None]
    order = np.random.default_rng(seed)
    levels = torch.tensor(LEVELS)
    with deterministic(seed):
        network = LeadGru()
        with torch.no_grad():
            network.head.bias[0] = float(y.mean())
        optimiser = AdamW(network.parameters(), 5e-3)
        for _ in range(EPOCHS):
            for rows in np.array_split(order.permutation(y.shape[0]), max(1, y.shape[0] // BATCH)):
                error = y[rows] - network(x[rows])
                loss = torch.maximum(levels * error, (levels - 1.0) * error).mean()
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
    return FailureGru(network.eval())

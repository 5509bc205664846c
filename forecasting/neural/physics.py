"""What is known of slopes, as soft terms of the loss; each is off unless asked for."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Physics:
    """Weights of the terms beside the pinball loss; 0 leaves a term out.

    Attributes:
        rain: More rain must not slow the movement; needs a network that reads rain.
        creep: The movement must not turn back between two horizons (positive = downslope).
        voight: Where the window accelerates, the forecast keeps to `v' = A v^alpha` (Voight 1988).
        alpha: Exponent of that relation.
    """

    rain: float = 0.0
    creep: float = 0.0
    voight: float = 0.0
    alpha: float = 2.0


RAIN_STEP = 1.0
"""Standard deviations of rain added in the rain term."""
FASTEST = 5.0
"""The relation runs to infinity; no forecast is drawn beyond this multiple of the present velocity."""
ACCELERATES = 1.25
"""Ratio of the later to the earlier velocity of a window from which the relation counts."""


def creep_term(medians: Tensor) -> Tensor:
    """Mean movement backwards from the level now over the horizons, shape (B, S, H) in units of the scale."""
    steps = torch.diff(medians, dim=-1, prepend=torch.zeros_like(medians[..., :1]))
    return torch.relu(-steps).mean()


def rain_term(medians: Tensor, wetter: Tensor) -> Tensor:
    """Mean movement that further rain would take away, both shape (B, S, H)."""
    return torch.relu(medians - wetter).mean()


def wet(drivers: Tensor, kinds: tuple[str, ...]) -> Tensor:
    """The same windows with more rain in the last row of each known rain channel, shape (B, W, C, 2)."""
    rain = torch.tensor([kind == "rain" for kind in kinds], dtype=drivers.dtype)
    out = drivers.clone()
    out[:, -1, :, 0] += RAIN_STEP * rain * drivers[:, -1, :, 1]
    return out


def voight_change(earlier: Tensor, later: Tensor, apart: float, ahead: Tensor, alpha: float) -> Tensor:
    """Movement from now on if `v' = A v^alpha` holds, with A from two velocities of the past, shape (..., H).

    `v^(1 - alpha)` is linear in time; where it would reach 0 within a horizon the velocity stays at `FASTEST` times the
    present one, for the relation then says nothing but "soon".

    Args:
        earlier: Velocity of the older half of the span, > 0, shape (...).
        later: Velocity of the newer half, shape (...).
        apart: Time between the two, same unit as `ahead`.
        ahead: Horizons, shape (H,).
        alpha: Exponent, above 1.
    """
    power = 1.0 - alpha
    now = later**power
    slope = (now - earlier**power) / apart
    # velocity at the middle of eight pieces of each horizon; the newer velocity stands half a span before now
    pieces = (torch.arange(8, dtype=now.dtype) + 0.5) / 8
    when = ahead[:, None] * pieces + apart / 2
    inverse = torch.maximum(
        now[..., None, None] + slope[..., None, None] * when, (later * FASTEST)[..., None, None] ** power
    )
    return (inverse ** (1.0 / power)).mean(dim=-1) * ahead


def voight_term(
    values: Tensor, medians: Tensor, noise: Tensor, *, lag: int, steps: tuple[int, ...], alpha: float
) -> Tensor:
    """Mean |forecast - relation| over the windows that accelerate, 0 where none does.

    Args:
        values: Level of each window on its scale, shape (B, S, 2 lag + 1), NaN where unknown.
        medians: Forecast movement from the last of them, shape (B, S, H), same scale.
        noise: Velocity (per row) that noise alone can feign, shape (B, S).
        lag: Rows of each velocity.
        steps: Horizons in rows.
        alpha: Exponent.
    """
    earlier = (values[..., lag] - values[..., 0]) / lag
    later = (values[..., 2 * lag] - values[..., lag]) / lag
    runs = torch.isfinite(later) & torch.isfinite(earlier) & (earlier > noise) & (later > ACCELERATES * earlier)
    if not runs.any():
        return medians.sum() * 0.0
    ahead = torch.tensor(steps, dtype=medians.dtype)
    wanted = voight_change(earlier[runs], later[runs], float(lag), ahead, alpha)
    return (medians[runs] - wanted).abs().mean()

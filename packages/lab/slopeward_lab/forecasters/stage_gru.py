"""GRU with a last layer for each stage of movement (rest, steady creep, acceleration), weighted by the stage."""

import torch
from torch import Tensor, nn

from forecasting.data.features import FEATURES
from forecasting.neural.network import Shape, StationNetwork

STAGES = ("rest", "steady", "accelerating")
SHORT_SHARE = 4  # the short span is this part of the window, its newest rows
CLEAR_SLOPE = 3.0
"""Velocity of the short span, in units of its standard error, from which on a station counts as moving."""
ACCELERATION = 1.5
"""Ratio of the velocity of the short span to that of the window from which on a station counts as accelerating."""
SHARPNESS = 8.0
"""Steepness of the transition between steady and accelerating, per unit of this ratio."""
_VALUE = FEATURES.index("value")
_OBSERVED = FEATURES.index("observed")


class StageGru(StationNetwork):
    """GRU whose output is the mean of three last layers, weighted by the stage of movement, (N, W, F) -> (N, 3 hidden).

    What holds in creep need not hold while a slope accelerates. A rule computes the weights of the stages from the
    velocities of the window (`find_stages`); the network learns one last layer for each stage. Published systems divide
    the record by the stage of movement and train a model for each part. Here the stages share the GRU, because
    accelerations are rare.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, len(STAGES) * shape.hidden)
        self.encoder = nn.GRU(shape.features, shape.hidden, batch_first=True)

    def encode(self, rows: Tensor) -> Tensor:
        """Return the state after the last row, multiplied by the weight of each stage."""
        _, last = self.encoder(rows)
        weights = find_stages(rows[..., _VALUE], rows[..., _OBSERVED])
        states = weights.unsqueeze(-1) * last[-1].unsqueeze(1)
        return torch.as_tensor(states.flatten(1))


def find_stages(values: Tensor, observed: Tensor) -> Tensor:
    """Return the weights of rest, steady creep and acceleration for each window, (N, W) -> (N, 3); their sum is 1.

    A station moves if the velocity of its newest rows clearly exceeds its standard error. It accelerates if this
    velocity also exceeds that of the whole window.

    Args:
        values: Displacement in any unit.
        observed: 1 if there is a reading in a row, else 0.
    """
    short = max(3, values.shape[1] // SHORT_SHARE)
    velocity, error = _fit_line(values[:, -short:], observed[:, -short:])
    usual, _ = _fit_line(values, observed)
    tiny = torch.finfo(values.dtype).tiny
    is_moving = torch.sigmoid(velocity.abs() / (error + tiny) - CLEAR_SLOPE)
    ratio = velocity.abs() / (usual.abs() + tiny)
    is_accelerating = is_moving * torch.sigmoid(SHARPNESS * (ratio - ACCELERATION))
    return torch.stack([1.0 - is_moving, is_moving - is_accelerating, is_accelerating], dim=-1)


def _fit_line(values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Return slope per row and its standard error by least squares over the observed rows, (N, W) -> (N,)."""
    count = observed.sum(dim=1, keepdim=True).clamp(min=1.0)
    rows = torch.arange(values.shape[1], dtype=values.dtype, device=values.device)
    centred = (rows - (observed * rows).sum(dim=1, keepdim=True) / count) * observed
    deviation = (values - (observed * values).sum(dim=1, keepdim=True) / count) * observed
    square = centred.square().sum(dim=1).clamp(min=1.0)
    slope = (centred * deviation).sum(dim=1) / square
    residual = (deviation - slope.unsqueeze(1) * centred).square().sum(dim=1)
    freedom = (count.squeeze(1) - 2.0).clamp(min=1.0)
    return slope, torch.sqrt(residual / freedom / square)

"""GRU with diffusion convolution along and against directed edges (Li et al. 2018, DCRNN, arXiv:1707.01926)."""

from dataclasses import replace

import torch

from forecasting.neural.network import Shape, require_supports
from forecasting.neural.networks.graph_gru import GraphGru


class DiffusionGru(GraphGru):
    """(B, S, W, F) -> (B, S, H, 5). Gates see own values and those one and two steps along and against the edges.

    `supports` are the transition matrices of a random walk forwards and backwards, shape (2, S, S); their squares are
    the second step. An edge leads from a station to those that follow it, see `forecasting.neural.training`.
    """

    directed = True

    def __init__(self, shape: Shape) -> None:
        once = require_supports(shape, "diffusion-gru")
        twice = torch.cat([once, once @ once])
        super().__init__(replace(shape, supports=twice))

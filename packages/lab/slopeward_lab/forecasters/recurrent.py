"""Recurrent networks over the window of one station: stacked, both ways, after a convolution, with attention."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from forecasting.neural.network import Shape, StationNetwork
from slopeward_lab.forecasters.row_convolution import RowConvolution


class RowAttention(nn.Module):
    """Additive attention (Bahdanau et al. 2015): (N, W, C) -> (N, C); `weights` keeps the last (N, W)."""

    weights: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the mean of the rows, weighted by the attention scores."""
        weights = torch.softmax(self.score(torch.tanh(self.project(rows))).squeeze(-1), dim=-1)
        self.weights = weights.detach()
        return (weights.unsqueeze(-1) * rows).sum(dim=1)


class ComposedRecurrent(StationNetwork):
    """(N, W, F) -> one vector for each window (N, hidden).

    The vector is the state after the last row, the states at both ends, or the mean of all states weighted by
    attention. Subclasses set the class attributes.
    """

    layer: Callable[..., nn.Module] = nn.LSTM
    layers = 1  # number of stacked layers
    both_ways = False  # whether the window is read in both directions, each with half of the width
    convolves = False  # whether a convolution (N, W // 2, hidden // 2) comes before the recurrent layer
    attends = False  # whether the result is a mean of all states, weighted by attention

    def __init__(self, shape: Shape) -> None:
        ways = 2 if self.both_ways else 1
        width = max(shape.hidden // ways, 1)
        super().__init__(shape, ways * width)
        inputs = shape.features
        if self.convolves:
            self.front = RowConvolution(shape)
            inputs = self.front.width
        self.encoder = self.layer(inputs, width, num_layers=self.layers, batch_first=True, bidirectional=self.both_ways)
        if self.attends:
            self.attention = RowAttention(ways * width)

    def encode(self, rows: Tensor) -> Tensor:
        """Return the vector of each window."""
        states, last = self.encoder(self.front(rows) if self.convolves else rows)
        if self.attends:
            return torch.as_tensor(self.attention(states))
        state = last[0] if isinstance(last, tuple) else last
        return torch.cat([state[0], state[1]], dim=-1) if self.both_ways else torch.as_tensor(state[-1])


class Rnn(ComposedRecurrent):
    """Plain recurrent network with tanh (Elman 1990, Cognitive Science 14): what gates are compared with."""

    layer = nn.RNN


class Lstm2(ComposedRecurrent):
    """Two stacked LSTM layers (Graves et al. 2013, arXiv:1303.5778; one of the seven of Nava et al. 2023)."""

    layers = 2


class BiLstm(ComposedRecurrent):
    """LSTM that reads the window in both directions (Schuster and Paliwal 1997): the past only, never the future."""

    both_ways = True


class BiGruAttention(ComposedRecurrent):
    """Bidirectional GRU with attention over its rows (Bahdanau et al. 2015; for step-like landslides since 2021)."""

    layer = nn.GRU
    both_ways = attends = True


class CnnLstm(ComposedRecurrent):
    """Convolution in front of an LSTM (Sainath et al. 2015, ICASSP; one of the seven of Nava et al. 2023)."""

    convolves = True


class CnnBiLstm(ComposedRecurrent):
    """Convolution in front of an LSTM that reads both ways (the CNN-BiLSTM of the Baishuihe studies)."""

    convolves = both_ways = True


class CnnLstmAttention(ComposedRecurrent):
    """Convolution, LSTM and attention over its rows (the attention CNN-LSTM of the Outang studies)."""

    convolves = attends = True

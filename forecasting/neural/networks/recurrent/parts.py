"""Recurrent networks over one station's window that differ by their parts alone: layer, ways, what lies around it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from forecasting.neural.convolution import RowConvolution
from forecasting.neural.network import Shape, StationNetwork


class RowAttention(nn.Module):
    """Additive attention (Bahdanau et al. 2015): (N, W, C) -> (N, C); `weights` keeps the last (N, W)."""

    weights: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, rows: Tensor) -> Tensor:
        """The mean of the rows, weighted by what the score says of each."""
        weights = torch.softmax(self.score(torch.tanh(self.project(rows))).squeeze(-1), dim=-1)
        self.weights = weights.detach()
        return (weights.unsqueeze(-1) * rows).sum(dim=1)


class Recurrent(StationNetwork):
    """(N, W, F) -> state of the last row, or of both ends, or the weighted mean of all, (N, hidden)."""

    layer: Callable[..., nn.Module] = nn.LSTM
    layers = 1  # stacked
    both_ways = False  # read in both directions, each with half of the width
    convolves = False  # read patterns of rows, (N, W // 2, hidden // 2), in place of the rows
    attends = False  # answer by attention over all states

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
        """What the states say of the window."""
        states, last = self.encoder(self.front(rows) if self.convolves else rows)
        if self.attends:
            return torch.as_tensor(self.attention(states))
        state = last[0] if isinstance(last, tuple) else last
        return torch.cat([state[0], state[1]], dim=-1) if self.both_ways else torch.as_tensor(state[-1])


class Gru(Recurrent):
    """GRU over one station's window, one set of weights for all stations (Cho et al. 2014, arXiv:1406.1078)."""

    layer = nn.GRU


class Rnn(Recurrent):
    """Plain recurrent network with tanh (Elman 1990, Cognitive Science 14): what gates are compared with."""

    layer = nn.RNN


class Lstm(Recurrent):
    """LSTM over one station's window (Hochreiter and Schmidhuber 1997, Neural Computation 9)."""


class Lstm2(Recurrent):
    """Two stacked LSTM layers (Graves et al. 2013, arXiv:1303.5778; one of the seven of Nava et al. 2023)."""

    layers = 2


class BiLstm(Recurrent):
    """LSTM that reads the window in both directions (Schuster and Paliwal 1997): the past only, never the future."""

    both_ways = True


class BiGruAttention(Recurrent):
    """Bidirectional GRU with attention over its rows (Bahdanau et al. 2015; for step-like landslides since 2021)."""

    layer = nn.GRU
    both_ways = attends = True


class CnnLstm(Recurrent):
    """Convolution in front of an LSTM (Sainath et al. 2015, ICASSP; one of the seven of Nava et al. 2023)."""

    convolves = True


class CnnBiLstm(Recurrent):
    """Convolution in front of an LSTM that reads both ways (the CNN-BiLSTM of the Baishuihe studies)."""

    convolves = both_ways = True


class CnnLstmAttention(Recurrent):
    """Convolution, LSTM and attention over its rows (the attention CNN-LSTM of the Outang studies)."""

    convolves = attends = True

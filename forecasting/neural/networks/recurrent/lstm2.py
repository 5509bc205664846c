"""Two stacked LSTM layers (Graves et al. 2013, arXiv:1303.5778; one of the seven of Nava et al. 2023)."""

from forecasting.neural.networks.recurrent.lstm import Lstm


class Lstm2(Lstm):
    """(N, W, F) -> state of the second layer (N, hidden)."""

    layers = 2

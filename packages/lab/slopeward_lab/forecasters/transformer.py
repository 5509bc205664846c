"""Transformer encoder over patches of the window (Vaswani et al. 2017, arXiv:1706.03762; patches: Nie et al. 2023)."""

import torch
from torch import Tensor, nn

from forecasting.neural.network import Shape, StationNetwork

PATCH = 4
HEADS = 4
LAYERS = 2


class Transformer(StationNetwork):
    """(N, W, F) -> (N, ceil(W / 4), hidden) tokens with learned places -> the last token (N, hidden).

    Attention is over the past window only; `attention` gives its weights for display, and they are no cause.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        tokens = -(-shape.window // PATCH)
        self.missing = tokens * PATCH - shape.window
        heads = HEADS if shape.hidden % HEADS == 0 else 1
        self.embed = nn.Linear(PATCH * shape.features, shape.hidden)
        self.place = nn.Parameter(torch.randn(tokens, shape.hidden) * 0.02)
        layer = nn.TransformerEncoderLayer(
            shape.hidden,
            heads,
            2 * shape.hidden,
            dropout=shape.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)

    def encode(self, rows: Tensor) -> Tensor:
        """The token of the newest rows after it has seen all others."""
        out: Tensor = self.encoder(self._tokens(rows))
        return out[:, -1]

    def attention(self, rows: Tensor) -> Tensor:
        """Weights of the first layer, mean over heads, (N, tokens, tokens); rows sum to 1."""
        tokens = self._tokens(rows)
        layer = self.encoder.layers[0]
        assert isinstance(layer, nn.TransformerEncoderLayer)
        seen = layer.norm1(tokens)
        weights: Tensor = layer.self_attn(seen, seen, seen, need_weights=True)[1]
        return weights

    def _tokens(self, rows: Tensor) -> Tensor:
        padded = nn.functional.pad(rows, (0, 0, self.missing, 0))
        out: Tensor = self.embed(padded.reshape(padded.shape[0], -1, PATCH * padded.shape[2])) + self.place
        return out

"""Temporal Fusion Transformer: selected variables, LSTM and attention (Lim et al. 2021, arXiv:1912.09363)."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from forecasting.data.features import FEATURES
from forecasting.neural.network import Network, QuantileHead, Shape

CONTEXTS = ("selection", "state", "cell", "enrichment")
"""Uses of the properties of a station (section 4.3 of the paper)."""


class TemporalFusion(Network):
    """Temporal Fusion Transformer, (B, S, W, F) -> (B, S, H, 5).

    As in the paper, every variable has a gated residual network of its own, and a softmax states how much each variable
    counts in a row. The properties of a station are selected in the same way, start the LSTM and enrich its states. The
    LSTM reads the past and continues over the horizons. Attention with values that all heads share reads the past from
    there. A driver and its mask are one variable. `selection_weights` and `attention_weights` return the weights of the
    last forward pass.

    Differences: the width is half of the hidden width, to keep the network as small as the others; the LSTM continues
    by one step per horizon instead of one per row; the position of a horizon is a learned variable; the last layer is
    that of all networks.
    """

    HEADS: ClassVar[int] = 4

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        width = max(shape.hidden // 2, 1)
        self.horizons = shape.horizons
        self.drivers = len(shape.kinds)
        # The trend (a value per horizon) and the properties of a station are constant within a window.
        self.constants = shape.features - len(FEATURES) - 2 * self.drivers
        self.known = shape.ahead // shape.horizons
        has_constants = self.constants > 0
        sizes_of_past = [1] * len(FEATURES) + [2] * self.drivers
        self.past = VariableSelection(sizes_of_past, width, shape.dropout, has_context=has_constants)
        if has_constants:
            self.properties = VariableSelection([1] * self.constants, width, shape.dropout)
            self.contexts = nn.ModuleDict({name: GatedResidual(width, shape.dropout) for name in CONTEXTS})
        if self.known:
            self.future = VariableSelection([self.known, width], width, shape.dropout)
        self.position = nn.Parameter(torch.randn(shape.horizons, width) * 0.1)
        self.local = nn.LSTM(width, width, batch_first=True)
        self.after_local = GatedSum(width, shape.dropout)
        self.enrich = GatedResidual(width, shape.dropout, has_context=has_constants)
        self.attend = SharedValueAttention(width, self.HEADS if width % self.HEADS == 0 else 1)
        self.after_attention = GatedSum(width, shape.dropout)
        self.feed_forward = GatedResidual(width, shape.dropout)
        self.after_feed_forward = GatedSum(width, shape.dropout)
        self.head = QuantileHead(width, 1)

    def selection_weights(self) -> Tensor | None:
        """Return how much each variable of a row counted, mean of the last forward pass, shape (4 + drivers,)."""
        weights = self.past.weights
        return None if weights is None else weights.flatten(0, -2).mean(dim=0)

    def attention_weights(self) -> Tensor | None:
        """Return how much each row counted for each horizon, mean of the last forward pass, shape (H, W + H)."""
        weights = self.attend.weights
        return None if weights is None else weights.mean(dim=0)

    def forward(self, inputs: Tensor, drivers: Tensor | None = None, static: Tensor | None = None) -> Tensor:
        """Return the quantiles of every station."""
        remaining = self.drop_sources(inputs, drivers)
        known = self.ahead(remaining)
        batch, stations, window = inputs.shape[:3]
        rows = self.with_drivers(inputs, remaining, static).flatten(0, 1)
        variables, constants = self._divide(rows, inputs.shape[-1])
        context: dict[str, Tensor] = {}
        start = None
        if self.constants:
            selected = self.properties(constants)
            context = {name: layer(selected) for name, layer in self.contexts.items()}
            start = (context["state"].unsqueeze(0), context["cell"].unsqueeze(0))
        before = self.past(variables, context.get("selection"))
        after = self.position.expand(before.shape[0], -1, -1)
        if self.known and known is not None:
            repeated = known.unsqueeze(1).expand(-1, stations, -1, -1).flatten(0, 1)
            after = self.future([repeated, after])
        whole = torch.cat([before, after], dim=1)
        local = self.after_local(self.local(whole, start)[0], whole)
        enriched = self.enrich(local, context.get("enrichment"))
        # A horizon attends to the past, to the horizons before it, and to itself.
        attended = self.after_attention(self.attend(enriched[:, window:], enriched), enriched[:, window:])
        state = self.after_feed_forward(self.feed_forward(attended), local[:, window:])
        quantiles: Tensor = self.head(state)
        return quantiles.reshape(batch, stations, self.horizons, -1)

    def _divide(self, rows: Tensor, first_driver: int) -> tuple[list[Tensor], list[Tensor]]:
        """Return the variables of each row, (N, W, size) each, and those that are constant in a window, (N, 1) each.

        Args:
            rows: Motion, trend, drivers and properties of the station, in this order, shape (N, W, F).
            first_driver: Number of the first input of a driver.
        """
        after_drivers = first_driver + 2 * self.drivers
        variables = list(rows[..., : len(FEATURES)].chunk(len(FEATURES), dim=-1))
        if self.drivers:
            variables += rows[..., first_driver:after_drivers].chunk(self.drivers, dim=-1)
        if not self.constants:
            return variables, []
        newest = rows[:, -1]
        constants = torch.cat([newest[:, len(FEATURES) : first_driver], newest[:, after_drivers:]], dim=-1)
        return variables, list(constants.chunk(self.constants, dim=-1))


class GatedSum(nn.Module):
    """Gated linear unit, added to an earlier value and normalised (equations 5 and 17 of the paper)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.gate = nn.Linear(width, 2 * width)
        self.norm = nn.LayerNorm(width)

    def forward(self, new: Tensor, earlier: Tensor) -> Tensor:
        """Return the normalised sum of `earlier` and the part of `new` that passes the gate."""
        gated = nn.functional.glu(self.gate(self.dropout(new)), dim=-1)
        normed: Tensor = self.norm(earlier + gated)
        return normed


class GatedResidual(nn.Module):
    """Gated residual network (equations 2 to 4 of the paper), a layer that the network can skip.

    Args:
        width: Width of the hidden layer and of the context.
        dropout: Share that is dropped before the gate.
        inputs: Number of inputs; default is the width.
        outputs: Number of outputs; default is the width.
        has_context: Whether the layer reads the properties of the station.
    """

    def __init__(
        self,
        width: int,
        dropout: float,
        *,
        inputs: int | None = None,
        outputs: int | None = None,
        has_context: bool = False,
    ) -> None:
        super().__init__()
        inputs = inputs or width
        outputs = outputs or width
        self.enter = nn.Linear(inputs, width)
        self.read_context = nn.Linear(width, width, bias=False) if has_context else None
        self.middle = nn.Linear(width, outputs)
        self.skip = nn.Identity() if inputs == outputs else nn.Linear(inputs, outputs)
        self.join = GatedSum(outputs, dropout)

    def forward(self, rows: Tensor, context: Tensor | None = None) -> Tensor:
        """Return (N, ..., outputs) for rows (N, ..., inputs) and a context (N, width)."""
        hidden = self.enter(rows)
        if context is not None and self.read_context is not None:
            added = self.read_context(context)
            hidden = hidden + (added.unsqueeze(1) if hidden.ndim > added.ndim else added)
        joined: Tensor = self.join(self.middle(nn.functional.elu(hidden)), self.skip(rows))
        return joined


class VariableSelection(nn.Module):
    """Variable selection network (equations 6 to 8 of the paper).

    Attributes:
        weights: How much each variable counted in the last forward pass, shape (N, ..., V).
    """

    weights: Tensor | None

    def __init__(self, sizes: Sequence[int], width: int, dropout: float, *, has_context: bool = False) -> None:
        super().__init__()
        self.embed = nn.ModuleList([nn.Linear(size, width) for size in sizes])
        self.transform = nn.ModuleList([GatedResidual(width, dropout) for _ in sizes])
        self.weigh = GatedResidual(
            width, dropout, inputs=len(sizes) * width, outputs=len(sizes), has_context=has_context
        )
        self.weights = None

    def forward(self, variables: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        """Return the weighted sum (N, ..., width) of variables (N, ..., size)."""
        embedded = [embed(variable) for embed, variable in zip(self.embed, variables, strict=True)]
        weights = torch.softmax(self.weigh(torch.cat(embedded, dim=-1), context), dim=-1)
        self.weights = weights.detach()
        transformed = [layer(variable) for layer, variable in zip(self.transform, embedded, strict=True)]
        return (torch.stack(transformed, dim=-1) * weights.unsqueeze(-2)).sum(dim=-1)


class SharedValueAttention(nn.Module):
    """Attention whose heads share their values, so that their mean weight can be read (equations 13 to 16).

    Attributes:
        weights: Mean weight of the heads in the last forward pass, shape (N, H, W + H).
    """

    weights: Tensor | None

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width // heads)
        self.out = nn.Linear(width // heads, width, bias=False)
        self.weights = None

    def forward(self, newest: Tensor, rows: Tensor) -> Tensor:
        """Return what the newest rows (N, H, C) find in all rows (N, W + H, C) up to their own."""
        count, total = newest.shape[1], rows.shape[1]
        queries = self._split(self.query(newest))
        keys = self._split(self.key(rows))
        scores = queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5
        is_later = torch.ones(count, total, dtype=torch.bool, device=scores.device).triu(total - count + 1)
        weights = torch.softmax(scores.masked_fill(is_later, float("-inf")), dim=-1).mean(dim=1)
        self.weights = weights.detach()
        attended: Tensor = self.out(weights @ self.value(rows))
        return attended

    def _split(self, rows: Tensor) -> Tensor:
        """Divide the last axis among the heads, (N, R, C) -> (N, heads, R, C / heads)."""
        return rows.reshape(*rows.shape[:2], self.heads, -1).transpose(1, 2)

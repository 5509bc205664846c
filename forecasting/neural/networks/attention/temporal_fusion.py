"""Gated selection of variables, LSTM, attention over the past (Lim et al. 2021, TFT, arXiv:1912.09363)."""

import torch
from torch import Tensor, nn

from forecasting.data.features import FEATURES
from forecasting.neural.head import QuantileHead
from forecasting.neural.network import Network, Shape

HEADS = 4


class TemporalFusion(Network):
    """(B, S, W, F) -> the variables of each row (N, W, C) -> a state for each horizon (N, H, C) -> (B, S, H, 5).

    As in the paper: every variable has a gated residual network of its own, and a softmax says how much each counts in
    a row. Fixed facts of the station are selected likewise, start the LSTM and enrich its states. The LSTM runs over
    the past and on over the horizons. Attention with values shared by all heads looks back from there. A driver and its
    mask are one variable.

    Kept small: width is half the hidden one. The LSTM goes on by one step for each horizon that is asked for, not by
    one for each row until it, and the horizon itself is a learned variable.
    `maps` gives the weights of the last pass; none is a cause.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        width = max(shape.hidden // 2, 1)
        self.motion, self.horizons = len(FEATURES), shape.horizons
        self.drivers, self.facts, self.known = len(shape.names), len(shape.static), shape.ahead // shape.horizons
        past = (*FEATURES, *shape.names)
        self.names = {"past": past, "facts": shape.static}
        self.choose_past = Selection(
            [1] * len(FEATURES) + [2] * len(shape.names), width, shape.dropout, told=self.facts > 0
        )
        if self.facts:
            self.choose_facts = Selection([2] * self.facts, width, shape.dropout)
            self.contexts = nn.ModuleDict({
                name: GatedResidual(width, shape.dropout) for name in ("select", "state", "cell", "enrich")
            })  # fmt: skip
        if self.known:
            self.choose_ahead = Selection([self.known, width], width, shape.dropout)
        self.place = nn.Parameter(torch.randn(shape.horizons, width) * 0.1)
        self.local = nn.LSTM(width, width, batch_first=True)
        self.after_local = GatedSum(width, shape.dropout)
        self.enrich = GatedResidual(width, shape.dropout, told=self.facts > 0)
        self.look = SharedAttention(width, HEADS if width % HEADS == 0 else 1)
        self.after_look = GatedSum(width, shape.dropout)
        self.think = GatedResidual(width, shape.dropout)
        self.after_think = GatedSum(width, shape.dropout)
        self.head = QuantileHead(width, 1)

    def answer(self, rows: Tensor, known: Tensor | None) -> Tensor:
        """Quantiles of the scaled residual to `lld`."""
        batch, stations, window = rows.shape[:3]
        facts = rows[..., rows.shape[-1] - 2 * self.facts :][:, :, 0].flatten(0, 1)
        past = rows[..., : rows.shape[-1] - 2 * self.facts].flatten(0, 1)
        context: dict[str, Tensor] = {}
        if self.facts:
            chosen = self.choose_facts(list(facts.chunk(self.facts, dim=-1)))
            context = {name: part(chosen) for name, part in self.contexts.items()}
        variables = list(past[..., : self.motion].chunk(self.motion, dim=-1))
        if self.drivers:
            variables += past[..., self.motion :].chunk(self.drivers, dim=-1)
        before = self.choose_past(variables, context.get("select"))
        after = self.place.expand(before.shape[0], -1, -1)
        if self.known and known is not None:
            told = known.unsqueeze(1).expand(-1, stations, -1, -1).flatten(0, 1)
            after = self.choose_ahead([told, after])
        start = None if not self.facts else (context["state"].unsqueeze(0), context["cell"].unsqueeze(0))
        whole = torch.cat([before, after], dim=1)
        local = self.after_local(self.local(whole, start)[0], whole)
        rich = self.enrich(local, context.get("enrich"))
        # a horizon looks at the past, at those before it and at itself
        seen = self.after_look(self.look(rich[:, window:], rich), rich[:, window:])
        made = self.after_think(self.think(seen), local[:, window:])
        out: Tensor = self.head(made)
        return out.reshape(batch, stations, self.horizons, -1)

    def maps(self) -> list[tuple[str, Tensor, str]]:
        """Selection of variables and attention of the last pass, means over stations, windows and rows."""
        out = []
        chosen = ["past", "facts"] if self.facts else ["past"]
        for name in chosen:
            weights = getattr(self, f"choose_{name}").weights
            if weights is not None:
                mean = weights.flatten(0, -2).mean(dim=0)
                out.append((f"selection of variables: {name}", mean, ", ".join(self.names[name])))
        if self.look.weights is not None:
            order = "one row a horizon; rows of the window, oldest first, then the horizons"
            out.append(("attention of each horizon", self.look.weights.mean(dim=0), order))
        return out


class GatedSum(nn.Module):
    """Gated linear unit, added to what went before, and normalised (equations 5 and 17 of the paper)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.gate = nn.Linear(width, 2 * width)
        self.norm = nn.LayerNorm(width)

    def forward(self, new: Tensor, before: Tensor) -> Tensor:
        """Norm of `before` and what the gate lets through of `new`."""
        out: Tensor = self.norm(before + nn.functional.glu(self.gate(self.dropout(new)), dim=-1))
        return out


class GatedResidual(nn.Module):
    """Gated residual network (equations 2 to 4): a layer that can be skipped; `told` of a context (N, C) or not."""

    def __init__(
        self, width: int, dropout: float, given: int | None = None, made: int | None = None, *, told: bool = False
    ) -> None:
        super().__init__()
        given, made = given or width, made or width
        self.enter = nn.Linear(given, width)
        self.listen = nn.Linear(width, width, bias=False) if told else None
        self.middle = nn.Linear(width, made)
        self.skip = nn.Identity() if given == made else nn.Linear(given, made)
        self.join = GatedSum(made, dropout)

    def forward(self, rows: Tensor, context: Tensor | None = None) -> Tensor:
        """(N, ..., given) -> (N, ..., made)."""
        inner = self.enter(rows)
        if context is not None and self.listen is not None:
            told = self.listen(context)
            inner = inner + (told.unsqueeze(1) if inner.ndim > told.ndim else told)
        out: Tensor = self.join(self.middle(nn.functional.elu(inner)), self.skip(rows))
        return out


class Selection(nn.Module):
    """Variable selection network (equations 6 to 8); `weights` keeps how much each variable counted, (N, ..., V)."""

    def __init__(self, sizes: list[int], width: int, dropout: float, *, told: bool = False) -> None:
        super().__init__()
        self.embed = nn.ModuleList([nn.Linear(size, width) for size in sizes])
        self.each = nn.ModuleList([GatedResidual(width, dropout) for _ in sizes])
        self.weigh = GatedResidual(width, dropout, given=len(sizes) * width, made=len(sizes), told=told)
        self.weights: Tensor | None = None

    def forward(self, variables: list[Tensor], context: Tensor | None = None) -> Tensor:
        """Variables (N, ..., size) each -> their weighted sum (N, ..., C)."""
        inside = [embed(one) for embed, one in zip(self.embed, variables, strict=True)]
        weights = torch.softmax(self.weigh(torch.cat(inside, dim=-1), context), dim=-1)
        self.weights = weights.detach()
        each = torch.stack([part(one) for part, one in zip(self.each, inside, strict=True)], dim=-1)
        return (each * weights.unsqueeze(-2)).sum(dim=-1)


class SharedAttention(nn.Module):
    """Attention whose heads share their values, so that their mean weight says what counted (equations 13 to 16).

    `weights` keeps that mean, (N, H, W + H).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ask = nn.Linear(width, width)
        self.tell = nn.Linear(width, width)
        self.value = nn.Linear(width, width // heads)
        self.out = nn.Linear(width // heads, width, bias=False)
        self.weights: Tensor | None = None

    def forward(self, later: Tensor, every: Tensor) -> Tensor:
        """What the last rows (N, H, C) find in all rows (N, W + H, C) up to their own."""
        count, whole = later.shape[1], every.shape[1]
        asks, tells = (
            part.reshape(*part.shape[:2], self.heads, -1).transpose(1, 2)
            for part in (self.ask(later), self.tell(every))
        )
        score = asks @ tells.transpose(-1, -2) / asks.shape[-1] ** 0.5
        late = torch.ones(count, whole, dtype=torch.bool, device=score.device).triu(whole - count + 1)
        weights = torch.softmax(score.masked_fill(late, float("-inf")), dim=-1).mean(dim=1)
        self.weights = weights.detach()
        out: Tensor = self.out(weights @ self.value(every))
        return out

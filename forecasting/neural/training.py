"""The one training loop of all networks: pinball loss on the window's own scale, early stop, one thread, one seed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from forecasting.baselines import LevelDrift, fit_lld
from forecasting.errors import NotEnoughDataError
from forecasting.neural.features import noise_floor, scale_lag, windows
from forecasting.neural.forecaster import NeuralForecaster, Recipe, build_network
from forecasting.neural.graph import directed_supports, supports
from forecasting.neural.head import QUANTILES
from forecasting.neural.network import Network
from forecasting.registry import load
from forecasting.series import Floats, Ints, Panel
from forecasting.splits import Block, Split

Progress = Callable[[int, int, float], None]
"""Called after each epoch with (epoch, epochs, validation loss)."""

MINIMUM_ORIGINS = 30


@dataclass(frozen=True, slots=True)
class Settings:
    """How a network is trained; the defaults are those measured.

    Attributes:
        seed: Seed of weights, order and dropout.
        epochs: At most so many passes.
        patience: Passes without a better early-stop loss before the end.
        time_limit_s: Wall time after which the best weights so far are taken (then a repeat may differ).
        window: Rows a network sees.
        hidden: Width of its state.
        dropout: Share dropped before the head.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.
        batch: Issue times per step.
        stride: Every how many rows an issue time is taken for training.
    """

    seed: int = 7
    epochs: int = 30
    patience: int = 5
    time_limit_s: float = 300.0
    window: int = 60
    hidden: int = 32
    dropout: float = 0.1
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    batch: int = 64
    stride: int = 1


@dataclass(frozen=True, slots=True)
class Training:
    """The outcome of one training.

    Attributes:
        forecaster: Ready to forecast.
        epochs: Passes made.
        losses: Early-stop loss before training and after each pass.
        seconds: Wall time.
        stopped: Why it ended: `epochs`, `patience` or `time limit`.
    """

    forecaster: NeuralForecaster
    epochs: int
    losses: tuple[float, ...]
    seconds: float
    stopped: str


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """One thread, deterministic algorithms and a private random state; what was set before is put back."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(mode=True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(mode=strict)


def prepare(model: str, panel: Panel, parts: Split, horizons_s: tuple[float, ...], settings: Settings) -> Recipe:
    """All that is fitted before the weights: lld on calibration, floors, spread and graphs on the fit block."""
    steps = tuple(panel.steps(h) for h in horizons_s)
    fit = panel.values[: parts.fit.end]
    lag = scale_lag(panel.step_s, settings.window)
    lld = fit_lld(panel, parts.calibration, steps)
    floors = noise_floor(fit)
    kind = load(model)
    graphs = (directed_supports if kind.directed else supports)(fit, panel.xy_m, lag=lag) if kind.needs_graph else None
    origins = _origins(parts.fit, settings)
    cut = windows(panel.values, origins, floors, window=settings.window, lag=lag)
    return Recipe(
        model=model,
        stations=panel.stations,
        step_s=panel.step_s,
        steps=steps,
        horizons_s=horizons_s,
        window=settings.window,
        hidden=settings.hidden,
        dropout=settings.dropout,
        seed=settings.seed,
        noise_mm=tuple(float(v) for v in floors),
        spread=_spread(panel.values, parts.fit, origins, lld, cut.scale_mm),
        lld=lld,
        supports=None if graphs is None else graphs.tolist(),
    )


def train_network(
    model: str,
    panel: Panel,
    parts: Split,
    horizons_s: tuple[float, ...],
    settings: Settings | None = None,
    *,
    progress: Progress | None = None,
) -> Training:
    """Train one network on the fit block, stopped by the early-stop block; calibration and test are not learnt from.

    Raises:
        NotEnoughDataError: Fewer than 30 issue times or no target in one of the two blocks.
    """
    settings = settings or Settings()
    begun = time.monotonic()
    recipe = prepare(model, panel, parts, horizons_s, settings)
    fit, early = _origins(parts.fit, settings), _origins(parts.early_stop, settings)
    usable = parts.fit.end - max(parts.fit.first, settings.window - 1)
    if usable < MINIMUM_ORIGINS or not early.size:
        raise NotEnoughDataError(
            f"{max(usable, 0)} issue times see a window of {settings.window}, {MINIMUM_ORIGINS} are needed"
        )
    with deterministic(settings.seed):
        network = build_network(recipe)
        learner = _Learner(recipe, network, panel.values, settings)
        learner.require(parts.fit, fit)
        learner.require(parts.early_stop, early)
        losses, stopped = learner.run(parts, fit, early, begun, progress)
    forecaster = NeuralForecaster(recipe, network)
    return Training(forecaster, len(losses) - 1, tuple(losses), time.monotonic() - begun, stopped)


class _Learner:
    """The moving parts of one training."""

    def __init__(self, recipe: Recipe, network: Network, values: Floats, settings: Settings) -> None:
        self.recipe, self.network, self.values, self.settings = recipe, network, values, settings
        self.floors = np.asarray(recipe.noise_mm)
        self.lag = scale_lag(recipe.step_s, recipe.window)
        self.levels = torch.tensor(QUANTILES, dtype=torch.float32)

    def require(self, block: Block, origins: Ints) -> None:
        """Refuse a block without any target at some horizon."""
        for h, seconds in zip(self.recipe.steps, self.recipe.horizons_s, strict=True):
            if not np.isfinite(block.targets(self.values, origins, h)).any():
                raise NotEnoughDataError(f"no target {seconds:g} s ahead lies in rows {block.first} to {block.end}")

    def run(
        self, parts: Split, fit: Ints, early: Ints, begun: float, progress: Progress | None
    ) -> tuple[list[float], str]:
        """Passes over the fit block; leaves the best weights in the network."""
        settings = self.settings
        optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        order = np.random.default_rng(settings.seed)
        losses = [self.validate(parts.early_stop, early)]
        best, kept = losses[0], self._copy()
        bad, stopped = 0, "epochs"
        for epoch in range(settings.epochs):
            self.network.train()
            shuffled = order.permutation(fit)
            for first in range(0, shuffled.size, settings.batch):
                if time.monotonic() - begun > settings.time_limit_s:
                    stopped = "time limit"
                    break
                loss = self.loss(parts.fit, np.sort(shuffled[first : first + settings.batch]))
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                optimiser.step()
            losses.append(self.validate(parts.early_stop, early))
            if progress is not None:
                progress(epoch + 1, settings.epochs, losses[-1])
            if losses[-1] < best:
                best, kept, bad = losses[-1], self._copy(), 0
            else:
                bad += 1
            if stopped == "time limit":
                break
            if bad >= settings.patience:
                stopped = "patience"
                break
        self.network.load_state_dict(kept)
        self.network.eval()
        return losses, stopped

    def loss(self, block: Block, origins: Ints) -> Tensor:
        """Pinball loss in units of window scale x spread, over the targets inside the block."""
        recipe = self.recipe
        cut = windows(self.values, origins, self.floors, window=recipe.window, lag=self.lag)
        base = recipe.lld.predict(self.values, origins)
        observed = np.stack([block.targets(self.values, origins, h) for h in recipe.steps], axis=2)
        unit = cut.scale_mm[..., None] * np.asarray(recipe.spread)
        wanted = torch.from_numpy(((observed - base) / unit).astype(np.float32))
        known = torch.isfinite(wanted)
        error = torch.where(known, wanted, torch.zeros(()))[..., None] - self.network(torch.from_numpy(cut.inputs))
        each = torch.maximum(self.levels * error, (self.levels - 1.0) * error).mean(dim=-1)
        loss: Tensor = (each * known).sum() / known.sum().clamp(min=1)
        extra = self.network.penalty() if self.network.training else None
        return loss if extra is None else loss + extra

    def validate(self, block: Block, origins: Ints) -> float:
        """Loss on a block without learning."""
        self.network.eval()
        with torch.inference_mode():
            parts = np.array_split(origins, max(1, origins.size // 64))
            return float(np.mean([float(self.loss(block, part)) for part in parts]))

    def _copy(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}


def _origins(block: Block, settings: Settings) -> Ints:
    """Issue times of a block that see a whole window."""
    every = block.origins
    return every[every >= settings.window - 1][:: settings.stride]


def _spread(values: Floats, block: Block, origins: Ints, lld: LevelDrift, scale: Floats) -> tuple[float, ...]:
    """Median |residual of lld| in units of the window's scale, per horizon, so that all horizons weigh alike."""
    made = lld.predict(values, origins)
    out = []
    for i, h in enumerate(lld.steps):
        ratio = np.abs(block.targets(values, origins, h) - made[:, :, i]) / scale
        ratio = ratio[np.isfinite(ratio)]
        out.append(max(float(np.median(ratio)), 1e-3) if ratio.size else 1.0)
    return tuple(out)

"""A training run that can be stopped and resumed with the same result. Its state is stored in a checkpoint file."""

import copy
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from detection.imagery.data.augment import Augmentation, degrade_patch, vary
from detection.imagery.data.patches import Patches, make_patches
from detection.imagery.errors import OtherRunError, TrainingPausedError, TrainingRecipeError
from detection.imagery.neural.device import PROCESSOR
from detection.imagery.neural.losses import make_loss
from detection.imagery.optional_bands import CHANNELS_PER_BAND
from detection.imagery.registry import build
from detection.whole_file import replacing

Normalisation = tuple[NDArray[np.float32], NDArray[np.float32]]
Scorer = Callable[[torch.nn.Module], tuple[float, float]]
"""Takes a network, and returns its score on the held part and the threshold with which it has that score."""
NativePatches = tuple[Patches, Callable[[Patches], Patches]]
"""Patches in the unit of their files, in which quality is degraded, and the function that converts them to network
input."""
# Suffix of checkpoint files, and the key of their metadata. Checkpoints were called places once, and unfinished runs of
# earlier versions must stay readable.
CHECKPOINT_SUFFIX = ".place"
_METADATA_KEY = "place"
# Default length of a run: at least this many steps, within these bounds of epochs.
STEPS_LEAST = 400
EPOCHS_LEAST, EPOCHS_MOST = 13, 60
OPTIMISERS: Final[dict[str, type[torch.optim.Adam]]] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
SCHEDULES = ("cosine", "one-cycle", "constant")
# The warm-up takes this share of the steps of a run, and at most this many steps: those on Landslide4Sense.
WARMUP_SHARE, WARMUP_MOST = 0.14, 100


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the facts and tensors of a checkpoint.

    Raises:
        TrainingRecipeError: the file is damaged or is not a checkpoint.
    """
    try:
        with safe_open(path, "pt") as source:
            facts = json.loads(source.metadata()[_METADATA_KEY])
            return facts, {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, KeyError, TypeError, ValueError):
        raise TrainingRecipeError(
            f"{path}: not the checkpoint of a training run; remove it, or start again (--restart)"
        ) from None


def select_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names start with a prefix, by their names without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@dataclass(frozen=True, slots=True)
class ImageryTrainingSettings(Augmentation):
    """How to train and how to vary patches. The defaults are the best values on Landslide4Sense patches."""

    seed: int = 0
    network: str = "unet"
    width: float = 0.125
    options: dict[str, Any] = field(default_factory=dict)  # options of the network, see `registry.build`
    # Weights (shipped name or path) of the same bands and stretch to start from, with their network and normalisation.
    # Empty: random weights.
    start: str = ""
    encoder: str = ""  # file of encoder weights to start from, see `encoder_file`
    epochs: int | None = None  # passes over the fit part; None: enough for `STEPS_LEAST` steps, see `with_defaults`
    steps: int = 0  # if not 0, this many steps instead of `epochs`, in whole passes
    # The run ends after the epoch in which it has used this much CPU time; 0: no limit. A run that is cut short is not
    # reproducible on another machine.
    time_limit_cpu_s: float = 0.0
    batch: int = 16
    optimiser: str = "adamw"  # `adamw` or `adam`
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    schedule: str = "cosine"  # `cosine` (down to 2 % after the warm-up), `one-cycle` (down to 0) or `constant`
    encoder_rate: float = 1.0  # learning rate of the encoder, as a share of that of the other layers
    # Decay per step of a running mean of the weights, which is scored and stored instead of the weights (Polyak and
    # Juditsky 1992). 0: no mean.
    averaging: float = 0.0
    warmup_steps: int | None = None  # steps over which the rate rises; None: a share of the run, see `with_defaults`
    loss: str = "ce+dice"  # terms of `losses.make_loss`, joined by `+`
    split: str = "seeded"  # how the held part is chosen, see `splits`
    held_share: float = 0.15  # share of the patches on which epoch, temperature and threshold are chosen
    threshold: float = 0.0  # if not 0, this threshold instead of the best on the held part
    temperature: float = 0.0  # if not 0, this temperature instead of the one fitted on the held part
    # Clip every band to the 0.1 and 99.9 percentiles of the fit part. For values that are not reflectance.
    clip: bool = False

    def with_defaults(self, patches: int) -> "ImageryTrainingSettings":
        """Return the settings with `epochs` and `warmup_steps` filled in from the number of patches of the fit part.

        Few patches need many epochs: 13 epochs are enough for 900 patches, but not for 200.

        >>> [ImageryTrainingSettings().with_defaults(n).epochs for n in (20, 184, 935, 40_000)]
        [60, 34, 13, 13]
        >>> ImageryTrainingSettings().with_defaults(184).warmup_steps
        57
        >>> ImageryTrainingSettings(epochs=10).with_defaults(184).warmup_steps
        17
        """
        per_epoch = max(1, -(-patches // self.batch))
        epochs = self.epochs
        if epochs is None:
            epochs = min(EPOCHS_MOST, max(EPOCHS_LEAST, -(-STEPS_LEAST // per_epoch)))
        steps = self.steps or epochs * per_epoch
        warmup = min(WARMUP_MOST, round(WARMUP_SHARE * steps)) if self.warmup_steps is None else self.warmup_steps
        return replace(self, epochs=epochs, warmup_steps=warmup)


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a run: after a step, or after an epoch if `held_score` is set."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    held_score: float | None
    cpu_s: float
    left_s: float  # estimate for the rest of the run


@dataclass(slots=True)
class Hooks:
    """Callbacks of a run, and the file in which its state is stored."""

    on_progress: Callable[[Progress], None] = lambda _: None  # called after every step and every epoch
    # called after every step; if it returns true, the run stores its state and raises TrainingPausedError
    should_stop: Callable[[], bool] = lambda: False
    checkpoint: Path | None = None  # file for the state, written after every epoch; None: the state is not stored
    resume: bool = False  # resume from that file if it exists
    on_warning: Callable[[str], None] = lambda _: None  # called with each warning before the run
    on_resume: Callable[[int], None] = lambda _: None  # called with the epoch in which a stored run resumes
    clock: Callable[[], float] = time.process_time  # seconds of processor time, as `time.process_time`


class BestEpoch(NamedTuple):
    """The epoch with the best score so far."""

    score: float  # on the held part
    epoch: int
    threshold: float
    state: dict[str, torch.Tensor]  # weights of the scored network


class ImageryLearner:
    """A network in training.

    Batches, their order and their variation depend only on seed, epoch and step, so a checkpoint does not contain them.
    It contains the state of the random generator of PyTorch, which drop-out uses. On an accelerator some sums have no
    fixed order, so the same seed gives nearly but not exactly the same weights.

    Args:
        fit: positions of the patches to train on.
        landslide_share: share of landslide pixels in the fit part, for the loss.
        scorer: scores the network after each epoch, to find the best one. None: there is no best epoch.
        network: to start from. None: the network of the settings with random weights.
        native: the patches whose quality is degraded (`degraded_share`). None: `patches`.
    """

    def __init__(
        self,
        patches: Patches,
        fit: NDArray[np.int64],
        settings: ImageryTrainingSettings,
        normalisation: Normalisation,
        landslide_share: float,
        scorer: Scorer | None,
        network: torch.nn.Module | None = None,
        device: torch.device = PROCESSOR,
        native: NativePatches | None = None,
    ) -> None:
        torch.manual_seed(settings.seed)
        torch.use_deterministic_algorithms(mode=True, warn_only=device != PROCESSOR)
        settings = settings.with_defaults(len(fit))
        self.patches = patches
        self.fit = fit
        self.normalisation = normalisation
        self.settings = settings
        self.scorer = scorer
        self.device = device
        self.native = native or (patches, lambda converted: converted)
        self.epoch = 1  # the present epoch
        self.step = 0  # steps of the present epoch that are done
        channels = len(patches.bands) + CHANNELS_PER_BAND * len(patches.optional_bands)
        self.network = network or build(settings.network, channels, 2, settings.width, **settings.options)
        self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss = make_loss(settings.loss, landslide_share)
        if settings.optimiser not in OPTIMISERS:
            raise TrainingRecipeError(f"unknown optimiser {settings.optimiser!r}; known: {', '.join(OPTIMISERS)}")
        if settings.schedule not in SCHEDULES:
            raise TrainingRecipeError(f"unknown schedule {settings.schedule!r}; known: {', '.join(SCHEDULES)}")
        self.optimiser = OPTIMISERS[settings.optimiser](
            group_parameters(self.network, settings), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.averaged = copy.deepcopy(self.network) if settings.averaging else None
        self.steps_per_epoch = len(self._list_batches())
        if not self.steps_per_epoch:
            raise TrainingRecipeError(f"{len(fit)} patches to fit are too few")
        self.epochs = -(-settings.steps // self.steps_per_epoch) if settings.steps else settings.epochs or 0
        if self.epochs < 1:
            raise TrainingRecipeError("epochs must be at least 1")
        self.losses: list[float] = []  # of the steps of the present epoch
        self.history: list[dict[str, float]] = []
        self.best: BestEpoch | None = None
        self.cpu_s = 0.0
        self._digest: str | None = None

    @property
    def scored_network(self) -> torch.nn.Module:
        """The network that is scored and stored: with the mean weights if they are computed."""
        return self.network if self.averaged is None else self.averaged

    def run(self, hooks: Hooks) -> None:
        """Train to the end, or resume a stored run.

        Raises:
            TrainingPausedError: `Hooks.should_stop` returned true. The state is stored.
            OtherRunError: the checkpoint is of another run.
        """
        if hooks.resume and hooks.checkpoint and hooks.checkpoint.exists():
            self.load_checkpoint(hooks.checkpoint)
            hooks.on_resume(self.epoch)
        started_s = hooks.clock() - self.cpu_s
        while self.epoch <= self.epochs:
            self.network.train()
            batches = self._list_batches()
            while self.step < len(batches):
                self.losses.append(self._train_on_batch(batches[self.step]))
                self.step += 1
                self.cpu_s = hooks.clock() - started_s
                hooks.on_progress(self._make_progress(None))
                if hooks.should_stop():
                    if hooks.checkpoint:
                        self.save_checkpoint(hooks.checkpoint)
                    raise TrainingPausedError(
                        f"stopped in epoch {self.epoch} of {self.epochs}; the same command goes on"
                    )
            held_score = None
            scores = {}
            if self.scorer:
                held_score, threshold = self.scorer(self.scored_network)
                scores = {"held_f1": round(held_score, 5)}
                if self.best is None or held_score > self.best.score:
                    state = {key: value.detach().clone() for key, value in self.scored_network.state_dict().items()}
                    self.best = BestEpoch(held_score, self.epoch, threshold, state)
            rate = self.settings.learning_rate * self._find_rate(self.epoch * self.steps_per_epoch - 1)
            loss = round(float(np.mean(self.losses)), 5)
            self.history.append({"epoch": self.epoch, "loss": loss, **scores, "learning_rate": round(float(rate), 8)})
            self.cpu_s = hooks.clock() - started_s
            hooks.on_progress(self._make_progress(held_score))
            self.epoch += 1
            self.step = 0
            self.losses = []
            if hooks.checkpoint:
                self.save_checkpoint(hooks.checkpoint)
            if self.settings.time_limit_cpu_s and self.cpu_s > self.settings.time_limit_cpu_s:
                break

    def save_checkpoint(self, path: Path) -> None:
        """Write the state of the run to a file, atomically."""
        tensors = {f"network/{key}": value for key, value in self.network.state_dict().items()}
        if self.averaged is not None:
            tensors |= {f"averaged/{key}": value for key, value in self.averaged.state_dict().items()}
        if self.best:
            tensors |= {f"best/{key}": value for key, value in self.best.state.items()}
        for number, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{number}/{key}": torch.as_tensor(value) for key, value in values.items()}
        tensors["torch_rng"] = torch.get_rng_state()
        facts = {
            "key": self.digest(),
            "epoch": self.epoch,
            "step": self.step,
            "losses": self.losses,
            "history": self.history,
            "best": (self.best.score, self.best.epoch, self.best.threshold) if self.best else None,
            "cpu_s": self.cpu_s,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        # The safetensors format has no tensors that share memory or are not contiguous.
        contiguous = {
            key: value.detach().clone(memory_format=torch.contiguous_format) for key, value in tensors.items()
        }
        with replacing(path, flush=True) as partial:
            save_file(contiguous, partial, metadata={_METADATA_KEY: json.dumps(facts)})

    def load_checkpoint(self, path: Path) -> None:
        """Restore the state that `save_checkpoint` wrote.

        Raises:
            OtherRunError: it is the state of a run with other data or settings.
            TrainingRecipeError: the file is damaged.
        """
        facts, tensors = read_checkpoint(path)
        if facts["key"] != self.digest():
            raise OtherRunError(
                f"{path}: an unfinished run of other data or settings ({facts['epoch'] - 1} passes are done)"
            )
        self.network.load_state_dict(select_prefix(tensors, "network/"))
        if self.averaged is not None:
            self.averaged.load_state_dict(select_prefix(tensors, "averaged/"))
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in select_prefix(tensors, "optimiser/").items():
            number, key = name.split("/")
            state.setdefault(int(number), {})[key] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        torch.set_rng_state(tensors["torch_rng"])
        self.epoch = facts["epoch"]
        self.step = facts["step"]
        self.losses = facts["losses"]
        self.history = facts["history"]
        self.cpu_s = facts["cpu_s"]
        self.best = None
        if facts["best"]:
            score, epoch, threshold = facts["best"]
            self.best = BestEpoch(score, epoch, threshold, select_prefix(tensors, "best/"))

    def digest(self) -> str:
        """Return a digest of settings, patches, fit part and normalisation. A run is resumed only if it matches."""
        if self._digest is None:
            facts = [
                asdict(self.settings),
                self.patches.fingerprint(),
                self.fit.tolist(),
                [values.tolist() for values in self.normalisation],
                self.network.__class__.__name__,
            ]
            self._digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return self._digest

    def _list_batches(self) -> list[NDArray[np.int64]]:
        order = np.random.default_rng([self.settings.seed, self.epoch]).permutation(self.fit)
        batches = [order[start : start + self.settings.batch] for start in range(0, len(order), self.settings.batch)]
        # Batch normalisation needs more than one patch.
        return [batch for batch in batches if len(batch) > 1]

    def _train_on_batch(self, positions: NDArray[np.int64]) -> float:
        """Make one step on the patches at the given positions, and return its loss."""
        steps_done = self._count_steps()
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * group["share"] * self._find_rate(steps_done)
        images, truth = (part.to(self.device) for part in self._make_batch(positions))
        self.optimiser.zero_grad(set_to_none=True)
        logits = self.network(images)
        if logits.ndim == 2:  # a classifier of whole patches
            truth = (truth == 1).flatten(1).any(dim=1).long()
        loss = self.loss(logits, truth)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        if self.averaged is not None:
            self._average(self.averaged)
        return float(loss.item())

    @torch.no_grad()
    def _average(self, averaged: torch.nn.Module) -> None:
        """Update the running mean of the weights. Statistics of normalisations are means already and are copied."""
        # The first steps have equal weights, so that the mean does not stay near the weights of the start.
        share = max(1 - self.settings.averaging, 1 / (self._count_steps() + 1))
        for mean, weight in zip(averaged.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(weight, share)
        for buffer, present in zip(averaged.buffers(), self.network.buffers(), strict=True):
            buffer.copy_(present)

    def _count_steps(self) -> int:
        return (self.epoch - 1) * self.steps_per_epoch + self.step

    def _make_batch(self, positions: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng([self.settings.seed, self.epoch, self.step])
        patches = [self._read_patch(int(position), rng) for position in positions]
        varied = [
            vary(
                image,
                mask,
                self.normalisation,
                self.settings,
                rng,
                self.patches.read_channels(int(position)),
            )
            for position, (image, mask) in zip(positions, patches, strict=True)
        ]
        try:
            images, truth = (np.stack(arrays) for arrays in zip(*varied, strict=True))
        except ValueError:
            raise TrainingRecipeError("the patches have different sizes; give data.size_px to resize them") from None
        return torch.from_numpy(images).contiguous(memory_format=torch.channels_last), torch.from_numpy(truth)

    def _read_patch(self, position: int, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Return image and mask of a patch. In a share `degraded_share` of the calls its quality is degraded."""
        if not self.settings.degraded_share or rng.random() >= self.settings.degraded_share:
            return self.patches.read(position)[1:]
        return read_degraded(self.native, position, self.settings, rng)

    def _find_rate(self, step: int) -> float:
        """Return the learning rate of a step as a share of `learning_rate`."""
        warmup = self.settings.warmup_steps or 0
        if step < warmup:
            return (step + 1) / warmup
        if self.settings.schedule == "constant":
            return 1.0
        share = (step - warmup) / max(1, self.epochs * self.steps_per_epoch - warmup)
        least = 0.02 if self.settings.schedule == "cosine" else 0.0
        return least + (1 - least) * 0.5 * (1 + float(np.cos(np.pi * min(1.0, share))))

    def _make_progress(self, held_score: float | None) -> Progress:
        steps_done = self._count_steps()
        steps_left = self.epochs * self.steps_per_epoch - steps_done
        return Progress(
            self.epoch,
            self.epochs,
            self.step,
            self.steps_per_epoch,
            float(np.mean(self.losses)),
            held_score,
            self.cpu_s,
            self.cpu_s / max(steps_done, 1) * steps_left,
        )


def group_parameters(network: torch.nn.Module, settings: ImageryTrainingSettings) -> list[dict[str, Any]]:
    """Return the parameters of the encoder and all others, each group with its share of the learning rate."""
    if settings.encoder_rate == 1.0:
        return [{"params": list(network.parameters()), "share": 1.0}]
    encoder = [value for name, value in network.named_parameters() if name.startswith("encoder.")]
    others = [value for name, value in network.named_parameters() if not name.startswith("encoder.")]
    return [{"params": encoder, "share": settings.encoder_rate}, {"params": others, "share": 1.0}]


def read_degraded(
    native: NativePatches, position: int, how: Augmentation, rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Return image and mask of a patch after a loss of quality, in the unit that the network reads."""
    patches, convert = native
    _, image, mask = patches.read(position)
    degraded = make_patches(degrade_patch(image, how, rng)[None], mask[None], patches.bands)
    return convert(degraded).read(0)[1:]

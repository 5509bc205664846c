"""One training run as a thing that can be put down and taken up again: its place is a file, its curve the same."""

import copy
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from detection.imagery.data.augment import Augmentation, degrade_patch, vary
from detection.imagery.data.patches import Patches, hold_arrays, resize_bands, resize_mask
from detection.imagery.errors import OtherRunError, TrainingPausedError, TrainingRecipeError
from detection.imagery.neural.device import PROCESSOR
from detection.imagery.neural.losses import make_loss
from detection.imagery.optional_bands import CHANNELS_PER_BAND
from detection.imagery.registry import build
from detection.whole_file import replacing

Normalisation = tuple[NDArray[np.float32], NDArray[np.float32]]
Scorer = Callable[[torch.nn.Module], tuple[float, float]]
"""From the network to (score on the held part, threshold)."""
NativePatches = tuple[Patches, Callable[[Patches], Patches]]
"""The patches in the unit of their files, where quality is lost, and what turns them into those that are shown."""
# A run of default length: so many steps, within so many passes.
STEPS_LEAST = 400
EPOCHS_LEAST, EPOCHS_MOST = 13, 60
SCHEDULES = ("cosine", "one-cycle", "constant")
# The warm-up takes this part of a run, and no more steps than on Landslide4Sense.
WARMUP_SHARE, WARMUP_MOST = 0.14, 100


def read_place(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the facts and tensors of a place.

    Raises:
        TrainingRecipeError: it is damaged, or something else.
    """
    try:
        with safe_open(path, "pt") as source:
            facts = json.loads(source.metadata()["place"])
            return facts, {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, KeyError, TypeError, ValueError):
        raise TrainingRecipeError(
            f"{path}: not the place of a training run; remove it, or begin anew (--anew)"
        ) from None


def below(tensors: dict[str, torch.Tensor], head: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with `head`, without it."""
    return {name.removeprefix(head): value for name, value in tensors.items() if name.startswith(head)}


@dataclass(frozen=True, slots=True)
class ImageryTrainingSettings(Augmentation):
    """How to train and how patches vary; the defaults are those measured on Landslide4Sense patches."""

    seed: int = 0
    network: str = "unet"
    width: float = 0.125
    options: dict[str, Any] = field(default_factory=dict)  # options of the network's family
    # weights (shipped name or path) of the same bands and stretch to go on from, with their network and normalisation;
    # empty: fresh ones
    start: str = ""
    encoder: str = ""  # .safetensors file of encoder weights to begin with, see `encoder_file`
    epochs: int | None = None  # passes over the fit part; None: as many as make `STEPS_LEAST` steps, see `fitted`
    steps: int = 0  # if not 0, this many steps instead of `epochs`, in whole passes
    # stop after the epoch in which this much CPU time is spent; 0 = none. A run that is cut short is not reproducible
    # on another machine.
    time_limit_cpu_s: float = 0.0
    batch: int = 16
    optimiser: str = "adamw"  # `adamw` or `adam`
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    schedule: str = "cosine"  # `cosine` (down to 2 % after the warm-up), `one-cycle` (to nothing) or `constant`
    encoder_rate: float = 1.0  # learning rate of the encoder, as a share of that of the other layers
    # share of the mean weights that each step keeps; 0: the weights themselves. The mean over many steps is judged and
    # kept (Polyak and Juditsky 1992).
    averaging: float = 0.0
    # last passes in which patches are enlarged to this side, so that small landslides are learnt too
    enlarged_epochs: int = 0
    enlarged_px: int = 256
    warmup_steps: int | None = None  # steps over which the rate rises; None: a share of the run, see `fitted`
    loss: str = "ce+dice"  # terms of `losses.make_loss`, joined by `+`
    split: str = "seeded"  # how the held part is chosen, see `splits`
    held_share: float = 0.15  # part of train that chooses epoch, temperature and threshold
    threshold: float = 0.0  # if not 0, this threshold instead of the best on the held part
    temperature: float = 0.0  # if not 0, this temperature instead of the one fitted on the held part
    # hold every band within the .1 to 99.9 percentile of the fit part: for values that are no reflectance
    clip: bool = False

    def fitted(self, patches: int) -> "ImageryTrainingSettings":
        """Return the settings with what depends on the size of the set filled in, where it was not given.

        Few patches need many passes: with the 13 passes that 900 patches need, 200 patches are left half learnt.

        `patches`: of the fit part.

        >>> [ImageryTrainingSettings().fitted(n).epochs for n in (20, 184, 935, 40_000)]
        [60, 34, 13, 13]
        >>> [one.fitted(184).warmup_steps for one in (ImageryTrainingSettings(), ImageryTrainingSettings(epochs=10))]
        [57, 17]
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
    """Where a run stands: after a step, or with `held_score` after an epoch."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    held_score: float | None
    cpu_s: float
    left_s: float


@dataclass(slots=True)
class Hooks:
    """Callbacks of a run, and where its state is stored."""

    on_progress: Callable[[Progress], None] = lambda _: None  # called after every step and every epoch
    # asked after every step; true saves the place and raises TrainingPausedError
    should_stop: Callable[[], bool] = lambda: False
    place: Path | None = None  # file of the place; None keeps nothing
    resume: bool = False  # go on from that file where it exists
    on_warning: Callable[[str], None] = lambda _: None  # told before the run what is doubtful about it
    on_resume: Callable[[int], None] = lambda _: None  # told the epoch in which a kept run goes on
    clock: Callable[[], float] = time.process_time  # seconds of processor time, as `time.process_time`


class ImageryLearner:
    """A network in training.

    Batches, their order and their variation follow from (seed, epoch, step) alone, so that a place needs no state of
    them; the generator of torch (drop-out) is kept with the place. On an accelerator a few sums have no fixed order:
    there the same seed gives nearly the same weights.
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
        self.patches, self.fit, self.normalisation = patches, fit, normalisation
        self.settings = settings = settings.fitted(len(fit))
        self.scorer, self.device = scorer, device
        self.native = native or (patches, lambda shown: shown)
        self.epoch, self.step = 1, 0
        channels = len(patches.bands) + CHANNELS_PER_BAND * len(patches.optional_bands)
        self.network = network or build(settings.network, channels, 2, settings.width, **settings.options)
        self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss = make_loss(settings.loss, landslide_share)
        kinds: dict[str, type[torch.optim.Adam]] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
        if settings.optimiser not in kinds:
            raise TrainingRecipeError(f"unknown optimiser {settings.optimiser!r}; known: {', '.join(kinds)}")
        if settings.schedule not in SCHEDULES:
            raise TrainingRecipeError(f"unknown schedule {settings.schedule!r}; known: {', '.join(SCHEDULES)}")
        self.optimiser = kinds[settings.optimiser](
            group_parameters(self.network, settings), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.averaged = copy.deepcopy(self.network) if settings.averaging else None
        self.steps_per_epoch = len(self._cuts())
        if not self.steps_per_epoch:
            raise TrainingRecipeError(f"{len(fit)} patches to fit are too few")
        self.epochs = -(-settings.steps // self.steps_per_epoch) if settings.steps else settings.epochs or 0
        if self.epochs < 1:
            raise TrainingRecipeError("epochs must be at least 1")
        self.losses: list[float] = []
        self.history: list[dict[str, float]] = []
        self.best: tuple[float, int, float, dict[str, torch.Tensor]] | None = None
        self.cpu_s = 0.0
        self._key: str | None = None

    @property
    def judged(self) -> torch.nn.Module:
        """The network that is judged and kept: that of the mean weights where they are computed."""
        return self.network if self.averaged is None else self.averaged

    def run(self, hooks: Hooks) -> None:
        """Train to the end, from wherever the run stands.

        Raises:
            TrainingPausedError: it was asked to stop; the place is kept.
            OtherRunError: the kept place is of another run.
        """
        if hooks.resume and hooks.place and hooks.place.exists():
            self.take_up(hooks.place)
            hooks.on_resume(self.epoch)
        begun = hooks.clock() - self.cpu_s
        while self.epoch <= self.epochs:
            self.network.train()
            cuts = self._cuts()
            while self.step < len(cuts):
                self.losses.append(self._learn(cuts[self.step]))
                self.step += 1
                self.cpu_s = hooks.clock() - begun
                hooks.on_progress(self._make_progress(None))
                if hooks.should_stop():
                    if hooks.place:
                        self.put_down(hooks.place)
                    raise TrainingPausedError(
                        f"stopped in epoch {self.epoch} of {self.epochs}; the same command goes on"
                    )
            held_score, judged = None, {}
            if self.scorer:
                held_score, threshold = self.scorer(self.judged)
                judged = {"held_f1": round(held_score, 5)}
                if self.best is None or held_score > self.best[0]:
                    state = {key: value.detach().clone() for key, value in self.judged.state_dict().items()}
                    self.best = held_score, self.epoch, threshold, state
            rate = self.settings.learning_rate * self._rate(self.epoch * self.steps_per_epoch - 1)
            loss = round(float(np.mean(self.losses)), 5)
            self.history.append({"epoch": self.epoch, "loss": loss, **judged, "learning_rate": round(float(rate), 8)})
            self.cpu_s = hooks.clock() - begun
            hooks.on_progress(self._make_progress(held_score))
            self.epoch, self.step, self.losses = self.epoch + 1, 0, []
            if hooks.place:
                self.put_down(hooks.place)
            if self.settings.time_limit_cpu_s and self.cpu_s > self.settings.time_limit_cpu_s:
                break

    def put_down(self, path: Path) -> None:
        """Write the place: weights, best weights, optimiser, generator, curve; by temporary name, synced, renamed."""
        tensors = {f"network/{key}": value for key, value in self.network.state_dict().items()}
        if self.averaged is not None:
            tensors |= {f"averaged/{key}": value for key, value in self.averaged.state_dict().items()}
        if self.best:
            tensors |= {f"best/{key}": value for key, value in self.best[3].items()}
        for number, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{number}/{key}": torch.as_tensor(value) for key, value in values.items()}
        tensors["torch_rng"] = torch.get_rng_state()
        place = {
            "key": self.key(),
            "epoch": self.epoch,
            "step": self.step,
            "losses": self.losses,
            "history": self.history,
            "best": self.best[:3] if self.best else None,
            "cpu_s": self.cpu_s,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        # cloned: safetensors refuses tensors that share memory, and wants them in rows
        whole = {key: value.detach().clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}
        with replacing(path, flush=True) as partial:
            save_file(whole, partial, metadata={"place": json.dumps(place)})

    def take_up(self, path: Path) -> None:
        """Go back to a place that was put down.

        Raises:
            OtherRunError: it is of other data or settings.
            TrainingRecipeError: it is damaged.
        """
        place, tensors = read_place(path)
        if place["key"] != self.key():
            raise OtherRunError(
                f"{path}: an unfinished run of other data or settings ({place['epoch'] - 1} passes are done)"
            )
        self.network.load_state_dict(below(tensors, "network/"))
        if self.averaged is not None:
            self.averaged.load_state_dict(below(tensors, "averaged/"))
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in below(tensors, "optimiser/").items():
            number, key = name.split("/")
            state.setdefault(int(number), {})[key] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        torch.set_rng_state(tensors["torch_rng"])
        self.epoch, self.step, self.losses = place["epoch"], place["step"], place["losses"]
        self.history, self.cpu_s = place["history"], place["cpu_s"]
        self.best = (*place["best"], below(tensors, "best/")) if place["best"] else None

    def key(self) -> str:
        """What a place must agree with: settings, patches, which are fitted, normalisation."""
        if self._key is None:
            facts = [
                asdict(self.settings),
                self.patches.fingerprint(),
                self.fit.tolist(),
                [values.tolist() for values in self.normalisation],
                self.network.__class__.__name__,
            ]
            self._key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return self._key

    def _cuts(self) -> list[NDArray[np.int64]]:
        order = np.random.default_rng([self.settings.seed, self.epoch]).permutation(self.fit)
        cuts = [order[start : start + self.settings.batch] for start in range(0, len(order), self.settings.batch)]
        return [cut for cut in cuts if len(cut) > 1]

    def _learn(self, chosen: NDArray[np.int64]) -> float:
        done = self._count_steps()
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * group["share"] * self._rate(done)
        images, truth = (part.to(self.device) for part in self._batch(chosen))
        self.optimiser.zero_grad(set_to_none=True)
        logits = self.network(images)
        if logits.ndim == 2:  # a network that judges whole patches
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
        """Move the mean weights towards the present ones. Statistics of normalisations are averages already."""
        # the first steps count in full, so that the mean does not stay at the weights of the start
        share = max(1 - self.settings.averaging, 1 / (self._count_steps() + 1))
        for mean, weight in zip(averaged.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(weight, share)
        for kept, present in zip(averaged.buffers(), self.network.buffers(), strict=True):
            kept.copy_(present)

    def _count_steps(self) -> int:
        return (self.epoch - 1) * self.steps_per_epoch + self.step

    def _batch(self, chosen: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng([self.settings.seed, self.epoch, self.step])
        members = [self._read(int(position), rng) for position in chosen]
        side = None
        if self.epoch > self.epochs - self.settings.enlarged_epochs:
            side = (self.settings.enlarged_px, self.settings.enlarged_px)
            members = [(resize_bands(image, side), resize_mask(mask, side)) for image, mask in members]
        pairs = [
            vary(
                image,
                mask,
                self.normalisation,
                self.settings,
                rng,
                self.patches.read_channels(int(position), side),
            )
            for position, (image, mask) in zip(chosen, members, strict=True)
        ]
        try:
            images, truth = (np.stack(values) for values in zip(*pairs, strict=True))
        except ValueError:
            raise TrainingRecipeError("the patches have different sizes; give data.size_px to resize them") from None
        return torch.from_numpy(images).contiguous(memory_format=torch.channels_last), torch.from_numpy(truth)

    def _read(self, position: int, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        how = self.settings
        if not how.degraded_share or rng.random() >= how.degraded_share:
            return self.patches.read(position)[1:]
        return read_degraded(self.native, position, how, rng)

    def _rate(self, step: int) -> float:
        warmup = self.settings.warmup_steps or 0
        if step < warmup:
            return (step + 1) / warmup
        if self.settings.schedule == "constant":
            return 1.0
        share = (step - warmup) / max(1, self.epochs * self.steps_per_epoch - warmup)
        least = 0.02 if self.settings.schedule == "cosine" else 0.0
        return least + (1 - least) * 0.5 * (1 + float(np.cos(np.pi * min(1.0, share))))

    def _make_progress(self, held_score: float | None) -> Progress:
        done = self._count_steps()
        left = self.epochs * self.steps_per_epoch - done
        return Progress(
            self.epoch,
            self.epochs,
            self.step,
            self.steps_per_epoch,
            float(np.mean(self.losses)),
            held_score,
            self.cpu_s,
            self.cpu_s / max(done, 1) * left,
        )


def group_parameters(network: torch.nn.Module, settings: ImageryTrainingSettings) -> list[dict[str, Any]]:
    """Return the parameters in groups with their share of the learning rate: the encoder, and all others."""
    if settings.encoder_rate == 1.0:
        return [{"params": list(network.parameters()), "share": 1.0}]
    encoder = [value for name, value in network.named_parameters() if name.startswith("encoder.")]
    others = [value for name, value in network.named_parameters() if not name.startswith("encoder.")]
    return [{"params": encoder, "share": settings.encoder_rate}, {"params": others, "share": 1.0}]


def read_degraded(
    native: NativePatches, position: int, how: Augmentation, rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """A patch as it would be shown had it lost quality, and its truth."""
    patches, show = native
    _, image, mask = patches.read(position)
    return show(hold_arrays(degrade_patch(image, how, rng)[None], mask[None], patches.bands)).read(0)[1:]

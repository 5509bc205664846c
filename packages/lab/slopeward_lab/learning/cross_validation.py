"""How long to learn within a time, and at which threshold: by cross-validation over images."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.patches import Patches
from detection.imagery.data.splits import ALL, Parts
from detection.imagery.neural.calibration import TemperatureCalibration, choose_threshold, fit_temperature, sample_odds
from detection.imagery.neural.learner import CHECKPOINT_SUFFIX, Hooks, ImageryTrainingSettings
from detection.imagery.neural.training import predict_known_odds, train_patches
from detection.whole_file import replacing, write_json

LEAST_PASSES: Final = 2
ENOUGH: Final = 3.0
"""Times the usual passes: more of them bring no more."""
VALIDATED: Final = "validated.json"


@dataclass(frozen=True, slots=True)
class Budget:
    """The time for learning, and what a pass takes of it, in seconds of the processor."""

    seconds: float  # for the networks of all folds and the last one
    folds_s: float  # a pass of the networks of all folds together
    last_s: float  # a pass of the last network, which learns from all tiles
    look_s: float  # at all tiles once
    usual: int  # passes of a run of usual length over all tiles

    def fit(self) -> int:
        """The passes that the time allows, and no more than `ENOUGH`.

        >>> [Budget(seconds, folds_s=2.0, last_s=1.0, look_s=1.0, usual=10).fit() for seconds in (1.0, 61.0, 999.0)]
        [2, 20, 30]
        """
        possible = int((self.seconds - self.look_s) / (self.folds_s + self.last_s))
        return max(LEAST_PASSES, min(possible, round(ENOUGH * self.usual)))


@dataclass(frozen=True, slots=True)
class ValidatedLength:
    """What networks that learnt for so many passes found on tiles that they had not learnt from."""

    epochs: int  # passes
    f1: float  # pooled over the tiles of all folds, at the threshold
    threshold: float  # of calibrated probabilities: the best for these tiles
    calibration: TemperatureCalibration  # temperature fitted on them
    cpu_s: float  # what it took


def measure_budget(
    seconds: float, step_s: float, tile_s: float, settings: ImageryTrainingSettings, folds: Sequence[Parts], tiles: int
) -> Budget:
    """What passes cost: steps of `step_s`, looks of `tile_s` at a tile."""

    def pass_s(fitted: int) -> float:
        return step_s * -(-fitted // settings.batch)

    usual = ImageryTrainingSettings().with_defaults(tiles).epochs  # as measured with the batches of recipes
    assert usual is not None
    return Budget(seconds, sum(pass_s(len(fit)) for fit, _ in folds), pass_s(tiles), tile_s * tiles, usual)


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """Networks of the folds of one set of tiles; what is done lies in `work`, so that a run that was killed goes on."""

    train: Patches
    folds: Sequence[Parts]
    settings: ImageryTrainingSettings
    work: Path
    hooks: Hooks

    def run(self, epochs: int) -> ValidatedLength:
        """Learn without each fold in turn and look at what it holds; pool that of all folds."""
        kept = self.work / VALIDATED
        if kept.is_file():
            row = json.loads(kept.read_text(encoding="utf-8"))
            return ValidatedLength(**{**row, "calibration": TemperatureCalibration(**row["calibration"])})
        settings = replace(self.settings, epochs=epochs, split=ALL)
        names = [f"fold-{number}" for number in range(len(self.folds))]
        looks = [self._score_fold(name, parts, settings) for name, parts in zip(names, self.folds, strict=True)]
        held = [(odds, truth) for odds, truth, _ in looks]
        calibration = fit_temperature(*sample_odds(held, sum(truth.size for _, truth in held)))
        threshold, f1 = choose_threshold(held, calibration.temperature)
        found = ValidatedLength(epochs, f1, threshold, calibration, round(sum(cpu_s for _, _, cpu_s in looks), 2))
        write_json(kept, asdict(found))
        for name in names:
            (self.work / f"{name}.npz").unlink()
        return found

    def _score_fold(
        self, name: str, parts: Parts, settings: ImageryTrainingSettings
    ) -> tuple[NDArray[Any], NDArray[np.bool_], float]:
        kept, checkpoint = self.work / f"{name}.npz", self.work / f"{name}{CHECKPOINT_SUFFIX}"
        if not kept.is_file():
            fit, held = parts
            hooks = replace(self.hooks, checkpoint=checkpoint, resume=True)
            trained = train_patches(self.train, settings, hooks, (fit, held[:0]))
            begun = self.hooks.clock()
            pairs = zip(*predict_known_odds(trained.network, self.train, held, trained.normalisation), strict=True)
            odds, truth = (np.concatenate(one) for one in pairs)
            cpu_s = trained.cpu_s + self.hooks.clock() - begun
            with replacing(kept) as partial, partial.open("wb") as file:
                np.savez(file, odds=odds.astype(np.float16), truth=truth, cpu_s=cpu_s)
        checkpoint.unlink(missing_ok=True)
        with np.load(kept) as found:
            return found["odds"].astype(np.float32), found["truth"], float(found["cpu_s"])

"""How long to learn, from which seed, at which threshold: chosen by cross-validation over images, within a time."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.patches import Patches
from detection.imagery.data.splits import ALL, Parts
from detection.imagery.neural.calibration import TemperatureCalibration, choose_threshold, fit_temperature, gather
from detection.imagery.neural.learner import Hooks, ImageryTrainingSettings
from detection.imagery.neural.training import held_odds, train_patches
from detection.learning.records import Report
from forecasting.whole_file import replacing, write_json

LEAST_PASSES: Final = 2
FIRST: Final = 1.5
"""Times the usual passes: so long is the first try, where the time is enough for a second one of double length."""
ENOUGH: Final = 3.0
"""Times the usual passes: where the time allows no more than this, all of it goes to one try."""
WORTH_IT: Final = 1.25
"""Times the passes of the best: what is less longer is no other try."""
STALE: Final = 3
"""So many tries in a row that brought nothing end the search."""
TRIED: Final = "tried.json"


@dataclass(frozen=True, slots=True)
class Budget:
    """The time for learning, and what a pass takes of it, in seconds of the processor."""

    seconds: float  # for all tries and the last network
    folds_s: float  # a pass of the networks of all folds together
    last_s: float  # a pass of the last network, which learns from all tiles
    look_s: float  # at all tiles once
    usual: int  # passes of a run of usual length over all tiles

    def fit(self) -> int:
        """The passes of one try and the last network that the time allows."""
        return max(LEAST_PASSES, int((self.seconds - self.look_s) / (self.folds_s + self.last_s)))


@dataclass(frozen=True, slots=True)
class LengthTrial:
    """A length and a seed, and what networks that learnt so found on tiles that they had not learnt from."""

    seed: int  # of weights, batches and variation
    epochs: int  # passes
    f1: float  # pooled over the tiles of all folds, at the threshold
    threshold: float  # of calibrated probabilities: the best for these tiles
    calibration: TemperatureCalibration  # temperature fitted on them
    cpu_s: float  # what it took


@dataclass(frozen=True, slots=True)
class BestTrial:
    """The best try, all of them, and why no other followed."""

    best: LengthTrial
    tried: tuple[LengthTrial, ...]
    why: str

    def doubts(self, budget: Budget) -> list[str]:
        """What to say where the time was too short for a network that has learnt what its tiles teach."""
        if self.best.epochs >= budget.usual:
            return []
        short = f"{self.best.epochs} passes were possible in this time, and {budget.usual} are usual for so many tiles"
        return [f"{short}: give more --minutes"]


Run = Callable[[int, int], LengthTrial]
"""From (seed, passes) to what cross-validation says of them."""


def search(run: Run, budget: Budget, seed: int, report: Report, tried: Sequence[LengthTrial] = ()) -> BestTrial:
    """Try lengths and seeds until the time is spent, or until nothing brings more.

    The first try has the usual length or what the time allows; as long as longer is better by cross-validation the next
    one is twice as long, and then it has another seed. Time for the last network is set aside.

    `tried`: what a run that was cut off had tried before.
    """
    done = list(tried)
    while True:
        epochs, why = plan_next(done, budget)
        if epochs is None:
            return BestTrial(_find_best(done), tuple(done), why)
        found = run(seed + len(done), epochs)
        done.append(found)
        report(
            f"try {len(done)}: {found.epochs} passes, seed {found.seed}: F1 {found.f1:.3f} on tiles not learnt from "
            f"(cross-validation), {found.cpu_s:.0f} s"
        )


def plan_next(done: Sequence[LengthTrial], budget: Budget) -> tuple[int | None, str]:
    """The passes of the next try, or None and why there is none.

    >>> budget = Budget(seconds=100.0, folds_s=2.0, last_s=1.0, look_s=1.0, usual=10)
    >>> plan_next([], budget)
    (15, '')
    >>> first = LengthTrial(0, 15, 0.5, 0.5, TemperatureCalibration(), 31.0)
    >>> plan_next([first], budget)
    (22, '')
    >>> plan_next([first, LengthTrial(1, 22, 0.4, 0.5, TemperatureCalibration(), 45.0)], budget)
    (None, 'the time is spent')
    """
    if not done:
        possible = budget.fit()
        if possible <= ENOUGH * budget.usual:
            return possible, ""
        return max(LEAST_PASSES, round(FIRST * budget.usual)), ""
    best = _find_best(done)
    stale = len(done) - 1 - list(done).index(best)
    if stale >= STALE:
        f1 = ", ".join(f"{one.f1:.3f}" for one in done[-stale:])
        return None, f"{stale} more tries, longer or from other seeds, brought nothing (F1 {f1} after {best.f1:.3f})"
    # what passes took is known by now
    folds_s = max(budget.folds_s, *((one.cpu_s - budget.look_s) / one.epochs for one in done))
    last_s = budget.last_s * folds_s / budget.folds_s
    left_s = budget.seconds - sum(one.cpu_s for one in done) - budget.look_s
    if not stale:  # the newest is the best: longer may be better still
        longest = int(left_s / (folds_s + last_s))
        if (epochs := min(2 * best.epochs, longest)) >= WORTH_IT * best.epochs:
            return epochs, ""
    if best.epochs * (folds_s + last_s) <= left_s:
        return best.epochs, ""
    return None, "the time is spent"


def _find_best(done: Sequence[LengthTrial]) -> LengthTrial:
    """The best by cross-validation; of equals the first, which is the shorter."""
    return max(done, key=lambda one: one.f1)


def measure_budget(
    seconds: float, step_s: float, tile_s: float, settings: ImageryTrainingSettings, folds: Sequence[Parts], tiles: int
) -> Budget:
    """What passes cost: steps of `step_s`, looks of `tile_s` at a tile."""

    def pass_s(fitted: int) -> float:
        return step_s * -(-fitted // settings.batch)

    usual = ImageryTrainingSettings().fitted(tiles).epochs  # as measured with the batches of recipes
    assert usual is not None
    return Budget(seconds, sum(pass_s(len(fit)) for fit, _ in folds), pass_s(tiles), tile_s * tiles, usual)


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """Tries of one set of tiles; what is done lies in `work`, so that a run that was killed goes on."""

    train: Patches
    folds: Sequence[Parts]
    settings: ImageryTrainingSettings
    work: Path
    hooks: Hooks

    def tried(self) -> tuple[LengthTrial, ...]:
        """What was tried before."""
        path = self.work / TRIED
        rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        return tuple(
            LengthTrial(**{**row, "calibration": TemperatureCalibration(**row["calibration"])}) for row in rows
        )

    def run(self, seed: int, epochs: int) -> LengthTrial:
        """Learn without each fold in turn and look at what it holds; pool that of all folds."""
        settings, before = replace(self.settings, seed=seed, epochs=epochs, split=ALL), self.tried()
        names = [f"try-{len(before)}-fold-{number}" for number in range(len(self.folds))]
        looks = [self._score_fold(name, parts, settings) for name, parts in zip(names, self.folds, strict=True)]
        pixels = sum(truth.size for _, truth, _ in looks)

        def held() -> Iterator[tuple[NDArray[np.floating], NDArray[np.bool_]]]:
            return ((odds, truth) for odds, truth, _ in looks)

        calibration = fit_temperature(*gather(held(), pixels))
        threshold, f1 = choose_threshold(held(), calibration.temperature)
        found = LengthTrial(seed, epochs, f1, threshold, calibration, round(sum(cpu_s for _, _, cpu_s in looks), 2))
        write_json(self.work / TRIED, [asdict(one) for one in (*before, found)])
        for name in names:
            (self.work / f"{name}.npz").unlink()
        return found

    def _score_fold(
        self, name: str, parts: Parts, settings: ImageryTrainingSettings
    ) -> tuple[NDArray[Any], NDArray[np.bool_], float]:
        """Log odds and truth of the known pixels that a fold holds, and the time it took."""
        kept, place = self.work / f"{name}.npz", self.work / f"{name}.place"
        if not kept.is_file():
            fit, held = parts
            hooks = replace(self.hooks, place=place, resume=True)
            trained = train_patches(self.train, settings, hooks, (fit, held[:0]))
            begun = self.hooks.clock()
            pairs = zip(*held_odds(trained.network, self.train, held, trained.normalisation), strict=True)
            odds, truth = (np.concatenate(one) for one in pairs)
            cpu_s = trained.cpu_s + self.hooks.clock() - begun
            with replacing(kept) as partial, partial.open("wb") as file:
                np.savez(file, odds=odds.astype(np.float16), truth=truth, cpu_s=cpu_s)
        place.unlink(missing_ok=True)
        with np.load(kept) as found:
            return found["odds"].astype(np.float32), found["truth"], float(found["cpu_s"])

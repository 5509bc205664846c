"""What more outlines would bring: the same training with a quarter and half of them, judged on the same tiles."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.patches import Patches
from detection.imagery.data.splits import Parts
from detection.imagery.errors import ImageryError, TrainingPausedError
from detection.imagery.neural.learner import Hooks, Settings
from detection.imagery.neural.training import Trained, predict_maps, train_patches
from detection.imagery.training.scoring import compare, pool_blocks, score_maps
from detection.learning.gate import measure_f1
from detection.whole_file import write_json

SHARES: Final = (0.5, 0.25)
SEEDS_MOST: Final = 2
LITTLE: Final = 0.03  # of F1
EPOCHS_LEAST: Final = 5


@dataclass(frozen=True, slots=True)
class Pace:
    """How much processor time training takes here, s: a step, and a look at one held tile."""

    step_s: float
    look_s: float

    def epoch_s(self, fitted: int, held: int, batch: int) -> float:
        """One pass."""
        return self.step_s * -(-fitted // batch) + self.look_s * held

    def fit(self, settings: Settings, fitted: int, held: int, seconds: float) -> Settings:
        """The usual length of a run, or what of it the time allows; two passes at least."""
        usual = settings.fitted(fitted)
        possible = int(seconds / self.epoch_s(fitted, held, settings.batch))
        return replace(settings, epochs=max(2, min(usual.epochs or 0, possible)))


def trace(
    train: Patches, test: Patches, parts: Parts, settings: Settings, pace: Pace, seconds: float, folder: Path
) -> None:
    """Train with parts of the labels until the time is over; each point is a file of `folder`, and is not made again.

    Args:
        train: tiles to learn from.
        test: tiles that were left out.
        parts: positions fitted and held; of those fitted a share is taken, by whole folders.
        settings: of the whole run.
        pace: of training here.
        seconds: of processor time, after which it ends.
        folder: of the points.
    """
    parent, begun = os.getppid(), time.process_time()
    for seed in range(settings.seed, settings.seed + SEEDS_MOST):
        for share in SHARES:
            path = folder / f"curve-{round(100 * share)}-{seed}.json"
            fit = _take_share(train, parts[0], share, seed)
            left_s = (seconds - time.process_time() + begun) / (len(SHARES) - SHARES.index(share))
            own = pace.fit(replace(settings, seed=seed, epochs=None), len(fit), len(parts[1]), left_s)
            if path.exists() or (own.epochs or 0) < EPOCHS_LEAST or len(fit) < 2:
                continue
            hooks = Hooks(should_stop=lambda: time.process_time() - begun > seconds or os.getppid() != parent)
            try:
                trained = train_patches(train, own, hooks, (fit, parts[1]))
            except TrainingPausedError:
                return
            except ImageryError:
                continue
            counts = count_tiles(trained, test)
            write_json(path, {"share": share, "seed": seed, "tiles": len(fit), "counts": counts.tolist()})


def _take_share(train: Patches, fit: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """So many of the positions, by whole folders; a smaller share is a part of a larger one."""
    folders = np.array([train.names[int(position)].rpartition("/images/")[0] for position in fit])
    order = np.random.default_rng(seed).permutation(np.unique(folders))
    rank = {name: number for number, name in enumerate(order)}
    places = np.argsort([rank[name] for name in folders], kind="stable")
    return np.sort(fit[places[: max(1, round(share * len(fit)))]])


def count_tiles(trained: Trained, test: Patches) -> NDArray[np.int64]:
    """Tiles x (tp, fp, fn, tn) at the network's own threshold."""
    normalisation = np.array(trained.mean, np.float32), np.array(trained.std, np.float32)
    maps = predict_maps(trained.network, test, normalisation, trained.calibration.temperature)
    return score_maps(maps, trained.threshold, draws=0, objects=False).confusions


def read_points(folder: Path) -> list[dict[str, Any]]:
    """The points that were made."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("curve-*.json"))]


def tell_curve(
    points: Sequence[dict[str, Any]], whole: NDArray[np.int64], blocks: NDArray[np.int64], tiles: int
) -> dict[str, Any]:
    """What the points say: mean F1 by share, and one sentence on what more labels would bring.

    Args:
        points: of the shares below 1.
        whole: tiles x (tp, fp, fn, tn) with all labels.
        blocks: of these tiles.
        tiles: that were learnt from.
    """
    by_share = {share: [np.array(one["counts"]) for one in points if one["share"] == share] for share in SHARES}
    rows = [
        {"share": share, "f1": round(float(np.mean([measure_f1(one) for one in runs])), 4), "seeds": len(runs)}
        for share, runs in sorted(by_share.items()) if runs
    ]  # fmt: skip
    rows.append({"share": 1.0, "f1": round(measure_f1(whole), 4), "seeds": 1})
    half = by_share[0.5]
    if not half:
        return {"points": rows, "said": "What more outlines would bring is not known: there was no time to try."}
    halves = np.asarray(np.sum(half, axis=0), np.int64)
    gain = compare(pool_blocks(whole * len(half), blocks), pool_blocks(halves, blocks))
    low, high = gain["interval"] or (-1.0, 1.0)
    one, other = f"{measure_f1(halves):.3f}", f"{measure_f1(whole):.3f}"
    begun = f"With half of the {tiles} tiles F1 is {one}, with all of them {other}"
    if high < LITTLE:
        said = f"{begun}: twice as many outlines of this kind would bring less than {LITTLE}."
    elif low > 0:
        said = f"{begun} ({low:.3f} to {high:.3f} more): more outlines are worth their work."
    else:
        said = f"{begun}: what more outlines would bring cannot be said ({low:+.3f} to {high:+.3f})."
    return {"points": rows, "half_to_whole": gain, "said": said}

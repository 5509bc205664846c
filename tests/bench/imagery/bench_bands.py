"""Band dropout on measured patches: true colour of many, all bands of one, tried on the other; both ways.

    python -m tests.bench.imagery.bench_bands

Of the 14-band patches of Landslide4Sense two are labelled. Networks see 1,098 true-colour patches, whose other bands
are missing, and one of the two with all bands; they map the other. All patches are standardised band by band, which
undoes the stretch of each picture. The pictures of the two patches themselves are left out of the training.

Logistic regression sees the same bands: of the one patch, or of a third of all with missing bands as their mean.
Thresholds: of maps by visible bands on 150 held pictures, of maps by all bands on the patch that was learnt from; the
average precision needs none. Intervals are paired, over 32 blocks of 32 x 32 pixels of both patches. There are two
landslides in them: nothing here is a verdict on other ground.

Each trained network is kept in build/, so that a run that was killed goes on where it was.
"""

import pickle
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.band_groups import mask_bands
from detection.imagery.data.catalogue import open_data
from detection.imagery.data.files import open_files
from detection.imagery.data.landslide4sense import BANDS as EVERY
from detection.imagery.data.landslide4sense import _read_key
from detection.imagery.data.metrics import best_threshold
from detection.imagery.data.patches import Patches, hold_arrays
from detection.imagery.data.splits import split_held
from detection.imagery.neural.learner import Hooks, ImageryTrainingSettings
from detection.imagery.neural.training import TrainedNetwork, predict_maps, train_patches
from detection.imagery.training.scoring import bootstrap, compare, pool_blocks
from detection.imagery.training.simple_maps import SimpleMap, fit_logistic
from tests.bench.record import DATA, record

KEPT = Path(__file__).resolve().parents[3] / "build" / "bench_bands"
COMMAND = "python -m tests.bench.imagery.bench_bands"
VISIBLE = ("B4", "B3", "B2")
BEYOND = ("B8", "B11", "B12", "slope")
BANDS = (*VISIBLE, *BEYOND)
OWN = {"1": "image_0", "4": "image_3133"}
"""The labelled patches, and the pictures that show them."""
SEED, WIDTH, EPOCHS, HELD, TIMES, DROPPED, BLOCK_PX = 20, 0.125, 4, 150, 110, 0.3, 32
DRAWS, PARTS = 1000, 16
BLOCKS = np.add.outer(np.arange(128) // BLOCK_PX * 4, np.arange(128) // BLOCK_PX).ravel()
Map = NDArray[np.floating]
Counts = NDArray[np.int64]


def read_patch(number: str) -> Patches:
    """One labelled patch, standardised band by band."""
    files = open_files(DATA / "imagery" / "landslide4sense-14band" / "patches.zip")
    image, mask = (
        _read_key(files.read(f"labelled/{kind}_{number}.h5"), key, kind)
        for kind, key in (("image", "img"), ("mask", "mask"))
    )
    every = hold_arrays(image.transpose(2, 0, 1)[None].astype(np.float32), mask[None].astype(np.uint8), EVERY)
    return every.choose(BANDS).standardise(())


def read_pictures() -> Patches:
    """The true-colour patches, the bands that they lack as NaN; not those of the labelled patches."""
    train, _ = open_data(
        {"source": "landslide4sense-rgb", "folder": "imagery/landslide4sense-rgb"}, VISIBLE, SEED, DATA
    )
    kept = [place for place, name in enumerate(train.names) if Path(name).stem not in OWN.values()]
    assert len(train) - len(kept) == len(OWN)
    seen = train.take(kept).standardise(())
    lacking = np.full((len(BEYOND), 128, 128), np.nan, np.float32)
    return replace(seen.change(lambda image, _: np.concatenate([image, lacking])), bands=BANDS).remember()


def join(pictures: Patches, patch: Patches) -> Patches:
    """The pictures, and behind them one patch many times."""
    (_, image, mask), size = patch.read(0), len(pictures)
    names = (*pictures.names, *(f"patch-{number}" for number in range(TIMES)))
    return replace(pictures, names=names, load=lambda k: pictures.load(k) if k < size else (image, mask))


def train(name: str, patches: Patches, parts: tuple[Any, Any]) -> TrainedNetwork:
    """A network of build/, or one that learns now."""
    path = KEPT / f"{name}.pickle"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        settings = ImageryTrainingSettings(
            seed=SEED,
            width=WIDTH,
            epochs=EPOCHS,
            brightness=(0.9, 1.1),
            shift=0.1,
            drop_bands=0.0 if patches.bands == VISIBLE else DROPPED,
        )
        unit = (np.full(len(patches.bands), value, np.float32) for value in (0, 1))  # standardised already
        hooks = Hooks(place=KEPT / f"{name}.place", resume=True)
        trained = train_patches(patches, settings, hooks, parts, normalisation=tuple(unit))
        path.write_bytes(pickle.dumps(trained))
        print(f"{name}: {trained.cpu_s:.0f} s of processor", flush=True)
    found: TrainedNetwork = pickle.loads(path.read_bytes())
    return found


def map_by_network(trained: TrainedNetwork, patches: Patches) -> list[Map]:
    """Probabilities of each patch."""
    maps = predict_maps(trained.network, patches, trained.normalisation, trained.calibration.temperature)
    return [found for _, found, _ in maps]


def choose(maps: list[Map], patches: Patches) -> float:
    """The threshold with the best pooled F1."""
    truths = [patch.mask == 1 for patch in patches]
    return float(best_threshold(np.concatenate([one.ravel() for one in maps]), np.concatenate(truths).ravel())[0])


def fill(patches: Patches) -> Patches:
    """Missing bands as their mean: regression knows no other way."""
    return patches.change(lambda image, _: np.nan_to_num(image))


class Tried:
    """What maps of both patches are worth, each by what did not learn from it."""

    def __init__(self, maps: dict[str, Map], thresholds: dict[str, float]) -> None:
        counts = []
        self._ranked: list[tuple[NDArray[np.bool_], NDArray[np.int64]]] = []
        for number, found in maps.items():
            truth = read_patch(number).read(0).mask == 1
            counts.append(count_blocks(found >= thresholds[number], truth))
            order = np.argsort(-found.ravel(), kind="stable")
            self._ranked.append((truth.ravel()[order], BLOCKS[order]))
        self.numbers, self.counts = list(maps), np.concatenate(counts)

    def rank(self, weights: NDArray[np.integer]) -> NDArray[np.float64]:
        """Average precision over pixels of each patch, its blocks counted as often as `weights` patches x blocks say.

        NaN where no landslide is among them.
        """
        found = []
        for (hits, blocks), often in zip(self._ranked, weights, strict=True):
            weight = often[blocks].astype(np.float64)
            precision = np.cumsum(weight * hits) / np.maximum(np.cumsum(weight), 1)
            total = (weight * hits).sum()
            found.append((precision * weight * hits).sum() / total if total else np.nan)
        return np.array(found)

    def describe(self) -> dict[str, Any]:
        """A row of the record."""
        tp, fp, fn, _ = self.counts.sum(axis=0).tolist()
        whole = self.rank(np.ones((2, PARTS), int))
        row: dict[str, Any] = {
            "f1": round(2 * tp / max(1, 2 * tp + fp + fn), 4),
            "f1_95": bootstrap(self.counts, 0)["f1"],
        }
        return row | {f"average_precision_{k}": round(float(v), 4) for k, v in zip(self.numbers, whole, strict=True)}


def compare_ranks(one: Tried, other: Tried) -> dict[str, Any]:
    """Difference of the mean average precision of both patches: paired bootstrap over the blocks of each."""
    rng = np.random.default_rng(0)
    drawn = (rng.multinomial(PARTS, np.full(PARTS, 1 / PARTS), size=2) for _ in range(DRAWS))
    values = np.array([(one.rank(weights) - other.rank(weights)).mean() for weights in drawn])
    low, high = np.quantile(values[np.isfinite(values)], [0.025, 0.975])
    every = np.ones((2, PARTS), int)
    return {
        "difference": round(float((one.rank(every) - other.rank(every)).mean()), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
        "carries": bool(low > 0 or high < 0),
    }


def count_blocks(marked: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Counts:
    """Blocks x (tp, fp, fn, tn)."""
    pixels = (marked & truth, marked & ~truth, ~marked & truth, ~marked & ~truth)
    return pool_blocks(np.stack([one.ravel() for one in pixels], axis=1).astype(np.int64), BLOCKS)


NET, SHOWN, PLAIN = "unet", "unet, missing bands masked", "unet of visible bands"
RULE, SINGLE, COLOURS = "logistic", "logistic of the one patch", "logistic of visible bands"
PAIRS = ((NET, RULE), (NET, SINGLE), (NET, SHOWN), (SHOWN, PLAIN), (RULE, COLOURS))


def try_all() -> tuple[dict[str, Tried], dict[str, float]]:
    """Every map of both patches, and processor seconds to learn it, of both ways the mean."""
    pictures = read_pictures()
    fit, held = split_held(len(pictures), HELD / len(pictures), SEED)
    shown = pictures.choose(VISIBLE)
    visible = train("visible", shown, (fit, held))
    colours, *cpu_s = learn(lambda: fit_logistic(shown, fit[::3], held))
    costs: dict[str, list[float]] = {PLAIN: [visible.cpu_s], COLOURS: cpu_s}
    maps: dict[str, dict[str, Map]] = {}
    thresholds: dict[str, dict[str, float]] = {}
    for number, other in (("4", "1"), ("1", "4")):  # mapped, learnt from
        patch, learnt = read_patch(number), read_patch(other)
        mixed = join(pictures, learnt)
        behind = np.arange(len(pictures), len(mixed))
        both = train(f"all-{other}", mixed, (np.concatenate([fit, behind]), held))
        lacking = map_by_network(both, mask_bands(pictures.take(held), BEYOND))
        known = map_by_network(both, learnt)
        repeated, filled = learnt.take([0] * 40), fill(mixed)
        single, single_s = learn(lambda one=repeated: fit_logistic(one, np.arange(40), np.array([0])))
        chosen = np.concatenate([fit[::3], behind[::3]])
        pooled, pooled_s = learn(lambda one=filled, at=chosen, on=behind[:1]: fit_logistic(one, at, on))
        image, colour = patch.read(0).image, patch.choose(VISIBLE)
        found = {
            NET: (map_by_network(both, patch)[0], choose(known, learnt), both.cpu_s),
            SHOWN: (map_by_network(both, mask_bands(patch, BEYOND))[0], choose(lacking, shown.take(held)), both.cpu_s),
            PLAIN: (map_by_network(visible, colour)[0], visible.threshold, visible.cpu_s),
            RULE: (pooled.map(image), pooled.threshold, pooled_s),
            SINGLE: (single.map(image), single.threshold, single_s),
            COLOURS: (colours.map(colour.read(0).image), colours.threshold, cpu_s[0]),
        }
        for name, (one, threshold, spent_s) in found.items():
            maps.setdefault(name, {})[number], thresholds.setdefault(name, {})[number] = one, threshold
            costs.setdefault(name, []).append(spent_s)
    return {name: Tried(maps[name], thresholds[name]) for name in maps}, {
        k: float(np.mean(v)) for k, v in costs.items()
    }


def learn(act: Callable[[], SimpleMap]) -> tuple[SimpleMap, float]:
    """A simple map, and the processor seconds that it took."""
    begun = time.process_time()
    return act(), time.process_time() - begun


def main() -> None:
    """Train what is missing, score, and keep the figures."""
    import torch

    torch.set_num_threads(1)
    tried, cpu_s = try_all()
    maps = {name: one.describe() | {"seeds": 1, "cpu_s": round(cpu_s[name], 1)} for name, one in tried.items()}
    differences = {
        f"{one} less {other}": {
            "f1": compare(tried[one].counts, tried[other].counts),
            "average_precision": compare_ranks(tried[one], tried[other]),
        }
        for one, other in PAIRS
    }
    first = differences[f"{NET} less {RULE}"]["f1"]
    size = first["difference"] or 0.0
    names = [NET, RULE] if size > 0 else [RULE, NET]
    ends = sorted(abs(end) for end in first["interval"] or ())
    carried = [[*names, abs(size), ends]] if first["carries"] else []
    figures = {"width": WIDTH, "two patches": {"maps": maps, "carried": carried, "differences": differences}}
    print(record("bands", COMMAND, figures))


if __name__ == "__main__":
    main()

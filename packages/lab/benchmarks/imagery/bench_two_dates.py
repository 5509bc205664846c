"""Networks that read both dates beside the present rule of `scenes compare`, on pairs drawn from left-out patches.

    python -m packages.lab.benchmarks.imagery.bench_two_dates [--seeds 20,21,22] [--pairs 100]

No labelled measured pair is at hand: both dates of each pair are drawn from one measured patch (`pairs`), networks
learn from the train part of Landslide4Sense and all is scored on its validation part. Seasons are drawn as in the
training but for its snow and relief (`drawn pairs`), or take their colours from another measured patch (`recoloured
pairs`), as none learnt.

The rule is that of the program: each date read by the shipped network, outlines compared (`rule`); the index of red
and green beside it (`index change`). `two maps` is what those probabilities give when the threshold of
p(after) (1 - p(before)) is chosen on drawn pairs, as that of the networks is. Outlines below nine pixels count for none
of them. Of the one measured pair at hand (Hokkaido 2018, no labels) only the share that is marked new is said.

Each trained network is kept in build/, so that a run that was killed goes on where it was.
"""

import pickle
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.change.by_index import compare_by_index
from detection.imagery.change.compare import as_date, compare
from detection.imagery.data.catalogue import open_data
from detection.imagery.data.metrics import count_confusion
from detection.imagery.data.patches import Patches, make_patches
from detection.imagery.data.splits import split_held
from detection.imagery.errors import DomainError
from detection.imagery.footprints.detect import detect
from detection.imagery.footprints.options import DetectionOptions
from detection.imagery.footprints.records import INDEX
from detection.imagery.neural.learner import Hooks, ImageryTrainingSettings
from detection.imagery.neural.model_file import load_model
from detection.imagery.neural.training import TrainedNetwork, predict_trained_maps, train_patches
from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.raster.overlay import shapes_of, to_pixels
from detection.imagery.raster.raster import read_grid, write_geotiff
from detection.imagery.scene.moments import Moments, sum_blocks
from detection.imagery.training import scoring
from detection.imagery.training.evaluation import map_patches
from packages.lab.benchmarks.imagery.pairs import BANDS, DATES, draw_pairs
from tests.bench.record import DATA, LAB_RESULTS, ROOT, compute_once, parse_options

KEPT = ROOT / "build" / "bench_two_dates"
L4S = {"source": "landslide4sense-rgb", "folder": "imagery/landslide4sense-rgb"}
SHIPPED = "landslide4sense-standard"
RULES = ("rule", "index change", "two maps")
NETWORKS = ("siam-diff-unet", "siam-conc-unet", "unet")
"""The plain network sees both dates as one image of twice the bands: early fusion."""
SPLIT_SEED, WIDTH, DRAWS, EPOCHS, LEAST_PX = 20, 0.125, 3, 2, 9
SEASONS = {"drawn pairs": False, "recoloured pairs": True}
COMMAND, EARLY = "python -m packages.lab.benchmarks.imagery.bench_two_dates", "early fusion"
LIMIT_CPU_S, HELD_PAIRS = 300.0, 100
Marked = NDArray[np.bool_]


def draw_training(train: Patches) -> tuple[Patches, tuple[Any, Any]]:
    """Pairs of the fit part and of the held part, and which are which."""
    fit, held = (train.take(positions).cache() for positions in split_held(len(train), 0.15, SPLIT_SEED))
    path, learnt = KEPT / "training.npz", DRAWS * len(fit)
    if not path.exists():
        both = [*draw_pairs(fit, learnt, 0, hard=True), *draw_pairs(held, len(held), 1000, hard=True)]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path.with_suffix(".part.npz"), images=[one.image for one in both], masks=[one.mask for one in both])
        path.with_suffix(".part.npz").replace(path)
    kept = np.load(path)
    pairs = make_patches(kept["images"], kept["masks"], DATES)
    return pairs, (np.arange(learnt), np.arange(learnt, len(pairs)))


def train_one(name: str, seed: int, pairs: Patches, parts: tuple[Any, Any]) -> TrainedNetwork:
    """Train as the shipped weights were: every band of each date less its mean, over its deviation."""
    how = {
        "seed": seed,
        "network": name,
        "width": WIDTH,
        "epochs": EPOCHS,
        "blank_share": 0.05,
        "time_limit_cpu_s": LIMIT_CPU_S,
    }
    settings = ImageryTrainingSettings(**how, brightness=(0.9, 1.1), shift=0.1)
    place = KEPT / f"{name}-{seed}.place"
    return train_patches(pairs.standardise(()), settings, Hooks(checkpoint=place, resume=True), parts)


def open_trained(name: str, seed: int, prepare: Any) -> TrainedNetwork:
    """A trained network, from build/ where it is kept there."""
    path = KEPT / f"{name}-{seed}.pickle"
    if not path.exists():
        begun = time.perf_counter()
        trained = train_one(name, seed, *prepare())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(trained))
        print(f"{name} {seed}: {trained.cpu_s:.0f} s of processor, {time.perf_counter() - begun:.0f} s", flush=True)
    found: TrainedNetwork = pickle.loads(path.read_bytes())
    return found


def drop_specks(marked: Marked) -> Marked:
    """Leave out what is smaller than the smallest footprint."""
    labels, _ = ndimage.label(marked, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(sizes[labels] >= LEAST_PX)


class Rule:
    """What `scenes compare` says of two dates in one place: pixels that are new by the network, and by the index."""

    def __init__(self, folder: Path, grid: Grid) -> None:
        self._folder, self._grid = folder, grid

    def mark(self, before: NDArray[Any], after: NDArray[Any]) -> tuple[Marked, Marked]:
        """Bands x H x W of each date, counts; 0 is nodata. Where one refuses a date, nothing is new by it."""
        dates, read = [], True
        for month, image in ((5, before), (9, after)):
            scene = self._folder / str(month)
            scene.mkdir(parents=True, exist_ok=True)
            write_geotiff(scene / "bands.tif", image.astype(np.uint16), self._grid, nodata=0, descriptions=BANDS)
            bands = [f'{band} = {{ file = "bands.tif", index = {place} }}' for place, band in enumerate(BANDS, 1)]
            at = datetime(2024, month, 6, tzinfo=UTC).isoformat()
            (scene / "scene.toml").write_text("\n".join([f"acquired_at = {at}", "[bands]", *bands, ""]))
            options = DetectionOptions(scene, SHIPPED, out_dir=self._folder / f"out{month}", force=True, later=True)
            try:
                result = detect(options)
            except DomainError:
                read = False
                try:
                    result = detect(replace(options, weights=INDEX))
                except DomainError:  # no date that the program would read
                    nothing = np.zeros((self._grid.height, self._grid.width), bool)
                    return nothing, nothing
            dates.append(as_date(result, scene))
        date, _ = compare_by_index(dates[1], dates[:1])
        if not read:
            return np.zeros((self._grid.height, self._grid.width), bool), self._burn(date.outlines)
        found = compare(dates[1], dates[:1], self._folder / "out9")
        words = {kind: [o for o in dates[1].outlines if found.changes[o.polygon_id].change == kind] for kind in WORDS}
        new, grown, bare = (self._burn(some) for some in (*words.values(), date.outlines))
        if grown.any():
            with rasterio.open(found.outputs["change"]) as source:
                grown &= source.read(1) == 1
        return new | grown, bare

    def _burn(self, outlines: Any) -> Marked:
        shapes = to_pixels(shapes_of([one.geometry for one in outlines]), self._grid)
        shape = self._grid.height, self._grid.width
        return (
            np.asarray(rasterio.features.rasterize(list(shapes), out_shape=shape, dtype="uint8")).astype(bool)
            if len(shapes)
            else np.zeros(shape, bool)
        )


WORDS = ("new", "grown")


def count_rules(pairs: Patches) -> dict[str, Any]:
    """Counts pair by pair of the rule and of the index."""
    side = pairs.read(0).mask.shape[0]
    counts: dict[str, list[Any]] = {"rule": [], "index change": []}
    for _, image, mask in pairs:
        with tempfile.TemporaryDirectory(prefix="two-dates-") as folder:
            marked = Rule(Path(folder), grid_around(103.0, 31.0, side, 10.0)).mark(
                *(20 * image.astype(int)).reshape(2, 3, side, side)
            )
        for name, pixels in zip(counts, marked, strict=True):
            counts[name].append(_count(pixels, mask))
    return counts


def rate_two_maps(pairs: Patches) -> list[NDArray[np.float32]]:
    """p(after) (1 - p(before)) of each pair by the shipped network."""
    model = load_model(SHIPPED)
    parts = [pairs.map_images(lambda image, _, k=k: image[3 * k : 3 * k + 3]) for k in (0, 1)]
    parts = [Patches(part.names, BANDS, part.load).standardise(()) for part in parts]
    before, after = ([found for _, found, _ in map_patches(model, part)] for part in parts)
    return [now * (1 - then) for then, now in zip(before, after, strict=True)]


def count_at(rated: list[NDArray[np.float32]], threshold: float, pairs: Patches) -> list[Any]:
    """Counts pair by pair at a threshold."""
    return [_count(drop_specks(values >= threshold), one.mask) for values, one in zip(rated, pairs, strict=True)]


def _count(marked: Marked, mask: NDArray[np.uint8]) -> list[int]:
    found = count_confusion(marked, mask == 1)
    return [found.tp, found.fp, found.fn, found.tn]


def choose_threshold(rated: list[NDArray[np.float32]], pairs: Patches) -> float:
    """The threshold with the best F1 on pairs that score nothing."""
    steps = np.arange(0.05, 0.96, 0.05)
    return float(max(steps, key=lambda step: _f1(np.array(count_at(rated, step, pairs)))))


def _f1(counts: NDArray[np.int64]) -> float:
    tp, fp, fn, _ = counts.sum(axis=0)
    return float(2 * tp / max(1, 2 * tp + fp + fn))


def compare_false(one: NDArray[np.int64], other: NDArray[np.int64]) -> dict[str, Any]:
    """Per cent of the pixels that are falsely new, one less the other, with the interval over images."""
    shares = [100 * counts[:, 1] / counts.sum(axis=1) for counts in (one, other)]
    apart = shares[0] - shares[1]
    drawn = np.random.default_rng(0).choice(apart, (1000, len(apart))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"difference": round(float(apart.mean()), 4), "interval": [round(float(low), 4), round(float(high), 4)]}


def tabulate(counts: dict[str, dict[str, list[Any]]], costs: dict[str, Any]) -> dict[str, Any]:
    """F1 in changed pairs and false new area in stable ones; networks less the rules; `counts`: set, map, seed."""
    out: dict[str, Any] = {}
    for season in [name for name in SEASONS if f"changed {name}" in counts]:
        changed, stable = counts[f"changed {season}"], counts[f"stable {season}"]
        maps: dict[str, Any] = {}
        less: dict[str, Any] = {}
        carried = []
        for name in changed:
            f1 = [_f1(np.array(one)) for one in changed[name]]
            total, flat = (np.sum(np.array(part[name]), axis=0) for part in (changed, stable))
            maps[name] = {
                "f1": round(float(np.median(f1)), 4),
                "f1_range": [round(min(f1), 4), round(max(f1), 4)],
                "seeds": len(f1),
                "interval": scoring.bootstrap(total, 0)["f1"],
                "precision": round(float(total[:, 0].sum() / max(1, total[:, :2].sum())), 4),
                "recall": round(float(total[:, 0].sum() / max(1, total[:, [0, 2]].sum())), 4),
                "false_new_percent": round(float(100 * flat[:, 1].sum() / flat.sum()), 4),
                **costs.get(name, {}),
            }
            if name not in RULES:
                for rule in RULES:
                    other, flat_other = (np.sum(np.array(part[rule]), axis=0) for part in (changed, stable))
                    apart = {"f1": scoring.compare(total, other), "false_new_percent": compare_false(flat, flat_other)}
                    less[f"{name} less {rule}"] = apart
                    if rule == "rule" and (found := apart["f1"])["carries"]:
                        better = [name, rule] if found["difference"] > 0 else [rule, name]
                        carried.append([*better, abs(found["difference"]), found["interval"]])
        out[season] = {"maps": maps, "carried": carried, "differences": less}
    return out


def mark_measured(trained: dict[str, TrainedNetwork], threshold: float) -> dict[str, Any]:
    """Shares of the pixels shown on both dates that each map calls new on the measured pair; pictures in build/."""
    folder = DATA / "imagery" / "hokkaido-2018-s2-scene"
    grid = read_grid(folder / "post_event_B4.tif")
    images = []
    for when in ("pre", "post"):
        files = [rasterio.open(folder / f"{when}_event_{band}.tif") for band in BANDS]
        images.append(np.stack([file.read(1) for file in files]).astype(np.float32))
    known = [(image > 0).all(axis=0) for image in images]
    joint = known[0] & known[1]
    with tempfile.TemporaryDirectory(prefix="two-dates-") as name:
        marked = dict(zip(RULES, Rule(Path(name), grid).mark(*images), strict=False))
    standard = np.concatenate([_standardise(*pair) for pair in zip(images, known, strict=True)])
    one = make_patches(standard[None], np.zeros((1, *joint.shape), np.uint8), DATES)
    marked["two maps"] = drop_specks(rate_two_maps_of(standard) >= threshold)
    for label, network in trained.items():
        ((_, found, _),) = predict_trained_maps(network, one)
        marked[label] = drop_specks(found >= network.threshold)
    _draw(images, joint, marked)
    shares = {label: round(float(100 * pixels[joint].mean()), 3) for label, pixels in marked.items()}
    return {"joint_share": round(float(joint.mean()), 4), "new_percent": shares, "labels": "none"}


def rate_two_maps_of(standard: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same of a scene whose bands are standardised already."""
    model = load_model(SHIPPED)
    empty = np.zeros((1, *standard.shape[1:]), np.uint8)
    before, after = (
        next(map_patches(model, make_patches(standard[None, part], empty, BANDS)))[1]
        for part in (slice(3), slice(3, 6))
    )
    return np.asarray(after * (1 - before))


def _standardise(image: NDArray[np.float32], known: Marked) -> NDArray[np.float32]:
    values = np.where(known, image, 0).astype(np.float64)
    sums = (sum_blocks(one, 128) for one in (known.astype(np.float64), values, values**2))
    found = Moments(*sums, block_px=128).standardise(image, 0, 0)
    return np.where(known, found, 0).astype(np.float32)


def _draw(images: list[NDArray[np.float32]], joint: Marked, marked: dict[str, Marked]) -> None:
    from PIL import Image

    views = [np.clip(image / np.quantile(image[:, joint], 0.99), 0, 1).transpose(1, 2, 0) for image in images]
    for pixels in marked.values():
        view = views[1].copy()
        view[pixels & joint] = (1, 0, 0)
        view[~joint] *= 0.3
        views.append(view)
    KEPT.mkdir(parents=True, exist_ok=True)
    for number, view in enumerate(views):
        name = ["before", "after", *marked][number].replace(" ", "-")
        Image.fromarray((255 * view).astype(np.uint8)).save(KEPT / f"hokkaido-{name}.png")


def main() -> None:
    """Train what is missing, score, and keep the figures."""
    import torch

    torch.set_num_threads(1)
    given = parse_options(__doc__, seeds="20,21,22", pairs=100, only="", seasons=",".join(SEASONS))
    train, test = open_data(L4S, BANDS, SPLIT_SEED, DATA)
    ready: list[Any] = []

    def prepare() -> Any:
        if not ready:
            ready.append(draw_training(train))
        return ready[0]

    names = given.only.split(",") if given.only else NETWORKS
    trained = {
        (name, seed): open_trained(name, seed, prepare) for seed in map(int, given.seeds.split(",")) for name in names
    }
    seasons = {season: SEASONS[season] for season in given.seasons.split(",")}

    def choose() -> float:
        _, held = split_held(len(train), 0.15, SPLIT_SEED)
        pairs = draw_pairs(train.take(held), HELD_PAIRS, 1000)
        return choose_threshold(rate_two_maps(pairs), pairs)

    threshold = compute_once(KEPT / "threshold.json", choose)
    counts: dict[str, dict[str, list[Any]]] = {}
    for kind, number in (("changed", given.pairs), ("stable", given.pairs // 2)):
        for season, measured in seasons.items():
            label = f"{kind}-{season.split()[0]}-{number}"
            drawn = Drawn(partial(draw_pairs, test, number, 7_000, stable=kind == "stable", measured=measured))
            rules = compute_once(KEPT / f"{label}.json", lambda drawn=drawn: count_rules(drawn.pairs))
            found = {name: [rules[name]] for name in RULES[:2]}
            found["two maps"] = [compute_once(KEPT / f"twomaps-{label}.json", partial(drawn.count_two_maps, threshold))]
            for (name, seed), one in trained.items():
                counted = compute_once(KEPT / f"{name}-{seed}-{label}.json", partial(drawn.count_network, one))
                found.setdefault(EARLY if name == "unet" else name, []).append(counted)
            counts[f"{kind} {season}"] = found
    costs = {
        EARLY if name == "unet" else name: {
            "parameters": sum(p.numel() for p in one.network.parameters()),
            "cpu_s": round(one.cpu_s),
            "passes": len(one.history),
        }
        for (name, _), one in trained.items()
    }
    costs["rule"] = {"cpu_s": round(load_model(SHIPPED).card["training"]["cpu_s"])}
    figures: dict[str, Any] = {"width": WIDTH, "seeds": given.seeds, "pairs": given.pairs, "most_cpu_s": LIMIT_CPU_S}
    figures |= {"two_maps_threshold": threshold, **tabulate(counts, costs)}
    first = min(seed for _, seed in trained)
    figures["hokkaido"] = mark_measured(
        {name: one for (name, seed), one in trained.items() if seed == first}, threshold
    )
    command = f"{COMMAND} --seeds {given.seeds} --pairs {given.pairs} --only {','.join(names)}"
    print(LAB_RESULTS.store("two-dates", f'{command} --seasons "{given.seasons}"', figures))


@dataclass
class Drawn:
    """Pairs that are drawn when something is to be counted on them."""

    draw: Any

    @cached_property
    def pairs(self) -> Patches:
        """The pairs."""
        return self.draw()

    def count_two_maps(self, threshold: float) -> list[Any]:
        """Counts of both maps by the shipped network."""
        return count_at(rate_two_maps(self.pairs), threshold, self.pairs)

    def count_network(self, trained: TrainedNetwork) -> list[Any]:
        """Counts of a network of both dates."""
        maps = [values for _, values, _ in predict_trained_maps(trained, self.pairs.standardise(()))]
        return count_at(maps, trained.threshold, self.pairs)


if __name__ == "__main__":
    main()

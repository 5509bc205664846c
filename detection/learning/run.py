"""One run from scenes and outlines to a network, tried and judged; a run that was killed goes on where it stood."""

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from detection.imagery.data import folder as tile_folder
from detection.imagery.data.patches import Patches
from detection.imagery.data.splits import Parts, find_twins, split
from detection.imagery.neural.checkpoint import load_model, save_model
from detection.imagery.neural.learner import Hooks, Progress, Settings
from detection.imagery.neural.training import train_patches
from detection.imagery.training.evaluation import map_patches
from detection.imagery.training.model_card import render_card
from detection.imagery.training.recipe import run_recipe
from detection.imagery.training.recipe_file import Recipe, read_recipe
from detection.imagery.training.scoring import score_maps
from detection.imagery.training.seen import SUFFIX
from detection.imagery.training.simple_maps import fit_index, fit_logistic, score_simple
from detection.learning.blocks import Pairs, find_blocks, find_touched, leave_out, list_touching, part_train
from detection.learning.gate import Tried, judge
from detection.learning.labels import find_least_m2
from detection.learning.records import Asked, LearningError, Tell, Window
from detection.learning.scenes import Readable, read_scenes
from detection.learning.tiles import cut_tiles
from detection.learning.unsure import UnsureTile, list_unsure, read_unsure, write_unsure
from detection.whole_file import replacing, write_json

LEAST_TILES: Final = 16
HELD_SHARE: Final = 0.2
LEARN_SHARE: Final = (
    0.7  # of the time that is left when the tiles are there; the rest is for looking at what came of it
)
PACE_STEPS: Final = 4
STAGE, LOCK = ".cut", ".lock"
PLAN, ANSWER, UNSURE = "plan.json", "learn.json", "least-sure.geojson"


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


@dataclass(frozen=True, slots=True)
class Prepared:
    """Tiles on disk, and what was decided of them: all of it is in the plan, so that a run goes on alike.

    Attributes:
        plan: facts (JSON).
        others: tiles of which nothing is known.
        readable: the scenes.
    """

    plan: dict[str, Any]
    others: tuple[Window, ...]
    readable: Readable


@dataclass(frozen=True, slots=True)
class Learnt:
    """What came of it: `answer` is JSON, `unsure` the tiles that the network is least sure of."""

    answer: dict[str, Any]
    unsure: tuple[UnsureTile, ...]


def learn(asked: Asked, tell: Tell, hooks: Hooks | None = None) -> Learnt:
    """Learn a network from scenes and outlines into the folder `asked.out`.

    The tiles lie in `tiles/train` and `tiles/validation`; the latter are left out until all is chosen. The weights lie
    beside them, with the gate in their card: no detector loads weights that did not pass.

    Args:
        asked: what from, where to, how long.
        tell: told one line for each step.
        hooks: progress, and the wish to stop.

    Raises:
        LearningError: nothing can be learnt from it.
        ImageryError: a scene or file that cannot be used.
        TrainingPausedError: it was asked to stop; the same call goes on.
    """
    begun, left = time.monotonic(), _count_down(60 * asked.minutes)
    torch.set_num_threads(1)
    hooks = hooks or Hooks()
    prepared = _prepare(asked, tell)
    if (asked.out / ANSWER).is_file():
        tell(f"the answer is there since before, in {asked.out}; to learn anew, name another folder with --out")
        return Learnt(json.loads((asked.out / ANSWER).read_text(encoding="utf-8")), read_unsure(*_place_unsure(asked)))
    train, test, parts = _open_tiles(asked.out, prepared.plan)
    settings = _plan_training(asked, prepared, train, parts, left(), tell)
    work = asked.out / "work"
    _train(asked, prepared, settings, work, hooks)
    gate = judge(_try(work, train, test, parts), asked.seed)
    weights = _keep(asked, prepared, gate, work)
    tell("looking for the tiles that the network is least sure of")
    model = load_model(str(weights), ungated=True)
    unsure = list_unsure(model, prepared.readable.scenes, prepared.others, max(5.0, left()))
    path, root = _place_unsure(asked)
    write_unsure(path, unsure, root)
    answer = {
        "weights": str(weights), "model_hash": model.model_hash, "offered": gate["passed"], "gate": gate,
        "tiles": {k: prepared.plan[k] for k in ("train", "left_out", "dropped", "landslide_share")},
        "unlabelled": len(prepared.others), "least_sure": len(unsure), "bands": prepared.plan["bands"],
        "pixel_size_m": model.card["pixel_size_m"], "epochs": settings.epochs, "told": prepared.plan["told"],
        "seed": asked.seed, "seconds": round(time.monotonic() - begun, 1),
        "cpu_s": round(60 * asked.minutes - left(), 1),
    }  # fmt: skip
    write_json(asked.out / ANSWER, answer)
    return Learnt(answer, unsure)


def _place_unsure(asked: Asked) -> tuple[Path, Path]:
    """The file of the tiles to look at, and the folder that its names of scenes begin from."""
    root = Path(os.path.commonpath([path.parent for path in asked.scenes])) if asked.scenes else asked.out
    return asked.out / UNSURE, root


def _count_down(seconds: float) -> Callable[[], float]:
    """How much of so much processor time of this process is left."""
    begun = time.process_time()
    return lambda: seconds - (time.process_time() - begun)


def _prepare(asked: Asked, tell: Tell) -> Prepared:
    """Cut the tiles and deal them out, or find that this was done."""
    path = asked.out / PLAN
    try:
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except ValueError:
        raise LearningError(f"{path}: not a plan of this command; name an empty folder with --out") from None
    if asked.out.exists() and known is None and any(one.name not in {STAGE, LOCK} for one in asked.out.iterdir()):
        raise LearningError(f"{asked.out}: holds other files; name an empty folder with --out")
    readable = read_scenes(asked.scenes)
    mark = _mark(asked, readable)
    if known is not None and known["mark"] != mark and (asked.out / ANSWER).is_file():
        raise LearningError(f"{asked.out}: holds the answer to another question; name another folder with --out")
    if known is not None and known["mark"] == mark and (asked.out / "tiles").is_dir():
        tell(f"going on with the {known['train'] + known['left_out']} tiles in {asked.out}")
        others = tuple(Window(Path(one[0]), one[1], one[2], one[3], tuple(one[4])) for one in known["others"])
        return Prepared(known, others, readable)
    tell(f"cutting tiles from {len(readable.scenes)} scenes, bands {', '.join(readable.bands)}")
    stage = asked.out / STAGE
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    try:
        plan, others = _deal(asked, readable, stage, tell)
        # what is there of another run goes only now; killed between these lines, the next run cuts anew
        for name in ("tiles", "work"):
            shutil.rmtree(asked.out / name, ignore_errors=True)
        write_json(path, {"mark": mark, **plan})
        (stage / "tiles").rename(asked.out / "tiles")
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return Prepared(plan, others, readable)


def _deal(asked: Asked, readable: Readable, stage: Path, tell: Tell) -> tuple[dict[str, Any], tuple[Window, ...]]:
    """Cut the tiles into `stage`, and deal them out to those that are learnt from and those that are left out."""
    cut = cut_tiles(readable, asked.labels, stage / "cut", asked.tile_px, around=asked.around, tell=tell)
    if len(cut.tiles) < LEAST_TILES:
        raise LearningError(f"{len(cut.tiles)} labelled tiles; {LEAST_TILES} are needed at least: outline more")
    windows = [tile.window for tile in cut.tiles]
    landslide, pairs = np.array([tile.landslide_px for tile in cut.tiles]), list_touching(windows, windows)
    blocks = find_blocks(windows, pairs)
    left_out = leave_out(blocks, landslide, asked.seed, pairs)
    gone = left_out | find_touched(left_out, pairs)
    gone[_find_twins(stage / "cut", left_out)] = True
    train = np.flatnonzero(~gone)
    seed, lost = part_train(blocks[train], landslide[train], _renumber(pairs, train), HELD_SHARE, asked.seed)
    kept = left_out.copy()
    kept[train[~lost]] = True
    for number, tile in enumerate(cut.tiles):
        part = "validation" if left_out[number] else "train"
        for kind in ("images", "masks"):
            target = stage / "tiles" / part / f"b{blocks[number]:04d}" / kind / f"{tile.name}.tif"
            if kept[number]:
                target.parent.mkdir(parents=True, exist_ok=True)
                (stage / "cut" / kind / f"{tile.name}.tif").replace(target)
    known_px = sum(tile.known_px for tile in cut.tiles)
    plan = {
        "bands": list(readable.bands), "scale": readable.scale, "left_out": int(left_out.sum()),
        "train": int(kept.sum() - left_out.sum()), "dropped": int((~kept).sum()),
        "blocks": len(np.unique(blocks)), "landslide_share": round(int(landslide.sum()) / known_px, 4),
        "least_outline_m2": round(find_least_m2(asked.labels, windows), 4), "seed": seed,
        "told": [*asked.told, *readable.told, *cut.told],
        "others": [[str(one.scene), one.column, one.row, one.side_px, list(one.bounds)] for one in cut.others],
    }  # fmt: skip
    return plan, cut.others


def _mark(asked: Asked, readable: Readable) -> str:
    """A digest of all that the tiles follow from."""
    digest = sha256(f"{asked.seed} {asked.around} {asked.name} {asked.tile_px}\n".encode())
    for scene in readable.scenes:
        for file in scene.files:
            facts = file.stat()
            digest.update(f"{file}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    for label in asked.labels:
        digest.update(f"{label.kind}\0{label.scene}\0{label.since or ''}\0".encode() + label.shape.wkb)
    return digest.hexdigest()


def _find_twins(cut: Path, left_out: NDArray[np.bool_]) -> list[int]:
    """Tiles to learn from that show the same picture as one that is left out."""
    patches = tile_folder.read(cut, "train")
    places = {name: number for number, name in enumerate(patches.names)}
    twins = find_twins(patches.take(np.flatnonzero(~left_out)), patches.take(np.flatnonzero(left_out)))
    return [places[one] for one, _, _ in twins]


def _renumber(pairs: Pairs, kept: NDArray[np.int64]) -> Pairs:
    """The pairs among some tiles, by their positions in `kept` (sorted)."""
    return np.searchsorted(kept, pairs[:, np.isin(pairs, kept).all(axis=0)])


def _open_tiles(out: Path, plan: dict[str, Any]) -> tuple[Patches, Patches, Parts]:
    bands = tuple(plan["bands"])
    train, test = (tile_folder.read(out / "tiles", part, bands=bands).remember() for part in ("train", "validation"))
    return train, test, split(train, "folders", HELD_SHARE, plan["seed"])


def _plan_training(
    asked: Asked, prepared: Prepared, train: Patches, parts: Parts, seconds: float, tell: Tell
) -> Settings:
    """How long to train: as usual for so many tiles, or what the time allows; decided once, and kept."""
    path = asked.out / "work" / "pace.json"
    settings = Settings(seed=prepared.plan["seed"], split="folders", held_share=HELD_SHARE)
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        return replace(settings, epochs=kept["epochs"])
    path.parent.mkdir(exist_ok=True)
    pace = _measure_pace(train, parts, settings)
    settings = pace.fit(settings, len(parts[0]), len(parts[1]), LEARN_SHARE * seconds)
    usual = settings.fitted(len(parts[0])).epochs if settings.epochs is None else settings.epochs
    tell(
        f"learning from {len(parts[0])} tiles ({len(parts[1])} more choose the pass, {prepared.plan['left_out']} are "
        f"left out): {usual} passes of {pace.epoch_s(len(parts[0]), len(parts[1]), settings.batch):.1f} s"
    )
    write_json(path, {"epochs": settings.epochs, **asdict(pace)})
    return settings


class _EnoughError(Exception):
    """A few steps were timed."""


def _measure_pace(train: Patches, parts: Parts, settings: Settings) -> Pace:
    """Time a few steps; a look costs about a third of a step for each of its tiles."""
    stamps: list[float] = []

    def note(_: Progress) -> None:
        stamps.append(time.process_time())
        if len(stamps) > PACE_STEPS:
            raise _EnoughError

    with suppress(_EnoughError):
        train_patches(train, replace(settings, epochs=PACE_STEPS + 1), Hooks(on_progress=note), parts)
    step_s = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 1.0
    return Pace(step_s, step_s / settings.batch / 3)


def _train(asked: Asked, prepared: Prepared, settings: Settings, work: Path, hooks: Hooks) -> None:
    """Train by a recipe that stands beside the tiles; nothing where that was done."""
    recipe_file = asked.out / f"{asked.name}.recipe.toml"
    with replacing(recipe_file) as partial:
        partial.write_text(_spell_recipe(asked.name, prepared.plan, settings), encoding="utf-8")
    if (work / "network.json").is_file():
        return
    recipe: Recipe = read_recipe(recipe_file)
    run_recipe(recipe, work / "network.safetensors", asked.out, hooks=replace(hooks, resume=True))


def _spell_recipe(name: str, plan: dict[str, Any], settings: Settings) -> str:
    bands = ", ".join(f'"{band}"' for band in plan["bands"])
    return (
        f"name = {json.dumps(name)}\nbands = [{bands}]\nseed = {plan['seed']}\n\n"
        f'[data]\nsource = "folder"\nfolder = "tiles"\nbands = [{bands}]\n\n'
        f'[radiometry]\nstretch = "reflectance"\nscale = {plan["scale"]!r}\n\n'
        f'[training]\nsplit = "folders"\nheld_share = {HELD_SHARE}\nepochs = {settings.epochs}\n'
    )


def _try(work: Path, train: Patches, test: Patches, parts: Parts) -> Tried:
    """Look once at the tiles that were left out."""
    model = load_model(str(work / "network.safetensors"), ungated=True)
    threshold = float(model.card["threshold"])
    network = score_maps(map_patches(model, test), threshold, draws=0, objects=False)
    rules = fit_logistic(train, *parts), fit_index(train, parts[1])
    logistic, index = (score_simple(rule, test, objects=False).confusions for rule in rules)
    blocks = np.unique([name.rpartition("/images/")[0] for name in network.names], return_inverse=True)[1]
    return Tried(network.confusions, logistic, index, np.asarray(blocks))


def _keep(asked: Asked, prepared: Prepared, gate: dict[str, Any], work: Path) -> Path:
    """Put the weights where they can be named, the gate in their card: from here on they are refused or used."""
    model = load_model(str(work / "network.safetensors"), ungated=True)
    card = {key: value for key, value in model.card.items() if key not in {"format", "weights_sha256"}}
    facts = {key: prepared.plan[key] for key in ("train", "left_out", "dropped", "blocks", "landslide_share")}
    tries = {"seeds": [*asked.tried, asked.seed], "split_seed": prepared.plan["seed"]}
    card |= {
        "gate": gate,
        "learnt": {**facts, "tries": tries},
        "recipe_file": f"{asked.name}.recipe.toml",
        # nobody outlined smaller ones; a plan of before does not say
        "minimum_area_m2": max(card.get("minimum_area_m2", 0.0), prepared.plan.get("least_outline_m2", 0.0)),
    }
    card["limits"] = [*card["limits"], f"{gate['reasons'][0][0].upper()}{gate['reasons'][0][1:]}."]
    out = (asked.out / f"{asked.name}.safetensors").resolve()
    save_model(out, model.network, card)
    with replacing(out.with_suffix(".md")) as partial:
        partial.write_text(render_card(card), encoding="utf-8")
    for kind in (".curve.csv", ".curve.png", SUFFIX):
        shutil.copyfile(work / f"network{kind}", out.with_suffix(kind))
    return out

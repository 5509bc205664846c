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
from typing import Any, Final, NotRequired, TypedDict

import numpy as np
import torch

from detection.imagery.data import folder as tile_folder
from detection.imagery.data.file_values import convert_to_values
from detection.imagery.data.patches import Patches
from detection.imagery.data.splits import ALL, Parts, find_twins
from detection.imagery.neural.learner import Hooks, ImageryTrainingSettings, Progress
from detection.imagery.neural.model_file import load_model, save_model
from detection.imagery.neural.training import train_patches
from detection.imagery.training.evaluation import map_patches
from detection.imagery.training.picture_digests import SUFFIX
from detection.imagery.training.scoring import score_maps
from detection.imagery.training.simple_maps import describe_pixels, fit_by_cross_validation, score_simple_map
from detection.imagery.weights_file import RadiometrySpec, WeightsGate
from detection.whole_file import replacing, write_json
from slopeward_lab.learning.blocks import deal_folds, find_blocks, find_touched, leave_out, list_touching
from slopeward_lab.learning.cross_validation import Budget, CrossValidation, ValidatedLength, measure_budget
from slopeward_lab.learning.gate import HeldOutCounts, compare_maps
from slopeward_lab.learning.labels import find_least_m2
from slopeward_lab.learning.records import LearningError, LearningRequest, Report, SceneWindow
from slopeward_lab.learning.scenes import ReadableScenes, read_scenes
from slopeward_lab.learning.tiles import cut_tiles
from slopeward_lab.learning.unsure import LOOKED_AT, UnsureTile, list_unsure, read_unsure, write_unsure
from slopeward_lab.recipes.model_card import render_card
from slopeward_lab.recipes.recipe_file import read_recipe
from slopeward_lab.recipes.run import run_recipe

LEAST_TILES: Final = 16
FOLDS: Final = (3, 2)
"""Of cross-validation: as many as leave time for a run of usual length, or the least."""
PACE_STEPS: Final = 4
LEAST_STEP_S: Final = 1e-3
SCORE_SHARE: Final = 1 / 3  # of the time of a step, for as many tiles
ENDING_S: Final = 3.0  # to write cards and pictures; to look at tiles comes on top of it
BATCH: Final = 4
"""Four tiles a step: of few tiles more steps bring more than larger ones, and the time goes by tiles."""
CHOSEN_ON: Final = (
    "temperature and threshold: cross-validation over images or blocks; learnt from all tiles of train; test part: "
    "scored once"
)
# Unit of the numbers in the tiles. It is part of the mark of a plan, so that a run does not continue with tiles of
# another unit.
TILE_UNIT: Final = "unit-of-scenes"
STAGE, LOCK = ".cut", ".lock"
PLAN, ANSWER, UNSURE = "plan.json", "learn.json", "least-sure.geojson"


class LearningPlan(TypedDict):
    """What was decided of the tiles (JSON)."""

    mark: NotRequired[str]  # digest of all that they follow from
    bands: list[str]
    scale: float
    left_out: int
    train: int
    dropped: int
    blocks: int
    landslide_share: float
    least_outline_m2: NotRequired[float]
    folds: dict[str, list[list[list[int]]]]  # by their number: positions fitted and held
    told: list[str]
    others: list[list[Any]]  # tiles of which nothing is known, see `SceneWindow`


@dataclass(frozen=True, slots=True)
class PreparedTiles:
    """Tiles on disk, and what was decided of them: all of it is in the plan, so that a run goes on alike."""

    plan: LearningPlan
    others: tuple[SceneWindow, ...]  # tiles of which nothing is known
    readable: ReadableScenes  # the scenes


@dataclass(frozen=True, slots=True)
class LearningResult:
    """What came of it: `answer` is JSON, `unsure` the tiles that the network is least sure of."""

    answer: dict[str, Any]
    unsure: tuple[UnsureTile, ...]


def learn(request: LearningRequest, report: Report, hooks: Hooks | None = None) -> LearningResult:
    """Learn a network from scenes and outlines into the folder `asked.out`.

    The tiles lie in `tiles/train` and `tiles/validation`; the latter are left out until all is chosen. The weights lie
    beside them, with the gate in their card: no detector loads weights that did not pass.

    Raises:
        LearningError: nothing can be learnt from it.
        ImageryError: a scene or file that cannot be used.
        TrainingPausedError: it was asked to stop; the same call goes on.
    """
    hooks = hooks or Hooks()
    begun, until_s = time.monotonic(), hooks.clock() + 60 * request.minutes

    def left() -> float:
        """Processor time of this process that is left, in seconds."""
        return until_s - hooks.clock()

    torch.set_num_threads(1)
    prepared = _prepare(request, report)
    if (request.out / ANSWER).is_file():
        report(f"the answer is there since before, in {request.out}; to learn anew, name another folder with --out")
        return LearningResult(
            json.loads((request.out / ANSWER).read_text(encoding="utf-8")), read_unsure(*_place_unsure(request))
        )
    bands = tuple(prepared.plan["bands"])
    radiometry: RadiometrySpec = {"stretch": "reflectance", "scale": prepared.plan["scale"]}
    train, test = (
        convert_to_values(tile_folder.read(request.out / "tiles", part, bands=bands), radiometry).cache()
        for part in ("train", "validation")
    )
    work = request.out / "work"
    folds, budget, chosen = _choose(request, prepared, (train, test), left, hooks, report)
    _train(request, prepared, chosen, work, hooks)
    gate = compare_maps(_try(work, train, test, folds), request.seed)
    weights = _keep(request, prepared, gate, work, (folds, chosen))
    report("looking for the tiles that the network is least sure of")
    model = load_model(str(weights), ungated=True)
    unsure = list_unsure(model, prepared.readable.scenes, prepared.others, max(5.0, left()))
    path, root = _place_unsure(request)
    write_unsure(path, unsure, root)
    short = []
    if chosen.epochs < budget.usual:
        few = f"{chosen.epochs} passes were possible in this time, and {budget.usual} are usual for so many tiles"
        short.append(f"{few}: give more --minutes")
    answer = {
        "weights": str(weights),
        "model_hash": model.model_hash,
        "offered": gate["passed"],
        "gate": gate,
        "tiles": {k: prepared.plan[k] for k in ("train", "left_out", "dropped", "landslide_share")},
        "unlabelled": len(prepared.others),
        "least_sure": len(unsure),
        "bands": prepared.plan["bands"],
        "pixel_size_m": model.card["pixel_size_m"],
        "epochs": chosen.epochs,
        "told": [*prepared.plan["told"], *short],
        "cross_validation": _describe_validation(folds, chosen),
        "seed": request.seed,
        "seconds": round(time.monotonic() - begun, 1),
        "cpu_s": round(60 * request.minutes - left(), 1),
    }
    write_json(request.out / ANSWER, answer)
    return LearningResult(answer, unsure)


def _place_unsure(request: LearningRequest) -> tuple[Path, Path]:
    root = Path(os.path.commonpath([path.parent for path in request.scenes])) if request.scenes else request.out
    return request.out / UNSURE, root


def _prepare(request: LearningRequest, report: Report) -> PreparedTiles:
    path = request.out / PLAN
    try:
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except ValueError:
        raise LearningError(f"{path}: not a plan of this command; name an empty folder with --out") from None
    if request.out.exists() and known is None and any(one.name not in {STAGE, LOCK} for one in request.out.iterdir()):
        raise LearningError(f"{request.out}: holds other files; name an empty folder with --out")
    readable = read_scenes(request.scenes)
    digest = sha256(f"{request.seed} {request.around} {request.name} {request.tile_px} {TILE_UNIT}\n".encode())
    for scene in readable.scenes:
        for file in scene.files:
            facts = file.stat()
            digest.update(f"{file}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    for label in request.labels:
        digest.update(f"{label.kind}\0{label.scene}\0{label.since or ''}\0".encode() + label.shape.wkb)
    mark = digest.hexdigest()
    if known is not None and known["mark"] != mark and (request.out / ANSWER).is_file():
        raise LearningError(f"{request.out}: holds the answer to another question; name another folder with --out")
    whole = known is not None and ("folds" in known or (request.out / ANSWER).is_file())
    if known is not None and whole and known["mark"] == mark and (request.out / "tiles").is_dir():
        report(f"going on with the {known['train'] + known['left_out']} tiles in {request.out}")
        others = tuple(SceneWindow(Path(one[0]), one[1], one[2], one[3], tuple(one[4])) for one in known["others"])
        return PreparedTiles(known, others, readable)
    report(f"cutting tiles from {len(readable.scenes)} scenes, bands {', '.join(readable.bands)}")
    stage = request.out / STAGE
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    try:
        plan, others = _deal(request, readable, stage, report)
        # what is there of another run goes only now; killed between these lines, the next run cuts anew
        for name in ("tiles", "work"):
            shutil.rmtree(request.out / name, ignore_errors=True)
        write_json(path, {"mark": mark, **plan})
        (stage / "tiles").rename(request.out / "tiles")
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return PreparedTiles(plan, others, readable)


def _deal(
    request: LearningRequest, readable: ReadableScenes, stage: Path, report: Report
) -> tuple[LearningPlan, tuple[SceneWindow, ...]]:
    cut = cut_tiles(
        readable,
        request.labels,
        stage / "cut",
        request.tile_px,
        around=request.around,
        report=report,
        seed=request.seed,
    )
    if len(cut.tiles) < LEAST_TILES:
        raise LearningError(f"{len(cut.tiles)} labelled tiles; {LEAST_TILES} are needed at least: outline more")
    windows = [tile.window for tile in cut.tiles]
    landslide, pairs = np.array([tile.landslide_px for tile in cut.tiles]), list_touching(windows, windows)
    blocks = find_blocks(windows, pairs)
    left_out = leave_out(blocks, landslide, request.seed, pairs)
    patches = tile_folder.read(stage / "cut", "train")  # tiles that show the same picture are as ones that touch
    places = {name: number for number, name in enumerate(patches.names)}
    twins = [(places[a], places[b]) for a, b, _ in find_twins(patches, patches) if a != b]
    pairs = np.concatenate([pairs, np.array(twins, np.int64).reshape(-1, 2).T], axis=1)
    gone = find_touched(left_out, pairs)
    kept = ~gone
    # in the order in which the tiles are read again
    order = sorted(np.flatnonzero(~gone & ~left_out), key=lambda k: (blocks[k], cut.tiles[k].name))
    train = np.array(order, np.int64)
    back = np.argsort(train)  # the pairs among these, by their positions there
    own = back[np.searchsorted(train[back], pairs[:, np.isin(pairs, train).all(axis=0)])]
    folds = dict[str, list[list[list[int]]]]()
    for count in FOLDS:
        try:
            dealt = deal_folds(blocks[train], landslide[train], own, count, request.seed)
        except LearningError:
            if count == FOLDS[-1]:
                raise
            continue  # so many leave too little that touches nothing held
        folds[str(count)] = [[part.tolist() for part in parts] for parts in dealt]
    for number, tile in enumerate(cut.tiles):
        part = "validation" if left_out[number] else "train"
        for kind in ("images", "masks"):
            target = stage / "tiles" / part / f"b{blocks[number]:04d}" / kind / f"{tile.name}.tif"
            if kept[number]:
                target.parent.mkdir(parents=True, exist_ok=True)
                (stage / "cut" / kind / f"{tile.name}.tif").replace(target)
    known_px = sum(tile.known_px for tile in cut.tiles)
    plan: LearningPlan = {
        "bands": list(readable.bands),
        "scale": readable.scale,
        "left_out": int(left_out.sum()),
        "train": int(kept.sum() - left_out.sum()),
        "dropped": int((~kept).sum()),
        "blocks": len(np.unique(blocks)),
        "landslide_share": round(int(landslide.sum()) / known_px, 4),
        "least_outline_m2": round(find_least_m2(request.labels, windows), 4),
        "folds": folds,
        "told": [*request.notes, *readable.notes, *cut.notes],
        "others": [[str(one.scene), one.column, one.row, one.side_px, list(one.bounds)] for one in cut.others],
    }
    return plan, cut.others


def read_folds(plan: LearningPlan, count: int) -> list[Parts]:
    """The folds of a plan: positions of tiles, in the order in which `tiles/train` is read."""
    fit_and_held = plan["folds"][str(count)]
    return [(np.array(fit, np.int64), np.array(held, np.int64)) for fit, held in fit_and_held]


def _choose(
    request: LearningRequest,
    prepared: PreparedTiles,
    tiles: tuple[Patches, Patches],
    left: Callable[[], float],
    hooks: Hooks,
    report: Report,
) -> tuple[list[Parts], Budget, ValidatedLength]:
    (train, test), work = tiles, request.out / "work"
    settings = ImageryTrainingSettings(seed=request.seed, batch=BATCH)
    path = work / "pace.json"
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        count, budget = kept["folds"], Budget(**kept["budget"])
    else:
        work.mkdir(exist_ok=True)
        looks = len(test) * 2 + min(len(prepared.others), LOOKED_AT)
        step_s, feature_s = _measure_pace(train, read_folds(prepared.plan, FOLDS[-1]), settings, hooks.clock)
        tile_s = SCORE_SHARE * step_s / settings.batch
        after_s = ENDING_S + looks * tile_s + (len(train) + len(test)) * feature_s
        now_s = left()
        seconds = max(0.0, now_s - min(after_s, now_s / 2))
        for count in map(int, prepared.plan["folds"]):
            folds = read_folds(prepared.plan, count)
            budget = measure_budget(seconds, step_s, tile_s, settings, folds, len(train))
            if budget.fit() >= budget.usual:
                break
        write_json(path, {"folds": count, "budget": asdict(budget)})
    folds = read_folds(prepared.plan, count)
    report(
        f"learning from {len(train)} tiles in {len(folds)} folds ({len(test)} more are left out): "
        f"{budget.seconds:.0f} s, a pass takes {budget.folds_s + budget.last_s:.1f} s"
    )
    chosen = CrossValidation(train, folds, settings, work, hooks).run(budget.fit())
    report(
        f"F1 {chosen.f1:.3f} on tiles not learnt from (cross-validation, {chosen.cpu_s:.0f} s); the last network takes "
        f"all tiles, {chosen.epochs} passes, threshold {chosen.threshold}"
    )
    return folds, budget, chosen


def _describe_validation(folds: list[Parts], chosen: ValidatedLength) -> dict[str, Any]:
    return {"folds": len(folds), "f1": round(chosen.f1, 4), "epochs": chosen.epochs, "cpu_s": chosen.cpu_s}


class _EnoughError(Exception):
    """A few steps were timed."""


def _measure_pace(
    train: Patches, folds: list[Parts], settings: ImageryTrainingSettings, clock: Callable[[], float]
) -> tuple[float, float]:
    """Time a few steps, and the features of a tile that logistic regression takes; seconds of one of each."""
    stamps, places = list[float](), set[tuple[int, int]]()

    def note(progress: Progress) -> None:
        if (progress.epoch, progress.step) in places:
            return  # the end of a pass, right after its last step
        places.add((progress.epoch, progress.step))
        stamps.append(clock())
        if len(stamps) > PACE_STEPS:
            raise _EnoughError

    fit, held = folds[0]
    with suppress(_EnoughError):
        train_patches(train, replace(settings, epochs=PACE_STEPS + 1), Hooks(on_progress=note), (fit, held[:0]))
    begun = clock()
    describe_pixels(train.read(0).image)
    step_s = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 1.0
    return max(step_s, LEAST_STEP_S), clock() - begun


def _train(
    request: LearningRequest, prepared: PreparedTiles, chosen: ValidatedLength, work: Path, hooks: Hooks
) -> None:
    recipe_file = request.out / f"{request.name}.recipe.toml"
    with replacing(recipe_file) as partial:
        partial.write_text(_format_recipe(request, prepared.plan, chosen), encoding="utf-8")
    if (work / "network.json").is_file():
        return
    run_recipe(read_recipe(recipe_file), work / "network.safetensors", request.out, hooks=replace(hooks, resume=True))


def _format_recipe(request: LearningRequest, plan: LearningPlan, chosen: ValidatedLength) -> str:
    bands = ", ".join(f'"{band}"' for band in plan["bands"])
    return (
        f"name = {json.dumps(request.name)}\nbands = [{bands}]\nseed = {request.seed}\n\n"
        f'[data]\nsource = "folder"\nfolder = "tiles"\nbands = [{bands}]\n\n'
        f'[radiometry]\nstretch = "reflectance"\nscale = {plan["scale"]!r}\n\n'
        f'[training]\nsplit = "{ALL}"\nepochs = {chosen.epochs}\nbatch = {BATCH}\n'
        f"# by cross-validation over images\nthreshold = {chosen.threshold}\n"
        f"temperature = {chosen.calibration.temperature}\n"
    )


def _try(work: Path, train: Patches, test: Patches, folds: list[Parts]) -> HeldOutCounts:
    model = load_model(str(work / "network.safetensors"), ungated=True)
    threshold = float(model.card["threshold"])
    network = score_maps(map_patches(model, test), threshold, draws=0, objects=False)
    rules = fit_by_cross_validation(train, folds)
    logistic, index = (
        score_simple_map(rules[name][-1], test, objects=False).confusions for name in ("logistic", "index")
    )
    blocks = np.unique([name.rpartition("/images/")[0] for name in network.names], return_inverse=True)[1]
    return HeldOutCounts(network.confusions, logistic, index, np.asarray(blocks))


def _keep(
    request: LearningRequest,
    prepared: PreparedTiles,
    gate: WeightsGate,
    work: Path,
    validated: tuple[list[Parts], ValidatedLength],
) -> Path:
    model = load_model(str(work / "network.safetensors"), ungated=True)
    card = model.card
    del card["format"], card["weights_sha256"]  # written anew
    facts = {key: prepared.plan[key] for key in ("train", "left_out", "dropped", "blocks", "landslide_share")}
    tries, chosen = {"seeds": [*request.tried, request.seed]}, validated[1]
    card |= {
        "gate": gate,
        "learnt": {**facts, "tries": tries, "cross_validation": _describe_validation(*validated)},
        "calibration": asdict(chosen.calibration),
        "metrics": {**card["metrics"], "held_f1": round(chosen.f1, 4), "chosen_on": CHOSEN_ON},
        "recipe_file": f"{request.name}.recipe.toml",
        # nobody outlined smaller ones; a plan of before does not say
        "minimum_area_m2": max(card.get("minimum_area_m2", 0.0), prepared.plan.get("least_outline_m2", 0.0)),
    }
    card["limits"] = [*card["limits"], f"{gate['reasons'][0][0].upper()}{gate['reasons'][0][1:]}."]
    out = (request.out / f"{request.name}.safetensors").resolve()
    save_model(out, model.network, card)
    with replacing(out.with_suffix(".md")) as partial:
        partial.write_text(render_card(card), encoding="utf-8")
    shutil.copyfile(work / f"network{SUFFIX}", out.with_suffix(SUFFIX))
    return out

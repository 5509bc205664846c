"""Large networks learnt on an accelerator, distilled into small weights, and whether these should be shipped.

    make recipes-gpu
    python -m tests.bench.imagery.bench_recipes_gpu [--only landslide4sense,bijie] [--smoke]

Needs CUDA; without it says so and ends with 2. U-Net and residual U-Net of half width and FRRN-B of a quarter learn
with three seeds each. All have the same held part of train: it chooses epoch, temperature, threshold, which network
teaches, and one student of three seeds. The mean of the teacher's seeds teaches them; each has at most 10 MB (Hinton et
al. 2015). Patches that nobody chose on are scored once: student, teachers, shipped weights and logistic regression,
paired over the images, as they are and under stretches. The rule for shipping stands in `find_objections`. What is
trained is kept in build/recipes_gpu, so that a run that ended goes on where it was; other settings are trained anew.
--smoke goes the whole way on drawn tiles, on the processor.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from detection.imagery.data.catalogue import open_data
from detection.imagery.data.patches import Patch, Patches, as_values, resize_bands
from detection.imagery.data.splits import Parts, split_held
from detection.imagery.errors import ImageryError
from detection.imagery.neural.checkpoint import Model, load_model
from detection.imagery.neural.learner import Hooks, Progress, Settings
from detection.imagery.training.evaluation import map_patches
from detection.imagery.training.recipe import run_recipe
from detection.imagery.training.recipe_file import Recipe, find_recipe, read_recipe
from detection.imagery.training.scoring import Scored, compare, score_maps
from detection.imagery.training.simple_maps import SimpleMap, fit_logistic, score_simple
from tests.bench.imagery.weights.stability import BY_BRIGHTEST, PLAIN, SIZES, list_stretches, score_stretched
from tests.bench.record import digest, record

DATA = Path(os.environ.get("SLOPEWARD_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
KEPT = Path(__file__).resolve().parents[3] / "build" / "recipes_gpu"
MOST_MB = 10.0
MOST_LOST = 0.05
"""Of F1, under any stretch, and between the seeds of the student."""
MOST_BELOW_SHIPPED = 0.02
"""Of F1: so much less than the shipped weights the student may be at the lower end of the interval."""
ROBUST = {
    "brightness": [0.5, 2.0], "shift": 0.04, "blank_share": 0.05, "offset": 0.3, "stretch_share": 0.25,
    "off_centre": 0.25, "cutmix_share": 0.2, "copy_paste_share": 0.2, "time_limit_cpu_s": 0.0,
}  # fmt: skip
"""The augmentation of all; the sets add scale and drawn ground without landslides."""


@dataclass(frozen=True)
class Plan:
    """What is trained on one set.

    Attributes:
        recipe: data, bands and radiometry.
        training: keys of the recipe that are replaced.
        teachers: network to width.
        student: network and width.
        seeds: of every teacher and of the student.
        sizes: whether the student must also hold at other sizes.
        least_f1: of the student, as it is and at every size.
        shipped: weights that are shipped today.
    """

    recipe: Recipe
    training: dict[str, Any]
    teachers: dict[str, float] = field(default_factory=lambda: {"unet": 0.5, "resunet": 0.5, "frrn-b": 0.25})
    student: tuple[str, float] = ("unet", 0.25)
    seeds: tuple[int, ...] = (20, 21, 22)
    sizes: bool = False
    least_f1: float = 0.0
    shipped: str | None = None


@dataclass(frozen=True)
class Opened:
    """One set in memory: what networks see of train, the test part at native sizes, and the parts of train."""

    seen: Patches
    test: Patches
    parts: Parts


def plans() -> dict[str, Plan]:
    """The two sets; epochs make about nine thousand steps on the pictures and two and a half thousand on Bijie."""
    pictures, bijie = (read_recipe(find_recipe(name)) for name in ("landslide4sense", "bijie"))
    return {
        "landslide4sense": Plan(
            pictures, {**ROBUST, "epochs": 150, "scale": [0.7, 1.4], "negative_share": 0.1}, shipped="landslide4sense"
        ),
        "bijie": Plan(
            bijie, {**ROBUST, "epochs": 200, "scale": [0.4, 2.5]}, sizes=True, least_f1=0.75, shipped="bijie"
        ),
    }


def smoke_plan() -> Plan:
    """Drawn tiles and networks of a sixteenth of their width: it shows that the way is whole, and nothing else."""
    recipe = Recipe(
        "drawn", ("B4", "B3", "B2"), 3, {"source": "generated", "train": 18, "test": 4, "size_px": 32},
        {"stretch": "reflectance", "scale": 1e-4}, {},
    )  # fmt: skip
    training = {**ROBUST, "epochs": 1, "batch": 8, "negative_share": 0.1, "scale": [0.7, 1.4]}
    narrow = {"unet": 0.0625, "resunet": 0.0625, "frrn-b": 0.0625}
    return Plan(recipe, training, narrow, ("unet", 0.0625), (20, 21), sizes=True, least_f1=0.75)


def open_plan(plan: Plan) -> Opened:
    """Read a set once."""
    recipe = plan.recipe
    native, test = open_data(recipe.data, recipe.bands, recipe.seed, DATA)
    resize_px = None if recipe.data["source"] == "generated" else recipe.data.get("size_px")
    seen = (native.resize(int(resize_px)) if resize_px else native).remember()
    parts = split_held(len(native), Settings().held_share, recipe.seed)
    return Opened(seen, test.remember(), parts)


def learn(
    plan: Plan, opened: Opened, network: str, width: float, seed: int, kept: Path, taught: Sequence[Model] = ()
) -> Model:
    """Train what is not there yet under the same settings, and write it as every recipe does."""
    recipe = replace(plan.recipe, seed=seed, training={**plan.training, "network": network, "width": width}, text="")
    role = "student" if taught else network
    path = kept / f"{role}-{seed}-{digest(asdict(recipe), sorted(model.model_hash for model in taught))}.safetensors"
    if not path.with_suffix(".json").is_file():  # written after the weights
        hooks = Hooks(_say(path.stem), resume=True)
        run_recipe(recipe, path, DATA, hooks=hooks, parts=opened.parts, teachers=taught)
    return load_model(str(path))


def _say(name: str) -> Any:
    def say(progress: Progress) -> None:
        if progress.held_score is not None and progress.epoch % 10 == 0:
            print(f"{name}: epoch {progress.epoch} of {progress.epochs}, held F1 {progress.held_score:.3f}", flush=True)

    return say


def measure(plan: Plan, kept: Path) -> dict[str, Any]:
    """Teachers, student, scores and verdict of one set."""
    opened = open_plan(plan)
    made = {
        network: [learn(plan, opened, network, width, seed, kept) for seed in plan.seeds]
        for network, width in plan.teachers.items()
    }
    held = {name: statistics.median(_held(model) for model in models) for name, models in made.items()}
    best = max(held, key=lambda name: held[name])
    students = [learn(plan, opened, *plan.student, seed, kept, made[best]) for seed in plan.seeds]
    student = max(students, key=_held)
    figures: dict[str, Any] = {
        "patches": {"fitted": len(opened.parts[0]), "held": len(opened.parts[1]), "scored": len(opened.test)},
        "teachers": {
            name: {"width": plan.teachers[name], "held_f1": held[name], "f1": [round(_test(m), 4) for m in models]}
            for name, models in made.items()
        },
        "teacher": best,
        "student": {
            "network": plan.student[0], "width": plan.student[1], "mb": round(_count_mb(student), 2),
            "seed": student.card["training"]["seed"], "held_f1": _held(student),
            "f1": [round(_test(model), 4) for model in students],
        },
        "stretches": _beside_logistic(plan, opened, student),
    }  # fmt: skip
    if plan.shipped:
        ours, theirs = (_score(model, opened) for model in (student, load_model(plan.shipped)))
        figures["less_shipped"] = compare(ours.confusions, theirs.confusions)
    objections = find_objections(figures, plan)
    return figures | {"verdict": "do not ship" if objections else "ship", "objections": objections}


def _count_mb(model: Model) -> float:
    return sum(values.numel() * values.element_size() for values in model.network.state_dict().values()) / 1e6


def _held(model: Model) -> float:
    return float(model.card["metrics"]["held_f1"])


def _test(model: Model) -> float:
    return float(model.card["metrics"]["test"]["f1"] or 0.0)


def _score(model: Model, opened: Opened) -> Scored:
    maps = map_patches(model, opened.test, model.card.get("resize_px"))
    return score_maps(maps, float(model.card["threshold"]), objects=False)


def _beside_logistic(plan: Plan, opened: Opened, student: Model) -> dict[str, Any]:
    """F1 of the student and of logistic regression under each stretch, and with the same patches at each size."""
    rule = fit_logistic(opened.seen, *opened.parts, plan.recipe.seed)
    stretches = list_stretches(opened.test, by_brightest=plan.recipe.radiometry["stretch"] in BY_BRIGHTEST)
    simple = {name: _score_simple(rule, opened.test, how) for name, how in stretches.items()}
    side = student.card.get("resize_px") or opened.test.read(0).mask.shape[0]
    for size in SIZES if plan.sizes else ():
        simple[f"size x {size:g}"] = _score_resized(rule, opened.test, round(side * size))
    found = score_stretched(student, opened.test, sizes=plan.sizes)
    return {
        name: {
            "f1": round(scored.report["f1"] or 0.0, 4), "logistic_f1": round(simple[name].report["f1"] or 0.0, 4),
            "less_logistic": compare(scored.confusions, simple[name].confusions),
        }
        for name, scored in found.items()
    }  # fmt: skip


def _score_simple(rule: SimpleMap, patches: Patches, how: Any) -> Scored:
    def load(position: int) -> tuple[Any, Any]:
        image, mask = patches.load(position)
        return how(as_values(image)), mask

    return score_simple(rule, replace(patches, load=load), objects=False)


def _score_resized(rule: SimpleMap, patches: Patches, side_px: int) -> Scored:
    """The rule sees each patch at another size, as the network does; scored at the native one."""

    def draw(patch: Patch) -> tuple[str, Any, Any]:
        seen = rule.map(resize_bands(patch.image, (side_px, side_px)))
        return patch.name, resize_bands(seen[None], patch.mask.shape)[0], patch.mask

    return score_maps(map(draw, patches), rule.threshold, objects=False)


def find_objections(figures: Mapping[str, Any], plan: Plan) -> list[str]:
    """Why a student is not shipped; the rule was written before anything was trained."""
    stretches, found = figures["stretches"], []
    plain = stretches[PLAIN]
    if figures["student"]["mb"] > MOST_MB:
        found.append(f"{figures['student']['mb']} MB, more than {MOST_MB:g}")
    if not _lies_above(plain["less_logistic"]):
        found.append("not better than logistic regression on the patches as they are")
    for name, one in stretches.items():
        if one["less_logistic"]["interval"] is None:
            found.append(f"{name}: too few images to compare with logistic regression")
        elif one["less_logistic"]["interval"][1] < 0:
            found.append(f"{name}: worse than logistic regression")
        if plain["f1"] - one["f1"] > MOST_LOST:
            found.append(f"{name}: loses {plain['f1'] - one['f1']:.3f} of F1, more than {MOST_LOST:g}")
        if (name == PLAIN or name.startswith("size")) and one["f1"] < plan.least_f1:
            found.append(f"{name}: F1 {one['f1']:.3f}, less than {plan.least_f1:g}")
    seeds = figures["student"]["f1"]
    if max(seeds) - min(seeds) > MOST_LOST:
        found.append(f"its seeds differ by {max(seeds) - min(seeds):.3f} of F1, more than {MOST_LOST:g}")
    if plan.shipped:
        interval = figures["less_shipped"]["interval"]
        if interval is None:
            found.append("too few images to compare with the weights that are shipped today")
        elif interval[0] < -MOST_BELOW_SHIPPED:
            found.append(f"it may be {-interval[0]:.3f} of F1 below the weights that are shipped today")
    return found


def _lies_above(difference: Mapping[str, Any]) -> bool:
    return difference["interval"] is not None and difference["interval"][0] > 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, score, say; 0 done, 1 a known error, 2 no accelerator."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", default="", help="names of sets, joined by commas")
    options.add_argument("--smoke", action="store_true", help="the whole way on drawn tiles, on the processor")
    options.add_argument("--kept", type=Path, default=KEPT, help="folder of what is trained")
    given = options.parse_args(arguments)
    if not given.smoke and not torch.cuda.is_available():
        sys.stderr.write("recipes-gpu needs an accelerator, and torch finds none (CUDA); --smoke tries the way\n")
        return 2
    if not given.smoke:
        os.environ["SLOPEWARD_DEVICE"] = "cuda"
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        wanted = {"drawn": smoke_plan()} if given.smoke else plans()
        if unknown := [name for name in given.only.split(",") if name and name not in wanted]:
            options.error(f"no set is called {unknown[0]}; there are {', '.join(wanted)}")
        figures: dict[str, Any] = {}
        for name, plan in wanted.items():
            if not given.only or name in given.only.split(","):
                figures[name] = measure(plan, given.kept / name)
                print(f"{name}: {figures[name]['verdict']}", *figures[name]["objections"], sep="\n  ")
    except ImageryError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if given.smoke:
        (given.kept / "smoke.json").write_text(json.dumps(figures, indent=1))
    else:
        record("recipes-gpu", "make recipes-gpu", {"device": torch.cuda.get_device_name(), **figures})
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`slopeward scenes susceptibility`: maps of where landslides of an inventory would lie, learned from factors."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from monitor.api.cli import LARGEST_SEED, Commands, exit_on, make_progress_printer, print_if_json, warn

app = Commands(help="Map where landslides like those of an inventory are likely (not when).", no_args_is_help=True)
StudyArgument = Annotated[
    Path, typer.Argument(metavar="STUDY", help="TOML file that names the factors and the inventory.")
]


@app.command(
    epilog="Example: slopeward scenes susceptibility train study.toml --out model.json --json", takes_config=False
)
def train(
    study: StudyArgument,
    out: Annotated[Path, typer.Option(help="JSON file for the model.")],
    learners: Annotated[str, typer.Option(help="Methods to choose from: logistic, boosting.")] = "logistic,boosting",
    block_m: Annotated[
        float | None,
        typer.Option(min=1.0, max=1e7, help="Side of the blocks in metres. Default: 100 blocks cover the area."),
    ] = None,
    classes: Annotated[
        str, typer.Option(help="landslides or area: what the limits of the five classes are shares of.")
    ] = "landslides",
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of all random choices.")] = 0,
) -> None:
    """Train a susceptibility model on an inventory, and score it on blocks of ground that were left out."""
    from slopeward_earth.susceptibility.learners.table import LEARNERS
    from slopeward_earth.susceptibility.training import RULES, SusceptibilityTrainingRequest
    from slopeward_earth.susceptibility.training import train as run_training

    names = tuple(dict.fromkeys(name.strip() for name in learners.split(",")))
    if unknown := [name for name in names if name not in LEARNERS]:
        raise typer.BadParameter(f"{unknown[0]!r}; known: {', '.join(LEARNERS)}", param_hint="--learners")
    if classes not in RULES:
        raise typer.BadParameter(f"{classes!r}; known: {', '.join(RULES)}", param_hint="--classes")
    if out.suffix != ".json":
        raise typer.BadParameter("the model is a .json file", param_hint="--out")
    request = SusceptibilityTrainingRequest(study, out, datetime.now(UTC).date(), names, block_m, classes, seed)
    answer = run_training(request, make_progress_printer())
    warn(answer["warnings"])
    if print_if_json(answer):
        return
    scores = answer["scores"]
    low, high = scores["interval"]
    print(f"{out}: {answer['learner']}, {answer['inventory']['landslides']} landslides")
    print(f"AUC on left-out blocks {scores['auc']:.3f} ({low:.3f} to {high:.3f})")
    print("AUC lost without: " + ", ".join(f"{one['name']} {one['auc_lost']:.3f}" for one in scores["importance"]))


@app.command(
    "map",
    epilog="Example: slopeward scenes susceptibility map study.toml --model model.json --out susceptibility",
    takes_config=False,
)
def draw(
    study: StudyArgument,
    model: Annotated[Path, typer.Option(help="JSON file of the model, see `susceptibility train`.")],
    out: Annotated[Path, typer.Option(help="Folder for susceptibility.tif, its picture and map.json.")],
) -> None:
    """Write a susceptibility map: probability, spread and class, and where the ground is unlike the training.

    Exit 4 if the map has no value.
    """
    from detection.imagery.errors import NoValidPixelsError
    from slopeward_earth.susceptibility.mapping import MapRequest, make_map

    with exit_on(NoValidPixelsError):
        answer = make_map(MapRequest(study, model, out, datetime.now(UTC).date()), make_progress_printer())
    warn(answer["warnings"])
    if print_if_json(answer):
        return
    shares = ", ".join(f"{name} {share:.1%}" for name, share in answer["class_shares"].items())
    size = f"{answer['width']} x {answer['height']} px"
    print(f"{out / answer['outputs']['map']}: {size}, {answer['known_share']:.1%} known")
    print(f"{shares}; outside of the training {answer['outside_share']:.1%}")
    print(f"{answer['cpu_s']:.1f} s of one processor, at most {answer['peak_memory_mib']} MiB of memory")

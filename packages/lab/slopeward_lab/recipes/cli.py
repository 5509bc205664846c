"""`slopeward scenes train`: train a scene network on labelled patches by a recipe."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from monitor.api.cli import LARGEST_SEED, catch_stop_signals, print_if_json, show_progress, warn
from monitor.api.errors import SlopewardError

if TYPE_CHECKING:
    from detection.imagery.neural.learner import Hooks
    from slopeward_lab.recipes.recipe_file import TrainingRecipe

EXAMPLE: Final = "Example: slopeward scenes train --recipe landslide4sense --data DIR --out my.safetensors"


def train(
    recipe: Annotated[str, typer.Option(help="Recipe file, or the name of a recipe that is part of Slopeward.")],
    data: Annotated[Path, typer.Option("--data", help="Folder that contains the data of the recipe.")] = Path(),
    out: Annotated[
        Path | None,
        typer.Option(help="The .safetensors file. Its model card and learning curve are written beside it."),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start again and discard an unfinished run with the same --out.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, max=LARGEST_SEED, help="Seed instead of that of the recipe.")
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(help="A .safetensors file of encoder weights to start with, instead of that of the recipe."),
    ] = None,
) -> None:
    """Train the weights of a scene network by a recipe.

    The same command continues an interrupted run, with the same result as without the interruption. If --out contains
    an unfinished run of another recipe, seed or data, the command stops; --restart discards that run.
    """
    import torch

    from detection.imagery.errors import OtherRunError, TrainingPausedError
    from slopeward_lab.recipes.run import run_recipe

    torch.set_num_threads(1)
    checked_recipe = _read_recipe(recipe, seed, encoder)
    target = out or Path(f"{checked_recipe.name}.safetensors")
    try:
        with catch_stop_signals() as signals:
            card = run_recipe(checked_recipe, target, data, hooks=_make_hooks(target, signals, resume=not restart))
    except OtherRunError as error:
        raise SlopewardError(
            f"{error}. It goes on with the recipe, seed and data that it began with: to keep it, name another file by "
            "--out, or discard it by --restart"
        ) from None
    except TrainingPausedError as error:
        typer.echo(f"\n{error}", err=True)
        return
    typer.echo("", err=True)
    answer: dict[str, Any] = {"weights": str(target), **card}
    if print_if_json(answer):
        return
    scores = {name: value for name, value in card["metrics"]["test"].items() if isinstance(value, float)}
    print(f"{target}: epoch {card['training']['best_epoch']}, threshold {card['threshold']}")
    print(", ".join(f"{name} {value}" for name, value in scores.items()))


def _read_recipe(name: str, seed: int | None, encoder: Path | None) -> "TrainingRecipe":
    """Read a recipe and apply the options that replace its keys."""
    from slopeward_lab.recipes.recipe_file import find_recipe, read_recipe

    recipe = read_recipe(find_recipe(name))
    if seed is not None:
        recipe = replace(recipe, seed=seed)
    if encoder is not None:
        recipe = replace(recipe, training={**recipe.training, "encoder": str(encoder)})
    return recipe


def _make_hooks(target: Path, signals: Sequence[int], *, resume: bool) -> "Hooks":
    """Return callbacks that print progress and warnings, and stop the training after a signal."""
    from detection.imagery.neural.learner import CHECKPOINT_SUFFIX, Hooks

    return Hooks(
        show_progress,
        lambda: bool(signals),
        resume=resume,
        on_warning=lambda warning: warn([warning]),
        on_resume=lambda epoch: typer.echo(
            f"{target.with_suffix(CHECKPOINT_SUFFIX)}: the unfinished run of this recipe goes on in epoch {epoch} "
            "(--restart would start again)",
            err=True,
        ),
    )

"""The run that turns a recipe into weights."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detection.imagery.data.catalogue import SOURCES, find_pixel_size, open_data
from detection.imagery.data.splits import ALL
from detection.imagery.errors import DataError, TrainingRecipeError
from detection.imagery.registry import CLASSIFIERS
from detection.imagery.training.model_card import make_card, read_normalisation, render_card
from detection.imagery.training.recipe_file import TrainingRecipe, show_by
from detection.imagery.training.seen import write_seen
from detection.imagery.weights_file import ModelCard, weights_path

if TYPE_CHECKING:
    import torch

    from detection.imagery.neural.checkpoint import SegmentationModel
    from detection.imagery.neural.learner import Hooks, ImageryTrainingSettings, Normalisation

    Beginning = tuple[
        "ImageryTrainingSettings", torch.nn.Module | None, Normalisation | None, dict[str, str] | None, tuple[str, ...]
    ]

# Of a run that goes on from weights, where the recipe does not say it: it has less to learn, and could unlearn more.
START_EPOCHS, START_RATE = 12, 5e-4


def run_recipe(
    recipe: TrainingRecipe, out: Path, data_folder: Path | None = None, *, hooks: "Hooks | None" = None
) -> ModelCard:
    """Train by a recipe and write `out` (.safetensors), its JSON card, a markdown card, the recipe and the curve.

    Args:
        hooks: progress, stop and resume; the place of the run lies beside `out` until it is done.

    Returns the JSON card.
    """
    from detection.imagery.neural.checkpoint import save_model
    from detection.imagery.neural.learner import Hooks
    from detection.imagery.registry import find_doubts
    from detection.imagery.training.domain import describe
    from detection.imagery.training.steadiness import measure_steadiness

    settings, network, normalisation, origin, begun_line = _begin(recipe)
    native, test = open_data(recipe.data, recipe.bands, recipe.seed, data_folder)
    resize_px = None if recipe.data["source"] == "generated" else recipe.data.get("size_px")
    train = (native.resize(int(resize_px)) if resize_px else native).remember()
    if not any((patch.mask == 1).any() for patch in train):
        raise DataError(
            f"{recipe.data.get('folder') or recipe.name}: no pixel of the masks is landslide: nothing to learn"
        )
    place = out.with_suffix(".place")
    settings = settings.fitted(round(len(train) * (1 - (settings.held_share if settings.split != ALL else 0))))
    hooks = replace(hooks or Hooks(), place=place)
    facts: dict[str, Any] = {
        "train_patches": len(train),
        "train_sha256": native.fingerprint(),
        "test_patches": len(test),
        "tile_px": train.read(0).mask.shape[0],
        "resize_px": resize_px,
        "pixel_size_m": find_pixel_size(recipe.data, native),
    }
    facts["domain"] = describe(
        train,
        facts["pixel_size_m"],
        SOURCES[recipe.data["source"]].undated,
        reflectance=recipe.radiometry.get("stretch") == "reflectance",
    )
    show = show_by(recipe.radiometry)
    raw, train = train, show(train).remember()
    kept = out.with_suffix(".recipe.toml")
    facts["begun_from"] = origin
    facts["recipe_file"] = kept.name if recipe.text else None
    facts["doubts"] = find_doubts(settings.network, min(train.read(0).mask.shape))
    for line in (*facts["doubts"], *begun_line):
        hooks.on_warning(line)
    if settings.network in CLASSIFIERS:
        from detection.imagery.neural.triage_training import evaluate_triage, train_triage

        trained = train_triage(train, settings, hooks)
        facts["test"] = evaluate_triage(trained, show(test), facts["tile_px"])
    else:
        from detection.imagery.neural.training import evaluate, map_by, train_patches

        trained = train_patches(
            train, settings, hooks, network=network, normalisation=normalisation, native=(raw, show)
        )
        facts["test"] = evaluate(trained, test, resize_px, show)
        facts["steadiness"] = measure_steadiness(
            lambda patches: map_by(trained, patches, resize_px, show),
            native.take([native.names.index(name) for name in trained.held]),
            trained.threshold,
        )
    card = make_card(recipe, settings, trained, facts)
    save_model(out, trained.network, card)
    write_seen(out, native, None if origin is None else weights_path(origin["weights"]))
    if recipe.text:  # what the card names must be there, wherever the weights go
        kept.write_text(recipe.text, encoding="utf-8")
    out.with_suffix(".md").write_text(render_card(card), encoding="utf-8")
    place.unlink(missing_ok=True)
    return card


def _begin(recipe: TrainingRecipe) -> "Beginning":
    settings = recipe.settings()
    if settings.start and settings.encoder:
        raise TrainingRecipeError(f"recipe {recipe.name}: start brings an encoder of its own; leave out encoder")
    if settings.start:
        settings, begun = _take_up(recipe, settings)
        origin = {"weights": settings.start, "model_hash": begun.model_hash}
        return settings, begun.network, read_normalisation(begun.card), origin, ()
    if settings.encoder:
        from detection.imagery.neural.encoder_file import open_encoder

        settings, network, origin, line = open_encoder(settings, len(recipe.bands))
        return settings, network, None, origin, (line,)
    return settings, None, None, None, ()


def _take_up(
    recipe: TrainingRecipe, settings: "ImageryTrainingSettings"
) -> tuple["ImageryTrainingSettings", "SegmentationModel"]:
    from detection.imagery.neural.checkpoint import load_model

    begun = load_model(settings.start)
    card = begun.card
    own = recipe.radiometry, list(recipe.bands)
    if own != (card["radiometry"], card["bands"]):
        raise TrainingRecipeError(
            f"recipe {recipe.name}: {settings.start} reads bands {', '.join(card['bands'])} by {card['radiometry']}, "
            f"the recipe {', '.join(recipe.bands)} by {recipe.radiometry}: training cannot go on from there"
        )
    network = card["network"]
    if network["name"] in CLASSIFIERS or settings.network in CLASSIFIERS:
        raise TrainingRecipeError(f"recipe {recipe.name}: triage is trained from nothing; leave out start")
    rate = settings.learning_rate if "learning_rate" in recipe.training else START_RATE
    settings = replace(
        settings,
        network=network["name"],
        width=network["width"],
        options=dict(network["options"]),
        epochs=settings.epochs or START_EPOCHS,
        learning_rate=rate,
        clip=bool(card["normalisation"].get("clip")),
    )
    return settings, begun

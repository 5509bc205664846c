"""Train a scene network by a recipe, and write its weights with their card."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from detection.imagery.data.catalogue import SOURCES, find_pixel_size, open_data, open_empty_ground
from detection.imagery.data.metrics import Confusion, compute_scores
from detection.imagery.data.patches import IGNORED, Patches, join_patches
from detection.imagery.data.splits import ALL, Parts, split
from detection.imagery.errors import DataError, TrainingRecipeError
from detection.imagery.neural.encoder_file import open_encoder
from detection.imagery.neural.learner import CHECKPOINT_SUFFIX, Hooks, ImageryTrainingSettings, Normalisation
from detection.imagery.neural.model_file import SegmentationModel, load_model, save_model
from detection.imagery.neural.training import TrainedNetwork, evaluate, predict_trained_maps, train_patches
from detection.imagery.neural.triage_training import evaluate_triage, train_triage
from detection.imagery.optional_bands import CHANNELS_PER_BAND, list_optional_bands
from detection.imagery.registry import CLASSIFIERS, list_size_warnings
from detection.imagery.training.domain import describe_training
from detection.imagery.training.network_input import choose_stretch, read_normalisation
from detection.imagery.training.picture_digests import write_digests
from detection.imagery.training.scoring import ScoringResult, compare, score_maps
from detection.imagery.training.simple_maps import fit_logistic, score_simple_map
from detection.imagery.training.steadiness import measure_steadiness
from detection.imagery.weights_file import ModelCard, weights_path
from slopeward_lab.recipes.model_card import make_card, render_card
from slopeward_lab.recipes.recipe_file import TrainingRecipe

# Defaults of a training that starts from weights. It needs fewer epochs, and a high rate would undo the first training.
START_EPOCHS: Final = 12
START_RATE: Final = 5e-4


@dataclass(frozen=True, slots=True)
class _StartingPoint:
    """The state in which a training starts."""

    settings: ImageryTrainingSettings
    network: torch.nn.Module | None = None  # None: with random weights
    normalisation: Normalisation | None = None  # None: measured on the patches
    origin: dict[str, str] | None = None  # for the card: which weights the training starts from
    warnings: tuple[str, ...] = ()


def run_recipe(
    recipe: TrainingRecipe, out: Path, data_folder: Path | None = None, *, hooks: Hooks | None = None
) -> ModelCard:
    """Train a network by a recipe, write all files beside each other, and return the JSON card.

    The files are `out` (.safetensors), the JSON card, the markdown card, the recipe, and the digests of the pictures
    that the network was trained on. During the training, its state is in a checkpoint beside them.

    Args:
        recipe: the recipe.
        out: file for the weights.
        data_folder: folder below which the data of the recipe are.
        hooks: callbacks for progress, stop and resume.
    """
    start = _open_start(recipe)
    settings = start.settings
    all_bands = (*recipe.bands, *recipe.optional_bands)
    labelled, test = (
        part.split_optional(recipe.optional_bands)
        for part in open_data(recipe.data, all_bands, recipe.seed, data_folder, recipe.radiometry)
    )
    tile_px = labelled.read(0).mask.shape[0]
    empty_ground = open_empty_ground(
        recipe.data, recipe.bands, tile_px, data_folder, recipe.optional_bands, recipe.radiometry
    )
    native = labelled if empty_ground.train is None else join_patches(labelled, empty_ground.train)
    resize_px = None if recipe.data["source"] == "generated" else recipe.data.get("size_px")
    raw = (native.resize(int(resize_px)) if resize_px else native).cache()
    if not any((patch.mask == 1).any() for patch in raw):
        raise DataError(
            f"{recipe.data.get('folder') or recipe.name}: no pixel of the masks is landslide: nothing to learn"
        )
    held_share = 0.0 if settings.split == ALL else settings.held_share
    settings = settings.with_defaults(round(len(raw) * (1 - held_share)))
    checkpoint = out.with_suffix(CHECKPOINT_SUFFIX)
    hooks = replace(hooks or Hooks(), checkpoint=checkpoint)
    stretch = choose_stretch(recipe.radiometry)
    train = stretch(raw).cache()
    recipe_copy = out.with_suffix(".recipe.toml")
    pixel_size_m = find_pixel_size(recipe.data, native)
    facts: dict[str, Any] = {
        "train_patches": len(train),
        "train_sha256": native.fingerprint(),
        "test_patches": len(test),
        "tile_px": raw.read(0).mask.shape[0],
        "resize_px": resize_px,
        "pixel_size_m": pixel_size_m,
        # Scenes without landslides are left out: the network learnt no landslides on ground like theirs.
        "domain": describe_training(
            raw.take(range(len(labelled))),
            pixel_size_m,
            SOURCES[recipe.data["source"]].undated,
            reflectance=recipe.radiometry.get("stretch") == "reflectance",
        ),
        "begun_from": start.origin,
        "recipe_file": recipe_copy.name if recipe.text else None,
        "doubts": list_size_warnings(settings.network, min(train.read(0).mask.shape)),
    }
    for warning in (*facts["doubts"], *start.warnings):
        hooks.on_warning(warning)
    if settings.network in CLASSIFIERS:
        trained = train_triage(train, settings, hooks)
        facts["test"] = evaluate_triage(trained, test, facts["tile_px"], stretch)
    else:
        parts = _split_with_repeats(train, settings, empty_ground.repeats)
        trained = train_patches(
            train,
            settings,
            hooks,
            network=start.network,
            normalisation=start.normalisation,
            native=(raw, stretch),
            parts=parts,
        )
        scored = score_maps(predict_trained_maps(trained, test, resize_px, stretch), trained.threshold, objects=False)
        facts["test"] = compute_scores(Confusion(*(int(pixels) for pixels in scored.confusions.sum(axis=0))))
        if len(trained.held_names) and len(recipe.bands) > 1:
            facts["logistic"] = _compare_with_logistic(scored, raw, test, parts)
        facts["empty_ground"] = {
            name: _measure_empty_ground(trained, tiles, resize_px, stretch)
            for name, tiles in empty_ground.evaluation.items()
        }
        if recipe.optional_bands:
            facts["test_masked"] = evaluate(trained, test.mask_optional(), resize_px, stretch)
        facts["steadiness"] = measure_steadiness(
            lambda patches: predict_trained_maps(trained, patches, resize_px, stretch),
            native.take([native.names.index(name) for name in trained.held_names]),
            trained.threshold,
        )
    card = make_card(recipe, settings, trained, facts)
    save_model(out, trained.network, card)
    write_digests(out, native, weights_path(settings.start) if settings.start else None)
    if recipe.text:
        recipe_copy.write_text(recipe.text, encoding="utf-8")
    out.with_suffix(".md").write_text(render_card(card), encoding="utf-8")
    checkpoint.unlink(missing_ok=True)
    return card


def _split_with_repeats(patches: Patches, settings: ImageryTrainingSettings, repeats: tuple[int, ...]) -> Parts:
    """Return the positions of the fit part and the held part. Tiles without landslides are repeated in the fit part.

    Args:
        patches: the last of them are the tiles without landslides.
        repeats: how often each of these tiles is in the fit part.
    """
    fit, held = split(patches, settings.split, settings.held_share, settings.seed)
    counts = np.ones(len(patches), np.int64)
    counts[len(patches) - len(repeats) :] = repeats
    return np.repeat(fit, counts[fit]), held


def _compare_with_logistic(scored: ScoringResult, raw: Patches, test: Patches, parts: Parts) -> dict[str, Any]:
    """Return F1 of logistic regression that was fitted on the same patches, and the difference of the network to it.

    Args:
        scored: scores of the network on `test`.
        raw: patches for training, at the size of the training, in the unit of their files.
        test: patches at their native size.
        parts: positions of the fit part and the held part of `raw`.
    """
    logistic = score_simple_map(fit_logistic(raw, *parts), test, objects=False)
    return {
        "f1": round(logistic.report["f1"] or 0.0, 4),
        "less_logistic": compare(scored.confusions, logistic.confusions),
    }


def _measure_empty_ground(
    trained: TrainedNetwork, tiles: Patches, resize_px: int | None, stretch: Callable[[Patches], Patches]
) -> dict[str, float | int]:
    """Return the share of the pixels of tiles without landslides that a network marks, at its own threshold."""
    marked_px = valid_px = 0
    for _, probabilities, mask in predict_trained_maps(trained, tiles, resize_px, stretch):
        valid = mask != IGNORED
        valid_px += int(valid.sum())
        marked_px += int((valid & (probabilities >= trained.threshold)).sum())
    return {"tiles": len(tiles), "pixels": valid_px, "marked_share": marked_px / max(valid_px, 1)}


def _open_start(recipe: TrainingRecipe) -> _StartingPoint:
    """Return where the training starts: from the weights `start`, with the encoder `encoder`, or from scratch."""
    settings = recipe.settings()
    if settings.start and settings.encoder:
        raise TrainingRecipeError(f"recipe {recipe.name}: start brings an encoder of its own; leave out encoder")
    if settings.start:
        model = load_model(settings.start)
        origin = {"weights": settings.start, "model_hash": model.model_hash}
        settings = _adopt_network(recipe, settings, model)
        return _StartingPoint(settings, model.network, read_normalisation(model.card), origin)
    if settings.encoder:
        settings, network, encoder_origin, warning = open_encoder(
            settings, len(recipe.bands), CHANNELS_PER_BAND * len(recipe.optional_bands)
        )
        return _StartingPoint(settings, network, origin=encoder_origin, warnings=(warning,))
    return _StartingPoint(settings)


def _adopt_network(
    recipe: TrainingRecipe, settings: ImageryTrainingSettings, model: SegmentationModel
) -> ImageryTrainingSettings:
    """Return the settings of a training that starts from the weights of a model: with its network and clipping.

    Raises:
        TrainingRecipeError: the model has other bands or another radiometry than the recipe, or is a classifier.
    """
    card = model.card
    if (recipe.radiometry, list(recipe.bands)) != (card["radiometry"], card["bands"]):
        raise TrainingRecipeError(
            f"recipe {recipe.name}: {settings.start} reads bands {', '.join(card['bands'])} by {card['radiometry']}, "
            f"the recipe {', '.join(recipe.bands)} by {recipe.radiometry}: training cannot go on from there"
        )
    if recipe.optional_bands != list_optional_bands(card):
        raise TrainingRecipeError(
            f"recipe {recipe.name}: the optional bands of {settings.start} are "
            f"{', '.join(list_optional_bands(card)) or 'none'}: give optional_bands of the recipe the same value"
        )
    network = card["network"]
    if network["name"] in CLASSIFIERS or settings.network in CLASSIFIERS:
        raise TrainingRecipeError(f"recipe {recipe.name}: triage is trained from nothing; leave out start")
    return replace(
        settings,
        network=network["name"],
        width=network["width"],
        options=dict(network["options"]),
        epochs=settings.epochs or START_EPOCHS,
        learning_rate=settings.learning_rate if "learning_rate" in recipe.training else START_RATE,
        clip=bool(card["normalisation"].get("clip")),
    )

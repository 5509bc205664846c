"""Score trained weights on a labelled set, and compare them with simple maps."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.catalogue import DataTable, open_data
from detection.imagery.data.patches import Patches
from detection.imagery.data.splits import ALL, Parts, split
from detection.imagery.errors import DataError, TrainingRecipeError
from detection.imagery.optional_bands import list_optional_bands
from detection.imagery.training.network_input import choose_stretch, read_normalisation
from detection.imagery.training.picture_digests import count_trained_on, digest_pictures
from detection.imagery.training.scoring import ScoringResult, compare, pool_blocks, score_maps
from detection.imagery.training.simple_maps import (
    SimpleMap,
    fit_by_cross_validation,
    fit_index,
    fit_logistic,
    score_simple_map,
)
from detection.imagery.weights_file import ModelCard

log = logging.getLogger(__name__)
# Folds of the cross-validation of simple maps.
FOLDS = 3
# On which patches the simple maps were fitted, for people.
CROSS_VALIDATED = "the other pictures of the set, in turn"
TRAIN_PART = "the train part of the set"
Maps = Iterator[tuple[str, NDArray[np.floating], NDArray[np.uint8]]]


def score_weights(
    weights: str,
    data_folder: Path | None,
    *,
    data: DataTable | None = None,
    threshold: float | None = None,
    simple: bool = False,
    objects: bool = True,
) -> dict[str, Any]:
    """Score weights on the test part of a set.

    Args:
        weights: shipped name or path.
        data_folder: folder below which the data are.
        data: table `[data]` as in a recipe. None: that of the training.
        threshold: None: that of the card, which was chosen on the held part of the training.
        simple: whether simple maps, fitted on the train part of the same set, are scored and compared with the weights.
        objects: whether objects are scored too, which takes most of the time.

    Returns:
        The report of `scoring.score_maps`, with `weights`, `model_hash`, `data`, `seeds`, `note` and `trained_on` (on
        how many of the pictures the weights were trained; None if they have no digests). With `simple`, also `simple`
        (reports of the index and of logistic regression, and paired differences of F1 under `beside`),
        `simple_learnt_from` (text), `patches_sha256`, `fitted_on` (on how many of the patches the weights or the simple
        maps were fitted), `blocks` (number of folders and of patches without a folder) and `tries` (how many networks
        `scenes learn` trained).

    Raises:
        ModelError: there are no such weights.
        DataError: the set lacks a band of the weights. The message lists both.
        TrainingRecipeError: the data are absent.
    """
    from detection.imagery.neural.model_file import load_model
    from detection.imagery.registry import find_entry
    from detection.imagery.weights_file import weights_path

    model = load_model(weights, ungated=True)
    card = model.card
    find_entry(card["network"]["name"])
    table = data or card["data"]["recipe"]
    if data is None and not ((data_folder or Path()) / table.get("folder", "")).is_dir():
        # `scenes learn` writes tiles beside the weights.
        folder = weights_path(weights).parent
        data_folder = folder if (folder / table.get("folder", "")).is_dir() else data_folder
    resize_px = card.get("resize_px")
    train, test = _open_parts(table, card, data_folder)
    test = test.cache()
    threshold = float(card["threshold"] if threshold is None else threshold)
    facts = {
        "weights": str(card["name"]),
        "model_hash": model.model_hash,
        "data": table,
        "seeds": [int(card["training"]["seed"])],
        "note": card["data"]["note"],
        "trained_on": count_trained_on(weights_path(weights), test, int(card["tile_px"]) if "learnt" in card else 0),
    }
    scored = score_maps(map_patches(model, test, resize_px), threshold, objects=objects)
    answer: dict[str, Any] = facts | scored.report
    if simple:
        # A set without a train part is returned as a whole for both parts. Then the simple maps are cross-validated.
        is_cross_validated = table.get("test_part") != "train" and train.names == test.names
        answer["simple"] = _score_simple_maps(
            scored, train, test, card, resize_px, is_cross_validated=is_cross_validated, objects=objects
        )
        answer["simple_learnt_from"] = CROSS_VALIDATED if is_cross_validated else TRAIN_PART
        shared_count = 0
        if not is_cross_validated:
            shared_count = int(np.isin(digest_pictures(test), digest_pictures(train)).sum())
        fingerprint = test.fingerprint()
        is_training_set = fingerprint == card["data"].get("train_sha256")
        answer["patches_sha256"] = fingerprint
        answer["fitted_on"] = len(test) if is_training_set else max(shared_count, facts["trained_on"] or 0)
        answer["blocks"] = len(np.unique(_list_blocks(scored.names)))
        answer["tries"] = card.get("learnt", {}).get("tries")
    return answer


def _open_parts(table: DataTable, card: ModelCard, folder: Path | None) -> tuple[Patches, Patches]:
    """Return the train and test part of a set with the bands of a card. Optional bands are masked if it lacks one."""
    bands = tuple(card["bands"])
    optional = list_optional_bands(card)
    seed = int(card["training"]["seed"])
    try:
        train, test = open_data(table, (*bands, *optional), seed, folder, card["radiometry"])
        return train.split_optional(optional), test.split_optional(optional)
    except DataError:
        if not optional:
            raise
    train, test = open_data(table, bands, seed, folder, card["radiometry"])
    return train.mask_optional(optional), test.mask_optional(optional)


def map_patches(model: Any, patches: Patches, resize_px: int | None = None) -> Maps:
    """Yield name, calibrated probabilities and mask of every patch, mapped by a loaded model, at native sizes.

    Optional bands of the model that the patches lack are masked.
    """
    from detection.imagery.neural.training import predict_maps

    temperature = float(model.card.get("temperature", 1.0))
    normalisation = model.card["normalisation"]
    stretch = choose_stretch(model.card["radiometry"])
    optional = list_optional_bands(model.card)
    if patches.optional_bands != optional:
        patches = patches.mask_optional(optional)

    def prepare(patches: Patches) -> Patches:
        stretched = stretch(patches)
        return stretched.clip(normalisation["value_range"]) if normalisation.get("clip") else stretched

    return predict_maps(model.network, patches, read_normalisation(model.card), temperature, resize_px, prepare)


def _score_simple_maps(
    scored: ScoringResult,
    train: Patches,
    test: Patches,
    card: ModelCard,
    resize_px: int | None,
    *,
    is_cross_validated: bool,
    objects: bool,
) -> dict[str, Any]:
    """Return the reports of the simple maps and the differences of F1 between them and the weights.

    The simple maps are fitted on the train part with the split of the weights, or by cross-validation if the weights
    had no held part or the set cannot be split that way. With `is_cross_validated`, both parts are the same set, and
    each picture is mapped by rules that were fitted on other pictures.
    """
    if len(card["bands"]) < 2:
        raise TrainingRecipeError("the simple maps need two bands at least, red and green first")
    if is_cross_validated:
        scored_by_name = _score_cross_validated(test, objects=objects)
    else:
        train = (train.resize(int(resize_px)) if resize_px else train).cache()
        rules = _fit_simple_maps(train, card["training"])
        scored_by_name = {name: score_simple_map(rule, test, objects=objects) for name, rule in rules.items()}
    blocks = _list_blocks(scored.names)
    counts = pool_blocks(scored.confusions, blocks)
    differences = {
        name: compare(counts, pool_blocks(simple.confusions, blocks)) for name, simple in scored_by_name.items()
    }
    return {name: simple.report for name, simple in scored_by_name.items()} | {"beside": differences}


def _fit_simple_maps(train: Patches, settings: dict[str, Any]) -> dict[str, SimpleMap]:
    """Fit the simple maps with the split of the training `settings`; see `_score_simple_maps`."""
    kind = settings.get("split", "seeded")
    try:
        if kind != ALL:
            fit, held = split(train, kind, settings["held_share"], settings["seed"])
            return {"index": fit_index(train, held), "logistic": fit_logistic(train, fit, held)}
    except TrainingRecipeError:
        log.info("the set cannot be split by %s: cross-validation over its pictures instead", kind)
    rules_by_name = fit_by_cross_validation(train, _make_folds(train))
    return {name: rules[-1] for name, rules in rules_by_name.items()}


def _score_cross_validated(patches: Patches, *, objects: bool) -> dict[str, ScoringResult]:
    """Return the scores of simple maps in which each patch is mapped by rules that were fitted without it."""
    folds = _make_folds(patches)
    rules_by_name = fit_by_cross_validation(patches, folds)
    fold_of_patch = np.zeros(len(patches), int)
    for number, (_, held) in enumerate(folds):
        fold_of_patch[held] = number

    def map_patches_by(rules: list[SimpleMap]) -> Maps:
        return (
            (patch.name, rules[fold].map(patch.image, patches.read_channels(position)), patch.mask)
            for position, (fold, patch) in enumerate(zip(fold_of_patch, patches, strict=True))
        )

    return {
        name: score_maps(map_patches_by(rules), rules[-1].threshold, objects=objects)
        for name, rules in rules_by_name.items()
    }


def _make_folds(patches: Patches) -> list[Parts]:
    """Return folds whose parts consist of whole blocks; see `_list_blocks`."""
    blocks = _list_blocks(patches.names)
    count = min(FOLDS, int(blocks.max()) + 1)
    if count < 2:
        raise TrainingRecipeError("one picture or folder alone: the simple maps need others to be fitted on")
    fold_of_block = np.random.default_rng(0).permutation(int(blocks.max()) + 1) % count
    fold_of_patch = fold_of_block[blocks]
    return [(np.flatnonzero(fold_of_patch != fold), np.flatnonzero(fold_of_patch == fold)) for fold in range(count)]


def _list_blocks(names: Sequence[str]) -> NDArray[np.int64]:
    """Return the number of the block of each patch.

    Patches of one folder (`FOLDER/images/NAME`) are neighbours and form a block. Any other patch is a block of its own.
    """
    folders = [name.rpartition("/images/")[0] or name for name in names]
    return np.asarray(np.unique(folders, return_inverse=True)[1])

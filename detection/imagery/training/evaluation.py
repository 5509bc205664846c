"""Scoring trained weights on a labelled set, beside the simple maps when asked for."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.catalogue import open_data
from detection.imagery.data.patches import Patches
from detection.imagery.errors import RecipeError
from detection.imagery.training.model_card import read_normalisation
from detection.imagery.training.recipe_file import show_by
from detection.imagery.training.scoring import Scored, compare, pool_blocks, score_maps
from detection.imagery.training.seen import count_seen, digest_pictures
from detection.imagery.training.worst_cases import draw_sheet

Maps = Iterator[tuple[str, NDArray[np.floating], NDArray[np.uint8]]]


def score_weights(
    weights: str,
    data_folder: Path | None,
    *,
    data: dict[str, Any] | None = None,
    threshold: float | None = None,
    simple: bool = False,
    sheet: Path | None = None,
    objects: bool = True,
) -> dict[str, Any]:
    """Score weights on the test part of a set.

    Args:
        weights: shipped name, or path of a .safetensors file.
        data_folder: what the set's folder is relative to.
        data: table `[data]` as in a recipe; the one the weights were trained with when None.
        threshold: replaces the card's, which was chosen on the held part of train.
        simple: also score an index threshold and logistic regression, fitted on the train part of the same set, and
            compare them with the weights, image by image.
        sheet: PNG of the worst cases to write.
        objects: also count things.

    Returns:
        The report of `scoring.score_maps`, with weights, model_hash, data, `training_seed`, and with `simple`:
        index, logistic (their reports) and `beside` (paired differences of F1, by `blocks`: the folders of the patches,
        or the patches where they lie in none), and next to it `patches_sha256` and `fitted_on`
        (how many of the patches the weights or the simple maps were fitted on). Always `trained_on`: how many of the
        pictures the weights were trained on; None where they keep no digests of these.

    Raises:
        ModelError: no such weights, or the set lacks one of their bands (both lists are named).
        RecipeError: absent data.
    """
    from detection.imagery.neural.checkpoint import load_model
    from detection.imagery.registry import find_entry
    from detection.imagery.weights_file import weights_path

    model = load_model(weights, ungated=True)
    card = model.card
    find_entry(card["network"]["name"])
    table = data or card["data"]["recipe"]
    resize_px = card.get("resize_px")
    train, test = open_data(table, model.bands, int(card["training"]["seed"]), data_folder)
    test = test.remember()
    at = float(card["threshold"] if threshold is None else threshold)
    facts = {
        "weights": str(card["name"]), "model_hash": model.model_hash, "data": table,
        "seeds": [int(card["training"]["seed"])], "note": card["data"]["note"],
        "trained_on": count_seen(weights_path(weights), test),
    }  # fmt: skip
    scored = score_maps(map_patches(model, test, resize_px), at, objects=objects)
    answer: dict[str, Any] = facts | scored.report
    if simple:
        answer["simple"] = _beside(scored, train, test, card, resize_px, objects=objects)
        answer |= _find_fitted(train, test, card, facts["trained_on"] or 0)
        answer |= {"blocks": len(np.unique(_list_blocks(scored.names))), "tries": card.get("learnt", {}).get("tries")}
    if sheet:
        _draw_worst(scored, model, test, at, resize_px, sheet)
        answer["sheet"] = str(sheet)
    return answer


def map_patches(model: Any, patches: Patches, resize_px: int | None = None) -> Maps:
    """(name, calibrated probabilities, mask) of every patch by a loaded model, at native sizes."""
    from detection.imagery.neural.training import predict_maps

    temperature, normalisation = float(model.card.get("temperature", 1.0)), model.card["normalisation"]
    show = show_by(model.card["radiometry"])

    def prepare(patches: Patches) -> Patches:
        return show(patches).clip(normalisation["value_range"]) if normalisation.get("clip") else show(patches)

    return predict_maps(model.network, patches, read_normalisation(model.card), temperature, resize_px, prepare)


def _beside(
    scored: Scored, train: Patches, test: Patches, card: dict[str, Any], resize_px: int | None, *, objects: bool
) -> dict[str, Any]:
    from detection.imagery.data.splits import split
    from detection.imagery.training.simple_maps import fit_index, fit_logistic, score_simple

    if len(card["bands"]) < 2:
        raise RecipeError("the simple maps need two bands at least, red and green first")
    settings = card["training"]
    train = (train.resize(int(resize_px)) if resize_px else train).remember()
    fit, held = split(train, settings.get("split", "seeded"), settings["held_share"], settings["seed"])
    rules = {"index": fit_index(train, held), "logistic": fit_logistic(train, fit, held)}
    found = {name: score_simple(rule, test, objects=objects) for name, rule in rules.items()}
    blocks = _list_blocks(scored.names)
    own = pool_blocks(scored.confusions, blocks)
    return {name: one.report for name, one in found.items()} | {
        "beside": {name: compare(own, pool_blocks(one.confusions, blocks)) for name, one in found.items()}
    }


def _list_blocks(names: Sequence[str]) -> NDArray[np.int64]:
    """Number the blocks of patches: those in one folder (`FOLDER/images/NAME`) are neighbours; else each is its own.

    >>> _list_blocks(["a/images/1", "a/images/2", "b/images/1", "images/1", "images/2"]).tolist()
    [0, 0, 1, 2, 3]
    """
    folders = [name.rpartition("/images/")[0] or name for name in names]
    return np.asarray(np.unique(folders, return_inverse=True)[1])


def _find_fitted(train: Patches, test: Patches, card: dict[str, Any], trained_on: int) -> dict[str, Any]:
    """What was scored, as a digest, and how many of it the weights or the simple maps were fitted on at least."""
    digest = test.fingerprint()
    again = int(np.isin(digest_pictures(test), digest_pictures(train)).sum())
    whole = digest == card["data"].get("train_sha256")
    return {"patches_sha256": digest, "fitted_on": len(test) if whole else max(again, trained_on)}


def _draw_worst(
    scored: Scored, model: Any, test: Patches, threshold: float, resize_px: int | None, sheet: Path
) -> None:
    worst = test.take([test.names.index(name) for name in scored.worst])
    miou = dict(zip(scored.names, scored.image_miou, strict=True))
    cases = [
        (name, patch.image, mask, probabilities >= threshold, miou[name])
        for patch, (name, probabilities, mask) in zip(worst, map_patches(model, worst, resize_px), strict=True)
    ]
    draw_sheet(cases, sheet)

"""The card of trained weights: a JSON file that detectors read, and a markdown page for people."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from detection.imagery.data.catalogue import SOURCES
from detection.imagery.neural.learner import ImageryTrainingSettings
from detection.imagery.neural.training import TrainedNetwork
from detection.imagery.registry import CLASSIFIERS
from detection.imagery.weights_file import ModelCard
from slopeward_lab.recipes.recipe_file import TrainingRecipe

LIMITS: Final = (
    "A footprint is advice, not evidence of a new landslide.",
    "Transfer to another region, season or sensor was not shown.",
)
OTHER_TILES: Final = (
    "Tiles of another sensor, pixel size or region were not tried: there it may pass over what it must not; "
    "never let it decide about ground that held a footprint before."
)
ONE_DATE: Final = (
    "One date, true colour only: bare soil, fields, roads, river beds and clouds can look like a landslide."
)
# The smallest footprint has this number of pixels of the training, but at most the area of nine pixels of 10 m.
LEAST_PIXELS: Final = 9
LARGEST_MINIMUM_M2: Final = 900.0
# How epoch, temperature and threshold were chosen, by the score of the held part.
_CHOSEN: Final = {
    "held_f1": "epoch, temperature and threshold: held part of train; test part: scored once",
    "degraded": "epoch, temperature and threshold: held part of train, as it is and with quality lost; test part: "
    "scored once",
    "held_specificity": "epoch: the last; threshold: hardly a held landslide tile passed over, and never above 0.015; "
    "test part: scored once",
}
# The same without a held part.
_NOT_CHOSEN: Final = "threshold and temperature: as the recipe says; the last epoch is kept; test part: scored once"
# Follows the scores of a test part if they contain the accuracy.
_CAUTION: Final = " (accuracy is high even for a map that finds nothing)"
# Scores on the page, with their labels.
_SHOWN: Final = (
    ("ap50", "AP50"),
    ("f1", "F1"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("iou", "IoU"),
    ("miou", "mean IoU"),
    ("specificity", "specificity"),
    ("accuracy", "accuracy"),
)


def make_card(
    recipe: TrainingRecipe, settings: ImageryTrainingSettings, trained: TrainedNetwork, facts: dict[str, Any]
) -> ModelCard:
    """Return the JSON card: the network, its input, its data, its scores and its limits.

    Args:
        recipe: the recipe.
        settings: of the training, with all defaults filled in.
        trained: result of the training.
        facts: entries of the card that depend on the data and the run: `domain`, `pixel_size_m`, `recipe_file`,
            `begun_from`, `train_patches`, `train_sha256`, `test_patches`, `test` (scores), `tile_px`, `resize_px` and
            `doubts` (warnings about the run); unless the network is a classifier, also `steadiness`, `empty_ground`
            and, with a held part, `logistic`; and `test_masked` (scores with the optional bands masked) if the recipe
            has optional bands.
    """
    source = SOURCES[recipe.data["source"]]
    held_score = "held_specificity" if settings.network in CLASSIFIERS else "held_f1"
    if not len(trained.held_names):
        chosen_on = _NOT_CHOSEN
    elif settings.degraded_share and held_score == "held_f1":
        chosen_on = _CHOSEN["degraded"]
    else:
        chosen_on = _CHOSEN[held_score]
    metrics = {
        "test_patches": facts["test_patches"],
        "test": _round(facts["test"]),
        **({"test_masked": _round(facts["test_masked"])} if "test_masked" in facts else {}),
        held_score: None if trained.held_f1 is None else round(trained.held_f1, 4),
        "chosen_on": chosen_on,
    }
    if facts.get("logistic"):
        metrics["logistic"] = facts["logistic"]
    if facts.get("empty_ground"):
        metrics["empty_ground"] = {name: _round(shares) for name, shares in facts["empty_ground"].items()}
    return {
        "name": recipe.name,
        "network": {"name": settings.network, "classes": 2, "width": settings.width, "options": dict(settings.options)},
        "parameters": sum(parameter.numel() for parameter in trained.network.parameters()),
        "bands": list(recipe.bands),
        **({"optional_bands": list(recipe.optional_bands)} if recipe.optional_bands else {}),
        "classes": [recipe.data.get("kind", "landslide")],
        "pixel_size_m": facts["pixel_size_m"],
        "minimum_area_m2": round(min(LARGEST_MINIMUM_M2, LEAST_PIXELS * facts["pixel_size_m"] ** 2), 4),
        "tile_px": facts["tile_px"],
        "resize_px": facts["resize_px"],
        "radiometry": recipe.radiometry,
        "normalisation": {
            "mean": trained.mean,
            "std": trained.std,
            "value_range": trained.value_range,
            "clip": trained.clipped,
        },
        "threshold": trained.threshold,
        "temperature": trained.calibration.temperature,
        "calibration": asdict(trained.calibration),
        "data": {
            "source": source.source,
            "licence": source.licence,
            "note": source.note,
            "recipe": recipe.data,
            "train_patches": facts["train_patches"],
            "train_sha256": facts["train_sha256"],
        },
        "metrics": metrics,
        "training": {
            **asdict(settings),
            # Without its folder, which exists only on this machine.
            "encoder": Path(settings.encoder).name,
            "best_epoch": trained.best_epoch,
            "cpu_s": round(trained.cpu_s, 1),
        },
        "domain": facts["domain"],
        **({"steadiness": facts["steadiness"]} if "steadiness" in facts else {}),
        "recipe_file": facts["recipe_file"],
        "begun_from": facts["begun_from"],
        "history": trained.history,
        "limits": [
            *([ONE_DATE] if len(recipe.bands) <= 3 else []),
            *([OTHER_TILES] if settings.network in CLASSIFIERS else []),
            *(f"{warning[0].upper()}{warning[1:]}." for warning in facts.get("doubts", ())),
            *LIMITS,
        ],
    }


def render_card(card: ModelCard) -> str:
    """Render the JSON card as a short markdown page."""
    test, data, training = card["metrics"]["test"], card["data"], card["training"]
    network, calibration = card["network"], card.get("calibration")
    description = (
        f"Network `{network['name']}`, width {network['width']}, {card['parameters']:,} parameters, "
        f"bands {', '.join(card['bands'])}, pixels of about {card['pixel_size_m']:g} m, "
        f"stretch `{card['radiometry']['stretch']}`, threshold {card['threshold']}."
    )
    training_line = (
        f"- Trained on {data['train_patches']} patches, {len(card['history'])} epochs "
        f"(best: {training['best_epoch']}), {training['cpu_s']:.0f} CPU seconds on one thread, "
        f"seed {training['seed']}. {card['metrics']['chosen_on']}."
    )
    if origin := card.get("begun_from"):
        training_line += f" Went on from the weights `{origin['weights']}` (model {origin['model_hash'][:12]})."
    shown = [f"{label} {test[key]}" for key, label in _SHOWN if test.get(key) is not None]
    caution = _CAUTION if "accuracy" in test else ""
    lines = [
        f"# Weights `{card['name']}`",
        "",
        description,
        "",
        f"- Data: {data['source']}.",
        f"- Licence: {data['licence']}.",
        f"- Note: {data['note']}.",
        training_line,
        f"- {card['metrics']['test_patches']} test patches: {', '.join(shown)}{caution}.",
    ]
    if logistic := card["metrics"].get("logistic"):
        difference = logistic["less_logistic"]
        if difference["interval"]:
            low, high = difference["interval"]
            lines.append(
                f"- Logistic regression that learnt from the same patches: F1 {logistic['f1']}; the network less it "
                f"{difference['difference']:+.3f} ({low:+.3f} to {high:+.3f}, 95 %)."
            )
    if empty_ground := card["metrics"].get("empty_ground"):
        shares = [
            f"{name} {ground['marked_share']:.2%} of {ground['pixels']:,} pixels"
            for name, ground in empty_ground.items()
        ]
        lines.append(f"- Marked on ground without landslides, in tiles that were not trained on: {', '.join(shares)}.")
    if optional := card.get("optional_bands"):
        masked = card["metrics"]["test_masked"]["f1"]
        lines.append(
            f"- Optional bands: {', '.join(optional)}. Where they are not known, the network maps without them: F1 "
            f"{masked} on the same test patches, instead of {test['f1']}."
        )
    if calibration and calibration["ece_before"]:
        lines.append(
            f"- Probabilities: temperature {calibration['temperature']}; expected calibration error of the held part "
            f"{calibration['ece_before']} without it, {calibration['ece_after']} with it."
        )
    if steadiness := card.get("steadiness"):
        f1 = steadiness["f1"]
        lines.append(
            f"- Loss of quality: holds noise of {steadiness['noise_counts']:g} counts of 255; F1 on "
            f"{steadiness['held_patches']} held patches: {', '.join(f'{name} {value}' for name, value in f1.items())}."
        )
    if others := card.get("other_pixels"):
        f1 = others["held_f1"]
        lines.append(
            f"- Other pixels: images of {others['finest_m']:g} to {others['coarsest_m']:g} m are brought to those of "
            f"the training; F1 on {others['held_patches']} held patches: "
            f"{', '.join(f'{name} {value}' for name, value in f1.items())}."
        )
    lines += [f"- Limit: {limit}" for limit in card["limits"]]
    if recipe := card.get("recipe_file"):
        weights = f"{recipe.removesuffix('.recipe.toml')}.safetensors"
        encoder = f" --encoder {training['encoder']}" if training.get("encoder") else ""
        command = (
            f"slopeward scenes train --recipe {recipe}{encoder} --seed {training['seed']} --data DIR --out {weights}"
        )
        lines += ["", f"Made again by `{command}`."]
    return "\n".join([*lines, ""])


def _round(scores: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in scores.items()}

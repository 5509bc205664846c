"""The card of a model as a page for people: what it was made of, what it is worth, what it must not be used for."""

from pathlib import Path
from typing import Final

from detection.susceptibility.model import CLASSES
from detection.susceptibility.records import SusceptibilityCard
from forecasting.whole_file import replacing

NOT_FOR: Final = (
    "Warning: the map says where, never when. No level and no alert may rest on it.",
    "Single buildings or roads: a cell is as exact as the coarsest factor.",
    "Ground beyond the area of the training, or ground marked as outside of it.",
    "Kinds of landslides that are not in the inventory, such as rockfall in an inventory of debris flows.",
    "A time with another climate, land use or terrain than that of the inventory and the factors.",
)


def write_markdown(path: Path, card: SusceptibilityCard, model_hash: str) -> None:
    """Write the page."""
    with replacing(path, flush=True) as partial:
        partial.write_text(render_card(card, model_hash), encoding="utf-8")


def render_card(card: SusceptibilityCard, model_hash: str) -> str:
    """Return the page as Markdown."""
    inventory, scores, sample, blocks = card["inventory"], card["scores"], card["sample"], card["blocks"]
    low, high = scores["interval"]
    calibration = scores["calibration"]
    when = f"{inventory['from'] or 'unknown'} to {inventory['to'] or 'unknown'}"
    slides, area = inventory["landslides"], f"{sample['area_cells']:,} cells of {card['grid']['cell_m2']:.1f} m²"
    taken = (
        f"{sample['taken_of_landslides']:,} cells of landslides, {sample['taken_of_other_ground']:,} of other ground"
    )
    worth = f"**{scores['auc']:.3f}** (95 % of the score of this model: {low:.3f} to {high:.3f}, blocks drawn again)"
    base, constant = f"{calibration['base_rate']:.4f}", f"{calibration['brier_of_base_rate']:.4f}"
    lines = [
        "# Susceptibility to landslides: card of a model",
        "",
        f"Made on {card['made_on']}; learner: {card['learner']}; sha256 {model_hash}.",
        "",
        "## What it was made of",
        "",
        f"- Inventory: {inventory['file']}, {slides} landslides, {when}.",
        f"- Source: {inventory['source'] or 'not said'}. Licence: {inventory['licence'] or 'not said'}.",
        f"- Area: {area}, {card['grid']['crs']}; {sample['landslide_cells']:,} of them lie in landslides.",
        f"- Sample: {taken}.",
        f"- Blocks: {blocks['number']} squares with sides of {blocks['side_m']:.0f} m, in {blocks['folds']} folds.",
        *(f"- Warning: {one}." for one in card["warnings"]),
        "",
        "| factor | kind | file | of |",
        "|---|---|---|---|",
        *(f"| {one['name']} | {one['kind']} | {one['file']} | {one['date'] or 'no date'} |" for one in card["factors"]),
        "",
        "## What it is worth",
        "",
        f"AUC on blocks that were left out: {worth}.",
        "The learner was chosen inside, without these blocks.",
        "",
        f"Cells left out at random would have claimed {scores['random_split']:.3f}.",
        "That looks at cells beside those that were learned.",
        "",
        "| learner | AUC on left-out blocks, as the choice saw it |",
        "|---|---|",
        *(f"| {name} | {value:.3f} |" for name, value in scores["by_learner"].items()),
        "",
        f"Calibration ({calibration['kind']}): Brier score {calibration['brier']:.4f}.",
        f"Saying {base} everywhere has {constant}.",
        f"Mean distance between said and observed: {calibration['expected_calibration_error']:.4f}.",
        "",
        "| said | observed | cells | of landslides |",
        "|---|---|---|---|",
        *(
            f"| {one['said']:.4f} | {one['observed']:.4f} | {one['cells']} | {one['landslide_cells']} |"
            for one in calibration["bins"]
        ),
        "",
        "| the most susceptible share of the area | landslides in it, left out | landslides in it, learned |",
        "|---|---|---|",
        *(
            f"| {one['area']:.0%} | {one['landslides']:.0%} | {other['landslides']:.0%} |"
            for one, other in zip(scores["prediction_rate"], scores["success_rate"], strict=True)
        ),
        "",
        "| factor | AUC lost without it | least to most over folds |",
        "|---|---|---|",
        *(
            f"| {one['name']} | {one['auc_lost']:.3f} | {one['least']:.3f} to {one['most']:.3f} |"
            for one in scores["importance"]
        ),
        "",
        "## Classes",
        "",
        f"By the share of the {card['classes']['rule']}.",
        "Probability is the share of such ground that lies in landslides of the inventory.",
        "The spread is a standard deviation over five models that share most of their ground: twice it is their error.",
        "",
        *(
            f"- {name}: from {bound:.4f}"
            for name, bound in zip(CLASSES, (0.0, *card["classes"]["bounds"]), strict=True)
        ),
        "",
        "## It must not be used for",
        "",
        *(f"- {one}" for one in NOT_FOR),
        "",
    ]
    return "\n".join(lines)

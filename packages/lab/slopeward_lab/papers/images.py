"""Tables of papers about networks that outline landslides in images."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from detection.imagery.neural.learner import Hooks
from forecasting.data.sources import find_data_root
from slopeward_lab.papers.table import MeasurementOptions, PaperTable, TableRow
from slopeward_lab.recipes.recipe_file import find_recipe, read_recipe
from slopeward_lab.recipes.run import run_recipe

# Mean IoU of the table of the paper on SCDnn. Its two figures of DeepLabv3+ are 0.764 and 0.772. Which of them belongs
# to which backbone is not known to us.
BIJIE_MIOU: Final[Mapping[str, float | None]] = {
    "scdnn": 0.8214,
    "segnet": 0.54,
    "sssn": 0.476,
    "deeplabv3plus-resnet50": None,
    "deeplabv3plus-mobilenetv2": None,
}
FIGURES: Final = ("f1", "miou")


def score_network(recipe_name: str, network: str, options: MeasurementOptions) -> dict[str, float]:
    """Train a network by a shipped recipe with the first seed, and return its scores on the test patches."""
    recipe = read_recipe(find_recipe(recipe_name))
    training = {**recipe.training, "network": network}
    if options.epochs is not None:
        training["epochs"] = options.epochs
    recipe = replace(recipe, seed=options.seeds[0], training=training)
    data_folder = options.data_folder or find_data_root()
    options.report(f"{network}, recipe {recipe_name}")
    with tempfile.TemporaryDirectory() as folder:
        card = run_recipe(recipe, Path(folder) / "weights.safetensors", data_folder, hooks=Hooks())
    scores = card["metrics"]["test"]
    return {name: scores[name] for name in FIGURES if scores[name] is not None}


def measure_bijie(options: MeasurementOptions) -> Iterator[TableRow]:
    """Train the networks of the table on the crops of Bijie."""
    for network, miou in BIJIE_MIOU.items():
        paper = {} if miou is None else {"miou": miou}
        yield TableRow(network, paper=paper, ours=score_network("bijie", network, options))


def measure_landslide4sense(options: MeasurementOptions) -> Iterator[TableRow]:
    """Train the U-Net with SBConv blocks, and a plain U-Net, on true-colour patches of Landslide4Sense."""
    recipe = "landslide4sense-sbconv"
    yield TableRow("sbconv-unet", paper={"f1": 0.7389}, ours=score_network(recipe, "sbconv-unet", options))
    yield TableRow("unet", ours=score_network(recipe, "unet", options))


TABLES: Final[Mapping[str, PaperTable]] = {
    "bijie": PaperTable(
        "Networks on the Bijie dataset",
        "SCDnn, China Geology (2024); data of Ji and others (2020)",
        "50 crops that no network was trained on; recipe `bijie`",
        (
            "The crops at hand are 230 of the 2,773 of the dataset.",
            "The networks have a quarter of the published width and 24 epochs.",
            "The paper has 0.764 and 0.772 for two variants of DeepLabv3+; which is which is not known to us.",
        ),
        measure_bijie,
    ),
    "landslide4sense": PaperTable(
        "U-Net with SBConv blocks on Landslide4Sense",
        "Land (2024)",
        "300 true-colour patches that no network was trained on; recipe `landslide4sense-sbconv`",
        (
            "The patches have three bands instead of 14, and 4.1 % of their pixels are landslide instead of 2.3 %.",
            "The networks have a quarter of the published width and 8 epochs.",
        ),
        measure_landslide4sense,
    ),
}

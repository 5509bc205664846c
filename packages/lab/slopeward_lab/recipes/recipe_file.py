"""Find, read and check the recipe of a scene network: a TOML file with data, network, radiometry and seed."""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from detection.imagery.data.catalogue import DataTable, check_data
from detection.imagery.errors import TrainingRecipeError
from detection.imagery.neural.learner import ImageryTrainingSettings
from detection.imagery.optional_bands import UNITS
from detection.imagery.scene.band_names import name_band
from detection.imagery.scene.radiometry import KINDS
from detection.imagery.weights_file import RadiometrySpec, find_radiometry_fault

SHIPPED: Final = Path(__file__).resolve().parent / "shipped"
"""Folder of the recipes that this package contains."""


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """A recipe that was read from a file and checked."""

    name: str
    bands: tuple[str, ...]
    seed: int
    data: DataTable
    radiometry: RadiometrySpec
    training: dict[str, Any]  # fields of `ImageryTrainingSettings`, without the seed
    optional_bands: tuple[str, ...] = ()  # see `detection.imagery.optional_bands`
    text: str = ""  # content of the file

    def settings(self) -> ImageryTrainingSettings:
        """Return the settings of the training.

        Raises:
            TrainingRecipeError: `[training]` has an unknown key.
        """
        expected = {field.name for field in fields(ImageryTrainingSettings)} - {"seed"}
        if unknown := sorted(set(self.training) - expected):
            raise TrainingRecipeError(
                f"recipe {self.name}: unknown training key {unknown[0]!r}; expected: {', '.join(sorted(expected))}"
            )
        options: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in self.training.items()
        }
        return ImageryTrainingSettings(seed=self.seed, **options)


def find_recipe(name: str) -> Path:
    """Return the path of a recipe.

    Args:
        name: a path, or the name of a shipped recipe.

    Raises:
        TrainingRecipeError: there is no such recipe; the message lists the shipped ones.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}
    if name not in shipped:
        raise TrainingRecipeError(f"{name}: no such recipe; shipped: {', '.join(shipped)}")
    return shipped[name]


def read_recipe(path: Path) -> TrainingRecipe:
    """Read and check a recipe.

    Raises:
        TrainingRecipeError: there is no such file, it is not TOML, or a key is unknown or missing.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except FileNotFoundError:
        raise TrainingRecipeError(f"{path}: no such recipe") from None
    except tomllib.TOMLDecodeError as error:
        raise TrainingRecipeError(f"{path}: not TOML ({error})") from None
    expected = [field.name for field in fields(TrainingRecipe) if field.name != "text"]
    if unknown := sorted(set(content) - set(expected)):
        raise TrainingRecipeError(f"{path}: unknown key {unknown[0]!r}; expected: {', '.join(expected)}")
    optional_bands = tuple(content.get("optional_bands", ()))
    content["optional_bands"] = optional_bands
    if missing := [key for key in expected if key not in content]:
        raise TrainingRecipeError(f"{path}: key {missing[0]!r} is missing")
    if unknown := [band for band in optional_bands if band not in UNITS]:
        raise TrainingRecipeError(f"{path}: {unknown[0]} cannot be an optional band; expected: {', '.join(UNITS)}")
    bands = tuple(name_band(band) for band in content["bands"])
    if repeated := sorted({*bands} & {*optional_bands}):
        raise TrainingRecipeError(f"{path}: {repeated[0]} is named in bands and in optional_bands: leave it out of one")
    check_data(content["data"], str(path))
    if (fault := find_radiometry_fault(content["radiometry"], bands)) is not None:
        raise TrainingRecipeError(f"{path}: {fault}")
    if (stretch := content["radiometry"]["stretch"]) not in KINDS:
        raise TrainingRecipeError(f"{path}: radiometry.stretch {stretch!r} is unknown; known: {', '.join(KINDS)}")
    return TrainingRecipe(**{**content, "bands": bands}, text=text)

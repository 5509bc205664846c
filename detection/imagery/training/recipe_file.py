"""A training recipe: a TOML file that says data, network, radiometry and seed."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detection.imagery.data.catalogue import DataTable, check_data
from detection.imagery.data.patches import Patches
from detection.imagery.errors import TrainingRecipeError
from detection.imagery.scene.band_names import name_band
from detection.imagery.scene.moments import LOCAL_STANDARD
from detection.imagery.scene.radiometry import UNITS
from detection.imagery.weights_file import RadiometrySpec

if TYPE_CHECKING:
    from detection.imagery.neural.learner import ImageryTrainingSettings

SHIPPED = Path(__file__).resolve().parents[3] / "configs" / "detection"


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """A checked recipe; `training` holds the keys of `neural.learner.Settings`, `text` is the file it was read from."""

    name: str
    bands: tuple[str, ...]
    seed: int
    data: DataTable
    radiometry: RadiometrySpec
    training: dict[str, Any]
    text: str = ""

    def settings(self) -> "ImageryTrainingSettings":
        """Return the settings of the training.

        Raises:
            TrainingRecipeError: a key that training does not know.
        """
        from detection.imagery.neural.learner import ImageryTrainingSettings

        known = {field.name for field in fields(ImageryTrainingSettings)} - {"seed"}
        if unknown := sorted(set(self.training) - known):
            raise TrainingRecipeError(
                f"recipe {self.name}: unknown training key {unknown[0]!r}; expected: {', '.join(sorted(known))}"
            )
        options: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in self.training.items()
        }
        return ImageryTrainingSettings(seed=self.seed, **options)


def find_recipe(name: str, folders: tuple[Path, ...] = (SHIPPED,)) -> Path:
    """Resolve a path, or the name of a shipped recipe.

    Raises:
        TrainingRecipeError: neither; the message lists the shipped ones.
    """
    if Path(name).is_file():
        return Path(name)
    for folder in folders:
        if (path := folder / f"{name}.toml").is_file():
            return path
    known = sorted(path.stem for folder in folders for path in folder.glob("*.toml"))
    raise TrainingRecipeError(f"{name}: no such recipe; shipped: {', '.join(known)}")


def read_recipe(path: Path) -> TrainingRecipe:
    """Read and check a recipe.

    Raises:
        TrainingRecipeError: no such file, not TOML, unknown or missing key.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except FileNotFoundError:
        raise TrainingRecipeError(f"{path}: no such recipe") from None
    except tomllib.TOMLDecodeError as error:
        raise TrainingRecipeError(f"{path}: not TOML ({error})") from None
    wanted = [field.name for field in fields(TrainingRecipe) if field.name != "text"]
    if unknown := sorted(set(content) - set(wanted)):
        raise TrainingRecipeError(f"{path}: unknown key {unknown[0]!r}; expected: {', '.join(wanted)}")
    if missing := [key for key in wanted if key not in content]:
        raise TrainingRecipeError(f"{path}: key {missing[0]!r} is missing")
    check_data(content["data"], str(path))
    return TrainingRecipe(**{**content, "bands": tuple(name_band(band) for band in content["bands"])}, text=text)


def show_by(radiometry: RadiometrySpec) -> Callable[[Patches], Patches]:
    """Return what turns patches, in the unit of their files, into those that the network is shown.

    Only `local-standard` changes them: the others are the unit of the files, or what a scene is brought to.
    """
    if radiometry.get("stretch") != LOCAL_STANDARD:
        return lambda patches: patches
    return lambda patches: patches.standardise(UNITS)

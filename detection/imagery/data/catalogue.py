"""Data sets that a recipe can name: their readers, origins, licences and limits."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from detection.imagery.data import bijie, landslide4sense
from detection.imagery.data import folder as folder_of_tiles
from detection.imagery.data.empty_ground import EmptyGround, check_empty_ground, read_empty_ground
from detection.imagery.data.file_values import convert_to_values
from detection.imagery.data.generate import draw_patches
from detection.imagery.data.patches import Patches, join_patches, make_patches
from detection.imagery.errors import TrainingRecipeError
from detection.imagery.weights_file import POSITIVE, RadiometrySpec, is_positive_number

# Keys of `[data]` that every data set takes.
COMMON_KEYS = ("source", "folder", "size_px", "test_part", "kind", "empty_ground")


class DataTable(TypedDict, total=False):
    """The table `[data]` of a recipe.

    Attributes:
        source: Name of the data set (`SOURCES`).
        folder: Folder of the data set, relative to the data folder.
        size_px: Side to which patches are resized for the network; of drawn scenes their side.
        test_part: Name of the part for the test.
        train: Number of drawn scenes for training.
        test: Number of drawn scenes for the test.
        bands: Names of the bands of the files.
        pixel_size_m: Side of a pixel on the ground, m.
        landslide: Value of landslides in the masks.
        scale: Converts the numbers of the patches, if these have another unit than the scenes.
        kind: What the masks mark; `landslide` if left out. The width of a `crack` is its area divided by its length.
        empty_ground: Scenes without landslides that are added to the training.
    """

    source: str
    folder: str
    size_px: int
    test_part: str
    train: int
    test: int
    bands: list[str]
    pixel_size_m: float
    landslide: int
    scale: float
    kind: str
    empty_ground: list[EmptyGround]


@dataclass(frozen=True, slots=True)
class LabelledDataSet:
    """One data set.

    Attributes:
        reader: Reads a part from a folder, with `options` as keyword arguments. None: the patches are drawn, see
            `open_data`.
        source: Origin, for the model card.
        licence: What is known about its licence.
        note: Limits of scores on it, for the model card.
        pixel_size_m: Side of a pixel on the ground, m; None if the files state it.
        side_px: Side of the patches that have pixels of `pixel_size_m`; None: the side of the patches in the files.
        options: Keys of `[data]` besides `COMMON_KEYS`.
        undated: Why the months of the images are unknown, if the files do not state them.
        has_unit_of_scenes: Whether the patches have the unit of scenes, so that `convert_to_values` converts them.
            `[data]` can then have the key `scale`.
    """

    reader: Callable[..., Patches] | None
    source: str
    licence: str
    note: str
    pixel_size_m: float | None
    side_px: int | None = None
    options: tuple[str, ...] = ()
    undated: str = "not stated by the data set"
    has_unit_of_scenes: bool = False

    def read(self, folder: Path, part: str, data: DataTable) -> Patches:
        """Read a part, such as `train`, with the options of the table `[data]` of a recipe."""
        assert self.reader is not None, "drawn patches are not read from files"
        options = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in data.items()
            if key in self.options
        }
        return self.reader(folder, part, **options)


_UNKNOWN = "the origin's own licence was not seen; the data themselves are not shipped"
SOURCES: dict[str, LabelledDataSet] = {
    "generated": LabelledDataSet(
        None,
        "scenes drawn by detection.imagery.data.generate",
        "Apache-2.0, as the project",
        "drawn hills, forest, fields, roads and scars; nothing was measured",
        pixel_size_m=10.0,
        options=("train", "test"),
        undated="drawn scenes have no date",
    ),
    "landslide4sense-rgb": LabelledDataSet(
        landslide4sense.read_png,
        "true-colour PNG renderings of Landslide4Sense-2022 training patches (Sentinel-2, about 10 m); "
        "original data: IARAI, iarai/Landslide4Sense-2022, Zenodo record 10463239",
        "the origin's own licence was not seen; third parties list MIT for a copy of the data set; "
        "the data themselves are not shipped",
        "train and validation are random draws from the same four regions: every score is an in-region score; "
        "the subset holds 4.1 % landslide pixels and hardly an empty patch, so F1 is not comparable with published F1; "
        "elsewhere (Hokkaido 2018, Sentinel-2, no mask) the weights `landslide4sense` mark 0.47 % of the pixels after "
        "and 0.15 % of those before the earthquake; 3.2 % and 1.6 % when each scene is stretched as a whole; "
        "`landslide4sense-standard`, which learnt half of the earlier scene as ground without landslides, marks 1.7 % "
        "and less than 0.01 %: one date in true colour is no evidence of a new landslide",
        pixel_size_m=10.0,
    ),
    "landslide4sense": LabelledDataSet(
        landslide4sense.read_hdf5,
        "Landslide4Sense-2022 patches, 14 bands (Sentinel-2, slope, elevation, about 10 m); IARAI, Zenodo 10463239",
        "the origin's own licence was not seen; third parties list MIT for a copy of the data set; "
        "the data themselves are not shipped",
        "values are divided by a constant per band and are no reflectance: raw Sentinel-2 counts cannot be fed in; "
        "all parts are of the same four regions",
        pixel_size_m=10.0,
    ),
    "bijie": LabelledDataSet(
        bijie.read,
        "Bijie landslides, Guizhou (TripleSat, about 0.8 m crops): Ji et al. 2020, Wuhan University",
        _UNKNOWN,
        "one county; 89 % of the landslide pixels lie in the middle quarter of their crops, and the network learns "
        "that: on crops without a landslide its false maps lie in the middle, so a score on crops says little of whole "
        "scenes; each crop is resized to one size, so that the ground size of a pixel varies",
        pixel_size_m=1.2,
        side_px=160,
    ),
    "folder": LabelledDataSet(
        folder_of_tiles.read,
        "files of the user",
        "not stated by the user",
        "files of the user, whose content was not checked",
        pixel_size_m=None,
        options=("bands", "pixel_size_m", "landslide"),
        undated="not every tile has a tag ACQUIRED_AT or a date in its name",
        has_unit_of_scenes=True,
    ),
}


def find_pixel_size(data: DataTable, native: Patches) -> float:
    """Return the side of the training pixels on the ground, m, after the patches are resized to `size_px`.

    The data set, the recipe or the files state the size before.

    Args:
        data: the table `[data]` of a recipe.
        native: its patches, before they are resized.

    Raises:
        TrainingRecipeError: neither the data set nor the files nor the recipe state it.
    """
    data_set = SOURCES[data["source"]]
    pixel_size_m = native.pixel_size_m if data_set.pixel_size_m is None else data_set.pixel_size_m
    if pixel_size_m is None:
        raise TrainingRecipeError(
            "the pixel size of the tiles is unknown, because they have no place on the ground: give data.pixel_size_m"
        )
    side_px = data_set.side_px or native.read(0).mask.shape[0]
    return float(f"{pixel_size_m * side_px / int(data.get('size_px') or side_px):.4g}")


def check_data(data: DataTable, where: str) -> LabelledDataSet:
    """Return the data set that the table `[data]` of a recipe names.

    Args:
        where: file of the recipe, for error messages.

    Raises:
        TrainingRecipeError: the data set is unknown, or does not take one of the keys.
    """
    name = data.get("source")
    if name not in SOURCES:
        raise TrainingRecipeError(f"{where}: data.source {name!r} is unknown; known: {', '.join(SOURCES)}")
    known = {*COMMON_KEYS, *SOURCES[name].options}
    if SOURCES[name].has_unit_of_scenes:
        known.add("scale")
    if unknown := sorted(set(data) - known):
        raise TrainingRecipeError(f"{where}: unknown key data.{unknown[0]}; expected: {', '.join(sorted(known))}")
    if "scale" in data and not is_positive_number(data["scale"]):
        raise TrainingRecipeError(f"{where}: data.scale must be {POSITIVE}")
    check_empty_ground(data.get("empty_ground", []), where)
    return SOURCES[name]


def open_data(
    data: DataTable,
    bands: tuple[str, ...],
    seed: int,
    data_folder: Path | None,
    radiometry: RadiometrySpec | None = None,
) -> tuple[Patches, Patches]:
    """Return the patches for training and those for the test, at their native sizes.

    Args:
        data: the table `[data]` of a recipe. `folder` is relative to `data_folder`; `test_part` names the part for the
            test, by default `validation`.
        bands: names of the bands, in order.
        seed: seed of drawn patches.
        data_folder: the data folder.
        radiometry: Table of the recipe or the card, which converts the numbers in the files of the user to values.
            None: the numbers are returned.

    Raises:
        TrainingRecipeError: the data are absent, or the data set is unknown.
        DataError: the data have another layout or another unit.
    """
    data_set = check_data(data, "recipe")
    if data["source"] == "generated":
        size_px = int(data["size_px"])
        train = make_patches(*draw_patches(seed, int(data["train"]), size_px, bands), bands)
        test = make_patches(*draw_patches(seed + 1_000_003, int(data["test"]), size_px, bands), bands)
        return train, test
    folder = (data_folder or Path()) / data.get("folder", "")
    test_part = str(data.get("test_part", "validation"))
    train = data_set.read(folder, "train", data).select_bands(bands)
    test = data_set.read(folder, test_part, data).select_bands(bands)
    return _convert_if_needed(train, data, radiometry), _convert_if_needed(test, data, radiometry)


def _convert_if_needed(patches: Patches, data: DataTable, radiometry: RadiometrySpec | None) -> Patches:
    """Convert patches that have the unit of scenes; return others unchanged."""
    if radiometry is None or not SOURCES[data["source"]].has_unit_of_scenes:
        return patches
    return convert_to_values(patches, radiometry, data.get("scale"))


@dataclass(frozen=True, slots=True)
class EmptyGroundPatches:
    """The scenes without landslides of a recipe, as patches.

    Attributes:
        train: The tiles of all scenes for training; None if the recipe names no such scenes.
        repeats: How often each tile of `train` is used in one epoch.
        evaluation: The tiles for evaluation, by the name of the scene.
    """

    train: Patches | None
    repeats: tuple[int, ...]
    evaluation: dict[str, Patches]


def open_empty_ground(
    data: DataTable,
    bands: tuple[str, ...],
    tile_px: int,
    data_folder: Path | None,
    optional_bands: tuple[str, ...] = (),
    radiometry: RadiometrySpec | None = None,
) -> EmptyGroundPatches:
    """Return the tiles of the scenes without landslides that a recipe names.

    Args:
        data: the table `[data]` of a recipe.
        bands: names of the bands of the recipe, in the order of the files.
        tile_px: side of the training patches.
        data_folder: the data folder.
        optional_bands: optional bands of the recipe, which these scenes do not have.
        radiometry: Table of the recipe, which converts the tiles like the patches (`open_data`).

    Raises:
        TrainingRecipeError: a file is absent.
        DataError: a file is no raster, or its bands are not those of the recipe.
    """
    train: Patches | None = None
    repeats: list[int] = []
    evaluation: dict[str, Patches] = {}
    is_rendered = data["source"] == "landslide4sense-rgb"
    for entry in data.get("empty_ground", []):
        tiles, evaluation[entry["name"]] = (
            _convert_if_needed(part, data, radiometry).mask_optional(optional_bands)
            for part in read_empty_ground(entry, bands, tile_px, data_folder or Path(), is_rendered=is_rendered)
        )
        repeats += [int(entry.get("repeat", 1))] * len(tiles)
        train = tiles if train is None else join_patches(train, tiles)
    return EmptyGroundPatches(train, tuple(repeats), evaluation)

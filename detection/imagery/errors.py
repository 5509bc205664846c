"""Errors of the imagery library: one class for each cause that callers distinguish."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detection.reasons import OF, Explanation, Reason, ReasonedError


def hide_folder(explanation: Explanation, folder: Path) -> Explanation:
    """Remove a folder of the server from the paths in an explanation that people read.

    >>> hide_folder("/in/s1/B4.tif: is torn", Path("/in"))
    's1/B4.tif: is torn'
    >>> print(hide_folder(Reason("text.of", {"name": "/in/a.tif", "text": Reason("tiles.empty")}), Path("/in")))
    text.of: name=a.tif, text=(tiles.empty)
    """
    if isinstance(explanation, str):
        return explanation.replace(f"{folder}/", "")
    if explanation.code == OF:
        name = str(explanation.values["name"]).replace(f"{folder}/", "")
        return Reason(OF, {**explanation.values, "name": name})
    return explanation


class ImageryError(ReasonedError):
    """Base class of the errors of this library.

    Attributes:
        path: the file that caused the error; None if it is not known.
    """

    path: Path | None = None


@contextmanager
def attach_path(path: Path) -> Iterator[None]:
    """Set `ImageryError.path` of an error that the body of the `with` statement raises, unless it is set already."""
    try:
        yield
    except ImageryError as error:
        error.path = error.path or path
        raise


class SceneError(ImageryError):
    """The scene cannot be used. The message names the file and the reason."""


class ManifestError(SceneError):
    """`scene.toml` is missing, is not TOML, or lacks a needed key."""


class IncompleteSceneError(SceneError):
    """A file that the manifest names is missing, or has another size than the manifest states."""


class NotARasterError(SceneError):
    """The file is empty, is an HTML page, or is not a raster that GDAL can read."""


class BandMissingError(SceneError):
    """The scene lacks a band that the model needs."""


class NoCrsError(SceneError):
    """The raster has no coordinate reference system, so areas and positions cannot be computed."""


class ImpossibleCrsError(SceneError):
    """The coordinates cannot belong to the stated coordinate reference system."""


class TruncatedRasterError(SceneError):
    """The header of the raster can be read, but one of its blocks cannot."""


class NoValidPixelsError(SceneError):
    """Every pixel of the scene is nodata."""


class MismatchedBandsError(SceneError):
    """The bands do not cover the same ground."""


class DomainError(SceneError):
    """The network cannot map the scene: noise, no contrast, another unit, or a far different pixel size."""


class UnfitWeightsError(DomainError):
    """The scene is unlike the training of weights that were chosen automatically.

    Weights that the user names map such a scene with a caution.
    """


class DoubtfulQualityError(UnfitWeightsError):
    """The scene is unlike the training of weights that were chosen automatically, but only in its quality.

    If no other weights fit the scene better, these weights map it, and the result is advice.

    Attributes:
        cost: how much F1 the loss of quality costs these weights, by their card; None if the card does not state it.
    """

    def __init__(self, explanation: Explanation, cost: float | None) -> None:
        super().__init__(explanation)
        self.cost = cost


class FinerPixelsError(DomainError):
    """The pixels are finer than those of the training. The scene can be resampled to the pixels of the training.

    Attributes:
        trained_m: side of a pixel of the training, m.
    """

    def __init__(self, explanation: Explanation, trained_m: float) -> None:
        super().__init__(explanation)
        self.trained_m = trained_m


class RadiometryError(SceneError):
    """The values are far outside of those of the training, most often because of a wrong scale."""


class HeightsError(ImageryError):
    """An elevation model cannot be obtained for a scene. The scene can be used without it."""


class VectorError(ImageryError):
    """Outlines, points or lines cannot be read, or their position is not known."""


class ForbiddenSourceError(SceneError):
    """The file refers to a network address, another folder, or a GDAL driver that is not allowed."""


class TooLargeError(SceneError):
    """The raster has more pixels or bands than the limits allow."""


class CoverageError(SceneError):
    """The elevation model covers less than half of the scene."""


class BandOrderError(SceneError):
    """The band descriptions of a file contradict the names that the manifest gives its bands."""


class AoiError(SceneError):
    """The area of interest is neither a raster nor a vector file with a polygon."""


class ModelError(ImageryError):
    """Weights or their card are missing, damaged, or do not fit together."""


class TrainingRecipeError(ImageryError):
    """A training recipe has an unknown or missing key, or names data that do not exist."""


class DataError(ImageryError):
    """Labelled patches have other bands, shapes or mask values than their reader expects."""


class OtherRunError(TrainingRecipeError):
    """The checkpoint of a training run is of other data or settings. The message states its progress."""


class TrainingPausedError(ImageryError):
    """A training run was stopped on request. Its state is stored, and the run can be resumed."""


class OutputError(ImageryError):
    """The results cannot be written, for example because the disk is full or the folder is read-only."""

"""The causes for which imagery work stops: one class per cause, one clear line each."""

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
    """Root of everything this library raises on purpose; `path` is the file that it is about, where that is known."""

    path: Path | None = None


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Have an error say by value which file it is about; one that says so already stays as it is."""
    try:
        yield
    except ImageryError as error:
        error.path = error.path or path
        raise


class SceneError(ImageryError):
    """A scene that cannot be used; the message names the file and the reason."""


class ManifestError(SceneError):
    """`scene.toml` is missing, is not TOML, or lacks a needed key."""


class IncompleteSceneError(SceneError):
    """Files named by the manifest are not there yet, or not in their stated size."""


class NotARasterError(SceneError):
    """The file is empty, is an HTML page, or is no raster that GDAL can read."""


class BandMissingError(SceneError):
    """A band that the model needs is not among the scene's bands."""


class NoCrsError(SceneError):
    """The raster has no coordinate reference system: no area and no place can be given."""


class ImpossibleCrsError(SceneError):
    """The coordinates cannot belong to the stated coordinate reference system."""


class TruncatedRasterError(SceneError):
    """A block of the raster cannot be read although its header could."""


class NoValidPixelsError(SceneError):
    """Every pixel of the scene is nodata."""


class MismatchedBandsError(SceneError):
    """The bands do not cover the same ground."""


class DomainError(SceneError):
    """The scene cannot mean anything to this network: noise, no contrast, another unit, far other pixels."""


class UnfitError(DomainError):
    """The scene is unlike the training of weights that nobody named for it."""


class DoubtedError(UnfitError):
    """Likewise, by its quality alone: these weights read it as advice where no others fit it without a doubt.

    `cost` is what such a quality costs them in F1, by their card; None where that does not say.
    """

    def __init__(self, explanation: Explanation, cost: float | None) -> None:
        super().__init__(explanation)
        self.cost = cost


class FinerError(DomainError):
    """The pixels are finer than those of the training, which it could be brought to.

    Attributes:
        trained_m: side of those.
    """

    def __init__(self, explanation: Explanation, trained_m: float) -> None:
        super().__init__(explanation)
        self.trained_m = trained_m


class RadiometryError(SceneError):
    """The values are far outside of what the model was trained on (a wrong scale, most often)."""


class HeightsError(ImageryError):
    """No elevation model can be had for a scene that needs none of its own; the scene itself can be used."""


class VectorError(ImageryError):
    """Outlines, points or lines that cannot be read, or whose position is not known."""


class ForbiddenSourceError(SceneError):
    """A file that would make the reader open something else: the network, another folder, a driver not allowed."""


class TooLargeError(SceneError):
    """More pixels or bands than the limits allow."""


class CoverageError(SceneError):
    """The elevation model covers less than half of the scene."""


class BandOrderError(SceneError):
    """The band descriptions of a file contradict the names that the manifest gives its bands."""


class AoiError(SceneError):
    """The area of interest is neither a raster nor a vector file with a polygon."""


class ModelError(ImageryError):
    """Weights or their card are missing, damaged, or do not fit together."""


class TrainingRecipeError(ImageryError):
    """A training recipe has an unknown key, a missing one, or names data that are absent."""


class DataError(ImageryError):
    """Labelled patches that are not laid out as their reader expects: bands, shape or mask values."""


class OtherRunError(TrainingRecipeError):
    """Where a training run stood is kept, but of other data or settings; the message says how far it was."""


class TrainingPausedError(ImageryError):
    """A training run was asked to stop; what it reached is kept and can be resumed."""


class OutputError(ImageryError):
    """The results cannot be written: disk full, folder read-only."""

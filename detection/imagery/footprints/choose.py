"""Choose the weights that read a scene: those that are named or, with `auto`, the first that fit."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from detection.imagery.errors import (
    BandMissingError,
    DomainError,
    DoubtedError,
    FinerError,
    ModelError,
    RadiometryError,
    UnfitError,
)
from detection.imagery.footprints.cautions import PIXEL_RATIO
from detection.imagery.footprints.options import DetectionOptions
from detection.imagery.footprints.records import AUTO, INDEX, RefusalFacts
from detection.imagery.raster.areas import geodesic_pixel_m2
from detection.imagery.raster.grid import Grid
from detection.imagery.training.domain import READABLE
from detection.imagery.training.steadiness import find_cost
from detection.imagery.weights_file import MEASURED_FOLDER, ModelCard, describe_own
from detection.reasons import OF, Explanation, Reason, ReasonedError, explain_file, join_explanations

SHIPPED: Final = ("landslide4sense-standard", "bijie")
"""Shipped weights that `auto` tries, in this order."""
# `auto` does not read a scene coarser if a side would have fewer pixels: they show too little of the ground.
COARSER_LEAST_PX: Final = 64
# Cost of an image quality that was not measured; more than any cost.
UNKNOWN_COST: Final = 1.0

Answer = TypeVar("Answer")


class WeightsRefusal(NamedTuple):
    """Weights that were not used."""

    weights: str  # name or path
    why: Explanation
    broken: bool = False  # weights of the site that cannot be read
    mend: Reason | None = None  # the commands that read the scene nevertheless

    def to_json(self) -> RefusalFacts:
        """Return the refusal as plain data, without `mend`, which follows from it."""
        return {"weights": self.weights, "why": self.why, "broken": self.broken}


class WeightsAttempt(NamedTuple):
    """One attempt to read a scene."""

    weights: str  # name or path
    refused: tuple[WeightsRefusal, ...] = ()  # weights that were refused before
    coarser_m: float | None = None  # side of the pixels to which the scene is resampled; None: its own pixels
    doubted: bool = False  # read the scene even if its quality lies outside of the training

    def apply_to(self, options: DetectionOptions) -> DetectionOptions:
        """Return the options of this attempt."""
        return options if self.coarser_m is None else replace(options, resample_to_m=self.coarser_m)


def choose_weights(options: DetectionOptions, attempt: Callable[[WeightsAttempt], Answer]) -> Answer:
    """Read a scene with the weights that are named or, with `auto`, with the first that fit.

    `auto` tries, in this order:

    1. the weights of the site, then the shipped ones, on the pixels of the scene;
    2. if the scene is too fine for some of them, these on the pixels of their training, the finest first;
    3. if only the quality of the image is doubtful (noise, blur, interpolated pixels), the weights to which such a
       quality costs least. All outlines are advice then;
    4. the index, which uses no network.

    Args:
        options: options of the detection, of which `weights`, `own`, `scene_path` and `resample_to_m` are used.
        attempt: reads the scene; raises an error of `REFUSES` if the weights do not fit.

    Returns:
        What `attempt` returned.

    Raises DomainError: no weights fit, and the values are no image of ground. The line says why each was refused.
    """
    if options.weights != AUTO:
        return attempt(WeightsAttempt(options.weights, doubted=True))
    refused: list[WeightsRefusal] = []
    # side of the pixels of the training and index in `refused`
    finer: list[tuple[float, int]] = []
    # cost, index in `refused`, and side of the pixels to which the scene was resampled
    doubted: list[tuple[float | None, int, float | None]] = []
    # If no measured weights are installed, the refusal of the first says so for all.
    for weights in (*options.own, *(SHIPPED if MEASURED_FOLDER.is_dir() else SHIPPED[:1])):
        try:
            return attempt(WeightsAttempt(weights, tuple(refused)))
        except REFUSES as error:
            if isinstance(error, FinerError) and options.resample_to_m is None:
                finer.append((error.trained_m, len(refused)))
            if isinstance(error, DoubtedError):
                doubted.append((error.cost, len(refused), None))
            broken = weights in options.own and isinstance(error, ModelError)
            refused.append(WeightsRefusal(weights, strip_scene(error, options.scene_path), broken))
    for coarser_m, index in () if doubted else sorted(finer):
        refusal = refused[index]
        try:
            return attempt(WeightsAttempt(refusal.weights, tuple(refused), coarser_m))
        except REFUSES as error:
            if isinstance(error, DoubtedError):
                doubted.append((error.cost, index, coarser_m))
            values = {"text": refusal.why, "at": coarser_m, "text2": strip_scene(error, options.scene_path)}
            refused[index] = refusal._replace(why=Reason("weights.nor_coarser", values))
    if doubted:
        # Of equal costs the first one counts.
        _, index, at_m = min(doubted, key=lambda entry: UNKNOWN_COST if entry[0] is None else entry[0])
        others = tuple(refusal for k, refusal in enumerate(refused) if k != index)
        return attempt(WeightsAttempt(refused[index].weights, others, at_m, doubted=True))
    if finer:
        coarser_m, index = min(finer)
        mend = describe_mend(options.scene_path, refused[index].weights, coarser_m)
        refused[index] = refused[index]._replace(mend=mend)
    try:
        return attempt(WeightsAttempt(INDEX, tuple(refused), doubted=True))
    except (BandMissingError, DomainError, RadiometryError) as error:
        nor_dates = Reason("weights.nor_dates", {"text": strip_scene(error, options.scene_path)})
        reasons = join_explanations([*describe_refusals(refused), nor_dates])
        raise type(error)(explain_file(options.scene_path, reasons)) from None


REFUSES: Final = (BandMissingError, DomainError, ModelError, RadiometryError)
"""Errors with which weights are refused, so that `auto` tries the next ones."""


def describe_refusals(refused: Sequence[WeightsRefusal]) -> list[Reason]:
    """Return why no network was used, why each does not fit, and what to do."""
    if not refused:
        return [Reason("weights.unused")]
    unfit = [Reason("weights.unfit", {"model": refusal.weights, "text": refusal.why}) for refusal in refused]
    mends = [refusal.mend for refusal in refused if refusal.mend is not None]
    return [Reason("weights.none_fits"), *unfit, *mends]


def describe_mend(scene: Path, weights: str, trained_m: float) -> Reason:
    """Return the commands that read a scene whose pixels are finer than those of the training.

    >>> describe_mend(Path("drone/a b.tif"), "bijie", 1.2).values["command"]
    "slopeward scenes detect 'drone/a b.tif' --model bijie --resample-to 1.2"
    """
    detect = ["slopeward", "scenes", "detect", str(scene), "--model", weights, "--resample-to", f"{trained_m:g}"]
    learn = ["slopeward", "scenes", "learn", str(scene.parent), "--outlines", "FILE"]
    return Reason("weights.all_the_same", {"command": shlex.join(detect), "command2": shlex.join(learn)})


def describe_broken(refused: Sequence[WeightsRefusal], used: str) -> list[Reason]:
    """Return which weights of the site cannot be read, and which kind of weights is `used` instead."""
    broken = [describe_own(refusal.weights) for refusal in refused if refusal.broken]
    if used == INDEX:
        return [Reason("weights.none_serves", {"weights": name}) for name in broken]
    if used in SHIPPED:
        return [Reason("weights.shipped_serve", {"weights": name}) for name in broken]
    return [Reason("weights.others_serve", {"weights": name}) for name in broken]


def check_baseline(card: ModelCard) -> None:
    """Refuse weights that `auto` tries if logistic regression is better on the pictures that both did not learn.

    Cards state the difference of F1 with its interval. A card without it is accepted.

    Raises UnfitError: the whole interval lies below 0.
    """
    logistic = card["metrics"].get("logistic")
    if not logistic or not logistic["less_logistic"]["interval"]:
        return
    if logistic["less_logistic"]["interval"][1] < 0:
        values = {"network": card["metrics"]["test"]["f1"], "logistic": logistic["f1"]}
        raise UnfitError(Reason("weights.logistic", values))


def check_pixels(grid: Grid, card: ModelCard, *, brought: bool) -> None:
    """Check that the pixels of a grid have the size of those of the training.

    Args:
        grid: grid of the scene.
        card: card of the weights.
        brought: the scene is resampled to the pixels of the training.

    Raises:
        FinerError: the pixels are smaller.
        UnfitError: the pixels are larger, or the grid has no georeference.
    """
    trained_m = float(card["pixel_size_m"])
    if not grid.placed:
        raise UnfitError(f"trained on pixels of {trained_m:g} m; of an image without a place their size is not known")
    pixel_m = geodesic_pixel_m2(grid) ** 0.5
    if not brought and not 1 / PIXEL_RATIO <= pixel_m / trained_m <= PIXEL_RATIO:
        why = Reason("weights.pixels", {"pixel": pixel_m, "trained": trained_m})
        raise FinerError(why, trained_m) if pixel_m < trained_m else UnfitError(why)


def check_size(grid: Grid) -> None:
    """Check that a scene that `auto` resampled still has enough pixels.

    Raises UnfitError: it has not.
    """
    if min(grid.width, grid.height) < COARSER_LEAST_PX:
        raise UnfitError(Reason("weights.few_pixels", {"width": grid.width, "height": grid.height}))


def check_doubts(doubts: Sequence[Explanation], card: ModelCard) -> None:
    """Refuse weights that `auto` tries for a scene unlike their training.

    Raises:
        DoubtedError: all doubts are about the quality of the image, so it can be read as advice.
        UnfitError: there are other doubts, or the card does not describe the training.
    """
    if card.get("domain") is None:
        raise UnfitError("its card does not say what it was trained on")
    if doubts and all(isinstance(doubt, Reason) and doubt.code in READABLE for doubt in doubts):
        raise DoubtedError(join_explanations(doubts), find_cost(doubts, card))
    if doubts:
        raise UnfitError(join_explanations(doubts))


def strip_scene(error: ReasonedError, scene_path: Path) -> Explanation:
    """Return the explanation of an error without the path of the scene before it."""
    explanation = error.explanation
    if isinstance(explanation, str):
        return explanation.removeprefix(f"{scene_path}: ")
    if explanation.code == OF and explanation.values["name"] == str(scene_path):
        return explanation.values["text"]  # type: ignore[return-value]  # the text is an explanation
    return explanation

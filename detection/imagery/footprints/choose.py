"""Choose the weights that read a scene: those that are named or, with `auto`, the first that fit."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from detection.imagery.errors import (
    BandMissingError,
    DomainError,
    DoubtfulQualityError,
    FinerPixelsError,
    ModelError,
    RadiometryError,
    UnfitWeightsError,
)
from detection.imagery.footprints.cautions import PIXEL_RATIO
from detection.imagery.footprints.options import DetectionOptions
from detection.imagery.footprints.records import AUTO, INDEX, RefusalFacts
from detection.imagery.raster.areas import geodesic_pixel_m2
from detection.imagery.raster.grid import Grid
from detection.imagery.training.domain import READABLE
from detection.imagery.training.steadiness import find_cost
from detection.imagery.weights_file import MEASURED_FOLDER, ModelCard, shorten_weights_path
from detection.reasons import OF, Explanation, Reason, ReasonedError, explain_file, join_explanations

SHIPPED: Final = ("landslide4sense-standard", "bijie")
"""Shipped weights that `auto` tries, in this order."""
# `auto` does not resample a scene to larger pixels if a side would have fewer of them: too little ground is visible.
RESAMPLED_LEAST_SIDE_PX: Final = 64
# Stands for the cost of an image quality whose effect on the weights was not measured. Measured costs are smaller.
UNKNOWN_COST: Final = 1.0

REFUSAL_ERRORS: Final = (BandMissingError, DomainError, ModelError, RadiometryError)
"""Errors with which weights are refused, so that `auto` tries the next ones."""

Answer = TypeVar("Answer")


class WeightsRefusal(NamedTuple):
    """Weights that were not used."""

    weights: str  # name or path
    why: Explanation
    broken: bool = False  # weights of the site that cannot be read
    remedy: Reason | None = None  # the commands with which a person can have the scene read nevertheless

    def to_json(self) -> RefusalFacts:
        """Return the refusal as plain data, without `remedy`, which can be derived from it."""
        return {"weights": self.weights, "why": self.why, "broken": self.broken}


class WeightsAttempt(NamedTuple):
    """One attempt to read a scene."""

    weights: str  # name or path
    refused: tuple[WeightsRefusal, ...] = ()  # weights that were refused before
    coarser_m: float | None = None  # side of the pixels to which the scene is resampled; None: its own pixels
    accepts_doubts: bool = False  # read the scene even if it differs from the pictures of the training

    def apply_to(self, options: DetectionOptions) -> DetectionOptions:
        """Return the options of this attempt."""
        return options if self.coarser_m is None else replace(options, resample_to_m=self.coarser_m)


class _FinerScene(NamedTuple):
    """Weights whose training has larger pixels than the scene. The smallest pixels sort first."""

    trained_m: float  # side of the pixels of the training
    refusal_index: int  # position of the weights in the list of refusals


class _DoubtedScene(NamedTuple):
    """Weights for which only the quality of the image is doubtful."""

    cost: float | None  # what this quality costs the weights; None if that was not measured
    refusal_index: int  # position of the weights in the list of refusals
    coarser_m: float | None  # side of the pixels to which the scene was resampled; None: its own pixels


def choose_weights(options: DetectionOptions, attempt: Callable[[WeightsAttempt], Answer]) -> Answer:
    """Read a scene with the weights that are named or, with `auto`, with the first that fit.

    `auto` tries, in this order:

    1. the weights of the site, then the shipped ones, on the pixels of the scene;
    2. if the pixels of the scene are too small for some weights, these weights on pixels of the size of their training.
       The smallest such pixels come first. This step is skipped if step 3 can be used after step 1;
    3. if only the quality of the image is doubtful (noise, blur, interpolated pixels), the weights that lose least
       accuracy by such a quality. All outlines are advice then;
    4. the index, which uses no network.

    Args:
        options: options of the detection, of which `weights`, `own`, `scene_path` and `resample_to_m` are used.
        attempt: reads the scene; raises one of `REFUSAL_ERRORS` if the weights do not fit.

    Returns:
        What `attempt` returned.

    Raises DomainError: no weights fit, and the values are no image of ground. The line says why each was refused.
    """
    if options.weights != AUTO:
        return attempt(WeightsAttempt(options.weights, accepts_doubts=True))
    refused: list[WeightsRefusal] = []
    finer: list[_FinerScene] = []
    doubted: list[_DoubtedScene] = []
    # If the measured weights are not installed, one refusal with that reason is enough.
    shipped = SHIPPED if MEASURED_FOLDER.is_dir() else SHIPPED[:1]
    for weights in (*options.own, *shipped):
        try:
            return attempt(WeightsAttempt(weights, tuple(refused)))
        except REFUSAL_ERRORS as error:
            if isinstance(error, FinerPixelsError) and options.resample_to_m is None:
                finer.append(_FinerScene(error.trained_m, len(refused)))
            if isinstance(error, DoubtfulQualityError):
                doubted.append(_DoubtedScene(error.cost, len(refused), None))
            broken = weights in options.own and isinstance(error, ModelError)
            refused.append(WeightsRefusal(weights, strip_scene(error, options.scene_path), broken))
    for coarser_m, index in [] if doubted else sorted(finer):
        refusal = refused[index]
        try:
            return attempt(WeightsAttempt(refusal.weights, tuple(refused), coarser_m))
        except REFUSAL_ERRORS as error:
            if isinstance(error, DoubtfulQualityError):
                doubted.append(_DoubtedScene(error.cost, index, coarser_m))
            values = {"text": refusal.why, "at": coarser_m, "text2": strip_scene(error, options.scene_path)}
            refused[index] = refusal._replace(why=Reason("weights.nor_coarser", values))
    if doubted:
        # `min` returns the first of several entries with equal costs.
        cheapest = min(doubted, key=lambda entry: UNKNOWN_COST if entry.cost is None else entry.cost)
        weights = refused[cheapest.refusal_index].weights
        others = tuple(refusal for index, refusal in enumerate(refused) if index != cheapest.refusal_index)
        return attempt(WeightsAttempt(weights, others, cheapest.coarser_m, accepts_doubts=True))
    if finer:
        coarser_m, index = min(finer)
        remedy = describe_remedy(options.scene_path, refused[index].weights, coarser_m)
        refused[index] = refused[index]._replace(remedy=remedy)
    try:
        return attempt(WeightsAttempt(INDEX, tuple(refused), accepts_doubts=True))
    except (BandMissingError, DomainError, RadiometryError) as error:
        nor_dates = Reason("weights.nor_dates", {"text": strip_scene(error, options.scene_path)})
        reasons = join_explanations([*describe_refusals(refused), nor_dates])
        raise type(error)(explain_file(options.scene_path, reasons)) from None


def describe_refusals(refused: Sequence[WeightsRefusal]) -> list[Reason]:
    """Return that no network was used, why each refused network does not fit, and what to do."""
    if not refused:
        return [Reason("weights.unused")]
    unfit = [Reason("weights.unfit", {"model": refusal.weights, "text": refusal.why}) for refusal in refused]
    remedies = [refusal.remedy for refusal in refused if refusal.remedy is not None]
    return [Reason("weights.none_fits"), *unfit, *remedies]


def describe_remedy(scene: Path, weights: str, trained_m: float) -> Reason:
    """Return the commands that read a scene whose pixels are finer than those of the training.

    >>> describe_remedy(Path("drone/a b.tif"), "bijie", 1.2).values["command"]
    "slopeward scenes detect 'drone/a b.tif' --model bijie --resample-to 1.2"
    """
    detect = ["slopeward", "scenes", "detect", str(scene), "--model", weights, "--resample-to", f"{trained_m:g}"]
    learn = ["slopeward", "scenes", "learn", str(scene.parent), "--outlines", "FILE"]
    return Reason("weights.all_the_same", {"command": shlex.join(detect), "command2": shlex.join(learn)})


def describe_broken(refused: Sequence[WeightsRefusal], used: str) -> list[Reason]:
    """Return a warning for each of the weights of the site that cannot be read.

    Args:
        refused: weights that were refused before.
        used: name or path of the weights that are used instead, or `INDEX`.
    """
    broken = [shorten_weights_path(refusal.weights) for refusal in refused if refusal.broken]
    if used == INDEX:
        return [Reason("weights.none_serves", {"weights": name}) for name in broken]
    if used in SHIPPED:
        return [Reason("weights.shipped_serve", {"weights": name}) for name in broken]
    return [Reason("weights.others_serve", {"weights": name}) for name in broken]


def check_baseline(card: ModelCard) -> None:
    """Refuse weights that `auto` tries if logistic regression is better on the test pictures.

    Cards state the F1 of the network less that of logistic regression, with an interval. A card without it is accepted.

    Raises UnfitWeightsError: the whole interval is below 0.
    """
    logistic = card["metrics"].get("logistic")
    if not logistic or not logistic["less_logistic"]["interval"]:
        return
    if logistic["less_logistic"]["interval"][1] < 0:
        values = {"network": card["metrics"]["test"]["f1"], "logistic": logistic["f1"]}
        raise UnfitWeightsError(Reason("weights.logistic", values))


def check_pixels(grid: Grid, card: ModelCard, *, is_resampled: bool) -> None:
    """Check that the pixels of a grid are about as large as those of the training, see `PIXEL_RATIO`.

    Args:
        grid: grid of the scene.
        card: card of the weights.
        is_resampled: the scene will be resampled to the pixels of the training, so their size is not checked.

    Raises:
        FinerPixelsError: the pixels are smaller.
        UnfitWeightsError: the pixels are larger, or the grid has no georeference.
    """
    trained_m = float(card["pixel_size_m"])
    if not grid.placed:
        raise UnfitWeightsError(
            f"trained on pixels of {trained_m:g} m; of an image without a place their size is not known"
        )
    pixel_m = geodesic_pixel_m2(grid) ** 0.5
    if not is_resampled and not 1 / PIXEL_RATIO <= pixel_m / trained_m <= PIXEL_RATIO:
        why = Reason("weights.pixels", {"pixel": pixel_m, "trained": trained_m})
        raise FinerPixelsError(why, trained_m) if pixel_m < trained_m else UnfitWeightsError(why)


def check_size(grid: Grid) -> None:
    """Check that a scene that `auto` resampled still has enough pixels.

    Raises UnfitWeightsError: a side has fewer than `RESAMPLED_LEAST_SIDE_PX` pixels.
    """
    if min(grid.width, grid.height) < RESAMPLED_LEAST_SIDE_PX:
        raise UnfitWeightsError(Reason("weights.few_pixels", {"width": grid.width, "height": grid.height}))


def check_doubts(doubts: Sequence[Explanation], card: ModelCard) -> None:
    """Refuse weights that `auto` tries for a scene unlike their training.

    Raises:
        DoubtfulQualityError: all doubts are about the quality of the image, so `auto` may read it with these weights
            later.
        UnfitWeightsError: there are other doubts, or the card does not describe the training.
    """
    if card.get("domain") is None:
        raise UnfitWeightsError("its card does not say what it was trained on")
    if doubts and all(isinstance(doubt, Reason) and doubt.code in READABLE for doubt in doubts):
        raise DoubtfulQualityError(join_explanations(doubts), find_cost(doubts, card))
    if doubts:
        raise UnfitWeightsError(join_explanations(doubts))


def strip_scene(error: ReasonedError, scene_path: Path) -> Explanation:
    """Return the explanation of an error without the path of the scene before it."""
    explanation = error.explanation
    if isinstance(explanation, str):
        return explanation.removeprefix(f"{scene_path}: ")
    if explanation.code == OF and explanation.values["name"] == str(scene_path):
        return explanation.values["text"]  # type: ignore[return-value]  # the text is an explanation
    return explanation

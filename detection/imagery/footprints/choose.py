"""Which weights read a scene: those named, or the first whose training looks like it, or that hold what it lacks."""

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
# Sides of a scene that is read coarser without being asked to: smaller ones say too little of what it shows.
COARSER_LEAST_PX: Final = 64

UNKNOWN_COST: Final = 1.0  # more than any

Answer = TypeVar("Answer")


class WeightsRefusal(NamedTuple):
    """Weights that were not used, and why; `broken`: they are of one's own and cannot be read; `mend`: what serves."""

    weights: str
    why: Explanation
    broken: bool = False
    mend: Reason | None = None

    def to_json(self) -> RefusalFacts:
        """As JSON has it; what serves instead follows from it."""
        return {"weights": self.weights, "why": self.why, "broken": self.broken}


class WeightsAttempt(NamedTuple):
    """Weights that are tried, and how."""

    weights: str  # their name
    refused: tuple[WeightsRefusal, ...] = ()  # those that were refused before
    coarser_m: float | None = None  # the pixels that the scene is brought to for them; None: its own
    doubted: bool = False  # though its quality lies outside of their training

    def apply_to(self, options: DetectionOptions) -> DetectionOptions:
        """What is asked of the detection then."""
        return options if self.coarser_m is None else replace(options, resample_to_m=self.coarser_m)


def choose_weights(options: DetectionOptions, attempt: Callable[[WeightsAttempt], Answer]) -> Answer:
    """Return the answer of the weights that were named; of `auto`, that of the first that fit, else of the index.

    The weights of one's own come first, then the shipped ones: a better one for this ground than for all ground. Where
    the scene is too fine for all of them it is read on the pixels of their training, the finest of these first. Where
    none fit, but the scene is doubted for its quality alone (noise, blur, pixels between pixels), those read it as
    advice that such a quality costs least.

    Args:
        options: `weights`, and `own` where that is `auto`.
        attempt: reads the scene by weights; raises what `REFUSES` holds where they do not fit.

    Raises DomainError: no weights fit and the values are no image of ground: one line that says why each was refused.
    """
    if options.weights != AUTO:
        return attempt(WeightsAttempt(options.weights, doubted=True))
    refused: list[WeightsRefusal] = []
    finer: list[tuple[float, int]] = []
    doubted: list[tuple[float | None, int, float | None]] = []
    # where none are installed the first says so for all
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
    for coarser_m, place in () if doubted else sorted(finer):
        one = refused[place]
        try:
            return attempt(WeightsAttempt(one.weights, tuple(refused), coarser_m))
        except REFUSES as error:
            if isinstance(error, DoubtedError):
                doubted.append((error.cost, place, coarser_m))
            why = Reason(
                "weights.nor_coarser",
                {"text": one.why, "at": coarser_m, "text2": strip_scene(error, options.scene_path)},
            )
            refused[place] = one._replace(why=why)
    for _, place, at_m in sorted(
        doubted, key=lambda one: UNKNOWN_COST if one[0] is None else one[0]
    ):  # the first of equal ones
        rest = tuple(one for k, one in enumerate(refused) if k != place)
        return attempt(WeightsAttempt(refused[place].weights, rest, at_m, doubted=True))
    if finer:
        coarser_m, place = min(finer)
        refused[place] = refused[place]._replace(
            mend=describe_mend(options.scene_path, refused[place].weights, coarser_m)
        )
    try:
        return attempt(WeightsAttempt(INDEX, tuple(refused), doubted=True))
    except (BandMissingError, DomainError, RadiometryError) as error:
        nor_dates = Reason("weights.nor_dates", {"text": strip_scene(error, options.scene_path)})
        reasons = join_explanations([*describe_refusals(refused), nor_dates])
        raise type(error)(explain_file(options.scene_path, reasons)) from None


REFUSES: Final = (BandMissingError, DomainError, ModelError, RadiometryError)


def describe_refusals(refused: Sequence[WeightsRefusal]) -> list[Reason]:
    """Return why no network was used, and why each does not fit."""
    if not refused:
        return [Reason("weights.unused")]
    unfit = [Reason("weights.unfit", {"model": one.weights, "text": one.why}) for one in refused]
    mends = [one.mend for one in refused if one.mend is not None]
    return [Reason("weights.none_fits"), *unfit, *mends]


def describe_mend(scene: Path, weights: str, trained_m: float) -> Reason:
    """Return the commands that read a scene of finer pixels all the same.

    >>> describe_mend(Path("drone/a b.tif"), "bijie", 1.2).values["command"]
    "slopeward scenes detect 'drone/a b.tif' --model bijie --resample-to 1.2"
    """
    detect = ["slopeward", "scenes", "detect", str(scene), "--model", weights, "--resample-to", f"{trained_m:g}"]
    learn = ["slopeward", "scenes", "learn", str(scene.parent), "--outlines", "FILE"]
    return Reason("weights.all_the_same", {"command": shlex.join(detect), "command2": shlex.join(learn)})


def describe_broken(refused: Sequence[WeightsRefusal], used: str) -> list[Reason]:
    """Return which weights of one's own cannot be read, and which are `used` instead: a fault that needs repair."""
    own = [describe_own(one.weights) for one in refused if one.broken]
    if used == INDEX:
        return [Reason("weights.none_serves", {"weights": name}) for name in own]
    if used in SHIPPED:
        return [Reason("weights.shipped_serve", {"weights": name}) for name in own]
    return [Reason("weights.others_serve", {"weights": name}) for name in own]


def check_pixels(grid: Grid, card: ModelCard, *, brought: bool) -> None:
    """Refuse weights that nobody named for pixels of another size, which are not `brought` to those of their training.

    Raises:
        FinerError: the pixels are smaller.
        UnfitError: they are larger, or nobody knows it.
    """
    trained_m = float(card["pixel_size_m"])
    if not grid.placed:
        raise UnfitError(f"trained on pixels of {trained_m:g} m; of an image without a place their size is not known")
    pixel_m = geodesic_pixel_m2(grid) ** 0.5
    if not brought and not 1 / PIXEL_RATIO <= pixel_m / trained_m <= PIXEL_RATIO:
        why = Reason("weights.pixels", {"pixel": pixel_m, "trained": trained_m})
        raise FinerError(why, trained_m) if pixel_m < trained_m else UnfitError(why)


def check_size(grid: Grid) -> None:
    """Refuse to read a scene coarser, unasked, that has next to no pixels then; raises UnfitError: it has."""
    if min(grid.width, grid.height) < COARSER_LEAST_PX:
        raise UnfitError(Reason("weights.few_pixels", {"width": grid.width, "height": grid.height}))


def check_doubts(doubts: Sequence[Explanation], card: ModelCard) -> None:
    """Refuse weights that nobody named for a scene unlike their training.

    Raises:
        DoubtedError: all `doubts` are of its quality, and it can be read as advice.
        UnfitError: there are others, or the card does not say what the training looked like.
    """
    if card.get("domain") is None:
        raise UnfitError("its card does not say what it was trained on")
    if doubts and all(isinstance(one, Reason) and one.code in READABLE for one in doubts):
        raise DoubtedError(join_explanations(doubts), find_cost(doubts, card))
    if doubts:
        raise UnfitError(join_explanations(doubts))


def strip_scene(error: ReasonedError, scene_path: Path) -> Explanation:
    """Return the explanation of an error without the path of the scene before it."""
    why = error.explanation
    if isinstance(why, str):
        return why.removeprefix(f"{scene_path}: ")
    is_named = why.code == OF and why.values["name"] == str(scene_path)
    return why.values["text"] if is_named else why  # type: ignore[return-value]  # the text is an explanation

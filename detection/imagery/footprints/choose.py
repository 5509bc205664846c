"""Which weights read a scene: those named, or the first whose training looks like it, or that hold what it lacks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from detection.imagery.errors import (
    BandMissingError,
    DomainError,
    DoubtedError,
    ModelError,
    RadiometryError,
    UnfitError,
)
from detection.imagery.footprints.cautions import PIXEL_RATIO
from detection.imagery.footprints.options import Options
from detection.imagery.footprints.records import AUTO, INDEX
from detection.imagery.raster.areas import geodesic_pixel_m2
from detection.imagery.raster.grid import Grid
from detection.imagery.training.domain import READABLE
from detection.imagery.training.steadiness import find_cost
from detection.imagery.weights_file import spell_own
from forecasting.message import TEXT_OF, Figure, Message, Template, error_text, join

PIXELS: Final = Template("weights.pixels", "pixels of {pixel} m, trained on {trained} m")
_UNUSED: Final = Template("weights.unused", "no network was used")()
_NONE_FITS: Final = Template("weights.none_fits", "no network fits this image")()
_UNFIT: Final = Template("weights.unfit", "{model} does not fit: {text}")
_NONE_SERVES: Final = Template(
    "weights.none_serves", "your own weights {weights} cannot be read: no network serves instead"
)
_SHIPPED_SERVE: Final = Template(
    "weights.shipped_serve", "your own weights {weights} cannot be read: shipped weights serve instead"
)
_OTHERS_SERVE: Final = Template(
    "weights.others_serve", "your own weights {weights} cannot be read: others serve instead"
)
_NOR_DATES: Final = Template("weights.nor_dates", "nor can dates be compared: {text}")
SHIPPED: Final = ("landslide4sense-standard", "bijie")

UNKNOWN_COST: Final = 1.0  # more than any

Answer = TypeVar("Answer")


class Refusal(NamedTuple):
    """Weights that were not used, and why; `broken`: they are of one's own and cannot be read."""

    weights: str
    why: str
    broken: bool = False


def choose_weights(options: Options, attempt: Callable[[str, tuple[Refusal, ...], bool], Answer]) -> Answer:
    """Return the answer of the weights that were named; of `auto`, that of the first that fit, else of the index.

    The weights of one's own come first, then the shipped ones: a better one for this ground than for all ground. Where
    none fit, but the scene is doubted for its quality alone (noise, blur, pixels between pixels), those read it as
    advice that such a quality costs least.

    Args:
        options: `weights`, and `own` where that is `auto`.
        attempt: reads the scene by weights, knowing which were refused before, and whether it may be doubted; raises
            what `REFUSES` holds where they do not fit.

    Raises:
        DomainError: no weights fit and the values are no image of ground: one line that says why each was refused.
    """
    if options.weights != AUTO:
        return attempt(options.weights, (), True)
    refused, doubted = list[Refusal](), list[tuple[float, str]]()
    for weights in (*options.own, *SHIPPED):
        try:
            return attempt(weights, tuple(refused), False)
        except REFUSES as error:
            broken = weights in options.own and isinstance(error, ModelError)
            refused.append(Refusal(weights, _strip(error, options), broken))
            if isinstance(error, DoubtedError):
                doubted.append((UNKNOWN_COST if error.cost is None else error.cost, weights))
    for _, weights in sorted(doubted, key=lambda one: one[0]):  # of equal ones the first
        return attempt(weights, tuple(one for one in refused if one.weights != weights), True)
    try:
        return attempt(INDEX, tuple(refused), True)
    except (BandMissingError, DomainError, RadiometryError) as error:
        said = join([*spell_refusals(refused), _NOR_DATES(text=_strip(error, options))])
        raise type(error)(TEXT_OF(name=str(options.scene_path), text=said)) from None


REFUSES: Final = (BandMissingError, DomainError, ModelError, RadiometryError)


def spell_refusals(refused: Sequence[Refusal]) -> list[Message]:
    """Why no network was used, and why each does not fit.

    >>> spell_refusals([Refusal("bijie", "pixels of 10 m, trained on 1.2 m")])
    ['no network fits this image', 'bijie does not fit: pixels of 10 m, trained on 1.2 m']
    >>> spell_refusals([])
    ['no network was used']
    """
    if not refused:
        return [_UNUSED]
    return [_NONE_FITS, *(_UNFIT(model=one.weights, text=one.why) for one in refused)]


def spell_broken(refused: Sequence[Refusal], used: str) -> list[Message]:
    """That weights of one's own cannot be read, and what serves in their place: a fault to be mended, not a choice.

    >>> spell_broken([Refusal("m/mine.safetensors", "torn", True), Refusal("bijie", "pixels of 10 m")], "index")
    ['your own weights m/mine.safetensors cannot be read: no network serves instead']
    """
    told = _NONE_SERVES if used == INDEX else _SHIPPED_SERVE if used in SHIPPED else _OTHERS_SERVE
    return [told(weights=spell_own(one.weights)) for one in refused if one.broken]


def check_pixels(grid: Grid, card: Mapping[str, Any], *, brought: bool) -> None:
    """Refuse weights that nobody named for pixels of another size, which are not `brought` to those of their training.

    Raises:
        UnfitError: they are, or nobody knows it.
    """
    trained_m = float(card["pixel_size_m"])
    if not grid.placed:
        raise UnfitError(f"trained on pixels of {trained_m:g} m; of an image without a place their size is not known")
    pixel_m = geodesic_pixel_m2(grid) ** 0.5
    if not brought and not 1 / PIXEL_RATIO <= pixel_m / trained_m <= PIXEL_RATIO:
        raise UnfitError(PIXELS(pixel=Figure(pixel_m, ".3g"), trained=trained_m))


def check_doubts(doubts: Sequence[str], card: Mapping[str, Any]) -> None:
    """Refuse weights that nobody named for a scene unlike their training.

    Raises:
        DoubtedError: all `doubts` are of its quality, and it can be read as advice.
        UnfitError: there are others, or the card does not say what the training looked like.
    """
    if card.get("domain") is None:
        raise UnfitError("its card does not say what it was trained on")
    if doubts and all(isinstance(one, Message) and one.id in READABLE for one in doubts):
        raise DoubtedError(join(doubts), find_cost(doubts, card))
    if doubts:
        raise UnfitError(join(doubts))


def _strip(error: Exception, options: Options) -> str:
    """What an error says without the path of the scene, which is said once."""
    why = error_text(error)
    return why if isinstance(why, Message) else why.removeprefix(f"{options.scene_path}: ")

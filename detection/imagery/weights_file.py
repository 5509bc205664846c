"""Find, read and check the files of weights and their cards. PyTorch is not needed for that."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypedDict

from detection.imagery.errors import ModelError
from detection.imagery.optional_bands import UNITS as OPTIONAL_UNITS

# The distribution with the weights that were trained on measured data. A checkout contains them in a folder.
DISTRIBUTION: Final = "slopeward_weights"
INSTALL: Final = "weights that learnt from measured data: pip install 'slopeward[weights]'"


def find_weights(folder: Path, part: str) -> Path:
    """Return the folder of weights in a checkout, or else in the installed distribution. It need not exist.

    Args:
        folder: in a checkout.
        part: name of the folder in the distribution.
    """
    spec = None if folder.is_dir() else find_spec(DISTRIBUTION)
    locations = (spec and spec.submodule_search_locations) or ()
    return Path(locations[0]) / part if locations else folder


WEIGHTS_FOLDER: Final = Path(__file__).resolve().parent / "weights"
MEASURED_FOLDER: Final = find_weights(WEIGHTS_FOLDER / "measured", "scenes")
FORMAT: Final = 1
CARD_KEYS: Final = ("format", "name", "network", "bands", "radiometry", "normalisation", "threshold", "weights_sha256")


class NetworkSpec(TypedDict, total=False):
    """A network, as arguments of `registry.build`."""

    name: str
    classes: int
    width: float
    options: dict[str, Any]


class RadiometrySpec(TypedDict, total=False):
    """How counts become model values; see `scene.radiometry.measure_stretch`."""

    stretch: str
    scale: float | list[float]
    block_px: int


class NormalisationSpec(TypedDict, total=False):
    """Statistics of the model values of the training, by band."""

    mean: list[float]
    std: list[float]
    value_range: list[list[float]]  # lowest and highest
    clip: bool


class OtherPixels(TypedDict):
    """Pixel sizes from which an image may be resampled to that of the training."""

    finest_m: float
    coarsest_m: float
    coarse_at_m: float  # pixel size to which images that are coarser than the training are resampled
    held_f1: dict[str, float]  # F1 on held patches that were resampled from other pixel sizes
    held_patches: int


class Steadiness(TypedDict):
    """F1 on held patches after noise and other losses of quality."""

    noise_counts: float  # greatest noise, in counts of 255, that costs little F1
    f1: dict[str, float]
    held_patches: int


class TrainingDomain(TypedDict, total=False):
    """Description of the training tiles: 1 % and 99 % quantiles of `training.windows.WindowStatistics`."""

    tiles: int
    bands: list[str]
    types: list[str]
    pixel_size_m: float
    season: list[int] | None  # months
    season_note: str | None
    quantiles: dict[str, Any]
    median: list[list[float]]
    spread: list[list[float]]
    correlation_least: float
    smoothness_least: float
    crispness_least: float
    steps_least: float
    contrast_least: float
    colour_least: float
    detail_least: float
    red_over_green_least: float
    green_least: float
    grain_most: float
    smear_most: float
    counts_as_they_came: bool


class ScoreDifference(TypedDict):
    """F1 of one map minus that of another, on the same images."""

    difference: float | None
    interval: list[float] | None  # 95 %
    carries: bool  # whether the difference is significant: the interval excludes 0


class WeightsGate(TypedDict, total=False):
    """Result of the comparison of weights with simpler maps, after which they may be used."""

    passed: bool  # whether the weights may be loaded
    put_to_use: bool  # whether they may be used: they are better than the simpler maps
    verdict: str
    reasons: list[str]
    f1: dict[str, float]
    interval: list[float] | None
    less_logistic: ScoreDifference
    less_idle: dict[str, Any]  # a `ScoreDifference`, and which map it is
    blocks: int
    blocks_with_landslides: int
    tiles: int


class ModelCard(TypedDict, total=False):
    """The JSON card beside weights. It always has `CARD_KEYS`, and `read_weights` checks it against `CARD_FIELDS`."""

    format: int
    name: str
    network: NetworkSpec
    parameters: int
    bands: list[str]
    optional_bands: list[str]  # see module `optional_bands`; none if missing
    classes: list[str]
    linear_classes: list[str]
    pixel_size_m: float
    minimum_area_m2: float
    tile_px: int
    resize_px: int | None
    radiometry: RadiometrySpec
    normalisation: NormalisationSpec
    threshold: float
    temperature: float
    calibration: dict[str, float | None]
    data: dict[str, Any]  # source, licence, note, recipe, train_patches, train_sha256
    metrics: dict[str, Any]
    training: dict[str, Any]  # settings, best_epoch, cpu_s
    domain: TrainingDomain | None
    steadiness: Steadiness
    other_pixels: OtherPixels
    recipe_file: str | None
    begun_from: dict[str, str] | None  # weights from which the training started, and their model_hash
    history: list[dict[str, float]]  # by epoch
    limits: list[str]
    index: str  # formula, if there is no network
    gate: WeightsGate
    learnt: dict[str, Any]  # only of weights that `scenes learn` trained on outlines of the user
    weights_sha256: str


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """Weights and their card, which were checked to belong together."""

    path: Path  # of the weights
    content: bytes  # in the safetensors format
    card: ModelCard
    model_hash: str  # sha256 of both files


def list_shipped() -> list[Path]:
    """Return the .safetensors files of all shipped weights for images."""
    files = (file for folder in (WEIGHTS_FOLDER, MEASURED_FOLDER) for file in folder.glob("*.safetensors"))
    return sorted(files, key=lambda file: file.stem)


def weights_path(weights: str) -> Path:
    """Return the .safetensors file of shipped weights by their name, or of a path.

    Raises:
        ModelError: there are no such weights; the message lists the shipped ones.
    """
    path = Path(weights)
    try:
        for folder in (WEIGHTS_FOLDER, MEASURED_FOLDER):
            if (shipped := folder / f"{weights}.safetensors").is_file():
                return shipped
        is_there = path.suffix == ".safetensors" and path.is_file()
    except OSError as error:
        # The folder may not be read, or the name is too long.
        raise ModelError(f"{weights}: cannot be read ({error.strerror})") from None
    if not is_there:
        known = ", ".join(file.stem for file in list_shipped())
        hint = "" if MEASURED_FOLDER.is_dir() else f"; {INSTALL}"
        raise ModelError(f"no weights at {weights}; shipped: {known}{hint}")
    return path


def read_weights(weights: str, *, ungated: bool = False) -> WeightsFile:
    """Read weights and card by shipped name or path.

    Args:
        ungated: also read a candidate that did not pass its gate.

    Raises:
        ModelError: a file is missing or cannot be read, a field of the card is missing or wrong, the card is of other
            weights, or the gate is not passed.
    """
    path = weights_path(weights)
    card_path = path.with_suffix(".json")
    try:
        card_text = card_path.read_bytes()
        content = path.read_bytes()
        card = json.loads(card_text)
    except FileNotFoundError:
        raise ModelError(f"{path}: the card {card_path.name} is missing beside the weights") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{card_path}: not JSON ({error})") from None
    missing = [key for key in CARD_KEYS if not isinstance(card, dict) or key not in card]
    if missing or card["format"] != FORMAT:
        raise ModelError(f"{card_path}: not a card of format {FORMAT} (missing: {', '.join(missing) or 'nothing'})")
    if (fault := find_card_fault(card)) is not None:
        raise ModelError(f"{card_path}: {fault}")
    gate = card.get("gate", {"passed": True})
    if not ungated and not gate["passed"]:
        reasons = "; ".join(map(str, gate.get("reasons") or ()))
        raise ModelError(f"{path}: this candidate did not pass its gate: {reasons}")
    digest = sha256(content)
    if digest.hexdigest() != card["weights_sha256"]:
        raise ModelError(f"{path}: the weights are not those of the card (sha256 differs)")
    digest.update(card_text)
    return WeightsFile(path, content, card, digest.hexdigest())


def find_fault(weights: str, find_last_error: Callable[[str], str | None] = lambda _: None) -> str | None:
    """Return in one line why weights cannot be used; None if they can.

    Args:
        find_last_error: returns the error of the last run with the weights of a `model_hash`, if there was one.
    """
    try:
        file = read_weights(weights)
    except ModelError as error:
        return " ".join(str(error).split())
    return find_last_error(file.model_hash)


def may_be_used(card: Mapping[str, Any]) -> bool:
    """Return whether weights may be used: their gate allows it, or they have no gate.

    >>> may_be_used({"gate": {"passed": True, "verdict": "as good"}}), may_be_used({})
    (False, True)
    """
    gate = card.get("gate") or {}
    # Older cards have no `put_to_use`.
    return bool(gate.get("put_to_use", gate.get("verdict", "better") == "better"))


def is_same(weights: str, other: str, model_hash: str | None = None) -> bool:
    """Return whether two names or paths denote the same weights or copies of them.

    Args:
        model_hash: of `other`, whose files may then be missing. None: it is read from the files.
    """
    try:
        if Path(weights).resolve() == Path(other).resolve():
            return True
        other_hash = model_hash or read_weights(other, ungated=True).model_hash
        return read_weights(weights, ungated=True).model_hash == other_hash
    except (ModelError, OSError):
        return False


def shorten_weights_path(weights: str) -> str:
    """Return the file name of weights and the folder that contains them, without the path on the server.

    >>> shorten_weights_path("/srv/models/scenes/bench/20261122-101500/bench.safetensors")
    '20261122-101500/bench.safetensors'
    """
    return "/".join(Path(weights).parts[-2:])


def find_card_fault(card: ModelCard) -> str | None:
    """Return in one line the first field of a card that is missing or has a wrong value; None if there is none.

    >>> find_card_fault({"name": 3})
    'network must be an object'
    """
    return _find_fault(card, CARD_FIELDS)


def find_radiometry_fault(radiometry: Any, bands: Sequence[str]) -> str | None:
    """Return in one line the first key of the table `[radiometry]` of a recipe that is missing or has a wrong value.

    Return None if there is none. The names of stretches are not checked.

    >>> find_radiometry_fault({"stretch": "reflectance", "scale": "1e-4"}, ("B4", "B3"))
    'radiometry.scale must be a number above 0, or one for each band'
    """
    card: ModelCard = {"radiometry": radiometry, "bands": list(bands)}
    return _find_fault(card, [field for field in CARD_FIELDS if field.path[0] == "radiometry"])


def _find_fault(card: ModelCard, fields: "Sequence[_CardField]") -> str | None:
    for field in fields:
        *parents, key = field.path
        container: Any = card
        for parent in parents:
            container = container.get(parent) if isinstance(container, dict) else None
        # An object that is missing, or that may be null, has no fields. If it is required, its own entry reports it.
        if not isinstance(container, dict):
            continue
        if key not in container:
            if field.is_required:
                return f"{'.'.join(field.path)} must be {field.expected}"
            continue
        if not field.is_valid(container[key], card):
            return f"{'.'.join(field.path)} must be {field.expected}"
    return None


def _is_number(value: Any, low: float = -1e30, high: float = 1e30) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def is_positive_number(value: Any) -> bool:
    """Return whether a value is a number above 0."""
    return _is_number(value, 1e-30)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_month(value: Any) -> bool:
    return isinstance(value, int) and _is_number(value, 1, 12)


def _is_range(value: Any) -> bool:
    return _is_list_of(_is_number, value, 2) and value[0] <= value[1]


def _is_list_of(is_valid: Callable[[Any], bool], values: Any, count: int | None = None) -> bool:
    """Return whether `values` is a list of valid values that is not empty, and has `count` values if that is given."""
    return isinstance(values, list) and bool(values) and count in {None, len(values)} and all(map(is_valid, values))


def _is_list_of_names(values: Any) -> bool:
    return _is_list_of(_is_text, values) and len({*values}) == len(values)


def _is_list_of_optional_bands(values: Any, card: Any) -> bool:
    return values == [] or (_is_list_of_names(values) and {*values} <= {*OPTIONAL_UNITS} - {*card["bands"]})


CheckField = Callable[[Any, Any], bool]
"""Takes the value of a field and the card, and returns whether the value is valid."""


def _number(low: float, high: float = 1e30) -> CheckField:
    return lambda value, _: _is_number(value, low, high)


def _whole_number(high: int) -> CheckField:
    return lambda value, _: isinstance(value, int) and _is_number(value, 1, high)


def _instance_of(kind: Any) -> CheckField:
    return lambda value, _: isinstance(value, kind)


def _one_per_band(is_valid: Callable[[Any], bool]) -> CheckField:
    return lambda value, card: _is_list_of(is_valid, value, len(card["bands"]))


@dataclass(frozen=True, slots=True)
class _CardField:
    """A field of a card that is checked."""

    path: tuple[str, ...]  # keys from the card to the field
    expected: str  # what the value must be, for error messages
    is_valid: CheckField
    is_required: bool = True


def _require(path: str, expected: str, is_valid: CheckField) -> _CardField:
    return _CardField(tuple(path.split(".")), expected, is_valid)


def _allow(path: str, expected: str, is_valid: CheckField) -> _CardField:
    return _CardField(tuple(path.split(".")), expected, is_valid, is_required=False)


# Greatest multiplier of the channels of a network.
WIDTH_MOST: Final = 16.0
CLASSES_MOST: Final = 251
SIDE_MOST: Final = 1 << 14
_OBJECT: Final = "an object"
_TEXT: Final = "a text"
_PIXELS: Final = "a number of pixels"
POSITIVE: Final = "a number above 0"
_NOT_NEGATIVE: Final = "a number, 0 or more"
_SHARE: Final = "a number from 0 to 1"
_CORRELATION: Final = "a number from -1 to 1"
_RANGES: Final = "a lowest and a highest value for each of its bands"

# The fields of a card that are checked, in order. An object comes before its fields, and the bands come before fields
# with a value for each band.
CARD_FIELDS: Final[tuple[_CardField, ...]] = (
    _require("network", _OBJECT, _instance_of(dict)),
    _require("network.options", _OBJECT, _instance_of(dict)),
    _require("normalisation", _OBJECT, _instance_of(dict)),
    _allow("other_pixels", _OBJECT, _instance_of(dict)),
    _allow("gate", _OBJECT, _instance_of(dict)),
    _allow("steadiness", _OBJECT, _instance_of(dict)),
    _allow("domain", "an object or null", _instance_of(dict | None)),
    _require(
        "radiometry",
        "an object, with a scale where its stretch is reflectance",
        lambda value, _: isinstance(value, dict) and (value.get("stretch") != "reflectance" or "scale" in value),
    ),
    _require("name", _TEXT, lambda value, _: _is_text(value)),
    _require("network.name", _TEXT, lambda value, _: _is_text(value)),
    _require("radiometry.stretch", _TEXT, lambda value, _: _is_text(value)),
    _require("bands", "a list of different names", lambda value, _: _is_list_of_names(value)),
    _allow(
        "optional_bands",
        f"a list of bands that a network may do without ({', '.join(OPTIONAL_UNITS)}) and that bands does not name",
        _is_list_of_optional_bands,
    ),
    _require(
        "domain.bands",
        "a list of bands of the card",
        lambda value, card: _is_list_of(_is_text, value) and {*value} <= {*card["bands"]},
    ),
    _allow("linear_classes", "a list", _instance_of(list)),
    _allow("gate.reasons", "a list", _instance_of(list)),
    _allow("classes", "a list of names", lambda value, _: _is_list_of(_is_text, value)),
    _require("gate.passed", "true or false", _instance_of(bool)),
    _require("network.classes", f"a whole number from 1 to {CLASSES_MOST}", _whole_number(CLASSES_MOST)),
    _allow("radiometry.block_px", _PIXELS, _whole_number(SIDE_MOST)),
    _allow("tile_px", _PIXELS, _whole_number(SIDE_MOST)),
    _require("network.width", f"a number above 0, at most {WIDTH_MOST:g}", _number(1e-6, WIDTH_MOST)),
    _require("pixel_size_m", POSITIVE, _number(1e-6)),
    _allow("temperature", POSITIVE, _number(1e-6)),
    _require("other_pixels.finest_m", POSITIVE, _number(1e-6)),
    _require("other_pixels.coarsest_m", POSITIVE, _number(1e-6)),
    _require("domain.pixel_size_m", POSITIVE, _number(1e-6)),
    _require("threshold", _SHARE, _number(0, 1)),
    _allow("domain.grain_most", _SHARE, _number(0, 1)),
    _allow("domain.red_over_green_least", _NOT_NEGATIVE, _number(0)),
    _allow("domain.smear_most", "a number, 1 or more", _number(1)),
    _require("domain.correlation_least", _CORRELATION, _number(-1, 1)),
    _require("domain.smoothness_least", _CORRELATION, _number(-1, 1)),
    _allow("minimum_area_m2", _NOT_NEGATIVE, _number(0)),
    _require("steadiness.noise_counts", _NOT_NEGATIVE, _number(0)),
    _allow("domain.crispness_least", _NOT_NEGATIVE, _number(0)),
    _allow("domain.contrast_least", _NOT_NEGATIVE, _number(0)),
    _require(
        "other_pixels.coarse_at_m",
        "a number from finest_m to coarsest_m",
        lambda value, card: _is_number(value, card["other_pixels"]["finest_m"], card["other_pixels"]["coarsest_m"]),
    ),
    _allow(
        "radiometry.scale",
        "a number above 0, or one for each band",
        lambda value, card: is_positive_number(value) or _is_list_of(_is_number, value, len(card["bands"])),
    ),
    _require("normalisation.mean", "a number for each band", _one_per_band(_is_number)),
    _require(
        "normalisation.std",
        "a number above 0 for each band",
        _one_per_band(lambda deviation: _is_number(deviation, 1e-30)),
    ),
    _require("normalisation.value_range", "a lowest and a highest value for each band", _one_per_band(_is_range)),
    _require("domain.median", _RANGES, lambda value, card: _is_list_of(_is_range, value, len(card["domain"]["bands"]))),
    _require("domain.spread", _RANGES, lambda value, card: _is_list_of(_is_range, value, len(card["domain"]["bands"]))),
    _require(
        "steadiness.f1",
        "an object that holds plain",
        lambda value, _: isinstance(value, dict) and all(map(_is_number, value.values())) and "plain" in value,
    ),
    _allow(
        "domain.season",
        "a list of months or null",
        lambda value, _: value is None or _is_list_of(_is_month, value),
    ),
)

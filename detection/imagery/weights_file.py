"""Weights and their card as files: found, read and checked without the libraries that run them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypedDict

from detection.imagery.errors import ModelError
from detection.imagery.optional_bands import UNITS as OPTIONAL_UNITS

# The distribution with the weights that were trained on measured data. A checkout has them beside the code.
DISTRIBUTION: Final = "slopeward_weights"
INSTALL: Final = "weights that learnt from measured data: pip install 'slopeward[weights]'"


def find_weights(folder: Path, part: str) -> Path:
    """Return the folder of weights in a checkout, else that part of the distribution; either may be missing."""
    spec = None if folder.is_dir() else find_spec(DISTRIBUTION)
    places = (spec and spec.submodule_search_locations) or ()
    return Path(places[0]) / part if places else folder


WEIGHTS_FOLDER: Final = Path(__file__).resolve().parent / "weights"
MEASURED_FOLDER: Final = find_weights(WEIGHTS_FOLDER / "measured", "scenes")
FORMAT: Final = 1
CARD_KEYS: Final = ("format", "name", "network", "bands", "radiometry", "normalisation", "threshold", "weights_sha256")


class NetworkSpec(TypedDict, total=False):
    """A network, as arguments of `registry.build`."""

    name: str
    classes: int
    width: float
    options: dict[str, Any]  # of its family


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
    """Pixel sizes from which an image may be resampled to that of the training, and F1 on held patches resampled so."""

    finest_m: float
    coarsest_m: float
    coarse_at_m: float
    held_f1: dict[str, float]
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
    carries: bool  # whether the interval excludes 0


class WeightsGate(TypedDict, total=False):
    """Whether weights may be loaded (`passed`), with the reasons and figures."""

    passed: bool
    put_to_use: bool
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
    """The JSON card beside weights. It always has `CARD_KEYS`, and `read_weights` checks it against `FIELDS`."""

    format: int
    name: str
    network: NetworkSpec
    parameters: int
    bands: list[str]
    optional_bands: list[str]  # read where they are known, see `optional_bands`; a missing field: none
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
    data: dict[str, Any]  # source, licence, note, reader, recipe, train_patches, train_sha256
    metrics: dict[str, Any]
    training: dict[str, Any]  # settings, best_epoch, cpu_s
    domain: TrainingDomain | None
    steadiness: Steadiness
    other_pixels: OtherPixels
    recipe_file: str | None
    begun_from: dict[str, str] | None  # weights and model_hash
    history: list[dict[str, float]]  # by epoch
    limits: list[str]
    index: str  # where there is no network: the formula
    gate: WeightsGate
    learnt: dict[str, Any]  # of weights that `scenes learn` trained on outlines of the user
    weights_sha256: str


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """Weights (safetensors) and their card, whose digest matches. `model_hash` is a digest of both files."""

    path: Path
    content: bytes
    card: ModelCard
    model_hash: str


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
    except OSError as error:  # a folder that may not be read, a name that is too long
        raise ModelError(f"{weights}: cannot be read ({error.strerror})") from None
    if not is_there:
        known = ", ".join(file.stem for file in list_shipped())
        hint = "" if MEASURED_FOLDER.is_dir() else f"; {INSTALL}"
        raise ModelError(f"no weights at {weights}; shipped: {known}{hint}")
    return path


def read_weights(weights: str, *, ungated: bool = False) -> WeightsFile:
    """Read weights and card by shipped name or path.

    `ungated`: also read a candidate that did not pass its gate.

    Raises:
        ModelError: file or card missing or unreadable, a field of the card missing or of another shape, weights not
            the card's, a gate not passed.
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
    hashed = sha256(content)
    if hashed.hexdigest() != card["weights_sha256"]:
        raise ModelError(f"{path}: the weights are not those of the card (sha256 differs)")
    hashed.update(card_text)
    return WeightsFile(path, content, card, hashed.hexdigest())


def find_fault(weights: str, met: Callable[[str], str | None] = lambda _: None) -> str | None:
    """Return why weights cannot be read, in one line; None if they can.

    `met`: returns the error of the last run with the weights of a `model_hash`, if there was one.
    """
    try:
        found = read_weights(weights)
    except ModelError as error:
        return " ".join(str(error).split())
    return met(found.model_hash)


def may_be_used(card: Mapping[str, Any]) -> bool:
    """Return whether weights may be used: their gate found them better, or they have no gate.

    >>> may_be_used({"gate": {"passed": True, "verdict": "as good"}}), may_be_used({})
    (False, True)
    """
    gate = card.get("gate") or {}
    return bool(gate.get("put_to_use", gate.get("verdict", "better") == "better"))  # a card of before does not say


def is_same(weights: str, other: str, model_hash: str | None = None) -> bool:
    """Return whether two names or paths are of the same weights, or of copies.

    `model_hash`: of `other`. If it is given, the files of `other` may be missing.
    """
    try:
        if Path(weights).resolve() == Path(other).resolve():
            return True
        known = model_hash or read_weights(other, ungated=True).model_hash
        return read_weights(weights, ungated=True).model_hash == known
    except (ModelError, OSError):
        return False


def describe_own(weights: str) -> str:
    """Return a short name for weights of the user: the file and its folder, without the path on the server.

    >>> describe_own("/srv/models/scenes/bench/20261122-101500/bench.safetensors")
    '20261122-101500/bench.safetensors'
    """
    return "/".join(Path(weights).parts[-2:])


WIDEST: Final = 16.0  # greatest multiplier of the channels of a network
CLASSES_MOST: Final = 251
SIDE_MOST: Final = 1 << 14


def find_card_fault(card: ModelCard) -> str | None:
    """Return the first field of a card that is missing or has a wrong value, in one line; None if all are right.

    >>> find_card_fault({"name": 3})
    'network must be an object'
    """
    for what, fits, names in FIELDS:
        for name in names.split():
            *parents, last = name.removesuffix("?").split(".")
            within: Any = card
            for parent in parents:
                within = within.get(parent) if isinstance(within, dict) else None
            if not isinstance(within, dict) or (last not in within and name.endswith("?")):
                continue
            if last not in within or not fits(within[last], card):
                return f"{name.removesuffix('?')} must be {what}"
    return None


def _is_number(value: Any, low: float = -1e30, high: float = 1e30) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are(fits: Callable[[Any], bool], values: Any, count: int | None = None) -> bool:
    return isinstance(values, list) and bool(values) and count in {None, len(values)} and all(map(fits, values))


def _is_range(value: Any) -> bool:
    return _are(_is_number, value, 2) and value[0] <= value[1]


Fits = Callable[[Any, Any], bool]
"""Checks a value, given the card."""


def _number(low: float, high: float = 1e30) -> Fits:
    return lambda value, _: _is_number(value, low, high)


def _whole(high: int) -> Fits:
    return lambda value, _: isinstance(value, int) and _is_number(value, 1, high)


def _kind(kind: Any) -> Fits:
    return lambda value, _: isinstance(value, kind)


def _by_band(fits: Callable[[Any], bool]) -> Fits:
    return lambda value, card: _are(fits, value, len(card["bands"]))


# What a field must be, the function that checks it, and the names of the fields. Dots separate the names of nested
# objects; a field with ? may be missing. An object comes before its fields, and the bands before fields with one value
# per band.
FIELDS: Final[tuple[tuple[str, Fits, str], ...]] = (
    ("an object", _kind(dict), "network network.options normalisation other_pixels? gate? steadiness?"),
    ("an object or null", _kind(dict | None), "domain?"),
    (
        "an object, with a scale where its stretch is reflectance",
        lambda value, _: isinstance(value, dict) and (value.get("stretch") != "reflectance" or "scale" in value),
        "radiometry",
    ),
    ("a text", lambda value, _: _is_text(value), "name network.name radiometry.stretch"),
    (
        "a list of different names",
        lambda value, _: _are(_is_text, value) and len({*value}) == len(value),
        "bands",
    ),
    (
        f"a list of bands that a network may do without ({', '.join(OPTIONAL_UNITS)}) and that bands does not name",
        lambda value, card: (
            value == []
            or (
                _are(_is_text, value)
                and len({*value}) == len(value)
                and {*value} <= {*OPTIONAL_UNITS} - {*card["bands"]}
            )
        ),
        "optional_bands?",
    ),
    (
        "a list of bands of the card",
        lambda value, card: _are(_is_text, value) and {*value} <= {*card["bands"]},
        "domain.bands",
    ),
    ("a list", _kind(list), "linear_classes? gate.reasons?"),
    ("a list of names", lambda value, _: _are(_is_text, value), "classes?"),
    ("true or false", _kind(bool), "gate.passed"),
    (f"a whole number from 1 to {CLASSES_MOST}", _whole(CLASSES_MOST), "network.classes"),
    ("a number of pixels", _whole(SIDE_MOST), "radiometry.block_px? tile_px?"),
    (f"a number above 0, at most {WIDEST:g}", _number(1e-6, WIDEST), "network.width"),
    (
        "a number above 0",
        _number(1e-6),
        "pixel_size_m temperature? other_pixels.finest_m other_pixels.coarsest_m domain.pixel_size_m",
    ),
    ("a number from 0 to 1", _number(0, 1), "threshold domain.grain_most?"),
    ("a number, 0 or more", _number(0), "domain.red_over_green_least?"),
    ("a number, 1 or more", _number(1), "domain.smear_most?"),
    ("a number from -1 to 1", _number(-1, 1), "domain.correlation_least domain.smoothness_least"),
    (
        "a number, 0 or more",
        _number(0),
        "minimum_area_m2? steadiness.noise_counts domain.crispness_least? domain.contrast_least?",
    ),
    (
        "a number from finest_m to coarsest_m",
        lambda value, card: _is_number(value, card["other_pixels"]["finest_m"], card["other_pixels"]["coarsest_m"]),
        "other_pixels.coarse_at_m",
    ),
    (
        "a number above 0, or one for each band",
        lambda value, card: _is_number(value, 1e-30) or _are(_is_number, value, len(card["bands"])),
        "radiometry.scale?",
    ),
    ("a number for each band", _by_band(_is_number), "normalisation.mean"),
    ("a number above 0 for each band", _by_band(lambda one: _is_number(one, 1e-30)), "normalisation.std"),
    ("a lowest and a highest value for each band", _by_band(_is_range), "normalisation.value_range"),
    (
        "a lowest and a highest value for each of its bands",
        lambda value, card: _are(_is_range, value, len(card["domain"]["bands"])),
        "domain.median domain.spread",
    ),
    (
        "an object that holds plain",
        lambda value, _: isinstance(value, dict) and all(map(_is_number, value.values())) and "plain" in value,
        "steadiness.f1",
    ),
    (
        "a list of months or null",
        lambda value, _: value is None or _are(lambda one: _whole(12)(one, None), value),
        "domain.season?",
    ),
)

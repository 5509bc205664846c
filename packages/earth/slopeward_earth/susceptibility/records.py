"""What a worker is asked for the picture of a susceptibility map, and what it answers; no library of rasters here."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypedDict, cast

DRAWN: Final = {"path", "sha256", "bounds", "classes"}  # without them nobody can say what a picture shows


@dataclass(frozen=True, slots=True)
class PictureRequest:
    """Which map becomes which PNG; its facts lie beside it as JSON. `into`, `affine` place one in a local system."""

    prior: Path
    out: Path
    into: str = ""
    affine: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class PictureResult:
    """What was drawn; `error` says in one line why nothing was."""

    sha256: str = ""
    bounds: tuple[float, ...] = ()
    error: str = ""


class CalibrationScores(TypedDict):
    """How far probabilities can be believed, see `scoring.measure_calibration`."""

    brier: float
    brier_of_base_rate: float
    skill: float
    base_rate: float
    expected_calibration_error: float
    bins: list[dict[str, Any]]  # said, observed, cells, landslide_cells, area_share


class Importance(TypedDict):
    """AUC that is lost where a factor is shuffled: the mean over folds, the least, the most."""

    name: str
    auc_lost: float
    least: float
    most: float


class SusceptibilityScores(TypedDict):
    """What a model is worth on blocks that were left out."""

    auc: float
    interval: list[float]
    chosen_by_fold: list[str]
    by_learner: dict[str, float]
    calibration: dict[str, Any]  # its kind, and `CalibrationScores`
    importance: list[Importance]


class SusceptibilityCard(TypedDict, total=False):
    """What a model was made of and what it is worth; empty while it is made."""

    made_on: str
    seed: int
    learner: str
    learners: list[str]
    software: dict[str, str]
    grid: dict[str, Any]  # crs, width, height, cell_m2
    factors: list[dict[str, Any]]  # name, kind, file, date
    inventory: dict[str, Any]  # file, source, licence, from, to, landslides, left_out
    sample: dict[str, int]
    blocks: dict[str, float]
    classes: dict[str, Any]  # rule, bounds
    scores: SusceptibilityScores
    warnings: list[str]
    model: str  # path of what was trained, and its hash
    model_hash: str


class ShownMap(TypedDict):
    """What a picture shows: the map (see `prior.describe_prior`), where it lies, and its classes."""

    path: str
    sha256: str
    bounds: list[float]  # west, south, east, north
    classes: list[dict[str, Any]]  # name, colour, least, most


def read_shown(picture: Path) -> ShownMap | None:
    """Read the facts that lie beside a picture; None where there is no picture, or none that can be read."""
    try:
        facts = json.loads(picture.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = picture.is_file() and isinstance(facts, dict) and facts.keys() >= DRAWN
    return cast("ShownMap", facts) if known else None

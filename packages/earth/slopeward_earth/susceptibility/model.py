"""A model of susceptibility on disk: one JSON file with all that a map needs and what it is worth; never pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from detection.imagery.errors import ModelError
from detection.whole_file import replacing
from slopeward_earth.susceptibility.encoding import Encoder, read_factor
from slopeward_earth.susceptibility.learners.table import LEARNERS, FittedLearner, Numbers, read, write_numbers
from slopeward_earth.susceptibility.records import SusceptibilityCard
from slopeward_earth.susceptibility.study import MOST_FACTORS
from slopeward_earth.susceptibility.validation import Calibrator, read_calibrator

FORMAT: Final = 1
KIND: Final = "slopeward susceptibility"
MOST_BYTES: Final = 64 << 20
CLASSES: Final = ("very low", "low", "moderate", "high", "very high")


@dataclass(frozen=True, slots=True)
class SusceptibilityModel:
    """A model, and those of the folds whose disagreement is its spread."""

    learner: str
    encoder: Encoder  # from factors to columns
    fitted: FittedLearner  # the model of all blocks
    folds: tuple[FittedLearner, ...]  # models that did not see one part of the blocks each
    calibrator: Calibrator  # from log-odds to probability
    bounds: tuple[float, ...]  # four probabilities between the five classes
    card: SusceptibilityCard  # what it was made of and what it is worth
    model_hash: str = ""  # sha256 of the file

    def map(self, values: NDArray[np.float32]) -> tuple[Numbers, Numbers]:
        """Return probability and its spread (standard deviation over the models of the folds) of a window.

        `values`: factors x height x width.
        """
        columns = self.encoder.encode(values)
        chance = self.calibrator.apply(self.fitted.score(columns))
        total, squares = np.zeros_like(chance), np.zeros_like(chance)
        for one in self.folds:
            own = self.calibrator.apply(one.score(columns))
            total += own
            squares += own**2
        number = max(1, len(self.folds))
        return chance, np.sqrt(np.maximum(0, squares / number - (total / number) ** 2))


def save_model(path: Path, model: SusceptibilityModel) -> str:
    """Write the file, flushed to the disk; returns its sha256."""
    saved = {
        "kind": KIND,
        "format": FORMAT,
        "card": model.card,
        "learner": model.learner,
        "factors": [write_numbers(one) for one in model.encoder.factors],
        "calibration": write_numbers(model.calibrator),
        "class_bounds": list(model.bounds),
        "fitted": write_numbers(model.fitted),
        "folds": [write_numbers(one) for one in model.folds],
    }
    content = (json.dumps(saved, ensure_ascii=False, allow_nan=False) + "\n").encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, flush=True) as partial:
        partial.write_bytes(content)
    return sha256(content).hexdigest()


def load_model(path: Path) -> SusceptibilityModel:
    """Read a model; raises ModelError: it is none, is damaged, or is of another format."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ModelError(f"{path}: more than {MOST_BYTES >> 20} MiB; no model of susceptibility is so large")
        document = json.loads(content, parse_constant=_refuse)
        if document.get("kind") != KIND or document.get("format") != FORMAT:
            raise ModelError(
                f"{path}: no model of susceptibility of format {FORMAT} (`slopeward scenes susceptibility train`)"
            )
        return _open(document, sha256(content).hexdigest())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError, OverflowError, IndexError):
        raise ModelError(f"{path}: damaged, or no model of susceptibility") from None


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _open(document: Mapping[str, Any], model_hash: str) -> SusceptibilityModel:
    bounds = tuple(float(one) for one in document["class_bounds"])
    if document["learner"] not in LEARNERS or len(bounds) != len(CLASSES) - 1 or list(bounds) != sorted(bounds):
        raise ValueError("no model")
    if len(document["factors"]) > MOST_FACTORS:
        raise ValueError("more columns than a model has")
    encoder = Encoder(tuple(read_factor(**one) for one in document["factors"]))
    model = SusceptibilityModel(
        document["learner"],
        encoder,
        read(document["learner"], **document["fitted"]),
        tuple(read(document["learner"], **one) for one in document["folds"]),
        read_calibrator(**document["calibration"]),
        bounds,
        cast("SusceptibilityCard", dict(document["card"])),
        model_hash,
    )
    # whoever changed a number of columns is found out here and not in the middle of a map
    columns = np.ones((len(encoder.columns), 1, 1), np.float32)
    scores = [one.score(columns) for one in (model.fitted, *model.folds)]
    if any(score.shape != (1, 1) or not np.isfinite(score).all() for score in scores):
        raise ValueError("no model")
    return model

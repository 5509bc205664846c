"""The stored figures of the benchmarks, wherever the program stands: in its sources or installed."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

PLACES = (
    Path(__file__).resolve().parents[2] / "docs" / "benchmarks",
    Path(__file__).resolve().parents[1] / "_benchmarks",
)
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScores:
    """Stored scores of a model, as JSON has them, and what they say for and against it."""

    scores: list[Mapping[str, Any]] | None = None
    note: str | None = NOT_MEASURED
    reasons_for: str | None = None
    reasons_against: str | None = None


class ScoreArgument(NamedTuple):
    """A score, whether it speaks for the model, and in which words; score and words may be missing."""

    score: Mapping[str, Any] | None
    is_for: bool
    words: str | None


class Benchmark(TypedDict):
    """What a command of the benchmarks kept, as its JSON file has it."""

    command: str
    measured_at: str
    machine: str
    figures: dict[str, Any]


def read_benchmark(name: str) -> Benchmark | None:
    """What a command of the benchmarks kept; None where nothing is kept."""
    for folder in PLACES:
        if (path := folder / f"{name}.json").is_file():
            kept: Benchmark = json.loads(path.read_text(encoding="utf-8"))
            return kept
    return None


def format_reasons(reasons_for: str | None, reasons_against: str | None) -> list[str]:
    """The reasons for and against a model, a line each."""
    return [f"    {side}: {text}" for side, text in (("for", reasons_for), ("against", reasons_against)) if text]


def sum_up_arguments(arguments: Iterable[ScoreArgument]) -> ModelScores:
    """Scores and what they say for and against a model."""
    arguments = list(arguments)
    scores = [one.score for one in arguments if one.score is not None]
    reasons = {
        side: "; ".join(one.words for one in arguments if one.words and one.is_for is side) for side in (True, False)
    }
    return ModelScores(
        scores=scores or None,
        note=None if scores else NOT_MEASURED,
        reasons_for=reasons[True] or None,
        reasons_against=reasons[False] or None,
    )

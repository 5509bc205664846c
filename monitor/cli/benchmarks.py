"""The stored figures of the benchmarks, wherever the program stands: in its sources or installed."""

import json
from pathlib import Path
from typing import Any, TypedDict

PLACES = (
    Path(__file__).resolve().parents[2] / "docs" / "benchmarks",
    Path(__file__).resolve().parents[1] / "_benchmarks",
)


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

"""The stored figures of the benchmarks, wherever the program stands: in its sources or installed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PLACES = (
    Path(__file__).resolve().parents[2] / "docs" / "benchmarks",
    Path(__file__).resolve().parents[1] / "_benchmarks",
)
NOT_MEASURED = "not measured"


def read_benchmark(name: str) -> dict[str, Any] | None:
    """What a command of the benchmarks kept: command, measured_at, machine, figures; None where nothing is kept."""
    for folder in PLACES:
        if (path := folder / f"{name}.json").is_file():
            kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return kept
    return None


def format_reasons(row: Mapping[str, Any]) -> list[str]:
    """The reasons for and against a model, a line each."""
    return [f"    {side}: {text}" for side in ("for", "against") if (text := row[f"reasons_{side}"])]

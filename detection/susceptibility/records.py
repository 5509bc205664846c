"""What a worker is asked for the picture of a susceptibility map, and what it answers; no library of rasters here."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

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


def read_shown(picture: Path) -> dict[str, Any] | None:
    """Read the facts that lie beside a picture; None where there is no picture, or none that can be read."""
    try:
        facts = json.loads(picture.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if picture.is_file() and isinstance(facts, dict) and facts.keys() >= DRAWN else None

"""Research models, training by recipes, learning from outlines, search of settings, explanations, boxes, and cracks.

Models are registered with the libraries by entry points of their own; see `pyproject.toml` of this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.api.hooks import Command, SceneCracks, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from detection.imagery.change.records import StoredDate
    from detection.imagery.footprints.records import SceneDetection


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands on scenes, forecasts and tables of papers that this package adds."""
    return {
        "scenes": Command(_load_scene_commands, "", rules={"scenes learn": "serves"}),
        "forecast": Command(_load_forecast_commands, ""),
        "lab": Command(_load_lab, "Measure the tables of papers again", subject="Results", is_in_overview=False),
    }


def _load_scene_commands() -> Any:
    from slopeward_lab.cli import app

    return app


def _load_lab() -> Any:
    from slopeward_lab.papers.cli import app

    return app


def _load_forecast_commands() -> Any:
    from slopeward_lab.forecasts_cli import app

    return app


@hookimpl
def write_scene_cracks(
    detection: SceneDetection, folder: Path, dates: tuple[StoredDate, StoredDate] | None
) -> SceneCracks:
    """Find cracks on the probabilities of the scene."""
    from slopeward_lab.cracks.cli import write_scene_cracks as write

    return write(detection, folder, dates)

"""Comparison of point clouds, surfaces, images and radar scenes of two dates, maps of velocities, InSAR stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.api.hooks import Command, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.config.service import PathsSection


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands of surveys."""
    return {
        "scenes": Command(
            _load_commands, "", rules=dict.fromkeys(("scenes rates", "scenes track", "scenes velocity"), "serves")
        ),
        "scenes clouds": Command(
            _load_clouds, "Grid point clouds, and compare two of them", after="scenes susceptibility"
        ),
    }


def _load_commands() -> Any:
    from monitor.extensions.surveys.cli import app

    return app


def _load_clouds() -> Any:
    from monitor.extensions.surveys.clouds import app

    return app


@hookimpl
def map_zones(paths: PathsSection, site_id: str) -> Sequence[Mapping[str, object]]:
    """Return the zones of the newest map of velocities."""
    from monitor.extensions.surveys.zones import read_zones

    return read_zones(paths, site_id)

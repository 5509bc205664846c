"""Hooks of the commands that replay the past of a site and derive thresholds from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.api.hooks import Command, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands."""
    return {
        "sites thresholds": Command(
            _load_thresholds, "Derive rain thresholds from the records of a slope", after="sites"
        ),
        "backtest": Command(
            _load_backtest,
            "Replay past months or a past failure; compare two site files",
            after="report",
            subject="Results",
        ),
    }


def _load_thresholds() -> Any:
    from monitor.features.replay.cli.thresholds import app

    return app


def _load_backtest() -> Any:
    from monitor.features.replay.cli.backtest import app

    return app

"""A demonstration of the service, with a simulated slope that publishes readings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.api.hooks import Command, Panel, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@hookimpl
def register_panels() -> Iterable[Panel]:
    """Return the hint on the first page of a service without sites."""
    return [Panel("start.ways", "start_demo.html")]


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands of the demonstration."""
    return {
        "demo": Command(
            _load_demo,
            "Try the service with a simulated slope that fails",
            after="broker",
            rules={"demo": "serves"},
            subject="Operation",
        ),
        "demo simulate": Command(
            _load_simulate,
            "Publish readings of a simulated slope to an MQTT broker",
            after="demo",
            rules={"demo simulate": "serves"},
        ),
    }


def _load_demo() -> Any:
    from monitor.features.demo.cli import app

    return app


def _load_simulate() -> Any:
    from monitor.features.demo.simulate import app

    return app

"""The acts on models, networks and references, which are above `monitor.alerts` because they use jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from monitor.alerts.acts.table import Act


@hookimpl
def register_acts() -> Iterable[Act]:
    """Return the acts."""
    from monitor.alerts.acts.table import on

    site = "/sites/{site}"
    models = f"{site}/acts#models"
    model = on(f"{site}/models/{{model_hash}}", "forecast", models)
    network = on(f"{site}/networks/{{model_hash}}", "scenes", models)
    station = on(f"{site}/stations/{{station}}", "instruments", f"{site}/instruments")
    return [
        model(
            "model.promote",
            "promote",
            "/promote",
            lambda: _acts_on_models().promote,
            second="Second person, of --force",
        ),
        model("model.retire", "retire", "/retire", lambda: _acts_on_models().retire),
        network("network.promote", "promote", "/promote", lambda: _acts_on_models().take_into_use),
        network("network.retire", "retire", "/retire", lambda: _acts_on_models().let_go),
        station("reference.choose", "reference", "/reference", lambda: _acts_on_models().choose),
    ]


def _acts_on_models() -> ModuleType:
    from monitor.features.forecasts import acts as acts_on_models

    return acts_on_models

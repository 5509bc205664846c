"""Acts of features that have no plugin of their own yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from monitor.alerts.acts.table import Act


@hookimpl
def register_acts() -> Iterable[Act]:
    """Return the acts on networks for scenes."""
    from monitor.alerts.acts.table import on

    network = on("/sites/{site}/networks/{model_hash}", "scenes", "/sites/{site}/acts#models")
    return [
        network("network.promote", "promote", "/promote", lambda: _acts_on_networks().take_into_use),
        network("network.retire", "retire", "/retire", lambda: _acts_on_networks().let_go),
    ]


def _acts_on_networks() -> ModuleType:
    from monitor.features.scenes import acts

    return acts

"""The act that proposes a site file, which is above `monitor.alerts` because it replays the past of the site."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from monitor.alerts.acts.table import Act


@hookimpl
def register_acts() -> Iterable[Act]:
    """Return the act."""
    from monitor.alerts.acts.table import on

    proposals = on("/sites/{site}/proposals", "sites")
    return [proposals("site.propose", "propose", "", lambda: _acts_on_site_files().propose)]


def _acts_on_site_files() -> ModuleType:
    from monitor.features.replay import acts_on_site_files

    return acts_on_site_files

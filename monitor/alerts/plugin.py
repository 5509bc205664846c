"""The acts on alerts, levels, sites, reports and accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.alerts.acts.table import Act


@hookimpl
def register_acts() -> Iterable[Act]:
    """Return the acts."""
    from monitor.alerts.acts.kernel_acts import ACTS

    return ACTS

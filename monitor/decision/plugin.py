"""The kinds of criteria of Slopeward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.sites.criteria.entry import KindEntry


@hookimpl
def register_criteria() -> Iterable[KindEntry]:
    """Return the entry of each module in the package of kinds.

    The kinds are in the order of their module names. Criteria that a site file does not contain are added in this
    order.
    """
    from importlib import import_module
    from pkgutil import iter_modules

    from monitor.decision.criteria import kinds

    names = sorted(module.name for module in iter_modules(kinds.__path__))
    return [import_module(f"{kinds.__name__}.{name}").ENTRY for name in names]

"""The kinds of criteria that plugins register."""

from collections.abc import Mapping
from functools import cache

from monitor.plugin_isolation import note_fault
from monitor.plugins import find_plugin_version, implementations, is_built_in
from monitor.sites.criteria.entry import KindEntry, check_entry
from monitor.sites.records import Site


@cache
def load_criteria() -> Mapping[str, KindEntry]:
    """Return the kinds of criteria by their name in site files, those of Slopeward first.

    The kinds are loaded at the first call and not on import of this module, because loading them imports the rules of
    all kinds.

    Raises:
        ValueError: a kind of Slopeward is declared wrongly. A kind of a third-party plugin is left out, and the log
            names it.
    """
    kinds: dict[str, KindEntry] = {}
    for implementation in sorted(implementations("register_criteria"), key=lambda one: not is_built_in(one.plugin)):
        for entry in implementation.call() or ():
            name = entry.kind.id
            try:
                check_entry(entry)
                if name in kinds:
                    raise ValueError(f"a criterion of the kind {name!r} exists already; expected another id")
            except (TypeError, ValueError) as error:
                if is_built_in(implementation.plugin):
                    raise
                note_fault(implementation.plugin, f"criterion {name}", error)
            else:
                kinds[name] = entry
    return kinds


def list_plugin_versions(site: Site) -> dict[str, str]:
    """Return the versions of the third-party plugins whose kinds of criteria a site uses, by the name of the plugin."""
    kinds = load_criteria()
    names = {kinds[criterion.kind.id].plugin for criterion in site.criteria}
    return {name: find_plugin_version(name) for name in sorted(names - {""})}

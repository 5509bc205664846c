"""Models that installed packages add to a registry."""

import logging
import os
from importlib.metadata import entry_points
from typing import Final, TypeVar

# Set to `none`, the service starts without code of third parties. Models of packages are left out too.
_VARIABLE: Final = "SLOPEWARD_PLUGINS"

_logger = logging.getLogger(__name__)
Entry = TypeVar("Entry")


def load_entries(group: str, entry_type: type[Entry]) -> dict[str, Entry]:
    """Return what installed packages register under an entry point group.

    Each entry point names a mapping from model name to registry entry. A package that cannot be imported, or that
    registers anything else, is logged and skipped, so that every other model still works.

    Args:
        group: Entry point group, such as `slopeward.forecasters`.
        entry_type: Class of the registry entries.
    """
    entries: dict[str, Entry] = {}
    if os.environ.get(_VARIABLE) == "none":
        return entries
    for entry_point in sorted(entry_points(group=group)):
        try:
            registered = dict(entry_point.load())
        except (Exception, SystemExit) as error:
            _logger.warning("%s: %s is not used: %s: %s", group, entry_point.value, type(error).__name__, error)
            continue
        for name, entry in registered.items():
            if not isinstance(name, str) or not isinstance(entry, entry_type):
                _logger.warning("%s: %s: %r is not a %s", group, entry_point.value, name, entry_type.__name__)
            elif name in entries:
                _logger.warning("%s: %s: another package already registers %s", group, entry_point.value, name)
            else:
                entries[name] = entry
    return entries

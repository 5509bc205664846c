"""Models that installed packages add to a registry."""

import logging
import os
from importlib.metadata import entry_points
from typing import TypeVar

_logger = logging.getLogger(__name__)
Entry = TypeVar("Entry")


def load_entries(group: str, entry_type: type[Entry]) -> dict[str, Entry]:
    """Return what installed packages register under an entry point group.

    Each entry point names a mapping from model name to registry entry. If two packages register the same name, the
    first is used. A package that cannot be imported, or that registers anything else, is logged and skipped. With
    `SLOPEWARD_PLUGINS=none`, no package is imported.

    Args:
        group: Entry point group, such as `slopeward.forecasters`.
        entry_type: Class of the registry entries.
    """
    entries: dict[str, Entry] = {}
    if os.environ.get("SLOPEWARD_PLUGINS") == "none":
        return entries
    for entry_point in sorted(entry_points(group=group)):
        try:
            registered = entry_point.load()
            if not all(isinstance(name, str) and isinstance(entry, entry_type) for name, entry in registered.items()):
                raise TypeError(f"expected a mapping from names to {entry_type.__name__}")
        except (Exception, SystemExit) as error:  # code of third parties
            _logger.warning("%s: %s is not used: %r", group, entry_point.value, error)
        else:
            entries = {**registered, **entries}
    return entries

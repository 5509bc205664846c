"""Faults of third-party plugins, for `slopeward doctor`, the health page and a notice."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from monitor.plugin_isolation import DISABLED, PluginFault, list_faults
from monitor.storage.check import WARN, Check, SubjectState, make_state


class PluginStatus(NamedTuple):
    """Faults of plugins in this process."""

    faults: Sequence[PluginFault]

    @classmethod
    def read(cls) -> "PluginStatus":
        """Return the current faults."""
        return cls(list_faults())


def _find_disabled(status: PluginStatus) -> Iterator[SubjectState]:
    # So that a notice ends when no plugin is disabled any more.
    yield make_state(is_wrong=False)
    for fault in status.faults:
        if fault.what == DISABLED:
            yield make_state(fault.plugin, plugin=fault.plugin, reason=fault.reason)


def _find_failing(status: PluginStatus) -> Iterator[SubjectState]:
    yield make_state(is_wrong=False)
    by_plugin: dict[str, PluginFault] = {}
    for fault in status.faults:
        if fault.what != DISABLED:
            by_plugin.setdefault(fault.plugin, fault)
    for plugin, fault in by_plugin.items():
        yield make_state(plugin, plugin=plugin, what=fault.what, reason=fault.reason)


CHECKS: Final = (
    Check(
        "plugins.disabled.*",
        PluginStatus,
        WARN,
        "the plugin {plugin} is disabled, everything else works: {reason}",
        _find_disabled,
        "install a version of the plugin that fits, or remove it; SLOPEWARD_PLUGINS=none starts without plugins",
        alarm=1,
        degrades=True,
    ),
    Check(
        "plugins.failing.*",
        PluginStatus,
        WARN,
        "{what} of the plugin {plugin} fails and is left out, everything else works: {reason}",
        _find_failing,
        "install a version of the plugin that works, or remove it; the log has the traceback",
        alarm=1,
        degrades=True,
    ),
)

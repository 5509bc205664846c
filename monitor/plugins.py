"""Load plugins: built-in plugins by their module, third-party plugins by their entry points.

Third parties name a module with hook implementations in the entry point group `slopeward`:

    [project.entry-points.slopeward]
    greeting = "slope_greeting.plugin"

Third-party code is isolated: `monitor.plugin_trial` tries a version before it is imported, and
`monitor.plugin_isolation` contains faults of its hooks.

Every package may import this module. It imports no heavy modules, and neither do the modules of plugins at their top.
"""

import importlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from io import FileIO
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

import pluggy

from monitor import hookspecs

GROUP: Final = "slopeward"

# Plugins of packages that Slopeward does not run without.
KERNEL: Final = (
    "monitor.storage.plugin",
    "monitor.sites.plugin",
    "monitor.readings.plugin",
    "monitor.decision.plugin",
    "monitor.people.plugin",
    "monitor.models.plugin",
    "monitor.cli.plugin",
    "monitor.alerts.plugin",
    "monitor.ingest.plugin",
    "monitor.app.jobs.plugin",
    "monitor.delivery.plugin",
    "monitor.app.checks.plugin",
    "monitor.app.plugin",
)
# Features. Without the folder of a feature and its line here, everything else works.
FEATURES: Final = (
    "monitor.features.movement.plugin",
    "monitor.features.replay.plugin",
    "monitor.features.forecasts.plugin",
    "monitor.features.anomalies.plugin",
    "monitor.features.scenes.plugin",
    "monitor.features.second_opinion.plugin",
    "monitor.features.reports.plugin",
    "monitor.features.cap.plugin",
    "monitor.features.telephony.plugin",
    "monitor.features.drills.plugin",
    "monitor.features.duty.plugin",
    "monitor.features.single_sign_on.plugin",
    "monitor.features.exports.plugin",
    "monitor.features.demo.plugin",
    "monitor.features.photos.plugin",
    "monitor.features.sources.plugin",
    "monitor.features.table_import.plugin",
    "monitor.features.maps.plugin",
    "monitor.features.help.plugin",
    "monitor.features.instruments.plugin",
    "monitor.features.profiles.plugin",
    # after profiles, because a calculated series may name a series of a profile
    "monitor.features.derived.plugin",
    "monitor.features.scale_out.plugin",
)


# If this environment variable is `none`, no third-party plugin is loaded.
VARIABLE: Final = "SLOPEWARD_PLUGINS"


class Plugin(NamedTuple):
    """A plugin that was loaded."""

    name: str  # the name of its folder or entry point
    module: ModuleType
    is_built_in: bool
    version: str = ""  # of the distribution of a third-party plugin

    @property
    def folder(self) -> Path:
        """Return the folder of the package that contains the module. Templates and scripts are below it."""
        return Path(str(self.module.__file__)).parent


class Implementation(NamedTuple):
    """What one plugin does at one hook."""

    plugin: str
    call: Callable[..., Any]  # takes the arguments of the hook by name


class _Registry(NamedTuple):
    manager: pluggy.PluginManager
    plugins: tuple[Plugin, ...]


def hooks() -> pluggy.HookRelay:
    """Return the hooks. Calling one calls the implementations of all plugins, in the order of the plugins."""
    return load_plugins().manager.hook


def manager() -> pluggy.PluginManager:
    """Return the plugin manager."""
    return load_plugins().manager


def list_plugins() -> tuple[Plugin, ...]:
    """Return all plugins that were loaded, built-in ones first."""
    return load_plugins().plugins


def has_plugin(name: str) -> bool:
    """Return whether a plugin of this name was loaded."""
    return any(plugin.name == name for plugin in list_plugins())


def find_plugin_version(name: str) -> str:
    """Return the version of a third-party plugin; an empty text if it is unknown."""
    return next((plugin.version for plugin in list_plugins() if plugin.name == name), "")


def implementations(hook_name: str) -> list[Implementation]:
    """Return the implementations of a hook, for callers that handle the failure of each one by itself."""
    registered = reversed(getattr(hooks(), hook_name).get_hookimpls())
    return [Implementation(implementation.plugin_name, _call_by_name(implementation)) for implementation in registered]


def _call_by_name(implementation: Any) -> Callable[..., Any]:
    def call(**arguments: Any) -> Any:
        return implementation.function(*(arguments[name] for name in implementation.argnames))

    return call


def list_folders(name: str) -> list[Path]:
    """Return the folders `templates` or `static` of features and third-party plugins, whether they exist or not."""
    return [plugin.folder / name for plugin in list_plugins() if plugin.module.__name__ not in KERNEL]


def is_built_in(plugin_name: str) -> bool:
    """Return whether a plugin belongs to Slopeward."""
    return any(plugin.name == plugin_name and plugin.is_built_in for plugin in list_plugins())


@cache
def load_plugins() -> _Registry:
    """Load all plugins.

    pluggy calls the plugin that was registered last first. Registering in reverse order makes the order of calls that
    of the lists above.

    Raises:
        PluginError: `FEATURES` names a feature whose folder is missing.
    """
    built_in = [Plugin(name.split(".")[-2], _import_built_in(name), is_built_in=True) for name in _built_in()]
    third_party = _load_third_party({plugin.name for plugin in built_in})
    registry = pluggy.PluginManager(hookspecs.PROJECT)
    registry.add_hookspecs(hookspecs)
    for plugin in reversed(third_party):
        _register_third_party(registry, plugin)
    for plugin in reversed(built_in):
        registry.register(plugin.module, plugin.name)
    registry.check_pending()
    registered = tuple(plugin for plugin in third_party if registry.has_plugin(plugin.name))
    return _Registry(registry, (*built_in, *registered))


def _register_third_party(registry: pluggy.PluginManager, plugin: Plugin) -> None:
    from monitor.plugin_isolation import disable_after, isolate

    try:
        registry.register(isolate(registry, plugin.name, plugin.module), plugin.name)
    except Exception as error:
        disable_after(plugin.name, error)


def _built_in() -> tuple[str, ...]:
    return (*KERNEL, *FEATURES)


def _import_built_in(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A feature that exists but imports a missing module raises its own error.
        if name not in FEATURES or error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        from monitor.plugin_isolation import PluginError

        folder = name.removesuffix(".plugin").replace(".", "/")
        raise PluginError(
            f"the feature {name.split('.')[-2]} is missing: {folder}/plugin.py does not exist; delete the line "
            f'"{name}" in FEATURES of monitor/plugins.py, or restore the folder'
        ) from error


def _load_third_party(taken: set[str]) -> list[Plugin]:
    loaded: list[Plugin] = []
    if os.environ.get(VARIABLE, "") == "none":
        return loaded
    # Importing importlib.metadata takes longer than all of `slopeward --help`.
    if not any(map(_has_entry_points, sys.path)):
        return loaded
    from importlib.metadata import entry_points

    from monitor.plugin_isolation import disable, disable_after
    from monitor.plugin_trial import try_plugin

    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        if entry.attr or entry.name in taken:
            disable(entry.name, "expected `name = module` as its entry point, with a name that no other plugin has")
            continue
        try:
            trial = try_plugin(entry)
            if trial.reason:
                disable(entry.name, trial.reason, trial.traceback, is_logged=trial.is_inherited)
                continue
            module = importlib.import_module(entry.module)
            version = entry.dist.version if entry.dist is not None else ""
            loaded.append(Plugin(entry.name, module, is_built_in=False, version=version))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit
            disable_after(entry.name, error)
        else:
            taken.add(entry.name)
    return loaded


def _has_entry_points(folder: str) -> bool:
    """Return whether a folder of `sys.path` contains a distribution with entry points of our group."""
    with suppress(OSError), os.scandir(folder or ".") as entries:
        for entry in entries:
            if entry.name.endswith("-info"):
                with suppress(OSError), FileIO(f"{entry.path}/entry_points.txt") as file:
                    if f"[{GROUP}]".encode() in file.read():
                        return True
    return False

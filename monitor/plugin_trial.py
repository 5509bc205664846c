"""Try a third-party plugin in a child process before any other process imports it.

The trial imports the plugin and calls the hooks that declare something. It finds plugins that call `sys.exit`, crash,
hang or return wrong types. The result is stored by version, so that a version is tried once per account.

The file is in the folder for caches of the account, and not in the state folder, because plugins are loaded before the
service file is read: they add commands and sections of the site file.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import EntryPoint, PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import pluggy

from monitor import hookspecs, plugin_isolation

LIMIT_S: Final = 60.0
LIMIT_VARIABLE: Final = "SLOPEWARD_PLUGIN_TRIAL_S"
# Results of this process for the processes that it starts. Workers cannot read the file and start no processes.
RESULTS_VARIABLE: Final = "SLOPEWARD_PLUGIN_RESULTS"
_MAX_REASON_LENGTH: Final = 300


def find_fault(entry: EntryPoint) -> str:
    """Return why a plugin cannot be used, in one line, or an empty text. Try it if this version was never tried."""
    key = _identify(entry)
    inherited: dict[str, str] = json.loads(os.environ.get(RESULTS_VARIABLE, "{}"))
    if key not in inherited:
        results = _read_results()
        if key not in results:
            results = _read_results() | {key: _run_trial(entry)}
            _store_results(results)
        inherited[key] = results[key]
        os.environ[RESULTS_VARIABLE] = json.dumps(inherited)
    return inherited[key]


def _identify(entry: EntryPoint) -> str:
    """Return what changes with every version: of the plugin, of Slopeward and of Python, and when it was installed."""
    distribution = entry.dist
    facts: dict[str, Any] = {"plugin": entry.name, "module": entry.value, "python": sys.version.split()[0]}
    with suppress(PackageNotFoundError):
        facts["slopeward"] = version("slopeward")
    if distribution is not None:
        facts["distribution"] = f"{distribution.name} {distribution.version}"
        files = getattr(distribution, "_path", None)  # the folder of the metadata; no public name
        with suppress(OSError):
            facts["installed_ns"] = Path(str(files)).stat().st_mtime_ns
    return json.dumps(facts, sort_keys=True)


def _run_trial(entry: EntryPoint) -> str:
    limit_s = float(os.environ.get(LIMIT_VARIABLE, LIMIT_S))
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer"
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "SLOPEWARD_PLUGINS": "none"}
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "monitor.plugin_trial", entry.name, entry.value, str(answer)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            status = child.wait(limit_s)
        except subprocess.TimeoutExpired:
            return f"it was not imported within {limit_s:g} s"
        finally:
            with suppress(ProcessLookupError):  # also processes that the plugin started
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        try:
            return answer.read_text(encoding="utf-8")[:_MAX_REASON_LENGTH]
        except OSError:
            return f"it ended the process that imported it (status {status})"


def result_files() -> list[Path]:
    """Return the places of the file with results, the preferred one first."""
    cache = os.environ.get("CACHE_DIRECTORY") or os.environ.get("XDG_CACHE_HOME")
    places = [Path(cache)] if cache else []
    with suppress(RuntimeError):  # an account without a home
        places.append(Path.home() / ".cache")
    places.append(Path(tempfile.gettempdir()) / f"slopeward-{os.getuid()}")
    return [place / "slopeward" / "plugins.json" for place in places]


def _read_results() -> dict[str, str]:
    for file in result_files():
        with suppress(OSError, ValueError):
            if file.stat().st_uid == os.getuid():
                results: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
                return results
    return {}


def _store_results(results: dict[str, str]) -> None:
    """Write the file to the first place that can be written. If there is none, every process tries plugins again."""
    for file in result_files():
        with suppress(OSError):
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial = file.with_name(f"{file.name}.{os.getpid()}")
            partial.write_text(json.dumps(results, indent=1), encoding="utf-8")
            partial.replace(file)
            return


def _declare_all(name: str, module: str) -> None:
    """Import a plugin, and call its hooks that declare something. Faults are noted by `monitor.plugin_isolation`."""
    registry = pluggy.PluginManager(hookspecs.PROJECT)
    registry.add_hookspecs(hookspecs)
    registry.register(plugin_isolation.isolate(registry, name, importlib.import_module(module)), name)
    for hook_name, arguments in plugin_isolation.DECLARING.items():
        for result in getattr(registry.hook, hook_name)(**arguments):
            commands = result.values() if hook_name == "register_commands" else ()
            for command in commands:
                if command.load is not None:
                    command.load()


def main(name: str, module: str, answer: str) -> None:
    """Try a plugin and write why it cannot be used; nothing if it can."""
    reason = ""
    try:
        _declare_all(name, module)
    except BaseException as error:  # also SystemExit
        reason = plugin_isolation.describe(error)
    for fault in plugin_isolation.list_faults()[:1]:
        reason = f"{fault.what}: {fault.reason}"
    Path(answer).write_text(reason, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

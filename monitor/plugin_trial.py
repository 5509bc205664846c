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
from typing import Any, Final, NamedTuple, TypedDict

import pluggy

from monitor import hookspecs, plugin_isolation

LIMIT_S: Final = 60.0
LIMIT_VARIABLE: Final = "SLOPEWARD_PLUGIN_TRIAL_S"
# Results of this process for the processes that it starts. Workers cannot read the file and start no processes.
RESULTS_VARIABLE: Final = "SLOPEWARD_PLUGIN_RESULTS"
_MAX_REASON_LENGTH: Final = 400
_MAX_TRACEBACK_LENGTH: Final = 8000


class Trial(NamedTuple):
    """The result of the trial of a plugin."""

    reason: str  # why the plugin cannot be used, in one line; empty if it can
    traceback: str = ""  # of the error, if it is known
    is_inherited: bool = False  # whether the process that started this one has reported the result


class _StoredTrial(TypedDict):
    """An entry of the file with results."""

    reason: str
    traceback: str


def try_plugin(entry: EntryPoint) -> Trial:
    """Return whether a plugin can be used. Try it if this version was never tried."""
    key = _identify(entry)
    inherited: dict[str, str] = json.loads(os.environ.get(RESULTS_VARIABLE, "{}"))
    if key in inherited:
        return Trial(inherited[key], is_inherited=True)
    results = _read_results()
    if key not in results:
        results = _read_results() | {key: _run_trial(entry)}
        _store_results(results)
    stored = results[key]
    os.environ[RESULTS_VARIABLE] = json.dumps({**inherited, key: stored["reason"]})
    return Trial(stored["reason"], stored["traceback"])


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


def _run_trial(entry: EntryPoint) -> _StoredTrial:
    limit_s = float(os.environ.get(LIMIT_VARIABLE, LIMIT_S))
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
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
            return {"reason": f"it was not imported within {limit_s:g} s", "traceback": ""}
        finally:
            with suppress(ProcessLookupError):  # also processes that the plugin started
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        try:
            texts = json.loads(answer.read_text(encoding="utf-8"))
            reason, trace = str(texts["reason"]), str(texts["traceback"])
        except (OSError, ValueError):
            return {"reason": f"it ended the process that imported it (status {status})", "traceback": ""}
        return {"reason": reason[:_MAX_REASON_LENGTH], "traceback": trace[-_MAX_TRACEBACK_LENGTH:]}


def result_files() -> list[Path]:
    """Return the places of the file with results, the preferred one first."""
    cache = os.environ.get("CACHE_DIRECTORY") or os.environ.get("XDG_CACHE_HOME")
    places = [Path(cache)] if cache else []
    with suppress(RuntimeError):  # an account without a home
        places.append(Path.home() / ".cache")
    places.append(Path(tempfile.gettempdir()) / f"slopeward-{os.getuid()}")
    return [place / "slopeward" / "plugins.json" for place in places]


def _read_results() -> dict[str, _StoredTrial]:
    for file in result_files():
        with suppress(OSError, ValueError):
            if file.stat().st_uid == os.getuid():
                results: dict[str, _StoredTrial] = json.loads(file.read_text(encoding="utf-8"))
                # Entries of another version of Slopeward may have another form. These plugins are tried again.
                return {key: stored for key, stored in results.items() if isinstance(stored, dict)}
    return {}


def _store_results(results: dict[str, _StoredTrial]) -> None:
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
    """Try a plugin, and write why it cannot be used, with the traceback; empty texts if it can."""
    texts: _StoredTrial = {"reason": "", "traceback": ""}
    try:
        _declare_all(name, module)
    except BaseException as error:  # also SystemExit
        reason = plugin_isolation.describe_with_place(error)
        texts = {"reason": reason, "traceback": plugin_isolation.format_traceback(error)}
    for fault in plugin_isolation.list_faults()[:1]:
        details = plugin_isolation.find_details(fault)
        reason = plugin_isolation.add_place(f"{fault.what}: {fault.reason}", details.place)
        texts = {"reason": reason, "traceback": details.traceback}
    Path(answer).write_text(json.dumps(texts), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

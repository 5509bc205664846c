"""Isolate the service from faults of third-party plugins.

`contain` wraps a hook implementation. It checks what the implementation returns, wraps the functions inside the
returned records, turns calls of `sys.exit` into errors, and limits the time of calls that would hold up the service.
A fault is logged once, and `list_faults` returns it until the same call succeeds. A plugin that cannot be used at all
is logged in one line, by the first process of a start; its traceback is logged only with `SLOPEWARD_TRACEBACK=1`.
"""

import contextvars
import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass, replace
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

import pluggy

from monitor import hookspecs
from monitor.registration import (
    AccessRule,
    Channel,
    Command,
    CurveAddition,
    ExportTable,
    Job,
    Migrations,
    Panel,
    ServicePart,
    SiteFileSections,
    StatusSection,
)

ROLES: Final = frozenset({"open", "read", "viewer", "operator", "admin"})
DAY_S: Final = 86400.0
MAX_REASON_LENGTH: Final = 300
# `PluginFault.what` of a plugin that is disabled as a whole.
DISABLED: Final = "plugin"
TRACEBACK_VARIABLE: Final = "SLOPEWARD_TRACEBACK"
# Packages whose frames are not code of a plugin. `monitor.plugin_trial` runs as `__main__`.
_CALLERS: Final = frozenset({"__main__", "monitor", "importlib", "pluggy", "threading", "typer", "click"})

# Calls that hold up a thread of the service. Hooks with a connection have no limit, because a call that goes on in a
# thread of its own would go on using the connection.
LIMITS_S: Final = {"health_subjects": 10.0, "map_layers": 10.0, "map_zones": 10.0, "service_parts": 30.0}
PART_LIMIT_S: Final = 5.0
CHECK_LIMIT_S: Final = 10.0

# Hooks that serve an explicit request of a person or of the service file, and hooks whose errors the caller describes.
# Their errors are raised.
_RAISING: Final = frozenset(
    {
        "cited_spans",
        "compute_cluster",
        "draw_scene_prior",
        "import_unknown_table",
        "read_source_past",
        "wait_for_turn",
        "write_scene_cracks",
    }
)


class PluginError(Exception):
    """A plugin failed or is missing. The text is for people and names the plugin."""


class PluginFault(NamedTuple):
    """What is wrong with a third-party plugin."""

    plugin: str
    what: str  # the hook or function that failed; `DISABLED` if the plugin is disabled as a whole
    reason: str


class FaultDetails(NamedTuple):
    """Where an error of a plugin occurred."""

    place: str  # as `find_error_place`
    traceback: str


_faults: Final[dict[tuple[str, str], PluginFault]] = {}
_details: Final[dict[tuple[str, str], "FaultDetails"]] = {}
_hanging: Final[dict[tuple[str, str], threading.Thread]] = {}
_lock: Final = threading.Lock()


def list_faults() -> list[PluginFault]:
    """Return the faults of this process, by plugin."""
    with _lock:
        return sorted(_faults.values())


def find_details(fault: PluginFault) -> FaultDetails:
    """Return place and traceback of a fault that `note_fault` noted in this process."""
    return _details.get((fault.plugin, fault.what), FaultDetails("", ""))


def note_fault(plugin: str, what: str, error: BaseException | str) -> None:
    """Log a fault of a plugin and keep it for `list_faults`. The same fault is logged once."""
    reason = error if isinstance(error, str) else describe(error)
    fault = PluginFault(plugin, what, reason)
    with _lock:
        is_new = _faults.get((plugin, what)) != fault
        _faults[plugin, what] = fault
    if is_new:
        from logging import getLogger  # not at the top, because this module is imported by `slopeward --help`

        trace = None if isinstance(error, str) else error
        if trace is not None:
            _details[plugin, what] = FaultDetails(find_error_place(trace), format_traceback(trace))
        getLogger(__name__).error("%s of the plugin %s: left out: %s", what, plugin, reason, exc_info=trace)


def disable(plugin: str, reason: str, trace: str = "", *, is_logged: bool = False) -> None:
    """Keep for `list_faults` that a plugin cannot be used, and log it in one line with the remedy.

    Args:
        plugin: name of the plugin.
        reason: the error, with its place in the code.
        trace: traceback of the error. It is logged with `SLOPEWARD_TRACEBACK=1`.
        is_logged: whether another process of the same start has logged it.
    """
    with _lock:
        _faults[plugin, DISABLED] = PluginFault(plugin, DISABLED, reason)
    if is_logged:
        return
    from logging import getLogger  # not at the top, because this module is imported by `slopeward --help`

    log = getLogger(__name__)
    shows_trace = bool(trace and os.environ.get(TRACEBACK_VARIABLE))
    hint = f" ({TRACEBACK_VARIABLE}=1 shows the traceback)" if trace and not shows_trace else ""
    log.error(
        "the plugin %s is disabled: %s. Correct it and install it again, or remove it; SLOPEWARD_PLUGINS=none starts "
        "without plugins%s",
        plugin,
        reason,
        hint,
    )
    for line in trace.splitlines() if shows_trace else ():
        log.error("%s: %s", plugin, line)


def disable_after(plugin: str, error: BaseException) -> None:
    """Disable a plugin because of an error; see `disable`."""
    disable(plugin, describe_with_place(error), format_traceback(error))


def clear_fault(plugin: str, what: str) -> None:
    """Delete a fault, because the call succeeded."""
    if _faults:
        with _lock:
            _faults.pop((plugin, what), None)
            _details.pop((plugin, what), None)


def describe(error: BaseException) -> str:
    """Return an error in one line.

    >>> describe(SystemExit(3))
    'it called sys.exit (3)'
    """
    if isinstance(error, SystemExit):
        return f"it called sys.exit ({error.code})"
    text = " ".join(str(error).split())[:MAX_REASON_LENGTH]
    return text if isinstance(error, PluginError) else f"{type(error).__name__}: {text}"


def format_traceback(error: BaseException) -> str:
    """Return the traceback of an error as text."""
    import traceback  # not at the top, because this module is imported by `slopeward --help`

    return "".join(traceback.format_exception(error))


def describe_with_place(error: BaseException) -> str:
    """Return an error in one line, with its place in the code of the plugin."""
    return add_place(describe(error), find_error_place(error))


def add_place(reason: str, place: str) -> str:
    """Return a reason with a place in brackets behind it.

    >>> add_place("NameError: x", "slope_visits/jobs.py, line 12"), add_place("it hangs", "")
    ('NameError: x (slope_visits/jobs.py, line 12)', 'it hangs')
    """
    return f"{reason} ({place})" if place else reason


def find_error_place(error: BaseException) -> str:
    """Return file and line of the plugin's code in which an error occurred, such as `slope_visits/jobs.py, line 12`.

    Frames of Slopeward and of libraries that the plugin called are skipped. The result is an empty text if the error
    did not occur in code of a plugin, or if its message contains the place already.
    """
    package = ""
    place = ""
    if isinstance(error, SyntaxError):
        return place
    entry = error.__traceback__
    while entry is not None:
        frame = entry.tb_frame
        top_package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if not package and top_package not in _CALLERS:
            package = top_package
        if package and top_package == package:
            place = f"{'/'.join(Path(frame.f_code.co_filename).parts[-2:])}, line {entry.tb_lineno}"
        entry = entry.tb_next
    return place


def isolate(registry: pluggy.PluginManager, plugin: str, module: ModuleType) -> ModuleType:
    """Return the hook implementations of a plugin, each contained, as a module to register.

    Options such as `tryfirst` are dropped: a third-party plugin runs after the features of Slopeward.

    Raises:
        PluginError: the plugin implements something that is no hook, or a hook wrapper.
    """
    isolated = ModuleType(module.__name__)  # hashable, as the plugin manager expects
    for name in dir(module):
        options = registry.parse_hookimpl_opts(module, name)
        if options is None:
            continue
        hook_name = options["specname"] or name
        specification = getattr(hookspecs, hook_name, None)
        if not hasattr(specification, f"{hookspecs.PROJECT}_spec"):
            raise PluginError(f"there is no hook {hook_name}")
        if options["wrapper"] or options["hookwrapper"]:
            raise PluginError(f"{name}: hook wrappers are not supported")
        function = getattr(module, name)
        expected = set(pluggy._hooks.varnames(specification)[0])  # noqa: SLF001  as pluggy compares them
        if unknown := set(pluggy._hooks.varnames(function)[0]) - expected:  # noqa: SLF001
            raise PluginError(f"{name}: the hook has no argument {min(unknown)}")
        setattr(isolated, hook_name, hookspecs.hookimpl(contain(plugin, hook_name, function)))
    return isolated


def contain(plugin: str, hook_name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a hook implementation whose faults are noted, and whose result is None if it failed."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        if hook_name in _RAISING:
            return _without_exit(plugin, hook_name, function)(*arguments)
        try:
            with _savepoint(arguments):
                result = call_limited(plugin, hook_name, function, arguments, LIMITS_S.get(hook_name))
                checked = None if result is None else _check_result(plugin, hook_name, result)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit
            note_fault(plugin, hook_name, error)
            return None
        clear_fault(plugin, hook_name)
        return checked

    return call


@contextmanager
def _savepoint(arguments: tuple[Any, ...]) -> Iterator[None]:
    """Roll back what a plugin did with a connection if it fails; the transaction of the service goes on."""
    connection = next((argument for argument in arguments if hasattr(argument, "begin_nested")), None)
    if connection is None:
        yield
        return
    with connection.begin_nested():
        yield


def call_limited(
    plugin: str, what: str, function: Callable[..., Any], arguments: tuple[Any, ...], limit_s: float | None
) -> Any:
    """Call a function in a thread of its own and wait at most `limit_s`.

    Python cannot end a thread. While a call hangs, the function is not called again.
    """
    if limit_s is None:
        return function(*arguments)
    hanging = _hanging.get((plugin, what))
    if hanging is not None and hanging.is_alive():
        raise PluginError(f"a call did not return within {limit_s:g} s and still hangs")
    results: list[Any] = []
    errors: list[BaseException] = []
    context = contextvars.copy_context()

    def work() -> None:
        try:
            results.append(context.run(function, *arguments))
        except BaseException as error:  # raised again below, in the thread of the caller
            errors.append(error)

    thread = threading.Thread(target=work, name=f"Thread-plugin-{plugin}-{what}", daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        _hanging[plugin, what] = thread
        raise PluginError(f"a call did not return within {limit_s:g} s")
    _hanging.pop((plugin, what), None)
    if errors:
        raise errors[0]
    return results[0]


def _with_default(
    plugin: str,
    what: str,
    function: Callable[..., Any],
    default: Any,
    is_valid: Callable[[Any], bool] = lambda _result: True,
    limit_s: float | None = None,
) -> Callable[..., Any]:
    """Return a function that returns `default` if the plugin's function fails or returns something invalid."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            result = call_limited(plugin, what, function, arguments, limit_s)
            if not is_valid(result):
                raise TypeError(f"{result!r} is no valid result")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit
            note_fault(plugin, what, error)
            return default
        clear_fault(plugin, what)
        return result

    return call


def _without_exit(plugin: str, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that raises PluginError where the plugin's function calls `sys.exit`."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except (KeyboardInterrupt, Exception):
            raise
        except BaseException as error:
            note_fault(plugin, what, error)
            raise PluginError(f"{what} of the plugin {plugin}: {describe(error)}") from error

    return call


# ---- what each hook may return ---------------------------------------------------------------------------------------
def _require(condition: object, expected: str, got: object) -> None:
    if not condition:
        raise TypeError(f"expected {expected}, got {got!r:.80}")


def _is_a(value: object, class_name: str) -> bool:
    """Return whether a value has a class of this name. The classes themselves are in modules above this one."""
    return any(base.__name__ == class_name for base in type(value).__mro__)


def _mapping_of(result: Any, is_value: Callable[[Any], bool], expected: str) -> dict[str, Any]:
    _require(isinstance(result, Mapping), expected, result)
    for name, value in result.items():
        _require(isinstance(name, str) and is_value(value), expected, {name: value})
    return dict(result)


def _list_of(result: Any, class_name: str) -> list[Any]:
    expected = f"an iterable of {class_name}"
    _require(isinstance(result, Iterable) and not isinstance(result, str | bytes | Mapping), expected, result)
    values = list(result)
    for value in values:
        _require(_is_a(value, class_name), expected, value)
    return values


def _check_commands(plugin: str, result: Any) -> dict[str, Command]:
    commands = _mapping_of(result, lambda value: isinstance(value, Command), "a mapping of names to Command")
    for name, command in commands.items():
        _require(isinstance(command.help, str), "a help text", command.help)
        _require(command.load is None or callable(command.load), "a function that loads the command", command.load)
        if command.load is not None:
            commands[name] = command._replace(load=functools.partial(_load_command, plugin, name, command.load))
    return commands


def _load_command(plugin: str, name: str, load: Callable[[], Any]) -> Any:
    """Load the commands of a plugin, and make sure that they can be added to others.

    Raises:
        PluginError: they cannot.
    """
    import typer

    try:
        app = load()
        _require(isinstance(app, typer.Typer), "a typer.Typer", app)
        typer.main.get_command(app)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit
        note_fault(plugin, f"command {name}", error)
        raise PluginError(f"the command {name} of the plugin {plugin}: {describe(error)}") from error
    return app


def _check_acts(_plugin: str, result: Any) -> list[Any]:
    acts = _list_of(result, "Act")
    for act in acts:
        list(act.list_parameters())
        _require(act.title, "a docstring", act.name)
    return acts


def _check_access_rules(_plugin: str, result: Any) -> dict[str, AccessRule]:
    return _mapping_of(
        result,
        lambda rule: isinstance(rule, AccessRule) and rule.role in ROLES,
        f"a mapping of routes to AccessRule with a role of {', '.join(sorted(ROLES))}",
    )


def _check_panels(_plugin: str, result: Any) -> list[Panel]:
    panels = _list_of(result, "Panel")
    for panel in panels:
        _require(isinstance(panel.place, str) and isinstance(panel.template, str), "texts in a Panel", panel)
    return panels


def _check_jobs(plugin: str, result: Any) -> list[Job]:
    return [_check_job(plugin, job) for job in _list_of(result, "Job")]


def _check_job(plugin: str, job: Job) -> Job:
    _require(isinstance(job.name, str) and callable(job.run) and callable(job.every_s), "functions in a Job", job)
    _require(isinstance(job.first_s, int | float), "seconds in a Job", job.first_s)
    _require(job.hour is None or job.hour in range(24), "an hour in a Job", job.hour)
    what = f"job {job.name}"

    def is_pause(value: Any) -> bool:
        return isinstance(value, int | float) and value > 0.0

    def is_due_time(value: Any) -> bool:
        return value is None or isinstance(value, int | float)

    return replace(
        job,
        run=_without_exit(plugin, what, job.run),
        every_s=_with_default(plugin, what, job.every_s, DAY_S, is_pause),
        at_stage=None if job.at_stage is None else _with_default(plugin, what, job.at_stage, DAY_S, is_pause),
        watched=None
        if job.watched is None
        else _with_default(plugin, what, job.watched, Path("/dev/null/none"), lambda path: isinstance(path, Path)),
        next_due=None if job.next_due is None else _with_default(plugin, what, job.next_due, None, is_due_time),
        plugin=plugin,
    )


def _check_checks(plugin: str, result: Any) -> list[Any]:
    return [_check_check(plugin, check) for check in _list_of(result, "Check")]


def _check_check(plugin: str, check: Any) -> Any:
    _require(isinstance(check.id, str) and isinstance(check.fact_type, type), "an id and a class in a Check", check.id)
    find = check.find

    @functools.wraps(find)
    def find_all(subject: Any) -> Any:
        result = find(subject)
        return [result] if _is_a(result, "SubjectState") else list(result)

    guarded = _with_default(plugin, f"check {check.id}", find_all, [], limit_s=CHECK_LIMIT_S)
    return replace(check, find=guarded)


def _check_channels(plugin: str, result: Any) -> dict[str, Channel]:
    channels = _mapping_of(
        result,
        lambda channel: isinstance(channel, Channel) and callable(channel.notifier),
        "a mapping of kinds to Channel",
    )
    return {kind: _check_channel(plugin, kind, channel) for kind, channel in channels.items()}


def _check_channel(plugin: str, kind: str, channel: Channel) -> Channel:
    what = f"channel {kind}"
    write_document = channel.write_document
    make_reply_code = channel.make_reply_code

    def open_notifier(*arguments: Any) -> _Notifier:
        return _Notifier(plugin, what, _without_exit(plugin, what, channel.notifier)(*arguments))

    return replace(
        channel,
        notifier=open_notifier,
        write_document=None if write_document is None else _without_exit(plugin, what, write_document),
        make_reply_code=None if make_reply_code is None else _without_exit(plugin, what, make_reply_code),
    )


class _Notifier:
    """A notifier of a plugin, whose `deliver` raises an error where it calls `sys.exit`."""

    def __init__(self, plugin: str, what: str, notifier: Any) -> None:
        self._notifier = notifier
        self.deliver = _without_exit(plugin, what, notifier.deliver)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._notifier, name)


def _check_decoders(_plugin: str, result: Any) -> dict[str, Any]:
    """Check the types of the decoders. `monitor.ingest.decoders.isolation` isolates their calls."""
    return _mapping_of(result, lambda value: _is_a(value, "DecoderSpec"), "a mapping of names to DecoderSpec")


def _check_file_readers(plugin: str, result: Any) -> dict[str, Any]:
    readers = _mapping_of(result, lambda value: _is_a(value, "FileReader"), "a mapping of names to FileReader")
    for name, reader in readers.items():
        what = f"format {name}"
        recognises = reader.recognises
        if recognises is not None:
            recognises = _with_default(plugin, what, recognises, default=False)
        readers[name] = replace(reader, open=_without_exit(plugin, what, reader.open), recognises=recognises)
    return readers


def _check_sections(plugin: str, result: Any) -> SiteFileSections:
    if not isinstance(result, SiteFileSections):
        raise TypeError(f"expected SiteFileSections, got {result!r:.80}")
    _mapping_of(
        result.tables, lambda model: isinstance(model, type) and hasattr(model, "model_fields"), "pydantic models"
    )
    expand = result.expand

    def expand_or_leave(file: Any, name: str) -> Any:
        try:
            expanded = expand(file, name)
            _require(isinstance(expanded, type(file)), "the site file", expanded)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit
            if _is_a(error, "ConfigError"):  # the site file is wrong, and not the plugin
                raise
            note_fault(plugin, "site_file_sections", error)
            return file
        return expanded

    return result._replace(expand=expand_or_leave)


def _check_migrations(plugin: str, result: Any) -> Migrations:
    if not isinstance(result, Migrations):
        raise TypeError(f"expected Migrations, got {result!r:.80}")
    _require(result.name == plugin, f"the name of the plugin, {plugin}", result.name)
    _require(isinstance(result.folder, Path) and result.folder.is_dir(), "a folder with revisions", result.folder)
    return result


def _check_tables(plugin: str, result: Any) -> list[Any]:
    tables = _list_of(result, "Table")
    for table in tables:
        _require(table.name.startswith(f"{plugin}_"), f"a table whose name starts with {plugin}_", table.name)
        _require("sealed" not in table.info, "a table without sealed rows", table.name)
    return tables


def _check_views(_plugin: str, result: Any) -> list[Any]:
    views = _list_of(result, "PublicView")
    for view in views:
        _require(
            _is_a(view.table, "Table") and isinstance(view.select, str), "a table and a text in a PublicView", view
        )
        _require(view.table.info.get("question"), "a question in the info of the table", view.table.name)
    return views


def _check_retention_rules(plugin: str, result: Any) -> list[Any]:
    rules = _list_of(result, "RetentionRule")
    for rule in rules:
        is_valid = isinstance(rule.rows, str) and (rule.key is None or isinstance(rule.key, str))
        _require(is_valid and callable(rule.sweep), "texts and a function in a RetentionRule", rule)
    return [
        replace(rule, sweep=_with_default(plugin, f"retention rule for {rule.rows}", rule.sweep, None))
        for rule in rules
    ]


def _check_counts(_plugin: str, result: Any) -> dict[str, int]:
    return _mapping_of(result, lambda count: isinstance(count, int), "a mapping of tables to numbers of rows")


def _check_export_tables(_plugin: str, result: Any) -> dict[str, ExportTable]:
    return _mapping_of(result, lambda table: isinstance(table, ExportTable), "a mapping of names to ExportTable")


def _check_status(_plugin: str, result: Any) -> list[StatusSection]:
    sections = _list_of(result, "StatusSection")
    for section in sections:
        _require(isinstance(section.name, str), "a name of a StatusSection", section.name)
        _require(all(isinstance(entry, Mapping) for entry in section.entries), "mappings", section.entries)
        _require(all(isinstance(line, str) for line in section.lines), "lines of text", section.lines)
    return sections


def _check_alert_entries(_plugin: str, result: Any) -> list[Any]:
    _require(isinstance(result, Iterable), "an iterable of mappings", result)
    entries = list(result)
    for entry in entries:
        is_entry = isinstance(entry, Mapping) and isinstance(entry.get("kind"), str)
        _require(is_entry and isinstance(entry.get("at"), str), "a mapping with the texts `kind` and `at`", entry)
    return entries


def _check_parts(plugin: str, result: Any) -> list[ServicePart]:
    return [
        replace(
            part,
            start=_with_default(plugin, "start of a part", part.start, None, limit_s=PART_LIMIT_S),
            stop=_with_default(plugin, "stop of a part", part.stop, None, limit_s=PART_LIMIT_S),
            follow=_with_default(plugin, "follow of a part", part.follow, None, limit_s=PART_LIMIT_S),
            on_readings=_with_default(plugin, "on_readings of a part", part.on_readings, None, limit_s=PART_LIMIT_S),
            is_behind=_with_default(
                plugin,
                "is_behind of a part",
                part.is_behind,
                default=False,
                is_valid=lambda result: isinstance(result, bool),
                limit_s=PART_LIMIT_S,
            ),
        )
        for part in _list_of(result, "ServicePart")
    ]


def _check_scene_methods(plugin: str, result: Any) -> list[Any]:
    what = "register_scene_methods"
    return [
        replace(
            method,
            applies=_with_default(plugin, f"{what}: applies", method.applies, default=False),
            list_compared=_without_exit(plugin, f"{what}: list_compared", method.list_compared),
            read=_without_exit(plugin, f"{what}: read", method.read),
        )
        for method in _list_of(result, "SceneMethod")
    ]


def _check_criteria(plugin: str, result: Any) -> list[Any]:
    return [_check_criterion(plugin, entry) for entry in _list_of(result, "KindEntry")]


def _check_criterion(plugin: str, entry: Any) -> Any:
    _require(_is_a(entry.kind, "Kind") and callable(entry.rule), "a Kind and a rule in a KindEntry", entry.kind)
    what = f"criterion {entry.kind.id}"
    rule = entry.rule

    @functools.wraps(rule)
    def assess(criterion: Any, context: Any) -> Any:
        assessments = tuple(rule(criterion, context))
        for assessment in assessments:
            is_own = _is_a(assessment, "Assessment") and assessment.criterion == criterion.id
            _require(is_own, "an Assessment of the criterion itself", assessment)
        return assessments

    return replace(entry, rule=_with_default(plugin, f"{what}: rule", assess, None), plugin=plugin)


def _check_facts(_plugin: str, result: Any) -> dict[str, tuple[Any, ...]]:
    expected = "a mapping of names to lists of dataclasses"
    facts = _mapping_of(result, lambda rows: isinstance(rows, list | tuple), expected)
    for rows in facts.values():
        for row in rows:
            _require(is_dataclass(row), expected, row)
    return {name: tuple(rows) for name, rows in facts.items()}


def _check_values(_plugin: str, result: Any) -> dict[str, Any]:
    return _mapping_of(result, lambda _value: True, "a mapping of names to values")


def _check_features(_plugin: str, result: Any) -> list[Any]:
    _require(isinstance(result, list | tuple), "a list of GeoJSON features", result)
    for feature in result:
        is_feature = isinstance(feature, Mapping) and feature.get("type") == "Feature"
        _require(is_feature, "a GeoJSON feature", feature)
    return list(result)


def _check_lacking(_plugin: str, result: Any) -> Any:
    _require(_is_a(result, "LackingModels"), "LackingModels", result)
    return result


def _check_curve_values(_plugin: str, result: Any) -> CurveAddition:
    if not isinstance(result, CurveAddition):
        raise TypeError(f"expected CurveAddition, got {result!r:.80}")
    _mapping_of(result.values, lambda _value: True, "a mapping of keys to values")
    _require(result.until is None or isinstance(result.until, datetime), "an instant or None", result.until)
    return result


def _check_window_replay(_plugin: str, result: Any) -> Any:
    _require(_is_a(result, "WindowReplayFunctions"), "WindowReplayFunctions", result)
    return result


def _check_movements(_plugin: str, result: Any) -> dict[str, Any]:
    return _mapping_of(result, lambda rows: isinstance(rows, list), "a mapping of sites to lists")


def _check_on_duty(_plugin: str, result: Any) -> dict[Any, tuple[str, ...]]:
    expected = "a mapping of (site, team) to a tuple of names"
    _require(isinstance(result, Mapping), expected, result)
    for key, names in result.items():
        _require(isinstance(key, tuple) and isinstance(names, tuple), expected, {key: names})
        _require(all(isinstance(name, str) for name in names), expected, names)
    return dict(result)


_RESULTS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "register_commands": _check_commands,
    "register_acts": _check_acts,
    "register_routes": lambda _plugin, result: _list_of(result, "APIRouter"),
    "register_access_rules": _check_access_rules,
    "register_panels": _check_panels,
    "register_jobs": _check_jobs,
    "register_checks": _check_checks,
    "register_channels": _check_channels,
    "register_decoders": _check_decoders,
    "register_file_readers": _check_file_readers,
    "register_criteria": _check_criteria,
    "evaluation_facts": _check_facts,
    "register_tables": _check_tables,
    "register_views": _check_views,
    "register_export_tables": _check_export_tables,
    "retention_rules": _check_retention_rules,
    "verify_database": lambda _plugin, result: _list_of(result, "str"),
    "move_instants_back": _check_counts,
    "site_file_sections": _check_sections,
    "migrations": _check_migrations,
    "service_parts": _check_parts,
    "status_sections": _check_status,
    "site_page_values": _check_values,
    "alert_entries": _check_alert_entries,
    "audit_pack_files": lambda _plugin, result: _mapping_of(
        result, lambda content: isinstance(content, bytes), "a mapping of paths to bytes"
    ),
    "suspected_faults": lambda _plugin, result: _list_of(result, "SuspectedFault"),
    "account_page_values": _check_values,
    "curve_values": _check_curve_values,
    "lacking_models": _check_lacking,
    "instruments_page_values": _check_values,
    "models_in_use": lambda _plugin, result: _list_of(result, "str"),
    "map_layers": _check_values,
    "map_zones": _check_features,
    "register_scene_methods": _check_scene_methods,
    "people_on_duty": _check_on_duty,
    "evaluation_fact_instants": lambda _plugin, result: _list_of(result, "datetime"),
    "detector_scores": lambda _plugin, result: _list_of(result, "DetectorScore"),
    "failure_window_replay": _check_window_replay,
    "newest_movements": _check_movements,
}

# Hooks that declare something, with their arguments. They are called when a plugin is tried.
DECLARING: Final[Mapping[str, Mapping[str, Any]]] = {
    **{name: {} for name in _RESULTS if name.startswith("register_")},
    "register_views": {"sqlite": True},
    "retention_rules": {},
    "site_file_sections": {},
    "migrations": {},
}


def _check_result(plugin: str, hook_name: str, result: Any) -> Any:
    check = _RESULTS.get(hook_name)
    return result if check is None else check(plugin, result)

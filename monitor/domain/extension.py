"""What an extension declares, and which there are: ours by their table, those of others by their entry points.

An extension is a folder that the core can do without. It imports the core; the core knows it by what it declares here,
by dotted paths (`module:object`), so that nothing of it is loaded before it is used.
"""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from io import FileIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

GROUP: Final = "slopeward.extensions"
OURS: Final = "monitor.extensions.table"


class Address(NamedTuple):
    """Who may ask for an address: the words of `monitor.web.access.rules`."""

    rule: str
    in_person: bool = False  # a token does not do
    of_no_site: bool = False  # it names no site: what it holds of the sites of others, the route looks after


class Command(NamedTuple):
    """A verb of the command line."""

    app: str  # the module that has `app: typer.Typer`
    help: str
    after: str = ""  # the verb below which it is listed; else the last
    # commands that write, as `notify drill hold`, and the words of `monitor.cli.rules`; what is not named only reads
    rules: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Channel:
    """One kind of channel, `kind:address` in a site file."""

    notifier: str  # "module:class"; loaded when the first channel of the kind appears
    # it takes orders, and those of hazards; it brings people no words and confirms what it did (a siren)
    orders: bool = False
    reaches_person: bool = True  # a message by it comes to a person by itself
    rings: bool = False  # for alarms alone: a telephone rings
    digest_rank: int = 0  # by which a person reads a digest, the fittest first; 0 = no digest
    is_english: bool = False  # its lines are English and UTC, whoever reads them
    # "module:function" (connection, service file, event): sent in place of subject and body; of hazards alone
    document: str = ""
    needs_database: bool = False  # the notifier takes the database as its third argument
    # "module:function" (connection, message, person, language, settings, now): the code by which its recipient answers
    reply_code: str = ""
    holds: bool = False  # a connection, or which devices have the message in hand: the notifier outlives a failure
    of_broker: bool = False  # its address is a topic of the broker
    parallel: int = 1  # so many messages at a time; more than one where each has a connection of its own


@dataclass(frozen=True, slots=True)
class Job:
    """One line of the table of jobs: `function` is run(db, config, site, now) -> one line that says what it did.

    `at_stage` gives the pause at a stage of movement instead of `every_s`; the entry follows the site's stage. A
    `light` job computes here and briefly: it has a thread of its own and waits for no training; one that `polls` waits
    for servers, in threads of its own. What is for `show` alone has one thread as well: it takes none from a forecast
    or a scene. A job that watches a
    folder also runs as soon as something arrived in it, or in a folder of it, and when `again(config, site)` says: the
    monotonic second at which something there will have stayed for long enough, or None. A job with an `hour` runs once
    a day at that hour of the site's own clock, and once after a start.
    """

    name: str
    function: str
    every_s: Callable[[Any], float]  # of its site, or of None
    first_s: float  # after start
    per_site: bool = True
    at_stage: Callable[[Any, str | None], float] | None = None
    light: bool = False
    polls: bool = False
    show: bool = False
    watched: Callable[[Any, Any], Path] | None = None
    again: str = ""
    hour: int | None = None

    @property
    def lane(self) -> str:
        """The threads that it runs in."""
        return next((name for name in ("light", "polls", "show") if getattr(self, name)), "default")

    def pause_s(self, site: Any, stage: str | None) -> float:
        """Seconds between two runs."""
        return self.every_s(site) if site is None or self.at_stage is None else self.at_stage(site, stage)


@dataclass(frozen=True, slots=True)
class ServicePart:
    """A part of the core process that an extension provides.

    The function `service.parts`(db, config, sites, clock, on_stored) of an extension returns a list of these. A part
    that stores readings calls `on_stored` with a `StoredSites` after its commit, so that the sites are evaluated and
    other parts process these readings.
    """

    start: Callable[[], None] = lambda: None
    stop: Callable[[float], None] = lambda _timeout_s: None
    follow: Callable[[], None] = lambda: None  # every 3 s; it is brief, and may fail
    seen: tuple[object, ...] = ()  # what checks look at then
    on_readings: Callable[[], None] = lambda: None  # called after a commit of readings; returns at once
    # Whether readings of a site are stored that the part still has to process. Its level does not fall meanwhile.
    is_behind: Callable[[str], bool] = lambda _site_id: False


class Extension(NamedTuple):
    """One extension, `EXTENSION` in its `extension.py`."""

    name: str
    description: str
    package: str  # its folder; HTML lies in `templates` below it, scripts in `static`
    routes: tuple[str, ...] = ()  # routers of FastAPI
    addresses: Mapping[str, Address] = MappingProxyType({})  # `GET /sites/{site}/drills`: each of its routes
    commands: Mapping[str, Command] = MappingProxyType({})  # by verb
    # what core does every so many seconds: `work(db, sites, now)`; it is brief, and may fail
    background: Mapping[str, float] = MappingProxyType({})
    panels: Mapping[str, tuple[str, ...]] = MappingProxyType({})  # templates shown at a place of a page
    jobs: tuple[Job, ...] = ()
    checks: tuple[str, ...] = ()  # lists of `monitor.checks.check:Check`
    acts: tuple[str, ...] = ()  # lists of `monitor.alerting.acts.table:Act`: commands, forms and requests at once
    channels: Mapping[str, Channel] = MappingProxyType({})  # by kind
    functions: Mapping[str, str] = MappingProxyType({})  # what the core calls where it is there, by the name of a place
    # tables `[[name]]` of a site file, each a section of pydantic; the function `config.tables` makes others of them
    site_tables: Mapping[str, str] = MappingProxyType({})
    # the package that holds its migrations (alembic), where it has tables of its own; their names begin with its name
    tables: str = ""


def load(path: str) -> Any:
    """The object of a dotted path, `module:object`."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


@cache
def list_extensions() -> tuple[Extension, ...]:
    """All that are there. One of others that cannot be loaded is left out and logged: the service starts without it."""
    ours = [load(f"{name}.extension:EXTENSION") for name in importlib.import_module(OURS).TABLE]
    return (*ours, *_load_others({one.name for one in ours}))


def _load_others(taken: set[str]) -> list[Extension]:
    found: list[Extension] = []
    if not any(map(_names_extensions, sys.path)):  # to import what reads entry points costs more than a verb's help
        return found
    from importlib.metadata import entry_points

    for entry in sorted(entry_points(group=GROUP), key=lambda one: one.name):
        try:
            one = entry.load()
            if not isinstance(one, Extension) or one.name in taken:
                raise TypeError("expected an `Extension` with a name of its own")
            importlib.import_module(one.package)
        except Exception as error:  # code of others, whatever it does
            log_left_out(f"the extension {entry.name} ({entry.value})", error)
        else:
            taken.add(one.name)
            found.append(one)
    return found


def _names_extensions(folder: str) -> bool:
    with suppress(OSError), os.scandir(folder or ".") as entries:
        for one in entries:
            if one.name.endswith("-info"):
                with suppress(OSError), FileIO(f"{one.path}/entry_points.txt") as file:
                    if GROUP.encode() in file.read():
                        return True
    return False


def load_declared(field: str, place: str = "") -> list[Any]:
    """What extensions name in a field by dotted paths, or at a place of it; what others have broken is left out."""
    found = []
    for one in list_extensions():
        named = getattr(one, field)
        try:
            found += [load(path) for path in (named if not place else [named[place]] if place in named else ())]
        except Exception as error:
            if is_ours(one.package):
                raise
            log_left_out(f"{field} of the extension {one.name}", error)
    return found


def is_ours(path: str) -> bool:
    """Whether a package or dotted path belongs to this program: what it lacks is a fault, and no thing of others."""
    return path.startswith("monitor.")


def log_left_out(what: str, error: Exception) -> None:
    """Log what of an extension of others is not there, and why."""
    from logging import getLogger

    getLogger(__name__).error("%s: left out", what, exc_info=error)


def find_functions(place: str) -> list[Callable[..., Any]]:
    """What extensions do at a place of the core."""
    return load_declared("functions", place)


def call_functions(place: str, *given: Any) -> list[Any]:
    """What extensions answer at a place of the core; one of others that fails is left out and logged."""
    found = []
    for act in find_functions(place):
        try:
            found.append(act(*given))
        except Exception as error:
            if is_ours(act.__module__):
                raise
            log_left_out(f"{place} of {act.__module__}", error)
    return found


def has_function(place: str) -> bool:
    """Whether one does something at a place of the core; nothing is loaded."""
    return any(place in one.functions for one in list_extensions())


def list_panels(place: str) -> list[str]:
    """The templates that extensions show at a place of a page."""
    return [name for one in list_extensions() for name in one.panels.get(place, ())]


def list_folders(name: str) -> list[str]:
    """Where the HTML (`templates`) or the scripts (`static`) of extensions lie, where they have any."""
    return [f"{importlib.import_module(one.package).__path__[0]}/{name}" for one in list_extensions()]

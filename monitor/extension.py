"""What an extension declares, and which there are: ours by their table, those of others by their entry points.

An extension is a folder that the core can do without. It imports the core; the core knows it by what it declares here,
by dotted paths (`module:object`), so that nothing of it is loaded before it is used.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from io import FileIO
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
    # commands that write, such as `notify drill`, and the words of `monitor.cli.rules`; what is not named only reads
    rules: Mapping[str, str] = MappingProxyType({})


class Extension(NamedTuple):
    """One extension, `EXTENSION` in its `extension.py`."""

    name: str
    description: str
    package: str  # its folder; HTML lies in `templates` below it
    routes: tuple[str, ...] = ()  # routers of FastAPI
    addresses: Mapping[str, Address] = MappingProxyType({})  # `GET /sites/{site}/drills`: each of its routes
    commands: Mapping[str, Command] = MappingProxyType({})  # by verb
    # what core does every so many seconds: `work(db, sites, now)`; it is brief, and may fail
    background: Mapping[str, float] = MappingProxyType({})
    panels: Mapping[str, tuple[str, ...]] = MappingProxyType({})  # templates shown at a place of a page


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
            _log_left_out(f"the extension {entry.name} ({entry.value})", error)
        else:
            taken.add(one.name)
            found.append(one)
    return found


def _names_extensions(folder: str) -> bool:
    """Whether a package that is installed in a folder has an entry point of the group."""
    with suppress(OSError), os.scandir(folder or ".") as entries:
        for one in entries:
            if one.name.endswith("-info"):
                with suppress(OSError), FileIO(f"{one.path}/entry_points.txt") as file:
                    if GROUP.encode() in file.read():
                        return True
    return False


def list_routers() -> list[Any]:
    """The routers of extensions; one of others that cannot be loaded is left out and logged, too."""
    found = []
    for one in list_extensions():
        try:
            found += [load(path) for path in one.routes]
        except Exception as error:
            if one.package.startswith(f"{OURS.rpartition('.')[0]}."):
                raise
            _log_left_out(f"the pages of the extension {one.name}", error)
    return found


def _log_left_out(what: str, error: Exception) -> None:
    from logging import getLogger

    getLogger(__name__).error("%s: left out", what, exc_info=error)


def list_panels(place: str) -> list[str]:
    """The templates that extensions show at a place of a page."""
    return [name for one in list_extensions() for name in one.panels.get(place, ())]


def list_template_folders() -> list[str]:
    """Where the HTML of extensions lies."""
    return [f"{importlib.import_module(one.package).__path__[0]}/templates" for one in list_extensions()]

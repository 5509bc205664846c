"""The watched folder `inbox/series/<site>`: files of readings and points, read by the mapping that their name picks."""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

from monitor.api.errors import ConfigError, RefusedError, SlopewardError, StoreBusyError
from monitor.api.files import ImportOptions
from monitor.api.ingest import load_mapping
from monitor.api.queries.ingest import WIDE, add_places, choose_reader, find_by_name
from monitor.api.settings import FOLDER_KIND, SourceSection
from monitor.api.sites import Site
from monitor.api.text import UNREADABLE_FILE, Figure, Template, is_line
from monitor.api.worker import GIB, compute
from monitor.features.sources.plan import find_form, make_options
from monitor.features.sources.polled import PollSummary
from monitor.features.sources.queries import FileState, cut, forget_files, load_files, save_file
from monitor.features.sources.take import SourceTarget, check_content, explain, find_end, measure, take_file

SERIES: Final = "series"
MAPPING: Final = ".mapping.toml"
UNFINISHED: Final = (".part", ".tmp", ".filepart", ".crdownload", "~")
SETTLED_S: Final = 5.0  # since the last write: a copy that goes on is waited for
AT_ONCE: Final = 200  # files of one look
_ODD_NAME: Final = Template("source.file.name", "its name is no text that can be stored: rename it")
_LARGE: Final = Template(
    "source.file.large", "larger than {size}, which [compute] job_file_gib allows: cut it in pieces"
)
_ADVICE: Final = Template(
    "source.file.advice", "{problem}; or put {mapping} beside it, or write a [[source]] of kind folder for it"
)


class ReadPlan(NamedTuple):
    """How a file is read; `version` changes with what says so."""

    form: str
    options: ImportOptions
    version: str
    accept_units: bool = False


def scan_folder(found: PollSummary, place: SourceTarget) -> None:
    """Take every file that is new or changed; one that cannot be read stays, with its reason, until it changes."""
    folder = Path(place.config.paths.inbox) / SERIES / place.site.id
    if not folder.is_dir():
        return
    known = place.db.run_read(load_files, found.source)
    paths = sorted(folder.iterdir())
    mappings = {p.name.removesuffix(MAPPING): p for p in paths if p.name.endswith(MAPPING) and p.name != MAPPING}
    tables = [s for s in place.config.source if s.kind == FOLDER_KIND and s.site == place.site.id]
    present = set()
    for path in paths:
        name = path.name.encode("utf-8", "replace").decode()
        if path.name.startswith(".") or path.name.endswith((MAPPING, *UNFINISHED)) or not path.is_file():
            continue
        present.add(name)
        if found.new < AT_ONCE:
            _scan_file(found, name, path, known.get(name), place, mappings, tables)
    if gone := known.keys() - present:
        place.db.do(forget_files, found.source, gone)


def _scan_file(
    found: PollSummary,
    name: str,
    path: Path,
    before: FileState | None,
    place: SourceTarget,
    mappings: dict[str, Path],
    tables: Sequence[SourceSection],
) -> None:
    state = path.stat()
    if time.time() - max(state.st_mtime, state.st_ctime) < SETTLED_S:
        return
    reason, version, digest, state_size = None, f"{state.st_size} {state.st_mtime_ns}", "", state.st_size
    of_site = f" {place.site.version[:16]}"  # what was refused is read again after the site file was mended
    try:
        if not is_line(path.name):
            raise RefusedError(_ODD_NAME())
        how = choose(path, place.site, mappings, tables)
        version += how.version
        if before is not None and before.modified == version + (of_site if before.reason else ""):
            found.same += 1
            found.errors += [before.reason] if before.reason else []
            return
        most_gib = place.config.compute.job_file_gib
        if state.st_size > most_gib * GIB:  # it would be read for hours, and no worker may write as many lines
            raise RefusedError(_LARGE(size=Figure(most_gib, "g", "GiB")))
        size, digest = measure(path)
        end = find_end(path, size, digest, before)
        if end < size:
            version, state_size = "", end  # the next look reads it again
            found.held.append(name)
        check_content(path, end, before, may_shrink=True)
        with _cut(path, end, size) as whole:
            found.add(take_file(whole, how.form, how.options, replace(place, accept_units=how.accept_units)))
    except StoreBusyError:
        raise
    except Exception as error:  # whatever one file brings, the others and the sources are looked at
        if isinstance(error, OSError):
            error = ConfigError(str(error))
        elif not isinstance(error, SlopewardError):
            error = ConfigError(UNREADABLE_FILE(problem=f"{type(error).__name__}: {error}"))
        reason = cut(explain(error, path))
        found.errors.append(reason)
        version += of_site
    after = path.stat() if path.exists() else None
    if after is None or (after.st_size, after.st_mtime_ns) != (state.st_size, state.st_mtime_ns):
        return  # it changed while it was read: the next look reads it again
    with place.db.write() as c:
        save_file(c, found.source, FileState(name, "", version, state_size, digest, place.clock(), reason))


@contextmanager
def _cut(path: Path, end: int, size: int) -> Iterator[Path]:
    """The file, or a copy of its first octets under the same name; the file itself is somebody else's."""
    if end == size:
        yield path
        return
    with compute.temporary_folder() as folder:
        copy = folder / path.name
        shutil.copyfile(path, copy)
        os.truncate(copy, end)
        yield copy


def choose(path: Path, site: Site, mappings: dict[str, Path], tables: Sequence[SourceSection]) -> ReadPlan:
    """How a file is read: by a `[[source]]` of kind folder, a mapping whose name it begins with, or its content.

    Raises ConfigError: nothing says it, or what says it cannot be used.
    """
    for table in tables:
        if any(fnmatchcase(path.name, pattern) for pattern in table.files):
            options = make_options(table, site)
            options = options if options.station else replace(options, station=find_station(path.name, site))
            keys = hashlib.sha256(table.model_dump_json().encode()).hexdigest()[:16]
            version = "" if not table.mapping else f" {Path(table.mapping).stat().st_mtime_ns}"
            return ReadPlan(find_form(table), options, f" {table.name} {keys}{version}", table.accept_units)
    options = add_places(ImportOptions(station=find_station(path.name, site)), site)
    if named := find_by_name(path.name, mappings):
        mapping = mappings[named]
        version = f" {mapping.name} {mapping.stat().st_mtime_ns}"
        return ReadPlan(WIDE, replace(options, mapping=load_mapping(mapping)), version)
    try:
        return ReadPlan(choose_reader(path), options, "")
    except ConfigError as error:
        raise ConfigError(_ADVICE(problem=error.message, mapping=f"{path.stem}{MAPPING}")) from None


def find_station(name: str, site: Site) -> str | None:
    """The station that the name of a file begins with, by an id that it has or had; the longest where several fit."""
    found = find_by_name(name, (known for s in site.stations for known in (s.id, *s.was)))
    return None if found is None else site.find_current_id(found)

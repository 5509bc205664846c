"""Import files of the watched folder `inbox/series/SITE`."""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
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
from monitor.features.sources import section as sections
from monitor.features.sources.outcome import PollSummary
from monitor.features.sources.queries import FileState, delete_files, load_files, save_file, truncate
from monitor.features.sources.store import (
    SourceTarget,
    check_content,
    describe_error,
    find_complete_end,
    measure_file,
    store_file,
)

SERIES: Final = "series"
MAPPING_SUFFIX: Final = ".mapping.toml"
UNFINISHED_SUFFIXES: Final = (".part", ".tmp", ".filepart", ".crdownload", "~")
# A file that changed more recently may still be copied.
SETTLED_S: Final = 5.0
MAX_FILES: Final = 200  # per poll
_ODD_NAME: Final = Template("source.file.name", "its name is no text that can be stored: rename it")
_LARGE: Final = Template(
    "source.file.large", "larger than {size}, which [compute] job_file_gib allows: cut it in pieces"
)
_ADVICE: Final = Template(
    "source.file.advice", "{problem}; or put {mapping} beside it, or write a [[source]] of kind folder for it"
)


class ReadPlan(NamedTuple):
    """How a file is read. `version` changes if the section or the mapping that determines this changes."""

    reader: str
    options: ImportOptions
    version: str
    accept_units: bool = False


class _FolderRules(NamedTuple):
    """The mappings in the folder by the beginning of file names, and the `[[source]]` tables of kind folder."""

    mappings: Mapping[str, Path]
    sections: Sequence[SourceSection]


def scan_folder(summary: PollSummary, target: SourceTarget) -> None:
    """Store every new or changed file. A file that cannot be read is tried again after it changes."""
    folder = Path(target.config.paths.inbox) / SERIES / target.site.id
    if not folder.is_dir():
        return
    file_states = target.db.run_read(load_files, summary.source)
    paths = sorted(folder.iterdir())
    rules = _FolderRules(
        {
            path.name.removesuffix(MAPPING_SUFFIX): path
            for path in paths
            if path.name.endswith(MAPPING_SUFFIX) and path.name != MAPPING_SUFFIX
        },
        [row for row in target.config.source if row.kind == FOLDER_KIND and row.site == target.site.id],
    )
    present_names = set()
    for path in paths:
        if path.name.startswith(".") or path.name.endswith((MAPPING_SUFFIX, *UNFINISHED_SUFFIXES)):
            continue
        if not path.is_file():
            continue
        name = path.name.encode("utf-8", "replace").decode()
        present_names.add(name)
        if summary.new < MAX_FILES:
            _scan_file(summary, name, path, file_states.get(name), target, rules)
    missing_names = file_states.keys() - present_names
    if missing_names:
        target.db.run_write(delete_files, summary.source, missing_names)


def _scan_file(
    summary: PollSummary,
    name: str,
    path: Path,
    before: FileState | None,
    target: SourceTarget,
    rules: _FolderRules,
) -> None:
    status = path.stat()
    if time.time() - max(status.st_mtime, status.st_ctime) < SETTLED_S:
        return
    reason = None
    digest = ""
    state_size = status.st_size
    version = f"{status.st_size} {status.st_mtime_ns}"
    # A file that was rejected is read again after the site file changed.
    site_version = f" {target.site.version[:16]}"
    try:
        if not is_line(path.name):
            raise RefusedError(_ODD_NAME())
        plan = choose_plan(path, target.site, rules.mappings, rules.sections)
        version += plan.version
        if before is not None and before.modified == version + (site_version if before.reason else ""):
            summary.same += 1
            if before.reason:
                summary.errors.append(before.reason)
            return
        # Reading a larger file would take hours, and no worker may write as many lines.
        max_gib = target.config.compute.job_file_gib
        if status.st_size > max_gib * GIB:
            raise RefusedError(_LARGE(size=Figure(max_gib, "g", "GiB")))
        size, digest = measure_file(path)
        end = find_complete_end(path, size, digest, before)
        if end < size:
            # Without a version the next poll reads the file again.
            version = ""
            state_size = end
            summary.unfinished.append(name)
        check_content(path, end, before, may_shrink=True)
        with _copy_beginning(path, end, size) as complete:
            file_target = replace(target, accept_units=plan.accept_units)
            summary.add(store_file(complete, plan.reader, plan.options, file_target))
    except StoreBusyError:
        raise
    except Exception as error:  # any error of this file must not stop the other files and sources
        if isinstance(error, OSError):
            error = ConfigError(str(error))
        elif not isinstance(error, SlopewardError):
            error = ConfigError(UNREADABLE_FILE(problem=f"{type(error).__name__}: {error}"))
        reason = truncate(describe_error(error, path))
        summary.errors.append(reason)
        version += site_version
    after = path.stat() if path.exists() else None
    if after is None or (after.st_size, after.st_mtime_ns) != (status.st_size, status.st_mtime_ns):
        return  # It changed while it was read. The next poll reads it again.
    with target.db.write() as c:
        save_file(c, summary.source, FileState(name, "", version, state_size, digest, target.clock(), reason))


@contextmanager
def _copy_beginning(path: Path, end: int, size: int) -> Iterator[Path]:
    """Yield the file if it is complete, otherwise a copy of its first `end` bytes under the same name."""
    if end == size:
        yield path
        return
    with compute.temporary_folder() as folder:
        copy = folder / path.name
        shutil.copyfile(path, copy)
        os.truncate(copy, end)
        yield copy


def choose_plan(
    path: Path, site: Site, mappings: Mapping[str, Path], folder_sections: Sequence[SourceSection]
) -> ReadPlan:
    """Return how to read a file: by a `[[source]]` of kind folder, a mapping whose name it begins with, or its content.

    Raises:
        ConfigError: None of them applies, or the one that applies cannot be used.
    """
    for section in folder_sections:
        if any(fnmatchcase(path.name, pattern) for pattern in section.files):
            options = sections.make_options(section, site)
            if not options.station:
                options = replace(options, station=find_station(path.name, site))
            digest = hashlib.sha256(section.model_dump_json().encode()).hexdigest()[:16]
            version = f" {section.name} {digest}"
            if section.mapping:
                version += f" {Path(section.mapping).stat().st_mtime_ns}"
            return ReadPlan(sections.choose_reader(section), options, version, section.accept_units)
    options = add_places(ImportOptions(station=find_station(path.name, site)), site)
    mapping_name = find_by_name(path.name, mappings)
    if mapping_name:
        mapping = mappings[mapping_name]
        version = f" {mapping.name} {mapping.stat().st_mtime_ns}"
        return ReadPlan(WIDE, replace(options, mapping=load_mapping(mapping)), version)
    try:
        return ReadPlan(choose_reader(path), options, "")
    except ConfigError as error:
        advice = _ADVICE(problem=error.message, mapping=f"{path.stem}{MAPPING_SUFFIX}")
        raise ConfigError(advice) from None


def find_station(file_name: str, site: Site) -> str | None:
    """Return the station whose present or former id a file name begins with. The longest id wins."""
    station_id = find_by_name(file_name, (name for station in site.stations for name in (station.id, *station.was)))
    return None if station_id is None else site.find_current_id(station_id)

"""Store the readings of a file of unknown layout, with the checks that every import of readings has."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from monitor.api.database import Actor, Database
from monitor.api.decoders import Pipeline
from monitor.api.files import ImportOptions
from monitor.api.queries.ingest import (
    Clock,
    ConvertedFile,
    FileImport,
    FileResult,
    list_readers,
    open_converted,
    record_file,
    record_units,
    renew_known_flags,
)
from monitor.api.settings import ComputeSection
from monitor.api.sites import Site
from monitor.features.table_import.guess.values import LineReader


@dataclass(frozen=True, slots=True)
class ImportTarget:
    """The database and the site that files are stored in.

    Attributes:
        actor: Who imports; stands in the audit trail.
        compute: Limits of the worker that reads files of foreign formats.
    """

    db: Database
    site: Site
    pipeline: Pipeline
    actor: Actor
    compute: ComputeSection
    clock: Clock


def open_file(
    path: Path, form: str, options: ImportOptions, target: ImportTarget
) -> AbstractContextManager[ConvertedFile | None]:
    """Open a file whose form has to be read in a worker; None for the others, which are read here.

    Raises:
        ConfigError: The file cannot be read as this form.
    """
    if not list_readers()[form].in_worker:
        return nullcontext()
    return open_converted(path, form, options, target.compute, target.clock())


def check_file(
    path: Path,
    form: str,
    options: ImportOptions,
    site: Site,
    clock: Clock,
    reader: LineReader,
    on_progress: Callable[[FileResult], None] = lambda _: None,
) -> None:
    """Check units, times and ranges of a whole file without storing it.

    Raises:
        UnitDoubtError: Units or times are doubtful, or most values of a series are out of range.
        ConfigError: The file cannot be read.
    """
    FileImport(
        path,
        Pipeline(None, {site.id: site}, clock),
        site,
        clock,
        mapping=options.mapping,
        dry_run=True,
        on_checked=on_progress,
        open_lines=partial(reader.open, path, form, options),
    ).check()


def store_file(
    path: Path,
    form: str,
    options: ImportOptions,
    target: ImportTarget,
    *,
    reader: LineReader | None = None,
    converted: ConvertedFile | None = None,
    are_units_confirmed: bool = False,
    name: str = "",
    on_checked: Callable[[FileResult], None] = lambda _: None,
    on_progress: Callable[[FileResult], None] = lambda _: None,
) -> FileResult:
    """Store the readings of a file, note the import in the audit trail, and renew flags of stored readings.

    Args:
        reader: Reads the lines; it may have those of the file in memory.
        converted: The file as a worker read it, from `open_file`.
        are_units_confirmed: A person confirmed that units and times are right though they look doubtful.
        name: What people call the file; its path if empty.

    Raises:
        ConfigError: The file cannot be read.
        UnitDoubtError: Units, times, ranges or sums of rain are doubtful; nothing of the file was stored.
        StoreBusyError: The database did not answer. What came before is stored; reading again is harmless.
    """
    lines = partial((reader or LineReader()).open, path, form, options) if converted is None else converted.readings
    result = FileImport(
        path,
        target.pipeline,
        target.site,
        target.clock,
        mapping=options.mapping,
        accept_units=are_units_confirmed,
        accept_times=are_units_confirmed,
        on_checked=on_checked,
        on_progress=on_progress,
        by=target.actor.name,
        name=name,
        open_lines=lines,
    ).run()
    record_file(target.db, target.actor, result, target.clock())
    if are_units_confirmed:
        record_units(target.db, target.actor, name or str(path), result, target.clock())
    renew_known_flags(target.db, {target.site.id: target.site}, result.sites, target.clock())
    return result

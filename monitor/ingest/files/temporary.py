"""Read files into a temporary database, so that a replay or a drill can use them without changing the real one."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from monitor.errors import RefusedError
from monitor.ingest.files.mapping import load_mapping
from monitor.ingest.files.reading import FileImport, FileResult
from monitor.ingest.files.tables import list_files
from monitor.ingest.pipeline import Pipeline
from monitor.readings.queries.flags import UNDECLARED
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from monitor.text.names import list_names


@dataclass(frozen=True, slots=True)
class TemporaryImport:
    """A temporary database with the readings of files."""

    db: Database
    results: tuple[FileResult, ...]  # one for each file


@contextmanager
def open_imported_files(
    path: Path,
    site: Site,
    mapping: Path | None = None,
    *,
    accept_units: bool = False,
    accept_times: bool = False,
) -> Iterator[TemporaryImport]:
    """Import files into a temporary SQLite database, with the checks of every import, and yield it.

    Args:
        path: A CSV or Parquet file in the neutral long form, or in the form of `mapping`, or a folder of such files.
        mapping: A mapping file that describes the columns of a wide table.
        accept_units: Whether a person confirmed that the declared units are right.
        accept_times: Whether a person confirmed that times in the future or before 1950 are right.

    Raises:
        UnitDoubtError: The units or the times of a file are doubtful.
        RefusedError: The files contain no observations of this site.
    """
    column_mapping = None if mapping is None else load_mapping(mapping)
    with open_empty_database(site) as db:
        pipeline = Pipeline(db, {site.id: site}, _now)
        results = tuple(
            FileImport(
                file, pipeline, site, _now, mapping=column_mapping, accept_units=accept_units, accept_times=accept_times
            ).run()
            for file in list_files(path)
        )
        if not any(r.stored for r in results):
            reason = next((r.first_reason for r in results if r.first_reason), "no rows")
            raise RefusedError(f"{path}: nothing could be read as observations of {site.id}: {reason}")
        # Readings that the site file does not declare have no influence on the level.
        if all(r.flags.get(UNDECLARED, 0) == r.valid for r in results):
            names = list_names(sorted({name for r in results for name in r.undeclared}))
            raise RefusedError(f"{path}: the site file of {site.id} names none of its series: {names}")
        yield TemporaryImport(db, results)


@contextmanager
def open_empty_database(site: Site) -> Iterator[Database]:
    """Yield a temporary SQLite database that contains the site file and nothing else."""
    migrations = logging.getLogger("alembic")
    level = migrations.level
    with TemporaryDirectory(prefix="slopeward-past-") as folder, Database(f"sqlite:///{folder}/past.db") as db:
        migrations.setLevel(logging.WARNING)
        try:
            upgrade(db)
        finally:
            migrations.setLevel(level)
        with db.write() as c:
            save_site(c, site, "replay", "temporary database", _now())
        yield db


def _now() -> datetime:
    return datetime.now(UTC)

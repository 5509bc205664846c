"""A file of readings and a site file are enough for a backtest: a database that lives as long as the question."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from monitor.domain.site import Site
from monitor.errors import RefusedError
from monitor.ingest.files.mapping import load_mapping
from monitor.ingest.files.reader import Said
from monitor.ingest.files.readers import open_readings
from monitor.ingest.files.reading import FileResult, read_file
from monitor.ingest.files.tables import list_files
from monitor.ingest.pipeline import Pipeline
from monitor.store.alerting.sites import save_site
from monitor.store.database.engine import Database
from monitor.store.upkeep.migrate import upgrade


@dataclass(frozen=True, slots=True)
class FilePast:
    """Readings of files in a database of their own."""

    db: Database
    results: tuple[FileResult, ...]


@contextmanager
def open_files(
    path: Path, site: Site, mapping: Path | None = None, *, accept_units: bool = False,
    known: tuple[str, Said] | None = None,
) -> Iterator[FilePast]:  # fmt: skip
    """Read files through the gate of ingest into a temporary SQLite database.

    Args:
        path: a CSV or Parquet file in the neutral long form (or as `mapping` says), or a folder of them.
        site: the declaration.
        mapping: what the columns of a wide table mean.
        accept_units: a person has said that the declared units are right.
        known: the reader of the files and what is said of them, where it is known; then `mapping` is not looked at.

    Raises:
        UnitDoubtError: the units of a file are doubtful.
        RefusedError: nothing in the files could be read as observations of this site.
    """
    form, said = known or (None, Said(None if mapping is None else load_mapping(mapping)))
    with open_empty(site) as db:
        pipeline = Pipeline(db, {site.id: site}, _now)
        results = tuple(
            read_file(
                f,
                pipeline,
                site,
                _now,
                mapping=said.mapping,
                accept_units=accept_units,
                open_lines=None if form is None else partial(open_readings(form), f, said),
            )
            for f in list_files(path)
        )
        if not any(r.stored for r in results):
            reason = next((r.first_reason for r in results if r.first_reason), "no rows")
            raise RefusedError(f"{path}: nothing could be read as observations of {site.id}: {reason}")
        yield FilePast(db, results)


@contextmanager
def open_empty(site: Site) -> Iterator[Database]:
    """A temporary SQLite database that knows the site and nothing else."""
    migrations = logging.getLogger("alembic")
    level = migrations.level
    with TemporaryDirectory(prefix="slopeward-past-") as folder, Database(f"sqlite:///{folder}/past.db") as db:
        migrations.setLevel(logging.WARNING)
        try:
            upgrade(db)
        finally:
            migrations.setLevel(level)
        with db.write() as c:
            save_site(c, site, "replay", "a past of its own", _now())
        yield db


def _now() -> datetime:
    return datetime.now(UTC)

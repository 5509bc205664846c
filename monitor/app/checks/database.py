"""Checks of the database, of deliveries, and of the site files in force."""

import os
from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from monitor.settings.service import ServiceConfig
from monitor.sites.files import scan_sites
from monitor.storage.check import BAD, WARN, Check, SubjectState, make_state
from monitor.storage.engine import Database
from monitor.text.message import Figure, Template, Term, join

_CHANGED: Final = Template("check.sites.changed", "its file has changed since the service started")()
_UNWATCHED: Final = Template(
    "check.sites.unwatched", "it is not watched yet, because its file was added after the service started"
)()
_COUNTED: Final = Template("check.delivery.counted", "{n} {state}")
_NOTHING_SENT: Final = Template("check.delivery.nothing", "nothing sent yet")()


class CurrentDatabase(NamedTuple):
    """The database of the service, with the current schema."""

    service: ServiceConfig
    db: Database
    now: datetime


def _check_schema(current: CurrentDatabase) -> Iterator[SubjectState]:
    from monitor.storage.migrate import RESTORE, find_newest_revision, list_missing_columns

    missing = list_missing_columns(current.db)
    yield make_state(
        is_wrong=bool(missing),
        revision=find_newest_revision(),
        names=", ".join(missing),
        restore=RESTORE,
        backend=current.db.url.get_backend_name(),
    )


def _check_journal_mode(current: CurrentDatabase) -> Iterator[SubjectState]:
    mode = current.db.find_journal_mode()
    yield make_state(is_wrong=mode != "wal", mode=mode)


def _check_password(current: CurrentDatabase) -> Iterator[SubjectState]:
    is_written = bool(current.db.url.password) and not os.environ.get("SLOPEWARD_DATABASE__URL")
    yield make_state(is_wrong=is_written and not current.db.is_sqlite)


def _check_site_versions(current: CurrentDatabase) -> Iterator[SubjectState]:
    """Yield for each site file whether it changed or was added after the running service had started."""
    from monitor.app.checks.running import ProcessHeartbeats
    from monitor.sites.queries.sites import load_sites_summary
    from monitor.storage.service_state import load_heartbeats

    with current.db.read() as c:
        in_force = {site.id: site.config_sha256 for site in load_sites_summary(c)}
        is_core_alive = ProcessHeartbeats(load_heartbeats(c), current.now).is_core_alive
    for site in scan_sites(current.service.paths.sites)[0] if is_core_alive else ():
        what = _CHANGED if site.id in in_force else _UNWATCHED
        yield make_state(site.id, is_wrong=site.version != in_force.get(site.id), what=what)


def _find_outdated_plugin_tables(current: CurrentDatabase) -> Iterator[SubjectState]:
    from monitor.storage.migrate import list_outdated_plugins

    yield from (make_state(name) for name in list_outdated_plugins(current.db))


def _check_unused_tables(current: CurrentDatabase) -> Iterator[SubjectState]:
    """Return the tables of built-in features that are absent. Nothing reads, changes or deletes their rows."""
    from monitor.storage.migrate import list_tables_of_absent_features

    tables = list_tables_of_absent_features(current.db)
    yield make_state(is_wrong=bool(tables), tables=", ".join(tables))


def _find_tables_of_absent_plugins(current: CurrentDatabase) -> Iterator[SubjectState]:
    """Yield the tables of plugins that are absent. They stay as they are, and nothing is deleted from them."""
    from monitor.storage.migrate import list_tables_of_removed_plugins

    for name, tables in list_tables_of_removed_plugins(current.db).items():
        yield make_state(name, tables=", ".join(tables))


def _check_deliveries(current: CurrentDatabase) -> Iterator[SubjectState]:
    from monitor.delivery.queries.outbox import count_states

    states = current.db.run_read(count_states)
    failed = states.get("failed_final", 0)
    counts = [_COUNTED(n=Figure(n, "d"), state=Term(state)) for state, n in sorted(states.items())]
    yield make_state(
        is_wrong=bool(failed), n=Figure(failed, "d"), states=join(counts, ", ") if counts else _NOTHING_SENT
    )


CHECKS: Final = (
    # Checks after this one read tables, and can fail if a table is missing.
    Check(
        "database.schema",
        CurrentDatabase,
        BAD,
        "it is at revision {revision}, but it lacks {names}",
        _check_schema,
        "{restore}",
        fine="{backend}, schema is current",
    ),
    Check(
        "database.unused",
        CurrentDatabase,
        WARN,
        "no installed feature uses these tables; they are left as they are: {tables}",
        _check_unused_tables,
        "install the feature again, or drop them by hand",
    ),
    Check(
        "database.journal",
        CurrentDatabase,
        BAD,
        "journal mode is {mode}",
        _check_journal_mode,
        "use a local file system: WAL does not work on NFS or SMB",
    ),
    Check(
        "database.password",
        CurrentDatabase,
        WARN,
        "the service file contains a password",
        _check_password,
        "use SLOPEWARD_DATABASE__URL or ~/.pgpass",
    ),
    Check(
        "plugins.tables",
        CurrentDatabase,
        BAD,
        "its tables are not at the revision that the plugin needs",
        _find_outdated_plugin_tables,
        "slopeward db upgrade; the log contains the error",
    ),
    Check(
        "plugins.missing",
        CurrentDatabase,
        WARN,
        "this plugin is not installed; its tables are left as they are: {tables}",
        _find_tables_of_absent_plugins,
        "install it again, or drop them by hand",
    ),
    Check(
        "sites.versions",
        CurrentDatabase,
        WARN,
        "{what}",
        _check_site_versions,
        "systemctl reload slopeward, or restart it; a looser file needs `slopeward sites propose` first",
    ),
    Check(
        "delivery",
        CurrentDatabase,
        BAD,
        "{n} notifications could not be delivered and are no longer tried",
        _check_deliveries,
        "slopeward notify channels test; see notification_status",
        fine="{states}",
    ),
)

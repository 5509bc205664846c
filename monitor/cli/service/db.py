"""`slopeward db`: upgrade, back up and verify the database, delete old rows, and grant read access."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.exc import SQLAlchemyError

from monitor.app.jobs import housekeeping
from monitor.cli.identity import By, authenticate_actor, name_os_actor
from monitor.cli.session import (
    Commands,
    make_progress_printer,
    open_database,
    print_note,
    print_result,
    read_service,
    require_any,
)
from monitor.errors import RefusedError, SlopewardError
from monitor.storage import audit, backup, migrate, proof, prune, publish, retention, upgrade_plan, views
from monitor.storage.engine import Database
from monitor.text.instants import format_about, format_iso

app = Commands(no_args_is_help=True, help=__doc__)


@app.command("upgrade")
def upgrade(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the steps, the size and the newest backup; change nothing")
    ] = False,
) -> None:
    """Upgrade schema and views to this version. A SQLite file is copied first.

    Exit 1 if a table or column is missing afterwards.

    Example: slopeward db upgrade --dry-run
    """
    service = read_service()
    with open_database(service, any_revision=True) as db:
        if dry_run:
            _show_plan(db, Path(service.backup.folder))
            return
        before = migrate.load_current_revision(db)
        copy = migrate.upgrade(db)
        after = migrate.load_current_revision(db)
        if copy is not None:
            print_note(f"copy of the file before the upgrade: {copy}")
        print_result(
            {"before": before, "now": after, "copy": None if copy is None else str(copy)}, f"at revision {after}"
        )
        migrate.require_complete(db)


def _show_plan(db: Database, backup_folder: Path) -> None:
    """Print what an upgrade would do."""
    folders = [backup_folder.absolute(), Path.cwd()]
    if db.is_sqlite:
        folders.append(backup.sqlite_file(db).absolute().parent)
    folders = list(dict.fromkeys(folders))
    plan = upgrade_plan.plan_upgrade(db, folders)
    newest = plan.backup
    newest_facts = None
    if newest is not None:
        newest_facts = {"file": str(newest.file), "at": newest.made_at, "bytes": newest.size_bytes}
    facts = {
        "revision": plan.revision,
        "needed": plan.needed,
        "steps": [step._asdict() for step in plan.steps],
        "plugins": plan.plugins,
        "has_current_views": plan.has_current_views,
        "bytes": plan.size_bytes,
        "copy_free_bytes": plan.copy_free_bytes,
        "backup": newest_facts,
    }
    lines = [f"at {plan.revision or 'no revision'}, this version needs {plan.needed}"]
    lines += [f"would run {step.revision}: {step.summary}" for step in plan.steps]
    lines += [f"would upgrade the tables of the plugin {name}" for name in plan.plugins]
    if not plan.has_current_views:
        lines.append("would make the views again")
    if not plan.is_needed:
        lines.append("nothing to upgrade")
    if plan.size_bytes is None:
        lines.append(f"size: there is no database {db.url.database} yet; it would be created")
    else:
        lines.append(f"size: {format_megabytes(plan.size_bytes)}")
    if plan.copy_free_bytes is not None:
        free = format_megabytes(plan.copy_free_bytes)
        lines.append(f"would copy the file beside it first: {free} are free there")
    if newest is None:
        searched = ", ".join(map(str, folders))
        lines.append(f"backup: none found in {searched}; make one with `slopeward db backup`")
    else:
        age = format_about((datetime.now(UTC) - newest.made_at).total_seconds())
        lines.append(f"backup: {newest.file}, {age} old, {format_megabytes(newest.size_bytes)}")
    lines.append("nothing was changed")
    print_result(facts, "\n".join(lines))


def format_megabytes(size_bytes: int) -> str:
    """Return a size for people."""
    return f"{size_bytes / 1e6:,.1f} MB"


@app.command("current")
def current() -> None:
    """Print the revision of the database.

    Exit 1 if this version needs another one, or a table or column is missing.

    Example: slopeward db current --json
    """
    with open_database(any_revision=True) as db:
        current_revision = migrate.load_current_revision(db)
        needed = migrate.find_newest_revision()
        print_result(
            {"now": current_revision, "needed": needed},
            f"at {current_revision or 'no revision'}, this version needs {needed}",
        )
        migrate.require_current(db)
        migrate.require_complete(db)


@app.command("backup")
def make_backup(
    file: Annotated[Path | None, typer.Argument(help="File to write. Default: a name with the date")] = None,
) -> None:
    """Back up the database while the service runs: a SQLite file, or an archive of pg_dump.

    Example: slopeward db backup /var/backups/slopeward-today.db
    """
    with open_database() as db:
        suffix = "db" if db.is_sqlite else "dump"
        target = file or Path(f"slopeward-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{suffix}")
        # Read before the backup, so that the backup contains it.
        head = db.run_read(audit.find_head)[1]
        backup.back_up(db, target)
    print_note(f"audit head (store it elsewhere; `db verify --audit-head` proves that no entry is missing): {head}")
    print_result({"file": str(target), "bytes": target.stat().st_size, "audit_head": head}, str(target))


@app.command("prove")
def prove_backup(file: Annotated[Path, typer.Argument(help="A file of `slopeward db backup`")]) -> None:
    """Prove that a backup can be restored: restore it into a temporary database and verify that.

    The service may run. Exit 1 if something is wrong.

    Example: slopeward db prove var/backups/slopeward-auto-20260301T060000Z.db
    """
    with open_database(any_revision=True) as db:
        proven = proof.prove(db, file)
    for finding in proven.findings:
        print_result({"finding": finding}, finding)
    if proven.findings:
        print_note(f"{len(proven.findings)} findings; use an older backup")
        raise typer.Exit(1)
    counts = f"{sum(proven.rows.values())} rows in {len(proven.rows)} tables"
    line = f"{file} can be restored: {counts}, the audit chain and all seals are intact"
    print_result({"file": str(file), "rows": proven.rows, "audit_head": proven.audit_head}, line)


@app.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(help="A file of `slopeward db backup`")],
    yes: Annotated[bool, typer.Option("--yes", help="Replace the present content of the database")] = False,
    by: By = None,
) -> None:
    """Replace the whole database by a backup. Stop the service first.

    The command replaces the database that the service file names. Restore into another one with --config. Where
    accounts exist, an admin does it.

    Example: slopeward db restore slopeward-20260301T060000Z.db --yes
    """
    if not yes:
        raise RefusedError("this replaces the whole content of the database; stop the service and add --yes")
    with open_database(any_revision=True) as db:
        actor = authenticate_actor(db, by) if _is_readable(db) else name_os_actor()
        proof.require_restorable(db, file)
        backup.restore(db, file)
        migrate.upgrade(db)
        db.read_only_because = None
        with db.write() as c:
            audit.add_audit(c, actor, "db.restore", "database", {"file": str(file)}, datetime.now(UTC))
        print_result({"file": str(file), "now": migrate.load_current_revision(db)}, f"restored from {file}")


@app.command("verify")
def verify_all(
    audit_head: Annotated[str | None, typer.Option(help="A head of the audit log that was stored earlier")] = None,
) -> None:
    """Verify the audit chain, the hashes of evidence, the readings that decisions used, and references.

    Exit 1 if something was changed.

    Example: slopeward db verify
    """
    progress = make_progress_printer()
    with open_database() as db, db.read() as c:
        findings = proof.verify(
            c, audit_head, lambda done, total: progress("readings that decisions used", done / total)
        )
        head = audit.find_head(c)[1]
    for finding in findings:
        print_result({"finding": finding}, finding)
    if findings:
        print_note(
            f"{len(findings)} findings; restore a backup from before the change, or find out who changed the database"
        )
        raise typer.Exit(1)
    print_result({"findings": 0, "audit_head": head}, f"no row was altered; audit head {head}")


@app.command("prune")
def prune_old(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print which rows would be deleted")] = False,
) -> None:
    """Delete old rows as [retention] allows. Rows that evidence cites are kept.

    Exit 4 if nothing is old enough.

    Example: slopeward db prune
    """
    service = read_service()
    now = datetime.now(UTC)
    with open_database() as db:
        limits = housekeeping.find_limits(db, service, now)
        if dry_run:
            for key, rows in retention.list_keys(retention.list_retention_rules()).items():
                _show_limit(key, limits.before_at.get(key), ", ".join(rows))
            for name, thinning in limits.quantities.items():
                _show_limit(f"observations of {name}", thinning.before_at, f"readings of {name}")
            return
        sweep = prune.RetentionRun(db, limits, now)
        sweep.run()
        total = sweep.count_removed()
        if any(total.values()):
            with db.write() as c:
                audit.add_audit(c, name_os_actor(), "db.prune", "database", total, now)
    require_any(any(total.values()), "nothing is older than retention allows")
    print_result(total, ", ".join(f"{count} {name}" for name, count in total.items() if count))


def _show_limit(what: str, before_at: datetime | None, rows: str) -> None:
    before = None if before_at is None else format_iso(before_at)
    line = f"{what}: all rows are kept" if before is None else f"{what}: rows before {before} may be deleted: {rows}"
    print_result({"what": what, "before": before, "rows": rows}, line)


@app.command("grant-readonly")
def grant_readonly(role: Annotated[str, typer.Argument(help="An existing PostgreSQL role")], by: By = None) -> None:
    """Let a PostgreSQL role read every view and nothing else. Upgrades renew the grant.

    The sessions of the role are limited. Exit 3 if an administrator of the server must set the limits; the statements
    are printed.

    Example: slopeward db grant-readonly grafana
    """
    with open_database() as db:
        actor = authenticate_actor(db, by)
        with db.write() as c:
            views.grant_readonly(c, role)
            refused = views.limit_reader(c, role)
            audit.add_audit(c, actor, "db.grant_readonly", f"role:{role}", {}, datetime.now(UTC))
    names = list(views.list_views())
    facts = {"role": role, "views": names, "left_to_administrator": refused}
    print_result(facts, f"{role} may read {len(names)} views")
    if refused:
        print_note("this account may not limit the role; let an administrator of the server run:")
        for statement in refused:
            print_note(f"  {statement}")
        raise typer.Exit(3)


@app.command("publish")
def publish_views(
    file: Annotated[Path, typer.Argument(help="SQLite file to write. An earlier copy is replaced")],
) -> None:
    """Copy every view, and nothing else, into a SQLite file for readers. The service may run.

    Example: slopeward db publish /srv/reports/slopeward-views.db
    """
    with open_database() as db:
        counts = publish.publish(db, file, datetime.now(UTC))
    rows = sum(counts.values())
    print_result({"file": str(file), "views": len(counts), "rows": rows}, f"{file}: {len(counts)} views, {rows} rows")


def _is_readable(db: Database) -> bool:
    """Return whether the accounts can be read. A lost or damaged database is restored without authentication."""
    try:
        migrate.require_current(db)
    except (SlopewardError, SQLAlchemyError):
        return False
    return True

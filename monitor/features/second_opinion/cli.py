"""Commands of `slopeward second-opinion`: import the alarms of another system, and compare both systems."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from monitor.api.cli import By, authenticate_actor, find_readable_sites, require_readable, session
from monitor.api.database import ColumnSpan, load_view
from monitor.api.errors import RefusedError
from monitor.api.queries.alerts import DEFAULT_WINDOW_S
from monitor.api.text import canonical_json, format_duration, format_iso, read_zone
from monitor.features.second_opinion import queries
from monitor.features.second_opinion.reading import COLUMNS, read_alarms, read_columns_option

app = session.Commands(
    no_args_is_help=True,
    help="Compare Slopeward with a system that an office already has: import its alarms, and report after a trial.",
)
DEFAULT_PERIOD: Final = timedelta(days=30)


@app.command("import")
def import_alarms(
    site: session.SiteArgument,
    file: Annotated[Path, typer.Argument(help="CSV table of alarms, one in each row")],
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help=f"Name of a column of the table, such as time=Zeit: {', '.join(COLUMNS)}"),
    ] = None,
    zone: Annotated[
        str | None, typer.Option("--zone", help="Time zone of times without an offset, such as Europe/Zurich")
    ] = None,
    delimiter: Annotated[str, typer.Option("--delimiter", help="Sign between two columns; TAB for a tab")] = ",",
    encoding: Annotated[str, typer.Option("--encoding", help="Encoding of the file, such as cp1252")] = "utf-8-sig",
    by: By = None,
) -> None:
    """Import the alarms of another system that watches the same slope.

    The table has a column `time`, and may have `until`, `station`, `level`, `text` and `outcome`. No decision reads
    these alarms. They are shown in backtests and in the report of `second-opinion report`. A table can be imported
    again: alarms that are stored already are left as they are, and a new `outcome` replaces the one before. If any row
    is wrong, nothing is stored.

    Example: slopeward second-opinion import north-bench alarms.csv --column time=Zeitpunkt --zone Europe/Zurich
    """
    sign = "\t" if delimiter.upper() == "TAB" else delimiter
    if len(sign) != 1:
        raise RefusedError(f"--delimiter: expected one character or TAB, got {delimiter!r}")
    zone_name = None if zone is None else session.read_option("--zone", read_zone, zone)
    names = read_columns_option(column or ())
    rows = read_alarms(file, names=names, zone=zone_name, delimiter=sign, encoding=encoding)
    session.require_any(rows, f"{file}: the table has no alarm")
    with session.open_database() as db:
        with db.read() as c:
            session.check_site(c, site)
        actor = authenticate_actor(db, by, site)
        with db.write() as c:
            added, changed = queries.store_alarms(c, site, rows, actor, file.name, datetime.now(UTC))
    facts = {"site": site, "file": str(file), "rows": len(rows), "added": added, "outcomes": changed}
    session.print_result(
        facts,
        f"{file}: {len(rows)} alarms, {added} new, {len(rows) - added} stored before, {changed} outcomes changed",
    )


@app.command("list")
def list_alarms(
    site: session.SiteFilter = None,
    since: session.SinceOption = None,
    until: session.UntilOption = None,
    limit: session.LimitOption = 100,
) -> None:
    """List the imported alarms of the other system, the newest first. Exit 4 if there are none.

    Example: slopeward second-opinion list --site north-bench --since 2026-03-01T00:00Z
    """
    period = session.read_period(since, until)
    within = ColumnSpan(
        "at",
        after=None if period.from_at is None else format_iso(period.from_at),
        until=None if period.to_at is None else format_iso(period.to_at),
    )
    with session.open_database() as db, db.read() as c:
        sites = find_readable_sites(c, site)
        rows = load_view(c, "other_alarms", order_by=("-at", "-alarm_id"), limit=limit, within=within, site=sites)
        session.check_site(c, site, rows)
    for row in rows:
        facts = " ".join(str(row[name]) for name in ("level", "station", "text") if row[name])
        outcome = row["outcome"] or "not recorded"
        session.print_result(row, f"{row['alarm_id']:>5} {row['site']} {row['at'][:16]}Z {facts} ({outcome})")
    session.require_any(rows, "no alarm of another system is stored")


@app.command("report")
def report(
    site: session.SiteArgument,
    since: session.SinceOption = None,
    until: session.UntilOption = None,
    window: Annotated[
        str, typer.Option("--window", help="Alarms of both systems with a smaller gap belong together")
    ] = format_duration(DEFAULT_WINDOW_S),
    level: Annotated[
        str | None,
        typer.Option("--level", help="Alarms of Slopeward count from this level. Default: the first above the lowest"),
    ] = None,
    other_level: Annotated[
        list[str] | None,
        typer.Option("--other-level", help="Level of the other system that counts, can be repeated. Default: all"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write the report to this file: FILE.md, or FILE.json")
    ] = None,
) -> None:
    """Compare the alarms of Slopeward with those of another system over a period, by default the last 30 days.

    The report shows agreement, lead times, alarms of one system alone, and false alarms. An alarm is false only if a
    person recorded that (`slopeward alerts outcome`, or the column `outcome` of the imported table). Otherwise the
    report says "not recorded". It also states how it counted.

    Example: slopeward second-opinion report north-bench --since 2026-03-01T00:00Z --until 2026-04-01T00:00Z
    """
    from monitor.features.second_opinion.report import ReportOptions, compare, write_text

    period = session.read_period(since, until)
    to_at = period.to_at or datetime.now(UTC)
    from_at = period.from_at or to_at - DEFAULT_PERIOD
    if from_at >= to_at:
        raise RefusedError("--since: expected a time before the end of the report")
    if out is not None and out.suffix not in {".md", ".json"}:
        raise RefusedError(f"--out: expected FILE.md or FILE.json, got {out}")
    window_s = session.read_duration_s("--window", window)
    _, db, declared = session.open_site(site)
    with db, db.read() as c:
        require_readable(c, site)
        names = [entry.name for entry in declared.levels]
        if level is not None and level not in names[1:]:
            raise RefusedError(f"--level: expected one of {', '.join(names[1:])}, got {level!r}")
        levels = queries.list_levels(c, site)
        for name in other_level or ():
            if name not in levels:
                known = ", ".join(filter(None, levels)) or "none"
                raise RefusedError(f"--other-level: no imported alarm has the level {name!r}; there are: {known}")
        options = ReportOptions(
            from_at, to_at, window_s, 1 if level is None else names.index(level), tuple(other_level or ())
        )
        opinion = compare(c, declared, options)
    text = write_text(opinion)
    if out is not None:
        content = text if out.suffix == ".md" else f"{canonical_json(opinion.to_json())}\n"
        try:
            out.write_text(content, encoding="utf-8")
        except OSError as error:
            raise RefusedError(f"--out: {out} cannot be written: {error.strerror or error}") from None
    session.print_result_in_order(opinion.to_json(), text.rstrip("\n"))

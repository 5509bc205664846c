"""`slopeward export`: export tables and maps of a site as files for other programs."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from monitor.api.cli import (
    Commands,
    SinceOption,
    SiteArgument,
    UntilOption,
    check_site,
    open_database,
    print_note,
    print_result,
    read_period,
    require_any,
    require_readable,
)
from monitor.api.errors import RefusedError
from monitor.api.queries.alerts import load_maintenance
from monitor.api.queries.sites import load_sites_summary
from monitor.features.exports import calendar, maps
from monitor.features.exports.tables import (
    EVIDENCE,
    FORMATS,
    find_table,
    list_formats,
    list_tables,
    read_rows,
    write_table,
)

app = Commands(no_args_is_help=True, help=__doc__)
_CALENDAR = "ics"
_LAYERS = maps.list_layers()
_NAMES = tuple(dict.fromkeys((*list_tables(), *_LAYERS)))
_FORMAT_HELP = (
    f"csv or parquet; for {' and '.join(_LAYERS)} also geojson or gpkg; for maintenance also ics. "
    "Default: the ending of FILE"
)


@app.command("export")
def export(
    site: SiteArgument,
    what: Annotated[str, typer.Argument(metavar="WHAT", help=f"One of: {', '.join(_NAMES)}")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write")],
    format_: Annotated[str | None, typer.Option("--format", help=_FORMAT_HELP)] = None,
    station: Annotated[str | None, typer.Option("--station", help="Only this station or instrument")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists")] = False,
) -> None:
    """Write a table or map of a site to a file.

    Columns are those of the public views. If the export fails, no file is left. Exit 4 if the period has no rows.

    Example: slopeward export north-bench observations --since 2026-03-01T00:00Z --out march.parquet
    """
    kind = (format_ or out.suffix.lstrip(".")).lower()
    if out.exists() and not force:
        raise RefusedError(f"{out} exists; use --force to replace it")
    from_at, to_at = read_period(since, until)
    _check_format(what, kind, is_ranged=bool(from_at or to_at), is_of_station=station is not None)
    now = datetime.now(UTC)
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    with open_database() as db, db.read() as c:
        require_readable(c, site)
        check_site(c, site)
        try:
            if kind in (*FORMATS, EVIDENCE):
                rows = read_rows(c, what, site, station=station, from_at=from_at, to_at=to_at)
                count = write_table(rows, partial, kind, lambda n: print_note(f"  {n} rows"))
                if what == "alerts" and kind == "csv":
                    rows = read_rows(c, what, site, from_at=from_at, to_at=to_at)
                    write_table(rows, out.with_name(f"{out.stem}-evidence.{EVIDENCE}"), EVIDENCE)
            elif kind == _CALENDAR:
                windows = load_maintenance(c, site, now, everything=True)
                names = {summary.id: summary.name for summary in load_sites_summary(c, active_only=False)}
                partial.write_bytes(calendar.write_maintenance(windows, site, names.get(site, site), now))
                count = len(windows)
            else:
                count = maps.write_map(c, what, site, partial, kind, now, from_at=from_at, to_at=to_at)
            if count:
                partial.replace(out)
        finally:
            partial.unlink(missing_ok=True)
    if what == "stations":
        reason = "has no station with a position; add latitude and longitude to the site file"
    else:
        reason = f"has no {what} {'in that range' if from_at or to_at else 'yet'}"
    require_any(count, f"{site} {reason}; nothing was written")
    size = out.stat().st_size
    print_result({"file": str(out), "rows": count, "bytes": size}, f"{out}: {count} {what}, {size} bytes")


def _check_format(what: str, kind: str, *, is_ranged: bool, is_of_station: bool) -> None:
    """Raise NotFoundError for an unknown table, and RefusedError for a format or range that it does not have."""
    if what not in _LAYERS:
        find_table(what)
    if kind not in _list_export_formats(what):
        raise RefusedError(
            f"{what} can be written as {', '.join(_list_export_formats(what))}, not as {kind or 'nothing'!r}"
        )
    if kind == _CALENDAR and is_ranged:
        raise RefusedError("a calendar contains all maintenance windows: omit --since and --until")
    if kind not in FORMATS and is_of_station:
        raise RefusedError(f"a {kind} file contains the whole site: omit --station")


def _list_export_formats(what: str) -> tuple[str, ...]:
    formats = list_formats(what) if what in list_tables() else ()
    if what in _LAYERS:
        formats += maps.FORMATS
    if what == "maintenance":
        formats += (_CALENDAR,)
    return formats

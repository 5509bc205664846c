"""`slopeward export`: export tables and maps of a site as files for other programs."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from monitor.api.cli import (
    Commands,
    check_site,
    open_database,
    print_note,
    read_instant,
    require_any,
    require_readable,
    show,
)
from monitor.api.errors import RefusedError
from monitor.api.queries.alerts import load_maintenance
from monitor.api.queries.sites import load_sites_summary
from monitor.features.exports import calendar, maps
from monitor.features.exports.tables import (
    EVIDENCE,
    FORMATS,
    find_table,
    list_forms,
    list_tables,
    read_rows,
    write_table,
)

app = Commands(no_args_is_help=True, help=__doc__)
_CALENDAR = "ics"
_LAYERS = maps.list_layers()
_NAMES = tuple(dict.fromkeys((*list_tables(), *_LAYERS)))
_HELP = f"csv, parquet; of {' and '.join(_LAYERS)} also geojson, gpkg; of maintenance also ics. Else as FILE ends"


@app.command("export")
def export(
    site: Annotated[str, typer.Argument(metavar="SITE", help="Site")],
    what: Annotated[str, typer.Argument(metavar="WHAT", help=f"One of: {', '.join(_NAMES)}")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write")],
    format_: Annotated[str | None, typer.Option("--format", help=_HELP)] = None,
    station: Annotated[str | None, typer.Option("--station", help="Only this station or instrument")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="After this instant, such as 2026-03-01T00:00Z")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Up to this instant")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE where it exists")] = False,
) -> None:
    """Write one table or map of a site into a file; exit 4 when there is nothing in that range.

    Columns are those of the public views. The file comes into place whole, or not at all.

    Example: slopeward export north-bench observations --from 2026-03-01T00:00Z --out march.parquet
    """
    kind = (format_ or out.suffix.lstrip(".")).lower()
    if out.exists() and not force:
        raise RefusedError(f"{out} exists; --force replaces it")
    from_at, to_at = (None if at is None else read_instant("--from, --to", at) for at in (from_, to))
    _check_format(what, kind, is_ranged=bool(from_at or to_at), is_of_station=station is not None)
    now, work = datetime.now(UTC), out.with_name(f".{out.name}.{os.getpid()}")
    with open_database() as db, db.read() as c:
        require_readable(c, site)
        check_site(c, site)
        try:
            if kind in (*FORMATS, EVIDENCE):
                rows = read_rows(c, what, site, station=station, from_at=from_at, to_at=to_at)
                count = write_table(rows, work, kind, lambda n: print_note(f"  {n} rows"))
                if what == "alerts" and kind == "csv":
                    rows = read_rows(c, what, site, from_at=from_at, to_at=to_at)
                    write_table(rows, out.with_name(f"{out.stem}-evidence.{EVIDENCE}"), EVIDENCE)
            elif kind == _CALENDAR:
                windows = load_maintenance(c, site, now, everything=True)
                name = next((s.name for s in load_sites_summary(c, active_only=False) if s.id == site), site)
                work.write_bytes(calendar.write_maintenance(windows, site, name, now))
                count = len(windows)
            else:
                count = maps.write_map(c, what, site, work, kind, now, from_at=from_at, to_at=to_at)
            if count:
                work.replace(out)
        finally:
            work.unlink(missing_ok=True)
    lacks = f"has no {what} {'in that range' if from_at or to_at else 'yet'}"
    if what == "stations":
        lacks = "has no station with a place: give it latitude and longitude in the site file"
    require_any(count, f"{site} {lacks}; nothing was written")
    size = out.stat().st_size
    show({"file": str(out), "rows": count, "bytes": size}, f"{out}: {count} {what}, {size} bytes")


def _check_format(what: str, kind: str, *, is_ranged: bool, is_of_station: bool) -> None:
    """Refuse a table that there is not, and a format that cannot hold it, or hold a part of it."""
    if what not in _LAYERS:
        find_table(what)
    if kind not in _list_formats(what):
        raise RefusedError(f"{what} can be written as {', '.join(_list_formats(what))}, not as {kind or 'nothing'!r}")
    if kind == _CALENDAR and is_ranged:
        raise RefusedError("a calendar holds all maintenance: leave --from and --to out")
    if kind not in FORMATS and is_of_station:
        raise RefusedError(f"a file of the form {kind} is of the whole site: leave --station out")


def _list_formats(what: str) -> tuple[str, ...]:
    tables = list_forms(what) if what in list_tables() else ()
    return (
        *tables,
        *(maps.FORMATS if what in _LAYERS else ()),
        *((_CALENDAR,) if what == "maintenance" else ()),
    )

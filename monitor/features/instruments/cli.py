"""`slopeward instruments list` and `show`: state of each instrument, reason, whether it votes, and what it needs."""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from monitor.api.cli import find_readable_sites, session
from monitor.api.errors import NotFoundError
from monitor.features.instruments.queries.board import BoardRow, load_present_board

app = session.Commands()


@app.command("list")
def list_(
    site: session.SiteFilter = None,
    unwell: Annotated[bool, typer.Option("--unwell", help="Only instruments that are not ok.")] = False,
    utc: session.UtcOption = False,
) -> None:
    """List instruments by logger: state, reason, battery, whether they vote, and what to do. Exit 4 if there are none.

    Example: slopeward instruments list --site north-bench --unwell
    """
    with session.open_database() as db, db.read() as c:
        rows = load_present_board(c, find_readable_sites(c, site), datetime.now(UTC))
        session.check_site(c, site, rows)
        zones = session.find_zones(c, utc=utc)
    rows = [row for row in rows if not unwell or row["state"] != "ok"]
    parent = None
    for row in rows:
        if not session.options().as_json and (row["site"], row["parent"]) != parent:
            parent = (row["site"], row["parent"])
            print(f"{row['site']}, {row['parent'] or 'without a logger'}")
        session.print_result(
            {**row, "spark": row["spark"] and json.loads(row["spark"])}, _describe(row, zones(row["site"]))
        )
    session.require_any(rows, "no instrument" if not unwell else "all instruments are ok")


@app.command("show")
def show_(
    site: session.SiteArgument,
    instrument: Annotated[str, typer.Argument(metavar="INSTRUMENT", help="Station")],
    utc: session.UtcOption = False,
) -> None:
    """Show an instrument: what is wrong with it, battery, calibration, and availability of its readings by month.

    Example: slopeward instruments show north-bench G1
    """
    with session.open_database() as db, db.read() as c:
        rows = load_present_board(c, find_readable_sites(c, site), datetime.now(UTC), instrument)
        session.check_site(c, site, rows)
        if not rows:
            raise NotFoundError(
                f"site {site!r} declares no instrument {instrument!r}; see `slopeward instruments list`"
            )
        zone = session.find_zones(c, utc=utc)(site)
    row = rows[0]
    lines = [_describe(row, zone).strip()]
    lines += [
        f"  {finding['state']} since {session.format_in_zone(finding['since'], zone)}: "
        f"{session.translate_in_zone(finding['reason'], zone)}: {session.translate_in_zone(finding['action'], zone)}"
        for finding in row["findings"]
    ]
    method = session.translate_in_zone(row["battery_method"], zone)
    lines.append(f"  battery: {_format_battery(row)}; {method}" if method else "  battery: -")
    age = f", {row['calibration_age_days']} days ago" if row["calibrated_on"] else ""
    lines.append(f"  calibrated on {row['calibrated_on'] or '-'}{age}, due on {row['calibration_due_on'] or '-'}")
    lines += [
        f"  {month['month']}: {month['availability']:.1%} of {month['expected']} epochs" for month in row["months"]
    ]
    session.print_result({**row, "spark": row["spark"] and json.loads(row["spark"])}, "\n".join(lines))


def _format_battery(row: BoardRow) -> str:
    parts = []
    if row["battery_v"] is not None:
        parts.append(f"{row['battery_v']:.2f} V")
    if row["battery_percent"] is not None:
        parts.append(f"{row['battery_percent']:.0f} %")
    if not parts:
        parts.append("-")
    if row["battery_empty_at"] is not None:
        parts.append(f"empty about {row['battery_empty_at'][:10]}")
    return ", ".join(parts)


def _describe(row: BoardRow, zone: str) -> str:
    since = f" since {session.format_in_zone(row['since'], zone)}" if row["since"] else ""
    votes = "votes" if row["votes"] else "does not vote"
    details = "".join(f": {session.translate_in_zone(text, zone)}" for text in (row["reason"], row["action"]) if text)
    return f"  {row['instrument']:<10} {row['state']}{since}, {votes}, battery {_format_battery(row)}{details}"

"""`slopeward instruments list` and `show`: how each instrument does, why, whether it votes, and what it needs."""

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
    site: Annotated[str | None, typer.Option("--site", help="Only this site")] = None,
    unwell: Annotated[bool, typer.Option("--unwell", help="Only those that are not ok")] = False,
    utc: session.UtcOption = False,
) -> None:
    """List instruments by what they hang on: state, since when, why, votes, battery, action; exit 4 without any.

    Example: slopeward instruments list --site north-bench --unwell
    """
    with session.open_database() as db, db.read() as c:
        rows = load_present_board(c, find_readable_sites(c, site), datetime.now(UTC))
        session.check_site(c, site, rows)
        zones = session.find_zones(c, utc=utc)
    rows = [r for r in rows if not unwell or r["state"] != "ok"]
    parent = None
    for row in rows:
        if not session.options().as_json and (row["site"], row["parent"]) != parent:
            parent = (row["site"], row["parent"])
            print(f"{row['site']}, {row['parent'] or 'on its own'}")
        session.show({**row, "spark": row["spark"] and json.loads(row["spark"])}, _describe(row, zones(row["site"])))
    session.require_any(rows, "no instrument" if not unwell else "all instruments are ok")


@app.command("show")
def show_(
    site: Annotated[str, typer.Argument(metavar="SITE", help="Site")],
    instrument: Annotated[str, typer.Argument(metavar="INSTRUMENT", help="Station")],
    utc: session.UtcOption = False,
) -> None:
    """Show one instrument: all that is wrong with it, battery, calibration, and its share of each month.

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
        f"  {f['state']} since {session.format_in_zone(f['since'], zone)}: "
        f"{session.translate_in_zone(f['reason'], zone)}: {session.translate_in_zone(f['action'], zone)}"
        for f in row["findings"]
    ]
    method = session.translate_in_zone(row["battery_method"], zone)
    lines.append(f"  battery: {_battery(row)}; {method}" if method else "  battery: -")
    age = f", {row['calibration_age_days']} days ago" if row["calibrated_on"] else ""
    lines.append(f"  calibrated on {row['calibrated_on'] or '-'}{age}, due on {row['calibration_due_on'] or '-'}")
    lines += [f"  {m['month']}: {m['availability']:.1%} of {m['expected']} epochs" for m in row["months"]]
    session.show({**row, "spark": row["spark"] and json.loads(row["spark"])}, "\n".join(lines))


def _battery(row: BoardRow) -> str:
    volts = "-" if row["battery_v"] is None else f"{row['battery_v']:.2f} V"
    if row["battery_percent"] is not None:
        volts = f"{'' if row['battery_v'] is None else f'{volts}, '}{row['battery_percent']:.0f} %"
    return volts if row["battery_empty_at"] is None else f"{volts}, empty about {row['battery_empty_at'][:10]}"


def _describe(row: BoardRow, zone: str) -> str:
    since = f" since {session.format_in_zone(row['since'], zone)}" if row["since"] else ""
    votes = "votes" if row["votes"] else "does not vote"
    details = "".join(f": {session.translate_in_zone(text, zone)}" for text in (row["reason"], row["action"]) if text)
    return f"  {row['instrument']:<10} {row['state']}{since}, {votes}, battery {_battery(row)}{details}"

"""`slopeward offsets`: declare that an antenna was changed or an instrument re-zeroed; raw values never change."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from monitor.cli.identity import acting, narrow_to_reader
from monitor.cli.session import LARGEST_ID, Commands, check_site, open_database, require_any, show
from monitor.domain.instants import parse, spell
from monitor.errors import NotFoundError, RefusedError
from monitor.store.alerting import offsets
from monitor.store.readings.observations import find_series_id
from monitor.store.schema.views import load_view

app = Commands(no_args_is_help=True, help=__doc__)
By = Annotated[str | None, typer.Option("--by", help="Who does it; else the account of the OS user")]
Site = Annotated[str | None, typer.Option("--site", help="Only this site")]
OffsetId = Annotated[
    int, typer.Argument(min=1, max=LARGEST_ID, help="Number of the offset, see `slopeward offsets list`")
]


@app.command("add")
def add(
    site: Annotated[str, typer.Option(help="Site")],
    station: Annotated[str, typer.Option(help="Station")],
    quantity: Annotated[str, typer.Option(help="Quantity, such as displacement_east")],
    at: Annotated[str, typer.Option(help="First epoch that carries the jump, with zone: 2026-03-01T06:00:00Z")],
    size: Annotated[float, typer.Option(min=-1e9, max=1e9, help="The jump as raw shows it")],
    unit: Annotated[str, typer.Option(help="Unit of the size")],
    reason: Annotated[str, typer.Option(help="Why")],
    kind: Annotated[str, typer.Option(help=f"One of {', '.join(offsets.KINDS)}")] = "other",
    known_from: Annotated[str | None, typer.Option(help="Since when we know; now when not given")] = None,
    by: By = None,
) -> None:
    """Declare an offset; it counts from the next evaluation on: corrected = raw - sum(offsets up to then).

    For the two highest levels the values count as measured as well, until a second person confirms the offset.

    Example: slopeward offsets add --site north-bench --station G1 --quantity displacement_east
    --at 2026-03-01T06:00:00Z --size 12.5 --unit mm --kind antenna --reason "antenna replaced"
    """
    happened, known = _instant(at), None if known_from is None else _instant(known_from)
    with acting(by, site) as (c, author, now):
        series_id = find_series_id(c, site, station, quantity)
        if series_id is None:
            check_site(c, site)
            there = "see the view latest_observation"
            raise NotFoundError(f"there is no series {site} {station} {quantity} yet; {there}")
        offset_id = offsets.add_offset(
            c, series_id, at=happened, known_from=known or now, size=size, unit=unit, kind=kind, author=author,
            reason=reason, now=now,
        )  # fmt: skip
    told = (
        f"for the two highest levels it counts once a second person confirms it: slopeward offsets confirm {offset_id}"
    )
    show({"offset_id": offset_id}, f"offset {offset_id} is declared; {told}")


@app.command("confirm")
def confirm(
    offset_id: OffsetId, reason: Annotated[str, typer.Option(help="What was checked")] = "", by: By = None,
) -> None:  # fmt: skip
    """Note that a declared offset was checked; by a second person it counts for the two highest levels as well.

    Example: slopeward offsets confirm 3 --reason "compared with the field book"
    """
    with acting(by, lambda c: offsets.find_site_of_offset(c, offset_id)) as (c, who, now):
        offsets.confirm_offset(c, offset_id, who, reason, now)
    show({"offset_id": offset_id}, f"offset {offset_id} is confirmed")


@app.command("revoke")
def revoke(offset_id: OffsetId, reason: Annotated[str, typer.Option(help="Why")], by: By = None) -> None:
    """Withdraw an offset from now on; past decisions keep what they knew.

    What two people stand behind is taken back by the opposite offset, which a second person confirms.

    Example: slopeward offsets revoke 3 --reason "wrong station"
    """
    with acting(by, lambda c: offsets.find_site_of_offset(c, offset_id)) as (c, who, now):
        offsets.revoke_offset(c, offset_id, who, reason, now)
    show({"offset_id": offset_id}, f"offset {offset_id} is revoked")


@app.command("list")
def list_offsets(site: Site = None) -> None:
    """List declared offsets with both their dates, author and state; exit 4 when there are none.

    Example: slopeward offsets list --site north-bench
    """
    with open_database() as db, db.read() as c:
        sites = narrow_to_reader(c, site)
        rows = load_view(c, "offsets", order_by=("offset_id",), site=sites)
        check_site(c, site, rows)
    for row in rows:
        by = row["confirmed_by"]
        state = "revoked" if row["revoked_at"] else f"confirmed by {by}, declared" if by else "declared"
        series = f"{row['site']} {row['station']} {row['quantity']}"
        line = (
            f"{row['offset_id']:>4} {series} {row['size']:+g} {row['unit']} at {row['at']} {state} by {row['author']}"
        )
        show(row, f"{line}: {row['reason']}")
    require_any(rows, "no offset is declared")


def _instant(text: str) -> datetime:
    try:
        return parse(text)
    except ValueError as error:
        raise RefusedError(f"{error}; for example {spell(datetime(2026, 3, 1, 6, tzinfo=UTC))}") from error

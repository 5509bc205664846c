"""`slopeward maintenance`: declare maintenance at a station. It suspends votes, but not those for extreme motion."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from monitor.alerts.queries import maintenance as store
from monitor.cli.acts import add_acts
from monitor.cli.identity import find_readable_sites
from monitor.cli.session import Commands, check_site, find_zones, format_in_zone, open_database, require_any, show
from monitor.text.instants import record_to_json

app = Commands(no_args_is_help=True, help=__doc__)
add_acts(app, "maintenance")


@app.command("list")
def list_(
    site: Annotated[str | None, typer.Option("--site", help="Only this site")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Those that are over as well")] = False,
) -> None:
    """List maintenance that is declared and not over; exit 4 when there is none.

    Example: slopeward maintenance list --site north-bench --all
    """
    with open_database() as db, db.read() as c:
        found = store.load_maintenance(c, find_readable_sites(c, site), datetime.now(UTC), everything=everything)
        check_site(c, site, found)
        zones = find_zones(c, utc=False)
    for one in found:
        zone = zones(one.site)
        people = one.by + (f" with {one.second_by}" if one.second_by else "")
        begin, end = format_in_zone(one.from_at, zone), format_in_zone(one.to_at, zone)
        over = f", ended {format_in_zone(one.ended_at, zone)} by {one.ended_by}" if one.ended_at else ""
        line = f"{one.id:>4} {one.site} {one.station} {begin} to {end}{over}"
        show(record_to_json(one), f"{line}, {people}: {one.reason}")
    require_any(found, "no maintenance")

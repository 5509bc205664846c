"""`slopeward maintenance`: declare maintenance at a station. It suspends votes, but not those for extreme motion."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from monitor.alerts.queries import maintenance as store
from monitor.cli.acts import add_acts
from monitor.cli.identity import find_readable_sites
from monitor.cli.session import (
    Commands,
    SiteFilter,
    check_site,
    find_zones,
    format_in_zone,
    open_database,
    print_result,
    require_any,
)
from monitor.text.instants import record_to_json

app = Commands(no_args_is_help=True, help=__doc__)
add_acts(app, "maintenance")


@app.command("list")
def list_(
    site: SiteFilter = None,
    everything: Annotated[bool, typer.Option("--all", help="Also maintenance that is over")] = False,
) -> None:
    """List maintenance that is declared and not over.

    Exit 4 if there is none.

    Example: slopeward maintenance list --site north-bench --all
    """
    with open_database() as db, db.read() as c:
        rows = store.load_maintenance(c, find_readable_sites(c, site), datetime.now(UTC), everything=everything)
        check_site(c, site, rows)
        zones = find_zones(c, utc=False)
    for row in rows:
        zone = zones(row.site)
        people = row.by + (f" with {row.second_by}" if row.second_by else "")
        begin, end = format_in_zone(row.from_at, zone), format_in_zone(row.to_at, zone)
        over = f", ended {format_in_zone(row.ended_at, zone)} by {row.ended_by}" if row.ended_at else ""
        line = f"{row.id:>4} {row.site} {row.station} {begin} to {end}{over}"
        print_result(record_to_json(row), f"{line}, {people}: {row.reason}")
    require_any(rows, "no maintenance")

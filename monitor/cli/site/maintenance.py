"""`slopeward maintenance`: people work on a station; its votes wait for a time, and the gravest never do."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from monitor.cli.acts import add_acts
from monitor.cli.identity import narrow_to_reader
from monitor.cli.session import Commands, check_site, open_database, require_any, show
from monitor.domain.instants import record_to_json
from monitor.store.alerting import maintenance as store

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
        found = store.load_maintenance(c, narrow_to_reader(c, site), datetime.now(UTC), everything=everything)
        check_site(c, site, found)
    for one in found:
        facts = record_to_json(one)
        people = one.by + (f" with {one.second_by}" if one.second_by else "")
        over = f", ended {facts['ended_at'][:16]}Z by {one.ended_by}" if one.ended_at else ""
        line = f"{one.id:>4} {one.site} {one.station} {facts['from_at'][:16]}Z to {facts['to_at'][:16]}Z{over}"
        show(facts, f"{line}, {people}: {one.reason}")
    require_any(found, "no maintenance")

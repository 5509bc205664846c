"""`slopeward events`: record blasting, earthworks, reservoir changes or an earthquake, which can explain a motion."""

from monitor.cli import session
from monitor.cli.acts import add_acts
from monitor.cli.identity import find_readable_sites
from monitor.storage.views import load_view

app = session.Commands(no_args_is_help=True, help=__doc__)


add_acts(app, "events")


@app.command("list")
def list_events(site: session.SiteFilter = None, limit: session.LimitOption = 100) -> None:
    """List events with their author, how they were entered, and how many people confirmed each.

    Exit 4 if there are none.

    Example: slopeward events list --site north-bench
    """
    with session.open_database() as db, db.read() as c:
        sites = find_readable_sites(c, site)
        rows = load_view(c, "site_events", order_by=("-from_at", "-event_id"), limit=limit, site=sites)
        session.check_site(c, site, rows)
    for row in rows:
        behind = f", confirmed by {row['confirmations']}" if row["confirmations"] else ""
        line = f"{row['event_id']:>4} {row['site']} {row['from_at'][:16]}Z {row['kind']} by {row['by']} ({row['via']})"
        gone = f", withdrawn by {row['withdrawn_by']}" if row["withdrawn_at"] else ""
        session.print_result(row, f"{line}{behind}{gone}: {row['text']}")
    session.require_any(rows, "no event is declared")

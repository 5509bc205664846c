"""`slopeward events`: record blasting, earthworks, reservoir changes or an earthquake, which can explain a motion."""

from monitor.cli import session
from monitor.cli.acts import add_acts
from monitor.cli.identity import find_readable_sites
from monitor.storage.views import ColumnSpan, load_view
from monitor.text.instants import format_iso

app = session.Commands(no_args_is_help=True, help=__doc__)


add_acts(app, "events")


@app.command("list")
def list_events(
    site: session.SiteFilter = None,
    since: session.SinceOption = None,
    until: session.UntilOption = None,
    limit: session.LimitOption = 100,
) -> None:
    """List events with their author, how they were entered, and how many people confirmed each.

    --since and --until select events that happened at least partly in the period. Exit 4 if there are none.

    Example: slopeward events list --site north-bench --since 2026-03-01T00:00Z
    """
    period = session.read_period(since, until)
    within = ColumnSpan(
        "to_at",
        after=None if period.from_at is None else format_iso(period.from_at),
        until=None if period.to_at is None else format_iso(period.to_at),
        begin_column="from_at",
    )
    with session.open_database() as db, db.read() as c:
        sites = find_readable_sites(c, site)
        rows = load_view(c, "site_events", order_by=("-from_at", "-event_id"), limit=limit, within=within, site=sites)
        session.check_site(c, site, rows)
    for row in rows:
        behind = f", confirmed by {row['confirmations']}" if row["confirmations"] else ""
        line = f"{row['event_id']:>4} {row['site']} {row['from_at'][:16]}Z {row['kind']} by {row['by']} ({row['via']})"
        gone = f", withdrawn by {row['withdrawn_by']}" if row["withdrawn_at"] else ""
        session.print_result(row, f"{line}{behind}{gone}: {row['text']}")
    is_limited = since is not None or until is not None
    session.require_any(rows, "no event in this period" if is_limited else "no event is declared")

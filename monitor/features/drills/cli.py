"""`slopeward notify drill`: hold, end and list drills. A drill never changes the real state of a site."""

from monitor.api.cli import add_acts, find_readable_sites, session
from monitor.api.text import record_to_json
from monitor.features.drills.queries import load_drills

app = session.Commands(no_args_is_help=True, help=__doc__)


add_acts(app, "notify drill")


@app.command("list")
def list_drills(site: session.SiteFilter = None) -> None:
    """List the drills that were held, and how quickly people acknowledged. Exit 4 if there are none.

    Example: slopeward notify drill list --json
    """
    with session.open_database() as db, db.read() as c:
        drills = load_drills(c, find_readable_sites(c, site))
    for d in drills:
        if session.options().as_json:
            session.print_json({"drill": d.id, **record_to_json(d, "id")})
        else:
            slowest = (d.outcome or {}).get("slowest_acknowledgement_s")
            print(
                f"{d.id} {d.site} {d.started_at:%Y-%m-%d %H:%M} {d.state} by {d.by}: {d.scenario}"
                + (f"; slowest acknowledgement {slowest:.0f} s" if slowest is not None else "")
            )
    session.require_any(drills, "no drill was held")

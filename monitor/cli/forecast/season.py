"""`slopeward forecast season`: trend, season and remainder of the series of a site, as the newest night found them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from monitor.cli import session
from monitor.cli.identity import require_readable
from monitor.store.schema.views import load_view


def season(
    site: session.SiteOption,
    station: Annotated[str | None, typer.Option("--station", help="Only this station.")] = None,
    quantity: Annotated[str | None, typer.Option("--quantity", help="Only this quantity.")] = None,
    compute: Annotated[bool, typer.Option("--now", help="Split anew now; do not wait for the night.")] = False,
    out: Annotated[Path | None, typer.Option("--csv", help="Write the components to this file (`-` = stdout).")] = None,
) -> None:
    """Show trend, season and remainder of each series, or why there is none; exit 4 when nothing was split."""
    from monitor.jobs.forecasts.season import split_site

    service, db = session.open_service()
    with db:
        if compute:
            session.say(split_site(db, service, session.pick_site(service, site), datetime.now(UTC)))
        asked = {"site": site, "station": station, "quantity": quantity}
        only: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
        order = ("station", "quantity")
        with db.read() as c:
            require_readable(c, site)
            heads = load_view(c, "series_seasons", order_by=order, **only)
            rows = load_view(c, "season_components", order_by=(*order, "at"), **only) if out else []
            session.check_site(c, site, heads)
    session.require_any(heads, "nothing was split yet; `--now` does not wait for the night")
    if out is None:
        for head in heads:
            session.show(head, _describe(head))
    elif not rows:
        session.say("no series has a split: see why without --csv")
        raise typer.Exit(session.NOTHING)
    else:
        session.write_table(rows, out, "rows")


def _describe(head: dict[str, Any]) -> str:
    name = f"{head['station']:<10} {head['quantity']}"
    if head["reason"]:
        return f"{name}: no season: {head['reason']}"
    span = f"{head['first_at'][:10]} to {head['last_at'][:10]}, {head['grid_rows']} {head['grid']}s"
    day = (
        ""
        if head["day_range"] is None
        else f"; {head['day_range']:.4g} {head['unit']} within a day, strength {head['day_strength']:.0%}"
    )
    return (
        f"{name}: season of {head['season_range']:.4g} {head['unit']} within the last year, strength of the season "
        f"{head['season_strength']:.0%}, of the trend {head['trend_strength']:.0%}{day}; {head['method']}, {span}"
    )

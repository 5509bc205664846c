"""`slopeward forecast refit`: fit SARIMAX and unobserved components of a site now, and show what is kept of them."""

from datetime import UTC, datetime

import typer

from monitor.cli.session import NOTHING, SiteOption, open_site, say, show
from monitor.store.schema.views import load_view


def refit(site: SiteOption) -> None:
    """Fit the statistical models of a site now, and list what is kept of each; the service does so every night.

    Exit 4 when the site names neither `sarimax` nor `uc`, or has no recent readings.
    """
    from monitor.jobs.forecasts.refit import refit_site

    service, db, one = open_site(site)
    with db:
        say(refit_site(db, service, one, datetime.now(UTC)))
        with db.read() as c:
            rows = load_view(c, "model_fits", order_by=("model", "station", "quantity"), site=site)
    for row in rows:
        fitted = f"fitted {row['fitted_at'][:16]}Z" if row["fitted_at"] else "no parameters"
        doubts = "" if row["settled"] else ", ended before its best"
        why = f": {row['reason']}" if row["reason"] else ""
        name = f"{row['model']:<8} {row['station']} {row['quantity']}"
        show(row, f"{name}: {fitted}{doubts}, drivers {row['drivers'] or '-'}{why}")
    if not rows:
        raise typer.Exit(NOTHING)

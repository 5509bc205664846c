"""`slopeward alerts`: list and explain alerts, and respond to them."""

from typing import Annotated

import typer

from monitor.alerts.queries import alerts as store
from monitor.cli import session
from monitor.cli.acts import add_acts
from monitor.cli.identity import SERVICE_SITE, find_readable_sites, require_readable
from monitor.cli.site import chain, explaining
from monitor.cli.site.explaining import AlertId
from monitor.decision.alert_texts import name_level
from monitor.decision.changes import AlertCategory
from monitor.errors import RefusedError
from monitor.sites.queries.sites import load_sites_summary
from monitor.text.instants import record_to_json
from monitor.text.message import Term

app = session.Commands(no_args_is_help=True, help=__doc__)
app.add_typer(explaining.app)
app.add_typer(chain.app)


@app.command("list")
def list_(
    site: Annotated[str | None, typer.Option("--site", help="Only this site; `status` for the service itself")] = None,
    ledger: Annotated[str | None, typer.Option("--ledger", help="hazard, health or advice")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Closed ones as well")] = False,
    limit: session.LimitOption = 100,
    utc: session.UtcOption = False,
) -> None:
    """List alerts: hazard, health, then advice, newest first; exit 4 when there are none.

    Example: slopeward alerts list --site north-bench --ledger hazard --all
    """
    if ledger is not None and ledger not in list(AlertCategory):
        raise RefusedError(f"--ledger: expected one of: {', '.join(AlertCategory)}, got {ledger!r}")
    with session.open_database() as db, db.read() as c:
        found = store.load_alerts(
            c, find_readable_sites(c, site), open_only=not everything, ledger=ledger, limit=limit, hazard_first=True
        )
        session.check_site(c, None if site == SERVICE_SITE else site, found)
        names = {s.id: s.levels for s in load_sites_summary(c, active_only=False)}
        zones = session.find_zones(c, utc=utc)
    for alert in found:
        level = name_level(names.get(alert.site, ()), alert.ledger, alert.level)
        at = session.format_in_zone(alert.raised_at, zones(alert.site))
        line = f"{alert.id:>5} {at} {alert.site} {alert.ledger} {level}, {_name(alert.state)}"
        session.show(record_to_json(alert), f"{line}: {session.translate_in_zone(alert.reason, zones(alert.site))}")
    session.require_any(found, "no alert")


@app.command("show")
def show_(alert_id: AlertId, utc: session.UtcOption = False) -> None:
    """Show one alert with everything that happened to it.

    Example: slopeward alerts show 12 --json
    """
    with session.open_database() as db, db.read() as c:
        alert = store.require_alert(c, alert_id)
        require_readable(c, alert.site)
        events = store.load_alert_events(c, alert_id)
        zone = session.find_zones(c, utc=utc)(alert.site)
        names = {s.id: s.levels for s in load_sites_summary(c, active_only=False)}.get(alert.site, ())
    facts = {**record_to_json(alert), "events": [record_to_json(e) for e in events]}
    what = f"{alert.ledger} {name_level(names, alert.ledger, alert.level)}, {_name(alert.state)}"
    lines = [f"alert {alert.id} of {alert.site}: {what}"]
    lines += [
        f"  {session.format_in_zone(e.at, zone)} {_name(e.from_state or 'normal')} -> {_name(e.to_state)}, "
        f"{name_level(names, alert.ledger, e.to_level)}, "
        f"{e.actor} ({e.actor_kind}): {session.translate_in_zone(e.reason, zone)}"
        for e in events
    ]
    session.show(facts, "\n".join(lines))


add_acts(app, "alerts")


def _name(state: str) -> str:
    return Term(state).english()

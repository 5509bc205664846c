"""`slopeward alerts`: list and explain alerts, and respond to them."""

from typing import Annotated

import typer

from monitor.alerts.queries.alerts import load_alert_events, load_alerts, require_alert
from monitor.cli import session
from monitor.cli.acts import add_acts
from monitor.cli.alert_lines import describe_alert, format_key
from monitor.cli.identity import find_readable_sites, require_readable
from monitor.cli.site import chain, explaining
from monitor.cli.site.explaining import AlertId
from monitor.decision.alert_texts import name_level, unwrap_reason
from monitor.decision.changes import AlertCategory
from monitor.errors import RefusedError
from monitor.sites.queries.sites import load_sites_summary
from monitor.storage.actor import SERVICE_SITE
from monitor.text.instants import record_to_json
from monitor.text.message import Term

app = session.Commands(no_args_is_help=True, help=__doc__)
app.add_typer(explaining.app)
app.add_typer(chain.app)


@app.command("list")
def list_(
    site: Annotated[str | None, typer.Option("--site", help="Only this site; `status` for the service itself")] = None,
    ledger: Annotated[str | None, typer.Option("--ledger", help="hazard, health or advice")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also closed alerts")] = False,
    since: session.SinceOption = None,
    until: session.UntilOption = None,
    limit: session.LimitOption = 100,
    utc: session.UtcOption = False,
) -> None:
    """List the open alerts: hazard, health, then advice, newest first. A health alert ends with its key.

    --since and --until select alerts by the time at which they were raised. Exit 4 if there are none.

    Example: slopeward alerts list --site north-bench --ledger hazard --all --since 2026-03-01T00:00Z
    """
    if ledger is not None and ledger not in list(AlertCategory):
        raise RefusedError(f"--ledger: expected one of: {', '.join(AlertCategory)}, got {ledger!r}")
    period = session.read_period(since, until)
    with session.open_database() as db, db.read() as connection:
        readable_sites = find_readable_sites(connection, site)
        alerts = load_alerts(
            connection,
            readable_sites,
            open_only=not everything,
            ledger=ledger,
            after=period.from_at,
            until=period.to_at,
            limit=limit,
            hazard_first=True,
        )
        session.check_site(connection, None if site == SERVICE_SITE else site, alerts)
        level_names = {row.id: row.levels for row in load_sites_summary(connection, active_only=False)}
        zones = session.find_zones(connection, utc=utc)
    for alert in alerts:
        zone = zones(alert.site)
        raised_at = session.format_in_zone(alert.raised_at, zone)
        line = f"{alert.id:>5} {raised_at} {describe_alert(alert, level_names, zone)}"
        session.print_result(record_to_json(alert), line)
    session.require_any(alerts, "no alert")


@app.command("show")
def show_(alert_id: AlertId, utc: session.UtcOption = False) -> None:
    """Show one alert with everything that happened to it.

    Example: slopeward alerts show 12 --json
    """
    with session.open_database() as db, db.read() as connection:
        alert = require_alert(connection, alert_id)
        require_readable(connection, alert.site)
        events = load_alert_events(connection, alert_id)
        zone = session.find_zones(connection, utc=utc)(alert.site)
        summaries = {row.id: row.levels for row in load_sites_summary(connection, active_only=False)}
    level_names = summaries.get(alert.site, ())
    facts = {**record_to_json(alert), "events": [record_to_json(event) for event in events]}
    level = name_level(level_names, alert.ledger, alert.level)
    lines = [f"alert {alert.id} of {alert.site}: {alert.ledger} {level}, {_name_state(alert.state)}{format_key(alert)}"]
    for event in events:
        states = f"{_name_state(event.from_state or 'normal')} -> {_name_state(event.to_state)}"
        reason = session.translate_in_zone(unwrap_reason(event.reason), zone)
        lines.append(
            f"  {session.format_in_zone(event.at, zone)} {states}, "
            f"{name_level(level_names, alert.ledger, event.to_level)}, {event.actor} ({event.actor_kind}): {reason}"
        )
    session.print_result(facts, "\n".join(lines))


add_acts(app, "alerts")


def _name_state(state: str) -> str:
    return Term(state).english()

"""`slopeward notify drill`: hold exercises up to the channels, end one, list them; never mixed with the real state."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli import session
from monitor.cli.acts import add_acts
from monitor.cli.identity import By, narrow_to_reader, prove
from monitor.domain.alert import AlertChange
from monitor.domain.errors import NotFoundError, RefusedError
from monitor.domain.instants import format_iso
from monitor.extensions.drills.hold import COLLAPSE, DrillOptions, hold_drill
from monitor.extensions.drills.store import load_drills

app = session.Commands(no_args_is_help=True, help=__doc__)


add_acts(app, "notify drill")


@app.command()
def hold(
    site_id: Annotated[str, typer.Argument(metavar="SITE", help="Site")],
    by: By = None,
    scenario: Annotated[
        str, typer.Option("--scenario", help="collapse (simulated), or a file of readings in the long form")
    ] = COLLAPSE,
    speed: Annotated[
        float | None,
        typer.Option("--speed", min=0.001, max=1e9, help="Simulated seconds per second; else ten minutes in all"),
    ] = None,
    hold: Annotated[
        str, typer.Option("--hold", help="How long the alarms stand at the end while nobody has answered")
    ] = "10m",
    health: Annotated[bool, typer.Option("--health", help="Send health and advice alerts of the scenario too")] = False,
) -> None:
    """Report a failure by the real channels as an exercise, let people acknowledge, and measure how long it took.

    Every message says EXERCISE, real alarms go first. Nobody's data, level or alert is touched.

    Exit 0 done, 1 a known error, 3 nobody acknowledged.

    Example: slopeward notify drill hold north-bench --by ada
    """
    if by is None:
        raise RefusedError("a drill needs the name of who holds it: --by NAME")
    if scenario != COLLAPSE and not Path(scenario).exists():
        raise NotFoundError(f"--scenario {scenario}: no such file; or {COLLAPSE}")

    def show(at: datetime, change: AlertChange) -> None:
        session.print_note(f"{at:%Y-%m-%d %H:%M} of the scenario: {change.reason}")

    terms = DrillOptions(scenario, speed, session.read_duration_s("--hold", hold), quiet=not health)
    _, db, site = session.open_site(site_id)
    with db:
        who = prove(db, by, site.id)
        drill_id, outcome = hold_drill(
            db, site, who, terms, clock=lambda: datetime.now(UTC), wait=time.sleep, on_turn=show
        )
    if not session.print_if_json({"drill": drill_id, "site": site.id, **outcome}):
        slowest = outcome["slowest_acknowledgement_s"]
        peak = site.levels[min(outcome["peak_level"], site.top_level)].name
        print(
            f"drill {drill_id} of {site.id} is over ({outcome['reason']}): {peak}, {outcome['alerts']} alarms, "
            f"{len(outcome['acknowledged'])} acknowledged"
            + (f", the slowest after {slowest:.0f} s" if slowest is not None else "")
        )
    if outcome["unanswered"]:
        raise typer.Exit(3)


@app.command("list")
def list_drills(site: Annotated[str | None, typer.Option("--site", help="Only this site")] = None) -> None:
    """List the drills that were held, and how quickly people answered; exit 4 when there is none.

    Example: slopeward notify drill list --json
    """
    with session.open_database() as db, db.read() as c:
        drills = load_drills(c, narrow_to_reader(c, site))
    for d in drills:
        if session.options().as_json:
            session.print_json(
                {
                    "drill": d.id,
                    "site": d.site,
                    "state": d.state,
                    "by": d.by,
                    "scenario": d.scenario,
                    "started_at": format_iso(d.started_at),
                    "ended_at": None if d.ended_at is None else format_iso(d.ended_at),
                    "outcome": d.outcome,
                }
            )
        else:
            slowest = (d.outcome or {}).get("slowest_acknowledgement_s")
            print(
                f"{d.id} {d.site} {d.started_at:%Y-%m-%d %H:%M} {d.state} by {d.by}: {d.scenario}"
                + (f"; slowest acknowledgement {slowest:.0f} s" if slowest is not None else "")
            )
    session.require_any(drills, "no drill was held")

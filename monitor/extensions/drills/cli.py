"""`slopeward notify drill`: hold exercises up to the channels, end one, list them; never mixed with the real state."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from monitor.cli import session
from monitor.cli.identity import prove
from monitor.config.service import ServiceConfig, scan_sites
from monitor.domain.alert import AlertChange
from monitor.domain.errors import NotFoundError, RefusedError
from monitor.domain.instants import format_iso
from monitor.extensions.drills.hold import COLLAPSE, DrillOptions, hold_drill
from monitor.extensions.drills.store import end_drill, find_drill, load_drills
from monitor.store.database.engine import Database

app = session.Commands()


@app.command(epilog="Example: slopeward notify drill north-bench --by ada; slopeward notify drill end 3 --by ada")
def drill(
    site_id: Annotated[str, typer.Argument(metavar="SITE|end|list", help="The site; or end, or list")],
    number: Annotated[
        int | None, typer.Argument(min=1, max=session.LARGEST_ID, help="end: the drill; else the one that runs")
    ] = None,
    scenario: Annotated[
        str, typer.Option("--scenario", help="collapse (simulated), or a file of readings in the long form")
    ] = COLLAPSE,
    speed: Annotated[
        float | None,
        typer.Option("--speed", min=0.001, max=1e9, help="Simulated seconds per second; else ten minutes in all"),
    ] = None,
    by: Annotated[str | None, typer.Option("--by", help="Who holds or ends it")] = None,
    hold: Annotated[
        str, typer.Option("--hold", help="How long the alarms stand at the end while nobody has answered")
    ] = "10m",
    health: Annotated[bool, typer.Option("--health", help="Send health and advice alerts of the scenario too")] = False,
    reason: Annotated[str, typer.Option("--reason", help="end: why")] = "ended by hand",
) -> None:
    """Report a failure by the real channels as an exercise, let people acknowledge, and measure how long it took.

    Every message says EXERCISE, real alarms go first. Nobody's data, level or alert is touched.

    Exit 0 done, 1 a known error, 3 nobody acknowledged, 4 nothing to end or list.
    """
    service, db = session.open_service()
    with db:
        if site_id == "list":
            _list(db)
        elif site_id == "end":
            _end(db, service, number, by, reason)
        else:
            if by is None:
                raise RefusedError("a drill needs the name of who holds it: --by NAME")
            terms = DrillOptions(scenario, speed, session.read_duration_s("--hold", hold), quiet=not health)
            _hold(db, service, site_id, by, terms)


def _hold(db: Database, service: ServiceConfig, site_id: str, by: str, terms: DrillOptions) -> None:
    site = session.pick_site(service, site_id)
    if terms.scenario != COLLAPSE and not Path(terms.scenario).exists():
        raise NotFoundError(f"--scenario {terms.scenario}: no such file; or {COLLAPSE}")

    who = prove(db, by, site.id)

    def show(at: datetime, change: AlertChange) -> None:
        session.print_note(f"{at:%Y-%m-%d %H:%M} of the scenario: {change.reason}")

    drill_id, outcome = hold_drill(db, site, who, terms, clock=lambda: datetime.now(UTC), wait=time.sleep, on_turn=show)
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


def _end(db: Database, service: ServiceConfig, number: int | None, by: str | None, reason: str) -> None:
    sites, _ = scan_sites(service.paths.sites)

    def find_site(c: Connection) -> str | None:
        held = load_drills(c, running_only=True)
        return next((d.site for d in held if number is None or d.id == number), None)

    who = prove(db, by, find_site)
    with db.write() as c:
        running = load_drills(c, running_only=True)
        if number is None and len(running) != 1:
            session.require_any(running, "no drill runs")
            raise RefusedError(f"several drills run; name one: {', '.join(str(d.id) for d in running)}")
        found = find_drill(c, running[0].id if number is None else number)
        session.require_any(found.state == "running", f"drill {found.id} is over already")
        site = next((s for s in sites if s.id == found.site), None)
        outcome = end_drill(c, found.id, who, reason, datetime.now(UTC), site=site)
    session.show_in_order(
        {"drill": found.id, "site": found.site, **outcome},
        f"drill {found.id} of {found.site} is ended: {outcome['alerts']} alarms closed",
    )


def _list(db: Database) -> None:
    drills = db.run_read(load_drills)
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

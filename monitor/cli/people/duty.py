"""`slopeward people duty`: who is on duty, by which plan, who takes whose place, and who hands the watch over."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from monitor.alerting.acts.on_duty import pick_team
from monitor.cli.acts import add_acts
from monitor.cli.identity import require_readable
from monitor.cli.people.hand_over import SiteName, TeamOption, find_site
from monitor.cli.people.hand_over import app as hand_over
from monitor.cli.session import Commands, open_database, print_note, show
from monitor.domain.duty.local_time import local_day
from monitor.domain.duty.rota import DAYS, NOBODY, DutyShift, list_shifts, who_is_on_duty
from monitor.domain.instants import format_iso
from monitor.domain.language.local_time import format_local
from monitor.store.alerting import duty as store

app = Commands(no_args_is_help=True, help=__doc__)
app.add_typer(hand_over, name="hand-over")
add_acts(app, "people duty")


@app.command("show")
def show_(
    site: SiteName,
    team: TeamOption = None,
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="How many days ahead")] = 7,
) -> None:
    """Say who is on duty now, by which plan, what was changed of it, and the shifts to come, in the time of the site.

    Example: slopeward people duty show north-bench --days 14
    """
    now = datetime.now(UTC)
    with open_database() as db, db.read() as c:
        require_readable(c, site)
        declared = find_site(c, site)
        teams = [pick_team(declared, team)] if team is not None else list(declared.teams)
        rosters = store.load_rosters(c, teams, now)
        plans = {one.name: store.load_plans(c, site, one.name) for one in teams}
        changes = store.load_changes(c, site, now)
    if not teams:
        print_note(f"site {site} has no [[team]]: each recipient is notified by the levels it names")
    for one in teams:
        roster, mine = rosters[site, one.name], [k for k in changes if k.team == one.name]
        shifts = list_shifts(roster, now, now + timedelta(days=days)) if roster.rotas else []
        plan = next((p.plan for p in plans[one.name] if p.valid_from <= now), None)
        facts = {
            "site": site,
            "team": one.name,
            "at": format_iso(now),
            "on_duty": list(who_is_on_duty(roster, now)),
            "lead": one.lead,
            "members": [m.name for m in one.members],
            "plan": plan,
            "shifts": [
                {"from": format_iso(s.from_at), "to": format_iso(s.to_at), "people": list(s.people)} for s in shifts
            ],
            "changes": [
                {
                    "id": k.id,
                    "from": format_iso(k.from_at),
                    "to": format_iso(k.to_at),
                    "out": k.person_out,
                    "in": k.person_in,
                    "by": k.by,
                    "reason": k.reason,
                }
                for k in mine
            ],
        }
        lines = [f"{one.name} of {site}: {_describe_people(who_is_on_duty(roster, now))} now"]
        lines += ["  no plan: messages go to all of the team"] if not roster.rotas else []
        lines += [f"  {line}" for line in (plan or "").splitlines()]
        lines += [f"  {_format_shift(s, one.zone)}" for s in shifts]
        show(facts, "\n".join([*lines, *(_format_change(k, one.zone) for k in mine)]))


def _format_change(change: store.DutyChange, zone: str) -> str:
    return (
        f"  change {change.id}: {format_local(change.from_at, zone)} to {format_local(change.to_at, zone)}: "
        f"{change.person_in or NOBODY} for {change.person_out or 'whoever is on duty'} ({change.by}: {change.reason})"
    )


def _describe_people(people: tuple[str, ...]) -> str:
    return ", second ".join(people[:2]) if people else f"{NOBODY} (messages go to all of the team)"


def _format_shift(shift: DutyShift, zone: str) -> str:
    day = local_day(shift.from_at, zone)
    ends = format_local(shift.to_at, zone, today=day)
    return f"{DAYS[day.weekday()]} {format_local(shift.from_at, zone)} to {ends}  {_describe_people(shift.people)}"

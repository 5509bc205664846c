"""`slopeward people duty`: show who is on duty; manage plans, swaps and hand-overs."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer
from sqlalchemy import Connection

from monitor.api.cli import (
    Commands,
    SiteArgument,
    add_acts,
    check_site,
    open_database,
    print_note,
    print_result,
    require_readable,
)
from monitor.api.decision import unwrap_reason
from monitor.api.errors import NotFoundError
from monitor.api.queries.alerts import find_in_force
from monitor.api.sites import Site
from monitor.api.text import format_iso, format_local, local_day, parse_time
from monitor.features.duty import queries as store
from monitor.features.duty.acts import list_sentences, pick_team
from monitor.features.duty.rota import DAYS, NOBODY, DutyShift, list_shifts, who_is_on_duty

TeamOption = Annotated[str | None, typer.Option("--team", help="Team; needed if the site has several")]

SHOWN: Final = 5  # number of signed hand-overs that are shown
# Fields of a hand-over, see `_pick`.
_HANDOVER: Final = "handover_id:id team since:since_at at outgoing notes open:open_items signed_at incoming remark"
app = Commands(no_args_is_help=True, help=__doc__)
hand_over = Commands(
    no_args_is_help=True,
    help="`slopeward people duty hand-over`: the person who leaves writes notes and signs, the person who takes over "
    "reads them and signs.",
)
app.add_typer(hand_over, name="hand-over")
add_acts(app, "people duty")
add_acts(hand_over, "people duty hand-over")


def find_site(c: Connection, site: str) -> Site:
    """Return the site as its file in force declares it; raises NotFoundError."""
    declared = find_in_force(c, site)
    if declared is None:
        check_site(c, site)
        raise NotFoundError(f"site {site!r} is not in force yet: start the service, or run `slopeward evaluate {site}`")
    return declared


def _pick(row: object, names: str) -> dict[str, object]:
    """Return fields of a row as JSON. `from:from_at` is the field `from_at` under the key `from`."""
    fields = [(key, getattr(row, field or key)) for key, _, field in (name.partition(":") for name in names.split())]
    return {key: format_iso(value) if isinstance(value, datetime) else value for key, value in fields}


@app.command("show")
def show_(
    site: SiteArgument,
    team: TeamOption = None,
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="How many days ahead")] = 7,
) -> None:
    """Show who is on duty now, the plan, its changes and the next shifts, in the time of the site.

    Example: slopeward people duty show north-bench --days 14
    """
    now = datetime.now(UTC)
    with open_database() as db, db.read() as c:
        require_readable(c, site)
        declared = find_site(c, site)
        teams = [pick_team(declared, team)] if team is not None else list(declared.teams)
        rosters = store.load_rosters(c, teams, now)
        plans = {crew.name: store.load_plans(c, site, crew.name) for crew in teams}
        changes = store.load_changes(c, site, now)
    if not teams:
        print_note(f"site {site} has no [[team]]: each recipient gets the messages of the levels in its declaration")
    for crew in teams:
        roster = rosters[site, crew.name]
        team_changes = [change for change in changes if change.team == crew.name]
        shifts = list_shifts(roster, now, now + timedelta(days=days)) if roster.rotas else []
        plan = store.find_plan_in_force(plans[crew.name], now)
        facts = {
            "site": site,
            "team": crew.name,
            "at": format_iso(now),
            "on_duty": list(who_is_on_duty(roster, now)),
            "lead": crew.lead,
            "members": [m.name for m in crew.members],
            "plan": None if plan is None else plan.plan,
            "shifts": [_pick(shift, "from:from_at to:to_at people") for shift in shifts],
            "changes": [
                _pick(change, "id from:from_at to:to_at out:person_out in:person_in by reason")
                for change in team_changes
            ],
        }
        lines = [f"{crew.name} of {site}: {_describe_people(who_is_on_duty(roster, now))} now"]
        lines += ["  no plan: messages go to the whole team"] if not roster.rotas else []
        lines += [f"  {line}" for line in (plan.plan if plan is not None else "").splitlines()]
        lines += [f"  {_format_shift(shift, crew.zone)}" for shift in shifts]
        print_result(facts, "\n".join([*lines, *(_format_change(change, crew.zone) for change in team_changes)]))


def _format_change(change: store.DutyChange, zone: str) -> str:
    return (
        f"  change {change.id}: {format_local(change.from_at, zone)} to {format_local(change.to_at, zone)}: "
        f"{change.person_in or NOBODY} replaces {change.person_out or 'the person on duty'} "
        f"({change.by}: {change.reason})"
    )


def _describe_people(people: tuple[str, ...]) -> str:
    return ", second ".join(people[:2]) if people else f"{NOBODY} (messages go to the whole team)"


def _format_shift(shift: DutyShift, zone: str) -> str:
    day = local_day(shift.from_at, zone)
    ends = format_local(shift.to_at, zone, today=day)
    return f"{DAYS[day.weekday()]} {format_local(shift.from_at, zone)} to {ends}  {_describe_people(shift.people)}"


@hand_over.command("show")
def show_handovers(site: SiteArgument) -> None:
    """Show what is open now, the hand-over that waits for a signature, and the last ones that both people signed.

    Example: slopeward people duty hand-over show north-bench
    """
    now = datetime.now(UTC)
    with open_database() as db, db.read() as c:
        require_readable(c, site)
        zone = find_site(c, site).timezone
        items = store.load_open_items(c, site, now, list_sentences)
        handovers = store.load_handovers(c, site)
    waiting = [handover for handover in handovers if handover.signed_at is None]
    signed = [handover for handover in handovers if handover.signed_at is not None][:SHOWN]
    facts = {
        "site": site,
        "at": format_iso(now),
        "open": items,
        "waiting": [_pick(handover, _HANDOVER) for handover in waiting],
        "signed": [_pick(handover, _HANDOVER) for handover in signed],
    }
    lines = [f"open at {site} now:", *_list_items(items, zone)]
    for handover in waiting:
        at = format_local(handover.at, zone)
        lines += [f"hand-over {handover.id} of {handover.team}: {handover.outgoing} signed at {at}"]
        lines += [f"  {line}" for line in handover.notes.splitlines()]
        lines += ["  open then:", *(f"  {line}" for line in _list_items(handover.open_items, zone))]
        lines += [f"  to take over: slopeward people duty hand-over sign {site} {handover.id} --by NAME"]
    lines += [] if waiting else ["no hand-over waits for a signature"]
    lines += [
        f"{format_local(handover.signed_at, zone)} from {handover.outgoing} to {handover.incoming} ({handover.team})"
        for handover in signed
        if handover.signed_at is not None
    ]
    print_result(facts, "\n".join(lines))


def _list_items(items: store.OpenItems, zone: str) -> list[str]:
    def local(at: str) -> str:
        return format_local(parse_time(at), zone)

    more = items["alerts_count"] - len(items["alerts"])
    return [
        f"  level: {items['level_name'] or 'not evaluated'}",
        *(
            f"  alert {a['alert_id']} {a['level_name']}, {a['state'].replace('_', ' ')}: {unwrap_reason(a['reason'])}"
            for a in items["alerts"]
        ),
        *(["  no alert is open"] if not items["alerts"] else []),
        *([f"  {more} more alerts"] if more > 0 else []),
        *(f"  instrument {s['instrument']}: {s['state']}{s['reason'] and ', ' + s['reason']}" for s in items["sick"]),
        *(
            f"  work on {m['station']} until {local(m['to_at'])}: {m['reason']} ({m['by']})"
            for m in items["maintenance"]
        ),
        *(f"  {local(r['at'])} {r['kind'].replace('_', ' ')}: {r['text']} ({r['by']})" for r in items["reports"]),
    ]

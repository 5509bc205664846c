"""Actions on the duty of a site: put a plan in force, swap, hand over and take over."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Final

from sqlalchemy import Connection

from monitor.api.acts import ActResult, Argument
from monitor.api.alerts import make_act_factory
from monitor.api.errors import NotFoundError, RefusedError
from monitor.api.queries.alerts import INVALID_VALUE, LARGEST_ID, ActCall, Reason, SiteId, require_in_force
from monitor.api.sites import Site, Team
from monitor.api.text import N_, NameList, Template, Term, Timestamp
from monitor.api.views import AlertRow
from monitor.features.duty import queries as duty
from monitor.features.duty.rota import NOBODY

_NO_TEAMS: Final = Template("duty.no_teams", "site {site} has no [[team]]; declare a team in its site file first")
_WHICH_TEAM: Final = Template("duty.which_team", "team: one of {names}")
_NO_TEAM: Final = Template("duty.no_team", "site {site} has no team '{team}'; it has: {names}")
_PLAN: Final = Template("duty.plan", "plan {number} of {team} is in force from {at}")
_CHANGED: Final = Template("duty.changed", "change {number}: {into} replaces {out} until {at}")
_TAKEN_BACK: Final = Template("duty.change_withdrawn", "change {number} is withdrawn")
_SIGNED: Final = Template(
    "duty.signed", "hand-over {number} of {team} is signed by {name}; the person who takes over must sign too"
)
_HANDED_OVER: Final = Template("duty.handed_over", "hand-over {number}: {name} takes over the duty of {team} from {of}")
_WITHDRAWN: Final = Template("duty.handover_withdrawn", "hand-over {number} is withdrawn")
TeamOption = Annotated[str | None, Argument("Team; needed if the site has several", "--team", longest=200)]
From = Annotated[
    datetime | None, Argument(N_("From, local time; empty: now"), "--since", metavar="TIME", is_local=True)
]
Change = Annotated[int, Argument("See `slopeward people duty show`", metavar="CHANGE", least=1, most=LARGEST_ID)]
Handover = Annotated[
    int, Argument("See `slopeward people duty hand-over show`", metavar="NUMBER", least=1, most=LARGEST_ID)
]


def list_sentences(c: Connection, alerts: Sequence[AlertRow]) -> Mapping[int, str]:
    """Return one sentence for each alert, by its id. The import is late, because it loads the web page."""
    from monitor.api.web import headline

    return headline.list_sentences(c, alerts, at_once=duty.MOST)


def pick_team(site: Site, team: str | None) -> Team:
    """Return the team with a name, or the only team.

    Raises:
        RefusedError: the site has no team, or several and none is named.
        NotFoundError: the site has no team of this name.
    """
    names = NameList(tuple(declared.name for declared in site.teams))
    if not site.teams:
        raise RefusedError(_NO_TEAMS(site=site.id))
    if team is None and len(site.teams) > 1:
        raise RefusedError(_WHICH_TEAM(names=names))
    match = next((declared for declared in site.teams if team in {None, declared.name}), None)
    if match is None:
        raise NotFoundError(_NO_TEAM(site=site.id, team=str(team), names=names))
    return match


def _find_team(call: ActCall, c: Connection, site: str, team: str | None) -> Team:
    call.check_site(c, site)
    return pick_team(require_in_force(c, site), team)


def put_plan(
    call: ActCall,
    site: SiteId,
    plan: Annotated[
        str,
        Argument(
            "Lines of the plan; - reads them from the input",
            metavar="FILE",
            longest=20_000,
            label=N_("New plan: one line for each hand-over, with days, time, person on duty, second person"),
            is_file=True,
        ),
    ],
    reason: Reason,
    team: TeamOption = None,
    from_: From = None,
    first_week: Annotated[
        str | None, Argument(N_("A day of the week that is `week 1`"), "--first-week", longest=10)
    ] = None,
) -> ActResult:
    """Put a plan in force until a later one starts; its lines are `[week N] DAYS HH:MM NAME, SECOND`.

    Example: echo 'Mon 08:00 R. Mori, A. Rossi' | slopeward people duty plan north-bench - --reason "spring rota"
    """
    try:
        begins = None if first_week is None else date.fromisoformat(first_week)
    except ValueError as error:
        raise RefusedError(INVALID_VALUE(name="first_week", problem=str(error))) from None
    with call.write() as c:
        crew = _find_team(call, c, site, team)
        number = duty.add_plan(c, crew, plan, call.actor, reason, call.now, valid_from=from_, begins=begins)
    text = _PLAN(number=number, team=crew.name, at=Timestamp.of(from_ or call.now, "minute"))
    return ActResult(text, {"plan_id": number, "team": crew.name})


def swap(
    call: ActCall,
    site: SiteId,
    until: Annotated[
        datetime,
        Argument("Such as '2026-03-08 08:00', local time", "--until", label=N_("Until, local time"), is_local=True),
    ],
    reason: Reason,
    out: Annotated[str, Argument(N_("Who is replaced; empty: the person on duty"), "--absent", longest=200)] = "",
    into: Annotated[str, Argument(N_("Who is on duty instead; empty: nobody"), "--substitute", longest=200)] = "",
    from_: From = None,
    team: TeamOption = None,
) -> ActResult:
    """Replace a person for a time, for example because of a swap, a holiday or an illness.

    Example: slopeward people duty swap bench --absent Mori --substitute Frei --until "2026-03-08 08:00" --reason flu
    """
    with call.write() as c:
        crew = _find_team(call, c, site, team)
        number = duty.add_change(c, crew, from_ or call.now, until, out, into, call.actor, reason, call.now)
    people = {"into": into or Term(NOBODY), "out": out or Term("the person on duty")}
    text = _CHANGED(number=number, at=Timestamp.of(until, "minute"), **people)
    return ActResult(text, {"change_id": number, "team": crew.name})


def withdraw_change(call: ActCall, site: SiteId, number: Change, reason: Reason) -> ActResult:
    """Withdraw a change; the plan applies again from now on.

    Example: slopeward people duty withdraw north-bench 7 --reason "is well again"
    """
    with call.write() as c:
        crew = _find_team(call, c, site, duty.find_team_of_change(c, site, number))
        duty.withdraw_change(c, number, crew, call.actor, reason, call.now)
    return ActResult(_TAKEN_BACK(number=number), {"change_id": number, "withdrawn": True})


def hand_over(
    call: ActCall,
    site: SiteId,
    notes: Annotated[
        str,
        Argument(
            "What the person who takes over must know; - reads it from the input",
            "--notes",
            longest=duty.LONGEST_NOTES,
            label=N_("What the person who takes over must know"),
            is_text=True,
        ),
    ],
    team: TeamOption = None,
) -> ActResult:
    """Sign as the person who leaves: store your notes with what is open now, for the person who takes over.

    Example: slopeward people duty hand-over write north-bench --by mori --notes "G3 is noisy since the rain; road open"
    """
    # Reading the evidence can take long. It is cached here, before the write transaction blocks the database.
    call.db.run_read(duty.load_open_items, site, call.now, list_sentences)
    with call.write() as c:
        crew = _find_team(call, c, site, team)
        number = duty.write_handover(c, crew, call.actor, notes.strip(), call.now, list_sentences)
    text = _SIGNED(number=number, team=crew.name, name=call.actor.name)
    return ActResult(text, {"handover_id": number, "team": crew.name, "outgoing": call.actor.name})


def take_over(
    call: ActCall,
    site: SiteId,
    number: Handover,
    remark: Annotated[str, Argument(N_("Remark, if any"), "--remark", longest=duty.LONGEST_NOTES, is_text=True)] = "",
) -> ActResult:
    """Sign as the person who takes over: you have read the notes. The writer of the notes cannot sign them.

    Example: slopeward people duty hand-over sign north-bench 3 --by rossi --remark "read; G3 checked"
    """
    with call.write() as c:
        handover = duty.sign_handover(c, site, number, call.actor, remark, call.now)
    facts = {
        "handover_id": number,
        "team": handover.team,
        "outgoing": handover.outgoing,
        "incoming": call.actor.name,
    }
    text = _HANDED_OVER(number=number, of=handover.outgoing, team=handover.team, name=call.actor.name)
    return ActResult(text, facts)


def withdraw_handover(call: ActCall, site: SiteId, number: Handover, reason: Reason) -> ActResult:
    """Withdraw a hand-over before the person who takes over has signed it.

    Example: slopeward people duty hand-over withdraw north-bench 3 --by mori --reason "a new crack; I write it again"
    """
    with call.write() as c:
        duty.withdraw_handover(c, site, number, call.actor, reason, call.now)
    return ActResult(_WITHDRAWN(number=number), {"handover_id": number, "withdrawn": True})


_duty = make_act_factory("/sites/{site}/duty", "people duty")
ACTS: Final = (
    _duty("duty.plan", "plan", "/plan", lambda: put_plan),
    _duty("duty.swap", "swap", "/swap", lambda: swap),
    _duty("duty.swap.withdraw", "withdraw", "/changes/{number}/withdraw", lambda: withdraw_change),
    _duty("duty.handover", "hand-over write", "/handover", lambda: hand_over),
    _duty("duty.handover.sign", "hand-over sign", "/handovers/{number}/sign", lambda: take_over),
    _duty("duty.handover.withdraw", "hand-over withdraw", "/handovers/{number}/withdraw", lambda: withdraw_handover),
)

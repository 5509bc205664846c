"""Health checks of duty plans: nobody is on duty, or a plan cannot be read."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

from monitor.api.checks import WARN, Check, SubjectState, make_state
from monitor.api.database import Database
from monitor.api.sites import Site, Team
from monitor.api.text import Timestamp
from monitor.features.duty.queries import load_rosters
from monitor.features.duty.rota import Roster, find_gap, has_unreadable_plan

GAP_AHEAD: Final = timedelta(days=3)  # a gap within this time is an alarm


class RotaStatus(NamedTuple):
    """The teams of all sites with their plans, as of an instant."""

    teams: Sequence[Team]
    rosters: Mapping[tuple[str, str], Roster]
    now: datetime


def read_rotas(db: Database, sites: Mapping[str, Site], now: datetime) -> RotaStatus:
    """Load the plans of all teams."""
    teams = [team for site in sites.values() for team in site.teams]
    return RotaStatus(teams, db.run_read(load_rosters, teams, now) if teams else {}, now)


def _list_gaps(status: RotaStatus, *, has_started: bool) -> Iterator[SubjectState]:
    """Yield a state for each team: whether it has a gap that has started, or one that starts within `GAP_AHEAD`."""
    for team in status.teams:
        gap = find_gap(status.rosters[team.site, team.name], status.now, status.now + GAP_AHEAD)
        since = "" if gap is None else Timestamp.of(gap.from_at, "minute")
        is_wrong = gap is not None and (gap.from_at <= status.now) is has_started
        yield make_state(f"{team.site}:{team.name}", is_wrong=is_wrong, team=team.name, site=team.site, since=since)


def _list_unread_plans(status: RotaStatus) -> Iterator[SubjectState]:
    for team in status.teams:
        is_unread = has_unreadable_plan(status.rosters[team.site, team.name], status.now)
        yield make_state(f"{team.site}:{team.name}", is_wrong=is_unread, team=team.name, site=team.site)


CHECKS: Final = tuple(
    Check(f"duty.*.{name}", RotaStatus, WARN, message, list_states, alarm=1)
    for name, message, list_states in (
        (
            "soon",
            "nobody of team {team} of {site} is on duty from {since}: put a plan in force",
            partial(_list_gaps, has_started=False),
        ),
        (
            "now",
            "nobody of team {team} of {site} is on duty: messages go to the whole team",
            partial(_list_gaps, has_started=True),
        ),
        ("unread", "the plan of team {team} of {site} cannot be read: put a new one in force", _list_unread_plans),
    )
)

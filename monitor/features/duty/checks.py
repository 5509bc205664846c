"""What can be wrong with the plans of teams: alarms of health."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

from monitor.api.checks import WARN, Check, SubjectState, make_state
from monitor.api.database import Database
from monitor.api.sites import Site, Team
from monitor.api.text import Timestamp
from monitor.features.duty.queries import load_rosters
from monitor.features.duty.rota import Roster, find_gap, find_unread

GAP_AHEAD: Final = timedelta(days=3)  # so long before nobody is on duty it is an alarm


class RotaStatus(NamedTuple):
    """Who is on duty."""

    teams: Sequence[Team]
    rosters: Mapping[tuple[str, str], Roster]
    now: datetime


def read_rotas(db: Database, sites: Mapping[str, Site], now: datetime) -> RotaStatus:
    """What is planned for all teams."""
    teams = [team for site in sites.values() for team in site.teams]
    return RotaStatus(teams, db.run_read(load_rosters, teams, now) if teams else {}, now)


def _list_gaps(seen: RotaStatus, *, now: bool) -> Iterator[SubjectState]:
    for team in seen.teams:
        gap = find_gap(seen.rosters[team.site, team.name], seen.now, seen.now + GAP_AHEAD)
        since = "" if gap is None else Timestamp.of(gap.from_at, "minute")
        is_wrong = gap is not None and (gap.from_at <= seen.now) is now
        yield make_state(f"{team.site}:{team.name}", is_wrong=is_wrong, team=team.name, site=team.site, since=since)


def _unread_plans(seen: RotaStatus) -> Iterator[SubjectState]:
    for team in seen.teams:
        is_unread = find_unread(seen.rosters[team.site, team.name], seen.now)
        yield make_state(f"{team.site}:{team.name}", is_wrong=is_unread, team=team.name, site=team.site)


CHECKS: Final = tuple(
    Check(f"duty.*.{name}", RotaStatus, WARN, message, find, alarm=1)
    for name, message, find in (
        ("soon", "no one of team {team} of {site} is on duty from {since}", partial(_list_gaps, now=False)),
        ("now", "no one of team {team} of {site} is on duty: messages go to all of it", partial(_list_gaps, now=True)),
        ("unread", "the plan of team {team} of {site} cannot be read: put a new one in force", _unread_plans),
    )
)

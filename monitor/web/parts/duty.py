"""The watch as a page shows it: whom to call in which order, what they answered, and which shifts were handed over."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from monitor.domain.duty.local_time import local_day
from monitor.domain.duty.rota import DAYS, Roster, list_shifts, who_is_on_duty
from monitor.domain.site import Recipient, Site, Team
from monitor.store.alerting.answers import Answers
from monitor.store.alerting.duty import join_days
from monitor.store.alerting.handovers import Handover

SOONER: Final = timedelta(hours=3)  # a hand-over signed so long before the shift begins counts for it
SHOWN_DAYS: Final = 14


def list_calls(
    site: Site, chain: Sequence[Sequence[Recipient]], rosters: Mapping[tuple[str, str], Roster], answers: Answers,
    now: datetime,
) -> list[dict[str, Any]]:  # fmt: skip
    """Who to call, in the order in which messages go out, each once: role, telephone, what became of the messages."""
    roles: dict[str, str] = {}
    for team in site.teams:
        on_duty = who_is_on_duty(rosters[team.site, team.name], now)
        for name, role in [*zip(on_duty, ("on duty", "second"), strict=False), (team.lead, "lead")]:
            roles.setdefault(name, role)
    told = {one.recipient: one for one in answers.told}
    people: dict[str, Recipient] = {r.name: r for step in chain for r in step}
    return [
        {
            "name": name, "role": roles.get(name, ""), "phone": one.phone,
            "tel": "".join(sign for sign in one.phone if sign in "+0123456789"),
            "told": told.get(name), "channels": sorted({k.partition(":")[0] for k in one.channels}),
        }
        for name, one in people.items()
    ]  # fmt: skip


def describe_team(
    team: Team, roster: Roster, past: Sequence[Mapping[str, Any]], handovers: Sequence[Handover], now: datetime
) -> dict[str, Any]:
    """One team: who is on duty until when, the shifts that were with their hand-overs, those to come."""
    coming = list_shifts(roster, now, now + timedelta(days=SHOWN_DAYS)) if roster.rotas else []
    was = join_days([row for row in past if row["team"] == team.name], now)
    mine = sorted((h for h in handovers if h.team == team.name and h.signed_at), key=lambda h: str(h.signed_at))
    rows: list[dict[str, Any]] = [
        {
            # nobody is known who could have handed the first one over
            "first": number == 0, "shift": shift, "day": day_of(shift.from_at, team.zone), "people": list(shift.people),
            "signed": next(
                (h for h in mine if h.signed_at and shift.from_at - SOONER <= h.signed_at < shift.to_at), None
            ),
        }
        for number, shift in enumerate(was)
    ]  # fmt: skip
    on_duty = who_is_on_duty(roster, now)
    return {
        "name": team.name, "lead": team.lead, "members": [m.name for m in team.members], "has_plan": bool(roster.rotas),
        "on_duty": list(on_duty), "until": coming[0].to_at if len(coming) > 1 else None,
        "past": rows[::-1],
        "coming": [{"shift": s, "day": day_of(s.from_at, team.zone), "people": list(s.people)} for s in coming],
        "unsigned": bool(len(rows) > 1 and rows[-1]["people"] and rows[-1]["signed"] is None),
    }  # fmt: skip


def day_of(at: datetime, zone: str) -> str:
    """The day of the week there."""
    return DAYS[local_day(at, zone).weekday()]

"""Whom to call for a site: the page of duty lists all of them, headlines and alerts name the first one."""

from collections.abc import Iterable
from datetime import datetime
from typing import TypedDict

from sqlalchemy import Connection

from monitor.domain.duty.rota import who_is_on_duty
from monitor.domain.site import Recipient, Site
from monitor.store.alerting.answers import AlertDeliveries, RecipientDelivery
from monitor.store.alerting.duty import list_chain, load_rosters


class CallEntry(TypedDict):
    """Somebody to call, and what became of the messages to him."""

    name: str
    role: str
    phone: str
    tel: str  # for a link
    delivery: RecipientDelivery | None
    channels: list[str]


def list_calls(c: Connection, site: Site, answers: AlertDeliveries, now: datetime) -> list[CallEntry]:
    """Who to call, in the order in which messages go out, each once: role, telephone, what became of the messages."""
    rosters, roles = load_rosters(c, site.teams, now), dict[str, str]()
    for team in site.teams:
        on_duty = who_is_on_duty(rosters[team.site, team.name], now)
        for name, role in [*zip(on_duty, ("on duty", "second"), strict=False), (team.lead, "lead")]:
            roles.setdefault(name, role)
    answered = {one.recipient: one for one in answers.deliveries}
    people: dict[str, Recipient] = {r.name: r for step in list_chain(c, site.recipients, now) for r in step}
    return [
        {
            "name": name,
            "role": roles.get(name, ""),
            "phone": one.phone,
            "tel": "".join(sign for sign in one.phone if sign in "+0123456789"),
            "delivery": answered.get(name),
            "channels": sorted({k.partition(":")[0] for k in one.channels}),
        }
        for name, one in people.items()
    ]


def find_first_calls(c: Connection, sites: Iterable[Site], now: datetime) -> dict[str, CallEntry]:
    """Of each site the first who has a telephone; a site of which nobody has one is left out."""
    calls = {site.id: list_calls(c, site, AlertDeliveries(), now) for site in sites}
    return {site: one for site, people in calls.items() for one in reversed(people) if one["tel"]}

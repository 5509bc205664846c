"""Withdraw an event. Two people are needed if bounds could become less strict while a high level is at stake."""

from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy import Connection

from monitor.alerts.acts.operator_acts import measure_stake, require_two_at_stake
from monitor.alerts.queries.events import find_event_kind, withdraw_event
from monitor.decision.series.steps import is_earthquake
from monitor.sites.records import Site
from monitor.storage.actor import Actor
from monitor.text.message import Template

_ALONE: Final = Template(
    "event.alone", "event {number}: one person may not withdraw an earthquake while {level} is at stake"
)


def withdraw_event_of_site(
    connection: Connection,
    site: Site,
    event_id: int,
    actor: Actor,
    reason: str,
    now: datetime,
    *,
    second: Actor | None = None,
) -> None:
    """Withdraw an event of a site. Past decisions remain as they are.

    An earthquake can lower bounds and request a level, and both end with it. So two people must withdraw it if accounts
    exist and one of the two highest levels is in force or requested. One person can withdraw a confirmation
    (`monitor.alerts.queries.events.withdraw_confirmation`), because that lowers nothing.

    Raises:
        NotFoundError: The site has no such event.
        RefusedError: Person or reason are missing, the person has no open account although accounts exist, or the event
            is withdrawn already.
        NeedsSecondError: A second person is needed.
    """
    kind = find_event_kind(connection, event_id, site.id)
    refuse = partial(_ALONE, number=event_id)
    needs_two = is_earthquake(kind) and require_two_at_stake(
        connection, site, measure_stake(connection, site), actor, second, now, refuse
    )
    withdraw_event(connection, event_id, actor, reason, now, second=second if needs_two else None)

"""To take an event back: by one person, and by two where bounds could become laxer while a high level is at stake."""

from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy import Connection

from monitor.alerts.acts.operator_acts import measure_stake, require_shared
from monitor.alerts.queries.events import find_event_kind, withdraw_event
from monitor.decision.series.steps import is_earthquake
from monitor.sites.records import Site
from monitor.storage.actor import Actor
from monitor.text.message import Template

_ALONE: Final = Template(
    "event.alone", "event {number}: one person may not withdraw an earthquake while {level} is at stake"
)


def take_event_back(
    connection: Connection,
    site: Site,
    event_id: int,
    actor: Actor,
    reason: str,
    now: datetime,
    *,
    second: Actor | None = None,
) -> None:
    """Withdraw an event of a site; decisions from now on do not know it, those of the past stay as they were.

    An earthquake makes bounds stricter and may have asked for a level itself: without it both end. So it takes two
    people where accounts exist and one of the two highest levels stands or is asked for. To withdraw the confirmation
    alone (`monitor.alerts.queries.events.withdraw_confirmation`) takes one: it lowers nothing.

    Raises:
        NotFoundError: no such event at that site.
        RefusedError: no person, no reason, no open account where accounts exist, or it is withdrawn already.
        NeedsSecondError: one person alone may not.
    """
    kind = find_event_kind(connection, event_id, site.id)
    refuse = partial(_ALONE, number=event_id)
    shared = is_earthquake(kind) and require_shared(
        connection, site, measure_stake(connection, site), actor, second, now, refuse
    )
    withdraw_event(connection, event_id, actor, reason, now, second=second if shared else None)

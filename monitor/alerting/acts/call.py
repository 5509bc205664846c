"""Who does an act, where and when, and how two people do one together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from sqlalchemy import Connection

from monitor.domain.alert import Actor
from monitor.domain.site import Site
from monitor.store.alerting.alerts import find_alert
from monitor.store.alerting.events import find_site_of_event
from monitor.store.alerting.maintenance import find_site_of_maintenance
from monitor.store.alerting.offsets import find_site_of_offset
from monitor.store.database.engine import Database
from monitor.store.people.countersign import TwoPersonAct, do_by_two, find_site_of_signature
from monitor.store.people.users import load_users

T = TypeVar("T")


def find_site_of_alert(c: Connection, alert_id: int) -> str | None:
    """The site of an alert, `status` for one of the service itself; None where there is no such alert."""
    found = find_alert(c, alert_id)
    return None if found is None else found.site


# by the argument that names what an act is on: the site of that, None where there is no such thing
SITE_OF: Final[Mapping[str, Callable[[Connection, int], str | None]]] = {
    "alert_id": find_site_of_alert,
    "event_id": find_site_of_event,
    "offset_id": find_site_of_offset,
    "maintenance_id": find_site_of_maintenance,
    "signature_id": find_site_of_signature,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ActCall:
    """An act as one person does it by one of the ways in."""

    db: Database
    actor: Actor
    now: datetime
    find_site: Callable[[str], Site]  # the declaration in force; raises NotFoundError, RefusedError
    check_site: Callable[[Connection, str], object]  # raises NotFoundError where there is none of that id
    second: Actor | None = None  # whom the first one names, as long as there are no accounts

    def by_two(
        self,
        shared: TwoPersonAct,
        reason: str,
        do: Callable[[Connection, Actor | None], T],
        measure: Callable[[Connection], int] = lambda _: 0,
    ) -> T:
        """Do an act that may take two people, in one transaction.

        Args:
            do: the act itself, with the second person; raises NeedsSecondError where it wants one and has none.
            measure: the level that is at stake now; a signature that saw less counts no more.

        Raises:
            NeedsSecondError: nothing is done; the signature of this person waits for another one.
        """
        with self.db.read() as c:
            has_accounts = bool(load_users(c))
        if has_accounts:
            return do_by_two(self.db, shared, self.actor, reason, do, measure, self.now)
        with self.db.write(urgent=True) as c:
            return do(c, self.second)

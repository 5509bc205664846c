"""Acts that take two people: who they must be."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection

from forecasting.message import Message, Term
from monitor.decision.signatures import needs_two
from monitor.domain.alert import Actor
from monitor.domain.decision import Signature
from monitor.domain.errors import NeedsSecondError, RefusedError
from monitor.domain.names import is_same_person
from monitor.domain.site import Site
from monitor.store.people.users import load_users, require_account, require_two


def require_shared(
    c: Connection,
    site: Site,
    stake: int,
    actor: Actor,
    second: Actor | None,
    now: datetime,
    refuse: Callable[..., Message],
) -> bool:
    """Whether an act takes two people, who are then required to be two; before the first account one is enough.

    Args:
        site: declaration of the site.
        stake: the highest level that stands or is asked for.
        second: who acts with the actor, None where nobody does.
        refuse: says that one person may not, of a `level`.

    Raises:
        NeedsSecondError: one person alone may not.
    """
    if not needs_two(site, stake) or not load_users(c):
        return False
    if second is None:
        raise NeedsSecondError(refuse(level=Term(site.levels[min(stake, site.top_level)].name)))
    require_two(c, actor, second, now)
    return True


def counts_with(c: Connection, first: Signature | None, answer: str, height: int, actor: Actor, now: datetime) -> bool:
    """True when another person has signed the same answer, of no less than what is asked for now.

    Raises:
        RefusedError: this person has signed it already, or one of the two has no account where accounts exist.
    """
    if first is None or first.answer != answer or first.height < height:
        require_account(c, actor.name.strip())  # nobody could sign it with them otherwise
        return False
    if is_same_person(first.by, actor.name):
        raise RefusedError(f"{first.by} has signed {answer!r} already; a second person must sign the same answer")
    require_two(c, Actor(first.by), actor, now)
    return True

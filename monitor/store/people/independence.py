"""When two accounts are two people: not while one person, within the last day, could have made himself both.

Who makes an account, or gives it another password, second factor, way in, role or sites, may be who signs with it. The
audit log has each such act with its author. It is followed over several accounts: who made two others is behind both.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, func, select

from forecasting.message import Template, Timestamp
from monitor.domain.names import fold_name
from monitor.errors import RefusedError
from monitor.store.schema.tables import audit_entry, user_account

COOLING: Final = timedelta(hours=24)  # somebody else comes by in that time, or reads the log
DONE: Final = {  # as the audit log calls it -> as people read it
    "user.add": Template("people.hand.add", "{account} made the account of {other}"),
    "user.password": Template("people.hand.password", "{account} gave a new password to {other}"),
    "user.totp": Template("people.hand.second_factor", "{account} set the second factor of {other}"),
    "user.bind": Template("people.hand.os_user", "{account} bound an OS user to {other}"),
    "user.oidc": Template("people.hand.login", "{account} bound a login elsewhere to {other}"),
    "user.role": Template("people.hand.role", "{account} gave a role to {other}"),
    "user.sites": Template("people.hand.sites", "{account} gave sites to {other}"),
    "user.enable": Template("people.hand.unlock", "{account} unlocked {other}"),
}
_DEPENDENT: Final = Template(
    "people.dependent",
    "{name} and {other} do not count as two people yet: {text} at {at}, less than a day ago. Let a third person sign, "
    "or sign again after {until}",
)


def require_independent(connection: Connection, one: str, other: str, now: datetime) -> None:
    """Make sure that no single person has lately had a hand in both of two accounts, one of which may be the own.

    The first day of an installation is left out: whoever sets it up makes the first accounts, and is trusted with it.

    Raises:
        RefusedError: one person had, and the day since is not over.
    """
    first = connection.execute(select(func.min(user_account.c.created_at))).scalar()
    if first is None:
        return
    e = audit_entry.c
    rows = connection.execute(
        select(e.actor, e.action, e.subject, e.at)
        .where(e.action.in_(DONE), e.at > max(now - COOLING, first + COOLING), e.at <= now)
        .order_by(e.id)
    ).all()
    mine, theirs = _find_hands(rows, one), _find_hands(rows, other)
    shared = [who for who in mine if who in theirs]
    if not shared:
        return
    row = theirs[shared[0]] or mine[shared[0]]
    assert row is not None, "two names of one person"
    hand = DONE[row.action](account=row.actor, other=row.subject.removeprefix("user:"))
    raise RefusedError(
        _DEPENDENT(
            name=one, other=other, text=hand, at=Timestamp.of(row.at, "minute"),
            until=Timestamp.of(row.at + COOLING, "minute"),
        )
    )  # fmt: skip


def _find_hands(rows: Sequence[Any], name: str) -> Mapping[str, Any]:
    """Everybody who may act as an account: its person (None), and who changed it, or the account of who did."""
    hands: dict[str, Any] = {fold_name(name): None}
    waiting = list(hands)
    while waiting:
        account = waiting.pop()
        for row in rows:
            who = fold_name(row.actor)
            if fold_name(row.subject.removeprefix("user:")) == account and who not in hands:
                hands[who] = row
                waiting.append(who)
    return hands

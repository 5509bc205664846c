"""People whom an OpenID Connect provider vouches for: each is one account, by issuer and subject, never by a name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select, update

from forecasting.message import Template
from monitor.domain.alert import PAGE, Actor
from monitor.errors import NotFoundError, RefusedError
from monitor.store.database.audit import add_audit
from monitor.store.people.sessions import end_sessions
from monitor.store.people.users import ROLES, User, add_user, find_account, find_user, load_users, set_role, set_sites
from monitor.store.schema.tables import site, user_account

ALL_SITES: Final = "*"
_NO_GROUP: Final = Template(
    "login.no_group", "{name}: none of your groups may come in here; ask who keeps this service"
)
_NO_SITE: Final = Template("login.no_site", "{name}: none of your groups has a site here; ask who keeps this service")
_LOCKED: Final = Template("login.locked", "the account {name} is locked; ask who keeps this service")
_NOT_BOUND: Final = Template(
    "login.not_bound",
    "an account '{name}' exists and is not yours yet; if it is you, an admin binds it: "
    "slopeward users oidc {name} --subject {subject}",
)


@dataclass(frozen=True, slots=True)
class ForeignPerson:
    """Who came, as the provider says it.

    Attributes:
        issuer: the provider.
        subject: who that is there, for ever.
        name: what the account is called where it is made; may change at the provider and binds nothing.
        groups: what the person belongs to there.
    """

    issuer: str
    subject: str
    name: str
    groups: tuple[str, ...]


def choose_role(groups: Sequence[str], roles: Mapping[str, str]) -> str | None:
    """The highest role that groups give; None: none.

    >>> choose_role(["geo", "duty"], {"geo": "viewer", "duty": "operator"}), choose_role(["staff"], {"geo": "viewer"})
    ('operator', None)
    """
    return max((roles[g] for g in groups if g in roles), key=ROLES.index, default=None)


def choose_sites(groups: Sequence[str], sites: Mapping[str, Sequence[str]]) -> frozenset[str] | None:
    """The sites that groups give; None = all, also where no group is bound to sites.

    >>> choose_sites(["north"], {}), choose_sites(["north"], {"north": ["*"]}), choose_sites(["x"], {"north": ["a"]})
    (None, None, frozenset())
    """
    found = frozenset(one for g in groups for one in sites.get(g, ()))
    return None if not sites or ALL_SITES in found else found


def find_bound(c: Connection, issuer: str, subject: str) -> User | None:
    """The account that is bound to a person, or None."""
    u = user_account.c
    name = c.execute(select(u.name).where(u.oidc_issuer == issuer, u.oidc_subject == subject)).scalar()
    return None if name is None else find_user(c, name)


def bind_person(c: Connection, name: str, issuer: str, subject: str | None) -> None:
    """Let a person of the provider be an account that exists; None ends it.

    Raises:
        NotFoundError: no such account.
        RefusedError: that person is another account already.
    """
    bound = None if subject is None else find_bound(c, issuer, subject)
    if bound is not None and bound.name != name:
        raise RefusedError(f"that person is {bound.name!r} already; end that first: slopeward users oidc {bound.name}")
    values = {"oidc_issuer": None if subject is None else issuer, "oidc_subject": subject}
    if c.execute(update(user_account).where(user_account.c.name == name).values(values)).rowcount != 1:
        raise NotFoundError(f"there is no user {name!r}; see `slopeward users list`")
    end_sessions(c, name)


def admit_person(
    c: Connection, person: ForeignPerson, roles: Mapping[str, str], sites: Mapping[str, Sequence[str]], now: datetime
) -> str:  # fmt: skip
    """The account of a person who came, made at the first time; role and sites are what the groups give now.

    Raises:
        RefusedError: the account is locked, the groups give no role or no site, the name is taken by an account that is
            not bound to this person, or nobody who administers would be left.
    """
    account = find_bound(c, person.issuer, person.subject)
    role, wanted = choose_role(person.groups, roles), choose_sites(person.groups, sites)
    if role is None:
        raise RefusedError(_NO_GROUP(name=person.name))
    known = None if wanted is None else wanted & set(c.execute(select(site.c.id)).scalars())
    if known is not None and not known:
        raise RefusedError(_NO_SITE(name=person.name))
    if account is None:
        account = _make(c, person, role, known, now)
    if account.disabled_at is not None:
        raise RefusedError(_LOCKED(name=account.name))
    actor, subject = Actor(account.name, via=PAGE), f"user:{account.name}"
    if account.role != role:
        set_role(c, account.name, role)
        add_audit(c, actor, "user.role", subject, {"from": account.role, "to": role, "by": "oidc"}, now)
    if sites and account.sites != known:  # where no group is bound to sites, an admin says which
        set_sites(c, account.name, known)
        add_audit(
            c, actor, "user.sites", subject, {"sites": None if known is None else sorted(known), "by": "oidc"}, now
        )
    return account.name


def _make(c: Connection, person: ForeignPerson, role: str, sites: frozenset[str] | None, now: datetime) -> User:
    taken = find_account(load_users(c), person.name)
    if taken is not None:
        raise RefusedError(_NOT_BOUND(name=taken.name, subject=person.subject))
    add_user(c, person.name, None, role, now, sites)
    bind_person(c, person.name, person.issuer, person.subject)
    detail: dict[str, object] = {"role": role, "by": "oidc", "issuer": person.issuer, "subject": person.subject}
    detail |= {} if sites is None else {"sites": sorted(sites)}
    add_audit(c, Actor(person.name, via=PAGE), "user.add", f"user:{person.name}", detail, now)
    made = find_user(c, person.name)
    assert made is not None
    return made

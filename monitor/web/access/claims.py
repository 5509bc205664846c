"""What a provider of logins says beyond who somebody is: a name, groups, and whether a second factor was given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from monitor.domain.names import tidy_name
from monitor.store.people.foreign import ForeignPerson

# ways to prove who one is (RFC 8176) by what they rest on: something known, something held, the body
_KINDS: Final = {
    **dict.fromkeys(("pwd", "pin", "kba"), "known"),
    **dict.fromkeys(("otp", "hwk", "swk", "sc", "sms", "tel", "pop"), "held"),
    **dict.fromkeys(("fpt", "face", "iris", "retina", "vbm"), "body"),
}


@dataclass(frozen=True, slots=True)
class Vouched:
    """Whom a provider vouches for.

    Attributes:
        person: who came.
        by_two: whether the provider says, signed, that a second factor was given.
    """

    person: ForeignPerson
    by_two: bool


def find_claim(claims: Any, name: str) -> Any:
    """A claim by its name, or by the way to it through others; None where it is not there.

    >>> find_claim({"realm_access": {"roles": ["duty"]}}, "realm_access.roles")
    ['duty']
    >>> find_claim({"https://id.example.org/groups": "duty"}, "https://id.example.org/groups")
    'duty'
    """
    if not isinstance(claims, Mapping):
        return None
    if name in claims:
        return claims[name]
    parts = name.split(".")  # a name on the way may hold dots itself
    ways = ((".".join(parts[:k]), ".".join(parts[k:])) for k in range(1, len(parts)))
    return next((found for head, rest in ways if (found := find_claim(claims.get(head), rest)) is not None), None)


def read_person(
    issuer: str, claims: Mapping[str, Any], told: Mapping[str, Any], name_claim: str, groups_claim: str
) -> ForeignPerson:
    """Who came; what is no text, or no list of texts, says nothing.

    Args:
        issuer: of the provider.
        claims: of the ID token, verified.
        told: of the userinfo endpoint; each claim counts only where the token has none by that very way.
        name_claim: where the name stands, by its name or the way to it.
        groups_claim: where the groups stand.

    >>> nested = {"resource_access": {"page": {"roles": ["duty"]}}}
    >>> token = {"sub": "6", "resource_access": {"account": {"roles": ["view-profile"]}}}
    >>> read_person("i", token, nested, "name", "resource_access.page.roles").groups
    ('duty',)
    """

    def find(name: str) -> Any:
        found = find_claim(claims, name)
        return find_claim(told, name) if found is None else found

    subject, name, groups = str(claims["sub"]), find(name_claim), find(groups_claim)
    groups = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    named = tidy_name(name) if isinstance(name, str) and name.strip() else subject
    return ForeignPerson(issuer, subject, named[:64], tuple(g for g in groups if isinstance(g, str)))


def names_second_factor(claims: Mapping[str, Any], acr: Sequence[str] = ()) -> bool:
    """Whether an ID token says that the login took a second factor.

    Args:
        claims: of the ID token, verified.
        acr: values of the claim `acr` that say so at this provider.

    >>> names_second_factor({"amr": ["pwd", "otp"]}), names_second_factor({"amr": ["pwd"]}), names_second_factor({})
    (True, False, False)
    >>> [names_second_factor(c) for c in ({"amr": ["pwd", "pin"]}, {"amr": "mfa"}, {"amr": [["mfa"], 5], "acr": ["x"]})]
    [False, False, False]
    >>> names_second_factor({"amr": ["mfa"]}), names_second_factor({"acr": "gold"}, ["gold"])
    (True, True)
    """
    if isinstance(claims.get("acr"), str) and claims["acr"] in acr:
        return True
    amr = claims.get("amr")
    ways = {one for one in amr if isinstance(one, str)} if isinstance(amr, list) else set()
    return "mfa" in ways or len({_KINDS[one] for one in ways if one in _KINDS}) > 1

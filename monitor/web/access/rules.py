"""Who may ask for which address: one rule each, held before anything of a request is read or done.

A rule is `OPEN`, `READ` (anybody, or with `[web] login_to_read` every account) or the role that is needed. An account
for some sites is held to those by `{site}` or `{alert_id}` in the address; one that names neither stands in
`OF_NO_SITE`. An address without a rule, or without a site and not listed so, keeps the page from starting.
"""

import re
from collections.abc import Iterable
from typing import Final

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute

from monitor.alerts.acts.table import API, OPERATOR, Act, list_acts
from monitor.alerts.queries.alerts import find_alert
from monitor.errors import NotAllowedError
from monitor.people.queries.users import may
from monitor.plugins import hooks
from monitor.registration import AccessRule
from monitor.storage.actor import TOKEN
from monitor.text.message import Template, Term
from monitor.web.access.callers import SERVICE_ALERTS, Caller, bearer_of, caller_of, require_caller, sites_shown
from monitor.web.context import context_of

PLAIN_NUMBER: Final = re.compile(r"[0-9]{1,19}")
_ROLE: Final = Template("access.role", "{name} is {role} and may not do this; the role {needed} is needed")
_SOME_SITES: Final = Template("access.some_sites", "{name} is for some sites only; this takes an admin of all")
_IN_PERSON: Final = Template("access.in_person", "this takes a person who is logged in; a token may not")
_NOT_HIS_SITE: Final = Template("access.not_his_site", "'{site}' is no site of {name}")
_NOT_HIS_ALERT: Final = Template("access.not_his_alert", "alert {alert} is of no site of {name}")
_NOT_THIS_SITE: Final = Template("access.not_this_site", "'{site}' is no site of this account")
OPEN: Final = "open"
READ: Final = "read"
VIEWER: Final = "viewer"  # whoever is logged in
ADMIN: Final = "admin"  # of all sites, for accounts and the audit log are of all
_OWN: Final = (
    "GET /account",
    *(one for act in list_acts() for one in act.list_addresses(own=True)),
    "POST /account/second-factor",
    "POST /account/second-factor/confirm",
    "POST /account/second-factor/remove",
    "GET /signatures",
)
_LISTS: Final = (  # narrowed to the sites of who asks, by `find_readable_sites` or `sites_shown`
    "GET /",
    "GET /alerts",
    "GET /notifications",
    "GET /live/overview",
    "GET /live/changes",
    "GET /health",
    "GET /metrics",
    "GET /api/v1/sites",
    "GET /api/v1/sites.geojson",
    "GET /api/v1/alerts",
    "GET /api/v1/notifications",
)
_OF_PLUGINS: Final[dict[str, AccessRule]] = {}
for _registered in hooks().register_access_rules():
    for _address, _rule in _registered.items():
        _OF_PLUGINS.setdefault(_address, _rule)  # a plugin cannot change the rule of a feature
_BY_AN_OPERATOR: Final = ("GET /sites/{site}/readings", "POST /sites/{site}/readings", "POST /sites/{site}/thresholds")


def _each(begin: str, *names: str, rule: str) -> dict[str, str]:
    """A rule for each address that begins so; an empty name is the address itself."""
    return {begin + name: rule for line in names for name in line.split(" ")}


RULES: Final[dict[str, str]] = {
    **{address: rule.role for address, rule in _OF_PLUGINS.items()},
    **dict.fromkeys(("GET /login", "POST /login", "POST /logout", "MOUNT /static", "MOUNT /vendor"), OPEN),
    **_each("GET /", "sw.js manifest.webmanifest offline", rule=OPEN),
    **dict.fromkeys(
        (
            *_LISTS,
            "GET /api/v1/openapi.json",
            "GET /sites/{site}",
            "GET /api/v1/sites/{site}",
            "GET /api/v1/alerts/{alert_id}",
        ),
        READ,
    ),
    **_each("GET /alerts/{alert_id}", " /evidence", rule=READ),
    **_each("GET /live/", "alerts/{alert_id} sites/{site} sites/{site}/changes", rule=READ),
    **_each(
        "GET /api/v1/sites/{site}/",
        "stations stations.geojson",
        "series/{station}/{quantity} panes/{station}/{quantity} compare/{quantity}",
        rule=READ,
    ),
    **dict.fromkeys(_BY_AN_OPERATOR, OPERATOR),
    **{one: act.role for act in list_acts() for one in act.list_addresses()},
    # telephone numbers of people, and the site file, which holds addresses of people
    **dict.fromkeys((*_OWN, "POST /alerts/{alert_id}/recompute"), VIEWER),
    **_each("GET /sites/{site}/", "proposals thresholds acts", rule=VIEWER),
    **dict.fromkeys(("GET /admin", "GET /api/v1/audit"), ADMIN),
}
# a program explains nothing away, fills no disk and manages no accounts: that takes somebody who is there
IN_PERSON: Final = frozenset(
    {
        *_BY_AN_OPERATOR,
        *_OWN,
        "GET /admin",
        "POST /alerts/{alert_id}/recompute",
        *(one for act in list_acts() if not act.by_token for one in act.list_addresses()),
        *(address for address, rule in _OF_PLUGINS.items() if rule.in_person),
    }
)
# addresses that name no site and no alert: what each of them holds of the sites of others, it looks after itself
OF_NO_SITE: Final = frozenset(
    {
        "GET /api/v1/openapi.json",
        *_LISTS,
        *_OWN,
        *(f"POST {way}/signatures/{{signature_id}}/withdraw" for way in ("", API)),
        *(address for address, rule in _OF_PLUGINS.items() if rule.names_no_site),
    }
)


def find_back(act: Act) -> str:
    """Return the page to show after an act; the page of the site if that page belongs to an absent feature."""
    is_there = f"GET {act.back.partition('#')[0]}" in RULES
    return act.back if is_there or "{site}" not in act.back else "/sites/{site}"


def list_addresses(routers: Iterable[APIRouter]) -> list[str]:
    """Method and path of every address, such as `GET /sites/{site}`."""
    routes = [route for router in routers for route in router.routes]
    if odd := [route for route in routes if not isinstance(route, APIRoute)]:
        raise RuntimeError(f"{odd[0]!r} would be answered without a rule")
    return [f"{method} {r.path}" for r in routes if isinstance(r, APIRoute) for method in sorted(r.methods or ())]


def require_rules(routers: Iterable[APIRouter]) -> None:
    """Make sure that no address is without a rule, and none beyond the permissions per site; raises RuntimeError."""
    addresses = list_addresses(routers)
    if missing := [address for address in addresses if address not in RULES]:
        raise RuntimeError(f"no rule in monitor/web/access/rules.py says who may ask for {missing[0]}")
    if loose := [address for address in addresses if not _is_bound(address)]:
        raise RuntimeError(f"{loose[0]} names no site, and monitor/web/access/rules.py does not list it as OF_NO_SITE")


def _is_bound(address: str) -> bool:
    """Whether an account of some sites is held to them, or the address needs none or one of all sites."""
    named = "{site}" in address or "{alert_id}" in address
    return named or RULES[address] in {OPEN, ADMIN} or address in OF_NO_SITE


async def admit(request: Request) -> None:
    """Let a request through by the rule of its address; what is open to all waits for no thread.

    Raises:
        NotSignedInError, NotAllowedError: as `_admit` has it.
    """
    if RULES[_name(request)] != OPEN or bearer_of(request) is not None:
        await run_in_threadpool(_admit, request)


def _name(request: Request) -> str:
    return f"{request.method} {request.scope['route'].path}"


def _admit(request: Request) -> None:
    """Look the caller up, and hold the rule.

    Raises:
        NotSignedInError: the rule wants an account, and nobody is logged in; or a token is good for nothing.
        NotAllowedError: the account has not the role, or not the site.
    """
    address = _name(request)
    needed = RULES[address]
    reads = needed == READ
    if bearer_of(request) is not None:
        caller_of(request)  # a bad token is told, also where none is needed
    if needed == OPEN or (reads and not context_of(request).config.web.login_to_read):
        return
    caller = require_caller(request)
    if not reads and not may(caller.role, needed):
        raise NotAllowedError(_ROLE(name=caller.name, role=Term(caller.role), needed=Term(needed)))
    if needed == ADMIN and caller.sites is not None:
        raise NotAllowedError(_SOME_SITES(name=caller.name))
    if address in IN_PERSON and caller.via == TOKEN:
        raise NotAllowedError(_IN_PERSON())
    _require_site(request, caller, reads=reads)


def _require_site(request: Request, caller: Caller, *, reads: bool) -> None:
    """The answer does not tell whether a site or alert of others exists."""
    allowed = caller.sites
    if allowed is None:
        return
    if reads:
        allowed |= {SERVICE_ALERTS}
    site, alert_id = request.path_params.get("site"), request.path_params.get("alert_id")
    if site is not None and site not in allowed:
        raise NotAllowedError(_NOT_HIS_SITE(site=site, name=caller.name))
    if alert_id is not None:
        # a route reads `7.0` and `+7` as 7: what is not spelled the one plain way is nobody's
        number = int(alert_id) if PLAIN_NUMBER.fullmatch(alert_id) else 0
        with context_of(request).db.read() as c:
            alert = find_alert(c, number) if 0 < number < 1 << 63 else None
        if alert is None or alert.site not in allowed:
            raise NotAllowedError(_NOT_HIS_ALERT(alert=alert_id[:20], name=caller.name))


def find_readable_sites(request: Request, site: str | None) -> str | frozenset[str] | None:
    """The sites of a list: the one asked for, or all that the caller may read (None = all there are).

    Raises NotAllowedError: the one asked for is not among them.
    """
    shown = sites_shown(request)
    if site is None or shown is None:
        return site or shown
    if site not in shown:
        raise NotAllowedError(_NOT_THIS_SITE(site=site))
    return site

"""Access rules: who may request which address. They are checked before the request is processed.

A rule is `OPEN`, `READ` (everybody, or every account with `[web] login_to_read`) or the role that is needed. An account
for some sites may request only addresses whose `{site}` or `{alert_id}` belongs to these sites. Addresses that contain
neither are listed in `OF_NO_SITE`. The web process does not start if an address has no rule, or contains no site and is
not listed.
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
from monitor.web.access.callers import SERVICE_ALERTS, Caller, bearer_of, caller_of, find_visible_sites, require_caller
from monitor.web.context import context_of

PLAIN_NUMBER: Final = re.compile(r"[0-9]{1,19}")
_ROLE: Final = Template(
    "access.role",
    "your account {name} has the role {role}, and this needs the role {needed}; an admin can change your role",
)
_SOME_SITES: Final = Template(
    "access.some_sites", "your account {name} is for some sites only, and this needs an admin of all sites"
)
_IN_PERSON: Final = Template(
    "access.in_person", "a token of a program may not do this; log in on the page and do it there"
)
_OTHER_SITE: Final = Template(
    "access.not_his_site", "your account {name} is not for the site '{site}'; an admin can add the site"
)
_OTHER_ALERT: Final = Template(
    "access.not_his_alert",
    "alert {alert} belongs to no site of your account {name}; an admin can add its site",
)
_UNREADABLE_SITE: Final = Template(
    "access.not_this_site", "your account is not for the site '{site}'; an admin can add the site"
)
OPEN: Final = "open"
READ: Final = "read"
VIEWER: Final = "viewer"  # every account
ADMIN: Final = "admin"  # an admin of all sites, because accounts and the audit log belong to all sites
# Addresses on which callers manage their own account.
_OWN_ACCOUNT: Final = (
    "GET /account",
    *(address for act in list_acts() for address in act.list_addresses(own=True)),
    "POST /account/second-factor",
    "POST /account/second-factor/confirm",
    "POST /account/second-factor/remove",
    "GET /signatures",
)
# Lists over all sites. Their routes leave out the sites that the caller may not read (`find_readable_sites`).
_LISTS: Final = (
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
_OPERATOR_ADDRESSES: Final = (
    "GET /sites/{site}/readings",
    "POST /sites/{site}/readings",
    "POST /sites/{site}/thresholds",
)


def _collect_plugin_rules() -> dict[str, AccessRule]:
    """Return the rules of plugins by address. A third-party plugin cannot change the rule of a feature."""
    rules: dict[str, AccessRule] = {}
    for registered in hooks().register_access_rules():
        for address, rule in registered.items():
            rules.setdefault(address, rule)
    return rules


_PLUGIN_RULES: Final = _collect_plugin_rules()
RULES: Final[dict[str, str]] = {
    **{address: rule.role for address, rule in _PLUGIN_RULES.items()},
    "GET /login": OPEN,
    "POST /login": OPEN,
    "POST /logout": OPEN,
    "MOUNT /static": OPEN,
    "MOUNT /vendor": OPEN,
    "GET /sw.js": OPEN,
    "GET /manifest.webmanifest": OPEN,
    "GET /offline": OPEN,
    **dict.fromkeys(_LISTS, READ),
    "GET /api/v1/openapi.json": READ,
    "GET /sites/{site}": READ,
    "GET /alerts/{alert_id}": READ,
    "GET /alerts/{alert_id}/evidence": READ,
    "GET /live/alerts/{alert_id}": READ,
    "GET /live/sites/{site}": READ,
    "GET /live/sites/{site}/changes": READ,
    "GET /api/v1/alerts/{alert_id}": READ,
    "GET /api/v1/sites/{site}": READ,
    "GET /api/v1/sites/{site}/stations": READ,
    "GET /api/v1/sites/{site}/stations.geojson": READ,
    "GET /api/v1/sites/{site}/series/{station}/{quantity}": READ,
    "GET /api/v1/sites/{site}/panes/{station}/{quantity}": READ,
    "GET /api/v1/sites/{site}/compare/{quantity}": READ,
    **dict.fromkeys(_OPERATOR_ADDRESSES, OPERATOR),
    **{address: act.role for act in list_acts() for address in act.list_addresses()},
    **dict.fromkeys(_OWN_ACCOUNT, VIEWER),
    "POST /alerts/{alert_id}/recompute": VIEWER,
    # These pages contain the site file, which contains telephone numbers and mail addresses of people.
    "GET /sites/{site}/proposals": VIEWER,
    "GET /sites/{site}/thresholds": VIEWER,
    "GET /sites/{site}/acts": VIEWER,
    "GET /admin": ADMIN,
    "GET /api/v1/audit": ADMIN,
}
# Addresses that a token of a program may not request, whatever its scope.
IN_PERSON: Final = frozenset(
    {
        *_OPERATOR_ADDRESSES,
        *_OWN_ACCOUNT,
        "GET /admin",
        "POST /alerts/{alert_id}/recompute",
        *(address for act in list_acts() if not act.by_token for address in act.list_addresses()),
        *(address for address, rule in _PLUGIN_RULES.items() if rule.in_person),
    }
)
# Addresses without a site or an alert. Their routes leave out what the caller may not read.
OF_NO_SITE: Final = frozenset(
    {
        "GET /api/v1/openapi.json",
        *_LISTS,
        *_OWN_ACCOUNT,
        *(f"POST {prefix}/signatures/{{signature_id}}/withdraw" for prefix in ("", API)),
        *(address for address, rule in _PLUGIN_RULES.items() if rule.names_no_site),
    }
)


def find_return_page(act: Act) -> str:
    """Return the page to show after an act; the page of the site if that page belongs to an absent feature."""
    exists = f"GET {act.back.partition('#')[0]}" in RULES
    return act.back if exists or "{site}" not in act.back else "/sites/{site}"


def list_addresses(routers: Iterable[APIRouter]) -> list[str]:
    """Return method and path of every route, such as `GET /sites/{site}`."""
    routes = [route for router in routers for route in router.routes]
    unchecked = [route for route in routes if not isinstance(route, APIRoute)]
    if unchecked:
        raise RuntimeError(f"{unchecked[0]!r} would be answered without a rule")
    return [
        f"{method} {route.path}"
        for route in routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods or ())
    ]


def require_rules(routers: Iterable[APIRouter]) -> None:
    """Raise RuntimeError if an address has no rule, or if it is not clear to which site it belongs."""
    for address in list_addresses(routers):
        if address not in RULES:
            raise RuntimeError(f"monitor/web/access/rules.py has no rule for {address}")
        if not _is_limited_to_sites(address):
            raise RuntimeError(
                f"{address} contains no site, and monitor/web/access/rules.py does not list it in OF_NO_SITE"
            )


def _is_limited_to_sites(address: str) -> bool:
    """Return whether an account for some sites cannot read other sites at an address."""
    contains_site = "{site}" in address or "{alert_id}" in address
    return contains_site or RULES[address] in {OPEN, ADMIN} or address in OF_NO_SITE


async def admit(request: Request) -> None:
    """Check the rule of the address of a request. Open addresses are answered without waiting for a thread.

    Raises:
        NotSignedInError: the rule requires an account and nobody is logged in, or the token is not valid.
        NotAllowedError: the account has not the role or not the site.
    """
    if RULES[_get_address(request)] != OPEN or bearer_of(request) is not None:
        await run_in_threadpool(_check_rule, request)


def _get_address(request: Request) -> str:
    return f"{request.method} {request.scope['route'].path}"


def _check_rule(request: Request) -> None:
    """Check the rule of an address; see `admit`."""
    address = _get_address(request)
    needed = RULES[address]
    is_reading = needed == READ
    if bearer_of(request) is not None:
        # Raises an error if the token is not valid, also at an address that needs no token.
        caller_of(request)
    if needed == OPEN or (is_reading and not context_of(request).config.web.login_to_read):
        return
    caller = require_caller(request)
    if not is_reading and not may(caller.role, needed):
        raise NotAllowedError(_ROLE(name=caller.name, role=Term(caller.role), needed=Term(needed)))
    if needed == ADMIN and caller.sites is not None:
        raise NotAllowedError(_SOME_SITES(name=caller.name))
    if address in IN_PERSON and caller.via == TOKEN:
        raise NotAllowedError(_IN_PERSON())
    _require_site(request, caller, is_reading=is_reading)


def _require_site(request: Request, caller: Caller, *, is_reading: bool) -> None:
    """Raise NotAllowedError if the site or alert of a request belongs to other sites than those of the account.

    The error is the same if the site or alert does not exist, so that it does not reveal what exists.
    """
    allowed = caller.sites
    if allowed is None:
        return
    if is_reading:
        allowed |= {SERVICE_ALERTS}
    site, alert_id = request.path_params.get("site"), request.path_params.get("alert_id")
    if site is not None and site not in allowed:
        raise NotAllowedError(_OTHER_SITE(site=site, name=caller.name))
    if alert_id is not None:
        # FastAPI reads `7.0` and `+7` as 7 too. Only the plain spelling is accepted here.
        number = int(alert_id) if PLAIN_NUMBER.fullmatch(alert_id) else 0
        with context_of(request).db.read() as c:
            alert = find_alert(c, number) if 0 < number < 1 << 63 else None
        if alert is None or alert.site not in allowed:
            raise NotAllowedError(_OTHER_ALERT(alert=alert_id[:20], name=caller.name))


def find_readable_sites(request: Request, site: str | None) -> str | frozenset[str] | None:
    """Return the sites of a list: the requested site, or all sites that the caller may read.

    Args:
        request: the request.
        site: id of the requested site; None if the request names none.

    Returns:
        One site id, the ids of several sites, or None for all sites.

    Raises:
        NotAllowedError: the caller may not read the requested site.
    """
    readable = find_visible_sites(request)
    if site is None or readable is None:
        return site or readable
    if site not in readable:
        raise NotAllowedError(_UNREADABLE_SITE(site=site))
    return site

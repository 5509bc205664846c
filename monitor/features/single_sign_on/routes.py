"""Routes of a login through an identity provider: the browser goes to the provider and returns with a code.

A cookie binds the login to the browser that started it, so that the answer to a login of another browser is refused.
The provider identifies the person. This service decides which account that is, and what it may do.
"""

import logging
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final
from weakref import WeakKeyDictionary

from fastapi import APIRouter, FastAPI, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from monitor.api.database import PAGE, Actor, add_audit
from monitor.api.errors import NotFoundError, RefusedError, acquire_or_refuse
from monitor.api.queries.people import (
    admit_person,
    check_second_factor,
    end_sessions,
    find_linked_account,
    find_user,
    has_second_factor,
    is_known_device,
    login_code_wait_s,
    record_login_code,
)
from monitor.api.settings import open_vault
from monitor.api.text import Figure, Template, digest_text
from monitor.api.web import DEVICE_COOKIE, WITHOUT_NUL, check_origin, context_of, cookie_name, is_safe_path, login
from monitor.api.web import render_page as render
from monitor.features.single_sign_on.provider import (
    LoginFlow,
    LoginRefusedError,
    OidcIdentity,
    Provider,
    ProviderDownError,
    format_code,
)

_LOG = logging.getLogger(__name__)
router = APIRouter(include_in_schema=False)
# Names of cookies.
FLOW: Final = "slopeward_flow"
GOAL: Final = "slopeward_goal"
PENDING: Final = "slopeward_halfway"
PENDING_S: Final = 300  # time to enter the code of the second factor
FLOW_S: Final = 600  # time for the login at the provider
MAX_PROVIDER_REQUESTS: Final = 4  # threads that may wait for the provider, of the forty threads of the web process
_NO_PROVIDER: Final = Template("login.no_provider", "this service has no identity provider")
_OTHER_BROWSER: Final = Template(
    "login.other_browser", "This login was started in another browser, or too long ago. Start it again."
)
_NOBODY: Final = Template("login.nobody", "{provider} refused the login: {code}. Try again.")
_NOT_PROVED: Final = Template(
    "login.not_proved", "This login could not be verified. Start it again; the log of the service contains the reason."
)
_ONE_FACTOR: Final = Template(
    "login.one_factor", "{provider} has not confirmed a second factor (a code, a key). Set one up there."
)
_NONE_HERE: Final = Template(
    "login.no_second_factor",
    "{name} has no second factor here. An admin sets one up: slopeward people users totp {name}.",
)
_TOO_LATE: Final = Template("login.too_late", "This login took too long. Start it again.")
_MANY_CODES: Final = Template("login.many_codes", "Too many wrong codes. Try again in {wait}.")
_WRONG_CODE: Final = Template("login.wrong_code", "The code is wrong, or was used already.")
_DOWN: Final = Template(
    "login.down",
    "The login of {provider} does not work now: {problem}. Try again, or log in below with an account with a password.",
)
_DOWN_ALONE: Final = Template(
    "login.down_alone",
    "The login of {provider} does not work now: {problem}. Try again, or log in below with an emergency account.",
)
Parameter = Annotated[str, Query(max_length=2048, pattern=WITHOUT_NUL)]


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A login that the provider has confirmed, and that still needs the code of the second factor."""

    name: str
    to: str
    detail: Mapping[str, Any]


class SignOns:
    """State of logins in this process: requests to the provider, used answers, and logins that wait for a code."""

    def __init__(self) -> None:
        self._pending: dict[str, tuple[PendingLogin, float]] = {}
        self._lock = threading.Lock()
        self._used: dict[str, float] = {}
        self.provider_requests = threading.Semaphore(MAX_PROVIDER_REQUESTS)

    def mark_used(self, nonce: str) -> bool:
        """Mark the answer of a login as used. Return False if it was used before."""
        now = time.monotonic()
        with self._lock:
            self._used = {used: at for used, at in self._used.items() if now - at < 2 * FLOW_S}
            if nonce in self._used:
                return False
            self._used[nonce] = now
        return True

    def add_pending(self, pending_login: PendingLogin) -> str:
        """Store a login for some minutes. Return the token with which its browser continues."""
        token, now = secrets.token_urlsafe(24), time.monotonic()
        with self._lock:
            self._pending = {k: entry for k, entry in self._pending.items() if now - entry[1] < PENDING_S}
            self._pending[token] = (pending_login, now)
        return token

    def find_pending(self, token: str) -> PendingLogin | None:
        """Return the stored login of a token, or None if there is none or it has expired."""
        with self._lock:
            entry = self._pending.get(token)
        return entry[0] if entry is not None and time.monotonic() - entry[1] < PENDING_S else None

    def remove_pending(self, token: str) -> None:
        """Remove a login that has ended."""
        with self._lock:
            self._pending.pop(token, None)


_SIGN_ONS: Final[WeakKeyDictionary[FastAPI, SignOns]] = WeakKeyDictionary()


def _find_sign_ons(request: Request) -> SignOns:
    return _SIGN_ONS.setdefault(request.app, SignOns())


def _provider(request: Request) -> Provider:
    config = context_of(request).config
    if not config.oidc.issuer:
        raise NotFoundError(_NO_PROVIDER())
    return Provider(config.oidc, config.web.url)


@router.get("/login/oidc")
def start_login(request: Request, to: Parameter = "/") -> Response:
    """Send the browser to the provider."""
    provider, to = _provider(request), to if is_safe_path(to) else "/"
    try:
        with acquire_or_refuse(_find_sign_ons(request).provider_requests, login.MANY()):
            address, flow = provider.begin()
    except ProviderDownError as error:
        return _render_down(request, to, error)
    answer = RedirectResponse(address, status_code=303)
    for name, value in ((FLOW, flow.to_text()), (GOAL, to.encode().hex())):
        # `lax`, because the browser must send the cookie when the provider redirects back.
        login.give_cookie(request, answer, name, value, FLOW_S, samesite="lax")
    return answer


@router.get("/login/oidc/back")
def finish_login(
    request: Request, state: Parameter = "", code: Parameter = "", error: Parameter = "", iss: Parameter = ""
) -> Response:
    """Finish a login after the provider has redirected the browser back. Delete the cookies of the login."""
    answer = _handle_answer(request, _provider(request), state, code, error, iss)
    for name in (FLOW, GOAL):
        login.give_cookie(request, answer, name, "", 0.0)
    return answer


def _handle_answer(request: Request, provider: Provider, state: str, code: str, error: str, iss: str) -> Response:
    context, throttle = context_of(request), login.find_throttle(request)
    try:
        to = bytes.fromhex(request.cookies.get(cookie_name(request, GOAL), "")).decode()
    except ValueError:
        to = "/"
    to = to if is_safe_path(to) else "/"
    section, host = context.config.oidc, login.host_of(request)
    flow = LoginFlow.read(request.cookies.get(cookie_name(request, FLOW), ""))
    if flow is None or not flow.has_state(state):
        return login.refuse(request, to, _OTHER_BROWSER(), 401)
    if error or not code:
        return login.refuse(request, to, _NOBODY(provider=section.name, code=format_code(error)), 401)
    count, wait_s = throttle.failures(f"oidc:{host}")
    if count >= login.TRIES:
        return login.refuse(request, to, login.TOO_MANY(wait=Figure(wait_s, ".0f", "s")), 429, wait_s=wait_s)
    now = context.clock()
    try:
        if iss and iss != section.issuer:  # RFC 9207
            raise LoginRefusedError("the answer comes from another provider")
        with acquire_or_refuse(_find_sign_ons(request).provider_requests, login.MANY()):
            identity = provider.redeem(code, flow, now)
        if not _find_sign_ons(request).mark_used(flow.nonce):
            raise LoginRefusedError("the answer was used already")
    except ProviderDownError as down:
        return _render_down(request, to, down)
    except LoginRefusedError as refused:
        throttle.note(f"oidc:{host}", failed=True)
        _LOG.warning("a login by %s was refused: %s", section.issuer, refused)
        with context.db.write() as c:
            detail = {"from": host, "by": "oidc", "why": str(refused)}
            add_audit(c, Actor("unknown", via=PAGE), "login.refused", f"oidc:{section.issuer}", detail, now)
        return login.refuse(request, to, _NOT_PROVED(), 401)
    return _open_session(request, to, identity)


def _open_session(request: Request, to: str, identity: OidcIdentity) -> Response:
    """Open a session, or ask for the second factor that the provider has not proved."""
    person, context, host = identity.person, context_of(request), login.host_of(request)
    section, now = context.config.oidc, context.clock()
    detail: dict[str, Any] = {"from": host, "by": "oidc", "issuer": person.issuer, "subject": person.subject}
    detail |= {"second_factor": "provider"} if identity.by_two else {}
    if section.second_factor == "provider" and not identity.by_two:
        # Open sessions do not end, because the password at the provider may be stolen.
        text = _ONE_FACTOR(provider=section.name)
        with context.db.write() as c:
            bound = find_linked_account(c, person.issuer, person.subject)
            name = person.name if bound is None else bound.name
            add_audit(c, Actor(name, via=PAGE), "login.refused", f"user:{name}", {**detail, "why": text}, now)
        return login.refuse(request, to, text, 403)
    try:
        with context.db.write() as c:
            name = admit_person(c, person, section.roles, section.sites, now)
            wants_ours, has_ours = section.second_factor == "ours", has_second_factor(c, name)
            needs_code = has_ours and (wants_ours or not identity.by_two)
            missing = _NONE_HERE(name=name)
            if wants_ours and not has_ours:
                # Open sessions do not end, for the same reason.
                add_audit(c, Actor(name, via=PAGE), "login.refused", f"user:{name}", {**detail, "why": missing}, now)
            cookies = None if needs_code or wants_ours else login.enter(request, c, name, detail, now)
    except RefusedError as refused:
        with context.db.write() as c:
            bound = find_linked_account(c, person.issuer, person.subject)
            name = person.name if bound is None else bound.name
            # The person has lost the permission at the provider, so open sessions end too.
            ended = 0 if bound is None else end_sessions(c, name)
            detail |= {"why": refused.message, "sessions_ended": ended}
            add_audit(c, Actor(name, via=PAGE), "login.refused", f"user:{name}", detail, now)
        return login.refuse(request, to, refused.message, 403)
    if wants_ours and not has_ours:
        return login.refuse(request, to, missing, 403)
    if cookies is None:
        token = _find_sign_ons(request).add_pending(PendingLogin(name, to, detail))
        answer = render_code_form(request)
        login.give_cookie(request, answer, PENDING, token, PENDING_S, samesite="strict")
        return answer
    # A page in between is needed: a browser sends no strict cookie with a redirect that another site started.
    answer = render(request, "entered.html", to=to, who=name)
    login.set_cookies(request, answer, *cookies)
    return answer


def render_code_form(request: Request, failed: str = "", status: int = 200) -> Response:
    """Return the form for the code of the second factor."""
    answer = render(request, "login_code.html", failed=failed)
    answer.status_code = status
    return answer


@router.post("/login/oidc/code")
def check_code(request: Request, code: Annotated[str, Form(max_length=30)]) -> Response:
    """Continue a login that the provider has confirmed, with the code of the second factor of the account."""
    check_origin(request)
    _provider(request)
    context, throttle, sign_ons = context_of(request), login.find_throttle(request), _find_sign_ons(request)
    token, now = request.cookies.get(cookie_name(request, PENDING), ""), context.clock()
    pending = sign_ons.find_pending(token)
    if pending is None:
        return login.refuse(request, "/", _TOO_LATE(), 401)
    name, device = pending.name, request.cookies.get(cookie_name(request, DEVICE_COOKIE), "")
    device_key = f"device:{digest_text(device)}"
    with context.db.read() as c:
        is_known = is_known_device(c, device, name, now) and throttle.failures(device_key)[0] < login.TRIES
    # The delay is checked inside, so that simultaneous attempts are counted one after the other.
    with throttle.check(is_known=True):
        with context.db.write() as c:
            if not is_known and (wait_s := login_code_wait_s(c, name, now)):
                return render_code_form(request, _MANY_CODES(wait=Figure(wait_s, ".0f", "s")), 429)
            account = find_user(c, name)
            is_open = account is not None and account.disabled_at is None
            is_right = is_open and check_second_factor(c, open_vault(context.config), name, code, now)
            if is_right:
                cookies = login.enter(request, c, name, {**pending.detail, "second_factor": "ours"}, now)
            else:
                detail = {**pending.detail, "why": login.WRONG_CODE}
                add_audit(c, Actor(name, via=PAGE), "login.refused", f"user:{name}", detail, now)
            if not is_known:
                record_login_code(c, name, now, failed=not is_right)
        if is_known:
            throttle.note(device_key, failed=not is_right)
    if not is_right:
        return render_code_form(request, _WRONG_CODE(), 401)
    sign_ons.remove_pending(token)
    answer = RedirectResponse(pending.to, status_code=303)
    login.set_cookies(request, answer, *cookies)
    return answer


def _render_down(request: Request, to: str, error: ProviderDownError) -> Response:
    section = context_of(request).config.oidc
    _LOG.warning("the identity provider %s does not work: %s", section.issuer, error)
    down = _DOWN_ALONE if section.only else _DOWN
    return login.refuse(request, to, down(provider=section.name, problem=error.message), 503)

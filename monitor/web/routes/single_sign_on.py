"""Log in elsewhere: the browser goes to the provider and comes back with a code, which tells who sits before it.

What the browser must bring back lies in a cookie of its own: the answer to a login that another browser began is worth
nothing here. The provider says who somebody is, which account that is, and what it may do, says this service.
"""

import logging
import threading
import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from monitor.domain.alert import PAGE, Actor
from monitor.domain.names import tidy_name
from monitor.errors import NotFoundError, RefusedError, StoreBusyError
from monitor.store.database.audit import add_audit
from monitor.store.people.foreign import ForeignPerson, admit_person, find_bound
from monitor.store.people.sessions import end_sessions
from monitor.web.access.guard import is_safe_path
from monitor.web.access.provider import Flow, LoginRefusedError, Provider, ProviderDownError, spell_code
from monitor.web.context import NO_NUL, context_of, cookie_name, is_encrypted
from monitor.web.parts.templating import render
from monitor.web.routes.login import TRIES, enter, host_of, refuse, set_cookies, turnstile_of

_LOG = logging.getLogger(__name__)
router = APIRouter(include_in_schema=False)
FLOW: Final = "slopeward_flow"
GOAL: Final = "slopeward_goal"
FLOW_S: Final = 600  # from leaving until coming back
ASKING_AT_ONCE: Final = 4  # of the forty threads of the page: a provider that hangs must not take them all
Word = Annotated[str, Query(max_length=2048, pattern=NO_NUL)]


class SignOns:
    """What this process remembers of logins elsewhere: how many ask the provider now, and which answers were used."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: dict[str, float] = {}
        self.asking = threading.Semaphore(ASKING_AT_ONCE)

    def use(self, nonce: str) -> bool:
        """Take an answer whose token held; False where it was taken before."""
        now = time.monotonic()
        with self._lock:
            self._used = {k: at for k, at in self._used.items() if now - at < 2 * FLOW_S}
            return self._used.setdefault(nonce, now) == now


def _provider(request: Request) -> Provider:
    config = context_of(request).config
    if not config.oidc.issuer:
        raise NotFoundError("no provider of logins is set up here")
    return Provider(config.oidc, config.web.url)


def _ask(request: Request, question: Any) -> Any:
    """Ask the provider, unless too many ask already."""
    asking: threading.Semaphore = request.app.state.sign_ons.asking
    if not asking.acquire(blocking=False):
        raise StoreBusyError("too many log in at this moment; try again in some seconds")
    try:
        return question()
    finally:
        asking.release()


@router.get("/login/oidc")
def leave(request: Request, to: Word = "/") -> Response:
    """Send the browser to the provider."""
    provider, to = _provider(request), to if is_safe_path(to) else "/"
    try:
        address, flow = _ask(request, provider.begin)
    except ProviderDownError as error:
        return _tell_down(request, to, error)
    answer = RedirectResponse(address, status_code=303)
    for name, value in ((FLOW, flow.spell()), (GOAL, to)):
        answer.set_cookie(
            cookie_name(request, name), value if name == FLOW else value.encode().hex(), max_age=FLOW_S, path="/",
            httponly=True, secure=is_encrypted(request),
            samesite="lax",  # it must come along when another site, the provider, sends the browser back
        )  # fmt: skip
    return answer


@router.get("/login/oidc/back")
def come_back(request: Request, state: Word = "", code: Word = "", error: Word = "", iss: Word = "") -> Response:
    """Let in whom the provider vouches for; every outcome ends what the browser had begun."""
    answer = _come_back(request, _provider(request), state, code, error, iss)
    for name in (FLOW, GOAL):
        answer.delete_cookie(
            cookie_name(request, name), path="/", httponly=True, samesite="lax", secure=is_encrypted(request)
        )
    return answer


def _come_back(request: Request, provider: Provider, state: str, code: str, error: str, iss: str) -> Response:
    context, door, to = context_of(request), turnstile_of(request), _goal(request)
    section, host = context.config.oidc, host_of(request)
    flow = Flow.read(request.cookies.get(cookie_name(request, FLOW), ""))
    if flow is None or not flow.fits(state):
        return refuse(request, to, "This login was begun in another browser, or too long ago. Begin it again.", 401)
    if error or not code:
        return refuse(request, to, f"{section.name} let nobody in: {spell_code(error)}. Try again.", 401)
    count, wait_s = door.failures(f"oidc:{host}")
    if count >= TRIES:
        return refuse(request, to, f"Too many failures. Try again in {wait_s:.0f} s.", 429, wait_s=wait_s)
    now = context.clock()
    try:
        if iss and iss != section.issuer:  # RFC 9207
            raise LoginRefusedError("the answer comes from another provider")
        claims = _ask(request, lambda: provider.redeem(code, flow, now))
        if not request.app.state.sign_ons.use(flow.nonce):
            raise LoginRefusedError("the answer was used already")
    except ProviderDownError as down:
        return _tell_down(request, to, down)
    except LoginRefusedError as refused:
        door.note(f"oidc:{host}", failed=True)
        _LOG.warning("a login by %s was refused: %s", section.issuer, refused)
        with context.db.write() as c:
            detail = {"from": host, "by": "oidc", "why": str(refused)}
            add_audit(c, Actor("unknown", via=PAGE), "login.refused", f"oidc:{section.issuer}", detail, now)
        return refuse(request, to, "This login could not be proved. Begin it again; the log says why.", 401)
    return _let_in(request, to, _read_person(section.issuer, claims, section.name_claim, section.groups_claim))


def _let_in(request: Request, to: str, person: ForeignPerson) -> Response:
    context, host = context_of(request), host_of(request)
    section, now = context.config.oidc, context.clock()
    detail: dict[str, Any] = {"from": host, "by": "oidc", "issuer": person.issuer, "subject": person.subject}
    try:
        with context.db.write() as c:
            name = admit_person(c, person, section.roles, section.sites, now)
            cookies = enter(request, c, name, detail, now)
    except RefusedError as refused:
        with context.db.write() as c:
            bound = find_bound(c, person.issuer, person.subject)
            name = person.name if bound is None else bound.name
            ended = 0 if bound is None else end_sessions(c, name)  # what the provider took back ends here too
            detail |= {"why": str(refused), "sessions_ended": ended}
            add_audit(c, Actor(name, via=PAGE), "login.refused", f"user:{name}", detail, now)
        return refuse(request, to, f"{str(refused)[:1].upper()}{str(refused)[1:]}.", 403)
    # a page of our own in between: the browser sends a strict cookie along with no step that another site began
    answer = render(request, "entered.html", to=to, who=name)
    set_cookies(request, answer, *cookies)
    return answer


def _read_person(issuer: str, claims: dict[str, Any], name_claim: str, groups_claim: str) -> ForeignPerson:
    subject, name, groups = str(claims["sub"]), claims.get(name_claim), claims.get(groups_claim)
    groups = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    named = tidy_name(name) if isinstance(name, str) and name.strip() else subject
    return ForeignPerson(issuer, subject, named[:64], tuple(g for g in groups if isinstance(g, str)))


def _goal(request: Request) -> str:
    try:
        to = bytes.fromhex(request.cookies.get(cookie_name(request, GOAL), "")).decode()
    except ValueError:
        to = "/"
    return to if is_safe_path(to) else "/"


def _tell_down(request: Request, to: str, error: ProviderDownError) -> Response:
    section = context_of(request).config.oidc
    _LOG.warning("the provider of logins %s is of no use: %s", section.issuer, error)
    who = "an emergency account" if section.only else "an account with a password"
    text = f"The login of {section.name} does not work now: {error}. Try again, or log in below with {who}."
    return refuse(request, to, text, 503)

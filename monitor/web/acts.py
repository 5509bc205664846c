"""The narrow write path: log in and out, acknowledge, report what was seen. Each act carries a name and a reason."""

import threading
import time
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from monitor.alerting.orders import find_signature, step_of_alert, verify
from monitor.domain.alert import PAGE, Actor
from monitor.domain.observation import Report
from monitor.errors import NotFoundError, RefusedError
from monitor.store.alerts import acknowledge, find_alert
from monitor.store.audit import add_audit
from monitor.store.messages import add_report
from monitor.store.pages import load_cards
from monitor.store.users import Session, check_password, close_session, may, open_session
from monitor.web.collect import find_card
from monitor.web.context import COOKIE, AlertId, context_of, session_of
from monitor.web.guard import check_csrf, check_origin, is_safe_path
from monitor.web.templating import render

router = APIRouter(include_in_schema=False)
TRIES: Final = 5
WAIT_S: Final = 60.0
CHECKS_AT_ONCE: Final = 2  # each takes 64 MiB: a flood of guesses must not starve the core of memory
NO_NUL: Final = r"^[^\x00]*$"  # PostgreSQL stores none
REPORT_KINDS: Final = ("crack", "rockfall", "road_damage", "water", "sound", "verification", "other")


class Turnstile:
    """Slows down guessing: after some failures in a row a name and a host wait a minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.one_by_one = threading.Semaphore(CHECKS_AT_ONCE)
        self._failures: dict[str, tuple[int, float]] = {}

    def wait_s(self, *keys: str) -> float:
        """Seconds to wait; 0 when the door is open."""
        now = time.monotonic()
        with self._lock:
            self._failures = {k: v for k, v in self._failures.items() if now - v[1] < WAIT_S}
            counts = [self._failures.get(key, (0, now)) for key in keys]
        return max(WAIT_S - (now - at) if n >= TRIES else 0.0 for n, at in counts)

    def note(self, *keys: str, failed: bool) -> None:
        """Remember a failure, or forget them after a success."""
        with self._lock:
            for key in keys:
                if failed:
                    self._failures[key] = (self._failures.get(key, (0, 0.0))[0] + 1, time.monotonic())
                else:
                    self._failures.pop(key, None)


def _turnstile(request: Request) -> Turnstile:
    state = request.app.state
    if not hasattr(state, "turnstile"):
        state.turnstile = Turnstile()
    found: Turnstile = state.turnstile
    return found


@router.post("/login")
def log_in(
    request: Request,
    name: Annotated[str, Form(max_length=64, pattern=NO_NUL)],
    password: Annotated[str, Form(max_length=1024)],
    to: Annotated[str, Form(max_length=500, pattern=NO_NUL)] = "/",
) -> Response:
    """Check the password and open a session; the cookie is out of reach of scripts and of other sites."""
    check_origin(request)
    context, door = context_of(request), _turnstile(request)
    to = to if is_safe_path(to) else "/"
    keys = (f"name:{name}", f"host:{request.client.host if request.client else ''}")
    with door.one_by_one:  # looked at inside: guesses at the same moment are counted as well
        if (wait := door.wait_s(*keys)) > 0:
            response = render(request, "login.html", to=to, failed=f"Too many failures. Try again in {wait:.0f} s.")
            response.status_code = 429
            response.headers["Retry-After"] = f"{wait:.0f}"
            return response
        with context.db.read() as c:
            role = check_password(c, name, password)
        door.note(*keys, failed=role is None)
    now = context.clock()
    with context.db.write() as c:
        if role is None:
            add_audit(c, Actor(name), "login.refused", f"user:{name}", {"from": keys[1]}, now)
        else:
            token = open_session(c, name, now)
            add_audit(c, Actor(name), "login", f"user:{name}", {"from": keys[1]}, now)
    if role is None:
        response = render(request, "login.html", to=to, failed="Name or password is wrong.")
        response.status_code = 401
        return response
    answer = RedirectResponse(to, status_code=303)
    secure = request.url.scheme == "https" or context.config.web.public_url.startswith("https://")
    answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure, path="/", max_age=12 * 3600)
    return answer


@router.post("/logout")
def log_out(request: Request, csrf: Annotated[str, Form()]) -> Response:
    """End the session here and in the database."""
    check_origin(request)
    token = request.cookies.get(COOKIE, "")
    check_csrf(token, csrf)
    with context_of(request).db.write() as c:
        close_session(c, token)
    answer = RedirectResponse("/", status_code=303)
    answer.delete_cookie(COOKIE, path="/")
    return answer


def _require(request: Request, csrf: str) -> Session:
    """Somebody who may act, from this page itself; raises RefusedError."""
    check_origin(request)
    session = session_of(request)
    if session is None:
        raise RefusedError("log in first")
    check_csrf(request.cookies.get(COOKIE, ""), csrf)
    if not may(session.role, "operator"):
        raise RefusedError(f"{session.name} may look but not act; the role operator is needed")
    return session


def _reason(text: str) -> str:
    cleaned = " ".join(text.split())
    if len(cleaned) < 3:
        raise RefusedError("say why in a few words")
    return cleaned


@router.post("/alerts/{alert_id}/acknowledge")
def acknowledge_alert(
    request: Request,
    alert_id: AlertId,
    reason: Annotated[str, Form(max_length=500, pattern=NO_NUL)],
    csrf: Annotated[str, Form()],
    seen: Annotated[int | None, Form()] = None,
) -> Response:
    """Sign an alert: who, when, why; escalation ends by it. `seen` is the level that the form was shown with."""
    session = _require(request, csrf)
    context = context_of(request)
    with context.db.write(urgent=True) as c:
        acknowledge(c, alert_id, Actor(session.name, via=PAGE), _reason(reason), context.clock(), seen=seen)
    return RedirectResponse(f"/alerts/{alert_id}?told=acknowledged", status_code=303)


@router.post("/alerts/{alert_id}/verify")
def verify_step(
    request: Request,
    alert_id: AlertId,
    answer: Annotated[str, Form(max_length=32)],
    reason: Annotated[str, Form(max_length=500, pattern=NO_NUL)],
    csrf: Annotated[str, Form()],
) -> Response:
    """Say what a sudden step or a common motion was; the site is decided again at once."""
    session = _require(request, csrf)
    context = context_of(request)
    with context.db.read() as c:
        alert = find_alert(c, alert_id)
        key = None if alert is None else step_of_alert(alert.key)
        if alert is None or key is None:
            raise NotFoundError(f"alert {alert_id} asks for no verification")
        site = context.declaration(c, str(find_card(c, alert.site).status["config_version"]))
    if site is None:
        raise RefusedError(f"the file of site {alert.site} cannot be read by this program")
    verify(context.db, site, key, answer, Actor(session.name, via=PAGE), _reason(reason), context.clock())
    waits = find_signature(context.db, site.id, key) is not None
    told = quote("signed; a second person must sign the same answer") if waits else "answered"
    return RedirectResponse(f"/alerts/{alert_id}?told={told}", status_code=303)


@router.post("/sites/{site}/report")
def report_seen(
    request: Request,
    site: str,
    kind: Annotated[str, Form(max_length=32)],
    text: Annotated[str, Form(max_length=1000, pattern=NO_NUL)],
    csrf: Annotated[str, Form()],
    station: Annotated[str, Form(max_length=64, pattern=NO_NUL)] = "",
) -> Response:
    """Enter what was seen on the slope, verification of a step included; rules that use it look within a minute."""
    session = _require(request, csrf)
    if kind not in REPORT_KINDS:
        raise RefusedError(f"kind {kind!r} is unknown; one of {', '.join(REPORT_KINDS)}")
    context = context_of(request)
    now = context.clock()
    with context.db.write() as c:
        if not load_cards(c, site):
            raise NotFoundError(f"there is no site {site!r}")
        add_report(c, Report(site, now, kind, _reason(text), session.name, station or None), now)
        detail = {"kind": kind, "text": _reason(text), "station": station}
        add_audit(c, Actor(session.name, via=PAGE), "report.add", f"site:{site}", detail, now)
    return RedirectResponse(f"/sites/{site}?told={quote('report stored')}#reports", status_code=303)

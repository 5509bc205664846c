"""Routes to log in and log out. Guessing passwords is slow, and every attempt is in the audit log.

Nobody can lock out another person: a device on which an account logged in before has a count of failures of its own.
On an unknown device, the browser computes for some seconds after many failures instead of waiting
(`monitor.web.access.proof_of_work`).
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Connection

from monitor.canonical import digest_text
from monitor.errors import acquire_or_refuse
from monitor.people.queries import sessions
from monitor.people.queries.second_factor import check_second_factor
from monitor.people.queries.users import check_password
from monitor.settings.vault import open_vault
from monitor.storage.actor import PAGE, Actor
from monitor.storage.audit import add_audit
from monitor.text.message import Figure, Template
from monitor.text.names import fold_name
from monitor.web.access.connection_limits import network_of
from monitor.web.access.guard import check_csrf, check_origin, is_safe_path
from monitor.web.access.proof_of_work import ProofOfWork
from monitor.web.context import COOKIE, DEVICE_COOKIE, WITHOUT_NUL, context_of, cookie_name, is_encrypted, token_of
from monitor.web.parts.templating import render

router = APIRouter(include_in_schema=False)
WRONG_CODE: Final = "the code of the second factor is wrong"
CODE_WAITS: Final = "many wrong codes were given with the right password, so no code is checked for a while"
MANY: Final = Template("login.many", "too many people log in at this moment; try again in some seconds")
TOO_MANY: Final = Template("login.too_many", "Too many failures. Try again in {wait}.")
_EFFORT: Final = Template(
    "login.effort",
    "Many wrong passwords were given. Enter yours again; your browser then computes for some seconds.",
)
_WRONG: Final = Template("login.wrong", "Name, password or code is wrong.")
TRIES: Final = 5  # failures of an account, address or device
WAIT_S: Final = 60.0  # time after which failures are forgotten
# Failures of all accounts and addresses together, against guesses from many addresses at many accounts.
TRIES_OF_EVERYBODY: Final = 60
# Each check of a password needs 64 MiB. More checks at the same time could starve the service of memory.
CHECKS_AT_ONCE: Final = 2
# Logins that wait for a check, of the forty threads of the web process. The other threads serve pages.
MOST_WAITING: Final = 24
ALL: Final = "all"


class LoginThrottle:
    """Counts failures by account, address, device and in total, and limits how many passwords are checked at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._checks = {is_known: threading.Semaphore(CHECKS_AT_ONCE) for is_known in (True, False)}
        self._waiting = {is_known: threading.Semaphore(MOST_WAITING // (1 + is_known)) for is_known in (True, False)}
        self._failures: dict[str, tuple[int, float]] = {}
        self.efforts = ProofOfWork()

    @contextmanager
    def check(self, *, is_known: bool) -> Iterator[None]:
        """Wait until a password may be checked. Known devices do not wait for unknown ones.

        Raises:
            StoreBusyError: too many logins wait already.
        """
        with acquire_or_refuse(self._waiting[is_known], MANY()), self._checks[is_known]:
            yield

    def failures(self, key: str) -> tuple[int, float]:
        """Return the failures of the last minute, and the seconds until they are forgotten."""
        now = time.monotonic()
        with self._lock:
            self._failures = {
                failed_key: entry for failed_key, entry in self._failures.items() if now - entry[1] < WAIT_S
            }
            count, since_s = self._failures.get(key, (0, now - WAIT_S))
        return count, WAIT_S - (now - since_s)

    def note(self, *keys: str, failed: bool) -> None:
        """Count a failure, or forget the failures after a success."""
        now = time.monotonic()
        with self._lock:
            for key in keys:
                count, since_s = self._failures.get(key, (0, now))
                if failed:
                    # The total is forgotten a minute after its first failure, because somebody always fails. The other
                    # counts are forgotten a minute after their last failure.
                    self._failures[key] = (count + 1, since_s if key == ALL else now)
                else:
                    self._failures.pop(key, None)


def find_throttle(request: Request) -> LoginThrottle:
    """Return the throttle of the application."""
    throttle: LoginThrottle = request.app.state.login_throttle
    return throttle


def find_challenge(request: Request, name: str = "") -> str:
    """Return the challenge that the login form must solve; empty if there are few failures."""
    throttle = find_throttle(request)
    of_account = throttle.failures(f"name:{fold_name(name)}")[0]
    of_everybody = throttle.failures(ALL)[0]
    if of_account < TRIES and of_everybody < TRIES_OF_EVERYBODY:
        return ""
    return throttle.efforts.make_challenge(max(of_account, of_everybody * TRIES // TRIES_OF_EVERYBODY), TRIES)


@router.get("/login")
def show_login(request: Request, to: str = "/") -> Response:
    """Show the login form."""
    return render(
        request, "login.html", to=to if is_safe_path(to) else "/", failed="", challenge=find_challenge(request)
    )


@router.post("/login")
def log_in(
    request: Request,
    name: Annotated[str, Form(max_length=64, pattern=WITHOUT_NUL)],
    password: Annotated[str, Form(max_length=1024)],
    code: Annotated[str, Form(max_length=20)] = "",
    to: Annotated[str, Form(max_length=500, pattern=WITHOUT_NUL)] = "/",
    challenge: Annotated[str, Form(max_length=100)] = "",
    solution: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """Check password and code, and open a session.

    Args:
        request: the request.
        name: name of the account.
        password: its password.
        code: code of the second factor, or a recovery code.
        to: path of the page to show after the login.
        challenge: challenge of the form, if it had one.
        solution: solution of the challenge.
    """
    check_origin(request)
    context, throttle = context_of(request), find_throttle(request)
    to = to if is_safe_path(to) else "/"
    device = request.cookies.get(cookie_name(request, DEVICE_COOKIE), "")
    host = host_of(request)
    account_key = f"name:{fold_name(name)}"
    device_key = f"device:{digest_text(device)}"
    with context.db.read() as c:
        is_known = sessions.is_known_device(c, device, name, context.clock())
    is_known = is_known and throttle.failures(device_key)[0] < TRIES
    keys = (device_key,) if is_known else (account_key, host, ALL)
    # Failures are counted after waiting, so that guesses at the same moment count each other.
    with throttle.check(is_known=is_known):
        count, wait_s = throttle.failures(host)
        if not is_known and count >= TRIES:
            return refuse(request, to, TOO_MANY(wait=Figure(wait_s, ".0f", "s")), 429, wait_s=wait_s)
        if not is_known and find_challenge(request, name) and not throttle.efforts.check(challenge, solution):
            return refuse(request, to, _EFFORT(), 429, challenge=find_challenge(request, name), wait_s=1.0)
        with context.db.read() as c:
            role = check_password(c, name, password)
        if not context.config.oidc.can_use_password(name):
            # The password was checked nevertheless, so that the time of the response reveals nothing.
            role = None
        why = {}
        if role is not None:
            # While codes wait, a right code is answered like a wrong one: the response must not reveal that the
            # password is right.
            now, vault = context.clock(), open_vault(context.config)
            with context.db.write() as c:
                may_try = is_known or not sessions.login_code_wait_s(c, name, now)
                is_right = may_try and check_second_factor(c, vault, name, code, now)
                if may_try and not is_known:
                    sessions.record_login_code(c, name, now, failed=not is_right)
            if not is_right:
                role = None
                why = {"why": WRONG_CODE if may_try else CODE_WAITS}
        if role is None:
            throttle.note(*keys, failed=True)
        else:
            # The failures of the address stay: a right password must not allow more guesses at other accounts.
            throttle.note(keys[0], failed=False)
    now = context.clock()
    detail = {"from": host, "known_device": is_known, **why}
    with context.db.write() as c:
        if role is None:
            add_audit(c, Actor(name), "login.refused", f"user:{name}", detail, now)
        else:
            cookies = enter(request, c, name, detail, now)
    if role is None:
        return refuse(request, to, _WRONG(), 401, challenge=find_challenge(request, name))
    answer = RedirectResponse(to, status_code=303)
    set_cookies(request, answer, *cookies)
    return answer


def host_of(request: Request) -> str:
    """Return the network of a request, as the key under which failures are counted."""
    return f"host:{network_of(request.client.host) if request.client else ''}"


def enter(request: Request, c: Connection, name: str, detail: Mapping[str, Any], now: datetime) -> tuple[str, str]:
    """Open a session for a person whose identity is checked. Return the tokens of session and device.

    Args:
        request: the request.
        c: a write transaction.
        name: name of the account.
        detail: facts for the audit log.
        now: time of the login.
    """
    token, ended = sessions.open_session(c, name, now, context_of(request).config.web.sign_in_lasts_s)
    device = sessions.remember_device(c, request.cookies.get(cookie_name(request, DEVICE_COOKIE), ""), name, now)
    add_audit(c, Actor(name), "login", f"user:{name}", {**detail, "sessions_ended": ended}, now)
    return token, device


def set_cookies(request: Request, answer: Response, token: str, device: str) -> None:
    """Set the cookies of session and device."""
    # The session cookie is also sent if a link in a mail leads here. Actions need a form token in addition.
    give_cookie(request, answer, COOKIE, token, context_of(request).config.web.sign_in_lasts_s)
    give_cookie(request, answer, DEVICE_COOKIE, device, sessions.DEVICE_S, samesite="strict")


def give_cookie(
    request: Request,
    answer: Response,
    name: str,
    value: str,
    lasts_s: float,
    samesite: Literal["lax", "strict"] = "lax",
) -> None:
    """Set a cookie that scripts cannot read. A cookie with `lasts_s` 0 is deleted."""
    answer.set_cookie(
        cookie_name(request, name),
        value,
        max_age=int(lasts_s),
        path="/",
        httponly=True,
        samesite=samesite,
        secure=is_encrypted(request),
    )


def refuse(request: Request, to: str, text: str, status: int, *, challenge: str = "", wait_s: float = 0.0) -> Response:
    """Return the login form with the reason why a login was refused.

    Args:
        request: the request.
        to: path of the page to show after the login.
        text: the reason, for people.
        status: status of the response.
        challenge: challenge that the form must solve; empty for none.
        wait_s: seconds after which the browser may try again; 0 for none.
    """
    response = render(request, "login.html", to=to, failed=text, challenge=challenge)
    response.status_code = status
    if wait_s:
        response.headers["Retry-After"] = f"{wait_s:.0f}"
    return response


@router.post("/logout")
def log_out(request: Request, csrf: Annotated[str, Form()]) -> Response:
    """End the session: remove it from the database and delete its cookie."""
    check_origin(request)
    context, token = context_of(request), token_of(request)
    check_csrf(token, csrf)
    with context.db.write() as c:
        name = sessions.close_session(c, token)
        if name is not None:
            add_audit(c, Actor(name, via=PAGE), "logout", f"user:{name}", {}, context.clock())
    answer = RedirectResponse("/", status_code=303)
    give_cookie(request, answer, COOKIE, "", 0.0)
    return answer

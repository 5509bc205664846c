"""The door of the page: log in and log out. Guessing is slow, and every turn of the door is in the audit log.

Nobody can keep another one out: a device on which an account logged in before has a count of its own, and elsewhere
one does not wait for the guesses of others, but lets the browser work for some seconds
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
from monitor.settings.sealed_texts import open_vault
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
CODE_WAITS: Final = "many wrong codes were given with the right password: no code is looked at for a while"
MANY: Final = Template("login.many", "too many log in at this moment; try again in some seconds")
TOO_MANY: Final = Template("login.too_many", "Too many failures. Try again in {wait}.")
_EFFORT: Final = Template(
    "login.effort", "Many wrong passwords were given. Give yours once more; your browser then works for some seconds."
)
_WRONG: Final = Template("login.wrong", "Name, password or code is wrong.")
TRIES: Final = 5
WAIT_S: Final = 60.0
TRIES_OF_ALL: Final = 60  # failures of everybody within the wait: guessing from many addresses at many accounts
CHECKS_AT_ONCE: Final = 2  # each takes 64 MiB: a flood of guesses must not starve the core of memory
MOST_WAITING: Final = 24  # of the forty threads of the page: pages must come while guesses wait
ALL: Final = "all"


class LoginThrottle:
    """Counts failures by account, address, device and all together, and lets few passwords be checked at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._checks = {known: threading.Semaphore(CHECKS_AT_ONCE) for known in (True, False)}
        self._waiting = {known: threading.Semaphore(MOST_WAITING // (1 + known)) for known in (True, False)}
        self._failures: dict[str, tuple[int, float]] = {}
        self.efforts = ProofOfWork()

    @contextmanager
    def check(self, *, is_known: bool) -> Iterator[None]:
        """A place to check a password; known devices have places of their own.

        Raises StoreBusyError: too many wait already.
        """
        with acquire_or_refuse(self._waiting[is_known], MANY()), self._checks[is_known]:
            yield

    def failures(self, key: str) -> tuple[int, float]:
        """Failures within the last minute, and seconds until they are forgotten."""
        now = time.monotonic()
        with self._lock:
            self._failures = {k: v for k, v in self._failures.items() if now - v[1] < WAIT_S}
            count, at = self._failures.get(key, (0, now - WAIT_S))
        return count, WAIT_S - (now - at)

    def note(self, *keys: str, failed: bool) -> None:
        """Remember a failure, or forget them after a success."""
        now = time.monotonic()
        with self._lock:
            for key in keys:
                count, at = self._failures.get(key, (0, now))
                if failed:
                    # the count of all runs for a minute, for somebody always fails; the others run from the last one
                    self._failures[key] = (count + 1, at if key == ALL else now)
                else:
                    self._failures.pop(key, None)


def turnstile_of(request: Request) -> LoginThrottle:
    """The one of this page; made with the page, so that the first guesses of all count at the same one."""
    found: LoginThrottle = request.app.state.turnstile
    return found


def find_challenge(request: Request, name: str = "") -> str:
    """The challenge that the login form must carry; empty where none is asked for now."""
    door = turnstile_of(request)
    account, everybody = door.failures(f"name:{fold_name(name)}")[0], door.failures(ALL)[0]
    if account < TRIES and everybody < TRIES_OF_ALL:
        return ""
    return door.efforts.make_challenge(max(account, everybody * TRIES // TRIES_OF_ALL), TRIES)


@router.get("/login")
def show_login(request: Request, to: str = "/") -> Response:
    """The form to log in."""
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
    """Check the password and open a session; the cookie is out of reach of scripts and of other sites."""
    check_origin(request)
    context, door = context_of(request), turnstile_of(request)
    to = to if is_safe_path(to) else "/"
    device = request.cookies.get(cookie_name(request, DEVICE_COOKIE), "")
    host = host_of(request)
    account, own = f"name:{fold_name(name)}", f"device:{digest_text(device)}"
    with context.db.read() as c:
        is_known = sessions.is_known_device(c, device, name, context.clock()) and door.failures(own)[0] < TRIES
    keys = (own,) if is_known else (account, host, ALL)
    with door.check(is_known=is_known):  # looked at inside: guesses at the same moment are counted as well
        count, wait_s = door.failures(host)
        if not is_known and count >= TRIES:
            return refuse(request, to, TOO_MANY(wait=Figure(wait_s, ".0f", "s")), 429, wait_s=wait_s)
        if not is_known and find_challenge(request, name) and not door.efforts.check(challenge, solution):
            return refuse(request, to, _EFFORT(), 429, challenge=find_challenge(request, name), wait_s=1.0)
        with context.db.read() as c:
            role = check_password(c, name, password)
        if not context.config.oidc.takes_password(name):
            role = None  # asked all the same: the time that an answer takes tells nothing
        why = {}
        if role is not None:
            # not looked at, and answered as a wrong one is: the answer must not tell that the password is right
            now, vault = context.clock(), open_vault(context.config)
            with context.db.write() as c:
                may_try = is_known or not sessions.login_code_wait_s(c, name, now)
                is_right = may_try and check_second_factor(c, vault, name, code, now)
                if may_try and not is_known:
                    sessions.record_login_code(c, name, now, failed=not is_right)
            if not is_right:
                role, why = None, {"why": WRONG_CODE if may_try else CODE_WAITS}
        # who knows one password has not earned the right to guess others: only the account's own count is forgotten
        door.note(*(keys if role is None else keys[:1]), failed=role is None)
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
    """Where a request comes from, as failures are counted."""
    return f"host:{network_of(request.client.host) if request.client else ''}"


def enter(request: Request, c: Connection, name: str, detail: Mapping[str, Any], now: datetime) -> tuple[str, str]:
    """Open a session for somebody who is proved; returns the tokens of session and device for `set_cookies`."""
    token, ended = sessions.open_session(c, name, now, context_of(request).config.web.sign_in_lasts_s)
    device = sessions.remember_device(c, request.cookies.get(cookie_name(request, DEVICE_COOKIE), ""), name, now)
    add_audit(c, Actor(name), "login", f"user:{name}", {**detail, "sessions_ended": ended}, now)
    return token, device


def set_cookies(request: Request, answer: Response, token: str, device: str) -> None:
    """Give the browser what shows who it is from now on."""
    # the session comes along when a link of a mail leads here; what it may do takes a form of this page all the same
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
    """A cookie of this page that no script reads; one that lasts no second is taken back."""
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
    """The form again, and why nobody came in."""
    response = render(request, "login.html", to=to, failed=text, challenge=challenge)
    response.status_code = status
    if wait_s:
        response.headers["Retry-After"] = f"{wait_s:.0f}"
    return response


@router.post("/logout")
def log_out(request: Request, csrf: Annotated[str, Form()]) -> Response:
    """End the session here and in the database."""
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

"""The pages of accounts: one's own, and for admins all accounts, sessions, tokens and the audit log."""

from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from forecasting.message import Template
from monitor.domain.errors import NotFoundError, RefusedError
from monitor.store.database.audit import add_audit, load_entries
from monitor.store.delivery.devices import find_push_key, load_devices
from monitor.store.people import api_tokens, users
from monitor.store.people.second_factor import count_recovery_codes, has_second_factor
from monitor.store.people.sessions import end_sessions, load_sessions
from monitor.web.access.acting import Acting, PageAct
from monitor.web.access.callers import require_caller
from monitor.web.context import NO_NUL, context_of
from monitor.web.parts.templating import render
from monitor.web.routes.people.devices import devices_to_json
from monitor.web.routes.people.login import ALL, TRIES, turnstile_of

router = APIRouter()
_DIFFER: Final = Template("account.passwords_differ", "the two new passwords differ; nothing was changed")
_MANY_WRONG: Final = Template("account.many_wrong", "too many wrong passwords; wait a minute")
_WRONG: Final = Template("account.wrong_password", "the present password is wrong; nothing was changed")
_NOT_YOURS: Final = Template("token.not_yours", "you have no token {number}")
_REVOKED: Final = Template("token.revoked", "token {number} is revoked")
ENTRIES: Final = 100  # of the audit log on one page
Password = Annotated[str, Form(max_length=1024)]
UserName = Annotated[str, Query(max_length=64, pattern=NO_NUL)]
Before = Annotated[int | None, Query(ge=1, lt=1 << 63, description="only entries before this number")]


@router.get("/account", response_class=HTMLResponse, include_in_schema=False)
def show_account(request: Request) -> HTMLResponse:
    """One's own account: role, sites, sessions, tokens, and another password."""
    caller, context = require_caller(request), context_of(request)
    with context.db.read() as c:
        every = load_sessions(c, context.clock(), context.config.web.idle_after_s)
        sessions = [s for s in every if s.name == caller.name]
        tokens = [k for k in api_tokens.load_api_tokens(c) if k.user == caller.name]
        values = {
            "account": users.find_user(c, caller.name),
            "has_code": has_second_factor(c, caller.name),
            "codes_left": count_recovery_codes(c, caller.name),
            "devices": devices_to_json(load_devices(c, caller.name)),
            "push_key": find_push_key(c),
        }
    return render(request, "account.html", caller=caller, sessions=sessions, tokens=tokens, **values)


@router.post("/account/password", include_in_schema=False)
def change_password(act: Acting, old: Password, new: Password, again: Password) -> Response:
    """Give oneself another password; every session ends, this one too."""
    if new != again:
        raise RefusedError(_DIFFER())
    prove_again(act, old)
    with act.db.write() as c:
        users.set_password(c, act.actor.name, new)
        add_audit(c, act.actor, "user.password", f"user:{act.actor.name}", {}, act.now)
    return RedirectResponse("/login?to=/account", status_code=303)


def prove_again(act: PageAct, password: str) -> None:
    """Make sure that who acts knows the password too, and did not only find a session; raises RefusedError."""
    actor, door = act.actor, turnstile_of(act.request)
    key = f"change:{actor.name}"  # of its own: who took over a session must not lock the owner out of the door
    with door.check(is_known=True):
        if door.failures(key)[0] >= TRIES:
            raise RefusedError(_MANY_WRONG())
        with act.db.read() as c:
            is_right = users.check_password(c, actor.name, password) is not None
        door.note(key, *(() if is_right else (ALL,)), failed=not is_right)
    if not is_right:
        with act.db.write() as c:
            add_audit(c, actor, "user.password.refused", f"user:{actor.name}", {}, act.now)
        raise RefusedError(_WRONG())


@router.post("/account/sign-out", include_in_schema=False)
def sign_out_everywhere(act: Acting) -> Response:
    """End all sessions of one's own, on every machine."""
    name = act.actor.name
    with act.db.write() as c:
        ended = end_sessions(c, name)
        add_audit(c, act.actor, "user.sign_out", f"user:{name}", {"sessions_ended": ended}, act.now)
    return RedirectResponse("/login", status_code=303)


@router.post("/account/tokens/{number}/revoke", include_in_schema=False)
def revoke_own_token(act: Acting, number: int) -> Response:
    """End a token of one's own."""
    return _revoke(act, number, "/account", own=True)


@router.get("/admin", response_class=HTMLResponse, include_in_schema=False)
def show_admin(request: Request, before: Before = None, actor: UserName = "", action: UserName = "") -> HTMLResponse:
    """All accounts, open sessions, tokens, and the audit log, newest first."""
    context = context_of(request)
    with context.db.read() as c:
        values: dict[str, Any] = {
            "accounts": users.load_users(c),
            "sessions": load_sessions(c, context.clock(), context.config.web.idle_after_s),
            "tokens": api_tokens.load_api_tokens(c),
            "entries": load_entries(c, ENTRIES, before=before, actor=actor or None, action=action or None),
        }
    return render(request, "admin.html", actor=actor, action=action, most=ENTRIES, **values)


@router.post("/admin/tokens/{number}/revoke", include_in_schema=False)
def revoke_token(act: Acting, number: int) -> Response:
    """End a token of anybody."""
    return _revoke(act, number, "/admin", own=False)


def _revoke(act: PageAct, number: int, to: str, *, own: bool) -> Response:
    if not 0 < number < 1 << 63:
        raise NotFoundError(api_tokens.NO_TOKEN(number=number))
    with act.db.write() as c:
        found = api_tokens.find_api_token(c, number)
        if own and found.user != act.actor.name:
            raise NotFoundError(_NOT_YOURS(number=number))
        api_tokens.revoke_api_token(c, number, act.now)
        detail = {"user": found.user, "label": found.label}
        add_audit(c, act.actor, "token.revoke", f"token:{number}", detail, act.now)
    return act.back(to, _REVOKED(number=number))


@router.get("/api/v1/audit", tags=["audit"])
def list_entries(
    request: Request,
    before: Before = None,
    actor: UserName = "",
    action: UserName = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> list[dict[str, Any]]:
    """The audit log, newest first; seals of rows are left out unless `action=rows.seal` asks for them."""
    with context_of(request).db.read() as c:
        entries = load_entries(c, limit, before=before, actor=actor or None, action=action or None)
    return [asdict(entry) for entry in entries]

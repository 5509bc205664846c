"""The pages of accounts: one's own, and for admins all accounts, sessions, tokens and the audit log."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse

from monitor.errors import RefusedError
from monitor.people.queries import api_tokens, users
from monitor.people.queries.second_factor import count_recovery_codes, has_second_factor
from monitor.people.queries.sessions import load_sessions
from monitor.plugins import hooks
from monitor.storage.audit import add_audit, load_entries
from monitor.text.message import Template
from monitor.web.access.acting import PageAct
from monitor.web.access.callers import require_caller
from monitor.web.context import WITHOUT_NUL, context_of
from monitor.web.parts.act_forms import list_choices
from monitor.web.parts.templating import render
from monitor.web.routes.people.login import ALL, TRIES, turnstile_of

router = APIRouter()
_MANY_WRONG: Final = Template("account.many_wrong", "too many wrong passwords; wait a minute")
_WRONG: Final = Template("account.wrong_password", "the present password is wrong; nothing was changed")
_LOG_IN_AGAIN: Final = Template(
    "account.log_in_again", "your login is too old for this: log out, log in again and do it at once"
)
FRESH: Final = timedelta(minutes=10)  # of a login that stands for a password
ENTRIES: Final = 100  # of the audit log on one page
Password = Annotated[str, Form(max_length=1024)]
UserName = Annotated[str, Query(max_length=64, pattern=WITHOUT_NUL)]
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
            "choices": list_choices(c, None) if caller.sites is None else {"sites": sorted(caller.sites)},
        }
        for more in hooks().account_page_values(connection=c, account=caller.name):
            values = {**more, **values}  # a plugin cannot replace a value of this page
    return render(request, "account.html", caller=caller, sessions=sessions, tokens=tokens, **values)


def prove_again(act: PageAct, password: str) -> None:
    """Make sure that who acts knows the password too, and did not only find a session; raises RefusedError."""
    actor, door = act.actor, turnstile_of(act.request)
    with act.db.read() as c:
        account = users.find_user(c, actor.name)
        if account is not None and not account.has_password:  # the provider proves it, by a new login
            every = load_sessions(c, act.now, act.context.config.web.idle_after_s)
            if not any(one.name == actor.name and act.now - one.created_at < FRESH for one in every):
                raise RefusedError(_LOG_IN_AGAIN())
            return
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


@router.get("/admin", response_class=HTMLResponse, include_in_schema=False)
def show_admin(request: Request, before: Before = None, actor: UserName = "", action: UserName = "") -> HTMLResponse:
    """All accounts, open sessions, tokens, and the audit log, newest first."""
    context = context_of(request)
    with context.db.read() as c:
        values: dict[str, Any] = {
            "accounts": users.load_users(c),
            "sessions": load_sessions(c, context.clock(), context.config.web.idle_after_s),
            "tokens": api_tokens.load_api_tokens(c),
            "choices": list_choices(c, None),
            "entries": load_entries(c, ENTRIES, before=before, actor=actor or None, action=action or None),
        }
    return render(request, "admin.html", actor=actor, action=action, most=ENTRIES, **values)


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

"""Pages of accounts: the own account, and for admins all accounts, sessions, tokens and the audit log."""

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
from monitor.text.message import Message, NameList, Template, Value
from monitor.web.access.acting import PageAct
from monitor.web.access.callers import Caller, require_caller
from monitor.web.context import WITHOUT_NUL, context_of
from monitor.web.parts.act_forms import list_choices
from monitor.web.parts.templating import render
from monitor.web.routes.people.login import ALL, TRIES, find_throttle

router = APIRouter()
_MANY_WRONG: Final = Template("account.many_wrong", "too many wrong passwords; wait a minute and try again")
_WRONG: Final = Template("account.wrong_password", "the current password is wrong; nothing was changed")
_LOG_IN_AGAIN: Final = Template(
    "account.log_in_again",
    "you logged in more than ten minutes ago; log out, log in again, then repeat this within ten minutes",
)
_READ: Final = Template("account.may.read", "read {sites}")
_ACT: Final = Template(
    "account.may.act",
    "acknowledge alerts, report observations and add readings on {sites}",
)
_DECLARE: Final = Template(
    "account.may.declare", "set levels, declare work, events and offsets, and change the site file of {sites}"
)
_ADMINISTER: Final = Template(
    "account.may.administer", "manage accounts and tokens, make new sites, and read the audit log"
)
_NEEDS_OPERATOR: Final = Template(
    "account.needs.operator", "To acknowledge alerts you need the role operator. An admin of this service can give it."
)
_EVERY_SITE: Final = Template("account.every_site", "all sites")
# How recent a login must be to replace the password of an account that has none.
FRESH: Final = timedelta(minutes=10)
ENTRIES: Final = 100  # entries of the audit log on one page
Password = Annotated[str, Form(max_length=1024)]
UserName = Annotated[str, Query(max_length=64, pattern=WITHOUT_NUL)]
Before = Annotated[int | None, Query(ge=1, lt=1 << 63, description="only entries before this number")]


@router.get("/account", response_class=HTMLResponse, include_in_schema=False)
def show_account(request: Request) -> HTMLResponse:
    """Show the account of the caller: permissions, sessions, password, second factor and tokens."""
    caller, context = require_caller(request), context_of(request)
    with context.db.read() as c:
        sessions = [
            session
            for session in load_sessions(c, context.clock(), context.config.web.idle_after_s)
            if session.name == caller.name
        ]
        tokens = [token for token in api_tokens.load_api_tokens(c) if token.user == caller.name]
        values = {
            "permissions": list_permissions(caller, login_to_read=context.config.web.login_to_read),
            "needed_role": "" if users.may(caller.role, "operator") else _NEEDS_OPERATOR(),
            "account": users.find_user(c, caller.name),
            "has_code": has_second_factor(c, caller.name),
            "codes_left": count_recovery_codes(c, caller.name),
            "choices": list_choices(c, None) if caller.sites is None else {"sites": sorted(caller.sites)},
        }
        for plugin_values in hooks().account_page_values(connection=c, account=caller.name):
            # A plugin cannot replace a value of this page.
            values = {**plugin_values, **values}
    return render(request, "account.html", caller=caller, sessions=sessions, tokens=tokens, **values)


def list_permissions(caller: Caller, *, login_to_read: bool) -> list[Message]:
    """Return what an account may do, one sentence for each kind of action and the sites on which it may.

    Args:
        caller: the account.
        login_to_read: whether the service shows pages only to accounts. Otherwise everybody may read all sites.
    """
    sites: Value = _EVERY_SITE() if caller.sites is None else NameList(tuple(sorted(caller.sites)))
    permissions = [_READ(sites=sites if login_to_read else _EVERY_SITE())]
    if users.may(caller.role, "operator"):
        permissions += [_ACT(sites=sites), _DECLARE(sites=sites)]
    if users.may(caller.role, "admin") and caller.sites is None:
        permissions.append(_ADMINISTER())
    return permissions


def prove_again(act: PageAct, password: str) -> None:
    """Raise RefusedError unless the person who acts enters the password of the account.

    A person who only took over an open session does not know it. An account without a password needs a login at the
    identity provider within the last ten minutes instead.
    """
    actor, throttle = act.actor, find_throttle(act.request)
    with act.db.read() as c:
        account = users.find_user(c, actor.name)
        if account is not None and not account.has_password:
            sessions = load_sessions(c, act.now, act.context.config.web.idle_after_s)
            if not any(s.name == actor.name and act.now - s.created_at < FRESH for s in sessions):
                raise RefusedError(_LOG_IN_AGAIN())
            return
    # This count is separate from that of logins, so that a person with a stolen session cannot lock out the owner.
    key = f"change:{actor.name}"
    with throttle.check(is_known=True):
        if throttle.failures(key)[0] >= TRIES:
            raise RefusedError(_MANY_WRONG())
        with act.db.read() as c:
            is_right = users.check_password(c, actor.name, password) is not None
        if is_right:
            throttle.note(key, failed=False)
        else:
            throttle.note(key, ALL, failed=True)
    if not is_right:
        with act.db.write() as c:
            add_audit(c, actor, "user.password.refused", f"user:{actor.name}", {}, act.now)
        raise RefusedError(_WRONG())


@router.get("/admin", response_class=HTMLResponse, include_in_schema=False)
def show_admin(request: Request, before: Before = None, actor: UserName = "", action: UserName = "") -> HTMLResponse:
    """Show all accounts, open sessions, tokens, and the audit log, newest first."""
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
    """Return entries of the audit log, newest first. Seals of rows are included only with `action=rows.seal`."""
    with context_of(request).db.read() as c:
        entries = load_entries(c, limit, before=before, actor=actor or None, action=action or None)
    return [asdict(entry) for entry in entries]

"""One's own second factor: a picture for the telephone, a first code, spare codes, and taking it away."""

from typing import Annotated, Final
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from forecasting.message import Template
from monitor.errors import RefusedError
from monitor.store.database.audit import add_audit
from monitor.store.people import second_factor as store
from monitor.web.access.callers import actor_of
from monitor.web.access.told import go_back
from monitor.web.access.vault import open_vault
from monitor.web.context import context_of
from monitor.web.parts.templating import render
from monitor.web.routes.people.accounts import Csrf, Password, prove_again
from monitor.web.routes.people.login import TRIES, turnstile_of

router = APIRouter(include_in_schema=False)
_MANY_WRONG: Final = Template("second_factor.many_wrong", "too many wrong codes; wait a minute")
_WRONG: Final = Template("second_factor.wrong", "the code is wrong; nothing was changed")
_REMOVED: Final = Template("second_factor.removed", "you log in by password alone now")
Code = Annotated[str, Form(max_length=30)]


@router.post("/account/second-factor")
def begin(request: Request, password: Password, csrf: Csrf) -> Response:
    """Make a secret and show it once, as picture and text; logins ask for nothing before a first code was seen."""
    import segno

    actor, context = actor_of(request, csrf), context_of(request)
    prove_again(request, actor, password)
    with context.db.write() as c:
        address = store.add_second_factor(c, open_vault(context.config), actor.name, context.clock(), pending=True)
    picture = segno.make(address, micro=False, error="m").svg_inline(scale=5, border=4, dark="#000", light="#fff")
    secret = parse_qs(urlsplit(address).query)["secret"][0]
    spaced = " ".join(secret[k : k + 4] for k in range(0, len(secret), 4))
    return render(request, "second_factor.html", picture=picture, secret=spaced, codes=())


@router.post("/account/second-factor/confirm")
def confirm(request: Request, code: Code, csrf: Csrf) -> Response:
    """Ask for a code at every login from now on; shows the codes for a lost telephone, once."""
    actor, context = actor_of(request, csrf), context_of(request)
    now = context.clock()
    with context.db.write() as c:
        codes = store.confirm_second_factor(c, open_vault(context.config), actor.name, code, now)
        add_audit(c, actor, "user.totp", f"user:{actor.name}", {"on": True}, now)
    return render(request, "second_factor.html", picture="", secret="", codes=codes)


@router.post("/account/second-factor/remove")
def remove(request: Request, password: Password, code: Code, csrf: Csrf) -> Response:
    """Log in by password alone from now on; takes the password and a code."""
    actor, context, door = actor_of(request, csrf), context_of(request), turnstile_of(request)
    prove_again(request, actor, password)
    now, key = context.clock(), f"code:{actor.name}"
    if door.failures(key)[0] >= TRIES:
        raise RefusedError(_MANY_WRONG())
    with context.db.write() as c:
        is_right = store.check_second_factor(c, open_vault(context.config), actor.name, code, now)
        if is_right:
            store.remove_second_factor(c, actor.name)
        add_audit(c, actor, "user.totp" if is_right else "user.totp.refused", f"user:{actor.name}", {"on": False}, now)
    door.note(key, failed=not is_right)
    if not is_right:
        raise RefusedError(_WRONG())
    return go_back(request, "/account", _REMOVED())

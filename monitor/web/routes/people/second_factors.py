"""Routes for the second factor of the own account: turn it on, confirm its first code, turn it off."""

from typing import Annotated, Final
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Form
from fastapi.responses import Response

from monitor.errors import RefusedError
from monitor.people.queries import second_factor as store
from monitor.settings.vault import open_vault
from monitor.storage.audit import add_audit
from monitor.text.message import Template
from monitor.web.access.acting import FormAct
from monitor.web.parts.templating import render
from monitor.web.routes.people.accounts import Password, prove_again
from monitor.web.routes.people.login import TRIES, find_throttle

router = APIRouter(include_in_schema=False)
_MANY_WRONG: Final = Template("second_factor.many_wrong", "too many wrong codes; wait a minute and try again")
_WRONG: Final = Template("second_factor.wrong", "the code is wrong; nothing was changed")
_REMOVED: Final = Template("second_factor.removed", "the second factor is off; your password alone is enough to log in")
Code = Annotated[str, Form(max_length=30)]


@router.post("/account/second-factor")
def begin(act: FormAct, password: Password) -> Response:
    """Create a secret and show it once, as QR code and text. Logins need no code before the first code is confirmed."""
    import segno

    prove_again(act, password)
    vault = open_vault(act.context.config)
    with act.db.write() as c:
        address = store.add_second_factor(c, vault, act.actor.name, act.now, pending=True)
    picture = segno.make(address, micro=False, error="m").svg_inline(scale=5, border=4, dark="#000", light="#fff")
    secret = parse_qs(urlsplit(address).query)["secret"][0]
    spaced = " ".join(secret[k : k + 4] for k in range(0, len(secret), 4))
    return render(act.request, "second_factor.html", picture=picture, secret=spaced, codes=())


@router.post("/account/second-factor/confirm")
def confirm(act: FormAct, code: Code) -> Response:
    """Check the first code. From then on logins need a code. Show the recovery codes for a lost phone once."""
    with act.db.write() as c:
        codes = store.confirm_second_factor(c, open_vault(act.context.config), act.actor.name, code, act.now)
        add_audit(c, act.actor, "user.totp", f"user:{act.actor.name}", {"on": True}, act.now)
    return render(act.request, "second_factor.html", picture="", secret="", codes=codes)


@router.post("/account/second-factor/remove")
def remove(act: FormAct, password: Password, code: Code) -> Response:
    """Turn the second factor off. This needs the password and a code."""
    prove_again(act, password)
    name, throttle = act.actor.name, find_throttle(act.request)
    key = f"code:{name}"
    if throttle.failures(key)[0] >= TRIES:
        raise RefusedError(_MANY_WRONG())
    with act.db.write() as c:
        is_right = store.check_second_factor(c, open_vault(act.context.config), name, code, act.now)
        if is_right:
            store.remove_second_factor(c, name)
        action = "user.totp" if is_right else "user.totp.refused"
        add_audit(c, act.actor, action, f"user:{name}", {"on": False}, act.now)
    throttle.note(key, failed=not is_right)
    if not is_right:
        raise RefusedError(_WRONG())
    return act.back("/account", _REMOVED())

"""What an admin may do with accounts: lock and unlock one, give it another role, end its sessions."""

from typing import Annotated, Final

from forecasting.message import Template, Term
from monitor.alerting.acts.call import ActCall
from monitor.alerting.acts.table import ActResult, Argument
from monitor.domain.errors import NotFoundError
from monitor.domain.instants import format_iso
from monitor.domain.language.catalogue import N_
from monitor.store.database.audit import add_audit
from monitor.store.people import users
from monitor.store.people.sessions import end_sessions

_LOCKED: Final = Template("account.locked", "{name} is locked")
_UNLOCKED: Final = Template("account.unlocked", "{name} is open")
_ROLE: Final = Template("account.role", "{name} may act as {role}, before as {before}")
_NO_USER: Final = Template("account.none", "there is no user '{name}'")
_SIGNED_OUT: Final = Template("account.signed_out", "{count} sessions of {name} ended")
UserName = Annotated[str, Argument("Name of the account", longest=64)]


def disable(call: ActCall, name: UserName) -> ActResult:
    """Lock an account and end its sessions; the name stays for the audit log.

    Example: slopeward people users disable ada
    """
    with call.write() as c:
        users.disable_user(c, name, call.now)
        add_audit(c, call.actor, "user.disable", f"user:{name}", {}, call.now)
    return ActResult(_LOCKED(name=name), {"name": name, "disabled_at": format_iso(call.now)})


def enable(call: ActCall, name: UserName) -> ActResult:
    """Unlock an account.

    Example: slopeward people users enable ada
    """
    with call.write() as c:
        users.enable_user(c, name)
        add_audit(c, call.actor, "user.enable", f"user:{name}", {}, call.now)
    return ActResult(_UNLOCKED(name=name), {"name": name})


def give_role(
    call: ActCall,
    name: UserName,
    role: Annotated[str, Argument("viewer, operator or admin", longest=16, label=N_("Role"), choices=users.ROLES)],
) -> ActResult:
    """Give an account another role; it counts at once, also for who is logged in.

    Example: slopeward people users role ada operator
    """
    with call.write() as c:
        before = users.set_role(c, name, role)
        add_audit(c, call.actor, "user.role", f"user:{name}", {"from": before, "to": role}, call.now)
    return ActResult(_ROLE(name=name, role=Term(role), before=Term(before)), {"name": name, "role": role})


def sign_out(call: ActCall, name: UserName) -> ActResult:
    """End all sessions of an account, on every machine.

    Example: slopeward people users sign-out ada
    """
    with call.write() as c:
        if users.find_user(c, name) is None:
            raise NotFoundError(_NO_USER(name=name))
        ended = end_sessions(c, name)
        add_audit(c, call.actor, "user.sign_out", f"user:{name}", {"sessions_ended": ended}, call.now)
    return ActResult(_SIGNED_OUT(count=ended, name=name), {"name": name, "sessions_ended": ended})

"""Acts on accounts and tokens, by admins and by the owners of accounts.

Tokens and the secrets of authenticators are shown once, and never logged.
"""

from datetime import timedelta
from typing import Annotated, Final

from monitor.alerts.acts.call import ActCall
from monitor.alerts.acts.on_alerts import LARGEST_ID
from monitor.alerts.acts.table import ActResult, Argument, Secret
from monitor.errors import NotFoundError, RefusedError
from monitor.people.queries import api_tokens, second_factor, users
from monitor.people.queries.sessions import end_sessions
from monitor.settings.vault import open_vault
from monitor.storage.audit import add_audit
from monitor.text.catalogue import N_
from monitor.text.instants import format_iso
from monitor.text.message import Message, NameList, Template, Term, Timestamp

_LOCKED: Final = Template("account.locked", "{name} is locked")
_UNLOCKED: Final = Template("account.unlocked", "{name} is open")
_ROLE: Final = Template("account.role", "{name} may act as {role}, before as {before}")
_NO_USER: Final = Template("account.none", "there is no user '{name}'")
_SIGNED_OUT: Final = Template("account.signed_out", "{count} sessions of {name} ended")
_ALL_SITES: Final = Template("account.all_sites", "all sites")
_ADDED: Final = Template("account.added", "{name} may act as {role} on {sites}")
_PASSWORD: Final = Template("account.password", "{name} has a new password")
_WHICH_SITES: Final = Template("account.which_sites", "name sites, or say that it is for all of them: one of the two")
_SITES: Final = Template("account.sites", "{name} is for {sites}")
_OS_USER: Final = Template("account.os_user", "OS user {os_user} acts as {name}")
_NO_OS_USER: Final = Template("account.no_os_user", "--os-user '{os_user}': this machine has no such user")
_ROOT: Final = Template(
    "account.root", "--os-user {os_user}: everybody who may sudo is root; bind the user of a person"
)
_UNBOUND: Final = Template("account.unbound", "{name} acts by password only")
_NO_ISSUER: Final = Template("account.no_issuer", "oidc.issuer is empty: the service file names no provider of logins")
_NO_SUBJECT: Final = Template("account.no_subject", "a subject is needed; without any the binding ends")
_BOUND: Final = Template("account.bound", "{name} is '{subject}' at {issuer}")
_NOT_BOUND: Final = Template("account.not_bound", "{name} no longer logs in with the provider")
_ENTER: Final = Template(
    "account.enter_secret",
    "enter this once into the authenticator of {name}, by hand or as QR code; it is not shown again, and nothing "
    "counts before the first code that it shows is given",
)
_SPARE: Final = Template(
    "account.spare_codes",
    "from now on {name} logs in with a code; write these down for a lost telephone, each lets in once",
)
_NO_CODE: Final = Template("account.no_code", "{name} logs in by password alone")
_OWNER_MAKES: Final = Template(
    "token.owner_makes", "a token that acts as {name} can be made by {name} only; one that reads by an admin too"
)
_TOKEN: Final = Template(
    "token.made", "token {number} of {name}, {label}: {scope} on {sites} until {until}; it is shown this once"
)
_REVOKED: Final = Template("token.revoked_of", "token {number} of {name} ({label}) is revoked")
UserName = Annotated[str, Argument("Name of the account", longest=64)]
Role = Annotated[str, Argument("viewer, operator or admin", longest=16, label=N_("Role"), choices=users.ROLES)]
Password = Annotated[Secret, Argument(N_("New password"), longest=1024)]


def disable(call: ActCall, name: UserName) -> ActResult:
    """Lock an account and end its sessions; the name stays for the audit log.

    Example: slopeward people users disable ada
    """
    with call.write() as connection:
        users.disable_user(connection, name, call.now)
        add_audit(connection, call.actor, "user.disable", f"user:{name}", {}, call.now)
    return ActResult(_LOCKED(name=name), {"name": name, "disabled_at": format_iso(call.now)})


def enable(call: ActCall, name: UserName) -> ActResult:
    """Unlock an account.

    Example: slopeward people users enable ada
    """
    with call.write() as connection:
        users.enable_user(connection, name)
        add_audit(connection, call.actor, "user.enable", f"user:{name}", {}, call.now)
    return ActResult(_UNLOCKED(name=name), {"name": name})


def add_account(
    call: ActCall,
    name: Annotated[str, Argument("Name of the account", longest=64, label=N_("Name"))],
    password: Password,
    role: Annotated[
        str, Argument("viewer, operator or admin", "--role", longest=16, label=N_("Role"), choices=users.ROLES)
    ] = "viewer",
    sites: Annotated[tuple[str, ...], Argument(N_("Only these sites; else all"), "--site", longest=64)] = (),
) -> ActResult:
    """Add an account; the password is entered, read from a pipe, or taken from SLOPEWARD_USER_PASSWORD.

    Example: slopeward people users add ada --role operator
    """
    detail = {"role": role, "sites": list(sites) or None}
    with call.write() as connection:
        users.add_user(connection, name, password, role, call.now, sites or None)
        add_audit(connection, call.actor, "user.add", f"user:{name}", detail, call.now)
    return ActResult(_ADDED(name=name, role=Term(role), sites=_name_sites(sites)), {"name": name, **detail})


def give_password(call: ActCall, name: UserName, password: Password) -> ActResult:
    """Give an account a new password and end its sessions; everybody may change their own.

    Example: slopeward people users passwd ada --by ada
    """
    with call.write() as connection:
        users.set_password(connection, name, password)
        add_audit(connection, call.actor, "user.password", f"user:{name}", {}, call.now)
    return ActResult(_PASSWORD(name=name), {"name": name})


def give_role(call: ActCall, name: UserName, role: Role) -> ActResult:
    """Give an account another role; it counts at once, also in open sessions.

    Example: slopeward people users role ada operator
    """
    with call.write() as connection:
        before = users.set_role(connection, name, role)
        add_audit(connection, call.actor, "user.role", f"user:{name}", {"from": before, "to": role}, call.now)
    return ActResult(_ROLE(name=name, role=Term(role), before=Term(before)), {"name": name, "role": role})


def sign_out(call: ActCall, name: UserName) -> ActResult:
    """End all sessions of an account, on every machine.

    Example: slopeward people users sign-out ada
    """
    with call.write() as connection:
        if users.find_user(connection, name) is None:
            raise NotFoundError(_NO_USER(name=name))
        ended = end_sessions(connection, name)
        add_audit(connection, call.actor, "user.sign_out", f"user:{name}", {"sessions_ended": ended}, call.now)
    return ActResult(_SIGNED_OUT(count=ended, name=name), {"name": name, "sessions_ended": ended})


def give_sites(
    call: ActCall,
    name: UserName,
    sites: Annotated[tuple[str, ...], Argument(N_("Only these sites"), "--site", longest=64)] = (),
    every: Annotated[bool, Argument(N_("All sites"), "--all")] = False,
) -> ActResult:
    """Choose the sites of an account, on which it may act, and read if reading needs a login.

    Example: slopeward people users sites ada --site north-bench --site lake-slope
    """
    if every == bool(sites):
        raise RefusedError(_WHICH_SITES())
    detail = {"sites": list(sites) or None}
    with call.write() as connection:
        users.set_sites(connection, name, sites or None)
        add_audit(connection, call.actor, "user.sites", f"user:{name}", detail, call.now)
    return ActResult(_SITES(name=name, sites=_name_sites(sites)), {"name": name, **detail})


def bind_os_user(
    call: ActCall,
    name: UserName,
    os_user: Annotated[str, Argument("User of this machine that only this person uses", "--os-user", longest=64)],
) -> ActResult:
    """Let a user of the operating system use commands as an account, without its password.

    Example: slopeward people users bind ada --os-user ada --by chief
    """
    import pwd

    try:
        uid = pwd.getpwnam(os_user).pw_uid
    except KeyError:
        raise RefusedError(_NO_OS_USER(os_user=os_user)) from None
    if uid == 0:
        raise RefusedError(_ROOT(os_user=os_user))
    return _bind(call, name, os_user, _OS_USER(name=name, os_user=os_user))


def unbind_os_user(call: ActCall, name: UserName) -> ActResult:
    """Remove the user of the operating system from an account.

    Example: slopeward people users unbind ada --by chief
    """
    return _bind(call, name, None, _UNBOUND(name=name))


def _bind(call: ActCall, name: str, os_user: str | None, text: Message) -> ActResult:
    with call.write() as connection:
        users.bind_os_user(connection, name, os_user)
        add_audit(connection, call.actor, "user.bind", f"user:{name}", {"bound_to": os_user}, call.now)
    return ActResult(text, {"name": name, "os_user": os_user})


def bind_login(
    call: ActCall,
    name: UserName,
    subject: Annotated[
        str | None,
        Argument(
            "The person at the provider (claim sub); without it the binding ends",
            "--subject",
            longest=255,
            label=N_("Subject"),
        ),
    ] = None,
) -> ActResult:
    """Let a person log in to an existing account with the login provider; ends its sessions.

    A new person whose name is free needs no binding. The subject is in the audit log (login.refused) and on the page of
    the person who was refused.

    Example: slopeward people users oidc ada --subject 248289761001 --by chief
    """
    issuer = call.config.oidc.issuer
    if subject is not None and not issuer:
        raise RefusedError(_NO_ISSUER())
    if subject is not None and not subject.strip():
        raise RefusedError(_NO_SUBJECT())
    with call.write() as connection:
        users.bind_person(connection, name, issuer, subject)
        detail = {"issuer": issuer, "subject": subject}
        add_audit(connection, call.actor, "user.oidc", f"user:{name}", detail, call.now)
    text = _NOT_BOUND(name=name) if subject is None else _BOUND(name=name, subject=subject, issuer=issuer)
    return ActResult(text, {"name": name, **detail})


def set_second_factor(
    call: ActCall,
    name: UserName,
    code: Annotated[
        str | None,
        Argument(
            N_("The first code that the telephone shows"),
            "--code",
            longest=20,
            later="The code that the telephone shows now: ",
        ),
    ] = None,
) -> ActResult:
    """Require a code of a telephone at each login of an account (TOTP), from its first code on.

    The address for the authenticator is shown once. A terminal then asks for the first code; otherwise enter it with
    the same command and --code. After that, codes for a lost telephone are shown once. Each works once.

    The owner or an admin may do this.

    Example: slopeward people users totp ada
    """
    vault = open_vault(call.config)
    with call.write() as connection:
        if code is None:
            address = second_factor.add_second_factor(connection, vault, name, call.now, pending=True)
            facts: dict[str, object] = {"name": name, "totp": False, "address": address}
            hint = f"slopeward people users totp {name} --code 123456"
            return ActResult(_ENTER(name=name), facts, hint=hint, secret=(address,))
        codes = second_factor.confirm_second_factor(connection, vault, name, code, call.now)
        add_audit(connection, call.actor, "user.totp", f"user:{name}", {"on": True}, call.now)
    return ActResult(_SPARE(name=name), {"name": name, "totp": True, "codes": codes}, secret=tuple(codes))


def take_second_factor(call: ActCall, name: UserName) -> ActResult:
    """Let an account log in with its password alone again, for example after its telephone was lost.

    Example: slopeward people users totp-off ada --by chief
    """
    with call.write() as connection:
        second_factor.remove_second_factor(connection, name)
        add_audit(connection, call.actor, "user.totp", f"user:{name}", {"on": False}, call.now)
    return ActResult(_NO_CODE(name=name), {"name": name, "totp": False})


def add_token(
    call: ActCall,
    name: Annotated[str, Argument("Account that the token belongs to", longest=64, label=N_("Account"))],
    label: Annotated[str, Argument(N_("What it is for"), "--label", longest=64)],
    scope: Annotated[
        str, Argument("read, act or admin", "--scope", longest=8, label=N_("Scope"), choices=tuple(api_tokens.SCOPES))
    ] = "read",
    sites: Annotated[tuple[str, ...], Argument(N_("Only these sites; else all"), "--site", longest=64)] = (),
    valid: Annotated[timedelta, Argument(N_("For how long, 366d at most"), "--for")] = timedelta(days=90),
) -> ActResult:
    """Make a token; it is shown once. Only the owner of the account can make a token that may act.

    Example: slopeward people tokens add grafana --label "wall in the office" --site north-bench --for 30d
    """
    if scope != "read" and call.actor.name != name:
        raise RefusedError(_OWNER_MAKES(name=name))
    with call.write() as connection:
        valid_s = valid.total_seconds()
        number, token = api_tokens.add_api_token(connection, name, label, scope, sites or None, valid_s, call.now)
        made = api_tokens.find_api_token(connection, number)
        facts = api_tokens.token_to_json(made)
        add_audit(connection, call.actor, "token.add", f"token:{number}", facts, call.now)
    text = _TOKEN(
        number=number,
        name=name,
        label=made.label,
        scope=Term(scope),
        sites=_name_sites(sites),
        until=Timestamp.of(made.expires_at, "minute"),
    )
    return ActResult(text, {**facts, "token": token}, secret=(token,))


def revoke_token(
    call: ActCall,
    token_id: Annotated[
        int, Argument("Number, see `slopeward people tokens list`", metavar="ID", least=1, most=LARGEST_ID)
    ],
) -> ActResult:
    """Revoke a token at once. Its owner and admins may.

    Example: slopeward people tokens revoke 3
    """
    with call.write() as connection:
        ended = api_tokens.revoke_api_token(connection, token_id, call.now)
        facts = api_tokens.token_to_json(ended)
        add_audit(connection, call.actor, "token.revoke", f"token:{token_id}", facts, call.now)
    text = _REVOKED(number=token_id, name=ended.user, label=ended.label)
    return ActResult(text, {**facts, "state": "revoked"})


def _name_sites(sites: tuple[str, ...]) -> Message | NameList:
    return NameList(tuple(sorted(sites))) if sites else _ALL_SITES()

"""The acts on alerts, levels, sites, reports and accounts.

The functions are imported when an act is done, not when the acts are listed.
"""

from types import ModuleType
from typing import Final

from monitor.alerts.acts.table import ADMIN, COMMAND, make_act_factory


def _on_accounts() -> ModuleType:
    from monitor.alerts.acts import on_accounts

    return on_accounts


def _on_alerts() -> ModuleType:
    from monitor.alerts.acts import on_alerts

    return on_alerts


def _on_site_files() -> ModuleType:
    from monitor.alerts.acts import on_site_files

    return on_site_files


def _on_sites() -> ModuleType:
    from monitor.alerts.acts import on_sites

    return on_sites


_SITE: Final = "/sites/{site}"
_DECLARED: Final = f"{_SITE}/acts"
_GRAVE: Final = "Second person, for grave alerts"
_STANDS: Final = "Second person, while one of the two highest levels is in force"
_VOTES: Final = (
    "Second person: votes of the station for the second highest level are set aside too, those for the highest never"
)
_alert = make_act_factory("/alerts/{alert_id}", "alerts")
_level = make_act_factory(_SITE, "level")
_work = make_act_factory(f"{_SITE}/maintenance", "maintenance", f"{_DECLARED}#maintenance")
_event = make_act_factory(f"{_SITE}/events", "events", f"{_DECLARED}#events")
_offset = make_act_factory(f"{_SITE}/offsets", "offsets", f"{_DECLARED}#offsets")
_report = make_act_factory(f"{_SITE}/report", "report", f"{_SITE}#reports")
_site = make_act_factory(_SITE, "sites", "/")
_proposal = make_act_factory(f"{_SITE}/proposals/{{proposal_id}}", "sites", f"{_SITE}/proposals")
_user = make_act_factory("/admin/users/{name}", "people users", "/admin")
_users = make_act_factory("/admin/users", "people users", "/admin")
_token = make_act_factory("/admin/tokens", "people tokens", "/admin")
_LEFT: Final = "/login?to=/account"
_REVOKE: Final = "/{token_id}/revoke"
_OWNED: Final = {"role": ADMIN, "by_owner": True}
_PROVEN: Final = _OWNED | {"proves": True}
_signature = make_act_factory("/signatures/{signature_id}", "people signatures", "/signatures")
ACTS: Final = (
    _alert("alert.acknowledge", "ack", "/acknowledge", lambda: _on_alerts().acknowledge, by_token=True, by_reply=True),
    _alert("alert.note", "note", "/note", lambda: _on_alerts().add_note, "#h-chain", by_token=True),
    _alert("alert.close", "close", "/close", lambda: _on_alerts().close, second=_GRAVE),
    _alert("alert.outcome", "outcome", "/outcome", lambda: _on_alerts().record_outcome),
    _alert("alert.shelve", "shelve", "/shelve", lambda: _on_alerts().shelve, second=_GRAVE),
    _alert("alert.unshelve", "unshelve", "/unshelve", lambda: _on_alerts().unshelve),
    _alert("alert.take-out", "take-out", "/take-out", lambda: _on_alerts().take_out, second=_GRAVE),
    _alert("alert.put-back", "put-back", "/put-back", lambda: _on_alerts().put_back),
    _alert("step.verify", "verify", "/verify", lambda: _on_alerts().verify),
    _alert("step.withdraw", "withdraw", "/verify/withdraw", lambda: _on_alerts().withdraw),
    _level("level.set", "set", "/level", lambda: _on_sites().set_level),
    _work("maintenance.add", "add", "", lambda: _on_sites().add_maintenance, second=_VOTES),
    _work("maintenance.end", "end", "/{maintenance_id}/end", lambda: _on_sites().end_maintenance),
    _event("event.add", "add", "", lambda: _on_sites().add_event),
    _event("event.confirm", "confirm", "/{event_id}/confirm", lambda: _on_sites().confirm_event),
    _event("event.withdraw", "withdraw", "/{event_id}/withdraw", lambda: _on_sites().withdraw_event),
    _offset("offset.add", "add", "", lambda: _on_sites().add_offset),
    _offset("offset.confirm", "confirm", "/{offset_id}/confirm", lambda: _on_sites().confirm_offset),
    _offset("offset.revoke", "revoke", "/{offset_id}/revoke", lambda: _on_sites().revoke_offset),
    _site("site.retire", "retire", "/retire", lambda: _on_site_files().retire, second=_STANDS),
    _report("report.add", "add", "", lambda: _on_sites().add_report, by_token=True),
    _proposal("site.approve", "approve", "/approve", lambda: _on_site_files().approve),
    _proposal("site.reject", "reject", "/reject", lambda: _on_site_files().reject),
    _user("user.disable", "disable", "/disable", lambda: _on_accounts().disable, role=ADMIN),
    _user("user.enable", "enable", "/enable", lambda: _on_accounts().enable, role=ADMIN),
    _user("user.role", "role", "/role", lambda: _on_accounts().give_role, role=ADMIN, proves=True),
    _user("user.sites", "sites", "/sites", lambda: _on_accounts().give_sites, role=ADMIN, proves=True),
    _user(
        "user.sign-out",
        "sign-out",
        "/sign-out",
        lambda: _on_accounts().sign_out,
        **_OWNED,
        own="/account/sign-out",
        own_back=_LEFT,
    ),
    _users("user.add", "add", "", lambda: _on_accounts().add_account, role=ADMIN, proves=True),
    _user(
        "user.password",
        "passwd",
        "/password",
        lambda: _on_accounts().give_password,
        **_PROVEN,
        own="/account/password",
        own_back=_LEFT,
    ),
    _user(
        "user.totp", "totp", "/second-factor", lambda: _on_accounts().set_second_factor, **_PROVEN, gives_secret=True
    ),
    _user(
        "user.totp.off",
        "totp-off",
        "/second-factor/remove",
        lambda: _on_accounts().take_second_factor,
        role=ADMIN,
        proves=True,
    ),
    _user("user.oidc", "oidc", "/oidc", lambda: _on_accounts().bind_login, role=ADMIN, proves=True),
    # The user of the operating system must exist on the machine on which the command runs.
    _user("user.bind", "bind", "/bind", lambda: _on_accounts().bind_os_user, role=ADMIN, ways=frozenset({COMMAND})),
    _user("user.unbind", "unbind", "/unbind", lambda: _on_accounts().unbind_os_user, role=ADMIN),
    _token(
        "token.add", "add", "", lambda: _on_accounts().add_token, **_PROVEN, own="/account/tokens", gives_secret=True
    ),
    _token(
        "token.revoke",
        "revoke",
        _REVOKE,
        lambda: _on_accounts().revoke_token,
        **_OWNED,
        own=f"/account/tokens{_REVOKE}",
    ),
    _signature("signature.withdraw", "withdraw", "/withdraw", lambda: _on_sites().withdraw_signature),
)

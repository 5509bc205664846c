"""What a person may do: one line each. Commands, forms of the page and requests of the HTTP API are made of this table.

An act is a function with arguments of plain types, each with its meaning; the ways in make commands, forms and
requests of them. The table names functions by their path, so that whoever reads who may do what loads none of them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib import import_module
from inspect import Parameter, signature
from re import split
from typing import Any, Final, get_args, get_origin

from monitor.domain.extension import load_declared
from monitor.text.message import Message

OPERATOR: Final = "operator"
ADMIN: Final = "admin"  # of all sites: accounts are of all
API: Final = "/api/v1"
REASON: Final = 500  # characters of a reason
COMMAND, FORM, REQUEST = "command", "form", "request"
WAYS: Final = frozenset({COMMAND, FORM, REQUEST})


class Secret(str):
    """What only who gives it may know: in no log, audit entry or address, in no shell's history, shown in no form."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Argument:
    """What one argument of an act means, beside its type.

    The type is `str`, `int`, `float`, `bool`, `timedelta`, `datetime`, `tuple[str, ...]` or `Secret`.
    """

    help: str  # one line
    option: str = ""  # on the command line, such as `--for`; empty = by its place
    metavar: str = ""
    least: float | None = None
    most: float | None = None
    longest: int = REASON  # characters
    label: str = ""  # beside its field on the page, where the help is for a command line
    choices: tuple[str, ...] = ()  # whatever else is refused where values are read
    usual: tuple[str, ...] = ()  # what is offered, where others are good too
    is_text: bool = False  # of several lines, kept as they are; `-` on the command line reads them from the input
    is_file: bool = False  # such a text; on the command line the name of its file
    later: str = ""  # on a terminal it is asked for, in these words, once the act without it has shown a secret
    ways: frozenset[str] = WAYS  # the others truly cannot offer it
    is_local: bool = False  # a time that also the command line takes without an offset, as one of the site


@dataclass(frozen=True, slots=True)
class ActParameter:
    """An argument of an act as its function declares it."""

    name: str
    kind: type  # of its values
    is_optional: bool  # None is a value too
    default: object  # Parameter.empty where it must be given
    argument: Argument

    @property
    def is_required(self) -> bool:
        """Whether it must be given."""
        return self.default is Parameter.empty

    @property
    def given_kind(self) -> type:
        """The type in which the ways in take it: times, spans and secrets are texts until they are read."""
        return str if self.kind in {timedelta, datetime, Secret} else self.kind

    @property
    def default_text(self) -> Any:
        """The default as the ways in have it: a span as a text, such as `4h`."""
        return f"{self.default.total_seconds() / 3600.0:g}h" if isinstance(self.default, timedelta) else self.default


@dataclass(frozen=True, slots=True)
class ActResult:
    """What an act did: a sentence for people, facts for programs."""

    text: Message
    facts: Mapping[str, object]
    notes: tuple[str, ...] = ()
    hint: str = ""  # the command that goes on from here; the page has a form for it
    status: int = 0  # exit status of the command: 4 = it was there already, others as its help says
    secret: tuple[str, ...] = ()  # lines that are shown once, of an act that `gives_secret`


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a person may do, who may, and by which ways."""

    name: str  # as the audit log calls it
    command: str  # after `slopeward`
    address: str  # of the form on the page; below `API` that of a request
    function: str  # `module:function`
    back: str = ""  # where the page goes on after it, with values of the address; empty = where it was done
    second: str = ""  # of an act that may take two people: what `--second` means before the first account
    role: str = OPERATOR
    by_token: bool = False  # a program may do it in the name of its owner: it explains nothing away
    by_reply: bool = False  # a text message or a pressed key may do it
    ways: frozenset[str] = WAYS  # the others truly cannot offer it
    by_owner: bool = False  # the owner of an account, or of what hangs on it, may do it with any role
    own: str = ""  # address at which the page lets who is logged in do so
    own_back: str = "/account"  # where it goes on from there
    proves: bool = False  # it opens a way in: whoever does it by a session gives the own password again
    gives_secret: bool = False  # its answer is shown once, and goes into no address

    def load(self) -> Callable[..., ActResult]:
        """The function; its first argument says who acts where (`monitor.alerting.acts.call.ActCall`)."""
        module, _, name = self.function.partition(":")
        found: Callable[..., ActResult] = getattr(import_module(module), name)
        return found

    @property
    def title(self) -> str:
        """What it is called above its form: the first words of its function, such as "Close an alert that is over"."""
        return split(r"[:;,.]", str(self.load().__doc__), maxsplit=1)[0]

    def list_parameters(self) -> Iterator[ActParameter]:
        """The arguments of the function but the first."""
        for parameter in list(signature(self.load(), eval_str=True).parameters.values())[1:]:
            declared, argument = get_args(parameter.annotation)
            several = get_origin(declared) is tuple
            kinds = [tuple] if several else [k for k in get_args(declared) or (declared,) if k is not type(None)]
            yield ActParameter(parameter.name, kinds[0], type(None) in get_args(declared), parameter.default, argument)

    def list_offered(self, way: str) -> list[ActParameter]:
        """The arguments that a way offers."""
        return [one for one in self.list_parameters() if way in one.argument.ways]

    def list_addresses(self, *, own: bool = False) -> list[str]:
        """Where page and HTTP API answer it, such as `POST /api/v1/alerts/{alert_id}/note`; `own`: to the owner."""
        address = self.own if own else self.address
        ways = ((FORM, ""), (REQUEST, API))
        return [f"POST {above}{address}" for way, above in ways if address and way in self.ways]


def on(address: str, group: str, module: str, back: str = "") -> Callable[..., Act]:
    """Rows of acts on one thing: its address, its group of commands, the module of its functions, where the page goes.

    >>> row = on("/alerts/{alert_id}", "alerts", "monitor.alerting.acts.on_alerts")
    >>> row("alert.take-out", "take-out", "/take-out", "take_out").command
    'alerts take-out'
    """

    def row(name: str, verb: str, path: str, function: str, part: str = "", **more: Any) -> Act:
        command, where = f"{group} {verb}", f"{module}:{function}"
        return Act(name, command, address + path, where, f"{back or address}{part}", **more)

    return row


_SITE: Final = "/sites/{site}"
_DECLARED: Final = f"{_SITE}/acts"
_HERE: Final = "monitor.alerting.acts"
_GRAVE: Final = "Second person, for grave alerts"
_STANDS: Final = "Second person, while one of the two highest levels stands"
_VOTES: Final = (
    "Second person: the votes of the station for the second highest level wait as well; those for the top never do"
)
_alert = on("/alerts/{alert_id}", "alerts", f"{_HERE}.on_alerts")
_level = on(_SITE, "level", f"{_HERE}.on_sites")
_work = on(f"{_SITE}/maintenance", "maintenance", f"{_HERE}.on_sites", f"{_DECLARED}#maintenance")
_event = on(f"{_SITE}/events", "events", f"{_HERE}.on_sites", f"{_DECLARED}#events")
_offset = on(f"{_SITE}/offsets", "offsets", f"{_HERE}.on_sites", f"{_DECLARED}#offsets")
_report = on(f"{_SITE}/report", "report", f"{_HERE}.on_sites", f"{_SITE}#reports")
_anomaly = on(f"{_SITE}/anomalies", "anomalies", f"{_HERE}.on_anomalies", f"{_SITE}/instruments#anomalies")
_site = on(_SITE, "sites", f"{_HERE}.on_site_files", "/")
_proposals = on(f"{_SITE}/proposals", "sites", "monitor.replay.acts_on_site_files")
_proposal = on(f"{_SITE}/proposals/{{proposal_id}}", "sites", f"{_HERE}.on_site_files", f"{_SITE}/proposals")
_model = on(f"{_SITE}/models/{{model_hash}}", "forecast", "monitor.web.acts_on_models", f"{_DECLARED}#models")
_network = on(f"{_SITE}/networks/{{model_hash}}", "scenes", "monitor.web.acts_on_models", f"{_DECLARED}#models")
_station = on(f"{_SITE}/stations/{{station}}", "instruments", "monitor.web.acts_on_models", f"{_SITE}/instruments")
_user = on("/admin/users/{name}", "people users", f"{_HERE}.on_accounts", "/admin")
_users = on("/admin/users", "people users", f"{_HERE}.on_accounts", "/admin")
_token = on("/admin/tokens", "people tokens", f"{_HERE}.on_accounts", "/admin")
_LEFT: Final = "/login?to=/account"
_REVOKE: Final = "/{token_id}/revoke"
_OWNED: Final = {"role": ADMIN, "by_owner": True}
_PROVEN: Final = _OWNED | {"proves": True}
_signature = on("/signatures/{signature_id}", "people signatures", f"{_HERE}.on_sites", "/signatures")
_CORE: Final = (
    _alert("alert.acknowledge", "ack", "/acknowledge", "acknowledge", by_token=True, by_reply=True),
    _alert("alert.note", "note", "/note", "add_note", "#h-chain", by_token=True),
    _alert("alert.close", "close", "/close", "close", second=_GRAVE),
    _alert("alert.outcome", "outcome", "/outcome", "record_outcome"),
    _alert("alert.shelve", "shelve", "/shelve", "shelve", second=_GRAVE),
    _alert("alert.unshelve", "unshelve", "/unshelve", "unshelve"),
    _alert("alert.take-out", "take-out", "/take-out", "take_out", second=_GRAVE),
    _alert("alert.put-back", "put-back", "/put-back", "put_back"),
    _alert("step.verify", "verify", "/verify", "verify"),
    _alert("step.withdraw", "withdraw", "/verify/withdraw", "withdraw"),
    _level("level.set", "set", "/level", "set_level"),
    _work("maintenance.add", "add", "", "add_maintenance", second=_VOTES),
    _work("maintenance.end", "end", "/{maintenance_id}/end", "end_maintenance"),
    _event("event.add", "add", "", "add_event"),
    _event("event.confirm", "confirm", "/{event_id}/confirm", "confirm_event"),
    _event("event.withdraw", "withdraw", "/{event_id}/withdraw", "withdraw_event"),
    _offset("offset.add", "add", "", "add_offset"),
    _offset("offset.confirm", "confirm", "/{offset_id}/confirm", "confirm_offset"),
    _offset("offset.revoke", "revoke", "/{offset_id}/revoke", "revoke_offset"),
    _site("site.retire", "retire", "/retire", "retire", second=_STANDS),
    _model("model.promote", "promote", "/promote", "promote", second="Second person, of --force"),
    _model("model.retire", "retire", "/retire", "retire"),
    _network("network.promote", "promote", "/promote", "take_into_use"),
    _network("network.retire", "retire", "/retire", "let_go"),
    _report("report.add", "add", "", "add_report", by_token=True),
    _anomaly("anomaly.label", "label", "/label", "label"),
    _anomaly("anomaly.factor", "factor", "/factor", "set_factor"),
    _station("reference.choose", "reference", "/reference", "choose"),
    _proposals("site.propose", "propose", "", "propose"),
    _proposal("site.approve", "approve", "/approve", "approve"),
    _proposal("site.reject", "reject", "/reject", "reject"),
    _user("user.disable", "disable", "/disable", "disable", role=ADMIN),
    _user("user.enable", "enable", "/enable", "enable", role=ADMIN),
    _user("user.role", "role", "/role", "give_role", role=ADMIN, proves=True),
    _user("user.sites", "sites", "/sites", "give_sites", role=ADMIN, proves=True),
    _user("user.sign-out", "sign-out", "/sign-out", "sign_out", **_OWNED, own="/account/sign-out", own_back=_LEFT),
    _users("user.add", "add", "", "add_account", role=ADMIN, proves=True),
    _user("user.password", "passwd", "/password", "give_password", **_PROVEN, own="/account/password", own_back=_LEFT),
    _user("user.totp", "totp", "/second-factor", "set_second_factor", **_PROVEN, gives_secret=True),
    _user("user.totp.off", "totp-off", "/second-factor/remove", "take_second_factor", role=ADMIN, proves=True),
    _user("user.oidc", "oidc", "/oidc", "bind_login", role=ADMIN, proves=True),
    # whose users they are is known to the machine of the command alone
    _user("user.bind", "bind", "/bind", "bind_os_user", role=ADMIN, ways=frozenset({COMMAND})),
    _user("user.unbind", "unbind", "/unbind", "unbind_os_user", role=ADMIN),
    _token("token.add", "add", "", "add_token", **_PROVEN, own="/account/tokens", gives_secret=True),
    _token("token.revoke", "revoke", _REVOKE, "revoke_token", **_OWNED, own=f"/account/tokens{_REVOKE}"),
    _signature("signature.withdraw", "withdraw", "/withdraw", "withdraw_signature"),
)


@cache
def list_acts() -> tuple[Act, ...]:
    """All acts: ours, then those of extensions."""
    return (*_CORE, *(act for acts in load_declared("acts") for act in acts))


def find_act(name: str) -> Act:
    """The act of that name; raises KeyError."""
    return {act.name: act for act in list_acts()}[name]


def extract(fileobj: object, keywords: object, comment_tags: object, options: object) -> Iterator[tuple[Any, ...]]:
    """The titles of all acts for babel."""
    del fileobj, keywords, comment_tags, options
    yield from ((1, "gettext", act.title, []) for act in list_acts())

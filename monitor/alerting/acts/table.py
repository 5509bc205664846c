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
from typing import Any, Final, get_args

from forecasting.message import Message
from monitor.domain.extension import load_declared

OPERATOR: Final = "operator"
API: Final = "/api/v1"
REASON: Final = 500  # characters of a reason


@dataclass(frozen=True, slots=True)
class Argument:
    """What one argument of an act means, beside its type: `str`, `int`, `float`, `bool`, `timedelta` or `datetime`."""

    help: str  # one line
    option: str = ""  # on the command line, such as `--for`; empty = by its place
    metavar: str = ""
    least: float | None = None
    most: float | None = None
    longest: int = REASON  # characters
    label: str = ""  # beside its field on the page, where the help is for a command line
    choices: tuple[str, ...] = ()  # usual ones; what else is good or not, the act itself says
    is_text: bool = False  # of several lines, kept as they are; `-` on the command line reads them from the input
    is_file: bool = False  # such a text; on the command line the name of its file
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
        """The type in which the ways in take it: times and spans are texts until they are read."""
        return str if self.kind in {timedelta, datetime} else self.kind

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
    status: int = 0  # exit status of the command: 4 = it was there already


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
            kinds = [one for one in get_args(declared) or (declared,) if one is not type(None)]
            yield ActParameter(parameter.name, kinds[0], type(None) in get_args(declared), parameter.default, argument)


_ON_ALERTS: Final = "monitor.alerting.acts.on_alerts"
_ON_SITES: Final = "monitor.alerting.acts.on_sites"
_ON_DUTY: Final = "monitor.alerting.acts.on_duty"
_ON_ANOMALIES: Final = "monitor.alerting.acts.on_anomalies"
_ON_MODELS: Final = "monitor.web.acts_on_models"
_ON_SITE_FILES: Final = "monitor.alerting.acts.on_site_files"
_ALERT: Final = "/alerts/{alert_id}"
_SITE: Final = "/sites/{site}"
_DUTY: Final = f"{_SITE}/duty"
_ANOMALIES: Final = f"{_SITE}/anomalies"
_BOARD: Final = f"{_SITE}/instruments#anomalies"
_MODELS: Final = f"{_SITE}/acts#models"
_GRAVE: Final = "Second person, for grave alerts"

_CORE: Final = (
    Act(
        "alert.acknowledge",
        "alerts ack",
        f"{_ALERT}/acknowledge",
        f"{_ON_ALERTS}:acknowledge",
        _ALERT,
        by_token=True,
        by_reply=True,
    ),
    Act("alert.note", "alerts note", f"{_ALERT}/note", f"{_ON_ALERTS}:add_note", f"{_ALERT}#h-chain", by_token=True),
    Act("alert.close", "alerts close", f"{_ALERT}/close", f"{_ON_ALERTS}:close", _ALERT, _GRAVE),
    Act("alert.outcome", "alerts outcome", f"{_ALERT}/outcome", f"{_ON_ALERTS}:record_outcome", _ALERT),
    Act("alert.shelve", "alerts shelve", f"{_ALERT}/shelve", f"{_ON_ALERTS}:shelve", _ALERT, _GRAVE),
    Act("alert.unshelve", "alerts unshelve", f"{_ALERT}/unshelve", f"{_ON_ALERTS}:unshelve", _ALERT),
    Act("alert.take-out", "alerts take-out", f"{_ALERT}/take-out", f"{_ON_ALERTS}:take_out", _ALERT, _GRAVE),
    Act("alert.put-back", "alerts put-back", f"{_ALERT}/put-back", f"{_ON_ALERTS}:put_back", _ALERT),
    Act("step.verify", "alerts verify", f"{_ALERT}/verify", f"{_ON_ALERTS}:verify", _ALERT),
    Act("step.withdraw", "alerts withdraw", f"{_ALERT}/verify/withdraw", f"{_ON_ALERTS}:withdraw", _ALERT),
    Act("level.set", "level set", f"{_SITE}/level", f"{_ON_SITES}:set_level", _SITE),
    Act(
        "maintenance.add",
        "maintenance add",
        f"{_SITE}/maintenance",
        f"{_ON_SITES}:add_maintenance",
        f"{_SITE}/acts#maintenance",
        "Second person: the votes of the station for the second highest level wait as well; those for the top never do",
    ),
    Act(
        "maintenance.end",
        "maintenance end",
        f"{_SITE}/maintenance/{{maintenance_id}}/end",
        f"{_ON_SITES}:end_maintenance",
        f"{_SITE}/acts#maintenance",
    ),
    Act("event.add", "events add", f"{_SITE}/events", f"{_ON_SITES}:add_event", f"{_SITE}/acts#events"),
    Act(
        "event.confirm",
        "events confirm",
        f"{_SITE}/events/{{event_id}}/confirm",
        f"{_ON_SITES}:confirm_event",
        f"{_SITE}/acts#events",
    ),
    Act(
        "event.withdraw",
        "events withdraw",
        f"{_SITE}/events/{{event_id}}/withdraw",
        f"{_ON_SITES}:withdraw_event",
        f"{_SITE}/acts#events",
    ),
    Act("offset.add", "offsets add", f"{_SITE}/offsets", f"{_ON_SITES}:add_offset", f"{_SITE}/acts#offsets"),
    Act(
        "offset.confirm",
        "offsets confirm",
        f"{_SITE}/offsets/{{offset_id}}/confirm",
        f"{_ON_SITES}:confirm_offset",
        f"{_SITE}/acts#offsets",
    ),
    Act(
        "offset.revoke",
        "offsets revoke",
        f"{_SITE}/offsets/{{offset_id}}/revoke",
        f"{_ON_SITES}:revoke_offset",
        f"{_SITE}/acts#offsets",
    ),
    Act(
        "site.retire",
        "sites retire",
        f"{_SITE}/retire",
        f"{_ON_SITE_FILES}:retire",
        "/",
        "Second person, while one of the two highest levels stands",
    ),
    Act(
        "model.promote",
        "forecast promote",
        f"{_SITE}/models/{{model_hash}}/promote",
        f"{_ON_MODELS}:promote",
        _MODELS,
        "Second person, of --force",
    ),
    Act(
        "model.retire",
        "forecast retire",
        f"{_SITE}/models/{{model_hash}}/retire",
        f"{_ON_MODELS}:retire",
        _MODELS,
    ),
    Act(
        "network.promote",
        "scenes promote",
        f"{_SITE}/networks/{{model_hash}}/promote",
        f"{_ON_MODELS}:take_into_use",
        _MODELS,
    ),
    Act(
        "network.retire",
        "scenes retire",
        f"{_SITE}/networks/{{model_hash}}/retire",
        f"{_ON_MODELS}:let_go",
        _MODELS,
    ),
    Act("duty.plan", "people duty plan", f"{_DUTY}/plan", f"{_ON_DUTY}:put_plan", _DUTY),
    Act("duty.swap", "people duty swap", f"{_DUTY}/swap", f"{_ON_DUTY}:swap", _DUTY),
    Act(
        "duty.swap.withdraw",
        "people duty withdraw",
        f"{_DUTY}/changes/{{number}}/withdraw",
        f"{_ON_DUTY}:withdraw_change",
        _DUTY,
    ),
    Act("duty.handover", "people duty hand-over write", f"{_DUTY}/handover", f"{_ON_DUTY}:hand_over", _DUTY),
    Act(
        "duty.handover.sign",
        "people duty hand-over sign",
        f"{_DUTY}/handovers/{{number}}/sign",
        f"{_ON_DUTY}:take_over",
        _DUTY,
    ),
    Act(
        "duty.handover.withdraw",
        "people duty hand-over withdraw",
        f"{_DUTY}/handovers/{{number}}/withdraw",
        f"{_ON_DUTY}:withdraw_handover",
        _DUTY,
    ),
    Act("report.add", "report add", f"{_SITE}/report", f"{_ON_SITES}:add_report", f"{_SITE}#reports", by_token=True),
    Act("anomaly.label", "anomalies label", f"{_ANOMALIES}/label", f"{_ON_ANOMALIES}:label", _BOARD),
    Act("anomaly.factor", "anomalies factor", f"{_ANOMALIES}/factor", f"{_ON_ANOMALIES}:set_factor", _BOARD),
    Act(
        "site.approve",
        "sites approve",
        f"{_SITE}/proposals/{{proposal_id}}/approve",
        f"{_ON_SITE_FILES}:approve",
        f"{_SITE}/proposals",
    ),
    Act(
        "site.reject",
        "sites reject",
        f"{_SITE}/proposals/{{proposal_id}}/reject",
        f"{_ON_SITE_FILES}:reject",
        f"{_SITE}/proposals",
    ),
    Act(
        "signature.withdraw",
        "people signatures withdraw",
        "/signatures/{signature_id}/withdraw",
        f"{_ON_SITES}:withdraw_signature",
        "/signatures",
    ),
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

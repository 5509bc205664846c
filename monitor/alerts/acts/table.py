"""What a person may do: one line each. Commands, forms of the page and requests of the HTTP API are made of this table.

An act is a function with arguments of plain types, each with its meaning; the ways in make commands, forms and
requests of them. `Act.load` imports the function when it is needed, so that listing acts imports none of them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from inspect import Parameter, signature
from re import split
from typing import Any, Final, get_args, get_origin

from monitor.plugins import hooks
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
    # Imports and returns the function. Its first argument says who acts where (`monitor.alerts.acts.call.ActCall`).
    load: Callable[[], Callable[..., ActResult]]
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


def make_act_factory(address: str, group: str, back: str = "") -> Callable[..., Act]:
    """Return a function that makes acts on one thing.

    Args:
        address: of the thing; addresses of acts start with it.
        group: of commands.
        back: where the page goes on after an act; empty: to the address.

    >>> alert_act = make_act_factory("/alerts/{alert_id}", "alerts")
    >>> alert_act("alert.take-out", "take-out", "/take-out", lambda: print).command
    'alerts take-out'
    """

    def make_act(
        name: str, command: str, path: str, load: Callable[[], Callable[..., ActResult]], part: str = "", **more: Any
    ) -> Act:
        return Act(name, f"{group} {command}", address + path, load, f"{back or address}{part}", **more)

    return make_act


@cache
def list_acts() -> tuple[Act, ...]:
    """Return the acts of all plugins; of two acts with one name, command or address, the first."""
    acts: list[Act] = []
    for registered in hooks().register_acts():
        for act in registered:
            if not any(act.name == o.name or act.command == o.command or act.address == o.address for o in acts):
                acts.append(act)
    return tuple(acts)


def find_act(name: str) -> Act:
    """The act of that name; raises KeyError."""
    return {act.name: act for act in list_acts()}[name]


def extract(fileobj: object, keywords: object, comment_tags: object, options: object) -> Iterator[tuple[Any, ...]]:
    """The titles of all acts for babel."""
    del fileobj, keywords, comment_tags, options
    yield from ((1, "gettext", act.title, []) for act in list_acts())

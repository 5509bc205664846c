"""The table of acts: everything that a person may do. Commands, forms and HTTP requests are generated from it.

An act is a function whose annotations describe its arguments. `Act.load` imports the function when it is needed, so
that listing the acts imports none of them.
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
# Accounts belong to all sites, so their admin must be an admin of all sites.
ADMIN: Final = "admin"
API: Final = "/api/v1"
# Most characters of a reason.
REASON: Final = 500
COMMAND: Final = "command"
FORM: Final = "form"
REQUEST: Final = "request"
WAYS: Final = frozenset({COMMAND, FORM, REQUEST})


class Secret(str):
    """A text that never appears in logs, audit entries, addresses, shell history or forms."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Argument:
    """Description of one argument of an act.

    Its type is `str`, `int`, `float`, `bool`, `timedelta`, `datetime`, `tuple[str, ...]` or `Secret`.

    Attributes:
        help: One line of help.
        option: Option on the command line, such as `--for`; empty for a positional argument.
        longest: Most characters.
        label: Label of the field on the page, if `help` only suits a command line.
        choices: The values that are allowed.
        usual: Values that are suggested; others are allowed.
        is_text: Whether the value is a text of several lines. On the command line `-` reads it from standard input.
        is_file: Whether the value is such a text, and the command line takes the name of its file.
        later: Prompt with which a terminal asks for the value after the act without it has shown a secret.
        ways: The ways in that offer the argument.
        is_local: Whether the command line also accepts a time without an offset, in the zone of the site.
    """

    help: str
    option: str = ""
    metavar: str = ""
    least: float | None = None
    most: float | None = None
    longest: int = REASON
    label: str = ""
    choices: tuple[str, ...] = ()
    usual: tuple[str, ...] = ()
    is_text: bool = False
    is_file: bool = False
    later: str = ""
    ways: frozenset[str] = WAYS
    is_local: bool = False


@dataclass(frozen=True, slots=True)
class ActParameter:
    """An argument of an act as its function declares it.

    Attributes:
        kind: Type of the value.
        is_optional: Whether None is allowed.
        default: Default value; `Parameter.empty` if the argument is required.
    """

    name: str
    kind: type
    is_optional: bool
    default: object
    argument: Argument

    @property
    def is_required(self) -> bool:
        """Whether the argument is required."""
        return self.default is Parameter.empty

    @property
    def given_kind(self) -> type:
        """Type of the value as it is entered. Times, durations and secrets are entered as text."""
        return str if self.kind in {timedelta, datetime, Secret} else self.kind

    @property
    def default_text(self) -> Any:
        """The default as it is entered; a duration as text, such as `4h`."""
        return f"{self.default.total_seconds() / 3600.0:g}h" if isinstance(self.default, timedelta) else self.default


@dataclass(frozen=True, slots=True)
class ActResult:
    """The result of an act.

    Attributes:
        text: A sentence for people.
        facts: Values for programs.
        hint: The command of the next step. The page has a form for it.
        status: Exit status of the command: 4 if nothing had to be done, others as its help describes.
        secret: Lines that are shown once, for an act with `gives_secret`.
    """

    text: Message
    facts: Mapping[str, object]
    notes: tuple[str, ...] = ()
    hint: str = ""
    status: int = 0
    secret: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Act:
    """An act, who may do it, and by which ways.

    Attributes:
        name: Name in the audit log.
        command: The command, without `slopeward`.
        address: Address of the form on the page; below `API`, of the request.
        load: Imports and returns the function. Its first argument is a `monitor.alerts.acts.call.ActCall`.
        back: Page that follows the form; empty for the page of the form.
        second: For an act that may need two people, what `--second` means while there are no accounts.
        role: Role that the person needs.
        by_token: Whether a program may do it with the token of a person. Such an act must not set readings or votes
            aside.
        by_reply: Whether a text message or a pressed key may do it.
        ways: The ways in that offer the act.
        by_owner: Whether the owner of the account or token may do it with any role.
        own: Address of the form for the person who is logged in.
        own_back: Page that follows this form.
        proves: Whether the act changes who can log in or what an account may do. A logged-in person must then enter
            the password again.
        gives_secret: Whether the result contains a secret that is shown once.
    """

    name: str
    command: str
    address: str
    load: Callable[[], Callable[..., ActResult]]
    back: str = ""
    second: str = ""
    role: str = OPERATOR
    by_token: bool = False
    by_reply: bool = False
    ways: frozenset[str] = WAYS
    by_owner: bool = False
    own: str = ""
    own_back: str = "/account"
    proves: bool = False
    gives_secret: bool = False

    @property
    def title(self) -> str:
        """Heading of the form: the first phrase of the docstring, such as "Close an alert that is over"."""
        return split(r"[:;,.]", str(self.load().__doc__), maxsplit=1)[0]

    def list_parameters(self) -> Iterator[ActParameter]:
        """Yield the arguments of the function, except the call."""
        for parameter in list(signature(self.load(), eval_str=True).parameters.values())[1:]:
            declared, argument = get_args(parameter.annotation)
            is_optional = type(None) in get_args(declared)
            kind = declared
            if get_origin(declared) is tuple:
                kind = tuple
            elif is_optional:
                kind = next(member for member in get_args(declared) if member is not type(None))
            yield ActParameter(parameter.name, kind, is_optional, parameter.default, argument)

    def list_offered(self, way: str) -> list[ActParameter]:
        """Return the arguments that a way offers."""
        return [parameter for parameter in self.list_parameters() if way in parameter.argument.ways]

    def list_addresses(self, *, own: bool = False) -> list[str]:
        """Return the addresses on the page and in the HTTP API, such as `POST /api/v1/alerts/{alert_id}/note`.

        Args:
            own: Whether to return the addresses for the owner of an account.
        """
        address = self.own if own else self.address
        prefixes = ((FORM, ""), (REQUEST, API))
        return [f"POST {prefix}{address}" for way, prefix in prefixes if address and way in self.ways]


def make_act_factory(address: str, group: str, back: str = "") -> Callable[..., Act]:
    """Return a function that makes the acts on one kind of object.

    Args:
        address: Address of the object, with which the addresses of the acts start.
        group: Group of the commands.
        back: Page that follows the forms; empty for the address.

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
            is_duplicate = any(
                act.name == other.name or act.command == other.command or act.address == other.address for other in acts
            )
            if not is_duplicate:
                acts.append(act)
    return tuple(acts)


def find_act(name: str) -> Act:
    """Return the act with a name.

    Raises:
        KeyError: There is no such act.
    """
    return {act.name: act for act in list_acts()}[name]


def extract(fileobj: object, keywords: object, comment_tags: object, options: object) -> Iterator[tuple[Any, ...]]:
    """Yield the titles of all acts for Babel."""
    del fileobj, keywords, comment_tags, options
    yield from ((1, "gettext", act.title, []) for act in list_acts())

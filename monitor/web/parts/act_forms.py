"""The fields of a form that does an act, from the arguments of the act."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from monitor.alerting.acts.table import REASON, ActParameter, find_act

KINDS: Final = {timedelta: "span", datetime: "time", float: "number", int: "number", bool: "tick"}


@dataclass(frozen=True, slots=True)
class FormField:
    """One field: how it is filled in, and what it means."""

    name: str
    label: str
    kind: str  # line, text, select, span, time, number or tick
    choices: tuple[str, ...]
    is_required: bool
    longest: int
    value: str


@cache
def list_fields(name: str) -> tuple[FormField, ...]:
    """The fields of the form of an act; what its address names is none of them.

    >>> [(one.name, one.kind, one.value) for one in list_fields("alert.shelve")]
    [('reason', 'line', ''), ('for', 'span', '4h')]
    """
    act = find_act(name)
    return tuple(_make(one) for one in act.list_parameters() if f"{{{one.name}}}" not in act.address)


def _make(one: ActParameter) -> FormField:
    argument = one.argument
    kind = KINDS.get(one.kind) or ("select" if argument.choices else "text" if argument.longest > REASON else "line")
    value = one.default_text if isinstance(one.default_text, str) else ""
    return FormField(
        one.name.rstrip("_"),
        argument.label or argument.help,
        kind,
        argument.choices,
        one.is_required,
        argument.longest,
        value,
    )

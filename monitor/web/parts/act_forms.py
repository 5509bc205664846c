"""The fields of a form that does an act, from the arguments of the act."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from sqlalchemy import Connection

from monitor.alerts.acts.table import FORM, REASON, Act, ActParameter, Secret, find_act
from monitor.alerts.queries.overview import load_cards, load_stations
from monitor.web.parts.columns import list_quantities

HIDDEN: Final = frozenset({"seen"})  # what stood on the page when the form was shown
SECRET_OF_OWN: Final = "own_password"  # noqa: S105 - a field: of who does an act that opens a way in
AGAIN: Final = "_again"  # behind the name of a secret that is typed twice
LONGEST_TYPED: Final = 100_000  # characters; what is longer comes as a file
LONGEST_SECRET: Final = 1024
KINDS: Final = {
    Secret: "secret",
    tuple: "several",
    timedelta: "span",
    datetime: "time",
    float: "number",
    int: "number",
    bool: "tick",
}


@dataclass(frozen=True, slots=True)
class FormField:
    """One field: how it is filled in, and what it means."""

    name: str
    label: str
    kind: str  # line, text, select, several, secret, file, span, time, number or tick
    choices: tuple[str, ...]
    is_required: bool
    longest: int
    value: str


@dataclass(frozen=True, slots=True)
class SentForm:
    """A form of an act as it was sent."""

    act: Act
    values: Mapping[str, str]  # but secrets
    path: str

    @property
    def hidden(self) -> dict[str, str]:
        """What a person does not fill in."""
        return {name: value for name, value in self.values.items() if name in HIDDEN}


def list_choices(c: Connection, site: str | None) -> dict[str, list[str]]:
    """What there is to choose from on a site, by the name of a field."""
    cards = load_cards(c, site)
    if site is None or not cards:
        return {"sites": [one.id for one in cards]}
    stations = load_stations(c, site)
    return {
        "level": [one["name"] for one in cards[0].levels],
        "station": [one.id for one in stations],
        "quantity": sorted({quantity for one in stations for quantity in list_quantities(one)}),
    }


@cache
def list_fields(name: str) -> tuple[FormField, ...]:
    """The fields of the form of an act; what its address names is none of them.

    >>> [(one.name, one.kind, one.value) for one in list_fields("alert.shelve")]
    [('reason', 'line', ''), ('for', 'span', '4h')]
    """
    act = find_act(name)
    return tuple(_make(one) for one in act.list_offered(FORM) if f"{{{one.name}}}" not in act.address)


def _make(one: ActParameter) -> FormField:
    argument = one.argument
    choices = argument.choices or argument.usual
    typed = "file" if argument.longest > LONGEST_TYPED else "text" if argument.longest > REASON else "line"
    kind = KINDS.get(one.kind) or ("select" if choices else typed)
    value = one.default_text if isinstance(one.default_text, str) else ""
    return FormField(
        one.name.rstrip("_"), argument.label or argument.help, kind, choices, one.is_required, argument.longest, value
    )

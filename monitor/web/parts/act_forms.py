"""Fields of the form of an act, derived from the arguments of the act."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from sqlalchemy import Connection

from monitor.alerts.acts.table import FORM, REASON, Act, ActParameter, Secret, find_act
from monitor.alerts.queries.overview import load_cards, load_stations
from monitor.web.parts.columns import list_quantities

# Fields with a value of the page that showed the form.
HIDDEN: Final = frozenset({"seen"})
# Field with the password of the person who does an act that gives access.
SECRET_OF_OWN: Final = "own_password"  # noqa: S105 - name of a field
# Suffix of the second field of a secret that is typed twice.
AGAIN: Final = "_again"
# Longer texts are uploaded as a file. In characters.
LONGEST_TYPED: Final = 100_000
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
    """A field of a form.

    Attributes:
        kind: `line`, `text`, `select`, `several`, `secret`, `file`, `span`, `time`, `number` or `tick`.
        longest: Most characters.
        value: Value that the empty form contains.
    """

    name: str
    label: str
    kind: str
    choices: tuple[str, ...]
    is_required: bool
    longest: int
    value: str


@dataclass(frozen=True, slots=True)
class SentForm:
    """A form of an act as it was sent.

    Attributes:
        values: Value by field, without secrets.
    """

    act: Act
    values: Mapping[str, str]
    path: str

    @property
    def hidden(self) -> dict[str, str]:
        """The values that a person does not fill in."""
        return {name: value for name, value in self.values.items() if name in HIDDEN}


def list_choices(c: Connection, site: str | None) -> dict[str, list[str]]:
    """Return the choices of a site by field."""
    cards = load_cards(c, site)
    if site is None or not cards:
        return {"sites": [card.id for card in cards]}
    stations = load_stations(c, site)
    return {
        "level": [level["name"] for level in cards[0].levels],
        "station": [station.id for station in stations],
        "quantity": sorted({quantity for station in stations for quantity in list_quantities(station)}),
    }


@cache
def list_fields(name: str) -> tuple[FormField, ...]:
    """Return the fields of the form of an act, without the parameters in its address.

    >>> [(field.name, field.kind, field.value) for field in list_fields("alert.shelve")]
    [('reason', 'line', ''), ('for', 'span', '4h')]
    """
    act = find_act(name)
    parameters = [parameter for parameter in act.list_offered(FORM) if f"{{{parameter.name}}}" not in act.address]
    return tuple(_make_field(parameter) for parameter in parameters)


def _make_field(parameter: ActParameter) -> FormField:
    argument = parameter.argument
    choices = argument.choices or argument.usual
    kind = KINDS.get(parameter.kind)
    if kind is None and choices:
        kind = "select"
    elif kind is None and argument.longest > LONGEST_TYPED:
        kind = "file"
    elif kind is None:
        kind = "text" if argument.longest > REASON else "line"
    return FormField(
        name=parameter.name.rstrip("_"),
        label=argument.label or argument.help,
        kind=kind,
        choices=choices,
        is_required=parameter.is_required,
        longest=argument.longest,
        value=parameter.default_text if isinstance(parameter.default_text, str) else "",
    )

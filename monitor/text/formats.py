"""How the values of a reason are shown: a `ReasonText` is the template of one code with a format for each value.

A format receives a value of the reason in which other reasons are messages already, and returns the value of the
message. Values without a format are shown as they are.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from monitor.text.message import PLACE, Duration, DurationForm, Figure, Message, NameList, Template, Term, Value, join

Format: TypeAlias = Callable[[Any], Value]


@dataclass(frozen=True, slots=True)
class ReasonText:
    """The sentence for one reason code."""

    template: Template
    formats: Mapping[str, Format]

    @property
    def places(self) -> frozenset[str]:
        """Names of the values that the sentence contains."""
        return frozenset(PLACE.findall(self.template.english))

    def __call__(self, values: Mapping[str, Any]) -> Message:
        """Return the sentence with these values.

        Raises:
            ValueError: `values` has other names than the template.
        """
        if values.keys() != self.places:
            raise ValueError(f"{self.template.id} needs the values {sorted(self.places)}, got {sorted(values)}")
        return self.template(**{name: self._show(name, value) for name, value in values.items()})

    def _show(self, name: str, value: Any) -> Value:
        show = self.formats.get(name)
        return value if show is None else show(value)


def reason_text(template: Template, **formats: Format) -> ReasonText:
    """Return the text of the reason code that is the id of the template."""
    return ReasonText(template, formats)


def index_by_code(*texts: ReasonText) -> dict[str, ReasonText]:
    """Return texts by their reason codes."""
    return {text.template.id: text for text in texts}


def figure(form: str = "g", unit: str = "") -> Format:
    """Show a number with these digits and this unit."""
    return lambda value: Figure(value, form, unit)


def figure_or_term(form: str) -> Format:
    """Show a pair of a number and its unit; a single text is a term, such as `unknown`."""

    def show(value: Any) -> Value:
        if isinstance(value, str):
            return Term(value)
        number, unit = value
        return Figure(number, form, unit)

    return show


def duration(form: DurationForm) -> Format:
    """Show seconds as a duration."""
    return lambda value: Duration(value, form)


def names(*, conjunction: bool = False) -> Format:
    """Show several names."""
    return lambda value: NameList(tuple(value), conjunction=conjunction)


def joined(separator: str = "; ") -> Format:
    """Show several messages as one text."""

    def show(value: Iterable[Value]) -> Value:
        return join(value, separator)

    return show

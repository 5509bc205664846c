"""Texts for people as an id and typed values, so that they can be translated when they are shown.

A `Message` is a `str` with its English text, which SQL, logs and programs use. It also has the id of its template and
the values of the template's places. `monitor.text.rendering` renders it in the language, time zone and units of the
reader. Comparisons, seals and recomputations use id and values.

Rows and JSON contain a message as three values, `reason`, `reason_id` and `reason_values`. `messages_to_plain` writes
them, `plain_to_messages` reads them.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal, Self, TypeAlias

PLACE: Final = re.compile(r"\{(\w+)\}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ID, _VALUES = "_id", "_values"
_UNITS: Final = (("d", 86400.0), ("h", 3600.0), ("m", 60.0))
# A duration whose number is at least this long is split into days, hours and minutes for readers.
_LONG_NUMBER: Final = 100.0
# A shorter duration is not split: its seconds may matter.
_SHORT_S: Final = 600.0
TimeForm: TypeAlias = Literal["exact", "second", "minute", "day"]
DurationForm: TypeAlias = Literal["unit", "about", "span"]


# ---- typed values ----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Figure:
    """A number with the digits that it is shown with, and its unit.

    >>> Figure(3.14159, ".2f", "mm/day").english(), Figure(0.834, ".0%").english(), Figure(12).english()
    ('3.14 mm/day', '83%', '12')
    """

    value: float
    form: str = "g"
    unit: str = ""

    def english(self) -> str:
        """Return the English text."""
        shown = format(self.value, self.form)
        return f"{shown} {self.unit}" if self.unit else shown

    def to_json(self) -> dict[str, Any]:
        """Return the fields for JSON, without those that have their default."""
        return {"figure": self.value, "form": self.form, **({"unit": self.unit} if self.unit else {})}


@dataclass(frozen=True, slots=True)
class Timestamp:
    """An instant in epoch seconds. In the form `day` it is a day of UTC, which is the same in every zone.

    >>> Timestamp(0.5).english(), Timestamp(60.0, "minute").english(), Timestamp(60.0, "day").english()
    ('1970-01-01T00:00:00.500000Z', '1970-01-01 00:01 UTC', '1970-01-01')
    """

    at_s: float
    form: TimeForm = "exact"

    @classmethod
    def of(cls, at: datetime, form: TimeForm = "exact") -> Self:
        """Return the timestamp of an aware instant."""
        return cls((at - _EPOCH).total_seconds(), form)

    @property
    def at(self) -> datetime:
        """Return the instant, aware, in UTC."""
        return _EPOCH + timedelta(seconds=self.at_s)

    def english(self) -> str:
        """Return the text in UTC, as programs read it."""
        return _format_instant(self.at_s, self.form)

    def to_json(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {"at_s": self.at_s, "form": self.form}


@lru_cache(maxsize=1024)
def _format_instant(at_s: float, form: TimeForm) -> str:
    """Return the text of an instant in UTC. Cached, because open questions contain the same instants every time."""
    at = (_EPOCH + timedelta(seconds=at_s)).replace(tzinfo=None)
    if form == "exact":
        return f"{at.isoformat(timespec='microseconds')}Z"
    return at.date().isoformat() if form == "day" else f"{at.isoformat(' ', f'{form}s')} UTC"


@dataclass(frozen=True, slots=True)
class Duration:
    """A duration: in its largest whole unit, about, or as the window of a rate.

    >>> [Duration(s, form).english() for s, form in ((5400.0, "unit"), (5400.0, "about"), (115200.0, "span"))]
    ['90m', '1 h 30 min', '32 h']
    """

    seconds: float
    form: DurationForm = "unit"

    def english(self) -> str:
        """Return the English text."""
        if self.form == "about":
            return format_about(self.seconds)
        if self.form == "span":
            return format_span(self.seconds)
        return format_duration(self.seconds)

    def to_json(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {"seconds": self.seconds, "form": self.form}


@dataclass(frozen=True, slots=True)
class Term:
    """A word of the vocabulary, which is translated: a level, a state, a quantity, a kind of criterion.

    >>> Term("crack_opening").english(), Term("ORANGE").english()
    ('crack opening', 'ORANGE')
    """

    word: str

    def english(self) -> str:
        """Return the English text."""
        return self.word.replace("_", " ")

    def to_json(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {"term": self.word}


@dataclass(frozen=True, slots=True)
class NameList:
    """Names, which are not translated, and how many more there are.

    >>> NameList(("G1", "G2", "G3")).english(), NameList(("G1", "G2"), more=4).english()
    ('G1, G2, G3', 'G1, G2 and 4 more')
    >>> NameList(("G1", "G2", "G3"), conjunction=True).english()
    'G1, G2 and G3'
    """

    names: tuple[str, ...]
    more: int = 0
    conjunction: bool = False

    def english(self, conjunction: str = " and ", more: str = "{text} and {n} more") -> str:
        """Return the text, with the words of another language in place of the English ones."""
        if self.conjunction and not self.more and len(self.names) > 1:
            return f"{', '.join(self.names[:-1])}{conjunction}{self.names[-1]}"
        listed = ", ".join(self.names)
        return more.format(text=listed, n=self.more) if self.more else listed

    def to_json(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {"names": list(self.names), "more": self.more, "conjunction": self.conjunction}


class Message(str):
    """A text with the id of its template and its values. It is equal to its English text, and sorted like it."""

    __slots__ = ("id", "values")
    id: str  # of the template
    values: "Mapping[str, Value]"  # by the names of its places

    def __new__(cls, english: str, template_id: str, values: "Mapping[str, Value]") -> Self:
        """Create a message from its parts. Use a `Template`, or `read_message` for stored messages."""
        self = str.__new__(cls, english)
        object.__setattr__(self, "id", template_id)
        object.__setattr__(self, "values", values)
        return self

    def __setattr__(self, name: str, value: object) -> None:
        """Raise AttributeError, because messages are immutable."""
        raise AttributeError(f"{name} of a message cannot be set")

    def __reduce__(self) -> tuple[Callable[..., "Message"], tuple[Any, ...]]:
        """Copy and pickle id and values too."""
        return Message, (str(self), self.id, dict(self.values))

    def english(self) -> str:
        """Return the English text as a plain `str`."""
        return str(self)

    def to_json(self) -> dict[str, Any]:
        """Return text, id and values for JSON."""
        return {"text": str(self), "id": self.id, "values": values_to_json(self.values)}


@dataclass(frozen=True, slots=True)
class MessageList:
    """Texts one after the other, the most important first, because short forms leave out the last ones.

    >>> MessageList(("one", "two")).english()
    'one; two'
    """

    items: "tuple[Value, ...]"
    separator: str = "; "

    def english(self) -> str:
        """Return the English text."""
        return self.separator.join(to_english(item) for item in self.items)

    def to_json(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {"items": [_value_to_json(item) for item in self.items], "separator": self.separator}


Typed: TypeAlias = Figure | Timestamp | Duration | Term | NameList | MessageList
Value: TypeAlias = str | int | float | Typed  # a `Message` is text


def to_english(value: Value) -> str:
    """Return a value as an English text contains it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if isinstance(value, int) else value.english()


# ---- templates -------------------------------------------------------------------------------------------------
# English text of every template that was imported, by its id.
ENGLISH: Final[dict[str, str]] = {}


class Template:
    """The English text of one kind of message. Define it in the module that makes the message.

    >>> over = Template("example.over", "{station} moves {rate}, over {bound}")
    >>> text = over(station="G1", rate=Figure(12.31, ".1f", "mm/day"), bound=Figure(10, "g", "mm/day"))
    >>> text, text.id, text.values["station"]
    ('G1 moves 12.3 mm/day, over 10 mm/day', 'example.over', 'G1')
    """

    __slots__ = ("_english", "_places", "_plain", "english", "id")

    def __init__(self, template_id: str, english: str) -> None:
        """Register a template.

        Args:
            template_id: A short dotted name that no other template has.
            english: The text, with its places in braces.

        Raises:
            ValueError: Another template has this id.
        """
        if ENGLISH.setdefault(template_id, english) != english:
            raise ValueError(f"two templates are called {template_id!r}")
        self.id = template_id
        self.english = english
        self._places = PLACE.findall(english)
        self._english = PLACE.sub("%s", english.replace("%", "%%"))
        self._plain = None if self._places else Message(english, template_id, MappingProxyType({}))

    def __call__(self, **values: Value) -> Message:
        """Return the message with these values, one for each place."""
        if self._plain is not None and not values:
            return self._plain
        texts = tuple(to_english(values[place]) for place in self._places)
        return Message(self._english % texts, self.id, values)


LABELLED_TEXT: Final = Template("text.of", "{name}: {text}")
LISTED: Final = Template("text.list", "{parts}")
SENTENCE: Final = Template("text.sentence", "{text}.")


def join(parts: Iterable[Value], separator: str = "; ") -> Message:
    """Return several texts as one message. A single message is returned as it is.

    >>> join(["one", "two"])
    'one; two'
    """
    texts = tuple(parts)
    if len(texts) == 1 and isinstance(texts[0], Message):
        return texts[0]
    return LISTED(parts=MessageList(texts, separator))


def list_parts(text: str) -> tuple[Value, ...]:
    """Return the texts that `join` combined. Any other text is returned alone.

    >>> list_parts(join(["one", "two"])), list_parts("one; two")
    (('one', 'two'), ('one; two',))
    """
    parts = text.values["parts"] if isinstance(text, Message) and text.id == LISTED.id else None
    return parts.items if isinstance(parts, MessageList) else (text,)


# ---- stored messages --------------------------------------------------------------------------------------------
def _value_to_json(value: Value) -> Any:
    return value.to_json() if isinstance(value, Message | Typed) else value


def values_to_json(values: Mapping[str, Value]) -> dict[str, Any]:
    """Return the values of a message as plain data, in the order of their names."""
    return {name: _value_to_json(values[name]) for name in sorted(values)}


_KINDS: Final[tuple[tuple[str, Callable[[Mapping[str, Any]], Value]], ...]] = (
    ("figure", lambda v: Figure(v["figure"], v["form"], v.get("unit", ""))),
    ("at_s", lambda v: Timestamp(v["at_s"], v["form"])),
    ("seconds", lambda v: Duration(v["seconds"], v["form"])),
    ("term", lambda v: Term(v["term"])),
    ("names", lambda v: NameList(tuple(v["names"]), v["more"], v["conjunction"])),
    ("items", lambda v: MessageList(tuple(_read_value(i) for i in v["items"]), v["separator"])),
    ("id", lambda v: read_message(v["text"], v["id"], v["values"])),
)


def _read_value(value: Any) -> Value:
    if not isinstance(value, dict):
        return value  # type: ignore[no-any-return]
    return next(read(value) for key, read in _KINDS if key in value)


def read_message(text: str, template_id: str | None, values: Mapping[str, Any] | None) -> str:
    """Return a stored message. A text without an id was written by a person and is returned as it is.

    >>> sent = Template("example.back", "{text}: {rate}")(text=LISTED(parts=MessageList(("a",))), rate=Figure(1.5))
    >>> stored = read_message(str(sent), sent.id, values_to_json(sent.values))
    >>> stored == sent, stored.values == sent.values
    (True, True)
    """
    if template_id is None:
        return text
    return Message(text, template_id, {name: _read_value(value) for name, value in (values or {}).items()})


def messages_to_plain(value: Any) -> Any:
    """Return plain data in which each message `NAME` is three values: its text, `NAME_id` and `NAME_values`.

    >>> messages_to_plain({"reason": Template("example.plain", "{n} left")(n=3), "level": 1, "by": "Eva"})
    {'reason': '3 left', 'reason_id': 'example.plain', 'reason_values': {'n': 3}, 'level': 1, 'by': 'Eva'}
    """
    if isinstance(value, Mapping):
        plain: dict[str, Any] = {}
        for key, item in value.items():
            if isinstance(item, Message):
                plain |= message_columns(key, item)
            else:
                plain[key] = item if type(item) in _FLAT else messages_to_plain(item)
        return plain
    if isinstance(value, list | tuple):
        return value if _FLAT.issuperset(map(type, value)) else [messages_to_plain(item) for item in value]
    return value.to_json() if isinstance(value, Message) else value


def error_text(error: BaseException) -> str:
    """Return the text of an error. It is a message if the error was raised with one, because `str` would lose its id.

    >>> error_text(ValueError(join(["one", "two"]))).id, error_text(OSError(2, "gone"))
    ('text.list', '[Errno 2] gone')
    """
    argument = error.args[0] if error.args else None
    return argument if isinstance(argument, Message) else str(error)


def message_columns(name: str, text: str | None) -> dict[str, Any]:
    """Return a text as the three columns of a row. Id and values of a text that a person wrote are None.

    >>> message_columns("reason", "by hand")
    {'reason': 'by hand', 'reason_id': None, 'reason_values': None}
    """
    message = text if isinstance(text, Message) else None
    return {
        name: None if text is None else str(text),
        f"{name}{_ID}": None if message is None else message.id,
        f"{name}{_VALUES}": None if message is None else values_to_json(message.values),
    }


def read_columns(row: Any, name: str) -> Any:
    """Return the text of three columns of a row: a message, a text that a person wrote, or None."""
    return read_message(getattr(row, name), getattr(row, f"{name}{_ID}"), getattr(row, f"{name}{_VALUES}"))


# Types that contain no messages.
_FLAT: Final = frozenset({str, int, float, bool, type(None)})


@lru_cache(maxsize=1024)
def _find_messages(names: tuple[Any, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of messages, and the names of their ids and values.

    Cached, because all rows of a view have the same names.
    """
    candidates = (name[: -len(_VALUES)] for name in names if isinstance(name, str) and name.endswith(_VALUES))
    messages = frozenset(name for name in candidates if name in names and f"{name}{_ID}" in names)
    return messages, frozenset(f"{name}{suffix}" for name in messages for suffix in (_ID, _VALUES))


def plain_to_messages(value: Any) -> Any:
    """Return what `messages_to_plain` wrote, with its messages.

    >>> row = {"reason": "3 left", "reason_id": "example.plain", "reason_values": {"n": 3}}
    >>> plain_to_messages(row)["reason"].values
    {'n': 3}
    """
    if type(value) is dict or isinstance(value, Mapping):
        if value.keys() == {"text", "id", "values"}:
            return read_message(value["text"], value["id"], value["values"])
        messages, ids_and_values = _find_messages(tuple(value))
        decoded = {}
        for key, item in value.items():
            if key in messages:
                stored = value[f"{key}{_VALUES}"]
                # Views return JSON as text.
                values = json.loads(stored) if isinstance(stored, str) else stored
                decoded[key] = None if item is None else read_message(item, value[f"{key}{_ID}"], values)
            elif key not in ids_and_values:
                decoded[key] = item if type(item) in _FLAT else plain_to_messages(item)
        return decoded
    if isinstance(value, list) and not _FLAT.issuperset(map(type, value)):
        return [plain_to_messages(item) for item in value]
    return value


def is_same_text(first: str, second: str) -> bool:
    """Return whether two texts are equal: two messages by id and values, other texts by their characters."""
    if isinstance(first, Message) and isinstance(second, Message):
        return first.id == second.id and values_to_json(first.values) == values_to_json(second.values)
    return first == second


# ---- durations -------------------------------------------------------------------------------------------------
def format_about(seconds: float) -> str:
    """Return a duration for people: with two units at most, and never 0 for a positive duration.

    >>> format_about(0.4), format_about(22), format_about(3700), format_about(93600), format_about(864000)
    ('less than 1 s', '22 s', '1 h 2 min', '1 d 2 h', '10 d')
    >>> format_about(59.7), format_about(3599.0)
    ('1 min', '1 h')
    """
    whole = round(seconds)
    minutes, hours = round(whole / 60), round(whole / 3600)
    if whole < 60:
        return f"{whole} s" if whole >= 1 else "less than 1 s"
    if minutes < 60:
        return f"{minutes} min"
    if hours >= 240:
        return f"{round(whole / 86400)} d"
    in_days = minutes >= 24 * 60
    (big, small), units = (divmod(hours, 24), ("d", "h")) if in_days else (divmod(minutes, 60), ("h", "min"))
    return f"{big} {units[0]}" + (f" {small} {units[1]}" if small else "")


@lru_cache(maxsize=256)  # Every evaluation formats the same few windows.
def format_duration(seconds: float) -> str:
    """Return a duration in its largest whole unit. A measured duration is rounded to what a reader can use.

    >>> format_duration(900), format_duration(604800), format_duration(90), format_duration(0.5)
    ('15m', '7d', '90s', '0.5s')
    >>> format_duration(4.02300000190735), format_duration(599.98)
    ('4.02s', '10m')
    """
    if seconds >= 100.0:
        seconds = float(round(seconds))
    for unit, size in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s" if seconds >= 100.0 else f"{seconds:.3g}s"


def format_for_reading(seconds: float) -> str:
    """Return a duration as people read it: as `format_duration` does, or in days, hours and minutes.

    Stored texts contain the form of `format_duration`, so that recomputed decisions stay equal.

    >>> [format_for_reading(s) for s in (900, 129600, 101, 88521, 8460000)]
    ['15m', '36h', '101s', '1 d 0 h 35 min', '97 d 22 h']
    """
    compact = format_duration(seconds)
    if seconds < _SHORT_S or float(compact.rstrip("dhms")) < _LONG_NUMBER:
        return compact
    minutes = round(seconds / 60.0)
    parts = [(minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min")]
    while parts[0][0] == 0:
        del parts[0]
    while parts[-1][0] == 0:
        del parts[-1]
    return " ".join(f"{number} {unit}" for number, unit in parts)


def format_span(seconds: float) -> str:
    """Return the length of a window as the sentences on movement contain it.

    >>> format_span(115200.0), format_span(604800.0), format_span(90.0)
    ('32 h', '7 d', '2 min')
    """
    if seconds < 360.0:
        return format_about(seconds)
    return f"{seconds / 86400:.3g} d" if seconds >= 172800 else f"{seconds / 3600:.3g} h"

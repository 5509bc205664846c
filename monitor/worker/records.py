"""What crosses to a worker and back: a frozen record each way. What comes back is read field by field, or refused.

Not pydantic: it collects all that is wrong to the end. An answer of 4 MB that a worker made up became 860 MB
of errors in the core. This reader stops at the first.
"""

import functools
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from detection.reasons import Reason as DetectionReason
from detection.reasons import reasons_from_json as read_detection_reason
from forecasting.reasons import Reason as ForecastingReason
from forecasting.reasons import reason_from_json as read_forecasting_reason
from monitor.text.message import Figure, Message, MessageList, Value, read_message, to_english
from monitor.text.reasons import SupportsReason, convert_reason

Request = TypeVar("Request")
Answered = TypeVar("Answered")
Record = TypeVar("Record")
Read = Callable[[Any], Any]
Describe = Callable[[SupportsReason], str]
SHOWN = 60  # characters of a key of somebody else
REASONS: Final[Mapping[type, Callable[[Any], SupportsReason]]] = {
    DetectionReason: read_detection_reason,
    ForecastingReason: read_forecasting_reason,
}
"""The class of reasons of each library, and how one is read."""
FIGURE: Final = re.compile(r"[+]?,?(\.\d{1,2})?[defg%]?")  # how a number of a message may be spelled


@dataclass(frozen=True, slots=True)
class WorkerTask(Generic[Request, Answered]):
    """A function that runs in a worker, with the records that cross."""

    # `"module:function"`. A name and not the function, because only the worker process may import the module, and the
    # name is what is sent to it.
    function: str
    asks: type[Request]  # what it takes, a frozen dataclass; arrays may be in it
    # what it gives back, a frozen dataclass of numbers, texts, tuples, dicts and other such records
    answers: type[Answered]
    # Returns the message for a reason of the result. A result with a reason that it cannot describe is refused.
    describe_reason: Describe = convert_reason


class RecordError(ValueError):
    """What does not fit, without the place where it stands; `place` is found on the way out."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why, self.place = why, ""

    def inside(self, step: str) -> "RecordError":
        """The same, one level further out."""
        self.place = f"{step}{self.place}"
        return self

    def __str__(self) -> str:
        return f"{self.place.lstrip('.') or 'the answer'}: {self.why}"


def read_record(kind: type[Record], plain: Any, describe: Describe = convert_reason) -> Record:
    """Read plain values as a record: every key known, none missing, every value of its type.

    `describe` must return a message for every reason in the record.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Row:
    ...     station: str
    ...     values: tuple[float, ...] = ()
    >>> read_record(Row, {"station": "G1", "values": [1, 2.5]})
    Row(station='G1', values=(1.0, 2.5))
    >>> read_record(Row, {"station": "G1", "values": [1, "2"]})
    Traceback (most recent call last):
    monitor.worker.records.RecordError: values[1]: expected a number, got str

    Raises:
        RecordError: the first place that does not fit.
    """
    found: Record = _reader(kind, describe)(plain)  # type: ignore[arg-type]  # mypy takes a class for not hashable
    return found


def record_to_plain(one: Any) -> Any:
    """A record or an instant as plain values, one level deep: the `default` of `json.dumps`.

    A message crosses with its id and values, alone, among texts and in pairs of texts.
    """
    if isinstance(one, datetime):
        return one.isoformat()
    if is_dataclass(one) and not isinstance(one, type):
        return {field.name: _messages_to_plain(getattr(one, field.name)) for field in fields(one)}
    raise TypeError(f"{type(one).__name__} is no plain data")


def _messages_to_plain(value: Any) -> Any:
    if isinstance(value, Message):
        return value.to_json()
    if isinstance(value, list | tuple) and value and isinstance(value[0], str | tuple):
        return [_messages_to_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: one.to_json() if isinstance(one, Message) else one for key, one in value.items()}
    return value


@functools.cache
def _reader(kind: Any, describe: Describe) -> Read:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return lambda value: value
    if origin in {Union, types.UnionType}:
        kinds = [part for part in parts if part is not types.NoneType]
        return _union_reader(kinds, describe, optional=types.NoneType in parts)
    if kind in REASONS:
        return functools.partial(_read_reason, kind, describe)
    if origin is tuple and parts[-1] is not Ellipsis:
        return _pair_reader(tuple(_reader(part, describe) for part in parts))
    if origin in {tuple, list, Sequence}:
        return _list_reader(_reader(parts[0], describe), list if origin is list else tuple)
    if origin in {dict, Mapping}:
        return _dict_reader(_reader(parts[1], describe))
    if is_dataclass(kind) or is_typeddict(kind):
        return _record_reader(kind, describe)
    if kind is datetime:
        return _read_instant
    if origin is Literal:
        return functools.partial(_read_choice, parts)
    return read_text if kind is str else _plain_reader(kind)


def _union_reader(kinds: Sequence[Any], describe: Describe, *, optional: bool) -> Read:
    """Read a value of one kind, or a text or a reason; with `optional` also None."""
    reasons = [kind for kind in kinds if kind in REASONS]
    others = [kind for kind in kinds if kind not in REASONS]
    if len(reasons) + len(others) > 1 and (len(reasons), others) != (1, [str]):
        raise TypeError(f"a record cannot hold a value of several kinds: {kinds}")
    read_other = _reader((others or reasons)[0], describe)
    read_reason = _reader(reasons[0], describe) if reasons else read_other

    def read(value: Any) -> Any:
        if optional and value is None:
            return None
        is_reason = isinstance(value, dict) and "code" in value  # a message is an object with an id
        return (read_reason if is_reason else read_other)(value)

    return read


def _read_reason(kind: type, describe: Describe, value: Any) -> SupportsReason:
    """Read a reason of a library that can be described; `RecordError` for anything else."""
    try:
        if value.keys() != {"code", "values"}:
            raise RecordError("expected a reason")
        reason = REASONS[kind](value)
        describe(reason)
    except Exception:  # values of somebody else can fail in any way
        raise RecordError("expected a reason") from None
    return reason


def _read_choice(choices: tuple[Any, ...], value: Any) -> Any:
    """Read one of a few values; `RecordError` for anything else."""
    if value not in choices:
        raise RecordError(f"expected one of {', '.join(map(str, choices))}")
    return value


def _plain_reader(kind: type) -> Read:
    words = {float: "a number", int: "a whole number", bool: "true or false", dict: "an object"}
    wanted = words[kind]

    def read(value: Any) -> Any:
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        raise RecordError(f"expected {wanted}, got {type(value).__name__}")

    return read


def read_text(value: Any) -> str:
    """A text, or a message whose values can be shown as they are; `RecordError` for anything else."""
    if type(value) is str:
        return value
    if not isinstance(value, dict):
        raise RecordError(f"expected a text, got {type(value).__name__}")
    try:
        text, template_id, values = value["text"], value["id"], value["values"]
        if type(text) is not str or type(template_id) is not str or len(value) != len(("text", "id", "values")):
            raise RecordError("expected a text")
        found = read_message(text, template_id, values)
        _check_value(found)
    except Exception:  # values of somebody else can fail in any way
        raise RecordError("expected a text or a message") from None
    return found


def _check_value(value: Value) -> None:
    """Show every value of a message once, so that none fails, or fills the memory, before a reader."""
    if isinstance(value, Figure) and FIGURE.fullmatch(value.form) is None:
        raise RecordError("expected the form of a number")
    if isinstance(value, Message):
        parts: tuple[Value, ...] = tuple(value.values.values())
    else:
        parts = value.items if isinstance(value, MessageList) else ()
    for one in parts:
        _check_value(one)
    to_english(value)


def _read_instant(value: Any) -> datetime:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise RecordError("expected an instant") from None
    if found.tzinfo is None:
        raise RecordError("expected an instant with its offset from UTC")
    return found


def _list_reader(read_one: Read, make: Callable[[list[Any]], Any]) -> Read:
    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise RecordError(f"expected a list, got {type(value).__name__}")
        out: list[Any] = []
        try:
            for one in value:
                out.append(read_one(one))  # noqa: PERF401  its length says which one does not fit
        except RecordError as error:
            raise error.inside(f"[{len(out)}]") from None
        return make(out)

    return read


def _pair_reader(readers: tuple[Read, ...]) -> Read:
    def read(value: Any) -> Any:
        if not isinstance(value, list) or len(value) != len(readers):
            raise RecordError(f"expected a list of {len(readers)}")
        return tuple(read_one(one) for read_one, one in zip(readers, value, strict=True))

    return read


def _dict_reader(read_one: Read) -> Read:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise RecordError(f"expected an object, got {type(value).__name__}")
        out = {}
        for key, one in value.items():
            try:
                out[key] = read_one(one)
            except RecordError as error:
                raise error.inside(f"[{_show(key)}]") from None
        return out

    return read


def _record_reader(kind: Any, describe: Describe) -> Read:
    hints = get_type_hints(kind)
    if is_typeddict(kind):
        readers = {name: _reader(hint, describe) for name, hint in hints.items()}
        needed = sorted(kind.__required_keys__)
    else:
        readers = {field.name: _reader(hints[field.name], describe) for field in fields(kind)}
        needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise RecordError(f"expected an object, got {type(value).__name__}")
        if missing := next((name for name in needed if name not in value), None):
            raise RecordError("is missing").inside(f".{missing}")
        given = {}
        for key, one in value.items():
            if key not in readers:
                raise RecordError(f"unknown key {_show(key)}")
            try:
                given[key] = readers[key](one)
            except RecordError as error:
                raise error.inside(f".{key}") from None
        return kind(**given)

    return read


def _show(key: str) -> str:
    """A key as one short piece of a line.

    >>> _show("b" * 100) == repr("b" * 60)
    True
    """
    return repr(key[:SHOWN])

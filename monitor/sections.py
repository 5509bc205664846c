"""The words every configuration file shares: frozen sections, durations, and error lines that say what was expected."""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self, TypeVar, get_args, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails

from monitor.errors import ConfigError
from monitor.text.catalogue import read_language
from monitor.text.instants import parse_duration_s
from monitor.text.local_time import read_zone

_Record = TypeVar("_Record")
MOST_OCTETS: Final = 16 << 20  # of one file of settings: a device or a file of readings has no end
# the library takes the square of their number for a dotted key: minutes for one of 40 KB
_LONG_KEY: Final = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}""", re.ASCII)


def _read_duration(value: Any) -> float:
    if isinstance(value, str):
        return _positive(parse_duration_s(value))
    raise ValueError(f"expected a duration such as '15m', '6h' or '7d', got {value!r}")


def _read_horizon(value: Any) -> float:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return _positive(parse_duration_s(value))
    raise ValueError(f"expected a horizon such as '7d' (a bare number means days), got {value!r}")


def _read_retention(value: Any) -> float | None:
    return None if value == "forever" else _read_duration(value)


def _read_or_never(value: Any) -> float | None:
    return None if value == "never" else _read_duration(value)


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("expected a duration longer than nothing")
    return seconds


def split_names(value: Any) -> Any:
    """What an environment gives as one text: names between commas."""
    return [one.strip() for one in value.split(",") if one.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(split_names)]
Zone = Annotated[str, BeforeValidator(lambda value: read_zone(str(value)))]
Language = Annotated[str, BeforeValidator(lambda value: read_language(str(value)))]
Duration = Annotated[float, BeforeValidator(_read_duration)]
Horizon = Annotated[float, BeforeValidator(_read_horizon)]
Retention = Annotated[float | None, BeforeValidator(_read_retention)]
NeverOrDuration = Annotated[float | None, BeforeValidator(_read_or_never)]


class Section(BaseModel):
    """A table of a configuration file: frozen, and a key it does not know is refused with the nearest one it does."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    # Keys that earlier versions had, with what to do instead. An error message names the remedy.
    REMOVED_KEYS: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_unknown_keys(cls, value: Any, read: ModelWrapValidatorHandler[Self]) -> Self:
        known = cls.written_keys()
        unknown = [str(key) for key in value if key not in known] if isinstance(value, Mapping) else []
        if not unknown:
            made = read(value)
            given = value if isinstance(value, Mapping) else {}
            for name, field in cls.model_fields.items():
                key = field.alias or name
                if isinstance(given.get(key), bool) and type(getattr(made, name)) in {int, float}:
                    raise ValueError(f"{key}: expected a number, got {str(given[key]).lower()}")
            return made
        faults = [
            InitErrorDetails(
                type="value_error", loc=(), input=key, ctx={"error": ValueError(cls.describe_unknown_key(key))}
            )
            for key in unknown
        ]
        try:  # what else is wrong with the table is said at once
            read({key: item for key, item in value.items() if key in known})
        except ValidationError as error:
            faults += [
                InitErrorDetails(type=item["type"], loc=item["loc"], input=item["input"], ctx=item.get("ctx", {}))
                for item in error.errors(include_url=False)
            ]
        raise ValidationError.from_exception_data(cls.__name__, faults)

    @classmethod
    def describe_unknown_key(cls, key: str) -> str:
        """Say what to do about a key that was removed, or name the nearest key of this table."""
        if key in cls.REMOVED_KEYS:
            return f"key {key!r} was removed: {cls.REMOVED_KEYS[key]}"
        return describe_unknown(key, cls.written_keys())

    @classmethod
    def written_keys(cls) -> list[str]:
        """Names of the keys as they are written in the file."""
        return [field.alias or name for name, field in cls.model_fields.items()]


class Key:
    """A key of a table, declared at the field of the record that is read from it: `Annotated[float, Key("...")]`."""

    def __init__(self, meaning: str, written: Any = None, default: Any = MISSING, **more: Any) -> None:
        """What it means; where it is written in another type than it is kept, that type and its default.

        More are bounds and the like of a pydantic field. A field in seconds (`every_s`) is written as a duration
        (`every`).
        """
        self.meaning, self.written, self.default, self.more = meaning, written, default, more


def derive_table(record: type, removed_keys: Mapping[str, str] | None = None, /, **other: Any) -> Any:
    """Return the table of a file that a record is read from.

    Args:
        record: Record whose fields with a `Key` become keys of the table.
        removed_keys: `REMOVED_KEYS` of the table.
        **other: Further keys, as pydantic takes them.
    """
    found: dict[str, Any] = {}
    hints = get_type_hints(record, include_extras=True)
    for field in fields(record):
        plain, *metadata = get_args(hints[field.name]) if get_origin(hints[field.name]) is Annotated else (None,)
        key = next((one for one in metadata if isinstance(one, Key)), None)
        if key is None:
            continue
        name = field.name.removesuffix("_s")
        written = key.written or plain
        if name != field.name and key.written is None:
            written = Duration if plain is float else Duration | None
        default = field.default if key.default is MISSING else key.default
        rules = Field(description=key.meaning, **{"alias": name} | key.more)
        # where a type has bounds of its own, such as a pattern, they hold before what checks the whole
        metadata = [one for one in metadata if one is not key]
        found[field.name] = (Annotated[written, rules, *metadata], ... if default is MISSING else default)
    table = create_model(f"{record.__name__}Table", __base__=Section, __doc__=record.__doc__, **found, **other)
    table.REMOVED_KEYS = removed_keys or {}
    return table


def make_record(record: type[_Record], table: BaseModel, **more: Any) -> _Record:
    """The record of a table: what it says by the same names, and what was made of the rest."""
    known = type(table).model_fields
    names = [field.name for field in fields(record) if field.name in known and field.name not in more]  # type: ignore[arg-type]
    return record(**{name: getattr(table, name) for name in names}, **more)


class Faults:
    """Gathers what is wrong with one file, so that a person mends it in one go."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Run a part of the reading; what it raises is kept, and the reading goes on behind it."""
        try:
            yield
        except ConfigError as error:
            self.lines += error.faults

    def read_each(self, read: Callable[[Any, str], _Record], rows: Iterable[Any], where: str) -> tuple[_Record, ...]:
        """Read rows of which each is called `where[number]`; those that are wrong are left out."""
        found = []
        for index, row in enumerate(rows):
            with self.gathered():
                found.append(read(row, f"{where}[{index}]"))
        return tuple(found)

    def raise_any(self) -> None:
        """Raise all that was gathered as one ConfigError."""
        if self.lines:
            raise join_faults(self.lines)


def join_faults(lines: Sequence[str]) -> ConfigError:
    """One error for many faults: its text names the first three."""
    more = f" (and {len(lines) - 3} more)" if len(lines) > 3 else ""
    return ConfigError("; ".join(lines[:3]) + more, tuple(lines))


def describe_unknown(key: str, known: Iterable[str]) -> str:
    """Say which key is unknown, the nearest known one, and all of them.

    >>> describe_unknown("prot", ["host", "port"])
    "unknown key 'prot'; did you mean 'port'? expected one of: host, port"
    """
    names = list(known)
    near = difflib.get_close_matches(key, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"unknown key {key!r}{hint} expected one of: {', '.join(names)}"


def read_toml(text: str, name: str) -> dict[str, Any]:
    """Parse TOML; a syntax error becomes one line with the file, line and column."""
    if _LONG_KEY.search(text):
        raise ConfigError(f"{name}: not valid TOML: a dotted key of more than 32 parts")
    try:
        return tomllib.loads(text)
    except ValueError as error:  # of the library, or a number with more digits than Python reads
        raise ConfigError(f"{name}: not valid TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{name}: not valid TOML: nested too deep") from None


def read_text(path: Path) -> str:
    """Read a configuration file; what stands in the way becomes one line."""
    # one of a folder would be waited for without end; what a shell hands over is /dev/fd/N
    if path.suffix == ".toml" and (path.is_fifo() or path.is_char_device()):
        raise ConfigError(f"{path}: cannot be read: no ordinary file")
    try:
        with path.open("rb") as file:
            content = file.read(MOST_OCTETS + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(content) > MOST_OCTETS:
        raise ConfigError(f"{path}: larger than {MOST_OCTETS >> 20} MiB: is it the right file?")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None


def explain(error: ValidationError, name: str, prefix: str = "", names: Mapping[str, str] | None = None) -> ConfigError:
    """Turn a validation error into one line: file, key, what was expected (and the next ones, if there are more).

    Args:
        prefix: where in the file the validated table lies, e.g. ``criterion[0]``.
        names: key -> where it was set instead of the file (an environment variable).
    """
    lines = []
    found = error.errors(include_url=False)
    for item in found:
        if item["type"] == "too_short" and any(_lies_within(one["loc"], item["loc"]) for one in found):
            continue  # pydantic counts the entries that hold: those that do not are named themselves
        text = prefix
        for part in item["loc"]:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
        key, message = text, _format_fault(item)
        if item["type"] not in {"missing", "value_error"} and isinstance(item["input"], str | int | float):
            message += f", got {item['input']!r}"
        where = (names or {}).get(key, name)
        lines.append(f"{where}: {key}: {message}" if key else f"{where}: {message}")
    return join_faults(lines)


def _format_fault(item: ErrorDetails) -> str:
    if item["type"] == "missing":
        return "this key is required"
    if item["type"] in {"model_type", "dict_type"}:
        return "expected a table"
    if item["type"] == "too_short":
        return f"expected {item['ctx']['min_length']} entries or more, got {item['ctx']['actual_length']}"
    if item["type"] == "tuple_type":
        heads = ".".join(part for part in item["loc"] if isinstance(part, str))
        return (
            f"expected a list of tables, each below [[{heads}]]"
            if isinstance(item["input"], Mapping)
            else "expected a list"
        )
    message = item["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    return message.replace("String should match pattern", "expected text that matches")


def _lies_within(loc: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(loc) > len(outer) and loc[: len(outer)] == outer


def find_tables(model: type[BaseModel], place: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """The tables of a file in their order, with their heads (`[a]`, `[[a.b]]`); those inside of others behind them."""
    for name, field in model.model_fields.items():
        if (table := find_table(field.annotation)) is not None:
            path = f"{place}{field.alias or name}"
            yield f"[[{path}]]" if get_origin(field.annotation) is tuple else f"[{path}]", table
            yield from find_tables(table, f"{path}.")


def find_table(annotation: Any) -> type[BaseModel] | None:
    """The table that a key holds, alone or many of it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := find_table(one)) is not None), None)

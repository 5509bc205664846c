"""Reason codes: why a result is as it is, for a caller to turn into text.

The library has no sentence for a code. `monitor/text/forecasting.py` has one for each.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

Value: TypeAlias = "str | int | float | bool | Reason | tuple[Value, ...]"

# Codes of reasons that contain other reasons.
OF: Final = "text.of"  # a name and the reason that concerns it
LIST: Final = "text.list"  # several reasons, the most important one first


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a result is as it is: a code and the values that a text about it needs.

    >>> print(Reason("movement.looks", {"stage": "progressive", "n": 2, "needed": 3}))
    movement.looks: stage=progressive, n=2, needed=3
    """

    code: str
    values: Mapping[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the code and the values in one line, for developers and logs."""
        if not self.values:
            return self.code
        return f"{self.code}: {', '.join(f'{name}={_show(value)}' for name, value in self.values.items())}"

    def __hash__(self) -> int:
        return hash((self.code, tuple(sorted(self.values))))


def _show(value: Value) -> str:
    if isinstance(value, Reason):
        return f"({value})"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_show, value))}]"
    return str(value)


def explain_file(path: Path, reason: Reason) -> Reason:
    """Put the path of a file before the reason that concerns it.

    >>> print(explain_file(Path("a.xlsx"), Reason("workbook.no_result", {"cells": "B2"})))
    text.of: name=a.xlsx, text=(workbook.no_result: cells=B2)
    """
    return Reason(OF, {"name": str(path), "text": reason})


def join_reasons(reasons: Iterable[Reason]) -> Reason:
    """Combine reasons into one, the most important one first; a single reason is returned unchanged.

    >>> print(join_reasons([Reason("forecast.short"), Reason("forecast.moved")]))
    text.list: parts=[(forecast.short), (forecast.moved)]
    """
    parts = tuple(reasons)
    if len(parts) == 1:
        return parts[0]
    return Reason(LIST, {"parts": parts})


def split_reason(reason: Reason) -> tuple[Reason, ...]:
    """Return the reasons that `join_reasons` combined; any other reason is returned alone.

    >>> [str(part) for part in split_reason(join_reasons([Reason("forecast.short"), Reason("forecast.moved")]))]
    ['forecast.short', 'forecast.moved']
    """
    parts = reason.values["parts"] if reason.code == LIST else (reason,)
    assert isinstance(parts, tuple)
    return tuple(part for part in parts if isinstance(part, Reason))


def reason_to_json(reason: Reason) -> dict[str, Any]:
    """Return a reason as plain data, for a file."""
    return {"code": reason.code, "values": {name: _value_to_json(value) for name, value in reason.values.items()}}


def _value_to_json(value: Value) -> Any:
    if isinstance(value, Reason):
        return reason_to_json(value)
    return [_value_to_json(part) for part in value] if isinstance(value, tuple) else value


def reason_from_json(plain: Mapping[str, Any]) -> Reason:
    """Read what `reason_to_json` returned.

    >>> reason = join_reasons([Reason("forecast.short"), Reason("forecast.held_above", {"bound": (2.5, "mm")})])
    >>> reason_from_json(reason_to_json(reason)) == reason
    True
    """
    return Reason(str(plain["code"]), {name: _value_from_json(value) for name, value in plain["values"].items()})


def _value_from_json(value: Any) -> Value:
    if isinstance(value, Mapping):
        return reason_from_json(value)
    return tuple(_value_from_json(part) for part in value) if isinstance(value, list) else value

"""Reason codes: why a result is as it is, for a caller to turn into text.

This library contains no sentences with a code. `monitor/text/detection.py` has one for each.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

Value: TypeAlias = "str | int | float | bool | Reason | tuple[Value, ...]"

# Codes of reasons that contain other reasons.
OF: Final = "text.of"
LIST: Final = "text.list"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a result is as it is: a code and the values that a text about it needs.

    >>> print(Reason("caution.flat", {"slope": 3.2}))
    caution.flat: slope=3.2
    """

    code: str
    values: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))

    def __str__(self) -> str:
        """Return the code and the values in one line, for developers and logs."""
        if not self.values:
            return self.code
        return f"{self.code}: {', '.join(f'{name}={_show(value)}' for name, value in self.values.items())}"

    def __hash__(self) -> int:
        return hash((self.code, tuple(sorted(self.values))))

    def __reduce__(self) -> tuple[type["Reason"], tuple[str, dict[str, Value]]]:
        return Reason, (self.code, dict(self.values))


Explanation: TypeAlias = str | Reason
"""Why a result is as it is: a reason, or a line of English where no code exists yet."""
Describe: TypeAlias = Callable[[Explanation], str]
"""Turns an explanation into text for a file that people read; `str` where nobody passes another function."""


class ReasonedError(Exception):
    """Root of the errors of this library; constructed from an explanation."""

    @property
    def explanation(self) -> Explanation:
        """The explanation that the error was constructed from."""
        given = self.args[0] if self.args else ""
        return given if isinstance(given, str | Reason) else str(given)

    @property
    def reason(self) -> Reason | None:
        """The reason that the error was constructed from; None if that was a line of English."""
        explanation = self.explanation
        return explanation if isinstance(explanation, Reason) else None


def _show(value: Value) -> str:
    if isinstance(value, Reason):
        return f"({value})"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_show, value))}]"
    return str(value)


def explain_error(error: BaseException) -> Explanation:
    """Return the explanation of an error, of any class.

    >>> explain_error(ReasonedError(Reason("tiles.empty"))).code, explain_error(OSError(2, "gone"))
    ('tiles.empty', '[Errno 2] gone')
    """
    return error.explanation if isinstance(error, ReasonedError) else str(error)


def explain_file(name: object, explanation: Explanation) -> Explanation:
    """Put the name of a file before an explanation.

    >>> explain_file("a.tif", "no such file"), str(explain_file("a.tif", Reason("tiles.empty")))
    ('a.tif: no such file', 'text.of: name=a.tif, text=(tiles.empty)')
    """
    if isinstance(explanation, Reason):
        return Reason(OF, {"name": str(name), "text": explanation})
    return f"{name}: {explanation}"


def join_explanations(explanations: Iterable[Explanation]) -> Reason:
    """Combine explanations into one reason; a single reason is returned unchanged.

    >>> print(join_explanations([Reason("caution.cloud"), "no slope"]))
    text.list: parts=[(caution.cloud), no slope]
    """
    parts = tuple(explanations)
    if len(parts) == 1 and isinstance(parts[0], Reason):
        return parts[0]
    return Reason(LIST, {"parts": parts})


def split_explanation(explanation: Explanation) -> tuple[Explanation, ...]:
    """Return the explanations that `join_explanations` combined; one that was not combined is returned alone.

    >>> split_explanation(join_explanations(["no slope", "no season"])), split_explanation("no slope")
    (('no slope', 'no season'), ('no slope',))
    """
    parts = explanation.values["parts"] if isinstance(explanation, Reason) and explanation.code == LIST else None
    return parts if isinstance(parts, tuple) else (explanation,)  # type: ignore[return-value]


# ---- JSON ------------------------------------------------------------------------------------------------------
def reasons_to_json(value: Any, describe: Describe | None = None) -> Any:
    """Replace every reason in plain data by an object with its code and values.

    Args:
        describe: adds the text of each outermost reason, for files that people read.

    >>> reasons_to_json({"doubts": [Reason("caution.cloud")], "by": "Eva"})
    {'doubts': [{'code': 'caution.cloud', 'values': {}}], 'by': 'Eva'}
    """
    if isinstance(value, Reason):
        values = {name: reasons_to_json(one) for name, one in value.values.items()}
        found = {"code": value.code, "values": values}
        return found if describe is None else {"text": describe(value), **found}
    if isinstance(value, Mapping):
        return {key: reasons_to_json(one, describe) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [reasons_to_json(one, describe) for one in value]
    return value


def explanation_to_json(explanation: Explanation, describe: Describe) -> dict[str, Any]:
    """Return an explanation as an object with its code, text and values; the code of a line of English is None.

    >>> explanation_to_json(Reason("caution.flat", {"slope": 3.2}), lambda _: "flat ground")
    {'code': 'caution.flat', 'text': 'flat ground', 'values': {'slope': 3.2}}
    >>> explanation_to_json("no season", str)
    {'code': None, 'text': 'no season', 'values': {}}
    """
    text = str(describe(explanation))
    if not isinstance(explanation, Reason):
        return {"code": None, "text": text, "values": {}}
    return {"code": explanation.code, "text": text, "values": reasons_to_json(explanation.values)}


def reasons_from_json(value: Any) -> Any:
    """Read what `reasons_to_json` and `explanation_to_json` returned.

    >>> reason = join_explanations([Reason("caution.flat", {"slope": 3.2}), "no season"])
    >>> reasons_from_json(reasons_to_json({"caution": reason}))["caution"] == reason
    True
    """
    if isinstance(value, Mapping):
        if value.keys() - {"text"} == {"code", "values"}:
            if value["code"] is None:
                return value["text"]
            values = {name: _to_tuple(reasons_from_json(one)) for name, one in value["values"].items()}
            return Reason(value["code"], values)
        return {key: reasons_from_json(one) for key, one in value.items()}
    if isinstance(value, list):
        return [reasons_from_json(one) for one in value]
    return value


def _to_tuple(value: Any) -> Value:
    return tuple(map(_to_tuple, value)) if isinstance(value, list) else value

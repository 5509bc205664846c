"""Questions about a file that only its owner can answer, and the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from monitor.api.errors import ConfigError
from monitor.api.sites import QUANTITIES, UNITS
from monitor.api.text import Template

LEAVE_OUT: Final = "leave out"
EACH: Final = "each on its own"
YES: Final = "yes"
NO: Final = "no"
QUANTITY: Final = "quantity"
KEYS: Final = (
    "axes",
    "clock",
    "column",
    "coordinates",
    "count",
    "dates",
    "day",
    "decimal",
    "downward",
    "error",
    "exchanged",
    "factor",
    "flag",
    "hours",
    "instrument",
    "part",
    "pattern",
    "place",
    "polar",
    "quantity",
    "record",
    "reference",
    "rows",
    "same",
    "sheet",
    "station",
    "tilt",
    "time",
    "time column",
    "time unit",
    "times",
    "unit",
    "which zone",
    "zone",
)
"""Subjects of questions: the part of a key before the colon."""
EXPECTED: Final = Template("guess.answer.expected", "{key}: expected {choices}, got '{answer}'")
ONE_OF: Final = Template("guess.answer.one_of", "{key}: expected one of {names}, got '{answer}'")


@dataclass(frozen=True, slots=True)
class FileQuestion:
    """A question about a file that only its owner can answer.

    Attributes:
        key: Name under which the answer is given, such as `quantity:Crack 1 (mm)`.
        text: The question.
        choices: The possible answers; empty if any text is an answer.
        default: The likely answer for this file; None if none is likely.
        examples: For a choice, what it means for the first rows of the file, such as "12,5 becomes 12.5 mm".
    """

    key: str
    text: str
    choices: tuple[str, ...] = ()
    default: str | None = None
    examples: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the subject: an answer to a subject that is not in `KEYS` would be refused."""
        assert self.key.partition(":")[0] in KEYS, self.key


@dataclass(frozen=True, slots=True)
class Interview:
    """Answers about a file by the key of their question, and the open questions."""

    answers: Mapping[str, str]
    questions: list[FileQuestion] = field(default_factory=list)

    def request(
        self,
        key: str,
        text: str,
        choices: tuple[str, ...] = (),
        default: str | None = None,
        examples: Mapping[str, str] | None = None,
    ) -> str | None:
        """Return the answer to a question, or None after adding it to the open questions.

        Raises:
            ConfigError: The answer is not among the choices.
        """
        answer = self.answers.get(key)
        if answer is None:
            self.questions.append(FileQuestion(key, text, choices, default, examples or {}))
        elif choices:
            require(key, answer, choices)
        return answer

    def find(self, key: str, column: str, *groups: str) -> str | None:
        """Return the answer about a column, about one of its groups, or about all columns.

        The answer "each on its own" ends the search: the question is asked again for the column alone.
        """
        for name in (name_own(key, column), *(f"{key}:{group}" for group in groups), key):
            if (answer := self.answers.get(name)) is not None:
                return None if answer == EACH else answer
        return None


def name_own(key: str, column: str) -> str:
    """Return the key of a question about one column, which differs from the keys of groups of columns.

    >>> name_own("quantity", "Crack 1 (mm)"), name_own("quantity", "mm"), name_own("unit", "rain")
    ('quantity:Crack 1 (mm)', 'quantity:column mm', 'unit:column rain')
    """
    return f"{key}:column {column}" if column in UNITS or column in QUANTITIES else f"{key}:{column}"


def require(key: str, answer: str, choices: Sequence[str]) -> None:
    """Raise ConfigError if an answer is not among the choices."""
    if answer not in choices:
        raise ConfigError(EXPECTED(key=key, choices=" or ".join(map(repr, choices)), answer=answer))

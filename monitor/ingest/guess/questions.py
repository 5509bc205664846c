"""What only a person can say of a table, and what was said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from forecasting.message import Template
from monitor.errors import ConfigError

LEAVE_OUT: Final = "leave out"
EACH: Final = "each on its own"
YES, NO = "yes", "no"
EXPECTED: Final = Template("guess.answer.expected", "{key}: expected {choices}, got '{answer}'")
ONE_OF: Final = Template("guess.answer.one_of", "{key}: expected one of {names}, got '{answer}'")


@dataclass(frozen=True, slots=True)
class Question:
    """What the file does not say; `key` is what an answer is given under, `text` a message."""

    key: str
    text: str
    choices: tuple[str, ...] = ()
    default: str | None = None


def answer_of(answers: Mapping[str, str], key: str, column: str, *groups: str) -> str | None:
    """What was said of the column, of those alike, or of all."""
    for name in (f"{key}:{column}", *(f"{key}:{group}" for group in groups), key):
        if name in answers and answers[name] != EACH:
            return answers[name]
    return None


def require(key: str, said: str, choices: Sequence[str]) -> None:
    """Refuse an answer that is none of the choices; raises ConfigError."""
    if said not in choices:
        raise ConfigError(EXPECTED(key=key, choices=" or ".join(map(repr, choices)), answer=said))

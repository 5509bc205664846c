"""How a decision names what counts: the vote of a witness, a step, and what a level rests on.

A key is the text that is stored, and knows its parts. It is text and no tuple because keys are stored, sorted and
compared as text: what stands in a database and what is decided anew must agree bit for bit.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Self

from monitor.text.instants import epoch_s, format_iso, from_epoch_s, parse_time

_RULE, _STEP = "rule|", "step|"


class _Key(str):
    __slots__ = ()

    @classmethod
    def read(cls, text: str) -> Self:
        """From what is stored, or said by a person."""
        return str.__new__(cls, text)

    def __reduce__(self) -> tuple[Callable[[str], Self], tuple[str]]:
        """Copies are made from the text."""
        return type(self).read, (str(self),)


class VoteKey(_Key):
    """The vote of one criterion on one witness.

    >>> VoteKey("velocity-1", "G1"), VoteKey.read("velocity-1|insar:G1").station
    ('velocity-1|G1', 'insar:G1')
    """

    __slots__ = ()

    def __new__(cls, criterion: str, station: str) -> Self:
        """From its parts."""
        return str.__new__(cls, f"{criterion}|{station}")

    @property
    def criterion(self) -> str:
        """Id of the criterion."""
        return self.partition("|")[0]

    @property
    def station(self) -> str:
        """The witness: a station, a zone, or observers."""
        return self.partition("|")[2]


class RuleKey(_Key):
    """The share of a vote in a rule over several criteria.

    >>> key = RuleKey("wet", VoteKey("velocity-1", "G1"))
    >>> key, key.rule, key.vote, key.station
    ('rule|wet|velocity-1|G1', 'wet', 'velocity-1|G1', 'G1')
    """

    __slots__ = ()

    def __new__(cls, rule: str, vote: VoteKey) -> Self:
        """From its parts."""
        return str.__new__(cls, f"{_RULE}{rule}|{vote}")

    @property
    def rule(self) -> str:
        """Id of the rule."""
        return self.split("|", 2)[1]

    @property
    def vote(self) -> VoteKey:
        """The vote behind it."""
        return VoteKey.read(self.split("|", 2)[2])

    @property
    def station(self) -> str:
        """The witness behind it."""
        return self.vote.station


@lru_cache(maxsize=4096)
def _read_s(text: str) -> float:
    """Epoch seconds of an instant; those of open steps are asked for at every look."""
    return epoch_s(parse_time(text))


class StepKey(_Key):
    """A step of a station.

    >>> key = StepKey.read("G1@2026-03-01T06:00:00.000000Z")
    >>> key.station, key == StepKey("G1", key.at_s)
    ('G1', True)
    """

    __slots__ = ()

    def __new__(cls, station: str, at_s: float) -> Self:
        """From its parts; `at_s` in epoch seconds."""
        return cls.read(f"{station}@{format_iso(from_epoch_s(at_s))}")

    @property
    def station(self) -> str:
        """The station that stepped."""
        return self.rpartition("@")[0]

    @property
    def at_s(self) -> float:
        """When it stepped, epoch seconds."""
        return _read_s(self.rpartition("@")[2])


class StepVote(_Key):
    """What a step asks for by itself.

    >>> StepVote(StepKey.read("G1@2026-03-01T06:00:00.000000Z")).station
    'G1'
    """

    __slots__ = ()

    def __new__(cls, step: StepKey) -> Self:
        """Of a step."""
        return str.__new__(cls, f"{_STEP}{step}")

    @property
    def step(self) -> StepKey:
        """The step."""
        return StepKey.read(self.removeprefix(_STEP))

    @property
    def station(self) -> str:
        """The station that stepped."""
        return self.step.station


Supporter = VoteKey | RuleKey | StepVote  # what a level rests on


def read_support(text: str) -> Supporter:
    """What a level rests on, from what is stored; a criterion may well be called `rule` or `step`.

    >>> stored = "rule|wet|v|G1", "rule|G1", "step|G1@2026-03-01T06:00:00Z", "step|G1"
    >>> [type(read_support(text)).__name__ for text in stored]
    ['RuleKey', 'VoteKey', 'StepVote', 'VoteKey']
    """
    if text.startswith(_RULE) and text.count("|") == 3:
        return RuleKey.read(text)
    if text.startswith(_STEP) and "@" in text:
        return StepVote.read(text)
    return VoteKey.read(text)


def rename_key(text: str, names: Mapping[str, str]) -> str:
    """A key of any kind, or a question, as it reads once stations are renamed.

    >>> [rename_key(key, {"G1": "G2"}) for key in ("v|G1", "rule|wet|v|insar:G1", "step|G1@2026-03-01T06:00:00Z", "G1",
    ...     "reference:G1", "G1|G10")]
    ['v|G2', 'rule|wet|v|insar:G2', 'step|G2@2026-03-01T06:00:00Z', 'G2', 'reference:G2', 'G1|G10']
    """
    criterion, bar, last = text.rpartition("|")
    who, at, when = last.partition("@")
    kind, colon, station = who.rpartition(":")
    return f"{criterion}{bar}{kind}{colon}{names.get(station, station)}{at}{when}"


def station_of_question(question: str) -> str:
    """The station of the step that a question is about; empty where it is about no step.

    >>> station_of_question("G1@2026-03-01T06:00:00.000000Z"), station_of_question("reference:BASE")
    ('G1', '')
    """
    return StepKey.read(question).station

"""Keys of votes, steps and supporters of a level.

| key | text | names |
|---|---|---|
| `VoteKey` | `criterion|witness` | the vote of one criterion at one witness |
| `StepKey` | `station@instant` | a step of a station |
| `RuleKey` | `rule|id|criterion|witness` | a vote that makes a fusion rule hold |
| `StepVote` | `step|station@instant` | a step that counts |

A *supporter* is what a level depends on: a `VoteKey`, `RuleKey` or `StepVote`.

Each key is a subclass of `str` with its parts as properties. Keys are stored, sorted and compared as text, so that a
stored decision and a recomputed one agree bit for bit.
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
        """Return the key with a stored or typed text."""
        return str.__new__(cls, text)

    def __reduce__(self) -> tuple[Callable[[str], Self], tuple[str]]:
        """Pickle the text, because `__new__` takes the parts."""
        return type(self).read, (str(self),)


class VoteKey(_Key):
    """Key of the vote of one criterion at one witness.

    >>> VoteKey("velocity-1", "G1"), VoteKey.read("velocity-1|insar:G1").station
    ('velocity-1|G1', 'insar:G1')
    """

    __slots__ = ()

    def __new__(cls, criterion: str, station: str) -> Self:
        """Return the key with these parts."""
        return str.__new__(cls, f"{criterion}|{station}")

    @property
    def criterion(self) -> str:
        """Id of the criterion."""
        return self.partition("|")[0]

    @property
    def station(self) -> str:
        """Name of the witness: a station, a zone, or observers."""
        return self.partition("|")[2]


class RuleKey(_Key):
    """Key of a vote that makes a fusion rule hold.

    >>> key = RuleKey("wet", VoteKey("velocity-1", "G1"))
    >>> key, key.rule, key.vote, key.station
    ('rule|wet|velocity-1|G1', 'wet', 'velocity-1|G1', 'G1')
    """

    __slots__ = ()

    def __new__(cls, rule: str, vote: VoteKey) -> Self:
        """Return the key with these parts."""
        return str.__new__(cls, f"{_RULE}{rule}|{vote}")

    @property
    def rule(self) -> str:
        """Id of the rule."""
        return self.split("|", 2)[1]

    @property
    def vote(self) -> VoteKey:
        """Key of the vote."""
        return VoteKey.read(self.split("|", 2)[2])

    @property
    def station(self) -> str:
        """Name of the witness of the vote."""
        return self.vote.station


@lru_cache(maxsize=4096)
def _read_s(text: str) -> float:
    """Return the epoch seconds of an instant. Cached, because every evaluation reads those of all open steps."""
    return epoch_s(parse_time(text))


class StepKey(_Key):
    """Key of a step.

    >>> key = StepKey.read("G1@2026-03-01T06:00:00.000000Z")
    >>> key.station, key == StepKey("G1", key.at_s)
    ('G1', True)
    """

    __slots__ = ()

    def __new__(cls, station: str, at_s: float) -> Self:
        """Return the key of a step.

        Args:
            at_s: First epoch after the jump, epoch seconds.
        """
        return cls.read(f"{station}@{format_iso(from_epoch_s(at_s))}")

    @property
    def station(self) -> str:
        """Id of the station that jumped."""
        return self.rpartition("@")[0]

    @property
    def at_s(self) -> float:
        """First epoch after the jump, epoch seconds."""
        return _read_s(self.rpartition("@")[2])


class StepVote(_Key):
    """Key of a step as a supporter of a level.

    >>> StepVote(StepKey.read("G1@2026-03-01T06:00:00.000000Z")).station
    'G1'
    """

    __slots__ = ()

    def __new__(cls, step: StepKey) -> Self:
        """Return the key for a step."""
        return str.__new__(cls, f"{_STEP}{step}")

    @property
    def step(self) -> StepKey:
        """Key of the step."""
        return StepKey.read(self.removeprefix(_STEP))

    @property
    def station(self) -> str:
        """Id of the station that jumped."""
        return self.step.station


# What a level depends on.
Supporter = VoteKey | RuleKey | StepVote


def read_supporter(text: str) -> Supporter:
    """Return the key with a stored text, of the type that the text has. A criterion may be called `rule` or `step`.

    >>> stored = "rule|wet|v|G1", "rule|G1", "step|G1@2026-03-01T06:00:00Z", "step|G1"
    >>> [type(read_supporter(text)).__name__ for text in stored]
    ['RuleKey', 'VoteKey', 'StepVote', 'VoteKey']
    """
    if text.startswith(_RULE) and text.count("|") == 3:
        return RuleKey.read(text)
    if text.startswith(_STEP) and "@" in text:
        return StepVote.read(text)
    return VoteKey.read(text)


def rename_key(text: str, names: Mapping[str, str]) -> str:
    """Return a key or the name of a question with renamed stations.

    Args:
        text: A key of any type, or the name of a question.
        names: New id by old id of a station.

    >>> [rename_key(key, {"G1": "G2"}) for key in ("v|G1", "rule|wet|v|insar:G1", "step|G1@2026-03-01T06:00:00Z", "G1",
    ...     "reference:G1", "G1|G10")]
    ['v|G2', 'rule|wet|v|insar:G2', 'step|G2@2026-03-01T06:00:00Z', 'G2', 'reference:G2', 'G1|G10']
    """
    criterion, bar, witness_and_instant = text.rpartition("|")
    witness, at_sign, instant = witness_and_instant.partition("@")
    zone, colon, station = witness.rpartition(":")
    return f"{criterion}{bar}{zone}{colon}{names.get(station, station)}{at_sign}{instant}"


def find_station_of_question(question: str) -> str:
    """Return the station of the step that a question is about; "" if it is not about a step.

    >>> step, correction = "G1@2026-03-01T06:00:00.000000Z", "corrected:G1@2026-03-01T06:00:00.000000Z"
    >>> find_station_of_question(step), find_station_of_question(correction), find_station_of_question("reference:BASE")
    ('G1', '', '')
    """
    # The names of all other questions have a prefix such as `corrected:`.
    return "" if ":" in question.partition("@")[0] else StepKey.read(question).station

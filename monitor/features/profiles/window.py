"""Hold the surveys of a borehole in memory, so that a window of many surveys is not read again for each of them.

The window of a rate may contain a thousand surveys of a hundred depths. Surveys are held in blocks of time of about
`BLOCK_READINGS` readings. A fingerprint of each block (number of rows, sum of revisions, later flags, offsets) shows
whether its rows in the database have changed. Only changed blocks are read again. A later piece can continue a read.
"""

import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isnan
from typing import Final, NamedTuple

from monitor.api.queries.readings import StretchFingerprint
from monitor.api.text import EPOCH, Span, epoch_s
from monitor.features.profiles.borehole import Borehole, SurveyValues, group_surveys
from monitor.features.profiles.declare import Profile, list_quantities
from monitor.features.profiles.reduction import Survey, read_survey, subtract_zero

# Readings in one block: about a tenth of a second to read.
BLOCK_READINGS: Final = 5000


class HeldSurvey(NamedTuple):
    """The change of one survey since the zero reading."""

    at: datetime
    survey: Survey
    is_complete: bool  # whether every declared depth has a usable reading


@dataclass(frozen=True, slots=True)
class _Block:
    """The surveys of one block of time."""

    stamps: Sequence[StretchFingerprint]
    surveys: Sequence[HeldSurvey]


class SurveyWindow:
    """The surveys of one borehole that are held in memory."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        surveys = max(1, BLOCK_READINGS // len(list_quantities(profile)))
        self._length = timedelta(seconds=surveys * profile.interval_s)
        self._blocks: dict[int, _Block] = {}  # by the number of lengths since 1970
        self._zero_facts = ""
        self.zero: Survey | None = None

    def set_zero(self, zero: SurveyValues) -> None:
        """Set the zero reading, and drop all surveys if it differs from the one that was subtracted from them."""
        facts = repr((zero.at, sorted(zero.values.items())))
        if facts != self._zero_facts:
            self._blocks.clear()
            self._zero_facts = facts
            self.zero = read_survey(self.profile, epoch_s(zero.at), zero.values)

    def find_begin(self, at: datetime) -> datetime:
        """Return the start of the block that contains an instant."""
        return EPOCH + self._find_key(at) * self._length

    def load(self, hole: Borehole, span: Span, known_at: datetime, deadline_s: float) -> list[HeldSurvey] | None:
        """Return the surveys of a span, ends included, by rising instant.

        At least one block is read, so that a piece always makes progress.

        Args:
            deadline_s: instant of the monotonic clock after which no further block is read.

        Returns:
            None if the deadline passed before all blocks were read. What was read stays in memory.
        """
        keys = range(self._find_key(span[0]), self._find_key(span[1]) + 1)
        stamps = {key: hole.load_stamps(self._find_span(key), known_at) for key in keys}
        # Dropping all other blocks keeps the memory bounded.
        self._blocks = {
            key: self._blocks[key] for key in keys if key in self._blocks and self._blocks[key].stamps == stamps[key]
        }
        missing = [key for key in keys if key not in self._blocks]
        for count, key in enumerate(reversed(missing)):
            if count and time.monotonic() >= deadline_s:
                return None
            self._blocks[key] = self._read_block(hole, key, stamps[key], known_at)
        return [held for key in keys for held in self._blocks[key].surveys if span[0] <= held.at <= span[1]]

    def _find_key(self, at: datetime) -> int:
        return (at - EPOCH) // self._length

    def _find_span(self, key: int) -> Span:
        """Return the span whose readings the surveys of a block consist of.

        The readings of a survey lie up to `within` from its instant. The surveys before and after it decide which of
        them belong to it, and lie up to `within` from those readings.
        """
        around = 2 * timedelta(seconds=self.profile.within_s)
        begin = EPOCH + key * self._length
        return begin - around, begin + self._length + around

    def _read_block(self, hole: Borehole, key: int, stamps: Sequence[StretchFingerprint], known_at: datetime) -> _Block:
        assert self.zero is not None
        since, until = self._find_span(key)
        names = list_quantities(self.profile)
        readings = hole.load(names, since, until, known_at)
        surveys: list[HeldSurvey] = []
        for at, values in group_surveys(hole, readings):
            if self._find_key(at) == key:
                survey = subtract_zero(self.profile, read_survey(self.profile, epoch_s(at), values), self.zero)
                is_complete = len(values) == len(names) and not any(isnan(value) for value in values.values())
                surveys.append(HeldSurvey(at, survey, is_complete))
        return _Block(stamps, surveys)


def cut_window(surveys: Sequence[HeldSurvey], place: int, window_s: float) -> list[Survey]:
    """Return the surveys in the window of the rate of one survey, that survey last."""
    newest_s = surveys[place].survey.at_s
    begin = bisect_right(surveys, newest_s - window_s, 0, place, key=lambda held: held.survey.at_s)
    return [held.survey for held in surveys[begin : place + 1]]

"""How each vote stands now: what it asks for, what of that counts, and why it was set aside or held down."""

from collections.abc import Mapping
from typing import NamedTuple

from forecasting.message import Message
from monitor.decision.series.maintenance import MaintenanceMask
from monitor.decision.series.neighbours import VoteCap
from monitor.domain.decision import Vote
from monitor.domain.keys import VoteKey


class VoteStatus(NamedTuple):
    """Status of one vote."""

    level: int  # what it asks for
    counts: int  # what of that counts by itself
    in_rules: int  # what of that counts inside rules: maintenance is judged by the level of the rule
    clear: bool  # true when fresh and sound data say that nothing above `level` is asked for
    lives: bool  # false when its newest datum is too old: it says nothing more
    pended: Message | None  # why it is set aside, or None
    capped: Message | None = None  # why less counts than it asks for, or None
    cover: MaintenanceMask | None = None  # maintenance of its station, or None
    newest_s: float = 0.0

    def says(self, level: int, rule_level: int, answered_s: float = float("-inf")) -> bool | None:
        """Whether it asks for a level, as a rule of another level hears it; None where that cannot be known.

        What a person answered by lowering the rule's level is heard again on newer data only.
        """
        if self.newest_s <= answered_s and self.in_rules >= level:
            return None
        if self.lives and self.in_rules >= level and (self.cover is None or rule_level > self.cover.limit):
            return True
        return False if self.clear and self.aside is None and self.level < level else None

    @property
    def aside(self) -> Message | None:
        """Why it lowers nothing: it is set aside or held down, or people work on its station."""
        return self.pended or self.capped or (None if self.cover is None else self.cover.reason)


def classify_votes(
    votes: Mapping[VoteKey, Vote],
    pended: Mapping[VoteKey, Message],
    caps: Mapping[VoteKey, VoteCap],
    covers: Mapping[str, MaintenanceMask],
    fresh: set[VoteKey],
    now_s: float,
) -> dict[VoteKey, VoteStatus]:
    """Classify every vote: what it asks for, what of that counts, and why not all.

    Args:
        votes: by `criterion|witness`.
        pended: votes whose series is sick or whose reference is under suspicion, with the reason.
        caps: votes that their neighbours do not share.
        covers: stations under maintenance.
        fresh: votes whose witness has spoken with fresh data.
        now_s: the instant.
    """
    found = {}
    for key, vote in votes.items():
        lives = vote.valid_until_s >= now_s
        cap, cover = caps.get(key), covers.get(key.station)
        reason = pended.get(key)
        in_rules = 0 if reason is not None or not lives else vote.level if cap is None else min(vote.level, cap.level)
        counts = in_rules
        # judged by what it asks for, so that a vote for the highest level is never set aside by work on the station
        if reason is None and cover is not None and 0 < vote.level <= cover.limit:
            counts, reason = 0, cover.reason
        found[key] = VoteStatus(
            level=vote.level,
            counts=counts,
            in_rules=in_rules,
            clear=key in fresh,
            lives=lives,
            pended=reason,
            capped=None if cap is None else cap.reason,
            cover=cover,
            newest_s=vote.newest_s,
        )
    return found

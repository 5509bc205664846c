"""What votes become at each look: they rise on evidence, age with their data, and fall only on fresh word."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from monitor.alerting.assessment import Assessment
from monitor.alerting.neighbours import ALONE
from monitor.alerting.steps import instant_of, station_of
from monitor.domain.decision import Memory, Step, View, Vote
from monitor.domain.site import Criterion, Site

ANSWER_KEPT_S: Final = 366 * 86400.0
REFERENCE: Final = "reference:"


def update_votes(
    memory: Memory, words: Sequence[Assessment], criteria: Mapping[str, Criterion], steps: Mapping[str, Step],
    view: View,
) -> dict[str, Vote]:  # fmt: skip
    """Votes after this look: without evidence a vote stays and ages; it falls only on fresh evidence."""
    votes = {k: v for k, v in memory.votes.items() if k.partition("|")[0] in criteria}
    unsure = {station_of(k) for k, s in steps.items() if s.state != "instrument"}
    for word in words:
        old = votes.get(word.key)
        if not word.heard or word.newest_s is None:
            continue
        before = old.level if old else 0
        may_fall = word.fresh and not view.draining and word.station not in unsure
        # what a person lowered rises on newer data only: windows of failure, forecasts, scores and images as well
        is_new = word.newest_s > memory.answered.get(word.key, float("-inf"))
        level = max(word.raise_level if is_new else 0, min(before, word.hold_level) if may_fall else before)
        if old is not None and word.newest_s < old.newest_s and level <= before:
            continue  # the newest datum was withdrawn: what is left says nothing new
        valid_until_s = word.newest_s + criteria[word.criterion].valid_for_s
        votes[word.key] = Vote(level, word.newest_s, valid_until_s, word.reason)
    return votes


def find_lasting(site: Site, words: Sequence[Assessment], votes: Mapping[str, Vote], now_s: float) -> set[str]:
    """Questions whose motion lasts, whatever level a person let stand: the vote lives and is not clear."""
    moving = {
        w.station for w in words
        if (not w.heard or (w.motion is not None and w.hold_level > 0))
        and w.key in votes and votes[w.key].valid_until_s >= now_s
    }  # fmt: skip
    return {f"{REFERENCE}{s.reference}" for s in site.stations if s.id in moving and s.reference is not None} | {
        f"{ALONE}{name}" for name in moving
    }


def keep_answers(answers: Mapping[str, str], lasting: Collection[str], now_s: float) -> dict[str, str]:
    """Answers that still matter: of a motion while it lasts, of a step or an inspection (`...@instant`) for a year."""

    def matters(key: str) -> bool:
        if key.startswith((REFERENCE, ALONE)):
            return key in lasting
        return "@" in key and instant_of(key) > now_s - ANSWER_KEPT_S

    return {key: answer for key, answer in answers.items() if matters(key)}

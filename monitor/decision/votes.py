"""How votes live: they rise and fall with fresh data, age, and end; what answers and signatures do to them."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from monitor.decision.keys import StepKey, VoteKey
from monitor.decision.records import Memory, Signature, Steps, Vote, Votes
from monitor.decision.series.assessment import Assessments, DecisionContext
from monitor.decision.series.corrections import CORRECTED
from monitor.decision.series.coseismic_steps import find_shaken
from monitor.decision.series.neighbours import ALONE
from monitor.decision.series.steps import MOVEMENT, QUIET, denies_movement, high_level, requested_level
from monitor.sites.records import Criterion, Site

ANSWER_KEPT_S: Final = 366 * 86400.0
REFERENCE: Final = "reference:"


def update_votes(
    context: DecisionContext, assessments: Assessments, criteria: Mapping[str, Criterion], steps: Steps
) -> dict[VoteKey, Vote]:
    """Votes after this look: without evidence a vote stays and ages; it falls only on fresh evidence."""
    memory = context.memory
    votes = {k: v for k, v in memory.votes.items() if k.criterion in criteria}
    unsure = {k.station for k, s in steps.items() if s.state not in QUIET}
    for assessment in assessments:
        if not assessment.has_data or assessment.newest_s is None:
            continue
        key = assessment.key
        old = votes.get(key)
        before = old.level if old else 0
        may_fall = assessment.fresh and not context.inputs.draining and assessment.station not in unsure
        # what a person lowered rises on newer data only: windows of failure, forecasts, scores and images as well
        is_new = assessment.newest_s > memory.answered.get(key, float("-inf"))
        level = max(assessment.raise_level if is_new else 0, min(before, assessment.hold_level) if may_fall else before)
        if old is not None and assessment.newest_s < old.newest_s and level <= before:
            continue  # the newest datum was withdrawn: what is left says nothing new
        valid_until_s = assessment.newest_s + criteria[assessment.criterion].valid_for_s
        votes[key] = Vote(level, assessment.newest_s, valid_until_s, assessment.reason)
    return votes


def drop_exceeded_answers(site: Site, memory: Memory, votes: Votes, now_s: float, steps: Steps) -> Memory:
    """The memory without answers that the motion has outgrown: their questions are asked anew, with a new clock.

    Who says that a motion is none of the slope says it of what was asked for then. When its votes ask for more, one
    person's word of before must not hide it.
    """
    heights = {k: h for k, h in memory.heights.items() if "@" in k}  # of steps: `update_steps` looks after them
    outgrown: set[str] = {k for k, s in steps.items() if s.state == MOVEMENT and denies_movement(memory.answers.get(k))}
    if not (outgrown or memory.answers or memory.common or memory.asked or len(heights) < len(memory.heights)):
        return memory
    motions = [q for q in memory.answers if q.startswith((REFERENCE, ALONE))]
    for question in (*(f"{REFERENCE}{r}" for r in memory.common), *memory.asked, *motions):
        height = find_height(site, question, votes, now_s)
        if not denies_movement(memory.answers.get(question)):
            heights[question] = height  # as it stands when the answer comes
        elif height > memory.heights.get(question, height):
            outgrown.add(question)
        else:
            heights[question] = memory.heights.get(question, height)
    return _forget(memory, outgrown, heights)


def _forget(memory: Memory, outgrown: Collection[str], heights: Mapping[str, int]) -> Memory:
    return replace(
        memory,
        heights=heights,
        answers={k: a for k, a in memory.answers.items() if k not in outgrown},
        common={r: since_s for r, since_s in memory.common.items() if f"{REFERENCE}{r}" not in outgrown},
        asked={q: since_s for q, since_s in memory.asked.items() if q not in outgrown},
    )


def find_height(site: Site, question: str, votes: Votes, now_s: float) -> int:
    """The highest level that the motion behind a question asks for; whatever a correction might hide is the top one."""
    if question.startswith(CORRECTED):
        return site.top_level
    motions = {c.id for c in site.criteria if c.kind.motion}
    behind = {s.id for s in site.stations if question in {f"{REFERENCE}{s.reference}", f"{ALONE}{s.id}"}}
    found = (
        v.level for k, v in votes.items() if v.valid_until_s >= now_s and k.criterion in motions and k.station in behind
    )
    return max(found, default=0)


def find_lasting(site: Site, assessments: Assessments, votes: Votes, now_s: float) -> set[str]:
    """Questions whose motion lasts, whatever level a person let stand: the vote lives and is not clear."""
    moving = {
        w.station
        for w in assessments
        if (vote := votes.get(w.key)) is not None
        and vote.valid_until_s >= now_s
        and (not w.has_data or (w.hold_level > 0 and w.motion is not None))
    }
    return {f"{REFERENCE}{s.reference}" for s in site.stations if s.id in moving and s.reference is not None} | {
        f"{ALONE}{name}" for name in moving
    }


def keep_answers(answers: Mapping[str, str], lasting: Collection[str], now_s: float) -> dict[str, str]:
    """Answers that still matter: of a motion while it lasts, of a step or an inspection (`...@instant`) for a year."""

    def matters(key: str) -> bool:
        if key.startswith((REFERENCE, ALONE)):
            return key in lasting
        return "@" in key and StepKey.read(key).at_s > now_s - ANSWER_KEPT_S

    return {key: answer for key, answer in answers.items() if matters(key)}


def measure_height(site: Site, memory: Memory, key: str, steps: Collection[StepKey], now_s: float) -> int:
    """The level that a question's votes, or the steps it asks about, ask for at this moment."""
    shaken = find_shaken(site, memory.steps)
    requested = max(
        (memory.steps[k].level if k in shaken else requested_level(memory.steps[k]) for k in steps), default=0
    )
    return max(requested, find_height(site, key, memory.votes, now_s))


def needs_two(site: Site, height: int) -> bool:
    """True where "no movement" would set aside one of the two highest levels."""
    return height >= high_level(site)


def keep_signatures(memory: Memory, open_questions: Collection[str]) -> dict[str, Signature]:
    """First signatures of questions that still wait for the second one."""
    return {k: s for k, s in sorted(memory.signed.items()) if k in open_questions and k not in memory.answers}

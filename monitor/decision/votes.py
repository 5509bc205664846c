"""Update the votes of witnesses, and decide how long answers and signatures of people stay valid.

A vote is the level that a criterion requests at one witness. `update_votes` gets the assessments of this evaluation and
returns the votes after it:

* A vote rises at once when its criterion requests a higher level.
* A vote falls only if its assessment is fresh. It does not fall while a backlog of readings is stored, or while a step
  of its station counts or is an open question. Steps older than the monitoring (`before`) do not keep it up.
* Without new readings a vote keeps its level, and expires `valid_for` after its newest reading.

The other functions find the level that a question is about, because an answer counts only for that level: if the motion
later requests more, the question is opened again. An answer against one of the two highest levels needs two people.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final, TypeVar

from monitor.decision.keys import StepKey, VoteKey
from monitor.decision.records import Memory, Signature, Steps, Vote, Votes
from monitor.decision.series.assessment import Assessment, Assessments, DecisionContext
from monitor.decision.series.corrections import CORRECTED_PREFIX
from monitor.decision.series.coseismic_steps import find_shaken
from monitor.decision.series.neighbours import ALONE
from monitor.decision.series.step_states import MOVEMENT, NOT_BLOCKING, denies_movement
from monitor.decision.series.steps import high_level, requested_level
from monitor.sites.records import Site

# Answers about steps, corrected values and inspections are stored for a year after the instant that they are about.
ANSWER_STORED_S: Final = 366 * 86400.0
# Prefix of the name of a question about a reference whose stations move alike.
REFERENCE: Final = "reference:"
_Value = TypeVar("_Value")


# ---- votes -----------------------------------------------------------------------------------------------------
def update_votes(context: DecisionContext, assessments: Assessments, steps: Steps) -> dict[VoteKey, Vote]:
    """Return the votes after this evaluation. Votes of criteria that do not vote any more are removed.

    Args:
        context: The context.
        assessments: All assessments of this evaluation.
        steps: Steps after this evaluation.
    """
    memory = context.memory
    criteria = context.prepared.voting_criteria
    votes = {key: vote for key, vote in memory.votes.items() if key.criterion in criteria}
    stations_with_steps = {key.station for key, step in steps.items() if step.state not in NOT_BLOCKING}
    for assessment in assessments:
        if assessment.criterion not in criteria or not assessment.has_data or assessment.newest_s is None:
            continue
        key = assessment.key
        previous = votes.get(key)
        previous_level = previous.level if previous else 0
        may_fall = assessment.fresh and not context.inputs.draining and assessment.station not in stations_with_steps
        # A person who lowered the level answered for the readings up to the newest one that the vote then depended on.
        # Only newer readings raise the vote.
        is_answered = assessment.newest_s <= memory.answered.get(key, float("-inf"))
        held_level = min(previous_level, assessment.hold_level) if may_fall else previous_level
        raised_level = 0 if is_answered else assessment.raise_level
        level = max(raised_level, held_level)
        if previous is not None and assessment.newest_s < previous.newest_s and level <= previous_level:
            # The reading that the vote was based on was withdrawn. Older readings neither lower nor prolong the vote.
            continue
        valid_until_s = assessment.newest_s + criteria[assessment.criterion].valid_for_s
        votes[key] = Vote(level, assessment.newest_s, valid_until_s, assessment.reason)
    return votes


# ---- answers ---------------------------------------------------------------------------------------------------
def update_answers(context: DecisionContext, votes: Votes, steps: Steps) -> Memory:
    """Return the memory without answers that the motion has exceeded, and with the level of each question on motion.

    A person who answers that a motion is no movement of the slope answers for the level that it requests at that time.
    If its votes request a higher level later, the answer is removed, and the question is opened again with a new
    deadline. For an open question `Memory.heights` contains the present level, for an answered question the level at
    the time of the answer.

    Args:
        context: The context.
        votes: The votes after this evaluation.
        steps: Steps after this evaluation.
    """
    memory = context.memory
    # These steps count as movement although a person answered otherwise: they request more than the answer covers.
    exceeded: set[str] = {
        key for key, step in steps.items() if step.state == MOVEMENT and denies_movement(memory.answers.get(key))
    }
    # `update_steps` compares the levels of steps, whose names contain "@".
    levels = {question: level for question, level in memory.heights.items() if "@" in question}
    has_questions = bool(memory.answers or memory.common or memory.asked)
    if not exceeded and not has_questions and len(levels) == len(memory.heights):
        return memory
    for question in _list_questions_on_motion(memory):
        level = find_level_of_motion(context.site, question, votes, context.now_s)
        if not denies_movement(memory.answers.get(question)):
            # The level is stored in every evaluation, so that it is known when an answer is given.
            levels[question] = level
            continue
        answered_level = memory.heights.get(question, level)
        if level > answered_level:
            exceeded.add(question)
        else:
            levels[question] = answered_level
    references = {question.removeprefix(REFERENCE) for question in exceeded if question.startswith(REFERENCE)}
    return replace(
        memory,
        heights=levels,
        answers=_without(memory.answers, exceeded),
        common=_without(memory.common, references),
        asked=_without(memory.asked, exceeded),
    )


def _list_questions_on_motion(memory: Memory) -> list[str]:
    """Return the questions about references and about stations that move alone, open ones and answered ones."""
    questions = [f"{REFERENCE}{reference}" for reference in memory.common]
    questions += memory.asked
    questions += [question for question in memory.answers if question.startswith((REFERENCE, ALONE))]
    return questions


def _without(values: Mapping[str, _Value], names: Collection[str]) -> dict[str, _Value]:
    return {name: value for name, value in values.items() if name not in names}


def find_questions_of_lasting_motion(site: Site, assessments: Assessments, votes: Votes, now_s: float) -> set[str]:
    """Return the questions whose motion continues: a vote of the station is valid, and its motion is not over.

    The level does not matter, because a person may have lowered it while the motion continues.
    """
    moving = {
        assessment.station for assessment in assessments if _is_lasting(assessment, votes.get(assessment.key), now_s)
    }
    references = {station.reference for station in site.stations if station.id in moving}
    questions = {f"{REFERENCE}{reference}" for reference in references if reference is not None}
    return questions | {f"{ALONE}{station}" for station in moving}


def _is_lasting(assessment: Assessment, vote: Vote | None, now_s: float) -> bool:
    if vote is None or vote.valid_until_s < now_s:
        return False
    if not assessment.has_data:
        return True
    return assessment.hold_level > 0 and assessment.motion is not None


def keep_answers(answers: Mapping[str, str], needed_questions: Collection[str], now_s: float) -> dict[str, str]:
    """Return the answers that the next evaluation needs.

    An answer about a motion is stored while the motion lasts. An answer about a step, corrected values or an inspection
    is stored for a year.
    """

    def is_needed(question: str) -> bool:
        if question.startswith((REFERENCE, ALONE)):
            return question in needed_questions
        # Names of these questions end with `@` and the instant that they are about, as the key of a step does.
        return "@" in question and StepKey.read(question).at_s > now_s - ANSWER_STORED_S

    return {question: answer for question, answer in answers.items() if is_needed(question)}


def keep_signatures(memory: Memory, open_questions: Collection[str]) -> dict[str, Signature]:
    """Return the first signatures of open questions that have no second signature yet."""
    return {
        question: signature
        for question, signature in sorted(memory.signed.items())
        if question in open_questions and question not in memory.answers
    }


# ---- levels of questions ---------------------------------------------------------------------------------------
def find_level_of_question(site: Site, memory: Memory, question: str, steps: Iterable[StepKey], now_s: float) -> int:
    """Return the level that the motion behind a question requests now.

    Args:
        steps: Steps that the question is about. Each requests its own level. An unanswered step during an earthquake
            that an independent station shares requests the level of its size.
    """
    shaken = find_shaken(site, memory.steps)
    levels = [find_level_of_motion(site, question, memory.votes, now_s)]
    for key in steps:
        step = memory.steps[key]
        levels.append(step.level if key in shaken else requested_level(step))
    return max(levels)


def find_level_of_motion(site: Site, question: str, votes: Votes, now_s: float) -> int:
    """Return the highest level that valid votes on the motion behind a question request; 0 if there are none.

    A correction may hide any motion, so a question about corrected values is treated as one about the highest level.
    """
    if question.startswith(CORRECTED_PREFIX):
        return site.top_level
    stations = {
        station.id
        for station in site.stations
        if question in {f"{REFERENCE}{station.reference}", f"{ALONE}{station.id}"}
    }
    motion_criteria = {criterion.id for criterion in site.criteria if criterion.kind.motion}
    levels = [
        vote.level
        for key, vote in votes.items()
        if vote.valid_until_s >= now_s and key.station in stations and key.criterion in motion_criteria
    ]
    return max(levels, default=0)


def needs_second_signature(site: Site, level: int) -> bool:
    """Return whether an answer against a level needs two people: it is one of the two highest levels."""
    return level >= high_level(site)

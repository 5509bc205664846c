"""Let unsigned corrections raise a level but not lower one, and notify people of what needs a second signature.

Corrected values and offsets count from their second signature on. Where fewer than two people may act on a site, an
offset counts from its declaration on, and a correction from the first signature on. While corrections are unsigned, the
criteria are assessed twice: on the values that count, and with the unsigned corrections. `keep_higher` merges the two
results. An offset that does not count yet (`OffsetFact.counts`) is in neither of them. `list_waiting_offsets` and
`list_open_corrections` return the conditions by which people are asked to sign.
"""

from dataclasses import replace
from typing import Final

from monitor.decision.alert_texts import name_series
from monitor.decision.changes import VERIFY_NOW
from monitor.decision.records import Condition
from monitor.decision.series.assessment import Assessment, Assessments
from monitor.decision.situation import Situation
from monitor.text.message import Template, join

_WITH_UNSIGNED: Final = Template(
    "correction.with_unsigned", "{text}, with corrections that two people have not signed yet"
)
_WAITING: Final = Template(
    "offset.waits",
    "offset {n} by {name} on {series} needs the confirmation of a second person and does not count yet. Confirm it "
    "with `slopeward offsets confirm {n2}`",
)
_SIGN: Final = Template(
    "correction.sign",
    "until two people state the same cause (one, where fewer than two may act), the corrected values can raise a level "
    "and cannot lower one. If the values of the instrument were wrong, answer the cause, such as `instrument`. If they "
    "were right, answer `movement`; for that one person is enough",
)
# Part of the alert key of an offset without a second signature, `health:STATION:offset_NUMBER`.
WAITING_OFFSET: Final = ":offset_"


def keep_higher(signed: Assessments, unsigned: Assessments) -> list[Assessment]:
    """Return one assessment for each criterion and witness. Unsigned corrections may raise a level, never lower it.

    Args:
        signed: Assessments of the values that count.
        unsigned: Assessments with unsigned corrections.
    """
    unsigned_by_key = {assessment.key: assessment for assessment in unsigned}
    merged = []
    for assessment in signed:
        other = unsigned_by_key.pop(assessment.key, assessment)
        merged.append(_merge(assessment, other))
    return [*merged, *unsigned_by_key.values()]


def _merge(signed: Assessment, unsigned: Assessment) -> Assessment:
    if signed == unsigned:
        return signed
    explained = replace(unsigned, reason=_WITH_UNSIGNED(text=unsigned.reason))
    is_higher = (unsigned.raise_level, unsigned.hold_level) > (signed.raise_level, signed.hold_level)
    newest_s = [
        assessment.newest_s
        for assessment in (signed, unsigned)
        if assessment.has_data and assessment.newest_s is not None
    ]
    return replace(
        explained if is_higher else signed,
        raise_level=max(signed.raise_level, unsigned.raise_level),
        hold_level=max(signed.hold_level, unsigned.hold_level),
        has_data=signed.has_data or unsigned.has_data,
        fresh=signed.fresh and unsigned.fresh,
        coverage=min(signed.coverage, unsigned.coverage, key=lambda coverage: coverage.share),
        newest_s=max(newest_s, default=signed.newest_s),
        measure=(signed if signed.has_data else unsigned).measure,
        undecided={**explained.undecided, **signed.undecided},
    )


def list_waiting_offsets(situation: Situation) -> dict[str, Condition]:
    """Return a condition for each offset without a second signature, by alert key.

    It is urgent while a level stands or is requested.
    """
    urgency = _find_urgency(situation)
    conditions = {}
    for offset in situation.context.inputs.offsets:
        if offset.counts:
            continue
        series = name_series(f"{offset.station}.{offset.quantity}")
        text = _WAITING(n=offset.id, name=offset.by, series=series, n2=offset.id)
        alert_key = f"health:{offset.station}{WAITING_OFFSET}{offset.id}"
        conditions[alert_key] = Condition("health", urgency, situation.context.now_s, text)
    return conditions


def list_open_corrections(situation: Situation) -> dict[str, Condition]:
    """Return a question for each station with unsigned corrections, by alert key.

    It is urgent while a level stands or is requested.
    """
    answers = situation.context.memory.answers
    urgency = _find_urgency(situation)
    conditions = {}
    for question, sentence in situation.correction_questions.items():
        if answers.get(question) is None:
            text = VERIFY_NOW(text=join([sentence, _SIGN()]))
            conditions[f"health:{question}:verify"] = Condition("health", urgency, situation.context.now_s, text)
    return conditions


def _find_urgency(situation: Situation) -> int:
    """Return 2 (urgent) while a level above the lowest stands or is requested; 1 (a notice) otherwise."""
    return 2 if max(situation.level_state.level, situation.requested.level) > 0 else 1

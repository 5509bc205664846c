"""Notices about offsets and corrections that wait for a second person, and what unsigned corrections may raise."""

from dataclasses import replace
from typing import Final

from monitor.decision.alert_texts import name_series
from monitor.decision.records import Condition
from monitor.decision.series.assessment import Assessment, Assessments
from monitor.decision.series.coseismic_steps import VERIFY
from monitor.decision.situation import Situation
from monitor.text.message import Template, join

_WITH_UNSIGNED: Final = Template("correction.with_unsigned", "{text}, with corrections that nobody has signed yet")
_WAITING: Final = Template(
    "offset.waits",
    "offset {n} of {name} on {series} waits for a second person and does not count yet. Confirm it with `slopeward "
    "offsets confirm {n2}`",
)
_SIGN: Final = Template(
    "correction.sign",
    "until two people sign them (one, where only one may act), the corrected values can raise a level and cannot lower "
    "one. Were the values that the instrument sent wrong?",
)
WAITS: Final = ":offset_"  # in the alert key of the notice: `health:STATION:offset_NUMBER`


def keep_higher(signed: Assessments, unsigned: Assessments) -> list[Assessment]:
    """Return one assessment of each witness: unsigned corrections may raise a level, and never lower one.

    Args:
        signed: Assessments of the values that count.
        unsigned: Assessments with unsigned corrections.
    """
    others = {assessment.key: assessment for assessment in unsigned}
    merged = [_keep_higher(one, others.pop(one.key, one)) for one in signed]
    return [*merged, *others.values()]


def _keep_higher(signed: Assessment, unsigned: Assessment) -> Assessment:
    if signed == unsigned:
        return signed
    explained = replace(unsigned, reason=_WITH_UNSIGNED(text=unsigned.reason))
    is_higher = (unsigned.raise_level, unsigned.hold_level) > (signed.raise_level, signed.hold_level)
    newest_s = [one.newest_s for one in (signed, unsigned) if one.has_data and one.newest_s is not None]
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
    """Return a notice for each offset that waits for a second person; urgent while a level stands or is requested."""
    level = _find_urgency(situation)
    return {
        f"health:{offset.station}{WAITS}{offset.id}": Condition(
            "health",
            level,
            situation.context.now_s,
            _WAITING(
                n=offset.id, name=offset.by, series=name_series(f"{offset.station}.{offset.quantity}"), n2=offset.id
            ),
        )
        for offset in situation.context.inputs.offsets
        if not offset.counts
    }


def list_open_corrections(situation: Situation) -> dict[str, Condition]:
    """Return a question for each station with unsigned corrections; urgent while a level stands or is requested."""
    answers = situation.context.memory.answers
    level = _find_urgency(situation)
    return {
        f"health:{question}:verify": Condition(
            "health", level, situation.context.now_s, VERIFY(text=join([sentence, _SIGN()]))
        )
        for question, sentence in situation.corrected.items()
        if answers.get(question) is None
    }


def _find_urgency(situation: Situation) -> int:
    return 2 if max(situation.level_state.level, situation.requested.level) > 0 else 1

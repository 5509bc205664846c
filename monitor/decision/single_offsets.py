"""What one person alone declared as an offset, or corrected, never lowers or holds down the two highest levels.

There a series is judged as declared and as measured, and what asks for more counts. Below, it counts as declared.
"""

from dataclasses import replace
from typing import Final

from monitor.decision.alert_texts import name_series
from monitor.decision.records import Condition
from monitor.decision.series.assessment import ARRIVED, Assessment, Assessments, DecisionContext
from monitor.decision.series.coseismic_steps import VERIFY
from monitor.decision.series.steps import high_level
from monitor.decision.situation import Situation
from monitor.sites.records import Site
from monitor.text.message import Message, NameList, Template, Term, join

_WITHOUT: Final = Template("offset.without", "{text}, {text2}")
_AS_ARRIVED: Final = Template(
    "offset.as_arrived", "as it arrived, without corrections that no two people have confirmed"
)
_AS_MEASURED: Final = Template("offset.as_measured", "as measured")
_WITHOUT_OFFSET: Final = Template(
    "offset.as_measured_without",
    "as measured, without offset {numbers} of {name}, which no second person has confirmed",
)
_WAITING: Final = Template(
    "offset.waits",
    "offset {n} of {name} on {series}: {text} until a second person confirms it (slopeward offsets confirm {n2})",
)
_UNTIL_TWO: Final = Template(
    "offset.until_two", "were the values that the instrument sent wrong? Two people must answer; until then, {text}"
)
_HIGH: Final = Template("offset.high", "for {level} the values count as measured as well")
_BOTH_HIGH: Final = Template("offset.both_high", "for {level} and {level2} the values count as measured as well")
_BELOW: Final = Template("offset.below", "{text}, below they count with it")
WAITS = ":offset_"  # in the alert key of the notice: `health:STATION:offset_NUMBER`


def merge(windows: DecisionContext, declared: Assessments, measured: Assessments) -> list[Assessment]:
    """One assessment of each witness: as declared, and for the two highest levels as measured if that asks for more."""
    also = {w.key: w for w in measured}
    found = [_merge(windows, w, also.pop(w.key)) if w.key in also else w for w in declared]
    return [*found, *also.values()]


def _merge(windows: DecisionContext, declared: Assessment, measured: Assessment) -> Assessment:
    if declared == measured:
        return measured
    high, vote = high_level(windows.site), windows.memory.votes.get(declared.key)
    raises = measured.raise_level if measured.raise_level >= high else 0
    # what never asked for a high level is not held by the error of one
    holds = measured.hold_level if vote is not None and min(vote.level, measured.hold_level) >= high else 0
    explained = replace(
        measured, reason=_WITHOUT(text=measured.reason, text2=_explain_without(windows, measured.station))
    )
    counts = explained if (raises, holds) > (declared.raise_level, declared.hold_level) else declared
    newest = [w.newest_s for w in (declared, measured) if w.has_data and w.newest_s is not None]
    return replace(
        counts,
        raise_level=max(declared.raise_level, raises),
        hold_level=max(declared.hold_level, holds),
        has_data=declared.has_data or measured.has_data,
        fresh=declared.fresh and measured.fresh,
        coverage=min(declared.coverage, measured.coverage, key=lambda coverage: coverage.share),
        newest_s=max(newest, default=counts.newest_s),
        measure=(measured if measured.has_data else declared).measure,
        undecided={**{k: why for k, why in explained.undecided.items() if k >= high}, **declared.undecided},
    )


def _explain_without(windows: DecisionContext, station: str) -> Message:
    if windows.kept_as == ARRIVED:
        return _AS_ARRIVED()
    mine = [o for o in windows.view.offsets if o.alone and o.station == station]
    if not mine:
        return _AS_MEASURED()
    numbers, by = tuple(str(o.id) for o in mine[-3:]), tuple(dict.fromkeys(o.by for o in mine[-3:]))
    return _WITHOUT_OFFSET(numbers=NameList(numbers), name=NameList(by))


def list_waiting(situation: Situation) -> dict[str, Condition]:
    """A notice for each offset that waits for a second person; urgent while a level stands or is asked for."""
    level, high = _urgency(situation), _name_high(situation.site)
    return {
        f"health:{o.station}{WAITS}{o.id}": Condition(
            "health",
            level,
            situation.windows.now_s,
            _WAITING(
                n=o.id,
                name=o.by,
                series=name_series(f"{o.station}.{o.quantity}"),
                n2=o.id,
                text=_BELOW(text=high) if high_level(situation.site) > 1 else high,
            ),
        )
        for o in situation.windows.view.offsets
        if o.alone
    }


def list_corrected(situation: Situation) -> dict[str, Condition]:
    """A question for each station whose values were changed after they had arrived; urgent while a level stands."""
    site, answers = situation.site, situation.windows.memory.answers
    level = _urgency(situation)
    return {
        f"health:{question}:verify": Condition(
            "health", level, situation.windows.now_s, VERIFY(text=join([sentence, _UNTIL_TWO(text=_name_high(site))]))
        )
        for question, sentence in situation.corrected.items()
        if answers.get(question) is None
    }


def _urgency(situation: Situation) -> int:
    return 2 if max(situation.level_state.level, situation.requested.level) > 0 else 1


def _name_high(site: Site) -> Message:
    names = [Term(level.name) for level in site.levels[high_level(site) :]]
    return _HIGH(level=names[0]) if len(names) == 1 else _BOTH_HIGH(level=names[0], level2=names[1])

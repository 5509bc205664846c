"""What one person alone declared as an offset, or corrected, never lowers or holds down the two highest levels.

There a series is judged as declared and as measured, and what asks for more counts. Below, it counts as declared.
"""

from collections.abc import Sequence
from dataclasses import replace

from monitor.alerting.decision.situation import Situation
from monitor.domain.decision import Condition
from monitor.domain.site import Site
from monitor.series.assessment import ARRIVED, Assessment, Windows
from monitor.series.steps import high_level

WAITS = ":offset_"  # in the alert key of the notice: `health:STATION:offset_NUMBER`


def merge(windows: Windows, declared: Sequence[Assessment], measured: Sequence[Assessment]) -> list[Assessment]:
    """One assessment of each witness: as declared, and for the two highest levels as measured if that asks for more."""
    also = {w.key: w for w in measured}
    found = [_merge(windows, w, also.pop(w.key)) if w.key in also else w for w in declared]
    return [*found, *also.values()]


def _merge(windows: Windows, declared: Assessment, measured: Assessment) -> Assessment:
    if declared == measured:
        return measured
    high = high_level(windows.site)
    raises = measured.raise_level if measured.raise_level >= high else 0
    holds = measured.hold_level if measured.hold_level >= high else 0
    told = replace(measured, reason=f"{measured.reason}, {_say_without(windows, measured.station)}")
    counts = told if (raises, holds) > (declared.raise_level, declared.hold_level) else declared
    newest = [w.newest_s for w in (declared, measured) if w.heard and w.newest_s is not None]
    return replace(
        counts, raise_level=max(declared.raise_level, raises), hold_level=max(declared.hold_level, holds),
        heard=declared.heard or measured.heard, fresh=declared.fresh and measured.fresh,
        newest_s=max(newest, default=counts.newest_s), measure=(measured if measured.heard else declared).measure,
        undecided={**{k: why for k, why in told.undecided.items() if k >= high}, **declared.undecided},
    )  # fmt: skip


def _say_without(windows: Windows, station: str) -> str:
    if windows.kept_as == ARRIVED:
        return "as it arrived, without corrections that no two people have confirmed"
    mine = [o for o in windows.view.offsets if o.alone and o.station == station]
    if not mine:
        return "as measured"
    numbers, by = ", ".join(str(o.id) for o in mine[-3:]), ", ".join(dict.fromkeys(o.by for o in mine[-3:]))
    return f"as measured, without offset {numbers} of {by}, which no second person has confirmed"


def list_waiting(situation: Situation) -> dict[str, Condition]:
    """A notice for each offset that waits for a second person; urgent while a level stands or is asked for."""
    level = _urgency(situation)
    return {
        f"health:{o.station}{WAITS}{o.id}": Condition(
            "health", level, situation.windows.now_s,
            f"offset {o.id} of {o.by} on {o.station}.{o.quantity}: {_say_effect(situation.site)} until a "
            f"second person confirms it (slopeward offsets confirm {o.id})",
        )
        for o in situation.windows.view.offsets if o.alone
    }  # fmt: skip


def list_corrected(situation: Situation) -> dict[str, Condition]:
    """A question for each station whose values were changed after they had arrived; urgent while a level stands."""
    site, answers = situation.site, situation.windows.memory.answers
    level = _urgency(situation)
    return {
        f"health:{question}:verify": Condition(
            "health", level, situation.windows.now_s,
            f"verify now: {said}; {_name_high(site)} until two people say that they are right",
        )
        for question, said in situation.corrected.items() if answers.get(question) is None
    }  # fmt: skip


def _urgency(situation: Situation) -> int:
    return 2 if max(situation.rung.level, situation.ask.level) > 0 else 1


def _name_high(site: Site) -> str:
    names = " and ".join(level.name for level in site.levels[high_level(site) :])
    return f"for {names} the values count as measured as well"


def _say_effect(site: Site) -> str:
    return _name_high(site) + (", below they count with it" if high_level(site) > 1 else "")

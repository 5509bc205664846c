"""List the alerts that change between two decisions, and the reminders of a level whose rate has grown."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from monitor.canonical import canonical_json
from monitor.decision.alert_texts import GROWN
from monitor.decision.changes import RESOLVED, AlertCategory, AlertChange, get_first_fact
from monitor.decision.common_silence import SILENT_SLOPE
from monitor.decision.conditions import URGENT_WITH_SILENCE
from monitor.decision.headline import StationRate
from monitor.decision.records import Condition, Memory
from monitor.sites.records import Site
from monitor.text.figures import find_form
from monitor.text.instants import from_epoch_s
from monitor.text.message import Figure, Message

HAZARD_KEY = "hazard"
# A reminder is sent when the rate is this many times the rate of the last message.
GROWTH: Final = 2.0


def list_changes(
    site: Site,
    before: Memory,
    after: Memory,
    evidence: Mapping[str, Any],
    newest_s: float | None,
    growth: Message | None = None,
) -> tuple[AlertChange, ...]:
    """Return the alerts that are opened, changed or closed between two decisions.

    Args:
        newest_s: The newest epoch of the decision, in epoch seconds.
        growth: Text of a reminder of an unchanged level whose rate has grown; None for no reminder.
    """
    data_time = None if newest_s is None else from_epoch_s(newest_s)
    changes = []
    if after.level != before.level or growth is not None:
        summary = canonical_json({k: evidence[k] for k in ("sentence", "votes", "steps", "common", "held_by", "at")})
        changes.append(
            AlertChange(
                ledger=AlertCategory.HAZARD,
                key=HAZARD_KEY,
                level=after.level,
                open=after.level > 0,
                reason=growth or evidence["sentence"],
                data_time=data_time,
                evidence=summary,
                repeats=growth is not None,
            )
        )
    # An urgent message that contains which series are silent replaces the messages about these series.
    has_new_urgent = any(key in after.conditions and key not in before.conditions for key in URGENT_WITH_SILENCE)
    # Common silence comes first, because it may be the failure of the slope.
    keys = sorted({*before.conditions, *after.conditions}, key=lambda key: (key != SILENT_SLOPE, key))
    for key in keys:
        old, new = before.conditions.get(key), after.conditions.get(key)
        if new is not None and (old is None or old.level != new.level):
            change = _make_change(key, new, new.reason, data_time, is_open=True)
            is_contained = has_new_urgent and key.endswith(":stale")
            changes.append(replace(change, notify=not is_contained))
        elif new is None and old is not None:
            changes.append(_make_change(key, old, RESOLVED(text=get_first_fact(old.reason)), data_time, is_open=False))
    assert all(0 <= c.level < len(site.levels) for c in changes if c.ledger == AlertCategory.HAZARD)
    return tuple(changes)


def follow_growth(
    before: Memory, level: int, rates: Sequence[StationRate]
) -> tuple[dict[str, float], StationRate | None]:
    """Return the largest rate by criterion that people were notified of, and the rate that has doubled since.

    A rate has doubled if it is twice that rate and twice its bound, whichever single reading is left out. Therefore
    neither noise nor a single reading causes a reminder. A rate that falls and rises again to the same value causes no
    reminder either, so the number of reminders is limited.

    Args:
        level: The level after the decision. If it has changed, a message with the present rates is sent anyway, and no
            rate is returned.
    """
    requesting = [rate for rate in rates if rate.counted and rate.level >= level > 0 and rate.bound]
    reported = dict(before.reported) if level == before.level else {}
    grown = []
    for rate in requesting:
        last = max(reported.get(rate.criterion, 0.0), abs(rate.bound))
        if _get_size(rate, rate.least) >= GROWTH * last:
            grown.append(rate)
    if level == before.level and not grown:
        return reported if level > 0 else {}, None
    for rate in requesting:
        reported[rate.criterion] = max(reported.get(rate.criterion, 0.0), _get_size(rate, rate.rate))
    reported = dict(sorted(reported.items()))
    if level != before.level:
        return reported, None
    return reported, max(grown, key=lambda rate: (rate.level, rate.share))


def explain_growth(sentence: Message, grown: StationRate, reported: Mapping[str, float]) -> Message:
    """Return the text of a reminder: what requests the level, and how much the rate has grown since the last message.

    Args:
        reported: The largest rate by criterion that people were notified of.
    """
    last = max(reported.get(grown.criterion, 0.0), abs(grown.bound))
    factor = _get_size(grown, grown.rate) / last
    return GROWN(text=sentence, n=Figure(factor, ".1f"), rate=Figure(last, find_form(last), grown.unit))


def _get_size(rate: StationRate, value: float) -> float:
    """Return a rate as positive in the direction of its bound."""
    return value if rate.bound > 0.0 else -value


def _make_change(key: str, condition: Condition, reason: Message, data_time: Any, *, is_open: bool) -> AlertChange:
    evidence = canonical_json({"key": key, "since_s": condition.since_s, "reason": condition.reason})
    return AlertChange(
        ledger=AlertCategory(condition.ledger),
        key=key,
        level=condition.level,
        open=is_open,
        reason=reason,
        data_time=data_time,
        evidence=evidence,
    )

"""Find which values of calculated series may change when readings are stored."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.api.queries.readings import find_epoch
from monitor.api.text import Span, epoch_s, from_epoch_s
from monitor.features.derived.inputs import SiteInputs
from monitor.features.derived.pending import limit_spans
from monitor.features.derived.plans import Plan, SitePlans
from monitor.features.derived.samples import Series
from monitor.features.derived.values import AHEAD, BIT


class NewestInstants:
    """The newest instant of each measured input of a site.

    Every reading of such an input leaves a row in `calculation_pending`. The newest instant follows from these rows and
    is read from the database only once.
    """

    def __init__(self) -> None:
        self._newest: dict[Series, datetime] = {}

    def find(self, c: Connection, inputs: SiteInputs, place: Series, now: datetime) -> datetime | None:
        """Return the newest instant of a series; None where nothing of it is stored."""
        known = self._newest.get(place)
        if known is not None:
            return known
        number = inputs.find_id(place)
        newest = None if number is None else find_epoch(c, number, now + AHEAD, 0)
        if newest is not None and not inputs.is_calculated(place):
            self._newest[place] = newest
        return newest

    def find_before(self, c: Connection, inputs: SiteInputs, place: Series, at: datetime) -> datetime | None:
        """Return the last instant of a series before `at`; None where there is none."""
        newest = self._newest.get(place)
        if newest is not None and newest < at:
            return newest
        number = inputs.find_id(place)
        return None if number is None else find_epoch(c, number, at - BIT, 0)

    def note(self, place: Series, at: datetime) -> None:
        """Note that a reading of a series was stored, if its newest instant is known."""
        known = self._newest.get(place)
        if known is not None and at > known:
            self._newest[place] = at


def find_affected(
    c: Connection,
    plans: SitePlans,
    touched: Mapping[Series, Sequence[Span]],
    newest: NewestInstants,
    inputs: SiteInputs,
    now: datetime,
) -> dict[Plan, list[Span]]:
    """Return by calculated series the spans in which its values may change.

    Args:
        touched: by series the spans in which readings were stored, or in which its values will change.
    """
    spans = {place: list(of_place) for place, of_place in touched.items()}
    before: dict[tuple[Series, datetime], datetime | None] = {}
    for place, of_place in touched.items():
        for begin, _ in of_place:
            before[place, begin] = newest.find_before(c, inputs, place, begin)
        newest.find(c, inputs, place, now)
        newest.note(place, max(end for _, end in of_place))
    affected: dict[Plan, list[Span]] = {}
    for plan in plans.each:
        if not any(place in spans for place in plan.scales):
            continue
        ends = [end for _, end in spans.get(plan.first, ())]
        last = max([*ends, *filter(None, [newest.find(c, inputs, plan.first, now)])], default=None)
        if last is None:
            continue
        found: list[Span] = []
        for place in plan.scales:
            for begin, end in spans.get(place, ()):
                if (place, begin) not in before:
                    before[place, begin] = newest.find_before(c, inputs, place, begin)
                found += _list_spans(plan, place, (begin, end), before[place, begin], last)
        if found:
            affected[plan] = limit_spans(found)
            spans[plan.place] = limit_spans([*spans.get(plan.place, ()), *affected[plan]])
    return affected


def _list_spans(plan: Plan, place: Series, touched: Span, before: datetime | None, last: datetime) -> list[Span]:
    """Return where values of a series may change because one of its inputs has new readings.

    A new reading represents no instant before the reading that precedes it: that one is nearer.

    Args:
        before: the last instant of the input before the new readings.
        last: the newest instant that the series can have.
    """
    begin = touched[0] - timedelta(seconds=plan.early_s)
    if before is not None:
        begin = max(begin, before + BIT)
    end = min(touched[1] + timedelta(seconds=plan.behind_s), last)
    if not plan.calculation.every_s:
        return [(begin, end)] if begin <= end else []
    if place == plan.first and before is not None:
        # An instant of `every` is complete when a reading at or after it arrives. The reading before may represent it.
        begin = before + BIT
    instants_s = plan.list_grid(epoch_s(begin + BIT), epoch_s(end)) if begin <= end else []
    return [(from_epoch_s(instants_s[0]), from_epoch_s(instants_s[-1]))] if instants_s else []

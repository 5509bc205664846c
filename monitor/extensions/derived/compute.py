"""Calculated series as readings come in, in the same transaction; and anew where a file or an offset changes them."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from graphlib import TopologicalSorter
from itertools import groupby
from math import ceil, floor, inf, isclose, isfinite, nextafter
from operator import attrgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from monitor.domain.canonical import canonical_json, digest_text
from monitor.domain.errors import StoreBusyError, StoreError
from monitor.domain.instants import Span, epoch_s, format_iso, from_epoch_s, join_spans, parse
from monitor.domain.observation import CHANGED, HARMLESS, Observation, Reading
from monitor.domain.site import Calculation, SeriesSpec, Site, once_per_record
from monitor.extensions.derived.expression import (
    Expression,
    InputSamples,
    Sample,
    Series,
    compute_sigma,
    find_at_s,
    read_expression,
)
from monitor.extensions.derived.relative import list_components
from monitor.extensions.derived.units import read_unit
from monitor.store.database.engine import Database
from monitor.store.readings.observations import (
    AddResult,
    SeriesIds,
    add_observations,
    find_epoch,
    find_series_id,
    load_extents,
    load_offsets,
    load_readings,
)
from monitor.store.readings.reading_stamps import load_known, load_offset_series
from monitor.store.service_state import IDLE, find_stamp, stamp

_LOG: Final = logging.getLogger(__name__)
LARGEST: Final = 1e12
CHUNK: Final = timedelta(days=30)
OF_FILE: Final = "= "  # before its name: the digest of what the site file alone says
AHEAD: Final = timedelta(days=1)  # what a clock that is ahead received is there as well
_OLD: Final = (inf, inf)  # of a series of which more than what came may count
_BIT: Final = timedelta(microseconds=1)
_BIT_S: Final = 1e-6
_get_instant: Final = attrgetter("observed_at")
ROUNDS: Final = 5  # of a value that an instant had before: it is stored a last digit higher
DIGITS: Final = 13  # of a value: base units turn 31.4 mm into 31.399999999999995
SAME: Final = 1e-13  # of a value: a difference of last digits
WITHDRAWN: Final = "bad"  # the flag of a value that can be computed no more
MADE_FROM: Final = "made_from"  # in `extra`: by series the newest instant it was made from, where not that of the value


@dataclass(frozen=True, eq=False)
class Plan:
    """One calculated series, ready to be computed."""

    name: str  # `STATION.quantity`
    spec: SeriesSpec
    calculation: Calculation
    expression: Expression
    first: Series  # the input whose instants it has, or that completes those of `every`
    scales: Mapping[Series, float]  # base units in one of each input
    scale: float  # and in one of the series
    low: float  # between which a value of it is expected
    high: float
    early_s: float  # how far after its instant a reading may lie that stands for it
    slack_s: float  # and before or after it
    behind_s: float  # and that it reads at all

    def list_grid(self, from_s: float, to_s: float) -> list[float]:
        """The instants of `every` between two, which count as well."""
        every_s = self.calculation.every_s
        return [k * every_s for k in range(ceil((from_s - _BIT_S) / every_s), floor((to_s + _BIT_S) / every_s) + 1)]


class SitePlans(NamedTuple):
    """The calculated series of a site."""

    steps: Sequence[Mapping[Series, Sequence[Plan]]]  # by what they rest on: measured series, and those of steps before
    each: Sequence[Plan]  # each after those that it rests on
    scales: Mapping[Series, float]  # base units in one of each series that others rest on
    always: frozenset[Series]  # what series at the instants of others rest on
    grids: Mapping[float, tuple[float, float]]  # by `every` how far before and behind a reading it counts


@once_per_record
def plan_site(site: Site) -> SitePlans:
    """The calculated series of a site, in the order in which they are computed."""
    specs = {
        (one.station, one.quantity): one for s in site.stations for spec in s.series for one in list_components(spec)
    }

    calculations = {place: spec.calculation for place, spec in specs.items() if spec.calculation is not None}
    order = TopologicalSorter({place: how.places for place, how in calculations.items()})
    order.prepare()
    steps: list[dict[Series, list[Plan]]] = []
    plans: list[Plan] = []
    grids: dict[float, tuple[float, float]] = {}
    while order.is_active():
        ready = order.get_ready()
        steps.append({})
        for one in [_make_plan(site, specs[place], calculations[place]) for place in ready if place in specs]:
            plans.append(one)
            for place in one.scales:
                steps[-1].setdefault(place, []).append(one)
            if every_s := one.calculation.every_s:
                before_s, behind_s = grids.get(every_s, (0.0, 0.0))
                grids[every_s] = max(before_s, one.early_s), max(behind_s, one.behind_s)
        order.done(*ready)
    scales = {place: scale for one in plans for place, scale in one.scales.items()}
    always = {place for one in plans if not one.calculation.every_s for place in one.scales}
    grids = {} if any(_is_of_profile(site, place) for place in scales) else grids
    return SitePlans([one for one in steps if one], plans, scales, frozenset(always), grids)


def _is_of_profile(site: Site, place: Series) -> bool:
    """Whether a profile makes a series: it comes without its newest instant before, so `every` leaves nothing out."""
    spec = site.series(*place)
    return spec is not None and spec.is_calculated and spec.calculation is None


def _make_plan(site: Site, spec: SeriesSpec, how: Calculation) -> Plan:
    def find_unit(place: Series) -> str | None:
        expected = site.expect(*place)
        return None if expected is None else expected.unit

    own, expected = {unit for _, unit in site.quantities}, site.expect(spec.station, spec.quantity)
    assert expected is not None
    expression = read_expression(how.expression, find_unit, own)
    scales = {place: unit.scale for place, unit in zip(expression.inputs, expression.units, strict=True)}
    slack_s, early_s = max(how.within_s, how.hold_s), 0.0 if how.hold_s else how.within_s
    facts = (how.places[0], scales, read_unit(spec.unit, own).scale, expected.low, expected.high, early_s, slack_s)
    return Plan(f"{spec.station}.{spec.quantity}", spec, how, expression, *facts, slack_s + expression.reach_s)


def _drop_between(
    plans: SitePlans, come: list[Observation], newest: Mapping[int, str], now: datetime
) -> list[Observation]:
    """What came, without what only series with `every` rest on where none of their instants can be due."""
    if not plans.grids:
        return come
    instants, known_s = {*map(_get_instant, come)}, [_read_s(at) for at in {*newest.values()}]
    first_s, last_s, now_s = map(epoch_s, (min(instants), max(instants), now))
    for every_s, (before_s, behind_s) in plans.grids.items():
        is_late = first_s <= max(known_s)
        from_s = min(min(known_s) + 2.0 * _BIT_S, first_s - before_s if is_late else inf)
        if from_s == -inf or floor(max(min(last_s + behind_s, now_s), last_s) / every_s + _BIT_S) * every_s >= from_s:
            return come
    return [o for o in come if (o.station, o.quantity) in plans.always] if plans.always else []


def add_calculated(
    c: Connection,
    sites: Mapping[str, Site],
    rows: Sequence[Observation],
    added: AddResult,
    now: datetime,
    ids: SeriesIds,
) -> list[Observation]:
    """Store what follows from readings that were just stored, and give it back; call in their transaction."""
    found: list[Observation] = []
    for site in (sites[name] for name in {o.site for o in rows} if name in sites and plan_site(sites[name]).each):
        newest, come = added.newest, [o for o in rows if o.site == site.id]
        if not (come := _drop_between(plan_site(site), come, newest, now)):
            continue
        received_at, batch = max(o.received_at for o in come), _Batch(c, site, ids)
        for step in plan_site(site).steps:
            batch.add(come, newest)
            come, wanted = [], list[tuple[Plan, Span]]()
            for plan in dict.fromkeys(plan for place in batch.samples for plan in step.get(place, ())):
                due = batch.list_due(plan, epoch_s(received_at)) if plan.calculation.every_s else None
                if due == []:
                    continue
                if batch.has_all(plan, due):
                    at_s = [one.at_s for one in batch.samples[plan.first]] if due is None else due
                    come += filter(None, _compute_each(site.id, plan, batch.samples, at_s, received_at).values())
                elif due is not None:
                    wanted += [(plan, (at, at)) for at in map(from_epoch_s, due)]
                else:
                    wanted += [(plan, span) for span in batch.list_touched(plan)]
            come += _compute_spans(c, site, wanted, received_at, ids)
            newest = _store(c, come, now, ids)
            found += come
    return found


class _Batch:
    """What came of the series that others rest on."""

    def __init__(self, c: Connection, site: Site, ids: SeriesIds) -> None:
        self._site, self._ids, self._scales = site, ids, plan_site(site).scales
        self._c, self._corrected = c, load_offset_series(c)
        self._ends: dict[Series, tuple[float, float]] = {}  # its last instant before, and its first new one
        self._before: dict[Series, float] = {}  # its newest instant before
        self.samples: dict[Series, list[Sample]] = {}

    def add(self, observations: Iterable[Observation], newest: Mapping[int, str]) -> None:
        """Add readings; `newest`: by series its newest epoch before they came."""
        for one in observations:
            place = (one.station, one.quantity)
            if place not in self._scales:
                continue
            sample, there = (
                _make_sample(place, one, self._scales[place], self._site),
                self.samples.setdefault(place, []),
            )
            if there:
                self._ends[place] = self._ends[place] if sample.at_s > there[-1].at_s else _OLD
            else:
                number = self._ids[self._site.id, *place][0]
                before, is_known = _read_s(newest.get(number, "")), number in newest and number not in self._corrected
                if number not in newest:  # what a profile made
                    at = find_epoch(self._c, number, one.observed_at - _BIT, 0)
                    before = -inf if at is None else epoch_s(at)
                self._before[place] = before
                self._ends[place] = (before, sample.at_s) if is_known else _OLD
            there.append(sample)

    def list_due(self, plan: Plan, now_s: float) -> list[float]:
        """The instants of `every` whose value may be new or another.

        Each stands once its first input has a reading at or after it. In order a reading counts from the one before it
        on, which may stand for what follows it; a late one as far as it is near.
        """
        before_s, due = self._ends.get(plan.first, _OLD)[0], set[float]()
        newest_s = max(before_s, self.samples[plan.first][-1].at_s) if before_s < inf else now_s
        for place in self.samples.keys() & plan.scales.keys():
            before_s = self._before[place]
            from_s = before_s + 2.0 * _BIT_S
            begins = [(one.at_s, from_s if one.at_s > before_s else -inf) for one in self.samples[place]]
            for at_s, begin_s in (*begins, (before_s, from_s)) if isfinite(before_s) else begins:
                end_s = min(at_s + plan.behind_s, newest_s)
                due.update(plan.list_grid(max(at_s - plan.early_s, begin_s), end_s))
        return sorted(due)

    def list_touched(self, plan: Plan) -> Sequence[Span]:
        """The times in which what came may change a value."""
        ahead, behind = timedelta(seconds=plan.behind_s), timedelta(seconds=plan.early_s)
        changed = [from_epoch_s(one.at_s) for place in plan.scales for one in self.samples.get(place, ())]
        return join_spans((at - behind, at + ahead) for at in changed)

    def has_all(self, plan: Plan, due: Sequence[float] | None) -> bool:
        """Whether all that values rest on came: nothing that was there before is near enough to count."""
        ends = [self._ends.get(place, _OLD) for place in plan.scales]
        is_near = not plan.expression.reach_s and not plan.calculation.hold_s
        from_s = due[0] if due else min([first for _, first in ends])
        return is_near and max(ends)[0] < from_s - 1.001 * plan.slack_s  # roundings


@lru_cache(maxsize=1024)
def _read_s(at: str) -> float:
    return epoch_s(parse(at)) if at else -inf


def _compute_spans(
    connection: Connection, site: Site, wanted: Sequence[tuple[Plan, Span]], received_at: datetime, ids: SeriesIds
) -> list[Observation]:
    """The values of series in times, ends included, as received with what completes them."""
    found: list[Observation] = []
    scales, known_at = plan_site(site).scales, received_at + AHEAD
    # of times that begin on a day what they rest on is read in one statement
    for _, each in groupby(sorted(wanted, key=lambda one: one[1]), lambda one: one[1][0].date()):
        near, since = [*each], dict[Series, datetime]()
        for plan, (begin, _) in near:
            from_at = begin - timedelta(seconds=plan.behind_s) - _BIT
            since |= {place: min(from_at, since.get(place, from_at)) for place in plan.scales}
        to_at = max(end + timedelta(seconds=plan.slack_s) for plan, (_, end) in near)
        known = load_known(connection, site.id, since, to_at, known_at, ids)
        samples = {
            place: [_make_sample(place, one, scales[place], site) for one in rows] for place, rows in known.items()
        }
        for plan, span in near:
            if not known.keys() >= plan.scales.keys():
                continue
            firsts = [one.at_s for one in samples[plan.first]]
            if plan.calculation.every_s:
                instants = _list_grid(connection, site, plan, span, firsts, ids, known_at) if firsts else []
            else:
                instants = [at_s for at_s in firsts if span[0] <= from_epoch_s(at_s) <= span[1]]
            values = _compute_each(site.id, plan, samples, instants, received_at)
            found += filter(None, values.values())
            gaps = [at for at, one in values.items() if one is None]
            number = find_series_id(connection, site.id, plan.spec.station, plan.spec.quantity, ids) if gaps else None
            if number is not None and any(one.revision for place in plan.scales for one in known[place]):
                there = load_readings(connection, number, gaps[0] - _BIT, gaps[-1], known_at)
                found += _withdraw(site, plan, [one for one in there if one.observed_at in gaps], received_at)
    return found


def _list_grid(
    connection: Connection,
    site: Site,
    plan: Plan,
    span: Span,
    firsts_s: Sequence[float],
    ids: SeriesIds,
    known_at: datetime,
) -> list[float]:
    """The instants of `every` in a time that a reading of the first input has passed."""
    instants = plan.list_grid(*map(epoch_s, span))
    if not instants or instants[-1] <= firsts_s[-1] + _BIT_S:
        return instants
    first = find_series_id(connection, site.id, *plan.first, ids)
    newest = None if first is None else find_epoch(connection, first, known_at, 0)
    return [at_s for at_s in instants if newest is not None and from_epoch_s(at_s) <= newest]


def _withdraw(site: Site, plan: Plan, there: Iterable[Reading], received_at: datetime) -> Iterator[Observation]:
    """Values that stand there and can be computed no more, as unusable."""
    place, flags = (site.id, plan.spec.station, plan.spec.quantity, plan.spec.unit), (WITHDRAWN,)
    for one in there:
        if WITHDRAWN not in one.flags:
            at, extra = one.observed_at, canonical_json({CHANGED: True})
            yield Observation(*place, at, received_at, one.value_raw, one.sigma, "corrected", flags, extra=extra)


def _make_sample(place: Series, one: Reading | Observation, scale: float, site: Site) -> Sample:
    sigma, is_changed = None if one.sigma is None else one.sigma * scale, isinstance(one, Reading) and one.revision > 0
    if is_changed and (spec := site.series(*place)) is not None and spec.calculation is not None:
        is_changed = f'"{CHANGED}":' in (one.extra or "")  # a calculated value that was completed is not changed
    return Sample(place, epoch_s(one.observed_at), one.value * scale, sigma, one.flags, is_changed)


def _compute_each(
    site: str, plan: Plan, samples: Mapping[Series, Sequence[Sample]], instants: Iterable[float], received_at: datetime
) -> dict[datetime, Observation | None]:
    """By instant the value, None where something is missing or nothing can be computed (a division by 0)."""
    inputs = InputSamples(samples, plan.calculation.within_s, plan.calculation.hold_s)
    return {from_epoch_s(at_s): _compute_one(site, plan, inputs, at_s, received_at) for at_s in instants}


def _compute_one(
    site: str, plan: Plan, samples: InputSamples, at_s: float, received_at: datetime
) -> Observation | None:
    try:
        made = plan.expression.compute(samples, at_s)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    if made is None or not (isfinite(made[0]) and abs(made[0] / plan.scale) < LARGEST):
        return None
    value, used = float(f"{made[0] / plan.scale:.{DIGITS}g}"), made[1]
    sigma, spec = compute_sigma(used), plan.spec
    flags = {flag for one in used for flag in one.flags} - HARMLESS
    if not plan.low <= value <= plan.high:
        flags.add("out_of_range")
    newest: dict[Series, float] = {}
    if {one.at_s for one in used} != {at_s}:
        newest = {one.series: one.at_s for one in sorted(used, key=find_at_s)}
    apart = {".".join(place): format_iso(from_epoch_s(s)) for place, s in newest.items() if s != at_s}
    extra = ({MADE_FROM: apart} if apart else {}) | ({CHANGED: True} if any(one.is_changed for one in used) else {})
    return Observation(
        site,
        spec.station,
        spec.quantity,
        spec.unit,
        from_epoch_s(at_s),
        received_at,
        value,
        None if sigma is None else sigma / plan.scale,
        flags=tuple(sorted(flags)) if flags else (),
        extra=canonical_json(extra) if extra else None,
    )


def _store(connection: Connection, rows: Sequence[Observation], now: datetime, ids: SeriesIds) -> Mapping[int, str]:
    """Store values, and give back the newest epoch that each series had before.

    The store takes a value that an instant had before for a duplicate: one that comes back, after its inputs did, is
    stored as a correction, and where that was there as well a last digit higher.
    """
    added = add_observations(connection, rows, now, ids)
    for _ in range(ROUNDS if added.duplicates or added.revisions else 0):
        stored, rows = rows, []
        for one in stored:
            number, at = find_series_id(connection, one.site, one.station, one.quantity, ids), one.observed_at
            there = () if number is None else load_readings(connection, number, at - _BIT, at, now + AHEAD)
            if not _is_same(one, next(iter(there), None)):
                rows.append(one)
        add_observations(connection, [replace(one, solution="corrected") for one in rows], now, ids)
        rows = [replace(one, value=nextafter(one.value, inf)) for one in rows]
    return added.newest


def _is_same(one: Observation, spoken: Reading | None) -> bool:
    if spoken is None or (one.sigma is None) != (spoken.sigma is None) or {*one.flags} ^ {*spoken.flags} - HARMLESS:
        return False
    sigmas = isclose(one.sigma or 0.0, spoken.sigma or 0.0, rel_tol=SAME)
    return sigmas and isclose(one.value, spoken.value_raw, rel_tol=SAME, abs_tol=SAME)


def run(db: Database, _config: Any, site: Site, now: datetime) -> str:
    """Compute all of a series whose expression, or an offset of whose inputs, is another than before."""
    name, plans = f"derived:{site.id}", plan_site(site).each
    known = db.run_read(lambda c: find_stamp(c, name))
    before = {} if known is None else known[1]
    with db.read() as c:
        digests: dict[str, str] = {}
        for plan in plans:  # what it rests on comes before it
            digests |= _digest(c, site, plan, digests, now)
    if digests == before:
        return IDLE  # a file without any is noted as well: one that comes back has readings to catch up with
    count = 0
    for plan in plans:
        if before.get(plan.name) != digests[plan.name]:
            try:
                is_same = before.get(f"{OF_FILE}{plan.name}") == digests[f"{OF_FILE}{plan.name}"]
                count += _renew(db, site, plan, now, is_same=is_same)
            except StoreBusyError:
                raise
            except StoreError as error:  # its unit is another than before: the others go on
                _LOG.warning("%s of %s is not calculated: %s", plan.name, site.id, error)
    with db.write() as c:
        stamp(c, name, digests, now)
    return f"{count} values of calculated series"


def _digest(connection: Connection, site: Site, plan: Plan, known: Mapping[str, str], now: datetime) -> dict[str, str]:
    """What its past values follow from, beside the readings; and what of it the site file says."""
    numbers = {place: find_series_id(connection, site.id, *place) for place in plan.expression.inputs}
    offsets = [[] if n is None else load_offsets(connection, n, now) for n in numbers.values()]
    calculation = plan.calculation
    facts = [calculation.expression, calculation.inputs, calculation.within_s, calculation.hold_s, plan.spec.unit]
    facts += [calculation.every_s] if calculation.every_s else []
    calculated = [one for one in calculation.inputs if one in known]
    return {
        plan.name: digest_text(canonical_json([*facts, offsets, *(known[one] for one in calculated)])),
        f"{OF_FILE}{plan.name}": digest_text(canonical_json([*facts, *(known[f"{OF_FILE}{o}"] for o in calculated)])),
    }


def _renew(db: Database, site: Site, plan: Plan, now: datetime, *, is_same: bool) -> int:
    """Compute the past of a series, a month at a time; values that are the same stay.

    `is_same`: only an offset is another than before; values whose inputs were deleted meanwhile stay as well then.
    """
    with db.read() as c:
        own = find_series_id(c, site.id, plan.spec.station, plan.spec.quantity)
        numbers = [n for place in plan.calculation.places if (n := find_series_id(c, site.id, *place)) is not None]
        extents = load_extents(c, [*numbers, own or 0], datetime(1, 1, 2, tzinfo=now.tzinfo), now)
    left = max((one.first for number, one in extents.items() if number != own), default=now)
    left += timedelta(seconds=plan.behind_s)
    count = 0
    early, spans = timedelta(seconds=plan.early_s), [e for n, e in extents.items() if n in {own, *numbers[:1]}]
    for first, last in join_spans((one.first - early, one.last) for one in spans):
        begin = first
        while begin <= last:
            span = (begin, min(begin + CHUNK, last))
            with db.write() as c:
                there = [] if own is None else load_readings(c, own, begin - _BIT, span[1], now + AHEAD)
                rows = _list_changes(c, site, plan, span, there, now, stays_before=left if is_same else None)
                _store(c, rows, now, {})
                count += len(rows)
            begin += CHUNK
    return count


def _list_changes(
    connection: Connection,
    site: Site,
    plan: Plan,
    span: Span,
    there: Sequence[Reading],
    now: datetime,
    *,
    stays_before: datetime | None,
) -> list[Observation]:
    """Values of a time that are another than those that stand there, and those that can be computed no more.

    `stays_before`: what can be computed no more stays as it is before that instant.
    """
    spoken = {one.observed_at: one for one in there}
    rows = _compute_spans(connection, site, [(plan, span)], now, {})
    made = {one.observed_at for one in rows}
    lost = [at for at in spoken if at not in made and (stays_before is None or at >= stays_before)]
    rows += _withdraw(site, plan, [spoken[at] for at in lost], now)
    changed = []
    for one in rows:
        known = spoken.get(one.observed_at)
        if known is None:
            changed.append(one)
        elif not _is_same(one, known):
            mark = {**json.loads(one.extra or "{}"), CHANGED: True}
            changed.append(replace(one, extra=canonical_json(mark)))
    return changed

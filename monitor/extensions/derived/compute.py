"""Calculated series as readings come in, in the same transaction; and anew where a file or an offset changes them."""

import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from graphlib import TopologicalSorter
from math import ceil, floor, inf, isclose, isfinite, nextafter
from operator import attrgetter
from typing import Any, Final

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
TOGETHER: Final = timedelta(days=1)  # times that begin within it are read at once
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

    spec: SeriesSpec
    calculation: Calculation
    expression: Expression
    scales: Mapping[Series, float]  # base units in one of each input
    scale: float  # and in one of the series
    low: float  # between which a value of it is expected
    high: float

    @cached_property
    def first(self) -> Series:
        """The input whose instants it has."""
        return self.calculation.places[0]

    @property
    def name(self) -> str:
        """`STATION.quantity`."""
        return f"{self.spec.station}.{self.spec.quantity}"

    @cached_property
    def slack_s(self) -> float:
        """How far from its instant a reading may lie that stands for it."""
        return max(self.calculation.within_s, self.calculation.hold_s)

    @cached_property
    def early_s(self) -> float:
        """How far after its instant at most."""
        return 0.0 if self.calculation.hold_s else self.calculation.within_s

    def list_grid(self, from_s: float, to_s: float) -> list[float]:
        """The instants of `every` between two, which count as well."""
        every_s = self.calculation.every_s
        return [k * every_s for k in range(ceil((from_s - _BIT_S) / every_s), floor((to_s + _BIT_S) / every_s) + 1)]


@once_per_record
def list_steps(site: Site) -> Sequence[Mapping[Series, Sequence[Plan]]]:
    """The calculated series of a site in steps, by what they rest on: measured series, and those of steps before."""
    own = {unit for _, unit in site.quantities}
    specs = {
        (one.station, one.quantity): one for s in site.stations for spec in s.series for one in list_components(spec)
    }

    def find_unit(place: Series) -> str | None:
        expected = site.expect(*place)
        return None if expected is None else expected.unit

    def plan(spec: SeriesSpec) -> Plan:
        assert spec.calculation is not None
        expression = read_expression(spec.calculation.expression, find_unit, own)
        scales = {place: unit.scale for place, unit in zip(expression.inputs, expression.units, strict=True)}
        expected = site.expect(spec.station, spec.quantity)
        bounds = (-inf, inf) if expected is None else (expected.low, expected.high)
        return Plan(spec, spec.calculation, expression, scales, read_unit(spec.unit, own).scale, *bounds)

    calculations = ((place, spec.calculation) for place, spec in specs.items())
    order = TopologicalSorter({place: how.places for place, how in calculations if how is not None})
    order.prepare()
    steps: list[dict[Series, list[Plan]]] = []
    while order.is_active():
        ready = order.get_ready()
        steps.append({})
        for one in [plan(specs[place]) for place in ready if place in specs]:
            for place in one.scales:
                steps[-1].setdefault(place, []).append(one)
        order.done(*ready)
    return [step for step in steps if step]


def list_plans(site: Site) -> list[Plan]:
    """The calculated series of a site, each after those that it rests on."""
    return [*dict.fromkeys(plan for step in list_steps(site) for plans in step.values() for plan in plans)]


@once_per_record
def _find_scales(site: Site) -> Mapping[Series, float]:
    """Base units in one of each series that others rest on."""
    return {place: scale for plan in list_plans(site) for place, scale in plan.scales.items()}


@once_per_record
def _find_grids(site: Site) -> tuple[Mapping[float, tuple[float, float]], frozenset[Series]]:
    """By `every` how far before and behind a reading it counts; and what series at the instants of others rest on."""
    grids: dict[float, tuple[float, float]] = {}
    places: set[Series] = set()
    for plan in list_plans(site):
        if every_s := plan.calculation.every_s:
            before, behind = grids.get(every_s, (0.0, 0.0))
            grids[every_s] = max(before, plan.early_s), max(behind, plan.slack_s + plan.expression.reach_s)
        else:
            places |= plan.scales.keys()
    return grids, frozenset(places)


def _drop_between(site: Site, come: list[Observation], newest: Mapping[int, str], now: datetime) -> list[Observation]:
    """What came, without what only series with `every` rest on where none of their instants can be due."""
    grids, places = _find_grids(site)
    if not grids:
        return come
    instants, known_s = {*map(_get_instant, come)}, [_read_s(at) for at in {*newest.values()}]
    first_s, last_s, now_s = map(epoch_s, (min(instants), max(instants), now))
    for every_s, (before_s, behind_s) in grids.items():
        is_late = first_s <= max(known_s)
        from_s = min(min(known_s) + 2.0 * _BIT_S, first_s - before_s if is_late else inf)
        if from_s == -inf or floor(max(min(last_s + behind_s, now_s), last_s) / every_s + _BIT_S) * every_s >= from_s:
            return come
    return [o for o in come if (o.station, o.quantity) in places] if places else []


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
    for site in (sites[name] for name in {o.site for o in rows} if name in sites and list_steps(sites[name])):
        newest, come = added.newest, _drop_between(site, [o for o in rows if o.site == site.id], added.newest, now)
        if not come:
            continue
        received_at, batch = max(o.received_at for o in come), _Batch(site, ids, load_offset_series(c))
        for step in list_steps(site):
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
                    wanted += [(plan, span) for span in _list_spans(plan, batch.samples)]
            come += _compute_spans(c, site, wanted, received_at, ids)
            newest = _store(c, come, now, ids)
            found += come
    return found


class _Batch:
    """What came of the series that others rest on."""

    def __init__(self, site: Site, ids: SeriesIds, corrected: Collection[int]) -> None:
        self._site, self._ids, self._corrected, self._scales = site.id, ids, corrected, _find_scales(site)
        self._ends: dict[Series, tuple[float, float]] = {}  # its last instant before, and its first new one
        self._before: dict[Series, float] = {}  # its newest instant before
        self.samples: dict[Series, list[Sample]] = {}

    def add(self, observations: Iterable[Observation], newest: Mapping[int, str]) -> None:
        """Add readings; `newest`: by series its newest epoch before they came."""
        for one in observations:
            place = (one.station, one.quantity)
            if place not in self._scales:
                continue
            sample, there = _make_sample(place, one, self._scales[place]), self.samples.setdefault(place, [])
            if there:
                self._ends[place] = self._ends[place] if sample.at_s > there[-1].at_s else _OLD
            else:
                number = self._ids[self._site, *place][0]
                self._before[place] = before = _read_s(newest.get(number, ""))
                is_known = number in newest and number not in self._corrected
                self._ends[place] = (before, sample.at_s) if is_known else _OLD
            there.append(sample)

    def list_due(self, plan: Plan, now_s: float) -> list[float]:
        """The instants of `every` whose value may be new or another.

        Each stands once its first input has a reading at or after it. In order a reading counts from the one before it
        on, which may stand for what follows it; a late one as far as it is near.
        """
        firsts, due = self.samples.get(plan.first), set[float]()
        newest_s = max(self._before[plan.first], *(one.at_s for one in firsts)) if firsts else now_s
        for place in self.samples.keys() & plan.scales.keys():
            before_s = self._before[place]
            from_s = before_s + 2.0 * _BIT_S
            begins = [(one.at_s, from_s if one.at_s > before_s else -inf) for one in self.samples[place]]
            for at_s, begin_s in (*begins, (before_s, from_s)) if isfinite(before_s) else begins:
                end_s = min(at_s + plan.slack_s + plan.expression.reach_s, newest_s)
                due.update(plan.list_grid(max(at_s - plan.early_s, begin_s), end_s))
        return sorted(due)

    def has_all(self, plan: Plan, due: Sequence[float] | None) -> bool:
        """Whether all that values rest on came: nothing that was there before is near enough to count."""
        ends = [self._ends.get(place, _OLD) for place in plan.scales]
        is_near = not plan.expression.reach_s and not plan.calculation.hold_s
        from_s = due[0] if due else min([first for _, first in ends])
        return is_near and max(ends)[0] < from_s - 1.001 * plan.slack_s  # roundings


@lru_cache(maxsize=1024)
def _read_s(at: str) -> float:
    return epoch_s(parse(at)) if at else -inf


def _list_spans(plan: Plan, changed: Mapping[Series, Iterable[Sample]]) -> list[Span]:
    """The times in which a series differs once readings of these instants are there."""
    ahead, behind = timedelta(seconds=plan.expression.reach_s + plan.slack_s), timedelta(seconds=plan.early_s)
    instants = [from_epoch_s(one.at_s) for place in plan.scales for one in changed.get(place, ())]
    return join_spans((at - behind, at + ahead) for at in instants)


def _compute_spans(
    connection: Connection, site: Site, wanted: Sequence[tuple[Plan, Span]], received_at: datetime, ids: SeriesIds
) -> list[Observation]:
    """The values of series in times, ends included, as received with what completes them."""
    found: list[Observation] = []
    near: list[tuple[Plan, Span]] = []
    for one in sorted(wanted, key=lambda each: each[1]):
        if near and one[1][0] - near[0][1][0] > TOGETHER:
            found += _compute_near(connection, site, near, received_at, ids)
            near = []
        near.append(one)
    return found + (_compute_near(connection, site, near, received_at, ids) if near else [])


def _compute_near(
    connection: Connection, site: Site, wanted: Sequence[tuple[Plan, Span]], received_at: datetime, ids: SeriesIds
) -> list[Observation]:
    """The same of times that lie near each other: what they rest on is read in one statement."""
    since: dict[Series, datetime] = {}
    for plan, (begin, _) in wanted:
        from_at = begin - timedelta(seconds=plan.expression.reach_s + plan.slack_s) - _BIT
        since |= {place: min(from_at, since.get(place, from_at)) for place in plan.expression.inputs}
    to_at, known_at = max(end + timedelta(seconds=plan.slack_s) for plan, (_, end) in wanted), received_at + AHEAD
    known = load_known(connection, site.id, since, to_at, known_at, ids)
    scales = _find_scales(site)
    samples = {
        place: [_make_sample(place, one, scales[place], is_made=_is_calculated(site, place)) for one in rows]
        for place, rows in known.items()
    }
    return [
        one
        for plan, span in wanted
        if known.keys() >= plan.scales.keys()
        for one in _compute_span(connection, site, plan, span, known, samples, received_at, ids)
    ]


def _compute_span(
    connection: Connection,
    site: Site,
    plan: Plan,
    span: Span,
    known: Mapping[Series, Sequence[Reading]],
    samples: Mapping[Series, Sequence[Sample]],
    received_at: datetime,
    ids: SeriesIds,
) -> Iterator[Observation]:
    firsts, instants = [one.at_s for one in samples[plan.first]], list[float]()
    if not plan.calculation.every_s:
        instants = [at_s for at_s in firsts if span[0] <= from_epoch_s(at_s) <= span[1]]
    elif firsts and (instants := plan.list_grid(*map(epoch_s, span))) and instants[-1] > firsts[-1] + _BIT_S:
        first = find_series_id(connection, site.id, *plan.first, ids)
        newest = None if first is None else find_epoch(connection, first, received_at + AHEAD, 0)
        instants = [at_s for at_s in instants if newest is not None and from_epoch_s(at_s) <= newest]
    found = _compute_each(site.id, plan, samples, instants, received_at)
    yield from filter(None, found.values())
    gaps = [at for at, one in found.items() if one is None]
    number = find_series_id(connection, site.id, plan.spec.station, plan.spec.quantity, ids) if gaps else None
    if number is not None and any(one.revision for place in plan.scales for one in known[place]):
        there = load_readings(connection, number, gaps[0] - _BIT, gaps[-1], received_at + AHEAD)
        yield from _withdraw(site, plan, [one for one in there if one.observed_at in gaps], received_at)


def _withdraw(site: Site, plan: Plan, there: Iterable[Reading], received_at: datetime) -> Iterator[Observation]:
    """Values that stand there and can be computed no more, as unusable."""
    place, flags = (site.id, plan.spec.station, plan.spec.quantity, plan.spec.unit), (WITHDRAWN,)
    for one in there:
        if WITHDRAWN not in one.flags:
            at, extra = one.observed_at, canonical_json({CHANGED: True})
            yield Observation(*place, at, received_at, one.value_raw, one.sigma, "corrected", flags, extra=extra)


def _is_calculated(site: Site, place: Series) -> bool:
    spec = site.series(*place)
    return spec is not None and spec.calculation is not None


def _make_sample(place: Series, one: Reading | Observation, scale: float, *, is_made: bool = False) -> Sample:
    sigma = None if one.sigma is None else one.sigma * scale
    # a calculated value that was completed is not changed
    is_changed = isinstance(one, Reading) and one.revision > 0 and (not is_made or f'"{CHANGED}":' in (one.extra or ""))
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
        rows = [one for one in rows if not _is_same(one, _find_spoken(connection, one, now, ids))]
        if not rows:
            break
        add_observations(connection, [replace(one, solution="corrected") for one in rows], now, ids)
        rows = [replace(one, value=nextafter(one.value, inf)) for one in rows]
    return added.newest


def _find_spoken(connection: Connection, one: Observation, now: datetime, ids: SeriesIds) -> Reading | None:
    number = find_series_id(connection, one.site, one.station, one.quantity, ids)
    at = one.observed_at
    there = () if number is None else load_readings(connection, number, at - _BIT, at, now + AHEAD)
    return next(iter(there), None)


def _is_same(one: Observation, spoken: Reading | None) -> bool:
    if spoken is None or (one.sigma is None) != (spoken.sigma is None) or {*one.flags} ^ {*spoken.flags} - HARMLESS:
        return False
    sigmas = isclose(one.sigma or 0.0, spoken.sigma or 0.0, rel_tol=SAME)
    return sigmas and isclose(one.value, spoken.value_raw, rel_tol=SAME, abs_tol=SAME)


def run(db: Database, _config: Any, site: Site, now: datetime) -> str:
    """Compute all of a series whose expression, or an offset of whose inputs, is another than before."""
    name, plans = f"derived:{site.id}", list_plans(site)
    known = db.run_read(lambda c: find_stamp(c, name))
    before = {} if known is None else known[1]
    with db.read() as c:
        digests: dict[str, str] = {}
        for plan in plans:  # what it rests on comes before it
            digests[plan.name] = _digest(c, site, plan, digests, now)
    if digests == before:
        return IDLE  # a file without any is noted as well: one that comes back has readings to catch up with
    count = 0
    for plan in plans:
        if before.get(plan.name) != digests[plan.name]:
            try:
                count += _renew(db, site, plan, now)
            except StoreBusyError:
                raise
            except StoreError as error:  # its unit is another than before: the others go on
                _LOG.warning("%s of %s is not calculated: %s", plan.name, site.id, error)
    with db.write() as c:
        stamp(c, name, digests, now)
    return f"{count} values of calculated series"


def _digest(connection: Connection, site: Site, plan: Plan, known: Mapping[str, str], now: datetime) -> str:
    """What its past values follow from, beside the readings."""
    numbers = {place: find_series_id(connection, site.id, *place) for place in plan.expression.inputs}
    offsets = [[] if n is None else load_offsets(connection, n, now) for n in numbers.values()]
    calculation = plan.calculation
    facts = [calculation.expression, calculation.inputs, calculation.within_s, calculation.hold_s, plan.spec.unit]
    facts += [calculation.every_s] if calculation.every_s else []
    calculated = [known[one] for one in calculation.inputs if one in known]
    return digest_text(canonical_json([*facts, offsets, *calculated]))


def _mark_changed(one: Observation) -> Observation:
    return replace(one, extra=canonical_json({**json.loads(one.extra or "{}"), CHANGED: True}))


def _renew(db: Database, site: Site, plan: Plan, now: datetime) -> int:
    """Compute the past of a series, a month at a time; values that are the same stay."""
    with db.read() as c:
        own = find_series_id(c, site.id, plan.spec.station, plan.spec.quantity)
        numbers = [n for n in (own, find_series_id(c, site.id, *plan.first)) if n is not None]
        extents = load_extents(c, numbers, datetime(1, 1, 2, tzinfo=now.tzinfo), now).values() if numbers else ()
    count = 0
    for first, last in join_spans((one.first, one.last) for one in extents):
        begin = first
        while begin <= last:
            span = (begin, min(begin + CHUNK, last))
            with db.write() as c:
                there = [] if own is None else load_readings(c, own, begin - _BIT, span[1], now + AHEAD)
                spoken = {one.observed_at: one for one in there}
                rows = _compute_spans(c, site, [(plan, span)], now, {})
                made = {one.observed_at for one in rows}
                rows += _withdraw(site, plan, [one for one in there if one.observed_at not in made], now)
                rows = [one for one in rows if not _is_same(one, spoken.get(one.observed_at))]
                _store(c, [_mark_changed(one) if one.observed_at in spoken else one for one in rows], now, {})
                count += len(rows)
            begin += CHUNK
    return count

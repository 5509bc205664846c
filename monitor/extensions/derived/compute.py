"""Calculated series as readings come in, in the same transaction; and anew where a file or an offset changes them."""

import logging
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from graphlib import TopologicalSorter
from itertools import chain
from math import inf, isclose, isfinite, nextafter
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from monitor.domain.canonical import canonical_json, digest_text
from monitor.domain.errors import StoreBusyError, StoreError
from monitor.domain.instants import Span, epoch_s, format_iso, from_epoch_s, join_spans
from monitor.domain.observation import HARMLESS, Observation, Reading
from monitor.domain.site import Calculation, SeriesSpec, Site, once_per_record
from monitor.extensions.derived.expression import (
    Expression,
    InputSamples,
    Sample,
    Series,
    compute_sigma,
    read_expression,
)
from monitor.extensions.derived.relative import list_components
from monitor.extensions.derived.units import read_unit
from monitor.store.database.engine import Database
from monitor.store.readings.observations import (
    SeriesKey,
    add_observations,
    find_series_id,
    load_extents,
    load_offsets,
    load_readings,
)
from monitor.store.readings.reading_stamps import Stamp, load_later_entries, load_newer
from monitor.store.service_state import IDLE, find_stamp, stamp

_LOG: Final = logging.getLogger(__name__)
LARGEST: Final = 1e12
CHUNK: Final = timedelta(days=30)
TOGETHER: Final = timedelta(days=1)  # times that begin within it are read at once
AHEAD: Final = timedelta(days=1)  # what a clock that is ahead received is there as well
_BIT: Final = timedelta(microseconds=1)
ROUNDS: Final = 5  # of a value that an instant had before: it is stored a last digit higher
DIGITS: Final = 13  # of a value: base units turn 31.4 mm into 31.399999999999995
SAME: Final = 1e-13  # of a value: a difference of last digits
WITHDRAWN: Final = "bad"  # the flag of a value that can be computed no more
MADE_FROM: Final = "made_from"  # in `extra`: by series the newest instant that a value was made from


class Plan(NamedTuple):
    """One calculated series, ready to be computed."""

    spec: SeriesSpec
    calculation: Calculation
    expression: Expression
    scales: Mapping[Series, float]  # base units in one of each input
    scale: float  # and in one of the series

    @property
    def first(self) -> Series:
        """The input whose instants it has."""
        return self.calculation.places[0]

    @property
    def name(self) -> str:
        """`STATION.quantity`."""
        return f"{self.spec.station}.{self.spec.quantity}"

    @property
    def slack_s(self) -> float:
        """How far from its instant a reading may lie that stands for it."""
        return max(self.calculation.within_s, self.calculation.hold_s)


Ids = MutableMapping[SeriesKey, tuple[int, str]]  # of series that are known


@once_per_record
def list_steps(site: Site) -> Sequence[Sequence[Plan]]:
    """The calculated series of a site in steps: each rests on measured series and on those of steps before."""
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
        return Plan(spec, spec.calculation, expression, scales, read_unit(spec.unit, own).scale)

    calculations = ((place, spec.calculation) for place, spec in specs.items())
    order = TopologicalSorter({place: how.places for place, how in calculations if how is not None})
    order.prepare()
    steps: list[list[Plan]] = []
    while order.is_active():
        ready = order.get_ready()
        steps.append([plan(specs[place]) for place in ready if place in specs])
        order.done(*ready)
    return [step for step in steps if step]


def list_plans(site: Site) -> list[Plan]:
    """The calculated series of a site, each after those that it rests on."""
    return [*chain.from_iterable(list_steps(site))]


def add_calculated(
    connection: Connection, sites: Mapping[str, Site], observations: Sequence[Observation], now: datetime, ids: Ids
) -> list[Observation]:
    """Store what follows from readings that were just stored, and give it back; call in their transaction."""
    found: list[Observation] = []
    for name in {o.site for o in observations}:
        steps = list_steps(sites[name]) if name in sites else ()
        mine = [o for o in observations if o.site == name] if steps else []
        received_at = max((o.received_at for o in mine), default=now)
        changed: dict[Series, list[datetime]] = {}
        for item in mine:
            changed.setdefault((item.station, item.quantity), []).append(item.observed_at)
        for step in steps:
            wanted = [(plan, span) for plan in step for span in _list_spans(plan, changed)]
            rows = _compute_spans(connection, sites[name], wanted, received_at, ids)
            for item in rows:
                changed.setdefault((item.station, item.quantity), []).append(item.observed_at)
            found += _store(connection, rows, now, ids)
    return found


def _list_spans(plan: Plan, changed: Mapping[Series, Iterable[datetime]]) -> list[Span]:
    """The times in which a series differs once readings of these instants are there."""
    ahead, behind = timedelta(seconds=plan.expression.reach_s + plan.slack_s), timedelta(seconds=plan.slack_s)
    instants = [at for place in plan.expression.inputs for at in changed.get(place, ())]
    return join_spans((at - behind, at + ahead) for at in instants)


def _compute_spans(
    connection: Connection, site: Site, wanted: Sequence[tuple[Plan, Span]], received_at: datetime, ids: Ids
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
    connection: Connection, site: Site, wanted: Sequence[tuple[Plan, Span]], received_at: datetime, ids: Ids
) -> list[Observation]:
    """The same of times that lie near each other: what they rest on is read in one statement."""
    since: dict[Series, datetime] = {}
    for plan, (begin, _) in wanted:
        from_at = begin - timedelta(seconds=plan.expression.reach_s + plan.slack_s) - _BIT
        since |= {place: min(from_at, since.get(place, from_at)) for place in plan.expression.inputs}
    to_at, known_at = max(end + timedelta(seconds=plan.slack_s) for plan, (_, end) in wanted), received_at + AHEAD
    numbers = {place: _find_id(connection, (site.id, *place), ids) for place in since}
    entries = load_later_entries(connection, site.id, known_at)
    held = [(n, since[place], entries.get(n, Stamp())) for place, n in numbers.items() if n is not None]
    read = load_newer(connection, held, to_at, known_at)
    known = {place: read[n][0] if n in read else [] for place, n in numbers.items() if n is not None}
    return [
        one
        for plan, span in wanted
        if known.keys() >= plan.scales.keys()
        for one in _compute_span(connection, site, plan, span, known, received_at, ids)
    ]


def _compute_span(
    connection: Connection,
    site: Site,
    plan: Plan,
    span: Span,
    known: Mapping[Series, Sequence[Reading]],
    received_at: datetime,
    ids: Ids,
) -> Iterator[Observation]:
    samples = InputSamples(
        {place: [_sample(one, scale) for one in known[place]] for place, scale in plan.scales.items()},
        plan.calculation.within_s,
        plan.calculation.hold_s,
    )
    by_reading = {(place, epoch_s(one.observed_at)): one for place in plan.scales for one in known[place]}
    instants = [one.observed_at for one in known[plan.first] if span[0] <= one.observed_at <= span[1]]
    found = {at: _compute_one(site, plan, samples, by_reading, at, received_at) for at in instants}
    yield from (one for one in found.values() if one is not None)
    gaps = [at for at, one in found.items() if one is None]
    number = _find_id(connection, (site.id, plan.spec.station, plan.spec.quantity), ids) if gaps else None
    if number is not None and any(one.revision for place in plan.scales for one in known[place]):
        there = load_readings(connection, number, gaps[0] - _BIT, gaps[-1], received_at + AHEAD)
        yield from _withdraw(site, plan, [one for one in there if found.get(one.observed_at, one) is None], received_at)


def _withdraw(site: Site, plan: Plan, there: Iterable[Reading], received_at: datetime) -> Iterator[Observation]:
    """Values that stand there and can be computed no more, as unusable."""
    place, flags = (site.id, plan.spec.station, plan.spec.quantity, plan.spec.unit), (WITHDRAWN,)
    for one in there:
        if WITHDRAWN not in one.flags:
            yield Observation(*place, one.observed_at, received_at, one.value_raw, one.sigma, "corrected", flags)


def _find_id(connection: Connection, key: SeriesKey, ids: Ids) -> int | None:
    return ids[key][0] if key in ids else find_series_id(connection, *key)


def _sample(reading: Reading, scale: float) -> Sample:
    sigma = None if reading.sigma is None else reading.sigma * scale
    return Sample(epoch_s(reading.observed_at), reading.value * scale, sigma)


def _compute_one(
    site: Site,
    plan: Plan,
    samples: InputSamples,
    by_reading: Mapping[tuple[Series, float], Reading],
    at: datetime,
    received_at: datetime,
) -> Observation | None:
    """The value at an instant, None where something is missing or nothing can be computed (a division by 0)."""
    try:
        made = plan.expression.compute(samples, epoch_s(at))
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    if made is None or not (isfinite(made[0]) and abs(made[0] / plan.scale) < LARGEST):
        return None
    value, used = made
    readings = {key: by_reading[key] for key in used}
    sigma = compute_sigma(used, samples.sigmas)
    spec, value = plan.spec, float(f"{value / plan.scale:.{DIGITS}g}")
    flags = {flag for one in readings.values() for flag in one.flags} - HARMLESS
    expected = site.expect(spec.station, spec.quantity)
    if expected is not None and not expected.low <= value <= expected.high:
        flags.add("out_of_range")
    newest: dict[str, float] = {}
    for place, at_s in used:
        newest[".".join(place)] = max(at_s, newest.get(".".join(place), at_s))
    return Observation(
        site.id,
        spec.station,
        spec.quantity,
        spec.unit,
        at,
        received_at,
        value,
        None if sigma is None else sigma / plan.scale,
        flags=tuple(sorted(flags)),
        extra=canonical_json({MADE_FROM: {name: format_iso(from_epoch_s(s)) for name, s in sorted(newest.items())}}),
    )


def _store(connection: Connection, rows: Sequence[Observation], now: datetime, ids: Ids) -> list[Observation]:
    """Store values, and give those back that are news.

    The store takes a value that an instant had before for a duplicate: one that comes back, after its inputs did, is
    stored as a correction, and where that was there as well a last digit higher.
    """
    added = add_observations(connection, rows, now, ids)
    stored = list(rows)
    for _ in range(ROUNDS if added.duplicates or added.revisions else 0):
        rows = [one for one in rows if not _is_same(one, _find_spoken(connection, one, now, ids))]
        if not rows:
            break
        add_observations(connection, [replace(one, solution="corrected") for one in rows], now, ids)
        rows = [replace(one, value=nextafter(one.value, inf)) for one in rows]
    return stored


def _find_spoken(connection: Connection, one: Observation, now: datetime, ids: Ids) -> Reading | None:
    number = _find_id(connection, (one.site, one.station, one.quantity), ids)
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
    calculated = [known[one] for one in calculation.inputs if one in known]
    return digest_text(canonical_json([*facts, offsets, *calculated]))


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
                count += len(_store(c, rows, now, {}))
            begin += CHUNK
    return count

"""Profiles as readings come in, in the same transaction; and anew where their declaration, zero or offsets change."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import isnan, nan, ulp
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from monitor.domain.canonical import canonical_json, digest_text
from monitor.domain.extension import find_functions
from monitor.domain.instants import Span, epoch_s, format_iso, join_spans, parse
from monitor.domain.observation import HARMLESS, INCOMPLETE, Observation, Reading
from monitor.domain.site import Site
from monitor.extensions.profiles.declare import MADE, DerivedValue, Profile, list_names, list_profiles
from monitor.extensions.profiles.store import find_epoch
from monitor.store.database.engine import Database
from monitor.store.readings.observations import AddResult, SeriesIds, add_observations, find_series_id
from monitor.store.readings.reading_stamps import load_known, load_later_entries
from monitor.store.service_state import IDLE, find_stamp, stamp

_BIT: Final = timedelta(microseconds=1)
CHUNK: Final = timedelta(days=30)
AHEAD: Final = timedelta(days=1)  # what a clock that is ahead received is there as well
WAITS: Final = timedelta(minutes=10)  # a profile of which depths are missing is not stored before: they may come
FIRST: Final = datetime(1, 1, 2, tzinfo=UTC)
SAME: Final = 5e-5  # what is stored has four decimals
WITHDRAWN: Final = "bad"
Known = Mapping[str, Sequence[Reading]]  # by quantity


class _Borehole(NamedTuple):
    """Where the readings of a profile are."""

    c: Connection
    site: Site
    profile: Profile
    ids: SeriesIds

    @property
    def anchor(self) -> str:
        """The series whose instants a profile has: that at the fixed end."""
        return self.profile.name(self.profile.faces[0], self.profile.outwards[0])

    def find_epoch(self, since: datetime, until: datetime, *, last: bool = False) -> datetime | None:
        """The first instant of a time, ends included, or the last."""
        number = find_series_id(self.c, self.site.id, self.profile.station, self.anchor, self.ids)
        return None if number is None else find_epoch(self.c, number, since, until, last=last)

    def load(self, names: Iterable[str], since: datetime, until: datetime, known_at: datetime) -> Known:
        """Readings of a time, ends included."""
        places = {(self.profile.station, name): since - _BIT for name in names}
        rows = load_known(self.c, self.site.id, places, until, known_at, self.ids)
        return {name: each for (_, name), each in rows.items()}

    def load_zero(self, known_at: datetime) -> tuple[datetime | None, Known]:
        """The instant of the zero reading, and the readings around it."""
        at, within = self.find_epoch(self.profile.zero or FIRST, known_at), timedelta(seconds=self.profile.within_s)
        return at, {} if at is None else self.load(list_names(self.profile), at - within, at + within, known_at)

    def list_surveys(self, known: Known) -> list[tuple[datetime, dict[str, float]]]:
        """Surveys by their instants, with the value of each series that is nearest to it, nan where it is unusable.

        Where one soon after another reads only some of its depths again, those count and the others stay.
        """
        instants = [one.observed_at for one in known.get(self.anchor, ())]
        middles, within = [a + (b - a) / 2 for a, b in pairwise(instants)], timedelta(seconds=self.profile.within_s)
        each: list[dict[str, float]] = [{} for _ in instants]
        for name, one in ((name, one) for name, rows in known.items() for one in rows if instants):
            place = bisect_left(middles, one.observed_at)
            if abs(one.observed_at - instants[place]) <= within:
                each[place][name] = each[place].get(name, nan) if {*one.flags} - HARMLESS else one.value
        found: list[tuple[datetime, dict[str, float]]] = []
        for at, mine in zip(instants, each, strict=True):
            if found and at - found[-1][0] <= within and not found[-1][1].keys() <= mine.keys():
                found[-1][1].update({name: value for name, value in mine.items() if not isnan(value)})
            else:
                found.append((at, mine))
        return found


def add_profiles(
    c: Connection, sites: Mapping[str, Site], rows: Sequence[Observation], _: AddResult, now: datetime, ids: SeriesIds
) -> list[Observation]:
    """Store what follows from readings that were just stored, and give it back; call in their transaction."""
    found: list[Observation] = []
    for name in {o.site for o in rows} & sites.keys():
        for profile in list_profiles(sites[name]):
            wanted = {*list_names(profile)}
            mine = [o for o in rows if (o.site, o.station) == (name, profile.station) and o.quantity in wanted]
            within, window = timedelta(seconds=profile.within_s), timedelta(seconds=profile.window_s)
            received_at = max((o.received_at for o in mine), default=now)
            for span in join_spans((o.observed_at - within, o.observed_at + within + window) for o in mine):
                found += _renew_span(_Borehole(c, sites[name], profile, ids), span, received_at, now)
    return found


def _renew_span(hole: _Borehole, span: Span, received_at: datetime, now: datetime) -> list[Observation]:
    """Compute the profiles of a time, ends included, and store what is new."""
    from monitor.extensions.profiles.reduction import list_parts, read_survey, subtract_zero  # with numpy

    profile, known_at = hole.profile, received_at + AHEAD
    zero_at, around = hole.load_zero(known_at)
    if zero_at is None:
        return []
    zero = read_survey(profile, epoch_s(zero_at), [one for at, one in hole.list_surveys(around) if at <= zero_at][-1])
    begin, within = span[0] - timedelta(seconds=profile.window_s), timedelta(seconds=profile.within_s)
    known = hole.load(list_names(profile), begin - within, span[1] + within, known_at)
    made = hole.load(MADE, *span, known_at)
    there = {(name, one.observed_at): one for name, rows in made.items() for one in rows}
    parts = {key: DerivedValue(key[0], None) for key in there}  # what stands where no survey is any more is withdrawn
    surveys = []
    for at, values in hole.list_surveys(known):
        surveys.append(subtract_zero(profile, read_survey(profile, epoch_s(at), values), zero))
        if span[0] <= at <= span[1]:
            parts = {key: part for key, part in parts.items() if key[1] != at}
            if at <= received_at - WAITS or not any(isnan(values.get(name, nan)) for name in list_names(profile)):
                recent = [one for one in surveys if one.at_s > epoch_s(at) - profile.window_s]
                parts |= {(part.quantity, at): part for part in list_parts(profile, recent, zero)}
    facts = (hole.site.id, profile.station)
    new = (_revise(facts, part, at, received_at, there.get((name, at))) for (name, at), part in parts.items())
    found = [one for one in new if one is not None]
    add_observations(hole.c, found, now, hole.ids)
    return found


def _revise(
    place: tuple[str, str], part: DerivedValue, at: datetime, received_at: datetime, there: Reading | None
) -> Observation | None:
    """A value where it differs from the one that stands there.

    The store takes what an instant had before for a duplicate: a later value is a last digit higher each time. What
    can be computed no more stays, as unusable.
    """
    facts = (*place, part.quantity, MADE[part.quantity], at, received_at)
    if there is None:
        if part.value is None:
            return None
        return Observation(*facts, part.value, part.sigma, flags=part.flags, extra=part.extra)
    if part.value is None:
        if WITHDRAWN in there.flags:
            return None
        value = there.value_raw + ulp(max(abs(there.value_raw), 1.0))
        return Observation(*facts, value, there.sigma, "corrected", (WITHDRAWN,), extra=there.extra)
    is_same = abs(part.value - there.value_raw) < SAME and part.sigma == there.sigma and part.extra == there.extra
    if is_same and WITHDRAWN not in there.flags and (INCOMPLETE in there.flags) == (INCOMPLETE in part.flags):
        return None
    value = part.value + (there.revision + 1) * ulp(max(abs(part.value), 1.0))
    return Observation(*facts, value, part.sigma, "corrected", part.flags, extra=part.extra)


def run(db: Database, _config: Any, site: Site, now: datetime) -> str:
    """Compute all profiles anew whose declaration, zero reading or offsets are others than before."""
    profiles, name = list_profiles(site), f"profiles:{site.id}"
    if not profiles:
        return IDLE
    known = db.run_read(lambda c: find_stamp(c, name))
    before = {} if known is None else known[1]
    with db.read() as c:
        state = {one.station: _describe(_Borehole(c, site, one, {}), now) for one in profiles}
    if state == before:
        return IDLE
    count = 0
    for profile in profiles:
        (digest, end), (former, until) = state[profile.station], before.get(profile.station, ["", ""])
        if (digest, end) != (former, until):
            count += _renew(db, site, profile, parse(until) if until and digest == former else FIRST, now)
    with db.write() as c:
        stamp(c, name, state, now)
    return f"{count} values of depth profiles"


def _describe(hole: _Borehole, now: datetime) -> list[str]:
    """What past profiles follow from beside their readings; up to when they are stored although depths are missing."""
    zero_at, around = hole.load_zero(now)
    zero = {name: [(one.value, one.flags) for one in rows] for name, rows in around.items()}
    entries = load_later_entries(hole.c, hole.site.id, now)
    numbers = [find_series_id(hole.c, hole.site.id, hole.profile.station, one) for one in list_names(hole.profile)]
    offsets = [entries[n].offsets for n in numbers if n in entries]
    end = hole.find_epoch(FIRST, now - WAITS, last=True)
    digest = digest_text(canonical_json([repr(hole.profile), str(zero_at), zero, offsets]))
    return [digest, "" if end is None else format_iso(end)]


def _renew(db: Database, site: Site, profile: Profile, since: datetime, now: datetime) -> int:
    """Compute the profiles after an instant anew, a month at a time; values that are the same stay."""
    count = 0
    while True:
        with db.write() as c:
            hole = _Borehole(c, site, profile, {})
            begin = hole.find_epoch(since + _BIT, now + AHEAD)
            if begin is None:
                return count
            since = begin + CHUNK
            rows = _renew_span(hole, (begin, since), now, now)
            for add in find_functions("ingest.readings"):  # what is calculated from them
                add(c, {site.id: site}, rows, AddResult(len(rows), 0, 0, frozenset()), now, hole.ids)
            count += len(rows)

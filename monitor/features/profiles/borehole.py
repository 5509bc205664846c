"""Load the readings of a borehole from the database and group them into surveys."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import isnan, nan
from typing import Final, NamedTuple

from sqlalchemy import Connection

from monitor.api.queries.readings import (
    SeriesIds,
    StretchFingerprint,
    find_series_id,
    load_fingerprints,
    load_known,
    load_series,
)
from monitor.api.readings import HARMLESS, Reading
from monitor.api.sites import Site
from monitor.api.text import Span
from monitor.features.profiles.declare import Profile, list_quantities
from monitor.features.profiles.queries import find_epoch

BIT: Final = timedelta(microseconds=1)
# Readings received up to this time in the future count too: the clock of the computer may have been ahead.
AHEAD: Final = timedelta(days=1)
# Missing depths of a survey may still arrive. It is computed this long after its instant.
WAIT_FOR_DEPTHS: Final = timedelta(minutes=10)
FIRST: Final = datetime(1, 1, 2, tzinfo=UTC)
Readings = Mapping[str, Sequence[Reading]]  # by quantity, by rising instant


class SurveyValues(NamedTuple):
    """Readings of all depths at about one instant, by quantity; NaN if a reading is unusable."""

    at: datetime
    values: Mapping[str, float]


class Borehole(NamedTuple):
    """The readings of one profile, in one read transaction."""

    c: Connection
    site: Site
    profile: Profile
    ids: SeriesIds  # of all series of the site

    @classmethod
    def open(cls, c: Connection, site: Site, profile: Profile) -> "Borehole":
        """Read the ids of the series."""
        ids = {(row.site, row.station, row.quantity): (row.id, row.unit) for row in load_series(c, site.id)}
        return cls(c, site, profile, ids)

    @property
    def anchors(self) -> list[str]:
        """The series of the first face, from the fixed end outwards.

        A survey has the instant of the first of them that it contains. The depth at the fixed end is missing where
        silt fills the bottom of a casing, or where its sensor is lost.
        """
        return [
            self.profile.name_quantity(self.profile.faces[0], place) for place in self.profile.places_from_fixed_end
        ]

    def list_ids(self) -> list[int]:
        """Return the ids of the series of all depths, without those that were never read."""
        station = self.profile.station
        keys = ((self.site.id, station, name) for name in list_quantities(self.profile))
        return [self.ids[key][0] for key in keys if key in self.ids]

    def find_epoch(self, since: datetime, until: datetime, *, last: bool = False) -> datetime | None:
        """Return the first instant of a survey in a span, ends included, or the last; None where it has none.

        Readings of other depths close to the instant of a survey belong to that survey.
        """
        within = timedelta(seconds=self.profile.within_s)
        chosen_epoch: datetime | None = None
        for name in self.anchors:
            epoch = self._find_epoch_of(name, since, until, last=last)
            if epoch is None:
                continue
            is_other = chosen_epoch is None or (
                epoch > chosen_epoch + within if last else epoch < chosen_epoch - within
            )
            chosen_epoch = epoch if is_other else chosen_epoch
        return chosen_epoch

    def find_zero_epoch(self, until: datetime) -> datetime | None:
        """Return the instant of the zero reading: of the depth nearest to the fixed end that was ever read."""
        epochs = (self._find_epoch_of(name, self.profile.zero or FIRST, until) for name in self.anchors)
        return next((epoch for epoch in epochs if epoch is not None), None)

    def _find_epoch_of(self, name: str, since: datetime, until: datetime, *, last: bool = False) -> datetime | None:
        number = find_series_id(self.c, self.site.id, self.profile.station, name, self.ids)
        return None if number is None else find_epoch(self.c, number, since, until, last=last)

    def load(self, names: Iterable[str], since: datetime, until: datetime, known_at: datetime) -> Readings:
        """Return the readings of some quantities in a span, ends included."""
        station = self.profile.station
        places = {(station, name): since - BIT for name in names if (self.site.id, station, name) in self.ids}
        rows = load_known(self.c, self.site.id, places, until, known_at, self.ids) if places else {}
        return {name: readings for (_, name), readings in rows.items()}

    def load_stamps(self, span: Span, known_at: datetime) -> list[StretchFingerprint]:
        """Return fingerprints of the readings in a span, ends included. A change of the readings changes them."""
        return load_fingerprints(self.c, [(number, span[0] - BIT, span[1]) for number in self.list_ids()], known_at)

    def load_zero(self, known_at: datetime) -> SurveyValues | None:
        """Return the zero reading; None if there is no survey yet."""
        at = self.find_zero_epoch(known_at)
        if at is None:
            return None
        surveys = group_surveys(self, self.load_around(at, known_at))
        return SurveyValues(at, [survey for survey in surveys if survey.at <= at][-1].values)

    def load_around(self, at: datetime, known_at: datetime) -> Readings:
        """Return the readings of all depths that may belong to a survey."""
        within = timedelta(seconds=self.profile.within_s)
        return self.load(list_quantities(self.profile), at - within, at + within, known_at)


def group_surveys(hole: Borehole, readings: Readings) -> list[SurveyValues]:
    """Return surveys by rising instant, each with the value of each series that is nearest to it.

    Where depths are read again soon after a survey, these readings replace those of the survey and the others stay.
    """
    within = timedelta(seconds=hole.profile.within_s)
    instants = _list_instants(hole, readings, within)
    if not instants:
        return []
    middles = [a + (b - a) / 2 for a, b in pairwise(instants)]
    by_instant: list[dict[str, float]] = [{} for _ in instants]
    for name, rows in readings.items():
        for row in rows:
            place = bisect_left(middles, row.observed_at)
            if abs(row.observed_at - instants[place]) <= within:
                values = by_instant[place]
                is_unusable = bool(row.flags) and bool({*row.flags} - HARMLESS)
                values[name] = values.get(name, nan) if is_unusable else row.value
    surveys: list[tuple[datetime, dict[str, float]]] = []
    for at, values in zip(instants, by_instant, strict=True):
        if surveys and at - surveys[-1][0] <= within and not surveys[-1][1].keys() <= values.keys():
            surveys[-1][1].update({name: value for name, value in values.items() if not isnan(value)})
        else:
            surveys.append((at, values))
    return [SurveyValues(at, values) for at, values in surveys]


def _list_instants(hole: Borehole, readings: Readings, within: timedelta) -> list[datetime]:
    """List the instants of surveys: those of each anchor that no anchor nearer to the fixed end is close to."""
    instants: list[datetime] = []
    for name in hole.anchors:
        others = [row.observed_at for row in readings.get(name, ()) if not _is_close(instants, row.observed_at, within)]
        if others:
            instants = sorted([*instants, *others])
    return instants


def _is_close(instants: Sequence[datetime], at: datetime, within: timedelta) -> bool:
    """Return whether one of some instants, in order, lies within a time of an instant."""
    place = bisect_left(instants, at - within)
    return place < len(instants) and instants[place] <= at + within

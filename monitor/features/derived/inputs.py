"""Read the inputs of calculated series, and keep long windows in memory between two values."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from monitor.api.queries.readings import StretchFingerprint, load_fingerprints, load_known, load_newer, load_series
from monitor.api.readings import CHANGED, Observation, Reading
from monitor.api.sites import Site
from monitor.api.text import epoch_s
from monitor.features.derived.plans import plan_site
from monitor.features.derived.samples import InputSamples, Sample, Series

# A window that has grown to this many times what is needed is read again, so that memory stays bounded.
GROWN: Final = 3


@dataclass(slots=True)
class _HeldWindow:
    """The readings of one input in (from_at, to_at], where `to_at` is the instant of the newest one."""

    series_id: int
    from_at: datetime
    to_at: datetime
    stamp: StretchFingerprint  # differs as soon as anything else is known of these readings
    columns: Any  # `monitor.features.derived.windows.SampleColumns`
    is_revised: bool


class SiteInputs:
    """The inputs of the calculated series of one site.

    A rate over a day reads a thousand readings for each value. `SiteInputs` keeps such windows and reads only what was
    added. A stamp (number of rows, sum of revisions, later flags, offsets) shows whether a held window is still what
    the database contains.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._scales = plan_site(site).scales
        self._held: dict[Series, _HeldWindow] = {}
        self._ids: dict[tuple[str, str, str], tuple[int, str]] = {}
        self.revised: set[Series] = set()  # inputs of which a loaded reading was corrected

    def refresh_ids(self, c: Connection) -> None:
        """Read the ids of the series of the site; call it at the beginning of a read transaction."""
        self._ids = {(row.site, row.station, row.quantity): (row.id, row.unit) for row in load_series(c, self._site.id)}

    def find_id(self, place: Series) -> int | None:
        """Return the id of a series, None where nothing of it was ever stored."""
        row = self._ids.get((self._site.id, *place))
        return None if row is None else row[0]

    def is_calculated(self, place: Series) -> bool:
        """Return whether the values of a series are stored by this feature."""
        spec = self._site.series(*place)
        return spec is not None and spec.calculation is not None

    def find_unit(self, place: Series) -> str | None:
        """Return the unit in which a series is stored, None where nothing of it was ever stored."""
        row = self._ids.get((self._site.id, *place))
        return None if row is None else row[1]

    def load(
        self,
        c: Connection,
        since: Mapping[Series, datetime],
        to_at: datetime,
        known_at: datetime,
        windowed: Collection[Series],
    ) -> InputSamples:
        """Return the readings of inputs, each after an instant and up to `to_at`.

        Args:
            windowed: inputs of which many readings make one value; these are kept in memory.
        """
        held = self._renew_held(c, since, to_at, known_at)
        rows: dict[Series, list[Sample]] = {}
        columns: dict[Series, Any] = {}
        self.revised = {place for place, window in held.items() if window.is_revised}
        missing = {place: at for place, at in since.items() if place not in held and self.find_id(place) is not None}
        known = load_known(c, self._site.id, missing, to_at, known_at, self._ids) if missing else {}
        to_hold = [place for place in known if place in windowed and self._is_newest(place, to_at)]
        ids = {place: self.find_id(place) or 0 for place in to_hold}
        stamps = load_fingerprints(c, [(ids[place], since[place], to_at) for place in to_hold], known_at)
        for place, readings in known.items():
            rows[place] = self._make_samples(place, readings)
            if any(one.revision for one in readings):
                self.revised.add(place)
        for place, stamp in zip(to_hold, stamps, strict=True):
            from monitor.features.derived.windows import SampleColumns  # arrays are loaded by sites that need them

            columns[place] = SampleColumns(rows[place])
            newest_at = known[place][-1].observed_at if known[place] else since[place]
            is_revised = place in self.revised
            self._held[place] = _HeldWindow(ids[place], since[place], newest_at, stamp, columns[place], is_revised)
        for place, window in held.items():
            rows[place] = window.columns.rows
            columns[place] = window.columns
        return InputSamples(rows, 0.0, 0.0, columns)

    def load_stored(
        self, c: Connection, since: Mapping[Series, datetime], to_at: datetime, known_at: datetime
    ) -> dict[Series, list[Reading]]:
        """Return stored values of calculated series, each after an instant and up to `to_at`."""
        there = {place: at for place, at in since.items() if self.find_id(place) is not None}
        return load_known(c, self._site.id, there, to_at, known_at, self._ids) if there else {}

    def _is_newest(self, place: Series, to_at: datetime) -> bool:
        """Return whether a window is at least as new as the held one: the past is read once and not kept."""
        held = self._held.get(place)
        return held is None or to_at >= held.to_at

    def _renew_held(
        self, c: Connection, since: Mapping[Series, datetime], to_at: datetime, known_at: datetime
    ) -> dict[Series, _HeldWindow]:
        """Extend held windows up to `to_at` and return those that cover what is needed; forget those that changed."""
        usable: dict[Series, _HeldWindow] = {}
        for place, from_at in since.items():
            window = self._held.get(place)
            if window is None or window.from_at > from_at or window.to_at > to_at:
                continue
            needed = to_at - from_at + timedelta(minutes=1)
            if window.series_id != self.find_id(place) or to_at - window.from_at > GROWN * needed:
                del self._held[place]
                continue
            usable[place] = window
        stretches = [(window.series_id, window.from_at, window.to_at) for window in usable.values()]
        stamps = load_fingerprints(c, stretches, known_at)
        for (place, window), stamp in zip(list(usable.items()), stamps, strict=True):
            if stamp != window.stamp:
                del self._held[place]
                del usable[place]
        added = self._load_added(c, usable, to_at, known_at)
        for place, window in usable.items():
            readings, stamp = added.get(place, ((), window.stamp))
            if readings:
                window.columns = window.columns.extend(self._make_samples(place, readings))
                window.is_revised = window.is_revised or any(one.revision for one in readings)
                window.stamp = stamp
                window.to_at = readings[-1].observed_at
        return usable

    @staticmethod
    def _load_added(
        c: Connection, windows: Mapping[Series, _HeldWindow], to_at: datetime, known_at: datetime
    ) -> dict[Series, tuple[Sequence[Reading], StretchFingerprint]]:
        """Return what was added after held windows; two inputs are never the same series."""
        held = [(window.series_id, window.to_at, window.stamp) for window in windows.values()]
        found = load_newer(c, held, to_at, known_at, with_unsigned=True) if held else {}
        return {place: found[window.series_id] for place, window in windows.items() if window.series_id in found}

    def _make_samples(self, place: Series, readings: Iterable[Reading]) -> list[Sample]:
        scale = self._scales[place]
        is_calculated = self.is_calculated(place)
        return [make_sample(place, reading, scale, is_calculated=is_calculated) for reading in readings]


def make_sample(place: Series, reading: Reading | Observation, scale: float, *, is_calculated: bool) -> Sample:
    """Return a reading in base units.

    A calculated value that a late input completed is a revision and was not corrected: its `extra` decides.
    """
    sigma = None if reading.sigma is None else reading.sigma * scale
    is_changed = isinstance(reading, Reading) and reading.revision > 0
    if is_changed and is_calculated:
        is_changed = f'"{CHANGED}":' in (reading.extra or "")
    return Sample(place, epoch_s(reading.observed_at), reading.value * scale, sigma, reading.flags, is_changed)

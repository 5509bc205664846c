"""Positions of a file count from what the station counts from, or are tied to it at common dates, or are refused.

The same position in another frame is another number: a new base, another place of reference or another kind of height
moves a whole file by millimetres or metres, and nothing of that is motion.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice, pairwise
from statistics import median
from typing import Final

from sqlalchemy import Connection

from forecasting.message import Figure, Message, Template, join
from monitor.domain.canonical import canonical_json
from monitor.domain.errors import ConfigError
from monitor.domain.instants import parse
from monitor.domain.observation import HARMLESS, Observation
from monitor.ingest.decoders.rows import EPOCH0, FRAME
from monitor.ingest.references import TIED, Reference
from monitor.store.readings.observations import find_series_id, load_readings
from monitor.store.service_state import find_stamp, stamp

Key = tuple[str, str, str]  # site, station, quantity
Place = tuple[str, str]
PEEKED: Final = 100  # rows: a file says with each of its positions what they count from, or with none
AGREE_MM: Final = 10.0  # dates that two frames share say the shift so well, or are no tie
SAME_MM: Final = 3.0  # so far the first half and the second half of them may differ
BEYOND: Final = 6.0  # and so many times what their scatter explains
FEW: Final = 6  # common dates that show whether two frames drift apart
_TWO: Final = Template("frame.two", "{file}: positions of {station} in two frames: {one}; {other}. One file for each")
_OTHER: Final = Template(
    "frame.other",
    "{file}: {station} counts {kept}, the file {given}, and {why}: nothing of it was stored. Give it another "
    "--station, or, where the new one holds from now on, say slopeward ingest --forget-epoch0 {place} before",
)
_APART: Final = Template("frame.apart", "no date of both is there to tie them")
_DRIFTS: Final = Template("frame.drifts", "the two drift apart at their common dates, by {size} of {quantity}")
_SCATTER: Final = Template("frame.scatter", "their common dates differ by anything up to {size} of {quantity}")
_TIED: Final = Template("frame.tied", "{station} counts {kept}, the file {given}: tied at {n} common dates, {details}")
_BY: Final = Template("frame.by", "{quantity} {size}")


@dataclass(slots=True)
class ReferenceOffsets:
    """What is added to values so that they count from what their station counts from, by series."""

    shifts: dict[Key, float] = field(default_factory=dict)
    references: dict[Place, Reference] = field(
        default_factory=dict
    )  # what no station counted from before, or said in full
    notes: list[Message] = field(default_factory=list)
    known: dict[Key, frozenset[datetime]] = field(default_factory=dict)  # dates that tied, and are there

    def apply(self, observations: Sequence[Observation]) -> list[Observation]:
        """The same as they are stored, without what is there in the other frame."""
        found = []
        for item in observations:
            key = (item.site, item.station, item.quantity)
            shift = self.shifts.get(key)
            if shift is None:
                found.append(item)
            elif item.observed_at not in self.known[key]:
                # beside the value stands what was added to it, in the unit of the series
                extra = {**(json.loads(item.extra) if item.extra else {}), TIED: shift}
                found.append(replace(item, value=item.value + shift, extra=canonical_json(extra)))
        return found

    def save(self, c: Connection, now: datetime) -> None:
        """Keep what stations count from now, and what ties another frame to it, in a write transaction."""
        for (site, station), reference in self.references.items():
            name = f"epoch0:{site}/{station}"
            row = find_stamp(c, name)
            mine = {key[2]: shift for key, shift in self.shifts.items() if key[:2] == (site, station)}
            if mine and row is not None:
                stamp(c, name, {**row[1], TIED: {**row[1].get(TIED, {}), reference.frame: mine}}, now)
            elif row is None or (joined := Reference.read(row[1]).join(reference)) is None:
                stamp(c, name, reference.to_json(), now) if row is None else None
            else:
                stamp(c, name, {**row[1], **joined.to_json()}, now)


@dataclass(slots=True)
class FileFrames:
    """What a file says of the frames of its stations, with the positions."""

    file: str
    references: dict[Place, Reference] = field(default_factory=dict)
    values: dict[Key, dict[datetime, float]] = field(default_factory=dict)

    def add(self, item: Observation, frame: object, epoch0: object) -> None:
        """One position; raises ConfigError where the station has another frame in the same file."""
        place = (item.site, item.station)
        reference = Reference(str(frame), parse(epoch0) if isinstance(epoch0, str) else None)
        known = self.references.get(place, reference)
        joined = known.join(reference)
        if joined is None:
            raise ConfigError(
                _TWO(file=self.file, station=item.station, one=known.describe(), other=reference.describe())
            )
        self.references[place] = joined
        self.values.setdefault((*place, item.quantity), {})[item.observed_at] = item.value

    def tie(self, c: Connection | None, now: datetime) -> ReferenceOffsets:
        """How the file counts from what its stations count from.

        Raises:
            ConfigError: a station counts from something else, and no dates of both say by how much.
        """
        ties = ReferenceOffsets()
        for (site, station), reference in self.references.items():
            row = None if c is None else find_stamp(c, f"epoch0:{site}/{station}")
            kept = None if row is None else Reference.read(row[1])
            ties.references[site, station] = reference
            if c is None or kept is None or row is None or kept.join(reference) is not None:
                continue
            mine = [key for key in self.values if key[:2] == (site, station)]
            before = row[1].get(TIED, {}).get(reference.frame)
            count = 0
            for key in mine:
                there = _load(c, key, self.values[key], now)
                known = None if before is None else before.get(key[2])
                shift, why = (known, None) if known is not None else _find_shift(key[2], self.values[key], there)
                if shift is None:
                    place = f"{site}/{station}"
                    raise ConfigError(
                        _OTHER(
                            file=self.file,
                            station=station,
                            kept=kept.describe(),
                            given=reference.describe(),
                            place=place,
                            why=why or _APART(),
                        )
                    )
                ties.shifts[key], ties.known[key] = shift, frozenset(there)
                count = max(count, len(there))
            by = join([_BY(quantity=k[2], size=Figure(ties.shifts[k], "+.1f", "mm")) for k in mine], ", ")
            both = {"kept": kept.describe(), "given": reference.describe()}
            ties.notes.append(_TIED(station=station, **both, n=Figure(count, "d"), details=by))
        return ties


def has_frames(rows: Iterable[tuple[object, object]]) -> bool:
    """Whether the first rows of a file say what their positions count from."""
    return any(isinstance(row, Mapping) and row.get(FRAME) for row, _ in islice(rows, PEEKED))


def read_frame(row: Mapping[str, object]) -> tuple[object, object]:
    """What a row says that it counts from."""
    return row.get(FRAME), row.get(EPOCH0)


def _load(c: Connection, key: Key, values: dict[datetime, float], now: datetime) -> dict[datetime, float]:
    """What is stored of a series at the dates of a file; raw, as the file is."""
    series_id = find_series_id(c, *key)
    if series_id is None:
        return {}
    rows = load_readings(c, series_id, None, max(values), now)
    return {r.observed_at: r.value_raw for r in rows if r.observed_at in values and HARMLESS.issuperset(r.flags)}


def _find_shift(
    quantity: str, values: dict[datetime, float], there: dict[datetime, float]
) -> tuple[float | None, Message | None]:
    """What lies between two frames at their common dates; None, and why, where these do not say it."""
    apart = [there[at] - values[at] for at in sorted(there)]
    if not apart:
        return None, None
    shift = median(apart)
    spread = 1.4826 * median(abs(one - shift) for one in apart)
    if len(apart) >= FEW:
        half = len(apart) // 2
        noise = 1.4826 * median(abs(b - a) for a, b in pairwise(apart)) / 2**0.5
        drift = abs(median(apart[half:]) - median(apart[:half]))
        if drift > max(SAME_MM, BEYOND * noise * (2.0 / half) ** 0.5):
            return None, _DRIFTS(quantity=quantity, size=Figure(drift, ".1f", "mm"))
    if spread > AGREE_MM:
        return None, _SCATTER(quantity=quantity, size=Figure(max(abs(one - shift) for one in apart), ".1f", "mm"))
    return shift, None

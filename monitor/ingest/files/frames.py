"""Positions of a file count from what the station counts from, or are refused.

The same position in another frame is another number: a new base, another place of reference or another kind of height
moves a whole file by millimetres or metres, and nothing of that is motion.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final

from sqlalchemy import Connection

from forecasting.message import Template
from monitor.domain.errors import ConfigError
from monitor.domain.instants import parse
from monitor.domain.observation import Observation
from monitor.ingest.decoders.rows import FRAME
from monitor.ingest.references import PREFIX, Reference
from monitor.store.service_state import find_stamp, stamp

PEEKED: Final = 100  # rows: a file says with each of its positions what they count from, or with none
_TWO: Final = Template("frame.two", "{file}: positions of {station} in two frames: {one}; {other}. One file for each")
_OTHER: Final = Template(
    "frame.other",
    "{file}: {station} counts {kept}, the file {given}: nothing of it was stored. Give it another --station, or, where "
    "the new one holds from now on, say slopeward ingest --forget-epoch0 {place} before",
)


@dataclass(slots=True)
class FileFrames:
    """What a file says that its stations count from, by site and station."""

    file: str
    references: dict[tuple[str, str], Reference] = field(default_factory=dict)

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

    def check(self, c: Connection) -> None:
        """Raise ConfigError where a station counts from something else."""
        for (site, station), reference in self.references.items():
            row = find_stamp(c, f"{PREFIX}{site}/{station}")
            kept = reference if row is None else Reference.read(row[1])
            if kept.join(reference) is None:
                names = {"file": self.file, "station": station, "place": f"{site}/{station}"}
                raise ConfigError(_OTHER(**names, kept=kept.describe(), given=reference.describe()))

    def save(self, c: Connection, now: datetime) -> None:
        """Keep what stations count from now, in a write transaction."""
        for (site, station), reference in self.references.items():
            row = find_stamp(c, f"{PREFIX}{site}/{station}")
            joined = reference if row is None else Reference.read(row[1]).join(reference)
            if joined is not None:
                stamp(c, f"{PREFIX}{site}/{station}", {**(row[1] if row else {}), **joined.to_json()}, now)


def has_frames(rows: Iterable[tuple[object, object]]) -> bool:
    """Whether the first rows of a file say what their positions count from."""
    return any(isinstance(row, Mapping) and row.get(FRAME) for row, _ in islice(rows, PEEKED))

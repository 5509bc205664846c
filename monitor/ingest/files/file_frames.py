"""Reference frames of the positions in a file: what each station counts from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final

from sqlalchemy import Connection

from monitor.errors import ConfigError
from monitor.ingest.decoders.rows import FRAME
from monitor.ingest.references import PREFIX, Reference
from monitor.readings.records import Observation
from monitor.storage.service_state import find_heartbeat, write_heartbeat
from monitor.text.instants import parse_time
from monitor.text.message import Template

ROWS_CHECKED: Final = 100  # a file contains frames in each row of a position or in none
_TWO: Final = Template("frame.two", "{file}: positions of {station} in two frames: {one}; {other}. One file for each")
_OTHER: Final = Template(
    "frame.other",
    "{file}: {station} counts {kept}, the file {given}: nothing of it was stored. Give it another --station, or, where "
    "the new one holds from now on, say slopeward ingest --forget-epoch0 {place} before",
)


@dataclass(slots=True)
class FileFrames:
    """The references of the positions in a file.

    Attributes:
        file: The name of the file.
        references: The reference of each station, by site and station.
    """

    file: str
    references: dict[tuple[str, str], Reference] = field(default_factory=dict)

    def add(self, position: Observation, frame: object, epoch0: object) -> None:
        """Add the reference of a position.

        Raises:
            ConfigError: The station has another reference in the same file.
        """
        key = (position.site, position.station)
        reference = Reference(str(frame), parse_time(epoch0) if isinstance(epoch0, str) else None)
        previous = self.references.get(key, reference)
        joined = previous.join(reference)
        if joined is None:
            text = _TWO(file=self.file, station=position.station, one=previous.describe(), other=reference.describe())
            raise ConfigError(text)
        self.references[key] = joined

    def check(self, connection: Connection) -> None:
        """Compare with the stored references.

        Raises:
            ConfigError: A station counts from something else.
        """
        for (site, station), reference in self.references.items():
            row = find_heartbeat(connection, f"{PREFIX}{site}/{station}")
            stored = reference if row is None else Reference.read(row[1])
            if stored.join(reference) is None:
                names = {"file": self.file, "station": station, "place": f"{site}/{station}"}
                raise ConfigError(_OTHER(**names, kept=stored.describe(), given=reference.describe()))

    def save(self, connection: Connection, now: datetime) -> None:
        """Store the references; requires a write transaction."""
        for (site, station), reference in self.references.items():
            key = f"{PREFIX}{site}/{station}"
            row = find_heartbeat(connection, key)
            joined = reference if row is None else Reference.read(row[1]).join(reference)
            if joined is not None:
                write_heartbeat(connection, key, {**(row[1] if row else {}), **joined.to_json()}, now)


def has_frames(rows: Iterable[tuple[object, object]]) -> bool:
    """Return whether the first rows of a file contain frames."""
    return any(isinstance(row, Mapping) and row.get(FRAME) for row, _ in islice(rows, ROWS_CHECKED))

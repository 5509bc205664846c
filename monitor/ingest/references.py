"""Since when and in which frame a station's GNSS displacement counts: the first one seen holds, a change is refused."""

from datetime import datetime

from sqlalchemy import Connection

from monitor.domain.instants import parse, spell
from monitor.errors import NotFoundError, PayloadError
from monitor.store.service_state import load_stamps, remove_stamp, stamp

_PREFIX = "epoch0:"


class References:
    """Memory of frame and epoch0 per station, kept in the database beside the rows that rest on it."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[str, datetime]] = {}
        self._fresh: set[tuple[str, str]] = set()

    def check(self, site: str, station: str, frame: str, epoch0: datetime) -> None:
        """Take the first reference of a station, refuse any other.

        Raises:
            PayloadError: other_epoch0 or other_frame; the values would jump, and nobody would know why.
        """
        known = self._known.get((site, station))
        if known is None:
            self._known[site, station] = (frame, epoch0)
            self._fresh.add((site, station))
        elif known[0] != frame:
            raise PayloadError("other_frame", f"gnss.frame: {station} counts in {known[0]!r}, got {frame!r}")
        elif known[1] != epoch0:
            raise PayloadError(
                "other_epoch0",
                f"gnss.epoch0: {station} counts since {spell(known[1])}, got {spell(epoch0)}; "
                f"to change it: slopeward ingest --forget-epoch0 {site}/{station}",
            )

    def load(self, connection: Connection) -> None:
        """Read what the database knows."""
        for name, (_, detail) in load_stamps(connection).items():
            if name.startswith(_PREFIX):
                site, _, station = name[len(_PREFIX) :].partition("/")
                self._known[site, station] = (detail["frame"], parse(detail["epoch0"]))

    def save(self, connection: Connection, now: datetime) -> None:
        """Write what is new, in the transaction that stores the readings."""
        for site, station in sorted(self._fresh):
            frame, epoch0 = self._known[site, station]
            stamp(connection, f"{_PREFIX}{site}/{station}", {"frame": frame, "epoch0": spell(epoch0)}, now)

    def revert(self) -> None:
        """What was new was rolled back."""
        for key in self._fresh:
            self._known.pop(key, None)
        self._fresh.clear()

    def settle(self) -> None:
        """What was new is committed."""
        self._fresh.clear()


def forget_reference(connection: Connection, site: str, station: str) -> None:
    """Let the next message of a station say anew since when it counts (new antenna, new processing).

    Raises:
        NotFoundError: Nothing is kept of such a station; those that have a reference are named.
    """
    kept = {name.removeprefix(_PREFIX) for name in load_stamps(connection) if name.startswith(_PREFIX)}
    if f"{site}/{station}" not in kept:
        there = ", ".join(sorted(kept)) or "none"
        raise NotFoundError(f"no GNSS reference of {site}/{station} is kept; there are: {there}")
    remove_stamp(connection, f"{_PREFIX}{site}/{station}")

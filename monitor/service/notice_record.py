"""What was told past the outbox, in a small file: a service that starts anew repeats nothing and tells the end."""

import json
import logging
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from forecasting.message import gather, spread
from forecasting.whole_file import write_private
from monitor.domain.instants import format_iso, parse

log: Final = logging.getLogger(__name__)
PATIENCE_S: Final = 2.0  # a disk that hangs keeps nobody from being told


class ChannelAddress(NamedTuple):
    """One channel of one person."""

    recipient: str
    channel: str


@dataclass(frozen=True, slots=True)
class NoticeState:
    """One outage of which people were told."""

    trouble: str  # why nothing could be decided, and since when
    at: datetime  # when it was told
    body: str  # what was told
    addressees: tuple[ChannelAddress, ...]  # whom it was meant for
    taken: frozenset[ChannelAddress] = frozenset()  # those who have it
    over_at: datetime | None = None  # when it was over; None while it lasts
    settled: frozenset[ChannelAddress] = frozenset()  # those who need not hear any more that it is over


class NoticeStateFile:
    """Holds the newest `NoticeState`; replaced in one step, readable for its owner alone. Thread-safe.

    What cannot be written is logged, and the service goes on as if there were no file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._newest: NoticeState | None = None

    def read(self) -> NoticeState | None:
        """What it holds; None where nothing is told, or where it cannot be read."""
        self._newest = None
        try:
            self._newest = _parse(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("%s: what was reported before the start is not known: %s", self._path, error)  # noqa: TRY400
        return self._newest

    def keep(self, notice: NoticeState | None) -> None:
        """Hold this from now on (None: nothing); comes back after two seconds at the latest."""
        self._newest = notice
        thread = threading.Thread(target=self._write, name="told", daemon=True)
        thread.start()
        thread.join(PATIENCE_S)

    def _write(self) -> None:
        with self._lock:  # whoever comes late writes the newest as well
            notice = self._newest
            try:
                if notice is None:
                    self._path.unlink(missing_ok=True)
                    return
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_private(self._path, _to_json(notice))
            except OSError as error:
                log.warning("%s: not written, a restart in an outage repeats what was reported: %s", self._path, error)


def _to_json(notice: NoticeState) -> str:
    document = spread(
        {
            "trouble": notice.trouble,
            "at": format_iso(notice.at),
            "body": notice.body,
            "asked": notice.addressees,
            "taken": sorted(notice.taken),
            "over_at": None if notice.over_at is None else format_iso(notice.over_at),
            "settled": sorted(notice.settled),
        }
    )
    return json.dumps(document)


def _parse(text: str) -> NoticeState:
    content = gather(json.loads(text))
    over_at = content["over_at"]
    return NoticeState(
        content["trouble"],
        parse(content["at"]),
        content["body"],
        tuple(_read_addresses(content["asked"])),
        frozenset(_read_addresses(content["taken"])),
        None if over_at is None else parse(over_at),
        frozenset(_read_addresses(content["settled"])),
    )


def _read_addresses(pairs: Any) -> list[ChannelAddress]:
    return [ChannelAddress(str(recipient), str(channel)) for recipient, channel in pairs]

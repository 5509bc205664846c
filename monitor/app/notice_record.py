"""What was told past the outbox, in a small file: a service that starts anew repeats nothing and tells the end."""

import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from monitor.text.instants import format_iso, parse_time
from monitor.text.message import messages_to_plain, plain_to_messages

log: Final = logging.getLogger(__name__)
ROOM: Final = 65536  # bytes that are kept for it, so that a full disk does not keep it from being written
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

    The next version is written over blanks that lie ready beside it, so that it needs no room on a disk that is full.
    What cannot be written is logged, and the service goes on as if there were no file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._spare = path, path.with_name(f"{path.name}.next")
        self._lock = threading.Lock()
        self._newest: NoticeState | None = None
        self._warned = False
        self._do(self._lay_spare)

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
            self._do(self._remove if notice is None else lambda: self._replace(_to_json(notice)))

    def _do(self, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as error:
            if not self._warned:
                log.warning("%s: not written, a restart in an outage repeats what was reported: %s", self._path, error)
            self._warned = True
        else:
            self._warned = False

    def _remove(self) -> None:
        self._path.unlink(missing_ok=True)
        self._lay_spare()

    def _replace(self, content: bytes) -> None:
        with self._open_spare() as file:
            file.write(content.ljust(ROOM))
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        self._spare.replace(self._path)
        with contextlib.suppress(OSError):  # it is written; the next one tries again
            self._lay_spare()

    def _lay_spare(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._open_spare() as file:
            file.write(b" " * ROOM)

    def _open_spare(self) -> BinaryIO:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.fdopen(os.open(self._spare, flags, 0o600), "wb")  # writes over what is there
        os.fchmod(file.fileno(), 0o600)  # whatever an older one had
        return file


def _to_json(notice: NoticeState) -> bytes:
    document = messages_to_plain(
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
    return json.dumps(document).encode()


def _parse(text: str) -> NoticeState:
    content = plain_to_messages(json.loads(text))
    over_at = content["over_at"]
    return NoticeState(
        content["trouble"],
        parse_time(content["at"]),
        content["body"],
        tuple(_read_addresses(content["asked"])),
        frozenset(_read_addresses(content["taken"])),
        None if over_at is None else parse_time(over_at),
        frozenset(_read_addresses(content["settled"])),
    )


def _read_addresses(pairs: Any) -> list[ChannelAddress]:
    return [ChannelAddress(str(recipient), str(channel)) for recipient, channel in pairs]

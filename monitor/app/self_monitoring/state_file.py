"""The state file of self-monitoring: facts that the service needs after a restart while the database is unreachable.

The file is `self-monitoring.json` in the folder `paths.state`. It contains

* `first_audit_entry`: which database the service used last (`database_file.check_identity`),
* `notices`: by database, the outage of which people were notified without the database (`emergency`).

Several services may share the folder, each with a database of its own.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from sqlalchemy.engine import make_url

from monitor.settings.service import ServiceConfig
from monitor.text.instants import format_iso, parse_time
from monitor.text.message import messages_to_plain, plain_to_messages

log: Final = logging.getLogger(__name__)

FILE_NAME: Final = "self-monitoring.json"
# Size of the file on disk. The spare file has the same size, so that a full disk does not prevent the next write.
SIZE_BYTES: Final = 65536
# A disk that hangs must not delay a notification for longer.
WRITE_TIMEOUT_S: Final = 2.0

_FIRST_ENTRY: Final = "first_audit_entry"
_NOTICES: Final = "notices"


class ChannelAddress(NamedTuple):
    """One channel of one person."""

    recipient: str
    channel: str


@dataclass(frozen=True, slots=True)
class NoticeState:
    """An outage of which people were notified, and who has received which message.

    Attributes:
        trouble: Why nothing could be decided, and since when.
        at: When people were notified.
        body: Text of the message.
        addressees: Everybody to notify.
        accepted: Addressees whose channel has accepted the message.
        over_at: When the outage ended; None while it lasts.
        finished: Addressees who need no message that the outage is over, because they have it or it cannot be
            delivered.
    """

    trouble: str
    at: datetime
    body: str
    addressees: tuple[ChannelAddress, ...]
    accepted: frozenset[ChannelAddress] = frozenset()
    over_at: datetime | None = None
    finished: frozenset[ChannelAddress] = frozenset()


class StateFile:
    """Read and replace the state file. Thread-safe, and safe for several processes.

    A new version is written over a spare file of the same size and then renamed, so that a full disk does not prevent
    it. An error of the disk is logged and never raised: people must be notified even if nothing can be stored.

    Args:
        folder: The folder `paths.state`. It is created.
        database_url: Selects the notice of this database.
    """

    def __init__(self, folder: Path, database_url: str) -> None:
        name = make_url(database_url).render_as_string(hide_password=True)
        self._database_key = hashlib.sha256(name.encode()).hexdigest()[:8]
        self.path = folder / FILE_NAME
        self._spare = folder / f"{FILE_NAME}.next"
        self._lock = threading.Lock()
        self._newest_notice: NoticeState | None = None
        self._has_warned = False
        self._log_disk_errors(self._prepare_spare_unless_locked)

    @classmethod
    def of(cls, config: ServiceConfig) -> "StateFile":
        """Return the state file of a service."""
        return cls(Path(config.paths.state), config.database.url)

    def read_first_entry(self) -> str:
        """Return the hash of the first audit entry of the database that the service used last; empty if unknown."""
        return str(self._load().get(_FIRST_ENTRY, ""))

    def store_first_entry(self, entry_hash: str) -> None:
        """Store which database the service uses."""
        self._log_disk_errors(lambda: self._update(lambda content: content | {_FIRST_ENTRY: entry_hash}))

    def read_notice(self) -> NoticeState | None:
        """Return the outage of which people were notified; None if there is none or it cannot be read."""
        notice = self._load().get(_NOTICES, {}).get(self._database_key)
        self._newest_notice = None
        if notice is not None:
            try:
                self._newest_notice = _parse_notice(notice)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                self._log_unreadable(error)
        return self._newest_notice

    def store_notice(self, notice: NoticeState | None) -> None:
        """Store an outage, or None when nobody needs a message about it any more. Returns after two seconds at most."""
        self._newest_notice = notice
        thread = threading.Thread(target=self._write_newest_notice, name="state-file", daemon=True)
        thread.start()
        thread.join(WRITE_TIMEOUT_S)

    def _write_newest_notice(self) -> None:
        # A thread that was delayed by the disk writes the newest notice as well, so that the order does not matter.
        with self._lock:
            self._log_disk_errors(lambda: self._update(self._with_newest_notice))

    def _with_newest_notice(self, content: dict[str, Any]) -> dict[str, Any]:
        notices = dict(content.get(_NOTICES, {}))
        notices.pop(self._database_key, None)
        if self._newest_notice is not None:
            notices[self._database_key] = _notice_to_plain(self._newest_notice)
        others = {name: value for name, value in content.items() if name != _NOTICES}
        return others | ({_NOTICES: notices} if notices else {})

    def _load(self) -> dict[str, Any]:
        """Return the content; empty if there is no file or it cannot be read."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            self._log_unreadable(error)
            return {}
        if isinstance(content, dict) and isinstance(content.get(_NOTICES, {}), dict):
            return content
        self._log_unreadable("not a state file of self-monitoring")
        return {}

    def _log_unreadable(self, problem: object) -> None:
        log.error("%s: cannot be read, so earlier notices may be repeated: %s", self.path, problem)

    def _log_disk_errors(self, action: Callable[[], None]) -> None:
        """Call a function and log an error of the disk, once until a later call succeeds."""
        try:
            action()
        except OSError as error:
            if not self._has_warned:
                log.warning(
                    "%s: cannot be written, so a restart during an outage repeats its notice: %s", self.path, error
                )
            self._has_warned = True
        else:
            self._has_warned = False

    def _update(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        with self._hold_folder():
            content = change(self._load())
            if content:
                self._replace(json.dumps(content).encode())
            else:
                self.path.unlink(missing_ok=True)
            # The file is written. If the disk is full, the next write tries again to prepare the spare file.
            with contextlib.suppress(OSError):
                self._prepare_spare()

    @contextlib.contextmanager
    def _hold_folder(self, *, wait: bool = True) -> Iterator[None]:
        """Exclude other processes: the core and the supervisor write the same file.

        Raises:
            BlockingIOError: Another process holds the folder, and `wait` is False.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(descriptor)

    def _replace(self, content: bytes) -> None:
        with self._open_spare() as file:
            file.write(content.ljust(SIZE_BYTES))
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        self._spare.replace(self.path)

    def _prepare_spare_unless_locked(self) -> None:
        """Prepare the spare file, unless another process writes the state file now.

        That process may be about to rename the spare file, and prepares a new one afterwards.
        """
        with contextlib.suppress(BlockingIOError), self._hold_folder(wait=False):
            self._prepare_spare()

    def _prepare_spare(self) -> None:
        with self._open_spare() as file:
            file.write(b" " * SIZE_BYTES)

    def _open_spare(self) -> BinaryIO:
        """Open the spare file without truncating it, so that its blocks on the disk are used again."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.fdopen(os.open(self._spare, flags, 0o600), "wb")
        # A file that exists keeps its mode, which may be wider.
        os.fchmod(file.fileno(), 0o600)
        return file


def _notice_to_plain(notice: NoticeState) -> Any:
    return messages_to_plain(
        {
            "trouble": notice.trouble,
            "at": format_iso(notice.at),
            "body": notice.body,
            "addressees": notice.addressees,
            "accepted": sorted(notice.accepted),
            "over_at": None if notice.over_at is None else format_iso(notice.over_at),
            "finished": sorted(notice.finished),
        }
    )


def _parse_notice(plain: Any) -> NoticeState:
    content = plain_to_messages(plain)
    over_at = content["over_at"]
    return NoticeState(
        content["trouble"],
        parse_time(content["at"]),
        content["body"],
        tuple(_parse_addresses(content["addressees"])),
        frozenset(_parse_addresses(content["accepted"])),
        None if over_at is None else parse_time(over_at),
        frozenset(_parse_addresses(content["finished"])),
    )


def _parse_addresses(pairs: Any) -> list[ChannelAddress]:
    return [ChannelAddress(str(recipient), str(channel)) for recipient, channel in pairs]

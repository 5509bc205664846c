"""A modem on this machine, by the folders of gammu-smsd (service FILES): what goes out, what became of it, what came.

`outbox`, `sent`, `error` and `inbox` lie below one folder; the daemon moves files from the first to the next two. A
file of the outbox is named `OUT<priority><date>_<time>_<serial>_<number>_<note>.txt` and is UTF-16 with its mark; an
incoming part is `IN<date>_<time>_<serial>_<number>_<part>.txt`.
"""

import codecs
import contextlib
import logging
import re
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from monitor.api.database import Database
from monitor.api.delivery import load_without_receipt, mark_undelivered, note_progress
from monitor.api.errors import DeliveryError, StoreBusyError
from monitor.api.text import Template, gettext, use_language
from monitor.features.telephony.by_telephone import take_reply
from monitor.features.telephony.queries.replies import ANSWERS, ReplyResult

_LOG = logging.getLogger(__name__)
FOLDERS: Final = ("outbox", "sent", "error", "inbox")
_IN: Final = re.compile(r"IN\d{8}_\d{6}_\d+_\+?\d{3,20}_\d+\.txt")
_LARGEST: Final = 2000  # bytes of an incoming part; none is longer than a few hundred
_MOST: Final = 100  # files looked at in one go
_UNFINISHED_S: Final = 60.0  # so long an empty file, or one of another name, may be one that is being written
_OURS: Final = "OUTA"  # begins the name of each message of ours
_STUCK_S: Final = 180.0
_NOT_SENT: Final = Template("delivery.sms.not_sent", "sms: the modem could not send it")
_NO_FOLDER: Final = Template("modem.no_folder", "the folder {name} of the modem is missing")
_NOT_READ: Final = Template("modem.not_read", "replies lie in the inbox of the modem and cannot be read")
_NOT_TAKEN: Final = Template("modem.not_taken", "messages lie in the outbox of the modem; look whether gammu-smsd runs")


class IncomingText(NamedTuple):
    """A text message that came in."""

    name: str
    sender: str
    text: str


def put_message(folder: Path, number: str, text: str, key: str) -> str:
    """Lay a message into the outbox, whole or not at all; returns its name.

    Raises DeliveryError: the folder is not there or cannot be written; the daemon has not taken what lies there.
    """
    # the same message at a second try has the same serial, so that people can see that it is one
    name = f"OUTA{datetime.now(UTC):%Y%m%d_%H%M%S}_{int(key[:6], 16) % 100:02d}_{number}_{key[:12]}.txtd"
    outbox = folder / "outbox"
    part = outbox / f".{name}.part"
    try:
        if len(_list(outbox)) >= _MOST:
            raise DeliveryError(f"sms: {_MOST} messages lie in the outbox of the modem; does gammu-smsd run?")
        part.write_text(text, encoding="utf-16")
        part.rename(outbox / name)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise DeliveryError(f"sms: the outbox of the modem cannot be written: {error.strerror}") from error
    return name


def find_outcome(folder: Path, name: str) -> str:
    """What the daemon did with a message: `sent`, `error`, or empty while it waits."""
    return next((box for box in ("sent", "error") if (folder / box / name).exists()), "")


def list_incoming(folder: Path, failed: Collection[str] = ()) -> list[str]:
    """Names of what lies in the inbox, oldest first, those that failed before last; each stays until it was taken.

    The daemon writes a text in place, with one write: an empty file is one that it has only just begun.
    """
    names = []
    for path in filter(_is_reply, _list(folder / "inbox")):
        is_begun = False  # where it cannot be looked at, reading it says why
        with contextlib.suppress(OSError):
            found = path.stat()
            is_begun = found.st_size == 0 and time.time() - found.st_mtime < _UNFINISHED_S
        names += [] if is_begun else [path.name]
    return sorted(names, key=lambda name: name in failed)[:_MOST]


class ModemWatch:
    """Follows what became of messages that were laid into the outbox, and reads what came in.

    `folder`: that holds the four.
    """

    def __init__(self, db: Database, folder: Path, clock: Callable[[], datetime]) -> None:
        self._db, self._folder, self._clock = db, folder, clock
        self._failed: set[str] = set()

    def follow(self) -> None:
        """One look; quick while nothing happened."""
        now = self._clock()
        self._read_inbox(now)
        waiting = self._db.run_read(load_without_receipt, _OURS, now - timedelta(days=1))
        ended = [(n, found) for n, name in waiting if (found := find_outcome(self._folder, name))]
        if ended:
            with self._db.write() as c:
                for number, found in ended:
                    if found == "sent":
                        note_progress(c, number, found)
                    else:
                        mark_undelivered(c, number, found, _NOT_SENT(), now)

    def _read_inbox(self, now: datetime) -> None:
        """Take each reply; one that cannot be taken stays, is tried again behind the others, and is trouble."""
        failed: set[str] = set()
        for name in list_incoming(self._folder, self._failed):
            try:
                self._take(name, now)
            except StoreBusyError:
                raise
            except Exception:  # one text must not keep the others from being read
                if name not in self._failed:
                    _LOG.exception("modem: the text %s cannot be taken", name)
                failed.add(name)
        self._failed = failed
        for path in _list(self._folder / "inbox"):  # what no telephone number sent
            with contextlib.suppress(OSError):
                if not _is_reply(path) and now.timestamp() - path.lstat().st_mtime > _UNFINISHED_S:
                    path.unlink()

    def _take(self, name: str, now: datetime) -> None:
        with (self._folder / "inbox" / name).open("rb") as file:
            content = file.read(_LARGEST)
        wide = content[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}
        one = IncomingText(name, name.split("_")[3], content.decode("utf-16" if wide else "utf-8", "replace").strip())
        known_as = f"{name} {sha256(one.text.encode()).hexdigest()[:12]}"  # names of files come again
        answer = take_reply(self._db, "sms", one.sender, one.text, known_as, now)
        self._answer(one, answer)
        with contextlib.suppress(OSError):
            (self._folder / "inbox" / name).unlink()

    def find_trouble(self) -> str:
        """Why messages do not go out; empty when all is well."""
        missing = [box for box in FOLDERS if not (self._folder / box).is_dir()]
        if missing:
            return _NO_FOLDER(name=str(self._folder / missing[0]))
        if self._failed or len([*filter(_is_reply, _list(self._folder / "inbox"))]) >= _MOST:
            return _NOT_READ()
        oldest = next(iter(_list(self._folder / "outbox")), None)
        try:
            age_s = 0.0 if oldest is None else self._clock().timestamp() - oldest.stat().st_mtime
        except OSError:
            return ""  # it was taken just now
        return _NOT_TAKEN() if age_s > _STUCK_S else ""

    def _answer(self, one: IncomingText, answer: ReplyResult) -> None:
        """Tell who replied what came of it; numbers that never had a message get none."""
        if not answer.language:
            return
        with use_language(answer.language), contextlib.suppress(DeliveryError):
            text = gettext(ANSWERS[answer.outcome]).format(person=answer.person)
            put_message(self._folder, one.sender, text, sha256(one.name.encode()).hexdigest())


def _is_reply(path: Path) -> bool:
    return _IN.fullmatch(path.name) is not None and path.is_file() and not path.is_symlink()


def _list(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []

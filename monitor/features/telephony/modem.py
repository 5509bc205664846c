"""Send and receive text messages by a modem on this machine, through the folders of gammu-smsd (service FILES).

`outbox`, `sent`, `error` and `inbox` are in one folder. The daemon moves each file of the outbox to `sent` or `error`.
A file of the outbox is named `OUT<priority><date>_<time>_<serial>_<number>_<note>.txt` and is UTF-16 with its mark; an
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
# Bytes of an incoming part that are read. No part is longer than a few hundred.
_LARGEST: Final = 2000
# Files that are read in one round.
_MOST: Final = 100
# A younger file that is empty or has another name may still be written.
_UNFINISHED_S: Final = 60.0
# Prefix of the names of messages from this service.
_OWN_PREFIX: Final = "OUTA"
# An older file in the outbox means that the daemon does not run.
_STUCK_S: Final = 180.0
_NOT_SENT: Final = Template("delivery.sms.not_sent", "sms: the modem could not send the message")
_NO_FOLDER: Final = Template("modem.no_folder", "the folder {name} of the modem is missing")
_NOT_READ: Final = Template("modem.not_read", "replies in the inbox of the modem cannot be read")
_NOT_TAKEN: Final = Template(
    "modem.not_taken", "messages wait in the outbox of the modem; check whether gammu-smsd runs"
)


class IncomingText(NamedTuple):
    """A text message that was received."""

    name: str
    sender: str
    text: str


def put_message(folder: Path, number: str, text: str, key: str) -> str:
    """Write a message into the outbox in one step, and return the name of its file.

    Raises:
        DeliveryError: The folder does not exist or cannot be written, or the daemon does not take messages.
    """
    # Each attempt of a message has the same serial, so that people can recognise it.
    name = f"OUTA{datetime.now(UTC):%Y%m%d_%H%M%S}_{int(key[:6], 16) % 100:02d}_{number}_{key[:12]}.txtd"
    outbox = folder / "outbox"
    part = outbox / f".{name}.part"
    try:
        if len(_list(outbox)) >= _MOST:
            raise DeliveryError(f"sms: {_MOST} messages wait in the outbox of the modem; check whether gammu-smsd runs")
        part.write_text(text, encoding="utf-16")
        part.rename(outbox / name)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise DeliveryError(f"sms: the outbox of the modem cannot be written: {error.strerror}") from error
    return name


def find_outcome(folder: Path, name: str) -> str:
    """Return the outcome of a message: `sent`, `error`, or empty while it waits."""
    return next((box for box in ("sent", "error") if (folder / box / name).exists()), "")


def list_incoming(folder: Path, failed: Collection[str] = ()) -> list[str]:
    """Return the names of the files in the inbox, oldest first. Those that failed before are last.

    The daemon creates a file and then writes the text at once. An empty file is not written yet.
    """
    names = []
    for path in filter(_is_reply, _list(folder / "inbox")):
        # If the size cannot be read, reading the file reports why.
        is_unfinished = False
        with contextlib.suppress(OSError):
            status = path.stat()
            is_unfinished = status.st_size == 0 and time.time() - status.st_mtime < _UNFINISHED_S
        if not is_unfinished:
            names.append(path.name)
    return sorted(names, key=lambda name: name in failed)[:_MOST]


class ModemWatch:
    """Follows the messages in the outbox, and reads the replies in the inbox.

    Args:
        folder: Folder that contains the four folders of the daemon.
    """

    def __init__(self, db: Database, folder: Path, clock: Callable[[], datetime]) -> None:
        self._db = db
        self._folder = folder
        self._clock = clock
        self._failed: set[str] = set()

    def follow(self) -> None:
        """Read new replies and outcomes. It is called often."""
        now = self._clock()
        self._read_inbox(now)
        waiting = self._db.run_read(load_without_receipt, _OWN_PREFIX, now - timedelta(days=1))
        outcomes = [(number, find_outcome(self._folder, name)) for number, name in waiting]
        ended = [(number, outcome) for number, outcome in outcomes if outcome]
        if ended:
            with self._db.write() as c:
                for number, outcome in ended:
                    if outcome == "sent":
                        note_progress(c, number, outcome)
                    else:
                        mark_undelivered(c, number, outcome, _NOT_SENT(), now)

    def _read_inbox(self, now: datetime) -> None:
        """Process each reply. One that fails remains, is tried again after the others, and is reported."""
        failed: set[str] = set()
        for name in list_incoming(self._folder, self._failed):
            try:
                self._process(name, now)
            except StoreBusyError:
                raise
            except Exception:  # a fault in one text does not delay the others
                if name not in self._failed:
                    _LOG.exception("modem: the text %s cannot be processed", name)
                failed.add(name)
        self._failed = failed
        # Other files in the inbox are not from telephone numbers.
        for path in _list(self._folder / "inbox"):
            with contextlib.suppress(OSError):
                if not _is_reply(path) and now.timestamp() - path.lstat().st_mtime > _UNFINISHED_S:
                    path.unlink()

    def _process(self, name: str, now: datetime) -> None:
        """Process one reply and send the answer to its sender."""
        with (self._folder / "inbox" / name).open("rb") as file:
            content = file.read(_LARGEST)
        encoding = "utf-16" if content[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE} else "utf-8"
        text = IncomingText(name, name.split("_")[3], content.decode(encoding, "replace").strip())
        # The daemon uses names of files again.
        provider_id = f"{name} {sha256(text.text.encode()).hexdigest()[:12]}"
        result = take_reply(self._db, "sms", text.sender, text.text, provider_id, now)
        self._answer(text, result)
        with contextlib.suppress(OSError):
            (self._folder / "inbox" / name).unlink()

    def find_trouble(self) -> str:
        """Return why messages are not sent or replies not read; empty if all is well."""
        missing = [box for box in FOLDERS if not (self._folder / box).is_dir()]
        if missing:
            return _NO_FOLDER(name=str(self._folder / missing[0]))
        if self._failed or len([*filter(_is_reply, _list(self._folder / "inbox"))]) >= _MOST:
            return _NOT_READ()
        oldest = next(iter(_list(self._folder / "outbox")), None)
        try:
            age_s = 0.0 if oldest is None else self._clock().timestamp() - oldest.stat().st_mtime
        except OSError:
            # The daemon has just moved it.
            return ""
        return _NOT_TAKEN() if age_s > _STUCK_S else ""

    def _answer(self, reply: IncomingText, result: ReplyResult) -> None:
        """Send the result to the sender of a reply. A number that never received a message gets no answer."""
        if not result.language:
            return
        with use_language(result.language), contextlib.suppress(DeliveryError):
            text = gettext(ANSWERS[result.outcome]).format(person=result.person)
            put_message(self._folder, reply.sender, text, sha256(reply.name.encode()).hexdigest())


def _is_reply(path: Path) -> bool:
    return _IN.fullmatch(path.name) is not None and path.is_file() and not path.is_symlink()


def _list(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []

"""Uploaded files in the inbox: a folder for each, with generated names, limited in size, number and age."""

import contextlib
import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final, TypeVar

from forecasting.whole_file import replacing
from monitor.api.errors import NotFoundError, RefusedError
from monitor.api.queries.ingest import list_readers
from monitor.api.text import EMPTY_FILE, Figure, Template
from monitor.api.worker import RecordError, plain_to_record, record_to_plain

FOLDER: Final = ".uploads"  # beside the folders of sites; no site can have this name
PLAIN_SUFFIX: Final = ".csv"

MOST_OF_ONE: Final = 40  # folders of an account
MOST_OF_ALL: Final = 120
KEPT_S: Final = 86400.0
NAME_MOST: Final = 80
# The lines that a worker writes and the stored readings take up to this many times the size of the file.
ROOM_TIMES: Final = 20
ID: Final = r"^[0-9a-f]{16}$"
# Stages of a file: COMING while it is sent, then PREVIEWED, then STORING.
# In the end it is DONE, or it waits for a person (DOUBT, FAILED).
COMING, PREVIEWED, STORING, DOUBT, DONE, FAILED = "coming", "looked", "reading", "doubt", "done", "failed"
_LARGE: Final = Template("upload.large", "the file is larger than {n} MiB (limits.upload_mb)")
_WAITING: Final = Template("upload.waiting", "{n} of your files wait here already: finish or discard one first")
_FULL: Final = Template(
    "upload.full", "{n} uploaded files of all accounts wait here: try again after they are finished or removed"
)
_NO_ROOM: Final = Template("upload.room", "the disk has no room for this file")
_GAP: Final = Template("upload.part", "this part does not continue the file; send it again from its beginning")
_LONGER: Final = Template("upload.longer", "the file is larger than was announced")
_NOT_YOURS: Final = Template(
    "upload.missing", "there is no such file of yours; files that wait are removed after a day"
)
Record = TypeVar("Record")
_lock: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded file and how far it is."""

    id: str  # of its folder
    owner: str  # account; no other account sees the file
    name: str  # name that its owner gave it
    size: int  # bytes announced
    suffix: str  # of the file here
    site: str  # site of its readings; empty while a new site has no name
    is_new: bool  # that site is new
    batch: str = ""  # id of the first of the files that were sent together
    answers: dict[str, str] = field(default_factory=dict)  # to questions about it
    stage: str = COMING
    trouble: str = ""  # why it was not stored, or what a person must confirm
    counts: dict[str, int] = field(default_factory=dict)  # of its stored and refused rows
    notes: tuple[str, ...] = ()  # further remarks, a sentence each


class UploadStore:
    """The uploads of all accounts."""

    def __init__(self, inbox: Path, most_bytes: int, reserve_bytes: int) -> None:
        self.root = inbox / FOLDER
        self.most_bytes, self.reserve_bytes = most_bytes, reserve_bytes

    def begin(self, owner: str, name: str, size: int, site: str, batch: str = "") -> Upload:
        """Return a place for a file that is about to be sent.

        Args:
            name: As the browser gives it; it never becomes the name of a file here.
            size: Announced bytes.
            site: Site of the readings; empty for a new one.
            batch: Id of the first of the files that are sent together; empty for the first.

        Raises:
            RefusedError: The file is empty or too large, or there is no room for it.
        """
        if not 0 < size <= self.most_bytes:
            raise RefusedError(EMPTY_FILE() if size <= 0 else _LARGE(n=Figure(self.most_bytes >> 20, "d")))
        with _lock:
            self.sweep()
            waiting = self.list_all()
            own_count = sum(upload.owner == owner for upload in waiting)
            if own_count >= MOST_OF_ONE:
                raise RefusedError(_WAITING(n=own_count))
            if len(waiting) >= MOST_OF_ALL:
                raise RefusedError(_FULL(n=len(waiting)))
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if shutil.disk_usage(self.root).free < ROOM_TIMES * size + self.reserve_bytes:
                raise RefusedError(_NO_ROOM())
            shown = format_name(name)
            suffix = PurePosixPath(shown).suffix.lower()
            is_known = any(suffix in reader.suffixes for reader in list_readers().values())
            stored_suffix = suffix if is_known else PLAIN_SUFFIX
            upload_id = secrets.token_hex(8)
            made = Upload(upload_id, owner, shown, size, stored_suffix, site, is_new=not site, batch=batch or upload_id)
            self.folder(made.id).mkdir(mode=0o700)
            self.table(made).touch(mode=0o600)
            self.save(made)
        return made

    def add_part(self, upload: Upload, at: int, content: bytes) -> int:
        """Append bytes to a file and return its size.

        Raises:
            RefusedError: The bytes do not continue the file, or are more than was announced.
        """
        with _lock:
            path = self.table(upload)
            received_bytes = path.stat().st_size
            if upload.stage != COMING or at != received_bytes:
                raise RefusedError(_GAP())
            if received_bytes + len(content) > upload.size:
                raise RefusedError(_LONGER())
            with path.open("ab") as file:
                file.write(content)
        return received_bytes + len(content)

    def is_whole(self, upload: Upload) -> bool:
        """Return whether all announced bytes have been received."""
        return self.table(upload).exists() and self.table(upload).stat().st_size == upload.size

    def find(self, upload_id: str, owner: str) -> Upload:
        """Return an upload of an account.

        Raises:
            NotFoundError: There is none with this id, or it belongs to another account.
        """
        found = self._load(upload_id)
        if found is None or found.owner != owner:
            raise NotFoundError(_NOT_YOURS())
        return found

    def list_of(self, owner: str) -> list[Upload]:
        """Return the uploads of an account, newest first."""
        mine = [one for one in self.list_all() if one.owner == owner]
        return sorted(mine, key=lambda one: self._age_s(one.id))

    def list_batch(self, upload: Upload) -> list[Upload]:
        """Return the files that were sent together with a file, and the file itself, by name."""
        together = [one for one in self.list_of(upload.owner) if one.batch == upload.batch]
        return sorted(together, key=lambda one: (one.name, one.id))

    def list_all(self) -> list[Upload]:
        """Return the uploads of all accounts."""
        names = [path.name for path in self.root.glob("*")] if self.root.is_dir() else []
        return [one for name in names if (one := self._load(name)) is not None]

    def save(self, upload: Upload) -> None:
        """Save an upload. One that was discarded meanwhile is not created again."""
        self.keep(upload, "upload.json", upload)

    def keep(self, upload: Upload, name: str, record: Any) -> None:
        """Save a record beside a file."""
        folder = self.folder(upload.id)
        with contextlib.suppress(FileNotFoundError), replacing(folder / name, mode=0o600) as partial:
            partial.write_text(json.dumps(record, default=record_to_plain), encoding="utf-8")

    def load(self, upload: Upload, name: str, kind: type[Record]) -> Record | None:
        """Load a record that is saved beside a file, or None."""
        try:
            return plain_to_record(kind, json.loads((self.folder(upload.id) / name).read_text(encoding="utf-8")))
        except (OSError, ValueError, RecordError):
            return None

    def _load(self, upload_id: str) -> Upload | None:
        if re.fullmatch(ID, upload_id) is None:
            return None
        here = Upload(upload_id, "", "", 0, "", "", is_new=False)
        return self.load(here, "upload.json", Upload)

    def discard(self, upload: Upload) -> None:
        """Remove a file and everything that is saved beside it."""
        shutil.rmtree(self.folder(upload.id), ignore_errors=True)

    def sweep(self) -> None:
        """Remove uploads that have not changed for a day."""
        for path in self.root.glob("*") if self.root.is_dir() else ():
            if self._age_s(path.name) > KEPT_S:
                shutil.rmtree(path, ignore_errors=True)

    def _age_s(self, upload_id: str) -> float:
        folder = self.folder(upload_id)
        with contextlib.suppress(OSError):
            return time.time() - max([folder.stat().st_mtime, *(entry.stat().st_mtime for entry in os.scandir(folder))])
        return 0.0

    def folder(self, upload_id: str) -> Path:
        """Return the folder of an upload."""
        return self.root / upload_id

    def table(self, upload: Upload) -> Path:
        """Return the path of the uploaded file."""
        return self.folder(upload.id) / f"table{upload.suffix}"

    def mapping(self, upload: Upload) -> Path:
        """Return the path of the mapping of an upload."""
        return self.folder(upload.id) / "mapping.toml"


def format_name(name: str) -> str:
    r"""Return the name of a file as it is shown: the last part of the path, with plain characters only.

    >>> format_name("../../etc/pass\nwd.csv"), format_name("C:\\data\\Hang Süd.xlsx"), format_name("..")
    ('pass_wd.csv', 'Hang Süd.xlsx', 'table')
    """
    last = PureWindowsPath(PurePosixPath(name).name).name
    plain = "".join(k if k.isalnum() or k in " ._-()+" else "_" for k in last).strip(" .")
    stem, dot, suffix = plain.rpartition(".")
    shown = f"{stem[: NAME_MOST - len(suffix) - 1]}.{suffix}" if dot and len(suffix) < 10 else plain[:NAME_MOST]
    return shown or "table"


def answered(upload: Upload, given: Mapping[str, str]) -> dict[str, str]:
    """Return earlier and new answers; an empty answer is none."""
    return {**upload.answers, **{key: text.strip() for key, text in given.items() if text.strip()}}

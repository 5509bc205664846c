"""Write files so that a reader finds either the old file or the whole new one, never a half."""

import contextlib
import glob
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

LEFT_S: Final = 86400.0  # a half file that nobody wrote to for a day is of a process that was killed


@contextmanager
def replacing(path: Path, *, flush: bool = False, mode: int | None = None) -> Iterator[Path]:
    """Give a name to write to; when the block ends, what lies there takes the place of `path`.

    Where the block fails, the file of before stays, and the half one is removed. The name is another one each time: of
    two processes that write the same file, the last to end wins, with a whole file.

    Args:
        flush: to the disk before it is renamed, for what a power cut must not empty: weights, keys, site files.
        mode: rights of the file: it lies there empty from the start, and until it is whole only its owner may read it.
            None: the block makes it, with the rights that a new file has.
    """
    # remove what killed processes left of this file; SQLite lays a journal beside its half one
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part*"):
        with contextlib.suppress(OSError):  # another one was quicker
            if time.time() - left.stat().st_mtime > LEFT_S:
                left.unlink()
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        if mode is not None:
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield partial
        if flush:
            flush_file(partial)
        if mode is not None:
            partial.chmod(mode)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else can read, whole or not at all."""
    with replacing(path, flush=True, mode=0o600) as partial:
        partial.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file whole, flushed to the disk."""
    with replacing(path, flush=True) as partial:
        partial.write_bytes(content)


def flush_file(path: Path) -> None:
    """What was written to a file is on the disk when this returns: only then a rename may let it be found."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_json(path: Path, content: Any, default: Callable[[Any], Any] | None = None) -> None:
    """A value as one line of JSON in a file that is replaced whole; `default` spells what JSON does not know."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, default=default) + "\n", encoding="utf-8")

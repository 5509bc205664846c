"""Write files so that a reader finds either the old content or the complete new content."""

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

# A partial file that was not changed for this time belongs to a process that was killed.
ABANDONED_AFTER_S: Final = 86400.0


@contextmanager
def replacing(path: Path, *, flush: bool = False, mode: int | None = None) -> Iterator[Path]:
    """Yield the path of a partial file, and rename it to `path` when the block ends.

    If the block fails, the old file stays and the partial file is removed. Every call has a partial file of its own: if
    two processes write one file, the file of the process that ends last remains, and it is complete.

    Args:
        flush: Whether to flush the file to the disk before it is renamed, so that a power failure does not leave it
            empty. Use it for weights, keys and site files.
        mode: Permissions of the file. The partial file is then created before the block and can be read by its owner
            only. None: the block creates the file, with the default permissions.
    """
    # Remove partial files of killed processes. SQLite has a journal beside its partial file.
    for old_partial in path.parent.glob(f".{glob.escape(path.name)}.*.part*"):
        with contextlib.suppress(OSError):  # another process removed it first
            if time.time() - old_partial.stat().st_mtime > ABANDONED_AFTER_S:
                old_partial.unlink()
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
    """Write a complete file that only its owner can read, flushed to the disk."""
    with replacing(path, flush=True, mode=0o600) as partial:
        partial.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a complete file, flushed to the disk."""
    with replacing(path, flush=True) as partial:
        partial.write_bytes(content)


def flush_file(path: Path) -> None:
    """Flush a file to the disk. It must be called before a rename makes the file visible."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_json(path: Path, content: Any, default: Callable[[Any], Any] | None = None) -> None:
    """Write a value as one line of JSON to a complete file.

    Args:
        default: Converts values that JSON does not support, as in `json.dumps`.
    """
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, default=default) + "\n", encoding="utf-8")

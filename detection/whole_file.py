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

# A partial file that has not changed for a day belongs to a process that was killed.
ABANDONED_AFTER_S: Final = 86400.0


@contextmanager
def replacing(path: Path, *, flush: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` when the block ends.

    If the block raises, `path` stays as it was and the temporary file is removed. Each call uses another temporary
    name, so of two processes that write the same file the last one to finish wins, with a whole file.

    Args:
        flush: write the content to the disk before the rename, for files that a power cut must not leave empty.
    """
    _remove_abandoned(path)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield partial
        if flush:
            flush_file(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _remove_abandoned(path: Path) -> None:
    """Remove partial files of `path` that killed processes left, with the journal that SQLite writes beside them."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.part*"):
        with contextlib.suppress(OSError):  # another process may have removed the file
            if time.time() - partial.stat().st_mtime > ABANDONED_AFTER_S:
                partial.unlink()


def flush_file(path: Path) -> None:
    """Write the content of a file to the disk, so that a rename after it never reveals an empty file."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_json(path: Path, content: Any, default: Callable[[Any], Any] | None = None) -> None:
    """Replace a file by one line of JSON; `default` converts values that JSON cannot represent."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, default=default) + "\n", encoding="utf-8")

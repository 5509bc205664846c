"""A file appears whole or not at all: it is written under a name beside its own, and renamed when it is complete."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, *, flush: bool = False) -> Iterator[Path]:
    """Give a name to write to; when the block ends, what lies there takes the place of `path`.

    Where the block fails, the file of before stays, and the half one is removed.

    Args:
        path: the file; its folder exists.
        flush: to the disk before it is renamed, for what a power cut must not empty: weights, states of a training.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        yield partial
        if flush:
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise

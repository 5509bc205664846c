"""One reader of a site's scenes at a time: a service and a command would write over each other's files."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE = ".lock"


@contextmanager
def lock_scene_results(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the results of a site; gives False at once where another process does, unless asked to wait for it.

    The lock is the kernel's: it ends with the process that holds it, however that ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).touch(mode=0o600)
    with (folder / FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True

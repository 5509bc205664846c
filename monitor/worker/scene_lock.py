"""Lock the results of a site's scenes, so that the service and a command do not write the same files at once."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE = ".lock"


@contextmanager
def lock_scene_results(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Lock the results of a site and yield True.

    If another process holds the lock, wait for it with `wait`; otherwise yield False at once. The operating system
    releases the lock when the process that holds it ends, also if it is killed.
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

"""Temporary databases for benchmarks."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fixtures.postgresql import PROGRAM_FOLDERS, PostgresServer


@contextmanager
def open_database(kind: str, *, is_durable: bool = True) -> Iterator[str]:
    """Provide the URL of an empty database, which is deleted at the end of the block.

    The files are in `/var/tmp`, because `/tmp` may be in memory.

    Args:
        kind: `sqlite` or `postgresql`. A PostgreSQL server runs during the block.
        is_durable: whether PostgreSQL waits for the disk at each commit, as in production.

    Raises:
        RuntimeError: PostgreSQL is not installed.
    """
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        if kind == "sqlite":
            yield f"sqlite:///{folder}/bench.db"
            return
        if not PROGRAM_FOLDERS:
            raise RuntimeError("PostgreSQL is not installed; run `make servers`")
        # The user postgres must be able to enter the folder.
        folder.chmod(0o755)
        server = PostgresServer(folder, durable=is_durable)
        try:
            yield server.url(server.copy("template1", "bench"))
        finally:
            server.stop()

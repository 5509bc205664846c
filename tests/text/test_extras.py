"""A missing optional package: its first use raises an error with the command that installs it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from monitor import extras
from monitor.errors import BrokerError, ConfigError, RefusedError, SlopewardError, StoreError
from monitor.features.cap.signature import sign_cap
from monitor.features.exports.tables import write_table
from monitor.ingest.broker_process import open_broker
from monitor.ingest.files.tables import open_rows
from monitor.storage.engine import Database


def read(folder: Path) -> None:
    path = folder / "rows.parquet"
    path.write_bytes(b"PAR1")
    with open_rows(path):
        pass


NEEDS: dict[str, tuple[str, type[SlopewardError], Callable[[Path], object]]] = {
    "reading Parquet": ("parquet", ConfigError, read),
    "writing Parquet": ("parquet", RefusedError, lambda f: write_table(iter([{"a": "1"}]), f / "a", "parquet")),
    "a database": ("postgresql", StoreError, lambda _: Database("postgresql://nobody@127.0.0.1/none")),
    "a broker": ("demo", BrokerError, lambda f: open_broker("demo", f, "127.0.0.1", 1)),
    "a signature": ("cap", ConfigError, lambda _: sign_cap("<alert/>", "", "")),
}


@pytest.mark.parametrize("need", NEEDS)
def test_error_of_missing_package_names_its_extra(need, tmp_path, monkeypatch):
    extra, error, use = NEEDS[need]
    monkeypatch.setattr(extras, "is_installed", lambda module: extras.OPTIONAL_MODULES[module][1] != extra)
    with pytest.raises(error, match=rf"not installed; .*: pip install 'slopeward\[{extra}\]'"):
        use(tmp_path)

"""The schema of 1.0 and a database of it, from which every upgrade begins, as the program has them now."""

import json
import random
import re
import shutil
import subprocess
import sys
from datetime import datetime, tzinfo
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest.mock import patch

from alembic import command
from alembic.operations.ops import DowngradeOps, ModifyTableOps, UpgradeOps
from sqlalchemy import Boolean, Connection, Table, text, true

from monitor.alerts.acts.operator_acts import set_level_in_transaction
from monitor.alerts.audit.audit_pack import build_pack, write_pack
from monitor.alerts.audit.queries import load_material
from monitor.alerts.queries.alerts import acknowledge, load_alerts, set_outcome
from monitor.features.forecasts.queries.score_sums import find_spans, sum_up
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.migrate import make_config, upgrade
from monitor.storage.tables import load_metadata
from tests.data.filled import fill
from tests.data.watched_slope import HOUR, WatchedSlope

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[2]
ROWS: Final = HERE / "rows.jsonl"
PACK: Final = HERE / "pack.zip"
SITE: Final = HERE / "site.toml"
REVISION: Final = "0001"
RELEASE: Final = "v1.0.0"
MIGRATION: Final = ROOT / f"alembic/versions/{REVISION}_baseline.py"
TOLD: Final = '''"""The tables of 1.0, the first release: the ground that every later migration stands on.

Written by `make baseline-fixture` from the tables of all packages. It spells the tables and imports none of them:
they go on changing, and what a database of 1.0 holds does not. Views are no part of a migration: `slopeward db upgrade`
makes them anew from the `views.py` of all packages. There is no way down: the way back is the copy made before.

'''
# of what comes by the thousand and no seal covers, some rows are enough
THINNED: Final = (
    "DELETE FROM observation WHERE observed_at < '2026-02-28'",
    "DELETE FROM forecast WHERE issued_at < '2026-02-28'",
    "DELETE FROM forecast_score WHERE forecast_id NOT IN (SELECT id FROM forecast)",
    "DELETE FROM forecast_month",
    "DELETE FROM anomaly WHERE at < '2026-02-26'",
)


class Clock(datetime):
    """Seals are dated by the clock of the machine; here it stands."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Clock":
        """The instant at which the fixture is sealed."""
        return cls(2026, 3, 3, tzinfo=tz)


def main() -> None:
    """Write all of it anew, unless the release is tagged."""
    tagged = ["git", "tag", "--list", RELEASE]
    if subprocess.run(tagged, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip():
        sys.exit(f"{RELEASE} is tagged: databases of it exist; add a migration, and raise the format of what changes")
    MIGRATION.write_text(make_migration(), encoding="utf-8")
    shutil.copy(ROOT / "configs/sites/north-bench.toml", SITE)
    chance = random.Random(1).randbytes  # salts and tokens: the same rows each time
    with (
        Database("sqlite://") as db,
        patch("os.urandom", chance),
        patch("random._urandom", chance),
        patch("monitor.storage.engine.datetime", Clock),
    ):
        upgrade(db)
        number = live(db)
        with db.read() as c:
            PACK.unlink(missing_ok=True)
            write_pack(build_pack(load_material(c, number)), PACK)
            rows = [row for table in load_metadata().sorted_tables for row in list_rows(c, table)]
    ROWS.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    print(f"{MIGRATION.name}, {len(rows)} rows, {sum(one.stat().st_size for one in (ROWS, PACK, SITE)) // 1024} KiB")


def live(db: Database) -> int:
    """Two slopes of which every table has rows, and one that fails and is judged by people; its alert."""
    fill(db)
    with db.write() as c:
        for statement in THINNED:
            c.execute(text(statement))
        sum_up(c, find_spans(c, true()))
    slope, ada, bo = WatchedSlope(db), Actor("ada"), Actor("bo")
    slope.fail()
    with db.write() as c:
        (alert,) = load_alerts(c, "bench", ledger="hazard")
        acknowledge(c, alert.id, bo, "pit floor is cleared", slope.now)
    slope.live(6, looks=2)
    with db.write() as c:
        set_level_in_transaction(c, slope.site, 1, bo, "inspected on foot", slope.now, second=ada)
    slope.live(4, looks=1)
    with db.write() as c:
        set_outcome(c, alert.id, "true", bo, "forty cubic metres fell", slope.now + HOUR)
    return alert.id


def list_rows(c: Connection, table: Table) -> list[str]:
    """Rows of a table as lines of JSON, in the spelling of the database; what is empty or computed is left out."""
    kept = [k for k in table.columns if k.computed is None]
    names = ", ".join(f'"{k.name}"' for k in kept)
    order = ", ".join(f'"{k.name}"' for k in table.primary_key)
    truths = {k.name for k in kept if isinstance(k.type, Boolean)}
    found = c.exec_driver_sql(f"SELECT {names} FROM {table.name} ORDER BY {order}").mappings()
    return [
        json.dumps(
            [table.name, {k: bool(v) if k in truths else v for k, v in row.items() if v is not None}],
            ensure_ascii=False,
            separators=(",", ":"),
            default=bytes.hex,
        )
        for row in found
    ]


def make_migration() -> str:
    """Return the text of the one migration: what alembic finds when it compares the tables with an empty database."""
    with TemporaryDirectory() as name, Database("sqlite://") as db, db.engine.connect() as c:
        folder = Path(name) / "alembic"
        shutil.copytree(MIGRATION.parents[1], folder, ignore=shutil.ignore_patterns("*.pyc", MIGRATION.name))
        config = make_config(c)
        config.set_main_option("script_location", str(folder))
        command.revision(
            config, message="baseline", autogenerate=True, rev_id=REVISION, process_revision_directives=_flatten
        )
        (written,) = (folder / "versions").glob(f"{REVISION}*.py")
        found = written.read_text(encoding="utf-8")
    found = found.replace('"""baseline\n\n', TOLD).replace("Revises: \n", "Revises:\n")
    found = re.sub(r"^    # ###.*\n", "", found, flags=re.MULTILINE)
    ruff = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length=120", "-"]
    return subprocess.run(ruff, input=found, capture_output=True, text=True, check=True).stdout


def _flatten(_context: Any, _revision: Any, directives: list[Any]) -> None:
    """Each index as an operation of its own: those of a rebuilt table, as SQLite needs them, are for later changes."""
    (script,) = directives
    script.upgrade_ops = UpgradeOps(
        [one for part in script.upgrade_ops.ops for one in (part.ops if isinstance(part, ModifyTableOps) else [part])]
    )
    script.downgrade_ops = DowngradeOps([])


if __name__ == "__main__":
    main()

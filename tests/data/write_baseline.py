"""The schema of 1.0, from which every upgrade begins, as the tables have it now.

python -m tests.data.write_baseline        # called by `make baseline-fixture`; refused once v1.0.0 is tagged
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.operations.ops import DowngradeOps, ModifyTableOps, UpgradeOps

from monitor.store.database.engine import Database
from monitor.store.upkeep.migrate import make_config

ROOT: Final = Path(__file__).resolve().parents[2]
REVISION: Final = "0001"
RELEASE: Final = "v1.0.0"
MIGRATION: Final = ROOT / f"alembic/versions/{REVISION}_baseline.py"
TOLD: Final = '''"""The tables of 1.0, the first release: the ground that every later migration stands on.

Written by `make baseline-fixture` from monitor/store/schema/tables.py. It spells the tables and imports none of them:
they go on changing, and what a database of 1.0 holds does not. Views are no part of a migration: `slopeward db upgrade`
makes them anew from monitor/store/schema/view_sql.py. There is no way down: the way back is the copy made before.

'''


def main() -> None:
    """Write the migration anew, unless the release is tagged."""
    tagged = ["git", "tag", "--list", RELEASE]
    if subprocess.run(tagged, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip():
        sys.exit(f"{RELEASE} is tagged: databases of it exist; add a migration, and raise the format of what changes")
    write_migration()


def write_migration() -> None:
    """Let alembic compare the tables with an empty database, and keep what it says as the one migration."""
    MIGRATION.unlink(missing_ok=True)
    with Database("sqlite://") as db, db.engine.connect() as c:
        command.revision(
            make_config(c), message="baseline", autogenerate=True, rev_id=REVISION, process_revision_directives=_flatten
        )
    found = MIGRATION.read_text(encoding="utf-8")
    found = found.replace('"""baseline\n\n', TOLD).replace("Revises: \n", "Revises:\n")
    found = re.sub(r"^    # ###.*\n", "", found, flags=re.MULTILINE)
    # an index that holds figures beside its key is one of PostgreSQL alone
    found = re.sub(
        r"^    (op\.create_index\(.*postgresql_include.*)",
        r"    if op.get_bind().dialect.name == 'postgresql':\n        \1", found, flags=re.MULTILINE,
    )  # fmt: skip
    ruff = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length=120", "-"]
    done = subprocess.run(ruff, input=found, capture_output=True, text=True, check=True)
    MIGRATION.write_text(done.stdout, encoding="utf-8")


def _flatten(_context: Any, _revision: Any, directives: list[Any]) -> None:
    """Each index as an operation of its own: those of a rebuilt table, as SQLite needs them, are for later changes."""
    (script,) = directives
    script.upgrade_ops = UpgradeOps(
        [one for part in script.upgrade_ops.ops for one in (part.ops if isinstance(part, ModifyTableOps) else [part])]
    )
    script.downgrade_ops = DowngradeOps([])


if __name__ == "__main__":
    main()

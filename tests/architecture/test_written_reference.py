"""Pages of the reference that are written from the program name every command, key, path and view."""

from pathlib import Path

from monitor.cli.main import VERBS
from monitor.config.service import ServiceConfig
from monitor.config.site_schema import make_site_file
from monitor.decision.criteria.table import CRITERIA
from monitor.extensions.help import reference
from monitor.store.schema.views import NAMES


def test_the_reference_can_be_written_from_the_program(tmp_path: Path) -> None:
    reference.main(tmp_path)  # by a process of its own: tests/extensions/help
    pages = {path.stem: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert all(f"## {verb}" in pages["all-commands"] for verb in VERBS)
    assert "| `--speed` | number | `900.0` |" in pages["all-commands"]
    keys = {*ServiceConfig.model_fields, *make_site_file().model_fields}
    assert all(f"[{key}]" in pages["all-keys"] for key in keys)
    assert "| `interval` | duration | required | expected sampling interval |" in pages["all-keys"]
    assert '| `horizons` | list of duration | `["1d", "7d", "30d"]` |' in pages["all-keys"]
    site_file = pages["all-keys"].partition("## Site file")[2]
    assert all(f'kind = "{kind}"' in site_file for kind in CRITERIA)
    rows = [row for row in pages["all-keys"].splitlines() if row.startswith("| `")]
    assert not [row for row in rows if row.endswith("|  |") or row.count(" | ") < 3]
    assert "| `name` | text | required |" in pages["all-keys"]
    assert all(f"## {name}\n" in pages["all-views"] for name in NAMES)
    assert "## GET /api/v1/sites" in pages["all-paths"]
    assert not [name for name, page in pages.items() if " at 0x" in page or "<class" in page or "bound method" in page]

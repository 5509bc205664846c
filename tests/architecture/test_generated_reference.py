"""The generated pages of the reference name every command, key, HTTP path and SQL view."""

from pathlib import Path

from monitor.cli.commands import load_all_commands
from monitor.features.help import reference
from monitor.settings.service import ServiceConfig
from monitor.sites.schema import make_site_file_model
from monitor.storage.view_tables import load_view_tables
from tests.data.criteria import CRITERIA


def test_the_generated_reference_is_complete(tmp_path: Path) -> None:
    reference.main(tmp_path)
    pages = {path.stem: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}

    commands = pages["all-commands"]
    assert all(f"## {name}\n" in commands for name in load_all_commands())
    assert "| `--speed` | number | `900.0` |" in commands

    keys = pages["all-keys"]
    assert all(f"[{key}]" in keys for key in (*ServiceConfig.model_fields, *make_site_file_model().model_fields))
    assert "| `interval` | duration | required | expected sampling interval |" in keys
    assert '| `horizons` | list of duration | `["1d", "7d", "30d"]` |' in keys
    assert "| `name` | text | required |" in keys
    site_file = keys.partition("## Site file")[2]
    assert all(f'kind = "{kind}"' in site_file for kind in CRITERIA)
    rows = [row for row in keys.splitlines() if row.startswith("| `")]
    assert not [row for row in rows if row.endswith("|  |") or row.count(" | ") < 3]

    assert all(f"## {name}\n" in pages["all-views"] for name in load_view_tables())
    assert "## GET /api/v1/sites" in pages["all-paths"]
    assert not [name for name, page in pages.items() if " at 0x" in page or "<class" in page or "bound method" in page]

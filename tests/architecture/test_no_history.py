"""1.0.0 is the first release: nothing reads, explains or translates what an earlier version wrote."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
GONE = re.compile(
    r"OLD_RULE|BEFORE_SEALS|earlier_wording|\bWording\b|# of before|before format|frozen by a version|"
    r"language\.sayings|language\.sentences|a version before|\bfrom_before\b"
)


def test_nothing_is_left_of_what_served_earlier_versions():
    folders = ("monitor", "forecasting", "detection", "alembic", "tests", "docs")
    files = [
        p for folder in folders for p in (ROOT / folder).rglob("*") if p.suffix in {".py", ".md", ".html", ".toml"}
    ]
    assert len(files) > 1000
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if GONE.search(line)
    ]
    assert found == []

"""Tables that people open in a spreadsheet are written only by the code that neutralises formulas.

The demonstration and the past of a source are readings for `slopeward ingest` and `slopeward import`. A quoted name
would be another station there.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
WRITES_CSV = re.compile(r"csv\.(writer|DictWriter)\(|\.to_csv\(")


def test_tables_are_written_by_the_writer_that_escapes_formulas():
    writers = {
        str(path.relative_to(ROOT))
        for package in ("detection", "forecasting", "monitor")
        for path in (ROOT / package).rglob("*.py")
        if WRITES_CSV.search(path.read_text(encoding="utf-8"))
    }
    assert writers <= {
        "monitor/features/exports/tables.py",
        "monitor/features/demo/story.py",
        "monitor/features/sources/past.py",
    }

"""A new reason or page text needs one edit. It appears everywhere, in English where no translation exists."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.databases import ON_SQLITE

ROOT = Path(__file__).parents[2]
OLD_TEMPLATE = 'Template("criterion.level", "{quantity}: {value}, bounds {bounds}")'
NEW_TEMPLATE = 'Template("criterion.level.soaked", "soaked: {value}")'
OUTPUTS = ("page en", "page it", "mail en", "mail it", "sms en", "sms it", "cap en", "cap it", "api")
EDITS = [  # file, old text, new text, displayed text, and the outputs that contain it
    ("monitor/decision/criteria/kinds/level.py", OLD_TEMPLATE, NEW_TEMPLATE, "soaked: 16.8", OUTPUTS),
    (
        "monitor/web/templates/alert.html",
        "{% block main %}",
        '{% block main %}<p>{{ _("The cellar is dry.") }}</p>',
        "The cellar is dry.",
        ("page en", "page it"),
    ),
]


@pytest.mark.soak
@pytest.mark.slow
@ON_SQLITE
def test_edited_text_appears_in_every_output(database_url, tmp_path):
    for name in ("monitor", "forecasting", "detection"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.pyc.*", "weights"))
    for file, before, after, *_ in EDITS:
        text = (tmp_path / file).read_text(encoding="utf-8")
        assert text.count(before) == 1
        (tmp_path / file).write_text(text.replace(before, after), encoding="utf-8")
    process = subprocess.run(
        [sys.executable, "-m", "tests.contract.edited_copy", database_url],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    outputs = json.loads(process.stdout.splitlines()[-1])
    assert outputs.pop("file").startswith(str(tmp_path)), "the checkout was imported instead of the copy"
    for *_, displayed, ways in EDITS:
        assert [way for way in OUTPUTS if displayed in outputs[way]] == list(ways), outputs

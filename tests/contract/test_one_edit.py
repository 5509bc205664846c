"""A new reason or text of a page is one edit: everybody reads it, in English where it has no translation."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.databases import ON_SQLITE

ROOT = Path(__file__).parents[2]
STANDS = 'Template("criterion.level", "{quantity}: {value}, bounds {bounds}")'
SOAKED = 'Template("criterion.level.soaked", "soaked: {value}")'
WAYS = ("page en", "page it", "mail en", "mail it", "sms en", "sms it", "cap en", "cap it", "api")
EDITS = [  # file, what stands there, what is put in its place, what is read of it, where
    ("monitor/decision/criteria/kinds/level.py", STANDS, SOAKED, "soaked: 16.8", WAYS),
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
def test_one_edit_is_read_everywhere(database_url, tmp_path):
    for name in ("monitor", "forecasting", "detection"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.pyc.*", "weights"))
    for file, before, after, *_ in EDITS:
        text = (tmp_path / file).read_text(encoding="utf-8")
        assert text.count(before) == 1
        (tmp_path / file).write_text(text.replace(before, after), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "tests.contract.edited_copy", database_url],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found.pop("file").startswith(str(tmp_path)), "the copy was tried, not the checkout"
    for *_, said, ways in EDITS:
        assert [way for way in WAYS if said in found[way]] == list(ways), found

"""`docs/how-to/extend.md` is followed step by step on a copy of the packages."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/how-to/extend.md"
BLOCK = re.compile(r"^```python (file|table|try)(?:=(\S+))?(?: after=(.+?))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_seam_is_extended_as_the_page_says(tmp_path):
    for name in ("monitor", "forecasting", "detection"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "weights", "static"))
    text = PAGE.read_text(encoding="utf-8")
    sections = text.split("\n## ")[1:]
    assert len(sections) >= 8
    tries = []
    for section in sections:
        assert len(re.findall(r"^\d\. ", section, re.MULTILINE)) <= 6, section.splitlines()[0]
        done = set()
        for what, place, after, body in BLOCK.findall(section):
            done.add(what)
            if what == "file":
                assert not (tmp_path / place).exists()
                (tmp_path / place).write_text(body, encoding="utf-8")
            elif what == "table":
                lines = (tmp_path / place).read_text(encoding="utf-8").splitlines(keepends=True)
                (at,) = [i for i, line in enumerate(lines) if line.strip() == after]
                (tmp_path / place).write_text("".join([*lines[: at + 1], body, *lines[at + 1 :]]), encoding="utf-8")
            else:
                tries.append(body)
        assert done == {"file", "table", "try"}, section.splitlines()[0]
    ended = subprocess.run(
        [sys.executable, "-c", "import monitor; print(monitor.__file__)\n" + "\n".join(tries)],
        cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(str(tmp_path))  # the copy was tried, not the checkout

"""The pages on extending are followed step by step on a copy of the packages."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / f"docs/contribute/{name}.md" for name in ("extend", "extend-models")]
SITE = """
[site]
id = "bench"
name = "Bench"
latitude = 46.0
longitude = 8.0

[[station]]
id = "S1"
series = [{quantity = "pore_pressure", unit = "kPa", interval = "1h"}]

[[station]]
id = "S2"
series = [{quantity = "pore_pressure", unit = "kPa", interval = "1h"}]

[[decoder]]
topic = "boxes/#"
name = "tiltbox"

[[criterion]]
kind = "swing"
stations = ["S1", "S2"]
quantity = "pore_pressure"
yellow = {over = 5.0, window = "1d"}
orange = {over = 10.0, window = "1d"}
red = {over = 20.0, window = "1d"}

[[recipient]]
name = "Lamp"
levels = ["yellow", "orange", "red"]
channels = ["lamp:/run/lamp"]

[forecast]
models = ["half-drift", "last-row"]

[anomaly]
detectors = ["big-step"]
"""
CHECK = """
import monitor
from monitor.cli.main import run_verb
print(monitor.__file__)
from tests.contract.test_criteria import test_it_answers_for_its_witnesses_only_and_says_nothing_without_data as judge
judge.__wrapped__("swing")  # the page says that its example passes there
assert run_verb(["check", "--config", "sites.toml"]) == 0
assert run_verb(["check", "--config", "wrong.toml"]) == 1
"""
BLOCK = re.compile(r"^```python (file|table|try)(?:=(\S+))?(?: after=(.+?))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_seam_is_extended_as_the_page_says(tmp_path):
    for name in ("monitor", "forecasting", "detection", "alembic"):
        left_out = shutil.ignore_patterns("*.pyc.*", "weights", "static")  # what is being compiled is there in part
        shutil.copytree(ROOT / name, tmp_path / name, ignore=left_out)
    sections = [one for page in PAGES for one in page.read_text(encoding="utf-8").split("\n## ")[1:]]
    assert len(sections) >= 11
    named = {name for one in sections for name in re.findall(r"(?:packages/[a-z]+/)?tests/[a-z_/]+\.py", one)}
    assert not [name for name in named if not (ROOT / name).exists()]
    tries, files = [], []
    for section in sections:
        done = set()
        for what, place, after, body in BLOCK.findall(section):
            done.add(what)
            files += [place] if place else []
            if what == "file":
                assert not (tmp_path / place).exists()
                (tmp_path / place).write_text(body, encoding="utf-8")
            elif what == "table":
                lines = (tmp_path / place).read_text(encoding="utf-8").splitlines(keepends=True)
                (at,) = [i for i, line in enumerate(lines) if line.strip() == after]
                (tmp_path / place).write_text("".join([*lines[: at + 1], body, *lines[at + 1 :]]), encoding="utf-8")
            else:
                tries.append(body)
        assert done in ({"file", "table", "try"}, {"table", "try"}, {"file", "try"}), section.splitlines()[0]
    for how in ("check", "format --check"):
        words = [sys.executable, "-m", "ruff", *how.split(), "--no-cache", "--config", ROOT / "pyproject.toml", *files]
        linted = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert linted.returncode == 0, linted.stdout
    names = ("tiltbox", "lamp", "swing", "half-drift", "last-row", "big-step")
    for folder in ("sites", "wrong"):
        (tmp_path / folder).mkdir()
        (tmp_path / f"{folder}.toml").write_text(f'[paths]\nsites = "{folder}"\n', encoding="utf-8")
    (tmp_path / "sites/bench.toml").write_text(SITE, encoding="utf-8")
    for name in names:
        text = SITE.replace(name, f"{name}x").replace('"bench"', f'"not-{name}"')
        (tmp_path / f"wrong/{name}.toml").write_text(text, encoding="utf-8")
    environ = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", "\n".join([*tries, CHECK])]
    ended = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert str(tmp_path) in ended.stdout  # the copy was tried, not the checkout
    assert "criteria: 1, recipients: 1" in ended.stdout
    wrong = [line for line in ended.stderr.splitlines() if line.startswith("WRONG")]
    for name in names:  # what it is not is refused, and it is named among what there is
        (text,) = [line.split(":", 2)[2] for line in wrong if f"{name}x" in line]
        assert name in text.replace(f"{name}x", ""), text

"""The worked case of the documents: its commands run one after the other, and print the figures that stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, take_turns

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(600)]
BLOCK = re.compile(r"^```(text)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def flatten(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_the_worked_case_prints_its_figures(measured, tmp_path: Path) -> None:
    measured("bazimen-baijiabao/source_sample.xlsx")
    data = measured("hokkaido-2018-s2-scene").parents[1]
    environment = {k: v for k, v in os.environ.items() if not (k.startswith("SLOPEWARD_") and "__" in k)}
    environment |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"}
    environment["SLOPEWARD_DATA"] = str(data)
    series, scene = (REPOSITORY / "docs/tutorial/measured-slope.md").read_text(encoding="utf-8").split("\n## 6.")
    printed, figures = "", 0
    turn = take_turns([scene], 2)  # the dearest command, one day of three
    for kind, block in BLOCK.findall("\n".join([series, *turn])):
        if kind:
            for line in block.splitlines():
                assert flatten(line) in printed
                figures += 1
            continue
        how = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 300}
        done = subprocess.run(["bash", "-ec", block], **how)
        assert done.returncode == 0, (block, done.stdout, done.stderr)
        printed = flatten(done.stdout + done.stderr)
    assert figures == (15 if turn else 13)

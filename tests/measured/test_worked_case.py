"""The commands of the worked case in the documentation run in order and print the figures of the page."""

import re
from pathlib import Path

import pytest

from tests.data.running import run_line
from tests.fixtures.waiting import REPOSITORY

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(600)]
BLOCK = re.compile(r"^```(text)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINE = re.compile(r"(?:[^\n]*\\\n)*[^\n]+")  # The page, followed by the pages that continue it.


def flatten(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


@pytest.mark.soak
def test_the_worked_case_prints_its_figures(measured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured("bazimen-baijiabao/source_sample.xlsx")
    data = measured("hokkaido-2018-s2-scene").parents[1]
    monkeypatch.setenv("SLOPEWARD_DATA", str(data))
    monkeypatch.setenv("COLUMNS", "200")
    tutorial = (REPOSITORY / "docs/tutorial/measured-slope.md").read_text(encoding="utf-8")
    printed, figures = "", 0
    for kind, block in BLOCK.findall(tutorial):
        if kind:
            for line in block.splitlines():
                assert flatten(line) in printed
                figures += 1
            continue
        printed = flatten("".join(run_line(tmp_path, line) for line in LINE.findall(block)))
    assert figures == 14

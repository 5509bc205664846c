"""Every line of the threat model names an existing test or is marked as open."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/explanation/threat-model.md"


def lines() -> list[str]:
    return [line for line in PAGE.read_text().splitlines() if re.match(r"\| [STRIDE](, [STRIDE])* \|", line)]


def test_each_line_names_a_test_or_is_open():
    assert len(lines()) > 20
    for line in lines():
        last = line.strip("| ").rsplit("|", 1)[1]
        assert re.search(r"`(packages/\w+/)?tests/", last) or "**open**" in last, line


def test_threat_model_is_linked_from_the_security_policy():
    assert "(docs/explanation/threat-model.md)" in (ROOT / "SECURITY.md").read_text()


def test_each_test_that_is_named_exists():
    for line in lines():
        for path, name in re.findall(r"`((?:packages/\w+/)?tests/[\w/]+\.py)(?:::(\w+))?`", line):
            if path.startswith("packages/") and not (ROOT / Path(*Path(path).parts[:2])).exists():
                continue
            assert (ROOT / path).is_file(), path
            assert not name or f"def {name}(" in (ROOT / path).read_text(), f"{path} has no {name}"

"""The examples in docstrings are correct."""

import doctest
from importlib import import_module
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "slopeward_lab"


def test_examples():
    paths = sorted(path for path in PACKAGE.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))
    assert paths
    for path in paths:
        module = import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
        result = doctest.testmod(module)
        assert result.attempted, path
        assert not result.failed, path

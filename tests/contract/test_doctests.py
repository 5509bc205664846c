"""The examples in docstrings run and return the documented values."""

import doctest
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("package", ["monitor", "forecasting", "detection"])
def test_examples(package):
    if package == "detection" and find_spec("torch") is None:
        pytest.skip("PyTorch is not installed (extra models)")
    paths = sorted(path for path in (ROOT / package).rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))
    wrong = {}
    for path in paths:
        done = doctest.testmod(import_module(".".join(path.relative_to(ROOT).with_suffix("").parts)))
        if done.failed or not done.attempted:
            wrong[path.relative_to(ROOT).as_posix()] = done
    assert paths
    assert not wrong

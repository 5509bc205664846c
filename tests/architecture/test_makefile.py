"""Every target of the Makefile has a description, so `make help` lists all of them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_make_target_has_a_description():
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    described = set(re.findall(r"^([a-z-]+):.*?## ", text, re.MULTILINE))
    assert targets == described
    documented = "help setup run demo test soak lint type audit docs bench bench-forecast bench-imagery train-demo"
    assert set(documented.split()) <= targets

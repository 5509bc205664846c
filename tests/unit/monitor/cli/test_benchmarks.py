"""Stored figures are found in the sources and in the wheel."""

import tomllib
from pathlib import Path

from monitor.cli import benchmarks


def test_figures_are_found_and_none_are_made_up():
    kept = benchmarks.read_benchmark("imagery")
    assert kept["command"] == "make bench-imagery"
    assert kept["figures"]["bijie"]["maps"]
    assert benchmarks.read_benchmark("nothing") is None


def test_the_wheel_carries_the_folder_that_is_looked_into():
    pyproject = tomllib.loads((Path(benchmarks.__file__).parents[2] / "pyproject.toml").read_text())
    carried = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert carried["docs/benchmarks"] == "monitor/_benchmarks"
    assert benchmarks.PLACES[1].parts[-2:] == ("monitor", "_benchmarks")

"""Names that benchmarks import exist. No test runs the benchmarks, so nothing else would notice a missing name."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = [ROOT / name for name in ("tests/bench", "packages/lab/benchmarks", "packages/earth/benchmarks")]
CHECKOUT_MODULES = ("tests.", "packages.")


def list_names(module):
    """Return the words of a module, or the files of a folder."""
    path = ROOT.joinpath(*module.split("."))
    if path.is_dir():
        return {file.stem for file in path.iterdir()}
    return set(re.findall(r"\w+", path.with_suffix(".py").read_text()))


def test_benchmarks_import_names_that_exist():
    missing = []
    benchmarks = [path for folder in FOLDERS for path in sorted(folder.rglob("*.py"))]
    for path in benchmarks:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(CHECKOUT_MODULES):
                known = list_names(node.module)
                missing += [f"{path.name}: {alias.name}" for alias in node.names if alias.name not in known]
    assert len(benchmarks) > len(FOLDERS)
    assert missing == []
